//! What to do when bytes cannot be read, application code fails, or a record cannot be sent.

use bytes::Bytes;

use crate::{
    error::{Error, SerdeOrigin},
    record::Headers,
    task::TaskId,
};

/// Go on without the record, or stop the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandlerResult {
    /// Skip the record; it counts as dropped.
    Continue,
    /// Stop with the error.
    Fail,
}

/// A handler's answer: what to do, and what to write to dead-letter topics (KIP-1034).
#[derive(Clone, Debug)]
pub struct HandlerResponse {
    /// What to do.
    pub result: HandlerResult,
    /// Records to send before that.
    pub dead_letters: Vec<DeadLetter>,
}

impl HandlerResponse {
    /// Skip the record.
    #[must_use]
    pub const fn resume() -> Self {
        HandlerResponse { result: HandlerResult::Continue, dead_letters: Vec::new() }
    }

    /// Stop.
    #[must_use]
    pub const fn fail() -> Self {
        HandlerResponse { result: HandlerResult::Fail, dead_letters: Vec::new() }
    }

    /// The same with records for dead-letter topics.
    #[must_use]
    pub fn with_dead_letters(self, dead_letters: Vec<DeadLetter>) -> Self {
        HandlerResponse { dead_letters, ..self }
    }
}

/// A record for a dead-letter topic.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The topic; it must exist.
    pub topic: String,
    /// The partition, or the producer's choice.
    pub partition: Option<i32>,
    /// Milliseconds since the epoch.
    pub timestamp: Option<i64>,
    /// The headers.
    pub headers: Headers,
    /// The key's bytes.
    pub key: Option<Bytes>,
    /// The value's bytes.
    pub value: Option<Bytes>,
}

/// Where and on which record an error happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ErrorHandlerContext<'a> {
    /// The source record's topic; `None` in punctuations.
    pub topic: Option<&'a str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Headers of the record as the failing node got it.
    pub headers: &'a Headers,
    /// The failing node; empty while a source record is being read.
    pub processor_node_id: &'a str,
    /// The task.
    pub task_id: TaskId,
    /// Timestamp of the record as the failing node got it, in ms since the epoch.
    pub timestamp: i64,
    /// The source record's key as bytes.
    pub source_raw_key: Option<Bytes>,
    /// The source record's value as bytes.
    pub source_raw_value: Option<Bytes>,
}

/// Decides about records whose bytes cannot be read.
pub trait DeserializationExceptionHandler: Send + Sync {
    /// Decides about one record.
    fn handle(&self, context: &ErrorHandlerContext<'_>, error: &Error) -> HandlerResponse;
}

/// Decides about records on which application code failed.
pub trait ProcessingExceptionHandler: Send + Sync {
    /// Decides about one record.
    fn handle(&self, context: &ErrorHandlerContext<'_>, error: &Error) -> HandlerResponse;
}

/// Decides about records that cannot be serialised or sent.
pub trait ProductionExceptionHandler: Send + Sync {
    /// Decides about a record that the producer refused.
    fn handle(&self, context: &ErrorHandlerContext<'_>, topic: &str, error: &Error) -> HandlerResponse;

    /// Decides about a record whose key or value has no bytes.
    fn handle_serialization(
        &self,
        _context: &ErrorHandlerContext<'_>,
        _topic: &str,
        _origin: SerdeOrigin,
        _error: &Error,
    ) -> HandlerResponse {
        HandlerResponse::fail()
    }
}

/// Logs and stops: the default of deserialisation and processing.
#[derive(Clone, Debug, Default)]
pub struct LogAndFail {
    dead_letter_topic: Option<String>,
}

/// Logs and goes on.
#[derive(Clone, Debug, Default)]
pub struct LogAndContinue {
    dead_letter_topic: Option<String>,
}

impl LogAndFail {
    /// With `errors.dead.letter.queue.topic.name`, to which it writes the record before it stops.
    #[must_use]
    pub fn with_dead_letter_topic(topic: Option<String>) -> Self {
        LogAndFail { dead_letter_topic: topic }
    }
}

impl LogAndContinue {
    /// With `errors.dead.letter.queue.topic.name`, to which it writes the record it skips.
    #[must_use]
    pub fn with_dead_letter_topic(topic: Option<String>) -> Self {
        LogAndContinue { dead_letter_topic: topic }
    }
}

/// The record as it came, with headers that tell what happened (KIP-1034).
fn dead_letters(topic: Option<&String>, context: &ErrorHandlerContext<'_>, error: &Error) -> Vec<DeadLetter> {
    let Some(topic) = topic else { return Vec::new() };
    let (name, message) = match error {
        Error::User { type_name, source } => ((*type_name).to_owned(), source.to_string()),
        Error::Deserialization { source, .. } | Error::Serialization { source, .. } => {
            ("org.apache.kafka.common.errors.SerializationException".to_owned(), source.to_string())
        }
        other => ("org.apache.kafka.streams.errors.StreamsException".to_owned(), other.to_string()),
    };
    let mut headers = context.headers.clone();
    let mut add = |key: &str, value: &str| headers.add(key, Some(Bytes::copy_from_slice(value.as_bytes())));
    add("__streams.errors.exception", &name);
    add("__streams.errors.message", &message);
    add("__streams.errors.stacktrace", &format!("{error:?}"));
    add("__streams.errors.topic", context.topic.unwrap_or_default());
    add("__streams.errors.partition", &context.partition.to_string());
    add("__streams.errors.offset", &context.offset.to_string());
    vec![DeadLetter {
        topic: topic.clone(),
        partition: None,
        timestamp: Some(context.timestamp),
        headers,
        key: context.source_raw_key.clone(),
        value: context.source_raw_value.clone(),
    }]
}

fn log(context: &ErrorHandlerContext<'_>, error: &Error) {
    tracing::warn!(
        task = %context.task_id, node = context.processor_node_id, topic = context.topic,
        partition = context.partition, offset = context.offset, "{error}"
    );
}

impl DeserializationExceptionHandler for LogAndFail {
    fn handle(&self, context: &ErrorHandlerContext<'_>, error: &Error) -> HandlerResponse {
        log(context, error);
        let letters = dead_letters(self.dead_letter_topic.as_ref(), context, error);
        HandlerResponse::fail().with_dead_letters(letters)
    }
}
impl DeserializationExceptionHandler for LogAndContinue {
    fn handle(&self, context: &ErrorHandlerContext<'_>, error: &Error) -> HandlerResponse {
        log(context, error);
        let letters = dead_letters(self.dead_letter_topic.as_ref(), context, error);
        HandlerResponse::resume().with_dead_letters(letters)
    }
}
impl ProcessingExceptionHandler for LogAndFail {
    fn handle(&self, context: &ErrorHandlerContext<'_>, error: &Error) -> HandlerResponse {
        log(context, error);
        let letters = dead_letters(self.dead_letter_topic.as_ref(), context, error);
        HandlerResponse::fail().with_dead_letters(letters)
    }
}
impl ProcessingExceptionHandler for LogAndContinue {
    fn handle(&self, context: &ErrorHandlerContext<'_>, error: &Error) -> HandlerResponse {
        log(context, error);
        let letters = dead_letters(self.dead_letter_topic.as_ref(), context, error);
        HandlerResponse::resume().with_dead_letters(letters)
    }
}

/// Stops on every error: the default of production.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultProductionExceptionHandler;

impl ProductionExceptionHandler for DefaultProductionExceptionHandler {
    fn handle(&self, _: &ErrorHandlerContext<'_>, _: &str, _: &Error) -> HandlerResponse {
        HandlerResponse::fail()
    }
}
