//! A broker with its threads: started, stopped, or ended abruptly.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};

use crate::cleaner::LogCleaner;
use crate::clock;
use crate::config::{BrokerConfig, Listener};
use crate::controller::{Controller, registration};
use crate::error::BrokerError;
use crate::health::{self, BrokerState};
use crate::monitoring::{HttpServer, Monitoring};
use crate::network::{self, Bound};
use crate::partitions::{Partitions, Storage};
use crate::services::Services;
use crate::start;

/// How long a stop waits for what is under way.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A running broker. It stops when it is dropped.
///
/// It has threads of its own, so it can be started from anywhere, also within an async runtime;
/// dropping it waits until it has stopped.
///
/// # Examples
///
/// ```
/// use vltava_broker::{Broker, BrokerConfig};
///
/// let dir = tempfile::tempdir()?;
/// let config = BrokerConfig::from_properties([
///     ("listeners", "PLAINTEXT://127.0.0.1:0"),
///     ("log.dirs", &dir.path().display().to_string()),
/// ])?;
/// let broker = Broker::start(config)?;
/// println!("clients connect to {}", broker.bootstrap_servers());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Broker {
    bootstrap_servers: String,
    cluster_id: String,
    addresses: Vec<SocketAddr>,
    command: Option<oneshot::Sender<Stop>>,
    stopped: Option<oneshot::Receiver<Result<(), BrokerError>>>,
    thread: Option<JoinHandle<()>>,
    monitoring: Arc<Monitoring>,
    metrics_address: Option<SocketAddr>,
}

/// How to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Clean,
    Abrupt,
}

/// What the broker's thread tells when it is ready.
struct Ready {
    bootstrap_servers: String,
    cluster_id: String,
    addresses: Vec<SocketAddr>,
    metrics_address: Option<SocketAddr>,
}

impl Broker {
    /// Starts a broker; when this returns, it serves.
    ///
    /// An empty directory is formatted. After a stop that was not clean the ends of the logs are
    /// checked, which takes as long as reading them.
    ///
    /// # Errors
    ///
    /// [`BrokerError`] when a directory is in use or belongs to another broker, a listener cannot
    /// be bound, or a log cannot be opened.
    pub fn start(config: BrokerConfig) -> Result<Self, BrokerError> {
        for warning in config.warnings() {
            warn!("{warning}");
        }
        let (told, ready) = mpsc::channel();
        let (command, commands) = oneshot::channel();
        let (done, stopped) = oneshot::channel();
        let monitoring = Arc::new(Monitoring::new(config.metrics));
        let monitored = Arc::clone(&monitoring);
        let body = move || {
            // Nobody may wait for it any more.
            done.send(run(config, &told, commands, &monitored)).ok();
        };
        let thread = std::thread::Builder::new().name("vltava-broker".to_owned()).spawn(body);
        let thread = thread.map_err(BrokerError::Runtime)?;
        let Ready { bootstrap_servers, cluster_id, addresses, metrics_address } =
            ready.recv().map_err(|_| BrokerError::Ended)??;
        Ok(Self {
            bootstrap_servers,
            cluster_id,
            addresses,
            command: Some(command),
            stopped: Some(stopped),
            thread: Some(thread),
            monitoring,
            metrics_address,
        })
    }

    /// The `host:port` of every advertised listener, as `bootstrap.servers` takes them.
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// The id of the cluster.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The addresses that the listeners are bound to.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The address that metrics and health are served at, where `metrics.http.address` gives one.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// All metrics as text for Prometheus, as `/metrics` serves it: in names and labels what the JMX exporter makes of
    /// Kafka's; see `docs/metrics.md`.
    pub fn metrics(&self) -> String {
        self.monitoring.page().collect()
    }

    /// Whether going on makes sense, in words, as `/health` serves it: `ok` and what is to be seen to, or the error, which
    /// is what only a restart ends. Looks at the log directories, and waits for their disks.
    ///
    /// # Errors
    /// What is wrong, as text.
    pub fn health(&self) -> Result<String, String> {
        self.monitoring.health()
    }

    /// Stops the broker: connections end, logs are flushed and closed, and the stop is marked as
    /// clean, so that the next start checks nothing.
    ///
    /// Not cancel-safe in what is known afterwards: the broker stops whether or not this is waited
    /// for to its end.
    pub async fn shutdown(mut self) {
        if let Some(command) = self.command.take() {
            command.send(Stop::Clean).ok();
        }
        if let Some(stopped) = self.stopped.take() {
            stopped.await.ok();
        }
        self.join();
    }

    /// Waits until the broker ends by itself and says why: the directory of its metadata log has failed, or every log
    /// directory has. Until then it is pending.
    ///
    /// Cancel-safe.
    pub async fn failed(&mut self) -> BrokerError {
        let ended = match &mut self.stopped {
            Some(stopped) => stopped.await,
            None => return std::future::pending().await,
        };
        self.stopped = None;
        match ended {
            Ok(Err(error)) => error,
            Ok(Ok(())) | Err(_) => BrokerError::Ended,
        }
    }

    /// Ends the broker as a kill of its process would: nothing is flushed, nothing is marked. The
    /// next start recovers. For tests of recovery.
    pub fn abort(mut self) {
        if let Some(command) = self.command.take() {
            command.send(Stop::Abrupt).ok();
        }
        self.join();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("the broker's thread panicked");
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(command) = self.command.take() {
            command.send(Stop::Clean).ok();
        }
        self.join();
    }
}

/// The broker's thread, from the first file to the last.
fn run(
    config: BrokerConfig,
    told: &mpsc::Sender<Result<Ready, BrokerError>>,
    commands: oneshot::Receiver<Stop>,
    monitoring: &Arc<Monitoring>,
) -> Result<(), BrokerError> {
    monitoring.health.enter(BrokerState::Starting);
    let outcome = run_monitored(config, told, commands, monitoring);
    monitoring.health.enter(BrokerState::NotRunning);
    outcome
}

fn run_monitored(
    config: BrokerConfig,
    told: &mpsc::Sender<Result<Ready, BrokerError>>,
    commands: oneshot::Receiver<Stop>,
    monitoring: &Arc<Monitoring>,
) -> Result<(), BrokerError> {
    // Before anything else: whoever waits for the broker sees that it loads its logs.
    let http = HttpServer::start(&config, monitoring);
    let started = http.and_then(|http| Ok((start(config, monitoring)?, http)));
    match started {
        Ok((started, http)) => {
            let ready = Ready {
                bootstrap_servers: bootstrap_servers(&started.services),
                cluster_id: started.services.advertised.cluster_id.clone(),
                addresses: started.listeners.iter().map(|listener| listener.address).collect(),
                metrics_address: http.as_ref().map(|http| http.address),
            };
            monitoring.health.enter(BrokerState::Running);
            info!(servers = ready.bootstrap_servers, cluster = ready.cluster_id, "the broker is ready");
            told.send(Ok(ready)).ok();
            serve(started, commands, monitoring)
        }
        Err(error) => {
            told.send(Err(error)).ok();
            Ok(())
        }
    }
}

/// A broker whose files are open and whose listeners are bound.
struct Started {
    runtime: Runtime,
    services: Arc<Services>,
    listeners: Vec<Bound>,
    /// The log directories that fail from now on, or have failed during the start.
    failures: DirFailed,
}

type DirFailed = tokio::sync::mpsc::UnboundedReceiver<std::path::PathBuf>;

fn start(config: BrokerConfig, monitoring: &Monitoring) -> Result<Started, BrokerError> {
    let (told, failures) = tokio::sync::mpsc::unbounded_channel();
    let storage = Storage::open(&config, &told, &monitoring.metrics.flushes, clock::now())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(worker_threads(&config))
        .thread_name("vltava-broker-worker")
        .enable_all()
        .build()
        .map_err(BrokerError::Runtime)?;
    let within = runtime.enter();
    let listeners = network::bind(&config, &monitoring.metrics)?;
    let endpoints = endpoints(&config, &listeners);
    let services = start::open(config, storage, endpoints, monitoring)?;
    services.controller.start()?;
    let services = Arc::new(services);
    monitoring.follow(&services);
    drop(within);
    #[cfg(feature = "oauth")]
    runtime.block_on(services.tokens.begin());
    Ok(Started { runtime, services, listeners, failures })
}

/// Kafka's network and request threads are one pool here, no larger than the machine.
fn worker_threads(config: &BrokerConfig) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    config.threads.clamp(1, processors)
}

/// What each listener's clients are told: the advertised address, with the port that was bound
/// where none is configured.
fn endpoints(config: &BrokerConfig, listeners: &[Bound]) -> HashMap<String, (String, u16)> {
    let advertised = |listener: &Listener| {
        let bound = listeners.iter().find(|bound| *bound.name == *listener.name);
        let port = match listener.port {
            0 => bound.map_or(0, |bound| bound.address.port()),
            port => port,
        };
        let host = if listener.host.is_empty() { host_name() } else { listener.host.clone() };
        (listener.name.clone(), (host, port))
    };
    config.advertised_listeners.iter().map(advertised).collect()
}

/// This machine's name, where the system tells it.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

fn bootstrap_servers(services: &Services) -> String {
    let listeners = services.config.listeners.iter();
    let servers: Vec<String> = listeners
        .filter_map(|listener| services.advertised.endpoint(&listener.name))
        .map(|(host, port)| if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
        .collect();
    servers.join(",")
}

fn serve(started: Started, commands: oneshot::Receiver<Stop>, monitoring: &Monitoring) -> Result<(), BrokerError> {
    let Started { runtime, services, listeners, failures } = started;
    let (stop, stopping) = watch::channel(false);
    let (how, outcome) = runtime.block_on(async {
        let network = tokio::spawn(network::run(Arc::clone(&services), listeners, stopping.clone()));
        let (config, metadata) = (Arc::clone(&services.config), Arc::clone(&services.metadata));
        let cleaner = LogCleaner::new(config, metadata, Arc::clone(&services.partitions), stopping.clone());
        let cleaner = tokio::spawn(cleaner.run());
        let watched = tokio::spawn(health::watch(Arc::clone(&services), stopping.clone()));
        let upkeep = tokio::spawn(upkeep(Arc::clone(&services.partitions), stopping.clone()));
        #[cfg(feature = "oauth")]
        services.tokens.endpoints().for_each(|keys| drop(tokio::spawn(Arc::clone(keys).follow(stopping.clone()))));
        let (how, outcome) = tokio::select! {
            // A broker whose handle is gone stops as well.
            how = commands => (how.unwrap_or(Stop::Clean), Ok(())),
            failure = watch_directories(&services.controller, failures) => {
                error!(error = %failure, "the broker ends");
                (Stop::Clean, Err(failure))
            }
        };
        monitoring.health.enter(BrokerState::ShuttingDown);
        stop.send_replace(true);
        if how == Stop::Clean && tokio::time::timeout(STOP_LIMIT, network).await.is_err() {
            warn!("connections did not end in time");
        }
        upkeep.abort();
        watched.abort();
        cleaner.abort();
        (how, outcome)
    });
    services.controller.stop();
    runtime.shutdown_timeout(STOP_LIMIT);
    if how == Stop::Clean {
        services.partitions.storage().close(services.controller.broker_epoch());
    }
    info!("the broker has stopped");
    outcome
}

/// Takes the partitions of failed log directories offline; returns when the broker cannot go on.
async fn watch_directories(controller: &Controller, mut failures: DirFailed) -> BrokerError {
    while let Some(path) = failures.recv().await {
        if let Some(fatal) = registration::directory_failed(controller, &path).await {
            return fatal;
        }
    }
    std::future::pending().await
}

/// The work that comes by time. It waits for the disk, so it runs on threads for that.
async fn upkeep(partitions: Arc<Partitions>, mut stop: watch::Receiver<bool>) {
    loop {
        let worker = Arc::clone(&partitions);
        let worked = tokio::task::spawn_blocking(move || worker.storage().run_due(clock::now())).await;
        let pause = worked.unwrap_or_else(|error| {
            warn!(%error, "the upkeep of the logs panicked");
            PAUSE_AFTER_PANIC
        });
        tokio::select! {
            () = tokio::time::sleep(pause.max(SHORTEST_PAUSE)) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Between two rounds of upkeep.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const PAUSE_AFTER_PANIC: Duration = Duration::from_secs(60);
