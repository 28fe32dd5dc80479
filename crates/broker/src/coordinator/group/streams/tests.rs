//! Streams groups by heartbeats, with a clock that stands still.

mod commits;
mod golden;
mod kinds;
mod protocol;
mod simulation;
mod standbys;
mod topics;

use std::collections::{BTreeMap, BTreeSet};

use vltava_protocol::messages::streams_group_heartbeat_request::{Subtopology, TaskIds, TopicInfo, Topology};
use vltava_protocol::messages::streams_group_heartbeat_response::TaskIds as GivenIds;
use vltava_protocol::messages::{StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse};

use super::heartbeat::StreamsHeartbeat;
use crate::coordinator::group::shard::Refused;
use crate::coordinator::group::tests::harness::{GROUP, Harness, caller};
use crate::coordinator::group::tests::schedule::Process;
use crate::coordinator::group::tests::topics::TopicTable;
use crate::coordinator::group::{GroupCoordinatorConfig, StreamsGroupConfig};

/// The roles of a task, as a process holds them.
type Held = BTreeMap<String, BTreeSet<i32>>;

/// A member as its process sees it.
#[derive(Clone, Debug, PartialEq)]
struct Client {
    id: String,
    process: String,
    epoch: i32,
    active: Held,
    standby: Held,
}

impl Client {
    fn new(id: &str, process: &str) -> Self {
        Self { id: id.into(), process: process.into(), epoch: 0, active: Held::new(), standby: Held::new() }
    }

    /// The active tasks, as text.
    fn tasks(&self) -> Vec<String> {
        text(&self.active)
    }
}

impl Process for Client {
    type Request = StreamsGroupHeartbeatRequest;
    type Response = StreamsGroupHeartbeatResponse;

    fn request(&self) -> StreamsGroupHeartbeatRequest {
        let is_joining = self.epoch == 0;
        StreamsGroupHeartbeatRequest {
            group_id: GROUP.into(),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            rebalance_timeout_ms: if is_joining { 60_000 } else { -1 },
            topology: is_joining.then(topology),
            process_id: is_joining.then(|| self.process.clone()),
            active_tasks: Some(ids(&self.active)),
            standby_tasks: Some(ids(&self.standby)),
            warmup_tasks: Some(Vec::new()),
            ..StreamsGroupHeartbeatRequest::default()
        }
    }

    fn follow(&mut self, response: &StreamsGroupHeartbeatResponse) {
        self.epoch = response.member_epoch;
        if let Some(tasks) = &response.active_tasks {
            self.active = held(tasks);
        }
        if let Some(tasks) = &response.standby_tasks {
            self.standby = held(tasks);
        }
    }

    fn is_fenced(&mut self) {
        self.epoch = 0;
        self.active.clear();
        self.standby.clear();
    }
}

fn text(held: &Held) -> Vec<String> {
    held.iter()
        .flat_map(|(id, partitions)| partitions.iter().map(move |partition| format!("{id}_{partition}")))
        .collect()
}

fn ids(held: &Held) -> Vec<TaskIds> {
    let ids = held.iter().map(|(id, partitions)| TaskIds {
        subtopology_id: id.clone(),
        partitions: partitions.iter().copied().collect(),
        ..TaskIds::default()
    });
    ids.collect()
}

fn held(tasks: &[GivenIds]) -> Held {
    tasks.iter().map(|tasks| (tasks.subtopology_id.clone(), tasks.partitions.iter().copied().collect())).collect()
}

fn topic(name: &str) -> TopicInfo {
    TopicInfo { name: name.into(), ..TopicInfo::default() }
}

/// A count by another key: `in` → `repartition` → a store.
fn topology() -> Topology {
    let read = Subtopology {
        subtopology_id: "0".into(),
        source_topics: vec!["in".into()],
        repartition_sink_topics: vec!["repartition".into()],
        ..Subtopology::default()
    };
    let count = Subtopology {
        subtopology_id: "1".into(),
        repartition_source_topics: vec![topic("repartition")],
        state_changelog_topics: vec![topic("changelog")],
        ..Subtopology::default()
    };
    Topology { epoch: 0, subtopologies: vec![read, count], ..Topology::default() }
}

/// All topics of the topology, with this many partitions.
fn all_topics(partitions: i32) -> TopicTable {
    TopicTable::new(&[("in", partitions), ("repartition", partitions), ("changelog", partitions)])
}

/// A coordinator whose groups do not wait before their first assignment.
fn harness(change: impl FnOnce(&mut StreamsGroupConfig)) -> Harness {
    let mut config = GroupCoordinatorConfig::default();
    config.streams.initial_rebalance_delay_ms = 0;
    change(&mut config.streams);
    Harness::with_config(config)
}

fn send_for_all(
    harness: &mut Harness,
    topics: &TopicTable,
    request: &StreamsGroupHeartbeatRequest,
) -> Result<StreamsHeartbeat, Refused> {
    let result = harness.shard.streams_group_heartbeat(harness.now, &caller(0), topics, request);
    harness.collect();
    result
}

fn send(
    harness: &mut Harness,
    topics: &TopicTable,
    request: &StreamsGroupHeartbeatRequest,
) -> Result<StreamsGroupHeartbeatResponse, Refused> {
    send_for_all(harness, topics, request).map(|heartbeat| heartbeat.response)
}

/// Sends a heartbeat with all that the client has, and follows the answer.
fn beat(harness: &mut Harness, topics: &TopicTable, client: &mut Client) -> StreamsGroupHeartbeatResponse {
    let response = send(harness, topics, &client.request()).unwrap();
    client.follow(&response);
    response
}

fn group_state(harness: &Harness) -> String {
    harness.shard.describe_streams_group(GROUP).group_state
}

/// The texts of an answer's statuses, by their codes.
fn statuses(response: &StreamsGroupHeartbeatResponse) -> Vec<(i8, String)> {
    response.status.iter().flatten().map(|status| (status.status_code, status.status_detail.clone())).collect()
}

/// Lets everybody send heartbeats, a second apart, until nothing changes any more.
fn settle(harness: &mut Harness, topics: &TopicTable, clients: &mut [Client]) {
    for _ in 0..20 {
        let before = clients.to_vec();
        for client in clients.iter_mut() {
            beat(harness, topics, client);
        }
        harness.advance(1_000);
        if group_state(harness) == "Stable" && clients == before {
            return;
        }
    }
    panic!("the group does not come to rest: {clients:#?}");
}

/// Checks that a restart gives the same group, but for what is not recorded.
fn assert_replay_is_equal(harness: &mut Harness) {
    let mut before = harness.shard.streams_group(GROUP).unwrap().clone();
    harness.restart();
    let own = &mut before.own;
    (own.configured, own.checked, own.shutdown_requested_by, own.endpoint_epoch) = (None, None, None, 0);
    assert_eq!(*harness.shard.streams_group(GROUP).unwrap(), before);
}
