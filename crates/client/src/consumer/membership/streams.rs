//! A member of a streams group (KIP-1071): the coordinator assigns tasks of a topology, and says so in answers to heartbeats.
//!
//! The states are those of the [consumer protocol](super::consumer). A target is a set of tasks, active ones, standbys and
//! warm-ups; the partitions of the active ones are what the consumer reads, and follow from the topology that the member has told
//! when it joined. The member revokes what is not in the target, takes over the rest, and says what it has then with the next
//! heartbeat, at once.
//!
//! The coordinator tells an assignment once, when it has changed, and to who joins. A member that does not know whether it has
//! missed an answer gives up its tasks in good order and joins anew (see `streams/responses.rs`).
//!
//! - `streams/request.rs`: what a heartbeat says.
//! - `streams/responses.rs`: what an answer means.
//! - `streams/reconciliation.rs`: from the assignment to the target.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::StreamsGroupHeartbeatRequest;

use super::timer::{HeartbeatTimer, millis};
use super::{
    CommitVerdict, Generation, GroupRequest, GroupResponse, MemberState, Membership, MembershipConfig, Release, Step,
};
use crate::ClientError;
use crate::consumer::close_options::GroupMembershipOperation;
use crate::consumer::coordinator::Coordinator;
use crate::consumer::streams_group::{EndpointPartitions, StreamsGroup, StreamsGroupStatus, StreamsMember};
use crate::consumer::subscription::SubscriptionState;
use crate::net::MetadataSnapshot;

mod reconciliation;
mod request;
mod responses;

#[cfg(test)]
mod tests;

use reconciliation::{LocalAssignment, Progress};
use responses::Doubt;

/// The epoch with which a member joins.
const JOIN_EPOCH: i32 = 0;
/// The epoch with which it leaves. There are no static members.
const LEAVE_EPOCH: i32 = -1;

/// A member of a streams group.
#[derive(Debug)]
pub(crate) struct StreamsMembership {
    config: MembershipConfig,
    member: StreamsMember,
    state: MemberState,
    /// The identity in the member epoch, none outside of the group.
    generation: Generation,
    /// What the coordinator was told last that the member has. Nothing is certain after a heartbeat that failed.
    told: Option<LocalAssignment>,
    /// What is taken over.
    current: LocalAssignment,
    /// What the coordinator wants.
    target: LocalAssignment,
    progress: Progress,
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
    doubt: Doubt,
    sequence: u64,
    /// Whether all members are to be asked to end, and whether the coordinator may have heard so.
    wants_shutdown: bool,
    is_shutdown_told: bool,
    statuses: Arc<[StreamsGroupStatus]>,
    endpoints: Arc<EndpointPartitions>,
    /// Which of the coordinator's tables of endpoints that is.
    endpoint_epoch: i32,
}

impl StreamsMembership {
    pub(crate) fn new(config: MembershipConfig, member: StreamsMember, now: Instant) -> Self {
        Self {
            timer: HeartbeatTimer::new(&config, now),
            config,
            member,
            state: MemberState::Unsubscribed,
            generation: Generation::NONE,
            told: None,
            current: LocalAssignment::default(),
            target: LocalAssignment::default(),
            progress: Progress::Idle,
            fatal: None,
            failure: None,
            requests: VecDeque::new(),
            awaited: None,
            is_unconfirmed: false,
            doubt: Doubt::None,
            sequence: 0,
            wants_shutdown: false,
            is_shutdown_told: false,
            statuses: Arc::default(),
            endpoints: Arc::default(),
            endpoint_epoch: -1,
        }
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
        let has_news = matches!(self.state, MemberState::Joining | MemberState::Acknowledging);
        has_news || (self.wants_shutdown && !self.is_shutdown_told)
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
        self.told = None;
        self.doubt = Doubt::None;
        // What is on its way was asked by who had tasks.
        self.awaited = None;
        self.timer.hurry();
        self.enter(MemberState::Joining);
    }

    fn send(&mut self, request: StreamsGroupHeartbeatRequest) -> u64 {
        self.sequence += 1;
        self.requests.push_back((self.sequence, GroupRequest::StreamsHeartbeat(Box::new(request))));
        self.sequence
    }

    fn beat(&mut self, now: Instant) {
        let request = self.heartbeat();
        self.is_unconfirmed |= request.active_tasks.is_some();
        self.is_shutdown_told |= request.shutdown_application;
        self.awaited = Some(self.send(request));
        self.timer.sent(now);
        if self.state == MemberState::Acknowledging {
            let is_reached = self.current == self.target;
            self.enter(if is_reached { MemberState::Stable } else { MemberState::Reconciling });
        }
    }

    /// Says that the member goes. The answer is not waited for.
    fn say_goodbye(&mut self) {
        let request = StreamsGroupHeartbeatRequest {
            group_id: self.config.group_id.clone(),
            member_id: self.config.member_id.clone(),
            member_epoch: LEAVE_EPOCH,
            endpoint_information_epoch: self.endpoint_epoch,
            shutdown_application: self.wants_shutdown,
            ..Default::default()
        };
        self.send(request);
        self.fall_silent();
    }

    fn fall_silent(&mut self) {
        self.awaited = None;
        self.timer.reset();
        self.told = None;
        self.set_epoch(JOIN_EPOCH);
    }

    /// What the member has is not its own any more, and goes with the next `poll`.
    fn lose(&mut self, state: MemberState) {
        self.set_epoch(JOIN_EPOCH);
        self.progress = Progress::Idle;
        self.doubt = Doubt::None;
        self.enter(state);
    }

    fn lost() -> Step {
        let keep = BTreeSet::new();
        Step::Release(Release { deleted: keep.clone(), keep, lost: true, always_tell: true })
    }
}

impl Membership for StreamsMembership {
    fn config(&self) -> &MembershipConfig {
        &self.config
    }

    fn generation(&self) -> &Generation {
        &self.generation
    }

    fn commit_generation(&self) -> Result<&Generation, CommitVerdict> {
        if self.generation.is_reset() { Err(CommitVerdict::Failed) } else { Ok(&self.generation) }
    }

    fn on_commit_error(&mut self, code: ErrorCode, _sent: &Generation) -> CommitVerdict {
        // Whether the member is out of the group is for a heartbeat to tell.
        match code {
            ErrorCode::StaleMemberEpoch if !self.generation.is_reset() => CommitVerdict::Stale,
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
            _ => self.doubt == Doubt::Missed,
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
            self.say_goodbye();
            self.lose(MemberState::Stale);
        } else if self.timer.is_due(now, self.is_urgent()) {
            self.beat(now);
        }
    }

    fn next_tick(&self, coordinator: &Coordinator) -> Option<Instant> {
        let beats = self.beats() && coordinator.node().is_some();
        beats.then(|| self.timer.next_deadline(self.is_urgent()))
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
        // answer.
        if self.awaited.take().is_some() {
            self.not_answered();
            self.timer.hurry();
        }
    }

    // A task's topics are known by their names.
    fn on_metadata(&mut self, _topics: &BTreeMap<String, usize>, _metadata: &Arc<MetadataSnapshot>) {}

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
            group = %self.config.group_id, reason, "a member cannot ask for a rebalance under the streams protocol"
        );
    }

    fn leave(&mut self, reason: &str, operation: GroupMembershipOperation, coordinator: &Coordinator) {
        if self.beats() && coordinator.node().is_some() {
            tracing::info!(group = %self.config.group_id, member = %self.config.member_id, reason, ?operation, "leaving group");
            // There are no static members, and of one that remains the coordinator hears nothing any more.
            match operation.leaves(false) {
                true => self.say_goodbye(),
                false => self.fall_silent(),
            }
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

    fn streams_group(&self) -> Option<StreamsGroup> {
        Some(StreamsGroup {
            assignment: self.assignment().clone(),
            statuses: Arc::clone(&self.statuses),
            endpoints: Arc::clone(&self.endpoints),
            heartbeat_interval: self.timer.interval(),
        })
    }

    fn request_shutdown_of_application(&mut self) {
        self.wants_shutdown = true;
    }
}
