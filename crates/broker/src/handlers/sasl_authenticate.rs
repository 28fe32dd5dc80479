//! SaslAuthenticate (36), versions 0–2 (KIP-152).
//!
//! Carries the messages of a mechanism. Those of an authentication under way never come here: the connection takes them
//! (`security/authentication.rs`). Whoever is let in already, or came to a listener that asks for nothing, is told so.
//!
//! Versions: 1 the lifetime of the session (KIP-368) · 2 flexible.

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse};

use crate::request::RequestContext;

pub(crate) fn handle(_: &RequestContext, _: &SaslAuthenticateRequest) -> SaslAuthenticateResponse {
    let message = "SaslAuthenticate request received after successful authentication";
    SaslAuthenticateResponse {
        error_code: ErrorCode::IllegalSaslState.code(),
        error_message: Some(message.to_owned()),
        ..SaslAuthenticateResponse::default()
    }
}
