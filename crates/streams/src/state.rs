//! State stores at the level of bytes: the engines behind the typed stores of [`crate::store`].

mod format;
mod forward;
mod in_memory;
mod lru;
mod lsm;
#[cfg(test)]
mod model_tests;
mod on_disk;
mod open_mark;
mod overlay;
mod plain_adapter;
mod segmented;
mod shared;
mod store_time;
mod supplier;
mod time_supplier;

use std::collections::BTreeMap;

use bytes::Bytes;

pub(crate) use format::{KeyFormat, StoreFormat, ValueFormat};
pub(crate) use forward::forward;
pub use in_memory::InMemoryKeyValueStore;
pub use lru::LruKeyValueStore;
pub use lsm::{LsmEngine, LsmKeyValueStore, LsmOptions};
pub(crate) use on_disk::RestoredFrom;
pub(crate) use open_mark::OpenMark;
pub(crate) use plain_adapter::PlainAdapter;
pub use segmented::{InMemorySegmentedStore, KeySchema, PersistentSegmentedStore, SegmentedBytesStore, TimeRange};
pub use shared::GlobalStores;
pub(crate) use shared::{Shared, Sharing};
pub(crate) use store_time::StoreTime;
pub use supplier::{EngineContext, KeyValueSupplier, StoreSupplier};
pub(crate) use time_supplier::millis;
pub use time_supplier::{SessionSupplier, WindowSupplier};

use crate::error::Result;

/// Where the persistent stores of a task are, and the engine that they share with all others of the process.
#[derive(Clone, Debug)]
pub struct TaskDirectory {
    /// The task's directory; each store has one of its own in it.
    pub path: std::path::PathBuf,
    /// The engine.
    pub engine: LsmEngine,
}

/// The direction of a scan, in the unsigned byte order of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the lowest key up.
    Forward,
    /// From the highest key down.
    Reverse,
}

/// A scan's entries; the iterator owns what it reads, so the store may change meanwhile.
pub type BytesIter = Box<dyn Iterator<Item = Result<(Bytes, Bytes)>> + Send>;

/// An ordered map of bytes, one per store and task.
///
/// Serialisation, caching and the changelog are the layers above. An engine is written by one thread at a time; that of a
/// global store is read by several, while nobody writes.
pub trait KeyValueBytesStore: Send + Sync {
    /// The store's name.
    fn name(&self) -> &str;

    /// Whether the data outlive the process.
    fn persistent(&self) -> bool;

    /// The value of a key.
    ///
    /// # Errors
    /// If the engine cannot read.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// Puts a value, or deletes the key where it is `None`.
    ///
    /// # Errors
    /// If the engine cannot write.
    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()>;

    /// Puts and deletes in order, as one step where the engine can.
    ///
    /// # Errors
    /// If the engine cannot write.
    fn put_batch(&mut self, entries: &[(Bytes, Option<Bytes>)]) -> Result<()> {
        entries.iter().try_for_each(|(key, value)| self.put(key, value.as_deref()))
    }

    /// Puts or deletes what the changelog has. Until [`end_restoration`](Self::end_restoration) a crash may lose it although it
    /// was committed, as long as the offset of that commit is lost too. Default: as [`put`](Self::put).
    ///
    /// # Errors
    /// If the engine cannot write.
    fn restore(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.put(key, value)
    }

    /// Begins to write what was restored and committed, and says whether that is done, so that
    /// [`end_restoration`](Self::end_restoration) has nothing to wait for. Default: nothing is to be written.
    ///
    /// # Errors
    /// If the engine cannot write.
    fn is_restoration_written(&mut self) -> Result<bool> {
        Ok(true)
    }

    /// All of the changelog was [restored](Self::restore) and committed: from now on it is to survive a crash, and so is what
    /// follows, with its commits, where the store goes on following the changelog. Default: nothing to do.
    ///
    /// # Errors
    /// If the engine cannot write.
    fn end_restoration(&mut self) -> Result<()> {
        Ok(())
    }

    /// A key that the engine has forgotten by itself since this was asked last, if it does so.
    fn take_evicted(&mut self) -> Option<Bytes> {
        None
    }

    /// Entries between two keys, both included; `None` leaves a side open.
    ///
    /// # Errors
    /// If the engine cannot read.
    fn range(&self, from: Option<&[u8]>, to: Option<&[u8]>, order: Order) -> Result<BytesIter>;

    /// The first entry between two keys, both included; `None` leaves a side open.
    ///
    /// # Errors
    /// If the engine cannot read.
    fn first(&self, from: Option<&[u8]>, to: Option<&[u8]>) -> Result<Option<(Bytes, Bytes)>> {
        self.range(from, to, Order::Forward)?.next().transpose()
    }

    /// Entries whose key begins with `prefix`.
    ///
    /// # Errors
    /// If the engine cannot read.
    fn prefix(&self, prefix: &[u8], order: Order) -> Result<BytesIter>;

    /// All entries.
    ///
    /// # Errors
    /// If the engine cannot read.
    fn all(&self, order: Order) -> Result<BytesIter> {
        self.range(None, None, order)
    }

    /// About how many entries there are.
    fn approximate_num_entries(&self) -> u64;

    /// Makes everything put so far durable together with the changelog offset it covers, atomically.
    ///
    /// # Errors
    /// If the engine cannot write.
    fn commit(&mut self, changelog_offset: Option<i64>) -> Result<()>;

    /// Forgets what was put since the last [`commit`](KeyValueBytesStore::commit), as if it had never been put: the
    /// transaction that it was part of did not come to be. False if the engine cannot, or cannot say that it has nothing of
    /// it: under exactly-once its entries are deleted then, and restored from the changelog. Default: false.
    ///
    /// # Errors
    /// If the engine cannot write.
    fn forget(&mut self) -> Result<bool> {
        Ok(false)
    }

    /// Whether reads from now on leave out what was put since the last [`commit`](KeyValueBytesStore::commit); not before
    /// this is asked. An engine that cannot [forget](Self::forget) does not tell the two apart.
    fn read_committed(&mut self, _only: bool) {}

    /// The offset of the last [`commit`](KeyValueBytesStore::commit) that survived, where the engine keeps it.
    ///
    /// # Errors
    /// If the engine cannot read.
    fn committed_offset(&self) -> Result<Option<i64>>;

    /// [`commit`](KeyValueBytesStore::commit) of a global store: with the offset of every partition of its topic.
    ///
    /// # Errors
    /// If the engine cannot write.
    fn commit_partitions(&mut self, _offsets: &BTreeMap<i32, i64>) -> Result<()> {
        self.commit(None)
    }

    /// The offsets of the last [`commit_partitions`](KeyValueBytesStore::commit_partitions) that survived; `None` where
    /// it is not known what the engine covers, which is then filled anew.
    ///
    /// # Errors
    /// If the engine cannot read.
    fn committed_partitions(&self) -> Result<Option<BTreeMap<i32, i64>>> {
        Ok(None)
    }

    /// Whether more than its share of memory is taken by what was put since the last
    /// [`commit`](KeyValueBytesStore::commit): one is wanted now, for nothing else makes room.
    fn needs_commit(&self) -> bool {
        false
    }

    /// About how much memory what was put since the last [`commit`](KeyValueBytesStore::commit) takes, in bytes: what
    /// `statestore.uncommitted.max.bytes` bounds. Default: 0.
    fn uncommitted_bytes(&self) -> u64 {
        0
    }

    /// Deletes all entries, and forgets the offsets that were committed.
    ///
    /// # Errors
    /// If the engine cannot write.
    fn clear(&mut self) -> Result<()> {
        for entry in self.all(Order::Forward)? {
            self.put(&entry?.0, None)?;
        }
        Ok(())
    }

    /// Closes the engine; what was not committed may be lost.
    ///
    /// # Errors
    /// If the engine cannot close its files.
    fn close(&mut self) -> Result<()>;

    /// Closes the engine before its files are deleted, so that nothing has to be written any more.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    fn discard(&mut self) -> Result<()> {
        self.close()
    }
}
