//! What an aggregation over windows does with their records.

use std::sync::Arc;

use crate::error::Result;

/// What folds the records of a window.
pub(crate) trait Functions<K, V, A>: Send {
    fn initialize(&self) -> Result<Option<A>>;
    fn aggregate(&self, key: &K, value: V, sum: Option<A>) -> Result<Option<A>>;
}

/// An initializer and an aggregator, shared by all tasks.
pub(crate) struct Fold<I, F>(pub(crate) Arc<(I, F)>);

impl<I, F> Clone for Fold<I, F> {
    fn clone(&self) -> Self {
        Fold(self.0.clone())
    }
}

impl<K, V, A, I, F> Functions<K, V, A> for Fold<I, F>
where
    I: Fn() -> Result<Option<A>> + Send + Sync,
    F: Fn(&K, V, Option<A>) -> Result<Option<A>> + Send + Sync,
{
    fn initialize(&self) -> Result<Option<A>> {
        self.0.0()
    }
    fn aggregate(&self, key: &K, value: V, sum: Option<A>) -> Result<Option<A>> {
        self.0.1(key, value, sum)
    }
}
