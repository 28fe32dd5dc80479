//! The broker's end of a mechanism: the first byte chooses it, the rest are the client's messages, each behind its length.
//! Nobody is let in who has not the password.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vltava_security::sasl::oauthbearer::{TokenRefused, ValidToken};
use vltava_security::sasl::scram::{Hash, ScramCredential};
use vltava_security::sasl::{Credentials, Mechanism, PlainUsers, SaslServer};

struct Known {
    plain: PlainUsers,
    scram: ScramCredential,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| Known {
    plain: [("a", "a password that is not guessed")].into_iter().collect(),
    scram: ScramCredential::of_password(Hash::Sha256, "a password that is not guessed", vec![3; 24], 4096),
});

impl Credentials for Known {
    fn plain(&self, username: &str, password: &[u8]) -> bool {
        self.plain.matches(username, password)
    }

    fn scram(&self, _: Hash, username: &str) -> Option<ScramCredential> {
        (username == "a").then(|| self.scram.clone())
    }

    fn token(&self, token: &str) -> Result<ValidToken, TokenRefused> {
        match token.len() {
            7 => Ok(ValidToken { principal: "a".to_owned(), expires_at_ms: 1 }),
            _ => Err(TokenRefused::invalid(token)),
        }
    }
}

/// The messages of one exchange.
fn messages(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_first()?;
        let (message, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        data = rest;
        Some(message)
    })
}

fuzz_target!(|data: &[u8]| {
    let [choice, data @ ..] = data else { return };
    let mechanism = Mechanism::ALL[usize::from(*choice) % Mechanism::ALL.len()];
    let known = &*KNOWN;
    let mut server = SaslServer::new(mechanism, "nonce".to_owned());
    for message in messages(data) {
        let answer = server.evaluate(message, known);
        if let Ok(answer) = &answer {
            assert!(answer.len() <= 2 * message.len() + 1024);
        }
        match server.authenticated() {
            Some(who) => assert!(mechanism == Mechanism::OAuthBearer && who.name == "a"),
            None => assert!(mechanism == Mechanism::OAuthBearer || !matches!(&answer, Ok(answer) if answer.is_empty())),
        }
        if answer.is_err() {
            assert!(server.evaluate(message, known).is_err(), "an exchange that is over goes on");
            return;
        }
    }
});
