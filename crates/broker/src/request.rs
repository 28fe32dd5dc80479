//! What a handler knows about a request besides its body.

use std::net::SocketAddr;
use std::sync::Arc;

use vltava_protocol::{ApiKey, ErrorCode};

/// The other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// The name of the listener it came to.
    pub(crate) listener: Arc<str>,
}

impl Peer {
    /// The client's host, in the form Kafka shows it in group descriptions.
    pub(crate) fn host(&self) -> String {
        format!("/{}", self.address.ip())
    }
}

/// One request's header and origin.
#[derive(Debug, Clone)]
pub(crate) struct RequestContext {
    pub(crate) api_key: ApiKey,
    pub(crate) version: i16,
    pub(crate) client_id: Option<String>,
    pub(crate) peer: Peer,
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

    /// The text to answer: the given one, or Kafka's for the code.
    pub(crate) fn text(&self) -> Option<String> {
        self.message.clone().or_else(|| Some(self.code.message().to_owned()))
    }
}

impl From<ErrorCode> for ApiError {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None }
    }
}
