//! What producers sent and were told, against what readers of committed records see.

use std::collections::{BTreeMap, BTreeSet};

use vltava_protocol::record::Decompressor;
use vltava_protocol::record::control::ControlRecordType;

use super::broker::DATA_PARTITIONS;
use crate::coordinator::memory_log::MemoryLog;

/// What is known of a transaction of some producer.
#[derive(Debug, Default)]
struct Transaction {
    /// The partitions of the records that were sent.
    sent: BTreeMap<u64, i32>,
    acknowledged: BTreeSet<u64>,
    offset_acknowledged: bool,
    /// Whether it is committed, if anybody was told.
    told: Option<bool>,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Truth {
    transactions: Vec<Transaction>,
    /// The transactions of records.
    owners: BTreeMap<u64, u64>,
    next_value: u64,
    /// By transactional id, how many producers came one after the other.
    generations: BTreeMap<&'static str, u64>,
    /// Which of them a producer id and epoch was given to.
    given: BTreeMap<(i64, i16), u64>,
    /// Records that were appended when their producer was fenced.
    tainted: BTreeSet<u64>,
    /// By partition: where it ended, and what was seen.
    views: BTreeMap<i32, (i64, Vec<u64>)>,
}

impl Truth {
    /// A transaction begins; gives its number.
    pub(super) fn begin(&mut self) -> u64 {
        self.transactions.push(Transaction::default());
        self.transactions.len() as u64 - 1
    }

    /// A record is sent, which nobody sent before.
    pub(super) fn send(&mut self, transaction: u64, partition: i32) -> u64 {
        self.next_value += 1;
        self.owners.insert(self.next_value, transaction);
        self.transactions[transaction as usize].sent.insert(self.next_value, partition);
        self.next_value
    }

    pub(super) fn acknowledge(&mut self, transaction: u64, value: u64) {
        self.transactions[transaction as usize].acknowledged.insert(value);
    }

    pub(super) fn acknowledge_offset(&mut self, transaction: u64) {
        self.transactions[transaction as usize].offset_acknowledged = true;
    }

    pub(super) fn tell(&mut self, transaction: u64, committed: bool) {
        let told = self.transactions[transaction as usize].told.replace(committed);
        assert!(told.is_none_or(|told| told == committed), "{transaction} is told both");
    }

    /// A producer is told its id and epoch: whoever had the transactional id before is fenced. One that asks again is told
    /// the same.
    pub(super) fn give(&mut self, id: &'static str, producer: (i64, i16)) {
        if !self.given.contains_key(&producer) {
            let generation = self.generations.entry(id).or_default();
            *generation += 1;
            self.given.insert(producer, *generation);
        }
    }

    /// The generation of a producer.
    pub(super) fn generation_of(&self, producer: (i64, i16)) -> u64 {
        self.given[&producer]
    }

    /// A record is in a log, of a producer of a generation.
    pub(super) fn appended(&mut self, id: &'static str, generation: u64, value: u64) {
        if generation < self.generations[id] {
            self.tainted.insert(value);
        }
    }

    /// Checks what readers see now.
    pub(super) fn check(&mut self, data: &MemoryLog) {
        for partition in 0..DATA_PARTITIONS {
            let end = data.end(partition);
            if self.views.get(&partition).is_some_and(|(then, _)| *then == end) {
                continue;
            }
            let (all, seen) = view(data, partition);
            let before = self.views.insert(partition, (end, seen.clone())).unwrap_or_default().1;
            assert!(seen.starts_with(&before), "what was seen of {partition} is not any more: {before:?}, {seen:?}");
            let once: BTreeSet<_> = seen.iter().copied().collect();
            assert_eq!(once.len(), seen.len(), "a record is seen twice: {seen:?}");
            let owners: BTreeSet<_> = seen.iter().map(|value| self.owners[value]).collect();
            for owner in owners {
                assert_ne!(self.transactions[owner as usize].told, Some(false), "{owner} was aborted, and is seen");
            }
            for value in &all {
                let owner = self.owners[value];
                let any = seen.iter().any(|value| self.owners[value] == owner);
                assert!(once.contains(value) || !any, "a part of {owner} is seen in {partition}");
            }
            let tainted = seen.iter().find(|value| self.tainted.contains(value));
            assert_eq!(tainted, None, "a producer that was fenced added something");
        }
    }

    /// Checks what is seen when nothing is under way any more; tells what was the case.
    pub(super) fn check_end(&self, data: &MemoryLog, offsets: &BTreeSet<u64>) -> Vec<&'static str> {
        let seen: BTreeSet<u64> = (0..DATA_PARTITIONS).flat_map(|partition| view(data, partition).1).collect();
        let mut notes = Vec::new();
        for (number, transaction) in self.transactions.iter().enumerate() {
            let sees = transaction.sent.keys().filter(|value| seen.contains(value)).count();
            let has_offset = offsets.contains(&(number as u64));
            let is_committed = match transaction.told {
                Some(told) => told,
                None => {
                    notes.push("never told");
                    sees > 0 || has_offset
                }
            };
            let of = format!("transaction {number}, {transaction:?}, offset {has_offset}, seen {sees}");
            if is_committed {
                assert!(transaction.acknowledged.is_subset(&seen), "a committed record is lost: {of}");
                assert!(has_offset || !transaction.offset_acknowledged, "a committed offset is lost: {of}");
            } else {
                assert!(sees == 0 && !has_offset, "something of an aborted transaction is seen: {of}");
            }
        }
        notes
    }
}

/// The records of a partition below its last stable offset: all of them, and those that a reader of committed ones sees.
fn view(data: &MemoryLog, partition: i32) -> (Vec<u64>, Vec<u64>) {
    let batches = data.batches_of(partition);
    let stable = data.with_producers(partition, |producers| producers.first_unstable_offset()).unwrap_or(i64::MAX);
    let mut decompressor = Decompressor::new();
    let (mut all, mut seen) = (Vec::new(), Vec::new());
    for (at, batch) in batches.iter().enumerate() {
        let header = batch.header();
        if header.is_control() {
            continue;
        }
        let end = batches[at..]
            .iter()
            .find(|later| later.header().is_control() && later.header().producer_id() == header.producer_id());
        let is_committed = end.is_some_and(|end| {
            let record = end.records(&mut decompressor).unwrap().next().unwrap().unwrap();
            ControlRecordType::parse(record.key()).unwrap() == ControlRecordType::Commit
        });
        for record in batch.records(&mut decompressor).unwrap().map(Result::unwrap) {
            let value = u64::from_be_bytes(record.value().unwrap().try_into().unwrap());
            if record.offset() < stable {
                all.push(value);
                seen.extend(is_committed.then_some(value));
            }
        }
    }
    (all, seen)
}
