//! CreateTopics (19), versions 2–7.
//!
//! Each topic is checked and created by itself: its name, that it is new, its partitions and
//! replicas, its settings. With `validate_only` nothing is created. A topic is there, with its
//! logs open, when the answer goes out.
//!
//! Versions: 4 defaults for partitions and replicas (KIP-464) · 5 flexible, the answer has the
//! settings of the topic (KIP-525) · 6 what exceeds the quota is refused (KIP-599) · 7 topic ids (KIP-516).

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::create_topics_request::CreatableTopic;
use vltava_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use vltava_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use vltava_security::acl::AclOperation;

use crate::config::BrokerConfig;
use crate::config::topic_keys;
use crate::controller::Controller;
use crate::controller::topics::{self, MAX_PARTITIONS_PER_BATCH, NewTopic, PlannedTopic};
use crate::handlers::describe_configs;
use crate::metadata::MetadataStore;
use crate::metadata::image::MetadataImage;
use crate::metadata::topic_name::CLUSTER_METADATA;
use crate::quota::MutationQuota;
use crate::request::{ApiError, RequestContext};
use crate::security::Resource;

/// The first version whose clients know that a quota is exceeded.
const STRICT_SINCE: i16 = 6;

pub(crate) async fn handle(
    metadata: &MetadataStore,
    controller: &Arc<Controller>,
    context: &RequestContext,
    request: &CreateTopicsRequest,
) -> CreateTopicsResponse {
    let may_create_all = context.may_quietly(AclOperation::Create, Resource::CLUSTER);
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in &request.topics {
        *seen.entry(&topic.name).or_default() += 1;
    }
    let quota = context.mutation_quota(STRICT_SINCE);
    let too_many = partitions_asked_for(controller.config(), request) > MAX_PARTITIONS_PER_BATCH;
    // All are asked for before the first is waited for: they are written together.
    let mut asked = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let creation = match seen.get(topic.name.as_str()) {
            Some(1) if too_many => {
                refuse(ApiError::new(ErrorCode::PolicyViolation, "Excessively large number of partitions per request."))
            }
            Some(1)
                if topic.name != CLUSTER_METADATA
                    && !may_create_all
                    && !context.may(AclOperation::Create, Resource::topic(&topic.name)) =>
            {
                refuse(ApiError::new(ErrorCode::TopicAuthorizationFailed, "Authorization failed."))
            }
            Some(1) => create(metadata, controller, topic, request.validate_only, &quota),
            Some(_) => {
                // Told once, whatever number of times it is there.
                seen.remove(topic.name.as_str());
                refuse(ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name."))
            }
            None => continue,
        };
        asked.push((topic.name.clone(), creation));
    }
    let mut response = CreateTopicsResponse::default();
    for (name, creation) in asked {
        response.topics.push(match creation.await {
            Ok(created) if context.may_quietly(AclOperation::DescribeConfigs, Resource::topic(&name)) => created,
            Ok(created) => without_configs(created),
            Err(error) => CreatableTopicResult {
                name,
                error_code: error.code.code(),
                error_message: error.text(),
                configs: Some(Vec::new()),
                ..CreatableTopicResult::default()
            },
        });
    }
    context.charge_mutations(&quota);
    response
}

/// What is told of a topic to who may not see its settings.
fn without_configs(created: CreatableTopicResult) -> CreatableTopicResult {
    CreatableTopicResult {
        topic_config_error_code: ErrorCode::TopicAuthorizationFailed.code(),
        num_partitions: -1,
        replication_factor: -1,
        configs: Some(Vec::new()),
        ..created
    }
}

fn partitions_asked_for(config: &BrokerConfig, request: &CreateTopicsRequest) -> usize {
    let of_topic = |topic: &CreatableTopic| match topic.num_partitions {
        _ if !topic.assignments.is_empty() => topic.assignments.len(),
        -1 => usize::try_from(config.num_partitions).unwrap_or(0),
        number => usize::try_from(number).unwrap_or(0),
    };
    request.topics.iter().map(of_topic).fold(0, usize::saturating_add)
}

/// A creation that was asked for.
type Creation = Pin<Box<dyn Future<Output = Result<CreatableTopicResult, ApiError>> + Send>>;

fn refuse(error: ApiError) -> Creation {
    Box::pin(std::future::ready(Err(error)))
}

fn create(
    metadata: &MetadataStore,
    controller: &Arc<Controller>,
    topic: &CreatableTopic,
    validate_only: bool,
    quota: &MutationQuota,
) -> Creation {
    let wanted = match wanted(topic) {
        Ok(wanted) => wanted,
        Err(error) => return refuse(error),
    };
    if validate_only {
        let image = metadata.image();
        let planned = topics::plan(controller, &image, &wanted, quota);
        return Box::pin(std::future::ready(
            planned.map(|planned| result(controller.config(), &image, &wanted, &planned)),
        ));
    }
    let (owner, quota) = (Arc::clone(controller), quota.clone());
    Box::pin(controller.update(move |image| {
        let mut planned = topics::plan(&owner, image, &wanted, &quota)?;
        let result = result(owner.config(), image, &wanted, &planned);
        Ok((std::mem::take(&mut planned.records), result))
    }))
}

fn wanted(topic: &CreatableTopic) -> Result<NewTopic, ApiError> {
    if topic.name == CLUSTER_METADATA {
        let text = format!("Creation of internal topic {CLUSTER_METADATA} is prohibited.");
        return Err(ApiError::new(ErrorCode::InvalidRequest, text));
    }
    let nulls: Vec<&str> =
        topic.configs.iter().filter(|config| config.value.is_none()).map(|config| config.name.as_str()).collect();
    if !nulls.is_empty() {
        let text = format!("Null value not supported for topic configs: {}", nulls.join(","));
        return Err(ApiError::new(ErrorCode::InvalidConfig, text));
    }
    Ok(NewTopic {
        name: topic.name.clone(),
        num_partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic.assignments.iter().map(|a| (a.partition_index, a.broker_ids.clone())).collect(),
        configs: topic.configs.iter().filter_map(|config| Some((config.name.clone(), config.value.clone()?))).collect(),
    })
}

fn result(
    config: &BrokerConfig,
    image: &MetadataImage,
    wanted: &NewTopic,
    planned: &PlannedTopic,
) -> CreatableTopicResult {
    let sources = image.sources(config);
    let configs = topic_keys().map(|key| {
        let told = describe_configs::topic_entry(&sources, key, Some(&wanted.configs));
        CreatableTopicConfigs {
            name: told.name,
            value: told.value,
            read_only: told.read_only,
            config_source: told.config_source,
            is_sensitive: told.is_sensitive,
            ..CreatableTopicConfigs::default()
        }
    });
    CreatableTopicResult {
        name: wanted.name.clone(),
        topic_id: planned.id,
        error_message: None,
        num_partitions: planned.num_partitions,
        replication_factor: planned.replication_factor,
        configs: Some(configs.collect()),
        ..CreatableTopicResult::default()
    }
}
