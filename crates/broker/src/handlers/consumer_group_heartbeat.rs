//! ConsumerGroupHeartbeat (68), versions 0–1.
//!
//! The one request of a member of the consumer protocol (KIP-848): it joins, tells what it holds, learns what it
//! shall hold, and leaves by it.
//!
//! Versions: 1 subscription by regular expression, member ids made by the member (KIP-1082).

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use crate::config::BrokerConfig;
use crate::coordinator::group::GroupCoordinator;
use crate::coordinator::{self, ClusterTopics};
use crate::metadata::MetadataStore;
use crate::request::RequestContext;

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
    let topics = ClusterTopics::of(metadata);
    let caller = context.caller();
    let result = groups
        .with_shard(&request.group_id, |shard, now| shard.consumer_group_heartbeat(now, &caller, &topics, request));
    match result.await.map_err(Into::into).and_then(|result| result) {
        Ok(response) => response,
        Err(failure) => refused(failure.error, failure.message),
    }
}

fn refused(error: ErrorCode, text: Option<String>) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code: error.code(),
        error_message: text.or_else(|| Some(error.message().to_owned())),
        ..ConsumerGroupHeartbeatResponse::default()
    }
}
