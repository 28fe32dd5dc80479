//! The coordinators, and what they get from the broker: the partitions of an internal topic as
//! their log, settings, the caller of a request, the news that a topic is gone.

mod cluster_topics;
pub(crate) mod group;
mod log;
#[cfg(test)]
mod memory_log;
mod record;
mod runtime;
mod shard;
mod timers;
mod write;

use std::sync::Arc;

use vltava_protocol::Uuid;

pub(crate) use self::cluster_topics::ClusterTopics;
use crate::config::BrokerConfig;
use crate::coordinator::group::{Caller, GroupCoordinator};
use crate::coordinator::log::TopicLog;
use crate::metadata::MetadataStore;
use crate::metadata::image::TopicImage;
use crate::metadata::topic_name::CONSUMER_OFFSETS;
use crate::partitions::Partitions;
use crate::request::RequestContext;

/// Makes the group coordinator of a broker; it serves nothing until [`follow_offsets_topic`].
pub(crate) fn group_coordinator(config: &BrokerConfig, partitions: &Arc<Partitions>) -> Arc<GroupCoordinator> {
    let log = TopicLog::new(CONSUMER_OFFSETS, partitions);
    Arc::new(GroupCoordinator::of_groups(config.groups.clone(), Arc::new(log)))
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
