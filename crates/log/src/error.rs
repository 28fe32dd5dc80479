//! The error of this crate.

use std::io;
use std::path::{Path, PathBuf};

use vltava_protocol::ErrorCode;

use crate::TopicPartition;

/// What a record of a refused batch did wrong; goes into `record_errors` of a Produce answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// The record's index in its batch.
    pub batch_index: i32,
    /// What is wrong with it.
    pub message: String,
}

/// Everything that an operation on a log can fail with.
///
/// [`LogError::code`] gives the Kafka error code that a broker answers with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// Reading or writing a file failed. The log directory is offline from here on.
    #[error("{context}: {source}")]
    Storage {
        /// What was being done, to which file or partition.
        context: String,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// The process or the system has no file descriptor left. The log directory stays online: the same operation
    /// succeeds once other files or connections are closed.
    #[error("{context}: {source}")]
    OutOfDescriptors {
        /// What was being done, to which file or partition.
        context: String,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// The log directory went offline because of an earlier failure.
    #[error("the log dir {} is already offline due to a previous i/o error: {reason}", dir.display())]
    Offline {
        /// The log directory.
        dir: PathBuf,
        /// The failure that took it offline.
        reason: String,
    },
    /// The log was closed or deleted.
    #[error("the log of {0} is closed")]
    Closed(TopicPartition),
    /// A batch does not have the size or checksum it claims.
    #[error("{0}")]
    CorruptRecord(String),
    /// A batch or some of its records break a rule.
    #[error("{message}")]
    InvalidRecord {
        /// What is wrong.
        message: String,
        /// The records at fault, where single ones can be named.
        record_errors: Vec<RecordError>,
    },
    /// Timestamps outside of `message.timestamp.before.max.ms` and `message.timestamp.after.max.ms`.
    #[error("{message}")]
    InvalidTimestamp {
        /// What is wrong.
        message: String,
        /// The records at fault.
        record_errors: Vec<RecordError>,
    },
    /// A batch larger than `max.message.bytes`.
    #[error("{0}")]
    RecordTooLarge(String),
    /// An append larger than `segment.bytes`.
    #[error("{0}")]
    RecordBatchTooLarge(String),
    /// The offset is below the log start offset or above the log end offset.
    #[error("{0}")]
    OffsetOutOfRange(String),
    /// The sequence number does not follow the producer's last one.
    #[error("{0}")]
    OutOfOrderSequence(String),
    /// The producer's epoch is older than the last seen one.
    #[error("{0}")]
    InvalidProducerEpoch(String),
    /// A non-transactional write inside a transaction.
    #[error("{0}")]
    InvalidTxnState(String),
    /// A transaction marker of an older coordinator.
    #[error("{0}")]
    TransactionCoordinatorFenced(String),
    /// A follower's append does not continue the log.
    #[error("{message}")]
    UnexpectedAppendOffset {
        /// What is wrong.
        message: String,
        /// First offset of the append.
        first_offset: i64,
        /// Last offset of the append.
        last_offset: i64,
    },
    /// The partition's directory holds another topic id.
    #[error("{0}")]
    InconsistentTopicId(String),
    /// A checkpoint or metadata file cannot be understood.
    #[error("malformed file {}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A segment holds message sets older than record batch version 2, which are not supported.
    #[error("{} holds a message of format version {magic} at position {position}: only version 2 is supported", path.display())]
    OldMessageFormat {
        /// The segment file.
        path: PathBuf,
        /// Position of the message in the file, in bytes.
        position: u64,
        /// The message format's version, 0 or 1.
        magic: i8,
    },
    /// Another process uses the log directory.
    #[error(
        "failed to acquire lock on file .lock in {}; another broker in this or another process is using this directory",
        dir.display()
    )]
    DirectoryInUse {
        /// The log directory.
        dir: PathBuf,
    },
    /// A configuration value that is not allowed.
    #[error("{0}")]
    InvalidConfig(String),
    /// A call that its own preconditions forbid.
    #[error("{0}")]
    InvalidArgument(String),
    /// The compressed part of a batch cannot be read or written. Kafka has no code for that, and a producer that made
    /// such a batch would send the same one again: the answer is one that is not tried again.
    #[error("{0}")]
    Compression(String),
}

impl LogError {
    /// The Kafka error code that says this to a client.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Storage { .. }
            | Self::OutOfDescriptors { .. }
            | Self::Offline { .. }
            | Self::Closed(_)
            | Self::OldMessageFormat { .. }
            | Self::Malformed { .. }
            | Self::DirectoryInUse { .. } => ErrorCode::KafkaStorageError,
            Self::CorruptRecord(_) => ErrorCode::CorruptMessage,
            Self::InvalidRecord { .. } => ErrorCode::InvalidRecord,
            Self::InvalidTimestamp { .. } => ErrorCode::InvalidTimestamp,
            Self::RecordTooLarge(_) => ErrorCode::MessageTooLarge,
            Self::RecordBatchTooLarge(_) => ErrorCode::RecordListTooLarge,
            Self::OffsetOutOfRange(_) => ErrorCode::OffsetOutOfRange,
            Self::OutOfOrderSequence(_) => ErrorCode::OutOfOrderSequenceNumber,
            Self::InvalidProducerEpoch(_) => ErrorCode::InvalidProducerEpoch,
            Self::InvalidTxnState(_) => ErrorCode::InvalidTxnState,
            Self::TransactionCoordinatorFenced(_) => ErrorCode::TransactionCoordinatorFenced,
            Self::InconsistentTopicId(_) => ErrorCode::InconsistentTopicId,
            Self::InvalidConfig(_) => ErrorCode::InvalidConfig,
            Self::UnexpectedAppendOffset { .. } | Self::InvalidArgument(_) | Self::Compression(_) => {
                ErrorCode::UnknownServerError
            }
        }
    }

    /// The records at fault, where single ones can be named.
    pub fn record_errors(&self) -> &[RecordError] {
        match self {
            Self::InvalidRecord { record_errors, .. } | Self::InvalidTimestamp { record_errors, .. } => record_errors,
            _ => &[],
        }
    }

    /// Whether the same request may succeed later or elsewhere: the log's directory failed, descriptors are used up, or
    /// the batch was damaged on its way.
    pub fn is_retriable(&self) -> bool {
        matches!(
            self,
            Self::Storage { .. }
                | Self::OutOfDescriptors { .. }
                | Self::Offline { .. }
                | Self::Closed(_)
                | Self::CorruptRecord(_)
        )
    }

    /// Whether the transaction that the append belonged to must be aborted.
    pub fn is_abortable(&self) -> bool {
        matches!(self, Self::InvalidProducerEpoch(_) | Self::InvalidTxnState(_))
    }

    /// Whether the log cannot go on after this.
    pub fn is_fatal(&self) -> bool {
        matches!(
            self,
            Self::Storage { .. }
                | Self::Offline { .. }
                | Self::OldMessageFormat { .. }
                | Self::Malformed { .. }
                | Self::DirectoryInUse { .. }
        )
    }

    pub(crate) fn malformed(path: &Path, reason: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_owned(), reason: reason.into() }
    }

    pub(crate) fn invalid_record(message: impl Into<String>) -> Self {
        Self::InvalidRecord { message: message.into(), record_errors: Vec::new() }
    }
}

/// Without a context; the operation of the log that failed adds it.
impl From<io::Error> for LogError {
    fn from(source: io::Error) -> Self {
        Self::Storage { context: String::new(), source }
    }
}

impl From<rustix::io::Errno> for LogError {
    fn from(source: rustix::io::Errno) -> Self {
        io::Error::from(source).into()
    }
}

/// Result with a [`LogError`].
pub type Result<T, E = LogError> = std::result::Result<T, E>;
