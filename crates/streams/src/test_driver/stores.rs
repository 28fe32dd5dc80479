//! The stores of a driver to look into, as values: whether a store keeps timestamps or headers with them or not.

use std::marker::PhantomData;

use super::TopologyTestDriver;
use crate::{
    data::Flow,
    error::{Error, Result},
    query::{KeyQuery, Query, QueryFailure, RangeQuery, StateQueryRequest, WindowKeyQuery, WindowRangeQuery},
    windowed::Windowed,
};

/// A key-value store of a [`TopologyTestDriver`], to read: what `getKeyValueStore` gives in Java's driver.
#[derive(Clone, Debug)]
pub struct TestKeyValueStore<K, V> {
    driver: TopologyTestDriver,
    name: String,
    types: PhantomData<fn() -> (K, V)>,
}

/// A window store of a [`TopologyTestDriver`], to read: what `getWindowStore` gives in Java's driver.
#[derive(Clone, Debug)]
pub struct TestWindowStore<K, V> {
    driver: TopologyTestDriver,
    name: String,
    types: PhantomData<fn() -> (K, V)>,
}

impl TopologyTestDriver {
    /// A key-value store by its name. A store that keeps timestamps or headers, as the DSL's do, gives its values.
    ///
    /// ```
    /// # use vltava_streams::{Materialized, StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, String>("in").group_by_key().count_with(Materialized::named("counts"));
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// driver.input_topic::<String, String>("in").pipe("k".to_owned(), "v".to_owned())?;
    /// let counts = driver.key_value_store::<String, i64>("counts");
    /// assert_eq!(counts.get("k".to_owned())?, Some(1));
    /// assert_eq!(counts.all()?, [("k".to_owned(), 1)]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    #[must_use]
    pub fn key_value_store<K: Flow + Sync, V: Flow>(&self, name: &str) -> TestKeyValueStore<K, V> {
        TestKeyValueStore { driver: self.clone(), name: name.to_owned(), types: PhantomData }
    }

    /// A window store by its name. A store that keeps timestamps or headers, as the DSL's do, gives its values.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use vltava_streams::{Materialized, StreamsBuilder, TimeWindows, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// let minutes = TimeWindows::of_size_with_no_grace(Duration::from_secs(60));
    /// let clicks = builder.stream::<String, String>("clicks").group_by_key();
    /// clicks.windowed_by(minutes).count_with(Materialized::named("per-minute"));
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// driver.input_topic::<String, String>("clicks").pipe_at("ada".to_owned(), "/".to_owned(), 61_000)?;
    /// let per_minute = driver.window_store::<String, i64>("per-minute");
    /// assert_eq!(per_minute.fetch("ada".to_owned(), 60_000)?, Some(1));
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    #[must_use]
    pub fn window_store<K: Flow + Sync, V: Flow>(&self, name: &str) -> TestWindowStore<K, V> {
        TestWindowStore { driver: self.clone(), name: name.to_owned(), types: PhantomData }
    }

    fn ask<Q: Query>(&self, store: &str, query: Q) -> Result<Q::Result> {
        let mut answers = self.query(&StateQueryRequest::in_store(store).with_query(query))?;
        let answer = match answers.take_global_result() {
            Some(global) => Some(global),
            None => answers.into_partition_results().into_values().next(),
        };
        let answer = answer.ok_or_else(|| Error::internal("the driver's only partition did not answer"))?;
        let failed = |failure: QueryFailure| Box::new(Error::InvalidStateStore(failure.to_string()));
        answer.into_result().map_err(failed)
    }
}

/// # Errors
/// All methods: [`Error::UnknownStateStore`] if there is no such store, [`Error::InvalidStateStore`] if it is of another
/// kind or other types; those of serdes and engines.
impl<K: Flow + Sync, V: Flow> TestKeyValueStore<K, V> {
    /// The value of a key.
    ///
    /// # Errors
    /// See the type. So for all methods.
    pub fn get(&self, key: K) -> Result<Option<V>> {
        self.driver.ask(&self.name, KeyQuery::<K, V>::with_key(key))
    }

    /// The rows between two keys, both included, in the order of their keys' bytes; `None` leaves a side open.
    ///
    /// # Errors
    /// See the type.
    pub fn range(&self, from: Option<K>, to: Option<K>) -> Result<Vec<(K, V)>> {
        self.driver.ask(&self.name, RangeQuery::<K, V>::with_range(from, to))
    }

    /// All rows in the order of their keys' bytes.
    ///
    /// # Errors
    /// See the type.
    pub fn all(&self) -> Result<Vec<(K, V)>> {
        self.range(None, None)
    }
}

/// # Errors
/// As those of [`TestKeyValueStore`].
impl<K: Flow + Sync, V: Flow> TestWindowStore<K, V> {
    /// The value of a key in the window that begins at `start`, in ms since the epoch.
    ///
    /// # Errors
    /// See the type. So for all methods.
    pub fn fetch(&self, key: K, start: i64) -> Result<Option<V>> {
        Ok(self.fetch_range(key, start, start)?.pop().map(|(_, value)| value))
    }

    /// The values of a key in the windows that begin between two times, both included, with their starts.
    ///
    /// # Errors
    /// See the type.
    pub fn fetch_range(&self, key: K, from: i64, to: i64) -> Result<Vec<(i64, V)>> {
        self.driver.ask(&self.name, WindowKeyQuery::<K, V>::with_key_and_window_start_range(key, from, to))
    }

    /// The rows of all windows.
    ///
    /// # Errors
    /// See the type.
    pub fn all(&self) -> Result<Vec<(Windowed<K>, V)>> {
        self.driver.ask(&self.name, WindowRangeQuery::<K, V>::with_window_start_range(0, i64::MAX))
    }
}
