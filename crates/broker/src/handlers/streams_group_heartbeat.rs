//! StreamsGroupHeartbeat (88), version 0.
//!
//! The one request of a member of a streams group (KIP-1071): it joins with its topology, tells which tasks it has, learns
//! which it shall have, and leaves by it. Internal topics that are missing are created in the member's name, while it is
//! told to wait.

use std::collections::BTreeSet;
use std::sync::Arc;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::streams_group_heartbeat_request::Topology;
use vltava_protocol::messages::{StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse};
use vltava_security::acl::AclOperation;

use crate::config::BrokerConfig;
use crate::controller::auto_creation::AutoTopicCreation;
use crate::controller::topics::NewTopic;
use crate::coordinator::group::{GroupCoordinator, InternalTopic, StatusCode, StreamsHeartbeat};
use crate::coordinator::{self, ClusterTopics};
use crate::metadata::{MetadataStore, topic_name};
use crate::request::RequestContext;
use crate::security::Resource;

/// As many errors of missing topics are told.
const ERRORS_TOLD: usize = 3;

pub(crate) async fn handle(
    config: &BrokerConfig,
    metadata: &MetadataStore,
    topic_creation: &Arc<AutoTopicCreation>,
    groups: &GroupCoordinator,
    context: &RequestContext,
    request: &StreamsGroupHeartbeatRequest,
) -> StreamsGroupHeartbeatResponse {
    if !coordinator::serves_streams_groups(config, metadata) {
        return refused(ErrorCode::UnsupportedVersion, None);
    }
    if !context.may(AclOperation::Read, Resource::group(&request.group_id)) {
        return denied(ErrorCode::GroupAuthorizationFailed);
    }
    if let Some(topology) = &request.topology
        && let Err(response) = check_topics(context, topology)
    {
        return *response;
    }
    let topics = ClusterTopics::of(metadata);
    let caller = context.caller();
    let result = groups
        .with_shard(&request.group_id, |shard, now| shard.streams_group_heartbeat(now, &caller, &topics, request));
    match result.await.map_err(Into::into).and_then(|result| result) {
        Ok(StreamsHeartbeat { mut response, missing }) => {
            if !missing.is_empty() {
                create(topic_creation, context, missing, &mut response);
            }
            response
        }
        Err(failure) => refused(failure.error, failure.message),
    }
}

/// Checks the topics of a topology: names that may be, and that the sender may see them all.
fn check_topics(context: &RequestContext, topology: &Topology) -> Result<(), Box<StreamsGroupHeartbeatResponse>> {
    let mut seen = BTreeSet::new();
    let mut names: Vec<&str> = Vec::new();
    for subtopology in &topology.subtopologies {
        let outer = subtopology.source_topics.iter().chain(&subtopology.repartition_sink_topics);
        let inner = subtopology.repartition_source_topics.iter().chain(&subtopology.state_changelog_topics);
        let all = outer.map(String::as_str).chain(inner.map(|topic| topic.name.as_str()));
        names.extend(all.filter(|name| seen.insert(*name)));
    }
    let those = |is_wrong: &dyn Fn(&str) -> bool| {
        names.iter().copied().filter(|name| is_wrong(name)).collect::<Vec<_>>().join(",")
    };
    let internal = those(&topic_name::is_internal);
    if !internal.is_empty() {
        let text = format!("Use of Kafka internal topics {internal} in a Kafka Streams topology is prohibited.");
        return Err(Box::new(refused(ErrorCode::StreamsInvalidTopology, Some(text))));
    }
    if names.iter().any(|name| topic_name::invalid(name).is_some()) {
        let wrong = those(&|name| topic_name::invalid(name).is_some());
        let text = format!("Topic names {wrong} are not valid topic names.");
        return Err(Box::new(refused(ErrorCode::StreamsInvalidTopology, Some(text))));
    }
    // Each is looked at, so that the audit log has them all.
    let visible = names.iter().filter(|name| context.may(AclOperation::Describe, Resource::topic(name))).count();
    if visible < names.len() {
        return Err(Box::new(denied(ErrorCode::TopicAuthorizationFailed)));
    }
    Ok(())
}

/// Has the missing topics created, if the member may; else, or if that failed lately, tells why they are not there.
fn create(
    topic_creation: &Arc<AutoTopicCreation>,
    context: &RequestContext,
    missing: Vec<InternalTopic>,
    response: &mut StreamsGroupHeartbeatResponse,
) {
    let may_create_all = context.may_quietly(AclOperation::Create, Resource::CLUSTER);
    let may_create = |name: &str| may_create_all || context.may(AclOperation::Create, Resource::topic(name));
    let denied: Vec<&str> = missing.iter().map(|topic| topic.name.as_str()).filter(|name| !may_create(name)).collect();
    if !denied.is_empty() {
        return tell(response, &format!("; Unauthorized to CREATE on topics {}.", denied.join(", ")));
    }
    let names: Vec<String> = missing.iter().map(|topic| topic.name.clone()).collect();
    // An error is told in the heartbeats that come next, and tried again after.
    let keep_ms = i64::from(response.heartbeat_interval_ms).saturating_mul(2);
    let topics = missing.into_iter().map(new_topic).collect();
    // Kafka asks its controller in the client's name: what exceeds its quota is not created.
    topic_creation.begin_internal(topics, context.mutation_quota(i16::MIN), keep_ms);
    let errors = topic_creation.recent_errors(names.iter().map(String::as_str));
    if errors.is_empty() {
        return;
    }
    let told: Vec<String> =
        errors.iter().take(ERRORS_TOLD).map(|(topic, error)| format!("{topic} ({error})")).collect();
    let rest = match errors.len().saturating_sub(ERRORS_TOLD) {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    tell(response, &format!("; Creation failed: {}{rest}.", told.join(", ")));
}

/// Says more of the internal topics that are missing.
fn tell(response: &mut StreamsGroupHeartbeatResponse, more: &str) {
    let is_missing = |code: i8| code == StatusCode::MissingInternalTopics as i8;
    let status = response.status.iter_mut().flatten().find(|status| is_missing(status.status_code));
    if let Some(status) = status {
        status.status_detail.push_str(more);
    }
}

fn new_topic(topic: InternalTopic) -> NewTopic {
    NewTopic {
        name: topic.name,
        num_partitions: topic.partitions,
        replication_factor: if topic.replication_factor == 0 { -1 } else { topic.replication_factor },
        configs: topic.configs.into_iter().collect(),
        ..NewTopic::default()
    }
}

/// As Kafka: without a text.
fn denied(error: ErrorCode) -> StreamsGroupHeartbeatResponse {
    StreamsGroupHeartbeatResponse { error_code: error.code(), ..StreamsGroupHeartbeatResponse::default() }
}

/// Of what it does not expect Kafka says nothing.
fn refused(error: ErrorCode, text: Option<String>) -> StreamsGroupHeartbeatResponse {
    let told = || (error != ErrorCode::UnknownServerError).then(|| error.message().to_owned());
    StreamsGroupHeartbeatResponse {
        error_code: error.code(),
        error_message: text.or_else(told),
        ..StreamsGroupHeartbeatResponse::default()
    }
}
