//! A member of a group under the classic protocol: the members elect a leader, which assigns.
//!
//! ```text
//! Unjoined ── JoinGroup ──▶ Preparing ── answer ──▶ Completing ── SyncGroup ──▶ Stable
//!    ▲                          │                        │                        │
//!    └──── member unknown, generation reset, left ───────┴────────────────────────┘
//! ```
//!
//! Under [`RebalanceProtocol::Eager`] a member gives up everything before it joins. Under
//! [`RebalanceProtocol::Cooperative`] it gives up what the assignment does not have any more, and joins again for others
//! to get it (KIP-429).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
    join_group_request::JoinGroupRequestProtocol, join_group_response::JoinGroupResponseMember,
    leave_group_request::MemberIdentity, sync_group_request::SyncGroupRequestAssignment,
};

use super::heartbeat::Heartbeat;
use super::{
    Acquire, AssignedTopics, CommitVerdict, Describe, Generation, GroupRequest, GroupResponse, Membership,
    MembershipConfig, Release, Step, StreamsGroupMember, millis,
};
use crate::consumer::assignor::{RebalanceProtocol, decode_assignment};
use crate::consumer::close_options::GroupMembershipOperation;
use crate::consumer::coordinator::Coordinator;
use crate::consumer::subscription::SubscriptionState;
use crate::net::MetadataSnapshot;
use crate::{ClientError, TopicPartition};

mod responses;

#[cfg(test)]
mod tests;

/// The protocol type of consumers.
const PROTOCOL_TYPE: &str = "consumer";

/// Longest reason that is sent with a request, in characters (KIP-800).
const MAX_REASON: usize = 255;

/// Where the member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// Not part of the group.
    Unjoined,
    /// `JoinGroup` is sent.
    PreparingRebalance,
    /// Joined, without an assignment yet.
    CompletingRebalance,
    /// Joined, with an assignment.
    Stable,
}

/// The kind of a request in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rebalance,
    Heartbeat,
    Leave,
}

impl Kind {
    fn of(request: &GroupRequest) -> Self {
        match request {
            GroupRequest::Join(_) | GroupRequest::Sync(_) => Self::Rebalance,
            GroupRequest::Heartbeat(_) | GroupRequest::ConsumerHeartbeat(_) | GroupRequest::StreamsHeartbeat(_) => {
                Self::Heartbeat
            }
            GroupRequest::Leave(_) => Self::Leave,
        }
    }
}

/// How far a rebalance has come.
#[derive(Debug)]
enum Phase {
    Idle,
    /// A request is in flight.
    Waiting,
    /// This member is the leader and has to assign.
    Assigning {
        protocol: String,
        members: Vec<JoinGroupResponseMember>,
        skip: bool,
    },
    /// The assignment has come.
    Synced {
        assignment: Bytes,
    },
}

/// A member of a group under the classic protocol.
#[derive(Debug)]
pub(crate) struct ClassicMembership {
    config: MembershipConfig,
    state: MemberState,
    generation: Generation,
    phase: Phase,
    rejoin_needed: bool,
    rejoin_reason: String,
    needs_prepare: bool,
    /// No join before this time.
    join_retry_at: Option<Instant>,
    heartbeat: Heartbeat,
    /// The subscription that the group knows of.
    joined_topics: Option<BTreeSet<String>>,
    /// Partition counts of the group's topics when this member assigned, while it is the leader.
    assigned_topics: Option<BTreeMap<String, usize>>,
    /// Errors to return to the application.
    failure: Option<ClientError>,
    requests: VecDeque<(u64, GroupRequest)>,
    /// Requests in flight, with the generation in which they were sent.
    in_flight: BTreeMap<u64, (Kind, Generation)>,
    /// The join or sync that `phase` waits for.
    awaited: Option<u64>,
    /// A time before the last join or sync was sent.
    asked: Instant,
    /// The heartbeat that is in flight.
    beat: Option<u64>,
    sequence: u64,
}

impl ClassicMembership {
    pub(crate) fn new(config: MembershipConfig, now: Instant) -> Self {
        Self {
            heartbeat: Heartbeat::new(&config, now),
            config,
            state: MemberState::Unjoined,
            generation: Generation::NONE,
            phase: Phase::Idle,
            rejoin_needed: true,
            rejoin_reason: String::new(),
            needs_prepare: true,
            join_retry_at: None,
            joined_topics: None,
            assigned_topics: None,
            failure: None,
            requests: VecDeque::new(),
            in_flight: BTreeMap::new(),
            awaited: None,
            asked: now,
            beat: None,
            sequence: 0,
        }
    }

    #[cfg(test)]
    pub(crate) fn state(&self) -> MemberState {
        self.state
    }

    fn is_rebalancing(&self) -> bool {
        matches!(self.state, MemberState::PreparingRebalance | MemberState::CompletingRebalance)
    }

    fn has_joined(&self) -> bool {
        matches!(self.state, MemberState::CompletingRebalance | MemberState::Stable)
    }

    fn is_cooperative(&self) -> bool {
        self.config.protocol == RebalanceProtocol::Cooperative
    }

    /// Before joining: everything, or what the subscription has not any more.
    fn release(&self, subscription: &SubscriptionState) -> Release {
        let lost = self.generation.is_reset();
        let mut keep = BTreeSet::new();
        if !lost && self.is_cooperative() {
            keep = subscription.assigned();
            keep.retain(|tp| subscription.topics().contains(tp.topic()));
        }
        Release { keep, lost, always_tell: !lost && !self.is_cooperative(), deleted: BTreeSet::new() }
    }

    fn describe(&mut self, subscription: &SubscriptionState) -> Describe {
        let topics = subscription.topics().clone();
        self.joined_topics = Some(topics.clone());
        let generation = Some(self.generation.id).filter(|id| *id >= 0);
        Describe { topics, owned: subscription.assigned(), generation }
    }

    /// Takes over what the leader assigned.
    fn acquire(&mut self, assignment: &Bytes, subscription: &mut SubscriptionState) -> Step {
        let assignment = match decode_assignment(assignment) {
            Ok(assignment) => assignment,
            Err(error) => {
                self.request_rejoin("the assignment cannot be read");
                return Step::Fail(error);
            }
        };
        if !subscription.matches_subscription(assignment.partitions.iter()) {
            let topics: BTreeSet<&str> = assignment.partitions.iter().map(TopicPartition::topic).collect();
            tracing::warn!(
                group = %self.config.group_id,
                assigned = ?topics,
                subscribed = ?subscription.topics(),
                "was assigned partitions of topics that it does not subscribe to, and joins again: the subscription has \
                 changed meanwhile, or members of the group do not run the same program",
            );
            self.request_rejoin("received assignment does not match the current subscription");
            return Step::Wait;
        }
        let partitions: BTreeSet<TopicPartition> = assignment.partitions.iter().cloned().collect();
        if self.is_cooperative() && !subscription.assigned().is_subset(&partitions) {
            self.request_rejoin("need to revoke partitions and re-join");
        }
        if subscription.add_matching(partitions.iter().map(TopicPartition::topic)) {
            self.joined_topics = Some(subscription.topics().clone());
        }
        Step::Acquire(Acquire {
            partitions,
            notify: Some((self.generation.protocol.clone().unwrap_or_default(), assignment)),
        })
    }

    /// Asks for a rebalance unless one is asked for already.
    pub(crate) fn request_rejoin_if_necessary(&mut self, reason: &str) {
        if !self.rejoin_needed {
            self.request_rejoin(reason);
        }
    }

    fn sync(&mut self, assignments: Vec<(String, Bytes)>) {
        let request = SyncGroupRequest {
            group_id: self.config.group_id.clone(),
            generation_id: self.generation.id,
            member_id: self.generation.member_id.clone(),
            group_instance_id: self.config.group_instance_id.clone(),
            protocol_type: Some(PROTOCOL_TYPE.to_owned()),
            protocol_name: self.generation.protocol.clone(),
            assignments: assignments
                .into_iter()
                .map(|(member_id, assignment)| SyncGroupRequestAssignment {
                    member_id,
                    assignment,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        self.await_answer(GroupRequest::Sync(request));
    }

    fn await_answer(&mut self, request: GroupRequest) {
        self.phase = Phase::Waiting;
        self.awaited = Some(self.send(request));
    }

    fn send(&mut self, request: GroupRequest) -> u64 {
        self.sequence += 1;
        self.in_flight.insert(self.sequence, (Kind::of(&request), self.generation.clone()));
        self.requests.push_back((self.sequence, request));
        self.sequence
    }

    fn reset_and_rejoin(&mut self, reason: &str, forget_member_id: bool) {
        tracing::info!(group = %self.config.group_id, reason, forget_member_id, "resetting generation");
        self.state = MemberState::Unjoined;
        self.generation = if forget_member_id {
            Generation::NONE
        } else {
            Generation { member_id: std::mem::take(&mut self.generation.member_id), ..Generation::NONE }
        };
        // What is under way for that generation is not waited for.
        self.phase = Phase::Idle;
        self.awaited = None;
        self.request_rejoin(reason);
        self.needs_prepare = true;
    }
}

impl AssignedTopics for ClassicMembership {}

impl StreamsGroupMember for ClassicMembership {}

impl Membership for ClassicMembership {
    fn config(&self) -> &MembershipConfig {
        &self.config
    }

    fn generation(&self) -> &Generation {
        &self.generation
    }

    fn commit_generation(&self) -> Result<&Generation, CommitVerdict> {
        match (self.state, &self.phase) {
            // What was read belongs to the generation before, until the new assignment is taken over.
            (MemberState::Stable, Phase::Synced { .. }) => Err(CommitVerdict::Rebalancing),
            (MemberState::Stable, _) => Ok(&self.generation),
            (MemberState::Unjoined, _) => Err(CommitVerdict::Failed),
            _ => Err(CommitVerdict::Rebalancing),
        }
    }

    fn on_commit_error(&mut self, code: ErrorCode, sent: &Generation) -> CommitVerdict {
        let unchanged = *sent == self.generation;
        let superseded = !unchanged && self.state == MemberState::PreparingRebalance;
        match code {
            ErrorCode::FencedInstanceId if unchanged => CommitVerdict::Fatal,
            _ if superseded => CommitVerdict::Rebalancing,
            ErrorCode::FencedInstanceId => CommitVerdict::Failed,
            ErrorCode::RebalanceInProgress => {
                self.request_rejoin("offset commit failed since group is already rebalancing");
                CommitVerdict::Rebalancing
            }
            _ => {
                if unchanged {
                    // With an illegal generation the member id may still be good.
                    self.reset_and_rejoin("offset commit was refused", code != ErrorCode::IllegalGeneration);
                }
                CommitVerdict::Failed
            }
        }
    }

    fn is_in_session(&self, now: Instant) -> bool {
        // A member that has not given its partitions up goes on with them while it joins: nobody is given them (KIP-429).
        let keeps = self.is_cooperative() && self.is_rebalancing() && !self.generation.is_reset();
        (self.state == MemberState::Stable || keeps) && self.heartbeat.is_confirmed(now)
    }

    fn is_joining(&self) -> bool {
        matches!(self.commit_generation(), Err(CommitVerdict::Rebalancing))
    }

    fn has_lost_partitions(&self) -> bool {
        self.generation.is_reset() || self.is_rebalancing()
    }

    fn next_step(&mut self, now: Instant, coordinator: &mut Coordinator, subscription: &mut SubscriptionState) -> Step {
        self.heartbeat.polled(now);
        if self.joined_topics.as_ref().is_some_and(|joined| joined != subscription.topics()) {
            self.request_rejoin_if_necessary("subscription has changed");
        }
        if let Some(error) = self.failure.take() {
            return Step::Fail(error);
        }
        if coordinator.want().is_none() || !self.rejoin_needed() {
            return Step::Wait;
        }
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Idle if self.needs_prepare => Step::Release(self.release(subscription)),
            Phase::Idle if self.join_retry_at.is_some_and(|at| now < at) => Step::Wait,
            Phase::Idle => {
                self.asked = now;
                Step::Describe(self.describe(subscription))
            }
            Phase::Waiting => {
                self.phase = Phase::Waiting;
                Step::Wait
            }
            Phase::Assigning { protocol, members, skip } => {
                self.asked = now;
                Step::Assign { protocol, members, skip }
            }
            Phase::Synced { assignment } => {
                if self.state == MemberState::Stable && self.generation.id >= 0 {
                    self.needs_prepare = true;
                    self.acquire(&assignment, subscription)
                } else {
                    // A heartbeat found out that the member is not in that generation any more.
                    self.reset_and_rejoin("generation was reset before the rebalance completed", true);
                    Step::Release(self.release(subscription))
                }
            }
        }
    }

    fn next_step_at(&self, coordinator: &Coordinator) -> Option<Instant> {
        self.join_retry_at.filter(|_| !self.needs_prepare && coordinator.node().is_some())
    }

    fn rejoin_needed(&self) -> bool {
        self.rejoin_needed || !matches!(self.phase, Phase::Idle)
    }

    fn tick(&mut self, now: Instant, coordinator: &mut Coordinator) {
        if !self.has_joined() || self.failure.is_some() || coordinator.want().is_none() {
            return;
        }
        if self.heartbeat.session_expired(now) {
            coordinator.lost("session timed out without receiving a heartbeat response");
            coordinator.want();
        } else if self.heartbeat.poll_expired(now) {
            tracing::warn!(
                group = %self.config.group_id,
                max_poll_interval_ms = millis(self.config.rebalance_timeout),
                "time between calls of poll was longer than `max.poll.interval.ms`, leaving the group: process \
                 faster, raise `max.poll.interval.ms` or lower `max.poll.records`",
            );
            self.leave("consumer poll timeout has expired.", GroupMembershipOperation::Default, coordinator);
        } else if self.heartbeat.is_due(now) {
            self.heartbeat.sent(now);
            let request = HeartbeatRequest {
                group_id: self.config.group_id.clone(),
                generation_id: self.generation.id,
                member_id: self.generation.member_id.clone(),
                group_instance_id: self.config.group_instance_id.clone(),
                ..Default::default()
            };
            self.beat = Some(self.send(GroupRequest::Heartbeat(request)));
        }
    }

    fn next_tick(&self, coordinator: &Coordinator) -> Option<Instant> {
        let beats = self.has_joined() && self.failure.is_none() && coordinator.node().is_some();
        beats.then(|| self.heartbeat.next_deadline())
    }

    fn next_request(&mut self) -> Option<(u64, GroupRequest)> {
        self.requests.pop_front()
    }

    fn on_response(
        &mut self,
        now: Instant,
        token: u64,
        answer: Result<GroupResponse, ClientError>,
        coordinator: &mut Coordinator,
    ) {
        self.take_response(now, token, answer, coordinator);
    }

    fn on_coordinator(&mut self, now: Instant) {
        self.heartbeat.restart_session(now);
        // A heartbeat that was sent to the former coordinator is not waited for.
        self.beat = None;
        self.heartbeat.in_flight = false;
    }

    fn on_metadata(&mut self, topics: &BTreeMap<String, usize>, _metadata: &Arc<MetadataSnapshot>) {
        if self.assigned_topics.as_ref().is_some_and(|assigned| assigned != topics) {
            self.request_rejoin_if_necessary("cached metadata has changed");
        }
    }

    fn released(&mut self) {
        self.needs_prepare = false;
    }

    fn described(&mut self, protocols: Vec<(String, Bytes)>) {
        self.state = MemberState::PreparingRebalance;
        self.join_retry_at = None;
        let protocols = protocols
            .into_iter()
            .map(|(name, metadata)| JoinGroupRequestProtocol { name, metadata, ..Default::default() })
            .collect();
        tracing::info!(group = %self.config.group_id, reason = %self.rejoin_reason, "(re-)joining group");
        let request = JoinGroupRequest {
            group_id: self.config.group_id.clone(),
            session_timeout_ms: millis(self.config.session_timeout),
            rebalance_timeout_ms: millis(self.config.rebalance_timeout),
            member_id: self.generation.member_id.clone(),
            group_instance_id: self.config.group_instance_id.clone(),
            protocol_type: PROTOCOL_TYPE.to_owned(),
            protocols,
            reason: Some(truncated(&self.rejoin_reason)),
            ..Default::default()
        };
        self.await_answer(GroupRequest::Join(request));
    }

    fn assigned(&mut self, assignments: Vec<(String, Bytes)>, topics: BTreeMap<String, usize>) {
        if self.state == MemberState::CompletingRebalance {
            self.assigned_topics = Some(topics);
            self.sync(assignments);
        } else {
            self.reset_and_rejoin("generation was reset while assigning", true);
        }
    }

    fn assign_failed(&mut self, now: Instant) {
        self.phase = Phase::Idle;
        self.request_rejoin("rebalance failed: the assignor failed");
        self.join_retry_at = Some(now + self.config.retry_backoff);
    }

    fn request_rejoin(&mut self, reason: &str) {
        tracing::info!(group = %self.config.group_id, reason, "request joining group");
        reason.clone_into(&mut self.rejoin_reason);
        self.rejoin_needed = true;
    }

    fn leave(&mut self, reason: &str, operation: GroupMembershipOperation, coordinator: &Coordinator) {
        let member = !self.generation.member_id.is_empty() && self.state != MemberState::Unjoined;
        let leaves = operation.leaves(self.config.group_instance_id.is_some());
        if leaves && member && coordinator.node().is_some() {
            tracing::info!(group = %self.config.group_id, member = %self.generation.member_id, reason, "leaving group");
            let request = LeaveGroupRequest {
                group_id: self.config.group_id.clone(),
                members: vec![MemberIdentity {
                    member_id: self.generation.member_id.clone(),
                    group_instance_id: None,
                    reason: Some(truncated(reason)),
                    ..Default::default()
                }],
                ..Default::default()
            };
            self.send(GroupRequest::Leave(request));
        }
        self.joined_topics = None;
        self.assigned_topics = None;
        self.reset_and_rejoin("consumer pro-actively leaving the group", true);
    }
}

fn truncated(reason: &str) -> String {
    reason.chars().take(MAX_REASON).collect()
}
