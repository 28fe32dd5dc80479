//! What to do when bytes cannot be read, application code fails, or a record cannot be sent.
//!
//! | What fails | Who is asked | Default |
//! |---|---|---|
//! | a serde on a source's bytes | [`DeserializationExceptionHandler`] | [`LogAndFail`] |
//! | an operator, a processor, a punctuator: an error or a panic (KIP-1033) | [`ProcessingExceptionHandler`] | [`LogAndFail`] |
//! | a serde on a record to be sent | [`ProductionExceptionHandler::handle_serialization`] | [`DefaultProductionExceptionHandler`] |
//! | the producer or the broker on a record to be sent | [`ProductionExceptionHandler::handle`] | [`DefaultProductionExceptionHandler`] |
//!
//! A timestamp extractor that fails, a handler that panics, and a processor that cannot be initialised stop the task
//! without question. With `errors.dead.letter.queue.topic.name` the handlers of this crate write what they are asked
//! about to a topic (KIP-1034).

mod built_in;
mod dead_letter;

pub use built_in::{DefaultProductionExceptionHandler, LogAndContinue, LogAndFail};
use bytes::Bytes;

use crate::{
    error::{Error, SerdeOrigin},
    record::{Headers, ProducerRecord},
    task_id::TaskId,
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
    /// Its partition; -1 where there is no source record.
    pub partition: i32,
    /// Its offset; -1 where there is no source record.
    pub offset: i64,
    /// Headers of the record as the failing node got it; of a record that was not sent, its own.
    pub headers: &'a Headers,
    /// The failing node; empty where a changelog could not be written.
    pub processor_node_id: &'a str,
    /// The task.
    pub task_id: TaskId,
    /// Timestamp of the record as the failing node got it, in ms since the epoch; of a punctuation, its time.
    pub timestamp: i64,
    /// The source record's key as bytes. What the broker refuses is known when the source record is not at hand any more:
    /// there are none then.
    pub source_raw_key: Option<Bytes>,
    /// The source record's value as bytes; as above.
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

/// Whether a task goes on when one of its records could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProductionHandlerResult {
    /// The record is given up; it counts as dropped.
    Continue,
    /// Stop with the error.
    Fail,
    /// The task begins anew from its last commit, and sends the record and what came after it again (KIP-1065). Only for
    /// errors that [may pass](Error::is_retriable); for others it is the same as `Fail`.
    Retry,
}

/// A production handler's answer.
#[derive(Clone, Debug)]
pub struct ProductionHandlerResponse {
    /// What to do.
    pub result: ProductionHandlerResult,
    /// Records to send before that.
    pub dead_letters: Vec<DeadLetter>,
}

impl ProductionHandlerResponse {
    /// Give the record up.
    #[must_use]
    pub const fn resume() -> Self {
        ProductionHandlerResponse { result: ProductionHandlerResult::Continue, dead_letters: Vec::new() }
    }

    /// Stop.
    #[must_use]
    pub const fn fail() -> Self {
        ProductionHandlerResponse { result: ProductionHandlerResult::Fail, dead_letters: Vec::new() }
    }

    /// Begin anew from the last commit.
    #[must_use]
    pub const fn retry() -> Self {
        ProductionHandlerResponse { result: ProductionHandlerResult::Retry, dead_letters: Vec::new() }
    }

    /// The same with records for dead-letter topics.
    #[must_use]
    pub fn with_dead_letters(self, dead_letters: Vec<DeadLetter>) -> Self {
        ProductionHandlerResponse { dead_letters, ..self }
    }
}

/// Decides about records that cannot be serialised or sent.
pub trait ProductionExceptionHandler: Send + Sync {
    /// Decides about a record that the producer or the broker refused for good, after the producer's own retries; it is
    /// asked on the stream thread, some time after the record was sent. The error is [`Error::Production`]. It is not
    /// asked about errors that no record can get around, as missing permissions: those stop the thread.
    fn handle(
        &self,
        context: &ErrorHandlerContext<'_>,
        record: &ProducerRecord<'_>,
        error: &Error,
    ) -> ProductionHandlerResponse;

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
