//! Requests about partitions and their records.

use bytes::Bytes;
use vltava_protocol::Uuid;
use vltava_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use vltava_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use vltava_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use vltava_protocol::messages::delete_topics_request::DeleteTopicState;
use vltava_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use vltava_protocol::messages::elect_leaders_request::TopicPartitions;
use vltava_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use vltava_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use vltava_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeLogDirsRequest, ElectLeadersRequest, FetchRequest, ListOffsetsRequest, ListPartitionReassignmentsRequest,
    OffsetForLeaderEpochRequest, ProduceRequest,
};

use crate::support::{batch, fetch_partition, fetch_request, produce_request};
use crate::transcript::Session;

fn list_offsets(topic: &str, partition: i32, timestamp: i64) -> ListOffsetsRequest {
    use vltava_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    let partition =
        ListOffsetsPartition { partition_index: partition, timestamp, current_leader_epoch: -1, ..Default::default() };
    let topic = ListOffsetsTopic { name: topic.to_owned(), partitions: vec![partition], ..Default::default() };
    ListOffsetsRequest { replica_id: -1, topics: vec![topic], timeout_ms: 1000, ..Default::default() }
}

fn delete_records(topic: &str, partition: i32, offset: i64) -> DeleteRecordsRequest {
    let partition = DeleteRecordsPartition { partition_index: partition, offset, ..Default::default() };
    let topic = DeleteRecordsTopic { name: topic.to_owned(), partitions: vec![partition], ..Default::default() };
    DeleteRecordsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() }
}

fn end_of_epoch(topic: &str, partition: i32, current_leader_epoch: i32, epoch: i32) -> OffsetForLeaderEpochRequest {
    let partition =
        OffsetForLeaderPartition { partition, current_leader_epoch, leader_epoch: epoch, ..Default::default() };
    let topic = OffsetForLeaderTopic { topic: topic.to_owned(), partitions: vec![partition], ..Default::default() };
    OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![topic], ..Default::default() }
}

pub(crate) fn wrong(s: &mut Session) {
    let id = s.create("wrong", 1);
    s.create("compacted", 1);
    s.about("records");
    let good = || produce_request("wrong", 0, batch(&["a", "b", "c"]), -1);
    let produced = |s: &mut Session, what: &str, version: i16, request: &ProduceRequest| {
        s.call_then(what, version, request, |response| {
            // The texts of both name classes and files of their own.
            for partition in response.responses.iter_mut().flat_map(|topic| &mut topic.partition_responses) {
                partition.error_message = None;
            }
        });
    };
    produced(s, "three records", 12, &good());
    produced(s, "three records with acks=1", 12, &ProduceRequest { acks: 1, ..good() });
    produced(s, "acks=2", 12, &ProduceRequest { acks: 2, ..good() });
    produced(s, "acks=-2", 12, &ProduceRequest { acks: -2, ..good() });
    produced(s, "an unknown topic", 12, &produce_request("unknown", 0, batch(&["a"]), -1));
    produced(s, "an empty topic", 12, &produce_request("", 0, batch(&["a"]), -1));
    produced(s, "an unknown partition", 12, &produce_request("wrong", 1, batch(&["a"]), -1));
    produced(s, "a negative partition", 12, &produce_request("wrong", -1, batch(&["a"]), -1));
    produced(s, "no records", 12, &produce_request("wrong", 0, Bytes::new(), -1));
    produced(s, "no topics", 12, &ProduceRequest { topic_data: Vec::new(), ..good() });
    let mut unknown_id = good();
    unknown_id.topic_data[0].topic_id = Uuid::from_bytes([7; 16]);
    produced(s, "an unknown id", 13, &unknown_id);
    unknown_id.topic_data[0].topic_id = id;
    produced(s, "by id", 13, &unknown_id);
    let damaged = |at: usize, value: u8| {
        let mut bytes = batch(&["a"]).to_vec();
        bytes[at] = value;
        produce_request("wrong", 0, bytes.into(), -1)
    };
    produced(s, "a wrong checksum", 12, &damaged(17, 0xff));
    produced(s, "magic 1", 12, &damaged(16, 1));
    produced(s, "magic 3", 12, &damaged(16, 3));
    produced(s, "a length too long", 12, &damaged(8, 1));
    produced(s, "cut off", 12, &produce_request("wrong", 0, batch(&["a"]).slice(..40), -1));
    let two = [batch(&["a"]), batch(&["b"])].concat();
    produced(s, "two batches", 12, &produce_request("wrong", 0, two.into(), -1));

    s.about("fetches");
    let with = |change: &dyn Fn(&mut FetchRequest)| {
        let mut request = fetch_request("wrong", &[(0, 0)], 0);
        change(&mut request);
        request
    };
    for (what, request) in [
        ("an unknown topic", fetch_request("unknown", &[(0, 0)], 0)),
        ("an unknown partition", fetch_request("wrong", &[(1, 0), (-1, 0)], 0)),
        ("an offset after the end", fetch_request("wrong", &[(0, 100)], 0)),
        ("a negative offset", fetch_request("wrong", &[(0, -5)], 0)),
        ("a later epoch", with(&|r| r.topics[0].partitions[0].current_leader_epoch = 9)),
        (
            "an unknown session",
            with(&|r| {
                r.session_id = 7;
                r.session_epoch = 1;
            }),
        ),
        ("a session's end that never was", with(&|r| r.session_id = 7)),
        (
            "a partition twice",
            with(&|r| r.topics[0].partitions = vec![fetch_partition(0, 100), fetch_partition(0, 100)]),
        ),
        ("no topics", with(&|r| r.topics.clear())),
    ] {
        s.call_then(what, 12, &request, |response| {
            response.session_id = 0;
        });
    }
    let mut by_id = fetch_request("", &[(0, 100)], 0);
    by_id.topics[0].topic_id = Uuid::from_bytes([7; 16]);
    s.call("an unknown id", 17, &by_id);
    by_id.topics[0].topic_id = Uuid::from_bytes([0; 16]);
    s.call("no id", 17, &by_id);

    s.about("offsets");
    for timestamp in [-1, -2, -3, -4, -5, -6, -7, 0, 1001, i64::MAX, i64::MIN] {
        s.call(&format!("for {timestamp}"), 11, &list_offsets("wrong", 0, timestamp));
    }
    s.call("of an unknown topic", 11, &list_offsets("unknown", 0, -1));
    s.call("of an unknown partition", 11, &list_offsets("wrong", 5, -1));
    s.call("of a negative partition", 11, &list_offsets("wrong", -1, -1));
    s.call("old, for the largest timestamp", 6, &list_offsets("wrong", 0, -3));
    let mut later = list_offsets("wrong", 0, -1);
    later.topics[0].partitions[0].current_leader_epoch = 9;
    s.call("of a later epoch", 11, &later);
    let mut twice = list_offsets("wrong", 0, -1);
    let partition = twice.topics[0].partitions[0].clone();
    twice.topics[0].partitions.push(partition);
    s.call("of a partition twice", 11, &twice);
    s.call("of no topics", 11, &ListOffsetsRequest { topics: Vec::new(), ..twice });

    s.about("epochs");
    s.call("the epoch", 4, &end_of_epoch("wrong", 0, -1, 0));
    s.call("a later epoch", 4, &end_of_epoch("wrong", 0, -1, 9));
    s.call("a negative epoch", 4, &end_of_epoch("wrong", 0, -1, -1));
    s.call("believing in a later leader", 4, &end_of_epoch("wrong", 0, 9, 0));
    s.call("an unknown topic", 4, &end_of_epoch("unknown", 0, -1, 0));
    s.call("an unknown partition", 4, &end_of_epoch("wrong", 7, -1, 0));

    s.about("deleted records");
    s.call("up to 2", 2, &delete_records("wrong", 0, 2));
    s.call("up to 1", 2, &delete_records("wrong", 0, 1));
    s.call("beyond the end", 2, &delete_records("wrong", 0, 1000));
    s.call("up to -2", 2, &delete_records("wrong", 0, -2));
    s.call("all", 2, &delete_records("wrong", 0, -1));
    s.call("an unknown topic", 2, &delete_records("unknown", 0, 0));
    s.call("an unknown partition", 2, &delete_records("wrong", 3, 0));
    s.call("no topics", 2, &DeleteRecordsRequest::default());

    s.about("leaders");
    let elect = |topics: Option<&[(&str, i32)]>, kind: i8| ElectLeadersRequest {
        election_type: kind,
        topic_partitions: topics.map(|topics| {
            let one = |(topic, index): &(&str, i32)| TopicPartitions {
                topic: (*topic).to_owned(),
                partitions: vec![*index],
                ..Default::default()
            };
            topics.iter().map(one).collect()
        }),
        timeout_ms: 10_000,
        ..Default::default()
    };
    s.call("preferred", 2, &elect(Some(&[("wrong", 0)]), 0));
    s.call("unclean", 2, &elect(Some(&[("wrong", 0)]), 1));
    s.call("an unknown kind", 2, &elect(Some(&[("wrong", 0)]), 7));
    s.call("unknown ones", 2, &elect(Some(&[("unknown", 0), ("wrong", 7)]), 0));
    s.call("none", 2, &elect(Some(&[]), 0));
    let move_to = |topic: &str, partition: i32, replicas: Option<&[i32]>| AlterPartitionReassignmentsRequest {
        timeout_ms: 10_000,
        topics: vec![ReassignableTopic {
            name: topic.to_owned(),
            partitions: vec![ReassignablePartition {
                partition_index: partition,
                replicas: replicas.map(<[i32]>::to_vec),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    s.call("to where they are", 1, &move_to("wrong", 0, Some(&[1])));
    s.call("to an unknown broker", 1, &move_to("wrong", 0, Some(&[7])));
    s.call("to nowhere", 1, &move_to("wrong", 0, Some(&[])));
    s.call("to a broker twice", 1, &move_to("wrong", 0, Some(&[1, 1])));
    s.call("to a negative broker", 1, &move_to("wrong", 0, Some(&[-1])));
    s.call("nothing to cancel", 1, &move_to("wrong", 0, None));
    s.call("an unknown topic", 1, &move_to("unknown", 0, Some(&[1])));
    s.call("an unknown partition", 1, &move_to("wrong", 7, Some(&[1])));
    let listed = |topics: Option<Vec<ListPartitionReassignmentsTopics>>| ListPartitionReassignmentsRequest {
        timeout_ms: 10_000,
        topics,
        ..Default::default()
    };
    s.call("under way", 0, &listed(None));
    s.call(
        "under way of an unknown topic",
        0,
        &listed(Some(vec![ListPartitionReassignmentsTopics {
            name: "unknown".to_owned(),
            partition_indexes: vec![0],
            ..Default::default()
        }])),
    );

    s.about("directories");
    let dirs = |topics: Option<&[&str]>| DescribeLogDirsRequest {
        topics: topics.map(|topics| {
            let one = |topic: &&str| DescribableLogDirTopic {
                topic: (*topic).to_owned(),
                partitions: vec![0, 7],
                ..Default::default()
            };
            topics.iter().map(one).collect()
        }),
        ..Default::default()
    };
    for (what, request) in [("of topics", dirs(Some(&["wrong", "unknown"]))), ("of no topics", dirs(Some(&[])))] {
        s.call_then(what, 4, &request, |response| {
            for result in &mut response.results {
                result.log_dir = "<dir>".to_owned();
                result.total_bytes = 0;
                result.usable_bytes = 0;
                for partition in result.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                    partition.partition_size = 0;
                }
            }
        });
    }
    let to_dir = |path: &str, topic: &str| AlterReplicaLogDirsRequest {
        dirs: vec![AlterReplicaLogDir {
            path: path.to_owned(),
            topics: vec![AlterReplicaLogDirTopic { name: topic.to_owned(), partitions: vec![0], ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    };
    s.call("to an unknown directory", 2, &to_dir("/no/such/dir", "wrong"));
    s.call("to a relative directory", 2, &to_dir("relative", "wrong"));
    s.call("an unknown topic to an unknown directory", 2, &to_dir("/no/such/dir", "unknown"));
    let names = ["wrong", "compacted"];
    let state = |name: &str| DeleteTopicState { name: Some(name.to_owned()), ..Default::default() };
    s.quietly(6, &DeleteTopicsRequest { topics: names.map(state).to_vec(), timeout_ms: 10_000, ..Default::default() });
}
