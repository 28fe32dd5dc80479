//! The tasks of one thread: made when they are assigned, restored, run, committed, closed.
//!
//! Shared between the thread and its rebalance listener, which runs inside of the consumer's `poll`.

mod failed;
mod queried;

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    sync::Arc,
    time::Duration,
};

use vltava_client::{ClientError, Consumer, OffsetAndMetadata, Producer, TopicPartition, consumer::PartitionRecords};
use vltava_protocol::ErrorCode;

use super::{
    assignor::{Preferences, SharedPreferences},
    collector::ProducerCollector,
    failures::Failures,
    kafka_streams::{Shared, now_ms},
    offset_metadata,
    records::input_batches,
    restore::{Plan, Restored, Restorer, StoreChangelog},
    setup::Setup,
    wait::wait,
};
use crate::{
    error::{Error, Result},
    metrics::{Counters, MetricName, ThreadCounters},
    query::ThreadState,
    state::TaskDirectory,
    task::{Task, TaskId, TaskOptions, TaskScope},
};

/// Records of a task that are processed before the clock is read again and the other tasks have their turn.
const TURN: usize = 1000;

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its stores are being read from their changelogs.
    Restoring,
    Running,
    /// Its partitions were revoked; it waits to hear whether it stays.
    Suspended,
}

struct ActiveTask {
    task: Task,
    phase: Phase,
    /// Its input partitions with the number of their queue.
    inputs: HashMap<TopicPartition, usize>,
    /// The changelog of every store that has one, and the offset the store covers.
    covered: BTreeMap<String, (TopicPartition, i64)>,
    /// Partitions that are paused because their queue is full.
    full: BTreeSet<TopicPartition>,
    /// What was committed last, of every input.
    committed: HashMap<TopicPartition, i64>,
    /// The first offset that was read of every input: where the task begins anew as long as nothing is committed.
    first: HashMap<TopicPartition, i64>,
    counters: Counters,
}

pub(super) struct TaskManager {
    shared: Arc<Shared>,
    setup: Arc<Setup>,
    thread: usize,
    consumer: Consumer,
    producer: Producer,
    restorer: Restorer,
    failures: Arc<Failures>,
    tasks: BTreeMap<TaskId, ActiveTask>,
    /// Assigned, and not made yet: another thread still has the directory.
    pending: BTreeMap<TaskId, Vec<TopicPartition>>,
    /// Whether there was an assignment since the last revocation.
    assigned: bool,
    /// What the assignor is told when the thread joins again.
    preferences: SharedPreferences,
    /// A failure inside of a rebalance callback, for the thread to end with.
    failure: Option<Box<Error>>,
    counters: ThreadCounters,
}

fn client_failed(what: &str, error: &ClientError) -> Box<Error> {
    Box::new(Error::Streams(format!("{what}: {error}")))
}

impl TaskManager {
    pub(super) fn new(
        shared: Arc<Shared>,
        setup: Arc<Setup>,
        thread: usize,
        consumer: Consumer,
        producer: Producer,
        restorer: Restorer,
    ) -> Self {
        let (tasks, pending) = (BTreeMap::new(), BTreeMap::new());
        let (assigned, failure, preferences) = (false, None, SharedPreferences::default());
        let counters = ThreadCounters::new(&shared.config, &shared.thread_name(thread));
        TaskManager {
            shared,
            setup,
            thread,
            consumer,
            producer,
            restorer,
            failures: Arc::default(),
            tasks,
            pending,
            assigned,
            preferences,
            failure,
            counters,
        }
    }

    /// Tells the assignor there what the thread has.
    pub(super) fn telling(mut self, preferences: SharedPreferences) -> Self {
        self.preferences = preferences;
        self.tell_preferences();
        self
    }

    fn tell_preferences(&self) {
        let on_disk = self.shared.directory.tasks_on_disk().into_iter().collect();
        *self.preferences.lock() =
            Preferences { running: self.tasks.keys().copied().collect(), on_disk, host: self.shared.host.clone() };
    }

    /// Whether assigned tasks wait for another thread to let their directories go.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether all assigned tasks are at work.
    pub(super) fn is_running(&self) -> bool {
        let running = |task: &ActiveTask| task.phase == Phase::Running;
        self.assigned && self.pending.is_empty() && self.tasks.values().all(running)
    }

    /// The thread's state, as Kafka Streams names it.
    pub(super) fn state(&self) -> ThreadState {
        match self.assigned {
            _ if self.is_running() => ThreadState::Running,
            true => ThreadState::PartitionsAssigned,
            false if self.tasks.is_empty() => ThreadState::Starting,
            false => ThreadState::PartitionsRevoked,
        }
    }

    pub(super) fn is_restoring(&self) -> bool {
        !self.restorer.is_idle()
    }

    pub(super) fn has_records(&self) -> bool {
        self.tasks.values().any(|task| task.phase == Phase::Running && task.task.has_records())
    }

    pub(super) fn take_failure(&mut self) -> Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }

    // ---- rebalances --------------------------------------------------------------------------

    /// All partitions are about to be given up: commits, and keeps the tasks until it is known which of them stay.
    pub(super) fn revoked(&mut self) {
        self.assigned = false;
        let done = self.commit(true).and_then(|_| self.suspend());
        self.fail(done);
        self.tell_preferences();
    }

    fn suspend(&mut self) -> Result<()> {
        for (id, active) in &mut self.tasks {
            // What was read and not processed comes again, from the committed offset.
            active.task.clear_buffered();
            active.full.clear();
            if active.phase == Phase::Restoring {
                self.restorer.remove(*id)?;
            }
            active.phase = Phase::Suspended;
        }
        Ok(())
    }

    /// The partitions are others' already: nothing of the tasks can be committed.
    pub(super) fn lost(&mut self) {
        self.assigned = false;
        let done = std::mem::take(&mut self.tasks).into_iter().try_for_each(|(id, active)| {
            tracing::warn!(task = %id, "lost, for the thread was out of its group");
            self.restorer.remove(id)?;
            self.abandon(id, active)
        });
        self.fail(done);
    }

    /// The thread's partitions from now on, all of them.
    pub(super) fn assigned(&mut self, partitions: &[TopicPartition]) {
        let mut tasks: BTreeMap<TaskId, Vec<TopicPartition>> = BTreeMap::new();
        for partition in partitions {
            match self.subtopology_of(partition.topic()) {
                Some(subtopology) => {
                    let id = TaskId { subtopology, partition: partition.partition() };
                    tasks.entry(id).or_default().push(partition.clone());
                }
                None => tracing::warn!(%partition, "assigned, but no sub-topology reads it"),
            }
        }
        self.assigned = true;
        let done = self.close_all_but(&tasks).and_then(|()| {
            self.pending = tasks;
            self.make_pending()
        });
        self.fail(done);
    }

    fn subtopology_of(&self, topic: &str) -> Option<u32> {
        let mut infos = self.setup.subtopologies.iter();
        infos.find(|(_, info)| info.source_topics.contains(topic)).map(|(number, _)| *number)
    }

    fn close_all_but(&mut self, keep: &BTreeMap<TaskId, Vec<TopicPartition>>) -> Result<()> {
        let gone: Vec<_> = self.tasks.keys().filter(|id| !keep.contains_key(id)).copied().collect();
        gone.into_iter().try_for_each(|id| self.close_task(id))
    }

    fn fail(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.failure.get_or_insert(error);
        }
    }

    // ---- tasks come and go -------------------------------------------------------------------

    /// Makes the assigned tasks whose directories are free.
    pub(super) fn make_pending(&mut self) -> Result<()> {
        for (id, partitions) in std::mem::take(&mut self.pending) {
            match self.tasks.get_mut(&id) {
                Some(active) if active.covered_is_known() => {
                    active.phase = Phase::Running;
                    let paused: Vec<_> = partitions.iter().filter(|p| active.full.contains(*p)).cloned().collect();
                    self.pause(&paused)?;
                }
                // It was still restoring when it was suspended.
                Some(_) => {
                    self.close_task(id)?;
                    self.make(id, partitions)?;
                }
                None => self.make(id, partitions)?,
            }
        }
        Ok(())
    }

    /// Makes a task, or leaves it for later if another thread has its directory.
    fn make(&mut self, id: TaskId, partitions: Vec<TopicPartition>) -> Result<()> {
        let Some(directory) = self.shared.directory.lock(id, self.thread) else {
            self.pause(&partitions)?;
            self.pending.insert(id, partitions);
            return Ok(());
        };
        let changelogs = self.setup.subtopologies.get(&id.subtopology).map(|info| {
            let own = info.changelog_topics.keys().filter(|topic| !info.source_topics.contains(*topic));
            own.map(|topic| Arc::from(topic.as_str())).collect::<Vec<Arc<str>>>()
        });
        let failures = self.failures.clone();
        let collector = ProducerCollector::new(self.producer.clone(), id, failures, changelogs.unwrap_or_default());
        let options = TaskOptions {
            id,
            config: self.shared.config.clone(),
            collector: Box::new(collector),
            state_dir: Some(TaskDirectory { path: directory.clone(), engine: self.shared.engine.clone() }),
            globals: self.shared.globals.as_ref().map(|globals| globals.stores().clone()),
            scope: TaskScope::Subtopology,
            now: now_ms(),
        };
        let task = Task::new(&self.shared.topology, options)?;
        let mut active = ActiveTask {
            task,
            phase: Phase::Restoring,
            inputs: HashMap::new(),
            covered: BTreeMap::new(),
            full: BTreeSet::new(),
            committed: HashMap::new(),
            first: HashMap::new(),
            counters: Counters::new(&self.shared.config, self.counters.thread(), &id.to_string()),
        };
        for partition in &partitions {
            if let Some(queue) = active.task.queue(partition.topic()) {
                active.task.set_lag(queue, None);
                active.inputs.insert(partition.clone(), queue);
            }
        }
        let committed = wait(self.consumer.committed(&partitions));
        let committed = committed.map_err(|error| client_failed("reading committed offsets", &error))?;
        active.take_committed(&committed);
        let stores = self.changelogs_of(&active, id, &committed)?;
        let plans = self.restorer.plans(stores)?;
        if plans.iter().any(|(_, plan)| *plan == Plan::Corrupted) {
            tracing::warn!(task = %id, "its stores cover more than their changelogs have: they are restored anew");
            drop(active);
            fs::remove_dir_all(&directory).map_err(|error| Error::streams(format!("task {id}: {error}")))?;
            self.shared.directory.unlock(id, self.thread);
            return self.make(id, partitions);
        }
        self.pause(&partitions)?;
        self.tasks.insert(id, active);
        self.begin_restoration(id, plans)?;
        self.start_if_restored(id)
    }

    /// The stores of a task that come back from a topic.
    fn changelogs_of(
        &self,
        active: &ActiveTask,
        id: TaskId,
        committed: &BTreeMap<TopicPartition, Option<OffsetAndMetadata>>,
    ) -> Result<Vec<StoreChangelog>> {
        let topology = &self.shared.topology;
        let mut changelogs = Vec::new();
        for (store, covered) in active.task.store_offsets()? {
            let factory = topology.stores.values().find(|factory| factory.name == store);
            let topic = factory.and_then(|f| topology.changelog_topic(f, self.shared.config.application_id()));
            let Some(topic) = topic else { continue };
            let changelog = TopicPartition::new(topic, id.partition);
            // A source topic that serves as changelog is the store's only up to what was processed.
            let limit = active.inputs.contains_key(&changelog).then(|| {
                let offset = committed.get(&changelog).and_then(Option::as_ref);
                offset.map_or(0, |offset| offset.offset)
            });
            changelogs.push(StoreChangelog { store, changelog, covered, limit });
        }
        Ok(changelogs)
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
                    if let Some(listener) = &*self.shared.restore_listener.lock() {
                        listener.on_restore_start(&store.changelog, &store.store, start, end);
                    }
                    self.restorer.add(id, store, start, end)?;
                }
                Plan::Corrupted => return Err(Error::internal("a corrupted store was kept")),
            }
        }
        Ok(())
    }

    /// Reads changelogs once; tasks whose stores are complete begin to work.
    pub(super) fn restore(&mut self, timeout: Duration) -> Result<()> {
        let tasks = &mut self.tasks;
        let restored = self.restorer.step(timeout, |id, restore| match tasks.get_mut(&id) {
            Some(active) => restore(&mut active.task),
            None => Ok(()),
        })?;
        for Restored { task, store, changelog, offset, total } in restored {
            if let Some(listener) = &*self.shared.restore_listener.lock() {
                listener.on_restore_end(&changelog, &store, total);
            }
            if let Some(active) = self.tasks.get_mut(&task) {
                active.covered.insert(store, (changelog, offset));
            }
            self.start_if_restored(task)?;
        }
        Ok(())
    }

    fn start_if_restored(&mut self, id: TaskId) -> Result<()> {
        let restoring = self.restorer.is_reading_for(id);
        let Some(active) = self.tasks.get_mut(&id).filter(|active| active.phase == Phase::Restoring) else {
            return Ok(());
        };
        if restoring {
            return Ok(());
        }
        active.task.commit_stores(|store| active.covered.get(store).map(|(_, offset)| *offset))?;
        active.task.initialize()?;
        active.phase = Phase::Running;
        let inputs: Vec<_> = active.inputs.keys().cloned().collect();
        tracing::debug!(task = %id, "running");
        self.consumer.resume(&inputs).map_err(|error| client_failed("resuming", &error))
    }

    fn pause(&self, partitions: &[TopicPartition]) -> Result<()> {
        self.consumer.pause(partitions).map_err(|error| client_failed("pausing", &error))
    }

    /// Closes a committed task; its stores cover what was committed.
    fn close_task(&mut self, id: TaskId) -> Result<()> {
        let Some(mut active) = self.tasks.remove(&id) else { return Ok(()) };
        self.restorer.remove(id)?;
        let closed = active.task.close();
        drop(active);
        self.shared.directory.unlock(id, self.thread);
        closed
    }

    /// Gives up a task whose progress since the last commit must not be kept.
    fn abandon(&mut self, id: TaskId, mut active: ActiveTask) -> Result<()> {
        let closed = active.task.abandon();
        drop(active);
        self.shared.directory.unlock(id, self.thread);
        closed
    }

    /// Commits and closes everything.
    pub(super) fn close(&mut self) -> Result<()> {
        let committed = self.commit(true).map(|_| ());
        let clean = committed.is_ok();
        let mut closed = committed;
        for (id, mut active) in std::mem::take(&mut self.tasks) {
            let done = if clean { active.task.close() } else { active.task.abandon() };
            drop(active);
            self.shared.directory.unlock(id, self.thread);
            closed = closed.and(done);
        }
        self.restorer.close();
        closed
    }

    /// Gives everything up after a failure.
    pub(super) fn close_dirty(&mut self) {
        for (id, active) in std::mem::take(&mut self.tasks) {
            if let Err(error) = self.abandon(id, active) {
                tracing::warn!(task = %id, "closing: {error}");
            }
        }
        self.restorer.close();
    }

    // ---- records -----------------------------------------------------------------------------

    /// Gives a task the records of one of its partitions; a full queue pauses the partition.
    pub(super) fn add_records(&mut self, records: &PartitionRecords) -> Result<()> {
        let partition = records.topic_partition();
        let owner = self.tasks.values_mut().find_map(|active| {
            let queue = *active.inputs.get(partition)?;
            Some((active, queue))
        });
        let Some((active, queue)) = owner else { return Ok(()) };
        for input in input_batches(records) {
            let first = input.first_offset();
            active.task.add_records(queue, input)?;
            if !active.first.contains_key(partition)
                && let Some(first) = first
            {
                active.first.insert(partition.clone(), first);
            }
        }
        let limit = usize::try_from(self.shared.config.get_long("buffered.records.per.partition")).unwrap_or(0);
        if limit > 0 && active.task.buffered(queue) > limit && active.full.insert(partition.clone()) {
            let partition = [partition.clone()];
            return self.pause(&partition);
        }
        Ok(())
    }

    /// Tells the tasks what is still at the broker of the partitions that they could wait for.
    pub(super) fn update_lags(&mut self) {
        for active in self.tasks.values_mut().filter(|active| active.phase == Phase::Running) {
            if active.inputs.len() < 2 || !active.task.has_records() {
                continue;
            }
            for (partition, queue) in &active.inputs {
                // A partition that was taken from the consumer is given back to it, or the task goes.
                let lag = self.consumer.current_lag(partition).ok().flatten();
                active.task.set_lag(*queue, lag);
            }
        }
    }

    /// Processes up to a turn's records of every task. Returns how many there were.
    pub(super) fn process(&mut self, now: i64) -> Result<usize> {
        let limit = usize::try_from(self.shared.config.get_long("buffered.records.per.partition")).unwrap_or(0);
        let mut total = 0;
        let mut resumed = Vec::new();
        for active in self.tasks.values_mut().filter(|active| active.phase == Phase::Running) {
            let mut done = 0;
            while done < TURN && active.task.process(now)? {
                done += 1;
            }
            total += done;
            if done > 0 {
                active.task.maybe_punctuate_stream_time()?;
                active.counters.update(&active.task, now);
            }
            let (task, inputs) = (&active.task, &active.inputs);
            active.full.retain(|partition| {
                let full = inputs.get(partition).is_some_and(|queue| task.buffered(*queue) > limit);
                if !full {
                    resumed.push(partition.clone());
                }
                full
            });
        }
        if !resumed.is_empty() {
            self.consumer.resume(&resumed).map_err(|error| client_failed("resuming", &error))?;
        }
        self.counters.processed(total, now);
        Ok(total)
    }

    /// What this thread and its tasks have counted.
    pub(super) fn metrics(&self, now: i64) -> BTreeMap<MetricName, f64> {
        let of_tasks = self.tasks.values().flat_map(|active| active.counters.all(now));
        self.counters.all(now).into_iter().chain(of_tasks).collect()
    }

    /// Runs wall-clock punctuations that are due.
    pub(super) fn punctuate(&mut self, now: i64) -> Result<()> {
        let running = self.tasks.values_mut().filter(|active| active.phase == Phase::Running);
        for active in running {
            active.task.maybe_punctuate_system_time(now)?;
        }
        Ok(())
    }

    pub(super) fn commit_requested(&self) -> bool {
        self.tasks.values().any(|active| active.task.commit_requested())
    }

    // ---- commits -----------------------------------------------------------------------------

    /// At least once: what the tasks wrote is acknowledged before the offsets that led to it are committed, and only
    /// then do the stores keep the changelog offsets they cover. False if a rebalance came in between.
    pub(super) fn commit(&mut self, give_up: bool) -> Result<bool> {
        let running = |active: &&mut ActiveTask| active.phase == Phase::Running;
        for active in self.tasks.values_mut().filter(running) {
            active.task.flush()?;
        }
        loop {
            wait(self.producer.flush()).map_err(|error| client_failed("sending records", &error))?;
            // What the handlers write about failures has to be there as well.
            if !self.settle_failures()? {
                break;
            }
        }
        let mut offsets = BTreeMap::new();
        for active in self.tasks.values().filter(|active| active.phase == Phase::Running) {
            offsets.extend(active.offsets_to_commit());
        }
        if !offsets.is_empty()
            && let Err(error) = wait(self.consumer.commit_sync_offsets(offsets.clone()))
        {
            if !give_up && !is_rebalance(&error) {
                return Err(client_failed("committing offsets", &error));
            }
            tracing::info!("offsets were not committed, a rebalance is under way: {error}");
            return Ok(false);
        }
        for active in self.tasks.values_mut().filter(running) {
            active.committed_now(&offsets)?;
        }
        self.shared.committed(&self.setup, &offsets);
        self.counters.committed(now_ms());
        Ok(true)
    }
}

impl ActiveTask {
    /// Whether every store that has a changelog is as far as it was read.
    fn covered_is_known(&self) -> bool {
        self.task.is_initialized()
    }

    fn take_committed(&mut self, committed: &BTreeMap<TopicPartition, Option<OffsetAndMetadata>>) {
        for (partition, offset) in committed {
            let (Some(queue), Some(offset)) = (self.inputs.get(partition), offset) else { continue };
            if let Some(times) = offset_metadata::decode(&offset.metadata) {
                self.task.set_partition_time(*queue, times.partition);
                self.task.restore_processor_times(times.processors);
            }
            self.committed.insert(partition.clone(), offset.offset);
        }
    }

    fn offsets_to_commit(&self) -> Vec<(TopicPartition, OffsetAndMetadata)> {
        let partition = self.task.id().partition;
        let consumed = self.task.consumed_offsets().map(|(topic, consumed)| {
            let metadata = offset_metadata::encode(consumed.partition_time, self.task.processor_times());
            let offset = OffsetAndMetadata::new(consumed.offset).with_metadata(metadata);
            (TopicPartition::new(topic, partition), offset)
        });
        consumed.filter(|(partition, offset)| self.committed.get(partition) != Some(&offset.offset)).collect()
    }

    /// The stores now cover what their changelogs have, and what was committed of source topics that serve as one.
    fn committed_now(&mut self, offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>) -> Result<()> {
        for partition in self.inputs.keys() {
            if let Some(offset) = offsets.get(partition) {
                self.committed.insert(partition.clone(), offset.offset);
            }
        }
        let collector: &mut dyn Any = self.task.collector_mut();
        let written = match collector.downcast_mut::<ProducerCollector>() {
            Some(collector) => collector.take_changelog_offsets(),
            None => Vec::new(),
        };
        for (changelog, covered) in self.covered.values_mut() {
            if let Some((_, offset)) = written.iter().find(|(topic, _)| **topic == *changelog.topic()) {
                *covered = *offset;
            } else if let Some(offset) = self.committed.get(changelog) {
                *covered = *offset;
            }
        }
        let covered = &self.covered;
        self.task.commit_stores(|store| covered.get(store).map(|(_, offset)| *offset))
    }
}

/// Whether offsets could not be committed because the group has moved on; the next `poll` tells what came of it.
fn is_rebalance(error: &ClientError) -> bool {
    let moved = [
        ErrorCode::RebalanceInProgress,
        ErrorCode::IllegalGeneration,
        ErrorCode::UnknownMemberId,
        ErrorCode::StaleMemberEpoch,
    ];
    error.code().is_some_and(|code| moved.contains(&code))
}
