//! Random schedules of streams groups, by seed, with lost messages and restarts.
//!
//! After every step no task is active twice, no process has a task in two roles, and a replay of the log gives the same
//! group. At the end everybody is heard of, and all tasks and standbys are given out evenly.

use super::*;
use crate::coordinator::group::streams::tasks::OwnedTasks;

const CLIENTS: usize = 6;
const STEPS: usize = 250;
const SEEDS: u64 = 40;

struct Simulation {
    random: fastrand::Rng,
    harness: Harness,
    topics: TopicTable,
    /// None for a member that is not there. Two neighbours are of one process.
    clients: Vec<Option<Client>>,
    next_id: usize,
    partitions: i32,
}

#[test]
fn no_schedule_gives_a_task_twice() {
    for seed in 0..SEEDS {
        let run = std::panic::catch_unwind(|| Simulation::new(seed).run());
        assert!(run.is_ok(), "the schedule of seed {seed} fails");
    }
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let delay_ms = if seed.is_multiple_of(2) { 0 } else { 3_000 };
        Self {
            random: fastrand::Rng::with_seed(seed),
            harness: harness(|config| {
                config.num_standby_replicas = i32::try_from(seed % 3).unwrap();
                config.initial_rebalance_delay_ms = delay_ms;
            }),
            topics: all_topics(4),
            clients: vec![None; CLIENTS],
            next_id: 0,
            partitions: 4,
        }
    }

    fn run(mut self) {
        for _ in 0..STEPS {
            self.step();
            self.check();
        }
        self.come_to_rest();
    }

    fn step(&mut self) {
        let index = self.random.usize(..CLIENTS);
        match self.random.u32(..100) {
            0..3 => {
                if self.harness.shard.streams_group(GROUP).is_some() {
                    assert_replay_is_equal(&mut self.harness);
                }
            }
            3..5 => {
                self.partitions = self.random.i32(1..8);
                for topic in ["in", "repartition", "changelog"] {
                    self.topics.set(topic, Some(self.partitions));
                }
            }
            // For a while there is no changelog.
            5..7 => self.topics.set("changelog", None),
            7..9 => self.topics.set("changelog", Some(self.partitions)),
            9..22 => {
                let ms = self.random.i64(1..4_000);
                self.harness.advance(ms);
            }
            22..26 => self.clients[index] = None,
            26..30 => self.leave(index),
            _ => self.beat(index),
        }
    }

    fn start(&mut self, index: usize) -> Client {
        self.next_id += 1;
        Client::new(&format!("member-{}", self.next_id), &format!("process-{}", index / 2))
    }

    fn beat(&mut self, index: usize) {
        let mut client = match self.clients[index].take() {
            Some(client) => client,
            None => self.start(index),
        };
        let mut request = client.request();
        // Mostly a heartbeat says only what it has to.
        if client.epoch > 0 && self.random.bool() {
            (request.active_tasks, request.standby_tasks, request.warmup_tasks) = (None, None, None);
        }
        let is_lost = self.random.u8(..10) == 0;
        match send(&mut self.harness, &self.topics, &request) {
            Ok(response) if !is_lost => client.follow(&response),
            Ok(_) => {}
            Err(_) => client.is_fenced(),
        }
        self.clients[index] = Some(client);
    }

    fn leave(&mut self, index: usize) {
        let Some(client) = self.clients[index].take() else { return };
        let request = StreamsGroupHeartbeatRequest { member_epoch: -1, topology: None, ..client.request() };
        // It may be out already.
        let _ = send(&mut self.harness, &self.topics, &request);
    }

    fn check(&self) {
        let Some(group) = self.harness.shard.streams_group(GROUP) else { return };
        let mut active = BTreeMap::new();
        let mut of_process = BTreeMap::new();
        for member in group.members.values() {
            for owned in [&member.assigned, &member.pending_revocation] {
                for task in active_tasks(owned) {
                    let other = active.insert(task.clone(), member.id.clone());
                    assert_eq!(other, None, "{task:?} is also of {}", member.id);
                }
                for task in active_tasks(owned).into_iter().chain(text(&owned.standby)) {
                    let other = of_process.insert((member.process_id.clone(), task.clone()), member.id.clone());
                    assert_eq!(other, None, "{task:?} is also of {} in {}", member.id, member.process_id);
                }
            }
        }
        // What a live member believes to be active, the coordinator knows, unless the member is out and will be told so.
        for client in self.clients.iter().flatten() {
            let is_known = group
                .members
                .get(client.id.as_str())
                .is_some_and(|member| member.epoch == client.epoch || member.previous_epoch == client.epoch);
            for task in client.tasks().into_iter().filter(|_| is_known && client.epoch > 0) {
                assert_eq!(active.get(&task).map(|owner| &**owner), Some(client.id.as_str()), "{task}");
            }
        }
    }

    fn come_to_rest(&mut self) {
        self.topics.set("changelog", Some(self.partitions));
        for round in 0..80 {
            for index in 0..CLIENTS {
                let mut client = match self.clients[index].take() {
                    Some(client) => client,
                    None => self.start(index),
                };
                match send(&mut self.harness, &self.topics, &client.request()) {
                    Ok(response) => client.follow(&response),
                    Err(_) => client.is_fenced(),
                }
                self.clients[index] = Some(client);
                self.check();
            }
            self.harness.advance(if round < 40 { 5_000 } else { 1_000 });
        }
        let group = self.harness.shard.describe_streams_group(GROUP);
        assert_eq!((group.group_state.as_str(), group.members.len()), ("Stable", CLIENTS));
        let all: Vec<String> = self.clients.iter().flatten().flat_map(Client::tasks).collect();
        let wanted = (0..self.partitions).flat_map(|it| [format!("0_{it}"), format!("1_{it}")]);
        assert_eq!(all.iter().collect::<BTreeSet<_>>(), wanted.collect::<BTreeSet<_>>().iter().collect());
        let total = usize::try_from(self.partitions).unwrap();
        assert_eq!(all.len(), 2 * total);
        let replicas = usize::try_from(self.harness.config.streams.num_standby_replicas).unwrap();
        let standbys = self.clients.iter().flatten().map(|client| text(&client.standby).len()).sum::<usize>();
        assert_eq!(standbys, total * replicas);
        let loads: Vec<usize> = self.clients.iter().flatten().map(|client| client.tasks().len()).collect();
        let share = (2 * total).div_ceil(CLIENTS);
        assert!(loads.iter().all(|load| *load <= share), "{loads:?} of at most {share}");
    }
}

fn active_tasks(owned: &OwnedTasks) -> Vec<String> {
    let of_subtopology = |(id, partitions): (&String, &BTreeMap<i32, i32>)| {
        partitions.keys().map(|partition| format!("{id}_{partition}")).collect::<Vec<_>>()
    };
    owned.active.iter().flat_map(of_subtopology).collect()
}
