//! The mechanisms.

use std::fmt;
use std::str::FromStr;

use super::scram::Hash;

/// A mechanism that both ends have here, by the name that Kafka's `sasl.mechanism` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mechanism {
    /// Name and password as they are (RFC 4616).
    Plain,
    /// The proof of a password (RFC 7677), with SHA-256.
    ScramSha256,
    /// The proof of a password, with SHA-512.
    ScramSha512,
    /// A token (RFC 7628, KIP-255).
    OAuthBearer,
}

/// A mechanism of Kafka's or somebody else's that there is not here, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("SASL mechanism {name}: {why}")]
pub struct NotSupported {
    /// What was asked for.
    pub name: String,
    /// Why it is not there.
    pub why: &'static str,
}

impl Mechanism {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Plain, Self::ScramSha256, Self::ScramSha512, Self::OAuthBearer];

    /// The registered name, as `sasl.mechanism` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OAuthBearer => "OAUTHBEARER",
        }
    }

    /// The hash, where it is one of SCRAM's.
    #[must_use]
    pub const fn hash(self) -> Option<Hash> {
        match self {
            Self::ScramSha256 => Some(Hash::Sha256),
            Self::ScramSha512 => Some(Hash::Sha512),
            Self::Plain | Self::OAuthBearer => None,
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mechanism {
    type Err = NotSupported;

    /// By its name, in capitals as Kafka takes it.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if let Some(known) = Self::ALL.into_iter().find(|mechanism| mechanism.name() == name) {
            return Ok(known);
        }
        let why = match name {
            "GSSAPI" => "Kerberos is not supported",
            "AWS_MSK_IAM" => "IAM of MSK is a provider of tokens for OAUTHBEARER here, and no mechanism",
            "" => "none is named",
            _ => "must be one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER",
        };
        Err(NotSupported { name: name.to_owned(), why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_registered_ones() {
        for mechanism in Mechanism::ALL {
            assert_eq!(mechanism.name().parse(), Ok(mechanism));
        }
        let refused = |name: &str| name.parse::<Mechanism>().unwrap_err().to_string();
        assert_eq!(refused("GSSAPI"), "SASL mechanism GSSAPI: Kerberos is not supported");
        assert!(refused("plain").contains("must be one of"));
        assert!(refused("AWS_MSK_IAM").contains("provider of tokens"));
    }
}
