//! Which store is asked, which of its partitions, and how fresh they must be.

use std::collections::BTreeSet;

use super::{IsolationLevel, Position, PositionBound, QueriedStore, Query, QueryFailure, QueryResult};

/// A query, and where it goes (KIP-796).
///
/// ```
/// use vltava_streams::query::{KeyQuery, StateQueryRequest};
///
/// let request = StateQueryRequest::in_store("counts")
///     .with_query(KeyQuery::<String, i64>::with_key("vltava".to_owned()))
///     .with_partitions([0, 3])
///     .require_active();
/// assert_eq!(request.store_name(), "counts");
/// ```
#[derive(Clone, Debug)]
pub struct StateQueryRequest<Q> {
    store: String,
    query: Q,
    partitions: Option<BTreeSet<i32>>,
    bound: PositionBound,
    execution_info: bool,
    require_active: bool,
    pub(crate) isolation_level: Option<IsolationLevel>,
}

impl StateQueryRequest<()> {
    /// Begins a request to a store.
    pub fn in_store(name: impl Into<String>) -> InStore {
        InStore(name.into())
    }
}

/// A store that is about to be asked.
#[derive(Clone, Debug)]
#[must_use]
pub struct InStore(String);

impl InStore {
    /// The question.
    pub fn with_query<Q: Query>(self, query: Q) -> StateQueryRequest<Q> {
        let InStore(store) = self;
        let bound = PositionBound::unbounded();
        StateQueryRequest {
            store,
            query,
            partitions: None,
            bound,
            execution_info: false,
            require_active: false,
            isolation_level: None,
        }
    }
}

impl<Q: Query> StateQueryRequest<Q> {
    /// Only stores that are this far may answer. Default: [`PositionBound::unbounded`].
    #[must_use]
    pub fn with_position_bound(mut self, bound: PositionBound) -> Self {
        self.bound = bound;
        self
    }

    /// All partitions on this instance. The default.
    #[must_use]
    pub fn with_all_partitions(mut self) -> Self {
        self.partitions = None;
        self
    }

    /// These partitions; one that is not here answers with
    /// [`FailureReason::NotPresent`](super::FailureReason::NotPresent).
    #[must_use]
    pub fn with_partitions(mut self, partitions: impl IntoIterator<Item = i32>) -> Self {
        self.partitions = Some(partitions.into_iter().collect());
        self
    }

    /// Tells with every answer how it came about.
    #[must_use]
    pub fn enable_execution_info(mut self) -> Self {
        self.execution_info = true;
        self
    }

    /// Only running tasks may answer, not those that are being restored; they are as far as can be, so there is no
    /// bound then.
    #[must_use]
    pub fn require_active(mut self) -> Self {
        self.require_active = true;
        self
    }

    /// Whether the answer is as of the last commit, or has what was written since, too (KIP-892). Default: as of the last
    /// commit under exactly-once. At least once there is no committed state to be read, and this has no effect; nor has it
    /// on a store of the application's own that cannot forget what is not committed.
    #[must_use]
    pub fn with_isolation_level(mut self, level: IsolationLevel) -> Self {
        self.isolation_level = Some(level);
        self
    }

    /// The store's name.
    #[must_use]
    pub fn store_name(&self) -> &str {
        &self.store
    }

    /// The question.
    #[must_use]
    pub fn query(&self) -> &Q {
        &self.query
    }

    /// The partitions that are asked; `None` for all.
    #[must_use]
    pub fn partitions(&self) -> Option<&BTreeSet<i32>> {
        self.partitions.as_ref()
    }

    /// How far a store must be.
    #[must_use]
    pub fn position_bound(&self) -> &PositionBound {
        &self.bound
    }

    /// Whether only running tasks may answer.
    #[must_use]
    pub fn is_require_active(&self) -> bool {
        self.require_active
    }

    /// Whether answers tell how they came about.
    #[must_use]
    pub fn execution_info_enabled(&self) -> bool {
        self.execution_info
    }

    pub(crate) fn asks(&self, partition: i32) -> bool {
        self.partitions.as_ref().is_none_or(|partitions| partitions.contains(&partition))
    }

    /// Asks a store that is at `position`.
    pub(crate) fn run(&self, store: &mut QueriedStore<'_>, position: Position) -> QueryResult<Q::Result> {
        let partition = store.partition();
        let outcome = if self.require_active || self.bound.permits(&position, partition) {
            self.query.run(store)
        } else {
            Err(QueryFailure::not_up_to_bound(&position, &self.bound, partition))
        };
        QueryResult::new(outcome, Some(position))
    }
}
