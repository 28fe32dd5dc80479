//! What a handler knows about a request besides its body, and what it may answer.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use vltava_protocol::{ApiKey, ErrorCode};
use vltava_security::{KafkaPrincipal, SecurityProtocol};

use crate::metrics::ListenerMetrics;
use crate::network::Activity;
use crate::quota::Charges;
use crate::security::Access;

/// The other end of a connection, and how it came here.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// This connection's name, in the form of Kafka's: both addresses, and a number that no other connection has.
    pub(crate) connection_id: String,
    pub(crate) address: SocketAddr,
    /// The name of the listener it came to.
    pub(crate) listener: Arc<str>,
    pub(crate) security_protocol: SecurityProtocol,
    pub(crate) principal: KafkaPrincipal,
    /// When it was used last, among others.
    pub(crate) activity: Arc<Activity>,
    /// What its listener counts.
    pub(crate) listener_metrics: Arc<ListenerMetrics>,
}

impl Peer {
    /// The client's host, in the form Kafka shows it in group descriptions.
    pub(crate) fn host(&self) -> String {
        format!("/{}", self.address.ip())
    }
}

/// One request's header and origin.
#[derive(Debug)]
pub(crate) struct RequestContext {
    pub(crate) api_key: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) client_id: Option<String>,
    pub(crate) peer: Arc<Peer>,
    /// What its sender may do.
    pub(crate) access: Access,
    /// What it costs its sender.
    pub(crate) charges: Charges,
}

/// As it is logged.
impl fmt::Display for RequestContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { api_key, version, correlation_id, client_id, peer, access: _, charges: _ } = self;
        let client_id = client_id.as_deref().unwrap_or_default();
        write!(
            f,
            "{api_key} version {version}, correlation id {correlation_id}, client id {client_id:?}, connection {}, \
             listener {}, {}, {}",
            peer.connection_id,
            peer.listener,
            peer.security_protocol.name(),
            peer.principal
        )
    }
}

/// What a handler makes of a request: a response, as nearly all do, or none.
#[derive(Debug)]
pub(crate) enum Answer<T> {
    Response(T),
    /// None is expected.
    Silent,
    /// None is expected, and something failed: the connection is closed.
    Disconnect,
    /// The request holds what there is not: the connection is closed, as where it cannot be read.
    Invalid(&'static str),
}

impl<T> From<T> for Answer<T> {
    fn from(response: T) -> Self {
        Self::Response(response)
    }
}

/// What an answer says about a failure: a code, and where the message has a place for it, a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) code: ErrorCode,
    pub(crate) message: Option<String>,
}

impl ApiError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()) }
    }

    /// The text to answer: the given one, or Kafka's for the code; Kafka has none where a quota is exceeded.
    pub(crate) fn text(&self) -> Option<String> {
        if self.code == ErrorCode::ThrottlingQuotaExceeded {
            return self.message.clone();
        }
        self.message.clone().or_else(|| Some(self.code.message().to_owned()))
    }
}

impl From<ErrorCode> for ApiError {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_logged_with_all_that_is_known_of_who_sends_it() {
        let peer = Peer {
            connection_id: "127.0.0.1:9092-127.0.0.1:5000-7".to_owned(),
            address: SocketAddr::from(([127, 0, 0, 1], 5000)),
            listener: "INTERNAL".into(),
            security_protocol: SecurityProtocol::Plaintext,
            principal: KafkaPrincipal::anonymous(),
            activity: Arc::default(),
            listener_metrics: Arc::default(),
        };
        let context = RequestContext {
            api_key: ApiKey::Fetch,
            version: 12,
            correlation_id: 3,
            client_id: Some("a".to_owned()),
            peer: Arc::new(peer),
            access: Access::default(),
            charges: Charges::default(),
        };
        assert_eq!(
            context.to_string(),
            "Fetch version 12, correlation id 3, client id \"a\", connection 127.0.0.1:9092-127.0.0.1:5000-7, \
             listener INTERNAL, PLAINTEXT, User:ANONYMOUS"
        );
    }
}
