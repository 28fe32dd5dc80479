//! Public types have an origin that can be looked up: a KIP or a name of Kafka's in their documentation, or their own name,
//! where it is that of a class of Kafka's (`xtask/kafka-classes.txt`).
//!
//! Some are ours alone, and not all are told yet. So there are as many without as were counted, crate by crate; who tells an
//! origin lowers the number.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context, Result};

use super::sources::Source;
use crate::shell::root;

const CLASSES: &str = "xtask/kafka-classes.txt";

/// How many public types there are whose documentation names no origin.
const WITHOUT: &[(&str, usize)] = &[
    ("broker", 6),
    ("client", 31),
    ("config", 8),
    ("log", 29),
    ("protocol", 39),
    ("schema", 14),
    ("security", 0),
    ("serde", 10),
    ("streams", 80),
];

const TYPES: [&str; 3] = ["pub struct ", "pub enum ", "pub trait "];
const ORIGINS: [&str; 2] = ["Kafka", "KIP-"];

pub(super) fn check(sources: &[Source], findings: &mut Vec<String>) -> Result<()> {
    let classes = fs::read_to_string(root().join(CLASSES)).with_context(|| format!("reading {CLASSES}"))?;
    let classes: BTreeSet<&str> = classes.lines().collect();
    let mut found: BTreeMap<&str, usize> = WITHOUT.iter().map(|(name, _)| (*name, 0)).collect();
    for source in sources.iter().filter(|source| !source.is_test && !source.is_generated) {
        let Some((name, _)) = source.name.strip_prefix("crates/").and_then(|path| path.split_once("/src/")) else {
            continue;
        };
        if let Some(count) = found.get_mut(name) {
            *count += without_origin(source, &classes);
        }
    }
    for (name, count) in found {
        let known = WITHOUT.iter().find(|(known, _)| *known == name).map_or(0, |(_, known)| *known);
        let advice = match count.cmp(&known) {
            std::cmp::Ordering::Equal => continue,
            std::cmp::Ordering::Less => "lower the number in xtask/src/tidy/origins.rs",
            std::cmp::Ordering::Greater => "name the KIP, or what Kafka calls it",
        };
        findings.push(format!("crates/{name}: {count} public types without an origin in place of {known}: {advice}"));
    }
    Ok(())
}

fn without_origin(source: &Source, classes: &BTreeSet<&str>) -> usize {
    let is_unknown_type = |line: &str| {
        let after = TYPES.iter().find_map(|kind| line.strip_prefix(kind));
        let name = after.and_then(|after| after.split(|c: char| !c.is_alphanumeric()).next());
        name.is_some_and(|name| !classes.contains(name))
    };
    let (mut count, mut is_told) = (0, false);
    for line in source.lines() {
        if line.starts_with("///") {
            is_told |= ORIGINS.iter().any(|origin| line.contains(origin));
        } else if !line.starts_with("#[") {
            count += usize::from(!is_told && is_unknown_type(line));
            is_told = false;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_of_a_type_names_its_origin() {
        let of = |text: &str| {
            without_origin(&Source::new("crates/x/src/a.rs", text.to_owned()), &BTreeSet::from(["KStream"]))
        };
        assert_eq!(of("/// Kafka's `Named`.\n#[derive(Debug)]\npub struct A;\n"), 0);
        assert_eq!(of("/// Kafka's `Named`.\n\n/// A thing.\npub struct A;\npub(crate) struct B;\n"), 1);
        assert_eq!(of("/// A thing (KIP-98).\npub trait A {\n    fn a();\n}\npub enum B {}\n"), 1);
        assert_eq!(of("/// A stream.\npub struct KStream<K, V> {\n"), 0);
    }
}
