//! Queries of key-value stores.

use std::marker::PhantomData;

use super::{QueriedStore, Query, QueryFailure, ResultOrder, queried::values};
use crate::{data::Flow, record::ValueAndTimestamp};

/// The value of one key (KIP-796); of a timestamped store without its timestamp.
#[derive(Clone, Debug)]
pub struct KeyQuery<K, V> {
    key: K,
    skip_cache: bool,
    value: PhantomData<fn() -> V>,
}

impl<K, V> KeyQuery<K, V> {
    /// Asks for a key.
    pub fn with_key(key: K) -> Self {
        KeyQuery { key, skip_cache: false, value: PhantomData }
    }

    /// Leaves the record cache out: the answer is as of the last commit.
    #[must_use]
    pub fn skip_cache(mut self) -> Self {
        self.skip_cache = true;
        self
    }

    /// The key.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// Whether the record cache is left out.
    pub fn is_skip_cache(&self) -> bool {
        self.skip_cache
    }
}

impl<K: Flow + Sync, V: Flow> Query for KeyQuery<K, V> {
    type Result = Option<V>;

    fn reads_cache(&self) -> bool {
        !self.skip_cache
    }

    fn run(&self, store: &mut QueriedStore<'_>) -> Result<Option<V>, QueryFailure> {
        match store.key_value::<K, V>() {
            Some(rows) => Ok(rows.get(&self.key, self.skip_cache)?),
            None => Err(store.unknown_query(std::any::type_name::<Self>())),
        }
    }
}

/// The value of one key with the timestamp of its last update (KIP-992). Only timestamped stores know it.
#[derive(Clone, Debug)]
pub struct TimestampedKeyQuery<K, V>(KeyQuery<K, ValueAndTimestamp<V>>);

impl<K, V> TimestampedKeyQuery<K, V> {
    /// Asks for a key.
    pub fn with_key(key: K) -> Self {
        TimestampedKeyQuery(KeyQuery::with_key(key))
    }

    /// Leaves the record cache out: the answer is as of the last commit.
    #[must_use]
    pub fn skip_cache(self) -> Self {
        TimestampedKeyQuery(self.0.skip_cache())
    }

    /// The key.
    pub fn key(&self) -> &K {
        &self.0.key
    }

    /// Whether the record cache is left out.
    pub fn is_skip_cache(&self) -> bool {
        self.0.skip_cache
    }
}

impl<K: Flow + Sync, V: Flow> Query for TimestampedKeyQuery<K, V> {
    type Result = Option<ValueAndTimestamp<V>>;

    fn reads_cache(&self) -> bool {
        self.0.reads_cache()
    }

    fn run(&self, store: &mut QueriedStore<'_>) -> Result<Self::Result, QueryFailure> {
        if let Some((rows, rt)) = store.with_headers::<K, V>() {
            let row = rows.look_up(rt, &self.0.key, self.0.skip_cache)?;
            return Ok(row.map(|row| ValueAndTimestamp::new(row.value, row.timestamp)));
        }
        self.0.run(store)
    }
}

/// The rows between two keys, both included (KIP-805, KIP-985); of a timestamped store without timestamps.
///
/// Unlike in Kafka, where they are as of the last commit, they include what is in the record cache.
#[derive(Clone, Debug)]
pub struct RangeQuery<K, V> {
    lower: Option<K>,
    upper: Option<K>,
    order: ResultOrder,
    value: PhantomData<fn() -> V>,
}

impl<K, V> RangeQuery<K, V> {
    fn between(lower: Option<K>, upper: Option<K>) -> Self {
        RangeQuery { lower, upper, order: ResultOrder::Any, value: PhantomData }
    }

    /// From one key to another; `None` leaves a side open.
    pub fn with_range(lower: Option<K>, upper: Option<K>) -> Self {
        Self::between(lower, upper)
    }

    /// Up to a key.
    pub fn with_upper_bound(upper: K) -> Self {
        Self::between(None, Some(upper))
    }

    /// From a key on.
    pub fn with_lower_bound(lower: K) -> Self {
        Self::between(Some(lower), None)
    }

    /// Everything.
    pub fn with_no_bounds() -> Self {
        Self::between(None, None)
    }

    /// The lowest key first.
    #[must_use]
    pub fn with_ascending_keys(mut self) -> Self {
        self.order = ResultOrder::Ascending;
        self
    }

    /// The highest key first.
    #[must_use]
    pub fn with_descending_keys(mut self) -> Self {
        self.order = ResultOrder::Descending;
        self
    }

    /// The lowest key.
    pub fn lower_bound(&self) -> Option<&K> {
        self.lower.as_ref()
    }

    /// The highest key.
    pub fn upper_bound(&self) -> Option<&K> {
        self.upper.as_ref()
    }

    /// The order of the rows.
    pub fn result_order(&self) -> ResultOrder {
        self.order
    }
}

impl<K: Flow + Sync, V: Flow> Query for RangeQuery<K, V> {
    type Result = Vec<(K, V)>;

    fn run(&self, store: &mut QueriedStore<'_>) -> Result<Self::Result, QueryFailure> {
        match store.key_value::<K, V>() {
            Some(rows) => Ok(rows.range(self.lower.as_ref(), self.upper.as_ref(), self.order.order())?),
            None => Err(store.unknown_query(std::any::type_name::<Self>())),
        }
    }
}

/// [`RangeQuery`] with the timestamps of the rows (KIP-992). Only timestamped stores know them.
#[derive(Clone, Debug)]
pub struct TimestampedRangeQuery<K, V>(RangeQuery<K, ValueAndTimestamp<V>>);

impl<K, V> TimestampedRangeQuery<K, V> {
    /// From one key to another; `None` leaves a side open.
    pub fn with_range(lower: Option<K>, upper: Option<K>) -> Self {
        TimestampedRangeQuery(RangeQuery::with_range(lower, upper))
    }

    /// Up to a key.
    pub fn with_upper_bound(upper: K) -> Self {
        TimestampedRangeQuery(RangeQuery::with_upper_bound(upper))
    }

    /// From a key on.
    pub fn with_lower_bound(lower: K) -> Self {
        TimestampedRangeQuery(RangeQuery::with_lower_bound(lower))
    }

    /// Everything.
    pub fn with_no_bounds() -> Self {
        TimestampedRangeQuery(RangeQuery::with_no_bounds())
    }

    /// The lowest key first.
    #[must_use]
    pub fn with_ascending_keys(self) -> Self {
        TimestampedRangeQuery(self.0.with_ascending_keys())
    }

    /// The highest key first.
    #[must_use]
    pub fn with_descending_keys(self) -> Self {
        TimestampedRangeQuery(self.0.with_descending_keys())
    }

    /// The lowest key.
    pub fn lower_bound(&self) -> Option<&K> {
        self.0.lower_bound()
    }

    /// The highest key.
    pub fn upper_bound(&self) -> Option<&K> {
        self.0.upper_bound()
    }

    /// The order of the rows.
    pub fn result_order(&self) -> ResultOrder {
        self.0.order
    }
}

impl<K: Flow + Sync, V: Flow> Query for TimestampedRangeQuery<K, V> {
    type Result = Vec<(K, ValueAndTimestamp<V>)>;

    fn run(&self, store: &mut QueriedStore<'_>) -> Result<Self::Result, QueryFailure> {
        if let Some((rows, _)) = store.with_headers::<K, V>() {
            let range = &self.0;
            let found = rows.range(range.lower.as_ref(), range.upper.as_ref(), range.order.order())?;
            return Ok(values(found, |row| ValueAndTimestamp::new(row.value, row.timestamp)));
        }
        self.0.run(store)
    }
}
