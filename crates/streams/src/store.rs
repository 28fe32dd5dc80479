//! Typed stores: cache, serde and changelog over an engine of [`crate::state`], and the handles that reach them.

mod access;
mod buffer;
mod builder;
mod cache;
mod changelog;
mod core;
mod engine;
mod join_buffer;
mod key_value;
mod merge;
#[cfg(test)]
mod on_disk_tests;
mod outer_join;
mod own;
mod session;
mod spec;
mod subscription;
mod timed;
mod versioned;
mod window;
mod with_headers;

use std::{any::Any, collections::BTreeMap, marker::PhantomData, sync::Arc};

pub use access::StoreAccess;
pub(crate) use buffer::{ChangeBuffer, ChangeBufferSpec};
pub use builder::StoreBuilder;
pub(crate) use builder::logging_setters;
pub(crate) use core::Flushed;
pub(crate) use join_buffer::{Due, JoinBuffer, JoinBufferSpec};
pub use key_value::{KeyValueStore, TimestampedKeyValueStore, TimestampedKeyValueStoreWithHeaders};
pub(crate) use outer_join::{LeftOrRight, OuterJoinSpec, OuterJoinStore};
pub use own::{OwnStore, StateStore};
pub use session::{SessionStore, SessionStoreWithHeaders};
pub(crate) use spec::{ChosenSerdes, StoreSpec, Supply};
pub(crate) use subscription::SubscriptionStore;
pub(crate) use versioned::VersionedSpec;
pub use versioned::{VersionedKeyValueStore, VersionedPut, VersionedRecord};
pub use window::{TimestampedWindowStore, TimestampedWindowStoreWithHeaders, WindowStore};

use crate::{
    config::StreamsConfig,
    data::{Data, ErasedSerde},
    error::{Error, Result},
    metrics::Recorder,
    processing::{Runtime, resolve_serde},
    record::Headers,
    serdes::SerdeRef,
    state::{EngineContext, Sharing},
};

/// A store of a topology, as the builder knows it: what `process_with` connects.
pub struct StoreRef<S> {
    id: usize,
    store: PhantomData<fn() -> S>,
}

/// A store as a connected node knows it.
pub struct StoreHandle<S> {
    id: usize,
    store: PhantomData<fn() -> S>,
}

impl<S> Clone for StoreRef<S> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<S> Copy for StoreRef<S> {}
impl<S> std::fmt::Debug for StoreRef<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoreRef({})", self.id)
    }
}
impl<S> Clone for StoreHandle<S> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<S> Copy for StoreHandle<S> {}
impl<S> std::fmt::Debug for StoreHandle<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoreHandle({})", self.id)
    }
}

impl<S> StoreRef<S> {
    pub(crate) fn new(id: usize) -> Self {
        StoreRef { id, store: PhantomData }
    }
    pub(crate) fn handle(self) -> StoreHandle<S> {
        StoreHandle { id: self.id, store: PhantomData }
    }
}

impl<S> StoreHandle<S> {
    pub(crate) fn id(self) -> usize {
        self.id
    }
}

/// A global store, as the builder knows it: every processor may read it, so that giving it to one connects nothing.
pub struct GlobalStoreRef<S>(StoreRef<S>);

impl<S> Clone for GlobalStoreRef<S> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<S> Copy for GlobalStoreRef<S> {}
impl<S> std::fmt::Debug for GlobalStoreRef<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GlobalStoreRef({})", self.0.id)
    }
}
impl<S> GlobalStoreRef<S> {
    pub(crate) fn new(id: usize) -> Self {
        GlobalStoreRef(StoreRef::new(id))
    }
}
impl<S: 'static> StoreSet for GlobalStoreRef<S> {
    type Handles = StoreHandle<S>;
    fn handles(self) -> StoreHandle<S> {
        self.0.handle()
    }
    fn ids(self, _ids: &mut Vec<usize>) {}
}

/// Stores that a processor asks for: `()`, one, or a tuple. Its factory gets the handles, connected.
pub trait StoreSet: Copy + Send + Sync + 'static {
    /// What the factory gets.
    type Handles;
    /// The handles.
    #[doc(hidden)]
    fn handles(self) -> Self::Handles;
    /// The numbers of the stores.
    #[doc(hidden)]
    fn ids(self, ids: &mut Vec<usize>);
}
impl StoreSet for () {
    type Handles = ();
    fn handles(self) {}
    fn ids(self, _ids: &mut Vec<usize>) {}
}
impl<S: 'static> StoreSet for StoreRef<S> {
    type Handles = StoreHandle<S>;
    fn handles(self) -> StoreHandle<S> {
        self.handle()
    }
    fn ids(self, ids: &mut Vec<usize>) {
        ids.push(self.id);
    }
}
macro_rules! store_sets {
    ($(($($t:ident . $i:tt),+))*) => {$(
        impl<$($t: StoreSet),+> StoreSet for ($($t,)+) {
            type Handles = ($($t::Handles,)+);
            fn handles(self) -> Self::Handles {
                ($(self.$i.handles(),)+)
            }
            fn ids(self, ids: &mut Vec<usize>) {
                $(self.$i.ids(ids);)+
            }
        }
    )*};
}
store_sets! { (A.0, B.1) (A.0, B.1, C.2) (A.0, B.1, C.2, D.3) }

/// A store in a task, erased over its types: what commit, restore and close ask of it.
pub(crate) trait AnyStore: Any + Send {
    fn name(&self) -> &str;
    /// Its type, as errors tell it.
    fn kind(&self) -> &'static str {
        std::any::type_name::<Self>()
    }
    /// Starts a flush of the record cache. Returns the arena slot of the node that forwards the entries; a store
    /// without such a node writes them at once.
    fn flush_cache(&mut self, rt: &mut Runtime) -> Result<Option<usize>>;
    /// Writes what a commit must have in the changelog, after all caches are flushed.
    fn write_changelog(&mut self, _rt: &mut Runtime) -> Result<()> {
        Ok(())
    }
    /// Makes the engine durable with the changelog offset it covers.
    fn commit(&mut self, changelog_offset: Option<i64>) -> Result<()>;
    /// The changelog offset the engine has kept.
    fn committed_offset(&self) -> Result<Option<i64>>;
    /// [`commit`](AnyStore::commit) of a global store: with the offset of every partition of its topic.
    fn commit_partitions(&mut self, _offsets: &BTreeMap<i32, i64>) -> Result<()> {
        self.commit(None)
    }
    /// The offsets that a global store's engine has kept; `None` where it is not known what it covers.
    fn committed_partitions(&self) -> Result<Option<BTreeMap<i32, i64>>> {
        Ok(None)
    }
    /// Forgets what was put since the last [`commit`](AnyStore::commit). False if that cannot be done, or the engine may have
    /// something of it that it cannot tell.
    fn forget(&mut self) -> Result<bool>;
    /// Everything is committed, and its task ends, but another one of this process goes on with the store: what only the task
    /// that ends needs is dropped, such as the record cache. False for a store that has to be closed and opened again.
    fn recycle(&mut self) -> Result<bool> {
        Ok(false)
    }
    /// Whether reads from now on are as of the last commit, where the engine can tell.
    fn read_committed(&mut self, _only: bool) {}
    /// Takes a record of the changelog.
    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64) -> Result<()>;
    /// The same with the record's headers.
    fn restore_with_headers(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: i64,
        _headers: &Headers,
    ) -> Result<()> {
        self.restore(key, value, timestamp)
    }
    /// Begins to write what was restored, and says whether that is done.
    fn is_restoration_written(&mut self) -> Result<bool> {
        Ok(true)
    }
    /// All of the changelog was restored and committed.
    fn end_restoration(&mut self) -> Result<()> {
        Ok(())
    }
    /// The time by which what it has expires, if it does, in ms.
    fn time(&self) -> Option<i64> {
        None
    }
    /// Lets that go no further than this, until it is asked again; `i64::MAX` is no limit.
    fn limit_time(&mut self, _limit: i64) {}
    fn persistent(&self) -> bool;
    /// From here on what is counted is told there, until it is forgotten or recycled.
    fn measure(&mut self, _recorder: &Recorder) {}
    /// Tells what was counted since the last time.
    fn record_metrics(&mut self, _now: i64) {}
    /// Whether only a commit makes room for more.
    fn needs_commit(&self) -> bool {
        false
    }
    /// How much memory what is not committed takes, in bytes.
    fn uncommitted_bytes(&self) -> u64 {
        0
    }
    /// Forgets everything, offsets too: it will be restored from the beginning.
    fn clear(&mut self) -> Result<()>;
    fn close(&mut self) -> Result<()>;
    /// The engine's entries, of a store whose types are not the application's.
    fn raw_entries(&self) -> Option<Result<Vec<(bytes::Bytes, bytes::Bytes)>>> {
        None
    }
}

/// The stores of a task for the task that takes its place in this process: those in memory of one that was
/// [abandoned](crate::task::Task::abandon), as of its last commit, or those of one that was
/// [recycled](crate::task::Task::recycle). They need not be restored from the beginning, as
/// Kafka does it with those of the first kind.
#[derive(Default)]
pub struct KeptStores {
    stores: BTreeMap<String, Box<dyn AnyStore>>,
    /// The changelog offset that each covers, where the engine does not keep it itself.
    offsets: BTreeMap<String, i64>,
}

impl KeptStores {
    pub(crate) fn put(&mut self, store: Box<dyn AnyStore>) {
        self.stores.insert(store.name().to_owned(), store);
    }

    /// A store that covers this offset of its changelog.
    pub(crate) fn put_at(&mut self, store: Box<dyn AnyStore>, offset: Option<i64>) {
        if let Some(offset) = offset {
            self.offsets.insert(store.name().to_owned(), offset);
        }
        self.put(store);
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<Box<dyn AnyStore>> {
        self.stores.remove(name)
    }

    pub(crate) fn take_offsets(&mut self) -> BTreeMap<String, i64> {
        std::mem::take(&mut self.offsets)
    }
}

impl std::fmt::Debug for KeptStores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.stores.keys()).finish()
    }
}

/// What a store is told when a task makes it.
pub(crate) struct StoreInit<'a> {
    pub(crate) config: &'a StreamsConfig,
    pub(crate) engine: &'a EngineContext,
    /// The changelog topic and partition; `None` without logging.
    pub(crate) changelog: Option<(Arc<str>, i32)>,
    pub(crate) caching: bool,
    pub(crate) sharing: Sharing<'a>,
}

impl StoreInit<'_> {
    /// The serde that was named or inherited, else the type's own, as this configuration wants it.
    fn resolve<T: Data>(&self, named: Option<&ErasedSerde>, is_key: bool) -> Option<SerdeRef<T>> {
        resolve_serde(named, self.config, is_key)
    }

    /// The same for what must have one.
    fn serde<T: Data>(&self, store: &str, named: Option<&ErasedSerde>, is_key: bool) -> Result<SerdeRef<T>> {
        self.resolve(named, is_key).ok_or_else(|| self.missing::<T>(store))
    }

    fn missing<T>(&self, store: &str) -> Box<Error> {
        Box::new(Error::MissingSerde { node: store.to_owned(), type_name: std::any::type_name::<T>() })
    }

    /// What serdes are told as topic: the changelog, or the store's name without one.
    fn topic(&self, name: &Arc<str>) -> Arc<str> {
        self.changelog.as_ref().map_or_else(|| name.clone(), |(topic, _)| topic.clone())
    }
}

/// What the topology must know of a store's kind: it decides the changelog topic's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreKind {
    KeyValue,
    /// What `suppress` holds back: in memory, and in its changelog as of a commit.
    Buffer,
    /// Window and session stores, with their retention in ms.
    Window {
        retention: i64,
        delete_only: bool,
    },
    /// Versioned stores, with their history in ms.
    Versioned {
        history: i64,
    },
}

pub(crate) type MakeStore = Arc<dyn Fn(&StoreInit<'_>) -> Result<Box<dyn AnyStore>> + Send + Sync>;

/// A store of a topology before any task has made it.
#[derive(Clone)]
pub(crate) struct StoreFactory {
    pub(crate) id: usize,
    pub(crate) name: String,
    pub(crate) kind: StoreKind,
    pub(crate) logging: bool,
    pub(crate) log_config: BTreeMap<String, String>,
    pub(crate) caching: bool,
    /// The builder that this came from: one store may be added several times by the same builder, not by two.
    pub(crate) builder: Option<usize>,
    pub(crate) make: MakeStore,
}
