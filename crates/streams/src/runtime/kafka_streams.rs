//! [`KafkaStreams`]: an application that runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use tokio::{runtime::Runtime, sync::watch};
use uuid::Uuid;
use vltava_client::{Admin, OffsetAndMetadata, TopicPartition};
use vltava_config::ConfigError;
use vltava_metrics::{Gauge, Registry};

use super::{
    background,
    callbacks::Callbacks,
    clients::{self, Clients},
    closing::Closing,
    cluster::SharedCluster,
    directory::StateDirectory,
    global::{self, Globals},
    pausing::Pausing,
    replacing,
    restore::StateRestoreListener,
    setup::{self, Setup},
    standby_listener::StandbyUpdateListener,
    state::State,
    threads::Threads,
    wait::{Within, block_on, wait_while_open},
};
use crate::{
    config::StreamsConfig,
    error::{Error, Result},
    guard::guarded,
    metrics,
    query::HostInfo,
    state::{LsmEngine, LsmOptions},
    topology::Topology,
};

/// What is to be done when a thread has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamThreadExceptionResponse {
    /// Another thread takes its place and goes on from the last commit.
    ReplaceThread,
    /// The application closes, in state `ERROR`. The default.
    ShutdownClient,
    /// All instances of the application close, in state `ERROR`: a thread takes the failed one's place to tell the group, whose
    /// leader tells the others, of the JVM too. Those fail with [`Error::ShutdownRequested`]. Kafka's `SHUTDOWN_APPLICATION`.
    ShutdownApplication,
}

/// What the threads of an application share.
pub(super) struct Shared {
    pub(super) topology: Arc<Topology>,
    pub(super) config: Arc<StreamsConfig>,
    pub(super) client_id: String,
    pub(super) clients: Clients,
    /// As its state directory keeps it.
    pub(super) process_id: Uuid,
    pub(super) directory: StateDirectory,
    pub(super) engine: LsmEngine,
    pub(super) callbacks: Callbacks,
    pub(super) closing: Arc<Closing>,
    /// The instance's `application.server`.
    pub(super) host: Option<HostInfo>,
    pub(super) cluster: SharedCluster,
    /// Whether all instances of the application are to close.
    pub(super) ends_application: Arc<AtomicBool>,
    /// The global stores, if the topology has any.
    pub(super) globals: Option<Globals>,
    admin: Admin,
    /// The clients' runtime, as long as anyone needs it: the threads may outlive the [`KafkaStreams`].
    runtime: OwnRuntime,
    state: watch::Sender<State>,
    setup: Mutex<Option<Arc<Setup>>>,
    /// Held by the thread that prepares it, which waits for the runtime: nothing on the runtime may wait for this.
    preparing: Mutex<()>,
    pub(super) threads: Threads,
    pub(super) pausing: Pausing,
    /// The threads of the operating system that have not returned, that of the global stores among them.
    pub(super) threads_at_work: watch::Sender<usize>,
    failure: Mutex<Option<Arc<Error>>>,
    /// Who waits for commits.
    pub(super) commits_wanted: AtomicUsize,
    last_purge: Mutex<Instant>,
    /// What is counted of threads, tasks and the application itself.
    pub(super) metrics: Registry,
}

/// A runtime that is left to itself when it is dropped: waiting for it is not allowed where async code drops it.
struct OwnRuntime(Option<Runtime>, tokio::runtime::Handle);

impl OwnRuntime {
    fn of_clients() -> Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name("streams-clients").enable_all().build();
        let runtime = runtime.map_err(Error::io("the runtime of the clients"))?;
        let handle = runtime.handle().clone();
        Ok(OwnRuntime(Some(runtime), handle))
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Counts a thread of the operating system.
struct AtWork(Arc<Shared>);

impl AtWork {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.threads_at_work.send_modify(|count| *count += 1);
        AtWork(shared.clone())
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.threads_at_work.send_modify(|count| *count -= 1);
    }
}

impl Shared {
    /// The topics of the application, made and looked up once for all threads.
    pub(super) fn setup(&self) -> Result<Arc<Setup>> {
        let _alone = self.preparing.lock();
        let known = self.setup.lock().clone();
        if let Some(setup) = known {
            return Ok(setup);
        }
        let setup = match self.config.is_of_streams_group() {
            // The coordinator looks after topics.
            true => Setup::new(&self.topology, &self.config, [])?,
            false => wait_while_open(setup::prepare_patiently(&self.topology, &self.config, &self.admin))?,
        };
        let setup = Arc::new(setup);
        *self.setup.lock() = Some(setup.clone());
        Ok(setup)
    }

    /// The topics are not what they were: the next thread that starts looks them up again.
    pub(super) fn forget_setup(&self) {
        *self.setup.lock() = None;
    }

    /// What the application reads by now, repartition topics among it. `None` until they are made.
    pub(super) async fn source_topics(&self) -> Result<Option<BTreeSet<String>>> {
        let setup = self.setup.lock().clone();
        let Some(setup) = setup else { return Ok(None) };
        let setup = match setup.has_patterns() {
            true => setup.with_topics(setup::to_match(&self.topology, &self.admin).await?)?,
            false => setup.as_ref().clone(),
        };
        Ok(Some(setup.subtopologies.into_values().flat_map(|info| info.source_topics).collect()))
    }

    pub(super) fn admin(&self) -> &Admin {
        &self.admin
    }

    pub(super) fn runtime(&self) -> &tokio::runtime::Handle {
        &self.runtime.1
    }

    pub(super) fn state(&self) -> State {
        *self.state.borrow()
    }

    pub(super) fn watch_state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Waits until the state is one that `wanted` accepts. False after `timeout`.
    async fn reaches_state(&self, wanted: impl Fn(State) -> bool, timeout: Duration) -> bool {
        let mut states = self.watch_state();
        tokio::time::timeout(timeout, states.wait_for(|state| wanted(*state))).await.is_ok()
    }

    /// The names of the threads that have not ended.
    pub(super) fn threads_that_work(&self) -> Vec<String> {
        let mut names: Vec<_> = self.threads.alive().into_iter().map(|index| self.thread_name(index)).collect();
        // The global thread is the last to end.
        if self.globals.is_some() && names.is_empty() {
            names.push(self.global_thread_name());
        }
        names
    }

    fn set_state(&self, next: State) {
        self.change_state(next);
        self.tell_states();
    }

    /// Gives the state before, where Kafka Streams allows the change. It is to be told afterwards.
    pub(super) fn change_state(&self, next: State) -> Option<State> {
        let mut before = None;
        self.state.send_if_modified(|state| {
            if state.may_become(next) {
                let was = std::mem::replace(state, next);
                self.callbacks.changed(next, was);
                before = Some(was);
            }
            before.is_some()
        });
        before
    }

    /// After a commit: what was read of repartition topics is deleted now and then, nobody needs it any more.
    pub(super) fn committed(&self, setup: &Setup, offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>) {
        let interval = self.config.fields().repartition_purge_interval;
        let mut last = self.last_purge.lock();
        if last.elapsed() < interval {
            return;
        }
        let is_repartition = |partition: &TopicPartition| {
            setup.subtopologies.values().any(|info| info.repartition_topics.contains_key(partition.topic()))
        };
        let read = offsets.iter().filter(|(partition, _)| is_repartition(partition));
        let read: Vec<_> = read.map(|(partition, offset)| (partition.clone(), offset.offset)).collect();
        if read.is_empty() {
            return;
        }
        *last = Instant::now();
        let admin = self.admin.clone();
        self.runtime().spawn(async move {
            for (partition, deleted) in admin.delete_records(read).await {
                if let Err(error) = deleted {
                    tracing::debug!(%partition, "deleting what was read of a repartition topic: {error}");
                }
            }
        });
    }

    /// The stream threads have begun to work, if there are any.
    pub(super) fn global_stores_are_filled(&self) {
        if self.threads.is_empty() {
            self.set_state(State::Running);
        }
    }

    /// Closes the application for a failure, whatever its handler says.
    pub(super) fn fail_for_good(&self, error: Box<Error>) {
        match self.response_to(&error) {
            StreamThreadExceptionResponse::ShutdownClient => {}
            StreamThreadExceptionResponse::ReplaceThread => {
                tracing::warn!("the thread cannot be replaced: the application closes");
            }
            StreamThreadExceptionResponse::ShutdownApplication => {
                tracing::warn!("only stream threads can tell the other instances to close: this one closes");
            }
        }
        self.fail(error);
    }

    /// Has the threads tell the group that all instances are to close, for this failure.
    pub(super) fn end_application(&self, error: Box<Error>) {
        tracing::warn!("all instances of the application are asked to close, for this one has failed: {error}");
        self.failure.lock().get_or_insert_with(|| Arc::from(error));
        self.ends_application.store(true, Ordering::Relaxed);
    }

    pub(super) fn fail(&self, error: Box<Error>) {
        self.failure.lock().get_or_insert_with(|| Arc::from(error));
        // The state first: whoever is the last to end leads on from it.
        self.change_state(State::PendingError);
        self.closing.request_in_background();
        self.finish_if_empty();
        self.tell_states();
    }

    /// Does what a thread does. Whoever panics, even while he tells of a failure, as a log on a full disk may, fails the
    /// application.
    pub(super) fn or_fail(&self, work: impl FnOnce()) {
        let worked = guarded(|| {
            work();
            Ok(())
        });
        let Err(panic) = worked else { return };
        let failed = guarded(|| {
            self.fail(panic);
            Ok(())
        });
        // A panic here can only be the log's again, after the state is set.
        failed.ok();
    }

    /// All threads have ended, or none was started.
    pub(super) fn finish(&self) {
        self.directory.release();
        let failed = self.state() == State::PendingError;
        self.set_state(if failed { State::Error } else { State::NotRunning });
    }

    /// Why the application failed, if it has.
    pub(super) fn failure(&self) -> Option<Arc<Error>> {
        self.failure.lock().clone()
    }
}

/// Runs a topology: threads that are members of the group `application.id`, share its partitions with other instances,
/// keep the stores of their tasks, and commit.
///
/// # Examples
/// ```no_run
/// use std::time::Duration;
/// use vltava_streams::{KafkaStreams, StreamsBuilder, StreamsConfig};
///
/// let builder = StreamsBuilder::new();
/// let lines = builder.stream::<Option<String>, String>("lines");
/// lines
///     .flat_map_values(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
///     .group_by(|_, word| word.clone())
///     .count()
///     .to_stream()
///     .to("counts");
/// let config = StreamsConfig::from_properties([("application.id", "words"), ("bootstrap.servers", "localhost:9092")])?;
/// let streams = KafkaStreams::new(builder.build()?, config)?;
/// streams.start()?;
/// // …
/// streams.close(Duration::from_secs(10))?;
/// # Ok::<(), Box<vltava_streams::Error>>(())
/// ```
pub struct KafkaStreams {
    pub(super) shared: Arc<Shared>,
    /// Held while the application is started.
    starting: Mutex<()>,
    /// Those of the application itself.
    _metrics: Vec<Gauge>,
}

impl fmt::Debug for KafkaStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaStreams")
            .field("application_id", &self.shared.config.application_id())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl KafkaStreams {
    /// An application in state `CREATED`. Locks its directory in `state.dir`; connects to nobody yet.
    ///
    /// # Errors
    /// [`Error::Config`] for wrong settings, [`Error::Unsupported`] for those that this version does not have,
    /// [`Error::Streams`] if another instance uses the directory.
    pub fn new(topology: Topology, config: StreamsConfig) -> Result<Self> {
        let settings = config.fields();
        if settings.bootstrap_servers.is_none() {
            return Err(ConfigError::missing("bootstrap.servers").into());
        }
        let (clients, warnings) = Clients::read(&topology, &config)?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        if config.is_of_streams_group() && topology.has_patterns() {
            // In Kafka's words.
            let why = "Pattern subscriptions are not supported with the STREAMS protocol.";
            return Err(Box::new(Error::Unsupported(why.to_owned())));
        }
        clients::refuse_unresolvable(settings.bootstrap_servers.as_deref().unwrap_or_default())?;
        let directory = StateDirectory::open(&config)?;
        let process_id = directory.process_id(random_id())?;
        let engine = LsmEngine::new(LsmOptions::default())?;
        let host = settings.application_server.as_deref().map(str::parse).transpose()?;
        let runtime = OwnRuntime::of_clients()?;
        let client_id = match &settings.client_id {
            Some(id) => id.clone(),
            None => format!("{}-{}", config.application_id(), random_id()),
        };
        let admin = {
            let _context = runtime.1.enter();
            Admin::new(clients.admin(format!("{client_id}-admin")))
                .map_err(|error| Error::client("making the admin client", error))?
        };
        let shared = Shared {
            metrics: metrics::registry(&config),
            process_id,
            directory,
            engine,
            globals: Globals::of(&topology),
            topology: Arc::new(topology),
            config: Arc::new(config),
            client_id,
            clients,
            callbacks: Callbacks::default(),
            closing: Arc::default(),
            host,
            cluster: SharedCluster::default(),
            ends_application: Arc::default(),
            admin,
            runtime,
            state: watch::Sender::new(State::Created),
            setup: Mutex::default(),
            preparing: Mutex::default(),
            threads: Threads::default(),
            pausing: Pausing::default(),
            threads_at_work: watch::Sender::default(),
            failure: Mutex::default(),
            commits_wanted: AtomicUsize::new(0),
            last_purge: Mutex::new(Instant::now()),
        };
        let shared = Arc::new(shared);
        Ok(KafkaStreams { _metrics: shared.measure(), shared, starting: Mutex::default() })
    }

    /// Called at every change of state with the new and the old one, one after the other, on a thread that changed it or
    /// that of the call before. It may [`close`](Self::close) the application; a panic of it leads to `ERROR`.
    pub fn set_state_listener(&self, listener: impl Fn(State, State) + Send + Sync + 'static) {
        *self.shared.callbacks.state.lock() = Some(Arc::new(listener));
    }

    /// Told when stores are restored. A panic of it is a failure of the thread that called it.
    pub fn set_global_state_restore_listener(&self, listener: impl StateRestoreListener + 'static) {
        *self.shared.callbacks.restore.lock() = Some(Arc::new(listener));
    }

    /// Told how standbys follow their changelogs (`num.standby.replicas`). A panic of it is a failure of the thread that called
    /// it.
    pub fn set_standby_update_listener(&self, listener: impl StandbyUpdateListener + 'static) {
        *self.shared.callbacks.standby.lock() = Some(Arc::new(listener));
    }

    /// Asked what to do when a thread has failed; without it, or if it panics, the application closes in state `ERROR`.
    /// A thread that fails again and again is replaced after growing pauses, from 100 ms to 30 s.
    pub fn set_uncaught_exception_handler(
        &self,
        handler: impl Fn(&Error) -> StreamThreadExceptionResponse + Send + Sync + 'static,
    ) {
        *self.shared.callbacks.uncaught.lock() = Some(Arc::new(handler));
    }

    /// Starts `num.stream.threads` threads, and one for global stores if there are any, and returns. The others begin when
    /// the global stores have all that is in their topics; [`state`](Self::state) tells how far they are. Missing topics and
    /// an unreachable cluster are met there and lead to `ERROR`; [`failure`](Self::failure) says why.
    ///
    /// # Errors
    /// [`Error::Streams`] if the application was started before, [`Error::Io`] if a thread cannot be made.
    pub fn start(&self) -> Result<()> {
        let starting = self.starting.lock();
        let shared = &self.shared;
        let wrong_state = || Error::streams(format!("cannot start in state {}", self.state()));
        if self.state() != State::Created {
            return Err(wrong_state());
        }
        let count = match shared.topology.has_tasks() {
            true => shared.config.fields().num_stream_threads,
            // As in Kafka, where there are only global stores.
            false if shared.globals.is_some() => 0,
            false => 1,
        };
        shared.threads.begin(count);
        if shared.change_state(State::Rebalancing).is_none() {
            return Err(wrong_state());
        }
        let started = self.start_threads(count);
        drop(starting);
        // Now that all of them are there, for the listener may close them.
        shared.tell_states();
        started
    }

    fn spawn(&self, name: String, run: impl FnOnce(&Arc<Shared>) + Send + 'static) -> Result<()> {
        let at_work = AtWork::new(&self.shared);
        let spawned = thread::Builder::new().name(name.clone()).spawn(move || run(&at_work.0));
        spawned.map(drop).map_err(Error::io(format!("making the thread {name}")))
    }

    /// Starts a thread whose place is taken.
    pub(super) fn start_thread(&self, index: usize) -> Result<()> {
        self.spawn(format!("StreamThread-{}", index + 1), move |shared| replacing::run(shared, index))
    }

    fn start_threads(&self, count: usize) -> Result<()> {
        let mut started = Ok(());
        if self.shared.globals.is_some() {
            started = self.spawn("GlobalStreamThread".to_owned(), global::run);
        }
        for index in 0..count {
            started = started.and_then(|()| self.start_thread(index));
            if started.is_err() {
                self.shared.stream_thread_ended(index);
            }
        }
        started.inspect_err(|error| {
            self.shared.fail(Error::streams(error.to_string()));
            if *self.shared.threads_at_work.borrow() == 0 {
                self.shared.finish();
            }
        })
    }

    /// Where the application is in its life.
    #[must_use]
    pub fn state(&self) -> State {
        *self.shared.state.borrow()
    }

    /// Changes of state, to be awaited in async code.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// Waits on this thread until the state is one that `wanted` accepts. False after `timeout`; on a thread of the
    /// application itself, where a processor, a handler or a listener calls it, at once.
    pub fn wait_for_state(&self, wanted: impl Fn(State) -> bool, timeout: Duration) -> bool {
        if Within::is_in(&self.shared.closing) {
            return wanted(self.state());
        }
        let _context = self.shared.runtime().enter();
        block_on(self.shared.reaches_state(wanted, timeout))
    }

    /// As [`wait_for_state`](Self::wait_for_state), without blocking the thread. Any executor will do.
    pub fn wait_for_state_async<W>(&self, wanted: W, timeout: Duration) -> impl Future<Output = bool> + Send + use<W>
    where
        W: Fn(State) -> bool + Send + Sync + 'static,
    {
        let shared = self.shared.clone();
        background::run(&self.shared, async move { shared.reaches_state(wanted, timeout).await })
    }

    /// Why the application is in state `ERROR`, or on its way there, with all that led to it as its
    /// [`source`](std::error::Error::source).
    #[must_use]
    pub fn failure(&self) -> Option<Arc<Error>> {
        self.shared.failure()
    }

    /// Deletes the stores of this instance, so that they are restored from their changelogs, or begin empty where the
    /// application was reset. Kafka's `cleanUp`.
    ///
    /// # Errors
    /// [`Error::Streams`] if the application is at work or another instance has its directory, [`Error::Io`] if it cannot be
    /// deleted.
    pub fn clean_up(&self) -> Result<()> {
        let state = self.state();
        if state != State::Created && !state.has_completed_shutdown() {
            return Err(Error::streams(format!("cannot clean up in state {state}")));
        }
        self.shared.directory.delete_all()
    }
}

/// Milliseconds since the epoch: the one place where the runtime reads the wall clock.
pub(super) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

fn random_id() -> Uuid {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let half = || u128::from(RandomState::new().build_hasher().finish());
    uuid::Builder::from_random_bytes(((half() << 64) | half()).to_be_bytes()).into_uuid()
}
