//! Standby tasks: stores without nodes at work, which follow their changelogs.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::oneshot;
use vltava_client::{ClientError, TopicPartition};

use super::{
    Covered, TaskManager,
    anew::Anew,
    commits::take_times,
    machine::Event,
    making::{Kind, Offsets, Opened},
    sum,
};
use crate::{
    error::{Error, Result},
    metrics::task::StandbyMetrics,
    processing::RecordCollector,
    query::Position,
    record::ProducerRecord,
    runtime::{
        kafka_streams::now_ms,
        restore::{Batch, Followed, Plan, RestoreStep},
        standby_listener::{LoadedBatch, SuspendReason, SuspendedUpdate},
    },
    task::{Task, TaskId},
};

pub(in crate::runtime) struct StandbyTask {
    pub(super) task: Task,
    /// What the active task reads.
    inputs: Vec<TopicPartition>,
    pub(super) covered: Covered,
    /// What was committed at a time, and where the changelogs ended behind that: a store that is there has what led to it.
    awaited: Option<Moment>,
    /// As of what was committed the stores are, or later.
    position: Position,
    /// Whether they have been as far once as their changelogs were.
    is_caught_up: bool,
    metrics: StandbyMetrics,
}

/// What was committed at a time, and where changelogs ended behind it.
struct Moment {
    committed: Offsets,
    ends: BTreeMap<TopicPartition, i64>,
}

/// An answer that a thread does not wait for.
pub(super) type Asked = oneshot::Receiver<Result<(Offsets, BTreeMap<TopicPartition, i64>), ClientError>>;

/// A standby sends nothing: its nodes are never at work.
struct NoRecords;

impl RecordCollector for NoRecords {
    fn send(&mut self, _record: ProducerRecord<'_>) -> Result<()> {
        Err(Error::internal("a standby sends a record"))
    }

    fn partitions_for(&mut self, _topic: &str) -> Result<i32> {
        Err(Error::internal("a standby asks for partitions"))
    }
}

/// A store that is damaged says so in its directory, and is made anew by whoever opens it next.
fn unless_damaged(task: TaskId, done: Result<()>) -> Result<()> {
    match done {
        Err(error) if error.is_corrupted_store() => {
            tracing::warn!(%task, "its stores are not kept: {error}");
            Ok(())
        }
        done => done,
    }
}

impl StandbyTask {
    /// The stores go no further in time than what was committed: what has not expired for the active task, if that begins anew
    /// from there, has not for this one.
    fn take_times(&mut self, committed: &Offsets) {
        let queues = self.inputs.iter().filter_map(|partition| {
            let offset = committed.get(partition)?.as_ref()?;
            Some((self.task.queue(partition.topic())?, offset))
        });
        let queues = queues.collect();
        take_times(&mut self.task, queues);
    }

    /// What the answer says of this standby; nothing if it was not asked about it.
    fn moment(&self, committed: &Offsets, ends: &BTreeMap<TopicPartition, i64>) -> Option<Moment> {
        let own = |partition: &TopicPartition| Some((partition.clone(), committed.get(partition)?.clone()));
        let own: Offsets = self.inputs.iter().map(own).collect::<Option<_>>()?;
        let end_of = |changelog: &TopicPartition| match own.get(changelog) {
            // A source topic is a changelog up to what was committed of it.
            Some(committed) => Some(committed.as_ref().map_or(0, |committed| committed.offset)),
            None => ends.get(changelog).copied(),
        };
        let ends = self.covered.values().map(|(changelog, _)| Some((changelog.clone(), end_of(changelog)?)));
        Some(Moment { ends: ends.collect::<Option<_>>()?, committed: own })
    }

    fn covers(&mut self, followed: Vec<Followed>) {
        for Followed { store, changelog, next, .. } in followed {
            self.covered.insert(store, (changelog, next));
        }
    }

    fn commit(&mut self) -> Result<()> {
        let covered = &self.covered;
        self.task.commit_stores(|store| covered.get(store).map(|(_, offset)| *offset))
    }

    /// If the stores have what led to what was committed, they are as of that.
    fn look_at_moment(&mut self) -> Result<()> {
        let has_all = |moment: &Moment| {
            self.covered.values().all(|(changelog, next)| moment.ends.get(changelog).is_some_and(|end| next >= end))
        };
        let Some(Moment { committed, .. }) = self.awaited.take_if(|moment| has_all(moment)) else { return Ok(()) };
        for partition in &self.inputs {
            let offset = committed.get(partition).and_then(Option::as_ref).map_or(0, |offset| offset.offset);
            if offset > 0 {
                self.position.advance(partition.topic().to_owned(), partition.partition(), offset - 1);
            }
        }
        if !std::mem::replace(&mut self.is_caught_up, true) {
            self.commit()?;
            self.task.caught_up()?;
        }
        Ok(())
    }

    pub(super) fn position(&self) -> &Position {
        &self.position
    }

    pub(super) fn inputs(&self) -> impl Iterator<Item = &TopicPartition> {
        self.inputs.iter()
    }
}

impl TaskManager {
    /// Whether standbys have changelogs to follow.
    pub(in crate::runtime) fn is_following(&self) -> bool {
        self.restorer.is_following()
    }

    /// Whether a standby has not yet what was in its changelogs when it was made.
    pub(in crate::runtime) fn is_catching_up(&self) -> bool {
        self.standbys.values().any(|standby| !standby.is_caught_up)
    }

    /// Begins to make a standby, or leaves it for later: another thread has its directory.
    pub(super) fn make_standby(&mut self, id: TaskId) -> Option<Event> {
        if self.making.contains_key(&id) {
            return Some(Event::Busy(id));
        }
        let Some(directory) = self.shared.directory.lock(id, self.thread) else { return Some(Event::Busy(id)) };
        self.begin_making(id, Kind::Standby(self.setup.inputs_of(id)), directory, Box::new(NoRecords));
        None
    }

    /// A standby is there, and follows its changelogs.
    pub(super) fn standby_made(&mut self, id: TaskId, inputs: Vec<TopicPartition>, opened: Opened) -> Result<Event> {
        let Opened { task, committed, plans } = opened;
        let mut standby = StandbyTask {
            task,
            inputs,
            covered: BTreeMap::new(),
            awaited: None,
            position: Position::empty(),
            is_caught_up: false,
            metrics: StandbyMetrics::new(self.metrics.recorder(), &id.to_string()),
        };
        standby.take_times(&committed);
        let mut ends = BTreeMap::new();
        for (store, plan) in plans {
            let (start, end) = match plan {
                Plan::UpToDate(offset) => (offset, offset),
                Plan::Read(start, end) => (start, end),
                Plan::Anew(..) => return Err(Error::internal("a store that is of no use was kept")),
            };
            let (name, changelog) = (store.store.clone(), store.changelog.clone());
            tracing::info!(task = %id, store = name, %changelog, start, end, "a standby follows its changelog");
            self.shared.tell_standby(|listener| listener.on_update_start(&changelog, &name, start))?;
            ends.insert(changelog.clone(), end);
            standby.covered.insert(name, (changelog, start));
            self.restorer.follow(id, store, start)?;
        }
        standby.awaited = Some(Moment { committed, ends });
        unless_damaged(id, standby.look_at_moment())?;
        self.standbys.insert(id, standby);
        self.metrics.created(1, now_ms());
        self.share_cache();
        Ok(Event::StandbyMade(id))
    }

    /// What a look at the changelogs has brought for standbys.
    pub(super) fn take_followed(&mut self, step: &mut RestoreStep, mut anew: BTreeSet<TaskId>) -> Result<()> {
        let now = now_ms();
        for batch in std::mem::take(&mut step.loaded) {
            let Batch { task, store, changelog, end_offset, records, lag } = batch;
            if let Some(standby) = self.standbys.get_mut(&task) {
                standby.metrics.updated(records, now);
            }
            let batch = LoadedBatch {
                task_id: task,
                batch_end_offset: end_offset,
                batch_size: records,
                current_end_offset: lag.map_or(end_offset, |lag| end_offset + lag),
            };
            self.shared.tell_standby(|listener| listener.on_batch_loaded(&changelog, &store, &batch))?;
        }
        anew.append(&mut step.outrun);
        for task in std::mem::take(&mut step.followed) {
            if anew.contains(&task) {
                continue;
            }
            let followed = self.restorer.followed(task);
            let Some(standby) = self.standbys.get_mut(&task) else { continue };
            standby.covers(followed);
            // Until it has caught up nothing but a commit bounds what its engines hold in memory.
            let done = match standby.is_caught_up && !standby.task.needs_commit() {
                true => Ok(()),
                false => standby.commit(),
            };
            let mut noted = Anew::default();
            noted.note(task, done.and_then(|()| standby.look_at_moment()))?;
            anew.extend(noted.ids());
            self.on(Event::Following(task))?;
        }
        for (task, error) in std::mem::take(&mut step.not_followed) {
            self.on(Event::NotFollowing(task, error))?;
        }
        self.take_asked()?;
        if anew.is_empty() { Ok(()) } else { self.on(Event::StandbysAnew(anew)) }
    }

    /// Has the stores of standbys keep what they cover, and asks how far the active tasks are.
    pub(super) fn checkpoint_standbys(&mut self, tasks: &[TaskId]) -> Result<Option<Event>> {
        let mut anew = Anew::default();
        for id in tasks {
            let followed = self.restorer.followed(*id);
            let Some(standby) = self.standbys.get_mut(id) else { continue };
            standby.covers(followed);
            anew.note(*id, standby.commit().and_then(|()| standby.look_at_moment()))?;
            self.offset_sums.committed(&self.shared.directory, &standby.task, &standby.covered);
        }
        self.ask();
        let anew: BTreeSet<TaskId> = anew.ids().collect();
        Ok(if anew.is_empty() { None } else { Some(Event::StandbysAnew(anew)) })
    }

    /// Asks what is committed, and behind that where changelogs end, unless an answer is awaited. Nobody waits for it: tasks are
    /// at work.
    fn ask(&mut self) {
        if self.asked.is_some() || self.standbys.is_empty() {
            return;
        }
        let inputs: Vec<TopicPartition> = self.standbys.values().flat_map(|standby| &standby.inputs).cloned().collect();
        let changelogs = self.standbys.values().flat_map(|standby| standby.covered.values());
        let changelogs: Vec<TopicPartition> = changelogs.map(|(changelog, _)| changelog.clone()).collect();
        let (answer, asked) = oneshot::channel();
        let (admin, application) = (self.shared.admin().clone(), self.shared.config.application_id().to_owned());
        self.shared.runtime().spawn(async move {
            let moment = async {
                let committed = admin.list_consumer_group_offsets(&application, Some(&inputs)).await?;
                let ends = crate::runtime::restore::high_watermarks(&admin, &changelogs).await?;
                Ok((committed, ends))
            };
            // Who has asked may have ended.
            let _ = answer.send(moment.await);
        });
        self.asked = Some(asked);
    }

    fn take_asked(&mut self) -> Result<()> {
        let Some(asked) = &mut self.asked else { return Ok(()) };
        let answer = match asked.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => return Ok(()),
            answer => answer,
        };
        self.asked = None;
        let (committed, ends) = match answer {
            Ok(Ok(answer)) => answer,
            // It is asked again with the next checkpoint.
            Ok(Err(error)) => {
                tracing::debug!("asking how far the active tasks of standbys are: {error}");
                return Ok(());
            }
            Err(_) => return Ok(()),
        };
        let offset = |partition: &TopicPartition| Some(committed.get(partition)?.as_ref()?.offset);
        self.restorer.raise_limits(offset);
        for standby in self.standbys.values_mut() {
            standby.take_times(&committed);
            if standby.awaited.is_none() {
                standby.awaited = standby.moment(&committed, &ends);
                standby.look_at_moment()?;
            }
        }
        Ok(())
    }

    /// Ends a standby. What its stores were when it did, for the listener.
    fn stop_standby(&mut self, id: TaskId) -> Result<Option<(StandbyTask, Vec<Followed>)>> {
        let Some(mut standby) = self.standbys.remove(&id) else { return Ok(None) };
        let followed = self.restorer.followed(id);
        standby.covers(followed.clone());
        self.restorer.stop_following(id)?;
        Ok(Some((standby, followed)))
    }

    fn tell_suspended(&self, followed: Vec<Followed>, reason: SuspendReason) -> Result<()> {
        for Followed { store, changelog, next, lag } in followed {
            let current_end_offset = lag.map_or(-1, |lag| next + lag - 1);
            let suspended = SuspendedUpdate { store_offset: next - 1, current_end_offset, reason };
            self.shared.tell_standby(|listener| listener.on_update_suspended(&changelog, &store, &suspended))?;
        }
        Ok(())
    }

    /// Closes a standby; its stores cover what it has read, or, if that is not to be kept, are as of its last checkpoint.
    pub(super) fn close_standby(&mut self, id: TaskId, keeps: bool) -> Result<()> {
        let Some((mut standby, followed)) = self.stop_standby(id)? else { return Ok(()) };
        self.metrics.closed(1, now_ms());
        let closed = match keeps {
            true => {
                self.offset_sums.closing(&self.shared.directory, &standby.task, &standby.covered);
                standby.commit().and_then(|()| standby.task.close())
            }
            false => standby.task.abandon().map(|kept| drop(self.kept.insert(id, kept))),
        };
        drop(standby);
        self.shared.directory.unlock(id, self.thread);
        self.share_cache();
        unless_damaged(id, closed)?;
        self.tell_suspended(followed, SuspendReason::Migrated)
    }

    /// A task becomes a standby or the other way round: its stores are kept for the one that is made next, and so is its
    /// directory.
    pub(super) fn recycle(&mut self, id: TaskId) -> Result<()> {
        if let Some((mut standby, followed)) = self.stop_standby(id)? {
            self.metrics.closed(1, now_ms());
            let covered = standby.covered;
            self.recycled.insert(id, sum(&covered));
            let kept = standby.task.recycle(|store| covered.get(store).map(|(_, offset)| *offset));
            unless_damaged(id, kept.map(|kept| drop(self.kept.insert(id, kept))))?;
            tracing::info!(task = %id, "the standby becomes the active task");
            return self.tell_suspended(followed, SuspendReason::Promoted);
        }
        let Some(mut active) = self.tasks.remove(&id) else { return Ok(()) };
        self.metrics.closed(1, now_ms());
        self.stop_restoring(id)?;
        let covered = active.covered;
        self.recycled.insert(id, sum(&covered));
        let kept = active.task.recycle(|store| covered.get(store).map(|(_, offset)| *offset));
        unless_damaged(id, kept.map(|kept| drop(self.kept.insert(id, kept))))?;
        tracing::info!(task = %id, "the task becomes a standby");
        Ok(())
    }
}
