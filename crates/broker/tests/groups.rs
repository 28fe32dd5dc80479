//! Groups over the wire: every API of the group coordinator at every version.

#![allow(clippy::indexing_slicing, reason = "a failure of a helper fails its test")]

mod support;

use bytes::Bytes;
use support::Client;
use vltava_broker::embedded;
use vltava_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use vltava_protocol::messages::delete_topics_request::DeleteTopicState;
use vltava_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use vltava_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use vltava_protocol::messages::leave_group_request::MemberIdentity;
use vltava_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use vltava_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use vltava_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use vltava_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use vltava_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, DeleteGroupsRequest, DeleteTopicsRequest,
    DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest, IncrementalAlterConfigsRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, SyncGroupRequest,
};
use vltava_protocol::{ErrorCode, Uuid};

fn code(code: i16) -> ErrorCode {
    ErrorCode::from(code)
}

const GROUP: &str = "group";

/// A member and what it speaks; `version` is JoinGroup's, the others go along with it.
struct Member<'a> {
    client: &'a mut Client,
    version: i16,
    topic_id: Uuid,
    id: String,
    generation: i32,
}

impl<'a> Member<'a> {
    fn new(client: &'a mut Client, version: i16, topic_id: Uuid) -> Self {
        Self { client, version, topic_id, id: String::new(), generation: -1 }
    }

    fn find_coordinator(&mut self) -> (i16, i32, String, i32) {
        let version = self.version.min(6);
        let request = FindCoordinatorRequest {
            key: if version < 4 { GROUP.into() } else { String::new() },
            coordinator_keys: if version < 4 { Vec::new() } else { vec![GROUP.into()] },
            ..Default::default()
        };
        let mut response = self.client.call(version, &request);
        match response.coordinators.pop() {
            Some(found) => (found.error_code, found.node_id, found.host, found.port),
            None => (response.error_code, response.node_id, response.host, response.port),
        }
    }

    fn join(&mut self) -> JoinGroupResponse {
        let request = |member_id: &str| JoinGroupRequest {
            group_id: GROUP.into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: if self.version == 0 { -1 } else { 20_000 },
            member_id: member_id.into(),
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: "range".into(),
                metadata: Bytes::from_static(b"\0\x01\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\0"),
                ..Default::default()
            }],
            ..Default::default()
        };
        let mut response = self.client.call(self.version, &request(&self.id));
        if code(response.error_code) == ErrorCode::MemberIdRequired {
            response = self.client.call(self.version, &request(&response.member_id));
        }
        assert_eq!(code(response.error_code), ErrorCode::None);
        self.id.clone_from(&response.member_id);
        self.generation = response.generation_id;
        response
    }

    fn sync(&mut self) -> Bytes {
        let request = SyncGroupRequest {
            group_id: GROUP.into(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            protocol_type: (self.version >= 5).then(|| "consumer".into()),
            protocol_name: (self.version >= 5).then(|| "range".into()),
            assignments: vec![SyncGroupRequestAssignment {
                member_id: self.id.clone(),
                assignment: Bytes::from_static(b"all"),
                ..Default::default()
            }],
            ..Default::default()
        };
        let response = self.client.call(self.version.min(5), &request);
        assert_eq!(code(response.error_code), ErrorCode::None);
        response.assignment
    }

    fn heartbeat(&mut self) -> ErrorCode {
        let request = HeartbeatRequest {
            group_id: GROUP.into(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            ..Default::default()
        };
        code(self.client.call(self.version.min(4), &request).error_code)
    }

    /// Commits an offset for partition 0, and one for a partition that is not there.
    fn commit(&mut self, offset: i64) -> Vec<ErrorCode> {
        let version = (self.version + 1).max(2);
        let partition = |partition_index| OffsetCommitRequestPartition {
            partition_index,
            committed_offset: offset,
            committed_leader_epoch: -1,
            committed_metadata: Some("note".into()),
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id: GROUP.into(),
            generation_id_or_member_epoch: self.generation,
            member_id: self.id.clone(),
            topics: vec![OffsetCommitRequestTopic {
                name: "t".into(),
                topic_id: self.topic_id,
                partitions: vec![partition(0), partition(9)],
                ..Default::default()
            }],
            ..Default::default()
        };
        let mut response = self.client.call(version, &request);
        let mut partitions = response.topics.remove(0).partitions;
        partitions.sort_by_key(|partition| partition.partition_index);
        partitions.into_iter().map(|partition| code(partition.error_code)).collect()
    }

    /// Returns the committed offsets of the partitions asked for, or of all.
    fn fetch(&mut self, partitions: Option<&[i32]>) -> Vec<(i32, i64)> {
        let version = self.version + 1;
        let mut request = OffsetFetchRequest::default();
        if version < 8 {
            request.group_id = GROUP.into();
            request.topics = partitions.map(|partitions| {
                vec![OffsetFetchRequestTopic {
                    name: "t".into(),
                    partition_indexes: partitions.to_vec(),
                    ..Default::default()
                }]
            });
        } else {
            request.topics = Some(Vec::new());
            request.groups = vec![OffsetFetchRequestGroup {
                group_id: GROUP.into(),
                topics: partitions.map(|partitions| {
                    vec![OffsetFetchRequestTopics {
                        name: "t".into(),
                        topic_id: self.topic_id,
                        partition_indexes: partitions.to_vec(),
                        ..Default::default()
                    }]
                }),
                ..Default::default()
            }];
        }
        let mut response = self.client.call(version, &request);
        assert_eq!(code(response.error_code), ErrorCode::None);
        let topics = match response.groups.pop() {
            Some(group) => {
                assert_eq!(code(group.error_code), ErrorCode::None);
                let topic = group.topics.into_iter().flat_map(|topic| topic.partitions);
                topic.map(|it| (it.partition_index, it.committed_offset, it.metadata, it.error_code)).collect()
            }
            None => {
                let topic = response.topics.into_iter().flat_map(|topic| topic.partitions);
                topic
                    .map(|it| (it.partition_index, it.committed_offset, it.metadata, it.error_code))
                    .collect::<Vec<_>>()
            }
        };
        let check = |(index, offset, metadata, error): (i32, i64, Option<String>, i16)| {
            assert_eq!(code(error), ErrorCode::None);
            assert_eq!(metadata.as_deref(), Some(if offset == -1 { "" } else { "note" }));
            (index, offset)
        };
        topics.into_iter().map(check).collect()
    }

    fn leave(&mut self) -> ErrorCode {
        let version = self.version.min(5);
        let mut request = LeaveGroupRequest { group_id: GROUP.into(), ..Default::default() };
        if version < 3 {
            request.member_id.clone_from(&self.id);
        } else {
            request.members = vec![MemberIdentity { member_id: self.id.clone(), ..Default::default() }];
        }
        let response = self.client.call(version, &request);
        assert_eq!(response.members.len(), usize::from(version >= 3));
        code(response.members.first().map_or(response.error_code, |member| member.error_code))
    }

    fn describe(&mut self) -> (String, usize) {
        let request = DescribeGroupsRequest { groups: vec![GROUP.into()], ..Default::default() };
        let group = self.client.call(self.version.min(6), &request).groups.remove(0);
        (group.group_state, group.members.len())
    }

    fn list(&mut self) -> Vec<String> {
        let response = self.client.call(self.version.min(5), &ListGroupsRequest::default());
        assert_eq!(code(response.error_code), ErrorCode::None);
        response.groups.into_iter().map(|group| group.group_id).collect()
    }

    fn delete(&mut self) -> ErrorCode {
        let request = DeleteGroupsRequest { groups_names: vec![GROUP.into(), GROUP.into()], ..Default::default() };
        let results = self.client.call(self.version.min(2), &request).results;
        assert_eq!(results.len(), 1, "a group named twice is deleted once");
        code(results[0].error_code)
    }
}

#[test]
fn a_group_lives_and_dies_in_every_version() {
    let broker = support::start();
    let mut client = Client::connect(&broker);
    let topic_id = client.create_topic("t", 2, &[]);
    for version in 0..=9 {
        let mut member = Member::new(&mut client, version, topic_id);
        let (error, node, host, port) = member.find_coordinator();
        assert_eq!((code(error), node), (ErrorCode::None, 1), "version {version}");
        assert_eq!(format!("{host}:{port}"), broker.bootstrap_servers());

        let joined = member.join();
        assert_eq!((joined.generation_id, joined.members.len()), (1, 1));
        assert_eq!(joined.protocol_name.as_deref(), Some("range"));
        assert_eq!(member.sync(), "all");
        assert_eq!(member.heartbeat(), ErrorCode::None);
        assert_eq!(member.commit(42), [ErrorCode::None, ErrorCode::UnknownTopicOrPartition]);
        assert_eq!(member.fetch(Some(&[0, 1])), [(0, 42), (1, -1)]);
        if version >= 1 {
            assert_eq!(member.fetch(None), [(0, 42)]);
        }
        assert_eq!(member.describe(), ("Stable".into(), 1));
        assert_eq!(member.list(), [GROUP]);
        assert_eq!(member.delete(), ErrorCode::NonEmptyGroup);
        assert_eq!(member.leave(), ErrorCode::None);
        assert_eq!(member.describe(), ("Empty".into(), 0));
        assert_eq!(member.heartbeat(), ErrorCode::UnknownMemberId);
        assert_eq!(member.delete(), ErrorCode::None);
        assert_eq!(member.describe(), ("Dead".into(), 0));
        assert!(member.list().is_empty());
    }
}

#[test]
fn a_killed_broker_knows_its_members_and_their_offsets_again() {
    let dir = tempfile::tempdir().unwrap();
    let start = || embedded::Broker::start(embedded::Config::default().dir(dir.path())).unwrap();
    let broker = start();
    let mut client = Client::connect(&broker);
    let topic_id = client.create_topic("t", 1, &[]);
    let mut member = Member::new(&mut client, 9, topic_id);
    member.find_coordinator();
    member.join();
    member.sync();
    for offset in 0..100 {
        member.commit(offset);
    }
    let (id, generation) = (member.id.clone(), member.generation);
    broker.abort();

    let broker = start();
    let mut client = Client::connect(&broker);
    let mut member = Member { id, generation, ..Member::new(&mut client, 9, topic_id) };
    // While the group is loaded, requests are told so.
    while member.describe().0.is_empty() {}
    assert_eq!(member.describe(), ("Stable".into(), 1));
    assert_eq!(member.heartbeat(), ErrorCode::None);
    assert_eq!(member.fetch(Some(&[0])), [(0, 99)]);
    assert_eq!(member.sync(), "all");
}

#[test]
fn offsets_go_with_their_topic_or_when_they_are_deleted() {
    let broker = support::start();
    let mut client = Client::connect(&broker);
    let topic_id = client.create_topic("t", 1, &[]);
    let mut member = Member::new(&mut client, 8, topic_id);
    member.find_coordinator();
    member.commit(7);
    let delete = OffsetDeleteRequest {
        group_id: GROUP.into(),
        topics: vec![OffsetDeleteRequestTopic {
            name: "t".into(),
            partitions: vec![
                OffsetDeleteRequestPartition { partition_index: 0 },
                OffsetDeleteRequestPartition { partition_index: 1 },
            ],
        }],
    };
    let mut response = member.client.call(0, &delete);
    assert_eq!(code(response.error_code), ErrorCode::None);
    let mut partitions = response.topics.remove(0).partitions;
    partitions.sort_by_key(|partition| partition.partition_index);
    let errors: Vec<_> = partitions.iter().map(|partition| code(partition.error_code)).collect();
    assert_eq!(errors, [ErrorCode::None, ErrorCode::UnknownTopicOrPartition]);
    assert_eq!(member.fetch(Some(&[0])), [(0, -1)]);

    member.commit(8);
    let request = DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 5000, ..Default::default() };
    assert_eq!(code(member.client.call(5, &request).responses[0].error_code), ErrorCode::None);
    assert!(member.fetch(None).is_empty());
    let again = client.create_topic("t", 1, &[]);
    let mut member = Member::new(&mut client, 8, again);
    assert_eq!(member.fetch(Some(&[0])), [(0, -1)]);
}

#[test]
fn coordinators_that_are_not_there_are_refused_by_name() {
    let broker = support::start();
    let mut client = Client::connect(&broker);
    for (key_type, error, text) in [
        (2, ErrorCode::UnsupportedVersion, "This broker does not support share groups."),
        (7, ErrorCode::InvalidRequest, ErrorCode::InvalidRequest.message()),
    ] {
        let request = FindCoordinatorRequest { key_type, coordinator_keys: vec!["x".into()], ..Default::default() };
        let coordinator = client.call(6, &request).coordinators.remove(0);
        assert_eq!(code(coordinator.error_code), error);
        assert_eq!(coordinator.error_message.as_deref(), Some(text));
        assert_eq!(coordinator.node_id, -1);
    }
}

#[test]
fn a_member_of_the_consumer_protocol_joins_is_described_and_leaves() {
    let broker = support::start();
    let mut client = Client::connect(&broker);
    let topic_id = client.create_topic("t", 3, &[]);
    Member::new(&mut client, 9, topic_id).find_coordinator();
    for version in 0..=1 {
        let join = ConsumerGroupHeartbeatRequest {
            group_id: GROUP.into(),
            member_id: format!("member-{version}"),
            rebalance_timeout_ms: 5_000,
            subscribed_topic_names: Some(vec!["t".into()]),
            topic_partitions: Some(Vec::new()),
            ..Default::default()
        };
        let response = client.call(version, &join);
        assert_eq!((code(response.error_code), response.error_message), (ErrorCode::None, None));
        let assigned = response.assignment.unwrap().topic_partitions;
        assert_eq!((assigned[0].topic_id, assigned[0].partitions.as_slice()), (topic_id, &[0, 1, 2][..]));

        let describe = ConsumerGroupDescribeRequest {
            group_ids: vec![GROUP.into(), "nosuch".into()],
            include_authorized_operations: true,
            ..Default::default()
        };
        let groups = client.call(version, &describe).groups;
        assert_eq!((groups[0].group_state.as_str(), groups[0].assignor_name.as_str()), ("Stable", "uniform"));
        // READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
        assert_eq!(groups[0].authorized_operations, 3400);
        let member = &groups[0].members[0];
        assert_eq!(member.assignment, member.target_assignment);
        assert_eq!(member.assignment.topic_partitions[0].topic_name, "t");
        assert_eq!(code(groups[1].error_code), ErrorCode::GroupIdNotFound);
        assert_eq!(groups[1].error_message.as_deref(), Some("Group nosuch not found."));

        let held = TopicPartitions { topic_id, partitions: vec![0, 1, 2], ..Default::default() };
        let leave = ConsumerGroupHeartbeatRequest {
            member_epoch: -1,
            subscribed_topic_names: None,
            topic_partitions: Some(vec![held]),
            ..join
        };
        assert_eq!(client.call(version, &leave).member_epoch, -1);
        let refused = client.call(version, &leave);
        assert_eq!(code(refused.error_code), ErrorCode::UnknownMemberId);
        assert!(refused.error_message.unwrap().contains("is not a member of group group"));
    }
}

/// KIP-848: a group's own setting goes before the broker's.
#[test]
fn a_group_with_settings_of_its_own_follows_them() {
    const GROUP_RESOURCE: i8 = 32;
    let broker = support::start();
    let mut client = Client::connect(&broker);
    let topic_id = client.create_topic("t", 1, &[]);
    Member::new(&mut client, 9, topic_id).find_coordinator();
    let heartbeat_interval = |client: &mut Client, group: &str| {
        let join = ConsumerGroupHeartbeatRequest {
            group_id: group.into(),
            member_id: "m".into(),
            rebalance_timeout_ms: 5_000,
            subscribed_topic_names: Some(vec!["t".into()]),
            topic_partitions: Some(Vec::new()),
            ..Default::default()
        };
        client.call(1, &join).heartbeat_interval_ms
    };
    let configs = vec![AlterableConfig {
        name: "consumer.heartbeat.interval.ms".into(),
        value: Some("7000".into()),
        ..Default::default()
    }];
    let resource = AlterConfigsResource {
        resource_type: GROUP_RESOURCE,
        resource_name: "own".into(),
        configs,
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    assert_eq!(client.call(1, &request).responses[0].error_code, 0);
    assert_eq!(heartbeat_interval(&mut client, "own"), 7_000);
    assert_eq!(heartbeat_interval(&mut client, "other"), 5_000);
}

/// The coordinator's answer to a commit: whether its topic is served.
fn commit_error(client: &mut Client, offset: i64) -> i16 {
    let partition =
        OffsetCommitRequestPartition { committed_offset: offset, committed_leader_epoch: -1, ..Default::default() };
    let topic = OffsetCommitRequestTopic { name: "t".to_owned(), partitions: vec![partition], ..Default::default() };
    let request = OffsetCommitRequest {
        group_id: "g".to_owned(),
        generation_id_or_member_epoch: -1,
        retention_time_ms: -1,
        topics: vec![topic],
        ..Default::default()
    };
    client.call(9, &request).topics[0].partitions[0].error_code
}

#[test]
fn groups_are_served_as_long_as_their_topic_is_there_whoever_made_it() {
    let broker = support::start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    assert_eq!(commit_error(&mut client, 1), ErrorCode::NotCoordinator.code());
    // Nobody asks for the coordinator: the topic is made, deleted and made again by name.
    for offset in [5, 6] {
        client.create_topic("__consumer_offsets", 3, &[("cleanup.policy", "compact")]);
        let fetch = OffsetFetchRequest {
            groups: vec![OffsetFetchRequestGroup {
                group_id: "g".to_owned(),
                member_epoch: -1,
                topics: None,
                ..Default::default()
            }],
            ..Default::default()
        };
        assert_eq!(client.call(9, &fetch).groups[0].topics, [], "what another topic held is gone");
        assert_eq!(commit_error(&mut client, offset), 0);
        let found = client.call(9, &fetch).groups.remove(0).topics.remove(0);
        assert_eq!(found.partitions[0].committed_offset, offset);
        let state = DeleteTopicState { name: Some("__consumer_offsets".to_owned()), ..Default::default() };
        let request = DeleteTopicsRequest { topics: vec![state], timeout_ms: 5000, ..Default::default() };
        assert_eq!(client.call(6, &request).responses[0].error_code, 0);
        assert_eq!(commit_error(&mut client, 1), ErrorCode::NotCoordinator.code());
    }
}

#[test]
fn a_protocol_that_is_turned_off_is_refused_as_a_version_that_is_not_known() {
    let config = embedded::Config::default().property("group.coordinator.rebalance.protocols", "classic");
    let broker = embedded::Broker::start(config).unwrap();
    let mut client = Client::connect(&broker);
    let topic_id = client.create_topic("t", 1, &[]);
    let mut member = Member::new(&mut client, 9, topic_id);
    member.find_coordinator();
    member.join();
    let request = ConsumerGroupHeartbeatRequest {
        group_id: "g".to_owned(),
        member_id: "m".to_owned(),
        subscribed_topic_names: Some(vec!["t".to_owned()]),
        topic_partitions: Some(Vec::new()),
        rebalance_timeout_ms: 1000,
        ..Default::default()
    };
    assert_eq!(code(client.call(1, &request).error_code), ErrorCode::UnsupportedVersion);
    let request = ConsumerGroupDescribeRequest { group_ids: vec!["g".to_owned()], ..Default::default() };
    assert_eq!(code(client.call(1, &request).groups[0].error_code), ErrorCode::UnsupportedVersion);
}
