//! Session stores.

use std::sync::Arc;

use super::{
    AnyStore, StoreInit,
    changelog::{Changelog, Format},
    core::{CoreParts, Flushed, StoreCore, any_store},
    key_value::{ValueSerde, resolve},
    timed::{TimedCore, TimedKeys, prefix},
    with_headers::AggregationWithHeadersSerde,
};
use crate::{
    data::{Data, ErasedSerde, Flow},
    error::{Error, Result},
    processing::Runtime,
    record::AggregationWithHeaders,
    serdes::SerdeRef,
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

/// What a session store is made from.
pub(crate) struct SessionSpec<K, V> {
    pub(crate) name: String,
    pub(crate) supplier: Arc<dyn Fn(&StoreInit<'_>) -> SessionSupplier + Send + Sync>,
    pub(crate) key_serde: Option<ErasedSerde>,
    pub(crate) value_serde: ValueSerde<V>,
    pub(crate) format: Format,
    /// Whether `dsl.store.format` decides about headers.
    pub(crate) of_dsl: bool,
    pub(crate) types: std::marker::PhantomData<fn() -> (K, V)>,
}

type Supply = Arc<dyn Fn(&StoreInit<'_>) -> SessionSupplier + Send + Sync>;

impl<K: Data, V: Data> SessionSpec<K, V> {
    /// A store of plain values.
    pub(crate) fn plain(
        name: String,
        supplier: Supply,
        of_dsl: bool,
        key_serde: Option<ErasedSerde>,
        value: Option<ErasedSerde>,
    ) -> Self {
        let value_serde: ValueSerde<V> = Arc::new(move |init| resolve(value.as_ref(), init, false));
        let types = std::marker::PhantomData;
        SessionSpec { name, supplier, key_serde, value_serde, format: Format::Plain, of_dsl, types }
    }
}

impl<K: Data, V: Data> SessionSpec<K, AggregationWithHeaders<V>> {
    /// A store of values with their headers.
    pub(crate) fn with_headers(
        supplier: SessionSupplier,
        key: Option<ErasedSerde>,
        value: Option<ErasedSerde>,
    ) -> Self {
        SessionSpec {
            name: supplier.name().to_owned(),
            supplier: Arc::new(move |_| supplier.clone()),
            key_serde: key,
            value_serde: Arc::new(move |init| {
                resolve(value.as_ref(), init, false)
                    .map(|serde| Arc::new(AggregationWithHeadersSerde(serde)) as SerdeRef<AggregationWithHeaders<V>>)
            }),
            format: Format::WithHeaders,
            of_dsl: false,
            types: std::marker::PhantomData,
        }
    }
}

impl<K: Data, V: Flow> SessionSpec<K, V> {
    pub(crate) fn make(&self, init: &StoreInit<'_>) -> Result<Box<dyn AnyStore>> {
        let missing = |type_name| Box::new(Error::MissingSerde { node: self.name.clone(), type_name });
        let key_serde = resolve::<K>(self.key_serde.as_ref(), init, true);
        let key_serde = key_serde.ok_or_else(|| missing(std::any::type_name::<K>()))?;
        let value_serde = (self.value_serde)(init);
        let value_serde = value_serde.ok_or_else(|| missing(std::any::type_name::<V>()))?;
        let supplier = (self.supplier)(init);
        let core = StoreCore::new(CoreParts {
            name: Arc::from(self.name.as_str()),
            value_serde,
            engine: init.sharing.segmented(&self.name, || match self.format {
                Format::WithHeaders => supplier.get_with_headers(init.engine),
                _ => supplier.get(init.engine),
            })?,
            changelog: Changelog {
                partition: init.changelog.clone(),
                format: self.format,
                headers_format: self.of_dsl && init.config.fields().headers_format,
            },
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
        self.keys.fill(&mut self.core, &session.key, session.window, 0)?;
        self.core.put(rt, session, value)
    }

    /// Deletes a session.
    pub(crate) fn remove(&mut self, rt: &mut Runtime, session: &Windowed<K>) -> Result<()> {
        self.keys.fill(&mut self.core, &session.key, session.window, 0)?;
        self.core.remove(rt, session)
    }

    /// The value of one session.
    pub(crate) fn fetch_session(&mut self, rt: &mut Runtime, key: &K, start: i64, end: i64) -> Result<Option<V>> {
        if end < start {
            // No session is so; and no `Window` either.
            return Ok(None);
        }
        self.keys.fill(&mut self.core, key, Window::new(start, end), 0)?;
        self.core.get(rt, None)
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
        self.keys.scan(&mut self.core, &range, false, order)
    }

    /// The sessions that end between two times, expired ones that are held too; and from `hold_from` on nothing expires
    /// from now on.
    pub(crate) fn take_closed(&mut self, from: i64, to: i64, hold_from: i64) -> Result<Vec<(Windowed<K>, V)>> {
        let range = TimeRange { from, ..TimeRange::ALL };
        let mut closed = self.keys.scan(&mut self.core, &range, true, Order::Forward)?;
        closed.retain(|(session, _)| session.window.end() <= to);
        self.core.engine.hold_from(hold_from);
        Ok(closed)
    }

    /// Keeps everything until [`take_closed`](Self::take_closed) says how much longer.
    pub(crate) fn hold(&mut self) {
        self.core.engine.hold_from(0);
    }
}

any_store!(SessionStore);
