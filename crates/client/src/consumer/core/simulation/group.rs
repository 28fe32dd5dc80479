//! A small model of Kafka's group coordinator: it collects joins, gives generations, forgets members without heartbeats.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::join_group_response::JoinGroupResponseMember;
use vltava_protocol::messages::{HeartbeatResponse, JoinGroupResponse, LeaveGroupResponse, SyncGroupResponse};

use super::consumer_group::ConsumerGroup;
use super::{SESSION, Sender};
use crate::consumer::membership::{GroupRequest, GroupResponse};

/// How long the others are waited for when a member joins: their `max.poll.interval.ms`.
const JOIN_WAIT: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Joining { until: Instant },
    Syncing,
    Stable,
}

/// A waiting request: who sent it, with which token.
pub(super) type Caller = (Sender, u64);

#[derive(Debug)]
struct Seat {
    last_seen: Instant,
    joining: Option<Caller>,
    syncing: Option<Caller>,
    metadata: Bytes,
    assignment: Bytes,
    /// It has its id, and has never joined with it.
    is_pending: bool,
}

/// The group, under the protocol that its members speak.
#[derive(Debug)]
pub(super) enum Group {
    Classic(ClassicGroup),
    Consumer(ConsumerGroup),
}

impl Group {
    pub(super) fn take_answers(&mut self) -> Vec<(Caller, GroupResponse)> {
        match self {
            Self::Classic(group) => group.take_answers(),
            Self::Consumer(group) => group.take_answers(),
        }
    }

    /// The generation in which `members` members have their assignments, if the group is at rest.
    pub(super) fn generation_at_rest(&self, members: usize) -> Option<i32> {
        match self {
            Self::Classic(group) => group.generation_at_rest(members),
            Self::Consumer(group) => group.epoch_at_rest(members),
        }
    }

    /// Another node takes over.
    pub(super) fn moves(&mut self) {
        match self {
            Self::Classic(group) => group.moves(),
            Self::Consumer(_) => {}
        }
    }

    pub(super) fn handle(&mut self, now: Instant, caller: Caller, request: GroupRequest) {
        match self {
            Self::Classic(group) => group.handle(now, caller, request),
            Self::Consumer(group) => group.handle(now, caller, request),
        }
    }

    /// Whether a member may commit for these partitions in its generation.
    pub(super) fn check_commit(
        &mut self,
        now: Instant,
        member: &str,
        generation: i32,
        partitions: &BTreeSet<i32>,
    ) -> ErrorCode {
        match self {
            Self::Classic(group) => group.check_commit(now, member, generation),
            Self::Consumer(group) => group.check_commit(member, generation, partitions),
        }
    }

    pub(super) fn advance(&mut self, now: Instant) {
        match self {
            Self::Classic(group) => group.advance(now),
            Self::Consumer(group) => group.advance(now),
        }
    }
}

#[derive(Debug)]
pub(super) struct ClassicGroup {
    /// The assignor that all offer.
    assignor: &'static str,
    phase: Phase,
    generation: i32,
    next_id: usize,
    seats: BTreeMap<String, Seat>,
    leader: String,
    outbox: Vec<(Caller, GroupResponse)>,
}

impl ClassicGroup {
    pub(super) fn new(assignor: &'static str) -> Self {
        Self {
            assignor,
            phase: Phase::Stable,
            generation: 0,
            next_id: 0,
            seats: BTreeMap::new(),
            leader: String::new(),
            outbox: Vec::new(),
        }
    }

    pub(super) fn take_answers(&mut self) -> Vec<(Caller, GroupResponse)> {
        std::mem::take(&mut self.outbox)
    }

    /// The generation in which `members` members have their assignments, if the group is at rest.
    pub(super) fn generation_at_rest(&self, members: usize) -> Option<i32> {
        let is_at_rest = self.phase == Phase::Stable && self.seats.len() == members;
        is_at_rest.then_some(self.generation)
    }

    /// Another node takes over: who waits is told so, what is decided stays.
    pub(super) fn moves(&mut self) {
        let code = ErrorCode::NotCoordinator;
        for seat in self.seats.values_mut() {
            self.outbox.extend(seat.joining.take().map(|caller| (caller, join(code))));
            let syncing = seat.syncing.take();
            self.outbox.extend(syncing.map(|caller| (caller, sync(self.assignor, code, Bytes::new()))));
        }
    }

    fn rebalance(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Joining { .. }) {
            return;
        }
        self.phase = Phase::Joining { until: now + JOIN_WAIT };
        for seat in self.seats.values_mut() {
            if let Some(caller) = seat.syncing.take() {
                self.outbox.push((caller, sync(self.assignor, ErrorCode::RebalanceInProgress, Bytes::new())));
            }
        }
    }

    pub(super) fn handle(&mut self, now: Instant, caller: Caller, request: GroupRequest) {
        let answer = match request {
            GroupRequest::Join(request) => {
                self.join(now, caller, request.member_id, request.protocols[0].metadata.clone())
            }
            GroupRequest::Sync(request) => {
                let code = self.check(now, &request.member_id, request.generation_id);
                match self.phase {
                    _ if code != ErrorCode::None => Some(sync(self.assignor, code, Bytes::new())),
                    Phase::Joining { .. } => Some(sync(self.assignor, ErrorCode::RebalanceInProgress, Bytes::new())),
                    Phase::Stable => {
                        let assignment = self.seats[&request.member_id].assignment.clone();
                        Some(sync(self.assignor, code, assignment))
                    }
                    Phase::Syncing => {
                        let seat = self.seats.get_mut(&request.member_id).unwrap();
                        let before = seat.syncing.replace(caller).filter(|before| *before != caller);
                        let refused = sync(self.assignor, ErrorCode::RebalanceInProgress, Bytes::new());
                        self.outbox.extend(before.map(|before| (before, refused)));
                        if request.member_id == self.leader {
                            for one in request.assignments {
                                if let Some(seat) = self.seats.get_mut(&one.member_id) {
                                    seat.assignment = one.assignment;
                                }
                            }
                            self.phase = Phase::Stable;
                            for seat in self.seats.values_mut() {
                                if let Some(caller) = seat.syncing.take() {
                                    let answer = sync(self.assignor, ErrorCode::None, seat.assignment.clone());
                                    self.outbox.push((caller, answer));
                                }
                            }
                        }
                        None
                    }
                }
            }
            GroupRequest::Heartbeat(request) => {
                let mut code = self.check(now, &request.member_id, request.generation_id);
                if code == ErrorCode::None && matches!(self.phase, Phase::Joining { .. }) {
                    code = ErrorCode::RebalanceInProgress;
                }
                Some(GroupResponse::Heartbeat(HeartbeatResponse { error_code: code.code(), ..Default::default() }))
            }
            GroupRequest::Leave(request) => {
                if let Some(seat) = self.seats.remove(&request.members[0].member_id) {
                    self.outbox.extend(seat.joining.map(|caller| (caller, join(ErrorCode::UnknownMemberId))));
                    self.rebalance(now);
                }
                Some(GroupResponse::Leave(LeaveGroupResponse::default()))
            }
            GroupRequest::ConsumerHeartbeat(_) | GroupRequest::StreamsHeartbeat(_) => {
                panic!("a member of another protocol")
            }
        };
        self.outbox.extend(answer.map(|answer| (caller, answer)));
        self.advance(now);
    }

    fn join(&mut self, now: Instant, caller: Caller, id: String, metadata: Bytes) -> Option<GroupResponse> {
        if id.is_empty() {
            self.next_id += 1;
            let id = format!("m{}", self.next_id);
            let error_code = ErrorCode::MemberIdRequired.code();
            let answer = JoinGroupResponse { error_code, member_id: id.clone(), ..Default::default() };
            let seat = Seat {
                last_seen: now,
                joining: None,
                syncing: None,
                metadata,
                assignment: Bytes::new(),
                is_pending: true,
            };
            self.seats.insert(id, seat);
            return Some(GroupResponse::Join(answer));
        }
        if !self.seats.contains_key(&id) {
            return Some(join(ErrorCode::UnknownMemberId));
        }
        self.rebalance(now);
        let seat = self.seats.get_mut(&id).unwrap();
        seat.last_seen = now;
        // One that was late is not waited for by anybody, or takes the place of the one that is.
        let before = seat.joining.replace(caller).filter(|before| *before != caller);
        self.outbox.extend(before.map(|before| (before, join(ErrorCode::RebalanceInProgress))));
        seat.metadata = metadata;
        seat.is_pending = false;
        None
    }

    fn check(&mut self, now: Instant, member: &str, generation: i32) -> ErrorCode {
        match self.seats.get_mut(member) {
            None => ErrorCode::UnknownMemberId,
            Some(_) if generation != self.generation => ErrorCode::IllegalGeneration,
            Some(seat) => {
                seat.last_seen = now;
                ErrorCode::None
            }
        }
    }

    /// Whether a member may commit in its generation.
    pub(super) fn check_commit(&mut self, now: Instant, member: &str, generation: i32) -> ErrorCode {
        match self.check(now, member, generation) {
            ErrorCode::None if self.phase == Phase::Syncing => ErrorCode::RebalanceInProgress,
            code => code,
        }
    }

    pub(super) fn advance(&mut self, now: Instant) {
        let members = |seats: &BTreeMap<String, Seat>| seats.values().filter(|seat| !seat.is_pending).count();
        let before = members(&self.seats);
        self.seats.retain(|_, seat| seat.joining.is_some() || now < seat.last_seen + SESSION);
        if members(&self.seats) < before {
            self.rebalance(now);
        }
        let Phase::Joining { until } = self.phase else { return };
        if self.seats.values().any(|seat| seat.joining.is_none()) && now < until {
            return;
        }
        self.seats.retain(|_, seat| seat.joining.is_some() || seat.is_pending);
        let Some(leader) = self.seats.iter().find(|(_, seat)| !seat.is_pending).map(|(id, _)| id.clone()) else {
            self.phase = Phase::Stable;
            return;
        };
        self.generation += 1;
        self.leader.clone_from(&leader);
        self.phase = Phase::Syncing;
        let joined = |(id, seat): (&String, &Seat)| JoinGroupResponseMember {
            member_id: id.clone(),
            metadata: seat.metadata.clone(),
            ..Default::default()
        };
        let members: Vec<_> = self.seats.iter().filter(|(_, seat)| !seat.is_pending).map(joined).collect();
        for (id, seat) in self.seats.iter_mut().filter(|(_, seat)| !seat.is_pending) {
            seat.last_seen = now;
            seat.assignment = Bytes::new();
            let response = JoinGroupResponse {
                generation_id: self.generation,
                protocol_type: Some("consumer".into()),
                protocol_name: Some(self.assignor.into()),
                leader: leader.clone(),
                member_id: id.clone(),
                members: if *id == leader { members.clone() } else { Vec::new() },
                ..Default::default()
            };
            let caller = seat.joining.take().unwrap();
            self.outbox.push((caller, GroupResponse::Join(response)));
        }
    }
}

fn join(code: ErrorCode) -> GroupResponse {
    GroupResponse::Join(JoinGroupResponse { error_code: code.code(), ..Default::default() })
}

fn sync(assignor: &str, code: ErrorCode, assignment: Bytes) -> GroupResponse {
    GroupResponse::Sync(SyncGroupResponse {
        error_code: code.code(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some(assignor.into()),
        assignment,
        ..Default::default()
    })
}
