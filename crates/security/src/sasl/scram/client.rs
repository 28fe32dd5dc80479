//! The client's end of SCRAM.

use subtle::ConstantTimeEq;

use super::hash::{Hash, xor};
use super::message::{ClientFinal, GS2_HEADER, ServerFinal, ServerFirst, escape, text};
use super::{MAX_CLIENT_ITERATIONS, MIN_ITERATIONS};
use crate::Secret;
use crate::sasl::SaslError;

/// The client's end of one exchange, Kafka's `ScramSaslClient`.
#[derive(Debug)]
pub struct ScramClient {
    hash: Hash,
    username: String,
    password: Secret,
    nonce: String,
    state: State,
}

enum State {
    Begin,
    /// The first message is sent.
    First,
    /// The proof is sent: what the broker has to prove itself by.
    Final {
        server_signature: Vec<u8>,
    },
    Complete,
    Failed,
}

impl State {
    const fn name(&self) -> &'static str {
        match self {
            Self::Begin => "SEND_CLIENT_FIRST_MESSAGE",
            Self::First => "RECEIVE_SERVER_FIRST_MESSAGE",
            Self::Final { .. } => "RECEIVE_SERVER_FINAL_MESSAGE",
            Self::Complete => "COMPLETE",
            Self::Failed => "FAILED",
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl ScramClient {
    /// Who is to be let in; `nonce` is for this exchange alone.
    #[must_use]
    pub fn new(hash: Hash, username: String, password: Secret, nonce: String) -> Self {
        Self { hash, username, password, nonce, state: State::Begin }
    }

    /// The hash of the mechanism.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The first message.
    ///
    /// # Errors
    /// [`SaslError::IllegalState`] when it is asked for twice.
    pub fn first(&mut self) -> Result<Vec<u8>, SaslError> {
        match self.state {
            State::Begin => {
                self.state = State::First;
                Ok(format!("{GS2_HEADER}{}", self.first_bare()).into_bytes())
            }
            ref other => Err(SaslError::IllegalState(other.name())),
        }
    }

    fn first_bare(&self) -> String {
        format!("n={},r={}", escape(&self.username), self.nonce)
    }

    /// The proof after the broker's first message, which takes the time that the iterations need; nothing after its last.
    ///
    /// # Errors
    /// [`SaslError::Server`] where the broker has not proved that it knows the password, [`SaslError`] for other messages.
    pub fn evaluate(&mut self, challenge: &[u8]) -> Result<Option<Vec<u8>>, SaslError> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::First => self.prove(challenge).map(Some),
            State::Final { server_signature } => {
                check_server(challenge, &server_signature)?;
                self.state = State::Complete;
                Ok(None)
            }
            other => Err(SaslError::IllegalState(other.name())),
        }
    }

    fn prove(&mut self, challenge: &[u8]) -> Result<Vec<u8>, SaslError> {
        let server_first = text(challenge).ok_or(SaslError::Invalid("the broker's first message is no text"))?;
        let ServerFirst { nonce, salt, iterations } =
            ServerFirst::parse(server_first).ok_or(SaslError::Invalid("invalid SCRAM server first message format"))?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(SaslError::Invalid("invalid server nonce: does not start with the client's and go on"));
        }
        if !(MIN_ITERATIONS..=MAX_CLIENT_ITERATIONS).contains(&iterations) {
            return Err(SaslError::Invalid("the broker asks for fewer than 4096 or more than 1000000 iterations"));
        }
        let salted = self.hash.salted_password(self.password.expose().as_bytes(), &salt, iterations);
        let without_proof = ClientFinal::without_proof(nonce);
        let signed = format!("{},{server_first},{without_proof}", self.first_bare());
        let signature = self.hash.hmac(&salted.stored_key(), signed.as_bytes());
        let proof = xor(&salted.client_key(), &signature).ok_or(SaslError::Invalid("a hash of a wrong length"))?;
        self.state = State::Final { server_signature: self.hash.hmac(&salted.server_key(), signed.as_bytes()) };
        Ok(ClientFinal::write(&without_proof, &proof).into_bytes())
    }

    /// Whether it is over, and the broker has proved itself.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }
}

fn check_server(challenge: &[u8], expected: &[u8]) -> Result<(), SaslError> {
    match text(challenge).and_then(ServerFinal::parse) {
        Some(ServerFinal::Signature(signature)) if bool::from(signature.ct_eq(expected)) => Ok(()),
        Some(ServerFinal::Signature(_)) => Err(SaslError::Server("invalid server signature".to_owned())),
        Some(ServerFinal::Error(error)) => Err(SaslError::Server(error.to_owned())),
        None => Err(SaslError::Invalid("invalid SCRAM server final message format")),
    }
}
