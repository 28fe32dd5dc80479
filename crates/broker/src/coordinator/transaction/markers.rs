//! Markers into partitions: where a transaction coordinator's decisions arrive.
//!
//! All partitions are led by this broker, so a marker is an append. Were they led by several, this would be the place to ask
//! the others, by WriteTxnMarkers.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use vltava_log::TopicPartition;
use vltava_protocol::ErrorCode;

use super::shard::Decided;
use crate::clock;
use crate::coordinator::group::GroupCoordinator;
use crate::metadata::MetadataStore;
use crate::metadata::topic_name::CONSUMER_OFFSETS;
use crate::partition::EndTransaction;
use crate::partitions::Partitions;
use crate::seldom::Seldom;

/// Writes markers.
#[derive(Debug)]
pub(crate) struct TransactionMarkers {
    partitions: Arc<Partitions>,
    groups: Arc<GroupCoordinator>,
    metadata: Arc<MetadataStore>,
    warnings: Mutex<Seldom>,
}

impl TransactionMarkers {
    pub(crate) fn new(
        partitions: &Arc<Partitions>,
        groups: &Arc<GroupCoordinator>,
        metadata: &Arc<MetadataStore>,
    ) -> Self {
        Self {
            partitions: Arc::clone(partitions),
            groups: Arc::clone(groups),
            metadata: Arc::clone(metadata),
            warnings: Mutex::default(),
        }
    }

    /// Writes a marker into a partition; returns when it is committed. In a partition of the groups the offsets of the
    /// transaction are committed or dropped with it.
    ///
    /// Cancel-safe: if the caller goes away, what was begun is done.
    ///
    /// # Errors
    ///
    /// `UNKNOWN_TOPIC_OR_PARTITION` for one that is not there or offline, and whatever a log refuses by.
    pub(crate) async fn write(&self, marker: &EndTransaction, at: &TopicPartition) -> Result<(), ErrorCode> {
        let partition = self.partitions.by_name(&at.topic, at.partition);
        let partition = partition.map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
        if &*at.topic == CONSUMER_OFFSETS {
            return self.groups.end_transaction(at.partition, marker).await.map_err(|error| match error {
                // As Kafka: the coordinator of transactions is told that the partition is not ready.
                ErrorCode::CoordinatorNotAvailable
                | ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::NotCoordinator => ErrorCode::NotLeaderOrFollower,
                error => error,
            });
        }
        let appended = partition.append_end_transaction_marker(marker, None, clock::wall_clock_ms());
        appended.map(|_| ()).map_err(|failure| failure.code)
    }

    /// Writes the markers of a decided transaction; gives the partitions that need none any more.
    pub(super) async fn write_all(&self, coordinator_epoch: i32, decided: &Decided) -> Vec<TopicPartition> {
        let marker = EndTransaction {
            producer_id: decided.producer_id,
            producer_epoch: decided.producer_epoch,
            coordinator_epoch,
            committed: decided.committed,
            transaction_version: decided.transaction_version,
        };
        let mut done = Vec::with_capacity(decided.partitions.len());
        for partition in &decided.partitions {
            match self.write(&marker, partition).await {
                Ok(()) => done.push(partition.clone()),
                Err(error) if self.is_settled(partition, error) => {
                    let id = &*decided.transactional_id;
                    tracing::info!(transactional_id = id, %partition, ?error, "a partition needs no marker any more");
                    done.push(partition.clone());
                }
                Err(error) => self.warn(decided, partition, error),
            }
        }
        done
    }

    /// Whether nothing of a transaction can be open in a partition that refuses its marker: it is deleted, or has heard of
    /// a later epoch of the producer.
    fn is_settled(&self, at: &TopicPartition, error: ErrorCode) -> bool {
        match error {
            ErrorCode::InvalidProducerEpoch => true,
            ErrorCode::UnknownTopicOrPartition => {
                let image = self.metadata.image();
                let count = image.topic(&at.topic).map_or(0, |topic| topic.partitions.len());
                usize::try_from(at.partition).is_ok_and(|index| index >= count)
            }
            _ => false,
        }
    }

    fn warn(&self, decided: &Decided, partition: &TopicPartition, error: ErrorCode) {
        let count = self.warnings.lock().count(Instant::now());
        if let Some(count) = count {
            let id = &*decided.transactional_id;
            tracing::warn!(
                transactional_id = id,
                %partition,
                ?error,
                count,
                "the marker of a transaction cannot be written and is tried again"
            );
        }
    }
}
