//! Which engine a store gets.

use std::sync::Arc;

use super::{InMemoryKeyValueStore, KeyValueBytesStore, TaskDirectory};
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
    make: Make,
}

impl KeyValueSupplier {
    /// Kafka's `Stores.persistentKeyValueStore`: an engine that outlives the process.
    pub fn persistent(name: impl Into<String>) -> Self {
        let name = name.into();
        let store = name.clone();
        let make: Make = Arc::new(move |context| match &context.state_dir {
            None => Ok(Box::new(InMemoryKeyValueStore::new(store.clone()))),
            Some(directory) => Ok(Box::new(directory.engine.open(&store, &directory.path.join(&store))?)),
        });
        KeyValueSupplier { name, kind: "persistent", make }
    }

    /// Kafka's `Stores.inMemoryKeyValueStore`.
    pub fn in_memory(name: impl Into<String>) -> Self {
        let name = name.into();
        let store = name.clone();
        let make: Make = Arc::new(move |_| Ok(Box::new(InMemoryKeyValueStore::new(store.clone()))));
        KeyValueSupplier { name, kind: "in-memory", make }
    }

    /// An engine of the application's own.
    pub fn custom(
        name: impl Into<String>,
        make: impl Fn(&EngineContext) -> Result<Box<dyn KeyValueBytesStore>> + Send + Sync + 'static,
    ) -> Self {
        KeyValueSupplier { name: name.into(), kind: "custom", make: Arc::new(make) }
    }

    /// The store's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn get(&self, context: &EngineContext) -> Result<Box<dyn KeyValueBytesStore>> {
        (self.make)(context)
    }
}

impl std::fmt::Debug for KeyValueSupplier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyValueSupplier").field("name", &self.name).field("kind", &self.kind).finish()
    }
}
