//! Session stores.

use super::{
    AnyStore, StoreInit,
    changelog::Format,
    core::{CoreParts, Flushed, StoreCore, any_store},
    spec::StoreSpec,
    timed::{TimedCore, TimedKeys, prefix},
};
use crate::{
    data::{Data, Flow},
    error::Result,
    metrics::store::Operation,
    processing::Runtime,
    record::AggregationWithHeaders,
    state::{KeySchema, Order, SessionSupplier, TimeRange},
    windowed::{Window, Windowed},
};

/// A session store of a task: values by key and session, which expire when their session's end is older than the
/// retention.
///
/// Processors reach it through their context; every method but these is there.
pub struct SessionStore<K, V> {
    core: TimedCore<K, V>,
    keys: TimedKeys<K>,
}

/// The session store that keeps headers with its values (KIP-1271).
pub type SessionStoreWithHeaders<K, V> = SessionStore<K, AggregationWithHeaders<V>>;

impl<K, V> std::fmt::Debug for SessionStore<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionStore").field("name", &self.core.name).finish_non_exhaustive()
    }
}

impl<K: Data, V: Flow> StoreSpec<SessionSupplier, K, V> {
    pub(crate) fn make(&self, init: &StoreInit<'_>) -> Result<Box<dyn AnyStore>> {
        let (key_serde, value_serde) = self.serdes(init)?;
        let supplier = (self.supply.supplier)(init);
        let core = StoreCore::new(CoreParts {
            name: self.name(),
            value_serde,
            engine: init.sharing.segmented(&self.supply.name, || match self.format {
                Format::WithHeaders => supplier.get_with_headers(init.engine),
                _ => supplier.get(init.engine),
            })?,
            changelog: self.changelog(init),
            caching: init.caching,
            prefix: prefix(false),
        });
        let (schema, segment_interval) = (KeySchema::Session, supplier.segment_interval());
        let keys = TimedKeys { serde: key_serde, schema, segment_interval, window_size: 0, time_ordered: false };
        Ok(Box::new(SessionStore { core, keys }))
    }
}

impl<K: Flow, V: Flow> SessionStore<K, V> {
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

    /// Puts the value of a session, or deletes it where there is none.
    pub(crate) fn put(&mut self, rt: &mut Runtime, session: &Windowed<K>, value: Option<V>) -> Result<()> {
        let began = self.core.meter.start();
        self.keys.fill(&mut self.core, &session.key, session.window, 0)?;
        let done = self.core.put(rt, session, value);
        self.core.meter.done(Operation::Put, began);
        self.core.meter.reached(rt.context.timestamp, rt.wall_clock);
        done
    }

    /// Deletes a session.
    pub(crate) fn remove(&mut self, rt: &mut Runtime, session: &Windowed<K>) -> Result<()> {
        let began = self.core.meter.start();
        self.keys.fill(&mut self.core, &session.key, session.window, 0)?;
        let done = self.core.remove(rt, session);
        self.core.meter.done(Operation::Remove, began);
        done
    }

    /// The value of one session.
    pub(crate) fn fetch_session(&mut self, rt: &mut Runtime, key: &K, start: i64, end: i64) -> Result<Option<V>> {
        if end < start {
            // No session is so; and no `Window` either.
            return Ok(None);
        }
        let began = self.core.meter.start();
        self.keys.fill(&mut self.core, key, Window::new(start, end), 0)?;
        let found = self.core.get(rt, None);
        self.core.meter.done(Operation::Fetch, began);
        found
    }

    /// The sessions of a range of keys that end at `earliest_end` or later and begin at `latest_start` or earlier.
    pub(crate) fn find_sessions(
        &mut self,
        from_key: Option<&K>,
        to_key: Option<&K>,
        earliest_end: i64,
        latest_start: i64,
        order: Order,
    ) -> Result<Vec<(Windowed<K>, V)>> {
        let (from_key, to_key) = (self.keys.own(&self.core, from_key)?, self.keys.own(&self.core, to_key)?);
        let range = TimeRange {
            from_key: from_key.as_deref(),
            to_key: to_key.as_deref(),
            from: earliest_end,
            to: latest_start,
        };
        self.scan(&range, false, order)
    }

    fn scan(&mut self, range: &TimeRange<'_>, held: bool, order: Order) -> Result<Vec<(Windowed<K>, V)>> {
        let began = self.core.meter.start();
        let found = self.keys.scan(&mut self.core, range, held, order);
        self.core.meter.done(Operation::Fetch, began);
        found
    }

    /// The sessions that end between two times, expired ones that are held too; and from `hold_from` on nothing expires
    /// from now on.
    pub(crate) fn take_closed(&mut self, from: i64, to: i64, hold_from: i64) -> Result<Vec<(Windowed<K>, V)>> {
        let range = TimeRange { from, ..TimeRange::ALL };
        let mut closed = self.scan(&range, true, Order::Forward)?;
        closed.retain(|(session, _)| session.window.end() <= to);
        self.core.engine.hold_from(hold_from);
        Ok(closed)
    }

    /// Keeps everything until [`take_closed`](Self::take_closed) says how much longer.
    pub(crate) fn hold(&mut self) {
        self.core.engine.hold_from(0);
    }
}

any_store!(SessionStore, Session);
