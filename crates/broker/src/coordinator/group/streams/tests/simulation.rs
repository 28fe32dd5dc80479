//! Random schedules of streams groups: no task is active twice, no process has a task in two roles, and at the end all tasks and
//! standbys are given out evenly.

use super::*;
use crate::coordinator::group::streams::tasks::OwnedTasks;
use crate::coordinator::group::tests::schedule::{self, Schedule};

struct AllTasks {
    partitions: i32,
}

#[test]
fn no_schedule_gives_a_task_twice() {
    schedule::run::<AllTasks>();
}

impl Schedule for AllTasks {
    type Process = Client;

    const CLIENTS: usize = 6;

    fn new(seed: u64) -> (Self, Harness, TopicTable) {
        let harness = harness(|config| {
            config.num_standby_replicas = i32::try_from(seed % 3).unwrap();
            config.initial_rebalance_delay_ms = if seed.is_multiple_of(2) { 0 } else { 3_000 };
        });
        (Self { partitions: 4 }, harness, all_topics(4))
    }

    /// Two neighbours are of one process.
    fn start(index: usize, name: &str) -> Client {
        Client::new(name, &format!("process-{}", index / 2))
    }

    fn change_topics(&mut self, random: &mut fastrand::Rng, topics: &mut TopicTable) {
        match random.u8(..3) {
            0 => {
                self.partitions = random.i32(1..8);
                for topic in ["in", "repartition", "changelog"] {
                    topics.set(topic, Some(self.partitions));
                }
            }
            // For a while there is no changelog.
            1 => topics.set("changelog", None),
            _ => topics.set("changelog", Some(self.partitions)),
        }
    }

    fn request(_index: usize, client: &Client, random: &mut fastrand::Rng) -> StreamsGroupHeartbeatRequest {
        let mut request = client.request();
        // Mostly a heartbeat says only what it has to.
        if client.epoch > 0 && random.bool() {
            (request.active_tasks, request.standby_tasks, request.warmup_tasks) = (None, None, None);
        }
        request
    }

    fn goodbye(client: &Client, _random: &mut fastrand::Rng) -> StreamsGroupHeartbeatRequest {
        StreamsGroupHeartbeatRequest { member_epoch: -1, topology: None, ..client.request() }
    }

    fn send(
        harness: &mut Harness,
        topics: &TopicTable,
        request: &StreamsGroupHeartbeatRequest,
    ) -> Result<StreamsGroupHeartbeatResponse, Refused> {
        send(harness, topics, request)
    }

    fn check_replay(harness: &mut Harness) {
        if harness.shard.streams_group(GROUP).is_some() {
            assert_replay_is_equal(harness);
        }
    }

    fn check(harness: &Harness, clients: &[Option<Client>]) {
        let Some(group) = harness.shard.streams_group(GROUP) else { return };
        let mut active = BTreeMap::new();
        let mut of_process = BTreeMap::new();
        for member in group.members.values() {
            for owned in [&member.assigned, &member.pending_revocation] {
                for task in active_tasks(owned) {
                    let other = active.insert(task.clone(), member.id.clone());
                    assert_eq!(other, None, "{task:?} is also of {}", member.id);
                }
                for task in active_tasks(owned).into_iter().chain(text(&owned.standby)) {
                    let other = of_process.insert((member.wants.process_id.clone(), task.clone()), member.id.clone());
                    assert_eq!(other, None, "{task:?} is also of {} in {}", member.id, member.wants.process_id);
                }
            }
        }
        // What a live member believes to be active, the coordinator knows, unless the member is out and will be told so.
        for client in clients.iter().flatten() {
            let is_known = group
                .members
                .get(client.id.as_str())
                .is_some_and(|member| member.epoch == client.epoch || member.previous_epoch == client.epoch);
            for task in client.tasks().into_iter().filter(|_| is_known && client.epoch > 0) {
                assert_eq!(active.get(&task).map(|owner| &**owner), Some(client.id.as_str()), "{task}");
            }
        }
    }

    fn prepare_rest(&self, topics: &mut TopicTable) {
        topics.set("changelog", Some(self.partitions));
    }

    fn check_at_rest(&self, harness: &Harness, _topics: &TopicTable, clients: &[Client]) {
        let group = harness.shard.describe_streams_group(GROUP);
        assert_eq!((group.group_state.as_str(), group.members.len()), ("Stable", clients.len()));
        let all: Vec<String> = clients.iter().flat_map(Client::tasks).collect();
        let wanted = (0..self.partitions).flat_map(|it| [format!("0_{it}"), format!("1_{it}")]);
        assert_eq!(all.iter().collect::<BTreeSet<_>>(), wanted.collect::<BTreeSet<_>>().iter().collect());
        let total = usize::try_from(self.partitions).unwrap();
        assert_eq!(all.len(), 2 * total);
        let replicas = usize::try_from(harness.config.streams.num_standby_replicas).unwrap();
        let standbys = clients.iter().map(|client| text(&client.standby).len()).sum::<usize>();
        assert_eq!(standbys, total * replicas);
        let loads: Vec<usize> = clients.iter().map(|client| client.tasks().len()).collect();
        let share = (2 * total).div_ceil(clients.len());
        assert!(loads.iter().all(|load| *load <= share), "{loads:?} of at most {share}");
    }
}

fn active_tasks(owned: &OwnedTasks) -> Vec<String> {
    let of_subtopology = |(id, partitions): (&String, &BTreeMap<i32, i32>)| {
        partitions.keys().map(|partition| format!("{id}_{partition}")).collect::<Vec<_>>()
    };
    owned.active.iter().flat_map(of_subtopology).collect()
}
