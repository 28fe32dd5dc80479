//! Streams grouped by key and window: `count`, `reduce` and `aggregate`.

use std::{fmt, rc::Rc, sync::Arc};

use super::{
    super::{
        KTable, TableOptions, UserError,
        grouped::KGroupedStream,
        kstream,
        materialized::{MaterializedStore, WindowStores},
        options::named_table,
        sure, user,
        windows::{EmitStrategy, SlidingWindows, TimeWindows, UnlimitedWindows},
    },
    functions::{Fold, Functions},
    output::Output,
    sliding::SlidingNode,
    table::{Aggregated, Needs, WindowedStore, WindowedTable},
    time::{FixedWindows, TimeNode},
};
use crate::{
    builder::{GraphNode, Write},
    data::{Data, DefaultSerde, ErasedSerde, Nullable},
    error::{Error, Result},
    record::Change,
    serdes::{Serde, SerdeRef, TimeWindowedSerde, serde_of},
    topology::Instantiation,
    windowed::{Windowed, WindowedKey},
};

/// Which windows: those that [`KGroupedStream::windowed_by`] takes.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub enum TimeKind {
    Time(TimeWindows),
    Sliding(SlidingWindows),
    Unlimited(UnlimitedWindows),
}

/// Windows of time: [`TimeWindows`], [`SlidingWindows`] or [`UnlimitedWindows`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` are not windows of time",
    note = "`windowed_by` takes `TimeWindows`, `SlidingWindows` or `UnlimitedWindows`; `SessionWindows` go to `windowed_by_sessions`, `JoinWindows` to `join_stream`"
)]
pub trait TimeWindowsOf {
    /// Which.
    #[doc(hidden)]
    fn kind(self) -> TimeKind;
}
impl TimeWindowsOf for TimeWindows {
    fn kind(self) -> TimeKind {
        TimeKind::Time(self)
    }
}
impl TimeWindowsOf for SlidingWindows {
    fn kind(self) -> TimeKind {
        TimeKind::Sliding(self)
    }
}
impl TimeWindowsOf for UnlimitedWindows {
    fn kind(self) -> TimeKind {
        TimeKind::Unlimited(self)
    }
}

impl TimeKind {
    pub(super) fn check(self) -> Result<()> {
        match self {
            TimeKind::Time(windows) => windows.check(),
            TimeKind::Sliding(_) => Ok(()),
            TimeKind::Unlimited(windows) => windows.check(),
        }
    }

    /// The size that windowed keys in topics have, in ms.
    pub(super) fn size(self) -> i64 {
        match self {
            TimeKind::Time(windows) => windows.size,
            TimeKind::Sliding(windows) => windows.difference,
            TimeKind::Unlimited(_) => i64::MAX,
        }
    }

    pub(super) fn grace(self) -> i64 {
        match self {
            TimeKind::Time(windows) => windows.grace,
            TimeKind::Sliding(windows) => windows.grace,
            TimeKind::Unlimited(_) => 0,
        }
    }

    pub(super) fn needs(self, emit: EmitStrategy) -> Needs {
        let (window_size, grace) = (self.size(), self.grace());
        match self {
            TimeKind::Sliding(_) => Needs {
                window_size,
                retention: window_size.saturating_mul(2).saturating_add(grace),
                emit,
                caches_closed: false,
                because: format!(
                    "2 * time difference plus the grace period: time difference=[{window_size}], grace=[{grace}]"
                ),
            },
            _ => Needs {
                window_size,
                retention: window_size.saturating_add(grace),
                emit,
                caches_closed: true,
                because: format!("its window size plus the grace period: size=[{window_size}], grace=[{grace}]"),
            },
        }
    }
}

/// A stream about to be aggregated by key and window of time.
///
/// Every record is put into the windows that its timestamp is in, as far as they have not closed: a window has closed
/// when the stream's time is past its end and the grace; records for closed windows, and those with a null key, are
/// dropped and counted. The result is a table whose keys are [`Windowed`]. It is kept in a window store, with a changelog
/// topic `APPLICATION-STORE-changelog`, for the windows' size and grace unless
/// [`Materialized::with_retention`](crate::dsl::Materialized::with_retention) says longer. If the key has changed since the
/// source the records go through a repartition topic first.
pub struct TimeWindowedKStream<K, V> {
    pub(super) grouped: KGroupedStream<K, V>,
    pub(super) kind: TimeKind,
    pub(super) emit: EmitStrategy,
}

impl<K, V> Clone for TimeWindowedKStream<K, V> {
    fn clone(&self) -> Self {
        TimeWindowedKStream { grouped: self.grouped.clone(), kind: self.kind, emit: self.emit }
    }
}

impl<K, V> fmt::Debug for TimeWindowedKStream<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeWindowedKStream")
            .field("windows", &self.kind)
            .field("emit", &self.emit)
            .finish_non_exhaustive()
    }
}

impl<K: Nullable, V: Nullable> KGroupedStream<K, V> {
    /// Groups by windows of time as well: [`TimeWindows`], [`SlidingWindows`] or [`UnlimitedWindows`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use vltava_streams::{StreamsBuilder, TimeWindows, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("clicks")
    ///     .group_by_key()
    ///     .windowed_by(TimeWindows::of_size_with_no_grace(Duration::from_secs(60)))
    ///     .count()
    ///     .to_stream()
    ///     .map(|user, clicks| (format!("{}@{}", user.key, user.window.start()), clicks))
    ///     .to("clicks-per-minute");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let clicks = driver.input_topic::<String, String>("clicks");
    /// for second in [0, 30, 65] {
    ///     clicks.pipe_at("ada".to_owned(), "/".to_owned(), second * 1000)?;
    /// }
    /// let counts = driver.output_topic::<String, i64>("clicks-per-minute");
    /// let expected = [("ada@0", 1), ("ada@0", 2), ("ada@60000", 1)].map(|(key, n)| (key.to_owned(), n));
    /// assert_eq!(counts.read_key_values()?, expected);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn windowed_by(&self, windows: impl TimeWindowsOf) -> TimeWindowedKStream<K, V> {
        let kind = windows.kind();
        if let Err(error) = kind.check() {
            self.stream.graph.borrow_mut().fail(error);
        }
        TimeWindowedKStream { grouped: self.clone(), kind, emit: EmitStrategy::OnWindowUpdate }
    }
}

impl<K: Nullable, V: Nullable> TimeWindowedKStream<K, V> {
    /// When results are sent on. Default: with every update. Unlimited windows never close.
    #[must_use]
    pub fn emit_strategy(self, emit: EmitStrategy) -> Self {
        if matches!((self.kind, emit), (TimeKind::Unlimited(_), EmitStrategy::OnWindowClose)) {
            let message = "ON_WINDOW_CLOSE emit strategy cannot be used for UnlimitedWindows".to_owned();
            self.grouped.stream.graph.borrow_mut().fail(Box::new(Error::IllegalArgument(message)));
        }
        TimeWindowedKStream { emit, ..self }
    }

    /// Counts the records of every key and window, null values too.
    pub fn count(&self) -> KTable<Windowed<K::Some>, i64>
    where
        K: Nullable<Some: DefaultSerde>,
    {
        self.count_with(())
    }

    /// [`count`](Self::count) with a name, or into a store of this make.
    pub fn count_with(&self, options: impl TableOptions<K::Some, i64, WindowStores>) -> KTable<Windowed<K::Some>, i64> {
        self.count_as(options, serde_of::<i64>(), || 0, |count| count + 1)
    }

    /// A count in numbers, and with keys, of other types.
    #[doc(hidden)]
    pub fn count_as<W: WindowedKey<Key = K::Some>, A: Data>(
        &self,
        options: impl TableOptions<K::Some, A, WindowStores>,
        numbers: impl Serde<A>,
        zero: impl Fn() -> A + Send + Sync + 'static,
        next: impl Fn(A) -> A + Send + Sync + 'static,
    ) -> KTable<W, A> {
        let (name, store) = self.grouped.store_of_count(options, numbers);
        self.build(AGGREGATE, name, store, move || Ok(Some(zero())), move |_, _, count: Option<A>| Ok(count.map(&next)))
    }

    /// Combines the values of every key and window, two at a time; the first value stands for itself.
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
        options: impl TableOptions<K::Some, V::Some, WindowStores>,
        reducer: impl Fn(V::Some, V::Some) -> R + Send + Sync + 'static,
    ) -> KTable<Windowed<K::Some>, V::Some> {
        self.try_reduce(options, move |sum, v| sure(reducer(sum, v)))
    }

    /// [`reduce_with`](Self::reduce_with) with a function that may fail; its error goes to the processing exception handler.
    pub fn try_reduce<R: Into<Option<V::Some>>, E: Into<UserError>>(
        &self,
        options: impl TableOptions<K::Some, V::Some, WindowStores>,
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
        options: impl TableOptions<K::Some, V::Some, WindowStores>,
        reducer: impl Fn(V::Some, Option<V::Some>) -> Result<Option<V::Some>, E> + Send + Sync + 'static,
    ) -> KTable<W, V::Some> {
        const REDUCE: &str = "KSTREAM-REDUCE-";
        let (name, materialized) = named_table(options);
        let store = self.grouped.store(materialized, REDUCE, self.grouped.value_serde());
        let fold = move |_: &K::Some, value: V, sum: Option<V::Some>| match sum {
            None => Ok(value.into_some()),
            Some(sum) => reducer(sum, value.into_some()).map_err(user),
        };
        self.build(REDUCE, name, store, || Ok(None), fold)
    }

    /// Folds the values of every key and window into an aggregate, which begins as `initializer` makes it.
    pub fn aggregate<A: DefaultSerde, R: Into<Option<A>>>(
        &self,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K::Some, V, A) -> R + Send + Sync + 'static,
    ) -> KTable<Windowed<K::Some>, A>
    where
        K: Nullable<Some: DefaultSerde>,
    {
        self.aggregate_with((), initializer, aggregator)
    }

    /// [`aggregate`](Self::aggregate) with a name, or into a store of this make.
    pub fn aggregate_with<A: Data, R: Into<Option<A>>>(
        &self,
        options: impl TableOptions<K::Some, A, WindowStores>,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K::Some, V, A) -> R + Send + Sync + 'static,
    ) -> KTable<Windowed<K::Some>, A> {
        self.try_aggregate(options, move || sure(initializer()), move |k, v, sum| sure(aggregator(k, v, sum)))
    }

    /// [`aggregate_with`](Self::aggregate_with) with functions that may fail; their errors go to the processing exception
    /// handler.
    pub fn try_aggregate<A, R, E, F>(
        &self,
        options: impl TableOptions<K::Some, A, WindowStores>,
        initializer: impl Fn() -> Result<A, E> + Send + Sync + 'static,
        aggregator: impl Fn(&K::Some, V, A) -> Result<R, F> + Send + Sync + 'static,
    ) -> KTable<Windowed<K::Some>, A>
    where
        A: Data,
        R: Into<Option<A>>,
        E: Into<UserError>,
        F: Into<UserError>,
    {
        self.aggregate_as(
            options,
            move || initializer().map(Some),
            move |k, v, sum: Option<A>| sum.map_or(Ok(None), |sum| aggregator(k, v, sum).map(Into::into)),
        )
    }

    /// [`try_aggregate`](Self::try_aggregate) with functions that see and give what is null in Java, and with keys of
    /// another type.
    #[doc(hidden)]
    pub fn aggregate_as<W: WindowedKey<Key = K::Some>, A: Data, E: Into<UserError>, F: Into<UserError>>(
        &self,
        options: impl TableOptions<K::Some, A, WindowStores>,
        initializer: impl Fn() -> Result<Option<A>, E> + Send + Sync + 'static,
        aggregator: impl Fn(&K::Some, V, Option<A>) -> Result<Option<A>, F> + Send + Sync + 'static,
    ) -> KTable<W, A> {
        let (name, materialized) = named_table(options);
        let store = self.grouped.store(materialized, AGGREGATE, None);
        let initializer = move || initializer().map_err(user);
        self.build(AGGREGATE, name, store, initializer, move |key, value, sum| {
            aggregator(key, value, sum).map_err(user)
        })
    }

    fn build<W: WindowedKey<Key = K::Some>, A: Data>(
        &self,
        prefix: &str,
        name: Option<String>,
        store: MaterializedStore<K::Some, A, WindowStores>,
        initializer: impl Fn() -> Result<Option<A>> + Send + Sync + 'static,
        aggregator: impl Fn(&K::Some, V, Option<A>) -> Result<Option<A>> + Send + Sync + 'static,
    ) -> KTable<W, A> {
        let shared = &self.grouped.stream.graph;
        let name = shared.borrow_mut().name_or(name.as_deref(), prefix);
        let input = self.grouped.attach(&store.store, store.queryable);
        let mut graph = shared.borrow_mut();
        let table = WindowedTable::new(&mut graph, store.clone(), self.kind.needs(self.emit));
        let write = write::<K, V, W, A, _>(&name, &table, self.kind, Fold(Arc::new((initializer, aggregator))));
        let node = GraphNode { grace: Some(self.kind.grace()), ..GraphNode::new(name.clone(), write) };
        let node = graph.add(&[input.node], GraphNode { output_versioned: Some(false), ..node });
        drop(graph);
        let queryable = store.queryable.then(|| store.store.clone());
        let key_serde = windowed_serde::<W>(store.key_serde.as_ref(), self.kind.size());
        KTable::new(shared, node, &name, input.sources.clone(), Arc::new(Aggregated(table)))
            .with_serdes(key_serde, store.value_serde)
            .with_queryable(queryable)
    }
}

pub(super) const AGGREGATE: &str = "KSTREAM-AGGREGATE-";

/// The serde of windowed keys in topics, where that of the keys themselves is known.
pub(super) fn windowed_serde<W: WindowedKey>(inner: Option<&ErasedSerde>, size: i64) -> Option<ErasedSerde> {
    let inner = inner.and_then(ErasedSerde::get::<W::Key>).or_else(W::Key::default_serde)?;
    let serde: SerdeRef<W> = Arc::new(TimeWindowedSerde::of(inner, size));
    Some(ErasedSerde::new(serde))
}

/// Writes the node that aggregates into `table`.
pub(crate) fn write<K, V, W, A, F>(
    name: &str,
    table: &WindowedTable<K::Some, A, WindowStores>,
    kind: TimeKind,
    functions: F,
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
        let (functions, addressable) = (functions.clone(), out.cached || out.emit.is_some());
        let windows = match kind {
            TimeKind::Time(windows) => FixedWindows::Time(windows),
            TimeKind::Unlimited(windows) => FixedWindows::Unlimited(windows),
            TimeKind::Sliding(windows) => {
                making.place::<K, V>(SlidingNode { windows, functions, store, out, observed: -1, id }, addressable);
                return Ok(());
            }
        };
        making.place::<K, V>(TimeNode { windows, functions, store, out, observed: -1, id }, addressable);
        Ok(())
    });
    let (name, table) = (Arc::<str>::from(name), table.clone());
    Rc::new(move |node, topology| {
        let parents = node.parents.clone();
        topology.add_node(kstream::factory::<K, V, W, Change<A>>(&name, parents, make.clone()))?;
        topology.add_state_store(table.factory(), &[&name])
    })
}
