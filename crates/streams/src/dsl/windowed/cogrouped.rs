//! Several grouped streams aggregated into one windowed table.

use std::{fmt, rc::Rc, sync::Arc};

use super::{
    super::{
        KTable, TableOptions, UserError,
        cogrouped::{AGGREGATE, CogroupedKStream, Initializer},
        materialized::{Materialized, MaterializedStore, SessionStores, StoreFamily, WindowStores},
        options::named_table,
        sure, user,
        windows::{EmitStrategy, SessionWindows},
    },
    session_stream::{self, Merger},
    stream::{self, TimeKind, TimeWindowsOf},
    table::{Aggregated, WindowedTable},
};
use crate::{
    data::{Data, DefaultSerde},
    windowed::{Windowed, WindowedKey},
};

/// Streams that are grouped by the same key, about to be aggregated by windows of time: see
/// [`TimeWindowedKStream`](super::TimeWindowedKStream).
pub struct TimeWindowedCogroupedKStream<K, A> {
    cogrouped: CogroupedKStream<K, A>,
    kind: TimeKind,
}

/// Streams that are grouped by the same key, about to be aggregated by sessions: see
/// [`SessionWindowedKStream`](super::SessionWindowedKStream).
pub struct SessionWindowedCogroupedKStream<K, A> {
    cogrouped: CogroupedKStream<K, A>,
    windows: SessionWindows,
}

impl<K, A> Clone for TimeWindowedCogroupedKStream<K, A> {
    fn clone(&self) -> Self {
        TimeWindowedCogroupedKStream { cogrouped: self.cogrouped.clone(), kind: self.kind }
    }
}

impl<K, A> Clone for SessionWindowedCogroupedKStream<K, A> {
    fn clone(&self) -> Self {
        SessionWindowedCogroupedKStream { cogrouped: self.cogrouped.clone(), windows: self.windows }
    }
}

impl<K, A> fmt::Debug for TimeWindowedCogroupedKStream<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeWindowedCogroupedKStream").field("windows", &self.kind).finish_non_exhaustive()
    }
}

impl<K, A> fmt::Debug for SessionWindowedCogroupedKStream<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionWindowedCogroupedKStream").field("windows", &self.windows).finish_non_exhaustive()
    }
}

impl<K: Data, A: Data> CogroupedKStream<K, A> {
    /// Groups by windows of time as well.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use vltava_streams::{StreamsBuilder, TimeWindows, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// let sales = builder.stream::<String, i64>("sales").group_by_key();
    /// let returns = builder.stream::<String, i64>("returns").group_by_key();
    /// sales
    ///     .cogroup(|_, amount, sum: i64| sum + amount)
    ///     .cogroup(&returns, |_, amount, sum| sum - amount)
    ///     .windowed_by(TimeWindows::of_size_with_no_grace(Duration::from_secs(60)))
    ///     .aggregate(|| 0)
    ///     .to_stream()
    ///     .map(|shop, sum| (shop.key, sum))
    ///     .to("per-minute");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// driver.input_topic::<String, i64>("sales").pipe_at("north".to_owned(), 10, 0)?;
    /// driver.input_topic::<String, i64>("returns").pipe_at("north".to_owned(), 4, 59_999)?;
    /// driver.input_topic::<String, i64>("sales").pipe_at("north".to_owned(), 7, 60_000)?;
    /// let sums = driver.output_topic::<String, i64>("per-minute");
    /// assert_eq!(sums.read_values()?, [10, 6, 7]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn windowed_by(&self, windows: impl TimeWindowsOf) -> TimeWindowedCogroupedKStream<K, A> {
        let kind = windows.kind();
        if let Err(error) = kind.check() {
            self.graph.borrow_mut().fail(error);
        }
        TimeWindowedCogroupedKStream { cogrouped: self.clone(), kind }
    }

    /// Groups by sessions as well.
    pub fn windowed_by_sessions(&self, windows: SessionWindows) -> SessionWindowedCogroupedKStream<K, A> {
        SessionWindowedCogroupedKStream { cogrouped: self.clone(), windows }
    }

    fn windowed_store<S: StoreFamily>(
        &self,
        materialized: Option<Materialized<K, A, S>>,
    ) -> MaterializedStore<K, A, S> {
        MaterializedStore::new(&mut self.graph.borrow_mut(), &materialized.unwrap_or_default(), AGGREGATE)
            .or_serdes(self.key_serde.clone(), None)
    }
}

impl<K: Data, A: Data> TimeWindowedCogroupedKStream<K, A> {
    /// Aggregates all streams into one table, whose rows begin as `initializer` makes them.
    pub fn aggregate(&self, initializer: impl Fn() -> A + Send + Sync + 'static) -> KTable<Windowed<K>, A>
    where
        K: DefaultSerde,
        A: DefaultSerde,
    {
        self.aggregate_with((), initializer)
    }

    /// [`aggregate`](Self::aggregate) with a name, or into a store of this make.
    pub fn aggregate_with(
        &self,
        options: impl TableOptions<K, A, WindowStores>,
        initializer: impl Fn() -> A + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A> {
        self.try_aggregate(options, move || sure(initializer()))
    }

    /// [`aggregate_with`](Self::aggregate_with) with a function that may fail.
    pub fn try_aggregate<E: Into<UserError>>(
        &self,
        options: impl TableOptions<K, A, WindowStores>,
        initializer: impl Fn() -> Result<A, E> + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A> {
        self.aggregate_as(options, move || initializer().map(Some))
    }

    /// [`try_aggregate`](Self::try_aggregate) with a function that may give what is null in Java, and with keys of another
    /// type.
    #[doc(hidden)]
    pub fn aggregate_as<W: WindowedKey<Key = K>, E: Into<UserError>>(
        &self,
        options: impl TableOptions<K, A, WindowStores>,
        initializer: impl Fn() -> Result<Option<A>, E> + Send + Sync + 'static,
    ) -> KTable<W, A> {
        let (name, materialized) = named_table(options);
        let initializer: Initializer<A> = Arc::new(move || initializer().map_err(user));
        let store = self.cogrouped.windowed_store(materialized);
        let (kind, graph) = (self.kind, &self.cogrouped.graph);
        let needs = kind.needs(EmitStrategy::OnWindowUpdate);
        let table = WindowedTable::new(&mut graph.borrow_mut(), store.clone(), needs);
        let (name, node) = self.cogrouped.build(
            name.as_deref(),
            (&store.store, store.queryable, Some(kind.grace())),
            |input, name| input.write_windowed(name, &table, kind, initializer.clone()),
            |key: Windowed<K>| W::in_window(key.key, key.window),
        );
        let key_serde = stream::windowed_serde::<W>(store.key_serde.as_ref(), kind.size());
        KTable::new(graph, node, &name, Rc::new([name.clone()].into()), Arc::new(Aggregated(table)))
            .with_serdes(key_serde, store.value_serde)
            .with_queryable(store.queryable.then_some(store.store))
    }
}

impl<K: Data, A: Data> SessionWindowedCogroupedKStream<K, A> {
    /// Aggregates all streams into one table, whose rows begin as `initializer` makes them; `merger` makes one of two
    /// when sessions merge.
    pub fn aggregate(
        &self,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        merger: impl Fn(&K, A, A) -> A + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A>
    where
        K: DefaultSerde,
        A: DefaultSerde,
    {
        self.aggregate_with((), initializer, merger)
    }

    /// [`aggregate`](Self::aggregate) with a name, or into a store of this make.
    pub fn aggregate_with(
        &self,
        options: impl TableOptions<K, A, SessionStores>,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        merger: impl Fn(&K, A, A) -> A + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A> {
        self.try_aggregate(options, move || sure(initializer()), move |k, one, two| sure(merger(k, one, two)))
    }

    /// [`aggregate_with`](Self::aggregate_with) with functions that may fail.
    pub fn try_aggregate<E: Into<UserError>, F: Into<UserError>>(
        &self,
        options: impl TableOptions<K, A, SessionStores>,
        initializer: impl Fn() -> Result<A, E> + Send + Sync + 'static,
        merger: impl Fn(&K, A, A) -> Result<A, F> + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A> {
        self.aggregate_as(
            options,
            move || initializer().map(Some),
            move |k, one, two| match (one, two) {
                (Some(one), Some(two)) => merger(k, one, two).map(Some),
                (one, two) => Ok(one.or(two)),
            },
        )
    }

    /// [`try_aggregate`](Self::try_aggregate) with functions that see and give what is null in Java, and with keys of
    /// another type.
    #[doc(hidden)]
    pub fn aggregate_as<W: WindowedKey<Key = K>, E: Into<UserError>, F: Into<UserError>>(
        &self,
        options: impl TableOptions<K, A, SessionStores>,
        initializer: impl Fn() -> Result<Option<A>, E> + Send + Sync + 'static,
        merger: impl Fn(&K, Option<A>, Option<A>) -> Result<Option<A>, F> + Send + Sync + 'static,
    ) -> KTable<W, A> {
        let (name, materialized) = named_table(options);
        let initializer: Initializer<A> = Arc::new(move || initializer().map_err(user));
        let merger: Merger<K, A> = Arc::new(move |key, one, two| merger(key, one, two).map_err(user));
        let store = self.cogrouped.windowed_store(materialized);
        let (windows, graph) = (self.windows, &self.cogrouped.graph);
        let needs = session_stream::needs(windows, EmitStrategy::OnWindowUpdate);
        let table = WindowedTable::new(&mut graph.borrow_mut(), store.clone(), needs);
        let (name, node) = self.cogrouped.build(
            name.as_deref(),
            (&store.store, store.queryable, Some(windows.grace.saturating_add(windows.gap))),
            |input, name| input.write_sessions(name, &table, windows, initializer.clone(), merger.clone()),
            |key: Windowed<K>| W::in_window(key.key, key.window),
        );
        let key_serde = session_stream::session_serde::<W>(store.key_serde.as_ref());
        KTable::new(graph, node, &name, Rc::new([name.clone()].into()), Arc::new(Aggregated(table)))
            .with_serdes(key_serde, store.value_serde)
            .with_queryable(store.queryable.then_some(store.store))
    }
}
