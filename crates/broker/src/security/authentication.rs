//! The authentication of one connection: which requests it may send, and who it turns out to be.
//!
//! A state machine without a socket or a clock, as Kafka's `SaslServerAuthenticator`: a frame goes in, and what is to be done
//! with it comes out. A client asks for ApiVersions if it likes, names a mechanism, and then sends that mechanism's messages.
//! Whoever sends anything else has the connection closed. Where a session has an end, the client authenticates again before
//! it (KIP-368), as the same principal and by the same mechanism.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use vltava_protocol::messages::{
    ApiVersionsRequest, RequestHeader, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
    SaslHandshakeResponse,
};
use vltava_protocol::wire::{Message, Reader, Records};
use vltava_protocol::{ApiKey, ErrorCode};
use vltava_security::KafkaPrincipal;
use vltava_security::sasl::oauthbearer::{TokenRefused, ValidToken};
use vltava_security::sasl::scram::{Hash, ScramCredential};
use vltava_security::sasl::{Credentials, Mechanism, SaslError, SaslServer};

use crate::apis;
use crate::config::ListenerSasl;
use crate::dispatch::{self, Refusal, Reply};
use crate::metadata::scram::ScramImage;
#[cfg(feature = "oauth")]
use crate::security::tokens::ListenerTokens;

/// Between two authentications of one connection.
const MIN_REAUTHENTICATION_INTERVAL: Duration = Duration::from_secs(1);

/// What is to be done with a frame.
#[derive(Debug)]
pub(crate) enum Step {
    /// It is a request like any other.
    Pass(Bytes),
    /// It goes on with this answer.
    Answer(Reply),
    /// It went well: this is who is at the other end.
    Authenticated(Reply, KafkaPrincipal),
    /// It did not: after a while there is this answer, if one at all, and the connection ends.
    Refuse(Option<Reply>, String),
}

/// Why a connection ends at once.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Violation {
    #[error("a request of {0}, and nobody has authenticated")]
    Unexpected(ApiKey),
    #[error("its session has ended, and it has not authenticated again")]
    Expired,
    #[error("its authentication has failed before")]
    Over,
    #[error("no randomness for a nonce: {0}")]
    NoNonce(std::io::Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// When a frame came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// For what ends after a while.
    pub(crate) at: Instant,
    /// For what ends at a time of day, in ms of the epoch.
    pub(crate) wall_clock_ms: i64,
}

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct Authentication {
    listener: Arc<ListenerSasl>,
    state: State,
    /// Who has been let in, once somebody was.
    session: Option<Session>,
    begun_again: Option<Instant>,
}

#[derive(Debug)]
enum State {
    /// ApiVersions may come, once, or SaslHandshake.
    VersionsOrHandshake,
    Handshake,
    Exchange {
        server: Box<SaslServer>,
        mechanism: Mechanism,
        /// Whether the messages are requests of SaslAuthenticate, or bare frames.
        is_framed: bool,
    },
    /// Who authenticates again asks for another mechanism: whatever comes, it is refused.
    OtherMechanism {
        why: String,
    },
    Complete,
    Failed,
}

#[derive(Debug, Clone)]
struct Session {
    principal: KafkaPrincipal,
    mechanism: Mechanism,
    ends_at: Option<Instant>,
}

/// Whom the broker knows: of PLAIN by the listener's settings, of SCRAM by the metadata.
#[derive(Debug)]
pub(crate) struct KnownUsers<'a> {
    pub(crate) listener: Arc<ListenerSasl>,
    pub(crate) scram: &'a ScramImage,
    /// What the listener checks tokens with, where it takes any.
    #[cfg(feature = "oauth")]
    pub(crate) tokens: Option<&'a ListenerTokens>,
    /// In ms of the epoch.
    #[cfg(feature = "oauth")]
    pub(crate) wall_clock_ms: i64,
}

impl Credentials for KnownUsers<'_> {
    fn plain(&self, username: &str, password: &[u8]) -> bool {
        self.listener.users.matches(username, password)
    }

    fn scram(&self, hash: Hash, username: &str) -> Option<ScramCredential> {
        self.scram.get(hash, username).cloned()
    }

    #[cfg(feature = "oauth")]
    fn token(&self, token: &str) -> Result<ValidToken, TokenRefused> {
        match self.tokens {
            Some(tokens) => tokens.check(token, self.wall_clock_ms),
            None => Err(TokenRefused::invalid("the listener takes no tokens")),
        }
    }

    /// No listener has OAUTHBEARER.
    #[cfg(not(feature = "oauth"))]
    fn token(&self, _: &str) -> Result<ValidToken, TokenRefused> {
        Err(TokenRefused::invalid("the listener takes no tokens"))
    }
}

/// The head of a request, and what follows it.
struct Head {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    body: Reader,
}

impl Head {
    fn read(frame: Bytes) -> Result<Self, Refusal> {
        let mut body = Reader::new(frame);
        let (code, version) = dispatch::api_and_version(body.clone()).map_err(Refusal::NoHeader)?;
        let api = ApiKey::from_code(code).ok_or(Refusal::Unknown { code })?;
        let header = RequestHeader::decode(&mut body, api.request_header_version(version));
        let header = header.map_err(|source| Refusal::Malformed { api, version, source })?;
        Ok(Self { api, version, correlation_id: header.correlation_id, body })
    }

    /// The request, in a version that is served.
    fn request<R: Message>(&mut self) -> Result<R, Refusal> {
        let (api, version) = (self.api, self.version);
        apis::serves(api, version).ok_or(Refusal::NotServed { api, version })?;
        R::decode(&mut self.body, version).map_err(|source| Refusal::Malformed { api, version, source })
    }
}

impl Authentication {
    /// Of a connection that has just been made to a listener.
    pub(crate) fn new(listener: Arc<ListenerSasl>) -> Self {
        Self { listener, state: State::VersionsOrHandshake, session: None, begun_again: None }
    }

    /// What the listener asks for.
    pub(crate) fn listener(&self) -> Arc<ListenerSasl> {
        Arc::clone(&self.listener)
    }

    /// Whether somebody has been let in, and no new authentication is under way.
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    /// How long what comes next may be, where it is not any request.
    pub(crate) fn max_receive_size(&self) -> Option<usize> {
        (!self.is_complete()).then_some(self.listener.max_receive_size)
    }

    /// How long an answer that refuses is held back.
    pub(crate) fn failure_delay(&self) -> Duration {
        self.listener.failure_delay
    }

    /// Whether a frame is a request like any other of who has been let in. The clock is looked at where the session ends.
    ///
    /// # Errors
    /// Where it has ended, and the connection is to be closed at once.
    pub(crate) fn passes(&self, frame: &Bytes, clock: impl FnOnce() -> Instant) -> Result<bool, Violation> {
        if !self.is_complete() {
            return Ok(false);
        }
        let ends_at = self.session.as_ref().and_then(|session| session.ends_at);
        let Some(ends_at) = ends_at else { return Ok(true) };
        let now = clock();
        let is_handshake = dispatch::api_and_version(Reader::new(frame.clone()))
            .is_ok_and(|(code, _)| code == ApiKey::SaslHandshake.code());
        let is_too_soon = |begun| now.saturating_duration_since(begun) < MIN_REAUTHENTICATION_INTERVAL;
        if is_handshake && !self.begun_again.is_some_and(is_too_soon) {
            return Ok(false);
        }
        match now > ends_at {
            true => Err(Violation::Expired),
            false => Ok(true),
        }
    }

    /// Takes a frame. `nonce` draws one for an exchange that begins.
    ///
    /// # Errors
    /// Where the connection is to be closed at once, without an answer.
    pub(crate) fn take(
        &mut self,
        frame: Bytes,
        credentials: &dyn Credentials,
        now: Now,
        nonce: impl FnOnce() -> std::io::Result<String>,
    ) -> Result<Step, Violation> {
        let passes = self.passes(&frame, || now.at);
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Complete if passes? => {
                self.state = State::Complete;
                Ok(Step::Pass(frame))
            }
            State::Complete => {
                self.begun_again = Some(now.at);
                self.begin(frame, false, nonce)
            }
            State::VersionsOrHandshake => self.begin(frame, true, nonce),
            State::Handshake => self.begin(frame, false, nonce),
            State::Exchange { server, mechanism, is_framed: true } => {
                self.exchange(frame, server, mechanism, credentials, now)
            }
            State::Exchange { server, mechanism, is_framed: false } => {
                Ok(self.bare_exchange(&frame, server, mechanism, credentials, now))
            }
            State::OtherMechanism { why } => Ok(Step::Refuse(None, why)),
            State::Failed => Err(Violation::Over),
        }
    }

    fn begin(
        &mut self,
        frame: Bytes,
        may_ask_for_versions: bool,
        nonce: impl FnOnce() -> std::io::Result<String>,
    ) -> Result<Step, Violation> {
        let mut head = Head::read(frame.clone())?;
        match head.api {
            ApiKey::ApiVersions if may_ask_for_versions => {
                // Who asks in a version that is not served is told which are, and asks again.
                let is_served = apis::serves(head.api, head.version).is_some();
                self.state = if is_served { State::Handshake } else { State::VersionsOrHandshake };
                Ok(Step::Pass(frame))
            }
            ApiKey::SaslHandshake => self.handshake(&mut head, nonce),
            other => Err(Violation::Unexpected(other)),
        }
    }

    fn handshake(
        &mut self,
        head: &mut Head,
        nonce: impl FnOnce() -> std::io::Result<String>,
    ) -> Result<Step, Violation> {
        let asked = head.request::<SaslHandshakeRequest>()?.mechanism;
        let answer = |code: ErrorCode| {
            let mechanisms = self.listener.mechanisms.iter().map(|mechanism| mechanism.name().to_owned()).collect();
            let response = SaslHandshakeResponse { error_code: code.code(), mechanisms };
            dispatch::reply::<SaslHandshakeRequest>(head.version, head.correlation_id, &response)
        };
        let enabled = self.listener.mechanisms.iter().find(|mechanism| mechanism.name() == asked);
        let Some(mechanism) = enabled.copied() else {
            let reply = answer(ErrorCode::UnsupportedSaslMechanism)?;
            return Ok(Step::Refuse(Some(reply), format!("unsupported SASL mechanism {asked:?}")));
        };
        let reply = answer(ErrorCode::None)?;
        let before = self.session.as_ref().map(|session| session.mechanism);
        self.state = match before.filter(|before| *before != mechanism) {
            Some(before) => State::OtherMechanism {
                why: format!(
                    "SASL mechanism '{mechanism}' requested by client is not supported for re-authentication of \
                     mechanism '{before}'"
                ),
            },
            None => {
                let server = Box::new(SaslServer::new(mechanism, nonce().map_err(Violation::NoNonce)?));
                State::Exchange { server, mechanism, is_framed: head.version >= 1 }
            }
        };
        Ok(Step::Answer(reply))
    }

    /// A message of the mechanism, in a request.
    fn exchange(
        &mut self,
        frame: Bytes,
        mut server: Box<SaslServer>,
        mechanism: Mechanism,
        credentials: &dyn Credentials,
        now: Now,
    ) -> Result<Step, Violation> {
        let mut head = Head::read(frame)?;
        if head.api != ApiKey::SaslAuthenticate {
            return out_of_place(&mut head);
        }
        let message = head.request::<SaslAuthenticateRequest>()?.auth_bytes;
        let answer = |response: &SaslAuthenticateResponse| {
            dispatch::reply::<SaslAuthenticateRequest>(head.version, head.correlation_id, response)
        };
        let refuse = |told: String, why: String| {
            let response = SaslAuthenticateResponse {
                error_code: ErrorCode::SaslAuthenticationFailed.code(),
                error_message: Some(told),
                ..SaslAuthenticateResponse::default()
            };
            Ok(Step::Refuse(Some(answer(&response)?), why))
        };
        let auth_bytes = match server.evaluate(&message, credentials) {
            Ok(answer) => answer.into(),
            Err(SaslError::Refused(why)) => return refuse(why.clone(), why),
            // What else is wrong might tell whether there is such a user.
            Err(error) => {
                let what = if self.session.is_some() { "re-authentication" } else { "authentication" };
                let told = format!(
                    "Authentication failed during {what} due to invalid credentials with SASL mechanism {mechanism}"
                );
                return refuse(told, format!("{mechanism}: {error}"));
            }
        };
        let completed = self.completed(&server, mechanism, now);
        let response = |session_lifetime_ms| SaslAuthenticateResponse {
            auth_bytes,
            session_lifetime_ms,
            ..SaslAuthenticateResponse::default()
        };
        match completed {
            None => {
                self.state = State::Exchange { server, mechanism, is_framed: true };
                Ok(Step::Answer(answer(&response(0))?))
            }
            Some(Err(why)) => refuse(why.clone(), why),
            Some(Ok((session, lifetime_ms))) => {
                let reply = answer(&response(lifetime_ms))?;
                Ok(self.let_in(session, reply))
            }
        }
    }

    /// A message of the mechanism that is the whole frame, as before KIP-152: so is the answer, and nothing is told of
    /// failures.
    fn bare_exchange(
        &mut self,
        frame: &[u8],
        mut server: Box<SaslServer>,
        mechanism: Mechanism,
        credentials: &dyn Credentials,
        now: Now,
    ) -> Step {
        let answer = match server.evaluate(frame, credentials) {
            Ok(answer) => Reply { parts: vec![Records::Memory(answer.into())] },
            Err(error) => return Step::Refuse(None, format!("{mechanism}: {error}")),
        };
        match self.completed(&server, mechanism, now) {
            None => {
                self.state = State::Exchange { server, mechanism, is_framed: false };
                Step::Answer(answer)
            }
            Some(Err(why)) => Step::Refuse(None, why),
            Some(Ok((session, _))) => self.let_in(session, answer),
        }
    }

    /// Who has been let in and for how many ms, once that is so; 0 for as long as the connection lasts.
    fn completed(&self, server: &SaslServer, mechanism: Mechanism, now: Now) -> Option<Result<(Session, i64), String>> {
        let who = server.authenticated()?;
        let principal = KafkaPrincipal::user(&who.name);
        if let Some(before) = self.session.as_ref().map(|session| &session.principal)
            && *before != principal
        {
            let shown = |principal: &KafkaPrincipal| format!("{}.{}", principal.kind(), principal.name());
            let (before, after) = (shown(before), shown(&principal));
            return Some(Err(format!("Cannot change principals during re-authentication from {before}: {after}")));
        }
        let of_credential = who.expires_at_ms.map(|end| end.saturating_sub(now.wall_clock_ms).max(0));
        let of_broker = self.listener.max_reauth_ms(mechanism);
        let lifetime_ms = of_credential.into_iter().chain(of_broker).min();
        let lifetime = lifetime_ms.map(|ms| Duration::from_millis(ms.unsigned_abs()));
        let ends_at = lifetime.and_then(|lifetime| now.at.checked_add(lifetime));
        Some(Ok((Session { principal, mechanism, ends_at }, lifetime_ms.unwrap_or(0))))
    }

    fn let_in(&mut self, session: Session, reply: Reply) -> Step {
        let principal = session.principal.clone();
        self.session = Some(session);
        self.state = State::Complete;
        Step::Authenticated(reply, principal)
    }
}

/// Another request where a message of the mechanism was to come. Kafka answers in the form of that request; here those are
/// answered that a client would send then, and the others see the end of the connection, which follows anyway.
fn out_of_place(head: &mut Head) -> Result<Step, Violation> {
    let code = ErrorCode::IllegalSaslState.code();
    let (api, version, id) = (head.api, head.version, head.correlation_id);
    let reply = match api {
        ApiKey::SaslHandshake => {
            head.request::<SaslHandshakeRequest>()?;
            let response = SaslHandshakeResponse { error_code: code, ..SaslHandshakeResponse::default() };
            Some(dispatch::reply::<SaslHandshakeRequest>(version, id, &response)?)
        }
        ApiKey::ApiVersions => {
            head.request::<ApiVersionsRequest>()?;
            let response = vltava_protocol::messages::ApiVersionsResponse { error_code: code, ..Default::default() };
            Some(dispatch::reply::<ApiVersionsRequest>(version, id, &response)?)
        }
        _ => None,
    };
    Ok(Step::Refuse(reply, format!("unexpected request of {api} during SASL authentication")))
}

#[cfg(test)]
mod tests;
