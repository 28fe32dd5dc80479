//! The one error type of the console.

use std::io;
use std::net::SocketAddr;

use vltava_client::ClientError;

/// Why a console cannot run. What goes wrong while it runs stands on the page.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsoleError {
    /// A setting of the console that it does not have or that does not go with another.
    #[error("{reason}")]
    Refused {
        /// What is wrong, with the value.
        reason: String,
    },
    /// A setting of the clients that Kafka's clients do not take.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The page's address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
}

impl ConsoleError {
    pub(crate) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }

    /// The same call may succeed when it is made again.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Client(error) => error.is_retriable(),
            Self::Listen { .. } => true,
            Self::Refused { .. } => false,
        }
    }

    /// One request is lost and no more: never, for requests have answers of their own.
    #[must_use]
    pub fn is_abortable(&self) -> bool {
        false
    }

    /// This console does not run.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        true
    }
}
