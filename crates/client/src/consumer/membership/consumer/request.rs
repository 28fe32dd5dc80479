//! What a heartbeat says: everything when the member joins or something went wrong, else what has changed.

use std::collections::BTreeSet;

use vltava_protocol::messages::ConsumerGroupHeartbeatRequest;
use vltava_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;

use super::reconciliation::LocalAssignment;
use super::{ConsumerMembership, MemberState};
use crate::consumer::membership::timer::millis;
use crate::consumer::subscription::SubscriptionState;

/// What the application wants to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Subscribed {
    pub(super) names: BTreeSet<String>,
    /// The pattern that the coordinator looks at.
    pub(super) pattern: Option<String>,
}

impl Subscribed {
    pub(super) fn of(subscription: &SubscriptionState) -> Self {
        Self {
            names: subscription.subscription(),
            pattern: subscription.coordinator_pattern().map(|pattern| pattern.pattern().to_owned()),
        }
    }
}

/// What the coordinator was told with the last heartbeats. Nothing of it is certain after one that failed.
#[derive(Debug, Default)]
pub(super) struct SentFields {
    rebalance_timeout_ms: Option<i32>,
    names: Option<BTreeSet<String>>,
    pattern: Option<String>,
    assignor: Option<String>,
    assignment: Option<LocalAssignment>,
}

impl SentFields {
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

impl ConsumerMembership {
    pub(super) fn heartbeat(&mut self) -> ConsumerGroupHeartbeatRequest {
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id: self.config.group_id.clone(),
            member_id: self.config.member_id.clone(),
            member_epoch: self.epoch(),
            instance_id: self.config.group_instance_id.clone(),
            ..Default::default()
        };
        let says_all = self.state == MemberState::Joining;
        let sent = &mut self.sent;
        let timeout = millis(self.config.rebalance_timeout);
        if says_all || sent.rebalance_timeout_ms != Some(timeout) {
            request.rebalance_timeout_ms = timeout;
            sent.rebalance_timeout_ms = Some(timeout);
        }
        let Subscribed { names, pattern } = &self.subscribed;
        if says_all || sent.names.as_ref() != Some(names) {
            request.subscribed_topic_names = Some(names.iter().cloned().collect());
            sent.names = Some(names.clone());
        }
        if (says_all && pattern.is_some()) || sent.pattern != *pattern {
            // An empty one takes back what was told before.
            request.subscribed_topic_regex = Some(pattern.clone().unwrap_or_default());
            sent.pattern.clone_from(pattern);
        }
        let assignor = &self.config.remote_assignor;
        if assignor.is_some() && (says_all || sent.assignor != *assignor) {
            request.server_assignor.clone_from(assignor);
            sent.assignor.clone_from(assignor);
        }
        if says_all || sent.assignment.as_ref() != Some(&self.current) {
            sent.assignment = Some(self.current.clone());
            let topics = self.held().into_iter().map(|(topic_id, partitions)| TopicPartitions {
                topic_id,
                partitions: partitions.into_iter().collect(),
                ..Default::default()
            });
            request.topic_partitions = Some(topics.collect());
        }
        if says_all {
            request.rack_id.clone_from(&self.config.rack_id);
        }
        request
    }
}
