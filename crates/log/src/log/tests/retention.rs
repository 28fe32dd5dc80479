use vltava_protocol::TimestampMs;

use crate::testing::{NOW, TestLog, batch};
use crate::{FetchIsolation, LogStartOffsetIncrementReason};

const BATCHES_PER_SEGMENT: i64 = 5;

fn filled(settings: &[(&str, &str)], records: i64) -> TestLog {
    let segment = (batch(NOW, &["v00"]).len() * BATCHES_PER_SEGMENT as usize).to_string();
    let mut all = vec![("internal.segment.bytes", segment.as_str())];
    all.extend(settings);
    let mut t = TestLog::new(&all);
    for n in 0..records {
        t.append(batch(NOW + n * 1_000, &[&format!("v{n:02}")])).unwrap();
    }
    t
}

fn bases(t: &TestLog) -> Vec<i64> {
    t.log.segment_base_offsets().collect()
}

#[test]
fn rolls_by_size() {
    let t = filled(&[], 23);
    assert_eq!(bases(&t), [0, 5, 10, 15, 20]);
    assert_eq!(t.files().iter().filter(|name| name.ends_with(".log")).count(), 5);
}

#[test]
fn rolls_by_the_time_of_records_and_by_the_clock_where_they_have_none() {
    let mut t = TestLog::new(&[("segment.ms", "1000")]);
    for timestamp in [0, 999, 1_000, 1_001, 1_500, 2_002] {
        t.append(batch(NOW + timestamp, &["a"])).unwrap();
    }
    assert_eq!(bases(&t), [0, 3, 5]);
    let mut t = TestLog::new(&[("segment.ms", "1000")]);
    for now in [0, 1_000, 1_001, 2_500] {
        t.now = NOW + now;
        t.append(batch(-1, &["a"])).unwrap();
    }
    assert_eq!(bases(&t), [0, 2, 3]);
}

#[test]
fn rolls_when_an_index_is_full() {
    // Two entries in the offset index.
    let mut t = TestLog::new(&[("segment.index.bytes", "24"), ("index.interval.bytes", "0")]);
    for n in 0..10 {
        t.append(batch(NOW + n, &["a"])).unwrap();
    }
    assert!(t.log.segment_count() > 3);
    assert_eq!(t.values(0).len(), 10);
}

#[test]
fn rolls_when_an_offset_is_too_far_from_the_base() {
    let mut leader = TestLog::new(&[]);
    leader.log.truncate_fully_and_start_at(i64::from(i32::MAX) + 10, None, TimestampMs(NOW)).unwrap();
    leader.append(batch(NOW, &["far"])).unwrap();
    let end = leader.log.log_end_offset();
    let far = leader.log.read(end - 1, 1_000, FetchIsolation::LogEnd, true).unwrap().read().unwrap();
    let mut t = TestLog::new(&[]);
    t.append(batch(NOW, &["near"])).unwrap();
    t.log.append_as_follower(&mut t.appender, far, 0, NOW).unwrap();
    assert_eq!(bases(&t), [0, end - 1]);
    assert_eq!(t.values(0).len(), 2);
    t.reopen_after_crash().unwrap();
    assert_eq!(t.values(0).len(), 2);
}

#[test]
fn deletes_by_time_and_removes_the_files_after_a_delay() {
    let mut t = filled(&[("retention.ms", "10000"), ("file.delete.delay.ms", "500")], 20);
    // The last record of the second segment has NOW + 9 s.
    let now = NOW + 9_000 + 10_001;
    assert_eq!(t.log.delete_old_segments(now - 1).unwrap(), 1);
    assert_eq!(t.log.delete_old_segments(now).unwrap(), 1);
    assert_eq!((bases(&t), t.log.log_start_offset()), (vec![10, 15], 10));
    assert!(t.files().contains(&"00000000000000000005.log.deleted".to_owned()));
    // The delay counts from the first look, on a clock that need not be the records'.
    t.log.delete_due_files(7).unwrap();
    t.log.delete_due_files(7 + 499).unwrap();
    assert!(t.files().contains(&"00000000000000000005.log.deleted".to_owned()));
    t.log.delete_due_files(7 + 500).unwrap();
    assert!(t.files().iter().all(|name| !name.contains("deleted")), "{:?}", t.files());
    assert!(t.files().iter().all(|name| !name.starts_with("00000000000000000005")));
}

#[test]
fn the_active_segment_goes_too_when_it_is_old() {
    let mut t = filled(&[("retention.ms", "10000")], 12);
    let removed = t.log.delete_old_segments(NOW + 1_000_000).unwrap();
    assert_eq!((removed, bases(&t)), (3, vec![12]));
    assert_eq!((t.log.log_start_offset(), t.log.log_end_offset()), (12, 12));
    assert_eq!(t.log.delete_old_segments(NOW + 2_000_000).unwrap(), 0);
    t.append(batch(NOW + 1_000_000, &["new"])).unwrap();
    assert_eq!(t.values(12), [(12, "new".to_owned())]);
    t.reopen_cleanly();
    assert_eq!(t.values(12), [(12, "new".to_owned())]);
}

#[test]
fn deletes_by_size() {
    let size = batch(NOW, &["v00"]).len() as i64 * BATCHES_PER_SEGMENT;
    for (retained_segments, expected) in [(4, vec![0, 5, 10, 15]), (3, vec![5, 10, 15]), (0, vec![20])] {
        let bytes = (retained_segments * size).to_string();
        let mut t = filled(&[("retention.bytes", &bytes), ("retention.ms", "-1")], 20);
        t.log.delete_old_segments(NOW).unwrap();
        assert_eq!(bases(&t), expected, "{retained_segments} segments");
    }
}

#[test]
fn deletes_below_the_log_start_offset_whatever_the_policy() {
    for policy in ["delete", "compact", ""] {
        let mut t = filled(&[("cleanup.policy", policy)], 20);
        let reason = LogStartOffsetIncrementReason::ClientRecordDeletion;
        assert!(t.log.maybe_increment_log_start_offset(12, reason).unwrap());
        assert!(!t.log.maybe_increment_log_start_offset(11, reason).unwrap());
        assert!(t.log.maybe_increment_log_start_offset(21, reason).is_err());
        t.log.delete_old_segments(NOW).unwrap();
        assert_eq!((bases(&t), t.log.log_start_offset()), (vec![10, 15], 12));
        assert_eq!(t.log.leader_epochs().entries()[0].start_offset, 12);
        t.reopen_cleanly();
        assert_eq!(t.log.log_start_offset(), 12);
    }
}

#[test]
fn nothing_above_the_high_watermark_is_deleted() {
    let mut t = filled(&[("retention.ms", "0")], 20);
    t.log.update_high_watermark(9);
    t.log.delete_old_segments(NOW + 1_000_000).unwrap();
    assert_eq!(bases(&t), [5, 10, 15]);
    assert_eq!(t.log.log_end_offset(), 20);
}

#[test]
fn truncates_to_any_offset() {
    for target in 0..=20 {
        let mut t = filled(&[], 20);
        let before = t.values(0);
        assert_eq!(t.log.truncate_to(target, TimestampMs(NOW)).unwrap(), target < 20);
        assert_eq!(t.log.log_end_offset(), target);
        assert_eq!(t.values(0), &before[..target as usize]);
        assert!(t.log.high_watermark() <= target);
        t.append(batch(NOW, &["next"])).unwrap();
        assert_eq!(t.values(target), [(target, "next".to_owned())]);
        t.reopen_after_crash().unwrap();
        assert_eq!(t.log.log_end_offset(), target + 1);
    }
    let mut t = filled(&[], 3);
    assert!(t.log.truncate_to(-1, TimestampMs(NOW)).is_err());
}

#[test]
fn truncates_producer_state_and_epochs_with_the_records() {
    let mut t = TestLog::new(&[]);
    for n in 0..10 {
        let context = crate::AppendContext::client(n / 5, NOW);
        t.log.append_as_leader(&mut t.appender, crate::testing::idempotent(1, 0, n, &["a"]), context).unwrap();
    }
    t.log.truncate_to(4, TimestampMs(NOW)).unwrap();
    assert_eq!(t.log.producer(1).unwrap().last_sequence(), 3);
    assert_eq!(t.log.leader_epochs().entries().len(), 1);
    t.append(crate::testing::idempotent(1, 0, 4, &["a"])).unwrap();
}

#[test]
fn truncating_below_the_first_segment_begins_anew() {
    let mut t = filled(&[], 20);
    t.log.maybe_increment_log_start_offset(12, LogStartOffsetIncrementReason::ClientRecordDeletion).unwrap();
    t.log.delete_old_segments(NOW).unwrap();
    assert!(t.log.truncate_to(3, TimestampMs(NOW)).unwrap());
    assert_eq!((t.log.log_start_offset(), t.log.log_end_offset(), t.log.segment_count()), (3, 3, 1));
    t.append(batch(NOW, &["a"])).unwrap();
    assert_eq!(t.values(3), [(3, "a".to_owned())]);
}

#[test]
fn the_recovery_point_follows_flushes() {
    let mut t = filled(&[], 12);
    assert_eq!(t.log.recovery_point(), 0);
    let plan = t.log.flush_plan().unwrap().unwrap();
    let offset = plan.run().unwrap();
    t.log.mark_flushed(offset);
    assert_eq!(t.log.recovery_point(), 10);
    assert!(t.log.flush_plan().unwrap().is_none());
    t.log.flush().unwrap();
    assert_eq!(t.log.recovery_point(), 12);
    let mut t = TestLog::new(&[("flush.messages", "3")]);
    for (n, expected) in [0, 0, 3, 3, 3, 6].into_iter().enumerate() {
        t.append(batch(NOW, &["a"])).unwrap();
        assert_eq!(t.log.recovery_point(), expected, "append {n}");
    }
    let mut t = TestLog::new(&[("flush.ms", "100")]);
    t.append(batch(NOW, &["a"])).unwrap();
    assert!(t.log.flush_plan_by_time(7).unwrap().is_none());
    assert!(t.log.flush_plan_by_time(7 + 99).unwrap().is_none());
    assert!(t.log.flush_plan_by_time(7 + 100).unwrap().is_some());
}
