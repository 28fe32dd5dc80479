//! Tokens for `sasl.mechanism=OAUTHBEARER`, from whoever gives them.
//!
//! A file is read where `sasl.oauthbearer.token.endpoint.url` names one, and with the feature `oauth` an endpoint is asked by HTTP
//! with the client's credentials. For anything else, such as the identity service of a
//! cloud, an application has a [`TokenProvider`] and hands it to the configuration of its client
//! ([`ProducerConfig::with_token_provider`](crate::ProducerConfig::with_token_provider) and the same of the others).

#[cfg(feature = "oauth")]
mod endpoint;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use vltava_security::Secret;

#[cfg(feature = "oauth")]
pub(crate) use endpoint::{Grant, TokenEndpoint};

/// Gives a token whenever a connection authenticates, in the place of Kafka's `OAuthBearerLoginCallbackHandler`.
///
/// It is asked for each connection, and again before a session ends (KIP-368): one that has to ask somebody itself keeps the
/// token as long as it is good. The time that it takes is part of `socket.connection.setup.timeout.ms`.
///
/// # Examples
///
/// ```
/// use vltava_client::sasl::{BearerToken, TokenFuture, TokenProvider};
///
/// #[derive(Debug)]
/// struct OfTheEnvironment;
///
/// impl TokenProvider for OfTheEnvironment {
///     fn token(&self) -> TokenFuture<'_> {
///         Box::pin(async { Ok(BearerToken::new("a.signed.token")) })
///     }
/// }
/// ```
pub trait TokenProvider: fmt::Debug + Send + Sync {
    /// A token that is good now.
    fn token(&self) -> TokenFuture<'_>;

    /// A broker has not taken this token: who keeps tokens gives another one the next time.
    fn refused(&self, token: &BearerToken) {
        let _ = token;
    }
}

/// What a [`TokenProvider`] promises, in the place of Kafka's `OAuthBearerTokenCallback`.
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<BearerToken, TokenError>> + Send + 'a>>;

/// A token and what goes with it, of Kafka's `OAuthBearerToken`. Its value is never shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BearerToken {
    pub(crate) value: Secret,
    pub(crate) extensions: BTreeMap<String, String>,
}

impl BearerToken {
    /// A token, in the form in which it is sent.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self { value: value.into().into(), extensions: BTreeMap::new() }
    }

    /// With a name and a value that go with it (KIP-342), over those of `sasl.jaas.config`.
    #[must_use]
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extensions.insert(name.into(), value.into());
        self
    }
}

/// Why a [`TokenProvider`] has none, as with Kafka's `OAuthBearerTokenCallback`. What it says is logged: no secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// There may be one in a moment: the client tries again.
    #[error("no token: {0}")]
    Unavailable(String),
    /// There will be none: the client fails, as it does when a broker refuses it.
    #[error("no token: {0}")]
    Refused(String),
}

/// Reads a file each time, as Kafka's `FileJwtRetriever`: whoever renews the token writes it there.
#[derive(Debug)]
pub(crate) struct TokenFile(pub(crate) PathBuf);

/// The longest file that is read, in bytes. A broker takes no longer message.
const LONGEST_TOKEN: u64 = 512 * 1024;

impl TokenFile {
    fn read(&self) -> Result<BearerToken, TokenError> {
        use std::io::Read;
        let unavailable =
            |why: &dyn fmt::Display| TokenError::Unavailable(format!("cannot read `{}`: {why}", self.0.display()));
        let file = std::fs::File::open(&self.0).map_err(|error| unavailable(&error))?;
        let mut text = String::new();
        file.take(LONGEST_TOKEN).read_to_string(&mut text).map_err(|error| unavailable(&error))?;
        match text.trim() {
            "" => Err(unavailable(&"it is empty")),
            token => Ok(BearerToken::new(token)),
        }
    }
}

impl TokenProvider for TokenFile {
    fn token(&self) -> TokenFuture<'_> {
        // One read of a small file, as often as a connection is made.
        let token = self.read();
        Box::pin(async { token })
    }
}
