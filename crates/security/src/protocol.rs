//! How a listener's connections are secured.

use std::str::FromStr;

/// How a listener's connections are secured, by the numbers that Kafka's `SecurityProtocol` has on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecurityProtocol {
    /// Neither encryption nor authentication.
    Plaintext = 0,
    /// TLS; who has a certificate is known by it.
    Ssl = 1,
    /// Authentication by SASL, without encryption.
    SaslPlaintext = 2,
    /// Authentication by SASL within TLS.
    SaslSsl = 3,
}

impl SecurityProtocol {
    /// All of them, by their numbers.
    pub const ALL: [Self; 4] = [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl];

    /// Kafka's name, as `security.protocol` and `listener.security.protocol.map` have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// The number that stands in the metadata log and in answers.
    #[must_use]
    pub const fn id(self) -> i16 {
        self as i16
    }

    /// Whether the bytes are those of TLS.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    /// Whether a connection begins with SASL.
    #[must_use]
    pub const fn is_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

impl FromStr for SecurityProtocol {
    type Err = ();

    /// By its name, whatever the case, as Kafka's `SecurityProtocol.forName`.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(name)).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_kafkas() {
        for (protocol, name, id, tls, sasl) in [
            (SecurityProtocol::Plaintext, "PLAINTEXT", 0, false, false),
            (SecurityProtocol::Ssl, "SSL", 1, true, false),
            (SecurityProtocol::SaslPlaintext, "SASL_PLAINTEXT", 2, false, true),
            (SecurityProtocol::SaslSsl, "SASL_SSL", 3, true, true),
        ] {
            assert_eq!((protocol.name(), protocol.id()), (name, id));
            assert_eq!((protocol.is_tls(), protocol.is_sasl()), (tls, sasl), "{name}");
            assert_eq!(name.to_lowercase().parse(), Ok(protocol));
        }
        assert_eq!("TLS".parse::<SecurityProtocol>(), Err(()));
    }
}
