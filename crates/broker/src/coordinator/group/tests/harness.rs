//! Drives a shard as the service does, by a clock that the test moves, with the log in a vector.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use vltava_protocol::messages::heartbeat_request::HeartbeatRequest;
use vltava_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use vltava_protocol::messages::join_group_response::JoinGroupResponse;
use vltava_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use vltava_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use vltava_protocol::messages::offset_fetch_request::OffsetFetchRequestTopics;
use vltava_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use vltava_protocol::messages::sync_group_response::SyncGroupResponse;
use vltava_protocol::wire::{Message, Writer};
use vltava_protocol::{ErrorCode, Uuid};

use crate::coordinator::group::records::CoordinatorRecord;
use crate::coordinator::group::shard::GroupReply;
use crate::coordinator::group::{Caller, GroupCoordinatorConfig, GroupCoordinatorShard};
use crate::coordinator::record::{NO_PRODUCER_ID, RecordBytes};
use crate::coordinator::shard::{Now, ReplyToken, Shard};

/// The wall clock at the start of a test.
pub(in crate::coordinator::group) const START_MS: i64 = 1_700_000_000_000;
/// The group of most tests.
pub(in crate::coordinator::group) const GROUP: &str = "group";
/// What most members ask for.
pub(in crate::coordinator::group) const SESSION_MS: i32 = 10_000;
pub(in crate::coordinator::group) const REBALANCE_MS: i32 = 60_000;

pub(in crate::coordinator::group) struct Harness {
    pub(in crate::coordinator::group) shard: GroupCoordinatorShard,
    pub(in crate::coordinator::group) config: Arc<GroupCoordinatorConfig>,
    pub(in crate::coordinator::group) now: Now,
    pub(in crate::coordinator::group) log: Vec<RecordBytes>,
    pub(in crate::coordinator::group) joins: BTreeMap<ReplyToken, JoinGroupResponse>,
    pub(in crate::coordinator::group) syncs: BTreeMap<ReplyToken, SyncGroupResponse>,
    next_token: u64,
}

/// A member as a test sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::coordinator::group) struct Member {
    pub(in crate::coordinator::group) id: String,
    pub(in crate::coordinator::group) instance: Option<String>,
    pub(in crate::coordinator::group) generation: i32,
}

impl Harness {
    pub(in crate::coordinator::group) fn new() -> Self {
        Self::with_config(GroupCoordinatorConfig::default())
    }

    pub(in crate::coordinator::group) fn with_config(config: GroupCoordinatorConfig) -> Self {
        let config = Arc::new(config);
        let now = Now { elapsed_ms: 0, timestamp_ms: START_MS };
        let mut shard = GroupCoordinatorShard::new(&config, 7);
        shard.loaded(now);
        Self { shard, config, now, log: Vec::new(), joins: BTreeMap::new(), syncs: BTreeMap::new(), next_token: 0 }
    }

    /// Takes what the last operation gave: appends its records, notes its answers.
    pub(in crate::coordinator::group) fn collect(&mut self) {
        let output = self.shard.take_output();
        self.log.extend(output.records);
        assert_eq!(output.failure, None);
        for (token, reply) in output.replies {
            let is_first = match reply {
                GroupReply::Join(response) => self.joins.insert(token, response).is_none(),
                GroupReply::Sync(response) => self.syncs.insert(token, response).is_none(),
            };
            assert!(is_first, "{token:?} was answered twice");
        }
    }

    /// Lets time pass, with every deadline at its time.
    pub(in crate::coordinator::group) fn advance(&mut self, ms: i64) {
        let end = self.now.elapsed_ms + ms;
        while let Some(deadline) = self.shard.next_deadline().filter(|deadline| *deadline <= end) {
            self.set_clock(deadline.max(self.now.elapsed_ms));
            self.shard.expire(self.now);
            self.collect();
        }
        self.set_clock(end);
    }

    fn set_clock(&mut self, elapsed_ms: i64) {
        self.now = Now { elapsed_ms, timestamp_ms: START_MS + elapsed_ms };
    }

    /// Starts another shard from the log. Whoever waits is forgotten.
    pub(in crate::coordinator::group) fn restart(&mut self) {
        let mut shard = GroupCoordinatorShard::new(&self.config, self.next_token);
        replay_all(&mut shard, &self.log);
        self.shard = shard;
        self.shard.loaded(self.now);
        self.collect();
    }

    pub(in crate::coordinator::group) fn token(&mut self) -> ReplyToken {
        self.next_token += 1;
        ReplyToken(self.next_token)
    }

    pub(in crate::coordinator::group) fn join(&mut self, version: i16, request: JoinGroupRequest) -> ReplyToken {
        let token = self.token();
        self.shard.join_group(self.now, &caller(version), request, token);
        self.collect();
        token
    }

    /// Joins, and expects an answer at once.
    pub(in crate::coordinator::group) fn join_now(
        &mut self,
        version: i16,
        request: JoinGroupRequest,
    ) -> JoinGroupResponse {
        let token = self.join(version, request);
        self.joins.remove(&token).expect("an answer to the join")
    }

    /// Joins as a new dynamic member does: asks for an id, and comes back with it.
    pub(in crate::coordinator::group) fn join_dynamic(&mut self) -> ReplyToken {
        let first = self.join_now(9, join_request(""));
        assert_eq!(ErrorCode::from(first.error_code), ErrorCode::MemberIdRequired);
        self.join(9, join_request(&first.member_id))
    }

    pub(in crate::coordinator::group) fn joined(&mut self, token: ReplyToken) -> JoinGroupResponse {
        let response = self.joins.remove(&token).expect("an answer to the join");
        assert_eq!(ErrorCode::from(response.error_code), ErrorCode::None);
        response
    }

    pub(in crate::coordinator::group) fn sync(&mut self, member: &Member, assignments: &[(&str, &str)]) -> ReplyToken {
        let token = self.token();
        self.shard.sync_group(self.now, sync_request(member, assignments), token);
        self.collect();
        token
    }

    pub(in crate::coordinator::group) fn sync_now(
        &mut self,
        member: &Member,
        assignments: &[(&str, &str)],
    ) -> SyncGroupResponse {
        let token = self.sync(member, assignments);
        self.syncs.remove(&token).expect("an answer to the sync")
    }

    pub(in crate::coordinator::group) fn heartbeat(&mut self, member: &Member) -> ErrorCode {
        let request = HeartbeatRequest {
            group_id: GROUP.into(),
            generation_id: member.generation,
            member_id: member.id.clone(),
            group_instance_id: member.instance.clone(),
            ..HeartbeatRequest::default()
        };
        let result = self.shard.heartbeat(self.now, &request);
        self.collect();
        result.err().unwrap_or(ErrorCode::None)
    }

    pub(in crate::coordinator::group) fn leave(&mut self, members: &[(&str, Option<&str>)]) -> Vec<ErrorCode> {
        let identity = |(id, instance): &(&str, Option<&str>)| MemberIdentity {
            member_id: (*id).into(),
            group_instance_id: instance.map(Into::into),
            ..MemberIdentity::default()
        };
        let request = LeaveGroupRequest {
            group_id: GROUP.into(),
            members: members.iter().map(identity).collect(),
            ..LeaveGroupRequest::default()
        };
        let responses = self.shard.leave_group(self.now, request).expect("an answer per member");
        self.collect();
        responses.into_iter().map(|response| ErrorCode::from(response.error_code)).collect()
    }

    /// Commits an offset for `t`-0, and returns the partition's error, or that of the request.
    pub(in crate::coordinator::group) fn commit(
        &mut self,
        version: i16,
        request: OffsetCommitRequest,
    ) -> Result<ErrorCode, ErrorCode> {
        let result = self.shard.commit_offsets(self.now, &caller(version), request);
        self.collect();
        result.map(|topics| ErrorCode::from(topics[0].partitions[0].error_code))
    }

    /// Returns the committed offset of a partition, or the error it is answered by.
    pub(in crate::coordinator::group) fn fetch(&mut self, topic: &str, partition: i32) -> Result<i64, ErrorCode> {
        let request = OffsetFetchRequestTopics {
            name: topic.into(),
            partition_indexes: vec![partition],
            ..OffsetFetchRequestTopics::default()
        };
        let topics = self.shard.fetch_offsets(GROUP, Some(&[request]), true);
        let partition = &topics[0].partitions[0];
        match ErrorCode::from(partition.error_code) {
            ErrorCode::None => Ok(partition.committed_offset),
            error => Err(error),
        }
    }

    /// Makes a stable group with this many dynamic members; the first leads.
    pub(in crate::coordinator::group) fn stable_group(&mut self, members: usize) -> Vec<Member> {
        let tokens: Vec<_> = (0..members).map(|_| self.join_dynamic()).collect();
        self.advance(3_000);
        self.advance(3_000);
        let joined: Vec<_> = tokens.into_iter().map(|token| self.joined(token)).collect();
        let mut members: Vec<_> = joined.iter().map(Member::from).collect();
        members.sort_by_key(|member| member.id != joined[0].leader);
        let assignments: Vec<_> =
            members.iter().map(|member| (member.id.clone(), format!("of {}", member.id))).collect();
        let assignments: Vec<_> = assignments.iter().map(|(id, text)| (id.as_str(), text.as_str())).collect();
        for member in &members {
            let response = self.sync_now(member, &assignments);
            assert_eq!(response.assignment, format!("of {}", member.id).as_bytes());
        }
        members
    }

    /// Describes the group's state in one word.
    pub(in crate::coordinator::group) fn state(&self) -> String {
        self.shard.describe_group(6, GROUP).group_state
    }
}

impl From<&JoinGroupResponse> for Member {
    fn from(response: &JoinGroupResponse) -> Self {
        Self { id: response.member_id.clone(), instance: None, generation: response.generation_id }
    }
}

/// Replays a log into a shard.
pub(in crate::coordinator::group) fn replay_all(shard: &mut GroupCoordinatorShard, log: &[RecordBytes]) {
    for (position, record) in log.iter().enumerate() {
        replay_one(shard, position as i64, record);
    }
}

pub(in crate::coordinator::group) fn replay_one(
    shard: &mut GroupCoordinatorShard,
    position: i64,
    record: &RecordBytes,
) {
    let record = CoordinatorRecord::decode(record.key.clone(), record.value.clone()).unwrap().unwrap();
    shard.replay(position, NO_PRODUCER_ID, record);
}

pub(in crate::coordinator::group) fn caller(api_version: i16) -> Caller {
    Caller { api_version, client_id: "client".into(), client_host: "/127.0.0.1".into() }
}

pub(in crate::coordinator::group) fn join_request(member_id: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: GROUP.into(),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: REBALANCE_MS,
        member_id: member_id.into(),
        protocol_type: "consumer".into(),
        protocols: protocols(&["range"]),
        ..JoinGroupRequest::default()
    }
}

/// Makes protocols of these names, all with a subscription to `t`.
pub(in crate::coordinator::group) fn protocols(names: &[&str]) -> Vec<JoinGroupRequestProtocol> {
    let protocol = |name: &&str| JoinGroupRequestProtocol {
        name: (*name).into(),
        metadata: subscription(&["t"]),
        ..JoinGroupRequestProtocol::default()
    };
    names.iter().map(protocol).collect()
}

/// Writes a consumer's subscription, as Java's does.
pub(in crate::coordinator::group) fn subscription(topics: &[&str]) -> Bytes {
    let subscription = vltava_protocol::messages::ConsumerProtocolSubscription {
        topics: topics.iter().map(|topic| (*topic).into()).collect(),
        ..Default::default()
    };
    let mut writer = Writer::new();
    writer.i16(1);
    subscription.encode(&mut writer, 1).unwrap();
    writer.into_bytes()
}

pub(in crate::coordinator::group) fn sync_request(member: &Member, assignments: &[(&str, &str)]) -> SyncGroupRequest {
    let assignment = |(id, text): &(&str, &str)| SyncGroupRequestAssignment {
        member_id: (*id).into(),
        assignment: Bytes::copy_from_slice(text.as_bytes()),
        ..SyncGroupRequestAssignment::default()
    };
    SyncGroupRequest {
        group_id: GROUP.into(),
        generation_id: member.generation,
        member_id: member.id.clone(),
        group_instance_id: member.instance.clone(),
        assignments: assignments.iter().map(assignment).collect(),
        ..SyncGroupRequest::default()
    }
}

/// Makes a commit of one offset for `t`-0 by a member.
pub(in crate::coordinator::group) fn commit_request(member: &Member, offset: i64) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: GROUP.into(),
        generation_id_or_member_epoch: member.generation,
        member_id: member.id.clone(),
        group_instance_id: member.instance.clone(),
        topics: vec![commit_topic("t", 0, offset)],
        ..OffsetCommitRequest::default()
    }
}

/// Makes a commit by nobody in particular, as an administrator's is.
pub(in crate::coordinator::group) fn simple_commit(topic: &str, partition: i32, offset: i64) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: GROUP.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![commit_topic(topic, partition, offset)],
        ..OffsetCommitRequest::default()
    }
}

pub(in crate::coordinator::group) fn commit_topic(
    topic: &str,
    partition: i32,
    offset: i64,
) -> OffsetCommitRequestTopic {
    OffsetCommitRequestTopic {
        name: topic.into(),
        topic_id: topic_id(topic),
        partitions: vec![OffsetCommitRequestPartition {
            partition_index: partition,
            committed_offset: offset,
            committed_leader_epoch: 3,
            committed_metadata: Some("note".into()),
            ..OffsetCommitRequestPartition::default()
        }],
        ..OffsetCommitRequestTopic::default()
    }
}

/// An id for a topic of the tests.
pub(in crate::coordinator::group) fn topic_id(topic: &str) -> Uuid {
    Uuid::from_u128(u128::from(topic.bytes().map(u64::from).sum::<u64>()))
}
