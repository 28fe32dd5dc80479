//! What coordinators get from the broker: a partition of an internal topic as their log, and time.
//!
//! A coordinator is a state machine for each partition of its topic. It emits records; the broker
//! appends them through [`InternalLog`] and an answer leaves only when that returned. When a broker
//! starts, or a partition is asked for the first time, the machine replays the whole log.

#[allow(dead_code, unused_imports, reason = "its callers are the handlers, which follow")]
pub(crate) mod group;

use std::sync::Arc;

use bytes::Bytes;
use vltava_protocol::ErrorCode;
use vltava_protocol::record::{RecordBatch, RecordBatches};

use crate::metadata::topic_name::CONSUMER_OFFSETS;
use crate::node::Node;
use crate::partition::{Isolation, Partition};
use crate::topics;

/// How much of a log is read at once while loading (Kafka's `offsets.load.buffer.size`).
const LOAD_BYTES: usize = 5 * 1024 * 1024;

/// One partition of an internal topic, as its coordinator writes and loads it.
#[derive(Debug, Clone)]
pub(crate) struct InternalLog {
    partition: Arc<Partition>,
}

impl InternalLog {
    /// Opens partition `index` of `__consumer_offsets`; creates the topic when it is first needed.
    ///
    /// # Errors
    ///
    /// `COORDINATOR_NOT_AVAILABLE` when the topic cannot be created.
    pub(crate) fn open_offsets(node: &Arc<Node>, index: i32) -> Result<Self, ErrorCode> {
        if node.partitions.topic(CONSUMER_OFFSETS).is_none() {
            let failures = topics::auto_create(node, &[CONSUMER_OFFSETS]);
            if !failures.is_empty() {
                return Err(ErrorCode::CoordinatorNotAvailable);
            }
        }
        let partition = node.partitions.by_name(CONSUMER_OFFSETS, index);
        partition.map(|partition| Self { partition }).map_err(|_| ErrorCode::CoordinatorNotAvailable)
    }

    /// Appends record batches. When it returns they are in the log, and a kill of the process does
    /// not lose them.
    ///
    /// # Errors
    ///
    /// The code of the log's failure, such as `KAFKA_STORAGE_ERROR`.
    pub(crate) fn append(&self, batches: &Bytes, now_ms: i64) -> Result<i64, ErrorCode> {
        let appended = self.partition.append_from_coordinator(batches, now_ms);
        appended.map(|appended| appended.base_offset).map_err(|failure| failure.code)
    }

    /// Gives every batch of the log, from its start to its end, to `replay`.
    ///
    /// # Errors
    ///
    /// The code of the log's failure, or `CORRUPT_MESSAGE` for a batch that is none.
    pub(crate) fn replay(
        &self,
        mut replay: impl FnMut(&RecordBatch) -> Result<(), ErrorCode>,
    ) -> Result<(), ErrorCode> {
        let end = self.partition.high_watermark();
        let mut next = self.partition.log_start_offset();
        while next < end {
            let read = self.partition.read(next, -1, LOAD_BYTES, true, Isolation::ReadUncommitted)?;
            if read.records.is_empty() {
                return Ok(());
            }
            for batch in RecordBatches::new(read.records) {
                let batch = batch.map_err(|_| ErrorCode::CorruptMessage)?;
                next = batch.last_offset() + 1;
                replay(&batch)?;
            }
        }
        Ok(())
    }
}

/// The partition of a coordinator's topic with `partitions` partitions that `id` belongs to: Java's
/// `String.hashCode`, made positive as Kafka does it.
pub(crate) fn partition_for(id: &str, partitions: i32) -> i32 {
    let hash = id.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    positive % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_belongs_to_the_partition_that_kafka_puts_it_in() {
        // From Java: Math.abs("…".hashCode()) % 50.
        for (id, partition) in [("", 0), ("a", 47), ("my-group", 12), ("polygenelubricants", 0)] {
            assert_eq!(partition_for(id, 50), partition, "{id}");
        }
    }
}
