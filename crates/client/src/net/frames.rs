//! Requests as frames, answers out of frames.

use bytes::Bytes;
use vltava_protocol::messages::{RequestHeader, ResponseHeader};
use vltava_protocol::wire::{Message, Reader, Request, Writer};
use vltava_protocol::{ApiKey, ErrorCode};

use crate::error::ClientError;

/// A request with its header and length, ready to be written. Record batches are chunks of their own and not copied.
pub(crate) fn encode<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: &str,
) -> Result<Vec<Bytes>, ClientError> {
    let wrap = |source| ClientError::Encode { api: R::API_KEY, source: std::sync::Arc::new(source) };
    let header = RequestHeader {
        request_api_key: R::API_KEY.code(),
        request_api_version: version,
        correlation_id,
        client_id: Some(client_id.to_owned()),
        ..RequestHeader::default()
    };
    let mut writer = Writer::new();
    header.encode(&mut writer, if version >= R::FLEXIBLE_SINCE { 2 } else { 1 }).map_err(wrap)?;
    request.encode(&mut writer, version).map_err(wrap)?;
    let length = i32::try_from(writer.len()).map_err(|_| ClientError::invalid("request is larger than 2 GiB"))?;
    let mut chunks = Vec::with_capacity(8);
    chunks.push(Bytes::copy_from_slice(&length.to_be_bytes()));
    chunks.append(&mut writer.into_chunks());
    Ok(chunks)
}

/// The answer in a frame (without its length), whose correlation id was checked.
pub(crate) fn decode<R: Request>(frame: Bytes, version: i16) -> Result<R::Response, ClientError> {
    let version = if is_refused_api_versions::<R>(&frame) { 0 } else { version };
    let wrap = |source| ClientError::Decode { api: R::API_KEY, source: std::sync::Arc::new(source) };
    let mut reader = Reader::new(frame);
    // KIP-511: the answer to ApiVersions has the old header, for a client may not know what the broker speaks yet.
    let flexible = version >= R::FLEXIBLE_SINCE && R::API_KEY != ApiKey::ApiVersions;
    ResponseHeader::decode(&mut reader, i16::from(flexible)).map_err(wrap)?;
    R::Response::decode(&mut reader, version).map_err(wrap)
}

/// KIP-511: a broker that does not know a version of ApiVersions answers in version 0, with an error code in front.
fn is_refused_api_versions<R: Request>(frame: &[u8]) -> bool {
    let code = frame.get(4..6).and_then(|code| code.first_chunk::<2>()).copied().map(i16::from_be_bytes);
    R::API_KEY == ApiKey::ApiVersions && code == Some(ErrorCode::UnsupportedVersion.code())
}
