use vltava_log::{TransactionStart, VerificationGuard};
use vltava_protocol::ErrorCode;

use super::testing::{partition, transactional};
use super::{EndTransaction, Isolation, Partition};

const COMMIT: EndTransaction =
    EndTransaction { producer_id: 7, producer_epoch: 0, coordinator_epoch: 4, committed: true, transaction_version: 0 };

fn ask(partition: &Partition, epoch: i16) -> Result<VerificationGuard, ErrorCode> {
    let start =
        TransactionStart { producer_id: 7, producer_epoch: epoch, base_sequence: 0, supports_epoch_bump: false };
    partition.start_verification(&start, 1_000)
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
    assert_eq!((partition.high_watermark(), stable_offset(&partition)), (2, 2));
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
    assert_eq!(partition.high_watermark(), 2);
}

#[test]
fn nothing_is_asked_for_at_a_partition_that_is_gone() {
    let (_dir, partition) = partition();
    partition.set_gone();
    assert_eq!(ask(&partition, 0), Err(ErrorCode::UnknownTopicOrPartition));
}
