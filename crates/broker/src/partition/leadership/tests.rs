use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tempfile::TempDir;
use vltava_log::{Log, LogConfig, LogDir, LogOptions, TopicPartition};
use vltava_protocol::record::{Compression, RecordBatchBuilder};
use vltava_protocol::{ErrorCode, Uuid};

use super::{LeaderListener, Led};
use crate::partition::{Isolation, Partition};

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

/// Opens a partition that is led in epoch 3.
fn partition() -> (TempDir, Partition) {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { config: Arc::new(LogConfig::default()), ..LogOptions::default() };
    let log = Log::open(&Arc::new(LogDir::new(dir.path())), TopicPartition::new("t", 0), options, 1_000).unwrap();
    let partition = Partition::new("t".into(), 0, Uuid::ZERO, Arc::new(Mutex::new(log)));
    partition.lead(3).unwrap();
    (dir, partition)
}

fn batch(values: &[&str]) -> Bytes {
    let mut builder = RecordBatchBuilder::new(Compression::None);
    for value in values {
        builder.append(1_000, Some(b"key"), Some(value.as_bytes()), []).unwrap();
    }
    builder.build().unwrap()
}

#[test]
fn a_listener_hears_of_every_append_and_the_coordinator_of_its_end() {
    let (_dir, partition) = partition();
    partition.append_from_client(&batch(&["before"]), 1_000).unwrap();
    let heard = Arc::new(Heard::default());
    let led = partition.listen(heard.clone()).unwrap();
    assert_eq!(led, Led { leader_epoch: 3, log_start_offset: 0, end_offset: 1, high_watermark: 1 });
    assert_eq!(partition.append_from_coordinator(&batch(&["a", "b"]), 3, 1_000).unwrap(), 3);
    partition.append_from_client(&batch(&["c"]), 1_000).unwrap();
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
    let refused = partition.append_from_coordinator(&batch(&["a"]), 3, 1_000).unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotLeaderOrFollower);
    partition.append_from_coordinator(&batch(&["a"]), 4, 1_000).unwrap();
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
    partition.append_from_coordinator(&batch(&["a"]), 3, 1_000).unwrap();
    partition.log.lock().update_high_watermark(0);
    let read = |isolation| partition.read(0, -1, 1_000, true, isolation).unwrap().read().unwrap();
    assert!(read(Isolation::ReadUncommitted).is_empty());
    assert!(!read(Isolation::LogEnd).is_empty());
}
