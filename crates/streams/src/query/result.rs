//! What queries come back with.

use std::{collections::BTreeMap, fmt};

use super::{Position, PositionBound};
use crate::error::{Error, Result};

/// Why a partition does not answer. Named as Kafka's constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureReason {
    /// The store does not know this kind of query, or has other types of keys or values.
    UnknownQueryType,
    /// An active, running task was required. To be tried again later, or elsewhere.
    NotActive,
    /// The store is not as far as the bound. To be tried again later, or elsewhere.
    NotUpToBound,
    /// The partition is not on this instance.
    NotPresent,
    /// The store has no such partition.
    DoesNotExist,
    /// The store failed; the message has the details.
    StoreException,
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FailureReason::UnknownQueryType => "UNKNOWN_QUERY_TYPE",
            FailureReason::NotActive => "NOT_ACTIVE",
            FailureReason::NotUpToBound => "NOT_UP_TO_BOUND",
            FailureReason::NotPresent => "NOT_PRESENT",
            FailureReason::DoesNotExist => "DOES_NOT_EXIST",
            FailureReason::StoreException => "STORE_EXCEPTION",
        })
    }
}

/// A partition's refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryFailure {
    /// Which kind it is.
    pub reason: FailureReason,
    /// The details.
    pub message: String,
}

impl QueryFailure {
    pub(crate) fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        QueryFailure { reason, message: message.into() }
    }

    pub(crate) fn not_up_to_bound(position: &Position, bound: &PositionBound, partition: i32) -> Self {
        let message = format!(
            "For store partition {partition}, the current position {position} is not yet up to the bound {}",
            bound.position()
        );
        QueryFailure::new(FailureReason::NotUpToBound, message)
    }
}

impl fmt::Display for QueryFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

impl std::error::Error for QueryFailure {}

impl From<Box<Error>> for QueryFailure {
    fn from(error: Box<Error>) -> Self {
        QueryFailure::new(FailureReason::StoreException, error.to_string())
    }
}

/// What a partition can answer: one row or none, or a list.
pub trait Answer {
    /// Whether it is more than a null.
    fn is_present(&self) -> bool;
}

impl<T> Answer for Option<T> {
    fn is_present(&self) -> bool {
        self.is_some()
    }
}

impl<T> Answer for Vec<T> {
    fn is_present(&self) -> bool {
        true
    }
}

/// The answer of one partition, or why there is none.
#[derive(Clone, Debug)]
pub struct QueryResult<R> {
    outcome: Result<R, QueryFailure>,
    execution_info: Vec<String>,
    position: Option<Position>,
}

impl<R> QueryResult<R> {
    pub(crate) fn new(outcome: Result<R, QueryFailure>, position: Option<Position>) -> Self {
        QueryResult { outcome, execution_info: Vec::new(), position }
    }

    pub(crate) fn add_execution_info(&mut self, info: String) {
        self.execution_info.push(info);
    }

    /// Whether there is an answer.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.outcome.is_ok()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.outcome.is_err()
    }

    /// The answer.
    ///
    /// # Errors
    /// Why there is none.
    pub fn result(&self) -> Result<&R, &QueryFailure> {
        self.outcome.as_ref()
    }

    /// The answer itself.
    ///
    /// # Errors
    /// Why there is none.
    pub fn into_result(self) -> Result<R, QueryFailure> {
        self.outcome
    }

    /// Which kind of failure it is.
    #[must_use]
    pub fn failure_reason(&self) -> Option<FailureReason> {
        self.outcome.as_ref().err().map(|failure| failure.reason)
    }

    /// The details of the failure.
    #[must_use]
    pub fn failure_message(&self) -> Option<&str> {
        self.outcome.as_ref().err().map(|failure| failure.message.as_str())
    }

    /// How the answer came about, where the request wanted to know.
    #[must_use]
    pub fn execution_info(&self) -> &[String] {
        &self.execution_info
    }

    /// How far the store was; `None` where no store was asked.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }
}

/// The answers of all partitions that were asked.
#[derive(Clone, Debug)]
pub struct StateQueryResult<R> {
    partitions: BTreeMap<i32, QueryResult<R>>,
    global: Option<QueryResult<R>>,
}

impl<R> StateQueryResult<R> {
    pub(crate) fn new() -> Self {
        StateQueryResult { partitions: BTreeMap::new(), global: None }
    }

    pub(crate) fn add(&mut self, partition: i32, result: QueryResult<R>) {
        self.partitions.insert(partition, result);
    }

    pub(crate) fn has(&self, partition: i32) -> bool {
        self.partitions.contains_key(&partition)
    }

    pub(crate) fn set_global(&mut self, result: QueryResult<R>) {
        self.global = Some(result);
    }

    /// The answers by partition.
    #[must_use]
    pub fn partition_results(&self) -> &BTreeMap<i32, QueryResult<R>> {
        &self.partitions
    }

    /// The answers by partition, themselves.
    #[must_use]
    pub fn into_partition_results(self) -> BTreeMap<i32, QueryResult<R>> {
        self.partitions
    }

    /// The answer of a global store.
    #[must_use]
    pub fn global_result(&self) -> Option<&QueryResult<R>> {
        self.global.as_ref()
    }

    pub(crate) fn take_global_result(&mut self) -> Option<QueryResult<R>> {
        self.global.take()
    }

    /// The greatest offsets of all answers.
    #[must_use]
    pub fn position(&self) -> Position {
        let results = self.global.iter().chain(self.partitions.values());
        results.filter_map(QueryResult::position).fold(Position::empty(), Position::merge)
    }
}

impl<R: Answer> StateQueryResult<R> {
    /// The one answer that is more than a null: of a key, which can be in one partition only.
    ///
    /// # Errors
    /// [`Error::IllegalArgument`] if several partitions have one.
    pub fn only_partition_result(&self) -> Result<Option<&QueryResult<R>>> {
        let mut found = self.partitions.values().filter(|result| result.outcome.as_ref().is_ok_and(Answer::is_present));
        let first = found.next();
        let more = found.count();
        if more > 0 {
            let count = more + 1;
            let message = format!("the query did not return exactly one partition result, but {count}");
            return Err(Box::new(Error::IllegalArgument(message)));
        }
        Ok(first)
    }
}
