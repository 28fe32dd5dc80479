//! FindCoordinator (10), versions 0–6.
//!
//! Tells which broker coordinates a group, or the transactions of a transactional id: this one. The topic that they are
//! kept in is created on first use; where Kafka answers `COORDINATOR_NOT_AVAILABLE` then and lets the client ask again,
//! the answer here is there at once. There is no coordinator of share groups: it is refused by name.
//!
//! Versions: 1 kinds of coordinators · 3 flexible · 4 several keys (KIP-699) · 5 no wire change (KIP-890) · 6 share
//! groups (KIP-932).

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::find_coordinator_response::Coordinator;
use vltava_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use vltava_security::acl::AclOperation;

use crate::advertised::Advertised;
use crate::controller::auto_creation::AutoTopicCreation;
use crate::coordinator;
use crate::coordinator::group::GroupCoordinator;
use crate::coordinator::transaction::TransactionShards;
use crate::metadata::MetadataStore;
use crate::metadata::topic_name;
use crate::quota::MutationQuota;
use crate::request::{ApiError, RequestContext};
use crate::security::Resource;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;
/// The first version that has several keys.
const SEVERAL_KEYS_VERSION: i16 = 4;
/// The first version that knows share groups.
const SHARE_VERSION: i16 = 6;

pub(crate) async fn handle(
    advertised: &Advertised,
    metadata: &MetadataStore,
    groups: &GroupCoordinator,
    transactions: &TransactionShards,
    topic_creation: &AutoTopicCreation,
    context: &RequestContext,
    request: &FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let keys = match context.version >= SEVERAL_KEYS_VERSION {
        true => request.coordinator_keys.as_slice(),
        false => std::slice::from_ref(&request.key),
    };
    let refusals: Vec<Option<ErrorCode>> = keys.iter().map(|key| refusal(context, request.key_type, key)).collect();
    let found = async {
        if let [Some(first), rest @ ..] = refusals.as_slice()
            && rest.iter().all(Option::is_some)
        {
            // The topic of a coordinator is not created for who may not ask for it.
            return Err((*first).into());
        }
        let topic = topic_of(context, request.key_type)?;
        create(metadata, topic, topic_creation).await?;
        let image = metadata.image();
        match request.key_type {
            TRANSACTION => coordinator::follow_transaction_topic(transactions, image.topic(topic)),
            _ => coordinator::follow_offsets_topic(groups, image.topic(topic)),
        }
        let (host, port) = advertised.endpoint(&context.peer.listener).ok_or(ErrorCode::CoordinatorNotAvailable)?;
        Ok(Found { node_id: advertised.node_id, host, port })
    };
    let found = found.await;
    if context.version >= SEVERAL_KEYS_VERSION {
        let keys = request.coordinator_keys.iter().zip(refusals);
        let coordinators = keys.map(|(key, refusal)| match refusal {
            // As Kafka: these versions have a place for the text and leave it empty.
            Some(code) => coordinator(key, &Err(ApiError::new(code, ""))),
            None => coordinator(key, &found),
        });
        return FindCoordinatorResponse { coordinators: coordinators.collect(), ..FindCoordinatorResponse::default() };
    }
    let found = match refusals.into_iter().next().flatten() {
        Some(code) => Err(code.into()),
        None => found,
    };
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

/// Why the sender may not be told of a coordinator.
fn refusal(context: &RequestContext, key_type: i8, key: &str) -> Option<ErrorCode> {
    let (operation, resource, error) = match key_type {
        GROUP => (AclOperation::Describe, Resource::group(key), ErrorCode::GroupAuthorizationFailed),
        TRANSACTION => {
            let error = ErrorCode::TransactionalIdAuthorizationFailed;
            (AclOperation::Describe, Resource::transactional_id(key), error)
        }
        SHARE if context.version >= SHARE_VERSION => {
            (AclOperation::ClusterAction, Resource::CLUSTER, ErrorCode::ClusterAuthorizationFailed)
        }
        _ => return None,
    };
    (!context.may(operation, resource)).then_some(error)
}

/// A broker, as the client reaches it.
struct Found {
    node_id: i32,
    host: String,
    port: u16,
}

/// The topic of a coordinator. Refuses what is not coordinated here.
fn topic_of(context: &RequestContext, key_type: i8) -> Result<&'static str, ApiError> {
    match key_type {
        GROUP => Ok(topic_name::CONSUMER_OFFSETS),
        TRANSACTION => Ok(topic_name::TRANSACTION_STATE),
        SHARE if context.version >= SHARE_VERSION => {
            Err(ApiError::new(ErrorCode::UnsupportedVersion, "This broker does not support share groups."))
        }
        // As Kafka: it tells nothing about a kind that came with a later version.
        SHARE => Err(ApiError::new(ErrorCode::InvalidRequest, "")),
        _ => Err(ErrorCode::InvalidRequest.into()),
    }
}

/// Sees to it that the topic of a coordinator is there.
async fn create(metadata: &MetadataStore, topic: &str, topic_creation: &AutoTopicCreation) -> Result<(), ApiError> {
    if metadata.image().topic(topic).is_none() {
        let failures = topic_creation.create(&[topic], &MutationQuota::default()).await;
        if let Some(error) = failures.get(topic) {
            tracing::error!(topic, ?error, "the topic of a coordinator cannot be created");
            return Err(ErrorCode::CoordinatorNotAvailable.into());
        }
    }
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
