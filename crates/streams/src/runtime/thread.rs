//! A stream thread: polls, restores, processes, punctuates and commits, in turns.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use vltava_client::{
    ClientError, Consumer, Producer, TopicPartition,
    consumer::{RebalanceListener, assignor::BoxFuture},
};

use super::{
    assignor::StreamsAssignor,
    clients::{self, client_failed},
    global::Globals,
    kafka_streams::{Shared, StreamThreadExceptionResponse, now_ms},
    restore::Restorer,
    task_manager::TaskManager,
    wait::wait,
};
use crate::{error::Result, task::panicked};

/// How long a thread waits for changelog records before it looks after its other tasks.
const RESTORE_POLL: Duration = Duration::from_millis(20);
/// How often a thread asks again for a task's directory that another thread is about to let go.
const PENDING_POLL: Duration = Duration::from_millis(5);

/// How often a thread looks whether its tasks have waited long enough for other partitions' records. Records that come
/// end the wait at once.
const IDLE_POLL: Duration = Duration::from_millis(10);

pub(super) struct StreamThread {
    shared: Arc<Shared>,
    index: usize,
    consumer: Consumer,
    producer: Producer,
    manager: Arc<Mutex<TaskManager>>,
    last_commit: Instant,
    commit_interval: Duration,
    last_cleanup: Instant,
    cleanup_delay: Duration,
    poll_time: Duration,
    /// Whether nothing could be processed in the last turn.
    waiting: bool,
}

/// Brings what the group decides to the tasks; called inside of `poll`, on the thread itself.
struct Listener(Arc<Mutex<TaskManager>>);

impl RebalanceListener for Listener {
    fn on_partitions_revoked<'a>(
        &'a mut self,
        _consumer: &'a Consumer,
        _partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, std::result::Result<(), ClientError>> {
        self.0.lock().revoked();
        Box::pin(std::future::ready(Ok(())))
    }

    fn on_partitions_assigned<'a>(
        &'a mut self,
        _consumer: &'a Consumer,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, std::result::Result<(), ClientError>> {
        self.0.lock().assigned(partitions);
        Box::pin(std::future::ready(Ok(())))
    }

    fn on_partitions_lost<'a>(
        &'a mut self,
        _consumer: &'a Consumer,
        _partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, std::result::Result<(), ClientError>> {
        self.0.lock().lost();
        Box::pin(std::future::ready(Ok(())))
    }
}

impl StreamThread {
    /// Makes the thread's clients and subscribes. To be called within the tokio runtime's context.
    pub(super) fn start(shared: Arc<Shared>, index: usize) -> Result<Self> {
        let setup = shared.setup()?;
        let config = &shared.config;
        let client_id = shared.thread_name(index);
        let failed = |error: ClientError| client_failed("making the clients", &error);
        let producer = Producer::new(clients::producer(config, &format!("{client_id}-producer"))?).map_err(failed)?;
        let restore = clients::restore_consumer(config, &format!("{client_id}-restore-consumer"))?;
        let restorer = Restorer::new(Consumer::new(restore).map_err(failed)?);
        let main = clients::main_consumer(config, &format!("{client_id}-consumer"))?;
        let preferences = super::assignor::SharedPreferences::default();
        let told = preferences.clone();
        let subtopologies = Arc::new(setup.subtopologies.clone());
        let assignor =
            StreamsAssignor::new(subtopologies, Arc::new(move || told.lock().clone()), shared.cluster.clone());
        let consumer = Consumer::with_assignors(main, vec![Box::new(assignor)]).map_err(failed)?;
        let manager =
            TaskManager::new(shared.clone(), setup.clone(), index, consumer.clone(), producer.clone(), restorer);
        let manager = Arc::new(Mutex::new(manager.telling(preferences)));
        shared.set_manager(index, &manager);
        let topics = setup.subtopologies.values().flat_map(|info| info.source_topics.iter().cloned());
        consumer.subscribe_with(topics.collect::<Vec<_>>(), Listener(manager.clone())).map_err(failed)?;
        Ok(StreamThread {
            poll_time: config.fields().poll,
            commit_interval: config.fields().commit_interval,
            waiting: false,
            last_commit: Instant::now(),
            last_cleanup: Instant::now(),
            cleanup_delay: config.fields().state_cleanup_delay,
            shared,
            index,
            consumer,
            producer,
            manager,
        })
    }

    /// Works until the application closes or something fails.
    pub(super) fn run(mut self) -> Result<()> {
        let mut done = Ok(());
        while done.is_ok() && !self.shared.is_closing() {
            done = self.run_once();
        }
        let mut manager = self.manager.lock();
        let closed = match done {
            Ok(()) => manager.close(),
            Err(error) => {
                manager.close_dirty();
                Err(error)
            }
        };
        drop(manager);
        // What the clients still have to say does not matter any more: everything is committed, or given up.
        let timeout = Duration::from_secs(5);
        if let Err(error) = wait(self.producer.close(timeout)) {
            tracing::warn!(thread = self.index, "closing the producer: {error}");
        }
        if let Err(error) = wait(self.consumer.close(timeout)) {
            tracing::warn!(thread = self.index, "closing the consumer: {error}");
        }
        closed
    }

    /// One turn.
    fn run_once(&mut self) -> Result<()> {
        self.clean_up();
        let timeout = self.poll_timeout();
        let records = match wait(self.consumer.poll(timeout)) {
            Ok(records) => records,
            Err(error) if error.is_retriable() => {
                tracing::warn!(thread = self.index, "polling: {error}");
                return Ok(());
            }
            Err(ClientError::Wakeup) => return Ok(()),
            Err(error) => return Err(client_failed("polling", &error)),
        };
        let mut manager = self.manager.lock();
        manager.take_failure()?;
        for part in records.partitions() {
            manager.add_records(part)?;
        }
        manager.make_pending()?;
        if manager.is_restoring() {
            manager.restore(RESTORE_POLL)?;
        }
        self.shared.set_thread_running(self.index, manager.is_running());
        loop {
            let now = now_ms();
            manager.update_lags();
            let processed = manager.process(now)?;
            self.waiting = processed == 0;
            manager.punctuate(now)?;
            manager.settle_failures()?;
            let due = self.last_commit.elapsed() >= self.commit_interval;
            if due || manager.commit_requested() {
                manager.commit(false)?;
                self.last_commit = Instant::now();
            }
            // Queries have their turn.
            MutexGuard::bump(&mut manager);
            // New records are looked for as soon as one of the queues has run dry.
            if processed == 0 || !manager.has_records() || self.shared.is_closing() {
                return Ok(());
            }
        }
    }

    /// Now and then the stores of tasks that have gone to other instances for good are deleted.
    fn clean_up(&mut self) {
        if self.last_cleanup.elapsed() >= self.cleanup_delay {
            self.shared.directory.delete_unused(self.cleanup_delay);
            self.last_cleanup = Instant::now();
        }
    }

    fn poll_timeout(&self) -> Duration {
        let manager = self.manager.lock();
        if manager.is_restoring() {
            return Duration::ZERO;
        }
        if manager.has_records() {
            return if self.waiting { IDLE_POLL.min(self.poll_time) } else { Duration::ZERO };
        }
        if manager.has_pending() {
            return PENDING_POLL;
        }
        let until_commit = self.commit_interval.saturating_sub(self.last_commit.elapsed());
        self.poll_time.min(until_commit.max(Duration::from_millis(1)))
    }
}

/// The life of a thread, which begins when the global stores are there.
pub(super) fn run(shared: &Arc<Shared>, index: usize) {
    let _context = shared.runtime().enter();
    super::queries::on_stream_thread();
    if shared.globals.as_ref().is_none_or(Globals::wait_until_filled) {
        work(shared, index);
    }
    shared.stream_thread_ended(index);
}

/// Restarted or not after a failure, as the application's handler says.
fn work(shared: &Arc<Shared>, index: usize) {
    loop {
        let run = || StreamThread::start(shared.clone(), index).and_then(StreamThread::run);
        let ended = match catch_unwind(AssertUnwindSafe(run)) {
            Ok(ended) => ended,
            Err(panic) => Err(panicked(&*panic)),
        };
        let Err(error) = ended else { return };
        tracing::error!(thread = index + 1, "stream thread failed: {error}");
        let replace = shared.response_to(&error) == StreamThreadExceptionResponse::ReplaceThread;
        if !replace || shared.is_closing() {
            return shared.fail(error);
        }
        shared.set_thread_running(index, false);
    }
}
