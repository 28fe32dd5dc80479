//! Tasks come and go: made over their directories, restored, closed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::Future,
    path::Path,
    time::{Duration, Instant},
};

use vltava_client::{ClientError, OffsetAndMetadata, TopicPartition};

use super::{ActiveTask, TaskManager, anew::Anew, client_failed, machine::Event};
use crate::{
    error::{Error, Result},
    metrics::Counters,
    processing::RecordCollector,
    runtime::{
        changelog_ids,
        collector::ProducerCollector,
        kafka_streams::now_ms,
        restore::{Batch, Plan, Restored, StoreChangelog},
        verdict::{self, Verdict},
        wait::wait_while_open,
    },
    state::TaskDirectory,
    task::{Task, TaskId, TaskOptions, TaskScope},
};

/// How long a thread waits for what a task needs before it looks after its other tasks; the task is tried again.
const LOOK_UP: Duration = Duration::from_secs(10);

/// Waits for an answer, and not for longer than the other tasks can.
fn look_up<T>(what: &str, asked: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    look_up_within(LOOK_UP, what, asked)
}

pub(super) fn look_up_within<T>(
    after: Duration,
    what: &str,
    asked: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    wait_while_open(async {
        let timed_out = || ClientError::Timeout { what: what.into(), after };
        tokio::time::timeout(after, asked).await.unwrap_or_else(|_elapsed| Err(timed_out()))
    })
}

/// Stores with what is to be done for them; or what was being done, and why that came to nothing.
type Planned = Result<Vec<(StoreChangelog, Plan)>, (String, ClientError)>;

impl TaskManager {
    /// Makes the assigned tasks whose directories are free. That may take its time, which a transaction has not.
    pub(in crate::runtime) fn make_pending(&mut self) -> Result<()> {
        if self.has_pending() && self.producer.is_in_transaction() {
            self.commit()?;
        }
        self.on(Event::MakePending(self.session()))
    }

    /// Makes a task, or leaves it for later: another thread has its directory, or what it needs cannot be read now.
    pub(super) fn make(&mut self, id: TaskId, partitions: &[TopicPartition]) -> Result<Event> {
        self.pause(partitions)?;
        let Some(directory) = self.shared.directory.lock(id, self.thread) else { return Ok(Event::Busy) };
        let changelogs = self.shared.topology.written_changelogs(id, &self.shared.config);
        let collector = ProducerCollector::new(self.producer.clone(), id, self.failures.clone(), changelogs);
        let task = self.new_task(id, &directory, Box::new(collector))?;
        let mut active = ActiveTask {
            task,
            inputs: HashMap::new(),
            covered: BTreeMap::new(),
            full: BTreeSet::new(),
            committed: HashMap::new(),
            first: HashMap::new(),
            read: HashMap::new(),
            counters: Counters::new(&self.shared.config, self.counters.thread(), &id.to_string()),
        };
        for partition in partitions {
            if let Some(queue) = active.task.queue(partition.topic()) {
                active.task.set_lag(queue, None);
                active.inputs.insert(partition.clone(), queue);
            }
        }
        // First what this thread may have committed is committed; then offsets are read, which wait for what others may
        // have; and only then where changelogs end, which have what led to the offsets by then, or will.
        if let Err(error) = self.producer.make_ready() {
            return self.not_made(id, active, "beginning with transactions", error);
        }
        let committed = match look_up("committed offsets", self.consumer.committed(partitions)) {
            Ok(committed) => committed,
            Err(error) => return self.not_made(id, active, "reading committed offsets", error),
        };
        active.take_committed(&committed);
        if self.producer.is_exactly_once() {
            // Where the end of the last transaction was not known, this is not where the task was believed to be.
            self.rewind(active.committed.clone())?;
        }
        let is_input = |changelog: &TopicPartition| active.inputs.contains_key(changelog);
        let stores = self.changelogs_of(&active.task, is_input, &directory, &committed)?;
        let plans = match self.plans(&mut active.task, &directory, stores, LOOK_UP)? {
            Ok(plans) => plans,
            Err((what, error)) => return self.not_made(id, active, &what, error),
        };
        self.tasks.insert(id, active);
        self.share_cache();
        self.begin_restoration(id, plans)?;
        Ok(Event::Made { task: id, complete: !self.restorer.is_reading_for(id) })
    }

    /// Makes nodes and stores, over stores that were kept if there are any.
    pub(super) fn new_task(
        &mut self,
        id: TaskId,
        directory: &Path,
        collector: Box<dyn RecordCollector>,
    ) -> Result<Task> {
        let options = TaskOptions {
            id,
            config: self.shared.config.clone(),
            collector,
            state_dir: Some(TaskDirectory { path: directory.to_owned(), engine: self.shared.engine.clone() }),
            globals: self.shared.globals.as_ref().map(|globals| globals.stores().clone()),
            scope: TaskScope::Subtopology,
            now: now_ms(),
        };
        let kept = std::mem::take(self.kept.entry(id).or_default());
        Task::new_over(&self.shared.topology, options, kept)
    }

    /// What is to be done for the stores of a task; those that are of no use are empty then. Or why that is not known, which may
    /// pass, and what was being done.
    pub(super) fn plans(
        &self,
        task: &mut Task,
        directory: &Path,
        stores: Vec<StoreChangelog>,
        patience: Duration,
    ) -> Result<Planned> {
        let names = stores.iter().map(|store| store.changelog.to_string()).collect::<Vec<_>>().join(", ");
        let what = format!("looking up the offsets of changelogs {names}");
        let mut plans = match look_up_within(patience, &what, self.restorer.plans(stores)) {
            Ok(plans) => plans,
            Err(error) => return Ok(Err((what, error))),
        };
        for (place, plan) in &mut plans {
            let Plan::Anew(beginning, limit) = *plan else { continue };
            let StoreChangelog { store, changelog, covered, .. } = &*place;
            tracing::warn!(
                task = %task.id(), store, %changelog, ?covered, beginning, limit,
                "restored anew: the changelog does not have the offset that the store covers, or is another topic of this name"
            );
            task.clear_store(store)?;
            *plan = Plan::Anew(beginning, limit).emptied();
        }
        let topics = plans.iter().filter_map(|(store, _)| Some((store.store.clone(), store.topic_id?))).collect();
        changelog_ids::write(directory, &topics)?;
        Ok(Ok(plans))
    }

    /// Lets a task go that cannot be made, for a reason that may pass.
    fn not_made(&mut self, id: TaskId, mut active: ActiveTask, doing: &str, error: ClientError) -> Result<Event> {
        self.kept.insert(id, active.task.abandon()?);
        drop(active);
        self.shared.directory.unlock(id, self.thread);
        match verdict::of_look_up(&error) {
            Verdict::Retry => Ok(Event::NotMade(id, error)),
            _ => Err(client_failed(doing, &error)),
        }
    }

    /// The stores of a task that come back from a topic.
    pub(super) fn changelogs_of(
        &self,
        task: &Task,
        is_input: impl Fn(&TopicPartition) -> bool,
        directory: &Path,
        committed: &BTreeMap<TopicPartition, Option<OffsetAndMetadata>>,
    ) -> Result<Vec<StoreChangelog>> {
        let mut changelogs = Vec::new();
        let (id, ids) = (task.id(), changelog_ids::read(directory)?);
        for (store, covered) in task.store_offsets()? {
            let Some(changelog) = self.changelog_of(&store, id) else { continue };
            // A source topic that serves as changelog is the store's only up to what was processed.
            let limit = is_input(&changelog).then(|| {
                let offset = committed.get(&changelog).and_then(Option::as_ref);
                offset.map_or(0, |offset| offset.offset)
            });
            let topic_id = ids.get(&store).copied();
            changelogs.push(StoreChangelog { store, changelog, covered, limit, topic_id });
        }
        Ok(changelogs)
    }

    /// The changelog of a store of a task, if it has one.
    pub(super) fn changelog_of(&self, store: &str, task: TaskId) -> Option<TopicPartition> {
        let topology = &self.shared.topology;
        let factory = topology.stores.values().find(|factory| factory.name == store)?;
        let topic = topology.changelog_topic(factory, self.shared.config.application_id())?;
        Some(TopicPartition::new(topic, task.partition))
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
        self.take_followed(&mut step, standbys_anew.ids().collect())?;
        for Batch { store, changelog, end_offset, records, .. } in step.batches {
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
                active.covered.insert(store, (changelog, offset));
            }
            if !self.restorer.is_reading_for(task) {
                self.on(Event::Restored(task))?;
            }
        }
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
        // A task that was about to take the place of a standby, or the other way round.
        for (task, _) in std::mem::take(&mut self.kept) {
            self.shared.directory.unlock(task, self.thread);
        }
        self.restorer.close();
    }
}

impl ActiveTask {
    /// Where its inputs are read from again if it begins anew.
    fn begins_anew_at(&self) -> Vec<(TopicPartition, i64)> {
        let of = |partition: &TopicPartition| {
            let offset = self.committed.get(partition).or_else(|| self.first.get(partition))?;
            Some((partition.clone(), *offset))
        };
        self.inputs.keys().filter_map(of).collect()
    }
}
