//! Random schedules of consumer groups: no partition is held by two members, as the coordinator knows it and as the members do,
//! and at the end all partitions are given out evenly.

use super::*;
use crate::coordinator::group::tests::schedule::{self, Schedule};

struct Partitions;

#[test]
fn no_schedule_gives_a_partition_twice() {
    schedule::run::<Partitions>();
}

impl Schedule for Partitions {
    type Process = Client;

    const CLIENTS: usize = 5;

    fn new(_seed: u64) -> (Self, Harness, TopicTable) {
        (Self, Harness::new(), TopicTable::new(&[("t", 6), ("u", 3)]))
    }

    fn start(index: usize, name: &str) -> Client {
        if index == 0 { Client::fixed(name, "fixed") } else { Client::new(name) }
    }

    fn change_topics(&mut self, random: &mut fastrand::Rng, topics: &mut TopicTable) {
        let partitions = random.i32(1..9);
        topics.set(if random.bool() { "t" } else { "u" }, Some(partitions));
    }

    fn request(index: usize, client: &Client, random: &mut fastrand::Rng) -> ConsumerGroupHeartbeatRequest {
        let mut request = if index % 2 == 1 { Self::request_at_rest(client) } else { client.request() };
        // Mostly a heartbeat says only what it has to.
        if client.epoch > 0 && random.bool() {
            request.subscribed_topic_names = None;
            request.rebalance_timeout_ms = -1;
        }
        request
    }

    fn request_at_rest(client: &Client) -> ConsumerGroupHeartbeatRequest {
        let subscribed_topic_names = Some(vec!["t".into(), "u".into()]);
        ConsumerGroupHeartbeatRequest { subscribed_topic_names, ..client.request() }
    }

    fn goodbye(client: &Client, random: &mut fastrand::Rng) -> ConsumerGroupHeartbeatRequest {
        let epoch = if client.instance.is_some() && random.bool() { -2 } else { -1 };
        ConsumerGroupHeartbeatRequest { member_epoch: epoch, ..client.request() }
    }

    fn send(
        harness: &mut Harness,
        topics: &TopicTable,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refused> {
        send(harness, topics, request)
    }

    fn check_replay(harness: &mut Harness) {
        if harness.shard.consumer_group(GROUP).is_some() {
            assert_replay_is_equal(harness);
        }
    }

    fn check(harness: &Harness, clients: &[Option<Client>]) {
        let Some(group) = harness.shard.consumer_group(GROUP) else { return };
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
        for client in clients.iter().flatten() {
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

    fn check_at_rest(&self, harness: &Harness, topics: &TopicTable, clients: &[Client]) {
        let group = harness.shard.describe_consumer_group(topics, GROUP);
        assert_eq!((group.group_state.as_str(), group.members.len()), ("Stable", clients.len()));
        let sizes: Vec<usize> = clients.iter().map(|client| client.held.values().map(BTreeSet::len).sum()).collect();
        let total: i32 = topics.topics.values().sum();
        assert_eq!(sizes.iter().sum::<usize>(), total as usize);
        assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
    }
}
