//! The coordinators, and what they get from the broker: the partitions of an internal topic as
//! their log, settings, the caller of a request, the news that a topic is gone.

mod cluster_topics;
pub(crate) mod group;
mod log;
#[cfg(test)]
mod memory_log;
mod pattern;
mod record;
mod runtime;
mod shard;
mod timers;
pub(crate) mod transaction;
mod write;

use std::sync::Arc;

use vltava_protocol::messages::TxnOffsetCommitRequest;
use vltava_protocol::messages::txn_offset_commit_response::TxnOffsetCommitResponseTopic;
use vltava_protocol::record::{NO_SEQUENCE, ProducerState};
use vltava_protocol::{ErrorCode, Uuid};

pub(crate) use self::cluster_topics::ClusterTopics;
pub(crate) use self::runtime::{Standing, partition_for};
use crate::clock;
use crate::config::BrokerConfig;
use crate::coordinator::group::{Caller, GroupCoordinator};
use crate::coordinator::log::TopicLog;
use crate::coordinator::transaction::{TransactionCoordinator, TransactionShards};
use crate::metadata::MetadataStore;
use crate::metadata::features::STREAMS_VERSION;
use crate::metadata::image::TopicImage;
use crate::metadata::topic_name::{CONSUMER_OFFSETS, TRANSACTION_STATE};
use crate::partitions::Partitions;
use crate::request::RequestContext;
use crate::transaction_verification::{Target, TransactionSupport, TransactionalProducer, ask};

/// Makes the group coordinator of a broker; it serves nothing until [`follow_offsets_topic`].
pub(crate) fn group_coordinator(config: &BrokerConfig, partitions: &Arc<Partitions>) -> Arc<GroupCoordinator> {
    let log = TopicLog::new(CONSUMER_OFFSETS, partitions);
    Arc::new(GroupCoordinator::of_groups(config.groups.clone(), Arc::new(log)))
}

/// Makes the shards of the transaction coordinator of a broker; they serve nothing until [`follow_transaction_topic`]. With
/// them comes what they will want done.
pub(crate) fn transaction_shards(
    config: &BrokerConfig,
    partitions: &Arc<Partitions>,
) -> (Arc<TransactionShards>, transaction::Effects) {
    let log = TopicLog::new(TRANSACTION_STATE, partitions);
    let (shards, effects) = transaction::shards(&config.transactions, Arc::new(log));
    (Arc::new(shards), effects)
}

/// As [`follow_offsets_topic`], for transactions.
pub(crate) fn follow_transaction_topic(shards: &TransactionShards, topic: Option<&Arc<TopicImage>>) {
    shards.follow(topic.map(|topic| (topic.id, topic.partitions.len())));
}

/// The groups are served as long as their topic is there, whoever made it, and forgotten with it. Nothing happens if they
/// are served already.
pub(crate) fn follow_offsets_topic(groups: &GroupCoordinator, topic: Option<&Arc<TopicImage>>) {
    groups.follow(topic.map(|topic| (topic.id, topic.partitions.len())));
}

/// Lets the groups forget the offsets of deleted topics.
pub(crate) fn forget_offsets_of(groups: &GroupCoordinator, topics: &[(String, Uuid)]) {
    let forgotten = groups.tell_all_shards(|shard, now| shard.topics_deleted(now, topics));
    if let Err(error) = forgotten {
        // What is left is found by the next look for old offsets.
        tracing::warn!(?error, "the offsets of a deleted topic are not removed yet");
    }
}

/// Whether groups of the consumer protocol are served: `group.coordinator.rebalance.protocols` names it, and the
/// cluster's `group.version` is high enough.
pub(crate) fn serves_consumer_groups(config: &BrokerConfig, metadata: &MetadataStore) -> bool {
    config.serves_consumer_protocol && metadata.image().feature_level("group.version") >= 1
}

/// Whether streams groups are served: `group.coordinator.rebalance.protocols` names them, and the cluster's
/// `streams.version` is high enough.
pub(crate) fn serves_streams_groups(config: &BrokerConfig, metadata: &MetadataStore) -> bool {
    config.serves_streams_protocol && metadata.image().feature_level(STREAMS_VERSION) >= 1
}

/// The partition of the groups' topic that a group belongs to, whether the topic is there or is still to be created.
pub(crate) fn partition_of_group(config: &BrokerConfig, groups: &GroupCoordinator, group_id: &str) -> Option<i32> {
    groups.partition_of(group_id).or_else(|| {
        let count = usize::try_from(config.offsets_topic_num_partitions).ok()?;
        i32::try_from(partition_for(group_id, count)?).ok()
    })
}

/// Stores offsets of a group in a producer's transaction, which has to have the group's partition or is given it. The topics
/// exist.
///
/// # Errors
///
/// Those of the transaction, of the group, and of [`GroupCoordinator::with_shard_transactional`].
pub(crate) async fn commit_in_transaction(
    partitions: &Partitions,
    groups: &GroupCoordinator,
    transactions: &TransactionCoordinator,
    topics: &ClusterTopics<'_>,
    support: TransactionSupport,
    commit: TxnOffsetCommitRequest,
) -> Result<Vec<TxnOffsetCommitResponseTopic>, ErrorCode> {
    let group_id = commit.group_id.as_str();
    if group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let partition = groups.partition_of(group_id).ok_or(ErrorCode::NotCoordinator)?;
    let partition = partitions.by_name(CONSUMER_OFFSETS, partition).map_err(|_| ErrorCode::NotCoordinator)?;
    let producer = TransactionalProducer {
        transactional_id: &commit.transactional_id,
        producer_id: commit.producer_id,
        producer_epoch: commit.producer_epoch,
        support,
    };
    let target = Target { partition: &partition, base_sequence: NO_SEQUENCE };
    let asked = ask(transactions, producer, &[target], clock::wall_clock_ms()).await;
    let guard = asked.into_iter().next().unwrap_or(Err(ErrorCode::UnknownServerError)).map_err(told_of_offsets)?;
    // As Kafka: what a coordinator writes for a producer is in no order with what that writes itself.
    let producer = ProducerState::transactional(commit.producer_id, commit.producer_epoch, 0);
    let committed = groups.with_shard_transactional(group_id, producer, guard, |shard, now| {
        match shard.prepare_transactional_commit(now, &commit, topics) {
            Ok((response, records)) => (Ok(response), records),
            Err(error) => (Err(error), Vec::new()),
        }
    });
    committed.await?
}

/// What a client is told that commits offsets, of an error on the way to the transaction coordinator: one that all versions
/// try again after.
fn told_of_offsets(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::NetworkException => ErrorCode::CoordinatorLoadInProgress,
        error => write::response_error(error),
    }
}

impl RequestContext {
    /// The caller, as a coordinator describes its members.
    pub(crate) fn caller(&self) -> Caller {
        Caller {
            api_version: self.version,
            client_id: self.client_id.clone().unwrap_or_default(),
            client_host: self.peer.host(),
        }
    }
}
