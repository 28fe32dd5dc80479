//! `docs/kips.md` names every KIP that the code and its documentation name, once and in order.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context, Result};
use regex_lite::Regex;

use crate::shell::{output, root};

/// The registry.
const REGISTRY: &str = "docs/kips.md";
/// What may stand in its third column.
const STATES: [&str; 3] = ["yes", "in part", "no"];

pub(crate) fn check(findings: &mut Vec<String>) -> Result<()> {
    let registry = fs::read_to_string(root().join(REGISTRY)).with_context(|| format!("reading {REGISTRY}"))?;
    let known = rows(&registry, findings);
    let listed = output(Command::new("git").args(["ls-files", "*.rs", "*.md", "*.toml"]).current_dir(root()))?;
    for (kip, file) in mentioned(listed.lines())? {
        if !known.contains(&kip) {
            findings.push(format!("{file}: KIP-{kip} is not in {REGISTRY}"));
        }
    }
    Ok(())
}

/// The numbers of the registry; findings about rows that are out of order or have no known state.
fn rows(registry: &str, findings: &mut Vec<String>) -> Vec<u32> {
    let mut numbers: Vec<u32> = Vec::new();
    for line in registry.lines().filter(|line| line.starts_with("| KIP-")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let number = cells.get(1).and_then(|cell| cell.strip_prefix("KIP-")).and_then(|number| number.parse().ok());
        let Some(number) = number else {
            findings.push(format!("{REGISTRY}: no number in {line:?}"));
            continue;
        };
        if numbers.last().is_some_and(|last| *last >= number) {
            findings.push(format!("{REGISTRY}: KIP-{number} is there twice or out of order"));
        }
        if !cells.get(3).is_some_and(|state| STATES.contains(state)) {
            findings.push(format!("{REGISTRY}: KIP-{number} has none of the states {}", STATES.join(", ")));
        }
        numbers.push(number);
    }
    numbers
}

/// Each KIP that a file names, with the first such file.
fn mentioned<'a>(files: impl Iterator<Item = &'a str>) -> Result<BTreeMap<u32, &'a str>> {
    let kip = Regex::new(r"\bKIP-(\d+)")?;
    let mut found = BTreeMap::new();
    for file in files {
        // A file that is being deleted is listed and not there.
        let text = fs::read_to_string(root().join(file)).unwrap_or_default();
        for number in kip.captures_iter(&text).filter_map(|captures| captures.get(1)?.as_str().parse().ok()) {
            found.entry(number).or_insert(file);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{check, rows};

    #[test]
    fn every_kip_that_is_named_is_in_the_registry() {
        let mut findings = Vec::new();
        check(&mut findings).unwrap();
        assert!(findings.is_empty(), "{findings:#?}");
    }

    #[test]
    fn rows_have_an_order_and_a_state() {
        let mut findings = Vec::new();
        let numbers = rows("| KIP-101 | a | yes | |\n| KIP-98 | b | perhaps | |\n| KIP-x | c | no | |", &mut findings);
        assert_eq!(numbers, [101, 98]);
        assert_eq!(findings.len(), 3, "{findings:?}");
    }
}
