//! The verdict over all cases, and what may differ.

use std::{collections::BTreeMap, fs, path::Path, process::ExitCode, time::Duration};

use super::runner::{Deviation, Outcome, Outcomes};

/// How many failures are shown unless all are asked for.
const SHOWN: usize = 12;

/// The cases that may fail, with the reason: `file/case name = reason` per line, `#` begins a comment line.
fn deviations() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/deviations.txt");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entry = |line: &str| {
        let (case, reason) = line.split_once(" = ").unwrap_or_else(|| panic!("no reason in {line:?}"));
        (case.to_owned(), reason.to_owned())
    };
    lines.map(entry).collect()
}

/// Prints the outcomes; the summary is the last line.
pub fn print(outcomes: &Outcomes, all: bool, took: Duration) -> ExitCode {
    let verbose = std::env::var_os("ORACLE_VERBOSE").is_some();
    let deviations = deviations();
    let foreign = std::env::var_os("ORACLE_CASES").is_some();
    let (mut passed, mut deviating, mut failed, mut broken, mut shown) = (0, 0, 0, Vec::new(), 0);
    let mut unsupported: BTreeMap<&str, usize> = BTreeMap::new();
    let mut by_rule: BTreeMap<Deviation, usize> = BTreeMap::new();
    let mut by_file: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for (id, outcome) in outcomes {
        let counts = by_file.entry(id.split('/').next().unwrap()).or_default();
        let listed = deviations.contains_key(id);
        match outcome {
            Outcome::Passed => {
                passed += 1;
                counts[0] += 1;
                if listed {
                    broken.push(format!("{id} passes: take it off its list"));
                }
            }
            Outcome::Failed(differences) | Outcome::Deviates(_, differences) => {
                // Cases that are not in the tree are on no list: what they are must tell.
                let by_nature = match outcome {
                    Outcome::Deviates(deviation, _) if foreign => Some(*deviation),
                    _ => None,
                };
                if let Some(deviation) = by_nature {
                    *by_rule.entry(deviation).or_default() += 1;
                }
                let expected = listed || by_nature.is_some();
                if expected {
                    deviating += 1;
                    counts[1] += 1;
                } else {
                    failed += 1;
                    counts[2] += 1;
                    broken.push(format!("{id} fails"));
                }
                if verbose || !expected && shown < SHOWN {
                    shown += 1;
                    let limit = if verbose { usize::MAX } else { 3 };
                    println!("--- {id}");
                    differences.iter().take(limit).for_each(|difference| println!("    {difference}"));
                }
            }
            Outcome::Unsupported(what) => {
                counts[3] += 1;
                *unsupported.entry(what).or_default() += 1;
            }
        }
    }
    if all && !foreign {
        let ids: std::collections::BTreeSet<_> = outcomes.iter().map(|(id, _)| id).collect();
        let stale = deviations.keys().filter(|id| !ids.contains(id));
        broken.extend(stale.map(|id| format!("{id} is on a list, but there is no such case")));
    }
    println!("\n{:<28}{:>9}{:>9}{:>9}{:>9}", "file", "passed", "deviates", "failed", "unsup.");
    for (file, [passed, deviates, failed, unsupported]) in &by_file {
        println!("{file:<28}{passed:>9}{deviates:>9}{failed:>9}{unsupported:>9}");
    }
    if !unsupported.is_empty() {
        println!("\nunsupported, by what is missing first:");
        let mut by_count: Vec<_> = unsupported.iter().collect();
        by_count.sort_by_key(|(what, count)| (std::cmp::Reverse(**count), **what));
        by_count.iter().for_each(|(what, count)| println!("{count:>6}  {what}"));
    }
    if verbose {
        println!("\ndeviations, on the list:");
        let here = deviations.iter().filter(|(id, _)| outcomes.iter().any(|(known, _)| known == *id));
        here.for_each(|(id, reason)| println!("    {id}: {reason}"));
    }
    if !by_rule.is_empty() {
        println!("\ndeviations, by what the case is:");
        by_rule.iter().for_each(|(deviation, count)| println!("{count:>6}  {deviation}"));
    }
    let ok = broken.is_empty();
    if !ok {
        println!("\n{} against the lists:", broken.len());
        broken.iter().take(if verbose { usize::MAX } else { 40 }).for_each(|line| println!("    {line}"));
    }
    let (verdict, seconds) = (if ok { "ok" } else { "FAILED" }, took.as_secs_f64());
    println!("\ndifferent by decision, each with its reason: {deviating}");
    println!("test result: {verdict}. {passed} passed; {failed} failed; finished in {seconds:.2}s");
    let unsupported: usize = unsupported.values().sum();
    println!("oracle: {passed} passed, {failed} failed, {unsupported} unsupported");
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
