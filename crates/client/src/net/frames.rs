//! Requests as frames, answers out of frames.

use bytes::Bytes;
use vltava_protocol::messages::ResponseHeader;
use vltava_protocol::wire::{Message, Reader, Request};
use vltava_protocol::{ApiKey, Error, ErrorCode, frame};

use crate::error::ClientError;

/// A request with its header and length, ready to be written. Record batches are chunks of their own and not copied.
pub(crate) fn encode<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: &str,
) -> Result<Vec<Bytes>, ClientError> {
    frame::encode_request(request, version, correlation_id, Some(client_id)).map_err(|error| match error {
        Error::Encode(source) => ClientError::Encode { api: R::API_KEY, source: std::sync::Arc::new(source) },
        other => ClientError::invalid(other.to_string()),
    })
}

/// The answer in a frame (without its length), whose correlation id was checked.
pub(crate) fn decode<R: Request>(frame: Bytes, version: i16) -> Result<R::Response, ClientError> {
    let version = if is_refused_api_versions::<R>(&frame) { 0 } else { version };
    let wrap = |source| ClientError::Decode { api: R::API_KEY, source: std::sync::Arc::new(source) };
    let mut reader = Reader::new(frame);
    ResponseHeader::decode(&mut reader, R::API_KEY.response_header_version(version)).map_err(wrap)?;
    R::Response::decode(&mut reader, version).map_err(wrap)
}

/// KIP-511: a broker that does not know a version of ApiVersions answers in version 0, with an error code in front.
fn is_refused_api_versions<R: Request>(frame: &[u8]) -> bool {
    let code = frame.get(4..6).and_then(|code| code.first_chunk::<2>()).copied().map(i16::from_be_bytes);
    R::API_KEY == ApiKey::ApiVersions && code == Some(ErrorCode::UnsupportedVersion.code())
}
