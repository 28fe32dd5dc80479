//! From the bytes of a request to the bytes of its answer: header, version, and the handler that the list of APIs names.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tracing::trace;
use vltava_protocol::ApiKey;
use vltava_protocol::messages::{ApiVersionsRequest, RequestHeader, ResponseHeader};
use vltava_protocol::wire::{DecodeError, EncodeError, Message, Reader, Records, Request, Writer};

use crate::apis::{self, apis};
use crate::handlers::{self, api_versions};
use crate::metrics::timed;
use crate::quota::Charges;
use crate::request::{Answer, Peer, RequestContext};
use crate::security::Access;
use crate::services::Services;

/// Why a request gets no answer and its connection ends, as in Kafka.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("a request without a whole header: {0}")]
    NoHeader(DecodeError),
    #[error("there is no api {code}")]
    Unknown { code: i16 },
    #[error("malformed request of {api} version {version}: {source}")]
    Malformed { api: ApiKey, version: i16, source: DecodeError },
    #[error("invalid request of {api} version {version}: {why}")]
    Invalid { api: ApiKey, version: i16, why: &'static str },
    #[error("version {version} of {api} is not served")]
    NotServed { api: ApiKey, version: i16 },
    #[error("{api} is not served, as all that belongs to {what}")]
    Lacking { api: ApiKey, what: &'static str },
    #[error("cannot write the answer of {api}: {source}")]
    Unanswerable { api: ApiKey, source: EncodeError },
    /// A producer that waits for no answer learns of a failure in this way only.
    #[error("a produce request without acknowledgement failed")]
    Unacknowledged,
}

/// The bytes of one answer, in the parts that they lie in, without their length.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) parts: Vec<Records>,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Handled {
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) reply: Option<Reply>,
    /// For how long nothing more is read of the client after that (KIP-219).
    pub(crate) throttle: Duration,
    /// How long it waited for others.
    pub(crate) remote: Duration,
}

/// Handles one request. Nothing to send is an answer too: a producer with `acks=0` expects none. `place` is the request's
/// among those that wait for the broker, given up when it is handled, or when it begins to wait for somebody else.
pub(crate) async fn handle(
    services: &Services,
    peer: &Arc<Peer>,
    request: Bytes,
    place: OwnedSemaphorePermit,
) -> Result<Handled, Refusal> {
    let charges = Charges::new(&services.quotas, request.len());
    let mut reader = Reader::new(request);
    let (code, version) = api_and_version(reader.clone()).map_err(Refusal::NoHeader)?;
    let api = ApiKey::from_code(code).ok_or(Refusal::Unknown { code })?;
    let malformed = |source| Refusal::Malformed { api, version, source };
    let header = RequestHeader::decode(&mut reader, api.request_header_version(version)).map_err(malformed)?;
    let exchange = Exchange(RequestContext {
        api_key: api,
        version,
        correlation_id: header.correlation_id,
        client_id: header.client_id,
        peer: Arc::clone(peer),
        access: access(services),
        charges,
    });
    if let Some(served) = apis::serves(api, version) {
        exchange.admit();
        let _place = (!served.waits_for_others).then_some(place);
        let (reply, remote) = timed(exchange.0.charges.during(exchange.dispatch(services, reader))).await;
        let reply = reply?;
        exchange.0.settle_time();
        return Ok(Handled { api, version, reply, throttle: exchange.0.charges.throttle(), remote });
    }
    match apis::lacking(api) {
        Some(what) => Err(Refusal::Lacking { api, what }),
        None if api == ApiKey::ApiVersions => {
            let reply = exchange.reply::<ApiVersionsRequest>(0, &api_versions::unsupported())?;
            let (throttle, remote) = (Duration::ZERO, Duration::ZERO);
            Ok(Handled { api, version, reply: Some(reply), throttle, remote })
        }
        None => Err(Refusal::NotServed { api, version }),
    }
}

/// What requests are judged by from now on: nothing is looked up where there is no authorizer.
fn access(services: &Services) -> Access {
    match &services.config.authorizer {
        Some(authorizer) => Access::judged_by(authorizer, services.metadata.image().acls()),
        None => Access::default(),
    }
}

pub(crate) fn api_and_version(mut head: Reader) -> Result<(i16, i16), DecodeError> {
    Ok((head.i16()?, head.i16()?))
}

/// A request under way.
struct Exchange(RequestContext);

/// The match over all APIs that are served: decodes the body, calls the handler with it, encodes what it returns.
macro_rules! dispatch {
    (
        served { $(
            $api:ident $min:literal..=$max:literal $(, told from $told:literal)?
                , needs [$($operation:ident $resource:ident),*]
                => $handler:ident($($part:ident),*) $(.$wait:ident)? $(, waits for $others:ident)?;
        )* }
        lacking $lacking:tt
    ) => {
        async fn dispatch(&self, services: &Services, reader: Reader) -> Result<Option<Reply>, Refusal> {
            match self.0.api_key {
                $(ApiKey::$api => {
                    let request = self.body(reader)?;
                    let answer = handlers::$handler::handle($(&services.$part,)* &self.0, &request)$(.$wait)?;
                    self.reply_to(&request, answer)
                })*
                api => Err(Refusal::NotServed { api, version: self.0.version }),
            }
        }
    };
}

impl Exchange {
    apis!(dispatch);

    /// Every request passes here before its handler sees it, with all that is known of who sends it. What they may do
    /// is asked by the handler, which knows the resources; what it may ask about is in the list of APIs.
    fn admit(&self) {
        trace!("{}", self.0);
    }

    fn body<R: Request>(&self, mut reader: Reader) -> Result<R, Refusal> {
        let RequestContext { api_key: api, version, .. } = self.0;
        R::decode(&mut reader, version).map_err(|source| Refusal::Malformed { api, version, source })
    }

    fn reply_to<R: Request>(
        &self,
        _request: &R,
        answer: impl Into<Answer<R::Response>>,
    ) -> Result<Option<Reply>, Refusal> {
        match answer.into() {
            Answer::Response(mut response) => {
                // As Kafka: brokers do not wait for each other, and who expects no answer is not told.
                if R::API_KEY != ApiKey::WriteTxnMarkers {
                    self.0.charge_time();
                }
                let throttle = self.0.charges.throttle();
                if !throttle.is_zero() {
                    response.set_throttle_time_ms(i32::try_from(throttle.as_millis()).unwrap_or(i32::MAX));
                }
                self.reply::<R>(self.0.version, &response).map(Some)
            }
            Answer::Silent => Ok(None),
            Answer::Disconnect => Err(Refusal::Unacknowledged),
            Answer::Invalid(why) => Err(Refusal::Invalid { api: R::API_KEY, version: self.0.version, why }),
        }
    }

    fn reply<R: Request>(&self, version: i16, response: &R::Response) -> Result<Reply, Refusal> {
        reply::<R>(version, self.0.correlation_id, response)
    }
}

/// The bytes of an answer to a request of this version.
pub(crate) fn reply<R: Request>(version: i16, correlation_id: i32, response: &R::Response) -> Result<Reply, Refusal> {
    let api = R::API_KEY;
    let unanswerable = |source| Refusal::Unanswerable { api, source };
    let mut writer = Writer::with_files();
    let header = ResponseHeader { correlation_id, ..ResponseHeader::default() };
    header.encode(&mut writer, api.response_header_version(version)).map_err(unanswerable)?;
    response.encode(&mut writer, version).map_err(unanswerable)?;
    Ok(Reply { parts: writer.into_parts() })
}
