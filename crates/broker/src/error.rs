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
    /// A log directory does not fit the others, or what this broker had before.
    #[error("log directory `{path}` {reason}")]
    LogDir {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// The directory of the metadata log failed: a broker cannot go on without it.
    #[error("log directory `{path}`, which holds the metadata log, has failed: {reason}")]
    MetadataDirFailed {
        /// The directory.
        path: PathBuf,
        /// The failure.
        reason: String,
    },
    /// No log directory works.
    #[error("all log directories have failed, the last one `{path}`: {reason}")]
    AllDirsFailed {
        /// The last directory that failed.
        path: PathBuf,
        /// Its failure.
        reason: String,
    },
    /// A batch of the metadata log is damaged, and valid ones follow: to cut it off would lose topics.
    #[error("metadata log `{path}` is damaged at position {position}, offset {offset}: {reason}")]
    MetadataDamaged {
        /// The segment's file.
        path: PathBuf,
        /// Position in it, in bytes.
        position: u64,
        /// The offset of the damaged batch.
        offset: i64,
        /// What is wrong.
        reason: String,
    },
    /// A listener's address cannot be bound.
    #[error("cannot listen on `{listener}`: {source}")]
    Bind {
        /// The listener, as configured.
        listener: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} `{path}`: {source}")]
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
    #[error("log `{partition}`: {source}")]
    Log {
        /// The partition, as `topic-number`.
        partition: String,
        /// What the log said.
        source: vltava_log::LogError,
    },
    /// The threads of the broker cannot be started.
    #[error("cannot start the broker's threads: {0}")]
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

    /// Whether a transaction has to be aborted: none of these belongs to one.
    pub fn is_abortable(&self) -> bool {
        false
    }

    /// Whether it ends the broker: each of these does that cannot be tried again.
    pub fn is_fatal(&self) -> bool {
        !self.is_retriable()
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}
