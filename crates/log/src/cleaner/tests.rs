use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use parking_lot::Mutex;
use vltava_protocol::TimestampMs;
use vltava_protocol::record::{
    BATCH_OVERHEAD, Compression, Decompressor, ProducerState, RecordBatchBuilder, RecordBatchHeader, RecordBatches,
};

use super::{Cleaner, CleanerStats};
use crate::CleanerSettings;
use crate::testing::{NOW, TestLog, keyed, marker, transactional};
use crate::{FetchIsolation, Log, VerificationGuard};

const COMPACT: &[(&str, &str)] =
    &[("cleanup.policy", "compact"), ("delete.retention.ms", "1000"), ("min.cleanable.dirty.ratio", "0")];

/// A compacted log that rolls where the test says so.
struct Compacted {
    t: TestLog,
    cleaned_to: Option<i64>,
}

impl Compacted {
    fn new(settings: &[(&str, &str)]) -> Self {
        let all: Vec<_> = COMPACT.iter().chain(settings).copied().collect();
        Self { t: TestLog::new(&all), cleaned_to: None }
    }

    fn put(&mut self, records: &[(&str, Option<&str>)]) {
        self.t.append(keyed(self.t.now, records)).unwrap();
    }

    fn roll(&mut self) {
        self.t.log.roll(self.t.now).unwrap();
    }

    /// Cleans with room for `max_keys` keys; `None` where there is nothing to do.
    fn clean_with(&mut self, max_keys: u64) -> Option<CleanerStats> {
        let now = self.t.now;
        let plan = self.t.log.plan_cleaning(self.cleaned_to, now).unwrap()?;
        if !plan.is_worthwhile() {
            return None;
        }
        let placeholder = TestLog::new(&[]).log;
        let log = Mutex::new(std::mem::replace(&mut self.t.log, placeholder));
        let stats = cleaner(max_keys).clean(&log, &plan, now).unwrap().unwrap();
        self.t.log = log.into_inner();
        self.cleaned_to = Some(stats.end_offset);
        Some(stats)
    }

    fn clean(&mut self) -> Option<CleanerStats> {
        self.clean_with(1_000)
    }

    /// Offset, key and value of all records.
    fn records(&mut self) -> Vec<(i64, String, Option<String>)> {
        records(&mut self.t.log)
    }

    fn keys_and_values(&mut self) -> Vec<(i64, String)> {
        self.records().into_iter().map(|(o, k, v)| (o, format!("{k}={}", v.unwrap_or("null".into())))).collect()
    }
}

fn settings(max_keys: u64) -> CleanerSettings {
    CleanerSettings { dedupe_buffer_size: max_keys * 24, dedupe_buffer_load_factor: 1.0, ..CleanerSettings::default() }
}

fn cleaner(max_keys: u64) -> Cleaner<'static> {
    Cleaner::new(&settings(max_keys), Arc::default())
}

fn batches(log: &mut Log) -> Vec<vltava_protocol::record::RecordBatch> {
    let mut all = Vec::new();
    let mut next = log.log_start_offset();
    while next < log.log_end_offset() {
        let bytes = log.read(next, 1 << 20, FetchIsolation::LogEnd, true).unwrap().read().unwrap();
        let before = next;
        for batch in RecordBatches::new(bytes) {
            let batch = batch.unwrap();
            batch.verify_crc().unwrap();
            next = batch.next_offset();
            all.push(batch);
        }
        assert!(next > before, "no batch at {next}");
    }
    all
}

fn records(log: &mut Log) -> Vec<(i64, String, Option<String>)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut all = Vec::new();
    for batch in batches(log).iter().filter(|batch| !batch.is_control()) {
        for record in batch.records(&mut Decompressor::default()).unwrap() {
            let record = record.unwrap();
            all.push((record.offset(), text(record.key().unwrap()), record.value().map(text)));
        }
    }
    all
}

fn owned(expected: &[(i64, &str)]) -> Vec<(i64, String)> {
    expected.iter().map(|(o, kv)| (*o, (*kv).to_owned())).collect()
}

#[test]
fn keeps_the_latest_of_each_key_under_its_offset() {
    let mut c = Compacted::new(&[]);
    c.put(&[("a", Some("1")), ("b", Some("1"))]);
    c.put(&[("a", Some("2"))]);
    c.put(&[("c", Some("1")), ("a", Some("3"))]);
    c.roll();
    c.put(&[("b", Some("2"))]);
    let stats = c.clean().unwrap();
    // The active segment is neither cleaned nor looked at: the old value of b stays.
    assert_eq!(c.keys_and_values(), owned(&[(1, "b=1"), (3, "c=1"), (4, "a=3"), (5, "b=2")]));
    assert_eq!((stats.messages_read, stats.messages_written, stats.end_offset), (5, 3, 5));
    assert!(stats.bytes_written < stats.bytes_read);
    assert_eq!((c.t.log.log_start_offset(), c.t.log.log_end_offset()), (0, 6));
    assert!(c.clean().is_none());
    c.roll();
    c.clean().unwrap();
    assert_eq!(c.keys_and_values(), owned(&[(3, "c=1"), (4, "a=3"), (5, "b=2")]));
    for from in 0..6 {
        assert!(!c.t.log.read(from, 1_000, FetchIsolation::LogEnd, true).unwrap().is_empty(), "from {from}");
    }
}

#[test]
fn merges_small_segments_and_survives_stops_and_crashes() {
    let mut c = Compacted::new(&[]);
    for n in 0..40 {
        c.put(&[(&format!("k{}", n % 7), Some(&n.to_string()))]);
        if n % 4 == 3 {
            c.roll();
        }
    }
    assert_eq!(c.t.log.segment_count(), 11);
    c.clean().unwrap();
    let expected: Vec<_> = (33..40).map(|n| (n, format!("k{}={n}", n % 7))).collect();
    assert_eq!(c.keys_and_values(), expected);
    assert_eq!(c.t.log.segment_count(), 2);
    assert!(c.t.files().iter().any(|name| name.ends_with(".log.deleted")));
    c.t.log.delete_due_files(0).and_then(|()| c.t.log.delete_due_files(i64::MAX)).unwrap();
    assert!(c.t.files().iter().all(|name| !name.contains("deleted") && !name.contains("swap")));
    c.t.reopen_after_crash().unwrap();
    assert_eq!(c.keys_and_values(), expected);
    assert_eq!(c.t.log.recovery_report().truncated_bytes, 0);
    c.t.reopen_cleanly();
    assert_eq!(c.keys_and_values(), expected);
    c.put(&[("k0", Some("new"))]);
    assert_eq!(c.keys_and_values().len(), 8);
}

#[test]
fn tombstones_stay_for_a_while() {
    let mut c = Compacted::new(&[]);
    c.put(&[("a", Some("1")), ("b", Some("1"))]);
    c.put(&[("a", None)]);
    c.roll();
    c.clean().unwrap();
    assert_eq!(c.keys_and_values(), owned(&[(1, "b=1"), (2, "a=null")]));
    // The first cleaning gave the tombstone the time at which it may go.
    let horizons: Vec<_> = batches(&mut c.t.log).iter().map(|batch| batch.delete_horizon_ms()).collect();
    assert_eq!(horizons, [None, Some(NOW + 1_000)]);
    c.t.now = NOW + 999;
    c.put(&[("c", Some("1"))]);
    c.roll();
    c.clean().unwrap();
    assert_eq!(c.keys_and_values(), owned(&[(1, "b=1"), (2, "a=null"), (3, "c=1")]));
    c.t.now = NOW + 1_000;
    c.put(&[("d", Some("1"))]);
    c.roll();
    c.clean().unwrap();
    assert_eq!(c.keys_and_values(), owned(&[(1, "b=1"), (3, "c=1"), (4, "d=1")]));
}

#[test]
fn timestamps_and_codecs_survive() {
    for codec in [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let mut c = Compacted::new(&[]);
        let mut builder = RecordBatchBuilder::new(codec);
        for (n, key) in ["a", "b", "a", "c"].iter().enumerate() {
            builder.append(NOW + n as i64, Some(key.as_bytes()), Some(b"v"), []).unwrap();
        }
        c.t.append(builder.build().unwrap()).unwrap();
        c.roll();
        c.clean().unwrap();
        let batch = &batches(&mut c.t.log)[0];
        assert_eq!(batch.compression(), codec);
        assert_eq!((batch.base_offset(), batch.last_offset(), batch.count()), (0, 3, 3));
        let mut decompressor = Decompressor::default();
        let found: Vec<_> = batch
            .records(&mut decompressor)
            .unwrap()
            .map(|r| r.unwrap())
            .map(|r| (r.offset(), r.timestamp()))
            .collect();
        assert_eq!(found, [(1, NOW + 1), (2, NOW + 2), (3, NOW + 3)]);
    }
}

#[test]
fn aborted_records_go_and_markers_follow_when_nothing_is_left() {
    let mut c = Compacted::new(&[]);
    let txn = |producer: i64, sequence, key: &str, value: &str| -> Bytes {
        let mut builder = RecordBatchBuilder::new(Compression::None);
        builder.append(NOW, Some(key.as_bytes()), Some(value.as_bytes()), []).unwrap();
        builder.set_producer_state(ProducerState::transactional(producer, 0, sequence));
        builder.build().unwrap()
    };
    c.t.append(txn(1, 0, "a", "committed")).unwrap();
    c.t.append_marker(marker(1, 0, true)).unwrap();
    c.t.append(txn(2, 0, "a", "aborted")).unwrap();
    c.t.append(txn(2, 1, "b", "aborted")).unwrap();
    c.t.append_marker(marker(2, 0, false)).unwrap();
    c.roll();
    c.clean().unwrap();
    // The aborted value does not supersede the committed one. The last batch of producer 2 stays, empty.
    assert_eq!(c.keys_and_values(), owned(&[(0, "a=committed")]));
    let kept: Vec<_> = batches(&mut c.t.log).iter().map(|b| (b.base_offset(), b.count(), b.is_control())).collect();
    assert_eq!(kept, [(0, 1, false), (1, 1, true), (3, 0, false), (4, 1, true)]);
    assert_eq!(c.t.log.collect_aborted_transactions(0, 5).unwrap().len(), 1);
    // The sequence number of producer 2 is known from the empty batch.
    c.t.reopen_after_crash().unwrap();
    assert_eq!(c.t.log.producer(2).unwrap().last_sequence(), 1);
    // Once the producer writes elsewhere, its empty batch goes, and with it, after a while, the marker.
    c.t.append(transactional(2, 0, 2, &["c"])).unwrap();
    c.t.append_marker(marker(2, 0, true)).unwrap();
    c.roll();
    c.clean().unwrap();
    c.t.now = NOW + 10_000;
    for _ in 0..3 {
        c.t.append(keyed(c.t.now, &[("z", Some("z"))])).unwrap();
        c.roll();
        c.clean().unwrap();
        c.t.now += 10_000;
    }
    let left: Vec<_> = batches(&mut c.t.log).iter().map(|b| b.base_offset()).collect();
    assert!(!left.contains(&3) && !left.contains(&4), "{left:?}");
    assert_eq!(c.t.log.collect_aborted_transactions(0, 5).unwrap(), []);
    assert_eq!(c.keys_and_values()[0], (0, "a=committed".to_owned()));
}

#[test]
fn a_transactional_batch_without_a_producer_is_cleaned_like_any_other() {
    const ATTRIBUTES_AT: usize = 22;
    const TRANSACTIONAL: u8 = 0x10;
    let mut c = Compacted::new(&[]);
    let mut bytes = keyed(NOW, &[("a", Some("1")), ("b", Some("1"))]).to_vec();
    bytes[ATTRIBUTES_AT] |= TRANSACTIONAL;
    let mut header = RecordBatchHeader::parse(&bytes).unwrap();
    header.update_crc(&bytes[BATCH_OVERHEAD..]);
    bytes[..BATCH_OVERHEAD].copy_from_slice(&header.to_bytes());
    c.t.append_with_guard(bytes.into(), VerificationGuard::SENTINEL).unwrap();
    assert!(batches(&mut c.t.log)[0].is_transactional(), "it is taken, as by Kafka");
    c.put(&[("a", Some("2"))]);
    c.roll();
    c.clean().unwrap();
    assert_eq!(c.keys_and_values(), owned(&[(1, "b=1"), (2, "a=2")]));
    assert!(batches(&mut c.t.log).iter().all(|batch| !batch.is_transactional()));
}

#[test]
fn open_transactions_are_not_cleaned() {
    let mut c = Compacted::new(&[]);
    c.put(&[("a", Some("1"))]);
    c.roll();
    c.t.append(transactional(1, 0, 0, &["a"])).unwrap();
    c.roll();
    c.put(&[("a", Some("2"))]);
    c.roll();
    c.clean().unwrap();
    assert_eq!(c.keys_and_values().len(), 3);
    c.t.append_marker(marker(1, 0, true)).unwrap();
    c.roll();
    c.clean().unwrap();
    assert_eq!(c.keys_and_values(), owned(&[(2, "a=2")]));
}

#[test]
fn young_records_wait_for_the_minimum_lag() {
    let mut c = Compacted::new(&[("min.compaction.lag.ms", "1000")]);
    c.put(&[("a", Some("1")), ("a", Some("2"))]);
    c.roll();
    c.t.now = NOW + 500;
    c.put(&[("a", Some("3"))]);
    c.roll();
    assert!(c.clean().is_none());
    c.t.now = NOW + 1_001;
    c.clean().unwrap();
    assert_eq!(c.keys_and_values(), owned(&[(1, "a=2"), (2, "a=3")]));
}

#[test]
fn the_dirty_ratio_and_the_maximum_lag_decide_when() {
    let mut c = Compacted::new(&[("min.cleanable.dirty.ratio", "0.5"), ("max.compaction.lag.ms", "5000")]);
    for n in 0..20 {
        c.put(&[(&format!("k{n}"), Some("v"))]);
    }
    c.roll();
    c.clean().unwrap();
    c.put(&[("k0", Some("new"))]);
    c.roll();
    assert!(c.clean().is_none());
    c.t.now = NOW + 5_001;
    c.clean().unwrap();
    assert_eq!(c.keys_and_values().len(), 20);
}

#[test]
fn a_full_map_cleans_in_several_rounds() {
    let mut c = Compacted::new(&[]);
    let mut expected = BTreeMap::new();
    for n in 0..60 {
        let key = format!("k{}", n % 10);
        c.put(&[(&key, Some(&n.to_string()))]);
        expected.insert(key, n.to_string());
        if n % 10 == 9 {
            c.roll();
        }
    }
    let mut rounds = 0;
    while c.clean_with(7).is_some() {
        rounds += 1;
        assert!(rounds < 60);
    }
    assert!(rounds > 1);
    let found: BTreeMap<_, _> = c.records().into_iter().map(|(_, k, v)| (k, v.unwrap())).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_log_that_changed_meanwhile_is_left_as_it_is() {
    let mut c = Compacted::new(&[]);
    c.put(&[("a", Some("1")), ("a", Some("2"))]);
    c.roll();
    c.put(&[("a", Some("3"))]);
    c.roll();
    let plan = c.t.log.plan_cleaning(None, NOW).unwrap().unwrap();
    c.t.log.truncate_to(1, TimestampMs(NOW)).unwrap();
    let placeholder = TestLog::new(&[]).log;
    let log = Mutex::new(std::mem::replace(&mut c.t.log, placeholder));
    assert_eq!(cleaner(400).clean(&log, &plan, NOW).unwrap(), None);
    c.t.log = log.into_inner();
    assert_eq!(c.t.log.log_end_offset(), 1);
    assert!(c.t.files().iter().all(|name| !name.contains("cleaned")), "{:?}", c.t.files());
    c.put(&[("b", Some("1"))]);
    assert_eq!(c.records().len(), 1);
}

#[test]
fn crashes_at_every_step_of_a_swap_lose_nothing() {
    // The states of the directory between the renames of a swap, from the files before and after it.
    let mut c = Compacted::new(&[]);
    for n in 0..12 {
        c.put(&[(&format!("k{}", n % 3), Some(&n.to_string()))]);
        if n % 3 == 2 {
            c.roll();
        }
    }
    c.t.log.flush().unwrap();
    let latest = |c: &mut Compacted| -> BTreeMap<String, Option<String>> {
        c.records().into_iter().map(|(_, k, v)| (k, v)).collect()
    };
    let expected = latest(&mut c);
    let snapshot = |c: &Compacted| -> Vec<(String, Vec<u8>)> {
        c.t.files().into_iter().map(|name| (name.clone(), std::fs::read(c.t.dir().join(name)).unwrap())).collect()
    };
    let before = snapshot(&c);
    c.clean().unwrap();
    c.t.log.flush().unwrap();
    c.t.log.close().unwrap();
    let cleaned: Vec<_> =
        snapshot(&c).into_iter().filter(|(name, _)| name.starts_with("00000000000000000000.")).collect();
    let old_log = |name: &String| name.ends_with(".log") && name.as_str() < "00000000000000000012.log";
    for step in 0..7 {
        let dir = c.t.dir();
        for name in c.t.files() {
            std::fs::remove_file(dir.join(name)).unwrap();
        }
        for (name, bytes) in &before {
            let is_gone = step >= 3 && old_log(name) && (step >= 4 || name.starts_with("00000000000000000000"));
            let name = if is_gone { format!("{name}.deleted") } else { name.clone() };
            std::fs::write(dir.join(name), bytes).unwrap();
        }
        for (name, bytes) in cleaned.iter().filter(|(name, _)| !name.ends_with(".snapshot")) {
            let is_log = name.ends_with(".log");
            let suffix = match step {
                0 => ".cleaned",
                // The data file is renamed before its indexes.
                1 if is_log => ".swap",
                1 => ".cleaned",
                2..=4 => ".swap",
                5 if is_log => "",
                5 => ".swap",
                _ => "",
            };
            std::fs::write(dir.join(format!("{name}{suffix}")), bytes).unwrap();
        }
        c.t.open_again(0, false).unwrap();
        assert_eq!(latest(&mut c), expected, "step {step}");
        assert_eq!(c.t.log.log_end_offset(), 12, "step {step}");
        c.t.log.close().unwrap();
    }
}

#[test]
fn a_stop_gives_up_what_is_under_way() {
    let mut c = Compacted::new(&[]);
    c.put(&[("a", Some("1")), ("a", Some("2"))]);
    c.roll();
    let plan = c.t.log.plan_cleaning(None, NOW).unwrap().unwrap();
    let placeholder = TestLog::new(&[]).log;
    let log = Mutex::new(std::mem::replace(&mut c.t.log, placeholder));
    let mut stopped = Cleaner::new(&settings(400), Arc::new(AtomicBool::new(true)));
    assert!(matches!(stopped.clean(&log, &plan, NOW), Err(crate::LogError::Closed(_))));
    c.t.log = log.into_inner();
    assert_eq!(c.records().len(), 2);
    c.clean().unwrap();
    assert_eq!(c.records().len(), 1);
}

#[test]
fn what_is_read_and_written_is_told() {
    let mut c = Compacted::new(&[]);
    c.put(&[("a", Some("1")), ("b", Some("2"))]);
    c.put(&[("a", Some("3"))]);
    c.roll();
    let plan = c.t.log.plan_cleaning(None, NOW).unwrap().unwrap();
    let size = plan.segments.iter().map(|segment| segment.size).sum::<u64>();
    let placeholder = TestLog::new(&[]).log;
    let log = Mutex::new(std::mem::replace(&mut c.t.log, placeholder));
    let told = std::cell::Cell::new(0);
    let pace = |bytes| told.set(told.get() + bytes as u64);
    // Told at every batch, as nothing is smaller than a buffer of no bytes.
    let mut cleaner = Cleaner::new(&settings(400), Arc::default()).with_pace(&pace);
    cleaner.chunk = 1;
    let stats = cleaner.clean(&log, &plan, NOW).unwrap().unwrap();
    // Once for the keys, once for what is kept of them, and what is kept.
    assert_eq!(told.get(), 2 * size + stats.bytes_written);
}

/// The markers before what is dirty are not read again.
#[test]
fn a_transaction_aborted_earlier_does_not_make_later_ones_of_its_producer_look_aborted() {
    let mut c = Compacted::new(&[]);
    c.t.append(transactional(1, 0, 0, &["k"])).unwrap();
    c.t.append_marker(marker(1, 0, false)).unwrap();
    c.roll();
    c.clean().unwrap();
    c.put(&[("k", Some("old"))]);
    c.roll();
    c.t.append(transactional(1, 0, 1, &["k"])).unwrap();
    c.t.append_marker(marker(1, 0, true)).unwrap();
    c.roll();
    c.clean().unwrap();
    assert_eq!(c.keys_and_values(), [(3, "k=k".to_owned())]);
}
