//! OffsetDelete (47), version 0.
//!
//! Removes offsets of a group, for topics that none of its members subscribes to (KIP-496).

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use vltava_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use vltava_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use crate::coordinator::group::GroupCoordinator;
use crate::metadata::MetadataStore;
use crate::metadata::image::MetadataImage;
use crate::request::RequestContext;

pub(crate) async fn handle(
    metadata: &MetadataStore,
    groups: &GroupCoordinator,
    _: &RequestContext,
    request: &OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let image = metadata.image();
    let mut response = OffsetDeleteResponse::default();
    let mut known = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
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

/// Parts the partitions that exist from those that do not.
fn split(
    image: &MetadataImage,
    topic: &OffsetDeleteRequestTopic,
) -> (OffsetDeleteRequestTopic, OffsetDeleteResponseTopic) {
    let count = image.topic(&topic.name).map_or(0, |found| found.partitions.len());
    let exists = |index: i32| usize::try_from(index).is_ok_and(|index| index < count);
    let (present, missing): (Vec<_>, Vec<_>) =
        topic.partitions.iter().cloned().partition(|partition| exists(partition.partition_index));
    let refused = missing.into_iter().map(|partition| OffsetDeleteResponsePartition {
        partition_index: partition.partition_index,
        error_code: ErrorCode::UnknownTopicOrPartition.code(),
    });
    (
        OffsetDeleteRequestTopic { name: topic.name.clone(), partitions: present },
        OffsetDeleteResponseTopic { name: topic.name.clone(), partitions: refused.collect() },
    )
}
