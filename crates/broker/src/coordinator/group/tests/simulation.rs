//! Random schedules, by seed: members come, work, go and die; requests and answers are lost and repeated; the
//! coordinator stops at any moment and starts again from its log.
//!
//! After every step:
//! - no partition has two owners in one generation of a group;
//! - generations in the log only grow;
//! - what was committed is what is fetched, neither more nor less;
//! - a second shard that only replays the log is in the same state.
//!
//! At the end nothing is lost any more, and every group has to come to rest with all partitions given to those who
//! are there. A failure prints its seed; `VLTAVA_SEED=n` runs that one.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use vltava_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest,
    SyncGroupResponse,
};

use super::harness::{START_MS, caller, commit_topic, join_request, replay_all, replay_one};
use crate::coordinator::group::kind::Group;
use crate::coordinator::group::records::CoordinatorRecord;
use crate::coordinator::group::shard::GroupReply;
use crate::coordinator::group::{GroupCoordinatorConfig, GroupCoordinatorShard};
use crate::coordinator::record::RecordBytes;
use crate::coordinator::shard::{Now, ReplyToken, Shard};

const PARTITIONS: i32 = 7;
const CLIENTS: usize = 7;
const GROUPS: [&str; 2] = ["alpha", "beta"];
const STEPS: usize = 400;
const SEEDS: u64 = 40;

#[test]
fn no_schedule_breaks_the_coordinator() {
    let seeds = match std::env::var("VLTAVA_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..SEEDS,
    };
    for seed in seeds {
        let run = std::panic::catch_unwind(|| Simulation::new(seed).run());
        if let Err(panic) = run {
            eprintln_seed(seed);
            std::panic::resume_unwind(panic);
        }
    }
}

#[allow(clippy::print_stderr)]
fn eprintln_seed(seed: u64) {
    eprintln!("the schedule of VLTAVA_SEED={seed} fails");
}

/// What a client does next.
#[derive(Clone, Debug, PartialEq)]
enum Phase {
    /// Has to join.
    Out,
    /// Has to ask for its assignment, and gives it if it leads.
    Joined { assign_to: Vec<String> },
    /// Has its assignment.
    Working,
    /// The process is gone.
    Dead,
}

#[derive(Clone, Debug)]
struct Client {
    group: &'static str,
    instance: Option<String>,
    version: i16,
    member_id: String,
    generation: i32,
    owned: Vec<i32>,
    phase: Phase,
    waiting: Option<ReplyToken>,
}

/// Who a parked request is from.
#[derive(Clone, Debug)]
struct Asked {
    group: &'static str,
    owner: String,
    generation: i32,
}

struct Simulation {
    random: fastrand::Rng,
    config: Arc<GroupCoordinatorConfig>,
    shard: GroupCoordinatorShard,
    follower: GroupCoordinatorShard,
    now: Now,
    log: Vec<RecordBytes>,
    clients: Vec<Client>,
    asked: BTreeMap<ReplyToken, Asked>,
    joins: BTreeMap<ReplyToken, JoinGroupResponse>,
    syncs: BTreeMap<ReplyToken, SyncGroupResponse>,
    next_token: u64,
    /// By group, how often it was removed, and generation: who owns a partition.
    owners: BTreeMap<(String, usize, i32, i32), String>,
    generations: BTreeMap<String, (usize, i32)>,
    committed: BTreeMap<(String, i32), i64>,
    next_offset: i64,
    is_reliable: bool,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let config = Arc::new(GroupCoordinatorConfig {
            initial_rebalance_delay_ms: if random.bool() { 0 } else { 3_000 },
            max_size: if random.u8(..4) == 0 { 3 } else { 100 },
            ..GroupCoordinatorConfig::default()
        });
        let client = |index: usize| Client {
            group: GROUPS[index % 2],
            instance: index.is_multiple_of(3).then(|| format!("instance-{index}")),
            version: [0, 3, 5, 8, 9, 9, 9][index],
            member_id: String::new(),
            generation: -1,
            owned: Vec::new(),
            phase: Phase::Out,
            waiting: None,
        };
        let mut clients: Vec<_> = (0..CLIENTS).map(client).collect();
        for client in &mut clients {
            if client.version < 5 {
                client.instance = None;
            }
        }
        let now = Now { elapsed_ms: 0, timestamp_ms: START_MS };
        let mut shard = GroupCoordinatorShard::new(&config, seed);
        shard.loaded(now);
        Self {
            random,
            follower: GroupCoordinatorShard::new(&config, 0),
            config,
            shard,
            now,
            log: Vec::new(),
            clients,
            asked: BTreeMap::new(),
            joins: BTreeMap::new(),
            syncs: BTreeMap::new(),
            next_token: 0,
            owners: BTreeMap::new(),
            generations: BTreeMap::new(),
            committed: BTreeMap::new(),
            next_offset: 0,
            is_reliable: false,
        }
    }

    fn run(mut self) {
        for _ in 0..STEPS {
            self.step();
            self.check();
        }
        self.come_to_rest();
    }

    fn chance(&mut self, one_in: u32) -> bool {
        !self.is_reliable && self.random.u32(..one_in) == 0
    }

    fn step(&mut self) {
        match self.random.u32(..100) {
            0..2 => self.restart(),
            2..6 => {
                let index = self.random.usize(..CLIENTS);
                self.kill_or_revive(index);
            }
            6..26 => {
                let ms = self.random.i64(1..8_000);
                self.advance(ms);
            }
            _ => {
                let index = self.random.usize(..CLIENTS);
                self.act(index);
            }
        }
    }

    /// A process dies without a word, or one takes its place that knows nothing.
    fn kill_or_revive(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.phase = if client.phase == Phase::Dead { Phase::Out } else { Phase::Dead };
        client.member_id.clear();
        client.waiting = None;
        client.owned.clear();
    }

    /// The coordinator stops and starts again. Whoever waits, waits in vain.
    fn restart(&mut self) {
        self.shard = GroupCoordinatorShard::new(&self.config, self.next_token);
        replay_all(&mut self.shard, &self.log);
        self.joins.clear();
        self.syncs.clear();
        self.asked.clear();
        for client in &mut self.clients {
            client.waiting = None;
        }
        self.shard.loaded(self.now);
        self.flush();
    }

    fn advance(&mut self, ms: i64) {
        let end = self.now.elapsed_ms + ms;
        while let Some(deadline) = self.shard.next_deadline().filter(|deadline| *deadline <= end) {
            let elapsed_ms = deadline.max(self.now.elapsed_ms);
            self.now = Now { elapsed_ms, timestamp_ms: START_MS + elapsed_ms };
            self.shard.expire(self.now);
            self.flush();
            self.check();
        }
        self.now = Now { elapsed_ms: end, timestamp_ms: START_MS + end };
    }

    /// Does with the output what the service does; a crash at this point loses the records or only the answers.
    fn flush(&mut self) -> bool {
        let output = self.shard.take_output();
        if self.chance(150) {
            self.restart();
            return false;
        }
        for record in output.records {
            replay_one(&mut self.follower, self.log.len() as i64, &record);
            self.note_record(&record);
            self.log.push(record);
        }
        if self.chance(150) {
            self.restart();
            return true;
        }
        for (token, reply) in output.replies {
            match reply {
                GroupReply::Join(response) => {
                    self.joins.insert(token, response);
                }
                GroupReply::Sync(response) => {
                    self.note_assignment(token, &response);
                    self.syncs.insert(token, response);
                }
            }
        }
        true
    }

    /// Generations in the log only grow, until the group is removed.
    fn note_record(&mut self, record: &RecordBytes) {
        let decoded = CoordinatorRecord::decode(record.key.clone(), record.value.clone()).unwrap().unwrap();
        if let CoordinatorRecord::GroupMetadata { key, value } = decoded {
            let (removals, generation) = self.generations.entry(key.group).or_default();
            match value {
                None => {
                    *removals += 1;
                    *generation = 0;
                }
                Some(value) => {
                    assert!(value.generation >= *generation, "{value:?} after generation {generation}");
                    *generation = value.generation;
                }
            }
        }
    }

    /// No partition has two owners in one generation.
    fn note_assignment(&mut self, token: ReplyToken, response: &SyncGroupResponse) {
        let Some(asked) = self.asked.get(&token) else { return };
        if response.error_code != 0 {
            return;
        }
        let removals = self.generations.get(asked.group).map_or(0, |(removals, _)| *removals);
        for partition in response.assignment.iter() {
            let key = (asked.group.to_owned(), removals, asked.generation, i32::from(*partition));
            let owner = self.owners.entry(key.clone()).or_insert_with(|| asked.owner.clone());
            assert_eq!(*owner, asked.owner, "{key:?} has two owners");
        }
    }

    fn token(&mut self) -> ReplyToken {
        self.next_token += 1;
        ReplyToken(self.next_token)
    }

    fn act(&mut self, index: usize) {
        if let Some(token) = self.clients[index].waiting {
            return self.look_for_answer(index, token);
        }
        match self.clients[index].phase.clone() {
            Phase::Dead => {}
            Phase::Out => self.send_join(index),
            Phase::Joined { assign_to } => self.send_sync(index, &assign_to),
            Phase::Working => match self.random.u32(..10) {
                0 if !self.is_reliable => self.send_leave(index),
                1..5 => self.send_commit(index),
                _ => self.send_heartbeat(index),
            },
        }
    }

    fn look_for_answer(&mut self, index: usize, token: ReplyToken) {
        // The client may give up, or its connection break: it asks again.
        if self.chance(12) {
            self.clients[index].waiting = None;
            return;
        }
        if let Some(response) = self.joins.remove(&token) {
            self.clients[index].waiting = None;
            self.on_join(index, response);
        } else if let Some(response) = self.syncs.remove(&token) {
            self.clients[index].waiting = None;
            self.on_sync(index, response);
        }
    }

    fn send_join(&mut self, index: usize) {
        let client = self.clients[index].clone();
        let request = JoinGroupRequest {
            group_id: client.group.into(),
            group_instance_id: client.instance.clone(),
            rebalance_timeout_ms: 20_000,
            ..join_request(&client.member_id)
        };
        if self.chance(15) {
            return;
        }
        for _ in 0..if self.chance(15) { 2 } else { 1 } {
            let token = self.token();
            self.clients[index].waiting = Some(token);
            self.shard.join_group(self.now, &caller(client.version), request.clone(), token);
            if !self.flush() {
                return;
            }
        }
    }

    fn on_join(&mut self, index: usize, response: JoinGroupResponse) {
        let client = &mut self.clients[index];
        match ErrorCode::from(response.error_code) {
            ErrorCode::None => {
                client.member_id = response.member_id.clone();
                client.generation = response.generation_id;
                let leads = response.leader == response.member_id && !response.skip_assignment;
                let members = response.members.into_iter().map(|member| member.member_id);
                client.phase = Phase::Joined { assign_to: if leads { members.collect() } else { Vec::new() } };
            }
            ErrorCode::MemberIdRequired => client.member_id = response.member_id,
            ErrorCode::FencedInstanceId => client.phase = Phase::Dead,
            ErrorCode::RebalanceInProgress => {}
            ErrorCode::UnknownMemberId | ErrorCode::GroupMaxSizeReached => client.member_id.clear(),
            error => panic!("a join is not answered by {error:?}"),
        }
    }

    fn send_sync(&mut self, index: usize, assign_to: &[String]) {
        let client = self.clients[index].clone();
        let assignment = |(position, member): (usize, &String)| SyncGroupRequestAssignment {
            member_id: member.clone(),
            assignment: (0..PARTITIONS)
                .filter(|partition| *partition as usize % assign_to.len() == position)
                .map(|partition| partition as u8)
                .collect::<Bytes>(),
            ..SyncGroupRequestAssignment::default()
        };
        let request = SyncGroupRequest {
            group_id: client.group.into(),
            generation_id: client.generation,
            member_id: client.member_id.clone(),
            group_instance_id: client.instance.clone(),
            assignments: assign_to.iter().enumerate().map(assignment).collect(),
            ..SyncGroupRequest::default()
        };
        if self.chance(15) {
            return;
        }
        for _ in 0..if self.chance(15) { 2 } else { 1 } {
            let token = self.token();
            let owner = client.instance.clone().unwrap_or_else(|| client.member_id.clone());
            self.asked.insert(token, Asked { group: client.group, owner, generation: client.generation });
            self.clients[index].waiting = Some(token);
            self.shard.sync_group(self.now, request.clone(), token);
            if !self.flush() {
                return;
            }
        }
    }

    fn on_sync(&mut self, index: usize, response: SyncGroupResponse) {
        let error = ErrorCode::from(response.error_code);
        if error == ErrorCode::None {
            let client = &mut self.clients[index];
            client.owned = response.assignment.iter().copied().map(i32::from).collect();
            client.phase = Phase::Working;
        } else {
            self.on_error(index, error);
        }
    }

    fn on_error(&mut self, index: usize, error: ErrorCode) {
        let client = &mut self.clients[index];
        match error {
            ErrorCode::None => return,
            ErrorCode::RebalanceInProgress => {}
            ErrorCode::FencedInstanceId => client.phase = Phase::Dead,
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration | ErrorCode::GroupIdNotFound => {
                client.member_id.clear();
            }
            error => panic!("a member is not answered by {error:?}"),
        }
        if client.phase != Phase::Dead {
            client.phase = Phase::Out;
        }
        client.owned.clear();
    }

    fn send_heartbeat(&mut self, index: usize) {
        let client = self.clients[index].clone();
        let request = HeartbeatRequest {
            group_id: client.group.into(),
            generation_id: client.generation,
            member_id: client.member_id,
            group_instance_id: client.instance,
            ..HeartbeatRequest::default()
        };
        if self.chance(15) {
            return;
        }
        let result = self.shard.heartbeat(self.now, &request);
        if self.flush() && !self.chance(15) {
            self.on_error(index, result.err().unwrap_or(ErrorCode::None));
        }
    }

    fn send_commit(&mut self, index: usize) {
        let client = self.clients[index].clone();
        let Some(partition) = self.random.choice(client.owned.iter().copied()) else { return };
        self.next_offset += 1;
        let offset = self.next_offset;
        let request = OffsetCommitRequest {
            group_id: client.group.into(),
            generation_id_or_member_epoch: client.generation,
            member_id: client.member_id,
            group_instance_id: client.instance,
            topics: vec![commit_topic("t", partition, offset)],
            ..OffsetCommitRequest::default()
        };
        if self.chance(15) {
            return;
        }
        let result = self.shard.commit_offsets(self.now, &caller(9), request);
        let is_in_log = self.flush();
        if result.is_ok() && is_in_log {
            self.committed.insert((client.group.into(), partition), offset);
        }
        if is_in_log && !self.chance(15) {
            self.on_error(index, result.err().unwrap_or(ErrorCode::None));
        }
    }

    fn send_leave(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let mut request = LeaveGroupRequest { group_id: client.group.into(), ..LeaveGroupRequest::default() };
        request.members.push(vltava_protocol::messages::leave_group_request::MemberIdentity {
            member_id: client.member_id.clone(),
            group_instance_id: client.instance.clone(),
            ..Default::default()
        });
        client.phase = Phase::Out;
        client.member_id.clear();
        client.owned.clear();
        self.shard.leave_group(self.now, request).unwrap();
        self.flush();
    }

    fn check(&mut self) {
        let committed: BTreeMap<_, _> = self
            .shard
            .offsets
            .iter()
            .map(|(group, _, partition, offset)| ((group.to_owned(), partition), offset.offset))
            .collect();
        assert_eq!(committed, self.committed, "what was committed is not what is there");
        let replayed: Vec<_> = self.follower.offsets.iter().collect();
        assert_eq!(self.shard.offsets.iter().collect::<Vec<_>>(), replayed);
        assert!(self.shard.groups.keys().eq(self.follower.groups.keys()), "a replay gives other groups");
        for group in GROUPS {
            let (ours, replayed) = (self.shard.describe_group(6, group), self.follower.describe_group(6, group));
            if matches!(ours.group_state.as_str(), "Stable" | "Empty") {
                assert_eq!(ours, replayed, "a replay gives another group");
                let generation = |shard: &GroupCoordinatorShard| match shard.groups.get(group) {
                    Some(Group::Classic(group)) => Some(group.generation_id),
                    _ => None,
                };
                assert_eq!(generation(&self.shard), generation(&self.follower));
            }
        }
    }

    /// With everything working again, all partitions of every group are given out, to clients that are there.
    fn come_to_rest(&mut self) {
        self.is_reliable = true;
        for index in 0..CLIENTS {
            if self.clients[index].phase == Phase::Dead {
                self.kill_or_revive(index);
            }
        }
        for _ in 0..400 {
            for index in 0..CLIENTS {
                self.act(index);
                self.check();
            }
            self.advance(500);
        }
        for group in GROUPS {
            let working: Vec<_> =
                self.clients.iter().filter(|it| it.group == group && it.phase == Phase::Working).collect();
            let expected = self.config.max_size.min(self.clients.iter().filter(|it| it.group == group).count());
            assert_eq!(working.len(), expected, "{group}: {:#?}", self.clients);
            let mut owned: Vec<_> = working.iter().flat_map(|client| client.owned.iter().copied()).collect();
            owned.sort_unstable();
            assert_eq!(owned, (0..PARTITIONS).collect::<Vec<_>>(), "{group}: every partition has one owner");
        }
    }
}
