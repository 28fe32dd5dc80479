//! Bringing stores up to date from their changelogs.

use std::{collections::BTreeMap, time::Duration};

use vltava_client::{ClientError, Consumer, TopicPartition};

use super::{
    clients::client_failed,
    records::headers,
    wait::{wait, wait_while_open},
};
use crate::{
    error::{Error, Result},
    task::{Task, TaskId},
};

/// Told when stores are restored; Kafka's `StateRestoreListener`. Called on stream threads.
pub trait StateRestoreListener: Send + Sync {
    /// Restoration of a store begins: its changelog will be read from `start` up to `end`.
    fn on_restore_start(&self, changelog: &TopicPartition, store: &str, start: i64, end: i64) {
        let _ = (changelog, store, start, end);
    }
    /// A store is restored, with this many records.
    fn on_restore_end(&self, changelog: &TopicPartition, store: &str, total_restored: u64) {
        let _ = (changelog, store, total_restored);
    }
}

/// One changelog that is being read.
#[derive(Debug)]
struct Restoring {
    task: TaskId,
    store: String,
    end: i64,
    restored: u64,
}

/// A store and the changelog it comes back from.
#[derive(Clone, Debug)]
pub(super) struct StoreChangelog {
    pub(super) store: String,
    pub(super) changelog: TopicPartition,
    /// The offset that the store covers; `None` for an empty one.
    pub(super) covered: Option<i64>,
    /// Up to here it is read; `None` for the end of the log.
    pub(super) limit: Option<i64>,
}

/// What restoration needs of one store.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// The store is as of this offset already.
    UpToDate(i64),
    /// Records from the first offset up to the second are missing.
    Read(i64, i64),
    /// The store covers more than its changelog has: the topic is not the one it was written by.
    Corrupted,
}

/// From the offsets of a changelog to what is to be done.
pub(super) fn plan(covered: Option<i64>, limit: Option<i64>, beginning: i64, end: i64) -> Plan {
    let limit = limit.unwrap_or(end).min(end);
    match covered {
        Some(covered) if covered > end => Plan::Corrupted,
        Some(covered) if covered >= limit => Plan::UpToDate(covered),
        covered => {
            let start = covered.unwrap_or(beginning).max(beginning);
            if start >= limit { Plan::UpToDate(start.max(limit)) } else { Plan::Read(start, limit) }
        }
    }
}

/// The changelogs that a thread is reading.
pub(super) struct Restorer {
    consumer: Consumer,
    changelogs: BTreeMap<TopicPartition, Restoring>,
}

/// A store that has just been restored.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) task: TaskId,
    pub(super) store: String,
    pub(super) changelog: TopicPartition,
    pub(super) offset: i64,
    pub(super) total: u64,
}

fn failed(error: ClientError) -> Box<Error> {
    client_failed("restoring from changelogs", &error)
}

impl Restorer {
    pub(super) fn new(consumer: Consumer) -> Self {
        Restorer { consumer, changelogs: BTreeMap::new() }
    }

    /// Whether changelogs of a task are being read.
    pub(super) fn is_reading_for(&self, task: TaskId) -> bool {
        self.changelogs.values().any(|restoring| restoring.task == task)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.changelogs.is_empty()
    }

    /// What is to be done for each of a task's stores.
    pub(super) fn plans(&self, stores: Vec<StoreChangelog>) -> Result<Vec<(StoreChangelog, Plan)>> {
        let changelogs: Vec<_> = stores.iter().map(|store| store.changelog.clone()).collect();
        let beginnings = wait_while_open(self.consumer.beginning_offsets(&changelogs)).map_err(failed)?;
        let ends = wait_while_open(self.consumer.end_offsets(&changelogs)).map_err(failed)?;
        let offset =
            |offsets: &BTreeMap<TopicPartition, i64>, of: &TopicPartition| offsets.get(of).copied().unwrap_or(0);
        let planned = stores.into_iter().map(|store| {
            let (beginning, end) = (offset(&beginnings, &store.changelog), offset(&ends, &store.changelog));
            let plan = plan(store.covered, store.limit, beginning, end);
            (store, plan)
        });
        Ok(planned.collect())
    }

    /// Starts to read a changelog from `start` up to `end`.
    pub(super) fn add(&mut self, task: TaskId, store: StoreChangelog, start: i64, end: i64) -> Result<()> {
        let restoring = Restoring { task, store: store.store, end, restored: 0 };
        self.changelogs.insert(store.changelog.clone(), restoring);
        self.assign()?;
        self.consumer.seek(&store.changelog, start).map_err(failed)
    }

    /// Stops reading the changelogs of a task.
    pub(super) fn remove(&mut self, task: TaskId) -> Result<()> {
        let before = self.changelogs.len();
        self.changelogs.retain(|_, restoring| restoring.task != task);
        if self.changelogs.len() < before { self.assign() } else { Ok(()) }
    }

    fn assign(&self) -> Result<()> {
        self.consumer.assign(self.changelogs.keys().cloned()).map_err(failed)
    }

    /// Reads once, waiting at most `timeout`, and gives the records to the tasks. Returns what is complete now.
    pub(super) fn step(
        &mut self,
        timeout: Duration,
        mut with_task: impl FnMut(TaskId, &mut dyn FnMut(&mut Task) -> Result<()>) -> Result<()>,
    ) -> Result<Vec<Restored>> {
        let records = wait_while_open(self.consumer.poll(timeout)).map_err(failed)?;
        for part in records.partitions() {
            let Some(restoring) = self.changelogs.get_mut(part.topic_partition()) else { continue };
            with_task(restoring.task, &mut |task| {
                for record in part.iter().take_while(|record| record.offset() < restoring.end) {
                    // A record without key is none of a store's.
                    let Some(key) = record.key() else { continue };
                    let headers = headers(&record);
                    task.restore(&restoring.store, key, record.value(), record.timestamp(), &headers)?;
                    restoring.restored += 1;
                }
                task.restored(&restoring.store, part.next_offset().offset.min(restoring.end))
            })?;
        }
        self.take_complete()
    }

    fn take_complete(&mut self) -> Result<Vec<Restored>> {
        let mut complete = Vec::new();
        for (changelog, restoring) in &self.changelogs {
            // The end may lie behind records that are no more: compacted away, or a transaction's marker.
            let position = wait_while_open(self.consumer.position(changelog)).map_err(failed)?;
            if position >= restoring.end {
                complete.push((changelog.clone(), position));
            }
        }
        let taken = complete.into_iter().filter_map(|(changelog, _)| {
            let Restoring { task, store, end, restored } = self.changelogs.remove(&changelog)?;
            Some(Restored { task, store, changelog, offset: end, total: restored })
        });
        let taken: Vec<_> = taken.collect();
        if !taken.is_empty() {
            self.assign()?;
        }
        Ok(taken)
    }

    pub(super) fn close(&self) {
        // Nothing of it is a group's; what it held open ends with it.
        let _ = wait(self.consumer.close(Duration::from_secs(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::{Plan, plan};

    #[test]
    fn what_is_missing_is_read() {
        assert_eq!(plan(None, None, 0, 0), Plan::UpToDate(0));
        assert_eq!(plan(None, None, 3, 9), Plan::Read(3, 9));
        assert_eq!(plan(Some(5), None, 3, 9), Plan::Read(5, 9));
        assert_eq!(plan(Some(9), None, 3, 9), Plan::UpToDate(9));
        // Retention has removed what the store has not seen: it goes on with what is left.
        assert_eq!(plan(Some(2), None, 3, 9), Plan::Read(3, 9));
        assert_eq!(plan(Some(10), None, 3, 9), Plan::Corrupted);
    }

    #[test]
    fn a_source_topic_is_read_up_to_the_committed_offset_only() {
        assert_eq!(plan(None, Some(4), 0, 9), Plan::Read(0, 4));
        assert_eq!(plan(Some(4), Some(4), 0, 9), Plan::UpToDate(4));
        assert_eq!(plan(None, Some(0), 0, 9), Plan::UpToDate(0));
    }
}
