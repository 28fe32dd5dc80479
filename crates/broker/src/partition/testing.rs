//! What tests of partitions share.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tempfile::TempDir;
use vltava_log::{Log, LogConfig, LogDir, LogOptions, TopicPartition};
use vltava_protocol::Uuid;
use vltava_protocol::record::{Compression, ProducerState, RecordBatchBuilder};

use crate::partition::Partition;

/// Opens a partition that is led in epoch 3.
pub(crate) fn partition() -> (TempDir, Partition) {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { config: Arc::new(LogConfig::default()), ..LogOptions::default() };
    let log = Log::open(&Arc::new(LogDir::new(dir.path())), TopicPartition::new("t", 0), options, 1_000).unwrap();
    let partition = Partition::new("t".into(), 0, Uuid::ZERO, Arc::new(Mutex::new(log)), Arc::default());
    partition.lead(3).unwrap();
    (dir, partition)
}

pub(crate) fn batch(values: &[&str]) -> Bytes {
    let mut builder = RecordBatchBuilder::new(Compression::None);
    for value in values {
        builder.append(1_000, Some(b"key"), Some(value.as_bytes()), []).unwrap();
    }
    builder.build().unwrap()
}

/// A batch of one record of a transaction of producer 7.
pub(crate) fn transactional(epoch: i16, sequence: i32) -> Bytes {
    let mut builder = RecordBatchBuilder::new(Compression::None);
    builder.append(1_000, Some(b"key"), Some(b"in a transaction"), []).unwrap();
    builder.set_producer_state(ProducerState::transactional(7, epoch, sequence));
    builder.build().unwrap()
}
