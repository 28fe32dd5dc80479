//! A list of batches and markers as the model of a log that several producers write transactions to: what its readers see
//! under commits, aborts, retention, compaction, truncation and kills.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use proptest::prelude::*;
use proptest::sample::Index;
use vltava_protocol::TimestampMs;
use vltava_protocol::record::control::EndTransactionMarker;
use vltava_protocol::record::{Decompressor, RecordBatches};

use crate::cleaner::Cleaner;
use crate::testing::{NOW, TestLog, batch, idempotent, transactional};
use crate::{AppendContext, CleanerSettings, FetchIsolation, LogStartOffsetIncrementReason};

const PRODUCERS: i64 = 4;

#[derive(Clone, Debug)]
enum Operation {
    Plain,
    Idempotent(i64),
    Transactional(i64, u8),
    End(i64, bool),
    Roll,
    DeleteRecords(Index),
    Retention,
    Compact,
    TruncateTo(Index),
    Stop,
    /// A kill, perhaps with part of one more write behind what was written.
    Kill(Option<u8>),
    DamageSnapshots,
}

fn operation() -> impl Strategy<Value = Operation> {
    let producer = || 0..PRODUCERS;
    prop_oneof![
        3 => Just(Operation::Plain),
        2 => producer().prop_map(Operation::Idempotent),
        12 => (producer(), 1..4_u8).prop_map(|(producer, count)| Operation::Transactional(producer, count)),
        8 => (producer(), any::<bool>()).prop_map(|(producer, committed)| Operation::End(producer, committed)),
        3 => Just(Operation::Roll),
        1 => any::<Index>().prop_map(Operation::DeleteRecords),
        1 => Just(Operation::Retention),
        2 => Just(Operation::Compact),
        1 => any::<Index>().prop_map(Operation::TruncateTo),
        1 => Just(Operation::Stop),
        2 => prop::option::of(any::<u8>()).prop_map(Operation::Kill),
        1 => Just(Operation::DamageSnapshots),
    ]
}

/// What was appended, with the offsets that it got.
#[derive(Clone, Debug)]
enum Entry {
    Data { base: i64, values: Vec<String>, transaction_of: Option<i64> },
    Marker { offset: i64, producer: i64, committed: bool },
}

impl Entry {
    fn next_offset(&self) -> i64 {
        match self {
            Self::Data { base, values, .. } => base + values.len() as i64,
            Self::Marker { offset, .. } => offset + 1,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Plain,
    Open,
    Committed,
    Aborted,
}

#[derive(Default)]
struct Model {
    entries: Vec<Entry>,
    log_start_offset: i64,
    next_value: u32,
    /// Aborted data may be gone, and with it what is told of its transaction.
    was_compacted: bool,
}

impl Model {
    fn end(&self) -> i64 {
        self.entries.last().map_or(0, Entry::next_offset)
    }

    /// What became of each batch of data: its fate is in the next marker of its producer.
    fn fates(&self) -> Vec<(i64, &[String], Fate)> {
        let fate = |n: usize, producer: i64| {
            let next = self.entries.iter().skip(n + 1).find_map(|entry| match entry {
                Entry::Marker { producer: of, committed, .. } if *of == producer => Some(*committed),
                _ => None,
            });
            next.map_or(Fate::Open, |committed| if committed { Fate::Committed } else { Fate::Aborted })
        };
        let data = self.entries.iter().enumerate().filter_map(|(n, entry)| match entry {
            Entry::Data { base, values, transaction_of } => {
                let fate = transaction_of.map_or(Fate::Plain, |producer| fate(n, producer));
                Some((*base, values.as_slice(), fate))
            }
            Entry::Marker { .. } => None,
        });
        data.collect()
    }

    /// Offsets and values of the batches with such a fate, from the log start offset on.
    fn values(&self, has: impl Fn(&Fate) -> bool) -> Vec<(i64, String)> {
        let fates = self.fates().into_iter().filter(|(_, _, fate)| has(fate));
        let values = fates.flat_map(|(base, values, _)| (base..).zip(values.iter().cloned()));
        values.filter(|(offset, _)| *offset >= self.log_start_offset).collect()
    }

    /// What the last stable offset may be. Where the beginning of an open transaction is deleted, the log knows it still,
    /// or knows only what is left of it.
    fn last_stable_offsets(&self) -> BTreeSet<i64> {
        let mut open: BTreeMap<i64, Vec<&Entry>> = BTreeMap::new();
        for entry in &self.entries {
            match entry {
                Entry::Data { transaction_of: Some(producer), .. } => open.entry(*producer).or_default().push(entry),
                Entry::Marker { producer, .. } => _ = open.remove(producer),
                Entry::Data { .. } => {}
            }
        }
        let start = self.log_start_offset;
        let base = |entry: &Entry| match entry {
            Entry::Data { base, .. } => (*base).max(start),
            Entry::Marker { .. } => unreachable!(),
        };
        let mut allowed = BTreeSet::new();
        let mut first = self.end();
        for batches in open.values() {
            let visible = batches.iter().filter(|entry| entry.next_offset() > start).map(|entry| base(entry)).min();
            first = first.min(visible.unwrap_or(first));
            if batches.iter().any(|entry| matches!(entry, Entry::Data { base, .. } if *base < start)) {
                allowed.insert(start);
            }
        }
        allowed.insert(first);
        allowed
    }

    /// Producer, first and last offset of the aborted transactions that readers have to be told of, the first offset only
    /// where it is not deleted.
    fn aborted(&self) -> Vec<(i64, Option<i64>, i64)> {
        let mut open: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        let mut aborted = Vec::new();
        for entry in &self.entries {
            match entry {
                Entry::Data { base, transaction_of: Some(producer), .. } => {
                    open.entry(*producer).or_insert((*base, 0)).1 = entry.next_offset();
                }
                Entry::Data { .. } => {}
                Entry::Marker { offset, producer, committed } => {
                    if let Some((first, end)) = open.remove(producer)
                        && !committed
                        && end > self.log_start_offset
                    {
                        let first = Some(first).filter(|first| *first >= self.log_start_offset);
                        aborted.push((*producer, first, *offset));
                    }
                }
            }
        }
        aborted
    }
}

struct Harness {
    t: TestLog,
    model: Model,
    cleaned_to: Option<i64>,
    /// Below this a compaction acted on what became of transactions: nobody truncates that, as it is committed.
    settled: i64,
}

impl Harness {
    fn new() -> Self {
        let settings = [
            ("cleanup.policy", "compact,delete"),
            ("internal.segment.bytes", "900"),
            ("index.interval.bytes", "150"),
            ("retention.bytes", "3000"),
            ("retention.ms", "-1"),
            ("delete.retention.ms", "0"),
        ];
        Self { t: TestLog::new(&settings), model: Model::default(), cleaned_to: None, settled: 0 }
    }

    fn new_values(&mut self, count: u8) -> Vec<String> {
        let first = self.model.next_value;
        self.model.next_value += u32::from(count);
        (first..self.model.next_value).map(|n| format!("value-{n}")).collect()
    }

    /// The producer's epoch, its next sequence number, and whether it is in a transaction, as the log knows them.
    fn producer(&self, producer: i64) -> (i16, i32, bool) {
        let entry = self.t.log.producer(producer);
        entry.map_or((0, 0, false), |entry| {
            (entry.producer_epoch.max(0), entry.last_sequence() + 1, entry.current_txn_first_offset.is_some())
        })
    }

    fn append_data(&mut self, count: u8, producer: Option<(i64, bool)>) {
        let values = self.new_values(count);
        let texts: Vec<&str> = values.iter().map(String::as_str).collect();
        let records = match producer {
            None => batch(NOW, &texts),
            Some((producer, in_transaction)) => {
                let (epoch, sequence, is_open) = self.producer(producer);
                match in_transaction {
                    true => transactional(producer, epoch, sequence, &texts),
                    false if is_open => return,
                    false => idempotent(producer, epoch, sequence, &texts),
                }
            }
        };
        let base = self.t.append(records).unwrap().first_offset;
        assert_eq!(base, self.model.end());
        let transaction_of = producer.filter(|(_, in_transaction)| *in_transaction).map(|(producer, _)| producer);
        self.model.entries.push(Entry::Data { base, values, transaction_of });
    }

    /// Even producers are of transaction version 2: their markers begin a new epoch.
    fn end_transaction(&mut self, producer: i64, committed: bool) {
        let (epoch, _, _) = self.producer(producer);
        let transaction_version = if producer % 2 == 0 { 2 } else { 0 };
        let epoch = if transaction_version == 2 { epoch + 1 } else { epoch };
        let marker = EndTransactionMarker { committed, coordinator_epoch: 0 };
        let records = marker.to_batch(TimestampMs(NOW), producer, epoch).unwrap();
        let context = AppendContext { transaction_version, ..AppendContext::coordinator(0, NOW) };
        let offset = self.t.log.append_as_leader(&mut self.t.appender, records, context).unwrap().first_offset;
        self.t.log.advance_high_watermark_to_log_end().unwrap();
        self.model.entries.push(Entry::Marker { offset, producer, committed });
    }

    fn compact(&mut self) {
        self.t.now += 1;
        let Some(plan) = self.t.log.plan_cleaning(self.cleaned_to, self.t.now).unwrap() else { return };
        let log = Mutex::new(std::mem::replace(&mut self.t.log, TestLog::new(&[]).log));
        let mut cleaner = Cleaner::new(&CleanerSettings::default(), Arc::default());
        let stats = cleaner.clean(&log, &plan, self.t.now).unwrap().unwrap();
        self.t.log = log.into_inner();
        self.cleaned_to = Some(stats.end_offset);
        self.settled = self.t.log.last_stable_offset();
        self.model.was_compacted = true;
    }

    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Plain => self.append_data(1, None),
            Operation::Idempotent(producer) => self.append_data(1, Some((*producer, false))),
            Operation::Transactional(producer, count) => self.append_data(*count, Some((*producer, true))),
            Operation::End(producer, committed) => self.end_transaction(*producer, *committed),
            Operation::Roll => _ = self.t.log.roll(self.t.now).unwrap(),
            Operation::DeleteRecords(at) => {
                let to = at.index(self.model.end() as usize + 1) as i64;
                let reason = LogStartOffsetIncrementReason::ClientRecordDeletion;
                self.t.log.maybe_increment_log_start_offset(to, reason).unwrap();
            }
            Operation::Retention => _ = self.t.log.delete_old_segments(self.t.now).unwrap(),
            Operation::Compact => self.compact(),
            Operation::TruncateTo(at) => {
                let kept = at.index(self.model.entries.len() + 1);
                let to = self.model.entries[..kept].last().map_or(0, Entry::next_offset);
                if to >= self.model.log_start_offset.max(self.settled) {
                    self.t.log.truncate_to(to, TimestampMs(self.t.now)).unwrap();
                    self.t.log.advance_high_watermark_to_log_end().unwrap();
                    self.model.entries.truncate(kept);
                }
            }
            Operation::Stop => self.t.reopen_cleanly(),
            Operation::Kill(torn) => {
                if let Some(torn) = torn {
                    let whole = transactional(0, 9, 0, &["torn write of which only a part came to the file"]);
                    let base = self.t.log.segment_base_offsets().last().unwrap();
                    let path = self.t.dir().join(format!("{base:020}.log"));
                    let cut = &whole[..usize::from(*torn).min(whole.len() - 1)];
                    OpenOptions::new().append(true).open(path).unwrap().write_all(cut).unwrap();
                }
                self.t.reopen_after_crash().unwrap();
            }
            Operation::DamageSnapshots => {
                for name in self.t.files().iter().filter(|name| name.ends_with(".snapshot")) {
                    std::fs::write(self.t.dir().join(name), b"damaged").unwrap();
                }
                self.t.reopen_after_crash().unwrap();
            }
        }
        self.model.log_start_offset = self.t.log.log_start_offset();
    }

    /// What a consumer makes of the log from an offset on, in fetches of at least one batch.
    fn read(&mut self, from: i64, max_bytes: usize, isolation: FetchIsolation) -> Vec<(i64, String)> {
        let mut values = Vec::new();
        let mut next = from;
        loop {
            let plan = self.t.log.read(next, max_bytes, isolation, true).unwrap();
            let mut told: Vec<_> = plan.aborted_transactions.clone().unwrap_or_default();
            told.sort_by_key(|txn| txn.first_offset);
            let mut told = told.into_iter().peekable();
            let mut aborted = HashSet::new();
            let before = next;
            for batch in RecordBatches::new(plan.read().unwrap()) {
                let Ok(batch) = batch else { break };
                while let Some(txn) = told.next_if(|txn| txn.first_offset <= batch.last_offset()) {
                    aborted.insert(txn.producer_id);
                }
                next = batch.next_offset();
                if batch.is_control() {
                    aborted.remove(&batch.producer_id());
                    continue;
                }
                if batch.is_transactional() && aborted.contains(&batch.producer_id()) {
                    continue;
                }
                for record in batch.records(&mut Decompressor::default()).unwrap() {
                    let record = record.unwrap();
                    if record.offset() >= from {
                        let value = String::from_utf8(record.value().unwrap().to_vec()).unwrap();
                        values.push((record.offset(), value));
                    }
                }
            }
            if next == before {
                return values;
            }
        }
    }

    fn check(&mut self, probe: Index) {
        assert_eq!(self.t.log.log_end_offset(), self.model.end());
        let stable = self.t.log.last_stable_offset();
        let allowed = self.model.last_stable_offsets();
        assert!(allowed.contains(&stable), "the last stable offset is {stable}, not one of {allowed:?}");
        let start = self.model.log_start_offset;
        let from = start + probe.index((self.model.end() - start) as usize + 1) as i64;
        let max_bytes = 1 + probe.index(2_000);
        let committed = self.model.values(|fate| matches!(fate, Fate::Plain | Fate::Committed));
        let committed: Vec<_> = committed.into_iter().filter(|(offset, _)| *offset < stable).collect();
        for from in [start, from] {
            let expected: Vec<_> = committed.iter().filter(|(offset, _)| *offset >= from).cloned().collect();
            assert_eq!(self.read(from, max_bytes, FetchIsolation::TxnCommitted), expected, "from {from}");
        }
        let all = self.model.values(|_| true);
        let found = self.read(start, max_bytes, FetchIsolation::HighWatermark);
        if self.model.was_compacted {
            let found: BTreeSet<_> = found.into_iter().collect();
            assert!(found.is_subset(&all.into_iter().collect()));
            let kept = self.model.values(|fate| *fate != Fate::Aborted);
            assert!(kept.into_iter().all(|record| found.contains(&record)));
            return;
        }
        assert_eq!(found, all);
        let told = self.t.log.collect_aborted_transactions(start, self.model.end()).unwrap();
        for (producer, first, last) in self.model.aborted() {
            let is_told = told.iter().any(|txn| {
                (txn.producer_id, txn.last_offset) == (producer, last)
                    && first.is_none_or(|first| first == txn.first_offset)
            });
            assert!(is_told, "nothing is told of producer {producer}, aborted at {last}: {told:?}");
        }
        for txn in told {
            let is_marker = |entry: &Entry| {
                matches!(entry, Entry::Marker { offset, producer, committed: false }
                    if (*offset, *producer) == (txn.last_offset, txn.producer_id))
            };
            assert!(self.model.entries.iter().any(is_marker), "{txn:?} was not aborted");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn readers_of_a_log_with_transactions_see_what_a_list_of_batches_says(
        operations in prop::collection::vec((operation(), any::<Index>()), 1..80),
    ) {
        let mut harness = Harness::new();
        for (operation, probe) in &operations {
            harness.apply(operation);
            harness.check(*probe);
        }
    }
}
