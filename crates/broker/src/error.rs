//! The errors of a broker as a program; what a client is told is an `ErrorCode` in its answer.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::ConfigError;

/// Why a broker does not start, or stops.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// A value of the configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another process, or another broker of this one, has the directory.
    #[error("log directory `{path}` is in use by another broker")]
    DirectoryLocked {
        /// The directory.
        path: PathBuf,
    },
    /// `meta.properties` belongs to another node or cluster, or cannot be read as what it is.
    #[error("`{path}` {reason}")]
    MetaProperties {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A listener's address cannot be bound.
    #[error("cannot listen on `{listener}`")]
    Bind {
        /// The listener, as configured.
        listener: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried, such as `create`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The metadata log holds what this version does not understand.
    #[error("metadata log: {reason}")]
    Metadata {
        /// What is wrong, and at which offset.
        reason: String,
    },
    /// A partition's log failed.
    #[error("log `{partition}`")]
    Log {
        /// The partition, as `topic-number`.
        partition: String,
        /// What the log said.
        source: vltava_log::LogError,
    },
    /// The threads of the broker cannot be started.
    #[error("cannot start the broker's threads")]
    Runtime(#[source] io::Error),
    /// The logs that there are need more files than the process may have open.
    #[error(transparent)]
    Descriptors(crate::TooFewDescriptors),
    /// The broker's own thread ended before it was ready.
    #[error("the broker ended before it was ready")]
    Ended,
}

impl BrokerError {
    /// Whether starting again, unchanged, may succeed.
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::DirectoryLocked { .. } | Self::Bind { .. } | Self::Runtime(_))
    }

    /// Whether it ends the broker: each of these does, none belongs to a transaction.
    pub fn is_fatal(&self) -> bool {
        !self.is_retriable()
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}
