//! The coordinators, and what they get from the broker: the partitions of an internal topic as
//! their log, settings, the caller of a request, the news that a topic is gone.

pub(crate) mod group;

use std::sync::Arc;

use bytes::Bytes;
use vltava_protocol::{ErrorCode, Uuid};

use crate::config::BrokerConfig;
use crate::coordinator::group::{Caller, GroupCoordinator, OffsetsLog, TopicMetadata};
use crate::metadata::MetadataStore;
use crate::metadata::image::{MetadataImage, TopicImage};
use crate::metadata::topic_name::CONSUMER_OFFSETS;
use crate::partition::Isolation;
use crate::partitions::Partitions;
use crate::request::RequestContext;

/// The partitions of `__consumer_offsets`, as the group coordinator writes and loads them.
///
/// When an append returns, the records are in the log: a kill of the process does not lose them.
#[derive(Debug)]
struct OffsetsTopic {
    partitions: Arc<Partitions>,
}

impl OffsetsLog for OffsetsTopic {
    fn append(&self, partition: i32, batch: &Bytes, now_ms: i64) -> Result<(), ErrorCode> {
        let partition = self.partitions.by_name(CONSUMER_OFFSETS, partition)?;
        partition.append_from_coordinator(batch, now_ms).map(|_| ()).map_err(|failure| failure.code)
    }

    fn read(&self, partition: i32, offset: i64, max_bytes: usize) -> Result<Bytes, ErrorCode> {
        let partition = self.partitions.by_name(CONSUMER_OFFSETS, partition)?;
        partition.read(offset, -1, max_bytes, true, Isolation::ReadUncommitted)?.read()
    }

    fn bounds(&self, partition: i32) -> Result<(i64, i64), ErrorCode> {
        let partition = self.partitions.by_name(CONSUMER_OFFSETS, partition)?;
        Ok((partition.log_start_offset(), partition.high_watermark()))
    }
}

/// Makes the group coordinator of a broker; it serves nothing until [`follow_offsets_topic`].
pub(crate) fn group_coordinator(config: &BrokerConfig, partitions: &Arc<Partitions>) -> Arc<GroupCoordinator> {
    let topic = OffsetsTopic { partitions: Arc::clone(partitions) };
    Arc::new(GroupCoordinator::new(config.groups.clone(), Arc::new(topic)))
}

/// The topics of the cluster, as consumer groups see them.
pub(crate) struct ClusterTopics {
    version: i64,
    image: Arc<MetadataImage>,
}

impl TopicMetadata for ClusterTopics {
    fn version(&self) -> i64 {
        self.version
    }

    fn topic(&self, name: &str) -> Option<(Uuid, i32)> {
        let topic = self.image.topic(name)?;
        Some((topic.id, i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX)))
    }

    fn name(&self, id: Uuid) -> Option<String> {
        self.image.topic_by_id(id).map(|topic| topic.name.to_string())
    }

    fn names(&self) -> Vec<String> {
        self.image.topics().map(|topic| topic.name.to_string()).collect()
    }
}

impl ClusterTopics {
    /// The topics as they are now.
    pub(crate) fn of(metadata: &MetadataStore) -> Self {
        let (image, version) = metadata.image_and_offset();
        Self { version, image }
    }
}

/// The groups are served as long as their topic is there, whoever made it, and forgotten with it. Nothing happens if they
/// are served already.
pub(crate) fn follow_offsets_topic(
    groups: &Arc<GroupCoordinator>,
    before: Option<&Arc<TopicImage>>,
    after: Option<&Arc<TopicImage>>,
) {
    if before.is_some() && before.map(|topic| topic.id) != after.map(|topic| topic.id) {
        groups.stop();
    }
    if let Some(topic) = after {
        groups.start(i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX));
    }
}

/// Lets the groups forget the offsets of deleted topics.
pub(crate) fn forget_offsets_of(groups: &GroupCoordinator, topics: &[(String, Uuid)]) {
    let forgotten = groups.with_all_shards(|shard, now| shard.topics_deleted(now, topics));
    if let Err(error) = forgotten {
        // What is left is found by the next look for old offsets.
        tracing::warn!(?error, "the offsets of a deleted topic are not removed yet");
    }
}

/// Whether groups of the consumer protocol are served: `group.coordinator.rebalance.protocols` names it, and the
/// cluster's `group.version` is high enough.
pub(crate) fn serves_consumer_groups(config: &BrokerConfig, metadata: &MetadataStore) -> bool {
    config.serves_consumer_protocol && metadata.image().features().get("group.version").is_some_and(|level| *level >= 1)
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
