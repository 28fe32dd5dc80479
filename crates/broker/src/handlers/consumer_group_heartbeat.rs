//! ConsumerGroupHeartbeat (68), versions 0–1.
//!
//! The one request of a member of the consumer protocol (KIP-848): it joins, tells what it holds, learns what it
//! shall hold, and leaves by it.
//!
//! Versions: 1 subscription by regular expression, member ids made by the member (KIP-1082).

use std::collections::BTreeSet;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use vltava_security::acl::AclOperation;

use crate::config::BrokerConfig;
use crate::coordinator::group::GroupCoordinator;
use crate::coordinator::{self, ClusterTopics};
use crate::metadata::MetadataStore;
use crate::request::RequestContext;
use crate::security::Resource;

pub(crate) async fn handle(
    config: &BrokerConfig,
    metadata: &MetadataStore,
    groups: &GroupCoordinator,
    context: &RequestContext,
    request: &ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    if !coordinator::serves_consumer_groups(config, metadata) {
        return refused(ErrorCode::UnsupportedVersion, None);
    }
    if !context.may(AclOperation::Read, Resource::group(&request.group_id)) {
        return denied(ErrorCode::GroupAuthorizationFailed);
    }
    if !may_describe_all(context, request.subscribed_topic_names.iter().flatten()) {
        return denied(ErrorCode::TopicAuthorizationFailed);
    }
    let topics = ClusterTopics::seen_by(metadata, context);
    let caller = context.caller();
    let result = groups
        .with_shard(&request.group_id, |shard, now| shard.consumer_group_heartbeat(now, &caller, &topics, request));
    match result.await.map_err(Into::into).and_then(|result| result) {
        Ok(response) => response,
        Err(failure) => refused(failure.error, failure.message),
    }
}

/// As Kafka: without a text.
fn denied(error: ErrorCode) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse { error_code: error.code(), ..ConsumerGroupHeartbeatResponse::default() }
}

/// Whether the sender may see all of the topics. Each is looked at, so that the audit log has them all.
fn may_describe_all<'a>(context: &RequestContext, names: impl Iterator<Item = &'a String>) -> bool {
    let names: BTreeSet<&str> = names.map(String::as_str).collect();
    let seen = names.iter().filter(|name| context.may(AclOperation::Describe, Resource::topic(name))).count();
    seen == names.len()
}

fn refused(error: ErrorCode, text: Option<String>) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code: error.code(),
        error_message: text.or_else(|| Some(error.message().to_owned())),
        ..ConsumerGroupHeartbeatResponse::default()
    }
}
