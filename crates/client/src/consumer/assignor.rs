//! Partition assignors of the classic group protocol.
//!
//! The member that the coordinator elects as leader computes the assignment of the whole group
//! with a [`PartitionAssignor`]. [`RangeAssignor`], [`RoundRobinAssignor`], [`StickyAssignor`] and
//! [`CooperativeStickyAssignor`] give exactly the results of Apache Kafka's assignors of the same
//! name for the same input.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use super::group_metadata::ConsumerGroupMetadata;
use crate::{ClientError, ConfigError, TopicPartition};

mod cooperative_sticky;
mod hash_order;
mod protocol;
mod range;
mod round_robin;
mod sticky;

#[cfg(test)]
mod tests;

pub use cooperative_sticky::CooperativeStickyAssignor;
pub use range::RangeAssignor;
pub use round_robin::RoundRobinAssignor;
pub use sticky::StickyAssignor;

pub(crate) use protocol::{decode_assignment, decode_subscription, encode_assignment, encode_subscription};

/// A boxed future that can move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How members give up partitions in a rebalance (KIP-429).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RebalanceProtocol {
    /// Every member revokes all its partitions before it joins again.
    Eager,
    /// A member keeps its partitions while it joins again, and revokes only what moves away.
    Cooperative,
}

/// What one member tells the group when it joins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subscription {
    /// Topics the member subscribes to.
    pub topics: Vec<String>,
    /// Bytes of the assignor's own, from [`PartitionAssignor::subscription_user_data`].
    pub user_data: Option<Bytes>,
    /// Partitions the member owns while it joins (empty under [`RebalanceProtocol::Eager`]).
    pub owned_partitions: Vec<TopicPartition>,
    /// Generation in which the member got `owned_partitions`; `None` if it has none.
    pub generation_id: Option<i32>,
    /// The member's `client.rack`, if it has one.
    pub rack_id: Option<String>,
    /// The member's `group.instance.id`, if it is static.
    pub group_instance_id: Option<String>,
}

impl Subscription {
    /// A subscription to `topics` that owns nothing and carries no user data.
    #[must_use]
    pub fn new(topics: Vec<String>) -> Self {
        Self { topics, ..Self::default() }
    }
}

/// What the leader gives to one member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Assignment {
    /// Partitions the member shall own.
    pub partitions: Vec<TopicPartition>,
    /// Bytes of the assignor's own, handed to [`PartitionAssignor::on_assignment`].
    pub user_data: Option<Bytes>,
}

impl Assignment {
    /// An assignment of `partitions` without user data.
    #[must_use]
    pub fn new(partitions: Vec<TopicPartition>) -> Self {
        Self { partitions, user_data: None }
    }

    /// An assignment of `partitions` with the assignor's own bytes.
    #[must_use]
    pub fn with_user_data(partitions: Vec<TopicPartition>, user_data: Bytes) -> Self {
        Self { partitions, user_data: Some(user_data) }
    }
}

/// The subscriptions of all members, by member id, in the order of the coordinator's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupSubscription {
    members: Vec<(String, Subscription)>,
}

impl GroupSubscription {
    /// The subscriptions of the given members; a repeated member id replaces the earlier entry.
    #[must_use]
    pub fn new(members: Vec<(String, Subscription)>) -> Self {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut kept: Vec<(String, Subscription)> = Vec::with_capacity(members.len());
        for (id, subscription) in members {
            match seen.get(&id).and_then(|&at| kept.get_mut(at)) {
                Some(entry) => entry.1 = subscription,
                None => {
                    seen.insert(id.clone(), kept.len());
                    kept.push((id, subscription));
                }
            }
        }
        Self { members: kept }
    }

    /// Member ids with their subscriptions.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Subscription)> {
        self.members.iter().map(|(id, subscription)| (id.as_str(), subscription))
    }

    /// Number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// All topics that some member subscribes to.
    #[must_use]
    pub fn topics(&self) -> BTreeSet<String> {
        self.members.iter().flat_map(|(_, s)| s.topics.iter().cloned()).collect()
    }
}

/// The assignments of all members, by member id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupAssignment {
    /// One assignment per member id of the [`GroupSubscription`].
    pub members: BTreeMap<String, Assignment>,
}

/// One partition as assignors see it: its number and where its replicas are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AssignorPartition {
    /// Racks of the brokers that hold a replica, without those that have no rack.
    pub replica_racks: BTreeSet<String>,
}

impl AssignorPartition {
    /// A partition whose replicas are in the given racks.
    pub fn new(replica_racks: impl IntoIterator<Item = String>) -> Self {
        Self { replica_racks: replica_racks.into_iter().collect() }
    }
}

/// The topics that exist, as the leader's metadata shows them when it assigns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AssignorMetadata {
    topics: BTreeMap<String, Vec<AssignorPartition>>,
}

impl AssignorMetadata {
    /// Metadata without topics.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a topic with its partitions, numbered from 0.
    pub fn insert(&mut self, topic: impl Into<String>, partitions: Vec<AssignorPartition>) {
        self.topics.insert(topic.into(), partitions);
    }

    /// The partitions of a topic, or `None` if it does not exist.
    #[must_use]
    pub fn partitions_for_topic(&self, topic: &str) -> Option<&[AssignorPartition]> {
        self.topics.get(topic).map(Vec::as_slice)
    }

    /// Names and partitions of all topics known.
    pub fn topics(&self) -> impl Iterator<Item = (&str, &[AssignorPartition])> {
        self.topics.iter().map(|(name, partitions)| (name.as_str(), partitions.as_slice()))
    }

    /// The topics of `wanted` that exist and have partitions, in order of name.
    fn existing(&self, wanted: &BTreeSet<String>) -> Topics<'_> {
        self.topics
            .iter()
            .filter(|(name, partitions)| !partitions.is_empty() && wanted.contains(*name))
            .map(|(name, partitions)| (name.as_str(), partitions.as_slice()))
            .collect()
    }
}

/// Topics to assign, in order of name.
type Topics<'a> = Vec<(&'a str, &'a [AssignorPartition])>;

/// Divides the partitions of the subscribed topics among the members of a group.
///
/// All members of a group have to offer a common assignor, known by its name. An assignor is used
/// by one consumer alone, so it may keep state between rebalances. It runs inside
/// [`Consumer::poll`](crate::Consumer::poll).
pub trait PartitionAssignor: Send {
    /// The name that members agree on, for example `range`.
    fn name(&self) -> &str;

    /// Protocols this assignor can work under. The consumer uses the highest one that all its
    /// assignors support.
    fn supported_protocols(&self) -> &[RebalanceProtocol] {
        &[RebalanceProtocol::Eager]
    }

    /// Bytes to send with this member's subscription to `topics`.
    fn subscription_user_data(&mut self, topics: &BTreeSet<String>) -> Option<Bytes> {
        let _ = topics;
        None
    }

    /// Assigns partitions to the members. Only the leader of a generation calls this.
    ///
    /// The result may name topics that nobody subscribes to; the consumer then watches their
    /// metadata too. It is asynchronous so that an assignor can ask brokers.
    ///
    /// # Errors
    /// An error ends the rebalance and is returned by `poll`.
    fn assign<'a>(
        &'a mut self,
        metadata: &'a AssignorMetadata,
        group: &'a GroupSubscription,
    ) -> BoxFuture<'a, Result<GroupAssignment, ClientError>>;

    /// Tells a member, leader or not, what it got, before the rebalance listener runs.
    ///
    /// # Errors
    /// An error is returned by `poll` after the assignment has been taken over.
    fn on_assignment(&mut self, assignment: &Assignment, metadata: &ConsumerGroupMetadata) -> Result<(), ClientError> {
        let _ = (assignment, metadata);
        Ok(())
    }
}

/// Turns partition lists into the result of an assignor without user data.
fn plain(lists: BTreeMap<String, Vec<TopicPartition>>) -> GroupAssignment {
    GroupAssignment { members: lists.into_iter().map(|(id, list)| (id, Assignment::new(list))).collect() }
}

/// Name of the assignor whose results are known to keep the rules of the cooperative protocol.
pub(crate) fn cooperative_sticky_name() -> &'static str {
    cooperative_sticky::NAME
}

/// Makes the assignors that `partition.assignment.strategy` names, by Kafka's class or short name.
///
/// # Errors
/// [`ClientError::Config`] for an unknown one.
pub(crate) fn by_names(names: &[String]) -> Result<Vec<Box<dyn PartitionAssignor>>, ClientError> {
    names
        .iter()
        .map(|given| -> Result<Box<dyn PartitionAssignor>, ClientError> {
            Ok(match given.rsplit('.').next().unwrap_or_default() {
                "RangeAssignor" | range::NAME => Box::new(RangeAssignor),
                "RoundRobinAssignor" | round_robin::NAME => Box::new(RoundRobinAssignor),
                "StickyAssignor" | sticky::NAME => Box::new(StickyAssignor::default()),
                "CooperativeStickyAssignor" | cooperative_sticky::NAME => {
                    Box::new(CooperativeStickyAssignor::default())
                }
                _ => {
                    let expected = "must name range, roundrobin, sticky or cooperative-sticky; others are given to \
                                    Consumer::with_assignors";
                    return Err(ConfigError::new("partition.assignment.strategy", given, expected).into());
                }
            })
        })
        .collect()
}
