//! Compacting the logs of a directory.

use std::collections::BTreeMap;

use super::{LogManager, SharedLog};
use crate::checkpoint::{CLEANER_OFFSET_CHECKPOINT, write_offset_checkpoint};
use crate::cleaner::{Cleaner, CleanerStats, CleaningPlan};
use crate::error::{LogError, Result};
use crate::topic_partition::TopicPartition;

/// The cleaner and how far it came.
#[derive(Debug)]
pub(super) struct Cleaning {
    cleaner: Cleaner,
    /// Up to where each log is clean.
    offsets: BTreeMap<TopicPartition, i64>,
    /// Logs that cannot be cleaned: a batch of theirs is damaged, or has too many keys.
    uncleanable: Vec<TopicPartition>,
}

impl Cleaning {
    pub(super) fn new(cleaner: Cleaner, offsets: BTreeMap<TopicPartition, i64>) -> Self {
        Self { cleaner, offsets, uncleanable: Vec::new() }
    }
}

impl LogManager {
    /// Compacts the one log with `cleanup.policy=compact` that needs it most. `None` where none does.
    ///
    /// To be called every `log.cleaner.backoff.ms` until it gives `None`, from a thread of its own: it reads and
    /// writes all of the log's old segments. The log can be read and appended to meanwhile.
    ///
    /// # Errors
    /// [`LogError::Storage`], [`LogError::Offline`]. A log with a damaged batch is left alone from then on.
    pub fn clean_filthiest_log(&self, now_ms: i64) -> Result<Option<(TopicPartition, CleanerStats)>> {
        self.log_dir.check()?;
        let mut cleaning = self.cleaning.lock();
        let Some((tp, log, plan)) = self.filthiest(&cleaning, now_ms)? else { return Ok(None) };
        let result = cleaning.cleaner.clean(&log, &plan, now_ms);
        let stats = match result {
            Ok(stats) => stats,
            Err(LogError::CorruptRecord(reason) | LogError::InvalidConfig(reason)) => {
                tracing::error!(partition = %tp, "the log cannot be cleaned: {reason}");
                cleaning.uncleanable.push(tp);
                return Ok(None);
            }
            // The manager is being stopped.
            Err(LogError::Closed(_)) => None,
            // Deleted under the cleaner's hands, with the directory that it writes to.
            Err(_) if log.lock().is_closed() => None,
            result => self.log_dir.guard(result, || format!("error while cleaning {tp}"))?,
        };
        let Some(stats) = stats else { return Ok(None) };
        tracing::info!(
            partition = %tp,
            "cleaned log: {} of {} bytes, {} of {} messages left",
            stats.bytes_written,
            stats.bytes_read,
            stats.messages_written,
            stats.messages_read
        );
        cleaning.offsets.insert(tp.clone(), stats.end_offset);
        let known = self.logs.lock();
        cleaning.offsets.retain(|tp, _| known.contains_key(tp));
        drop(known);
        let path = self.path(CLEANER_OFFSET_CHECKPOINT);
        let written = write_offset_checkpoint(&path, &cleaning.offsets);
        self.log_dir.guard(written, || format!("error while writing {CLEANER_OFFSET_CHECKPOINT}"))?;
        Ok(Some((tp, stats)))
    }

    fn filthiest(&self, cleaning: &Cleaning, now_ms: i64) -> Result<Option<(TopicPartition, SharedLog, CleaningPlan)>> {
        let mut filthiest: Option<(TopicPartition, SharedLog, CleaningPlan)> = None;
        for (tp, log) in self.logs() {
            let plan = {
                let mut log = log.lock();
                if !log.config().compact || log.is_closed() || cleaning.uncleanable.contains(&tp) {
                    continue;
                }
                log.plan_cleaning(cleaning.offsets.get(&tp).copied(), now_ms)?
            };
            let best = filthiest.as_ref().map_or(-1.0, |(_, _, plan)| plan.cleanable_ratio());
            if let Some(plan) = plan
                && plan.is_worthwhile()
                && plan.cleanable_ratio() > best
            {
                filthiest = Some((tp, log, plan));
            }
        }
        Ok(filthiest)
    }
}
