//! A member of a group under the classic protocol.
//!
//! ```text
//! Unjoined ── JoinGroup ──▶ Preparing ── answer ──▶ Completing ── SyncGroup ──▶ Stable
//!    ▲                          │                        │                        │
//!    └──── member unknown, generation reset, left ───────┴────────────────────────┘
//! ```
//!
//! Joining is driven by [`next_step`](ClassicMembership::next_step), which the application's `poll`
//! calls: it says what only `poll` may do (callbacks, assignment). Heartbeats and the look-up of the
//! coordinator are driven by [`tick`](ClassicMembership::tick), which a timer calls. Requests to
//! send come out of [`poll_request`](ClassicMembership::poll_request), and their answers go into
//! [`on_response`](ClassicMembership::on_response).

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    SyncGroupRequest, SyncGroupResponse, join_group_request::JoinGroupRequestProtocol,
    join_group_response::JoinGroupResponseMember, leave_group_request::MemberIdentity,
    sync_group_request::SyncGroupRequestAssignment,
};

use super::heartbeat::Heartbeat;
use crate::ClientError;

mod responses;

/// The protocol type of consumers.
pub(crate) const PROTOCOL_TYPE: &str = "consumer";

/// Longest reason that is sent with a request, in characters (KIP-800).
const MAX_REASON: usize = 255;

/// A member's settings.
#[derive(Debug, Clone)]
pub(crate) struct MembershipConfig {
    pub(crate) group_id: String,
    pub(crate) group_instance_id: Option<String>,
    pub(crate) session_timeout: Duration,
    /// `max.poll.interval.ms`.
    pub(crate) rebalance_timeout: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) retry_backoff: Duration,
    pub(crate) retry_backoff_max: Duration,
}

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

/// The member's identity in one generation of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Generation {
    pub(crate) id: i32,
    pub(crate) member_id: String,
    pub(crate) protocol: Option<String>,
}

impl Generation {
    /// That of a member that never joined.
    pub(crate) const NONE: Self = Self { id: -1, member_id: String::new(), protocol: None };

    /// Whether the member is in no generation, or has no id.
    pub(crate) fn is_reset(&self) -> bool {
        self.id < 0 || self.member_id.is_empty()
    }
}

/// A request to the coordinator, or to find it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum GroupRequest {
    FindCoordinator,
    Join(JoinGroupRequest),
    Sync(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    Leave(LeaveGroupRequest),
}

/// The answer to a [`GroupRequest`].
#[derive(Debug, Clone)]
pub(crate) enum GroupResponse {
    /// The coordinator's node id.
    Coordinator(i32),
    Join(JoinGroupResponse),
    Sync(SyncGroupResponse),
    Heartbeat(HeartbeatResponse),
    Leave(LeaveGroupResponse),
}

/// What the application's `poll` has to do for the membership.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing: an answer or a timer comes first.
    Wait,
    /// Nothing: the member is in the group.
    Stable,
    /// Commit, call the rebalance listener and give up partitions before joining; `lost` if the
    /// group has taken them away already. Then call [`ClassicMembership::prepared`].
    Prepare { lost: bool },
    /// Call [`ClassicMembership::start_join`] with the subscription in every protocol.
    Join,
    /// Assign partitions to the members. Then call [`ClassicMembership::assigned`].
    Assign { protocol: String, members: Vec<JoinGroupResponseMember>, skip: bool },
    /// Take over the assignment. The membership goes on by itself.
    Complete { generation: Generation, assignment: Bytes },
    /// Return the error to the application; the next `poll` tries again.
    Fail(ClientError),
}

/// The kind of a request in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    FindCoordinator,
    Rebalance,
    Heartbeat,
    Leave,
}

impl Kind {
    fn of(request: &GroupRequest) -> Self {
        match request {
            GroupRequest::FindCoordinator => Self::FindCoordinator,
            GroupRequest::Join(_) | GroupRequest::Sync(_) => Self::Rebalance,
            GroupRequest::Heartbeat(_) => Self::Heartbeat,
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
    coordinator: Option<i32>,
    finding_coordinator: bool,
    find_retry_at: Option<Instant>,
    find_failures: u32,
    heartbeat: Heartbeat,
    /// Errors to return to the application.
    failure: Option<ClientError>,
    requests: VecDeque<(u64, GroupRequest)>,
    /// Requests in flight, with the generation in which they were sent.
    in_flight: BTreeMap<u64, (Kind, Generation)>,
    /// The join or sync that `phase` waits for.
    awaited: Option<u64>,
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
            coordinator: None,
            finding_coordinator: false,
            find_retry_at: None,
            find_failures: 0,
            failure: None,
            requests: VecDeque::new(),
            in_flight: BTreeMap::new(),
            awaited: None,
            beat: None,
            sequence: 0,
        }
    }

    pub(crate) fn config(&self) -> &MembershipConfig {
        &self.config
    }

    #[cfg(test)]
    pub(crate) fn state(&self) -> MemberState {
        self.state
    }

    pub(crate) fn generation(&self) -> &Generation {
        &self.generation
    }

    /// The generation if the member may commit in it.
    pub(crate) fn stable_generation(&self) -> Option<&Generation> {
        (self.state == MemberState::Stable).then_some(&self.generation)
    }

    /// Whether the group counts the member as one of its own, as far as it can know.
    pub(crate) fn is_in_session(&self, now: Instant) -> bool {
        self.state == MemberState::Stable && self.heartbeat.is_confirmed(now)
    }

    pub(crate) fn is_rebalancing(&self) -> bool {
        matches!(self.state, MemberState::PreparingRebalance | MemberState::CompletingRebalance)
    }

    fn has_joined(&self) -> bool {
        matches!(self.state, MemberState::CompletingRebalance | MemberState::Stable)
    }

    /// The coordinator's node id, if it is known.
    pub(crate) fn coordinator(&self) -> Option<i32> {
        self.coordinator
    }

    /// Whether the next [`next_step`](Self::next_step) has something to do besides waiting.
    pub(crate) fn rejoin_needed(&self) -> bool {
        self.rejoin_needed || !matches!(self.phase, Phase::Idle)
    }

    /// The next request to send, with a token for its answer.
    pub(crate) fn poll_request(&mut self) -> Option<(u64, GroupRequest)> {
        self.requests.pop_front()
    }

    /// The application polled: it is alive.
    pub(crate) fn polled(&mut self, now: Instant) {
        self.heartbeat.polled(now);
    }

    /// What `poll` has to do now.
    pub(crate) fn next_step(&mut self, now: Instant) -> Step {
        if let Some(error) = self.failure.take() {
            return Step::Fail(error);
        }
        if !self.rejoin_needed() {
            if self.coordinator.is_none() {
                self.find_coordinator(now);
            }
            return Step::Stable;
        }
        if self.coordinator.is_none() {
            self.find_coordinator(now);
            return Step::Wait;
        }
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Idle if self.needs_prepare => Step::Prepare { lost: self.generation.is_reset() },
            Phase::Idle if self.join_retry_at.is_some_and(|at| now < at) => Step::Wait,
            Phase::Idle => Step::Join,
            Phase::Waiting => {
                self.phase = Phase::Waiting;
                Step::Wait
            }
            Phase::Assigning { protocol, members, skip } => Step::Assign { protocol, members, skip },
            Phase::Synced { assignment } => {
                if self.state == MemberState::Stable && self.generation.id >= 0 {
                    self.needs_prepare = true;
                    Step::Complete { generation: self.generation.clone(), assignment }
                } else {
                    // A heartbeat found out that the member is not in that generation any more.
                    self.reset_and_rejoin("generation was reset before the rebalance completed", true);
                    self.next_step(now)
                }
            }
        }
    }

    /// The preparation asked for by [`Step::Prepare`] is done.
    pub(crate) fn prepared(&mut self) {
        self.needs_prepare = false;
    }

    /// Joins with this member's metadata in every protocol it can speak, the preferred one first.
    pub(crate) fn start_join(&mut self, protocols: Vec<(String, Bytes)>) {
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

    /// The assignment asked for by [`Step::Assign`], encoded, by member id.
    pub(crate) fn assigned(&mut self, assignments: Vec<(String, Bytes)>) {
        if self.state == MemberState::CompletingRebalance {
            self.sync(assignments);
        } else {
            self.reset_and_rejoin("generation was reset while assigning", true);
        }
    }

    /// The assignment could not be made. The error goes to the application.
    pub(crate) fn assign_failed(&mut self, now: Instant) {
        self.phase = Phase::Idle;
        self.request_rejoin("rebalance failed: the assignor failed");
        self.join_retry_at = Some(now + self.config.retry_backoff);
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

    /// Lets time pass: sends a heartbeat if one is due, leaves the group if the application does
    /// not poll.
    pub(crate) fn tick(&mut self, now: Instant) {
        if !self.has_joined() || self.failure.is_some() {
            return;
        }
        if self.coordinator.is_none() {
            self.find_coordinator(now);
        } else if self.heartbeat.session_expired(now) {
            self.coordinator_unknown("session timed out without receiving a heartbeat response");
            self.find_coordinator(now);
        } else if self.heartbeat.poll_expired(now) {
            tracing::warn!(
                group = %self.config.group_id,
                max_poll_interval_ms = millis(self.config.rebalance_timeout),
                "time between calls of poll was longer than `max.poll.interval.ms`, leaving the group: process \
                 faster, raise `max.poll.interval.ms` or lower `max.poll.records`",
            );
            self.leave("consumer poll timeout has expired.");
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

    /// When [`tick`](Self::tick) or [`next_step`](Self::next_step) has something to do next without
    /// an answer coming.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        [self.next_find(), self.next_beat(), self.join_retry_at].into_iter().flatten().min()
    }

    /// When [`tick`](Self::tick) has something to do next without an answer coming.
    pub(crate) fn next_tick(&self) -> Option<Instant> {
        let find = self.next_find().filter(|_| self.has_joined());
        [find, self.next_beat()].into_iter().flatten().min().filter(|_| self.failure.is_none())
    }

    fn next_find(&self) -> Option<Instant> {
        self.find_retry_at.filter(|_| self.coordinator.is_none() && !self.finding_coordinator)
    }

    fn next_beat(&self) -> Option<Instant> {
        (self.has_joined() && self.coordinator.is_some()).then(|| self.heartbeat.next_deadline())
    }

    /// Looks for the coordinator unless that is under way or has just failed.
    pub(crate) fn find_coordinator(&mut self, now: Instant) {
        if self.coordinator.is_some() || self.finding_coordinator || self.find_retry_at.is_some_and(|at| now < at) {
            return;
        }
        self.finding_coordinator = true;
        self.send(GroupRequest::FindCoordinator);
    }

    /// The coordinator does not answer, or says that it is not the coordinator.
    pub(crate) fn coordinator_unknown(&mut self, cause: &str) {
        if let Some(node) = self.coordinator.take() {
            tracing::info!(group = %self.config.group_id, node, cause, "group coordinator is unavailable or invalid");
        }
    }

    /// Asks for a rebalance at the next `poll`.
    pub(crate) fn request_rejoin(&mut self, reason: &str) {
        tracing::info!(group = %self.config.group_id, reason, "request joining group");
        reason.clone_into(&mut self.rejoin_reason);
        self.rejoin_needed = true;
    }

    /// Asks for a rebalance unless one is asked for already.
    pub(crate) fn request_rejoin_if_necessary(&mut self, reason: &str) {
        if !self.rejoin_needed {
            self.request_rejoin(reason);
        }
    }

    /// Leaves the group if the member is dynamic, and forgets the generation in any case.
    pub(crate) fn leave(&mut self, reason: &str) {
        self.leave_if(reason, self.config.group_instance_id.is_none());
    }

    /// Forgets the generation; the coordinator is told if `tell` (KIP-1092).
    pub(crate) fn leave_if(&mut self, reason: &str, tell: bool) {
        let member = !self.generation.member_id.is_empty() && self.state != MemberState::Unjoined;
        if tell && member && self.coordinator.is_some() {
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
        self.phase = Phase::Idle;
        self.awaited = None;
        self.reset_and_rejoin("consumer pro-actively leaving the group", true);
    }

    /// An offset commit told that the member's generation is over.
    pub(crate) fn on_commit_error(&mut self, code: ErrorCode, sent: &Generation) -> CommitVerdict {
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

/// What a refused commit means to its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitVerdict {
    /// The code itself, which ends this consumer's membership.
    Fatal,
    /// A rebalance goes on: poll, then commit again.
    Rebalancing,
    /// The partitions belong to somebody else by now.
    Failed,
}

fn truncated(reason: &str) -> String {
    reason.chars().take(MAX_REASON).collect()
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
