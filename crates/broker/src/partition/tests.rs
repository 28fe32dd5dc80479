use std::task::{Context, Poll, Waker};

use vltava_log::{TransactionStart, VerificationGuard};
use vltava_protocol::ErrorCode;

use super::testing::{batch, partition, transactional};
use super::{EndTransaction, Isolation, Partition};
use crate::waiting::FetchWaiter;

const COMMIT: EndTransaction =
    EndTransaction { producer_id: 7, producer_epoch: 0, coordinator_epoch: 4, committed: true, transaction_version: 0 };

fn ask(partition: &Partition, epoch: i16) -> Result<VerificationGuard, ErrorCode> {
    let start =
        TransactionStart { producer_id: 7, producer_epoch: epoch, base_sequence: 0, supports_epoch_bump: false };
    partition.start_verification(&start, 1_000)
}

fn high_watermark(partition: &Partition) -> i64 {
    partition.latest_offset(Isolation::ReadUncommitted).offset
}

fn stable_offset(partition: &Partition) -> i64 {
    partition.latest_offset(Isolation::ReadCommitted).offset
}

#[test]
fn a_marker_ends_a_transaction_and_is_committed_when_that_is_said() {
    let (_dir, partition) = partition();
    let guard = ask(&partition, 0).unwrap();
    partition.append_from_client(&transactional(0, 0), guard, 1_000).unwrap();
    assert_eq!(stable_offset(&partition), 0);
    assert_eq!(partition.append_end_transaction_marker(&COMMIT, None, 1_000).unwrap(), 2);
    assert_eq!((high_watermark(&partition), stable_offset(&partition)), (2, 2));
    // In the epoch that a coordinator names whose log this is.
    assert_eq!(partition.append_end_transaction_marker(&COMMIT, Some(3), 1_000).unwrap(), 3);
    let refused = partition.append_end_transaction_marker(&COMMIT, Some(2), 1_000).unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotLeaderOrFollower);
}

#[test]
fn a_marker_is_refused_by_the_code_that_its_coordinator_expects() {
    let (_dir, partition) = partition();
    let guard = ask(&partition, 5).unwrap();
    partition.append_from_client(&transactional(5, 0), guard, 1_000).unwrap();
    let open = EndTransaction { producer_epoch: 5, ..COMMIT };
    let cases = [
        (EndTransaction { producer_epoch: 4, ..open }, ErrorCode::InvalidProducerEpoch),
        (EndTransaction { transaction_version: 2, ..open }, ErrorCode::InvalidProducerEpoch),
        (EndTransaction { producer_id: -1, ..open }, ErrorCode::InvalidRecord),
    ];
    for (end, expected) in cases {
        let refused = partition.append_end_transaction_marker(&end, None, 1_000).unwrap_err();
        assert_eq!(refused.code, expected, "{end:?}");
    }
    partition.append_end_transaction_marker(&open, None, 1_000).unwrap();
    let fenced = EndTransaction { coordinator_epoch: 3, ..open };
    let refused = partition.append_end_transaction_marker(&fenced, None, 1_000).unwrap_err();
    assert_eq!(refused.code, ErrorCode::TransactionCoordinatorFenced);
    assert_eq!(high_watermark(&partition), 2);
}

#[test]
fn nothing_is_asked_for_at_a_partition_that_is_gone() {
    let (_dir, partition) = partition();
    partition.set_gone();
    assert_eq!(ask(&partition, 0), Err(ErrorCode::UnknownTopicOrPartition));
}

fn is_woken(waiter: &FetchWaiter) -> bool {
    let woken = std::pin::pin!(waiter.woken());
    woken.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
}

#[test]
fn the_end_of_a_transaction_wakes_who_reads_committed_records() {
    let (_dir, partition) = partition();
    let wait = |reads_committed, bytes| {
        let waiter = FetchWaiter::new(reads_committed, bytes);
        partition.waiters().park(&waiter);
        waiter
    };
    let append = |records, guard| partition.append_from_client(&records, guard, 1_000).unwrap();
    // Without a transaction everybody waits for the same.
    let committed = wait(true, 1);
    append(batch(&["a"]), VerificationGuard::SENTINEL);
    assert!(is_woken(&committed));
    let (committed, uncommitted) = (wait(true, 1), wait(false, 1));
    let guard = ask(&partition, 0).unwrap();
    append(transactional(0, 0), guard);
    append(batch(&["behind it"]), VerificationGuard::SENTINEL);
    assert!(is_woken(&uncommitted));
    assert!(!is_woken(&committed));
    let much = wait(true, 1_000_000);
    partition.append_end_transaction_marker(&COMMIT, None, 1_000).unwrap();
    assert!(is_woken(&committed) && is_woken(&much));
}

#[test]
fn a_record_at_the_largest_timestamp_is_found_when_it_may_be_read() {
    let (_dir, partition) = partition();
    let guard = ask(&partition, 0).unwrap();
    partition.append_from_client(&transactional(0, 0), guard, 1_000).unwrap();
    let latest = |isolation| partition.offset_of_max_timestamp(isolation).unwrap().offset;
    assert_eq!((latest(Isolation::ReadUncommitted), latest(Isolation::ReadCommitted)), (0, -1));
    partition.append_end_transaction_marker(&COMMIT, None, 1_000).unwrap();
    assert_eq!(latest(Isolation::ReadCommitted), 0);
}
