//! The client's end of any mechanism.

use super::error::SaslError;
use super::mechanism::Mechanism;
use super::oauthbearer::OAuthBearerClient;
use super::plain::PlainClient;
use super::scram::ScramClient;

/// The client's end of one exchange, as Kafka's `SaslClientAuthenticator` has it: [`first`](Self::first), then [`evaluate`](Self::evaluate) with each answer of the broker,
/// until it has nothing more to send.
#[derive(Debug)]
pub enum SaslClient {
    /// PLAIN.
    Plain(PlainClient),
    /// SCRAM.
    Scram(ScramClient),
    /// OAUTHBEARER.
    OAuthBearer(OAuthBearerClient),
}

impl SaslClient {
    /// The mechanism that it speaks.
    #[must_use]
    pub fn mechanism(&self) -> Mechanism {
        match self {
            Self::Plain(_) => Mechanism::Plain,
            Self::Scram(client) => client.hash().mechanism(),
            Self::OAuthBearer(_) => Mechanism::OAuthBearer,
        }
    }

    /// The message that begins.
    ///
    /// # Errors
    /// [`SaslError::IllegalState`] when it has begun already.
    pub fn first(&mut self) -> Result<Vec<u8>, SaslError> {
        match self {
            Self::Plain(client) => client.first(),
            Self::Scram(client) => client.first(),
            Self::OAuthBearer(client) => client.first(),
        }
    }

    /// What is to be sent after the broker's answer; nothing when all is said.
    ///
    /// # Errors
    /// [`SaslError`] where the answer is none that can follow.
    pub fn evaluate(&mut self, challenge: &[u8]) -> Result<Option<Vec<u8>>, SaslError> {
        match self {
            Self::Plain(client) => client.evaluate(challenge),
            Self::Scram(client) => client.evaluate(challenge),
            Self::OAuthBearer(client) => client.evaluate(challenge),
        }
    }

    /// Whether it is over and went well.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        match self {
            Self::Plain(client) => client.is_complete(),
            Self::Scram(client) => client.is_complete(),
            Self::OAuthBearer(client) => client.is_complete(),
        }
    }
}
