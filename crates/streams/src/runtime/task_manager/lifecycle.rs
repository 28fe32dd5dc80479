//! Tasks come and go: made over their directories, restored, closed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use vltava_client::TopicPartition;

use super::{
    ActiveTask, TaskManager,
    anew::Anew,
    client_failed,
    machine::Event,
    making::{Kind, Opened},
};
use crate::{
    error::{Error, Result},
    runtime::{
        collector::ProducerCollector,
        kafka_streams::now_ms,
        restore::{Batch, Plan, Restored, StoreChangelog},
        verdict::{self, Verdict},
    },
    task::TaskId,
};

impl TaskManager {
    /// Begins to make a task, or leaves it for later: another thread has its directory.
    pub(super) fn make(&mut self, id: TaskId, partitions: Vec<TopicPartition>) -> Result<Option<Event>> {
        if self.making.contains_key(&id) {
            return Ok(Some(Event::Busy(id)));
        }
        // First what this thread may have committed is committed; then offsets are read, which wait for what others may have.
        if let Err(error) = self.producer.make_ready() {
            return match verdict::of_look_up(&error) {
                Verdict::Retry => Ok(Some(Event::NotMade(id, error))),
                _ => Err(client_failed("beginning with transactions", &error)),
            };
        }
        let Some(directory) = self.shared.directory.lock(id, self.thread) else { return Ok(Some(Event::Busy(id))) };
        let changelogs = self.shared.topology.written_changelogs(id, &self.shared.config);
        let collector = ProducerCollector::new(self.producer.clone(), id, self.failures.clone(), changelogs);
        self.begin_making(id, Kind::Task(partitions), directory, Box::new(collector));
        Ok(None)
    }

    /// A task is there: it is restored next, or begins to work at once.
    pub(super) fn task_made(&mut self, id: TaskId, partitions: &[TopicPartition], opened: Opened) -> Result<Event> {
        let Opened { task, committed, plans } = opened;
        let mut active = ActiveTask {
            task,
            inputs: HashMap::new(),
            covered: BTreeMap::new(),
            full: BTreeSet::new(),
            committed: HashMap::new(),
            first: HashMap::new(),
            read: HashMap::new(),
            restoring: HashMap::new(),
            worked: Duration::ZERO,
        };
        for partition in partitions {
            if let Some(queue) = active.task.queue(partition.topic()) {
                active.task.set_lag(queue, None);
                active.inputs.insert(partition.clone(), queue);
            }
        }
        active.take_committed(&committed);
        if self.producer.is_exactly_once() {
            // Where the end of the last transaction was not known, this is not where the task was believed to be.
            self.rewind(active.committed.clone())?;
        }
        active.task.measure(self.metrics.recorder());
        self.tasks.insert(id, active);
        self.metrics.created(1, now_ms());
        self.share_cache();
        self.begin_restoration(id, plans)?;
        if !self.restorer.is_reading_for(id) {
            // Its stores may have been a standby's, which have not written all that they have read.
            self.completing.insert(id);
        }
        Ok(Event::Made { task: id, complete: false })
    }

    /// Lets tasks begin to work whose changelogs are read, and whose stores have written what came of it: others are at work
    /// meanwhile.
    pub(super) fn complete_restorations(&mut self) -> Result<()> {
        let completing: Vec<TaskId> = self.completing.iter().copied().collect();
        for id in completing {
            let Some(active) = self.tasks.get_mut(&id) else { continue };
            let mut is_written = false;
            let written = active.task.is_restoration_written().map(|written| is_written = written);
            let mut anew = Anew::default();
            let event = match anew.note(id, written)? {
                true if !is_written => continue,
                true => Event::Restored(id),
                false => Event::BeginAnew(anew),
            };
            self.completing.remove(&id);
            self.on(event)?;
        }
        Ok(())
    }

    fn begin_restoration(&mut self, id: TaskId, plans: Vec<(StoreChangelog, Plan)>) -> Result<()> {
        for (store, plan) in plans {
            match plan {
                Plan::UpToDate(offset) => {
                    if let Some(active) = self.tasks.get_mut(&id) {
                        active.covered.insert(store.store, (store.changelog, offset));
                    }
                }
                Plan::Read(start, end) => {
                    let (store_name, changelog) = (&store.store, &store.changelog);
                    tracing::info!(task = %id, store = store_name, %changelog, start, end, "restoration begins");
                    self.shared.tell_restore(|listener| {
                        listener.on_restore_start(&store.changelog, &store.store, start, end);
                    })?;
                    if let Some(active) = self.tasks.get_mut(&id) {
                        active.task.metrics().to_restore(end - start, now_ms());
                        active.restoring.insert(store.changelog.clone(), (start, end));
                    }
                    self.restorer.add(id, store, start, end)?;
                }
                Plan::Anew(..) => return Err(Error::internal("a store that is of no use was kept")),
            }
        }
        Ok(())
    }

    /// Reads no changelogs for the time being.
    pub(in crate::runtime) fn put_off_restoration(&mut self) {
        self.restorer.put_off(Instant::now());
    }

    /// Reads changelogs once, and says whether there was something to read; tasks whose stores are complete begin to work.
    /// Where nothing is to be restored standbys follow theirs.
    pub(in crate::runtime) fn restore(&mut self, timeout: Duration) -> Result<bool> {
        let (tasks, standbys) = (&mut self.tasks, &mut self.standbys);
        let (mut anew, mut standbys_anew) = (Anew::default(), Anew::default());
        let mut step = self.restorer.step(timeout, Instant::now(), &mut |id, restore| {
            if let Some(active) = tasks.get_mut(&id) {
                anew.note(id, restore(&mut active.task)).map(drop)
            } else if let Some(standby) = standbys.get_mut(&id) {
                standbys_anew.note(id, restore(&mut standby.task)).map(drop)
            } else {
                Ok(())
            }
        })?;
        self.on(Event::BeginAnew(anew))?;
        let has_read = !step.moved.is_empty() || !step.followed.is_empty();
        let (now, of_standbys): (_, u64) = (now_ms(), step.loaded.iter().map(|batch| batch.records).sum());
        self.updater.restored(of_standbys + step.batches.iter().map(|batch| batch.records).sum::<u64>(), now);
        self.take_followed(&mut step, standbys_anew.ids().collect())?;
        for Batch { task, store, changelog, end_offset, records, .. } in step.batches {
            if let Some(active) = self.tasks.get_mut(&task) {
                active.task.metrics().restored(records, now);
                active.restored_up_to(&changelog, end_offset, now);
            }
            self.shared.tell_restore(|listener| listener.on_batch_restored(&changelog, &store, end_offset, records))?;
        }
        for id in step.moved {
            self.on(Event::Restoring(id))?;
        }
        for (id, error) in step.stalled {
            self.on(Event::NotRestoring(id, error))?;
        }
        for Restored { task, store, changelog, offset, total } in step.restored {
            tracing::info!(%task, store, %changelog, records = total, "store restored");
            self.shared.tell_restore(|listener| listener.on_restore_end(&changelog, &store, total))?;
            if let Some(active) = self.tasks.get_mut(&task) {
                active.restored_up_to(&changelog, i64::MAX, now);
                active.covered.insert(store, (changelog, offset));
            }
            if !self.restorer.is_reading_for(task) {
                self.completing.insert(task);
            }
        }
        self.complete_restorations()?;
        Ok(has_read)
    }

    /// The stores of a task are complete: it begins to work.
    pub(super) fn start(&mut self, id: TaskId) -> Result<()> {
        let Some(active) = self.tasks.get_mut(&id) else { return Ok(()) };
        active.task.commit_stores(|store| active.covered.get(store).map(|(_, offset)| *offset))?;
        active.task.initialize()?;
        tracing::debug!(task = %id, "running");
        let inputs: Vec<_> = active.inputs.keys().cloned().collect();
        self.consumer.resume(&inputs).map_err(|error| client_failed("resuming", &error))
    }

    pub(super) fn suspend(&mut self, id: TaskId) -> Result<()> {
        let Some(active) = self.tasks.get_mut(&id) else { return Ok(()) };
        // What was read and not processed comes again, from the committed offset; here, too, if the partition stays.
        active.task.clear_buffered();
        active.read.clear();
        active.full.clear();
        let (from, assigned) = (active.begins_anew_at(), self.consumer.assignment());
        self.rewind(from.into_iter().filter(|(partition, _)| assigned.contains(partition)))?;
        self.stop_restoring(id)
    }

    fn rewind(&self, from: impl IntoIterator<Item = (TopicPartition, i64)>) -> Result<()> {
        for (partition, offset) in from {
            self.consumer.seek(&partition, offset).map_err(|error| client_failed("seeking", &error))?;
        }
        Ok(())
    }

    /// Gives up what is being restored of a task.
    pub(super) fn stop_restoring(&mut self, id: TaskId) -> Result<()> {
        self.completing.remove(&id);
        for Restored { store, changelog, total, .. } in self.restorer.remove(id)? {
            self.shared.tell_restore(|listener| listener.on_restore_suspended(&changelog, &store, total))?;
        }
        Ok(())
    }

    pub(super) fn pause(&self, partitions: &[TopicPartition]) -> Result<()> {
        self.consumer.pause(partitions).map_err(|error| client_failed("pausing", &error))
    }

    /// Closes a committed task; its stores cover what was committed.
    pub(super) fn close_task(&mut self, id: TaskId) -> Result<()> {
        let Some(mut active) = self.tasks.remove(&id) else { return Ok(()) };
        self.metrics.closed(1, now_ms());
        self.stop_restoring(id)?;
        self.offset_sums.closing(&self.shared.directory, &active.task, &active.covered);
        let closed = active.task.close();
        drop(active);
        self.shared.directory.unlock(id, self.thread);
        self.share_cache();
        closed
    }

    /// Shares the thread's part of `statestore.cache.max.bytes` among the caches of its tasks, and that of
    /// `statestore.uncommitted.max.bytes` among the tasks. As in Kafka the thread of the global stores has a part of the
    /// caches too.
    pub(in crate::runtime) fn share_cache(&mut self) {
        let config = &self.shared.config;
        let (live, bytes) = (self.shared.threads.live(), self.shared.share_of_caches());
        let caches: usize = self.tasks.values().map(|active| active.task.caches()).sum();
        let uncommitted = config.fields().uncommitted_max_bytes / live.max(1) as u64;
        let uncommitted = uncommitted / (self.tasks.len() + self.standbys.len()).max(1) as u64;
        for standby in self.standbys.values_mut() {
            standby.task.set_uncommitted_limit(uncommitted);
        }
        for active in self.tasks.values_mut() {
            active.task.set_uncommitted_limit(uncommitted);
            let share = bytes / caches.max(1) as u64 * active.task.caches() as u64;
            active.task.set_cache_limit(share);
        }
    }

    /// Gives up a task whose progress since the last commit must not be kept. To `rewind` is to read from there again.
    pub(super) fn abandon(&mut self, id: TaskId, rewind: bool) -> Result<()> {
        let Some(mut active) = self.tasks.remove(&id) else { return Ok(()) };
        self.metrics.closed(1, now_ms());
        self.given_up += 1;
        self.stop_restoring(id)?;
        self.offset_sums.closing(&self.shared.directory, &active.task, &active.covered);
        let closed = active.task.abandon().map(|kept| drop(self.kept.insert(id, kept)));
        let from = active.begins_anew_at();
        let partitions: Vec<_> = active.inputs.keys().cloned().collect();
        drop(active);
        self.shared.directory.unlock(id, self.thread);
        self.share_cache();
        closed?;
        if rewind {
            self.rewind(from)?;
            self.pause(&partitions)?;
        }
        Ok(())
    }

    /// Commits and closes everything.
    pub(in crate::runtime) fn close(&mut self) -> Result<()> {
        (self.given_up, self.uncommitted) = (0, None);
        self.on(Event::Close(self.session()))?;
        self.end_making();
        self.forget_kept(|_| false);
        self.restorer.close();
        if self.given_up == 0 {
            return Ok(());
        }
        Err(match self.uncommitted.take() {
            Some(error) => client_failed("committing offsets", &error),
            None => Error::streams(
                "tasks were given up: the group may have forgotten the thread, or records could not be sent".to_owned(),
            ),
        })
    }

    /// Gives everything up after a failure.
    pub(in crate::runtime) fn close_dirty(&mut self) {
        self.machine.on(Event::GiveUp, Instant::now());
        while let Some(step) = self.machine.next_step() {
            if let Err(error) = self.perform(step) {
                tracing::warn!("closing: {error}");
            }
        }
        self.end_making();
        self.forget_kept(|_| false);
        self.restorer.close();
    }

    /// Stores of tasks that are not to be made here any more are closed. A task that was about to take the place of a standby, or
    /// the other way round, has its directory still.
    pub(super) fn forget_kept(&mut self, keeps: impl Fn(&TaskId) -> bool) {
        let (kept, forgotten) = std::mem::take(&mut self.kept).into_iter().partition(|(task, _)| keeps(task));
        self.kept = kept;
        self.recycled.retain(|task, _| keeps(task));
        let forgotten: BTreeMap<_, _> = forgotten;
        for (task, stores) in forgotten {
            drop(stores);
            let is_open = self.tasks.contains_key(&task) || self.standbys.contains_key(&task);
            if !is_open && !self.making.contains_key(&task) {
                self.shared.directory.unlock(task, self.thread);
            }
        }
    }
}

impl ActiveTask {
    /// A changelog that is restored has come to this offset, or to its end.
    fn restored_up_to(&mut self, changelog: &TopicPartition, offset: i64, now: i64) {
        let Some((next, end)) = self.restoring.get_mut(changelog) else { return };
        let reached = offset.saturating_add(1).min(*end);
        self.task.metrics().to_restore(*next - reached, now);
        *next = reached;
        if reached == *end {
            self.restoring.remove(changelog);
        }
    }

    /// Where its inputs are read from again if it begins anew.
    fn begins_anew_at(&self) -> Vec<(TopicPartition, i64)> {
        let of = |partition: &TopicPartition| {
            let offset = self.committed.get(partition).or_else(|| self.first.get(partition))?;
            Some((partition.clone(), *offset))
        };
        self.inputs.keys().filter_map(of).collect()
    }
}
