//! A group of members and a coordinator over a network that loses, delays and repeats messages.
//!
//! The coordinator is a small model of Kafka's: it collects joins, gives generations, and forgets
//! members without heartbeats. Invariants are checked at every step; when the network heals, the
//! group has to come to rest. A failure prints the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::join_group_response::JoinGroupResponseMember;
use vltava_protocol::messages::{HeartbeatResponse, JoinGroupResponse, LeaveGroupResponse, SyncGroupResponse};

use super::classic::*;
use super::tests::config;
use crate::ClientError;

const TICK: Duration = Duration::from_millis(50);
const SESSION: Duration = Duration::from_secs(6);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Joining { until: Instant },
    Syncing,
    Stable,
}

/// A waiting request: which simulated member, its token.
type Caller = (usize, u64);

#[derive(Debug)]
struct Seat {
    last_seen: Instant,
    joining: Option<Caller>,
    syncing: Option<Caller>,
    assignment: Bytes,
    /// It has its id, and has never joined with it.
    pending: bool,
}

#[derive(Debug)]
struct Coordinator {
    phase: Phase,
    generation: i32,
    next_id: usize,
    seats: BTreeMap<String, Seat>,
    leader: String,
    outbox: Vec<(Caller, GroupResponse)>,
}

impl Coordinator {
    fn new() -> Self {
        Self {
            phase: Phase::Stable,
            generation: 0,
            next_id: 0,
            seats: BTreeMap::new(),
            leader: String::new(),
            outbox: Vec::new(),
        }
    }

    fn rebalance(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Joining { .. }) {
            self.phase = Phase::Joining { until: now + Duration::from_secs(3) };
            for seat in self.seats.values_mut() {
                if let Some(caller) = seat.syncing.take() {
                    self.outbox.push((caller, sync(ErrorCode::RebalanceInProgress, Bytes::new())));
                }
            }
        }
    }

    fn handle(&mut self, now: Instant, caller: Caller, request: GroupRequest) {
        match request {
            GroupRequest::FindCoordinator => self.outbox.push((caller, GroupResponse::Coordinator(1))),
            GroupRequest::Join(join) => {
                let id = join.member_id;
                if id.is_empty() {
                    self.next_id += 1;
                    let response = JoinGroupResponse {
                        error_code: ErrorCode::MemberIdRequired.code(),
                        member_id: format!("m{}", self.next_id),
                        ..Default::default()
                    };
                    let id = response.member_id.clone();
                    let assignment = Bytes::new();
                    let seat = Seat { last_seen: now, joining: None, syncing: None, assignment, pending: true };
                    self.seats.insert(id, seat);
                    self.outbox.push((caller, GroupResponse::Join(response)));
                    return;
                }
                if !self.seats.contains_key(&id) {
                    let code = ErrorCode::UnknownMemberId.code();
                    let response = JoinGroupResponse { error_code: code, ..Default::default() };
                    self.outbox.push((caller, GroupResponse::Join(response)));
                    return;
                }
                self.rebalance(now);
                let seat = self.seats.get_mut(&id).unwrap();
                seat.last_seen = now;
                seat.joining = Some(caller);
                seat.pending = false;
            }
            GroupRequest::Sync(request) => {
                let code = self.check(&request.member_id, request.generation_id);
                if code != ErrorCode::None {
                    return self.outbox.push((caller, sync(code, Bytes::new())));
                }
                match self.phase {
                    Phase::Joining { .. } => {
                        self.outbox.push((caller, sync(ErrorCode::RebalanceInProgress, Bytes::new())));
                    }
                    Phase::Stable => {
                        let assignment = self.seats[&request.member_id].assignment.clone();
                        self.outbox.push((caller, sync(ErrorCode::None, assignment)));
                    }
                    Phase::Syncing => {
                        self.seats.get_mut(&request.member_id).unwrap().syncing = Some(caller);
                        if request.member_id == self.leader {
                            for one in request.assignments {
                                if let Some(seat) = self.seats.get_mut(&one.member_id) {
                                    seat.assignment = one.assignment;
                                }
                            }
                            self.phase = Phase::Stable;
                            for seat in self.seats.values_mut() {
                                if let Some(caller) = seat.syncing.take() {
                                    self.outbox.push((caller, sync(ErrorCode::None, seat.assignment.clone())));
                                }
                            }
                        }
                    }
                }
            }
            GroupRequest::Heartbeat(request) => {
                let mut code = self.check(&request.member_id, request.generation_id);
                if code == ErrorCode::None && matches!(self.phase, Phase::Joining { .. }) {
                    code = ErrorCode::RebalanceInProgress;
                }
                let response = HeartbeatResponse { error_code: code.code(), ..Default::default() };
                self.outbox.push((caller, GroupResponse::Heartbeat(response)));
            }
            GroupRequest::Leave(request) => {
                if self.seats.remove(&request.members[0].member_id).is_some() {
                    self.rebalance(now);
                }
                self.outbox.push((caller, GroupResponse::Leave(LeaveGroupResponse::default())));
            }
        }
        self.advance(now);
    }

    fn check(&self, member: &str, generation: i32) -> ErrorCode {
        match self.seats.get(member) {
            None => ErrorCode::UnknownMemberId,
            Some(_) if generation != self.generation => ErrorCode::IllegalGeneration,
            Some(_) => ErrorCode::None,
        }
    }

    fn advance(&mut self, now: Instant) {
        let members = |seats: &BTreeMap<String, Seat>| seats.values().filter(|seat| !seat.pending).count();
        let before = members(&self.seats);
        self.seats.retain(|_, seat| seat.joining.is_some() || now < seat.last_seen + SESSION);
        if members(&self.seats) < before {
            self.rebalance(now);
        }
        let Phase::Joining { until } = self.phase else { return };
        if self.seats.values().any(|seat| seat.joining.is_none()) && now < until {
            return;
        }
        self.seats.retain(|_, seat| seat.joining.is_some() || seat.pending);
        let Some(leader) = self.seats.iter().find(|(_, seat)| !seat.pending).map(|(id, _)| id.clone()) else {
            self.phase = Phase::Stable;
            return;
        };
        self.generation += 1;
        self.leader = leader.clone();
        self.phase = Phase::Syncing;
        let members: Vec<JoinGroupResponseMember> = self
            .seats
            .iter()
            .filter(|(_, seat)| !seat.pending)
            .map(|(id, _)| JoinGroupResponseMember { member_id: id.clone(), ..Default::default() })
            .collect();
        for (id, seat) in self.seats.iter_mut().filter(|(_, seat)| !seat.pending) {
            seat.last_seen = now;
            seat.assignment = Bytes::new();
            let response = JoinGroupResponse {
                generation_id: self.generation,
                protocol_type: Some("consumer".into()),
                protocol_name: Some("range".into()),
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

fn sync(code: ErrorCode, assignment: Bytes) -> GroupResponse {
    GroupResponse::Sync(SyncGroupResponse {
        error_code: code.code(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignment,
        ..Default::default()
    })
}

/// A member with what it owns: the generation and number of its assignment.
struct Simulated {
    member: ClassicMembership,
    owned: Option<(i32, u8)>,
    next_poll: Instant,
    present: bool,
}

enum Event {
    Request(Caller, GroupRequest),
    Response(Caller, Result<GroupResponse, ClientError>),
}

struct Simulation {
    random: fastrand::Rng,
    now: Instant,
    network: Vec<(Instant, Event)>,
    coordinator: Coordinator,
    members: Vec<Simulated>,
    /// Of a thousand messages, so many are lost.
    loss: u32,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let now = Instant::now();
        let count = random.usize(1..5);
        let settings = MembershipConfig {
            session_timeout: SESSION,
            heartbeat_interval: Duration::from_millis(500),
            rebalance_timeout: Duration::from_secs(20),
            ..config()
        };
        let members = (0..count)
            .map(|_| Simulated {
                member: ClassicMembership::new(settings.clone(), now),
                owned: None,
                next_poll: now,
                present: true,
            })
            .collect();
        Self { loss: random.u32(0..200), random, now, network: Vec::new(), coordinator: Coordinator::new(), members }
    }

    fn send(&mut self, event: Event) {
        let delay = Duration::from_millis(self.random.u64(0..300));
        let lost = self.random.u32(0..1000) < self.loss;
        match event {
            // The caller notices a lost message by its timeout.
            Event::Request(caller, _) | Event::Response(caller, Ok(_)) if lost => {
                let error = ClientError::timeout("simulated", Duration::from_secs(1));
                self.network.push((self.now + Duration::from_secs(1), Event::Response(caller, Err(error))));
            }
            Event::Request(caller, request) => {
                if self.random.u32(0..1000) < self.loss / 4 {
                    let again = self.now + delay * 3;
                    self.network.push((again, Event::Request(caller, request.clone())));
                }
                self.network.push((self.now + delay, Event::Request(caller, request)));
            }
            response => self.network.push((self.now + delay, response)),
        }
    }

    fn step(&mut self) {
        self.now += TICK;
        let (due, later): (Vec<_>, Vec<_>) = self.network.drain(..).partition(|(at, _)| *at <= self.now);
        self.network = later;
        for (_, event) in due {
            match event {
                Event::Request(caller, request) => {
                    if let GroupRequest::Heartbeat(beat) = &request
                        && let Some(seat) = self.coordinator.seats.get_mut(&beat.member_id)
                    {
                        seat.last_seen = self.now;
                    }
                    self.coordinator.handle(self.now, caller, request);
                }
                Event::Response((at, token), answer) => self.members[at].member.on_response(self.now, token, answer),
            }
        }
        self.coordinator.advance(self.now);
        for (caller, response) in std::mem::take(&mut self.coordinator.outbox) {
            self.send(Event::Response(caller, Ok(response)));
        }
        for at in 0..self.members.len() {
            self.step_member(at);
        }
        self.check();
    }

    fn step_member(&mut self, at: usize) {
        let now = self.now;
        let simulated = &mut self.members[at];
        simulated.member.tick(now);
        if simulated.present && simulated.next_poll <= now {
            simulated.next_poll = now + Duration::from_millis(self.random.u64(10..400));
            simulated.member.polled(now);
            for _ in 0..4 {
                match simulated.member.next_step(now) {
                    Step::Wait | Step::Stable => break,
                    Step::Prepare { .. } => {
                        simulated.owned = None;
                        simulated.member.prepared();
                    }
                    Step::Join => simulated.member.start_join(vec![("range".into(), Bytes::new())]),
                    Step::Assign { members, .. } => {
                        let lists = members.iter().zip(1u8..);
                        let lists = lists.map(|(m, n)| (m.member_id.clone(), Bytes::copy_from_slice(&[n])));
                        simulated.member.assigned(lists.collect());
                    }
                    Step::Complete { generation, assignment } => {
                        simulated.owned = assignment.first().map(|&n| (generation.id, n));
                    }
                    Step::Fail(error) => panic!("{error}"),
                }
            }
        }
        let mut requests = Vec::new();
        while let Some((token, request)) = simulated.member.poll_request() {
            requests.push(Event::Request((at, token), request));
        }
        for request in requests {
            self.send(request);
        }
    }

    /// Nobody shares what it owns with another member of the same generation.
    fn check(&self) {
        let mut seen = BTreeSet::new();
        for owned in self.members.iter().filter(|m| m.present).filter_map(|m| m.owned) {
            assert!(seen.insert(owned), "two members own {owned:?}");
        }
    }

    fn at_rest(&self) -> bool {
        let present: Vec<&Simulated> = self.members.iter().filter(|m| m.present).collect();
        self.coordinator.phase == Phase::Stable
            && self.coordinator.seats.len() == present.len()
            && present.iter().all(|m| {
                !m.member.rejoin_needed()
                    && m.owned.is_some_and(|(generation, _)| generation == self.coordinator.generation)
            })
    }
}

fn run(seed: u64) {
    let mut simulation = Simulation::new(seed);
    for _ in 0..simulation.random.u32(100..1500) {
        simulation.step();
        // Now and then an application stops to poll for a while, or a member leaves.
        let at = simulation.random.usize(0..simulation.members.len());
        match simulation.random.u32(0..600) {
            0 => simulation.members[at].next_poll = simulation.now + Duration::from_secs(25),
            1 if simulation.members.len() > 1 => {
                simulation.members[at].member.leave("simulated");
                simulation.members[at].owned = None;
            }
            _ => {}
        }
    }
    simulation.loss = 0;
    let healed = simulation.now;
    while !simulation.at_rest() {
        simulation.step();
        let waited = simulation.now - healed;
        assert!(waited < Duration::from_secs(120), "the group does not come to rest: {:?}", simulation.coordinator);
    }
}

#[test]
fn a_group_comes_to_rest_whatever_the_network_does() {
    for seed in 0..300 {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "failed with seed {seed}");
    }
}
