//! When the records of changelogs are given to the producer, and in which order.
//!
//! See the [promise](super) that this keeps: what it needs to know of a task is which changelogs its stores have, which of
//! them lie further downstream, and where something downstream is kept in memory until a commit.

use std::{cmp::Reverse, ops::Range, sync::Arc};

use vltava_client::producer::RecordTag;

use crate::{record::Headers, task::ProducerRecord, topology::WrittenChangelog};

/// So many bytes of records that wait for a commit, and one is wanted at once.
const MUCH: usize = 2 << 20;

/// A record that waits.
struct Kept {
    changelog: usize,
    rank: usize,
    timestamp: Option<i64>,
    headers: Headers,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    tag: RecordTag,
}

/// Records that wait for the same, with the bytes of their keys and values.
#[derive(Default)]
struct Lot {
    records: Vec<Kept>,
    bytes: Vec<u8>,
}

impl Lot {
    fn copy(&mut self, bytes: Option<&[u8]>) -> Option<Range<usize>> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes?);
        Some(start..self.bytes.len())
    }

    /// Gives all of them, those of the stores furthest downstream first.
    fn give(&mut self, changelogs: &[WrittenChangelog], give: &mut impl FnMut(ProducerRecord<'_>, RecordTag)) {
        if self.records.is_empty() {
            return;
        }
        // Of one changelog, and of stores at one node, they stay in their order.
        self.records.sort_by_key(|kept| Reverse(kept.rank));
        for Kept { changelog, timestamp, headers, key, value, tag, .. } in &self.records {
            let Some(changelog) = changelogs.get(*changelog) else { continue };
            let slice = |range: &Option<Range<usize>>| range.clone().and_then(|range| self.bytes.get(range));
            let record = ProducerRecord {
                topic: &changelog.topic,
                partition: Some(changelog.partition),
                timestamp: *timestamp,
                headers,
                key: slice(key),
                value: slice(value),
            };
            give(record, *tag);
        }
        self.records.clear();
        self.bytes.clear();
    }
}

/// The changelog records of a task's unit of work, and those that wait for a flush.
#[derive(Default)]
pub(super) struct Unit {
    changelogs: Vec<WrittenChangelog>,
    /// Whether there is an order among the changelogs at all.
    is_ordered: bool,
    of_unit: Lot,
    until_flush: Lot,
}

impl Unit {
    pub(super) fn new(changelogs: Vec<WrittenChangelog>) -> Self {
        let first = changelogs.first().map(|changelog| changelog.rank);
        let is_ordered = changelogs.iter().any(|changelog| Some(changelog.rank) != first || changelog.until_flush);
        Unit { changelogs, is_ordered, ..Unit::default() }
    }

    /// Where no order is needed, for all is one transaction.
    pub(super) fn without_order(changelogs: Vec<WrittenChangelog>) -> Self {
        Unit { changelogs, ..Unit::default() }
    }

    /// Keeps a record until its unit of work is over. False if there is no need, or it is no changelog's of the task.
    pub(super) fn keep(&mut self, record: &ProducerRecord<'_>, tag: RecordTag) -> bool {
        if !self.is_ordered {
            return false;
        }
        let found = self.changelogs.iter().enumerate().find(|(_, changelog)| *changelog.topic == **record.topic);
        let Some((changelog, &WrittenChangelog { rank, until_flush, .. })) = found else { return false };
        let lot = if until_flush { &mut self.until_flush } else { &mut self.of_unit };
        let (key, value) = (lot.copy(record.key), lot.copy(record.value));
        let (timestamp, headers) = (record.timestamp, record.headers.clone());
        lot.records.push(Kept { changelog, rank, timestamp, headers, key, value, tag });
        true
    }

    /// The unit of work is over: gives what it kept. What waits for a flush of the caches goes only behind one, and behind
    /// the rest, all of which is further downstream.
    pub(super) fn end(&mut self, flushed: bool, mut give: impl FnMut(ProducerRecord<'_>, RecordTag)) {
        self.of_unit.give(&self.changelogs, &mut give);
        if flushed {
            self.until_flush.give(&self.changelogs, &mut give);
        }
    }

    /// Whether so much waits for a commit that there should be one.
    pub(super) fn is_large(&self) -> bool {
        self.until_flush.bytes.len() >= MUCH
    }

    /// Forgets what was kept.
    pub(super) fn clear(&mut self) {
        self.of_unit = Lot::default();
        self.until_flush = Lot::default();
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.changelogs.iter().map(|changelog| &changelog.topic)
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = (&str, i32)> {
        self.changelogs.iter().map(|changelog| (&*changelog.topic, changelog.partition))
    }
}
