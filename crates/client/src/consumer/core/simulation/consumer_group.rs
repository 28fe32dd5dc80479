//! A small model of a coordinator that assigns (KIP-848, KIP-1071): it gives a partition, or the task that reads it, to a member
//! only when nobody has it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use vltava_protocol::messages::streams_group_heartbeat_response::TaskIds;
use vltava_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, StreamsGroupHeartbeatRequest,
    StreamsGroupHeartbeatResponse,
};

use super::group::Caller;
use super::{SESSION, SUBTOPOLOGY, TOPIC_ID};
use crate::consumer::membership::{GroupRequest, GroupResponse};

const INTERVAL_MS: i32 = 500;

/// What a heartbeat says, under either protocol.
struct Beat {
    id: String,
    epoch: i32,
    held: Option<BTreeSet<i32>>,
    rebalance_timeout_ms: i32,
    /// The answer has to tell the assignment, whether or not it has changed.
    asks: bool,
}

impl Beat {
    fn of_consumer(request: ConsumerGroupHeartbeatRequest) -> Self {
        let ConsumerGroupHeartbeatRequest { member_id: id, member_epoch: epoch, rebalance_timeout_ms, .. } = request;
        let held = request.topic_partitions;
        let held: Option<BTreeSet<i32>> =
            held.map(|topics| topics.iter().flat_map(|topic| &topic.partitions).copied().collect());
        assert!(epoch != 0 || request.subscribed_topic_names.is_some(), "{id} joins without topics");
        let asks = rebalance_timeout_ms > 0 && held.is_some();
        Self { id, epoch, held, rebalance_timeout_ms, asks }
    }

    /// Kafka's coordinator tells tasks when they have changed, and to who joins.
    fn of_streams(request: StreamsGroupHeartbeatRequest) -> Self {
        let StreamsGroupHeartbeatRequest { member_id: id, member_epoch: epoch, rebalance_timeout_ms, .. } = request;
        let held = request.active_tasks;
        let held = held.map(|tasks| tasks.iter().flat_map(|tasks| &tasks.partitions).copied().collect());
        let all_or_none = [held.is_some(), request.standby_tasks.is_some(), request.warmup_tasks.is_some()];
        assert!(all_or_none.iter().all(|one| *one == held.is_some()), "{id} says what it has of some kinds");
        assert_eq!(epoch == 0, request.topology.is_some(), "who joins has a topology, and nobody else: {id}");
        Self { id, epoch, held, rebalance_timeout_ms, asks: false }
    }
}

/// What is told a member: its epoch, and what it is to have if that is told.
struct Told {
    epoch: i32,
    assigned: Option<BTreeSet<i32>>,
}

fn to_consumer(told: Result<Told, ErrorCode>) -> ConsumerGroupHeartbeatResponse {
    let Told { epoch, assigned } = match told {
        Ok(told) => told,
        Err(code) => return ConsumerGroupHeartbeatResponse { error_code: code.code(), ..Default::default() },
    };
    let topic = |partitions: BTreeSet<i32>| TopicPartitions {
        topic_id: TOPIC_ID,
        partitions: partitions.into_iter().collect(),
        ..Default::default()
    };
    let topics = |assigned: BTreeSet<i32>| Some(assigned).filter(|some| !some.is_empty()).map(topic);
    ConsumerGroupHeartbeatResponse {
        member_epoch: epoch,
        heartbeat_interval_ms: INTERVAL_MS,
        assignment: assigned.map(|assigned| Assignment {
            topic_partitions: topics(assigned).into_iter().collect(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn to_streams(told: Result<Told, ErrorCode>) -> StreamsGroupHeartbeatResponse {
    let Told { epoch, assigned } = match told {
        Ok(told) => told,
        Err(code) => return StreamsGroupHeartbeatResponse { error_code: code.code(), ..Default::default() },
    };
    let tasks = |assigned: BTreeSet<i32>| TaskIds {
        subtopology_id: SUBTOPOLOGY.into(),
        partitions: assigned.into_iter().collect(),
        ..Default::default()
    };
    let none = assigned.as_ref().map(|_| Vec::new());
    StreamsGroupHeartbeatResponse {
        member_epoch: epoch,
        heartbeat_interval_ms: INTERVAL_MS,
        status: Some(Vec::new()),
        active_tasks: assigned.map(|assigned| vec![tasks(assigned)]),
        standby_tasks: none.clone(),
        warmup_tasks: none,
        ..Default::default()
    }
}

#[derive(Debug, Default)]
struct Member {
    epoch: i32,
    previous_epoch: i32,
    last_seen: Option<Instant>,
    rebalance_timeout: Duration,
    assigned: BTreeSet<i32>,
    /// What it has to give up, until it says that it has.
    pending: BTreeSet<i32>,
    /// By when it has to.
    revokes_until: Option<Instant>,
    target: BTreeSet<i32>,
}

impl Member {
    fn advance(&mut self, epoch: i32) {
        self.previous_epoch = std::mem::replace(&mut self.epoch, epoch);
    }
}

#[derive(Debug)]
pub(super) struct ConsumerGroup {
    epoch: i32,
    partitions: i32,
    members: BTreeMap<String, Member>,
    outbox: Vec<(Caller, GroupResponse)>,
}

impl ConsumerGroup {
    pub(super) fn new(partitions: i32) -> Self {
        Self { epoch: 0, partitions, members: BTreeMap::new(), outbox: Vec::new() }
    }

    pub(super) fn take_answers(&mut self) -> Vec<(Caller, GroupResponse)> {
        std::mem::take(&mut self.outbox)
    }

    /// The epoch that `members` members have reached, if they all have.
    pub(super) fn epoch_at_rest(&self, members: usize) -> Option<i32> {
        let is_there = |member: &Member| member.epoch == self.epoch && member.assigned == member.target;
        (self.members.len() == members && self.members.values().all(is_there)).then_some(self.epoch)
    }

    /// What a member may hold, if the group knows it.
    pub(super) fn held_by(&self, id: &str) -> Option<BTreeSet<i32>> {
        let member = self.members.get(id)?;
        Some(member.assigned.union(&member.pending).copied().collect())
    }

    pub(super) fn handle(&mut self, now: Instant, caller: Caller, request: GroupRequest) {
        let answer = match request {
            GroupRequest::ConsumerHeartbeat(request) => {
                GroupResponse::ConsumerHeartbeat(to_consumer(self.heartbeat(now, &Beat::of_consumer(request))))
            }
            GroupRequest::StreamsHeartbeat(request) => {
                GroupResponse::StreamsHeartbeat(to_streams(self.heartbeat(now, &Beat::of_streams(*request))))
            }
            other => panic!("{other:?} of a member of another protocol"),
        };
        self.outbox.push((caller, answer));
        self.advance(now);
    }

    fn heartbeat(&mut self, now: Instant, beat: &Beat) -> Result<Told, ErrorCode> {
        let Beat { id, epoch, held, rebalance_timeout_ms, asks } = beat;
        if *epoch == -1 {
            self.members.remove(id).ok_or(ErrorCode::UnknownMemberId)?;
            self.rebalance();
            return Ok(Told { epoch: -1, assigned: None });
        }
        if *epoch == 0 {
            assert_eq!(*held, Some(BTreeSet::new()), "{id} joins with partitions");
            assert!(*rebalance_timeout_ms > 0, "{id} joins without a time-out");
            if !self.members.contains_key(id) {
                self.members.insert(id.clone(), Member::default());
                self.rebalance();
            }
        } else {
            let member = self.members.get(id).ok_or(ErrorCode::UnknownMemberId)?;
            let holds_its_own = held.as_ref().is_some_and(|held| held.is_subset(&member.assigned));
            let is_behind = *epoch == member.previous_epoch && holds_its_own;
            if *epoch != member.epoch && !is_behind {
                return Err(ErrorCode::FencedMemberEpoch);
            }
        }
        let before = self.members[id].assigned.clone();
        self.move_on(now, id, held.as_ref());
        let member = self.members.get_mut(id).ok_or(ErrorCode::UnknownMemberId)?;
        member.last_seen = Some(now);
        if *rebalance_timeout_ms > 0 {
            member.rebalance_timeout = Duration::from_millis(*rebalance_timeout_ms as u64);
        }
        let tells = *epoch == 0 || *asks || before != member.assigned;
        Ok(Told { epoch: member.epoch, assigned: tells.then(|| member.assigned.clone()) })
    }

    /// A member's next step towards its target.
    fn move_on(&mut self, now: Instant, id: &str, held: Option<&BTreeSet<i32>>) {
        let of_others: BTreeSet<i32> = self
            .members
            .iter()
            .filter(|(other, _)| *other != id)
            .flat_map(|(_, member)| member.assigned.union(&member.pending))
            .copied()
            .collect();
        let Some(member) = self.members.get_mut(id) else { return };
        // Who does not say what it holds may hold it.
        let holds_any = |some: &BTreeSet<i32>| !some.is_empty() && held.is_none_or(|held| !held.is_disjoint(some));
        if holds_any(&member.pending) {
            return;
        }
        let revoked: BTreeSet<i32> = member.assigned.difference(&member.target).copied().collect();
        member.assigned.retain(|partition| member.target.contains(partition));
        if holds_any(&revoked) {
            let epoch = member.epoch;
            member.advance(epoch);
            member.pending = revoked;
            member.revokes_until = Some(now + member.rebalance_timeout);
            return;
        }
        member.pending.clear();
        member.revokes_until = None;
        let free: BTreeSet<i32> = member.target.difference(&of_others).copied().collect();
        if member.epoch != self.epoch || !free.is_subset(&member.assigned) {
            member.assigned.extend(free);
            member.advance(self.epoch);
        }
    }

    /// Another target for everybody, in another epoch; what may stay does.
    fn rebalance(&mut self) {
        self.epoch += 1;
        let count = self.members.len().max(1);
        let most = (self.partitions as usize).div_ceil(count);
        let mut left: BTreeSet<i32> = (0..self.partitions).collect();
        for member in self.members.values_mut() {
            member.target = member.target.iter().copied().filter(|one| left.remove(one)).take(most).collect();
        }
        // What was taken off the list and not kept.
        let kept: BTreeSet<i32> = self.members.values().flat_map(|member| &member.target).copied().collect();
        let mut left: Vec<i32> = (0..self.partitions).filter(|one| !kept.contains(one)).collect();
        while let Some(partition) = left.pop() {
            let Some(poorest) = self.members.values_mut().min_by_key(|member| member.target.len()) else { return };
            poorest.target.insert(partition);
        }
    }

    /// Whether a member may commit in its epoch: no more than what is its own.
    pub(super) fn check_commit(&mut self, member: &str, epoch: i32, partitions: &BTreeSet<i32>) -> ErrorCode {
        match self.members.get(member) {
            None => ErrorCode::UnknownMemberId,
            Some(known) if known.epoch != epoch => ErrorCode::StaleMemberEpoch,
            Some(known) => {
                let is_own = |one: &i32| known.assigned.contains(one) || known.pending.contains(one);
                assert!(partitions.iter().all(is_own), "{member} commits {partitions:?} in epoch {epoch} of {known:?}");
                ErrorCode::None
            }
        }
    }

    pub(super) fn advance(&mut self, now: Instant) {
        let before = self.members.len();
        self.members.retain(|_, member| {
            let is_heard = member.last_seen.is_some_and(|at| now < at + SESSION);
            is_heard && member.revokes_until.is_none_or(|until| now < until)
        });
        if self.members.len() < before {
            self.rebalance();
        }
        let mut owners = BTreeMap::new();
        for (id, member) in &self.members {
            for partition in member.assigned.union(&member.pending) {
                let other = owners.insert(partition, id);
                assert_eq!(other, None, "the model gives {partition} to {id} too");
            }
        }
    }
}
