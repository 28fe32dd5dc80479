//! The broker's end of any mechanism.

use super::error::SaslError;
use super::mechanism::Mechanism;
use super::oauthbearer::{OAuthBearerServer, TokenRefused, ValidToken};
use super::plain::PlainServer;
use super::scram::{Hash, ScramCredential, ScramServer};

/// What the broker knows of its users, in the place of Kafka's callback handlers.
pub trait Credentials {
    /// Whether this is the password of a user of PLAIN, found out in a time that does not depend on what is wrong with it.
    fn plain(&self, username: &str, password: &[u8]) -> bool;

    /// What is kept of a user's password for SCRAM.
    fn scram(&self, hash: Hash, username: &str) -> Option<ScramCredential>;

    /// Who a token says it is from, if it is good.
    ///
    /// # Errors
    /// [`TokenRefused`].
    fn token(&self, token: &str) -> Result<ValidToken, TokenRefused>;
}

/// Who has been let in, what Kafka's `SaslServer`s negotiate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    /// The name.
    pub name: String,
    /// When what was shown loses its value, in ms of the epoch.
    pub expires_at_ms: Option<i64>,
}

/// The broker's end of one exchange, as Kafka's `SaslServerAuthenticator` has it: [`evaluate`](Self::evaluate) with each message of the client, until
/// [`authenticated`](Self::authenticated) tells who it is.
#[derive(Debug)]
pub enum SaslServer {
    /// PLAIN.
    Plain(PlainServer),
    /// SCRAM.
    Scram(ScramServer),
    /// OAUTHBEARER.
    OAuthBearer(OAuthBearerServer),
}

impl SaslServer {
    /// The broker's end of a mechanism; `nonce` is for this exchange alone.
    #[must_use]
    pub fn new(mechanism: Mechanism, nonce: String) -> Self {
        match mechanism {
            Mechanism::Plain => Self::Plain(PlainServer::default()),
            Mechanism::ScramSha256 => Self::Scram(ScramServer::new(Hash::Sha256, nonce)),
            Mechanism::ScramSha512 => Self::Scram(ScramServer::new(Hash::Sha512, nonce)),
            Mechanism::OAuthBearer => Self::OAuthBearer(OAuthBearerServer::default()),
        }
    }

    /// The answer to the client's message.
    ///
    /// # Errors
    /// [`SaslError`]; the exchange is over then.
    pub fn evaluate(&mut self, response: &[u8], credentials: &dyn Credentials) -> Result<Vec<u8>, SaslError> {
        match self {
            Self::Plain(server) => server.evaluate(response, credentials),
            Self::Scram(server) => server.evaluate(response, credentials),
            Self::OAuthBearer(server) => server.evaluate(response, credentials),
        }
    }

    /// Who has been let in, once that is so.
    #[must_use]
    pub fn authenticated(&self) -> Option<Authenticated> {
        let forever = |name: &str| Authenticated { name: name.to_owned(), expires_at_ms: None };
        match self {
            Self::Plain(server) => server.user().map(forever),
            Self::Scram(server) => server.user().map(forever),
            Self::OAuthBearer(server) => server
                .token()
                .map(|token| Authenticated { name: token.principal.clone(), expires_at_ms: Some(token.expires_at_ms) }),
        }
    }
}

#[cfg(test)]
pub(super) mod testing {
    //! What a broker of tests knows.

    use std::collections::HashMap;

    use super::*;
    use crate::sasl::PlainUsers;

    #[derive(Debug, Default)]
    pub(in crate::sasl) struct Known {
        pub(in crate::sasl) plain: PlainUsers,
        pub(in crate::sasl) scram: HashMap<(Hash, String), ScramCredential>,
        pub(in crate::sasl) tokens: HashMap<String, ValidToken>,
    }

    impl Credentials for Known {
        fn plain(&self, username: &str, password: &[u8]) -> bool {
            self.plain.matches(username, password)
        }

        fn scram(&self, hash: Hash, username: &str) -> Option<ScramCredential> {
            self.scram.get(&(hash, username.to_owned())).cloned()
        }

        fn token(&self, token: &str) -> Result<ValidToken, TokenRefused> {
            self.tokens.get(token).cloned().ok_or_else(|| TokenRefused::invalid("unknown"))
        }
    }
}
