//! Window stores, plain and timestamped.

use std::sync::Arc;

use super::{
    AnyStore, StoreInit,
    changelog::Format,
    core::{CoreParts, Flushed, StoreCore, any_store},
    spec::{ChosenSerdes, StoreSpec, Supply},
    timed::{TimedCore, TimedKeys, prefix},
    with_headers::{ValueAloneSerde, ValueTimestampHeadersSerde},
};
use crate::{
    data::{Data, Flow},
    error::Result,
    metrics::store::Operation,
    processing::Runtime,
    record::{ValueAndTimestamp, ValueTimestampHeaders},
    serdes::SerdeRef,
    state::{KeySchema, Order, TimeRange, WindowSupplier},
    windowed::Windowed,
};

/// A window store of a task: values by key and window, which expire when their window is older than the retention.
///
/// Processors reach it through their context; every method but these is there. Of a key and window it keeps the last
/// value, or all of them where its supplier retains duplicates; then it has no cache, and a null is no deletion.
pub struct WindowStore<K, V> {
    core: TimedCore<K, V>,
    keys: TimedKeys<K>,
    duplicates: Option<Sequences>,
    of_join: bool,
}

/// The numbers of the values of a store that retains duplicates.
#[derive(Default)]
struct Sequences {
    /// Whether the numbers of what was there at the start are known.
    known: bool,
    /// The last number given. Engine and changelog share them: what is restored twice is there once.
    last: i32,
    /// The last number of a value: a null takes a number in the changelog only.
    stored: i32,
}

/// The store of windowed aggregates: each value with the timestamp of its last update.
pub type TimestampedWindowStore<K, V> = WindowStore<K, ValueAndTimestamp<V>>;

/// The window store that keeps headers with its values and their timestamps (KIP-1271).
pub type TimestampedWindowStoreWithHeaders<K, V> = WindowStore<K, ValueTimestampHeaders<V>>;

impl<K, V> std::fmt::Debug for WindowStore<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WindowStore").field("name", &self.core.name).finish_non_exhaustive()
    }
}

impl<K: Data, V: Data> StoreSpec<WindowSupplier, K, ValueTimestampHeaders<V>> {
    /// The store of one side of a join of streams: of a row it keeps the value alone, unless `dsl.store.format` says
    /// more; its changelog has the records' headers.
    pub(crate) fn joined(supply: Supply<WindowSupplier>, serdes: ChosenSerdes) -> Self {
        Self::wrapped(supply, serdes, Format::Joined, |serde: SerdeRef<V>, headers_format| match headers_format {
            true => Arc::new(ValueTimestampHeadersSerde(serde)),
            false => Arc::new(ValueAloneSerde(serde)),
        })
    }
}

impl<K: Data, V: Flow> StoreSpec<WindowSupplier, K, V> {
    pub(crate) fn make(&self, init: &StoreInit<'_>) -> Result<Box<dyn AnyStore>> {
        let (key_serde, value_serde) = self.serdes(init)?;
        let supplier = (self.supply.supplier)(init);
        let mut changelog = self.changelog(init);
        if changelog.format == Format::Joined && changelog.headers_format {
            changelog.format = Format::TimestampedWithHeaders;
        }
        let core = StoreCore::new(CoreParts {
            name: self.name(),
            value_serde,
            engine: init.sharing.segmented(&self.supply.name, || match changelog.format {
                Format::Timestamped => supplier.get_timestamped(init.engine),
                Format::TimestampedWithHeaders => supplier.get_with_headers(init.engine),
                Format::Plain | Format::Joined | Format::WithHeaders => supplier.get(init.engine),
            })?,
            changelog,
            caching: init.caching && !supplier.retain_duplicates(),
            prefix: prefix(supplier.is_time_ordered()),
        });
        let keys = TimedKeys {
            serde: key_serde,
            schema: KeySchema::Window,
            segment_interval: supplier.segment_interval(),
            window_size: supplier.window_size(),
            time_ordered: supplier.is_time_ordered(),
        };
        let duplicates = supplier.retain_duplicates().then(Sequences::default);
        let of_join = self.format == Format::Joined;
        Ok(Box::new(WindowStore { core, keys, duplicates, of_join }))
    }
}

impl<K: Flow, V: Flow> WindowStore<K, V> {
    pub(crate) fn is_of_join(&self) -> bool {
        self.of_join
    }

    /// Whether `dsl.store.format` made it a store that keeps headers; what the DSL puts has none.
    pub(crate) fn has_headers_format(&self) -> bool {
        self.core.changelog.headers_format
    }

    pub(crate) fn set_flush_listener(&mut self, slot: usize, send_old: bool) -> bool {
        self.core.set_flush_listener(slot, send_old)
    }

    pub(crate) fn next_flushed(&mut self, rt: &mut Runtime) -> Result<Option<Flushed<Windowed<K>, V>>> {
        self.core.next_flushed(rt)
    }

    /// Puts the value of the window that begins at `start`, or deletes it where there is none.
    pub(crate) fn put(&mut self, rt: &mut Runtime, key: &K, value: Option<V>, start: i64) -> Result<()> {
        let began = self.core.meter.start();
        let done = self.write(rt, key, value, start);
        self.core.meter.done(Operation::Put, began);
        self.core.meter.reached(rt.context.timestamp, rt.wall_clock);
        done
    }

    fn write(&mut self, rt: &mut Runtime, key: &K, value: Option<V>, start: i64) -> Result<()> {
        let window = self.keys.window(start);
        let Some(numbers) = &mut self.duplicates else {
            self.keys.fill(&mut self.core, key, window, 0)?;
            return self.core.put(rt, &Windowed::new(key.clone(), window), value);
        };
        if !std::mem::replace(&mut numbers.known, true) {
            for entry in self.core.engine.fetch(&TimeRange::ALL, Order::Forward)? {
                let number = entry?.0.last_chunk::<4>().map_or(0, |number| i32::from_be_bytes(*number));
                numbers.last = numbers.last.max(number);
            }
        }
        numbers.last = numbers.last.wrapping_add(1) & i32::MAX;
        if value.is_some() {
            numbers.stored = numbers.last;
        }
        // A null deletes nothing: there is no value of this number.
        let number = numbers.last;
        self.keys.fill(&mut self.core, key, window, number)?;
        self.core.put_duplicate(rt, value.as_ref())
    }

    /// The value of the window that begins at `start`.
    pub(crate) fn fetch(&mut self, rt: &mut Runtime, key: &K, start: i64) -> Result<Option<V>> {
        let sequence = match &self.duplicates {
            None => 0,
            // As in the JVM: in memory no value is found by a key without a number, on disk the last one that was put
            // anywhere is, if it was put there.
            Some(_) if !self.core.engine.persistent() => return Ok(None),
            Some(numbers) => numbers.stored,
        };
        let began = self.core.meter.start();
        self.keys.fill(&mut self.core, key, self.keys.window(start), sequence)?;
        let found = self.core.get(rt, None);
        self.core.meter.done(Operation::Fetch, began);
        found
    }

    /// The windows of a key that begin between two times.
    pub(crate) fn fetch_range(&mut self, key: &K, from: i64, to: i64, order: Order) -> Result<Vec<(i64, V)>> {
        let found = self.fetch_keys(Some(key), Some(key), from, to, order)?;
        Ok(found.into_iter().map(|(key, value)| (key.window.start(), value)).collect())
    }

    /// The windows of a range of keys that begin between two times.
    pub(crate) fn fetch_keys(
        &mut self,
        from_key: Option<&K>,
        to_key: Option<&K>,
        from: i64,
        to: i64,
        order: Order,
    ) -> Result<Vec<(Windowed<K>, V)>> {
        let (from_key, to_key) = (self.keys.own(&self.core, from_key)?, self.keys.own(&self.core, to_key)?);
        let range = TimeRange { from_key: from_key.as_deref(), to_key: to_key.as_deref(), from, to };
        self.scan(&range, false, order)
    }

    fn scan(&mut self, range: &TimeRange<'_>, held: bool, order: Order) -> Result<Vec<(Windowed<K>, V)>> {
        let began = self.core.meter.start();
        let found = self.keys.scan(&mut self.core, range, held, order);
        self.core.meter.done(Operation::Fetch, began);
        found
    }

    /// The windows that begin between two times, expired ones that are held too; and from `hold_from` on nothing
    /// expires from now on.
    pub(crate) fn take_closed(&mut self, from: i64, to: i64, hold_from: i64) -> Result<Vec<(Windowed<K>, V)>> {
        let range = TimeRange { from, to, ..TimeRange::ALL };
        let closed = self.scan(&range, true, Order::Forward)?;
        self.core.engine.hold_from(hold_from);
        Ok(closed)
    }

    /// Keeps everything until [`take_closed`](Self::take_closed) says how much longer.
    pub(crate) fn hold(&mut self) {
        self.core.engine.hold_from(0);
    }

    /// All windows.
    pub(crate) fn all(&mut self, order: Order) -> Result<Vec<(Windowed<K>, V)>> {
        self.scan(&TimeRange::ALL, false, order)
    }
}

any_store!(WindowStore, Window, forgets duplicates);
