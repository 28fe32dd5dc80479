//! Topics come into being: what is checked, and which records say so.

use std::collections::BTreeMap;
use std::sync::Arc;

use vltava_protocol::records::metadata::{ConfigRecord, MetadataRecord, PartitionRecord, TopicRecord};
use vltava_protocol::{ErrorCode, Uuid};

use super::{Controller, alter};
use crate::config::BrokerConfig;
use crate::config::resolve::{self, Settings};
use crate::log_dirs::random_id;
use crate::metadata::image::{MetadataImage, ResourceType};
use crate::metadata::topic_name;
use crate::quota::MutationQuota;
use crate::request::ApiError;

/// The most partitions that one request may create (Kafka's limit on records of one operation).
pub(crate) const MAX_PARTITIONS_PER_BATCH: usize = 10_000;

/// A topic that somebody wants.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewTopic {
    pub(crate) name: String,
    /// -1 for the broker's `num.partitions`.
    pub(crate) num_partitions: i32,
    /// -1 for the broker's `default.replication.factor`.
    pub(crate) replication_factor: i16,
    /// Partition and its replicas, where the request assigns them.
    pub(crate) assignments: Vec<(i32, Vec<i32>)>,
    pub(crate) configs: Settings,
}

/// A topic as it will be.
#[derive(Debug)]
pub(crate) struct PlannedTopic {
    pub(crate) id: Uuid,
    pub(crate) num_partitions: i32,
    pub(crate) replication_factor: i16,
    pub(crate) records: Vec<MetadataRecord>,
}

/// Checks a new topic against the cluster and gives the records that create it.
pub(crate) fn plan(
    controller: &Controller,
    image: &MetadataImage,
    topic: &NewTopic,
    quota: &MutationQuota,
) -> Result<PlannedTopic, ApiError> {
    let name = topic.name.as_str();
    if let Some(reason) = topic_name::invalid(name) {
        return Err(ApiError::new(ErrorCode::InvalidTopicException, reason));
    }
    if let Some(other) = topic_name::collision(name, image.topics().map(|t| t.name.as_ref())) {
        let text = format!("Topic '{name}' collides with existing topic: {other}");
        return Err(ApiError::new(ErrorCode::InvalidTopicException, text));
    }
    if image.topic(name).is_some() {
        return Err(ApiError::new(ErrorCode::TopicAlreadyExists, format!("Topic '{name}' already exists.")));
    }
    resolve::validate_topic(image.sources(&controller.config), &topic.configs)
        .map_err(|error| ApiError::new(ErrorCode::InvalidConfig, error.kafka_message()))?;
    alter::warn_without_effect(ResourceType::Topic, name, &topic.configs);
    let num_partitions = partitions(&controller.config, topic)?;
    check_descriptors(controller, image, usize::try_from(num_partitions).unwrap_or(0))?;
    quota.record(usize::try_from(num_partitions).unwrap_or(0))?;

    let id = random_id();
    let mut records =
        vec![MetadataRecord::Topic(TopicRecord { name: name.to_owned(), topic_id: id, ..TopicRecord::default() })];
    records.extend(topic.configs.iter().map(|(key, value)| {
        MetadataRecord::Config(ConfigRecord {
            resource_type: ResourceType::Topic as i8,
            resource_name: name.to_owned(),
            name: key.clone(),
            value: Some(value.clone()),
            ..ConfigRecord::default()
        })
    }));
    let directories = directories_for_new(controller)?;
    records
        .extend((0..num_partitions).map(|index| partition_record(controller.config.node_id, id, index, &directories)));
    Ok(PlannedTopic { id, num_partitions, replication_factor: 1, records })
}

/// Refuses partitions whose files could not all be open.
pub(crate) fn check_descriptors(
    controller: &Controller,
    image: &MetadataImage,
    additional: usize,
) -> Result<(), ApiError> {
    let checked = controller.descriptors.check(image.partition_count().saturating_add(additional));
    checked.map_err(|error| ApiError::new(ErrorCode::PolicyViolation, format!("Too many partitions: {error}.")))
}

/// How many partitions, after the assignment or the numbers are found to be possible here.
fn partitions(config: &BrokerConfig, topic: &NewTopic) -> Result<i32, ApiError> {
    if !topic.assignments.is_empty() {
        return assigned_partitions(config.node_id, topic);
    }
    let wanted = match topic.replication_factor {
        -1 => i16::try_from(config.default_replication_factor).unwrap_or(i16::MAX),
        factor => factor,
    };
    if topic.replication_factor < -1 || topic.replication_factor == 0 {
        return Err(ApiError::new(
            ErrorCode::InvalidReplicationFactor,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ));
    }
    if topic.num_partitions < -1 || topic.num_partitions == 0 {
        return Err(ApiError::new(
            ErrorCode::InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.",
        ));
    }
    if wanted > 1 {
        return Err(ApiError::new(
            ErrorCode::InvalidReplicationFactor,
            format!(
                "Unable to replicate the partition {wanted} time(s): The target replication factor of {wanted} \
                 cannot be reached because only 1 broker(s) are registered or some brokers have all their log \
                 directories cordoned."
            ),
        ));
    }
    Ok(if topic.num_partitions == -1 { config.num_partitions } else { topic.num_partitions })
}

fn assigned_partitions(node_id: i32, topic: &NewTopic) -> Result<i32, ApiError> {
    if topic.replication_factor != -1 {
        return Err(ApiError::new(
            ErrorCode::InvalidRequest,
            "A manual partition assignment was specified, but replication factor was not set to -1.",
        ));
    }
    if topic.num_partitions != -1 {
        return Err(ApiError::new(
            ErrorCode::InvalidRequest,
            "A manual partition assignment was specified, but numPartitions was not set to -1.",
        ));
    }
    let mut by_index = BTreeMap::new();
    for (index, replicas) in &topic.assignments {
        if by_index.insert(*index, ()).is_some() {
            let text = format!("Found multiple manual partition assignments for partition {index}");
            return Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, text));
        }
        check_replicas(node_id, replicas)?;
    }
    if !by_index.keys().copied().eq(0..i32::try_from(by_index.len()).unwrap_or(i32::MAX)) {
        return Err(ApiError::new(
            ErrorCode::InvalidReplicaAssignment,
            "partitions should be a consecutive 0-based integer sequence",
        ));
    }
    Ok(i32::try_from(by_index.len()).unwrap_or(i32::MAX))
}

/// Checks an assignment given by hand: this broker, once.
pub(crate) fn check_replicas(node_id: i32, replicas: &[i32]) -> Result<(), ApiError> {
    let refuse = |text: String| Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, text));
    if replicas.is_empty() {
        return refuse("The manual partition assignment includes an empty replica list.".to_owned());
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    for (at, broker) in sorted.iter().enumerate() {
        if *broker != node_id {
            return refuse(format!(
                "The manual partition assignment includes broker {broker}, but no such broker is registered."
            ));
        }
        if at > 0 {
            return refuse(format!("The manual partition assignment includes the broker {broker} more than once."));
        }
    }
    Ok(())
}

/// The directories that new partitions go to, in turn.
pub(crate) fn directories_for_new(controller: &Controller) -> Result<Vec<Uuid>, ApiError> {
    let directories = controller.partitions.storage().directories_for_new();
    match directories.is_empty() {
        true => Err(ApiError::new(ErrorCode::KafkaStorageError, "No log directories available.")),
        false => Ok(directories),
    }
}

/// The record of a new partition with its one replica here.
pub(crate) fn partition_record(broker: i32, topic_id: Uuid, index: i32, directories: &[Uuid]) -> MetadataRecord {
    let at = usize::try_from(index).unwrap_or(0).checked_rem(directories.len());
    let directory = at.and_then(|at| directories.get(at)).copied();
    MetadataRecord::Partition(PartitionRecord {
        partition_id: index,
        topic_id,
        replicas: vec![broker],
        isr: vec![broker],
        leader: broker,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: directory.into_iter().collect(),
        ..PartitionRecord::default()
    })
}

/// Creates one topic.
pub(super) async fn create(
    controller: &Arc<Controller>,
    topic: NewTopic,
    quota: MutationQuota,
) -> Result<(), ApiError> {
    let owner = Arc::clone(controller);
    controller.update(move |image| plan(&owner, image, &topic, &quota).map(|planned| (planned.records, ()))).await
}
