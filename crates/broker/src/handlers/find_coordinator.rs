//! FindCoordinator (10), versions 0–6.
//!
//! Tells which broker coordinates a group: this one. The topic that the groups are kept in is created on first use;
//! where Kafka answers `COORDINATOR_NOT_AVAILABLE` then and lets the client ask again, the answer here is there at
//! once. There is no coordinator of transactions and of share groups: both are refused by name.
//!
//! Versions: 1 kinds of coordinators · 3 flexible · 4 several keys (KIP-699) · 5 no wire change (KIP-890) · 6 share
//! groups (KIP-932).

use std::sync::Arc;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::find_coordinator_response::Coordinator;
use vltava_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};

use crate::metadata::topic_name;
use crate::node::Node;
use crate::request::{ApiError, RequestContext};
use crate::topics;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;
/// The first version that has several keys.
const SEVERAL_KEYS_VERSION: i16 = 4;
/// The first version that knows share groups.
const SHARE_VERSION: i16 = 6;

pub(crate) async fn handle(
    node: &Arc<Node>,
    context: &RequestContext,
    request: &FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let found = find(node, context, request.key_type).await;
    if context.version >= SEVERAL_KEYS_VERSION {
        let coordinators = request.coordinator_keys.iter().map(|key| coordinator(key, &found)).collect();
        return FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() };
    }
    let mut coordinator = coordinator(&request.key, &found);
    if coordinator.error_code == 0 {
        coordinator.error_message = Some(ErrorCode::None.name().to_owned());
    }
    FindCoordinatorResponse {
        error_code: coordinator.error_code,
        error_message: coordinator.error_message,
        node_id: coordinator.node_id,
        host: coordinator.host,
        port: coordinator.port,
        ..FindCoordinatorResponse::default()
    }
}

/// A broker, as the client reaches it.
struct Found {
    node_id: i32,
    host: String,
    port: u16,
}

async fn find(node: &Arc<Node>, context: &RequestContext, key_type: i8) -> Result<Found, ApiError> {
    match key_type {
        GROUP => {}
        TRANSACTION => {
            return Err(ApiError::new(ErrorCode::UnsupportedVersion, "This broker does not support transactions."));
        }
        SHARE if context.version >= SHARE_VERSION => {
            return Err(ApiError::new(ErrorCode::UnsupportedVersion, "This broker does not support share groups."));
        }
        // As Kafka: it tells nothing about a kind that came with a later version.
        SHARE => return Err(ApiError::new(ErrorCode::InvalidRequest, "")),
        _ => return Err(ErrorCode::InvalidRequest.into()),
    }
    start_groups(node).await?;
    let (host, port) = node.endpoint(&context.peer.listener).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    Ok(Found { node_id: node.config.node_id, host, port })
}

/// Sees to it that the topic of the groups is there, and served.
async fn start_groups(node: &Arc<Node>) -> Result<(), ApiError> {
    if node.metadata.image().topic(topic_name::CONSUMER_OFFSETS).is_none() {
        let failures = topics::auto_create(node, &[topic_name::CONSUMER_OFFSETS]).await;
        if let Some(error) = failures.get(topic_name::CONSUMER_OFFSETS) {
            tracing::error!(?error, "the topic of the group coordinator cannot be created");
            return Err(ErrorCode::CoordinatorNotAvailable.into());
        }
    }
    node.start_groups();
    Ok(())
}

fn coordinator(key: &str, found: &Result<Found, ApiError>) -> Coordinator {
    let key = key.to_owned();
    match found {
        Ok(found) => Coordinator {
            key,
            node_id: found.node_id,
            host: found.host.clone(),
            port: i32::from(found.port),
            error_message: Some(String::new()),
            ..Coordinator::default()
        },
        Err(error) => Coordinator {
            key,
            node_id: -1,
            port: -1,
            error_code: error.code.code(),
            error_message: error.text(),
            ..Coordinator::default()
        },
    }
}
