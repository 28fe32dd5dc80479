//! Bringing stores up to date from their changelogs, and those of standbys keeping up with them.

mod following;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

pub(super) use following::{Batch, Followed};
use following::{Following, WithTask, take_records};
use vltava_client::{Admin, ClientError, Consumer, TopicPartition, admin::OffsetSpec, config::IsolationLevel};
use vltava_metrics::Snapshot;
use vltava_protocol::{Uuid, invariant};

use super::{
    changelog_ids,
    clients::client_failed,
    wait::{wait, wait_while_open},
};
use crate::{
    error::{Error, Result},
    task::TaskId,
};

/// How often it is said how far a restoration is.
const PROGRESS: Duration = Duration::from_secs(10);
/// A changelog from which nothing has come for so long is in trouble.
const STALLED: Duration = Duration::from_secs(10);

/// Told when stores are restored; Kafka's `StateRestoreListener`. Called on stream threads.
pub trait StateRestoreListener: Send + Sync {
    /// Restoration of a store begins: its changelog will be read from `start` up to `end`.
    fn on_restore_start(&self, changelog: &TopicPartition, store: &str, start: i64, end: i64) {
        let _ = (changelog, store, start, end);
    }
    /// A store has taken records of its changelog, `restored` of them, the last at `batch_end_offset`.
    fn on_batch_restored(&self, changelog: &TopicPartition, store: &str, batch_end_offset: i64, restored: u64) {
        let _ = (changelog, store, batch_end_offset, restored);
    }
    /// The restoration of a store is given up, with this many records: its task goes to another thread, or begins anew.
    fn on_restore_suspended(&self, changelog: &TopicPartition, store: &str, total_restored: u64) {
        let _ = (changelog, store, total_restored);
    }
    /// A store is restored, with this many records.
    fn on_restore_end(&self, changelog: &TopicPartition, store: &str, total_restored: u64) {
        let _ = (changelog, store, total_restored);
    }
}

/// Where a partition begins or ends, of those that were looked up.
///
/// # Errors
/// If it is not among them: taking it for empty would leave a store without what it had.
pub(super) fn bound(offsets: &BTreeMap<TopicPartition, i64>, partition: &TopicPartition) -> Result<i64, ClientError> {
    let offset = offsets.get(partition).copied();
    invariant!(offset.is_some(), "an offset of {partition} was looked up");
    offset.ok_or_else(|| ClientError::UnexpectedAnswer { what: format!("no offset of {partition}").into() })
}

/// Where changelogs end, transactions that are not decided included: they are read to there, so those are waited for.
/// What is committed for a task's input is committed for its changelogs, but these may get to know later; before they
/// do, their last stable offset is less than what its stores cover, or have to.
pub(super) async fn high_watermarks(
    admin: &Admin,
    of: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, i64>, ClientError> {
    let ends = of.iter().map(|changelog| (changelog.clone(), OffsetSpec::Latest));
    let ends = admin.list_offsets(ends, IsolationLevel::ReadUncommitted).await;
    ends.into_iter().map(|(changelog, end)| Ok((changelog, end?.offset))).collect()
}

/// One changelog that is being read.
#[derive(Debug)]
struct Restoring {
    task: TaskId,
    store: String,
    start: i64,
    end: i64,
    restored: u64,
    /// When records came last, or it was said that none come.
    moved: Instant,
    told: Instant,
}

impl Restoring {
    /// Says now and then how far it is.
    fn tell_progress(&mut self, changelog: &TopicPartition, next: i64, now: Instant) {
        if now.duration_since(self.told) < PROGRESS {
            return;
        }
        self.told = now;
        let percent = (next - self.start).saturating_mul(100) / (self.end - self.start).max(1);
        tracing::info!(
            task = %self.task, store = self.store, %changelog, offset = next, end = self.end, percent, "restoring"
        );
    }
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
    /// The id of the topic that the store is from, if it is known.
    pub(super) topic_id: Option<Uuid>,
}

/// What restoration needs of one store.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// The store is as of this offset already.
    UpToDate(i64),
    /// Records from the first offset up to the second are missing.
    Read(i64, i64),
    /// The changelog does not have the offset that the store covers: it goes on behind the end of the log, which is not the
    /// one that it was written by, or before its beginning, and then what was deleted in between is not known. The store is
    /// of no use, as is one of another topic of this name; emptied, it is restored from the first offset up to the second. Kafka's `TaskCorruptedException`.
    Anew(i64, i64),
}

impl Plan {
    /// What is to be done when the store is empty, if it has to be.
    pub(super) fn emptied(self) -> Self {
        match self {
            Plan::Anew(beginning, limit) => plan(None, Some(limit), beginning, limit),
            plan => plan,
        }
    }
}

impl StoreChangelog {
    /// What is to be done if the topic has this id, and these offsets.
    fn plan(&self, id: Option<Uuid>, beginning: i64, end: i64) -> Plan {
        match (self.covered, self.topic_id, id) {
            (Some(_), Some(known), Some(id)) if known != id => {
                Plan::Anew(beginning, self.limit.unwrap_or(end).min(end))
            }
            _ => plan(self.covered, self.limit, beginning, end),
        }
    }
}

/// From the offsets of a changelog to what is to be done.
pub(super) fn plan(covered: Option<i64>, limit: Option<i64>, beginning: i64, end: i64) -> Plan {
    let limit = limit.unwrap_or(end).min(end);
    match covered {
        Some(covered) if covered > end || covered < beginning => Plan::Anew(beginning, limit),
        Some(covered) if covered >= limit => Plan::UpToDate(covered),
        covered => {
            let start = covered.unwrap_or(beginning);
            if start >= limit { Plan::UpToDate(start.max(limit)) } else { Plan::Read(start, limit) }
        }
    }
}

/// Looks up what restoration needs of stores.
#[derive(Clone)]
pub(super) struct Planner {
    consumer: Consumer,
    admin: Admin,
}

impl Planner {
    /// What is to be done for each of a task's stores, which know their topics then.
    pub(super) async fn plans(&self, stores: Vec<StoreChangelog>) -> Result<Vec<(StoreChangelog, Plan)>, ClientError> {
        let changelogs: Vec<_> = stores.iter().map(|store| store.changelog.clone()).collect();
        let beginnings = self.consumer.beginning_offsets(&changelogs).await?;
        let ends = high_watermarks(&self.admin, &changelogs).await?;
        let topics = changelogs.iter().map(|changelog| changelog.topic().to_owned());
        let ids = changelog_ids::of_topics(&self.admin, topics).await?;
        let planned = stores.into_iter().map(|mut store| {
            let (beginning, end) = (bound(&beginnings, &store.changelog)?, bound(&ends, &store.changelog)?);
            let id = ids.get(store.changelog.topic()).copied();
            let plan = store.plan(id, beginning, end);
            store.topic_id = id;
            Ok((store, plan))
        });
        planned.collect()
    }
}

/// The changelogs that a thread is reading.
pub(super) struct Restorer {
    consumer: Consumer,
    planner: Planner,
    changelogs: BTreeMap<TopicPartition, Restoring>,
    following: BTreeMap<TopicPartition, Following>,
}

/// What a look at the changelogs has brought.
#[derive(Debug, Default)]
pub(super) struct RestoreStep {
    /// Tasks for which records came.
    pub(super) moved: BTreeSet<TaskId>,
    /// Tasks for which none have come for a while.
    pub(super) stalled: Vec<(TaskId, ClientError)>,
    /// What stores have taken that are being restored.
    pub(super) batches: Vec<Batch>,
    /// What is complete now.
    pub(super) restored: Vec<Restored>,
    /// Standbys for which records came.
    pub(super) followed: BTreeSet<TaskId>,
    /// What their stores have taken.
    pub(super) loaded: Vec<Batch>,
    /// Standbys for which none come.
    pub(super) not_followed: Vec<(TaskId, ClientError)>,
    /// Standbys whose changelogs have lost what was to be read next.
    pub(super) outrun: BTreeSet<TaskId>,
}

/// A store that has just been restored, or of which that was given up.
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
    /// What the consumer has counted.
    pub(super) fn metrics(&self) -> Snapshot {
        self.consumer.metrics()
    }

    /// A restorer that reads by this consumer: one of committed records only where changelogs are written in transactions.
    pub(super) fn new(consumer: Consumer, admin: Admin) -> Self {
        let planner = Planner { consumer: consumer.clone(), admin };
        Restorer { consumer, planner, changelogs: BTreeMap::new(), following: BTreeMap::new() }
    }

    /// What looks up what stores lack, beside the reading.
    pub(super) fn planner(&self) -> Planner {
        self.planner.clone()
    }

    /// Whether changelogs of a task are being read.
    pub(super) fn is_reading_for(&self, task: TaskId) -> bool {
        self.changelogs.values().any(|restoring| restoring.task == task)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.changelogs.is_empty()
    }

    /// Starts to read a changelog from `start` up to `end`.
    pub(super) fn add(&mut self, task: TaskId, store: StoreChangelog, start: i64, end: i64) -> Result<()> {
        let now = Instant::now();
        let restoring = Restoring { task, store: store.store, start, end, restored: 0, moved: now, told: now };
        self.changelogs.insert(store.changelog.clone(), restoring);
        self.assign()?;
        self.consumer.seek(&store.changelog, start).map_err(failed)
    }

    /// Stops reading the changelogs of a task. Gives those that were not complete.
    pub(super) fn remove(&mut self, task: TaskId) -> Result<Vec<Restored>> {
        let of_task = self.changelogs.iter().filter(|(_, restoring)| restoring.task == task);
        let of_task: Vec<TopicPartition> = of_task.map(|(changelog, _)| changelog.clone()).collect();
        if of_task.is_empty() {
            return Ok(Vec::new());
        }
        let removed = self.take(of_task);
        self.assign()?;
        Ok(removed)
    }

    fn take(&mut self, changelogs: Vec<TopicPartition>) -> Vec<Restored> {
        let taken = changelogs.into_iter().filter_map(|changelog| {
            let Restoring { task, store, end, restored, .. } = self.changelogs.remove(&changelog)?;
            Some(Restored { task, store, changelog, offset: end, total: restored })
        });
        taken.collect()
    }

    fn assign(&self) -> Result<()> {
        let changelogs = self.changelogs.keys().chain(self.following.keys());
        self.consumer.assign(changelogs.cloned()).map_err(failed)
    }

    /// Nothing is read for the time being, and nobody is to be blamed for that.
    pub(super) fn put_off(&mut self, now: Instant) {
        self.changelogs.values_mut().for_each(|restoring| restoring.moved = now);
    }

    /// Reads once, waiting at most `timeout`, and gives the records to the tasks: to standbys if nothing is to be restored.
    pub(super) fn step(
        &mut self,
        timeout: Duration,
        now: Instant,
        with_task: &mut WithTask<'_>,
    ) -> Result<RestoreStep> {
        let mut step = RestoreStep::default();
        self.pause_followers()?;
        let records = match wait_while_open(self.consumer.poll(timeout)) {
            Ok(records) => records,
            Err(
                ClientError::OffsetOutOfRange { partition, offset }
                | ClientError::LogTruncated { partition, offset, .. },
            ) => {
                if let Some(following) = self.following.get(&partition) {
                    let (task, changelog) = (following.task, &partition);
                    tracing::warn!(%task, %changelog, offset, "the changelog does not have this offset of a standby");
                    step.outrun.insert(task);
                    return Ok(step);
                }
                return self.begin_again(&partition, offset, with_task).map(|()| step);
            }
            Err(error) if error.is_retriable() && self.changelogs.is_empty() => {
                step.not_followed = self.not_followed(&error);
                return Ok(step);
            }
            Err(error) if error.is_retriable() => {
                let tasks: BTreeSet<TaskId> = self.changelogs.values().map(|restoring| restoring.task).collect();
                step.stalled = tasks.into_iter().map(|task| (task, error.clone())).collect();
                return Ok(step);
            }
            Err(error) => return Err(failed(error)),
        };
        for part in records.partitions() {
            let changelog = part.topic_partition();
            let Some(restoring) = self.changelogs.get_mut(changelog) else {
                self.take_followed(part, &mut step, with_task)?;
                continue;
            };
            step.moved.insert(restoring.task);
            restoring.moved = now;
            let (mut taken, mut last) = (0, None);
            with_task(restoring.task, &mut |task| {
                (taken, last) = take_records(task, &restoring.store, part, restoring.end)?;
                task.restored(&restoring.store, part.next_offset().offset.min(restoring.end))
            })?;
            restoring.restored += taken;
            restoring.tell_progress(changelog, part.next_offset().offset, now);
            if let Some(end_offset) = last {
                let (task, store) = (restoring.task, restoring.store.clone());
                let (changelog, lag) = (changelog.clone(), None);
                step.batches.push(Batch { task, store, changelog, end_offset, records: taken, lag });
            }
        }
        step.restored = self.take_complete()?;
        for (changelog, restoring) in &mut self.changelogs {
            if now.duration_since(restoring.moved) >= STALLED {
                restoring.moved = now;
                let what = format!("reading changelog {changelog} up to offset {}", restoring.end);
                step.stalled.push((restoring.task, ClientError::Timeout { what: what.into(), after: STALLED }));
            }
        }
        Ok(step)
    }

    /// The changelog has lost what was to be read next. What it has deleted meanwhile is not known, so the store is emptied
    /// and restored from where the changelog begins now.
    fn begin_again(&mut self, changelog: &TopicPartition, offset: i64, with_task: &mut WithTask<'_>) -> Result<()> {
        let Some(restoring) = self.changelogs.get_mut(changelog) else { return Ok(()) };
        let (task, store) = (restoring.task, &restoring.store);
        tracing::warn!(%task, store, %changelog, offset, "restored anew: the changelog does not have this offset any more");
        with_task(task, &mut |task| task.clear_store(store))?;
        restoring.restored = 0;
        let beginnings = wait(self.consumer.beginning_offsets(std::slice::from_ref(changelog))).map_err(failed)?;
        let beginning = bound(&beginnings, changelog).map_err(failed)?;
        restoring.start = beginning;
        self.consumer.seek(changelog, beginning).map_err(failed)
    }

    fn take_complete(&mut self) -> Result<Vec<Restored>> {
        let mut complete = Vec::new();
        for (changelog, restoring) in &self.changelogs {
            // The end may lie behind records that are no more: compacted away, or a transaction's marker.
            let position = wait_while_open(self.consumer.position(changelog)).map_err(failed)?;
            if position >= restoring.end {
                complete.push(changelog.clone());
            }
        }
        let taken = self.take(complete);
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
    use std::collections::BTreeMap;

    use vltava_client::TopicPartition;

    use super::{Plan, StoreChangelog, Uuid, bound, plan};

    #[test]
    fn a_bound_that_was_not_looked_up_is_not_taken_for_0() {
        let partition = TopicPartition::new("t", 0);
        let offsets = BTreeMap::from([(partition.clone(), 7)]);
        assert_eq!(bound(&offsets, &partition).unwrap(), 7);
        // In a build with debug assertions the broken promise panics.
        let missing = std::panic::catch_unwind(|| bound(&offsets, &TopicPartition::new("t", 1)));
        assert!(missing.is_err() == cfg!(debug_assertions) && !matches!(missing, Ok(Ok(_))));
    }

    #[test]
    fn what_is_missing_is_read() {
        assert_eq!(plan(None, None, 0, 0), Plan::UpToDate(0));
        assert_eq!(plan(None, None, 3, 9), Plan::Read(3, 9));
        assert_eq!(plan(Some(5), None, 3, 9), Plan::Read(5, 9));
        assert_eq!(plan(Some(9), None, 3, 9), Plan::UpToDate(9));
        assert_eq!(plan(Some(3), None, 3, 9), Plan::Read(3, 9));
    }

    #[test]
    fn a_store_whose_offset_the_changelog_does_not_have_is_emptied_and_restored() {
        // What the store has not seen was deleted, and among it may be the deletions of what it has.
        assert_eq!(plan(Some(2), None, 3, 9), Plan::Anew(3, 9));
        assert_eq!(plan(Some(2), None, 9, 9), Plan::Anew(9, 9));
        assert_eq!(plan(Some(10), None, 3, 9), Plan::Anew(3, 9));
        assert_eq!(plan(Some(2), Some(4), 3, 9), Plan::Anew(3, 4));
        assert_eq!(plan(Some(10), Some(0), 3, 9), Plan::Anew(3, 0));
        assert_eq!(Plan::Anew(3, 9).emptied(), Plan::Read(3, 9));
        assert_eq!(Plan::Anew(9, 9).emptied(), Plan::UpToDate(9));
        assert_eq!(Plan::Anew(3, 0).emptied(), Plan::UpToDate(3));
    }

    #[test]
    fn a_store_of_another_topic_is_emptied_and_restored() {
        let [one, other] = [1, 2].map(Uuid::from_u128);
        let store = |covered, topic_id| StoreChangelog {
            store: "s".to_owned(),
            changelog: TopicPartition::new("t", 0),
            covered,
            limit: None,
            topic_id,
        };
        assert_eq!(store(Some(5), Some(one)).plan(Some(one), 3, 9), Plan::Read(5, 9));
        assert_eq!(store(Some(5), Some(one)).plan(Some(other), 3, 9), Plan::Anew(3, 9));
        assert_eq!(store(Some(9), Some(one)).plan(Some(other), 3, 9), Plan::Anew(3, 9));
        assert_eq!(store(None, Some(one)).plan(Some(other), 3, 9), Plan::Read(3, 9), "it has nothing");
        // Earlier versions did not tell, older brokers do not.
        assert_eq!(store(Some(5), None).plan(Some(one), 3, 9), Plan::Read(5, 9));
        assert_eq!(store(Some(5), Some(one)).plan(None, 3, 9), Plan::Read(5, 9));
    }

    #[test]
    fn a_source_topic_is_read_up_to_the_committed_offset_only() {
        assert_eq!(plan(None, Some(4), 0, 9), Plan::Read(0, 4));
        assert_eq!(plan(Some(4), Some(4), 0, 9), Plan::UpToDate(4));
        assert_eq!(plan(None, Some(0), 0, 9), Plan::UpToDate(0));
    }
}
