use vltava_protocol::TimestampMs;
use vltava_protocol::record::Compression;

use crate::testing::{NOW, TestLog, batch, batch_with, values};
use crate::{FetchIsolation, LogError, LogOffsetMetadata, TimestampAndOffset, TimestampQuery};

fn filled(settings: &[(&str, &str)], records: i64) -> TestLog {
    let mut t = TestLog::new(settings);
    for n in 0..records {
        t.append(batch(NOW + n * 10, &[&format!("v{n}")])).unwrap();
    }
    t
}

#[test]
fn limits_by_bytes_but_gives_one_batch_where_asked() {
    let mut t = filled(&[], 10);
    let size = batch(NOW, &["v0"]).len();
    let mut plan = |max, min_one| t.log.read(3, max, FetchIsolation::LogEnd, min_one).unwrap();
    assert_eq!(plan(3 * size, true).len(), 3 * size);
    let cut = plan(size - 1, false);
    assert_eq!((cut.len(), cut.first_entry_incomplete), (size - 1, true));
    let whole = plan(size - 1, true);
    assert_eq!((whole.len(), whole.first_entry_incomplete), (size, false));
    assert_eq!(plan(0, true).len(), size);
    assert!(plan(0, false).is_empty());
    assert_eq!(plan(100_000, true).fetch_offset.message_offset, 3);
}

#[test]
fn offsets_outside_of_the_log_are_refused() {
    let mut t = filled(&[], 10);
    assert!(t.log.read(10, 1_000, FetchIsolation::LogEnd, true).unwrap().is_empty());
    assert!(matches!(t.log.read(11, 1_000, FetchIsolation::LogEnd, true), Err(LogError::OffsetOutOfRange(_))));
    t.log.maybe_increment_log_start_offset(4, crate::LogStartOffsetIncrementReason::ClientRecordDeletion).unwrap();
    assert!(matches!(t.log.read(3, 1_000, FetchIsolation::LogEnd, true), Err(LogError::OffsetOutOfRange(_))));
    assert_eq!(t.values(4).len(), 6);
}

#[test]
fn consumers_see_up_to_the_high_watermark() {
    let mut t = filled(&[("internal.segment.bytes", "300")], 20);
    assert!(t.log.segment_count() > 3);
    for high_watermark in 0..=20 {
        t.log.update_high_watermark(high_watermark);
        assert_eq!(t.log.high_watermark(), high_watermark);
        let seen = values(&mut t.log, 0, FetchIsolation::HighWatermark);
        assert_eq!(seen.len() as i64, high_watermark);
        assert_eq!(t.values(0).len(), 20);
    }
    assert_eq!(t.log.update_high_watermark(99), 20);
    let beyond = t.log.maybe_increment_high_watermark(LogOffsetMetadata::only(21));
    assert!(matches!(beyond, Err(LogError::InvalidArgument(_))));
    assert!(t.log.maybe_increment_high_watermark(LogOffsetMetadata::only(5)).unwrap().is_none());
}

#[test]
fn reads_go_on_in_the_next_segment() {
    let mut t = filled(&[("internal.segment.bytes", "300"), ("index.interval.bytes", "0")], 50);
    for from in 0..50 {
        assert_eq!(t.values(from).len() as i64, 50 - from, "from {from}");
    }
}

#[test]
fn a_planned_read_survives_the_deletion_of_its_segment() {
    let mut t = filled(&[("internal.segment.bytes", "300")], 20);
    let plan = t.log.read(0, 100, FetchIsolation::LogEnd, true).unwrap();
    let before = plan.read().unwrap();
    t.log.truncate_fully_and_start_at(100, None, TimestampMs(NOW)).unwrap();
    t.log.delete_due_files(0).and_then(|()| t.log.delete_due_files(i64::MAX)).unwrap();
    assert_eq!(plan.read().unwrap(), before);
}

#[test]
fn finds_offsets_by_timestamp() {
    for settings in [vec![], vec![("internal.segment.bytes", "300"), ("index.interval.bytes", "50")]] {
        let mut t = filled(&settings, 30);
        t.append(batch_with(Compression::Zstd, vltava_protocol::record::ProducerState::NONE, NOW + 300, &["x", "y"]))
            .unwrap();
        let mut find = |query| t.log.fetch_offset_by_timestamp(query).unwrap();
        let found = |timestamp, offset| Some(TimestampAndOffset { timestamp, offset, leader_epoch: Some(0) });
        assert_eq!(find(TimestampQuery::At(0)), found(NOW, 0));
        for n in 0..30 {
            assert_eq!(find(TimestampQuery::At(NOW + n * 10)), found(NOW + n * 10, n));
            assert_eq!(find(TimestampQuery::At(NOW + n * 10 - 9)), found(NOW + n * 10, n));
        }
        assert_eq!(find(TimestampQuery::At(NOW + 300)), found(NOW + 300, 30));
        assert_eq!(find(TimestampQuery::At(NOW + 301)), None);
        assert_eq!(find(TimestampQuery::Earliest), found(-1, 0));
        assert_eq!(find(TimestampQuery::Latest), found(-1, 32));
        assert_eq!(find(TimestampQuery::MaxTimestamp), found(NOW + 300, 30));
    }
}

#[test]
fn timestamps_that_go_back_are_found_too() {
    let mut t = TestLog::new(&[("index.interval.bytes", "0")]);
    for timestamp in [50, 10, 30, 90, 20, 70] {
        t.append(batch(timestamp, &["a"])).unwrap();
    }
    let mut find = |query| t.log.fetch_offset_by_timestamp(query).unwrap().map(|found| found.offset);
    for (timestamp, offset) in [(5, Some(0)), (50, Some(0)), (51, Some(3)), (90, Some(3)), (91, None)] {
        assert_eq!(find(TimestampQuery::At(timestamp)), offset, "at {timestamp}");
    }
    assert_eq!(find(TimestampQuery::MaxTimestamp), Some(3));
    t.log.maybe_increment_log_start_offset(4, crate::LogStartOffsetIncrementReason::ClientRecordDeletion).unwrap();
    let found = t.log.fetch_offset_by_timestamp(TimestampQuery::At(5)).unwrap().unwrap();
    assert_eq!((found.offset, found.timestamp), (4, 20));
}

#[test]
fn an_empty_log_answers_too() {
    let mut t = TestLog::new(&[]);
    assert!(t.log.read(0, 100, FetchIsolation::TxnCommitted, true).unwrap().is_empty());
    assert_eq!(t.log.fetch_offset_by_timestamp(TimestampQuery::At(0)).unwrap(), None);
    assert_eq!(t.log.fetch_offset_by_timestamp(TimestampQuery::MaxTimestamp).unwrap(), None);
    assert_eq!(t.log.fetch_offset_by_timestamp(TimestampQuery::Latest).unwrap().unwrap().offset, 0);
}

/// The files of the log that this process has open, by extension.
#[cfg(target_os = "linux")]
fn open_files(t: &TestLog) -> Vec<String> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let open = open.filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok());
    let of_log = open.filter(|path| path.starts_with(t.log.dir()));
    let mut open: Vec<_> = of_log.map(|path| path.extension().unwrap().to_string_lossy().into_owned()).collect();
    open.sort();
    open
}

#[test]
#[cfg(target_os = "linux")]
fn only_the_active_segment_and_what_is_being_read_take_descriptors() {
    let mut t = filled(&[("internal.segment.bytes", "300"), ("index.interval.bytes", "0")], 50);
    assert!(t.log.segment_count() > 10);
    let active = ["index", "log", "timeindex"];
    assert_eq!(open_files(&t), active);
    t.log.flush_plan().unwrap().unwrap().run().unwrap();
    assert_eq!(t.values(0).len(), 50);
    for offset in 0..50 {
        t.log.fetch_offset_by_timestamp(TimestampQuery::At(NOW + offset * 10)).unwrap().unwrap();
    }
    assert_eq!(open_files(&t), active);
    // An answer that is being sent has its file, however old the segment.
    let plans: Vec<_> = (0..2).map(|_| t.log.read(0, 1, FetchIsolation::LogEnd, true).unwrap()).collect();
    assert_eq!(open_files(&t), ["index", "log", "log", "timeindex"]);
    drop(plans);
    t.log.truncate_to(7, TimestampMs(NOW)).unwrap();
    t.append(batch(NOW, &["again"])).unwrap();
    assert_eq!(open_files(&t), active);
}
