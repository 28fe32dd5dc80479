//! `docs/kips.md` names every KIP that the code and its documentation name, once and in order, and `docs/kips-evidence.txt` a
//! test for every one that is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Read,
    process::Command,
};

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use regex_lite::Regex;

use crate::shell::{output, root};

/// The registry.
const REGISTRY: &str = "docs/kips.md";
/// What may stand in its third column.
const STATES: [&str; 3] = ["yes", "in part", "no"];
/// What shows that a row is true.
const EVIDENCE: &str = "docs/kips-evidence.txt";
/// The cases that the JVM has computed.
const ORACLE: &str = "crates/streams/tests/oracle/cases";

pub(crate) fn check(findings: &mut Vec<String>) -> Result<()> {
    let registry = fs::read_to_string(root().join(REGISTRY)).with_context(|| format!("reading {REGISTRY}"))?;
    let known = rows(&registry, findings);
    let listed = output(Command::new("git").args(["ls-files", "*.rs", "*.md", "*.toml"]).current_dir(root()))?;
    for (kip, file) in mentioned(listed.lines())? {
        if !known.contains(&kip) {
            findings.push(format!("{file}: KIP-{kip} is not in {REGISTRY}"));
        }
    }
    let evidence = fs::read_to_string(root().join(EVIDENCE)).with_context(|| format!("reading {EVIDENCE}"))?;
    check_evidence(&registry, &evidence, is_there, findings);
    Ok(())
}

/// Holds the rows that say `yes` or `in part` against the lines of the evidence, and each line against its test.
fn check_evidence(registry: &str, evidence: &str, is_there: impl Fn(&str) -> bool, findings: &mut Vec<String>) {
    let mut shown = BTreeSet::new();
    for line in evidence.lines().filter(|line| !line.starts_with('#')) {
        let Some((kip, test)) = line.split_once(' ') else {
            findings.push(format!("{EVIDENCE}: no test in {line:?}"));
            continue;
        };
        shown.insert(kip);
        if !is_there(test) {
            findings.push(format!("{EVIDENCE}: {kip} is shown by {test}, which is not there"));
        }
    }
    let mut claimed = BTreeSet::new();
    for line in registry.lines().filter(|line| line.starts_with("| KIP-")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let (Some(kip), Some(&("yes" | "in part"))) = (cells.get(1), cells.get(3)) {
            claimed.insert(*kip);
        }
    }
    findings.extend(claimed.difference(&shown).map(|kip| format!("{EVIDENCE}: nothing shows {kip}")));
    findings.extend(shown.difference(&claimed).map(|kip| format!("{EVIDENCE}: {kip} is not claimed in {REGISTRY}")));
}

/// Whether a test, `file::name`, or a computed case, `oracle FAMILY: WORDS`, is in the tree.
fn is_there(test: &str) -> bool {
    if let Some(case) = test.strip_prefix("oracle ") {
        let Some((family, words)) = case.split_once(": ") else { return false };
        let Ok(file) = File::open(root().join(ORACLE).join(format!("{family}.jsonl.gz"))) else { return false };
        let mut cases = String::new();
        return GzDecoder::new(file).read_to_string(&mut cases).is_ok() && cases.contains(words);
    }
    let Some((file, name)) = test.split_once("::") else { return false };
    let source = fs::read_to_string(root().join(file)).unwrap_or_default();
    let Some((before, _)) = source.split_once(&format!("fn {name}(")) else { return false };
    // What is said about a function stands right before it, without an empty line.
    before.rsplit("\n\n").next().is_some_and(|said| said.contains("test]") || said.contains("test("))
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
    use super::{check, check_evidence, is_there, rows};

    #[test]
    fn every_kip_that_is_named_is_in_the_registry() {
        let mut findings = Vec::new();
        check(&mut findings).unwrap();
        assert!(findings.is_empty(), "{findings:#?}");
    }

    #[test]
    fn every_claim_needs_a_test_that_is_there() {
        let registry = "| KIP-98 | a | yes | |\n| KIP-99 | b | in part | |\n| KIP-101 | c | no | |";
        let findings = |evidence: &str| {
            let mut findings = Vec::new();
            check_evidence(registry, evidence, |test| test == "a.rs::b", &mut findings);
            findings
        };
        assert!(findings("# words\nKIP-98 a.rs::b\nKIP-99 a.rs::b").is_empty());
        assert_eq!(findings("KIP-98 a.rs::b"), ["docs/kips-evidence.txt: nothing shows KIP-99"]);
        assert_eq!(findings("KIP-98 a.rs::b\nKIP-99 a.rs::gone").len(), 1);
        assert_eq!(findings("KIP-98 a.rs::b\nKIP-99 a.rs::b\nKIP-101 a.rs::b").len(), 1);
    }

    #[test]
    fn a_test_is_a_function_that_is_marked_as_one() {
        let here = "xtask/src/tidy/kips.rs";
        assert!(is_there(&format!("{here}::a_test_is_a_function_that_is_marked_as_one")));
        assert!(!is_there(&format!("{here}::mentioned")));
        assert!(!is_there(&format!("{here}::no_such_test")));
        assert!(is_there("oracle table: headers format"));
        assert!(!is_there("oracle table: no such case at all"));
    }

    #[test]
    fn rows_have_an_order_and_a_state() {
        let mut findings = Vec::new();
        let numbers = rows("| KIP-101 | a | yes | |\n| KIP-98 | b | perhaps | |\n| KIP-x | c | no | |", &mut findings);
        assert_eq!(numbers, [101, 98]);
        assert_eq!(findings.len(), 3, "{findings:?}");
    }
}
