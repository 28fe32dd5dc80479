//! What a round writes, and what must come of it. Both follow from a seed and from the time at which the round began.
//!
//! The time of the records is not the clock's: a step takes [`TICK_MS`], and a record with the id `n` is of step `n`. So
//! it is the same for every record how late it may come before a window closes without it, however long a broker is away.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use fastrand::Rng;

use crate::{
    ids::Ids,
    names::Input,
    topology::{DIFFERENCE, GRACE, NOTHING, WINDOW},
};

/// The time of the records between two steps, in milliseconds.
pub const TICK_MS: i64 = 100;
/// How many steps may be on their way to the broker at once. Half of what windows wait for what is late.
pub const STEPS_IN_FLIGHT: usize = 150;
/// Keys of records that only move time on, or ask for a global table's row. They are in no expectation.
pub const MARKER: char = '~';

const WORDS: u32 = 40;
const USERS: u32 = 12;
const ORDERS: u32 = 60;
const CUSTOMERS: u32 = 20;
const RATES: u32 = 8;
/// Customers that are there before the application starts, and never change.
const REGULARS: u32 = 5;
/// What the keys of orders begin with that come once, of a customer that never changes: each has one bill.
pub const SINGLE_ORDER: char = 'q';

/// A record of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputRecord {
    /// The topic.
    pub input: Input,
    /// The key, if it has one.
    pub key: Option<String>,
    /// The value; `None` is a tombstone.
    pub value: Option<String>,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// The partition, where it is not the key's.
    pub partition: Option<i32>,
}

/// Records set back in time from some step on, where no clock can be set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetBack {
    /// The first step that is set back.
    pub from_step: u32,
    /// By how much.
    pub by: Duration,
}

/// The records of a round, by steps, and what must come of them.
#[derive(Clone, Debug)]
pub struct Model {
    /// What is there before the application starts: the rows of the global table, and customers that never change.
    pub before: Vec<InputRecord>,
    /// What is written in each step, in order.
    pub steps: Vec<Vec<InputRecord>>,
    /// What must come of it.
    pub expected: Expected,
    end: i64,
}

/// What the outputs must hold in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// By word the lines it is in; the count is at least as high.
    pub words: BTreeMap<String, Ids>,
    /// By `USER@START` the visits of a closed window.
    pub windows: BTreeMap<String, Ids>,
    /// Pairs by key.
    pub joined: BTreeMap<String, String>,
    /// By order its row; `None` if it is deleted in the end.
    pub bills: BTreeMap<String, Option<String>>,
    /// Pairs of the join of tables by key.
    pub cards: BTreeMap<String, String>,
    /// By payment the rate that it names.
    pub priced: BTreeMap<String, String>,
    /// By rate what its row begins with, and its last version.
    pub rates: BTreeMap<String, (String, u32)>,
    /// The probes of rates that every partition must answer with the last version.
    pub probes: BTreeSet<String>,
    /// Events by id, with their value.
    pub unique: BTreeMap<String, String>,
}

impl Model {
    /// The records of so many steps that begin at `start_ms`, for topics of so many partitions.
    pub fn new(seed: u64, steps: u32, partitions: i32, start_ms: i64, set_back: Option<SetBack>) -> Self {
        let window = millis(WINDOW);
        // On a window's beginning, so that a seed gives the same windows at any time.
        let start = start_ms - start_ms.rem_euclid(window);
        let mut writer = Writer { rng: Rng::with_seed(seed), start, set_back, steps: vec![Vec::new(); steps as usize] };
        let mut expected = Expected::default();
        let mut before = writer.rates(&mut expected, partitions);
        before.extend(writer.regulars());
        for step in 0..steps {
            writer.line(step, &mut expected);
            writer.visit(step, &mut expected);
            writer.pair(step, &mut expected);
            writer.card(step, &mut expected);
            writer.single_order(step, &mut expected);
            writer.payment(step, &mut expected);
            writer.event(step, &mut expected);
        }
        writer.tables(&mut expected);
        Self { before, steps: writer.steps, expected, end: start + i64::from(steps) * TICK_MS }
    }

    /// Records that close every window of `n`'s predecessors, for each partition, and ask for every rate.
    pub fn markers(&self, n: u32, partitions: i32) -> Vec<InputRecord> {
        let timestamp = self.end + millis(GRACE) + (2 + i64::from(n)) * millis(WINDOW);
        let mut markers = Vec::new();
        for partition in 0..partitions {
            for input in [Input::Visits, Input::Left, Input::Right] {
                markers.push(InputRecord {
                    input,
                    key: Some(format!("{MARKER}{n}")),
                    value: Some("0".to_owned()),
                    timestamp,
                    partition: Some(partition),
                });
            }
            for rate in self.expected.rates.keys() {
                markers.push(InputRecord {
                    input: Input::Payments,
                    key: Some(probe(partition, rate)),
                    value: Some(rate.clone()),
                    timestamp,
                    partition: Some(partition),
                });
            }
        }
        markers
    }
}

fn probe(partition: i32, rate: &str) -> String {
    format!("{MARKER}{partition}-{rate}")
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Draws records and notes what they mean.
struct Writer {
    rng: Rng,
    start: i64,
    set_back: Option<SetBack>,
    steps: Vec<Vec<InputRecord>>,
}

impl Writer {
    fn time(&self, step: u32) -> i64 {
        self.start + i64::from(step) * TICK_MS
    }

    /// Where time does not decide about results, it may be set back.
    fn time_set_back(&self, step: u32) -> i64 {
        let by = self.set_back.filter(|back| step >= back.from_step).map_or(0, |back| millis(back.by));
        self.time(step) - by
    }

    /// Notes a record of a step; a step behind the last one is the last one.
    fn write(&mut self, step: u32, input: Input, key: Option<String>, value: Option<String>) {
        let last = u32::try_from(self.steps.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let step = step.min(last);
        let timed = matches!(input, Input::Visits | Input::Left | Input::Right);
        let timestamp = if timed { self.time(step) } else { self.time_set_back(step) };
        if let Some(records) = self.steps.get_mut(step as usize) {
            records.push(InputRecord { input, key, value, timestamp, partition: None });
        }
    }

    fn line(&mut self, step: u32, expected: &mut Expected) {
        let mut words = BTreeSet::new();
        while words.len() < 3 {
            words.insert(format!("w{}", self.rng.u32(0..WORDS)));
        }
        for word in &words {
            expected.words.entry(word.clone()).or_default().insert(step);
        }
        let words = words.into_iter().collect::<Vec<_>>().join(" ");
        self.write(step, Input::Lines, None, Some(format!("{step} {words}")));
    }

    fn visit(&mut self, step: u32, expected: &mut Expected) {
        let user = format!("u{}", self.rng.u32(0..USERS));
        let start = self.time(step) - self.time(step).rem_euclid(millis(WINDOW));
        expected.windows.entry(format!("{user}@{start}")).or_default().insert(step);
        self.write(step, Input::Visits, Some(user), Some(step.to_string()));
    }

    /// A left, a right, or both in either order, at most half of what a join bridges apart.
    fn pair(&mut self, step: u32, expected: &mut Expected) {
        let key = format!("k{step}");
        let (left, right) = (format!("L{step}"), format!("R{step}"));
        let other = step + self.rng.u32(0..=u32::try_from(millis(DIFFERENCE) / TICK_MS / 2).unwrap_or(0));
        let value = match self.rng.u8(0..4) {
            0 => {
                self.write(step, Input::Left, Some(key.clone()), Some(left.clone()));
                format!("{left}+{NOTHING}")
            }
            1 => {
                self.write(step, Input::Right, Some(key.clone()), Some(right.clone()));
                format!("{NOTHING}+{right}")
            }
            order => {
                let (first, second) = if order == 2 { (step, other) } else { (other, step) };
                self.write(first, Input::Left, Some(key.clone()), Some(left.clone()));
                self.write(second, Input::Right, Some(key.clone()), Some(right.clone()));
                format!("{left}+{right}")
            }
        };
        expected.joined.insert(key, value);
    }

    /// A row of each table, in either order and up to twenty steps apart.
    fn card(&mut self, step: u32, expected: &mut Expected) {
        let key = format!("t{step}");
        let other = step + self.rng.u32(0..20);
        let (profile, address) = (format!("P{step}"), format!("A{step}"));
        let (left, right) = if self.rng.bool() { (step, other) } else { (other, step) };
        self.write(left, Input::Profiles, Some(key.clone()), Some(profile.clone()));
        self.write(right, Input::Addresses, Some(key.clone()), Some(address.clone()));
        expected.cards.insert(key, format!("{profile}+{address}"));
    }

    fn regulars(&self) -> Vec<InputRecord> {
        let row = |n| InputRecord {
            input: Input::Customers,
            key: Some(format!("f{n}")),
            value: Some(format!("F{n}")),
            timestamp: self.start,
            partition: None,
        };
        (0..REGULARS).map(row).collect()
    }

    fn single_order(&mut self, step: u32, expected: &mut Expected) {
        let (order, regular) = (format!("{SINGLE_ORDER}{step}"), self.rng.u32(0..REGULARS));
        let row = format!("f{regular}|{step}");
        expected.bills.insert(order.clone(), Some(format!("{row}|F{regular}")));
        self.write(step, Input::Orders, Some(order), Some(row));
    }

    fn payment(&mut self, step: u32, expected: &mut Expected) {
        let (payment, rate) = (format!("p{step}"), format!("r{}", self.rng.u32(0..RATES)));
        expected.priced.insert(payment.clone(), rate.clone());
        self.write(step, Input::Payments, Some(payment), Some(rate));
    }

    /// Once, twice or three times, within twenty steps.
    fn event(&mut self, step: u32, expected: &mut Expected) {
        let (event, value) = (format!("e{step}"), format!("v{step}"));
        expected.unique.insert(event.clone(), value.clone());
        self.write(step, Input::Events, Some(event.clone()), Some(value.clone()));
        for _ in 0..self.rng.u8(0..3) {
            let again = step + self.rng.u32(0..20);
            self.write(again, Input::Events, Some(event.clone()), Some(value.clone()));
        }
    }

    /// The first rows of the global table, and their later versions.
    fn rates(&mut self, expected: &mut Expected, partitions: i32) -> Vec<InputRecord> {
        let timestamp = self.start;
        let row = |rate: u32, version: u32| (format!("r{rate}"), format!("base{rate}:{version}"));
        let mut before = Vec::new();
        for rate in 0..RATES {
            let (key, value) = row(rate, 0);
            expected.rates.insert(key.clone(), (format!("base{rate}:"), 0));
            expected.probes.extend((0..partitions).map(|partition| probe(partition, &key)));
            before.push(InputRecord {
                input: Input::Rates,
                key: Some(key),
                value: Some(value),
                timestamp,
                partition: None,
            });
        }
        for step in (0..u32::try_from(self.steps.len()).unwrap_or(u32::MAX)).step_by(10) {
            let rate = self.rng.u32(0..RATES);
            let key = format!("r{rate}");
            let Some((_, version)) = expected.rates.get_mut(&key) else { continue };
            *version += 1;
            let (key, value) = row(rate, *version);
            self.write(step, Input::Rates, Some(key), Some(value));
        }
        before
    }

    /// Orders and customers, changed and deleted at random; the last state of both is what the join must show.
    fn tables(&mut self, expected: &mut Expected) {
        let (mut orders, mut customers) = (BTreeMap::new(), BTreeMap::new());
        for step in 0..u32::try_from(self.steps.len()).unwrap_or(u32::MAX) {
            let order = format!("o{}", self.rng.u32(0..ORDERS));
            let deleted = self.rng.u8(0..20) == 0;
            let row = (!deleted).then(|| format!("c{}|{step}", self.rng.u32(0..CUSTOMERS)));
            orders.insert(order.clone(), row.clone());
            self.write(step, Input::Orders, Some(order), row);
            if step % 5 == 0 {
                let customer = format!("c{}", self.rng.u32(0..CUSTOMERS));
                let row = (self.rng.u8(0..20) != 0).then(|| format!("n{step}"));
                customers.insert(customer.clone(), row.clone());
                self.write(step, Input::Customers, Some(customer), row);
            }
        }
        for (order, row) in orders {
            let bill = row.map(|row| {
                let customer = row.split_once('|').and_then(|(customer, _)| customers.get(customer)?.clone());
                format!("{row}|{}", customer.unwrap_or_else(|| NOTHING.to_owned()))
            });
            expected.bills.insert(order, bill);
        }
    }
}

#[cfg(test)]
#[path = "model/tests.rs"]
mod tests;
