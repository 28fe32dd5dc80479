//! How a connection says who it is, as Kafka's `SaslClientAuthenticator`: the mechanism by SaslHandshake, its messages by
//! SaslAuthenticate, and both again before a session ends (KIP-368).

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use vltava_protocol::wire::Request;
use vltava_security::sasl::oauthbearer::OAuthBearerClient;
use vltava_security::sasl::scram::ScramClient;
use vltava_security::sasl::{PlainClient, SaslClient, SaslError, nonce};

use super::api_versions::ApiVersions;
use crate::config::{Login, SaslConfig};
use crate::error::ClientError;
use crate::sasl::{BearerToken, TokenError};

/// The least and the most part of a session's life after which it is begun again, as in Kafka.
const WINDOW: (f64, f64) = (0.85, 0.95);

/// Whoever can send a request on the connection, and nobody else does so at the same time.
pub(super) trait Ask: Send {
    fn ask<R: Request + Sync>(
        &mut self,
        request: &R,
        version: i16,
    ) -> impl Future<Output = Result<R::Response, ClientError>> + Send;
}

/// What a connection needs to say who it is.
#[derive(Debug)]
pub(super) struct Authenticator {
    config: Arc<SaslConfig>,
    address: Arc<str>,
    handshake_version: i16,
    authenticate_version: i16,
    /// How long one authentication may take when it is not part of the connecting.
    pub(super) timeout: Duration,
}

impl Authenticator {
    /// For a connection whose other side speaks `versions`.
    ///
    /// # Errors
    /// [`ClientError::UnsupportedVersion`] where that is of before KIP-152.
    pub(super) fn new(
        config: Arc<SaslConfig>,
        address: Arc<str>,
        versions: &ApiVersions,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        let handshake_version = versions.pick::<SaslHandshakeRequest>(None)?;
        let authenticate_version = versions.pick::<SaslAuthenticateRequest>(None)?;
        Ok(Self { config, address, handshake_version, authenticate_version, timeout })
    }

    /// Says who the client is. Gives the time to do so again, where the session has an end.
    ///
    /// # Errors
    /// [`ClientError::SaslAuthentication`] where it is not let in, and what `ask` fails with.
    pub(super) async fn authenticate(&self, ask: &mut impl Ask) -> Result<Option<Instant>, ClientError> {
        let (mut client, token) = self.client().await?;
        let mechanism = client.mechanism();
        let request = SaslHandshakeRequest { mechanism: mechanism.name().to_owned() };
        let response = ask.ask(&request, self.handshake_version).await?;
        let code = ErrorCode::from(response.error_code);
        if code == ErrorCode::UnsupportedSaslMechanism {
            let offered = response.mechanisms.join(", ");
            let message = format!("the broker does not offer SASL mechanism {mechanism}, but {offered}");
            return Err(self.refused(code, message));
        }
        if code != ErrorCode::None {
            return Err(self.refused(code, format!("SaslHandshake: {}", code.message())));
        }
        let mut next = client.first().map_err(|error| self.broken(&error))?;
        loop {
            let request = SaslAuthenticateRequest { auth_bytes: next.into(), ..SaslAuthenticateRequest::default() };
            let response = ask.ask(&request, self.authenticate_version).await?;
            let code = ErrorCode::from(response.error_code);
            if code != ErrorCode::None {
                let words = response.error_message.filter(|words| !words.is_empty());
                let message = words.unwrap_or_else(|| code.message().to_owned());
                return Err(self.not_let_in(token.as_ref(), code, message));
            }
            // The proof of a password is many thousand hashes: other work on this thread goes on meanwhile.
            let evaluated = tokio::task::spawn_blocking(move || {
                let answer = client.evaluate(&response.auth_bytes);
                (client, answer)
            });
            let (evaluated, answer) =
                evaluated.await.map_err(|error| ClientError::Panicked { message: error.to_string().into() })?;
            client = evaluated;
            match answer.map_err(|error| self.broken(&error))? {
                Some(message) => next = message,
                None if client.is_complete() => {
                    if let Login::Token { was_let_in, .. } = &self.config.login {
                        was_let_in.store(true, Ordering::Relaxed);
                    }
                    return Ok(begins_again(response.session_lifetime_ms));
                }
                None => return Err(self.broken(&SaslError::Invalid("the exchange has ended too early"))),
            }
        }
    }

    /// The client, and the token that it shows.
    async fn client(&self) -> Result<(SaslClient, Option<BearerToken>), ClientError> {
        let nonce = || nonce().map_err(|error| ClientError::connection(&self.address, error));
        let client = match (&self.config.login, self.config.mechanism.hash()) {
            (Login::Password { username, password }, Some(hash)) => {
                SaslClient::Scram(ScramClient::new(hash, username.clone(), password.clone(), nonce()?))
            }
            (Login::Password { username, password }, None) => {
                SaslClient::Plain(PlainClient::new(username.clone(), password.clone()))
            }
            (Login::Token { provider, extensions, .. }, _) => {
                let provider = provider.as_ref().ok_or_else(|| ClientError::state("there is no token provider"))?;
                let token = provider.token().await.map_err(|error| self.without_token(error))?;
                let mut all: BTreeMap<String, String> = extensions.clone();
                all.extend(token.extensions.clone());
                let client = SaslClient::OAuthBearer(OAuthBearerClient::new(token.value.clone(), all));
                return Ok((client, Some(token)));
            }
        };
        Ok((client, None))
    }

    /// The broker refuses. A token may have ended on its way, or by the broker's clock: who was let in the last time shows
    /// another one, and who is refused then, or never was let in, gives up.
    fn not_let_in(&self, token: Option<&BearerToken>, code: ErrorCode, message: String) -> ClientError {
        let refused = self.refused(code, message);
        let (Login::Token { provider: Some(provider), was_let_in, .. }, Some(token)) = (&self.config.login, token)
        else {
            return refused;
        };
        provider.refused(token);
        match was_let_in.swap(false, Ordering::Relaxed) {
            true => self.passing(refused),
            false => refused,
        }
    }

    /// What the next connection may not meet any more.
    pub(super) fn passing(&self, refused: ClientError) -> ClientError {
        tracing::warn!("connecting again: {refused}");
        ClientError::connection(&self.address, std::io::Error::other(refused))
    }

    fn without_token(&self, error: TokenError) -> ClientError {
        match error {
            TokenError::Refused(_) => self.refused(ErrorCode::SaslAuthenticationFailed, error.to_string()),
            TokenError::Unavailable(_) => ClientError::connection(&self.address, std::io::Error::other(error)),
        }
    }

    fn broken(&self, error: &SaslError) -> ClientError {
        self.refused(ErrorCode::SaslAuthenticationFailed, error.to_string())
    }

    fn refused(&self, code: ErrorCode, message: String) -> ClientError {
        let (address, mechanism) = (Arc::clone(&self.address), self.config.mechanism.name());
        ClientError::SaslAuthentication { address, mechanism, code, message: message.into() }
    }
}

/// When a session of this length is begun again.
fn begins_again(session_lifetime_ms: i64) -> Option<Instant> {
    let lifetime = u64::try_from(session_lifetime_ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis)?;
    let part = WINDOW.0 + (WINDOW.1 - WINDOW.0) * fastrand::f64();
    Instant::now().checked_add(lifetime.mul_f64(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_begun_again_before_it_ends() {
        assert_eq!((begins_again(0), begins_again(-1)), (None, None));
        for _ in 0..100 {
            let before = Instant::now();
            let at = begins_again(100_000).unwrap();
            assert!(at >= before + Duration::from_secs(85));
            assert!(at <= Instant::now() + Duration::from_secs(95));
        }
    }
}
