//! What a heartbeat says: everything when the member joins or something went wrong, else what has changed.

use std::collections::BTreeSet;

use vltava_protocol::messages::ConsumerGroupHeartbeatRequest;
use vltava_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;

use super::{ConsumerProtocol, Partitions};
use crate::consumer::membership::millis;
use crate::consumer::membership::modern::{MemberState, Standing};
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
}

impl ConsumerProtocol {
    pub(super) fn said_to_coordinator(
        &mut self,
        standing: &Standing<'_, Partitions>,
        held: Option<Partitions>,
    ) -> ConsumerGroupHeartbeatRequest {
        let config = standing.config;
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id: config.group_id.clone(),
            member_id: config.member_id.clone(),
            member_epoch: standing.epoch,
            instance_id: config.group_instance_id.clone(),
            ..Default::default()
        };
        let says_all = standing.state == MemberState::Joining;
        let sent = &mut self.sent;
        let timeout = millis(config.rebalance_timeout);
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
        let assignor = &config.remote_assignor;
        if assignor.is_some() && (says_all || sent.assignor != *assignor) {
            request.server_assignor.clone_from(assignor);
            sent.assignor.clone_from(assignor);
        }
        request.topic_partitions = held.map(|Partitions(held)| {
            let one = |(topic_id, partitions): (_, BTreeSet<i32>)| TopicPartitions {
                topic_id,
                partitions: partitions.into_iter().collect(),
                ..Default::default()
            };
            held.into_iter().map(one).collect()
        });
        if says_all {
            request.rack_id.clone_from(&config.rack_id);
        }
        request
    }
}
