//! Who is at the other end, how the bytes get here, and what may be done.

pub(crate) mod operations;

use std::fmt;

/// Who sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Principal {
    /// Nobody has been asked who they are.
    Anonymous,
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("User:ANONYMOUS"),
        }
    }
}

/// How a listener's connections are secured, by Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecurityProtocol {
    /// Neither encryption nor authentication.
    Plaintext = 0,
}

impl SecurityProtocol {
    /// Kafka's name, as `listener.security.protocol.map` has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
        }
    }
}
