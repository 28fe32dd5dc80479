//! PLAIN (RFC 4616): name and password as they are.

use super::error::SaslError;
use super::server::Credentials;
use crate::Secret;

/// The client's end, Kafka's use of the JVM's `PlainClient`: one message.
#[derive(Debug)]
pub struct PlainClient {
    username: String,
    password: Secret,
    state: ClientState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientState {
    Begin,
    Sent,
    Complete,
}

impl PlainClient {
    /// Who is to be let in.
    #[must_use]
    pub fn new(username: String, password: Secret) -> Self {
        Self { username, password, state: ClientState::Begin }
    }

    /// The first message, without a name to act as: Kafka takes none but the user's own.
    ///
    /// # Errors
    /// [`SaslError::IllegalState`] when it is asked for twice.
    pub fn first(&mut self) -> Result<Vec<u8>, SaslError> {
        if self.state != ClientState::Begin {
            return Err(SaslError::IllegalState("SENT"));
        }
        self.state = ClientState::Sent;
        Ok(format!("\0{}\0{}", self.username, self.password.expose()).into_bytes())
    }

    /// Takes the broker's answer, which has nothing to say.
    ///
    /// # Errors
    /// [`SaslError`] where it has, or none was asked for.
    pub fn evaluate(&mut self, challenge: &[u8]) -> Result<Option<Vec<u8>>, SaslError> {
        match (self.state, challenge.is_empty()) {
            (ClientState::Sent, true) => {
                self.state = ClientState::Complete;
                Ok(None)
            }
            (ClientState::Sent, false) => Err(SaslError::Invalid("an answer to PLAIN that is not empty")),
            (ClientState::Begin, _) => Err(SaslError::IllegalState("BEGIN")),
            (ClientState::Complete, _) => Err(SaslError::IllegalState("COMPLETE")),
        }
    }

    /// Whether it is over and went well.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state == ClientState::Complete
    }
}

/// The broker's end, Kafka's `PlainSaslServer`.
#[derive(Debug, Default)]
pub struct PlainServer {
    user: Option<String>,
    is_over: bool,
}

impl PlainServer {
    /// Takes the client's message and gives the answer, as Kafka's `PlainSaslServer`.
    ///
    /// # Errors
    /// [`SaslError::Refused`] in Kafka's words.
    pub fn evaluate(&mut self, response: &[u8], credentials: &dyn Credentials) -> Result<Vec<u8>, SaslError> {
        if std::mem::replace(&mut self.is_over, true) {
            return Err(SaslError::IllegalState("COMPLETE"));
        }
        let refuse = |why: &str| Err(SaslError::Refused(why.to_owned()));
        // A fourth token is as wrong as a fifth: Kafka looks no further.
        let tokens: Vec<&[u8]> = response.splitn(4, |byte| *byte == 0).collect();
        let [authorization_id, username, password] = tokens.as_slice() else {
            let count = tokens.len();
            return refuse(&format!("Invalid SASL/PLAIN response: expected 3 tokens, got {count}"));
        };
        if username.is_empty() {
            return refuse("Authentication failed: username not specified");
        }
        if password.is_empty() {
            return refuse("Authentication failed: password not specified");
        }
        // What is no text is no user.
        let username = std::str::from_utf8(username).ok();
        let Some(username) = username.filter(|username| credentials.plain(username, password)) else {
            return refuse("Authentication failed: Invalid username or password");
        };
        if !authorization_id.is_empty() && *authorization_id != username.as_bytes() {
            return refuse(
                "Authentication failed: Client requested an authorization id that is different from username",
            );
        }
        self.user = Some(username.to_owned());
        Ok(Vec::new())
    }

    /// Who has been let in.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sasl::server::testing::Known;

    fn users() -> Known {
        let plain = [("alice", "al=ice,"), ("žofie", "příliš")].into_iter().collect();
        Known { plain, ..Known::default() }
    }

    #[test]
    fn both_ends_agree() {
        for (name, password) in [("alice", "al=ice,"), ("žofie", "příliš")] {
            let mut client = PlainClient::new(name.to_owned(), password.into());
            let mut server = PlainServer::default();
            let answer = server.evaluate(&client.first().unwrap(), &users()).unwrap();
            assert_eq!(client.evaluate(&answer), Ok(None));
            assert!(client.is_complete());
            assert_eq!(server.user(), Some(name));
            assert!(server.evaluate(b"\0alice\0al=ice,", &users()).is_err(), "once is all");
            assert!(client.evaluate(b"").is_err() && client.first().is_err());
        }
    }

    #[test]
    fn refusals_are_kafkas() {
        let cases: [(&[u8], &str); 9] = [
            (b"", "Invalid SASL/PLAIN response: expected 3 tokens, got 1"),
            (b"\0alice", "Invalid SASL/PLAIN response: expected 3 tokens, got 2"),
            (b"\0alice\0b\0c", "Invalid SASL/PLAIN response: expected 3 tokens, got 4"),
            (b"\0\0secret", "Authentication failed: username not specified"),
            (b"\0alice\0", "Authentication failed: password not specified"),
            (b"\0alice\0wrong", "Authentication failed: Invalid username or password"),
            (b"\0bob\0al=ice,", "Authentication failed: Invalid username or password"),
            (b"\0\xff\xfe\0al=ice,", "Authentication failed: Invalid username or password"),
            (
                b"bob\0alice\0al=ice,",
                "Authentication failed: Client requested an authorization id that is different from username",
            ),
        ];
        for (message, expected) in cases {
            let mut server = PlainServer::default();
            assert_eq!(server.evaluate(message, &users()), Err(SaslError::Refused(expected.to_owned())));
            assert_eq!(server.user(), None);
        }
        assert!(PlainServer::default().evaluate(b"alice\0alice\0al=ice,", &users()).is_ok());
    }

    proptest! {
        #[test]
        fn nobody_comes_in_by_chance(message in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut server = PlainServer::default();
            prop_assert!(server.evaluate(&message, &users()).is_err());
            prop_assert_eq!(server.user(), None);
        }
    }
}
