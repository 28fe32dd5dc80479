//! Engines of keys in time: below window and session stores.

mod in_memory;
mod persistent;
mod schema;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;

pub use in_memory::InMemorySegmentedStore;
pub use persistent::PersistentSegmentedStore;
pub(crate) use persistent::Segmentation;
pub use schema::KeySchema;

use super::{BytesIter, Order};
use crate::error::Result;

/// Which entries a scan is for.
///
/// For windows those whose start lies between `from` and `to`; for sessions those that end at `from` or later and begin
/// at `to` or earlier: which may touch the span between the two. Keys are without their window.
#[derive(Clone, Copy, Debug)]
pub struct TimeRange<'a> {
    /// The lowest key; `None` leaves the side open.
    pub from_key: Option<&'a [u8]>,
    /// The highest key, included; `None` leaves the side open.
    pub to_key: Option<&'a [u8]>,
    /// In ms since the epoch, included.
    pub from: i64,
    /// In ms since the epoch, included.
    pub to: i64,
}

impl TimeRange<'_> {
    /// Everything.
    pub const ALL: TimeRange<'static> = TimeRange { from_key: None, to_key: None, from: 0, to: i64::MAX };

    pub(crate) fn has_key(&self, key: &[u8]) -> bool {
        self.from_key.is_none_or(|from| key >= from) && self.to_key.is_none_or(|to| key <= to)
    }

    /// Whether the lowest key is above the highest.
    pub(crate) fn is_backwards(&self) -> bool {
        matches!((self.from_key, self.to_key), (Some(from), Some(to)) if from > to)
    }
}

/// A map from keys in time to bytes that forgets what is older than its retention.
///
/// Its keys are those of the changelog, as [`KeySchema`] says. The time of the store is the greatest of any key put; a
/// key whose time is the retention or more before it has expired.
///
/// A task that begins anew after a crash finds a store that is ahead of it: the changelog has what the task wrote after
/// its last commit, and what led to it is processed again. So the store's time is that of the commit then, and nothing is
/// lost that had not expired by it, as two rules have it: while it is restored the time goes no further than
/// [`limit_time`](Self::limit_time) says, and what outlives a crash is dropped by [`commit`](Self::commit) only. An engine
/// that does not keep them is right as long as no task crashes.
pub trait SegmentedBytesStore: Send + Sync {
    /// The store's name.
    fn name(&self) -> &str;

    /// Whether the data outlive the process.
    fn persistent(&self) -> bool;

    /// The value of a key; `None` for an expired one.
    ///
    /// # Errors
    /// If the engine cannot read.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// Puts a value, or deletes the key where it is `None`. False if the key has expired, and nothing was done.
    ///
    /// # Errors
    /// If the engine cannot write.
    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<bool>;

    /// Puts or deletes what the changelog has, as [`KeyValueBytesStore::restore`](super::KeyValueBytesStore::restore) does.
    /// Default: as [`put`](Self::put).
    ///
    /// # Errors
    /// If the engine cannot write.
    fn restore(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<bool> {
        self.put(key, value)
    }

    /// As [`KeyValueBytesStore::is_restoration_written`](super::KeyValueBytesStore::is_restoration_written). Default: nothing is to
    /// be written.
    ///
    /// # Errors
    /// If the engine cannot write.
    fn is_restoration_written(&mut self) -> Result<bool> {
        Ok(true)
    }

    /// As [`KeyValueBytesStore::end_restoration`](super::KeyValueBytesStore::end_restoration). Default: nothing to do.
    ///
    /// # Errors
    /// If the engine cannot write.
    fn end_restoration(&mut self) -> Result<()> {
        Ok(())
    }

    /// Deletes a key, whether or not it has expired.
    ///
    /// # Errors
    /// If the engine cannot write.
    fn remove(&mut self, key: &[u8]) -> Result<()> {
        self.put(key, None).map(drop)
    }

    /// The entries of a range that have not expired. In which order they come is up to the engine.
    ///
    /// # Errors
    /// If the engine cannot read.
    fn fetch(&self, range: &TimeRange<'_>, order: Order) -> Result<BytesIter>;

    /// The time of the store, in ms; -1 before the first put. `None` where the engine does not tell: then a commit does not
    /// keep it if it is ahead of the task's records.
    fn time(&self) -> Option<i64> {
        None
    }

    /// Lets the time of the store go no further than this (in ms), whatever is or was put, until it is asked again;
    /// `i64::MAX` is no limit. Keys of a later time are put nevertheless.
    fn limit_time(&mut self, _limit: i64) {}

    /// Keeps entries from this time on (in ms) although they have expired, for [`fetch_held`](Self::fetch_held): those
    /// of windows whose result is still to be emitted.
    fn hold_from(&mut self, _time: i64) {}

    /// [`fetch`](Self::fetch) with expired entries that are held.
    ///
    /// # Errors
    /// If the engine cannot read.
    fn fetch_held(&self, range: &TimeRange<'_>, order: Order) -> Result<BytesIter> {
        self.fetch(range, order)
    }

    /// Makes everything put so far durable together with the changelog offset it covers, atomically. What led to it is
    /// committed and will not be processed again.
    ///
    /// # Errors
    /// If the engine cannot write.
    fn commit(&mut self, changelog_offset: Option<i64>) -> Result<()>;

    /// Forgets what was put since the last [`commit`](SegmentedBytesStore::commit), as if it had never been put: the
    /// transaction that it was part of did not come to be. False if the engine cannot, or cannot say that it has nothing of
    /// it: under exactly-once its entries are deleted then, and restored from the changelog. Default: false.
    ///
    /// # Errors
    /// If the engine cannot write.
    fn forget(&mut self) -> Result<bool> {
        Ok(false)
    }

    /// Whether reads from now on leave out what was put since the last [`commit`](SegmentedBytesStore::commit); not before
    /// this is asked. An engine that cannot [forget](Self::forget) does not tell the two apart.
    fn read_committed(&mut self, _only: bool) {}

    /// The offset of the last [`commit`](SegmentedBytesStore::commit) that survived, where the engine keeps it.
    ///
    /// # Errors
    /// If the engine cannot read.
    fn committed_offset(&self) -> Result<Option<i64>>;

    /// [`commit`](SegmentedBytesStore::commit) of a global store: with the offset of every partition of its topic.
    ///
    /// # Errors
    /// If the engine cannot write.
    fn commit_partitions(&mut self, _offsets: &BTreeMap<i32, i64>) -> Result<()> {
        self.commit(None)
    }

    /// The offsets of the last [`commit_partitions`](SegmentedBytesStore::commit_partitions) that survived; `None` where
    /// it is not known what the engine covers, which is then filled anew.
    ///
    /// # Errors
    /// If the engine cannot read.
    fn committed_partitions(&self) -> Result<Option<BTreeMap<i32, i64>>> {
        Ok(None)
    }

    /// Whether more than its share of memory is taken by what was put since the last
    /// [`commit`](SegmentedBytesStore::commit): one is wanted now, for nothing else makes room.
    fn needs_commit(&self) -> bool {
        false
    }

    /// About how much memory what was put since the last [`commit`](SegmentedBytesStore::commit) takes, in bytes: what
    /// `statestore.uncommitted.max.bytes` bounds. Default: 0.
    fn uncommitted_bytes(&self) -> u64 {
        0
    }

    /// Deletes all entries, and forgets the offsets that were committed.
    ///
    /// # Errors
    /// If the engine cannot write.
    fn clear(&mut self) -> Result<()> {
        for entry in self.fetch_held(&TimeRange::ALL, Order::Forward)? {
            self.remove(&entry?.0)?;
        }
        Ok(())
    }

    /// Closes the engine; what was not committed may be lost.
    ///
    /// # Errors
    /// If the engine cannot close its files.
    fn close(&mut self) -> Result<()>;
}
