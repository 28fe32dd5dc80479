//! A vector of records as the model of a log, under random operations, kills and torn writes.

use std::fs::OpenOptions;
use std::io::Write;

use proptest::prelude::*;
use proptest::sample::Index;
use vltava_protocol::TimestampMs;

use crate::testing::{NOW, TestLog, batch, idempotent, values};
use crate::{FetchIsolation, LogStartOffsetIncrementReason, TimestampQuery};

const PRODUCER: i64 = 42;

#[derive(Clone, Debug)]
enum Operation {
    Append(u8),
    AppendIdempotent(u8),
    /// The last idempotent batch, again.
    Repeat,
    Roll,
    Flush,
    TruncateTo(Index),
    DeleteRecords(Index),
    Retention,
    RemoveFiles,
    Stop,
    /// A kill: all that was written is there, perhaps with part of one more write behind it.
    Kill(Option<u16>),
    /// The machine stops: what was not flushed may be cut anywhere.
    PowerLoss(Index),
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (1..5_u8).prop_map(Operation::Append),
        6 => (1..5_u8).prop_map(Operation::AppendIdempotent),
        2 => Just(Operation::Repeat),
        1 => Just(Operation::Roll),
        1 => Just(Operation::Flush),
        1 => any::<Index>().prop_map(Operation::TruncateTo),
        1 => any::<Index>().prop_map(Operation::DeleteRecords),
        1 => Just(Operation::Retention),
        1 => Just(Operation::RemoveFiles),
        1 => Just(Operation::Stop),
        2 => prop::option::of(0..300_u16).prop_map(Operation::Kill),
        1 => any::<Index>().prop_map(Operation::PowerLoss),
    ]
}

struct Record {
    value: String,
    timestamp: i64,
    /// The producer's number of it, where it has one.
    sequence: Option<i32>,
    /// The offset behind its batch.
    batch_end: i64,
}

/// What the log should hold.
struct Model {
    log_start_offset: i64,
    /// The record at each offset from 0 on.
    records: Vec<Record>,
    next_value: u32,
}

impl Model {
    fn end(&self) -> i64 {
        self.records.len() as i64
    }

    fn visible(&self) -> Vec<(i64, String)> {
        let all = self.records.iter().enumerate().map(|(offset, record)| (offset as i64, record.value.clone()));
        all.filter(|(offset, _)| *offset >= self.log_start_offset).collect()
    }

    fn next_sequence(&self) -> i32 {
        self.records.iter().rev().find_map(|record| record.sequence).map_or(0, |sequence| sequence + 1)
    }

    /// Adds a batch; gives its values and their timestamp.
    fn push(&mut self, count: u8, is_idempotent: bool) -> (Vec<String>, i64) {
        let timestamp = if is_idempotent { NOW } else { NOW + i64::from(self.next_value) * 10 };
        let first_sequence = self.next_sequence();
        let batch_end = self.end() + i64::from(count);
        let mut batch = Vec::new();
        for sequence in (first_sequence..).take(usize::from(count)) {
            let value = format!("value-{}", self.next_value);
            self.next_value += 1;
            let sequence = is_idempotent.then_some(sequence);
            self.records.push(Record { value: value.clone(), timestamp, sequence, batch_end });
            batch.push(value);
        }
        (batch, timestamp)
    }

    /// Removes the records from `end` on. A batch of which a part goes is gone as a whole: of the part below the log
    /// start offset, which nobody sees, nothing is left to tell its producer's number.
    fn truncate(&mut self, end: i64) {
        self.records.truncate(end as usize);
        for record in self.records.iter_mut().filter(|record| record.batch_end > end) {
            record.sequence = None;
        }
    }
}

struct Harness {
    t: TestLog,
    model: Model,
    /// First sequence number and values of the last idempotent batch.
    last_batch: Option<(i32, Vec<String>, i64)>,
}

impl Harness {
    fn new() -> Self {
        let settings = [
            ("internal.segment.bytes", "700"),
            ("index.interval.bytes", "100"),
            ("retention.bytes", "2500"),
            ("retention.ms", "-1"),
            ("message.timestamp.after.max.ms", "100000000"),
        ];
        let model = Model { log_start_offset: 0, records: Vec::new(), next_value: 0 };
        Self { t: TestLog::new(&settings), model, last_batch: None }
    }

    fn append(&mut self, count: u8, is_idempotent: bool) {
        let (offset, sequence) = (self.model.end(), self.model.next_sequence());
        let (values, timestamp) = self.model.push(count, is_idempotent);
        let refs: Vec<&str> = values.iter().map(String::as_str).collect();
        let records = if is_idempotent { idempotent(PRODUCER, 0, sequence, &refs) } else { batch(timestamp, &refs) };
        if is_idempotent {
            self.last_batch = Some((sequence, values.clone(), offset));
        }
        let info = self.t.append(records).unwrap();
        assert_eq!((info.first_offset, info.last_offset), (offset, self.model.end() - 1));
        assert!(!info.is_duplicate);
    }

    fn repeat(&mut self) {
        let Some((sequence, values, offset)) = self.last_batch.clone() else { return };
        // Known only while the batch, whole, is in the log and the state of its producer was not truncated away.
        let is_whole = offset >= self.model.log_start_offset && self.model.end() >= offset + values.len() as i64;
        let is_last = self.model.next_sequence() == sequence + values.len() as i32;
        if !is_whole || !is_last {
            return;
        }
        let refs: Vec<&str> = values.iter().map(String::as_str).collect();
        let info = self.t.append(idempotent(PRODUCER, 0, sequence, &refs)).unwrap();
        assert!(info.is_duplicate);
        assert_eq!((info.first_offset, info.last_offset), (offset, offset + values.len() as i64 - 1));
    }

    /// After a truncation a batch that held the target is gone as a whole: the model follows the log.
    fn cut_model(&mut self, target: i64) {
        let found: Vec<(i64, String)> = self.t.values(0);
        let visible: Vec<(i64, String)> = self.model.visible().into_iter().filter(|(o, _)| *o < target).collect();
        assert_eq!(found, &visible[..found.len()], "a truncation may only cut the end");
        assert!(visible.len() - found.len() < 5, "more than one batch is gone");
        // Go on without a gap, which a leader's log never has.
        let end = found.last().map_or(self.model.log_start_offset.min(target), |(offset, _)| offset + 1);
        self.t.log.truncate_to(end, TimestampMs(self.t.now)).unwrap();
        self.model.truncate(end);
        self.model.log_start_offset = self.t.log.log_start_offset();
        self.last_batch = None;
    }

    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Append(count) => self.append(*count, false),
            Operation::AppendIdempotent(count) => self.append(*count, true),
            Operation::Repeat => self.repeat(),
            Operation::Roll => {
                self.t.log.roll(self.t.now).unwrap();
            }
            Operation::Flush => {
                self.t.log.flush().unwrap();
                assert_eq!(self.t.log.recovery_point(), self.model.end());
            }
            Operation::TruncateTo(at) => {
                let target = at.index(self.model.records.len() + 1) as i64;
                if target >= self.model.log_start_offset {
                    self.t.log.truncate_to(target, TimestampMs(self.t.now)).unwrap();
                    self.cut_model(target);
                }
            }
            Operation::DeleteRecords(at) => {
                let to = at.index(self.model.records.len() + 1) as i64;
                let reason = LogStartOffsetIncrementReason::ClientRecordDeletion;
                let moved = self.t.log.maybe_increment_log_start_offset(to, reason).unwrap();
                assert_eq!(moved, to > self.model.log_start_offset);
                self.model.log_start_offset = self.model.log_start_offset.max(to);
            }
            Operation::Retention => {
                self.t.log.delete_old_segments(self.t.now).unwrap();
                let start = self.t.log.log_start_offset();
                assert!(start >= self.model.log_start_offset);
                self.model.log_start_offset = start;
            }
            Operation::RemoveFiles => {
                self.t.log.delete_due_files(0).and_then(|()| self.t.log.delete_due_files(i64::MAX)).unwrap()
            }
            Operation::Stop => {
                self.t.reopen_cleanly();
                assert_eq!(self.t.log.recovery_report().truncated_bytes, 0);
            }
            Operation::Kill(torn) => {
                if let Some(torn) = torn {
                    let whole = batch(NOW, &["torn write of which only a part came to the file"]);
                    let cut = &whole[..usize::from(*torn).min(whole.len() - 1)];
                    let path = self.active_file();
                    OpenOptions::new().append(true).open(path).unwrap().write_all(cut).unwrap();
                }
                self.t.reopen_after_crash().unwrap();
            }
            Operation::PowerLoss(at) => self.lose_power(*at),
        }
    }

    /// Cuts the active segment anywhere, and its indexes away: what was flushed of it comes back.
    fn lose_power(&mut self, at: Index) {
        let flushed = self.t.log.recovery_point();
        let path = self.active_file();
        let size = std::fs::metadata(&path).unwrap().len();
        let base = self.t.log.segment_base_offsets().last().unwrap();
        // Only a segment of which nothing was flushed is cut, so that the expectation is simple.
        if flushed <= base {
            let keep = at.index(size as usize + 1) as u64;
            OpenOptions::new().write(true).open(&path).unwrap().set_len(keep).unwrap();
            for kind in ["index", "timeindex"] {
                let _ = std::fs::remove_file(path.with_extension(kind));
            }
        }
        self.t.reopen_after_crash().unwrap();
        let end = self.t.log.log_end_offset();
        assert!(end >= flushed.max(base.min(self.model.end())), "flushed records are lost");
        let visible = self.model.visible();
        let found = self.t.values(0);
        assert_eq!(found, &visible[..found.len()]);
        self.model.truncate(end);
        self.model.log_start_offset = self.t.log.log_start_offset();
        self.last_batch = None;
    }

    fn active_file(&self) -> std::path::PathBuf {
        let base = self.t.log.segment_base_offsets().last().unwrap();
        self.t.dir().join(format!("{base:020}.log"))
    }

    fn check(&mut self, probe: Index) {
        let (start, end) = (self.model.log_start_offset, self.model.end());
        assert_eq!((self.t.log.log_start_offset(), self.t.log.log_end_offset()), (start, end));
        let visible = self.model.visible();
        assert_eq!(values(&mut self.t.log, 0, FetchIsolation::HighWatermark), visible);
        assert_eq!(values(&mut self.t.log, 0, FetchIsolation::TxnCommitted), visible);
        if let Some((offset, _)) = visible.get(probe.index(visible.len().max(1))) {
            assert_eq!(self.t.values(*offset), &visible[(offset - start) as usize..]);
            let timestamp = self.model.records[*offset as usize].timestamp;
            let expected = (start..end).find(|o| self.model.records[*o as usize].timestamp >= timestamp);
            let found = self.t.log.fetch_offset_by_timestamp(TimestampQuery::At(timestamp)).unwrap();
            assert_eq!(found.map(|found| found.offset), expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 5, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_log_behaves_as_a_vector_of_records(
        operations in prop::collection::vec((operation(), any::<Index>()), 1..60),
    ) {
        let mut harness = Harness::new();
        for (operation, probe) in &operations {
            harness.apply(operation);
            harness.check(*probe);
        }
    }

    #[test]
    fn any_bytes_in_its_files_give_an_answer_and_no_panic(
        damage in prop::collection::vec((any::<Index>(), any::<Index>(), any::<u8>()), 1..8),
        is_clean in any::<bool>(),
    ) {
        let mut harness = Harness::new();
        for count in [3, 1, 4, 2, 4, 4, 1] {
            harness.append(count, count % 2 == 0);
        }
        harness.t.log.close().unwrap();
        let files = harness.t.files();
        for (file, position, byte) in &damage {
            let path = harness.t.dir().join(&files[file.index(files.len())]);
            let mut bytes = std::fs::read(&path).unwrap();
            if !bytes.is_empty() {
                let at = position.index(bytes.len());
                bytes[at] = *byte;
                std::fs::write(&path, bytes).unwrap();
            }
        }
        // Whatever comes: an error by name, or a log that can be read and appended to.
        let point = if is_clean { harness.model.end() } else { 0 };
        if harness.t.open_again(point, is_clean).is_ok() {
            let end = harness.t.log.log_end_offset();
            let _ = harness.t.log.fetch_offset_by_timestamp(TimestampQuery::At(NOW + 30));
            let _ = harness.t.log.fetch_offset_by_timestamp(TimestampQuery::MaxTimestamp);
            // An offset is not covered by the checksum: damage there can make the log end anywhere.
            let start = harness.t.log.log_start_offset();
            for offset in (start..=end).take(40).chain(end.saturating_sub(3)..=end) {
                if let Ok(plan) = harness.t.log.read(offset, 500, FetchIsolation::HighWatermark, true) {
                    let _ = plan.read();
                }
            }
            let _ = harness.t.append(batch(NOW, &["after"]));
        }
    }
}
