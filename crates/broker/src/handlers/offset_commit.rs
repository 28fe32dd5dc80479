//! OffsetCommit (8), versions 2–10.
//!
//! Stores offsets of a group: for a member of its current generation, or for anybody if the group has no members.
//! Offsets of partitions that do not exist are refused one by one.
//!
//! Versions: 3 throttle time · 5 no retention time, the broker's holds · 6 leader epochs (KIP-320) · 7 static members
//! (KIP-345) · 8 flexible · 9 members of the consumer protocol (KIP-848) · 10 topics by id (KIP-848).

use vltava_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use vltava_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use vltava_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use vltava_protocol::{ErrorCode, Uuid};
use vltava_security::acl::AclOperation;

use crate::coordinator::group::GroupCoordinator;
use crate::metadata::MetadataStore;
use crate::metadata::image::MetadataImage;
use crate::request::RequestContext;
use crate::security::Resource;

/// The first version with topics by id.
const TOPIC_IDS_VERSION: i16 = 10;

pub(crate) async fn handle(
    metadata: &MetadataStore,
    groups: &GroupCoordinator,
    context: &RequestContext,
    request: &OffsetCommitRequest,
) -> OffsetCommitResponse {
    let image = metadata.image();
    let mut answers = Answers::default();
    if !context.may(AclOperation::Read, Resource::group(&request.group_id)) {
        request.topics.iter().for_each(|topic| answers.refuse(topic, ErrorCode::GroupAuthorizationFailed));
        return answers.into_response();
    }
    let mut accepted = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        if let Some(topic) = resolve(&image, context, topic.clone(), &mut answers) {
            accepted.push(topic);
        }
    }
    if accepted.is_empty() {
        return answers.into_response();
    }
    let commit = OffsetCommitRequest { topics: accepted.clone(), ..request.clone() };
    let committed =
        groups.with_shard(&request.group_id, |shard, now| shard.commit_offsets(now, &context.caller(), commit));
    match committed.await.and_then(|result| result) {
        // As Kafka: a topic that is named twice is answered twice, unless something of the request was refused.
        Ok(topics) if answers.0.is_empty() => answers.0 = topics,
        Ok(topics) => {
            for topic in topics {
                for partition in topic.partitions {
                    answers.add(&topic.name, topic.topic_id, partition.partition_index, partition.error_code);
                }
            }
        }
        Err(error) => {
            for topic in &accepted {
                answers.refuse(topic, error);
            }
        }
    }
    answers.into_response()
}

/// Gives a topic its name and its id, and keeps those of its partitions that exist.
fn resolve(
    image: &MetadataImage,
    context: &RequestContext,
    mut topic: OffsetCommitRequestTopic,
    answers: &mut Answers,
) -> Option<OffsetCommitRequestTopic> {
    let by_id = context.version >= TOPIC_IDS_VERSION;
    let found = if by_id { image.topic_by_id(topic.topic_id) } else { image.topic(&topic.name) };
    match found {
        Some(found) => topic.name = found.name.to_string(),
        None if by_id => {
            answers.refuse(&topic, ErrorCode::UnknownTopicId);
            return None;
        }
        None => {}
    }
    if !context.may(AclOperation::Read, Resource::topic(&topic.name)) {
        answers.refuse(&topic, ErrorCode::TopicAuthorizationFailed);
        return None;
    }
    let Some(found) = found else {
        answers.refuse(&topic, ErrorCode::UnknownTopicOrPartition);
        return None;
    };
    topic.topic_id = found.id;
    let exists = |index: i32| usize::try_from(index).is_ok_and(|index| index < found.partitions.len());
    for partition in topic.partitions.iter().filter(|partition| !exists(partition.partition_index)) {
        let error = ErrorCode::UnknownTopicOrPartition.code();
        answers.add(&topic.name, topic.topic_id, partition.partition_index, error);
    }
    topic.partitions.retain(|partition| exists(partition.partition_index));
    (!topic.partitions.is_empty()).then_some(topic)
}

/// The answer in the making: a topic is in it once.
#[derive(Default)]
struct Answers(Vec<OffsetCommitResponseTopic>);

impl Answers {
    fn add(&mut self, name: &str, topic_id: Uuid, partition_index: i32, error_code: i16) {
        let partition =
            OffsetCommitResponsePartition { partition_index, error_code, ..OffsetCommitResponsePartition::default() };
        match self.0.iter_mut().rev().find(|topic| topic.name == name && topic.topic_id == topic_id) {
            Some(topic) => topic.partitions.push(partition),
            None => self.0.push(OffsetCommitResponseTopic {
                name: name.to_owned(),
                topic_id,
                partitions: vec![partition],
                ..OffsetCommitResponseTopic::default()
            }),
        }
    }

    fn refuse(&mut self, topic: &OffsetCommitRequestTopic, error: ErrorCode) {
        for partition in &topic.partitions {
            self.add(&topic.name, topic.topic_id, partition.partition_index, error.code());
        }
    }

    fn into_response(self) -> OffsetCommitResponse {
        OffsetCommitResponse { topics: self.0, ..OffsetCommitResponse::default() }
    }
}
