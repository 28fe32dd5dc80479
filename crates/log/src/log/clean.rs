//! The log's part in compaction.

use std::collections::HashMap;
use std::sync::Arc;

use super::Log;
use crate::cleaner::{CleaningPlan, LastRecord, SourceSegment};
use crate::error::{LogError, Result};
use crate::file;
use crate::file_names::{CLEANED, DELETED, SWAP};
use crate::segment::LogSegment;

impl Log {
    /// Takes stock for a compaction: what can be cleaned, given up to where it was cleaned before. `None` where
    /// nothing can.
    pub(crate) fn plan_cleaning(&mut self, cleaned_to: Option<i64>, now_ms: i64) -> Result<Option<CleaningPlan>> {
        self.guarded("preparing a compaction", |log| log.plan_cleaning_unguarded(cleaned_to, now_ms))
    }

    fn plan_cleaning_unguarded(&mut self, cleaned_to: Option<i64>, now_ms: i64) -> Result<Option<CleaningPlan>> {
        let first_dirty_offset = match cleaned_to {
            // Below: retention went on. Above: the end of the log was damaged.
            Some(offset) if offset >= self.log_start_offset && offset <= self.log_end_offset() => offset,
            _ => self.log_start_offset,
        };
        let uncleanable = self.first_uncleanable_offset(first_dirty_offset, now_ms)?;
        let first_uncleanable_offset = self.floor_base_offset(uncleanable).min(self.active_base_offset());
        let mut plan = CleaningPlan {
            topic_partition: self.topic_partition.clone(),
            dir: self.dir.clone(),
            config: Arc::clone(&self.config),
            segments: Vec::new(),
            first_dirty_offset,
            first_uncleanable_offset,
            aborted: Vec::new(),
            last_records: HashMap::new(),
            clean_bytes: 0,
            cleanable_bytes: 0,
            is_overdue: false,
        };
        let bases: Vec<i64> = self.segments.range(..=first_uncleanable_offset).map(|(base, _)| *base).collect();
        for pair in bases.windows(2) {
            let [base, next_base] = *pair else { continue };
            let Some(segment) = self.segments.get_mut(&base) else { continue };
            if next_base > first_dirty_offset {
                plan.cleanable_bytes += segment.size();
                plan.is_overdue |= is_overdue(segment, self.config.max_compaction_lag_ms, now_ms)?;
            } else {
                plan.clean_bytes += segment.size();
            }
            plan.segments.push(SourceSegment {
                base_offset: base,
                next_base_offset: next_base,
                file: segment.file()?,
                size: segment.size(),
                index_entries: segment.index_entries(),
                last_modified_ms: segment.last_modified_ms()?,
            });
        }
        if plan.cleanable_bytes == 0 {
            return Ok(None);
        }
        if let Some(first) = bases.first() {
            plan.aborted = self.collect_aborted(*first, *first, first_uncleanable_offset)?;
            plan.aborted.sort_by_key(|aborted| aborted.first_offset);
        }
        plan.last_records = self.last_records();
        Ok(Some(plan))
    }

    /// Not the active segment, nothing above the last stable offset, nothing younger than `min.compaction.lag.ms`.
    fn first_uncleanable_offset(&mut self, first_dirty_offset: i64, now_ms: i64) -> Result<i64> {
        let mut first = self.last_stable_offset().min(self.active_base_offset());
        let lag_ms = self.config.min_compaction_lag_ms;
        if lag_ms > 0 {
            let from = self.floor_base_offset(first_dirty_offset);
            for (base, segment) in self.segments.range(from..) {
                if segment.largest_timestamp()? > now_ms.saturating_sub(lag_ms) {
                    first = first.min(*base);
                    break;
                }
            }
        }
        Ok(first.max(first_dirty_offset))
    }

    fn last_records(&self) -> HashMap<i64, LastRecord> {
        let last_of = |entry: &crate::ProducerStateEntry| LastRecord {
            last_data_offset: Some(entry.last_data_offset()).filter(|offset| *offset >= 0),
            producer_epoch: entry.producer_epoch,
        };
        self.producers.producers().map(|entry| (entry.producer_id, last_of(entry))).collect()
    }

    /// Puts a cleaned segment in the place of `old`. False where the log was changed meanwhile: the cleaned segment's
    /// files are removed then.
    pub(crate) fn replace_segments(&mut self, mut cleaned: LogSegment, old: &[SourceSegment]) -> Result<bool> {
        if !self.are_unchanged(old) {
            for path in cleaned.paths() {
                file::remove_if_exists(&path)?;
            }
            return Ok(false);
        }
        self.guarded("swapping cleaned segments in", |log| {
            // From here on a crash ends with the new segment: a .swap file is renamed when the log is opened.
            cleaned.change_suffix(CLEANED, SWAP)?;
            let mut paths = Vec::new();
            for source in old {
                let Some(mut segment) = log.segments.remove(&source.base_offset) else { continue };
                paths.extend(segment.change_suffix("", DELETED)?);
                if source.base_offset != cleaned.base_offset() {
                    paths.extend(log.producers.mark_snapshot_for_deletion(source.base_offset)?);
                }
            }
            cleaned.change_suffix(SWAP, "")?;
            let base = cleaned.base_offset();
            log.segments.insert(base, cleaned);
            file::sync_dir(&log.dir)?;
            log.delete_files_later(paths);
            Ok(true)
        })
    }

    /// Whether segments are still those that a compaction was planned for.
    pub(crate) fn are_unchanged(&self, segments: &[SourceSegment]) -> bool {
        !self.is_closed && segments.iter().all(|source| self.is_unchanged(source))
    }

    fn is_unchanged(&self, source: &SourceSegment) -> bool {
        source.base_offset != self.active_base_offset()
            && self.segments.get(&source.base_offset).is_some_and(|segment| {
                segment.size() == source.size
                    && segment.open_file().is_some_and(|file| Arc::ptr_eq(&file, &source.file))
            })
    }

    /// Whether a failed operation means no more than that the log is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }
}

/// Whether a segment's first record waits for a compaction longer than `max.compaction.lag.ms`.
fn is_overdue(segment: &mut LogSegment, max_compaction_lag_ms: i64, now_ms: i64) -> Result<bool> {
    match segment.first_batch_timestamp() {
        Ok(Some(first)) if first > 0 => Ok(first < now_ms.saturating_sub(max_compaction_lag_ms)),
        Ok(_) | Err(LogError::CorruptRecord(_)) => Ok(false),
        Err(e) => Err(e),
    }
}
