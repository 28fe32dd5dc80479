//! A member of a group whose coordinator assigns, and says so in answers to heartbeats: what the consumer protocol (KIP-848) and
//! the streams protocol (KIP-1071) have in common. Kafka calls such groups modern ones.
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
//! has then with the next heartbeat, at once. What it gave up goes to others only when it has said so.
//!
//! What is assigned, what a heartbeat says of it and what an answer means by it is a [`ModernProtocol`]'s own.
//!
//! - `modern/protocol.rs`: what is asked of a protocol.
//! - `modern/responses.rs`: what an answer means.
//! - `modern/reconciliation.rs`: from the assignment to the target.
//! - `modern/timer.rs`: when heartbeats are sent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use vltava_protocol::ErrorCode;

use super::{
    AssignedTopics, CommitVerdict, Generation, GroupRequest, GroupResponse, Membership, MembershipConfig, Release,
    Step, StreamsGroupMember, millis,
};
use crate::ClientError;
use crate::consumer::close_options::GroupMembershipOperation;
use crate::consumer::coordinator::Coordinator;
use crate::consumer::subscription::SubscriptionState;
use crate::net::MetadataSnapshot;

mod protocol;
mod reconciliation;
mod responses;
mod timer;

#[cfg(test)]
pub(super) mod tests;

pub(super) use protocol::{Answer, Assigned, ModernProtocol, Standing, Uncertain, said, unexpected};
use reconciliation::{LocalAssignment, Progress};
use timer::HeartbeatTimer;

/// The epoch with which a member joins.
const JOIN_EPOCH: i32 = 0;
/// The epoch with which it leaves.
const LEAVE_EPOCH: i32 = -1;
/// The epoch with which a static member goes, to be back within its session.
const LEAVE_STATIC_EPOCH: i32 = -2;

/// Where a member stands whose coordinator assigns; Kafka's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MemberState {
    /// Not subscribed, or it has not polled since.
    Unsubscribed,
    /// To be let into the group.
    Joining,
    /// With a target that is not taken over yet.
    Reconciling,
    /// The target is taken over, and the coordinator has not been told.
    Acknowledging,
    /// With its target.
    Stable,
    /// Thrown out: its partitions are lost, then it joins anew.
    Fenced,
    /// It has left since the application did not poll: its partitions are lost, and the next `poll` joins anew.
    Stale,
    /// The coordinator has refused it for good.
    Fatal,
}

impl MemberState {
    /// Whether the coordinator counts the member, as far as that is known.
    pub(super) fn is_in_group(self) -> bool {
        matches!(self, Self::Reconciling | Self::Acknowledging | Self::Stable)
    }

    /// Whether heartbeats are sent.
    fn beats(self) -> bool {
        self.is_in_group() || self == Self::Joining
    }

    /// Whether what the member has is not its own any more.
    fn has_lost_all(self) -> bool {
        matches!(self, Self::Fenced | Self::Stale | Self::Fatal)
    }
}

/// A member of a group whose coordinator assigns.
#[derive(Debug)]
pub(crate) struct ModernMembership<P: ModernProtocol> {
    config: MembershipConfig,
    pub(super) protocol: P,
    state: MemberState,
    /// The identity in the member epoch, none outside of the group.
    generation: Generation,
    /// What the coordinator was told last that the member has. Nothing is certain after a heartbeat that failed.
    told: Option<LocalAssignment<P::Assignment>>,
    /// What is taken over.
    current: LocalAssignment<P::Assignment>,
    /// What the coordinator wants.
    target: LocalAssignment<P::Assignment>,
    progress: Progress<P::Assignment>,
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

impl<P: ModernProtocol> ModernMembership<P> {
    pub(super) fn of(protocol: P, config: MembershipConfig, now: Instant) -> Self {
        Self {
            timer: HeartbeatTimer::new(&config, now),
            config,
            protocol,
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
            sequence: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn state(&self) -> MemberState {
        self.state
    }

    /// What is taken over.
    pub(super) fn current(&self) -> &P::Assignment {
        &self.current.assigned
    }

    /// How often the coordinator wants to hear from the member; zero before it has said so.
    pub(super) fn heartbeat_interval(&self) -> Duration {
        self.timer.interval()
    }

    /// Whether there is something that the coordinator should know now.
    fn is_urgent(&self) -> bool {
        matches!(self.state, MemberState::Joining | MemberState::Acknowledging) || self.protocol.has_news()
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
        self.leave_generation();
        // What is on its way was asked by who had something.
        self.awaited = None;
        self.timer.hurry();
        self.enter(MemberState::Joining);
    }

    fn leave_generation(&mut self) {
        self.set_epoch(JOIN_EPOCH);
        self.is_uncertain(Uncertain::OutOfGroup);
    }

    /// Nothing of what the coordinator was told is certain.
    fn is_uncertain(&mut self, why: Uncertain) {
        self.told = None;
        self.protocol.forget_told(why);
    }

    fn send(&mut self, request: GroupRequest) -> u64 {
        self.sequence += 1;
        self.requests.push_back((self.sequence, request));
        self.sequence
    }

    fn beat(&mut self, now: Instant) {
        let is_news = self.state == MemberState::Joining || self.told.as_ref() != Some(&self.current);
        let held = is_news.then(|| self.held());
        if is_news {
            self.told = Some(self.current.clone());
            self.is_unconfirmed = true;
        }
        let epoch = self.epoch();
        let standing = Standing { config: &self.config, state: self.state, epoch, target: &self.target.assigned };
        let request = self.protocol.heartbeat(&standing, held);
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
            true => Some(LEAVE_EPOCH),
            // Of a dynamic member that remains the coordinator hears nothing any more.
            false => is_static.then_some(LEAVE_STATIC_EPOCH),
        };
        if let Some(epoch) = epoch {
            let request = self.protocol.goodbye(&self.config, epoch);
            self.send(request);
        }
        self.awaited = None;
        self.timer.reset();
        self.leave_generation();
    }

    /// What the member has is not its own any more, and goes with the next `poll`.
    fn lose(&mut self, state: MemberState) {
        self.leave_generation();
        self.progress = Progress::Idle;
        self.enter(state);
    }

    fn lost() -> Step {
        let keep = BTreeSet::new();
        let always_tell = P::TELLS_OF_EVERY_LOSS;
        Step::Release(Release { deleted: keep.clone(), keep, lost: true, always_tell })
    }
}

impl<P: ModernProtocol> Membership for ModernMembership<P>
where
    Self: AssignedTopics + StreamsGroupMember,
{
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
        self.state.is_in_group() && self.timer.is_confirmed(now)
    }

    fn has_lost_partitions(&self) -> bool {
        self.generation.is_reset()
    }

    fn next_step(&mut self, now: Instant, coordinator: &mut Coordinator, subscription: &mut SubscriptionState) -> Step {
        self.timer.polled(now);
        self.protocol.on_poll(subscription);
        if self.state == MemberState::Unsubscribed {
            self.join();
        }
        if self.state.has_lost_all() && !matches!(self.progress, Progress::Lost) {
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
            state if state.has_lost_all() => !matches!(self.progress, Progress::Lost),
            MemberState::Reconciling => true,
            _ => self.must_rejoin(),
        };
        goes_on || self.failure.is_some()
    }

    fn tick(&mut self, now: Instant, coordinator: &mut Coordinator) {
        if !self.state.beats() || coordinator.want().is_none() {
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
        let beats = self.state.beats() && coordinator.node().is_some();
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
        // answer.
        if self.awaited.take().is_some() {
            self.is_uncertain(Uncertain::Unanswered);
            self.timer.hurry();
        }
    }

    fn on_metadata(&mut self, _topics: &BTreeMap<String, usize>, metadata: &Arc<MetadataSnapshot>) {
        self.protocol.on_metadata(metadata, &self.target.assigned);
    }

    fn released(&mut self) {
        self.take_release();
    }

    fn acquired(&mut self) {
        self.take_acquisition();
    }

    // No member describes itself or assigns where the coordinator does, and no step asks for it.
    fn described(&mut self, _protocols: Vec<(String, Bytes)>) {}

    fn assigned(&mut self, _assignments: Vec<(String, Bytes)>, _topics: BTreeMap<String, usize>) {}

    fn assign_failed(&mut self, _now: Instant) {}

    fn request_rejoin(&mut self, reason: &str) {
        tracing::warn!(
            group = %self.config.group_id, reason, "a member cannot ask for a rebalance under the {} protocol", P::NAME
        );
    }

    fn leave(&mut self, reason: &str, operation: GroupMembershipOperation, coordinator: &Coordinator) {
        if self.state.beats() && coordinator.node().is_some() {
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
}
