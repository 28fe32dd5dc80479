//! Which engine a store gets.

use std::sync::Arc;

use super::{InMemoryKeyValueStore, KeyValueBytesStore, PlainAdapter, TaskDirectory};
use crate::error::Result;

/// What an engine is told when a task makes it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EngineContext {
    /// The task, `subtopology_partition`.
    pub task_id: String,
    /// The task's directory; `None` in the test driver, which keeps everything in memory.
    pub state_dir: Option<TaskDirectory>,
}

type Make = Arc<dyn Fn(&EngineContext) -> Result<Box<dyn KeyValueBytesStore>> + Send + Sync>;

/// Makes the engine of a key-value store.
#[derive(Clone)]
pub struct KeyValueSupplier {
    name: String,
    kind: &'static str,
    /// Whether it keeps the timestamps of a table's values. In memory all do.
    timestamped: bool,
    /// Whether it keeps their headers. In memory all do.
    with_headers: bool,
    make: Make,
}

impl KeyValueSupplier {
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
        let name = name.into();
        let store = name.clone();
        let make: Make = Arc::new(move |context| match &context.state_dir {
            None => Ok(Box::new(InMemoryKeyValueStore::new(store.clone()))),
            Some(directory) => Ok(Box::new(directory.engine.open(&store, &directory.path.join(&store))?)),
        });
        KeyValueSupplier { name, kind: "persistent", timestamped: false, with_headers: false, make }
    }

    /// Kafka's `Stores.inMemoryKeyValueStore`.
    pub fn in_memory(name: impl Into<String>) -> Self {
        let name = name.into();
        let store = name.clone();
        let make: Make = Arc::new(move |_| Ok(Box::new(InMemoryKeyValueStore::new(store.clone()))));
        KeyValueSupplier { name, kind: "in-memory", timestamped: true, with_headers: true, make }
    }

    /// An engine of the application's own.
    pub fn custom(
        name: impl Into<String>,
        make: impl Fn(&EngineContext) -> Result<Box<dyn KeyValueBytesStore>> + Send + Sync + 'static,
    ) -> Self {
        KeyValueSupplier {
            name: name.into(),
            kind: "custom",
            timestamped: true,
            with_headers: true,
            make: Arc::new(make),
        }
    }

    /// The store's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn get(&self, context: &EngineContext) -> Result<Box<dyn KeyValueBytesStore>> {
        (self.make)(context)
    }

    /// The engine for values that begin with their headers and timestamp.
    pub(crate) fn get_with_headers(&self, context: &EngineContext) -> Result<Box<dyn KeyValueBytesStore>> {
        let engine = (self.make)(context)?;
        Ok(match (self.with_headers, self.timestamped) {
            (true, _) => engine,
            (false, true) => Box::new(PlainAdapter::without_headers(engine)),
            (false, false) => Box::new(PlainAdapter::without_both(engine)),
        })
    }

    /// The engine for values that begin with their timestamp.
    pub(crate) fn get_timestamped(&self, context: &EngineContext) -> Result<Box<dyn KeyValueBytesStore>> {
        let engine = (self.make)(context)?;
        Ok(if self.timestamped { engine } else { Box::new(PlainAdapter::without_timestamp(engine)) })
    }
}

impl std::fmt::Debug for KeyValueSupplier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyValueSupplier").field("name", &self.name).field("kind", &self.kind).finish()
    }
}
