use vltava_protocol::record::RecordBatchHeader;
use vltava_protocol::record::control::EndTransactionMarker;
use vltava_protocol::{ErrorCode, TimestampMs};

use crate::testing::{NOW, TestLog, transactional};
use crate::{AppendContext, AppendInfo, Log, LogDir, LogOptions, Result, VerificationGuard};

/// The marker of a transaction, and who writes it.
#[derive(Clone, Copy)]
struct Marker {
    producer_epoch: i16,
    coordinator_epoch: i32,
    transaction_version: i16,
}

const MARKER: Marker = Marker { producer_epoch: 0, coordinator_epoch: 0, transaction_version: 0 };

fn end(t: &mut TestLog, producer_id: i64, marker: Marker) -> Result<AppendInfo> {
    let Marker { producer_epoch, coordinator_epoch, transaction_version } = marker;
    let records = EndTransactionMarker { committed: true, coordinator_epoch };
    let records = records.to_batch(TimestampMs(NOW), producer_id, producer_epoch).unwrap();
    let context = AppendContext { transaction_version, ..AppendContext::coordinator(0, NOW) };
    let info = t.log.append_as_leader(&mut t.appender, records, context)?;
    t.log.advance_high_watermark_to_log_end()?;
    Ok(info)
}

/// Asks for the transaction of a batch.
fn ask(t: &mut TestLog, epoch: i16, sequence: i32, supports_epoch_bump: bool) -> Result<VerificationGuard> {
    let header = RecordBatchHeader::parse(&transactional(1, epoch, sequence, &["x"])).unwrap();
    t.start_verification(&header, supports_epoch_bump)
}

fn append(t: &mut TestLog, epoch: i16, sequence: i32, guard: VerificationGuard) -> Result<AppendInfo> {
    t.append_with_guard(transactional(1, epoch, sequence, &["x"]), guard)
}

fn code(outcome: Result<AppendInfo>) -> ErrorCode {
    outcome.map_or_else(|error| error.code(), |_| ErrorCode::None)
}

#[test]
fn a_transaction_begins_only_where_it_was_asked_for() {
    let mut t = TestLog::new(&[]);
    assert_eq!(code(append(&mut t, 0, 0, VerificationGuard::SENTINEL)), ErrorCode::InvalidTxnState);
    let guard = ask(&mut t, 0, 0, false).unwrap();
    assert_eq!(ask(&mut t, 0, 0, false).unwrap(), guard, "one question at a time");
    append(&mut t, 0, 0, guard).unwrap();
    // What follows needs no question, and what is asked is answered at once.
    assert_eq!(ask(&mut t, 0, 1, false).unwrap(), VerificationGuard::SENTINEL);
    append(&mut t, 0, 1, VerificationGuard::SENTINEL).unwrap();
    end(&mut t, 1, MARKER).unwrap();
    assert_eq!(code(append(&mut t, 0, 2, VerificationGuard::SENTINEL)), ErrorCode::InvalidTxnState);
    assert_eq!(code(append(&mut t, 0, 2, guard)), ErrorCode::InvalidTxnState);
    let next = ask(&mut t, 0, 2, false).unwrap();
    assert_eq!(code(append(&mut t, 0, 2, guard)), ErrorCode::InvalidTxnState, "the answer to an older question");
    append(&mut t, 0, 2, next).unwrap();
    assert_eq!(t.log.last_stable_offset(), 3);
}

#[test]
fn a_marker_takes_away_what_was_asked_before_it() {
    let mut t = TestLog::new(&[]);
    let guard = ask(&mut t, 0, 0, false).unwrap();
    end(&mut t, 1, MARKER).unwrap();
    assert_eq!(code(append(&mut t, 0, 0, guard)), ErrorCode::InvalidTxnState);
    assert_eq!(t.log.first_undecided_offset(), None);
}

#[test]
fn a_marker_of_version_2_leaves_the_question_for_the_transaction_that_begins_with_its_epoch() {
    let mut t = TestLog::new(&[]);
    let guard = ask(&mut t, 0, 0, true).unwrap();
    append(&mut t, 0, 0, guard).unwrap();
    // The producer goes on while the marker is under way.
    let next = ask(&mut t, 1, 0, true).unwrap();
    end(&mut t, 1, Marker { producer_epoch: 1, transaction_version: 2, ..MARKER }).unwrap();
    append(&mut t, 1, 0, next).unwrap();
    assert_eq!(t.log.first_undecided_offset(), Some(2));
}

#[test]
fn an_old_epoch_is_told_before_anything_is_asked() {
    let mut t = TestLog::new(&[]);
    let guard = ask(&mut t, 3, 0, false).unwrap();
    append(&mut t, 3, 0, guard).unwrap();
    assert_eq!(ask(&mut t, 2, 0, false).unwrap_err().code(), ErrorCode::InvalidProducerEpoch);
    assert_eq!(code(append(&mut t, 2, 0, guard)), ErrorCode::InvalidProducerEpoch);
    // A newer one is another transaction.
    assert_eq!(code(append(&mut t, 4, 0, VerificationGuard::SENTINEL)), ErrorCode::InvalidTxnState);
}

#[test]
fn the_lowest_sequence_that_was_asked_for_comes_first() {
    let mut t = TestLog::new(&[]);
    let guard = ask(&mut t, 0, 5, false).unwrap();
    assert_eq!(ask(&mut t, 0, 0, false).unwrap(), guard);
    assert_eq!(ask(&mut t, 0, 7, false).unwrap(), guard);
    assert_eq!(code(append(&mut t, 0, 5, guard)), ErrorCode::OutOfOrderSequenceNumber);
    append(&mut t, 0, 0, guard).unwrap();
    // In a newer epoch the numbers begin anew.
    end(&mut t, 1, MARKER).unwrap();
    let guard = ask(&mut t, 0, 1, false).unwrap();
    assert_eq!(ask(&mut t, 1, 4, false).unwrap(), guard);
    assert_eq!(code(append(&mut t, 1, 5, guard)), ErrorCode::OutOfOrderSequenceNumber);
}

#[test]
fn a_producer_of_version_2_without_state_begins_at_0() {
    let mut t = TestLog::new(&[]);
    let guard = ask(&mut t, 0, 4, true).unwrap();
    assert_eq!(code(append(&mut t, 0, 4, guard)), ErrorCode::OutOfOrderSequenceNumber);
    // One of the generation before may have been forgotten.
    let mut t = TestLog::new(&[]);
    let guard = ask(&mut t, 0, 4, false).unwrap();
    append(&mut t, 0, 4, guard).unwrap();
}

#[test]
fn without_verification_a_transaction_begins_with_its_first_batch() {
    let root = tempfile::tempdir().unwrap();
    let options = LogOptions::default();
    options.dynamic.set_verifies_transactions(false);
    let mut t = TestLog::new(&[]);
    t.log = Log::open(&std::sync::Arc::new(LogDir::new(root.path())), crate::testing::tp(), options, NOW).unwrap();
    append(&mut t, 1, 0, VerificationGuard::SENTINEL).unwrap();
    assert_eq!(code(append(&mut t, 0, 1, VerificationGuard::SENTINEL)), ErrorCode::InvalidProducerEpoch);
}

#[test]
fn questions_are_forgotten_with_the_producers() {
    let mut t = TestLog::new(&[]);
    let guard = ask(&mut t, 0, 0, false).unwrap();
    let day = 24 * 60 * 60 * 1000;
    t.log.remove_expired_producers(NOW + day - 1);
    assert_eq!(ask(&mut t, 0, 0, false).unwrap(), guard);
    t.log.remove_expired_producers(NOW + day);
    assert_eq!(code(append(&mut t, 0, 0, guard)), ErrorCode::InvalidTxnState);
}

#[test]
fn a_marker_of_version_2_is_of_a_newer_epoch_than_what_it_ends() {
    let mut t = TestLog::new(&[]);
    let version_2 = Marker { transaction_version: 2, ..MARKER };
    let guard = ask(&mut t, 5, 0, true).unwrap();
    append(&mut t, 5, 0, guard).unwrap();
    for late in [4, 5] {
        let marker = Marker { producer_epoch: late, ..version_2 };
        assert_eq!(code(end(&mut t, 1, marker)), ErrorCode::InvalidProducerEpoch, "epoch {late}");
    }
    let marker = Marker { producer_epoch: 6, ..version_2 };
    end(&mut t, 1, marker).unwrap();
    // The coordinator did not hear of it and writes it again.
    end(&mut t, 1, marker).unwrap();
    assert_eq!(t.log.last_stable_offset(), 3);
    // The next transaction has the marker's epoch: now the same marker is one that comes too late.
    let guard = ask(&mut t, 6, 0, true).unwrap();
    append(&mut t, 6, 0, guard).unwrap();
    assert_eq!(code(end(&mut t, 1, marker)), ErrorCode::InvalidProducerEpoch);
    // One of the generation before cannot be told apart.
    end(&mut t, 1, Marker { producer_epoch: 6, ..MARKER }).unwrap();
}

#[test]
fn a_coordinator_with_a_successor_writes_no_marker() {
    let mut t = TestLog::new(&[]);
    end(&mut t, 1, Marker { coordinator_epoch: 3, ..MARKER }).unwrap();
    let old = end(&mut t, 1, Marker { coordinator_epoch: 2, ..MARKER });
    assert_eq!(code(old), ErrorCode::TransactionCoordinatorFenced);
    t.reopen_after_crash().unwrap();
    assert_eq!(t.log.producer(1).unwrap().coordinator_epoch, 3);
    let old = end(&mut t, 1, Marker { coordinator_epoch: 2, ..MARKER });
    assert_eq!(code(old), ErrorCode::TransactionCoordinatorFenced);
    assert_eq!(t.log.log_end_offset(), 1);
}
