//! SaslHandshake (17), versions 0–1 (KIP-43, KIP-152).
//!
//! Names the mechanism by which a client authenticates. What begins an authentication never comes here: the connection takes
//! it (`security/authentication.rs`). Whoever is let in already, or came to a listener that asks for nothing, is told so.
//!
//! Versions: 1 the messages of the mechanism are requests of SaslAuthenticate, and no bare frames.

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{SaslHandshakeRequest, SaslHandshakeResponse};

use crate::request::RequestContext;

pub(crate) fn handle(_: &RequestContext, _: &SaslHandshakeRequest) -> SaslHandshakeResponse {
    SaslHandshakeResponse { error_code: ErrorCode::IllegalSaslState.code(), ..SaslHandshakeResponse::default() }
}
