//! The one error of this crate.

mod not_closed;

use std::{error::Error as StdError, fmt, io, path::PathBuf, sync::Arc, time::Duration};

use vltava_client::ClientError;
use vltava_config::ConfigError;
pub use vltava_serde::SerdeError;

pub use not_closed::{Left, NotClosed, ThreadLeft};

/// The result of everything that can fail here; the error is boxed so that a hop from node to node returns one word.
pub type Result<T, E = Box<Error>> = std::result::Result<T, E>;

/// What can go wrong in an application of streams.
///
/// Variants are named after the exceptions of Kafka Streams. [`is_retriable`](Error::is_retriable),
/// [`is_abortable`](Error::is_abortable) and [`is_fatal`](Error::is_fatal) say what a caller can do, and
/// [`client_error`](Error::client_error) what a client or a broker has said.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The topology cannot be built as it was described; the message names the node, store or topic.
    Topology(String),
    /// A setting has a wrong value. Kafka's `ConfigException`.
    Config(ConfigError),
    /// An argument of an operator is out of its range.
    IllegalArgument(String),
    /// A node forwards what its child does not take. The typed API excludes it, except where two sources of one topic
    /// with different types are merged.
    EdgeType {
        /// The node that forwards.
        parent: String,
        /// The node that receives.
        child: String,
        /// Key and value types of the parent's records.
        forwards: &'static str,
        /// Key and value types that the child takes.
        takes: &'static str,
    },
    /// Bytes are needed for a type that has no serde: neither named, nor inherited, nor by default.
    MissingSerde {
        /// The node or store that needs it.
        node: String,
        /// The Rust type without a serde.
        type_name: &'static str,
    },
    /// A key or value could not be turned into bytes.
    Serialization {
        /// The node or store at which it happened.
        node: String,
        /// The topic the bytes were meant for.
        topic: String,
        /// Key or value.
        origin: SerdeOrigin,
        /// The serde's own error.
        source: SerdeError,
    },
    /// Bytes of a topic or store could not be read back.
    Deserialization {
        /// The topic or changelog topic.
        topic: String,
        /// The partition, -1 where there is none.
        partition: i32,
        /// The offset, -1 where there is none.
        offset: i64,
        /// Key or value.
        origin: SerdeOrigin,
        /// The serde's own error.
        source: SerdeError,
    },
    /// A record's timestamp is negative where that is not allowed.
    InvalidTimestamp {
        /// The topic of the record.
        topic: String,
        /// Its partition.
        partition: i32,
        /// Its offset.
        offset: i64,
        /// The timestamp, in ms since the epoch.
        timestamp: i64,
    },
    /// A record has no key where it needs one. Kafka's `NullPointerException`.
    NullKey {
        /// The store that the record should go into.
        store: String,
    },
    /// Application code failed; what it returned is the source.
    User {
        /// The name of the error's type.
        type_name: &'static str,
        /// What it returned.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Application code panicked.
    Panic(String),
    /// A record could not be processed, and the processing exception handler chose to fail.
    Processing {
        /// The node at which it failed.
        node: String,
        /// The task, `subtopology_partition`.
        task: String,
        /// Topic, partition and offset of the record, if one was being processed.
        position: Option<(Arc<str>, i32, i64)>,
        /// Why.
        source: Box<Error>,
    },
    /// The rows of a record cache could not be written or sent on.
    Flush {
        /// The store.
        store: String,
        /// Why.
        source: Box<Error>,
    },
    /// A record could not be sent. If the production exception handler chose to fail, it is the source of
    /// [`Processing`](Self::Processing), which tells where the record came from.
    Production {
        /// The topic.
        topic: String,
        /// What the producer or the broker said.
        source: ClientError,
    },
    /// A client could not do something for the application; the source tells why. Kafka's `StreamsException` with a
    /// `KafkaException` as its cause.
    Client {
        /// What was done.
        doing: String,
        /// What the client or the broker said.
        source: ClientError,
    },
    /// The operating system could not do something for the application. Kafka's `ProcessorStateException`, where it is about
    /// the directory of the state.
    Io {
        /// What was done, and to what.
        doing: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A task has made no progress for longer than `task.timeout.ms`. Kafka's `TimeoutException`.
    TaskTimeout {
        /// The task, `subtopology_partition`.
        task: String,
        /// For how long.
        after: Duration,
        /// What it met last.
        source: ClientError,
    },
    /// Topics that the application reads do not exist. Kafka's `MissingSourceTopicException`.
    MissingSourceTopic {
        /// Their names.
        topics: Vec<String>,
    },
    /// An instance of the application has asked all of them to close:
    /// [`StreamThreadExceptionResponse::ShutdownApplication`](crate::StreamThreadExceptionResponse::ShutdownApplication).
    ShutdownRequested,
    /// A store cannot do what was asked of it.
    Store {
        /// The store.
        store: String,
        /// Why.
        message: String,
    },
    /// The files of a store on disk are damaged. A store that has a changelog is restored from it, at once where this
    /// shows while the application runs. Kafka's `TaskCorruptedException`.
    CorruptedStore {
        /// The store.
        store: String,
        /// Its directory.
        path: PathBuf,
        /// How the damage shows.
        message: String,
    },
    /// A store cannot be queried now: its thread is starting or rebalancing, or no partition of it is on this instance,
    /// or it is of another kind. Kafka's `InvalidStateStoreException`.
    InvalidStateStore(String),
    /// The partition of a store that was asked for is not on this instance. Kafka's
    /// `InvalidStateStorePartitionException`.
    InvalidStateStorePartition(String),
    /// The topology has no such store. Kafka's `UnknownStateStoreException`.
    UnknownStateStore(String),
    /// The application has not been started. Kafka's `StreamsNotStartedException`.
    StreamsNotStarted(String),
    /// The application has ended, or is about to. Kafka's `StreamsStoppedException`.
    StreamsStopped(String),
    /// The application has failed: the [`failure`](crate::KafkaStreams::failure) that stopped it is the source.
    Failed(Arc<Error>),
    /// A listener or the uncaught exception handler of the application failed.
    Callback {
        /// Which of them.
        callback: &'static str,
        /// Its panic.
        source: Box<Error>,
    },
    /// An application was asked to close, and something is left.
    NotClosed(NotClosed),
    /// Something the application asked for at run time is not allowed (an unknown child, a closed driver …).
    Streams(String),
    /// Something Kafka Streams has and this version has not; the message names it.
    Unsupported(String),
    /// A broken invariant of this crate.
    Internal(&'static str),
}

impl Error {
    /// An error of the application's own, to be returned from processors and fallible operators.
    pub fn user<E: Into<Box<dyn StdError + Send + Sync>>>(error: E) -> Box<Self> {
        let path = std::any::type_name::<E>();
        let type_name = path.rsplit("::").next().unwrap_or(path);
        Box::new(Error::User { type_name, source: error.into() })
    }

    /// Whether the same call may succeed later, or, where it ended the application, the same application: what is behind
    /// it may pass.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Error::InvalidStateStore(_) | Error::StreamsNotStarted(_) => true,
            _ => self.client_error().is_some_and(ClientError::is_retriable),
        }
    }

    /// Whether a task that meets this error begins anew from its last commit, and the thread goes on: what could not be sent
    /// or looked up may pass, or a store was damaged.
    #[must_use]
    pub fn is_abortable(&self) -> bool {
        self.passing().is_some() || self.is_corrupted_store()
    }

    /// What a client or a broker said, if that is behind this error, however deep: its
    /// [`code`](ClientError::code) tells an authorisation that is missing from a topic that is, for example.
    #[must_use]
    pub fn client_error(&self) -> Option<&ClientError> {
        match self {
            Error::Production { source, .. } | Error::Client { source, .. } | Error::TaskTimeout { source, .. } => {
                Some(source)
            }
            Error::Processing { source, .. } | Error::Flush { source, .. } | Error::Callback { source, .. } => {
                source.client_error()
            }
            Error::Failed(source) => source.client_error(),
            _ => None,
        }
    }

    /// What a client said that may pass, where no handler has decided about it.
    pub(crate) fn passing(&self) -> Option<&ClientError> {
        match self {
            Error::Production { source, .. } | Error::Client { source, .. } if source.is_retriable() => Some(source),
            Error::Flush { source, .. } => source.passing(),
            _ => None,
        }
    }

    /// Whether the task that met this error cannot go on, not even anew.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        let of_a_query = matches!(
            self,
            Error::InvalidStateStore(_)
                | Error::InvalidStateStorePartition(_)
                | Error::UnknownStateStore(_)
                | Error::StreamsNotStarted(_)
                | Error::StreamsStopped(_)
        );
        !of_a_query && !matches!(self, Error::User { .. }) && !self.is_abortable()
    }

    /// Whether a handler has already had its say, or must not have one, so that the nodes above do not ask again.
    pub(crate) fn is_settled(&self) -> bool {
        let settled = matches!(
            self,
            Error::Processing { .. } | Error::Flush { .. } | Error::Production { .. } | Error::Internal(_)
        );
        settled || self.is_corrupted_store()
    }

    /// Whether damaged files of a store are behind this: its task begins anew.
    pub(crate) fn is_corrupted_store(&self) -> bool {
        match self {
            Error::CorruptedStore { .. } => true,
            Error::Processing { source, .. } | Error::Flush { source, .. } => source.is_corrupted_store(),
            _ => false,
        }
    }

    pub(crate) fn topology(message: impl Into<String>) -> Box<Self> {
        Box::new(Error::Topology(message.into()))
    }

    pub(crate) fn streams(why: String) -> Box<Self> {
        Box::new(Error::Streams(why))
    }

    /// What a client could not do.
    pub(crate) fn client(doing: impl Into<String>, source: ClientError) -> Box<Self> {
        Box::new(Error::Client { doing: doing.into(), source })
    }

    /// What the operating system could not do; for `map_err`.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Box<Self> {
        let doing = doing.into();
        |source| Box::new(Error::Io { doing, source })
    }

    /// A row of a store that its form has no room for.
    #[cold]
    pub(crate) fn unwritable(store: &str, why: &SerdeError) -> Box<Self> {
        Box::new(Error::Store { store: store.to_owned(), message: why.to_string() })
    }

    pub(crate) fn internal(what: &'static str) -> Box<Self> {
        Box::new(Error::Internal(what))
    }
}

impl From<ConfigError> for Box<Error> {
    fn from(error: ConfigError) -> Self {
        Box::new(Error::Config(error))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Topology(m) => write!(f, "invalid topology: {m}"),
            Error::Config(error) => write!(f, "invalid configuration: {error}"),
            Error::IllegalArgument(m) => write!(f, "illegal argument: {m}"),
            Error::EdgeType { parent, child, forwards, takes } => {
                write!(f, "node {child} takes {takes}, but {parent} forwards {forwards}")
            }
            Error::MissingSerde { node, type_name } => write!(f, "{node} needs a serde for `{type_name}`"),
            Error::Serialization { node, topic, origin, source } => {
                write!(f, "cannot serialize the {origin} of a record for topic {topic} at {node}: {source}")
            }
            Error::Deserialization { topic, partition, offset, origin, source } => {
                write!(f, "cannot deserialize the {origin} of {topic}-{partition} at offset {offset}: {source}")
            }
            Error::InvalidTimestamp { topic, partition, offset, timestamp } => {
                write!(f, "record of {topic}-{partition} at offset {offset} has the invalid timestamp {timestamp}")
            }
            Error::NullKey { store } => write!(f, "a record without a key cannot be put into {store}"),
            Error::User { source, .. } => write!(f, "{source}"),
            Error::Panic(m) => write!(f, "application code panicked: {m}"),
            Error::Processing { node, task, position: Some((topic, partition, offset)), source } => write!(
                f,
                "task {task} failed at {node} on the record of {topic}-{partition} at offset {offset}: {source}"
            ),
            Error::Processing { node, task, position: None, source } => {
                write!(f, "task {task} failed at {node}: {source}")
            }
            Error::Flush { store, source } => write!(f, "cannot flush the cache of store {store}: {source}"),
            Error::Production { topic, source } => write!(f, "cannot send to topic {topic}: {source}"),
            Error::Client { doing, source } => write!(f, "{doing}: {source}"),
            Error::Io { doing, source } => write!(f, "{doing}: {source}"),
            Error::TaskTimeout { task, after, source } => write!(
                f,
                "task {task} did not make progress within {} ms, adjust `task.timeout.ms` if needed: {source}",
                after.as_millis()
            ),
            Error::MissingSourceTopic { topics } => write!(f, "missing source topics: {}", topics.join(", ")),
            Error::ShutdownRequested => f.write_str("an instance of the application has asked all of them to close"),
            Error::Store { store, message } => write!(f, "store {store}: {message}"),
            Error::CorruptedStore { store, path, message } => {
                write!(f, "the files of store {store} in {} are damaged: {message}", path.display())
            }
            Error::InvalidStateStore(m)
            | Error::InvalidStateStorePartition(m)
            | Error::UnknownStateStore(m)
            | Error::StreamsNotStarted(m)
            | Error::StreamsStopped(m)
            | Error::Streams(m) => write!(f, "{m}"),
            Error::Failed(source) => write!(f, "the application failed: {source}"),
            Error::Callback { callback, source } => write!(f, "{callback}: {source}"),
            Error::NotClosed(left) => write!(f, "{left}"),
            Error::Unsupported(m) => write!(f, "not supported yet: {m}"),
            Error::Internal(m) => write!(f, "internal error: {m}"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Error::Config(error) => Some(error),
            Error::Io { source, .. } => Some(source),
            Error::Serialization { source, .. } | Error::Deserialization { source, .. } => Some(source),
            Error::User { source, .. } => Some(source.as_ref()),
            Error::Production { source, .. } | Error::Client { source, .. } | Error::TaskTimeout { source, .. } => {
                Some(source)
            }
            Error::Processing { source, .. } | Error::Flush { source, .. } | Error::Callback { source, .. } => {
                Some(source)
            }
            Error::Failed(source) => Some(source),
            Error::NotClosed(left) => left.first_cause(),
            _ => None,
        }
    }
}

/// Which half of a record a serde failed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SerdeOrigin {
    /// The key.
    Key,
    /// The value.
    Value,
}

impl fmt::Display for SerdeOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SerdeOrigin::Key => "key",
            SerdeOrigin::Value => "value",
        })
    }
}

#[cfg(test)]
mod tests {
    use vltava_protocol::ErrorCode;

    use super::*;

    fn sent(source: ClientError) -> Box<Error> {
        Box::new(Error::Production { topic: "out".to_owned(), source })
    }

    fn flush(source: Box<Error>) -> Box<Error> {
        Box::new(Error::Flush { store: "s".to_owned(), source })
    }

    fn decided(source: Box<Error>) -> Box<Error> {
        Box::new(Error::Processing { node: "n".to_owned(), task: "0_0".to_owned(), position: None, source })
    }

    fn timed_out() -> ClientError {
        ClientError::Timeout { what: "delivery".into(), after: Duration::from_secs(1) }
    }

    #[test]
    fn an_authorisation_that_is_missing_is_told_from_a_time_out_however_deep_it_is() {
        let refused = || ClientError::broker(ErrorCode::TopicAuthorizationFailed);
        let wraps: [fn(Box<Error>) -> Box<Error>; 4] =
            [|error| error, flush, decided, |error| Box::new(Error::Failed(decided(error).into()))];
        for wrap in wraps {
            let error = wrap(sent(refused()));
            assert_eq!(error.client_error().and_then(ClientError::code), Some(ErrorCode::TopicAuthorizationFailed));
            assert!(!error.is_retriable() && !error.is_abortable() && error.is_fatal(), "{error}");
            let error = wrap(sent(timed_out()));
            assert!(matches!(error.client_error(), Some(ClientError::Timeout { .. })));
            assert!(error.is_retriable(), "{error}");
        }
    }

    #[test]
    fn what_may_pass_lets_a_task_begin_anew_unless_a_handler_has_decided() {
        for anew in [sent(timed_out()), flush(sent(timed_out())), Error::client("looking up", timed_out())] {
            assert!(anew.is_abortable() && !anew.is_fatal(), "{anew}");
        }
        let too_large = || ClientError::broker(ErrorCode::MessageTooLarge);
        for fatal in [decided(sent(timed_out())), flush(decided(sent(timed_out()))), sent(too_large())] {
            assert!(!fatal.is_abortable() && fatal.is_fatal(), "{fatal}");
        }
    }
}
