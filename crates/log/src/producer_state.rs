//! What a log knows of its producers: the last batches of each, to answer a repeated one with its old offset and to
//! refuse one that leaves a gap; and the transactions that are open.

mod append_info;
mod entry;
mod snapshot;
mod verification;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

pub(crate) use append_info::{CompletedTxn, EndTxnMarker, ProducerAppendInfo};
pub(crate) use entry::BatchMetadata;
pub use entry::ProducerStateEntry;
pub use snapshot::read as read_producer_snapshot;
use verification::Verifications;
pub use verification::{TransactionStart, VerificationGuard};

use crate::batch::BatchHeader;
use crate::dynamic::DynamicLogSettings;
use crate::error::{LogError, Result};
use crate::file;
use crate::file_names::{self, DELETED, SNAPSHOT};
use crate::log_offset::LogOffsetMetadata;

/// An open or not yet fully replicated transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TxnMetadata {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: LogOffsetMetadata,
    pub(crate) last_offset: Option<i64>,
}

/// The producers of one log, and the snapshots of them on disk.
#[derive(Debug)]
pub(crate) struct ProducerStateManager {
    dir: PathBuf,
    /// A producer without an open transaction is forgotten after a time without a write.
    settings: Arc<DynamicLogSettings>,
    producers: HashMap<i64, ProducerStateEntry>,
    verifications: Verifications,
    /// Open transactions by first offset.
    ongoing_txns: BTreeMap<i64, TxnMetadata>,
    /// Completed transactions whose marker is above the high watermark.
    unreplicated_txns: BTreeMap<i64, TxnMetadata>,
    /// Offsets that a snapshot exists for.
    snapshots: BTreeSet<i64>,
    /// Up to where the log is contained in this state.
    last_map_offset: i64,
    last_snap_offset: i64,
    /// The newest snapshot, where it was written and is not known to be on disk.
    unsynced: Option<i64>,
}

impl ProducerStateManager {
    pub(crate) fn open(dir: &Path, settings: Arc<DynamicLogSettings>) -> Result<Self> {
        Ok(Self {
            dir: dir.to_owned(),
            settings,
            producers: HashMap::new(),
            verifications: Verifications::default(),
            ongoing_txns: BTreeMap::new(),
            unreplicated_txns: BTreeMap::new(),
            snapshots: list_snapshots(dir)?,
            last_map_offset: 0,
            last_snap_offset: 0,
            unsynced: None,
        })
    }

    pub(crate) fn producers(&self) -> impl Iterator<Item = &ProducerStateEntry> {
        self.producers.values()
    }

    pub(crate) fn producer_count(&self) -> usize {
        self.producers.len()
    }

    pub(crate) fn last_entry(&self, producer_id: i64) -> Option<&ProducerStateEntry> {
        self.producers.get(&producer_id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.producers.is_empty() && self.unreplicated_txns.is_empty()
    }

    pub(crate) fn map_end_offset(&self) -> i64 {
        self.last_map_offset
    }

    pub(crate) fn update_map_end_offset(&mut self, offset: i64) {
        self.last_map_offset = offset;
    }

    pub(crate) fn latest_snapshot_offset(&self) -> Option<i64> {
        self.snapshots.last().copied()
    }

    /// The first offset that may not be given to readers of committed data: of the oldest transaction that is open or
    /// whose marker is not yet below the high watermark.
    pub(crate) fn first_unstable_offset(&self) -> Option<LogOffsetMetadata> {
        let first = |txns: &BTreeMap<i64, TxnMetadata>| txns.values().next().map(|txn| txn.first_offset);
        match (first(&self.ongoing_txns), first(&self.unreplicated_txns)) {
            (Some(a), Some(b)) => Some(if a.message_offset < b.message_offset { a } else { b }),
            (a, b) => a.or(b),
        }
    }

    /// The first offset of the oldest open transaction.
    pub(crate) fn first_undecided_offset(&self) -> Option<i64> {
        self.ongoing_txns.keys().next().copied()
    }

    pub(crate) fn on_high_watermark_updated(&mut self, high_watermark: i64) {
        self.remove_unreplicated(high_watermark);
    }

    pub(crate) fn on_log_start_offset_incremented(&mut self, log_start_offset: i64) {
        self.remove_unreplicated(log_start_offset);
        self.last_map_offset = self.last_map_offset.max(log_start_offset);
        self.last_snap_offset = self.latest_snapshot_offset().unwrap_or(log_start_offset);
    }

    fn remove_unreplicated(&mut self, below: i64) {
        if !self.unreplicated_txns.is_empty() {
            self.unreplicated_txns.retain(|_, txn| txn.last_offset.is_none_or(|last| last >= below));
        }
    }

    /// Forgets producers that did not write for long.
    pub(crate) fn remove_expired(&mut self, now_ms: i64) {
        let expiration = self.settings.producer_id_expiration_ms();
        self.producers.retain(|_, entry| !entry.is_expired(now_ms, expiration));
        self.verifications.remove_expired(now_ms, expiration);
    }

    /// Begins to ask for a transaction; [`VerificationGuard::SENTINEL`] where it is open here, so that nothing need be
    /// asked.
    pub(crate) fn start_verification(&mut self, start: &TransactionStart, now_ms: i64) -> Result<VerificationGuard> {
        self.check_newest_epoch(start.producer_id, start.producer_epoch)?;
        if self.has_ongoing_transaction(start.producer_id, start.producer_epoch) {
            return Ok(VerificationGuard::SENTINEL);
        }
        Ok(self.verifications.start(start, now_ms))
    }

    /// Refuses a transactional batch that begins a transaction here without having been asked for.
    pub(crate) fn check_transaction(&self, header: &BatchHeader, guard: Option<VerificationGuard>) -> Result<()> {
        if self.has_ongoing_transaction(header.producer_id(), header.producer_epoch()) {
            return Ok(());
        }
        self.check_newest_epoch(header.producer_id(), header.producer_epoch())?;
        match guard {
            Some(guard) if !header.is_control() && !self.verifications.verifies(header.producer_id(), guard) => {
                Err(LogError::InvalidTxnState("Record was not part of an ongoing transaction".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Notes that a transactional batch was accepted.
    pub(crate) fn end_verification(&mut self, header: &BatchHeader) {
        self.verifications.end(header.producer_id(), header.producer_epoch(), header.is_control());
    }

    fn has_ongoing_transaction(&self, producer_id: i64, producer_epoch: i16) -> bool {
        let entry = self.producers.get(&producer_id);
        entry.is_some_and(|e| e.current_txn_first_offset.is_some() && e.producer_epoch == producer_epoch)
    }

    fn check_newest_epoch(&self, producer_id: i64, producer_epoch: i16) -> Result<()> {
        match self.producers.get(&producer_id) {
            Some(entry) if producer_epoch < entry.producer_epoch => Err(LogError::InvalidProducerEpoch(format!(
                "Epoch of producer {producer_id} is {producer_epoch}, which is smaller than the last seen epoch {}",
                entry.producer_epoch
            ))),
            _ => Ok(()),
        }
    }

    /// Where updates of a producer's state are gathered during an append.
    pub(crate) fn prepare_update(&self, producer_id: i64, from_client: bool) -> ProducerAppendInfo {
        let asked_for = if from_client { self.verifications.get(producer_id).copied() } else { None };
        ProducerAppendInfo::new(producer_id, self.producers.get(&producer_id), from_client, asked_for)
    }

    /// Takes over what an append changed.
    pub(crate) fn update(&mut self, info: ProducerAppendInfo) {
        let (updated, started) = info.into_parts();
        for txn in started {
            self.ongoing_txns.insert(txn.first_offset.message_offset, txn);
        }
        match self.producers.get_mut(&updated.producer_id) {
            Some(entry) => entry.merge(&updated),
            None => {
                self.producers.insert(updated.producer_id, updated);
            }
        }
    }

    /// The last stable offset once `completed` is over.
    pub(crate) fn last_stable_offset(&self, completed: &CompletedTxn) -> i64 {
        let other = self.ongoing_txns.values().find(|txn| txn.producer_id != completed.producer_id);
        other.map_or(completed.last_offset + 1, |txn| txn.first_offset.message_offset)
    }

    pub(crate) fn complete_txn(&mut self, completed: &CompletedTxn) -> Result<()> {
        let Some(mut txn) = self.ongoing_txns.remove(&completed.first_offset) else {
            return Err(LogError::InvalidArgument(format!(
                "attempted to complete a transaction of producer {} which was not started at offset {}",
                completed.producer_id, completed.first_offset
            )));
        };
        txn.last_offset = Some(completed.last_offset);
        self.unreplicated_txns.insert(completed.first_offset, txn);
        Ok(())
    }

    /// Brings the state to `log_end_offset`: from memory where it is there already, else from the latest snapshot.
    /// The caller then replays the log from [`ProducerStateManager::map_end_offset`].
    pub(crate) fn truncate_and_reload(
        &mut self,
        log_start_offset: i64,
        log_end_offset: i64,
        now_ms: i64,
    ) -> Result<()> {
        let outside = |offset: &i64| *offset > log_end_offset || *offset <= log_start_offset;
        for offset in self.snapshots.iter().copied().filter(outside).collect::<Vec<_>>() {
            self.delete_snapshot(offset)?;
        }
        if log_end_offset == self.last_map_offset {
            self.on_log_start_offset_incremented(log_start_offset);
            return Ok(());
        }
        self.clear();
        while let Some(offset) = self.latest_snapshot_offset() {
            let path = self.snapshot_path(offset);
            match snapshot::read(&path) {
                Ok(entries) => {
                    for entry in entries {
                        if !entry.is_expired(now_ms, self.settings.producer_id_expiration_ms()) {
                            self.load_entry(entry);
                        }
                    }
                    self.last_snap_offset = offset;
                    self.last_map_offset = offset;
                    return Ok(());
                }
                Err(LogError::Malformed { reason, .. }) => {
                    tracing::warn!(path = %path.display(), "failed to load producer snapshot: {reason}");
                    self.delete_snapshot(offset)?;
                }
                Err(e) => return Err(e),
            }
        }
        self.last_snap_offset = log_start_offset;
        self.last_map_offset = log_start_offset;
        Ok(())
    }

    fn load_entry(&mut self, entry: ProducerStateEntry) {
        if let Some(first_offset) = entry.current_txn_first_offset {
            let first_offset = LogOffsetMetadata::only(first_offset);
            let txn = TxnMetadata { producer_id: entry.producer_id, first_offset, last_offset: None };
            self.ongoing_txns.insert(first_offset.message_offset, txn);
        }
        self.producers.insert(entry.producer_id, entry);
    }

    fn clear(&mut self) {
        self.producers.clear();
        self.ongoing_txns.clear();
        self.unreplicated_txns.clear();
    }

    /// Forgets everything, snapshots too.
    pub(crate) fn truncate_fully_and_start_at(&mut self, offset: i64) -> Result<()> {
        self.clear();
        for offset in std::mem::take(&mut self.snapshots) {
            file::remove_if_exists(&self.snapshot_path(offset))?;
        }
        self.last_snap_offset = 0;
        self.last_map_offset = offset;
        Ok(())
    }

    /// Writes a snapshot where something happened since the last one; gives its path then. It is in the page cache: one
    /// that a loss of power damages is seen by its checksum, and the one before it is used.
    pub(crate) fn take_snapshot(&mut self) -> Result<Option<PathBuf>> {
        if self.last_map_offset <= self.last_snap_offset {
            return Ok(None);
        }
        let path = self.snapshot_path(self.last_map_offset);
        snapshot::write(&path, self.producers.values())?;
        self.unsynced = Some(self.last_map_offset);
        self.snapshots.insert(self.last_map_offset);
        self.last_snap_offset = self.last_map_offset;
        Ok(Some(path))
    }

    /// The newest snapshot's file, where it waits to be brought to the disk.
    pub(crate) fn unsynced_file(&self) -> Option<PathBuf> {
        self.unsynced.map(|offset| self.snapshot_path(offset))
    }

    /// Says that the newest snapshot is on disk.
    pub(crate) fn mark_synced(&mut self) {
        self.unsynced = None;
    }

    /// Removes snapshots that belong to no segment; the latest one may stay, it is of a clean shutdown.
    pub(crate) fn remove_stray_snapshots(&mut self, segment_base_offsets: &[i64]) -> Result<()> {
        self.snapshots = list_snapshots(&self.dir)?;
        let is_stray = |offset: &i64| segment_base_offsets.binary_search(offset).is_err();
        let mut strays: Vec<i64> = self.snapshots.iter().copied().filter(is_stray).collect();
        if let Some(latest) = strays.last()
            && segment_base_offsets.last().is_none_or(|last| latest >= last)
        {
            strays.pop();
        }
        for offset in strays {
            self.delete_snapshot(offset)?;
        }
        Ok(())
    }

    /// Renames the snapshot of a segment that goes; gives the new path, to be removed with the segment's files.
    pub(crate) fn mark_snapshot_for_deletion(&mut self, offset: i64) -> Result<Option<PathBuf>> {
        if !self.snapshots.remove(&offset) {
            return Ok(None);
        }
        let deleted = file_names::segment_file(&self.dir, offset, SNAPSHOT, DELETED);
        Ok(file::rename_if_exists(&self.snapshot_path(offset), &deleted)?.then_some(deleted))
    }

    fn delete_snapshot(&mut self, offset: i64) -> Result<()> {
        self.snapshots.remove(&offset);
        file::remove_if_exists(&self.snapshot_path(offset))?;
        Ok(())
    }

    fn snapshot_path(&self, offset: i64) -> PathBuf {
        file_names::segment_file(&self.dir, offset, SNAPSHOT, "")
    }
}

fn list_snapshots(dir: &Path) -> Result<BTreeSet<i64>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(e) => return Err(e.into()),
    };
    let mut offsets = BTreeSet::new();
    for entry in entries {
        let name = entry?.file_name();
        if let Some(name) = name.to_str()
            && name.ends_with(SNAPSHOT)
        {
            offsets.extend(file_names::offset_of(name));
        }
    }
    Ok(offsets)
}
