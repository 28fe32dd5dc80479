//! All brokers of a cluster, as a client sees them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use vltava_metrics::Snapshot;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::metadata_request::MetadataRequestTopic;
use vltava_protocol::messages::{MetadataRequest, MetadataResponse};
use vltava_protocol::wire::Request;

use super::connection::Connection;
use super::coordinator::Coordinators;
use super::metadata::{LeaderUpdate, MetadataSnapshot, Node, TopicMetadata};
use super::metadata_cache::MetadataCache;
use super::pool::{ConnectionKey, Pool};
use super::task::spawn;
use crate::caught::caught;
use crate::config::{CommonConfig, MetadataRecoveryStrategy};
use crate::error::{ClientError, ConfigError};
use crate::metrics::{ClientMetrics, Recorder};

/// How often idle connections and unused topics are looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// How one request is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendOptions {
    /// Upper limit of the request's version; default: the highest that both sides speak.
    pub max_version: Option<i16>,
    /// How long to wait for the answer; default: `request.timeout.ms`.
    pub timeout: Option<Duration>,
}

/// All brokers of a cluster: connections, metadata, coordinators. Cheap to clone.
///
/// Metadata is kept for the topics that were [tracked](Self::track), read again when it is older than
/// `metadata.max.age.ms` or when [`request_update`](Self::request_update) says that it is wrong.
///
/// All calls are cancel-safe: a dropped future may have sent its request, and leaves nothing else behind.
#[derive(Debug, Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    config: Arc<CommonConfig>,
    pub(crate) metrics: ClientMetrics,
    runtime: Handle,
    pool: Pool,
    metadata: MetadataCache,
    pub(crate) coordinators: Coordinators,
    bootstrap: Mutex<Bootstrap>,
    refreshing: tokio::sync::Mutex<()>,
    /// How many refreshes were begun, and which of them was the last to succeed.
    refreshes_begun: AtomicU64,
    refresh_done: AtomicU64,
    allow_auto_create: AtomicBool,
    max_idle: Mutex<Option<Duration>>,
}

/// Where the metadata is bootstrapped from.
#[derive(Debug)]
struct Bootstrap {
    /// Those of `bootstrap.servers`, with ids -1, -2, …
    nodes: Vec<Node>,
    /// Whether one of the names was resolved: after that, a failure to do so passes.
    is_resolved: bool,
    fatal: Option<ClientError>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.pool.close();
        self.metadata.wanted.notify_one();
    }
}

impl Cluster {
    /// A view of the cluster at `bootstrap.servers`. Connects to nobody yet.
    ///
    /// # Errors
    /// [`ClientError::NoRuntime`] outside of a tokio runtime, [`ClientError::Config`] for files of keys or certificates that
    /// cannot be used.
    pub fn new(config: &CommonConfig) -> Result<Self, ClientError> {
        let runtime = Handle::try_current().map_err(|_| ClientError::NoRuntime)?;
        if let Some(sasl) = &config.sasl {
            sasl.check()?;
        }
        let config = Arc::new(config.clone());
        let metrics = ClientMetrics::new(&config, Instant::now());
        let inner = Arc::new(Inner {
            pool: Pool::new(Arc::clone(&config), Arc::clone(&metrics.network))?,
            metrics,
            metadata: MetadataCache::new(),
            coordinators: Coordinators::default(),
            bootstrap: Mutex::new(Bootstrap { nodes: bootstrap_nodes(&config), is_resolved: false, fatal: None }),
            refreshing: tokio::sync::Mutex::new(()),
            refreshes_begun: AtomicU64::new(0),
            refresh_done: AtomicU64::new(0),
            allow_auto_create: AtomicBool::new(false),
            max_idle: Mutex::new(None),
            runtime,
            config,
        });
        let (weak, wanted) = (Arc::downgrade(&inner), Arc::clone(&inner.metadata.wanted));
        spawn(&inner.runtime, async move {
            if let Err(panicked) = caught(keep_fresh(Weak::clone(&weak), wanted)).await
                && let Some(inner) = weak.upgrade()
            {
                Self { inner }.fail(panicked);
            }
        });
        Ok(Self { inner })
    }

    /// What the client has counted, under the names of Kafka's clients.
    #[must_use]
    pub fn metrics(&self) -> Snapshot {
        self.recorder().snapshot(Instant::now())
    }

    /// Where the client records.
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.inner.metrics.recorder
    }

    /// How many requests have no answer yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.inner.pool.in_flight()
    }

    /// How old the metadata is, if there is some.
    pub(crate) fn metadata_age(&self, now: Instant) -> Option<Duration> {
        self.inner.metadata.age(now)
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &CommonConfig {
        &self.inner.config
    }

    /// Begins a task on the runtime on which connections live.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        spawn(&self.inner.runtime, task);
    }

    /// Whether asking for a topic's metadata may create it, on a broker that does so. Default: no.
    pub fn set_allow_auto_topic_creation(&self, allow: bool) {
        self.inner.allow_auto_create.store(allow, Ordering::Relaxed);
    }

    /// Forgets topics that were [used](Self::topic) last longer ago than this (`metadata.max.idle.ms`).
    pub fn set_metadata_max_idle(&self, max_idle: Duration) {
        *self.inner.max_idle.lock() = Some(max_idle);
    }

    /// What is known now, without asking anybody.
    #[must_use]
    pub fn metadata(&self) -> Arc<MetadataSnapshot> {
        self.inner.metadata.snapshot()
    }

    /// Tells of every change of the metadata.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.inner.metadata.subscribe()
    }

    /// Keeps metadata of these topics from the next refresh on, until [`untrack`](Self::untrack).
    pub fn track<'a>(&self, topics: impl IntoIterator<Item = &'a str>) {
        let mut new = false;
        for topic in topics {
            new |= self.inner.metadata.track(topic, None);
        }
        if new {
            self.inner.metadata.hurry();
        }
    }

    /// Notes that a topic is in use, so that its metadata is kept for `metadata.max.idle.ms` from now.
    pub fn track_used(&self, topic: &str) {
        self.inner.metadata.track(topic, Some(Instant::now()));
    }

    /// Does not need metadata of these topics any more.
    pub fn untrack<'a>(&self, topics: impl IntoIterator<Item = &'a str>) {
        for topic in topics {
            self.inner.metadata.untrack(topic);
        }
    }

    /// Why the last attempt to connect to a broker failed, if it did.
    pub(crate) fn last_failure(&self) -> Option<ClientError> {
        self.inner.pool.last_failure()
    }

    /// Why this client can never go on, once that is known: its cluster cannot be reached, or its work has panicked.
    pub(crate) fn fatal(&self) -> Option<ClientError> {
        self.inner.bootstrap.lock().fatal.clone()
    }

    /// Nobody has to be asked any more, for this reason; the first one counts.
    pub(crate) fn fail(&self, error: ClientError) {
        self.inner.bootstrap.lock().fatal.get_or_insert(error);
        self.inner.metadata.tell();
    }

    /// Keeps metadata of all topics, or only of the tracked ones.
    pub fn track_all(&self, all: bool) {
        self.inner.metadata.track_all(all);
        if all {
            self.request_update();
        }
    }

    /// Says that the metadata is wrong, after an error that shows it: it is read again in the background, not sooner than
    /// `retry.backoff.ms` after the last time.
    pub fn request_update(&self) {
        self.inner.metadata.request_update();
    }

    /// Takes in leaders that an answer to produce or fetch told (KIP-951). Says whether one of them was news.
    pub fn update_leaders(&self, leaders: &[LeaderUpdate], nodes: &[Node]) -> bool {
        self.inner.metadata.update_leaders(leaders, nodes)
    }

    /// Reads the metadata of all tracked topics now. Calls at the same time share one request.
    ///
    /// # Errors
    /// [`ClientError::NoBrokerAvailable`] if no broker answered.
    pub async fn refresh(&self) -> Result<Arc<MetadataSnapshot>, ClientError> {
        let entry = self.inner.refreshes_begun.load(Ordering::Acquire);
        let _guard = self.inner.refreshing.lock().await;
        // One that was under way when we came may have asked for fewer topics; one begun after that serves us too.
        if self.inner.refresh_done.load(Ordering::Acquire) > entry {
            return Ok(self.metadata());
        }
        let number = self.inner.refreshes_begun.fetch_add(1, Ordering::AcqRel) + 1;
        let snapshot = self.read_metadata().await?;
        self.inner.refresh_done.store(number, Ordering::Release);
        Ok(snapshot)
    }

    async fn read_metadata(&self) -> Result<Arc<MetadataSnapshot>, ClientError> {
        self.inner.metadata.begin_update();
        let topics = self.inner.metadata.topics();
        let request = MetadataRequest {
            topics: topics.map(|names| {
                names
                    .iter()
                    .map(|name| MetadataRequestTopic {
                        name: Some(name.to_string()),
                        ..MetadataRequestTopic::default()
                    })
                    .collect()
            }),
            allow_auto_topic_creation: self.inner.allow_auto_create.load(Ordering::Relaxed),
            ..MetadataRequest::default()
        };
        let response = self.ask_for_metadata(&request).await?;
        let next = self.metadata().updated(&response);
        Ok(self.inner.metadata.replace(next, Instant::now()))
    }

    /// The metadata of all topics, read now and not kept.
    ///
    /// # Errors
    /// [`ClientError::NoBrokerAvailable`] if no broker answered.
    pub async fn all_topics(&self) -> Result<MetadataSnapshot, ClientError> {
        let request = MetadataRequest { topics: None, ..MetadataRequest::default() };
        let response = self.ask_for_metadata(&request).await?;
        Ok(MetadataSnapshot::default().updated(&response))
    }

    /// Asks the known brokers, then, if none of them answers, those of `bootstrap.servers` (KIP-899).
    async fn ask_for_metadata(&self, request: &MetadataRequest) -> Result<MetadataResponse, ClientError> {
        if let Some(error @ ClientError::SaslAuthentication { .. }) = self.fatal() {
            return Err(error);
        }
        let known = self.candidates();
        let mut last = ClientError::Closed;
        if !self.should_rebootstrap() {
            match self.ask_in_turn(&known, request).await {
                Ok(response) => return Ok(response),
                Err(error) => last = error,
            }
        }
        let strategy = self.inner.config.metadata_recovery;
        if known.is_empty() || strategy == MetadataRecoveryStrategy::Rebootstrap {
            if !known.is_empty() {
                tracing::info!("none of the known brokers answers, starting again from `bootstrap.servers`: {last}");
            }
            let mut bootstrap = self.bootstrap_nodes().await?;
            fastrand::shuffle(&mut bootstrap);
            match self.ask_in_turn(&bootstrap, request).await {
                Ok(response) => return Ok(response),
                Err(error) => last = error,
            }
        }
        // One that may pass hides what does not.
        if let Some(error @ ClientError::SaslAuthentication { .. }) = self.fatal() {
            return Err(error);
        }
        if last.is_about_who_listens() {
            return Err(last);
        }
        Err(ClientError::NoBrokerAvailable {
            servers: self.inner.config.bootstrap_servers.join(",").into(),
            last: last.to_string().into(),
        })
    }

    /// The nodes of `bootstrap.servers`. If none of their names can be resolved, the first time that is wanted, the setting
    /// is wrong, as in Kafka.
    async fn bootstrap_nodes(&self) -> Result<Vec<Node>, ClientError> {
        let (nodes, is_resolved, fatal) = {
            let bootstrap = self.inner.bootstrap.lock();
            (bootstrap.nodes.clone(), bootstrap.is_resolved, bootstrap.fatal.clone())
        };
        match fatal {
            Some(error) => return Err(error),
            None if is_resolved => return Ok(nodes),
            None => {}
        }
        let mut is_resolved = false;
        for node in &nodes {
            let found = tokio::net::lookup_host(node.address()).await.map(|mut found| found.next().is_some());
            match found {
                Ok(true) => is_resolved = true,
                Ok(false) => tracing::warn!("the name of {} in `bootstrap.servers` has no address", node.address()),
                Err(error) => {
                    tracing::warn!("the name of {} in `bootstrap.servers` cannot be resolved: {error}", node.address());
                }
            }
        }
        let mut bootstrap = self.inner.bootstrap.lock();
        bootstrap.is_resolved = is_resolved;
        if is_resolved {
            return Ok(nodes);
        }
        let servers = self.inner.config.bootstrap_servers.join(",");
        let error = ConfigError::new("bootstrap.servers", servers, "must have a name that can be resolved");
        bootstrap.fatal = Some(error.clone().into());
        drop(bootstrap);
        self.inner.metadata.tell();
        Err(error.into())
    }

    /// KIP-1102: brokers that answer, but not with metadata, are given up after a while.
    fn should_rebootstrap(&self) -> bool {
        self.inner.config.metadata_recovery == MetadataRecoveryStrategy::Rebootstrap
            && self.inner.metadata.age(Instant::now()).is_some_and(|age| {
                age > self.inner.config.rebootstrap_trigger.saturating_add(self.inner.config.metadata_max_age)
            })
    }

    async fn ask_in_turn(&self, nodes: &[Node], request: &MetadataRequest) -> Result<MetadataResponse, ClientError> {
        let mut last = ClientError::Closed;
        let mut fail = |error: ClientError| {
            // One that may pass leaves hope, whatever the others are.
            if !last.is_retriable() || error.is_retriable() {
                last = error;
            }
        };
        for node in nodes {
            let answer = match self.connection_to(ConnectionKey::data(node.id), node).await {
                Ok(connection) => connection.send(request).await,
                Err(error) => Err(error),
            };
            match answer {
                // KIP-1102: the broker knows that it is not part of the cluster any more.
                Ok(response) if ErrorCode::from(response.error_code) == ErrorCode::RebootstrapRequired => {
                    fail(ClientError::broker(ErrorCode::RebootstrapRequired));
                }
                Ok(response) if response.brokers.is_empty() => {
                    fail(ClientError::unexpected("metadata without a broker"));
                }
                Ok(response) => return Ok(response),
                Err(error) => {
                    tracing::debug!(node = node.id, "no metadata: {error}");
                    fail(error);
                }
            }
        }
        Err(last)
    }

    /// The brokers of the metadata: those with an open connection first, those that could not be reached last.
    fn candidates(&self) -> Vec<Node> {
        let mut nodes: Vec<Node> = self.metadata().brokers.values().cloned().collect();
        fastrand::shuffle(&mut nodes);
        let now = Instant::now();
        nodes.sort_by_cached_key(|node| {
            let key = ConnectionKey::data(node.id);
            match self.inner.pool.open(key) {
                Some(connection) => (0, connection.in_flight()),
                None => (1 + usize::from(self.inner.pool.is_backing_off(key, now)), 0),
            }
        });
        nodes
    }

    /// The metadata of one topic, read if it is not known yet or has an error that may pass; waits up to
    /// [`CommonConfig::api_timeout`] for it to get better.
    ///
    /// # Errors
    /// [`ClientError::Broker`] with the topic's error, [`ClientError::NoBrokerAvailable`], [`ClientError::Timeout`],
    /// [`ClientError::NotKafka`], [`ClientError::SslAuthentication`], [`ClientError::Config`] if no name of `bootstrap.servers` can be resolved.
    pub async fn topic(&self, name: &str) -> Result<Arc<TopicMetadata>, ClientError> {
        let used_at = self.inner.max_idle.lock().is_some().then(Instant::now);
        let new = self.inner.metadata.track(name, used_at);
        if !new
            && let Some(topic) = self.metadata().topic(name)
            && topic.error.is_none()
        {
            return Ok(Arc::clone(topic));
        }
        self.within_api_timeout(|| format!("metadata of {name}")).wait(self.read_topic(name, used_at)).await
    }

    async fn read_topic(&self, name: &str, used_at: Option<Instant>) -> Result<Arc<TopicMetadata>, ClientError> {
        let deadline = Instant::now() + self.inner.config.api_timeout;
        let mut attempt = 0;
        loop {
            let error = match self.refresh().await {
                Ok(snapshot) => match snapshot.topic(name) {
                    Some(topic) if topic.error.is_none() => return Ok(Arc::clone(topic)),
                    Some(topic) => {
                        ClientError::broker(topic.error.unwrap_or(ErrorCode::UnknownServerError)).of_topic(name)
                    }
                    None => ClientError::broker(ErrorCode::UnknownTopicOrPartition),
                },
                Err(error) => error,
            };
            let pause = self.inner.config.retry_pause(attempt);
            if !error.is_retriable() || Instant::now() + pause >= deadline {
                return Err(error);
            }
            attempt += 1;
            tokio::time::sleep(pause).await;
            self.inner.metadata.track(name, used_at);
        }
    }

    /// The open or newly made connection to a broker of the metadata.
    ///
    /// # Errors
    /// [`ClientError::NodeNotAvailable`] for an unknown id, [`ClientError::Connection`], [`ClientError::Timeout`].
    pub async fn connection(&self, key: ConnectionKey) -> Result<Connection, ClientError> {
        let node = self.node(key.node)?;
        self.connection_to(key, &node).await
    }

    /// The open connection of this key, if there is one, without waiting.
    #[must_use]
    pub fn open_connection(&self, key: ConnectionKey) -> Option<Connection> {
        self.inner.pool.open(key)
    }

    pub(crate) async fn connection_to(&self, key: ConnectionKey, node: &Node) -> Result<Connection, ClientError> {
        // Whom one broker does not let in is not let in by another: nobody is asked again, and all are told.
        if let Some(error @ ClientError::SaslAuthentication { .. }) = self.fatal() {
            return Err(error);
        }
        let connected = self.inner.pool.connect(key, node).await;
        if let Err(error @ ClientError::SaslAuthentication { .. }) = &connected {
            self.fail(error.clone());
        }
        connected
    }

    fn node(&self, id: i32) -> Result<Node, ClientError> {
        let known = self.metadata().brokers.get(&id).cloned();
        let bootstrap = || self.inner.bootstrap.lock().nodes.iter().find(|node| node.id == id).cloned();
        match known.or_else(bootstrap).or_else(|| self.inner.coordinators.node(id)) {
            Some(node) => Ok(node),
            None => {
                self.request_update();
                Err(ClientError::NodeNotAvailable { node: id, reason: "it is not in the metadata".into() })
            }
        }
    }

    /// Sends a request to a broker of the metadata and waits for its answer. Retries nothing.
    ///
    /// # Errors
    /// As [`connection`](Self::connection) and [`Connection::send`].
    pub async fn send<R: Request>(&self, node: i32, request: &R) -> Result<R::Response, ClientError> {
        self.send_with(ConnectionKey::data(node), request, SendOptions::default()).await
    }

    /// As [`send`](Self::send), on a connection of its own purpose, in a limited version or with another timeout.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_with<R: Request>(
        &self,
        key: ConnectionKey,
        request: &R,
        options: SendOptions,
    ) -> Result<R::Response, ClientError> {
        let connection = self.connection(key).await?;
        let result = connection.send_with(request, options.max_version, options.timeout).await;
        if matches!(result, Err(ClientError::Connection { .. } | ClientError::Timeout { .. })) {
            // The broker may have gone, and its partitions have other leaders.
            self.request_update();
        }
        result
    }

    /// A broker that is likely to answer: any that is connected, else any known, else one of `bootstrap.servers`.
    ///
    /// # Errors
    /// [`ClientError::NoBrokerAvailable`] if none could be reached.
    pub async fn any_connection(&self) -> Result<Connection, ClientError> {
        let mut nodes = self.candidates();
        if nodes.is_empty() {
            // Bootstrap servers are only the way to the metadata (they may be another network's names).
            self.refresh().await?;
            nodes = self.candidates();
        }
        let mut last = ClientError::Closed;
        for node in &nodes {
            match self.connection_to(ConnectionKey::data(node.id), node).await {
                Ok(connection) => return Ok(connection),
                Err(error @ ClientError::SaslAuthentication { .. }) => return Err(error),
                Err(error) => last = error,
            }
        }
        self.request_update();
        if last.is_about_who_listens() {
            return Err(last);
        }
        Err(ClientError::NoBrokerAvailable {
            servers: nodes.iter().map(Node::address).collect::<Vec<_>>().join(",").into(),
            last: last.to_string().into(),
        })
    }

    /// Sends a request that every broker can answer to one of them.
    ///
    /// # Errors
    /// As [`any_connection`](Self::any_connection) and [`Connection::send`].
    pub async fn send_any<R: Request>(&self, request: &R) -> Result<R::Response, ClientError> {
        self.any_connection().await?.send(request).await
    }

    /// Sends a request for the controller to the broker that the metadata names for it.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_controller<R: Request>(
        &self,
        request: &R,
        options: SendOptions,
    ) -> Result<R::Response, ClientError> {
        let snapshot = match self.metadata() {
            snapshot if snapshot.controller.is_some() => snapshot,
            _ => self.refresh().await?,
        };
        match snapshot.controller {
            Some(node) => self.send_with(ConnectionKey::data(node), request, options).await,
            None => self.any_connection().await?.send_with(request, options.max_version, options.timeout).await,
        }
    }

    /// Closes all connections. Requests without an answer fail.
    pub fn close(&self) {
        self.inner.pool.close();
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }
}

fn bootstrap_nodes(config: &CommonConfig) -> Vec<Node> {
    config
        .bootstrap_servers
        .iter()
        .zip(1..)
        .filter_map(|(server, index)| {
            let (host, port) = server.rsplit_once(':')?;
            Node::new(-index, host, port.parse().ok()?, None)
        })
        .collect()
}

/// Reads the metadata again when it is wanted or too old, and closes what is not used, until the cluster is dropped.
async fn keep_fresh(cluster: Weak<Inner>, wanted: Arc<Notify>) {
    let mut attempts = 0;
    // No reference is held while waiting, or the cluster would never be dropped.
    while let Some(inner) = cluster.upgrade() {
        let now = Instant::now();
        inner.pool.close_idle(now);
        let brokers = inner.metadata.snapshot();
        inner.metrics.network.forget_nodes(|id| id < 0 || brokers.brokers.contains_key(&id));
        if let Some(since) = inner.max_idle.lock().and_then(|idle| now.checked_sub(idle)) {
            inner.metadata.forget_unused(since);
        }
        let fresh = inner.metadata.fresh_for(now, inner.config.metadata_max_age);
        if !fresh.is_zero() {
            drop(inner);
            // Waking for any reason is fine, the loop looks again.
            let _ = tokio::time::timeout(fresh.min(HOUSEKEEPING), wanted.notified()).await;
            continue;
        }
        let is_read = (Cluster { inner: Arc::clone(&inner) }).refresh().await.is_ok();
        if !is_read {
            inner.metadata.request_update();
        }
        attempts = if is_read && !inner.metadata.has_troubles() { 0 } else { attempts + 1 };
        if inner.bootstrap.lock().fatal.is_some() {
            return;
        }
        let pause = inner.config.retry_pause(attempts);
        let hurried = Arc::clone(&inner.metadata.hurried);
        drop(inner);
        // Topics that nothing is known of do not wait for the pause after the last update.
        let hurried = async {
            if !is_read {
                std::future::pending::<()>().await;
            }
            hurried.notified().await;
        };
        let _ = tokio::time::timeout(pause, hurried).await;
    }
}
