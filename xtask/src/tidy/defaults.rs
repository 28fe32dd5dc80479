//! Defaults that say nothing: `unwrap_or(0)`, `unwrap_or(u32::MAX)`, `unwrap_or_default()`.
//!
//! Many are right: a slice that has nothing behind its end, a number that the protocol writes as -1. But one that stands
//! for "this cannot be" hides a broken promise, and that is told: by a typed error, or by `vltava_protocol::invariant!`.
//! So there are as many as were looked at, crate by crate; who takes one away lowers the number.

use std::collections::BTreeMap;

use super::sources::Source;

/// How many there are.
const LOOKED_AT: &[(&str, usize)] = &[
    ("broker", 97),
    ("client", 83),
    ("config", 8),
    ("console", 2),
    ("log", 29),
    ("metrics", 3),
    ("protocol", 31),
    ("schema", 9),
    ("security", 1),
    ("serde", 1),
    ("streams", 101),
    ("tools", 67),
];

const PATTERNS: &[&str] = &[
    "unwrap_or_default()",
    "unwrap_or(0)",
    "unwrap_or(-1)",
    "unwrap_or(i16::MAX)",
    "unwrap_or(i32::MAX)",
    "unwrap_or(i64::MAX)",
    "unwrap_or(i64::MIN)",
    "unwrap_or(u16::MAX)",
    "unwrap_or(u32::MAX)",
    "unwrap_or(u64::MAX)",
    "unwrap_or(usize::MAX)",
];

pub(super) fn check(sources: &[Source], findings: &mut Vec<String>) {
    let mut found: BTreeMap<&str, usize> = LOOKED_AT.iter().map(|(name, _)| (*name, 0)).collect();
    for source in sources.iter().filter(|source| !source.is_test && !source.is_generated) {
        let Some((name, _)) = source.name.strip_prefix("crates/").and_then(|path| path.split_once("/src/")) else {
            continue;
        };
        let has = |line: &str| PATTERNS.iter().any(|pattern| line.contains(pattern));
        *found.entry(name).or_default() += source.code().filter(|(_, line)| has(line)).count();
    }
    for (name, count) in found {
        let known = LOOKED_AT.iter().find(|(known, _)| *known == name).map_or(0, |(_, known)| *known);
        let advice = match count.cmp(&known) {
            std::cmp::Ordering::Equal => continue,
            std::cmp::Ordering::Less => "lower the number in xtask/src/tidy/defaults.rs",
            std::cmp::Ordering::Greater => "tell a broken promise by an error or by `invariant!`",
        };
        findings.push(format!("crates/{name}: {count} silent defaults in place of {known}: {advice}"));
    }
}
