//! Who coordinates a group or a transaction.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use vltava_protocol::wire::Message;

use super::cluster::Cluster;
use super::metadata::Node;
use crate::error::ClientError;

/// What a coordinator coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CoordinatorType {
    /// A group of consumers, by its `group.id`.
    Group,
    /// A producer's transactions, by its `transactional.id`.
    Transaction,
}

impl CoordinatorType {
    const fn code(self) -> i8 {
        match self {
            Self::Group => 0,
            Self::Transaction => 1,
        }
    }
}

type Known = HashMap<(CoordinatorType, Arc<str>), Node>;

/// The coordinators that were found.
#[derive(Debug, Default)]
pub(crate) struct Coordinators {
    known: Mutex<Known>,
}

impl Coordinators {
    /// A coordinator by its broker id, for one that is not in the metadata (yet).
    pub(crate) fn node(&self, id: i32) -> Option<Node> {
        self.known.lock().values().find(|node| node.id == id).cloned()
    }
}

impl Cluster {
    /// The coordinator of a group or of transactions, from memory or by asking; waits up to
    /// [`CommonConfig::api_timeout`](crate::config::CommonConfig::api_timeout) for one to be there.
    ///
    /// Send to it with [`ConnectionKey::coordinator`](super::ConnectionKey::coordinator).
    ///
    /// # Errors
    /// [`ClientError::Broker`] with the answer's error, [`ClientError::NoBrokerAvailable`].
    pub async fn coordinator(&self, kind: CoordinatorType, key: &str) -> Result<Node, ClientError> {
        let known_key = (kind, Arc::from(key));
        if let Some(node) = self.inner().coordinators.known.lock().get(&known_key) {
            return Ok(node.clone());
        }
        let node = self.within_api_timeout(|| format!("look-up of the coordinator of {key}"));
        let node = node.wait(self.look_up_coordinator(kind, key)).await?;
        self.inner().coordinators.known.lock().insert(known_key, node.clone());
        Ok(node)
    }

    async fn look_up_coordinator(&self, kind: CoordinatorType, key: &str) -> Result<Node, ClientError> {
        let deadline = Instant::now() + self.config().api_timeout;
        let mut attempt = 0;
        loop {
            match self.find_coordinator(kind, key).await {
                Ok(node) => return Ok(node),
                Err(error) => {
                    let pause = self.config().retry_pause(attempt);
                    if !error.is_retriable() || Instant::now() + pause >= deadline {
                        return Err(error);
                    }
                    attempt += 1;
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Forgets a coordinator, after an error that shows that it is another one or not reachable.
    pub fn forget_coordinator(&self, kind: CoordinatorType, key: &str) {
        self.inner().coordinators.known.lock().remove(&(kind, Arc::from(key)));
    }

    async fn find_coordinator(&self, kind: CoordinatorType, key: &str) -> Result<Node, ClientError> {
        let connection = self.any_connection().await?;
        let version = connection.versions().pick::<FindCoordinatorRequest>(None)?;
        let mut request = FindCoordinatorRequest { key_type: kind.code(), ..FindCoordinatorRequest::default() };
        // KIP-699: since version 4 one request asks for many.
        if version >= 4 {
            request.coordinator_keys = vec![key.to_owned()];
        } else {
            request.key = key.to_owned();
        }
        let response = connection.send(&request).await?;
        node_of(&response, version)
    }
}

fn node_of(response: &FindCoordinatorResponse, version: i16) -> Result<Node, ClientError> {
    debug_assert!(version <= FindCoordinatorResponse::MAX_VERSION);
    let (code, message, id, host, port) = if version >= 4 {
        let one = response.coordinators.first().ok_or_else(|| ClientError::unexpected("no coordinator named"))?;
        (one.error_code, one.error_message.as_deref(), one.node_id, &one.host, one.port)
    } else {
        let message = response.error_message.as_deref();
        (response.error_code, message, response.node_id, &response.host, response.port)
    };
    ClientError::check(code, message)?;
    Node::new(id, host, port, None).ok_or_else(|| ClientError::broker(ErrorCode::CoordinatorNotAvailable))
}
