//! What is asked of a cluster is answered by its one node: elections, reassignments, the quorum, directories.

mod support;

use support::{Client, code, start};
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use vltava_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use vltava_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use vltava_protocol::messages::elect_leaders_request::TopicPartitions;
use vltava_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest, DescribeLogDirsRequest, DescribeQuorumRequest,
    ElectLeadersRequest, ListConfigResourcesRequest, ListPartitionReassignmentsRequest,
};
use vltava_protocol::wire::Message;

#[test]
fn no_election_is_needed() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 2, &[]);
    let mut request = ElectLeadersRequest {
        topic_partitions: Some(vec![TopicPartitions {
            topic: "t".to_owned(),
            partitions: vec![0, 1, 2],
            ..Default::default()
        }]),
        ..Default::default()
    };
    for version in ElectLeadersRequest::MIN_VERSION..=ElectLeadersRequest::MAX_VERSION {
        let response = client.call(version, &request);
        let results = &response.replica_election_results[0].partition_result;
        let errors: Vec<i16> = results.iter().map(|result| result.error_code).collect();
        let needless = code(ErrorCode::ElectionNotNeeded);
        assert_eq!(errors, [needless, needless, code(ErrorCode::UnknownTopicOrPartition)], "version {version}");
        assert_eq!(results[2].error_message.as_deref(), Some("No such partition as t-2"));
    }
    request.topic_partitions = None;
    assert!(client.call(2, &request).replica_election_results[0].partition_result.is_empty());
    request.election_type = 7;
    assert_eq!(client.call(2, &request).error_code, code(ErrorCode::InvalidRequest));
}

#[test]
fn replicas_stay_where_they_are() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    let mut reassign = |partition_index, replicas: Option<Vec<i32>>| {
        let partition = ReassignablePartition { partition_index, replicas, ..Default::default() };
        let topic = ReassignableTopic { name: "t".to_owned(), partitions: vec![partition], ..Default::default() };
        let request = AlterPartitionReassignmentsRequest { topics: vec![topic], ..Default::default() };
        let mut response = client.call(1, &request);
        let result = response.responses.remove(0).partitions.remove(0);
        (ErrorCode::from(result.error_code), result.error_message.unwrap_or_default())
    };
    assert_eq!(reassign(0, Some(vec![1])), (ErrorCode::None, String::new()));
    let text = "The manual partition assignment includes broker 2, but no such broker is registered.";
    assert_eq!(reassign(0, Some(vec![2])), (ErrorCode::InvalidReplicaAssignment, text.to_owned()));
    assert_eq!(reassign(0, None).0, ErrorCode::NoReassignmentInProgress);
    assert_eq!(reassign(1, Some(vec![1])).1, "Unable to find partition t:1.");
    assert!(client.call(0, &ListPartitionReassignmentsRequest::default()).topics.is_empty());
}

#[test]
fn a_replica_is_moved_to_its_own_directory_only() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    let dirs = client.call(4, &DescribeLogDirsRequest { topics: None, ..Default::default() });
    let mut alter = |path: &str, topic: &str| {
        let topic = AlterReplicaLogDirTopic { name: topic.to_owned(), partitions: vec![0], ..Default::default() };
        let dir = AlterReplicaLogDir { path: path.to_owned(), topics: vec![topic], ..Default::default() };
        let response = client.call(2, &AlterReplicaLogDirsRequest { dirs: vec![dir], ..Default::default() });
        ErrorCode::from(response.results[0].partitions[0].error_code)
    };
    let own = dirs.results[0].log_dir.as_str();
    assert_eq!(alter(own, "t"), ErrorCode::None);
    assert_eq!(alter(own, "nosuch"), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(alter("/no/such", "t"), ErrorCode::LogDirNotFound);
}

#[test]
fn the_quorum_is_this_node() {
    let broker = start();
    let mut client = Client::connect(&broker);
    let mut ask = |version, name: &str| {
        let topic =
            TopicData { topic_name: name.to_owned(), partitions: vec![PartitionData::default()], ..Default::default() };
        let mut response = client.call(version, &DescribeQuorumRequest { topics: vec![topic], ..Default::default() });
        (response.topics.remove(0).partitions.remove(0), response.nodes)
    };
    for version in DescribeQuorumRequest::MIN_VERSION..=DescribeQuorumRequest::MAX_VERSION {
        let (quorum, nodes) = ask(version, "__cluster_metadata");
        assert_eq!((quorum.error_code, quorum.leader_id, quorum.current_voters.len()), (0, 1, 1));
        assert!(quorum.high_watermark > 0);
        assert_eq!(quorum.current_voters[0].log_end_offset, quorum.high_watermark);
        assert_eq!(nodes.len(), usize::from(version >= 2));
    }
    assert_eq!(ask(2, "t").0.error_code, code(ErrorCode::UnknownTopicOrPartition));
}

#[test]
fn what_has_settings_is_listed() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    let mut list = |version, resource_types| {
        let response = client.call(version, &ListConfigResourcesRequest { resource_types, ..Default::default() });
        let pair = |one: &vltava_protocol::messages::list_config_resources_response::ConfigResource| {
            (one.resource_type, one.resource_name.clone())
        };
        (response.error_code, response.config_resources.iter().map(pair).collect::<Vec<_>>())
    };
    let [topic, broker, loggers] = [(2, "t"), (4, "1"), (8, "1")].map(|(kind, name)| (kind, name.to_owned()));
    assert_eq!(list(1, vec![]), (0, vec![topic, broker.clone(), loggers]));
    assert_eq!(list(1, vec![4]), (0, vec![broker]));
    assert_eq!(list(1, vec![5]).0, code(ErrorCode::UnsupportedVersion));
    assert_eq!(list(0, vec![]), (0, vec![]));
}
