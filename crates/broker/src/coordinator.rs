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
use crate::metadata::image::TopicImage;
use crate::metadata::topic_name::CONSUMER_OFFSETS;
use crate::node::Node;
use crate::partitions::Partitions;
use crate::request::RequestContext;

/// Makes the group coordinator of a broker; it serves nothing until [`Node::start_groups`].
pub(crate) fn group_coordinator(config: &BrokerConfig, partitions: &Arc<Partitions>) -> Arc<GroupCoordinator> {
    let log = TopicLog::new(CONSUMER_OFFSETS, partitions);
    Arc::new(GroupCoordinator::of_groups(config.groups.clone(), Arc::new(log)))
}

impl Node {
    /// Serves the groups if their topic is there; nothing happens if they are served already.
    pub(crate) fn start_groups(&self) {
        if !self.groups.is_serving() {
            self.follow_offsets_topic(self.metadata.image().topic(CONSUMER_OFFSETS));
        }
    }

    /// The groups are served as long as their topic is there, whoever made it, and forgotten with it.
    pub(crate) fn follow_offsets_topic(&self, topic: Option<&Arc<TopicImage>>) {
        self.groups.follow(topic.map(|topic| (topic.id, topic.partitions.len())));
    }

    /// Lets the groups forget the offsets of deleted topics.
    pub(crate) fn forget_offsets_of(&self, topics: &[(String, Uuid)]) {
        let forgotten = self.groups.tell_all_shards(|shard, now| shard.topics_deleted(now, topics));
        if let Err(error) = forgotten {
            // What is left is found by the next look for old offsets.
            tracing::warn!(?error, "the offsets of a deleted topic are not removed yet");
        }
    }
}

impl Node {
    /// Whether groups of the consumer protocol are served: `group.coordinator.rebalance.protocols` names it, and the
    /// cluster's `group.version` is high enough.
    pub(crate) fn serves_consumer_groups(&self) -> bool {
        self.config.serves_consumer_protocol
            && self.metadata.image().features().get("group.version").is_some_and(|level| *level >= 1)
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
