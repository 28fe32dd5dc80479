use std::sync::Arc;

use vltava_protocol::ErrorCode;

use crate::log::LogOptions;
use crate::log_dir::LogDir;
use crate::testing::{NOW, TestLog, batch, idempotent, marker, transactional, values};
use crate::{FetchIsolation, Log};

#[test]
fn a_repeated_batch_is_answered_with_its_old_offset() {
    let mut t = TestLog::new(&[]);
    for n in 0..7 {
        t.append(idempotent(1, 0, n * 2, &["a", "b"])).unwrap();
    }
    for n in 2..7 {
        let again = t.append(idempotent(1, 0, n * 2, &["a", "b"])).unwrap();
        assert!(again.is_duplicate);
        assert_eq!((again.first_offset, again.last_offset), (i64::from(n) * 2, i64::from(n) * 2 + 1));
    }
    // Only the last five are remembered.
    assert_eq!(t.append(idempotent(1, 0, 2, &["a", "b"])).unwrap_err().code(), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(t.log.log_end_offset(), 14);
}

#[test]
fn sequences_must_follow_and_epochs_must_not_go_back() {
    let mut t = TestLog::new(&[]);
    t.append(idempotent(1, 2, 0, &["a"])).unwrap();
    let gap = t.append(idempotent(1, 2, 2, &["c"])).unwrap_err();
    assert_eq!(gap.code(), ErrorCode::OutOfOrderSequenceNumber);
    let old_epoch = t.append(idempotent(1, 1, 1, &["b"])).unwrap_err();
    assert_eq!(old_epoch.code(), ErrorCode::InvalidProducerEpoch);
    let new_epoch_in_the_middle = t.append(idempotent(1, 3, 1, &["b"])).unwrap_err();
    assert_eq!(new_epoch_in_the_middle.code(), ErrorCode::OutOfOrderSequenceNumber);
    t.append(idempotent(1, 3, 0, &["b"])).unwrap();
    // A producer that was forgotten may go on anywhere.
    t.append(idempotent(2, 0, 77, &["x"])).unwrap();
    assert_eq!(t.log.producer(1).unwrap().last_sequence(), 0);
    assert_eq!(t.log.producer(2).unwrap().last_sequence(), 77);
}

#[test]
fn sequences_wrap_around() {
    let mut t = TestLog::new(&[]);
    t.append(idempotent(1, 0, i32::MAX - 1, &["a", "b"])).unwrap();
    t.append(idempotent(1, 0, 0, &["c"])).unwrap();
    let mut t = TestLog::new(&[]);
    t.append(idempotent(1, 0, i32::MAX, &["a", "b"])).unwrap();
    assert_eq!(t.log.producer(1).unwrap().last_sequence(), 0);
    t.append(idempotent(1, 0, 1, &["c"])).unwrap();
    assert!(t.append(idempotent(1, 0, i32::MAX, &["a", "b"])).unwrap().is_duplicate);
}

#[test]
fn producers_are_forgotten_unless_in_a_transaction() {
    let mut t = TestLog::new(&[]);
    t.append(idempotent(1, 0, 0, &["a"])).unwrap();
    t.append(transactional(2, 0, 0, &["b"])).unwrap();
    let day = 24 * 60 * 60 * 1000;
    t.log.remove_expired_producers(NOW + day - 1);
    assert_eq!(t.log.producer_count(), 2);
    t.log.remove_expired_producers(NOW + day);
    assert!(t.log.producer(1).is_none());
    assert!(t.log.producer(2).is_some());
}

#[test]
fn how_long_producers_are_kept_may_change_under_an_open_log() {
    let root = tempfile::tempdir().unwrap();
    let options = LogOptions::default();
    let settings = Arc::clone(&options.dynamic);
    let mut t = TestLog::new(&[]);
    t.log = Log::open(&Arc::new(LogDir::new(root.path())), crate::testing::tp(), options, NOW).unwrap();
    t.append(idempotent(1, 0, 0, &["a"])).unwrap();
    t.log.remove_expired_producers(NOW + 1000);
    assert_eq!(t.log.producer_count(), 1);
    settings.set_producer_id_expiration_ms(1000);
    t.log.remove_expired_producers(NOW + 1000);
    assert_eq!(t.log.producer_count(), 0);
}

#[test]
fn a_roll_of_an_empty_segment_keeps_the_snapshot_at_its_start() {
    let mut t = TestLog::new(&[]);
    t.append(idempotent(1, 0, 0, &["a"])).unwrap();
    let end = t.log.roll(t.now).unwrap();
    assert_eq!(t.log.roll(t.now).unwrap(), end);
    assert!(t.files().contains(&format!("{end:020}.snapshot")));
    t.reopen_cleanly();
    assert!(t.append(idempotent(1, 0, 0, &["a"])).unwrap().is_duplicate);
}

#[test]
fn producer_state_survives_clean_stops_crashes_and_lost_snapshots() {
    let mut t = TestLog::new(&[("internal.segment.bytes", "400")]);
    let mut sequence = 0;
    let mut check = |t: &mut TestLog| {
        for _ in 0..3 {
            t.append(idempotent(5, 1, sequence, &["a"])).unwrap();
            sequence += 1;
        }
        let end = t.log.log_end_offset();
        (sequence - 1, end)
    };
    for round in 0..6 {
        let (last, end) = check(&mut t);
        match round % 3 {
            0 => t.reopen_cleanly(),
            1 => t.reopen_after_crash().unwrap(),
            _ => {
                for name in t.files().iter().filter(|name| name.ends_with(".snapshot")) {
                    std::fs::write(t.dir().join(name), b"damaged").unwrap();
                }
                t.reopen_after_crash().unwrap();
            }
        }
        assert_eq!(t.log.log_end_offset(), end);
        assert!(t.append(idempotent(5, 1, last, &["a"])).unwrap().is_duplicate, "round {round}");
        assert!(t.append(idempotent(5, 1, last + 5, &["a"])).is_err());
    }
}

#[test]
fn readers_of_committed_data_wait_for_open_transactions_and_learn_of_aborted_ones() {
    let mut t = TestLog::new(&[]);
    t.append(batch(NOW, &["before"])).unwrap();
    t.append(transactional(1, 0, 0, &["t1"])).unwrap();
    t.append(transactional(2, 0, 0, &["t2"])).unwrap();
    t.append(batch(NOW, &["between"])).unwrap();
    assert_eq!(t.log.last_stable_offset(), 1);
    assert_eq!(values(&mut t.log, 0, FetchIsolation::TxnCommitted).len(), 1);
    t.append_marker(marker(1, 0, false)).unwrap();
    assert_eq!(t.log.last_stable_offset(), 2);
    t.append_marker(marker(2, 0, true)).unwrap();
    assert_eq!(t.log.last_stable_offset(), 6);
    let plan = t.log.read(0, 10_000, FetchIsolation::TxnCommitted, true).unwrap();
    let aborted: Vec<_> =
        plan.aborted_transactions.unwrap().iter().map(|a| (a.producer_id, a.first_offset, a.last_offset)).collect();
    assert_eq!(aborted, [(1, 1, 4)]);
    assert_eq!(t.log.read(5, 10_000, FetchIsolation::TxnCommitted, true).unwrap().aborted_transactions, Some(vec![]));
    assert!(t.log.read(0, 10_000, FetchIsolation::HighWatermark, true).unwrap().aborted_transactions.is_none());

    // The same after a crash, which rebuilds the index of aborted transactions.
    t.log.recovery_report();
    std::fs::remove_file(t.dir().join("00000000000000000000.txnindex")).unwrap();
    t.reopen_after_crash().unwrap();
    assert_eq!(t.log.collect_aborted_transactions(0, 10).unwrap().len(), 1);
    assert_eq!(t.log.last_stable_offset(), 6);
}

#[test]
fn open_transactions_survive_a_stop() {
    let mut t = TestLog::new(&[]);
    t.append(batch(NOW, &["before"])).unwrap();
    t.append(transactional(1, 0, 0, &["t1"])).unwrap();
    for clean in [true, false] {
        if clean {
            t.reopen_cleanly()
        } else {
            t.reopen_after_crash().unwrap()
        }
        assert_eq!(t.log.last_stable_offset(), 1);
        assert_eq!(t.log.first_undecided_offset(), Some(1));
    }
    t.append_marker(marker(1, 0, true)).unwrap();
    assert_eq!(t.log.last_stable_offset(), 3);
    assert_eq!(t.log.first_undecided_offset(), None);
}

#[test]
fn transactions_refuse_what_breaks_them() {
    let mut t = TestLog::new(&[]);
    t.append(transactional(1, 3, 0, &["t1"])).unwrap();
    let plain = t.append(idempotent(1, 3, 1, &["x"])).unwrap_err();
    assert_eq!(plain.code(), ErrorCode::InvalidTxnState);
    let zombie = t.append_marker(marker(1, 2, true)).unwrap_err();
    assert_eq!(zombie.code(), ErrorCode::InvalidProducerEpoch);
    t.append_marker(marker(1, 3, true)).unwrap();
    t.append(idempotent(1, 3, 1, &["x"])).unwrap();
}

#[test]
fn the_last_stable_offset_waits_for_the_marker_to_be_replicated() {
    let mut t = TestLog::new(&[]);
    t.append(transactional(1, 0, 0, &["t1"])).unwrap();
    let context = crate::AppendContext::coordinator(0, NOW);
    t.log.append_as_leader(&mut t.appender, marker(1, 0, true), context).unwrap();
    assert_eq!((t.log.high_watermark(), t.log.last_stable_offset()), (1, 0));
    t.log.advance_high_watermark_to_log_end().unwrap();
    assert_eq!(t.log.last_stable_offset(), 2);
}
