//! A member of a group under the consumer protocol (KIP-848): the coordinator assigns partitions.
//!
//! How it comes to its assignment is for [`modern`](super::modern). A target names topics by their ids, and waits for the
//! metadata that knows these.
//!
//! - `consumer/request.rs`: what a heartbeat says.
//! - `consumer/topics.rs`: the names of what is assigned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use vltava_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use vltava_protocol::{ErrorCode, Uuid};

use super::modern::{Answer, Assigned, ModernMembership, ModernProtocol, Standing, Uncertain, said, unexpected};
use super::{AssignedTopics, GroupRequest, GroupResponse, MembershipConfig, StreamsGroupMember};
use crate::consumer::subscription::SubscriptionState;
use crate::net::MetadataSnapshot;
use crate::{ClientError, TopicPartition};

mod request;
mod topics;

#[cfg(test)]
mod tests;

use request::{SentFields, Subscribed};
use topics::TopicNames;

/// Kafka's words for a cluster that does not know the protocol.
const NO_CONSUMER_PROTOCOL: &str = "The cluster does not support the new CONSUMER group protocol. Set \
     group.protocol=classic on the consumer configs to revert to the CLASSIC protocol until the cluster is upgraded.";
/// Kafka's words for one that does not look at patterns yet.
const NO_PATTERNS: &str = "The cluster does not support regular expressions resolution on ConsumerGroupHeartbeat API \
     version 0. It must be upgraded to use ConsumerGroupHeartbeat API version >= 1 to allow to subscribe to a \
     SubscriptionPattern.";

/// The first version of heartbeats in which the coordinator looks at patterns.
pub(crate) const FIRST_VERSION_WITH_PATTERNS: i16 = 1;

/// A member of a group under the consumer protocol.
pub(crate) type ConsumerMembership = ModernMembership<ConsumerProtocol>;

/// What a member has of its own under the consumer protocol.
#[derive(Debug)]
pub(crate) struct ConsumerProtocol {
    /// The subscription as the last `poll` had it.
    subscribed: Subscribed,
    sent: SentFields,
    topics: TopicNames,
}

impl ConsumerMembership {
    pub(crate) fn new(config: MembershipConfig, now: Instant) -> Self {
        let protocol = ConsumerProtocol {
            subscribed: Subscribed::default(),
            sent: SentFields::default(),
            topics: TopicNames::new(&config),
        };
        Self::of(protocol, config, now)
    }
}

/// Partitions by the ids of their topics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Partitions(BTreeMap<Uuid, BTreeSet<i32>>);

impl Partitions {
    fn has(&self, id: &Uuid, partition: &i32) -> bool {
        self.0.get(id).is_some_and(|partitions| partitions.contains(partition))
    }
}

impl Assigned for Partitions {
    fn extend(&mut self, other: &Self) {
        for (id, partitions) in &other.0 {
            self.0.entry(*id).or_default().extend(partitions);
        }
    }

    fn retain_in(&mut self, one: &Self, other: &Self) {
        self.0.retain(|id, partitions| {
            partitions.retain(|partition| one.has(id, partition) || other.has(id, partition));
            !partitions.is_empty()
        });
    }
}

impl ModernProtocol for ConsumerProtocol {
    type Assignment = Partitions;
    type Response = ConsumerGroupHeartbeatResponse;

    const NAME: &'static str = "consumer";
    const TELLS_OF_EVERY_LOSS: bool = false;

    fn heartbeat(&mut self, standing: &Standing<'_, Partitions>, held: Option<Partitions>) -> GroupRequest {
        GroupRequest::ConsumerHeartbeat(self.said_to_coordinator(standing, held))
    }

    fn goodbye(&self, config: &MembershipConfig, epoch: i32) -> GroupRequest {
        GroupRequest::ConsumerHeartbeat(ConsumerGroupHeartbeatRequest {
            group_id: config.group_id.clone(),
            member_id: config.member_id.clone(),
            instance_id: config.group_instance_id.clone(),
            member_epoch: epoch,
            ..Default::default()
        })
    }

    fn answer(response: GroupResponse) -> Result<Answer<ConsumerGroupHeartbeatResponse>, ClientError> {
        let GroupResponse::ConsumerHeartbeat(mut message) = response else {
            return Err(unexpected::<Self>(&response));
        };
        Ok(Answer {
            error_code: message.error_code,
            error_message: message.error_message.take(),
            member_epoch: message.member_epoch,
            heartbeat_interval_ms: message.heartbeat_interval_ms,
            message,
        })
    }

    fn take(
        &mut self,
        _standing: &Standing<'_, Partitions>,
        message: ConsumerGroupHeartbeatResponse,
    ) -> Result<Option<Partitions>, ClientError> {
        Ok(message.assignment.map(|assignment| {
            let topics = assignment.topic_partitions.into_iter();
            Partitions(topics.map(|one| (one.topic_id, one.partitions.into_iter().collect())).collect())
        }))
    }

    fn forget_told(&mut self, _why: Uncertain) {
        self.sent = SentFields::default();
    }

    fn explained(error: ClientError) -> ClientError {
        match error {
            ClientError::UnsupportedVersion { client_min, .. } if client_min >= FIRST_VERSION_WITH_PATTERNS => {
                said(ErrorCode::UnsupportedVersion, NO_PATTERNS)
            }
            ClientError::UnsupportedVersion { .. }
            | ClientError::Broker { code: ErrorCode::UnsupportedVersion, .. } => {
                said(ErrorCode::UnsupportedVersion, NO_CONSUMER_PROTOCOL)
            }
            ClientError::Broker { code: code @ ErrorCode::InvalidRegularExpression, message } => {
                let message = message.unwrap_or_default();
                said(code, &format!("Invalid RE2J SubscriptionPattern provided in the call to subscribe. {message}"))
            }
            other => other,
        }
    }

    fn partitions(&self, assigned: &Partitions) -> BTreeSet<TopicPartition> {
        self.topics.named(assigned)
    }

    fn deleted(&self, current: &Partitions, next: &Partitions) -> BTreeSet<TopicPartition> {
        self.topics.deleted(current, next)
    }

    fn available(&self, target: &Partitions) -> Partitions {
        self.topics.known_of(target)
    }

    fn on_poll(&mut self, subscription: &SubscriptionState) {
        self.subscribed = Subscribed::of(subscription);
    }

    fn on_target(&mut self, target: &Partitions) {
        self.topics.resolve(target);
    }

    fn on_current(&mut self, current: &Partitions, target: &Partitions) {
        self.topics.forget_all_but(current, target);
    }

    fn on_metadata(&mut self, metadata: &Arc<MetadataSnapshot>, target: &Partitions) {
        self.topics.take_metadata(Arc::clone(metadata));
        self.topics.resolve(target);
    }
}

impl AssignedTopics for ConsumerMembership {
    fn unresolved(&mut self, now: Instant) -> BTreeSet<Uuid> {
        self.protocol.topics.look_up(now)
    }

    fn next_look_up(&self) -> Option<Instant> {
        self.protocol.topics.next_look_up()
    }

    fn on_topic_names(&mut self, found: BTreeMap<Uuid, String>) {
        self.protocol.topics.take(found);
    }

    fn deleted_topics(&self) -> BTreeSet<String> {
        self.protocol.topics.replaced(self.current())
    }

    fn take_assigned_topics(&mut self) -> Option<BTreeSet<String>> {
        self.protocol.topics.take_changed()
    }
}

impl StreamsGroupMember for ConsumerMembership {}
