//! What came out, held against what must.
//!
//! Results of streams (windows that have closed, pairs, payments, events) must each come at least once, and nothing may
//! come that the inputs do not give in any order. Of tables the last value of each key counts: exactly right, but for the
//! plain count, which is at least the truth, since what was not committed is counted again. Windows are both: every
//! result of a closed window is its last, so each that comes must be whole.
//!
//! Exactly once more is promised of who reads what is committed: no result of a stream comes twice, and a count goes on by
//! one (where a cache may leave values out, by one or more) and ends at the truth.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{
    ids::Ids,
    model::{Expected, MARKER, SINGLE_ORDER},
    names::Output,
};

/// What is wrong with one result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It never came.
    Missing,
    /// A table's last value, or the result of a window, is not the right one.
    Wrong,
    /// It came, and no order of the inputs gives it.
    Unexpected,
    /// It came again, or a count came that does not follow the one before it.
    Repeated,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Missing => "missing",
            Fault::Wrong => "wrong",
            Fault::Unexpected => "unexpected",
            Fault::Repeated => "repeated",
        })
    }
}

/// One result that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Which part of the application.
    pub output: Output,
    /// What is wrong.
    pub fault: Fault,
    /// The key, with what was expected and what came.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}: {}", self.fault, self.output.part(), self.text)
    }
}

/// What is promised of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// None is missing.
    AtLeastOnce,
    /// None is missing, and none comes twice.
    ExactlyOnce {
        /// Whether caches may leave out values of tables.
        cached: bool,
    },
}

/// What came out so far.
#[derive(Debug)]
pub struct Checker<'a> {
    expected: &'a Expected,
    guarantee: Guarantee,
    /// By output the last value of each key; `None` is a tombstone.
    tables: BTreeMap<Output, BTreeMap<String, Option<String>>>,
    /// Streams' results that are as they must be.
    found: BTreeSet<(Output, String)>,
    /// Results that may not be.
    never: BTreeSet<Finding>,
    results: u64,
}

impl<'a> Checker<'a> {
    /// Nothing has come yet.
    pub fn new(expected: &'a Expected, guarantee: Guarantee) -> Self {
        Self {
            expected,
            guarantee,
            tables: BTreeMap::new(),
            found: BTreeSet::new(),
            never: BTreeSet::new(),
            results: 0,
        }
    }

    /// Takes one record of an output, in the order of its partition.
    pub fn take(&mut self, output: Output, key: &str, value: Option<&str>) {
        self.results += 1;
        if key.starts_with(MARKER) {
            if output == Output::Priced {
                self.put(output, key, value);
            }
            return;
        }
        match output {
            Output::Windows => {
                self.whole(output, key, value, self.expected.windows.get(key).map(Ids::to_string).as_deref());
            }
            Output::Joined => self.whole(output, key, value, self.expected.joined.get(key).map(String::as_str)),
            Output::Unique => self.whole(output, key, value, self.expected.unique.get(key).map(String::as_str)),
            Output::Cards => self.whole(output, key, value, self.expected.cards.get(key).map(String::as_str)),
            Output::Priced => self.priced(key, value),
            Output::Counts | Output::Words => {
                self.follows(output, key, value);
                self.put(output, key, value);
            }
            Output::Bills if self.is_exact() && key.starts_with(SINGLE_ORDER) => {
                let right = self.expected.bills.get(key).and_then(Option::as_deref);
                self.whole(output, key, value, right);
                self.put(output, key, value);
            }
            Output::Bills | Output::WordsChangelog | Output::SeenChangelog => self.put(output, key, value),
        }
    }

    /// How many records were taken.
    pub fn results(&self) -> u64 {
        self.results
    }

    /// All that is not as it must be, if nothing more comes.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.never.iter().cloned().collect();
        let expected = self.expected;
        self.each_once(Output::Windows, expected.windows.keys(), &mut findings);
        self.each_once(Output::Joined, expected.joined.keys(), &mut findings);
        self.each_once(Output::Unique, expected.unique.keys(), &mut findings);
        self.each_once(Output::Cards, expected.cards.keys(), &mut findings);
        self.each_once(Output::Priced, expected.priced.keys(), &mut findings);
        self.counts(&mut findings);
        for output in [Output::Words, Output::WordsChangelog] {
            let rows = expected.words.iter().map(|(word, ids)| (word, Some(ids.to_string())));
            self.table(output, rows, describe_ids, &mut findings);
        }
        let bills = expected.bills.iter().map(|(order, row)| (order, row.clone()));
        self.table(Output::Bills, bills, describe, &mut findings);
        let seen = expected.unique.iter().map(|(event, value)| (event, Some(value.clone())));
        self.table(Output::SeenChangelog, seen, describe, &mut findings);
        self.probes(&mut findings);
        findings.sort();
        findings
    }

    fn put(&mut self, output: Output, key: &str, value: Option<&str>) {
        self.tables.entry(output).or_default().insert(key.to_owned(), value.map(str::to_owned));
    }

    fn last(&self, output: Output, key: &str) -> Option<&Option<String>> {
        self.tables.get(&output)?.get(key)
    }

    fn is_exact(&self) -> bool {
        self.guarantee != Guarantee::AtLeastOnce
    }

    /// A result of a stream is there; exactly once, not for the second time.
    fn find(&mut self, output: Output, key: &str, value: Option<&str>) {
        if !self.found.insert((output, key.to_owned())) && self.is_exact() {
            let text = format!("{key} = {}", value.unwrap_or("null"));
            self.never.insert(Finding { output, fault: Fault::Repeated, text });
        }
    }

    /// How much a value of a count or of a set of ids stands for.
    fn size(output: Output, value: Option<&String>) -> Option<usize> {
        match output {
            Output::Counts => value?.parse().ok(),
            _ => value?.parse::<Ids>().ok().map(|ids| ids.len()),
        }
    }

    /// Exactly once, a table that only grows goes on from where it was.
    fn follows(&mut self, output: Output, key: &str, value: Option<&str>) {
        let Guarantee::ExactlyOnce { cached } = self.guarantee else { return };
        let before = self.last(output, key).and_then(Option::as_ref);
        let was = before.map_or(Some(0), |before| Self::size(output, Some(before)));
        let is = Self::size(output, value.map(str::to_owned).as_ref());
        let grown = was.zip(is).and_then(|(was, is)| is.checked_sub(was));
        if grown.is_none_or(|by| by == 0 || (by > 1 && !cached)) {
            let text = describe(key, Some("one more"), value) + &format!(" after {before:?}");
            self.never.insert(Finding { output, fault: Fault::Repeated, text });
        }
    }

    /// A result that has one right value.
    fn whole(&mut self, output: Output, key: &str, value: Option<&str>, right: Option<&str>) {
        if right.is_some() && value == right {
            self.find(output, key, value);
            return;
        }
        let fault = if output == Output::Windows && right.is_some() { Fault::Wrong } else { Fault::Unexpected };
        let text =
            if output == Output::Windows { describe_ids(key, right, value) } else { describe(key, right, value) };
        self.never.insert(Finding { output, fault, text });
    }

    /// A payment is `RATE=ROW`, and a row its base and a version that there has been.
    fn priced(&mut self, key: &str, value: Option<&str>) {
        let rate = self.expected.priced.get(key);
        let last = rate.and_then(|rate| self.expected.rates.get(rate));
        let version = rate.zip(last).and_then(|(rate, (base, _))| version(value?, rate, base));
        match (version, last) {
            (Some(version), Some((_, last))) if version <= *last => self.find(Output::Priced, key, value),
            _ => {
                let right = rate.zip(last).map(|(rate, (base, last))| format!("{rate}={base}0 to {last}"));
                let text = describe(key, right.as_deref(), value);
                self.never.insert(Finding { output: Output::Priced, fault: Fault::Unexpected, text });
            }
        }
    }

    fn each_once<'k>(&self, output: Output, keys: impl Iterator<Item = &'k String>, findings: &mut Vec<Finding>) {
        for key in keys.filter(|key| !self.found.contains(&(output, (*key).clone()))) {
            findings.push(Finding { output, fault: Fault::Missing, text: key.clone() });
        }
    }

    fn counts(&self, findings: &mut Vec<Finding>) {
        let output = Output::Counts;
        for (word, ids) in &self.expected.words {
            let (truth, count) = (ids.len().to_string(), self.last(output, word));
            let is_enough = count.and_then(Option::as_ref).and_then(|count| count.parse::<usize>().ok());
            match is_enough {
                Some(count) if count == ids.len() || (count > ids.len() && !self.is_exact()) => {}
                Some(count) => {
                    let right = if self.is_exact() { truth } else { format!("at least {truth}") };
                    let text = describe(word, Some(&right), Some(&count.to_string()));
                    findings.push(Finding { output, fault: Fault::Wrong, text });
                }
                None => findings.push(Finding { output, fault: Fault::Missing, text: word.clone() }),
            }
        }
    }

    /// The last values of a table. A row that is deleted in the end need never have been seen.
    fn table<'k>(
        &self,
        output: Output,
        rows: impl Iterator<Item = (&'k String, Option<String>)>,
        describe: fn(&str, Option<&str>, Option<&str>) -> String,
        findings: &mut Vec<Finding>,
    ) {
        let mut known = BTreeSet::new();
        for (key, right) in rows {
            known.insert(key);
            match self.last(output, key) {
                Some(last) if *last == right => {}
                None if right.is_none() => {}
                None => findings.push(Finding { output, fault: Fault::Missing, text: key.clone() }),
                Some(last) => {
                    let text = describe(key, right.as_deref(), last.as_deref());
                    findings.push(Finding { output, fault: Fault::Wrong, text });
                }
            }
        }
        for (key, value) in self.tables.get(&output).into_iter().flatten().filter(|(key, _)| !known.contains(key)) {
            let text = describe(key, None, value.as_deref());
            findings.push(Finding { output, fault: Fault::Unexpected, text });
        }
    }

    /// Every partition must answer with the last version of every rate.
    fn probes(&self, findings: &mut Vec<Finding>) {
        let output = Output::Priced;
        for probe in &self.expected.probes {
            let rate = probe.split_once('-').map_or("", |(_, rate)| rate);
            let right = self.expected.rates.get(rate).map(|(base, version)| format!("{rate}={base}{version}"));
            match self.last(output, probe) {
                None => findings.push(Finding { output, fault: Fault::Missing, text: probe.clone() }),
                Some(last) if *last == right => {}
                Some(last) => {
                    let text = describe(probe, right.as_deref(), last.as_deref());
                    findings.push(Finding { output, fault: Fault::Wrong, text });
                }
            }
        }
    }
}

fn version(value: &str, rate: &str, base: &str) -> Option<u32> {
    value.strip_prefix(rate)?.strip_prefix('=')?.strip_prefix(base)?.parse().ok()
}

fn describe(key: &str, right: Option<&str>, value: Option<&str>) -> String {
    format!("{key}: {} where {} is right", value.unwrap_or("null"), right.unwrap_or("nothing"))
}

/// Sets may be long: what they differ by is told.
fn describe_ids(key: &str, right: Option<&str>, value: Option<&str>) -> String {
    let ids = |text: Option<&str>| text.unwrap_or_default().parse::<Ids>();
    match (ids(right), ids(value)) {
        (Ok(right), Ok(value)) => {
            let (lacks, extra) = (right.without(&value), value.without(&right));
            format!("{key}: {} of {} ids; lacks [{lacks}], has [{extra}] too", value.len(), right.len())
        }
        _ => describe(key, right, value),
    }
}

#[cfg(test)]
#[path = "check/tests.rs"]
mod tests;
