//! The tasks of one thread: made when they are assigned, restored, run, committed, closed.
//!
//! Shared between the thread and its rebalance listener, which runs inside of the consumer's `poll`.

mod commits;
mod failed;
mod lifecycle;
mod queried;
mod rebalances;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use vltava_client::{Consumer, Producer, TopicPartition, consumer::PartitionRecords};

use super::{
    assignor::{Preferences, SharedPreferences},
    clients::client_failed,
    failures::Failures,
    kafka_streams::Shared,
    records::input_batches,
    restore::Restorer,
    setup::Setup,
};
use crate::{
    error::{Error, Result},
    metrics::{Counters, MetricName, ThreadCounters},
    query::ThreadState,
    task::{Task, TaskId},
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
        let limit = self.shared.config.fields().buffered_records_per_partition;
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
        let limit = self.shared.config.fields().buffered_records_per_partition;
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
}
