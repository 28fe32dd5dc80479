//! The tasks of one thread: made when they are assigned, restored, run, committed, closed.
//!
//! What is to become of them decides the [`Machine`]; its steps are performed here, with the thread's clients and disk.
//! Shared between the thread and its rebalance listener, which runs inside of the consumer's `poll`.

mod anew;
mod commits;
mod failed;
mod lifecycle;
mod machine;
mod making;
mod offset_sums;
mod processing;
mod queried;
mod rebalances;
mod standbys;
mod steps;
mod trouble;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use vltava_client::{
    ClientError, Consumer, OffsetAndMetadata, TopicPartition,
    consumer::{ConsumerGroupMetadata, PartitionRecords},
};
use vltava_metrics::Snapshot;

pub(super) use self::queried::StorePosition;
use self::{
    anew::Anew,
    machine::{Event, Machine, Session},
    making::{Maker, Making},
    offset_sums::OffsetSums,
    processing::Stride,
    standbys::{Asked, StandbyTask},
};
use super::{
    assignor::{LATEST_OFFSET, SharedStandbys, Standing},
    clients::client_failed,
    failures::Failures,
    kafka_streams::{Shared, now_ms},
    metrics::clock_ns,
    records::input_batches,
    restore::Restorer,
    setup::Setup,
    summary::Work,
    thread_producer::ThreadProducer,
};
use crate::{
    error::{Error, Result},
    metrics::{Recorder, state_updater::UpdaterMetrics, thread::ThreadMetrics},
    query::ThreadState,
    store::KeptStores,
    task::{Task, TaskId},
};

/// The changelog of every store that has one, and the offset that the store covers.
type Covered = BTreeMap<String, (TopicPartition, i64)>;

/// How far the stores of a task are, for the group's leader.
fn sum(covered: &Covered) -> i64 {
    covered.values().map(|(_, offset)| *offset).sum()
}

pub(super) struct ActiveTask {
    task: Task,
    /// Its input partitions with the number of their queue.
    inputs: HashMap<TopicPartition, usize>,
    covered: Covered,
    /// Partitions that are paused because their queue is full.
    full: BTreeSet<TopicPartition>,
    /// What was committed last, of every input.
    committed: HashMap<TopicPartition, i64>,
    /// The first offset that was read of every input: where the task begins anew as long as nothing is committed.
    first: HashMap<TopicPartition, i64>,
    /// Behind what was read of every input.
    read: HashMap<TopicPartition, i64>,
    /// By changelogs that are restored: how far that is, and where it ends.
    restoring: HashMap<TopicPartition, (i64, i64)>,
    /// How long it was at work since that was told last.
    worked: Duration,
}

pub(super) struct TaskManager {
    shared: Arc<Shared>,
    setup: Arc<Setup>,
    thread: usize,
    consumer: Consumer,
    producer: Arc<ThreadProducer>,
    restorer: Restorer,
    failures: Arc<Failures>,
    machine: Machine,
    /// What the thread was in its group when the last assignment was made: its tasks are its own as such, and a consumer
    /// that has been told that it is none any more would have its offsets taken from anybody.
    member: Option<ConsumerGroupMetadata>,
    /// Those that the machine knows of.
    tasks: BTreeMap<TaskId, ActiveTask>,
    maker: Arc<Maker>,
    /// Tasks and standbys that are being made, or are not wanted any more and not closed yet.
    making: BTreeMap<TaskId, Making>,
    /// The standbys that are made.
    standbys: BTreeMap<TaskId, StandbyTask>,
    /// How far the active tasks of standbys are, and their changelogs: an answer that is to come.
    asked: Option<Asked>,
    /// Tasks whose changelogs are read, until their stores have written what came of it.
    completing: BTreeSet<TaskId>,
    /// The stores in memory of tasks that were abandoned, for as long as they may be made anew here.
    kept: BTreeMap<TaskId, KeptStores>,
    /// How far the stores are of tasks and standbys that are about to take each other's place.
    recycled: BTreeMap<TaskId, i64>,
    /// How many records are processed between two looks at the clock.
    stride: Stride,
    /// The task whose turn it is.
    next: Option<TaskId>,
    /// What was offered to the group in the last commit.
    offered: BTreeMap<TopicPartition, OffsetAndMetadata>,
    /// How many tasks were given up, and why offsets could not be committed last.
    given_up: usize,
    uncommitted: Option<ClientError>,
    /// Whether the thread has to leave its group and join again.
    rejoin: bool,
    /// Where partitions of which nothing was committed were to be read on when they were revoked.
    begun: BTreeMap<TopicPartition, i64>,
    offset_sums: OffsetSums,
    /// What an assignment has told it of standbys.
    assigned_standbys: SharedStandbys,
    /// A failure inside of a rebalance callback, for the thread to end with.
    failure: Option<Box<Error>>,
    metrics: ThreadMetrics,
    updater: UpdaterMetrics,
    /// How often offsets of tasks were committed since that was asked last.
    committed: usize,
    /// The time that punctuations took in this turn.
    punctuating: Duration,
}

impl TaskManager {
    pub(super) fn new(
        shared: Arc<Shared>,
        setup: Arc<Setup>,
        thread: usize,
        consumer: Consumer,
        producer: Arc<ThreadProducer>,
        restorer: Restorer,
    ) -> Self {
        let maker = Maker::new(shared.clone(), thread, consumer.clone(), restorer.planner());
        let recorder = Recorder::of_thread(&shared.metrics, &shared.thread_name(thread), clock_ns);
        let updater = UpdaterMetrics::new(&recorder);
        let metrics = ThreadMetrics::new(recorder, &shared.process_id.to_string(), now_ms());
        let machine = Machine::new(shared.config.fields().guarantee, shared.config.fields().task_timeout);
        TaskManager {
            shared,
            setup,
            thread,
            consumer,
            producer,
            restorer,
            failures: Arc::default(),
            machine,
            member: None,
            tasks: BTreeMap::new(),
            maker,
            making: BTreeMap::new(),
            standbys: BTreeMap::new(),
            asked: None,
            completing: BTreeSet::new(),
            kept: BTreeMap::new(),
            recycled: BTreeMap::new(),
            stride: Stride::default(),
            next: None,
            offered: BTreeMap::new(),
            given_up: 0,
            uncommitted: None,
            rejoin: false,
            begun: BTreeMap::new(),
            offset_sums: OffsetSums::default(),
            assigned_standbys: SharedStandbys::default(),
            failure: None,
            metrics,
            updater,
            committed: 0,
            punctuating: Duration::ZERO,
        }
    }

    /// Is told there what standbys it is to have.
    pub(super) fn with_standbys(mut self, standbys: SharedStandbys) -> Self {
        self.assigned_standbys = standbys;
        self
    }

    /// What is on disk and no thread has, what it follows, and what it works on: of the latter it is as far as anybody. For
    /// the thread's join: it reads the disk.
    pub(super) fn standing(&self) -> Standing {
        let mut offset_sums = self.shared.directory.unused_offset_sums();
        let being_made = self.making.iter().filter_map(|(id, making)| Some((*id, making.offset_sum?)));
        offset_sums.extend(being_made);
        offset_sums.extend(self.standbys.iter().map(|(id, standby)| (*id, sum(&standby.covered))));
        let stateful = self.tasks.iter().filter(|(id, _)| self.setup.has_changelogs(**id));
        offset_sums.extend(stateful.map(|(id, active)| match self.machine.is_complete(*id) {
            true => (*id, LATEST_OFFSET),
            false => (*id, sum(&active.covered)),
        }));
        Standing { offset_sums }
    }

    /// What the group makes of the thread, as far as its consumer knows.
    fn session(&self) -> Session {
        match self.consumer.is_in_session() {
            false => Session::Unknown,
            true if self.consumer.is_rebalancing() => Session::Rebalancing,
            true => Session::Member,
        }
    }

    /// Whether assigned tasks wait for another thread to let their directories go.
    pub(super) fn has_pending(&self) -> bool {
        self.machine.has_pending(Instant::now())
    }

    /// Whether standbys are to be made.
    pub(super) fn has_pending_standbys(&self) -> bool {
        self.machine.has_pending_standbys(Instant::now())
    }

    /// Time has passed.
    pub(super) fn tick(&mut self) -> Result<()> {
        self.on(Event::Tick(self.session()))
    }

    /// Whether tasks have to wait until the group has said that they are still the thread's.
    pub(super) fn is_held(&self) -> bool {
        self.machine.is_held()
    }

    /// Whether the thread has to leave its group and join again, once.
    pub(super) fn take_rejoin(&mut self) -> bool {
        std::mem::take(&mut self.rejoin)
    }

    /// Whether what was processed waits for the end of a rebalance to be committed.
    pub(super) fn waits_for_rebalance(&self) -> bool {
        self.consumer.is_rebalancing() && self.is_working()
    }

    /// Whether all assigned tasks are at work.
    pub(super) fn is_running(&self) -> bool {
        self.machine.all_running()
    }

    /// The thread's state, as Kafka Streams names it.
    pub(super) fn state(&self) -> ThreadState {
        match self.machine.is_assigned() {
            _ if self.is_running() => ThreadState::Running,
            _ if self.machine.any_suspended() => ThreadState::PartitionsRevoked,
            true => ThreadState::PartitionsAssigned,
            false => ThreadState::Starting,
        }
    }

    /// Whether any task may process.
    pub(super) fn is_working(&self) -> bool {
        self.machine.working().next().is_some()
    }

    pub(super) fn is_restoring(&self) -> bool {
        !self.restorer.is_idle()
    }

    pub(super) fn has_records(&self) -> bool {
        self.machine.working().any(|id| self.tasks.get(&id).is_some_and(|active| active.task.has_records()))
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
        let read = records.next_offset().offset;
        match active.read.get_mut(partition) {
            Some(known) => *known = read,
            None => drop(active.read.insert(partition.clone(), read)),
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
        for id in self.machine.working() {
            let Some(active) = self.tasks.get_mut(&id) else { continue };
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

    /// What this thread's clients have counted.
    pub(super) fn client_metrics(&self) -> Snapshot {
        let mut metrics = self.consumer.metrics();
        metrics.extend(self.producer.metrics());
        metrics.extend(self.restorer.metrics());
        metrics
    }

    /// Where the thread records what it does.
    pub(super) fn thread_metrics(&mut self) -> &mut ThreadMetrics {
        &mut self.metrics
    }

    /// The end of a turn: says what was punctuated and committed since the last one, and tells what tasks have counted.
    pub(super) fn take_work(&mut self) -> Work {
        let (now, is_paused) = (now_ms(), self.shared.pausing.is_paused());
        let punctuated = self.tasks.values_mut().map(|active| active.task.take_punctuated()).sum();
        self.metrics.punctuated(std::mem::take(&mut self.punctuating), punctuated, now);
        let whole: Duration = self.tasks.values().map(|active| active.worked).sum();
        for active in self.tasks.values_mut() {
            let worked = std::mem::take(&mut active.worked);
            let part = if whole.is_zero() { 0.0 } else { worked.as_secs_f64() / whole.as_secs_f64() };
            active.task.metrics().took_part(part, now);
            active.task.record_metrics(now);
        }
        self.updater.set_tasks(self.machine.restoring(), self.standbys.len(), is_paused);
        self.metrics.set_state(self.state().number());
        Work { punctuated, committed: std::mem::take(&mut self.committed), ..Work::default() }
    }

    /// Runs wall-clock punctuations that are due.
    pub(super) fn punctuate(&mut self, now: i64) -> Result<()> {
        let began = Instant::now();
        let done = self.punctuate_tasks(now);
        self.punctuating += began.elapsed();
        done
    }

    fn punctuate_tasks(&mut self, now: i64) -> Result<()> {
        let mut anew = Anew::default();
        for id in self.machine.working() {
            let Some(active) = self.tasks.get_mut(&id) else { continue };
            anew.note(id, active.task.maybe_punctuate_system_time(now).map(drop))?;
        }
        self.on(Event::BeginAnew(anew))
    }

    /// Whether a task wants to be committed, and that is possible.
    pub(super) fn commit_requested(&self) -> bool {
        !self.machine.is_rebalancing() && self.tasks.values().any(|active| active.task.commit_requested())
    }
}
