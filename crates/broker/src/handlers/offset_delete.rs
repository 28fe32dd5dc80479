//! OffsetDelete (47), version 0.
//!
//! Removes offsets of a group, for topics that none of its members subscribes to (KIP-496).

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use vltava_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use vltava_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use vltava_security::acl::AclOperation;

use crate::coordinator::group::GroupCoordinator;
use crate::metadata::MetadataStore;
use crate::metadata::image::MetadataImage;
use crate::request::RequestContext;
use crate::security::Resource;

pub(crate) async fn handle(
    metadata: &MetadataStore,
    groups: &GroupCoordinator,
    context: &RequestContext,
    request: &OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    if !context.may(AclOperation::Delete, Resource::group(&request.group_id)) {
        let error_code = ErrorCode::GroupAuthorizationFailed.code();
        return OffsetDeleteResponse { error_code, ..OffsetDeleteResponse::default() };
    }
    let image = metadata.image();
    let mut response = OffsetDeleteResponse::default();
    let mut known = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        if !context.may(AclOperation::Read, Resource::topic(&topic.name)) {
            let refused = topic.partitions.iter().map(|asked| refuse(asked, ErrorCode::TopicAuthorizationFailed));
            let (name, partitions) = (topic.name.clone(), refused.collect());
            response.topics.push(OffsetDeleteResponseTopic { name, partitions });
            continue;
        }
        let (present, missing) = split(&image, topic);
        if !missing.partitions.is_empty() {
            response.topics.push(missing);
        }
        if !present.partitions.is_empty() {
            known.push(present);
        }
    }
    let delete = OffsetDeleteRequest { topics: known, ..request.clone() };
    let deleted = groups.with_shard(&request.group_id, |shard, now| shard.delete_offsets(now, delete));
    match deleted.await.and_then(|result| result) {
        Err(error) => OffsetDeleteResponse { error_code: error.code(), ..OffsetDeleteResponse::default() },
        Ok(topics) => {
            for topic in topics {
                match response.topics.iter_mut().find(|other| other.name == topic.name) {
                    Some(other) => other.partitions.extend(topic.partitions),
                    None => response.topics.push(topic),
                }
            }
            response
        }
    }
}

fn refuse(partition: &OffsetDeleteRequestPartition, error: ErrorCode) -> OffsetDeleteResponsePartition {
    OffsetDeleteResponsePartition { partition_index: partition.partition_index, error_code: error.code() }
}

/// Parts the partitions that exist from those that do not.
fn split(
    image: &MetadataImage,
    topic: &OffsetDeleteRequestTopic,
) -> (OffsetDeleteRequestTopic, OffsetDeleteResponseTopic) {
    let count = image.topic(&topic.name).map_or(0, |found| found.partitions.len());
    let exists = |index: i32| usize::try_from(index).is_ok_and(|index| index < count);
    let (present, missing): (Vec<_>, Vec<_>) =
        topic.partitions.iter().cloned().partition(|partition| exists(partition.partition_index));
    let refused = missing.iter().map(|partition| refuse(partition, ErrorCode::UnknownTopicOrPartition));
    (
        OffsetDeleteRequestTopic { name: topic.name.clone(), partitions: present },
        OffsetDeleteResponseTopic { name: topic.name.clone(), partitions: refused.collect() },
    )
}
