//! Folding the metadata log when a broker starts.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use vltava_log::manager::SharedLog;
use vltava_log::{FetchIsolation, LogError};
use vltava_protocol::Uuid;
use vltava_protocol::record::{Decompressor, RecordBatches};
use vltava_protocol::records::metadata::MetadataRecord;

use super::image::MetadataImage;
use super::read_batch;
use crate::error::BrokerError;

/// How much of the log is read at once.
const LOAD_BYTES: usize = 1024 * 1024;

/// Beside the log: what `kafka-storage format` was told, for a log that has nothing yet.
const FORMATTED: &str = "bootstrap.checkpoint";

/// The epoch of the first controller.
const FIRST_EPOCH: i32 = 1;

/// What the log says.
pub(super) struct Loaded {
    pub(super) image: MetadataImage,
    /// Topics that were deleted, as far as the log tells of them.
    pub(super) removed_topics: HashSet<Uuid>,
    pub(super) end_offset: i64,
    /// The latest controller's.
    pub(super) epoch: i32,
    /// What the directory was formatted with, levels of features and users, where the log has nothing yet.
    pub(super) formatted: Option<MetadataImage>,
}

/// Folds the newest snapshot, where the log does not go back to its beginning, and the log after it.
pub(super) fn load(log: &SharedLog) -> Result<Loaded, BrokerError> {
    let (start, end, dir, epoch) = {
        let log = log.lock();
        let epoch = log.leader_epochs().latest().map_or(FIRST_EPOCH, |entry| entry.epoch.max(FIRST_EPOCH));
        (log.log_start_offset(), log.log_end_offset(), log.dir().to_owned(), epoch)
    };
    let mut folding = Folding::default();
    let mut next = start;
    if start > 0 {
        let (offset, path) = newest_snapshot(&dir, start, end)?;
        let bytes = fs::read(&path).map_err(|source| BrokerError::Io { action: "read", path: path.clone(), source })?;
        folding.fold(Bytes::from(bytes), &path, None)?;
        next = offset;
    }
    while next < end {
        let plan = log.lock().read(next, LOAD_BYTES, FetchIsolation::LogEnd, true);
        let bytes = plan.and_then(|plan| plan.read()).map_err(|source| failed(log, source))?;
        let before = next;
        next = folding.fold(bytes, &dir, Some(next))?;
        if next == before {
            break;
        }
    }
    if folding.before_transaction.is_some() {
        let reason = "ends within a transaction of several batches, which was never completed".to_owned();
        return Err(BrokerError::Metadata { reason });
    }
    let formatted = if end == 0 { formatted(&dir)? } else { None };
    let Folding { image, removed_topics, .. } = folding;
    Ok(Loaded { image, removed_topics, end_offset: end, epoch, formatted })
}

/// What the directory of a log was formatted with; `None` where Kafka's tool has not formatted it.
fn formatted(log: &Path) -> Result<Option<MetadataImage>, BrokerError> {
    let Some(path) = log.parent().map(|dir| dir.join(FORMATTED)) else { return Ok(None) };
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|source| BrokerError::Io { action: "read", path: path.clone(), source })?,
    };
    let mut folding = Folding::default();
    folding.fold(Bytes::from(bytes), &path, None)?;
    Ok(Some(folding.image))
}

#[derive(Default)]
struct Folding {
    image: MetadataImage,
    removed_topics: HashSet<Uuid>,
    /// The state before a transaction of several batches (KIP-868), to go back to where it was aborted.
    before_transaction: Option<MetadataImage>,
    decompressor: Decompressor,
}

impl Folding {
    /// Folds batches, those below `from` left out; gives the offset after them.
    fn fold(&mut self, bytes: Bytes, path: &Path, from: Option<i64>) -> Result<i64, BrokerError> {
        let mut next = from.unwrap_or(0);
        for batch in RecordBatches::new(bytes) {
            let at = next;
            let wrong = |reason: String| BrokerError::Metadata {
                reason: format!("`{}` at offset {at}: {reason}", path.display()),
            };
            let batch = batch.map_err(|e| wrong(e.to_string()))?;
            batch.verify_crc().map_err(|e| wrong(e.to_string()))?;
            if !batch.header().is_control() {
                for (offset, record) in read_batch(&batch, &mut self.decompressor).map_err(|e| wrong(e.to_string()))? {
                    if from.is_none_or(|from| offset >= from) {
                        self.replay(record).map_err(&wrong)?;
                    }
                }
            }
            next = batch.last_offset() + 1;
        }
        Ok(next)
    }

    fn replay(&mut self, record: MetadataRecord) -> Result<(), String> {
        match &record {
            MetadataRecord::BeginTransaction(_) => self.before_transaction = Some(self.image.clone()),
            MetadataRecord::EndTransaction(_) => self.before_transaction = None,
            MetadataRecord::AbortTransaction(_) => {
                if let Some(before) = self.before_transaction.take() {
                    self.image = before;
                }
            }
            MetadataRecord::RemoveTopic(removed) => {
                self.removed_topics.insert(removed.topic_id);
            }
            _ => {}
        }
        self.image.replay(&record).map_err(|e| e.to_string())
    }
}

/// The newest snapshot that the log goes on from, `offset-epoch.checkpoint`.
fn newest_snapshot(dir: &Path, start: i64, end: i64) -> Result<(i64, PathBuf), BrokerError> {
    let listed =
        fs::read_dir(dir).map_err(|source| BrokerError::Io { action: "list", path: dir.to_owned(), source })?;
    let snapshots = listed.filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name();
        let (offset, _) = name.to_str()?.strip_suffix(".checkpoint")?.split_once('-')?;
        Some((offset.parse::<i64>().ok()?, entry.path()))
    });
    let usable = snapshots.filter(|(offset, _)| (start..=end).contains(offset));
    usable.max().ok_or_else(|| {
        let reason = format!("begins at offset {start}, and no snapshot in `{}` tells what was before", dir.display());
        BrokerError::Metadata { reason }
    })
}

fn failed(log: &SharedLog, source: LogError) -> BrokerError {
    BrokerError::Log { partition: log.lock().topic_partition().to_string(), source }
}

#[cfg(test)]
mod tests;
