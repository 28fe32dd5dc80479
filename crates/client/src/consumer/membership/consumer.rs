//! A member of a group under the consumer protocol (KIP-848): the coordinator assigns, and says so in answers to heartbeats.
//!
//! ```text
//!                 ┌──────────── another target ────────────┐
//!                 ▼                                        │
//! Joining ──▶ Reconciling ── taken over ──▶ Acknowledging ─┴─ heartbeat ──▶ Stable
//!    ▲
//!    └── Fenced (the coordinator has forgotten the member), Stale (it did not poll): what it has is lost first
//! ```
//!
//! A member goes to one target after the other: it gives up what is not in it, takes over what is new, and says what it
//! has then with the next heartbeat, at once. What it gave up goes to others only when it has said so. A target names
//! topics by their ids, and waits for the metadata that knows these.
//!
//! - `consumer/request.rs`: what a heartbeat says.
//! - `consumer/responses.rs`: what an answer means.
//! - `consumer/reconciliation.rs`: from the assignment to the target.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use vltava_protocol::messages::ConsumerGroupHeartbeatRequest;
use vltava_protocol::{ErrorCode, Uuid};

use super::timer::{HeartbeatTimer, millis};
use super::{
    CommitVerdict, Generation, GroupRequest, GroupResponse, MemberState, Membership, MembershipConfig, Release, Step,
};
use crate::ClientError;
use crate::consumer::close_options::GroupMembershipOperation;
use crate::consumer::coordinator::Coordinator;
use crate::consumer::subscription::SubscriptionState;
use crate::net::MetadataSnapshot;

mod reconciliation;
mod request;
mod responses;

#[cfg(test)]
mod tests;

use reconciliation::{LocalAssignment, LookUps, Progress};
use request::{SentFields, Subscribed};
pub(crate) use responses::FIRST_VERSION_WITH_PATTERNS;

/// The epoch with which a member joins.
const JOIN_EPOCH: i32 = 0;
/// The epoch with which it leaves.
const LEAVE_EPOCH: i32 = -1;
/// The epoch with which a static member goes, to be back within its session.
const LEAVE_STATIC_EPOCH: i32 = -2;

/// A member of a group under the consumer protocol.
#[derive(Debug)]
pub(crate) struct ConsumerMembership {
    config: MembershipConfig,
    state: MemberState,
    /// The identity in the member epoch, none outside of the group.
    generation: Generation,
    /// The subscription as the last `poll` had it.
    subscribed: Subscribed,
    sent: SentFields,
    /// What is taken over.
    current: LocalAssignment,
    /// What the coordinator wants.
    target: LocalAssignment,
    progress: Progress,
    metadata: Arc<MetadataSnapshot>,
    /// Names of topics of the target and of what is taken over.
    names: BTreeMap<Uuid, String>,
    /// Whether the names are others than the core knows.
    names_changed: bool,
    look_ups: LookUps,
    timer: HeartbeatTimer,
    /// The reason of [`MemberState::Fatal`].
    fatal: Option<ClientError>,
    /// An error to return to the application.
    failure: Option<ClientError>,
    requests: VecDeque<(u64, GroupRequest)>,
    /// The heartbeat whose answer counts.
    awaited: Option<u64>,
    /// A heartbeat has told what the member holds, and none was answered since.
    is_unconfirmed: bool,
    sequence: u64,
}

impl ConsumerMembership {
    pub(crate) fn new(config: MembershipConfig, now: Instant) -> Self {
        Self {
            timer: HeartbeatTimer::new(&config, now),
            config,
            state: MemberState::Unsubscribed,
            generation: Generation::NONE,
            subscribed: Subscribed::default(),
            sent: SentFields::default(),
            current: LocalAssignment::default(),
            target: LocalAssignment::default(),
            progress: Progress::Idle,
            metadata: Arc::default(),
            names: BTreeMap::new(),
            names_changed: false,
            look_ups: LookUps::default(),
            fatal: None,
            failure: None,
            requests: VecDeque::new(),
            awaited: None,
            is_unconfirmed: false,
            sequence: 0,
        }
    }

    #[cfg(test)]
    pub(crate) fn state(&self) -> MemberState {
        self.state
    }

    /// Whether the coordinator counts the member, as far as that is known.
    fn is_in_group(&self) -> bool {
        matches!(self.state, MemberState::Reconciling | MemberState::Acknowledging | MemberState::Stable)
    }

    /// Whether heartbeats are sent.
    fn beats(&self) -> bool {
        self.is_in_group() || self.state == MemberState::Joining
    }

    /// Whether there is something that the coordinator should know now.
    fn is_urgent(&self) -> bool {
        matches!(self.state, MemberState::Joining | MemberState::Acknowledging)
    }

    fn enter(&mut self, state: MemberState) {
        if self.state != state {
            tracing::debug!(
                group = %self.config.group_id, epoch = self.generation.id, from = ?self.state, to = ?state, "member state"
            );
            self.state = state;
        }
    }

    fn set_epoch(&mut self, epoch: i32) {
        self.generation = if epoch > JOIN_EPOCH {
            Generation { id: epoch, member_id: self.config.member_id.clone(), protocol: None }
        } else {
            Generation::NONE
        };
    }

    /// The epoch to tell.
    fn epoch(&self) -> i32 {
        if self.generation.is_reset() { JOIN_EPOCH } else { self.generation.id }
    }

    fn join(&mut self) {
        self.set_epoch(JOIN_EPOCH);
        self.sent.reset();
        self.timer.hurry();
        self.enter(MemberState::Joining);
    }

    fn send(&mut self, request: ConsumerGroupHeartbeatRequest) -> u64 {
        self.sequence += 1;
        self.requests.push_back((self.sequence, GroupRequest::ConsumerHeartbeat(request)));
        self.sequence
    }

    fn beat(&mut self, now: Instant) {
        let request = self.heartbeat();
        self.is_unconfirmed |= request.topic_partitions.is_some();
        self.awaited = Some(self.send(request));
        self.timer.sent(now);
        if self.state == MemberState::Acknowledging {
            let is_reached = self.current == self.target;
            self.enter(if is_reached { MemberState::Stable } else { MemberState::Reconciling });
        }
    }

    /// Says that the member goes. The answer is not waited for.
    fn say_goodbye(&mut self, operation: GroupMembershipOperation) {
        let is_static = self.config.group_instance_id.is_some();
        let epoch = match operation.leaves(is_static) {
            true => LEAVE_EPOCH,
            false if is_static => LEAVE_STATIC_EPOCH,
            // Of a dynamic member that remains the coordinator hears nothing any more.
            false => return self.fall_silent(),
        };
        let request = ConsumerGroupHeartbeatRequest {
            group_id: self.config.group_id.clone(),
            member_id: self.config.member_id.clone(),
            instance_id: self.config.group_instance_id.clone(),
            member_epoch: epoch,
            ..Default::default()
        };
        self.send(request);
        self.fall_silent();
    }

    fn fall_silent(&mut self) {
        self.awaited = None;
        self.timer.reset();
        self.sent.reset();
        self.set_epoch(JOIN_EPOCH);
    }

    /// What the member has is not its own any more, and goes with the next `poll`.
    fn lose(&mut self, state: MemberState) {
        self.set_epoch(JOIN_EPOCH);
        self.progress = Progress::Idle;
        self.enter(state);
    }

    fn lost() -> Step {
        let keep = BTreeSet::new();
        Step::Release(Release { deleted: keep.clone(), keep, lost: true, always_tell: false })
    }
}

impl Membership for ConsumerMembership {
    fn config(&self) -> &MembershipConfig {
        &self.config
    }

    fn generation(&self) -> &Generation {
        &self.generation
    }

    fn commit_generation(&self) -> Result<&Generation, CommitVerdict> {
        if self.generation.is_reset() { Err(CommitVerdict::Failed) } else { Ok(&self.generation) }
    }

    fn on_commit_error(&mut self, code: ErrorCode, sent: &Generation) -> CommitVerdict {
        // Whether the member is out of the group is for a heartbeat to tell.
        match code {
            ErrorCode::StaleMemberEpoch if !self.generation.is_reset() => CommitVerdict::Stale,
            ErrorCode::FencedInstanceId if *sent == self.generation => CommitVerdict::Fatal,
            _ => CommitVerdict::Failed,
        }
    }

    fn is_in_session(&self, now: Instant) -> bool {
        self.is_in_group() && self.timer.is_confirmed(now)
    }

    fn has_lost_partitions(&self) -> bool {
        self.generation.is_reset()
    }

    fn next_step(&mut self, now: Instant, coordinator: &mut Coordinator, subscription: &mut SubscriptionState) -> Step {
        self.timer.polled(now);
        self.subscribed = Subscribed::of(subscription);
        if self.state == MemberState::Unsubscribed {
            self.join();
        }
        if matches!(self.state, MemberState::Fenced | MemberState::Stale | MemberState::Fatal)
            && !matches!(self.progress, Progress::Lost)
        {
            self.progress = Progress::Losing;
            return Self::lost();
        }
        if let Some(error) = self.failure.take().or_else(|| self.fatal.clone()) {
            return Step::Fail(error);
        }
        coordinator.want();
        self.reconcile(subscription)
    }

    fn next_step_at(&self, _coordinator: &Coordinator) -> Option<Instant> {
        None
    }

    fn rejoin_needed(&self) -> bool {
        let goes_on = match self.state {
            MemberState::Fenced | MemberState::Stale | MemberState::Fatal => !matches!(self.progress, Progress::Lost),
            MemberState::Reconciling => true,
            _ => false,
        };
        goes_on || self.failure.is_some()
    }

    fn tick(&mut self, now: Instant, coordinator: &mut Coordinator) {
        if !self.beats() || coordinator.want().is_none() {
            return;
        }
        if self.timer.poll_expired(now) {
            tracing::warn!(
                group = %self.config.group_id,
                max_poll_interval_ms = millis(self.config.rebalance_timeout),
                "time between calls of poll was longer than `max.poll.interval.ms`, leaving the group: process \
                 faster, raise `max.poll.interval.ms` or lower `max.poll.records`",
            );
            self.say_goodbye(GroupMembershipOperation::Default);
            self.lose(MemberState::Stale);
        } else if self.timer.is_due(now, self.is_urgent()) {
            self.beat(now);
        }
    }

    fn next_tick(&self, coordinator: &Coordinator) -> Option<Instant> {
        let beats = self.beats() && coordinator.node().is_some();
        let beat = beats.then(|| self.timer.next_deadline(self.is_urgent()));
        [beat, self.next_look_up()].into_iter().flatten().min()
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

    fn on_coordinator(&mut self, _now: Instant) {
        // A heartbeat that was sent to the former coordinator is not waited for, and may have had an assignment in its
        // answer: who says everything is told everything.
        if self.awaited.take().is_some() {
            self.sent.reset();
            self.timer.hurry();
        }
    }

    fn on_metadata(&mut self, _topics: &BTreeMap<String, usize>, metadata: &Arc<MetadataSnapshot>) {
        self.metadata = Arc::clone(metadata);
        self.resolve();
    }

    fn released(&mut self) {
        self.take_release();
    }

    fn acquired(&mut self) {
        self.take_acquisition();
    }

    // No member describes itself or assigns under this protocol, and no step asks for it.
    fn described(&mut self, _protocols: Vec<(String, Bytes)>) {}

    fn assigned(&mut self, _assignments: Vec<(String, Bytes)>, _topics: BTreeMap<String, usize>) {}

    fn assign_failed(&mut self, _now: Instant) {}

    fn request_rejoin(&mut self, reason: &str) {
        tracing::warn!(
            group = %self.config.group_id, reason, "a member cannot ask for a rebalance under the consumer protocol"
        );
    }

    fn leave(&mut self, reason: &str, operation: GroupMembershipOperation, coordinator: &Coordinator) {
        if self.beats() && coordinator.node().is_some() {
            tracing::info!(group = %self.config.group_id, member = %self.config.member_id, reason, ?operation, "leaving group");
            self.say_goodbye(operation);
        }
        self.awaited = None;
        self.forget_assignment();
        self.failure = None;
        if self.state != MemberState::Fatal {
            self.lose(MemberState::Unsubscribed);
        }
    }

    fn follows_coordinator(&self) -> bool {
        true
    }

    fn unresolved(&mut self, now: Instant) -> BTreeSet<Uuid> {
        self.look_up(now)
    }

    fn on_topic_names(&mut self, found: BTreeMap<Uuid, String>) {
        self.take_names(found);
    }

    fn deleted_topics(&self) -> BTreeSet<String> {
        self.replaced_topics()
    }

    fn take_assigned_topics(&mut self) -> Option<BTreeSet<String>> {
        std::mem::take(&mut self.names_changed).then(|| self.names.values().cloned().collect())
    }
}
