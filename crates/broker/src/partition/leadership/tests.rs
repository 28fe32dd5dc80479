use std::sync::Arc;

use parking_lot::Mutex;
use vltava_log::VerificationGuard;
use vltava_protocol::ErrorCode;

use super::{LeaderListener, Led};
use crate::partition::Isolation;
use crate::partition::testing::{batch, partition};

/// What a listener has heard.
#[derive(Debug, Default)]
struct Heard(Mutex<Vec<Option<i64>>>);

impl LeaderListener for Heard {
    fn committed(&self, high_watermark: i64) {
        self.0.lock().push(Some(high_watermark));
    }

    fn over(&self) {
        self.0.lock().push(None);
    }
}

impl Heard {
    fn take(&self) -> Vec<Option<i64>> {
        std::mem::take(&mut *self.0.lock())
    }
}

#[test]
fn a_listener_hears_of_every_append_and_the_coordinator_of_its_end() {
    let (_dir, partition) = partition();
    partition.append_from_client(&batch(&["before"]), VerificationGuard::SENTINEL, 1_000).unwrap();
    let heard = Arc::new(Heard::default());
    let led = partition.listen(heard.clone()).unwrap();
    assert_eq!(led, Led { leader_epoch: 3, log_start_offset: 0, end_offset: 1, high_watermark: 1 });
    assert_eq!(
        partition.append_from_coordinator(&batch(&["a", "b"]), 3, VerificationGuard::SENTINEL, 1_000).unwrap(),
        3
    );
    partition.append_from_client(&batch(&["c"]), VerificationGuard::SENTINEL, 1_000).unwrap();
    assert_eq!(heard.take(), [Some(3), Some(4)]);
}

#[test]
fn a_leader_epoch_ends_once_and_nothing_is_appended_or_heard_in_it_any_more() {
    let (_dir, partition) = partition();
    let heard = Arc::new(Heard::default());
    partition.listen(heard.clone()).unwrap();
    partition.lead(3).unwrap();
    assert_eq!(heard.take(), [], "the same epoch goes on");
    partition.lead(4).unwrap();
    assert_eq!(heard.take(), [None]);
    let refused = partition.append_from_coordinator(&batch(&["a"]), 3, VerificationGuard::SENTINEL, 1_000).unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotLeaderOrFollower);
    partition.append_from_coordinator(&batch(&["a"]), 4, VerificationGuard::SENTINEL, 1_000).unwrap();
    partition.set_offline();
    assert_eq!(heard.take(), []);
}

#[test]
fn a_partition_that_goes_ends_its_leader_epoch_and_has_none_again() {
    let (_dir, partition) = partition();
    let heard = Arc::new(Heard::default());
    partition.listen(heard.clone()).unwrap();
    partition.set_gone();
    assert_eq!(heard.take(), [None]);
    assert_eq!(partition.listen(heard.clone()).unwrap_err(), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(heard.take(), [None]);
}

#[test]
fn a_coordinator_reads_what_is_not_committed_yet() {
    let (_dir, partition) = partition();
    partition.append_from_coordinator(&batch(&["a"]), 3, VerificationGuard::SENTINEL, 1_000).unwrap();
    partition.log.lock().update_high_watermark(0);
    let read = |isolation| partition.read(0, -1, 1_000, true, isolation).unwrap().read().unwrap();
    assert!(read(Isolation::ReadUncommitted).is_empty());
    assert!(!read(Isolation::LogEnd).is_empty());
}
