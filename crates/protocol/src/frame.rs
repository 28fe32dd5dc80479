//! Requests and answers as they travel over a connection: a length in four bytes, a header, a body.
//!
//! Writing gives chunks for a vectored write, so that record batches are not copied. [`FrameReader`] has
//! a buffer that the caller fills from its socket, and gives whole frames as slices of it: broker and
//! client read by it.

mod reader;

use bytes::Bytes;

pub use reader::FrameReader;

use crate::messages::{RequestHeader, ResponseHeader};
use crate::wire::{Message, Reader, Request, Writer};
use crate::{ApiKey, Error};

/// The bytes of the length in front of a frame.
pub const LENGTH_SIZE: usize = 4;

/// Returns a request as a frame: length, header and body, in chunks to be sent in this order.
///
/// # Errors
/// [`Error::Encode`] when the version cannot express the request, [`Error::FrameTooLarge`] from 2 GiB on.
pub fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<Vec<Bytes>, Error> {
    let mut w = start_request(R::API_KEY, version, correlation_id, client_id)?;
    request.encode(&mut w, version)?;
    finish(w)
}

/// Returns an answer as a frame: length, header and body, in chunks to be sent in this order.
///
/// # Errors
/// As [`encode_request`].
pub fn encode_response<R: Request>(
    response: &R::Response,
    version: i16,
    correlation_id: i32,
) -> Result<Vec<Bytes>, Error> {
    let mut w = start_response(R::API_KEY, version, correlation_id)?;
    response.encode(&mut w, version)?;
    finish(w)
}

/// Starts a frame with the header of a request; [`finish`] ends it.
///
/// # Errors
/// [`Error::Encode`] when the client's id is too long.
pub fn start_request(
    api_key: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<Writer, Error> {
    let header = RequestHeader {
        request_api_key: api_key.code(),
        request_api_version: version,
        correlation_id,
        client_id: client_id.map(str::to_owned),
        ..RequestHeader::default()
    };
    let mut w = Writer::with_capacity(256);
    w.i32(0);
    header.encode(&mut w, api_key.request_header_version(version))?;
    Ok(w)
}

/// Starts a frame with the header of an answer; [`finish`] ends it.
///
/// # Errors
/// None in fact: the header has no field that could fail.
pub fn start_response(api_key: ApiKey, version: i16, correlation_id: i32) -> Result<Writer, Error> {
    let header = ResponseHeader { correlation_id, ..ResponseHeader::default() };
    let mut w = Writer::with_capacity(256);
    w.i32(0);
    header.encode(&mut w, api_key.response_header_version(version))?;
    Ok(w)
}

/// Ends a frame: puts the length in front of it.
///
/// # Errors
/// [`Error::FrameTooLarge`] from 2 GiB on.
pub fn finish(mut w: Writer) -> Result<Vec<Bytes>, Error> {
    let size = w.len() - LENGTH_SIZE;
    let limit = i32::MAX as usize;
    w.set_first_i32(i32::try_from(size).map_err(|_| Error::FrameTooLarge { size, limit })?);
    Ok(w.into_chunks())
}

/// Reads the header of a request; its body is next in the reader, in version
/// `RequestHeader::request_api_version`, which may be one that the API does not have.
///
/// # Errors
/// [`Error::UnknownApiKey`] for an API that Kafka 4.3 does not have, [`Error::Decode`] otherwise.
pub fn decode_request_header(r: &mut Reader) -> Result<(ApiKey, RequestHeader), Error> {
    let mut start = r.clone();
    let code = start.i16()?;
    let version = start.i16()?;
    let api_key = ApiKey::from_code(code).ok_or(Error::UnknownApiKey(code))?;
    let header = RequestHeader::decode(r, api_key.request_header_version(version))?;
    Ok((api_key, header))
}

/// Returns the correlation id that an answer's frame begins with.
///
/// # Errors
/// [`Error::Decode`] when the frame is shorter than that.
pub fn correlation_id(frame: &Bytes) -> Result<i32, Error> {
    Ok(Reader::new(frame.clone()).i32()?)
}

/// Reads the answer to a request of type `R` that was sent in the given version.
///
/// # Errors
/// [`Error::CorrelationMismatch`] when it answers another request, [`Error::Decode`] otherwise.
pub fn decode_response<R: Request>(frame: Bytes, version: i16, correlation_id: i32) -> Result<R::Response, Error> {
    let mut r = Reader::new(frame);
    let header = ResponseHeader::decode(&mut r, R::API_KEY.response_header_version(version))?;
    if header.correlation_id != correlation_id {
        return Err(Error::CorrelationMismatch { expected: correlation_id, actual: header.correlation_id });
    }
    Ok(R::Response::decode(&mut r, version)?)
}

#[cfg(test)]
mod tests;
