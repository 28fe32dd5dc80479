//! Changelogs that standbys follow: read on and on, after those that are read to an end.

use std::collections::{BTreeMap, BTreeSet};

use vltava_client::{ClientError, TopicPartition, consumer::PartitionRecords};

use super::{RestoreStep, Restorer, StoreChangelog, failed};
use crate::{
    error::Result,
    runtime::{records::headers, wait::at_once},
    task::{Task, TaskId},
};

/// A changelog that a standby follows.
#[derive(Debug)]
pub(super) struct Following {
    pub(super) task: TaskId,
    store: String,
    /// The store has what is before this offset.
    next: i64,
    /// Up to here it is read; `None` for a changelog that is nothing else.
    limit: Option<i64>,
    is_paused: bool,
}

impl Following {
    /// Where it is read up to.
    fn end(&self) -> i64 {
        self.limit.unwrap_or(i64::MAX)
    }
}

/// How far a standby's store is in its changelog.
#[derive(Clone, Debug)]
pub(in crate::runtime) struct Followed {
    pub(in crate::runtime) store: String,
    pub(in crate::runtime) changelog: TopicPartition,
    /// The store has what is before this offset.
    pub(in crate::runtime) next: i64,
    /// How many records may lie behind that, as far as it is known.
    pub(in crate::runtime) lag: Option<i64>,
}

/// Records that a store has taken.
#[derive(Debug)]
pub(in crate::runtime) struct Batch {
    pub(in crate::runtime) task: TaskId,
    pub(in crate::runtime) store: String,
    pub(in crate::runtime) changelog: TopicPartition,
    /// The offset of the last one.
    pub(in crate::runtime) end_offset: i64,
    pub(in crate::runtime) records: u64,
    /// How many lie behind it, as far as it is known.
    pub(in crate::runtime) lag: Option<i64>,
}

/// What of a task is done with its store.
pub(super) type WithTask<'a> = dyn FnMut(TaskId, &mut dyn FnMut(&mut Task) -> Result<()>) -> Result<()> + 'a;

/// Gives a store the records before `limit`, and says how many there were, and the offset of the last.
pub(super) fn take_records(
    task: &mut Task,
    store: &str,
    part: &PartitionRecords,
    limit: i64,
) -> Result<(u64, Option<i64>)> {
    let (mut taken, mut last) = (0, None);
    for record in part.iter().take_while(|record| record.offset() < limit) {
        // A record without key is none of a store's.
        let Some(key) = record.key() else { continue };
        task.restore(store, key, record.value(), record.timestamp(), &headers(&record))?;
        (taken, last) = (taken + 1, Some(record.offset()));
    }
    Ok((taken, last))
}

impl Restorer {
    /// Follows a changelog from `start` on; one that is a source topic too only up to its `limit`.
    pub(in crate::runtime) fn follow(&mut self, task: TaskId, store: StoreChangelog, start: i64) -> Result<()> {
        let StoreChangelog { store, changelog, limit, .. } = store;
        let following = Following { task, store, next: start, limit, is_paused: false };
        self.following.insert(changelog.clone(), following);
        self.assign()?;
        self.consumer.seek(&changelog, start).map_err(failed)
    }

    pub(in crate::runtime) fn is_following(&self) -> bool {
        !self.following.is_empty()
    }

    /// How far the stores of a standby are.
    pub(in crate::runtime) fn followed(&mut self, task: TaskId) -> Vec<Followed> {
        let consumer = &self.consumer;
        let of_task = self.following.iter_mut().filter(|(_, following)| following.task == task);
        let followed = of_task.map(|(changelog, following)| {
            // It may have gone on over what is no record: a transaction's marker, or a gap.
            if let Some(Ok(position)) = at_once(consumer.position(changelog)) {
                following.next = following.next.max(position.min(following.end()));
            }
            Followed {
                store: following.store.clone(),
                changelog: changelog.clone(),
                next: following.next,
                lag: consumer.current_lag(changelog).ok().flatten(),
            }
        });
        followed.collect()
    }

    /// Stops following the changelogs of a task.
    pub(in crate::runtime) fn stop_following(&mut self, task: TaskId) -> Result<()> {
        let before = self.following.len();
        self.following.retain(|_, following| following.task != task);
        if self.following.len() < before { self.assign() } else { Ok(()) }
    }

    /// What was committed of source topics is what their changelogs are read up to. It never goes back.
    pub(in crate::runtime) fn raise_limits(&mut self, committed: impl Fn(&TopicPartition) -> Option<i64>) {
        for (changelog, following) in &mut self.following {
            if let (Some(limit), Some(committed)) = (&mut following.limit, committed(changelog)) {
                *limit = committed.max(*limit);
            }
        }
    }

    /// Followers wait while anything is restored, and at their limits.
    pub(super) fn pause_followers(&mut self) -> Result<()> {
        let is_restoring = !self.changelogs.is_empty();
        let mut changed: BTreeMap<bool, Vec<TopicPartition>> = BTreeMap::new();
        for (changelog, following) in &mut self.following {
            let pauses = is_restoring || following.limit.is_some_and(|limit| following.next >= limit);
            if std::mem::replace(&mut following.is_paused, pauses) != pauses {
                changed.entry(pauses).or_default().push(changelog.clone());
            }
        }
        for (pauses, changelogs) in changed {
            let set = if pauses { self.consumer.pause(&changelogs) } else { self.consumer.resume(&changelogs) };
            set.map_err(failed)?;
        }
        Ok(())
    }

    /// Gives the standby's store the records of its changelog.
    pub(super) fn take_followed(
        &mut self,
        part: &PartitionRecords,
        step: &mut RestoreStep,
        with_task: &mut WithTask<'_>,
    ) -> Result<()> {
        let changelog = part.topic_partition();
        let Some(following) = self.following.get_mut(changelog) else { return Ok(()) };
        let (limit, next) = (following.end(), part.next_offset().offset);
        let (mut taken, mut last) = (0, None);
        with_task(following.task, &mut |task| {
            (taken, last) = take_records(task, &following.store, part, limit)?;
            Ok(())
        })?;
        following.next = following.next.max(next.min(limit));
        if next > limit {
            // The rest comes again when it is committed.
            self.consumer.seek(changelog, limit).map_err(failed)?;
        }
        step.followed.insert(following.task);
        if let Some(end_offset) = last {
            let lag = self.consumer.current_lag(changelog).ok().flatten();
            let (task, store) = (following.task, following.store.clone());
            step.loaded.push(Batch { task, store, changelog: changelog.clone(), end_offset, records: taken, lag });
        }
        Ok(())
    }

    /// The tasks that follow something.
    pub(super) fn followers(&self) -> BTreeSet<TaskId> {
        self.following.values().map(|following| following.task).collect()
    }

    /// The same, each with what kept it from reading.
    pub(super) fn not_followed(&self, error: &ClientError) -> Vec<(TaskId, ClientError)> {
        self.followers().into_iter().map(|task| (task, error.clone())).collect()
    }
}
