//! OffsetFetch (9), versions 1–10.
//!
//! Tells what groups have committed, for some partitions or for all. An offset that is not there is -1, for a group
//! that is not there too.
//!
//! Versions: 2 all topics, an error for the whole group · 3 throttle time · 5 leader epochs (KIP-320) · 6 flexible ·
//! 7 stable offsets only (KIP-447) · 8 several groups (KIP-709) · 9 members of the consumer protocol (KIP-848) ·
//! 10 topics by id (KIP-848).

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use vltava_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use vltava_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use vltava_security::acl::AclOperation;

use crate::coordinator::group::GroupCoordinator;
use crate::metadata::MetadataStore;
use crate::metadata::image::MetadataImage;
use crate::request::RequestContext;
use crate::security::Resource;

/// The first version with an error for the whole group.
const GROUP_ERROR_VERSION: i16 = 2;
/// The first version with several groups.
const SEVERAL_GROUPS_VERSION: i16 = 8;
/// The first version with topics by id.
const TOPIC_IDS_VERSION: i16 = 10;

pub(crate) async fn handle(
    metadata: &MetadataStore,
    groups: &GroupCoordinator,
    context: &RequestContext,
    request: &OffsetFetchRequest,
) -> OffsetFetchResponse {
    if context.version >= SEVERAL_GROUPS_VERSION {
        let mut fetched = Vec::with_capacity(request.groups.len());
        for group in &request.groups {
            fetched.push(fetch(metadata, groups, context, group, request.require_stable).await);
        }
        return OffsetFetchResponse { groups: fetched, ..OffsetFetchResponse::default() };
    }
    let topics = request.topics.as_ref().map(|topics| {
        let topic = |topic: &vltava_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic| {
            OffsetFetchRequestTopics {
                name: topic.name.clone(),
                partition_indexes: topic.partition_indexes.clone(),
                ..OffsetFetchRequestTopics::default()
            }
        };
        topics.iter().map(topic).collect()
    });
    let group =
        OffsetFetchRequestGroup { group_id: request.group_id.clone(), topics, ..OffsetFetchRequestGroup::default() };
    single_group(fetch(metadata, groups, context, &group, request.require_stable).await)
}

async fn fetch(
    metadata: &MetadataStore,
    groups: &GroupCoordinator,
    context: &RequestContext,
    group: &OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let image = metadata.image();
    let by_id = context.version >= TOPIC_IDS_VERSION;
    let mut unknown = Vec::new();
    let fetched = if context.may(AclOperation::Describe, Resource::group(&group.group_id)) {
        let topics = group.topics.as_ref().map(|topics| resolve(&image, context, topics, &mut unknown));
        let fetched = groups.with_shard(&group.group_id, |shard, _| {
            shard.validate_fetch(&group.group_id, group.member_id.as_deref(), group.member_epoch)?;
            Ok(shard.fetch_offsets(&group.group_id, topics.as_deref(), require_stable))
        });
        fetched.await.and_then(|fetched| fetched)
    } else {
        Err(ErrorCode::GroupAuthorizationFailed)
    };
    let mut response =
        OffsetFetchResponseGroup { group_id: group.group_id.clone(), ..OffsetFetchResponseGroup::default() };
    match fetched {
        Ok(topics) => {
            response.topics = topics;
            if group.topics.is_none() {
                response.topics.retain(|topic| context.may(AclOperation::Describe, Resource::topic(&topic.name)));
            }
            if by_id && group.topics.is_none() {
                response.topics.retain_mut(|topic| match image.topic(&topic.name) {
                    Some(found) => {
                        topic.topic_id = found.id;
                        true
                    }
                    // What has no id any more cannot be told in this version.
                    None => false,
                });
            }
            response.topics.append(&mut unknown);
        }
        Err(error) if context.version >= GROUP_ERROR_VERSION => response.error_code = error.code(),
        Err(error) => response.topics = group.topics.iter().flatten().map(|topic| refuse(topic, error)).collect(),
    }
    response
}

/// Gives topics their names and ids; those with an unknown id, and those that the sender may not see, are answered aside.
fn resolve(
    image: &MetadataImage,
    context: &RequestContext,
    topics: &[OffsetFetchRequestTopics],
    unknown: &mut Vec<OffsetFetchResponseTopics>,
) -> Vec<OffsetFetchRequestTopics> {
    let mut resolved = Vec::with_capacity(topics.len());
    for topic in topics {
        let name = match context.version >= TOPIC_IDS_VERSION {
            true => image.topic_by_id(topic.topic_id).map(|found| found.name.to_string()),
            false => Some(topic.name.clone()),
        };
        match name {
            None => unknown.push(refuse(topic, ErrorCode::UnknownTopicId)),
            Some(name) if context.may(AclOperation::Describe, Resource::topic(&name)) => {
                resolved.push(OffsetFetchRequestTopics { name, ..topic.clone() });
            }
            Some(_) => unknown.push(refuse(topic, ErrorCode::TopicAuthorizationFailed)),
        }
    }
    resolved
}

fn refuse(topic: &OffsetFetchRequestTopics, error: ErrorCode) -> OffsetFetchResponseTopics {
    let partition = |index: &i32| OffsetFetchResponsePartitions {
        partition_index: *index,
        committed_offset: -1,
        metadata: Some(String::new()),
        error_code: error.code(),
        ..OffsetFetchResponsePartitions::default()
    };
    OffsetFetchResponseTopics {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.iter().map(partition).collect(),
        ..OffsetFetchResponseTopics::default()
    }
}

/// Puts a group into the form that the versions with one group have.
fn single_group(group: OffsetFetchResponseGroup) -> OffsetFetchResponse {
    let partition = |partition: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
        ..OffsetFetchResponsePartition::default()
    };
    let topic = |topic: OffsetFetchResponseTopics| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
        ..OffsetFetchResponseTopic::default()
    };
    OffsetFetchResponse {
        error_code: group.error_code,
        topics: group.topics.into_iter().map(topic).collect(),
        ..OffsetFetchResponse::default()
    }
}
