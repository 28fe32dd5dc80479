//! Tasks come and go: made over their directories, restored, closed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    sync::Arc,
    time::Duration,
};

use vltava_client::{OffsetAndMetadata, TopicPartition};

use super::{ActiveTask, Phase, TaskManager, client_failed};
use crate::{
    error::{Error, Result},
    metrics::Counters,
    runtime::{
        collector::ProducerCollector,
        kafka_streams::now_ms,
        restore::{Plan, Restored, StoreChangelog},
        wait::wait,
    },
    state::TaskDirectory,
    task::{Task, TaskId, TaskOptions, TaskScope},
};

impl TaskManager {
    /// Makes the assigned tasks whose directories are free.
    pub(in crate::runtime) fn make_pending(&mut self) -> Result<()> {
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
        self.share_cache();
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
    pub(in crate::runtime) fn restore(&mut self, timeout: Duration) -> Result<()> {
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

    pub(super) fn pause(&self, partitions: &[TopicPartition]) -> Result<()> {
        self.consumer.pause(partitions).map_err(|error| client_failed("pausing", &error))
    }

    /// Closes a committed task; its stores cover what was committed.
    pub(super) fn close_task(&mut self, id: TaskId) -> Result<()> {
        let Some(mut active) = self.tasks.remove(&id) else { return Ok(()) };
        self.restorer.remove(id)?;
        let closed = active.task.close();
        drop(active);
        self.shared.directory.unlock(id, self.thread);
        self.share_cache();
        closed
    }

    /// Shares the thread's part of `statestore.cache.max.bytes` among the caches of its tasks. As in Kafka the thread of
    /// the global stores has a part too.
    fn share_cache(&mut self) {
        let config = &self.shared.config;
        let threads = config.fields().num_stream_threads + usize::from(self.shared.globals.is_some());
        let bytes = config.fields().cache_max_bytes / threads.max(1) as u64;
        let caches: usize = self.tasks.values().map(|active| active.task.caches()).sum();
        for active in self.tasks.values_mut() {
            let share = bytes / caches.max(1) as u64 * active.task.caches() as u64;
            active.task.set_cache_limit(share);
        }
    }

    /// Gives up a task whose progress since the last commit must not be kept.
    pub(super) fn abandon(&mut self, id: TaskId, mut active: ActiveTask) -> Result<()> {
        let closed = active.task.abandon();
        drop(active);
        self.shared.directory.unlock(id, self.thread);
        closed
    }

    /// Commits and closes everything.
    pub(in crate::runtime) fn close(&mut self) -> Result<()> {
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
    pub(in crate::runtime) fn close_dirty(&mut self) {
        for (id, active) in std::mem::take(&mut self.tasks) {
            if let Err(error) = self.abandon(id, active) {
                tracing::warn!(task = %id, "closing: {error}");
            }
        }
        self.restorer.close();
    }
}
