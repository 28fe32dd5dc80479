//! Which engine a store gets.

use std::{sync::Arc, time::Duration};

use super::{
    InMemoryKeyValueStore, KeyFormat, KeyValueBytesStore, LruKeyValueStore, PlainAdapter, RestoredFrom,
    SessionSupplier, StoreFormat, TaskDirectory, ValueFormat, WindowSupplier, millis,
};
use crate::error::Result;

/// Who makes the engine of a store, and names it.
pub trait StoreSupplier: Clone + std::fmt::Debug + Send + Sync + 'static {
    /// The store's name.
    fn store_name(&self) -> &str;
}

impl StoreSupplier for KeyValueSupplier {
    fn store_name(&self) -> &str {
        self.name()
    }
}

impl StoreSupplier for WindowSupplier {
    fn store_name(&self) -> &str {
        self.name()
    }
}

impl StoreSupplier for SessionSupplier {
    fn store_name(&self) -> &str {
        self.name()
    }
}

/// What an engine is told when a task makes it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EngineContext {
    /// The task, `subtopology_partition`.
    pub task_id: String,
    /// The task's directory; `None` in the test driver, which keeps everything in memory.
    pub state_dir: Option<TaskDirectory>,
    /// Where the store's content comes from if its files are of no use.
    pub(crate) restored_from: RestoredFrom,
    /// Whether engines in memory must be able to forget what was put since the last commit, as those on disk always are.
    pub(crate) transactional: bool,
}

impl EngineContext {
    /// An ordered map in memory.
    pub(super) fn in_memory(&self, name: &str) -> Box<dyn KeyValueBytesStore> {
        Box::new(match self.transactional {
            true => InMemoryKeyValueStore::transactional(name),
            false => InMemoryKeyValueStore::new(name),
        })
    }
}

type Make = Arc<dyn Fn(&EngineContext) -> Result<Box<dyn KeyValueBytesStore>> + Send + Sync>;

#[derive(Clone)]
enum Kind {
    Persistent,
    InMemory,
    /// In memory, with at most so many entries.
    Lru(usize),
    Custom(Make),
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Kind::Persistent => "persistent",
            Kind::InMemory => "in-memory",
            Kind::Lru(_) => "lru",
            Kind::Custom(_) => "custom",
        }
    }
}

/// Makes the engine of a key-value store.
#[derive(Clone)]
pub struct KeyValueSupplier {
    name: String,
    kind: Kind,
    /// Whether it keeps the timestamps of a table's values. In memory all do.
    timestamped: bool,
    /// Whether it keeps their headers. In memory all do.
    with_headers: bool,
    /// How long old versions are kept, in ms, if they are.
    history: Option<i64>,
    /// Old versions are dropped in segments of this, in ms.
    segment_interval: i64,
}

impl KeyValueSupplier {
    /// An engine that keeps whatever it is given.
    fn of(name: String, kind: Kind) -> Self {
        KeyValueSupplier { name, kind, timestamped: true, with_headers: true, history: None, segment_interval: 1 }
    }

    /// Kafka's `Stores.persistentTimestampedKeyValueStoreWithHeaders`: an engine that outlives the process.
    pub fn persistent_timestamped_with_headers(name: impl Into<String>) -> Self {
        KeyValueSupplier { timestamped: true, with_headers: true, ..Self::persistent(name) }
    }

    /// Kafka's `Stores.persistentTimestampedKeyValueStore`: an engine that outlives the process.
    pub fn persistent_timestamped(name: impl Into<String>) -> Self {
        KeyValueSupplier { timestamped: true, ..Self::persistent(name) }
    }

    /// Kafka's `Stores.persistentKeyValueStore`: an engine that outlives the process, for plain values. A table on it
    /// forgets the timestamps of its rows.
    pub fn persistent(name: impl Into<String>) -> Self {
        KeyValueSupplier { timestamped: false, with_headers: false, ..Self::of(name.into(), Kind::Persistent) }
    }

    /// Kafka's `Stores.persistentVersionedKeyValueStore`: an engine that outlives the process, of a versioned store
    /// (KIP-889). Old versions of a key can be read for `history_retention`; what is older when it is put is dropped.
    pub fn persistent_versioned(name: impl Into<String>, history_retention: Duration) -> Self {
        let history = millis(history_retention);
        let segment_interval = match history {
            ..=60_000 => (history / 3).max(2_000),
            60_001..=300_000 => (history / 5).max(20_000),
            300_001..=3_600_000 => (history / 12).max(60_000),
            _ => (history / 24).max(300_000),
        };
        KeyValueSupplier { history: Some(history), segment_interval, ..Self::persistent(name) }
    }

    /// The same with old versions dropped in segments of this length, at least 1 ms.
    pub fn persistent_versioned_in_segments(
        name: impl Into<String>,
        history_retention: Duration,
        segment_interval: Duration,
    ) -> Self {
        let segment_interval = millis(segment_interval).max(1);
        KeyValueSupplier { segment_interval, ..Self::persistent_versioned(name, history_retention) }
    }

    /// How long a segment of old versions is, in ms.
    pub(crate) fn segment_interval(&self) -> i64 {
        self.segment_interval
    }

    /// How long old versions are kept, in ms, if they are.
    #[must_use]
    pub fn history(&self) -> Option<i64> {
        self.history
    }

    /// Kafka's `Stores.inMemoryKeyValueStore`.
    pub fn in_memory(name: impl Into<String>) -> Self {
        Self::of(name.into(), Kind::InMemory)
    }

    /// Kafka's `Stores.lruMap`: in memory, with at most this many entries. It cannot forget a transaction that failed:
    /// under exactly-once it is restored from its changelog then, and queries see what is not committed.
    pub fn lru_map(name: impl Into<String>, max_entries: usize) -> Self {
        Self::of(name.into(), Kind::Lru(max_entries))
    }

    /// An engine of the application's own.
    pub fn custom(
        name: impl Into<String>,
        make: impl Fn(&EngineContext) -> Result<Box<dyn KeyValueBytesStore>> + Send + Sync + 'static,
    ) -> Self {
        Self::of(name.into(), Kind::Custom(Arc::new(make)))
    }

    /// The store's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn make(&self, context: &EngineContext, format: StoreFormat) -> Result<Box<dyn KeyValueBytesStore>> {
        Ok(match &self.kind {
            Kind::Custom(make) => make(context)?,
            Kind::Lru(max_entries) => Box::new(LruKeyValueStore::new(self.name.clone(), *max_entries)),
            Kind::Persistent if context.state_dir.is_some() => {
                Box::new(context.open_on_disk(&self.name, format, |task, path| task.engine.open(&self.name, path))?)
            }
            Kind::Persistent | Kind::InMemory => context.in_memory(&self.name),
        })
    }

    /// The engine for values as they are.
    pub(crate) fn get(&self, context: &EngineContext, keys: KeyFormat) -> Result<Box<dyn KeyValueBytesStore>> {
        self.make(context, StoreFormat::new(keys, ValueFormat::Plain))
    }

    /// The engine for values that begin with their headers and timestamp.
    pub(crate) fn get_with_headers(
        &self,
        context: &EngineContext,
        keys: KeyFormat,
    ) -> Result<Box<dyn KeyValueBytesStore>> {
        let make = |values| self.make(context, StoreFormat::new(keys, values));
        Ok(match (self.with_headers, self.timestamped) {
            (true, _) => make(ValueFormat::TimestampedWithHeaders)?,
            (false, true) => Box::new(PlainAdapter::without_headers(make(ValueFormat::Timestamped)?)),
            (false, false) => Box::new(PlainAdapter::without_both(make(ValueFormat::Plain)?)),
        })
    }

    /// The engine for values that begin with their timestamp.
    pub(crate) fn get_timestamped(&self, context: &EngineContext) -> Result<Box<dyn KeyValueBytesStore>> {
        let make = |values| self.make(context, StoreFormat::new(KeyFormat::Plain, values));
        Ok(match self.timestamped {
            true => make(ValueFormat::Timestamped)?,
            false => Box::new(PlainAdapter::without_timestamp(make(ValueFormat::Plain)?)),
        })
    }
}

impl std::fmt::Debug for KeyValueSupplier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyValueSupplier").field("name", &self.name).field("kind", &self.kind.name()).finish()
    }
}
