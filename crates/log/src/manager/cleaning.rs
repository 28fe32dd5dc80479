//! Compacting the logs of a directory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock, RwLockWriteGuard};

use super::{LogManager, SharedLog};
use crate::checkpoint::{CLEANER_OFFSET_CHECKPOINT, write_offset_checkpoint};
use crate::cleaner::{Cleaner, CleanerSettings, CleanerStats, CleaningPlan, Pace};
use crate::error::{LogError, Result};
use crate::topic_partition::TopicPartition;

/// The compactions of a directory: those under way, and how far others came.
#[derive(Debug)]
pub(super) struct Cleaning {
    progress: Mutex<Progress>,
    /// Held by every compaction, and by a stop that waits for all of them.
    under_way: RwLock<()>,
    /// Set by a stop, for the compactions under way.
    stop: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Progress {
    /// Up to where each log is clean.
    offsets: BTreeMap<TopicPartition, i64>,
    /// Logs that somebody is cleaning.
    under_way: BTreeSet<TopicPartition>,
    /// Logs that cannot be cleaned.
    uncleanable: BTreeMap<TopicPartition, Uncleanable>,
}

/// Why a log cannot be cleaned.
#[derive(Debug, PartialEq)]
enum Uncleanable {
    /// A batch of it is damaged.
    Damaged,
    /// One batch has more keys than these settings have memory for.
    With(CleanerSettings),
}

impl Cleaning {
    pub(super) fn new(offsets: BTreeMap<TopicPartition, i64>) -> Self {
        let progress = Mutex::new(Progress { offsets, ..Progress::default() });
        Self { progress, under_way: RwLock::default(), stop: Arc::default() }
    }

    /// Has all that are under way give up, and waits for it; none begins as long as the guard is held.
    pub(super) fn stop(&self) -> RwLockWriteGuard<'_, ()> {
        self.stop.store(true, Ordering::Relaxed);
        self.under_way.write()
    }
}

/// A log that is being cleaned, until dropped.
pub(super) struct Claimed<'a> {
    progress: &'a Mutex<Progress>,
    pub(super) name: TopicPartition,
    log: SharedLog,
    plan: CleaningPlan,
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        self.progress.lock().under_way.remove(&self.name);
    }
}

impl LogManager {
    /// Compacts the one log with `cleanup.policy=compact` that needs it most, out of those that no other thread is
    /// compacting. `None` where none does.
    ///
    /// To be called every `log.cleaner.backoff.ms` until it gives `None`, from threads for that: it reads and writes all
    /// of the log's old segments. The log can be read and appended to meanwhile. `pace` is told of what is read and written,
    /// and may hold it up: it is asked whether it is to stop, before it goes on.
    ///
    /// # Errors
    /// [`LogError::Storage`], [`LogError::Offline`]. A log with a damaged batch is left alone from then on.
    pub fn clean_filthiest_log(
        &self,
        settings: &CleanerSettings,
        now_ms: i64,
        pace: Pace<'_>,
    ) -> Result<Option<(TopicPartition, CleanerStats)>> {
        let _under_way = self.cleaning.under_way.read();
        self.log_dir.check()?;
        let Some(claimed) = self.claim_filthiest(settings, now_ms)? else { return Ok(None) };
        let (tp, log) = (&claimed.name, &claimed.log);
        let mut cleaner = Cleaner::new(settings, Arc::clone(&self.cleaning.stop))
            .with_pace(pace)
            .with_max_decompressed_bytes(self.config.max_decompressed_batch_bytes);
        let give_up = |reason: String, why: Uncleanable| {
            tracing::error!(partition = %tp, "the log cannot be cleaned: {reason}");
            self.cleaning.progress.lock().uncleanable.insert(tp.clone(), why);
        };
        let stats = match cleaner.clean(log, &claimed.plan, now_ms) {
            Err(LogError::CorruptRecord(reason)) => {
                give_up(reason, Uncleanable::Damaged);
                None
            }
            Err(LogError::InvalidConfig(reason)) => {
                give_up(reason, Uncleanable::With(*settings));
                None
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
        self.keep_progress(tp, stats.end_offset)?;
        Ok(Some((tp.clone(), stats)))
    }

    fn keep_progress(&self, tp: &TopicPartition, end_offset: i64) -> Result<()> {
        let mut progress = self.cleaning.progress.lock();
        progress.offsets.insert(tp.clone(), end_offset);
        let known = self.logs.lock();
        progress.offsets.retain(|tp, _| known.contains_key(tp));
        drop(known);
        let path = self.path(CLEANER_OFFSET_CHECKPOINT);
        let written = write_offset_checkpoint(&path, &progress.offsets);
        self.log_dir.guard(written, || format!("error while writing {CLEANER_OFFSET_CHECKPOINT}"))
    }

    pub(super) fn claim_filthiest(&self, settings: &CleanerSettings, now_ms: i64) -> Result<Option<Claimed<'_>>> {
        let mut progress = self.cleaning.progress.lock();
        let mut filthiest: Option<(TopicPartition, SharedLog, CleaningPlan)> = None;
        for (tp, log) in self.logs() {
            let is_uncleanable = match progress.uncleanable.get(&tp) {
                Some(Uncleanable::Damaged) => true,
                Some(Uncleanable::With(tried)) => tried == settings,
                None => false,
            };
            if is_uncleanable || progress.under_way.contains(&tp) {
                continue;
            }
            let plan = {
                let mut log = log.lock();
                if !log.config().compact || log.is_closed() {
                    continue;
                }
                log.plan_cleaning(progress.offsets.get(&tp).copied(), now_ms)?
            };
            let best = filthiest.as_ref().map_or(-1.0, |(_, _, plan)| plan.cleanable_ratio());
            if let Some(plan) = plan
                && plan.is_worthwhile()
                && plan.cleanable_ratio() > best
            {
                filthiest = Some((tp, log, plan));
            }
        }
        let Some((name, log, plan)) = filthiest else { return Ok(None) };
        progress.under_way.insert(name.clone());
        Ok(Some(Claimed { progress: &self.cleaning.progress, name, log, plan }))
    }
}
