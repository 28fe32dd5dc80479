//! The store behind a table, whichever kind it is.

use crate::{
    data::Flow,
    error::Result,
    record::{Change, Headers, Record, ValueAndTimestamp},
    store::{Flushed, StoreHandle, StoreRef, TimestampedKeyValueStore, VersionedKeyValueStore, VersionedPut},
    task::TaskCtx,
};

/// What a put into a table's store did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PutCode {
    /// It is the row's newest value.
    Latest,
    /// It is older than the row's newest value, which a versioned store keeps.
    OutOfOrder,
    /// It is older than the store's history and was dropped.
    NotPut,
}

/// The store of a table: timestamped unless a supplier says otherwise.
pub(crate) enum TableStore<K, V> {
    Timestamped(StoreHandle<TimestampedKeyValueStore<K, V>>),
    Versioned(StoreHandle<VersionedKeyValueStore<K, V>>),
}

impl<K, V> Clone for TableStore<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K, V> Copy for TableStore<K, V> {}

impl<K: Flow, V: Flow> TableStore<K, V> {
    pub(crate) fn timestamped(id: usize) -> Self {
        TableStore::Timestamped(StoreRef::new(id).handle())
    }

    pub(crate) fn versioned(id: usize) -> Self {
        TableStore::Versioned(StoreRef::new(id).handle())
    }

    pub(crate) fn get_as_of(self, ctx: &mut TaskCtx, key: &K, as_of: i64) -> Result<Option<ValueAndTimestamp<V>>> {
        match self {
            TableStore::Timestamped(_) => self.get(ctx, key),
            TableStore::Versioned(handle) => {
                let found = ctx.store(handle)?.0.get_as_of(key, as_of)?;
                Ok(found.map(|version| ValueAndTimestamp::new(version.value, version.timestamp)))
            }
        }
    }

    #[inline]
    pub(crate) fn get(self, ctx: &mut TaskCtx, key: &K) -> Result<Option<ValueAndTimestamp<V>>> {
        match self {
            TableStore::Timestamped(handle) => {
                let (store, rt) = ctx.store(handle)?;
                store.get(rt, key)
            }
            TableStore::Versioned(handle) => {
                let found = ctx.store(handle)?.0.get(key)?;
                Ok(found.map(|version| ValueAndTimestamp::new(version.value, version.timestamp)))
            }
        }
    }

    #[inline]
    pub(crate) fn put(self, ctx: &mut TaskCtx, key: &K, value: Option<V>, timestamp: i64) -> Result<PutCode> {
        match self {
            TableStore::Timestamped(handle) => {
                let (store, rt) = ctx.store(handle)?;
                store.put(rt, key, value.map(|value| ValueAndTimestamp::new(value, timestamp)))?;
                Ok(PutCode::Latest)
            }
            TableStore::Versioned(handle) => {
                let (store, rt) = ctx.store(handle)?;
                Ok(match store.put(rt, key, value.as_ref(), timestamp)? {
                    VersionedPut::Latest => PutCode::Latest,
                    VersionedPut::ValidTo(_) => PutCode::OutOfOrder,
                    VersionedPut::NotPut => PutCode::NotPut,
                })
            }
        }
    }

    /// Makes the node in `slot` the one that forwards flushed rows; whether the store caches.
    pub(crate) fn listen(self, ctx: &mut TaskCtx, slot: usize, send_old: bool) -> Result<bool> {
        match self {
            TableStore::Timestamped(handle) => Ok(ctx.store(handle)?.0.set_flush_listener(slot, send_old)),
            TableStore::Versioned(_) => Ok(false),
        }
    }

    /// The next flushed row, as the record its node forwards.
    pub(crate) fn next_flushed(self, ctx: &mut TaskCtx) -> Result<Option<Record<K, Change<V>>>> {
        match self {
            TableStore::Timestamped(handle) => {
                let (store, rt) = ctx.store(handle)?;
                let Some(Flushed { key, new, old, timestamp, headers }) = store.next_flushed(rt)? else {
                    return Ok(None);
                };
                let timestamp = new.as_ref().map_or(timestamp, |new| new.timestamp);
                let change = Change::new(new.map(|new| new.value), old.map(|old| old.value));
                Ok(Some(Record { key, value: change, timestamp, headers: Headers::clone(&headers) }))
            }
            TableStore::Versioned(_) => Ok(None),
        }
    }
}
