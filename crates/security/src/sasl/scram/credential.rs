//! What a broker keeps of a password.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::hash::{Hash, SaltedPassword};
use super::{MAX_ITERATIONS, MIN_ITERATIONS};
use crate::Secret;
use crate::sasl::Mechanism;

/// What a broker keeps of a password, Kafka's `ScramCredential`: it can check a proof with it, and cannot make one.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramCredential {
    /// The salt.
    pub salt: Vec<u8>,
    /// The hash of the key by which a client proves itself.
    pub stored_key: Vec<u8>,
    /// The key by which the broker proves itself.
    pub server_key: Vec<u8>,
    /// How often the password was hashed.
    pub iterations: u32,
}

impl ScramCredential {
    /// What is kept of a salted password.
    #[must_use]
    pub fn new(salted: &SaltedPassword, salt: Vec<u8>, iterations: u32) -> Self {
        Self { salt, stored_key: salted.stored_key(), server_key: salted.server_key(), iterations }
    }

    /// What is kept of a password.
    #[must_use]
    pub fn of_password(hash: Hash, password: &str, salt: Vec<u8>, iterations: u32) -> Self {
        let salted = hash.salted_password(password.as_bytes(), &salt, iterations);
        Self::new(&salted, salt, iterations)
    }
}

/// As Kafka, nothing of it.
impl fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramCredential(***)")
    }
}

/// A user that is to be there from the beginning: the argument of Kafka's `kafka-storage format --add-scram`, such as
/// `SCRAM-SHA-256=[name=alice,password=alice-secret]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddScram {
    /// The mechanism's hash.
    pub hash: Hash,
    /// The user.
    pub name: String,
    salt: Option<Vec<u8>>,
    iterations: u32,
    given: Given,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Given {
    Password(Secret),
    Salted(SaltedPassword),
}

/// Why an argument of Kafka's `--add-scram` adds nobody. It shows none of what the argument says of passwords.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddScramError(String);

impl AddScram {
    /// Reads the argument, as Kafka's `ScramParser`.
    ///
    /// # Errors
    /// [`AddScramError`] says what is wrong with it.
    pub fn parse(argument: &str) -> Result<Self, AddScramError> {
        let wrong = |why: &str| Err(AddScramError(why.to_owned()));
        let Some((mechanism, rest)) = argument.trim().split_once('=') else {
            return wrong("no equals sign in the argument of add-scram");
        };
        let hash = mechanism.parse::<Mechanism>().ok().and_then(Mechanism::hash);
        let Some(hash) = hash else {
            return wrong(&format!("the add-scram mechanism {mechanism} is not supported"));
        };
        let Some(inner) = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
            return wrong("the configuration of add-scram must begin with [ and end with ]");
        };
        let (mut name, mut salt, mut iterations, mut password, mut salted) = (None, None, None, None, None);
        for part in inner.split(',') {
            let Some((key, value)) = part.split_once('=') else {
                return wrong("no equals sign in a part of add-scram's configuration");
            };
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            let place = match key {
                "name" => &mut name,
                "salt" => &mut salt,
                "iterations" => &mut iterations,
                "password" => &mut password,
                "saltedpassword" => &mut salted,
                other => return wrong(&format!("unknown SCRAM configuration {other}")),
            };
            *place = Some(value);
        }
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return wrong("'name' must be given to add-scram");
        };
        let iterations = match iterations.map(str::parse::<u32>) {
            None => MIN_ITERATIONS,
            Some(Ok(iterations)) if (MIN_ITERATIONS..=MAX_ITERATIONS).contains(&iterations) => iterations,
            Some(_) => {
                let range = format!("'iterations' must be {MIN_ITERATIONS} to {MAX_ITERATIONS} for add-scram");
                return wrong(&range);
            }
        };
        let salt = match salt.map(|salt| STANDARD.decode(salt)) {
            None => None,
            Some(Ok(salt)) => Some(salt),
            Some(Err(_)) => return wrong("'salt' of add-scram is not in base64"),
        };
        let given = match (password, salted) {
            (Some(""), _) => return wrong("'password' of add-scram must not be empty"),
            (Some(password), _) => Given::Password(password.into()),
            (None, Some(_)) if salt.is_none() => return wrong("'saltedpassword' needs 'salt' in add-scram"),
            (None, Some(salted)) => match STANDARD.decode(salted) {
                Ok(bytes) => Given::Salted(SaltedPassword::from_bytes(hash, bytes)),
                Err(_) => return wrong("'saltedpassword' of add-scram is not in base64"),
            },
            (None, None) => return wrong("one of 'password' and 'saltedpassword' must be given to add-scram"),
        };
        Ok(Self { hash, name: name.to_owned(), salt, iterations, given })
    }

    /// What is to be kept; `drawn` is the salt where the argument has none.
    #[must_use]
    pub fn credential(&self, drawn: Vec<u8>) -> ScramCredential {
        let salt = self.salt.clone().unwrap_or(drawn);
        match &self.given {
            Given::Password(password) => {
                ScramCredential::of_password(self.hash, password.expose(), salt, self.iterations)
            }
            Given::Salted(salted) => ScramCredential::new(salted, salt, self.iterations),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_of_add_scram_is_read_as_kafka_reads_it() {
        let user = AddScram::parse("SCRAM-SHA-256=[name=alice,iterations=8192,password=\"alice-secret\"]").unwrap();
        assert_eq!((user.hash, user.name.as_str()), (Hash::Sha256, "alice"));
        let kept = user.credential(vec![7; 24]);
        assert_eq!(kept, ScramCredential::of_password(Hash::Sha256, "alice-secret", vec![7; 24], 8192));
        assert!(!format!("{user:?}{kept:?}").contains("secret"));
        let salted = Hash::Sha512.salted_password(b"pencil", b"salt", 4096);
        let argument = format!(
            "SCRAM-SHA-512=[name=bob,salt={},saltedpassword={}]",
            STANDARD.encode(b"salt"),
            STANDARD.encode(salted.expose())
        );
        let bob = AddScram::parse(&argument).unwrap();
        let expected = ScramCredential::of_password(Hash::Sha512, "pencil", b"salt".to_vec(), 4096);
        assert_eq!(bob.credential(vec![9]), expected);
    }

    #[test]
    fn an_argument_that_adds_nobody_says_why_and_shows_no_password() {
        for (argument, expected) in [
            ("SCRAM-SHA-256", "no equals sign in the argument of add-scram"),
            ("SCRAM-SHA-1=[name=a,password=hidden]", "the add-scram mechanism SCRAM-SHA-1 is not supported"),
            ("PLAIN=[name=a,password=hidden]", "the add-scram mechanism PLAIN is not supported"),
            ("SCRAM-SHA-256=name=a,password=hidden", "the configuration of add-scram must begin with [ and end with ]"),
            ("SCRAM-SHA-256=[name=a,hidden]", "no equals sign in a part of add-scram's configuration"),
            ("SCRAM-SHA-256=[password=hidden]", "'name' must be given to add-scram"),
            ("SCRAM-SHA-256=[name=a]", "one of 'password' and 'saltedpassword' must be given to add-scram"),
            ("SCRAM-SHA-256=[name=a,saltedpassword=hidden]", "'saltedpassword' needs 'salt' in add-scram"),
            ("SCRAM-SHA-256=[name=a,password=]", "'password' of add-scram must not be empty"),
            ("SCRAM-SHA-256=[name=a,password=hidden,x=y]", "unknown SCRAM configuration x"),
            (
                "SCRAM-SHA-256=[name=a,password=hidden,iterations=4095]",
                "'iterations' must be 4096 to 16384 for add-scram",
            ),
            (
                "SCRAM-SHA-256=[name=a,password=hidden,iterations=16385]",
                "'iterations' must be 4096 to 16384 for add-scram",
            ),
            ("SCRAM-SHA-256=[name=a,password=hidden,salt=?]", "'salt' of add-scram is not in base64"),
        ] {
            let error = AddScram::parse(argument).unwrap_err().to_string();
            assert_eq!(error, expected);
            assert!(!error.contains("hidden"));
        }
    }
}
