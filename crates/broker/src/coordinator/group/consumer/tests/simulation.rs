//! Random schedules of consumer groups, by seed, with lost messages and restarts.
//!
//! After every step no partition is held by two members, as the coordinator knows it and as the members do, and a
//! replay of the log gives the same group. At the end everybody is heard of, and all partitions are given out evenly.

use super::*;

const CLIENTS: usize = 5;
const STEPS: usize = 250;
const SEEDS: u64 = 40;

struct Simulation {
    random: fastrand::Rng,
    harness: Harness,
    topics: TopicTable,
    /// None for a process that is not there.
    clients: Vec<Option<Client>>,
    next_id: usize,
}

#[test]
fn no_schedule_gives_a_partition_twice() {
    for seed in 0..SEEDS {
        let run = std::panic::catch_unwind(|| Simulation::new(seed).run());
        assert!(run.is_ok(), "the schedule of seed {seed} fails");
    }
}

impl Simulation {
    fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            harness: Harness::new(),
            topics: TopicTable::new(&[("t", 6), ("u", 3)]),
            clients: vec![None; CLIENTS],
            next_id: 0,
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
                if self.harness.shard.consumer_group(GROUP).is_some() {
                    assert_replay_is_equal(&mut self.harness);
                }
            }
            3..6 => {
                let partitions = self.random.i32(1..9);
                self.topics.set(if self.random.bool() { "t" } else { "u" }, Some(partitions));
            }
            6..20 => {
                let ms = self.random.i64(1..4_000);
                self.harness.advance(ms);
            }
            20..24 => self.clients[index] = None,
            24..28 => self.leave(index),
            _ => self.beat(index),
        }
    }

    fn start(&mut self, index: usize) -> Client {
        self.next_id += 1;
        let name = format!("member-{}", self.next_id);
        if index == 0 { Client::fixed(&name, "fixed") } else { Client::new(&name) }
    }

    fn beat(&mut self, index: usize) {
        let mut client = match self.clients[index].take() {
            Some(client) => client,
            None => self.start(index),
        };
        let mut request = client.request();
        if index % 2 == 1 {
            request.subscribed_topic_names = Some(vec!["t".into(), "u".into()]);
        }
        // Mostly a heartbeat says only what it has to.
        if client.epoch > 0 && self.random.bool() {
            request.subscribed_topic_names = None;
            request.rebalance_timeout_ms = -1;
        }
        let is_lost = self.random.u8(..10) == 0;
        match send(&mut self.harness, &self.topics, &request) {
            Ok(response) if !is_lost => client.follow(&response),
            Ok(_) => {}
            Err(_) => {
                // Fenced: everything is given up, and the member comes again.
                client.epoch = 0;
                client.held.clear();
            }
        }
        self.clients[index] = Some(client);
    }

    fn leave(&mut self, index: usize) {
        let Some(client) = self.clients[index].take() else { return };
        let epoch = if client.instance.is_some() && self.random.bool() { -2 } else { -1 };
        let request = ConsumerGroupHeartbeatRequest { member_epoch: epoch, ..client.request() };
        // It may be out already.
        let _ = send(&mut self.harness, &self.topics, &request);
    }

    fn check(&mut self) {
        let Some(group) = self.harness.shard.consumer_group(GROUP) else { return };
        let mut owners = BTreeMap::new();
        for member in group.members.values() {
            for (topic, partitions) in member.assigned.iter().chain(&member.pending_revocation) {
                for partition in partitions.keys() {
                    let other = owners.insert((*topic, *partition), member.id.clone());
                    assert_eq!(other, None, "{topic:?}-{partition} is also of {}", member.id);
                }
            }
        }
        // What a live member believes to hold, the coordinator knows, unless the member is out and will be told so.
        for client in self.clients.iter().flatten() {
            let is_known = group
                .members
                .get(&id(&client.id))
                .is_some_and(|member| member.epoch == client.epoch || member.previous_epoch == client.epoch);
            for (topic, partitions) in client.held.iter().filter(|_| is_known) {
                for partition in partitions {
                    let owner = owners.get(&(*topic, *partition));
                    assert_eq!(owner.map(|owner| &**owner), Some(client.id.as_str()), "{topic:?}-{partition}");
                }
            }
        }
    }

    fn come_to_rest(&mut self) {
        for round in 0..60 {
            for index in 0..CLIENTS {
                let mut client = match self.clients[index].take() {
                    Some(client) => client,
                    None => self.start(index),
                };
                let mut request = client.request();
                request.subscribed_topic_names = Some(vec!["t".into(), "u".into()]);
                match send(&mut self.harness, &self.topics, &request) {
                    Ok(response) => client.follow(&response),
                    Err(_) => {
                        client.epoch = 0;
                        client.held.clear();
                    }
                }
                self.clients[index] = Some(client);
                self.check();
            }
            self.harness.advance(if round < 30 { 5_000 } else { 1_000 });
        }
        let group = self.harness.shard.describe_consumer_group(&self.topics, GROUP);
        assert_eq!((group.group_state.as_str(), group.members.len()), ("Stable", CLIENTS));
        let sizes: Vec<usize> =
            self.clients.iter().flatten().map(|client| client.held.values().map(BTreeSet::len).sum()).collect();
        let total: i32 = self.topics.topics.values().sum();
        assert_eq!(sizes.iter().sum::<usize>(), total as usize);
        assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
    }
}
