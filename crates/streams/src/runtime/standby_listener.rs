//! What an application is told of its standbys.

use vltava_client::TopicPartition;

use crate::task::TaskId;

/// Told how standbys follow their changelogs; Kafka's `StandbyUpdateListener` (KIP-988). Called on stream threads.
pub trait StandbyUpdateListener: Send + Sync {
    /// A standby's store begins to follow its changelog, from this offset on.
    fn on_update_start(&self, changelog: &TopicPartition, store: &str, starting_offset: i64) {
        let _ = (changelog, store, starting_offset);
    }
    /// The store has taken records.
    fn on_batch_loaded(&self, changelog: &TopicPartition, store: &str, batch: &LoadedBatch) {
        let _ = (changelog, store, batch);
    }
    /// The store does not follow any more. `suspended` tells how far it came, and why it is.
    fn on_update_suspended(&self, changelog: &TopicPartition, store: &str, suspended: &SuspendedUpdate) {
        let _ = (changelog, store, suspended);
    }
}

/// Records that a standby's store has taken: what Kafka's `onBatchLoaded` is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadedBatch {
    /// The standby.
    pub task_id: TaskId,
    /// The offset of the last record.
    pub batch_end_offset: i64,
    /// How many there were.
    pub batch_size: u64,
    /// The offset of the changelog's last record, as far as it is known; that of the batch otherwise.
    pub current_end_offset: i64,
}

/// How far a standby's store came: what Kafka's `onUpdateSuspended` is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SuspendedUpdate {
    /// The offset of the last record that the store has; -1 for none.
    pub store_offset: i64,
    /// The offset of the changelog's last record; -1 where it is not known.
    pub current_end_offset: i64,
    /// Why it does not follow any more.
    pub reason: SuspendReason,
}

/// Why a standby does not follow its changelogs any more; Kafka's `SuspendReason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SuspendReason {
    /// The standby goes to another thread or instance, or begins anew: its store is closed.
    Migrated,
    /// It becomes the active task, with the store.
    Promoted,
}
