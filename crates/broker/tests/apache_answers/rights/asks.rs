//! What is asked of each API.
//!
//! With all rights the answers are deterministic and change nothing that a later question sees: what would is asked to
//! validate only, or about what is not there.

use vltava_protocol::Uuid;
use vltava_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use vltava_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use vltava_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use vltava_protocol::messages::alter_user_scram_credentials_request::ScramCredentialDeletion;
use vltava_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use vltava_protocol::messages::create_topics_request::CreatableTopic;
use vltava_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use vltava_protocol::messages::delete_topics_request::DeleteTopicState;
use vltava_protocol::messages::describe_configs_request::DescribeConfigsResource;
use vltava_protocol::messages::describe_user_scram_credentials_request::UserName;
use vltava_protocol::messages::elect_leaders_request::TopicPartitions;
use vltava_protocol::messages::fetch_request::FetchTopic;
use vltava_protocol::messages::fetch_response::FetchableTopicResponse;
use vltava_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use vltava_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use vltava_protocol::messages::metadata_request::MetadataRequestTopic;
use vltava_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use vltava_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use vltava_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use vltava_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use vltava_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use vltava_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use vltava_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use vltava_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, AlterClientQuotasRequest, AlterConfigsRequest,
    AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest, AlterUserScramCredentialsRequest,
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteGroupsRequest, DeleteRecordsRequest, DeleteTopicsRequest, DescribeClientQuotasRequest,
    DescribeClusterRequest, DescribeConfigsRequest, DescribeGroupsRequest, DescribeLogDirsRequest,
    DescribeProducersRequest, DescribeQuorumRequest, DescribeTopicPartitionsRequest, DescribeTransactionsRequest,
    DescribeUserScramCredentialsRequest, ElectLeadersRequest, EndTxnRequest, FetchRequest, FetchResponse,
    FindCoordinatorRequest, HeartbeatRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest,
    LeaveGroupRequest, ListConfigResourcesRequest, ListGroupsRequest, ListOffsetsRequest,
    ListPartitionReassignmentsRequest, ListTransactionsRequest, MetadataRequest, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetFetchRequest, OffsetFetchResponse, OffsetForLeaderEpochRequest, ProduceRequest,
    SyncGroupRequest, TxnOffsetCommitRequest, UpdateFeaturesRequest, WriteTxnMarkersRequest,
};
use vltava_protocol::messages::{
    alter_client_quotas_request, alter_configs_request, describe_producers_request, describe_quorum_request,
    describe_topic_partitions_request, incremental_alter_configs_request, join_group_request, leave_group_request,
};
use vltava_protocol::record::{Compression, ProducerState};

use super::Asking;
use crate::consumer_groups::{self, ONE};
use crate::groups::coordinator;
use crate::streams_groups;
use crate::support::{batch, batch_of, fetch_partition};
use crate::transcript::Session;

/// The id of a topic that there is not.
const NO_TOPIC: u128 = 77;

/// Makes what there is to ask about.
pub(super) fn prepare(s: &mut Session) -> (Uuid, Uuid) {
    coordinator(s);
    let topic_id = consumer_groups::create(s, "t", 1);
    consumer_groups::create(s, "u", 1);
    let doomed_id = s.create("doomed", 1);
    s.until(13, &produce_to(topic_id, batch(&["first"])), |answer| {
        answer.responses[0].partition_responses[0].error_code == 0
    });
    // A transaction that stays open, with both topics.
    let find = FindCoordinatorRequest { key_type: 1, coordinator_keys: vec!["x".to_owned()], ..Default::default() };
    s.until(6, &find, |answer| answer.coordinators[0].error_code == 0);
    let producer = s.until(5, &init(Some("x"), 900_000), |answer| answer.error_code == 0);
    let mut add = partitions_of("x", &["t", "u"]);
    add.transactions.clear();
    add.v3_and_below_producer_id = producer.producer_id;
    add.v3_and_below_producer_epoch = producer.producer_epoch;
    s.until(3, &add, |answer| {
        answer.results_by_topic_v3_and_below.iter().all(|topic| topic.results_by_partition[0].partition_error_code == 0)
    });
    // Offsets of a group, and a member of another.
    s.until(9, &offsets_of_group(&["t", "u"], Uuid::default()), |answer| {
        answer.topics.iter().all(|topic| topic.partitions[0].error_code == 0)
    });
    let join = consumer_groups::join("c", ONE, &["t"]);
    s.until(1, &join, |answer| answer.error_code == 0 && answer.assignment.is_some());
    let join = streams_groups::join("s", ONE, streams_groups::reader("t"));
    s.until(0, &join, |answer| answer.error_code == 0 && answer.status.as_ref().is_some_and(Vec::is_empty));
    (topic_id, doomed_id)
}

fn produce_to(topic_id: Uuid, records: bytes::Bytes) -> ProduceRequest {
    let data = PartitionProduceData { index: 0, records: Some(records.into()), ..Default::default() };
    let topic = TopicProduceData { name: "t".to_owned(), topic_id, partition_data: vec![data], ..Default::default() };
    ProduceRequest { acks: -1, timeout_ms: 5000, topic_data: vec![topic], ..Default::default() }
}

fn produced(a: &mut Asking<'_>, version: i16, request: &ProduceRequest) -> String {
    a.ask(version, request, |answer| {
        answer.responses.sort_by_key(|topic| (topic.name.clone(), topic.topic_id == Uuid::from_u128(NO_TOPIC)));
        for partition in answer.responses.iter_mut().flat_map(|topic| &mut topic.partition_responses) {
            partition.base_offset = partition.base_offset.min(0);
        }
    })
}

pub(super) fn produce(a: &mut Asking<'_>, version: i16) -> String {
    let mut request = produce_to(a.topic_id, batch(&["a"]));
    let mut missing = request.topic_data[0].clone();
    (missing.name, missing.topic_id) = ("missing".to_owned(), Uuid::from_u128(NO_TOPIC));
    request.topic_data.push(missing);
    produced(a, version, &request)
}

pub(super) fn produce_in_transaction(a: &mut Asking<'_>, version: i16) -> String {
    let records = batch_of(&["a"], Some(ProducerState::transactional(4711, 0, 0)), Compression::None);
    let request = ProduceRequest { transactional_id: Some("x".to_owned()), ..produce_to(a.topic_id, records) };
    produced(a, version, &request)
}

fn fetch_of(a: &Asking<'_>) -> FetchRequest {
    let topic = |name: &str, topic_id| FetchTopic {
        topic: name.to_owned(),
        topic_id,
        partitions: vec![fetch_partition(0, 0), fetch_partition(9, 0)],
        ..Default::default()
    };
    FetchRequest {
        replica_id: -1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![topic("t", a.topic_id), topic("missing", Uuid::from_u128(NO_TOPIC))],
        ..Default::default()
    }
}

fn fetched(answer: &mut FetchResponse) {
    // Kafka answers a topic in several places, in the order of what was wrong.
    answer.responses.sort_by_key(|topic| (topic.topic.clone(), topic.topic_id == Uuid::from_u128(NO_TOPIC)));
    let mut topics: Vec<FetchableTopicResponse> = Vec::new();
    for topic in answer.responses.drain(..) {
        match topics.last_mut() {
            Some(last) if (&last.topic, last.topic_id) == (&topic.topic, topic.topic_id) => {
                last.partitions.extend(topic.partitions);
            }
            _ => topics.push(topic),
        }
    }
    for topic in &mut topics {
        topic.partitions.sort_by_key(|partition| partition.partition_index);
        for partition in &mut topic.partitions {
            partition.records = None;
            partition.high_watermark = partition.high_watermark.min(0);
            partition.last_stable_offset = partition.last_stable_offset.min(0);
        }
    }
    answer.responses = topics;
}

pub(super) fn fetch(a: &mut Asking<'_>, version: i16) -> String {
    let request = fetch_of(a);
    a.ask(version, &request, fetched)
}

pub(super) fn fetch_as_follower(a: &mut Asking<'_>, version: i16) -> String {
    let request = FetchRequest { replica_id: 9, ..fetch_of(a) };
    a.ask(version, &request, fetched)
}

pub(super) fn list_offsets(a: &mut Asking<'_>, version: i16) -> String {
    let topic = |name: &str| ListOffsetsTopic {
        name: name.to_owned(),
        partitions: vec![ListOffsetsPartition { timestamp: -2, current_leader_epoch: -1, ..Default::default() }],
        ..Default::default()
    };
    let topics = vec![topic("t"), topic("missing")];
    a.ask(version, &ListOffsetsRequest { replica_id: -1, topics, ..Default::default() }, |answer| {
        answer.topics.sort_by(|one, other| one.name.cmp(&other.name));
    })
}

fn metadata(a: &mut Asking<'_>, version: i16, request: &MetadataRequest) -> String {
    a.ask(version, request, |answer| {
        answer.cluster_id = None;
        answer.brokers.clear();
        answer.topics.sort_by_key(|topic| (topic.name.clone(), topic.topic_id == Uuid::from_u128(NO_TOPIC)));
    })
}

fn named(names: &[&str]) -> Option<Vec<MetadataRequestTopic>> {
    let topic = |name: &&str| MetadataRequestTopic { name: Some((*name).to_owned()), ..Default::default() };
    Some(names.iter().map(topic).collect())
}

pub(super) fn metadata_by_name(a: &mut Asking<'_>, version: i16) -> String {
    let request = MetadataRequest {
        // The older ones ask for creation whether they want to or not: only for what is there.
        topics: named(if version < 4 { &["t", "u"] } else { &["t", "missing", "bad/name", "u"] }),
        allow_auto_topic_creation: version < 4,
        include_topic_authorized_operations: version >= 8,
        ..Default::default()
    };
    metadata(a, version, &request)
}

pub(super) fn metadata_of_cluster(a: &mut Asking<'_>, version: i16) -> String {
    let request = MetadataRequest {
        topics: named(&["t"]),
        include_cluster_authorized_operations: true,
        include_topic_authorized_operations: true,
        ..Default::default()
    };
    metadata(a, version, &request)
}

pub(super) fn metadata_by_id(a: &mut Asking<'_>, version: i16) -> String {
    let topic = |topic_id| MetadataRequestTopic { topic_id, name: None, ..Default::default() };
    let request = MetadataRequest {
        topics: Some(vec![topic(a.topic_id), topic(Uuid::from_u128(NO_TOPIC))]),
        include_topic_authorized_operations: true,
        ..Default::default()
    };
    metadata(a, version, &request)
}

pub(super) fn metadata_of_all(a: &mut Asking<'_>, version: i16) -> String {
    let topics = if version == 0 { Some(Vec::new()) } else { None };
    metadata(a, version, &MetadataRequest { topics, ..Default::default() })
}

pub(super) fn metadata_to_create(a: &mut Asking<'_>, version: i16) -> String {
    let name = format!("made-{}-{version}", a.state);
    let request = MetadataRequest { topics: named(&[&name]), allow_auto_topic_creation: true, ..Default::default() };
    metadata(a, version, &request).replace(&name, "made-<state>")
}

fn offsets_of_group(topics: &[&str], topic_id: Uuid) -> OffsetCommitRequest {
    let topic = |name: &&str| OffsetCommitRequestTopic {
        name: (*name).to_owned(),
        topic_id: if *name == "t" { topic_id } else { Uuid::from_u128(NO_TOPIC) },
        partitions: vec![OffsetCommitRequestPartition {
            committed_offset: 1,
            committed_metadata: Some(String::new()),
            ..Default::default()
        }],
        ..Default::default()
    };
    OffsetCommitRequest {
        group_id: "g".to_owned(),
        generation_id_or_member_epoch: -1,
        topics: topics.iter().map(topic).collect(),
        ..Default::default()
    }
}

pub(super) fn offset_commit(a: &mut Asking<'_>, version: i16) -> String {
    let request = offsets_of_group(&["t", "missing"], a.topic_id);
    a.ask(version, &request, |answer| {
        answer.topics.sort_by_key(|topic| (topic.name.clone(), topic.topic_id == Uuid::from_u128(NO_TOPIC)));
    })
}

fn offsets_to_fetch(a: &Asking<'_>, version: i16, names: Option<&[&str]>) -> OffsetFetchRequest {
    if version < 8 {
        let topic = |name: &&str| OffsetFetchRequestTopic {
            name: (*name).to_owned(),
            partition_indexes: vec![0],
            ..Default::default()
        };
        let topics = names.map(|names| names.iter().map(topic).collect());
        return OffsetFetchRequest { group_id: "g".to_owned(), topics, ..Default::default() };
    }
    let topic = |name: &&str| OffsetFetchRequestTopics {
        name: (*name).to_owned(),
        topic_id: if *name == "t" { a.topic_id } else { Uuid::from_u128(NO_TOPIC) },
        partition_indexes: vec![0],
        ..Default::default()
    };
    let topics = names.map(|names| names.iter().map(topic).collect());
    let group = OffsetFetchRequestGroup { group_id: "g".to_owned(), topics, ..Default::default() };
    OffsetFetchRequest { groups: vec![group], ..Default::default() }
}

fn offsets_fetched(answer: &mut OffsetFetchResponse) {
    answer.topics.sort_by(|one, other| one.name.cmp(&other.name));
    for group in &mut answer.groups {
        group.topics.sort_by_key(|topic| {
            (topic.name.clone(), topic.topic_id == Uuid::from_u128(NO_TOPIC), topic.topic_id.to_string())
        });
        // Ids are drawn anew: who is first is of no meaning.
        group.topics.sort_by_key(|topic| topic.topic_id == Uuid::from_u128(NO_TOPIC));
    }
}

pub(super) fn offset_fetch(a: &mut Asking<'_>, version: i16) -> String {
    let request = offsets_to_fetch(a, version, Some(&["t", "missing"]));
    a.ask(version, &request, offsets_fetched)
}

pub(super) fn offset_fetch_all(a: &mut Asking<'_>, version: i16) -> String {
    let request = offsets_to_fetch(a, version, None);
    let topic_id = a.topic_id;
    a.ask(version, &request, |answer| {
        answer.topics.sort_by(|one, other| one.name.cmp(&other.name));
        for group in &mut answer.groups {
            group.topics.sort_by_key(|topic| topic.topic_id != topic_id);
        }
    })
}

fn find(a: &mut Asking<'_>, version: i16, key_type: i8, keys: &[&str]) -> String {
    let request = match version {
        ..4 => FindCoordinatorRequest { key_type, key: keys[0].to_owned(), ..Default::default() },
        _ => FindCoordinatorRequest {
            key_type,
            coordinator_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            ..Default::default()
        },
    };
    a.ask(version, &request, |_| {})
}

pub(super) fn find_group(a: &mut Asking<'_>, version: i16) -> String {
    find(a, version, 0, &["g", "elsewhere"])
}

pub(super) fn find_transaction(a: &mut Asking<'_>, version: i16) -> String {
    find(a, version, 1, &["x", "elsewhere"])
}

pub(super) fn join_group(a: &mut Asking<'_>, version: i16) -> String {
    let protocol = join_group_request::JoinGroupRequestProtocol { name: "range".to_owned(), ..Default::default() };
    let request = JoinGroupRequest {
        group_id: "g".to_owned(),
        // Refused, but after the rights are looked at.
        session_timeout_ms: 1,
        rebalance_timeout_ms: 1,
        protocol_type: "consumer".to_owned(),
        protocols: vec![protocol],
        ..Default::default()
    };
    a.ask(version, &request, |_| {})
}

pub(super) fn heartbeat(a: &mut Asking<'_>, version: i16) -> String {
    let request = HeartbeatRequest { group_id: "g".to_owned(), member_id: "m".to_owned(), ..Default::default() };
    a.ask(version, &request, |_| {})
}

pub(super) fn leave_group(a: &mut Asking<'_>, version: i16) -> String {
    let member = leave_group_request::MemberIdentity { member_id: "m".to_owned(), ..Default::default() };
    let request = match version {
        ..3 => LeaveGroupRequest { group_id: "g".to_owned(), member_id: "m".to_owned(), ..Default::default() },
        _ => LeaveGroupRequest { group_id: "g".to_owned(), members: vec![member], ..Default::default() },
    };
    a.ask(version, &request, |_| {})
}

pub(super) fn sync_group(a: &mut Asking<'_>, version: i16) -> String {
    let request = SyncGroupRequest {
        group_id: "g".to_owned(),
        member_id: "m".to_owned(),
        protocol_type: Some("consumer".to_owned()),
        protocol_name: Some("range".to_owned()),
        ..Default::default()
    };
    a.ask(version, &request, |_| {})
}

pub(super) fn describe_groups(a: &mut Asking<'_>, version: i16) -> String {
    let request = DescribeGroupsRequest {
        groups: vec!["g".to_owned(), "missing".to_owned()],
        include_authorized_operations: version >= 3,
        ..Default::default()
    };
    a.ask(version, &request, |answer| answer.groups.sort_by(|one, other| one.group_id.cmp(&other.group_id)))
}

pub(super) fn list_groups(a: &mut Asking<'_>, version: i16) -> String {
    a.ask(version, &ListGroupsRequest::default(), |answer| {
        answer.groups.sort_by(|one, other| one.group_id.cmp(&other.group_id));
    })
}

pub(super) fn create_topics(a: &mut Asking<'_>, version: i16) -> String {
    let topic = |name: &str| CreatableTopic {
        name: name.to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic("new"), topic("t"), topic("__cluster_metadata")],
        timeout_ms: 5000,
        validate_only: true,
        ..Default::default()
    };
    a.ask(version, &request, |answer| {
        answer.topics.sort_by(|one, other| one.name.cmp(&other.name));
        for topic in &mut answer.topics {
            topic.topic_id = Uuid::default();
            topic.configs.iter_mut().for_each(Vec::clear);
        }
    })
}

fn deletion(version: i16, names: &[&str], id: Option<Uuid>) -> DeleteTopicsRequest {
    let timeout_ms = 5000;
    if version < 6 {
        let topic_names = names.iter().map(|name| (*name).to_owned()).collect();
        return DeleteTopicsRequest { topic_names, timeout_ms, ..Default::default() };
    }
    let by_name = names.iter().map(|name| DeleteTopicState { name: Some((*name).to_owned()), ..Default::default() });
    let by_id = id.into_iter().map(|topic_id| DeleteTopicState { topic_id, name: None, ..Default::default() });
    DeleteTopicsRequest { topics: by_name.chain(by_id).collect(), timeout_ms, ..Default::default() }
}

pub(super) fn delete_topics(a: &mut Asking<'_>, version: i16) -> String {
    let request = deletion(version, &["missing", "absent"], Some(Uuid::from_u128(NO_TOPIC)));
    a.ask(version, &request, |answer| answer.responses.sort_by(|one, other| one.name.cmp(&other.name)))
}

pub(super) fn delete_topics_by_id(a: &mut Asking<'_>, version: i16) -> String {
    let request = deletion(version, &[], Some(a.doomed_id));
    a.ask(version, &request, |_| {})
}

pub(super) fn delete_records(a: &mut Asking<'_>, version: i16) -> String {
    let topic = |name: &str| DeleteRecordsTopic {
        name: name.to_owned(),
        partitions: vec![DeleteRecordsPartition { offset: 0, ..Default::default() }],
        ..Default::default()
    };
    let topics = vec![topic("t"), topic("missing")];
    a.ask(version, &DeleteRecordsRequest { topics, timeout_ms: 5000, ..Default::default() }, |answer| {
        answer.topics.sort_by(|one, other| one.name.cmp(&other.name));
    })
}

fn init(transactional_id: Option<&str>, transaction_timeout_ms: i32) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: transactional_id.map(str::to_owned),
        transaction_timeout_ms,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    }
}

pub(super) fn producer_id(a: &mut Asking<'_>, version: i16) -> String {
    a.ask(version, &init(None, 1000), |answer| answer.producer_id = answer.producer_id.min(0))
}

pub(super) fn transactional_producer(a: &mut Asking<'_>, version: i16) -> String {
    // More than a broker allows.
    a.ask(version, &init(Some("y"), i32::MAX), |_| {})
}

pub(super) fn leader_epoch(a: &mut Asking<'_>, version: i16) -> String {
    let partition = OffsetForLeaderPartition { current_leader_epoch: -1, ..Default::default() };
    let topic = |name: &str| OffsetForLeaderTopic {
        topic: name.to_owned(),
        partitions: vec![partition.clone()],
        ..Default::default()
    };
    let topics = vec![topic("t"), topic("missing")];
    a.ask(version, &OffsetForLeaderEpochRequest { replica_id: -1, topics, ..Default::default() }, |answer| {
        answer.topics.sort_by(|one, other| one.topic.cmp(&other.topic));
        for partition in answer.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.end_offset = partition.end_offset.min(0);
        }
    })
}

fn partitions_of(id: &str, topics: &[&str]) -> AddPartitionsToTxnRequest {
    let topic =
        |name: &&str| AddPartitionsToTxnTopic { name: (*name).to_owned(), partitions: vec![0], ..Default::default() };
    let topics: Vec<_> = topics.iter().map(topic).collect();
    AddPartitionsToTxnRequest {
        transactions: vec![AddPartitionsToTxnTransaction {
            transactional_id: id.to_owned(),
            producer_id: 4711,
            topics: topics.clone(),
            ..Default::default()
        }],
        v3_and_below_transactional_id: id.to_owned(),
        v3_and_below_producer_id: 4711,
        v3_and_below_topics: topics,
        ..Default::default()
    }
}

pub(super) fn add_partitions(a: &mut Asking<'_>, version: i16) -> String {
    let mut request = partitions_of("y", &["t", "u"]);
    if version < 4 {
        request.transactions.clear();
    } else {
        request = AddPartitionsToTxnRequest { transactions: request.transactions, ..Default::default() };
    }
    a.ask(version, &request, |answer| {
        answer.results_by_topic_v3_and_below.sort_by(|one, other| one.name.cmp(&other.name));
        for transaction in &mut answer.results_by_transaction {
            transaction.topic_results.sort_by(|one, other| one.name.cmp(&other.name));
        }
    })
}

pub(super) fn add_offsets(a: &mut Asking<'_>, version: i16) -> String {
    let (transactional_id, group_id) = ("y".to_owned(), "g".to_owned());
    let request = AddOffsetsToTxnRequest { transactional_id, group_id, producer_id: 4711, ..Default::default() };
    a.ask(version, &request, |_| {})
}

pub(super) fn end_transaction(a: &mut Asking<'_>, version: i16) -> String {
    let request =
        EndTxnRequest { transactional_id: "y".to_owned(), producer_id: 4711, committed: true, ..Default::default() };
    a.ask(version, &request, |_| {})
}

pub(super) fn write_markers(a: &mut Asking<'_>, version: i16) -> String {
    let topic =
        WritableTxnMarkerTopic { name: "missing".to_owned(), partition_indexes: vec![0, 1], ..Default::default() };
    let marker = WritableTxnMarker { producer_id: 4711, topics: vec![topic], ..Default::default() };
    a.ask(version, &WriteTxnMarkersRequest { markers: vec![marker], ..Default::default() }, |answer| {
        for topic in answer.markers.iter_mut().flat_map(|marker| &mut marker.topics) {
            topic.partitions.sort_by_key(|partition| partition.partition_index);
        }
    })
}

pub(super) fn txn_offset_commit(a: &mut Asking<'_>, version: i16) -> String {
    let topic = |name: &str| TxnOffsetCommitRequestTopic {
        name: name.to_owned(),
        partitions: vec![TxnOffsetCommitRequestPartition { committed_offset: 1, ..Default::default() }],
        ..Default::default()
    };
    let request = TxnOffsetCommitRequest {
        transactional_id: "y".to_owned(),
        group_id: "g".to_owned(),
        producer_id: 4711,
        topics: vec![topic("missing"), topic("absent")],
        ..Default::default()
    };
    a.ask(version, &request, |answer| answer.topics.sort_by(|one, other| one.name.cmp(&other.name)))
}

/// Types of resources with settings, their names, and a key of each with a value.
const SETTINGS: [(i8, &str, &str, &str); 5] = [
    (2, "t", "retention.ms", "1000"),
    (32, "g", "consumer.session.timeout.ms", "50000"),
    (4, "1", "log.retention.ms", "1000"),
    (8, "1", "none.such", "INFO"),
    (16, "m", "interval.ms", "1000"),
];

pub(super) fn describe_configs(a: &mut Asking<'_>, version: i16) -> String {
    let resource = |(resource_type, name, key, _): (i8, &str, &str, &str)| DescribeConfigsResource {
        resource_type,
        resource_name: name.to_owned(),
        configuration_keys: Some(vec![key.to_owned()]),
        ..Default::default()
    };
    let resources = SETTINGS.into_iter().map(resource).collect();
    a.ask(version, &DescribeConfigsRequest { resources, ..Default::default() }, |answer| {
        answer.results.sort_by_key(|result| result.resource_type);
        // What is told of settings is compared elsewhere.
        answer.results.iter_mut().for_each(|result| result.configs.clear());
    })
}

pub(super) fn alter_configs(a: &mut Asking<'_>, version: i16) -> String {
    let resource = |(resource_type, name, key, value): (i8, &str, &str, &str)| {
        let (name, key, value) = (name.to_owned(), key.to_owned(), Some(value.to_owned()));
        let config = alter_configs_request::AlterableConfig { name: key, value, ..Default::default() };
        alter_configs_request::AlterConfigsResource {
            resource_type,
            resource_name: name,
            configs: vec![config],
            ..Default::default()
        }
    };
    let resources = SETTINGS.into_iter().map(resource).collect();
    a.ask(version, &AlterConfigsRequest { resources, validate_only: true, ..Default::default() }, |answer| {
        answer.responses.sort_by_key(|result| result.resource_type);
    })
}

pub(super) fn incremental_alter_configs(a: &mut Asking<'_>, version: i16) -> String {
    let resource = |(resource_type, name, key, value): (i8, &str, &str, &str)| {
        let (name, key, value) = (name.to_owned(), key.to_owned(), Some(value.to_owned()));
        let config = incremental_alter_configs_request::AlterableConfig { name: key, value, ..Default::default() };
        incremental_alter_configs_request::AlterConfigsResource {
            resource_type,
            resource_name: name,
            configs: vec![config],
            ..Default::default()
        }
    };
    let resources = SETTINGS.into_iter().map(resource).collect();
    let request = IncrementalAlterConfigsRequest { resources, validate_only: true, ..Default::default() };
    a.ask(version, &request, |answer| answer.responses.sort_by_key(|result| result.resource_type))
}

pub(super) fn alter_replica_log_dirs(a: &mut Asking<'_>, version: i16) -> String {
    let topic = AlterReplicaLogDirTopic { name: "t".to_owned(), partitions: vec![0], ..Default::default() };
    let dir = AlterReplicaLogDir { path: "/nowhere".to_owned(), topics: vec![topic], ..Default::default() };
    a.ask(version, &AlterReplicaLogDirsRequest { dirs: vec![dir], ..Default::default() }, |_| {})
}

pub(super) fn describe_log_dirs(a: &mut Asking<'_>, version: i16) -> String {
    a.ask(version, &DescribeLogDirsRequest { topics: Some(Vec::new()), ..Default::default() }, |answer| {
        for result in &mut answer.results {
            result.log_dir.clear();
            (result.total_bytes, result.usable_bytes) = (0, 0);
        }
    })
}

pub(super) fn create_partitions(a: &mut Asking<'_>, version: i16) -> String {
    let topic =
        |name: &str| CreatePartitionsTopic { name: name.to_owned(), count: 2, assignments: None, ..Default::default() };
    let request = CreatePartitionsRequest {
        topics: vec![topic("t"), topic("missing")],
        timeout_ms: 5000,
        validate_only: true,
        ..Default::default()
    };
    a.ask(version, &request, |answer| answer.results.sort_by(|one, other| one.name.cmp(&other.name)))
}

pub(super) fn delete_groups(a: &mut Asking<'_>, version: i16) -> String {
    let groups_names = vec!["missing".to_owned(), "absent".to_owned()];
    a.ask(version, &DeleteGroupsRequest { groups_names, ..Default::default() }, |answer| {
        answer.results.sort_by(|one, other| one.group_id.cmp(&other.group_id));
    })
}

pub(super) fn elect_leaders(a: &mut Asking<'_>, version: i16) -> String {
    let topic = TopicPartitions { topic: "t".to_owned(), partitions: vec![0], ..Default::default() };
    let request = ElectLeadersRequest { topic_partitions: Some(vec![topic]), timeout_ms: 5000, ..Default::default() };
    a.ask(version, &request, |_| {})
}

pub(super) fn alter_reassignments(a: &mut Asking<'_>, version: i16) -> String {
    let partition = ReassignablePartition { partition_index: 0, replicas: None, ..Default::default() };
    let topic = ReassignableTopic { name: "t".to_owned(), partitions: vec![partition], ..Default::default() };
    let request = AlterPartitionReassignmentsRequest { topics: vec![topic], timeout_ms: 5000, ..Default::default() };
    a.ask(version, &request, |_| {})
}

pub(super) fn list_reassignments(a: &mut Asking<'_>, version: i16) -> String {
    let topic =
        ListPartitionReassignmentsTopics { name: "t".to_owned(), partition_indexes: vec![0, 1], ..Default::default() };
    let request = ListPartitionReassignmentsRequest { topics: Some(vec![topic]), ..Default::default() };
    a.ask(version, &request, |_| {})
}

pub(super) fn offset_delete(a: &mut Asking<'_>, version: i16) -> String {
    let topic = |name: &str| OffsetDeleteRequestTopic {
        name: name.to_owned(),
        partitions: vec![OffsetDeleteRequestPartition { partition_index: 9 }],
    };
    let request = OffsetDeleteRequest { group_id: "g".to_owned(), topics: vec![topic("u"), topic("missing")] };
    a.ask(version, &request, |answer| answer.topics.sort_by(|one, other| one.name.cmp(&other.name)))
}

pub(super) fn describe_quotas(a: &mut Asking<'_>, version: i16) -> String {
    a.ask(version, &DescribeClientQuotasRequest { strict: true, ..Default::default() }, |_| {})
}

pub(super) fn alter_quotas(a: &mut Asking<'_>, version: i16) -> String {
    let entry = |name: &str| alter_client_quotas_request::EntryData {
        entity: vec![alter_client_quotas_request::EntityData {
            entity_type: "user".to_owned(),
            entity_name: Some(name.to_owned()),
            ..Default::default()
        }],
        ops: vec![alter_client_quotas_request::OpData {
            key: "producer_byte_rate".to_owned(),
            remove: true,
            ..Default::default()
        }],
        ..Default::default()
    };
    let request = AlterClientQuotasRequest { entries: vec![entry("nobody"), entry("")], ..Default::default() };
    a.ask(version, &request, |answer| answer.entries.sort_by_key(|entry| entry.error_code))
}

pub(super) fn describe_users(a: &mut Asking<'_>, version: i16) -> String {
    let user = |name: &str| UserName { name: name.to_owned(), ..Default::default() };
    let request = DescribeUserScramCredentialsRequest { users: Some(vec![user("nobody")]), ..Default::default() };
    a.ask(version, &request, |_| {})
}

pub(super) fn alter_users(a: &mut Asking<'_>, version: i16) -> String {
    let deletion = |name: &str| ScramCredentialDeletion { name: name.to_owned(), mechanism: 1, ..Default::default() };
    let deletions = vec![deletion("nobody"), deletion("")];
    let request = AlterUserScramCredentialsRequest { deletions, ..Default::default() };
    a.ask(version, &request, |answer| answer.results.sort_by(|one, other| one.user.cmp(&other.user)))
}

pub(super) fn describe_quorum(a: &mut Asking<'_>, version: i16) -> String {
    let topic = describe_quorum_request::TopicData {
        topic_name: "t".to_owned(),
        partitions: vec![describe_quorum_request::PartitionData::default()],
        ..Default::default()
    };
    a.ask(version, &DescribeQuorumRequest { topics: vec![topic], ..Default::default() }, |_| {})
}

pub(super) fn update_features(a: &mut Asking<'_>, version: i16) -> String {
    a.ask(version, &UpdateFeaturesRequest { timeout_ms: 5000, ..Default::default() }, |_| {})
}

pub(super) fn describe_cluster(a: &mut Asking<'_>, version: i16) -> String {
    let request = DescribeClusterRequest { include_cluster_authorized_operations: true, ..Default::default() };
    a.ask(version, &request, |answer| {
        answer.cluster_id.clear();
        answer.brokers.clear();
    })
}

pub(super) fn describe_producers(a: &mut Asking<'_>, version: i16) -> String {
    let topic = |name: &str| describe_producers_request::TopicRequest {
        name: name.to_owned(),
        partition_indexes: vec![9],
        ..Default::default()
    };
    let topics = vec![topic("t"), topic("missing"), topic("bad/name")];
    a.ask(version, &DescribeProducersRequest { topics, ..Default::default() }, |_| {})
}

pub(super) fn describe_transactions(a: &mut Asking<'_>, version: i16) -> String {
    let transactional_ids = vec!["x".to_owned(), "missing".to_owned()];
    a.ask(version, &DescribeTransactionsRequest { transactional_ids, ..Default::default() }, |answer| {
        for state in &mut answer.transaction_states {
            state.producer_id = state.producer_id.min(0);
            state.transaction_start_time_ms = state.transaction_start_time_ms.min(0);
            state.topics.sort_by(|one, other| one.topic.cmp(&other.topic));
        }
    })
}

pub(super) fn list_transactions(a: &mut Asking<'_>, version: i16) -> String {
    a.ask(version, &ListTransactionsRequest::default(), |answer| {
        for state in &mut answer.transaction_states {
            state.producer_id = state.producer_id.min(0);
        }
    })
}

pub(super) fn consumer_group_heartbeat(a: &mut Asking<'_>, version: i16) -> String {
    // A member that nobody knows.
    let request = ConsumerGroupHeartbeatRequest { member_epoch: 5, ..consumer_groups::join("g", "m", &["t"]) };
    a.ask(version, &request, |_| {})
}

pub(super) fn consumer_group_describe(a: &mut Asking<'_>, version: i16) -> String {
    // The member is to live on.
    a.session.quietly(1, &consumer_groups::join("c", ONE, &["t"]));
    let request = ConsumerGroupDescribeRequest {
        group_ids: vec!["c".to_owned(), "missing".to_owned()],
        include_authorized_operations: true,
        ..Default::default()
    };
    a.ask(version, &request, |answer| {
        answer.groups.sort_by(|one, other| one.group_id.cmp(&other.group_id));
        for group in &mut answer.groups {
            (group.group_epoch, group.assignment_epoch) = (0, 0);
            group.members.iter_mut().for_each(|member| member.member_epoch = 0);
        }
    })
}

pub(super) fn list_config_resources(a: &mut Asking<'_>, version: i16) -> String {
    let resource_types = if version == 0 { Vec::new() } else { vec![4] };
    a.ask(version, &ListConfigResourcesRequest { resource_types, ..Default::default() }, |_| {})
}

pub(super) fn describe_topic_partitions(a: &mut Asking<'_>, version: i16) -> String {
    let topic =
        |name: &str| describe_topic_partitions_request::TopicRequest { name: name.to_owned(), ..Default::default() };
    let request = DescribeTopicPartitionsRequest {
        topics: vec![topic("t"), topic("u"), topic("missing")],
        response_partition_limit: 100,
        ..Default::default()
    };
    a.ask(version, &request, |answer| answer.topics.sort_by(|one, other| one.name.cmp(&other.name)))
}

pub(super) fn describe_all_topic_partitions(a: &mut Asking<'_>, version: i16) -> String {
    let request = DescribeTopicPartitionsRequest { response_partition_limit: 100, ..Default::default() };
    a.ask(version, &request, |_| {})
}
