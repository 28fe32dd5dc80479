//! Queries of window and session stores. Times are in ms since the epoch, both ends included.

use std::marker::PhantomData;

use super::{QueriedStore, Query, QueryFailure};
use crate::{data::Flow, state::Order, windowed::Windowed};

/// The windows of one key that begin between two times, by their start (KIP-806).
///
/// Kafka's gives the rows of a timestamped store with their timestamps. Here `V` decides: with
/// [`ValueAndTimestamp<V>`](crate::ValueAndTimestamp) they come with them, with `V` without.
#[derive(Clone, Debug)]
pub struct WindowKeyQuery<K, V> {
    key: K,
    from: i64,
    to: i64,
    value: PhantomData<fn() -> V>,
}

impl<K, V> WindowKeyQuery<K, V> {
    /// Asks for a key.
    pub fn with_key_and_window_start_range(key: K, time_from: i64, time_to: i64) -> Self {
        WindowKeyQuery { key, from: time_from, to: time_to, value: PhantomData }
    }

    /// The key.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// The earliest start.
    pub fn time_from(&self) -> i64 {
        self.from
    }

    /// The latest start.
    pub fn time_to(&self) -> i64 {
        self.to
    }
}

impl<K: Flow + Sync, V: Flow> Query for WindowKeyQuery<K, V> {
    type Result = Vec<(i64, V)>;

    fn run(&self, store: &mut QueriedStore<'_>) -> Result<Self::Result, QueryFailure> {
        match store.window::<K, V>() {
            Some(rows) => Ok(rows.fetch_range(&self.key, self.from, self.to, Order::Forward)?),
            None => Err(store.unknown_query(std::any::type_name::<Self>())),
        }
    }
}

/// All windows of a window store that begin between two times, or all sessions of a key in a session store (KIP-806).
///
/// Of a timestamped window store `V` decides whether rows come with their timestamps, as in [`WindowKeyQuery`].
#[derive(Clone, Debug)]
pub struct WindowRangeQuery<K, V> {
    range: Range<K>,
    value: PhantomData<fn() -> V>,
}

#[derive(Clone, Debug)]
enum Range<K> {
    Key(K),
    Starts(i64, i64),
}

impl<K, V> WindowRangeQuery<K, V> {
    /// The sessions of a key; only session stores answer.
    pub fn with_key(key: K) -> Self {
        WindowRangeQuery { range: Range::Key(key), value: PhantomData }
    }

    /// The windows of all keys that begin between two times; only window stores answer.
    pub fn with_window_start_range(time_from: i64, time_to: i64) -> Self {
        WindowRangeQuery { range: Range::Starts(time_from, time_to), value: PhantomData }
    }

    /// The key, if sessions are asked for.
    pub fn key(&self) -> Option<&K> {
        match &self.range {
            Range::Key(key) => Some(key),
            Range::Starts(..) => None,
        }
    }

    /// The earliest and the latest start, if windows are asked for.
    pub fn window_start_range(&self) -> Option<(i64, i64)> {
        match &self.range {
            Range::Key(_) => None,
            Range::Starts(from, to) => Some((*from, *to)),
        }
    }
}

impl<K: Flow + Sync, V: Flow> Query for WindowRangeQuery<K, V> {
    type Result = Vec<(Windowed<K>, V)>;

    fn run(&self, store: &mut QueriedStore<'_>) -> Result<Self::Result, QueryFailure> {
        match &self.range {
            Range::Key(key) => {
                if let Some((store, _)) = store.session::<K, V>() {
                    return Ok(store.find_sessions(Some(key), Some(key), 0, i64::MAX, Order::Forward)?);
                }
            }
            Range::Starts(from, to) => {
                if let Some(rows) = store.window::<K, V>() {
                    return Ok(rows.fetch_keys((None, None), *from, *to, Order::Forward)?);
                }
            }
        }
        Err(store.unknown_query(std::any::type_name::<Self>()))
    }
}
