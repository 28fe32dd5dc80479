//! The broker's end of SCRAM.

use subtle::ConstantTimeEq;

use super::MIN_ITERATIONS;
use super::credential::ScramCredential;
use super::hash::{Hash, xor};
use super::message::{ClientFinal, ClientFirst, ServerFinal, ServerFirst, text};
use crate::sasl::{Credentials, SaslError};

/// The broker's end of one exchange, Kafka's `ScramSaslServer`.
#[derive(Debug)]
pub struct ScramServer {
    hash: Hash,
    nonce: String,
    state: State,
}

enum State {
    First,
    /// A salt was sent, and a proof is awaited.
    Final(Box<Asked>),
    Complete {
        user: String,
    },
    Failed,
}

/// What a proof has to fit.
struct Asked {
    user: String,
    credential: ScramCredential,
    nonce: String,
    /// The header of the first message, to be found in the last again.
    gs2_header: String,
    /// What both have said so far, as it is signed.
    said: String,
}

impl State {
    const fn name(&self) -> &'static str {
        match self {
            Self::First => "RECEIVE_CLIENT_FIRST_MESSAGE",
            Self::Final(_) => "RECEIVE_CLIENT_FINAL_MESSAGE",
            Self::Complete { .. } => "COMPLETE",
            Self::Failed => "FAILED",
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl ScramServer {
    /// `nonce` is for this exchange alone: what was recorded of another does not fit it.
    #[must_use]
    pub fn new(hash: Hash, nonce: String) -> Self {
        Self { hash, nonce, state: State::First }
    }

    /// The answer to the client's message, as Kafka's `ScramSaslServer`.
    ///
    /// # Errors
    /// [`SaslError`]; the exchange is over then.
    pub fn evaluate(&mut self, response: &[u8], credentials: &dyn Credentials) -> Result<Vec<u8>, SaslError> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::First => self.ask(response, credentials),
            State::Final(asked) => self.check(response, *asked),
            other => Err(SaslError::IllegalState(other.name())),
        }
    }

    fn ask(&mut self, response: &[u8], credentials: &dyn Credentials) -> Result<Vec<u8>, SaslError> {
        let first = text(response)
            .and_then(ClientFirst::parse)
            .ok_or(SaslError::Invalid("invalid SCRAM client first message format"))?;
        let says = |name: &str, value: &str| first.extensions.iter().any(|(n, v)| *n == name && *v == value);
        // KIP-48: the name would be the id of a delegation token.
        if says("tokenauth", "true") {
            return Err(SaslError::Refused("delegation tokens (tokenauth=true) are not supported".to_owned()));
        }
        // Other extensions mean nothing, as in Kafka.
        let credential =
            credentials.scram(self.hash, &first.username).ok_or(SaslError::Invalid("invalid user credentials"))?;
        if first.authorization_id.as_ref().is_some_and(|id| *id != first.username) {
            let why = "Authentication failed: Client requested an authorization id that is different from username";
            return Err(SaslError::Refused(why.to_owned()));
        }
        if credential.iterations < MIN_ITERATIONS {
            return Err(SaslError::Invalid("the credential was made with too few iterations"));
        }
        let nonce = format!("{}{}", first.nonce, self.nonce);
        let answer = ServerFirst::write(&nonce, &credential.salt, credential.iterations);
        let said = format!("{},{answer}", first.bare);
        let gs2_header = first.gs2_header.to_owned();
        self.state = State::Final(Box::new(Asked { user: first.username, credential, nonce, gs2_header, said }));
        Ok(answer.into_bytes())
    }

    fn check(&mut self, response: &[u8], asked: Asked) -> Result<Vec<u8>, SaslError> {
        let Asked { user, credential, nonce, gs2_header, said } = asked;
        let last = text(response)
            .and_then(ClientFinal::parse)
            .ok_or(SaslError::Invalid("invalid SCRAM client final message format"))?;
        if last.nonce != nonce {
            return Err(SaslError::Invalid("invalid client nonce in the final client message"));
        }
        if last.binding != gs2_header.as_bytes() {
            return Err(SaslError::Invalid("the channel binding is not that of the first message"));
        }
        let signed = format!("{said},{}", last.without_proof);
        let signature = self.hash.hmac(&credential.stored_key, signed.as_bytes());
        let client_key = xor(&signature, &last.proof).ok_or(SaslError::Invalid("a proof of a wrong length"))?;
        let computed = self.hash.digest(&client_key);
        if !bool::from(computed.ct_eq(&credential.stored_key)) {
            return Err(SaslError::Invalid("invalid client credentials"));
        }
        self.state = State::Complete { user };
        let signature = self.hash.hmac(&credential.server_key, signed.as_bytes());
        Ok(ServerFinal::write(&signature).into_bytes())
    }

    /// Who has been let in.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        match &self.state {
            State::Complete { user } => Some(user),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
