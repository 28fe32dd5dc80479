//! A group of instances of a Kafka Streams application (KIP-1071): the coordinator makes the internal topics known,
//! assigns tasks, and each member follows at its own pace.
//!
//! What it has in common with consumer groups is in [`modern`](super::modern). Beside that there is a *topology*, which
//! the first member brings; its topics are looked at whenever the cluster's topics change, and nobody has a task before
//! all of them are there (`NotReady`). What is found is not recorded, nor who wants the application to end.

mod assign;
mod configure;
mod describe;
mod endpoints;
mod fold;
mod heartbeat;
mod leave;
mod member;
mod reconcile;
mod request;
mod status;
mod target;
mod tasks;
mod topology;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use configure::ConfiguredTopology;
pub(crate) use configure::InternalTopic;
pub(super) use fold::TopologyChange;
pub(crate) use heartbeat::StreamsHeartbeat;
pub(crate) use status::StatusCode;
use topology::StreamsTopology;

use super::modern::{self, ModernGroup};

/// What a record says about a streams group.
pub(super) type Change = modern::Change<Streams>;
/// A streams group.
pub(super) type StreamsGroup = ModernGroup<Streams>;

/// What streams groups have of their own.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Streams {
    /// The epoch of the topology whose topics were found to be right; -1 if they were not.
    validated_topology_epoch: i32,
    /// What the last epoch's assignment is asked for with.
    assignment_configs: BTreeMap<String, String>,
    topology: Option<Arc<StreamsTopology>>,
    /// The topology with the counts of its topics; not recorded.
    configured: Option<Arc<ConfiguredTopology>>,
    /// The version of the metadata in which the topics were last looked at; not recorded.
    checked: Option<i64>,
    /// The member that wants the application to end; not recorded.
    shutdown_requested_by: Option<Arc<str>>,
    /// Grows when the tasks of members with an endpoint change; not recorded.
    endpoint_epoch: i32,
}

impl StreamsGroup {
    /// Returns whether the application reads a topic. A group without members reads nothing, so that its offsets expire.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        let reads = |topology: &Arc<StreamsTopology>| topology.reader_of(topic).is_some();
        !self.members.is_empty() && self.own.topology.as_ref().is_some_and(reads)
    }
}
