//! [`KafkaStreams`]: an application that runs.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use tokio::{runtime::Runtime, sync::watch};
use vltava_client::{Admin, OffsetAndMetadata, TopicPartition};

use super::{
    clients,
    cluster::SharedCluster,
    directory::StateDirectory,
    global::{self, Globals},
    restore::StateRestoreListener,
    setup::{self, Setup},
    state::State,
    task_manager::TaskManager,
    wait::wait,
};
use crate::{
    config::StreamsConfig,
    error::{Error, Result},
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
}

type StateListener = Box<dyn Fn(State, State) + Send + Sync>;
type UncaughtHandler = Box<dyn Fn(&Error) -> StreamThreadExceptionResponse + Send + Sync>;

/// What the threads of an application share.
pub(super) struct Shared {
    pub(super) topology: Arc<Topology>,
    pub(super) config: Arc<StreamsConfig>,
    pub(super) client_id: String,
    pub(super) directory: StateDirectory,
    pub(super) engine: LsmEngine,
    pub(super) restore_listener: Mutex<Option<Box<dyn StateRestoreListener>>>,
    /// The instance's `application.server`.
    pub(super) host: Option<HostInfo>,
    pub(super) cluster: SharedCluster,
    /// The global stores, if the topology has any.
    pub(super) globals: Option<Globals>,
    admin: Admin,
    runtime: tokio::runtime::Handle,
    state: watch::Sender<State>,
    state_listener: Mutex<Option<StateListener>>,
    uncaught: Mutex<Option<UncaughtHandler>>,
    setup: Mutex<Option<Arc<Setup>>>,
    closing: AtomicBool,
    /// Per thread: `None` once it has ended, else whether all its tasks are at work.
    threads: watch::Sender<Vec<Option<bool>>>,
    /// Per thread its tasks, for queries; nothing while it is being made.
    managers: Mutex<Vec<Weak<Mutex<TaskManager>>>>,
    failure: Mutex<Option<Box<Error>>>,
    last_purge: AtomicI64,
}

impl Shared {
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// The topics of the application, made and looked up once for all threads.
    pub(super) fn setup(&self) -> Result<Arc<Setup>> {
        let mut known = self.setup.lock();
        if let Some(setup) = &*known {
            return Ok(setup.clone());
        }
        let setup = Arc::new(wait(setup::prepare(&self.topology, &self.config, &self.admin))?);
        *known = Some(setup.clone());
        Ok(setup)
    }

    /// What the application reads, repartition topics among it. Nothing until they are made.
    pub(super) fn source_topics(&self) -> Vec<String> {
        let setup = self.setup.lock();
        let infos = setup.iter().flat_map(|setup| setup.subtopologies.values());
        infos.flat_map(|info| info.source_topics.iter().cloned()).collect()
    }

    pub(super) fn admin(&self) -> &Admin {
        &self.admin
    }

    pub(super) fn runtime(&self) -> &tokio::runtime::Handle {
        &self.runtime
    }

    pub(super) fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Where queries find the tasks of a thread.
    pub(super) fn set_manager(&self, thread: usize, manager: &Arc<Mutex<TaskManager>>) {
        if let Some(place) = self.managers.lock().get_mut(thread) {
            *place = Arc::downgrade(manager);
        }
    }

    /// Whether each thread is alive, and its tasks.
    pub(super) fn threads_and_managers(&self) -> (Vec<bool>, Vec<Weak<Mutex<TaskManager>>>) {
        let alive = self.threads.borrow().iter().map(Option::is_some).collect();
        (alive, self.managers.lock().clone())
    }

    fn set_state(&self, next: State) {
        if let Some(before) = self.change_state(next) {
            self.tell_state(next, before);
        }
    }

    /// Gives the state before, where Kafka Streams allows the change.
    fn change_state(&self, next: State) -> Option<State> {
        let mut before = None;
        self.state.send_if_modified(|state| {
            if state.may_become(next) {
                before = Some(std::mem::replace(state, next));
            }
            before.is_some()
        });
        before
    }

    fn tell_state(&self, state: State, before: State) {
        tracing::info!("state transition from {before} to {state}");
        if let Some(listener) = &*self.state_listener.lock() {
            listener(state, before);
        }
    }

    /// The application is RUNNING while all its threads are.
    pub(super) fn set_thread_running(&self, thread: usize, running: bool) {
        let mut changed = None;
        self.threads.send_if_modified(|threads| {
            match threads.get_mut(thread) {
                Some(Some(known)) if *known != running => *known = running,
                _ => return false,
            }
            let all = threads.iter().all(|thread| thread.unwrap_or(true));
            let state = if all { State::Running } else { State::Rebalancing };
            // Here, while no other thread can change: the application's state belongs to the threads'.
            changed = self.change_state(state).map(|before| (state, before));
            true
        });
        if let Some((state, before)) = changed {
            self.tell_state(state, before);
        }
    }

    /// After a commit: what was read of repartition topics is deleted now and then, nobody needs it any more.
    pub(super) fn committed(&self, setup: &Setup, offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>) {
        let now = now_ms();
        let interval = self.config.fields().repartition_purge_interval_ms;
        let last = self.last_purge.load(Ordering::Relaxed);
        if now - last < interval {
            return;
        }
        let is_repartition = |partition: &TopicPartition| {
            setup.subtopologies.values().any(|info| info.repartition_topics.contains_key(partition.topic()))
        };
        let read = offsets.iter().filter(|(partition, _)| is_repartition(partition));
        let read: Vec<_> = read.map(|(partition, offset)| (partition.clone(), offset.offset)).collect();
        if read.is_empty() || self.last_purge.swap(now, Ordering::Relaxed) != last {
            return;
        }
        let admin = self.admin.clone();
        self.runtime.spawn(async move {
            for (partition, deleted) in admin.delete_records(read).await {
                if let Err(error) = deleted {
                    tracing::debug!(%partition, "deleting what was read of a repartition topic: {error}");
                }
            }
        });
    }

    /// The stream threads have begun to work, if there are any.
    pub(super) fn global_stores_are_filled(&self) {
        if self.threads.borrow().is_empty() {
            self.set_state(State::Running);
        }
    }

    /// Closes the application for a failure, whatever its handler says.
    pub(super) fn fail_for_good(&self, error: Box<Error>) {
        if self.response_to(&error) == StreamThreadExceptionResponse::ReplaceThread {
            tracing::warn!("the thread cannot be replaced: the application closes");
        }
        self.fail(error);
    }

    pub(super) fn fail(&self, error: Box<Error>) {
        self.failure.lock().get_or_insert(error);
        self.set_state(State::PendingError);
        self.closing.store(true, Ordering::Release);
    }

    /// Waits on this thread until all stream threads have ended.
    pub(super) fn wait_for_stream_threads(&self) {
        let mut threads = self.threads.subscribe();
        let _ = wait(threads.wait_for(|threads| threads.iter().all(Option::is_none)));
    }

    /// A stream thread has ended. Where there are global stores, their thread is the last to end.
    pub(super) fn stream_thread_ended(&self, thread: usize) {
        let mut last = false;
        self.threads.send_modify(|threads| {
            if let Some(thread) = threads.get_mut(thread) {
                *thread = None;
            }
            last = threads.iter().all(Option::is_none);
        });
        if last && self.globals.is_none() {
            self.finish();
        }
    }

    /// All threads have ended.
    pub(super) fn finish(&self) {
        let failed = *self.state.borrow() == State::PendingError;
        self.set_state(if failed { State::Error } else { State::NotRunning });
    }

    /// What the application's handler wants done about a thread's failure.
    pub(super) fn response_to(&self, error: &Error) -> StreamThreadExceptionResponse {
        match &*self.uncaught.lock() {
            Some(handler) => handler(error),
            None => StreamThreadExceptionResponse::ShutdownClient,
        }
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
/// streams.close(Duration::from_secs(10));
/// # Ok::<(), Box<vltava_streams::Error>>(())
/// ```
pub struct KafkaStreams {
    pub(super) shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    runtime: Option<Runtime>,
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
        if settings.exactly_once {
            return Err(Box::new(Error::Unsupported("`processing.guarantee` exactly_once_v2".to_owned())));
        }
        if settings.bootstrap_servers.is_none() {
            return Err(Box::new(Error::Config("`bootstrap.servers` is missing".to_owned())));
        }
        clients::check(&config)?;
        if topology.global_stores.is_empty() && config.originals().any(|(key, _)| key == "task.timeout.ms") {
            tracing::warn!("`task.timeout.ms` has no effect in an application without global stores");
        }
        let directory = StateDirectory::open(&config)?;
        let engine = LsmEngine::new(LsmOptions::default())?;
        let host = settings.application_server.as_deref().map(str::parse).transpose()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("streams-clients")
            .enable_all()
            .build()
            .map_err(|error| Error::streams(format!("the runtime of the clients: {error}")))?;
        let client_id = match &settings.client_id {
            Some(id) => id.clone(),
            None => format!("{}-{}", config.application_id(), uuid::Builder::from_u128(random()).into_uuid()),
        };
        let admin = {
            let _context = runtime.enter();
            clients::admin(&config, &format!("{client_id}-admin")).and_then(|settings| {
                Admin::new(settings).map_err(|error| Error::streams(format!("the admin client: {error}")))
            })
        };
        let admin = match admin {
            Ok(admin) => admin,
            Err(error) => {
                // Dropping a runtime waits, and that is not allowed where async code calls us.
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let shared = Shared {
            directory,
            engine,
            globals: Globals::of(&topology),
            topology: Arc::new(topology),
            config: Arc::new(config),
            client_id,
            restore_listener: Mutex::default(),
            host,
            cluster: SharedCluster::default(),
            admin,
            runtime: runtime.handle().clone(),
            state: watch::Sender::new(State::Created),
            state_listener: Mutex::default(),
            uncaught: Mutex::default(),
            setup: Mutex::default(),
            closing: AtomicBool::new(false),
            threads: watch::Sender::default(),
            managers: Mutex::default(),
            failure: Mutex::default(),
            last_purge: AtomicI64::new(now_ms()),
        };
        Ok(KafkaStreams { shared: Arc::new(shared), threads: Mutex::default(), runtime: Some(runtime) })
    }

    /// Called at every change of state with the new and the old one, on the thread that changed it.
    pub fn set_state_listener(&self, listener: impl Fn(State, State) + Send + Sync + 'static) {
        *self.shared.state_listener.lock() = Some(Box::new(listener));
    }

    /// Told when stores are restored.
    pub fn set_global_state_restore_listener(&self, listener: impl StateRestoreListener + 'static) {
        *self.shared.restore_listener.lock() = Some(Box::new(listener));
    }

    /// Asked what to do when a thread has failed; without it the application closes in state `ERROR`.
    pub fn set_uncaught_exception_handler(
        &self,
        handler: impl Fn(&Error) -> StreamThreadExceptionResponse + Send + Sync + 'static,
    ) {
        *self.shared.uncaught.lock() = Some(Box::new(handler));
    }

    /// Starts `num.stream.threads` threads, and one for global stores if there are any, and returns. The others begin when
    /// the global stores have all that is in their topics; [`state`](Self::state) tells how far they are. Missing topics and
    /// an unreachable cluster are met there and lead to `ERROR`; [`failure`](Self::failure) says why.
    ///
    /// # Errors
    /// [`Error::Streams`] if the application was started before, or a thread cannot be made.
    pub fn start(&self) -> Result<()> {
        let mut handles = self.threads.lock();
        if self.state() != State::Created {
            return Err(Error::streams(format!("cannot start in state {}", self.state())));
        }
        let count = match self.shared.topology.has_tasks() {
            true => self.shared.config.fields().num_stream_threads,
            // As in Kafka, where there are only global stores.
            false if self.shared.globals.is_some() => 0,
            false => 1,
        };
        *self.shared.managers.lock() = (0..count).map(|_| Weak::new()).collect();
        self.shared.threads.send_replace(vec![Some(false); count]);
        self.shared.set_state(State::Rebalancing);
        if self.shared.globals.is_some() {
            let shared = self.shared.clone();
            let spawned =
                thread::Builder::new().name("GlobalStreamThread".to_owned()).spawn(move || global::run(&shared));
            handles.push(spawned.map_err(|error| Error::streams(format!("the global thread: {error}")))?);
        }
        for index in 0..count {
            let shared = self.shared.clone();
            let name = format!("StreamThread-{}", index + 1);
            let spawned = thread::Builder::new().name(name).spawn(move || super::thread::run(&shared, index));
            handles.push(spawned.map_err(|error| Error::streams(format!("a stream thread: {error}")))?);
        }
        Ok(())
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

    /// Waits on this thread until the state is one that `wanted` accepts. False after `timeout`.
    pub fn wait_for_state(&self, wanted: impl Fn(State) -> bool, timeout: Duration) -> bool {
        let mut states = self.states();
        let _context = self.shared.runtime.enter();
        wait(async { tokio::time::timeout(timeout, states.wait_for(|state| wanted(*state))).await.is_ok() })
    }

    /// Why the application is in state `ERROR`.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.shared.failure.lock().as_ref().map(|error| error.to_string())
    }

    /// Deletes the stores of this instance, so that they are restored from their changelogs, or begin empty where the
    /// application was reset. Kafka's `cleanUp`.
    ///
    /// # Errors
    /// [`Error::Streams`] if the application is at work, or another instance has its directory, or it cannot be deleted.
    pub fn clean_up(&self) -> Result<()> {
        let state = self.state();
        if state != State::Created && !state.has_completed_shutdown() {
            return Err(Error::streams(format!("cannot clean up in state {state}")));
        }
        self.shared.directory.delete_all()
    }

    /// Commits and closes all tasks and leaves the group. Waits on this thread; false if that took longer than `timeout`,
    /// and then it goes on in the background. A second call waits for the first.
    pub fn close(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        self.shared.set_state(State::PendingShutdown);
        self.shared.closing.store(true, Ordering::Release);
        let handles = std::mem::take(&mut *self.threads.lock());
        if handles.is_empty() {
            self.shared.set_state(State::NotRunning);
        }
        let done =
            self.wait_for_state(State::has_completed_shutdown, deadline.saturating_duration_since(Instant::now()));
        if done {
            for handle in handles {
                // A panic was caught and told before.
                let _ = handle.join();
            }
            self.shared.directory.release();
        }
        done
    }
}

impl Drop for KafkaStreams {
    fn drop(&mut self) {
        self.close(Duration::from_secs(30));
        if let Some(runtime) = self.runtime.take() {
            // Dropping a runtime waits, and that is not allowed where async code drops us.
            runtime.shutdown_background();
        }
    }
}

/// Milliseconds since the epoch: the one place where the runtime reads the wall clock.
pub(super) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

fn random() -> u128 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let half = || u128::from(RandomState::new().build_hasher().finish());
    (half() << 64) | half()
}
