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

use crate::advertised::Advertised;
use crate::controller::auto_creation::AutoTopicCreation;
use crate::metadata::MetadataStore;
use crate::metadata::image::{MetadataImage, NO_LEADER, PartitionImage, TopicImage};
use crate::metadata::topic_name;
use crate::request::RequestContext;
use crate::security::operations;

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
    response.topics = match &request.topics {
        Some(topics) if !(topics.is_empty() && context.version == 0) => {
            let ids: BTreeSet<[u8; 16]> =
                topics.iter().filter(|t| !t.topic_id.is_zero()).map(|t| *t.topic_id.as_bytes()).collect();
            if ids.is_empty() {
                let names: BTreeSet<&str> = topics.iter().filter_map(|t| t.name.as_deref()).collect();
                by_name(advertised, metadata, topic_creation, &names, request.allow_auto_topic_creation)
            } else {
                let image = metadata.image();
                ids.into_iter().map(|id| by_id(advertised, &image, Uuid::from_bytes(id))).collect()
            }
        }
        _ => {
            let image = metadata.image();
            image.topics().map(|topic| describe(advertised.node_id, &image, topic)).collect()
        }
    };
    if request.include_topic_authorized_operations {
        for topic in &mut response.topics {
            topic.topic_authorized_operations = operations::TOPIC;
        }
    }
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = operations::CLUSTER;
    }
    response
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
    names: &BTreeSet<&str>,
    may_create: bool,
) -> Vec<MetadataResponseTopic> {
    let image = metadata.image();
    let mut missing = Vec::new();
    let answers = names.iter().map(|name| match image.topic(name) {
        Some(topic) => describe(advertised.node_id, &image, topic),
        None if topic_name::invalid(name).is_some() => failed(name, ErrorCode::InvalidTopicException),
        None => {
            missing.push((*name).to_owned());
            failed(name, ErrorCode::UnknownTopicOrPartition)
        }
    });
    let answers = answers.collect();
    if may_create {
        topic_creation.begin(missing);
    }
    answers
}

fn by_id(advertised: &Advertised, image: &MetadataImage, id: Uuid) -> MetadataResponseTopic {
    match image.topic_by_id(id) {
        Some(topic) => describe(advertised.node_id, image, topic),
        None => MetadataResponseTopic {
            error_code: ErrorCode::UnknownTopicId.code(),
            name: None,
            topic_id: id,
            ..MetadataResponseTopic::default()
        },
    }
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
