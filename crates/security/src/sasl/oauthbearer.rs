//! OAUTHBEARER (RFC 7628, KIP-255): a token, and where it is not good one more round for the client to say that it has
//! understood.
//!
//! With the feature `oauth` there is here, too, what a broker looks at a token with: [`JwtValidator`] and the provider's
//! [`JsonWebKeySet`], [`JwksRefresh`], which says when that is read, and [`UnsecuredValidator`].

#[cfg(feature = "oauth")]
mod json;
#[cfg(feature = "oauth")]
mod jwk;
#[cfg(feature = "oauth")]
mod jwt;
#[cfg(feature = "oauth")]
mod refresh;
#[cfg(feature = "oauth")]
mod unsecured;

use std::collections::BTreeMap;

use super::error::SaslError;
use super::server::Credentials;
use crate::Secret;

#[cfg(feature = "oauth")]
pub use self::{
    jwk::{JsonWebKeySet, NoKeySet},
    jwt::{JwtError, JwtValidator},
    refresh::{AfterFailure, JwksRefresh, RefreshSettings},
    unsecured::UnsecuredValidator,
};

/// What separates the parts of the message, and alone is the client's answer to a failure.
const SEPARATOR: char = '\u{1}';

/// A token that a broker has found to be good, of Kafka's `OAuthBearerToken`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidToken {
    /// Who it is from.
    pub principal: String,
    /// When it ends, in ms of the epoch.
    pub expires_at_ms: i64,
}

/// Why a broker does not let in who shows a token: what Kafka's `OAuthBearerValidatorCallback` takes, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRefused {
    /// `invalid_token` or `insufficient_scope`.
    pub status: &'static str,
    /// The scope that is wanted, in Java's form of a list.
    pub scope: Option<String>,
    /// For the broker's log alone.
    pub why: String,
}

impl TokenRefused {
    /// The token is not good.
    #[must_use]
    pub fn invalid(why: impl Into<String>) -> Self {
        Self { status: "invalid_token", scope: None, why: why.into() }
    }

    /// What the client is told (RFC 7628, section 3.2.2), in Kafka's form.
    #[must_use]
    pub fn json(&self) -> String {
        // Nothing of it may end the text early.
        let is_fine = |c: &char| !c.is_control() && !matches!(c, '"' | '\\');
        match &self.scope {
            Some(scope) => {
                let scope: String = scope.chars().filter(is_fine).collect();
                format!("{{\"status\":\"{}\", \"scope\":\"{scope}\"}}", self.status)
            }
            None => format!("{{\"status\":\"{}\"}}", self.status),
        }
    }
}

/// Whether these are names and values that may go with a token (KIP-342).
///
/// # Errors
/// The name of the one that may not.
pub fn check_extensions(extensions: &BTreeMap<String, String>) -> Result<(), String> {
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_fine = |(name, value): &(&String, &String)| is_name(name) && *name != "auth" && is_value(value);
    match extensions.iter().find(|extension| !is_fine(extension)) {
        Some((name, _)) => Err(name.clone()),
        None => Ok(()),
    }
}

fn is_value(value: &str) -> bool {
    let is_fine = |byte: u8| matches!(byte, 0x21..=0x7e | b' ' | b'\t' | b'\r' | b'\n');
    !value.is_empty() && value.bytes().all(is_fine)
}

/// Whether this may be a token: RFC 6750's characters, and `=` at its end.
#[must_use]
pub fn is_token(token: &str) -> bool {
    let body = token.trim_end_matches('=');
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    !body.is_empty() && body.bytes().all(is_fine)
}

/// The client's end, Kafka's `OAuthBearerSaslClient`.
#[derive(Debug)]
pub struct OAuthBearerClient {
    token: Secret,
    extensions: BTreeMap<String, String>,
    state: ClientState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientState {
    Begin,
    Sent,
    /// The broker has said why not.
    Refused,
    Complete,
}

impl OAuthBearerClient {
    /// What is to be shown.
    #[must_use]
    pub fn new(token: Secret, extensions: BTreeMap<String, String>) -> Self {
        Self { token, extensions, state: ClientState::Begin }
    }

    /// The message with the token.
    ///
    /// # Errors
    /// [`SaslError`] when it is asked for twice, or token or extensions are of characters that they may not have.
    pub fn first(&mut self) -> Result<Vec<u8>, SaslError> {
        if self.state != ClientState::Begin {
            return Err(SaslError::IllegalState("SENT"));
        }
        if !is_token(self.token.expose()) || check_extensions(&self.extensions).is_err() {
            return Err(SaslError::Invalid("the token or one of its extensions has characters that it may not have"));
        }
        self.state = ClientState::Sent;
        let mut message = format!("n,,{SEPARATOR}auth=Bearer {}{SEPARATOR}", self.token.expose());
        for (name, value) in &self.extensions {
            message.push_str(&format!("{name}={value}{SEPARATOR}"));
        }
        message.push(SEPARATOR);
        Ok(message.into_bytes())
    }

    /// Nothing where the broker is content, and what says that its refusal is understood where it is not.
    ///
    /// # Errors
    /// [`SaslError::IllegalState`] where nothing more was to come.
    pub fn evaluate(&mut self, challenge: &[u8]) -> Result<Option<Vec<u8>>, SaslError> {
        match self.state {
            ClientState::Sent if challenge.is_empty() => {
                self.state = ClientState::Complete;
                Ok(None)
            }
            ClientState::Sent => {
                self.state = ClientState::Refused;
                Ok(Some(vec![SEPARATOR as u8]))
            }
            ClientState::Begin => Err(SaslError::IllegalState("BEGIN")),
            ClientState::Refused => Err(SaslError::IllegalState("REFUSED")),
            ClientState::Complete => Err(SaslError::IllegalState("COMPLETE")),
        }
    }

    /// Whether it is over and went well.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state == ClientState::Complete
    }
}

/// The broker's end, Kafka's `OAuthBearerSaslServer`.
#[derive(Debug, Default)]
pub struct OAuthBearerServer {
    state: ServerState,
}

#[derive(Debug, Default)]
enum ServerState {
    #[default]
    Begin,
    /// The client is to say that it knows.
    Refused {
        error: String,
    },
    Complete(ValidToken),
    Failed,
}

impl OAuthBearerServer {
    /// The answer to the client's message, as Kafka's `OAuthBearerSaslServer`: empty where its token is good.
    ///
    /// # Errors
    /// [`SaslError`]; the exchange is over then.
    pub fn evaluate(&mut self, response: &[u8], credentials: &dyn Credentials) -> Result<Vec<u8>, SaslError> {
        match std::mem::replace(&mut self.state, ServerState::Failed) {
            ServerState::Begin => self.check(response, credentials),
            ServerState::Refused { error } if response == [SEPARATOR as u8] => Err(SaslError::Refused(error)),
            ServerState::Refused { .. } => Err(SaslError::IllegalState("REFUSED")),
            ServerState::Complete(_) => Err(SaslError::IllegalState("COMPLETE")),
            ServerState::Failed => Err(SaslError::IllegalState("FAILED")),
        }
    }

    fn check(&mut self, response: &[u8], credentials: &dyn Credentials) -> Result<Vec<u8>, SaslError> {
        let first = std::str::from_utf8(response).ok().and_then(Initial::parse);
        let Initial { token, authorization_id } =
            first.ok_or(SaslError::Invalid("invalid OAUTHBEARER client first message"))?;
        let valid = match credentials.token(token) {
            Ok(valid) => valid,
            Err(refused) => {
                let error = refused.json();
                self.state = ServerState::Refused { error: error.clone() };
                return Ok(error.into_bytes());
            }
        };
        if let Some(id) = authorization_id.filter(|id| *id != valid.principal) {
            return Err(SaslError::Refused(format!(
                "Authentication failed: Client requested an authorization id ({id}) that is different from the token's \
                 principal name ({})",
                valid.principal
            )));
        }
        self.state = ServerState::Complete(valid);
        Ok(Vec::new())
    }

    /// The token, where it is good.
    #[must_use]
    pub fn token(&self) -> Option<&ValidToken> {
        match &self.state {
            ServerState::Complete(token) => Some(token),
            _ => None,
        }
    }
}

/// `n,,\x01auth=Bearer TOKEN\x01\x01`, with pairs of a client's own in between.
struct Initial<'a> {
    token: &'a str,
    authorization_id: Option<&'a str>,
}

impl<'a> Initial<'a> {
    fn parse(message: &'a str) -> Option<Self> {
        let (id, rest) = message.strip_prefix("n,")?.split_once(',')?;
        let authorization_id = match id {
            "" => None,
            id => Some(id.strip_prefix("a=").filter(|id| !id.is_empty())?),
        };
        let pairs = rest.strip_prefix(SEPARATOR)?.strip_suffix(SEPARATOR)?.strip_suffix(SEPARATOR)?;
        let mut auth = None;
        for pair in pairs.split(SEPARATOR) {
            let (name, value) = pair.split_once('=')?;
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic());
            if !is_name || !is_value(value) {
                return None;
            }
            if name == "auth" {
                auth = Some(value);
            }
        }
        let (scheme, token) = auth?.split_once(' ')?;
        let token = token.trim_start_matches(' ');
        (scheme.eq_ignore_ascii_case("bearer") && is_token(token)).then_some(Self { token, authorization_id })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sasl::server::testing::Known;

    fn known() -> Known {
        let token = ValidToken { principal: "alice".to_owned(), expires_at_ms: 1000 };
        Known { tokens: [("a.good_to-ken~==".to_owned(), token)].into_iter().collect(), ..Known::default() }
    }

    fn client(token: &str) -> OAuthBearerClient {
        let extensions = [("logicalCluster".to_owned(), "lkc 1".to_owned())].into_iter().collect();
        OAuthBearerClient::new(token.into(), extensions)
    }

    #[test]
    fn a_good_token_needs_one_round() {
        let (mut client, mut server) = (client("a.good_to-ken~=="), OAuthBearerServer::default());
        let first = client.first().unwrap();
        assert_eq!(first, b"n,,\x01auth=Bearer a.good_to-ken~==\x01logicalCluster=lkc 1\x01\x01");
        assert_eq!(server.evaluate(&first, &known()), Ok(Vec::new()));
        assert_eq!(server.token().map(|token| token.principal.as_str()), Some("alice"));
        assert_eq!(client.evaluate(b""), Ok(None));
        assert!(client.is_complete());
        assert!(client.evaluate(b"").is_err() && server.evaluate(&first, &known()).is_err());
        assert!(!format!("{client:?}").contains("good"));
    }

    #[test]
    fn a_token_that_is_not_good_needs_two() {
        let (mut client, mut server) = (client("another"), OAuthBearerServer::default());
        let error = server.evaluate(&client.first().unwrap(), &known()).unwrap();
        assert_eq!(error, b"{\"status\":\"invalid_token\"}");
        let understood = client.evaluate(&error).unwrap().unwrap();
        assert_eq!(understood, [1]);
        let refused = SaslError::Refused("{\"status\":\"invalid_token\"}".to_owned());
        assert_eq!(server.evaluate(&understood, &known()), Err(refused));
        assert!(!client.is_complete() && server.token().is_none());
        assert!(client.evaluate(b"").is_err());
    }

    #[test]
    fn messages_that_are_none() {
        for message in [
            "",
            "\x01",
            "n,,\x01\x01",
            "n,,\x01auth=Bearer \x01\x01",
            "n,,\x01auth=Basic a.good_to-ken~==\x01\x01",
            "n,,\x01auth=Bearer a.good_to-ken~==\x01",
            "n,,auth=Bearer a.good_to-ken~==\x01\x01",
            "y,,\x01auth=Bearer a.good_to-ken~==\x01\x01",
            "n,a=,\x01auth=Bearer a.good_to-ken~==\x01\x01",
            "n,,\x01auth=Bearer a.good_to-ken~==\x011=2\x01\x01",
            "n,,\x01auth=Bearer a good\x01\x01",
        ] {
            let answer = OAuthBearerServer::default().evaluate(message.as_bytes(), &known());
            assert_eq!(answer, Err(SaslError::Invalid("invalid OAUTHBEARER client first message")), "{message:?}");
        }
        let other = b"n,a=bob,\x01auth=Bearer a.good_to-ken~==\x01\x01";
        assert!(matches!(OAuthBearerServer::default().evaluate(other, &known()), Err(SaslError::Refused(_))));
        let own = b"n,a=alice,\x01auth=bearer  a.good_to-ken~==\x01\x01";
        assert_eq!(OAuthBearerServer::default().evaluate(own, &known()), Ok(Vec::new()));
    }

    #[test]
    fn what_may_not_be_sent_is_not() {
        for token in ["", "a b", "=", "a\x01", "a=b"] {
            assert!(client(token).first().is_err(), "{token:?}");
        }
        let bad = [("auth".to_owned(), "x".to_owned())].into_iter().collect();
        assert_eq!(check_extensions(&bad), Err("auth".to_owned()));
        assert!(OAuthBearerClient::new("x".into(), bad).first().is_err());
    }

    proptest! {
        #[test]
        fn nobody_comes_in_by_chance(message in "(n,(a=[a-z]{0,3})?,)?\x01?(auth=Bearer )?[a-z.=~\x01]{0,30}") {
            let mut server = OAuthBearerServer::default();
            let _ = server.evaluate(message.as_bytes(), &known());
            prop_assert!(server.token().is_none());
        }
    }
}
