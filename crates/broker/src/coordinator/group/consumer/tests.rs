//! Consumer groups by heartbeats, with a clock that stands still.

mod offsets;
mod protocol;
mod simulation;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vltava_protocol::Uuid;
use vltava_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use vltava_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use crate::coordinator::group::shard::Refused;
use crate::coordinator::group::tests::harness::{GROUP, Harness, caller, topic_id};
use crate::coordinator::group::tests::schedule::Process;
use crate::coordinator::group::tests::topics::TopicTable;

/// A member as its process sees it.
#[derive(Clone, Debug)]
struct Client {
    id: String,
    instance: Option<String>,
    epoch: i32,
    held: BTreeMap<Uuid, BTreeSet<i32>>,
}

impl Client {
    fn new(id: &str) -> Self {
        Self { id: id.into(), instance: None, epoch: 0, held: BTreeMap::new() }
    }

    fn fixed(id: &str, instance: &str) -> Self {
        Self { instance: Some(instance.into()), ..Self::new(id) }
    }

    fn partitions(&self, topic: &str) -> Vec<i32> {
        self.held.get(&topic_id(topic)).into_iter().flatten().copied().collect()
    }
}

impl Process for Client {
    type Request = ConsumerGroupHeartbeatRequest;
    type Response = ConsumerGroupHeartbeatResponse;

    fn request(&self) -> ConsumerGroupHeartbeatRequest {
        let held = self.held.iter().map(|(topic, partitions)| TopicPartitions {
            topic_id: *topic,
            partitions: partitions.iter().copied().collect(),
            ..TopicPartitions::default()
        });
        ConsumerGroupHeartbeatRequest {
            group_id: GROUP.into(),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            instance_id: self.instance.clone(),
            rebalance_timeout_ms: 60_000,
            subscribed_topic_names: Some(vec!["t".into()]),
            topic_partitions: Some(held.collect()),
            ..ConsumerGroupHeartbeatRequest::default()
        }
    }

    fn follow(&mut self, response: &ConsumerGroupHeartbeatResponse) {
        self.epoch = response.member_epoch;
        if let Some(assignment) = &response.assignment {
            let topic = |topic: &vltava_protocol::messages::consumer_group_heartbeat_response::TopicPartitions| {
                (topic.topic_id, topic.partitions.iter().copied().collect())
            };
            self.held = assignment.topic_partitions.iter().map(topic).collect();
        }
    }

    fn is_fenced(&mut self) {
        self.epoch = 0;
        self.held.clear();
    }
}

fn send(
    harness: &mut Harness,
    topics: &TopicTable,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<ConsumerGroupHeartbeatResponse, Refused> {
    let result = harness.shard.consumer_group_heartbeat(harness.now, &caller(1), topics, request);
    harness.collect();
    result
}

/// Sends a heartbeat with all that the client has, and follows the answer.
fn beat(harness: &mut Harness, topics: &TopicTable, client: &mut Client) {
    let response = send(harness, topics, &client.request()).unwrap();
    client.follow(&response);
}

/// Lets everybody send heartbeats, a second apart, until nobody's partitions or epochs change any more.
fn settle(harness: &mut Harness, topics: &TopicTable, clients: &mut [Client]) {
    for _ in 0..20 {
        let before: Vec<_> = clients.iter().map(|client| (client.epoch, client.held.clone())).collect();
        for client in clients.iter_mut() {
            beat(harness, topics, client);
        }
        harness.advance(1_000);
        let is_at_rest = harness.shard.describe_consumer_group(topics, GROUP).group_state == "Stable";
        if is_at_rest && clients.iter().map(|client| (client.epoch, client.held.clone())).eq(before) {
            return;
        }
    }
    panic!("the group does not come to rest: {clients:#?}");
}

fn group_state(harness: &Harness) -> String {
    harness.shard.describe_consumer_group(&TopicTable::default(), GROUP).group_state
}

/// Checks that a restart gives the same group.
fn assert_replay_is_equal(harness: &mut Harness) {
    let mut before = harness.shard.consumer_group(GROUP).unwrap().clone();
    harness.restart();
    before.own.checked = None;
    assert_eq!(*harness.shard.consumer_group(GROUP).unwrap(), before);
}

fn id(text: &str) -> Arc<str> {
    text.into()
}
