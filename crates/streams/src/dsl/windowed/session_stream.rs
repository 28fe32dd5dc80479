//! Streams grouped by key and session: `count`, `reduce` and `aggregate`.

use std::{fmt, rc::Rc, sync::Arc};

use super::{
    super::{
        KTable, TableOptions, UserError,
        grouped::KGroupedStream,
        kstream,
        materialized::{MaterializedStore, SessionStores},
        options::named_table,
        sure, user,
        windows::{EmitStrategy, SessionWindows},
    },
    functions::{Fold, Functions},
    output::Output,
    session::SessionNode,
    stream::AGGREGATE,
    table::{Aggregated, Needs, WindowedStore, WindowedTable},
};
use crate::{
    builder::{GraphNode, Write},
    data::{Data, DefaultSerde, ErasedSerde, Nullable},
    error::Result,
    record::Change,
    serdes::{Serde, SerdeRef, SessionWindowedSerde, serde_of},
    topology::Instantiation,
    windowed::{Windowed, WindowedKey},
};

/// A stream about to be aggregated by key and session.
///
/// A record opens a session, or joins those of its key that are within the inactivity gap: they become one, their old
/// rows are deleted, and their aggregates merged. A session has closed when the stream's time is past its end, the gap
/// and the grace; records for closed sessions, and those with a null key, are dropped and counted. The result is a table
/// whose keys are [`Windowed`], kept in a session store with a changelog topic. If the key has changed since the source
/// the records go through a repartition topic first.
pub struct SessionWindowedKStream<K, V> {
    grouped: KGroupedStream<K, V>,
    windows: SessionWindows,
    emit: EmitStrategy,
}

impl<K, V> Clone for SessionWindowedKStream<K, V> {
    fn clone(&self) -> Self {
        SessionWindowedKStream { grouped: self.grouped.clone(), windows: self.windows, emit: self.emit }
    }
}

impl<K, V> fmt::Debug for SessionWindowedKStream<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionWindowedKStream").field("windows", &self.windows).finish_non_exhaustive()
    }
}

impl<K: Nullable, V: Nullable> KGroupedStream<K, V> {
    /// Groups by sessions as well.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use vltava_streams::{SessionWindows, StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("clicks")
    ///     .group_by_key()
    ///     .windowed_by_sessions(SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_secs(60)))
    ///     .count()
    ///     .to_stream()
    ///     .filter(|_, clicks: &Option<i64>| clicks.is_some())
    ///     .map(|visit, clicks| (format!("{} {}-{}", visit.key, visit.window.start(), visit.window.end()), clicks))
    ///     .to("clicks-per-visit");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let clicks = driver.input_topic::<String, String>("clicks");
    /// for second in [0, 30, 300] {
    ///     clicks.pipe_at("ada".to_owned(), "/".to_owned(), second * 1000)?;
    /// }
    /// let counts = driver.output_topic::<String, i64>("clicks-per-visit");
    /// let expected = [("ada 0-0", 1), ("ada 0-30000", 2), ("ada 300000-300000", 1)].map(|(key, n)| (key.to_owned(), n));
    /// assert_eq!(counts.read_key_values()?, expected);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn windowed_by_sessions(&self, windows: SessionWindows) -> SessionWindowedKStream<K, V> {
        SessionWindowedKStream { grouped: self.clone(), windows, emit: EmitStrategy::OnWindowUpdate }
    }
}

impl<K: Nullable, V: Nullable> SessionWindowedKStream<K, V> {
    /// When results are sent on. Default: with every update.
    #[must_use]
    pub fn emit_strategy(self, emit: EmitStrategy) -> Self {
        SessionWindowedKStream { emit, ..self }
    }

    /// Counts the records of every key and session, null values too.
    pub fn count(&self) -> KTable<Windowed<K::Some>, i64>
    where
        K: Nullable<Some: DefaultSerde>,
    {
        self.count_with(())
    }

    /// [`count`](Self::count) with a name, or into a store of this make.
    pub fn count_with(
        &self,
        options: impl TableOptions<K::Some, i64, SessionStores>,
    ) -> KTable<Windowed<K::Some>, i64> {
        self.count_as(options, serde_of::<i64>(), || 0, |count| count + 1, |one, two| one + two)
    }

    /// A count in numbers, and with keys, of other types.
    #[doc(hidden)]
    pub fn count_as<W: WindowedKey<Key = K::Some>, A: Data>(
        &self,
        options: impl TableOptions<K::Some, A, SessionStores>,
        numbers: impl Serde<A>,
        zero: impl Fn() -> A + Send + Sync + 'static,
        next: impl Fn(A) -> A + Send + Sync + 'static,
        add: impl Fn(A, A) -> A + Send + Sync + 'static,
    ) -> KTable<W, A> {
        let (name, store) = self.grouped.store_of_count(options, numbers);
        self.build(
            AGGREGATE,
            name,
            store,
            (move || Ok(Some(zero())), move |_: &K::Some, _: V, count: Option<A>| Ok(count.map(&next))),
            move |_, one, two| Ok(one.zip(two).map(|(one, two)| add(one, two))),
        )
    }

    /// Combines the values of every key and session, two at a time; the first value stands for itself.
    pub fn reduce(
        &self,
        reducer: impl Fn(V::Some, V::Some) -> V::Some + Send + Sync + 'static,
    ) -> KTable<Windowed<K::Some>, V::Some>
    where
        K: Nullable<Some: DefaultSerde>,
        V: Nullable<Some: DefaultSerde>,
    {
        self.reduce_with((), reducer)
    }

    /// [`reduce`](Self::reduce) with a name, or into a store of this make. The function may delete the row by `None`.
    pub fn reduce_with<R: Into<Option<V::Some>>>(
        &self,
        options: impl TableOptions<K::Some, V::Some, SessionStores>,
        reducer: impl Fn(V::Some, V::Some) -> R + Send + Sync + 'static,
    ) -> KTable<Windowed<K::Some>, V::Some> {
        self.try_reduce(options, move |sum, v| sure(reducer(sum, v)))
    }

    /// [`reduce_with`](Self::reduce_with) with a function that may fail; its error goes to the processing exception handler.
    pub fn try_reduce<R: Into<Option<V::Some>>, E: Into<UserError>>(
        &self,
        options: impl TableOptions<K::Some, V::Some, SessionStores>,
        reducer: impl Fn(V::Some, V::Some) -> Result<R, E> + Send + Sync + 'static,
    ) -> KTable<Windowed<K::Some>, V::Some> {
        self.reduce_as(options, move |sum, value: Option<V::Some>| {
            value.map_or(Ok(None), |value| reducer(sum, value).map(Into::into))
        })
    }

    /// [`try_reduce`](Self::try_reduce) with a function that sees null values, and with keys of another type.
    #[doc(hidden)]
    pub fn reduce_as<W: WindowedKey<Key = K::Some>, E: Into<UserError>>(
        &self,
        options: impl TableOptions<K::Some, V::Some, SessionStores>,
        reducer: impl Fn(V::Some, Option<V::Some>) -> Result<Option<V::Some>, E> + Send + Sync + 'static,
    ) -> KTable<W, V::Some> {
        const REDUCE: &str = "KSTREAM-REDUCE-";
        let (name, materialized) = named_table(options);
        let store = self.grouped.store(materialized, REDUCE, self.grouped.value_serde());
        let reduce = Arc::new(move |sum: Option<V::Some>, value: Option<V::Some>| match sum {
            None => Ok(value),
            Some(sum) => reducer(sum, value).map_err(user),
        });
        let fold = reduce.clone();
        self.build(
            REDUCE,
            name,
            store,
            (|| Ok(None), move |_: &K::Some, value: V, sum| fold(sum, value.into_some())),
            move |_, one, two| reduce(one, two),
        )
    }

    /// Folds the values of every key and session into an aggregate, which begins as `initializer` makes it; `merger`
    /// makes one of two when sessions merge.
    pub fn aggregate<A: DefaultSerde, R: Into<Option<A>>>(
        &self,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K::Some, V, A) -> R + Send + Sync + 'static,
        merger: impl Fn(&K::Some, A, A) -> A + Send + Sync + 'static,
    ) -> KTable<Windowed<K::Some>, A>
    where
        K: Nullable<Some: DefaultSerde>,
    {
        self.aggregate_with((), initializer, aggregator, merger)
    }

    /// [`aggregate`](Self::aggregate) with a name, or into a store of this make.
    pub fn aggregate_with<A: Data, R: Into<Option<A>>>(
        &self,
        options: impl TableOptions<K::Some, A, SessionStores>,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K::Some, V, A) -> R + Send + Sync + 'static,
        merger: impl Fn(&K::Some, A, A) -> A + Send + Sync + 'static,
    ) -> KTable<Windowed<K::Some>, A> {
        self.try_aggregate(
            options,
            move || sure(initializer()),
            move |k, v, sum| sure(aggregator(k, v, sum)),
            move |k, one, two| sure(merger(k, one, two)),
        )
    }

    /// [`aggregate_with`](Self::aggregate_with) with functions that may fail; their errors go to the processing exception
    /// handler.
    pub fn try_aggregate<A, R, E, F, G>(
        &self,
        options: impl TableOptions<K::Some, A, SessionStores>,
        initializer: impl Fn() -> Result<A, E> + Send + Sync + 'static,
        aggregator: impl Fn(&K::Some, V, A) -> Result<R, F> + Send + Sync + 'static,
        merger: impl Fn(&K::Some, A, A) -> Result<A, G> + Send + Sync + 'static,
    ) -> KTable<Windowed<K::Some>, A>
    where
        A: Data,
        R: Into<Option<A>>,
        E: Into<UserError>,
        F: Into<UserError>,
        G: Into<UserError>,
    {
        self.aggregate_as(
            options,
            move || initializer().map(Some),
            move |k, v, sum: Option<A>| sum.map_or(Ok(None), |sum| aggregator(k, v, sum).map(Into::into)),
            move |k, one, two| match (one, two) {
                (Some(one), Some(two)) => merger(k, one, two).map(Some),
                (one, two) => Ok(one.or(two)),
            },
        )
    }

    /// [`try_aggregate`](Self::try_aggregate) with functions that see and give what is null in Java, and with keys of
    /// another type.
    #[doc(hidden)]
    pub fn aggregate_as<W, A, E, F, G>(
        &self,
        options: impl TableOptions<K::Some, A, SessionStores>,
        initializer: impl Fn() -> Result<Option<A>, E> + Send + Sync + 'static,
        aggregator: impl Fn(&K::Some, V, Option<A>) -> Result<Option<A>, F> + Send + Sync + 'static,
        merger: impl Fn(&K::Some, Option<A>, Option<A>) -> Result<Option<A>, G> + Send + Sync + 'static,
    ) -> KTable<W, A>
    where
        W: WindowedKey<Key = K::Some>,
        A: Data,
        E: Into<UserError>,
        F: Into<UserError>,
        G: Into<UserError>,
    {
        let (name, materialized) = named_table(options);
        let store = self.grouped.store(materialized, AGGREGATE, None);
        self.build(
            AGGREGATE,
            name,
            store,
            (
                move || initializer().map_err(user),
                move |key: &K::Some, value: V, sum| aggregator(key, value, sum).map_err(user),
            ),
            move |key, one, two| merger(key, one, two).map_err(user),
        )
    }

    fn build<W, A, I, F, M>(
        &self,
        prefix: &str,
        name: Option<String>,
        store: MaterializedStore<K::Some, A, SessionStores>,
        fold: (I, F),
        merger: M,
    ) -> KTable<W, A>
    where
        W: WindowedKey<Key = K::Some>,
        A: Data,
        I: Fn() -> Result<Option<A>> + Send + Sync + 'static,
        F: Fn(&K::Some, V, Option<A>) -> Result<Option<A>> + Send + Sync + 'static,
        M: Fn(&K::Some, Option<A>, Option<A>) -> Result<Option<A>> + Send + Sync + 'static,
    {
        let shared = &self.grouped.stream.graph;
        let name = shared.borrow_mut().name_or(name.as_deref(), prefix);
        let input = self.grouped.attach(&store.store, store.queryable);
        let mut graph = shared.borrow_mut();
        let table = WindowedTable::new(&mut graph, store.clone(), needs(self.windows, self.emit));
        let write = write::<K, V, W, A, _>(&name, &table, self.windows, Fold(Arc::new(fold)), Arc::new(merger));
        let grace = Some(self.windows.grace.saturating_add(self.windows.gap));
        let node = GraphNode { grace, output_versioned: Some(false), ..GraphNode::new(name.clone(), write) };
        let node = graph.add(&[input.node], node);
        drop(graph);
        let queryable = store.queryable.then(|| store.store.clone());
        KTable::new(shared, node, &name, input.sources.clone(), Arc::new(Aggregated(table)))
            .with_serdes(session_serde::<W>(store.key_serde.as_ref()), store.value_serde)
            .with_queryable(queryable)
    }
}

pub(super) fn needs(windows: SessionWindows, emit: EmitStrategy) -> Needs {
    let SessionWindows { gap, grace } = windows;
    Needs {
        window_size: 0,
        retention: gap.saturating_add(grace),
        emit,
        caches_closed: false,
        because: format!("the session inactivity gap plus the grace period: gap=[{gap}], grace=[{grace}]"),
    }
}

/// The serde of windowed keys in topics, where that of the keys themselves is known.
pub(super) fn session_serde<W: WindowedKey>(inner: Option<&ErasedSerde>) -> Option<ErasedSerde> {
    let inner = inner.and_then(ErasedSerde::get::<W::Key>).or_else(W::Key::default_serde)?;
    let serde: SerdeRef<W> = Arc::new(SessionWindowedSerde::of(inner));
    Some(ErasedSerde::new(serde))
}

/// What makes one aggregate of two, shared by all tasks.
pub(crate) type Merger<K, A> = Arc<dyn Fn(&K, Option<A>, Option<A>) -> Result<Option<A>> + Send + Sync>;

/// Writes the node that aggregates into `table`.
pub(crate) fn write<K, V, W, A, F>(
    name: &str,
    table: &WindowedTable<K::Some, A, SessionStores>,
    windows: SessionWindows,
    functions: F,
    merger: Merger<K::Some, A>,
) -> Write
where
    K: Nullable,
    V: Nullable,
    W: WindowedKey<Key = K::Some>,
    A: Data,
    F: Functions<K::Some, V, A> + Clone + Sync + 'static,
{
    let of = table.clone();
    let make = Arc::new(move |making: &mut Instantiation<'_>| {
        let (store, id) = (of.store(), making.node_id());
        let out = Output::<W, A>::new(making, &of)?;
        let addressable = out.cached || out.emit.is_some();
        let merger = merger.clone();
        let merger = move |key: &K::Some, one, two| merger(key, one, two);
        let node = SessionNode { windows, functions: functions.clone(), merger, store, out, observed: -1, id };
        making.place::<K, V>(node, addressable);
        Ok(())
    });
    let (name, table) = (Arc::<str>::from(name), table.clone());
    Rc::new(move |node, topology| {
        let parents = node.parents.clone();
        topology.add_node(kstream::factory::<K, V, W, Change<A>>(&name, parents, make.clone()))?;
        topology.add_state_store(table.factory(), &[&name])
    })
}
