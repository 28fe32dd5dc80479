//! What happens to logs without anybody asking: retention, flushes, checkpoints, removal.

use std::sync::Arc;

use tracing::{debug, warn};
use vltava_log::LogError;

use super::Partitions;
use crate::partition::Partition;

impl Partitions {
    /// Deletes old segments and forgets idle producers.
    pub(crate) fn apply_retention(&self, now_ms: i64) {
        for partition in self.all() {
            let deleted = partition.with_log(|log| {
                log.remove_expired_producers(now_ms);
                log.delete_old_segments(now_ms)
            });
            match deleted {
                Ok(0) => {}
                Ok(count) => debug!(topic = partition.topic(), index = partition.index(), count, "segments deleted"),
                Err(error) => {
                    warn!(topic = partition.topic(), index = partition.index(), %error, "cannot delete segments")
                }
            }
        }
    }

    /// Forces to disk what a roll left, and what `flush.ms` asks for. Waits for the disk, without
    /// the log's lock.
    pub(crate) fn flush_due(&self, now_ms: i64) {
        for partition in self.all() {
            if let Err(error) = flush(&partition, now_ms) {
                warn!(topic = partition.topic(), index = partition.index(), %error, "cannot flush");
            }
        }
    }

    /// Writes the checkpoints and removes what was deleted long enough ago.
    pub(crate) fn checkpoint(&self, now_ms: i64) {
        if let Err(error) = self.storage.checkpoint(&self.all()) {
            warn!(%error, "cannot write the checkpoints");
        }
        for partition in self.all() {
            if let Err(error) = partition.with_log(|log| log.delete_due_files(now_ms)) {
                warn!(topic = partition.topic(), index = partition.index(), %error, "cannot remove old files");
            }
        }
        self.storage.remove_due(now_ms);
    }

    /// Closes every log; true if all are whole on disk.
    pub(crate) fn close(&self) -> bool {
        let all = self.all();
        let mut is_clean = true;
        for partition in &all {
            if let Err(error) = partition.with_log(|log| log.close()) {
                warn!(topic = partition.topic(), index = partition.index(), %error, "cannot close the log");
                is_clean = false;
            }
        }
        if let Err(error) = self.storage.checkpoint(&all) {
            warn!(%error, "cannot write the checkpoints");
            is_clean = false;
        }
        is_clean
    }
}

fn flush(partition: &Arc<Partition>, now_ms: i64) -> Result<(), LogError> {
    for by_time in [false, true] {
        let plan = partition.with_log(|log| if by_time { log.flush_plan_by_time(now_ms) } else { log.flush_plan() })?;
        if let Some(plan) = plan {
            let offset = plan.run()?;
            partition.with_log(|log| log.mark_flushed(offset, now_ms));
        }
    }
    Ok(())
}
