//! The one error type of the client.

use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use vltava_config::ConfigError;
use vltava_protocol::wire::{DecodeError, EncodeError};
use vltava_protocol::{ApiKey, ErrorCode};
use vltava_serde::SerdeError;

use crate::{ConsumerRecord, TopicPartition};

/// What every call of this crate fails with.
///
/// A broker's answer stays the Kafka code that it sent ([`ClientError::Broker`]). [`is_retriable`](Self::is_retriable),
/// [`is_abortable`](Self::is_abortable) and [`is_fatal`](Self::is_fatal) say what may be done about an error; the client
/// itself decides by nothing else.
///
/// Cloning is cheap: one failure may be reported to thousands of records.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The broker answered with an error code.
    #[error("{}", display_broker(*code, message.as_deref()))]
    Broker {
        /// Kafka's code.
        code: ErrorCode,
        /// The broker's own words, where the answer has them.
        message: Option<Arc<str>>,
    },
    /// The client has changed more topics than its quota lets it (KIP-599): Kafka's `ThrottlingQuotaExceededException`.
    #[error("{}", display_broker(ErrorCode::ThrottlingQuotaExceeded, message.as_deref()))]
    ThrottlingQuotaExceeded {
        /// How long it takes until it may change some again.
        throttle_time: Duration,
        /// The broker's own words, where the answer has them.
        message: Option<Arc<str>>,
    },
    /// A setting has a value that it may not have.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Something that Kafka has and this client does not have yet.
    #[error("{what} is not supported yet")]
    Unsupported {
        /// The name of the feature, a setting with its value, or a call.
        what: Arc<str>,
    },
    /// The broker and this client have no version of a request in common.
    #[error(
        "no common version of {api:?}: the client speaks {client_min} to {client_max}, the broker {}",
        display_versions(*broker)
    )]
    UnsupportedVersion {
        /// The request.
        api: ApiKey,
        /// Lowest version the client can use here.
        client_min: i16,
        /// Highest version the client can use here.
        client_max: i16,
        /// What the broker offers, if it knows the request at all.
        broker: Option<(i16, i16)>,
    },
    /// Something did not happen in the time it was given.
    #[error("{what} timed out after {} ms", after.as_millis())]
    Timeout {
        /// What was waited for.
        what: Arc<str>,
        /// How long.
        after: Duration,
    },
    /// A connection could not be made or was lost.
    #[error("connection to {address}: {source}")]
    Connection {
        /// `host:port`.
        address: Arc<str>,
        /// The operating system's error.
        #[source]
        source: Arc<io::Error>,
    },
    /// TLS does not let the two come together: the broker's certificate is not trusted or not for this host, or the broker
    /// does not accept the client's, or they have nothing in common. Kafka's `SslAuthenticationException`.
    #[error("TLS with {address} failed: {reason}")]
    SslAuthentication {
        /// `host:port`.
        address: Arc<str>,
        /// Which of the two refuses the other, and why.
        reason: Arc<str>,
    },
    /// Whoever listens there does not speak Kafka's protocol.
    #[error("{address} does not speak Kafka's protocol: {reason}")]
    NotKafka {
        /// `host:port`.
        address: Arc<str>,
        /// What it speaks, as far as its answer shows that.
        reason: Arc<str>,
    },
    /// The broker does not let this client in: Kafka's `SaslAuthenticationException` and `UnsupportedSaslMechanismException`.
    /// The client is of no use any more, for nothing of it passes by itself.
    #[error("{address} does not let this client in by {mechanism}: {message}")]
    SaslAuthentication {
        /// `host:port`.
        address: Arc<str>,
        /// `sasl.mechanism`.
        mechanism: &'static str,
        /// Kafka's code.
        code: ErrorCode,
        /// The broker's own words, or what its answer lacks.
        message: Arc<str>,
    },
    /// The metadata names no such node, or the connection to it is backing off.
    #[error("node {node} is not available: {reason}")]
    NodeNotAvailable {
        /// The broker's id; negative for bootstrap servers.
        node: i32,
        /// Why.
        reason: Arc<str>,
    },
    /// No broker, of `bootstrap.servers` or of the metadata, could be reached.
    #[error("no broker of {servers} can be reached: {last}")]
    NoBrokerAvailable {
        /// Whom we asked.
        servers: Arc<str>,
        /// The last failure.
        last: Arc<str>,
    },
    /// The peer sent bytes that are not Kafka's protocol.
    #[error("malformed answer to {api:?}: {source}")]
    Decode {
        /// The request that was answered.
        api: ApiKey,
        /// What is wrong.
        #[source]
        source: Arc<DecodeError>,
    },
    /// A request cannot be written in the version that the broker speaks.
    #[error("cannot write {api:?}: {source}")]
    Encode {
        /// The request.
        api: ApiKey,
        /// What is wrong.
        #[source]
        source: Arc<EncodeError>,
    },
    /// An answer breaks the protocol's rules though it could be decoded.
    #[error("unexpected answer: {what}")]
    UnexpectedAnswer {
        /// What was wrong with it.
        what: Arc<str>,
    },
    /// A record is larger than a setting allows.
    #[error("record of {size} bytes is larger than `{setting}` {limit}")]
    RecordTooLarge {
        /// Upper estimate of the record's size as a batch of its own, in bytes.
        size: usize,
        /// The setting.
        setting: &'static str,
        /// Its value, in bytes.
        limit: usize,
    },
    /// Records of a topic that is [held back](crate::Producer::hold_back) did not go: one that was given with them or before
    /// them has failed, or no barrier followed them.
    #[error("records of {topic}-{partition} are held back: what they follow has failed or is not ended by a barrier")]
    HeldBack {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
    },
    /// Records were [discarded](crate::Producer::discard_all) before they were acknowledged.
    #[error("records of {topic}-{partition} were discarded")]
    Discarded {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
    },
    /// Records were not sent, or not acknowledged, before their [transaction](crate::Producer::begin_transaction) was aborted.
    #[error("records of {topic}-{partition} were not sent: their transaction was aborted")]
    TransactionAborted {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
    },
    /// The transaction cannot be committed any more. [Abort](crate::Producer::abort_transaction) it; the producer goes on with
    /// the next one.
    #[error("the transaction can only be aborted: {source}")]
    TransactionFailed {
        /// What it failed by.
        #[source]
        source: Box<ClientError>,
    },
    /// A producer with a `transactional.id` cannot go on. Close it. If it was [fenced](Self::is_fenced), the other one has its
    /// place; else a new one may take it, which aborts what this one has left open.
    #[error(
        "the producer of `transactional.id` {transactional_id} cannot go on, {}: {source}",
        display_next_step(source)
    )]
    ProducerFailed {
        /// `transactional.id`.
        transactional_id: Arc<str>,
        /// What it failed by.
        #[source]
        source: Box<ClientError>,
    },
    /// A batch of records cannot be built or read.
    #[error("record batch: {reason}")]
    Records {
        /// What is wrong.
        reason: Arc<str>,
    },
    /// The producer's buffer is full, and the caller did not want to wait.
    #[error("`buffer.memory` of {limit} bytes is exhausted")]
    BufferExhausted {
        /// `buffer.memory` in bytes.
        limit: usize,
    },
    /// The call would have to wait (for metadata of the topic or for buffer memory).
    #[error("the call would block: {reason}")]
    WouldBlock {
        /// What it would wait for.
        reason: &'static str,
    },
    /// The topic has no such partition.
    #[error("topic {topic} has {count} partitions, there is no partition {partition}")]
    InvalidPartition {
        /// Topic.
        topic: Arc<str>,
        /// The partition asked for.
        partition: i32,
        /// How many there are.
        count: usize,
    },
    /// A record's key or value could not be serialised; the record was not sent.
    #[error("cannot serialise the {part} of a record for {topic}: {source}")]
    RecordSerialization {
        /// The topic.
        topic: Arc<str>,
        /// `key` or `value`.
        part: &'static str,
        /// What the serde said.
        #[source]
        source: SerdeError,
    },
    /// An argument that the protocol or this client does not allow.
    #[error("invalid argument: {reason}")]
    InvalidArgument {
        /// What is wrong, with the value.
        reason: Arc<str>,
    },
    /// There is no committed offset and `auto.offset.reset` is `none`: seek, then poll again.
    #[error("no offset for {} and `auto.offset.reset` is none", display_list(partitions))]
    NoOffsetForPartition {
        /// The partitions without an offset.
        partitions: Vec<TopicPartition>,
    },
    /// The position is outside of the log and `auto.offset.reset` is `none`: seek, then poll again.
    #[error("offset {offset} of {partition} is out of range and `auto.offset.reset` is none")]
    OffsetOutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The position that the log does not have.
        offset: i64,
    },
    /// The log was truncated before the position and `auto.offset.reset` is `none`: seek, then poll again (KIP-320).
    #[error("log of {partition} was truncated before offset {offset} and `auto.offset.reset` is none")]
    LogTruncated {
        /// The partition.
        partition: TopicPartition,
        /// The position that the log does not have any more.
        offset: i64,
        /// The first offset that is known to differ, where a consumer may go on.
        divergent: Option<i64>,
    },
    /// A batch or record cannot be read; the position stays before it. Seek past it to go on.
    #[error("cannot read {partition} at offset {offset}: {reason}; seek past it to go on")]
    RecordsUnreadable {
        /// The partition.
        partition: TopicPartition,
        /// The offset of the first record that cannot be read.
        offset: i64,
        /// What is wrong.
        reason: Arc<str>,
    },
    /// A batch decompresses to more than `max.decompressed.batch.bytes`; the position stays before it. Go on with a
    /// consumer that has a larger limit, or seek to `next_offset`.
    #[error(
        "the batch of {partition} at offset {offset} decompresses to more than {limit} bytes: raise \
         `max.decompressed.batch.bytes`, or seek to {next_offset} to go on behind it"
    )]
    DecompressedBatchTooLarge {
        /// The partition.
        partition: TopicPartition,
        /// The offset of the first record that is not read.
        offset: i64,
        /// The offset behind the batch.
        next_offset: i64,
        /// `max.decompressed.batch.bytes`.
        limit: usize,
    },
    /// A record's key or value could not be deserialised; the position stays before it. Seek past it to go on.
    #[error("cannot deserialise the {part} of {partition} at offset {offset}: {source}; seek past it to go on")]
    RecordDeserialization {
        /// The partition.
        partition: TopicPartition,
        /// The record's offset.
        offset: i64,
        /// `key` or `value`.
        part: &'static str,
        /// The record as it was read, to look at or to store elsewhere.
        record: Box<ConsumerRecord>,
        /// What the serde said.
        #[source]
        source: SerdeError,
    },
    /// The partition is not assigned to this consumer.
    #[error("partition {partition} is not assigned to this consumer")]
    NotAssigned {
        /// The partition.
        partition: TopicPartition,
    },
    /// Offsets were not committed: the member left its group or was removed, its partitions may belong to others.
    #[error("offsets were not committed: {reason}")]
    CommitFailed {
        /// What happened.
        reason: Arc<str>,
    },
    /// [`Consumer::wakeup`](crate::Consumer::wakeup) was called.
    #[error("woken up")]
    Wakeup,
    /// A rebalance listener or assignor failed.
    #[error("rebalance callback failed: {source}")]
    RebalanceCallback {
        /// Its error.
        #[source]
        source: Box<ClientError>,
    },
    /// The call does not fit the client's state.
    #[error("{reason}")]
    InvalidState {
        /// Why.
        reason: Arc<str>,
    },
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
    /// Code that the client runs in the background panicked (its own, that of a log's subscriber, or a condition of the
    /// application's): the client has ended.
    #[error("the client has ended, for its background work panicked: {message}")]
    Panicked {
        /// What the panic said.
        message: Arc<str>,
    },
    /// The client was made outside of a tokio runtime.
    #[error("no tokio runtime: create the client inside of one, or enter its handle first")]
    NoRuntime,
}

impl ClientError {
    /// A broker's answer without words of its own.
    #[must_use]
    pub fn broker(code: ErrorCode) -> Self {
        Self::Broker { code, message: None }
    }

    /// A broker's answer from the wire: `Ok` for code 0, else the error with the broker's words.
    ///
    /// # Errors
    /// [`ClientError::Broker`] for every code but 0.
    pub fn check(code: i16, message: Option<&str>) -> Result<(), Self> {
        match ErrorCode::from(code) {
            ErrorCode::None => Ok(()),
            code => Err(Self::Broker { code, message: message.map(Arc::from) }),
        }
    }

    /// As [`check`](Self::check), of an answer that tells how long to wait where a quota is exceeded.
    pub(crate) fn check_quota(code: i16, message: Option<&str>, throttle_time_ms: i32) -> Result<(), Self> {
        match ErrorCode::from(code) {
            ErrorCode::ThrottlingQuotaExceeded => Err(Self::ThrottlingQuotaExceeded {
                throttle_time: Duration::from_millis(throttle_time_ms.max(0).unsigned_abs().into()),
                message: message.map(Arc::from),
            }),
            _ => Self::check(code, message),
        }
    }

    /// Topics that may not be seen, read or written: it names them, as Java's `TopicAuthorizationException`.
    pub(crate) fn unauthorized_topics(topics: &[&str]) -> Self {
        let message = format!("Not authorized to access topics: [{}]", topics.join(", "));
        Self::Broker { code: ErrorCode::TopicAuthorizationFailed, message: Some(message.into()) }
    }

    /// Names the topic where it may not be accessed and the broker does not name it.
    pub(crate) fn of_topic(self, topic: &str) -> Self {
        match self {
            Self::Broker { code: ErrorCode::TopicAuthorizationFailed, message: None } => {
                Self::unauthorized_topics(&[topic])
            }
            other => other,
        }
    }

    /// Names the group where it may not be accessed, as Java's `GroupAuthorizationException`.
    pub(crate) fn of_group(self, group: &str) -> Self {
        match self {
            Self::Broker { code: code @ ErrorCode::GroupAuthorizationFailed, .. } => {
                Self::Broker { code, message: Some(format!("Not authorized to access group: {group}").into()) }
            }
            other => other,
        }
    }

    pub(crate) fn unsupported(what: impl Into<Arc<str>>) -> Self {
        Self::Unsupported { what: what.into() }
    }

    pub(crate) fn timeout(what: impl Into<Arc<str>>, after: Duration) -> Self {
        Self::Timeout { what: what.into(), after }
    }

    pub(crate) fn connection(address: &Arc<str>, source: io::Error) -> Self {
        // With TLSv1.3 a client is done before the broker has looked at its certificate.
        #[cfg(feature = "tls")]
        if let Some(reason) = vltava_security::ssl::HandshakeFailure::told_later(&source) {
            return Self::SslAuthentication { address: Arc::clone(address), reason: reason.into() };
        }
        Self::Connection { address: Arc::clone(address), source: Arc::new(source) }
    }

    pub(crate) fn unexpected(what: impl Into<Arc<str>>) -> Self {
        Self::UnexpectedAnswer { what: what.into() }
    }

    pub(crate) fn state(reason: impl Into<Arc<str>>) -> Self {
        Self::InvalidState { reason: reason.into() }
    }

    pub(crate) fn invalid(reason: impl Into<Arc<str>>) -> Self {
        Self::InvalidArgument { reason: reason.into() }
    }

    /// The broker's code, if a broker said so, or it is what a transaction or a producer has failed by.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Broker { code, .. } | Self::SaslAuthentication { code, .. } => Some(*code),
            Self::ThrottlingQuotaExceeded { .. } => Some(ErrorCode::ThrottlingQuotaExceeded),
            Self::TransactionFailed { source } | Self::ProducerFailed { source, .. } => source.code(),
            _ => None,
        }
    }

    /// The same call may succeed when it is made again.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Broker { code, .. } => code.is_retriable(),
            Self::Timeout { .. }
            | Self::Connection { .. }
            | Self::NodeNotAvailable { .. }
            | Self::NoBrokerAvailable { .. }
            | Self::BufferExhausted { .. }
            | Self::ThrottlingQuotaExceeded { .. }
            | Self::WouldBlock { .. } => true,
            _ => false,
        }
    }

    /// The transaction that met this error has to be aborted; the producer itself goes on.
    ///
    /// Without a transaction: the record or the call is lost, the client can be used further.
    #[must_use]
    pub fn is_abortable(&self) -> bool {
        !self.is_fatal()
    }

    /// The group is rebalancing, and offsets cannot be committed before that is over: `poll`, then commit again what is
    /// still assigned. Kafka's `RebalanceInProgressException`.
    #[must_use]
    pub fn is_rebalancing(&self) -> bool {
        self.code() == Some(ErrorCode::RebalanceInProgress)
    }

    /// The member was removed from its group, as one is that was away for longer than `session.timeout.ms` or did not `poll`
    /// for `max.poll.interval.ms`: its partitions may belong to others, who read again what it has not committed. `poll`
    /// joins anew. Kafka's `CommitFailedException`, of `UNKNOWN_MEMBER_ID` and `ILLEGAL_GENERATION`.
    #[must_use]
    pub fn is_member_lost(&self) -> bool {
        matches!(self, Self::CommitFailed { .. })
            || matches!(self.code(), Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration))
    }

    /// Another client has taken this one's place, by the same `group.instance.id` or `transactional.id`: this one cannot go
    /// on. Kafka's `FencedInstanceIdException` and `ProducerFencedException`.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        matches!(self.code(), Some(ErrorCode::FencedInstanceId | ErrorCode::ProducerFenced))
    }

    /// Whether it says of a broker what no other try changes, so that it is told as it is.
    pub(crate) fn is_about_who_listens(&self) -> bool {
        matches!(self, Self::NotKafka { .. } | Self::SslAuthentication { .. })
    }

    /// The client that met this error is of no use any more.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Broker { code, .. } => matches!(
                code,
                ErrorCode::ProducerFenced
                    | ErrorCode::FencedInstanceId
                    | ErrorCode::ClusterAuthorizationFailed
                    | ErrorCode::TransactionalIdAuthorizationFailed
                    | ErrorCode::UnsupportedVersion
                    | ErrorCode::UnsupportedForMessageFormat
                    | ErrorCode::SaslAuthenticationFailed
                    | ErrorCode::InvalidProducerIdMapping
            ),
            Self::Config(_)
            | Self::SaslAuthentication { .. }
            | Self::UnsupportedVersion { .. }
            | Self::SslAuthentication { .. }
            | Self::ProducerFailed { .. }
            | Self::Closed
            | Self::Panicked { .. }
            | Self::NoRuntime => true,
            _ => false,
        }
    }
}

fn display_next_step(source: &ClientError) -> &'static str {
    match source.is_fenced() {
        true => {
            "another one has taken its place, or its transaction took longer than `transaction.timeout.ms`: close it"
        }
        false => "close it and create another",
    }
}

fn display_list(partitions: &[TopicPartition]) -> String {
    partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn display_broker(code: ErrorCode, message: Option<&str>) -> String {
    match message {
        Some(words) if !words.is_empty() => format!("{}: {words}", code.name()),
        _ => format!("{}: {}", code.name(), code.message()),
    }
}

fn display_versions(versions: Option<(i16, i16)>) -> String {
    match versions {
        Some((min, max)) => format!("{min} to {max}"),
        None => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_a_member_is_told_apart() {
        let cases = [
            (ClientError::broker(ErrorCode::RebalanceInProgress), [true, false, false, false]),
            (ClientError::CommitFailed { reason: "the group has rebalanced".into() }, [false, true, false, false]),
            (ClientError::broker(ErrorCode::UnknownMemberId), [false, true, false, false]),
            (ClientError::broker(ErrorCode::IllegalGeneration), [false, true, false, false]),
            (ClientError::broker(ErrorCode::FencedInstanceId), [false, false, true, true]),
            (ClientError::broker(ErrorCode::ProducerFenced), [false, false, true, true]),
            (ClientError::broker(ErrorCode::OffsetMetadataTooLarge), [false; 4]),
        ];
        for (error, expected) in cases {
            let told = [error.is_rebalancing(), error.is_member_lost(), error.is_fenced(), error.is_fatal()];
            assert_eq!(told, expected, "{error}");
            assert!(!error.is_retriable(), "none of them passes without a poll: {error}");
        }
    }

    #[test]
    fn what_became_of_a_transaction_is_told_apart() {
        let failed = |source| ClientError::TransactionFailed { source: Box::new(source) };
        let dead = |source| ClientError::ProducerFailed { transactional_id: "t".into(), source: Box::new(source) };
        let timeout = || ClientError::timeout("delivery", Duration::from_secs(1));
        // Retriable, abortable, fatal, fenced.
        let cases = [
            (failed(timeout()), [false, true, false, false]),
            (failed(ClientError::broker(ErrorCode::NotEnoughReplicas)), [false, true, false, false]),
            (failed(ClientError::broker(ErrorCode::InvalidProducerEpoch)), [false, true, false, false]),
            (failed(ClientError::broker(ErrorCode::FencedInstanceId)), [false, true, false, true]),
            (dead(ClientError::broker(ErrorCode::ProducerFenced)), [false, false, true, true]),
            (dead(ClientError::broker(ErrorCode::InvalidTxnState)), [false, false, true, false]),
            (timeout(), [true, true, false, false]),
        ];
        for (error, expected) in cases {
            let told = [error.is_retriable(), error.is_abortable(), error.is_fatal(), error.is_fenced()];
            assert_eq!(told, expected, "{error}");
        }
        let lost = failed(ClientError::broker(ErrorCode::UnknownMemberId));
        assert!(lost.is_member_lost() && lost.code() == Some(ErrorCode::UnknownMemberId));
        let fenced = dead(ClientError::broker(ErrorCode::ProducerFenced)).to_string();
        assert!(fenced.contains("`transactional.id` t cannot go on, another one has taken its place, or"), "{fenced}");
        let other = dead(ClientError::broker(ErrorCode::InvalidTxnState)).to_string();
        assert!(other.contains("close it and create another"), "{other}");
    }
}
