//! Metadata (3), versions 0–13.
//!
//! Tells the brokers and, of the topics asked for, the partitions and their leaders. A partition whose
//! log directory is not there has no leader, and its replica is told to be offline. A topic that
//! does not exist begins to be created when the request allows it and `auto.create.topics.enable`
//! is true; the answer does not wait for it and says that the topic is unknown, and the client
//! asks again.
//!
//! Versions: 1 racks, controller, null for all topics · 2 cluster id · 3 throttle time · 4 auto
//! creation by request · 5 offline replicas · 7 leader epochs · 8–10 authorized operations ·
//! 9 flexible · 10 topic ids (KIP-516) · 12 topics by id · 13 an error for the whole answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use vltava_protocol::messages::metadata_request::MetadataRequestTopic;
use vltava_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use vltava_protocol::messages::{MetadataRequest, MetadataResponse};
use vltava_protocol::{ErrorCode, Uuid};
use vltava_security::acl::AclOperation;

use crate::advertised::Advertised;
use crate::controller::auto_creation::AutoTopicCreation;
use crate::metadata::MetadataStore;
use crate::metadata::image::{MetadataImage, NO_LEADER, PartitionImage, TopicImage};
use crate::metadata::topic_name;
use crate::request::RequestContext;
use crate::security::Resource;

/// The first version in which a topic is asked for by its id.
const TOPIC_IDS_VERSION: i16 = 12;

pub(crate) fn handle(
    advertised: &Advertised,
    metadata: &MetadataStore,
    topic_creation: &Arc<AutoTopicCreation>,
    context: &RequestContext,
    request: &MetadataRequest,
) -> MetadataResponse {
    let asked = request.topics.as_deref().unwrap_or_default();
    if context.version < TOPIC_IDS_VERSION && asked.iter().any(|topic| topic.name.is_none()) {
        return refused(asked);
    }
    let mut response = MetadataResponse {
        cluster_id: Some(advertised.cluster_id.clone()),
        controller_id: advertised.node_id,
        ..MetadataResponse::default()
    };
    if let Some((host, port)) = advertised.endpoint(&context.peer.listener) {
        response.brokers.push(MetadataResponseBroker {
            node_id: advertised.node_id,
            host,
            port: i32::from(port),
            rack: advertised.rack.clone(),
            ..MetadataResponseBroker::default()
        });
    }
    let Topics { mut told, unknown_ids, refused } = match &request.topics {
        Some(topics) if !(topics.is_empty() && context.version == 0) => {
            let ids: BTreeSet<[u8; 16]> =
                topics.iter().filter(|t| !t.topic_id.is_zero()).map(|t| *t.topic_id.as_bytes()).collect();
            if ids.is_empty() {
                let names: BTreeSet<&str> = topics.iter().filter_map(|t| t.name.as_deref()).collect();
                by_name(advertised, metadata, topic_creation, context, &names, request.allow_auto_topic_creation)
            } else {
                by_id(advertised, &metadata.image(), context, ids.into_iter().map(Uuid::from_bytes))
            }
        }
        _ => {
            let image = metadata.image();
            let sees =
                |topic: &&Arc<TopicImage>| context.may_quietly(AclOperation::Describe, Resource::topic(&topic.name));
            let topics = image.topics().filter(sees).map(|topic| describe(advertised.node_id, &image, topic));
            Topics { told: topics.collect(), ..Topics::default() }
        }
    };
    if request.include_topic_authorized_operations {
        for topic in &mut told {
            if let Some(name) = &topic.name {
                topic.topic_authorized_operations = context.authorized_operations(Resource::topic(name));
            }
        }
    }
    response.topics = unknown_ids;
    response.topics.append(&mut told);
    response.topics.extend(refused);
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = match context.may(AclOperation::Describe, Resource::CLUSTER) {
            true => context.authorized_operations(Resource::CLUSTER),
            false => 0,
        };
    }
    response
}

/// What is told of topics.
#[derive(Default)]
struct Topics {
    told: Vec<MetadataResponseTopic>,
    unknown_ids: Vec<MetadataResponseTopic>,
    /// Those that the sender may not see, or not create.
    refused: Vec<MetadataResponseTopic>,
}

/// The answer to a request that has no sense in its version.
fn refused(asked: &[MetadataRequestTopic]) -> MetadataResponse {
    let topic = |topic: &MetadataRequestTopic| MetadataResponseTopic {
        error_code: ErrorCode::InvalidRequest.code(),
        name: Some(topic.name.clone().unwrap_or_default()),
        topic_id: topic.topic_id,
        ..MetadataResponseTopic::default()
    };
    MetadataResponse { topics: asked.iter().map(topic).collect(), ..MetadataResponse::default() }
}

fn by_name(
    advertised: &Advertised,
    metadata: &MetadataStore,
    topic_creation: &Arc<AutoTopicCreation>,
    context: &RequestContext,
    names: &BTreeSet<&str>,
    asks_to_create: bool,
) -> Topics {
    let image = metadata.image();
    let (seen, hidden): (Vec<&str>, Vec<&str>) =
        names.iter().partition(|name| context.may(AclOperation::Describe, Resource::topic(name)));
    let creates = asks_to_create && topic_creation.is_enabled();
    let is_missing = |name: &&str| image.topic(name).is_none();
    let may_create = |name: &str| context.may(AclOperation::Create, Resource::topic(name));
    let refused: Vec<&str> =
        if creates && seen.iter().any(is_missing) && !context.may_quietly(AclOperation::Create, Resource::CLUSTER) {
            seen.iter().copied().filter(is_missing).filter(|name| !may_create(name)).collect()
        } else {
            Vec::new()
        };
    let mut topics = Topics::default();
    let mut missing = Vec::new();
    for name in seen.into_iter().filter(|name| !refused.contains(name)) {
        topics.told.push(match image.topic(name) {
            Some(topic) => describe(advertised.node_id, &image, topic),
            None if topic_name::invalid(name).is_some() => failed(name, ErrorCode::InvalidTopicException),
            None => {
                missing.push(name.to_owned());
                failed(name, ErrorCode::UnknownTopicOrPartition)
            }
        });
    }
    topics.refused.extend(refused.into_iter().map(|name| failed(name, ErrorCode::TopicAuthorizationFailed)));
    // Nothing is told of what nobody may see, not even whether it is internal.
    let hidden = hidden
        .into_iter()
        .map(|name| MetadataResponseTopic { is_internal: false, ..failed(name, ErrorCode::TopicAuthorizationFailed) });
    topics.refused.extend(hidden);
    if creates {
        // Kafka asks its controller in the client's name: what exceeds its quota is not created.
        topic_creation.begin(missing, context.mutation_quota(i16::MIN));
    }
    topics
}

fn by_id(
    advertised: &Advertised,
    image: &MetadataImage,
    context: &RequestContext,
    ids: impl Iterator<Item = Uuid>,
) -> Topics {
    let mut topics = Topics::default();
    for id in ids {
        let failed = |error: ErrorCode| MetadataResponseTopic {
            error_code: error.code(),
            name: None,
            topic_id: id,
            ..MetadataResponseTopic::default()
        };
        match image.topic_by_id(id) {
            None => topics.unknown_ids.push(failed(ErrorCode::UnknownTopicId)),
            Some(topic) if context.may(AclOperation::Describe, Resource::topic(&topic.name)) => {
                topics.told.push(describe(advertised.node_id, image, topic));
            }
            Some(_) => topics.refused.push(failed(ErrorCode::TopicAuthorizationFailed)),
        }
    }
    topics
}

fn failed(name: &str, error: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: error.code(),
        name: Some(name.to_owned()),
        is_internal: topic_name::is_internal(name),
        ..MetadataResponseTopic::default()
    }
}

fn describe(node_id: i32, image: &MetadataImage, topic: &TopicImage) -> MetadataResponseTopic {
    let partitions = topic.partitions.iter().zip(0..);
    MetadataResponseTopic {
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        is_internal: topic_name::is_internal(&topic.name),
        partitions: partitions.map(|(p, index)| describe_partition(node_id, image, p, index)).collect(),
        ..MetadataResponseTopic::default()
    }
}

fn describe_partition(
    node_id: i32,
    image: &MetadataImage,
    partition: &PartitionImage,
    index: i32,
) -> MetadataResponsePartition {
    let error = if partition.leader == NO_LEADER { ErrorCode::LeaderNotAvailable } else { ErrorCode::None };
    MetadataResponsePartition {
        error_code: error.code(),
        offline_replicas: image.offline_replicas(partition, node_id),
        partition_index: index,
        leader_id: partition.leader,
        leader_epoch: partition.leader_epoch,
        replica_nodes: partition.replicas.clone(),
        isr_nodes: partition.isr.clone(),
        ..MetadataResponsePartition::default()
    }
}
