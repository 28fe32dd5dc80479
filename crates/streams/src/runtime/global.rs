//! The thread that fills the global stores: from the whole of their topics before any stream thread works, and then as the
//! topics grow.

mod asking;
mod bootstrap;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use vltava_client::{ClientError, Consumer, TopicPartition};
use vltava_protocol::ErrorCode;

use asking::{Notices, ask};

use super::{
    clients,
    kafka_streams::{Shared, now_ms},
    metrics::clock_ns,
    records::input_batches,
    wait::{self, Within, block_on, until_closing, wait_while_open},
};
use crate::{
    error::{Error, Result},
    guard::panicked,
    metrics::Recorder,
    query::Position,
    state::{GlobalStores, TaskDirectory},
    task::TaskCtx,
    topology::{GlobalTask, GlobalTaskOptions, Topology, read_global_stores},
};

/// How far the global thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The stores do not have all that was in their topics at the start.
    Bootstrapping,
    /// They have, and follow.
    Following,
    /// It fills them no more.
    Ended,
}

/// The global stores of an application, as its other threads see them.
pub(super) struct Globals {
    stores: GlobalStores,
    phase: watch::Sender<Phase>,
    /// For queries, once the stores are there.
    reader: Mutex<Option<Reader>>,
}

/// The global stores, to be read, and how far they are.
pub(super) struct Reader {
    pub(super) ctx: TaskCtx,
    pub(super) position: Position,
    /// The offsets from which the thread will go on.
    next: BTreeMap<TopicPartition, i64>,
}

impl Globals {
    /// `None` for a topology without global stores.
    pub(super) fn of(topology: &Topology) -> Option<Self> {
        let phase = watch::Sender::new(Phase::Bootstrapping);
        let stores = GlobalStores::default();
        (!topology.global_stores.is_empty()).then(|| Globals { stores, phase, reader: Mutex::default() })
    }

    pub(super) fn stores(&self) -> &GlobalStores {
        &self.stores
    }

    /// Waits until the stores have what was in their topics at the start. False if that will not be.
    pub(super) fn wait_until_filled(&self) -> bool {
        let mut phase = self.phase.subscribe();
        let reached = until_closing(phase.wait_for(|phase| *phase != Phase::Bootstrapping));
        reached.is_some_and(|phase| phase.is_ok_and(|phase| *phase == Phase::Following))
    }

    /// The offsets from which the thread will go on, once the stores are filled.
    pub(super) fn next_offsets(&self) -> Option<BTreeMap<TopicPartition, i64>> {
        self.reader.lock().as_ref().map(|reader| reader.next.clone())
    }

    /// The stores for a query.
    ///
    /// # Errors
    /// [`Error::InvalidStateStore`] until they are filled, and after the end.
    pub(super) fn reader(&self, store: &str) -> Result<parking_lot::MappedMutexGuard<'_, Reader>> {
        let reader = MutexGuard::try_map(self.reader.lock(), Option::as_mut);
        reader.map_err(|_| Box::new(Error::InvalidStateStore(format!("the state store, {store}, is not open."))))
    }
}

fn client_failed(what: &str, error: &ClientError) -> Box<Error> {
    clients::client_failed(&format!("global stores: {what}"), error)
}

/// The life of the thread. Its stores stay open until the last stream thread has ended.
pub(super) fn run(shared: &Arc<Shared>) {
    let Some(globals) = &shared.globals else { return };
    let _context = shared.runtime().enter();
    super::queries::on_stream_thread();
    let _within = Within::enter(&shared.closing);
    let mut thread = None;
    let work = || -> Result<()> {
        let thread = thread.insert(GlobalThread::open(shared, globals)?);
        if !thread.bootstrap()? {
            return Ok(());
        }
        thread.begin_to_follow(globals)?;
        thread.follow(globals)
    };
    let ended = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(&*panic)));
    let ended = ended.or_else(|error| if wait::take_cut().is_some() { Ok(()) } else { Err(error) });
    let clean = ended.is_ok();
    if let Err(error) = ended {
        shared.or_fail(|| {
            tracing::error!("the global thread failed: {error}");
            shared.fail_for_good(error);
        });
    }
    globals.phase.send_replace(Phase::Ended);
    shared.threads.wait_until_empty();
    *globals.reader.lock() = None;
    if let Some(thread) = thread {
        thread.close(clean);
    }
    shared.finish();
}

struct GlobalThread {
    shared: Arc<Shared>,
    consumer: Consumer,
    task: GlobalTask,
    /// The number of partitions by topic.
    partitions: BTreeMap<String, i32>,
    last_commit: Instant,
    poll_time: Duration,
    /// Whether what is on disk does not belong to the topics.
    corrupted: bool,
}

fn open_task(shared: &Shared, globals: &Globals) -> Result<GlobalTask> {
    let config = &shared.config;
    let state_dir = TaskDirectory { path: shared.directory.global(), engine: shared.engine.clone() };
    let options = GlobalTaskOptions {
        config: config.clone(),
        handlers: GlobalTaskOptions::handlers(config),
        stores: globals.stores.clone(),
        state_dir: Some(state_dir),
        now: now_ms(),
    };
    let mut task = GlobalTask::open(&shared.topology, options)?;
    task.measure(&Recorder::of_thread(&shared.metrics, &shared.global_thread_name(), clock_ns));
    Ok(task)
}

/// The partitions of those topics that exist.
async fn count_partitions(shared: &Shared) -> Result<BTreeMap<String, i32>, ClientError> {
    let topics = shared.topology.global_stores.iter().map(|global| global.topic.clone());
    // This one says at once that no broker is there, and which.
    shared.admin().cluster().refresh().await?;
    let mut partitions = BTreeMap::new();
    for (topic, description) in shared.admin().describe_topics(topics).await {
        match description {
            Ok(found) => {
                partitions.insert(topic, i32::try_from(found.partitions.len()).unwrap_or(i32::MAX));
            }
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(partitions)
}

impl GlobalThread {
    /// Looks the topics up and opens the stores.
    fn open(shared: &Arc<Shared>, globals: &Globals) -> Result<Self> {
        let partitions = ask(shared, "looking the topics up", async || count_partitions(shared).await)?;
        for global in &shared.topology.global_stores {
            if partitions.get(&global.topic).is_none_or(|count| *count == 0) {
                let (topic, store) = (&global.topic, &global.factory.name);
                return Err(Error::streams(format!(
                    "There are no partitions available for topic {topic} when initializing global store {store}"
                )));
            }
        }
        let client_id = format!("{}-global-consumer", shared.client_id);
        let consumer = Consumer::new(shared.clients.global_consumer(client_id));
        let consumer = consumer.map_err(|error| client_failed("making the consumer", &error))?;
        let mut thread = Self::new(shared, consumer, partitions, open_task(shared, globals)?);
        if !thread.plan_offsets(false)? {
            tracing::warn!("the global stores on disk are not those of their topics: they are filled anew");
            let GlobalThread { consumer, partitions, task, .. } = thread;
            drop(task);
            globals.stores.clear();
            shared.directory.delete_global()?;
            thread = Self::new(shared, consumer, partitions, open_task(shared, globals)?);
            thread.plan_offsets(true)?;
        }
        Ok(thread)
    }

    fn new(shared: &Arc<Shared>, consumer: Consumer, partitions: BTreeMap<String, i32>, task: GlobalTask) -> Self {
        GlobalThread {
            shared: shared.clone(),
            consumer,
            task,
            partitions,
            last_commit: Instant::now(),
            poll_time: shared.config.fields().poll,
            corrupted: false,
        }
    }

    fn partitions_of(&self, topic: &str) -> Result<Vec<TopicPartition>> {
        let count = self.partitions.get(topic).copied();
        let count = count.ok_or_else(|| Error::internal("a topic of a global store whose partitions are not known"))?;
        Ok((0..count).map(|partition| TopicPartition::new(topic, partition)).collect())
    }

    /// Makes the nodes, and tells the other threads that the stores are there.
    fn begin_to_follow(&mut self, globals: &Globals) -> Result<()> {
        self.task.initialize(&self.shared.topology)?;
        self.commit()?;
        let offsets = self.task.offsets().clone();
        let all = offsets.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, offset)| (TopicPartition::new(topic.as_str(), *partition), *offset))
        });
        let all: Vec<_> = all.collect();
        let failed = |error: ClientError| client_failed("following the topics", &error);
        self.consumer.assign(all.iter().map(|(partition, _)| partition.clone())).map_err(failed)?;
        for (partition, offset) in all {
            self.consumer.seek(&partition, offset).map_err(failed)?;
        }
        let ctx = read_global_stores(&self.shared.topology, &self.shared.config, &globals.stores, now_ms())?;
        *globals.reader.lock() = Some(Reader { ctx, position: Position::empty(), next: BTreeMap::new() });
        self.tell_position(globals);
        globals.phase.send_replace(Phase::Following);
        self.shared.global_stores_are_filled();
        Ok(())
    }

    fn tell_position(&self, globals: &Globals) {
        let mut reader = globals.reader.lock();
        let Some(reader) = &mut *reader else { return };
        for (topic, partitions) in self.task.offsets() {
            for (partition, next) in partitions.iter().filter(|(_, next)| **next > 0) {
                reader.position.advance(topic.clone(), *partition, next - 1);
            }
            for (partition, next) in partitions {
                reader.next.insert(TopicPartition::new(topic.as_str(), *partition), *next);
            }
        }
    }

    /// Processes what comes until the application closes.
    fn follow(&mut self, globals: &Globals) -> Result<()> {
        let interval = self.shared.config.fields().commit_interval;
        let (mut dirty, mut notices) = (false, Notices::default());
        while !self.shared.is_closing() {
            let records = match wait_while_open(self.consumer.poll(self.poll_time)) {
                Ok(records) => records,
                Err(error) if error.is_retriable() => {
                    if notices.is_due(Instant::now()) {
                        tracing::warn!("the global stores do not follow their topics: {error}");
                    }
                    let _ = until_closing(tokio::time::sleep(self.poll_time));
                    continue;
                }
                Err(ClientError::Wakeup) => continue,
                Err(error) => return Err(self.poll_failed(&error)),
            };
            for part in records.partitions() {
                let partition = part.topic_partition();
                for batch in input_batches(part) {
                    self.task.update(partition.topic(), partition.partition(), batch, now_ms())?;
                }
                dirty = true;
            }
            self.task.record_metrics(now_ms());
            if records.is_empty() {
                self.pass_over_gaps()?;
            }
            if dirty || records.is_empty() {
                self.tell_position(globals);
            }
            if dirty && (self.last_commit.elapsed() >= interval || self.task.needs_commit()) {
                self.commit()?;
                dirty = false;
            }
        }
        Ok(())
    }

    /// What is no record, such as the marker of a transaction, is behind the consumer too.
    fn pass_over_gaps(&mut self) -> Result<()> {
        for partition in self.consumer.assignment() {
            match wait_while_open(self.consumer.position(&partition)) {
                Ok(position) => self.task.set_offset(partition.topic(), partition.partition(), position),
                Err(error) if error.is_retriable() => return Ok(()),
                Err(error) => return Err(client_failed("looking positions up", &error)),
            }
        }
        Ok(())
    }

    /// A position that the topic does not have: the stores are not its own.
    fn poll_failed(&mut self, error: &ClientError) -> Box<Error> {
        self.corrupted |= matches!(error, ClientError::OffsetOutOfRange { .. });
        client_failed("polling", error)
    }

    fn commit(&mut self) -> Result<()> {
        self.task.commit()?;
        self.last_commit = Instant::now();
        Ok(())
    }

    /// Keeps what the stores have, unless they are not those of their topics.
    fn close(mut self, clean: bool) {
        let committed = if clean { self.task.commit() } else { Ok(()) };
        let closed = if clean { committed.and(self.task.close()) } else { self.task.abandon() };
        if let Err(error) = closed {
            tracing::warn!("closing the global stores: {error}");
        }
        if let Err(error) = block_on(self.consumer.close(self.shared.closing.time_for_clients())) {
            tracing::warn!("closing the consumer of the global stores: {error}");
        }
        let GlobalThread { shared, task, corrupted, .. } = self;
        drop(task);
        if let Some(globals) = &shared.globals {
            globals.stores.clear();
        }
        if corrupted && let Err(error) = shared.directory.delete_global() {
            tracing::warn!("deleting the global stores: {error}");
        }
    }
}
