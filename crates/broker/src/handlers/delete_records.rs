//! DeleteRecords (21), versions 0–2 (KIP-107).
//!
//! Moves the log start offset of partitions up to an offset, or with -1 to the high watermark.
//! What lies before is not readable from then on; the files go with the next look for old
//! segments. Refused for topics that are only compacted.
//!
//! Versions: 2 flexible.

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use vltava_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use vltava_security::acl::AclOperation;

use crate::metadata::topic_name;
use crate::partitions::Partitions;
use crate::request::RequestContext;
use crate::security::Resource;

pub(crate) fn handle(
    partitions: &Partitions,
    context: &RequestContext,
    request: &DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let topics = request.topics.iter().map(|topic| {
        let is_allowed = context.may(AclOperation::Delete, Resource::topic(&topic.name));
        let partitions = topic.partitions.iter().map(|asked| {
            let index = asked.partition_index;
            let mut answer = DeleteRecordsPartitionResult { partition_index: index, ..Default::default() };
            let deleted = match is_allowed {
                true => delete(partitions, &topic.name, index, asked.offset),
                false => Err(ErrorCode::TopicAuthorizationFailed),
            };
            match deleted {
                Ok(low_watermark) => answer.low_watermark = low_watermark,
                Err(error) => {
                    answer.low_watermark = -1;
                    answer.error_code = error.code();
                }
            }
            answer
        });
        DeleteRecordsTopicResult {
            name: topic.name.clone(),
            partitions: partitions.collect(),
            ..DeleteRecordsTopicResult::default()
        }
    });
    DeleteRecordsResponse { topics: topics.collect(), ..DeleteRecordsResponse::default() }
}

fn delete(partitions: &Partitions, topic: &str, index: i32, offset: i64) -> Result<i64, ErrorCode> {
    let partition = partitions.by_name(topic, index)?;
    if topic_name::is_internal(topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    partition.delete_records(offset)
}
