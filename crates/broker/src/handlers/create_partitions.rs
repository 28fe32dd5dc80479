//! CreatePartitions (37), versions 0–3.
//!
//! A topic only grows. With `validate_only` nothing changes. Records that are already there stay
//! where they are, so keys may be split over two partitions from then on.
//!
//! Versions: 2 flexible · 3 what exceeds the quota is refused (KIP-599).

use std::collections::BTreeMap;
use std::sync::Arc;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use vltava_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use vltava_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use vltava_protocol::records::metadata::MetadataRecord;
use vltava_security::acl::AclOperation;

use crate::controller::Controller;
use crate::controller::topics::{self, MAX_PARTITIONS_PER_BATCH};
use crate::metadata::MetadataStore;
use crate::metadata::image::MetadataImage;
use crate::quota::MutationQuota;
use crate::request::{ApiError, RequestContext};
use crate::security::Resource;

/// The first version whose clients know that a quota is exceeded.
const STRICT_SINCE: i16 = 3;

pub(crate) async fn handle(
    metadata: &MetadataStore,
    controller: &Arc<Controller>,
    context: &RequestContext,
    request: &CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in &request.topics {
        *seen.entry(&topic.name).or_default() += 1;
    }
    let quota = context.mutation_quota(STRICT_SINCE);
    let mut response = CreatePartitionsResponse::default();
    for topic in &request.topics {
        let grown = match seen.get(topic.name.as_str()) {
            Some(1) if !context.may(AclOperation::Alter, Resource::topic(&topic.name)) => {
                Err(ErrorCode::TopicAuthorizationFailed.into())
            }
            Some(1) => grow(metadata, controller, topic, request.validate_only, &quota).await,
            Some(_) => {
                seen.remove(topic.name.as_str());
                Err(ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name."))
            }
            None => continue,
        };
        let mut result = CreatePartitionsTopicResult { name: topic.name.clone(), ..Default::default() };
        if let Err(error) = grown {
            result.error_code = error.code.code();
            // Kafka has no text of its own for a code here.
            result.error_message = error.message;
        }
        response.results.push(result);
    }
    context.charge_mutations(&quota);
    response
}

async fn grow(
    metadata: &MetadataStore,
    controller: &Arc<Controller>,
    topic: &CreatePartitionsTopic,
    validate_only: bool,
    quota: &MutationQuota,
) -> Result<(), ApiError> {
    if validate_only {
        return plan(controller, &metadata.image(), topic, quota).map(|_| ());
    }
    let (owner, topic, quota) = (Arc::clone(controller), topic.clone(), quota.clone());
    controller.update(move |image| Ok((plan(&owner, image, &topic, &quota)?, ()))).await
}

fn plan(
    controller: &Controller,
    image: &MetadataImage,
    wanted: &CreatePartitionsTopic,
    quota: &MutationQuota,
) -> Result<Vec<MetadataRecord>, ApiError> {
    let node_id = controller.config().node_id;
    let topic = image.topic(&wanted.name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let current = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    if wanted.count == current {
        let text = format!("Topic already has {current} partition(s).");
        return Err(ApiError::new(ErrorCode::InvalidPartitions, text));
    }
    if wanted.count < current {
        let text = format!(
            "The topic {} currently has {current} partition(s); {} would not be an increase.",
            wanted.name, wanted.count
        );
        return Err(ApiError::new(ErrorCode::InvalidPartitions, text));
    }
    let additional = usize::try_from(wanted.count - current).unwrap_or(usize::MAX);
    if additional > MAX_PARTITIONS_PER_BATCH {
        let text = "Excessively large number of partitions per request.";
        return Err(ApiError::new(ErrorCode::PolicyViolation, text));
    }
    if let Some(assignments) = wanted.assignments.as_ref().filter(|assignments| assignments.len() != additional) {
        let text = format!(
            "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
            assignments.len()
        );
        return Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, text));
    }
    quota.record(additional)?;
    if let Some(assignments) = &wanted.assignments {
        for assignment in assignments {
            topics::check_replicas(node_id, &assignment.broker_ids)?;
        }
    }
    topics::check_descriptors(controller, image, additional)?;
    let directories = topics::directories_for_new(controller)?;
    let added = current..wanted.count;
    Ok(added.map(|index| topics::partition_record(node_id, topic.id, index, &directories)).collect())
}
