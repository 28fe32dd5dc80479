//! The consumer's edge: its core behind a lock, one loop that lets time pass, and one place that does what the core says.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use vltava_protocol::messages::metadata_request::MetadataRequestTopic;
use vltava_protocol::messages::{ConsumerGroupHeartbeatRequest, MetadataRequest};
use vltava_protocol::wire::Message as _;
use vltava_protocol::{ApiKey, ErrorCode, Uuid};

use super::assignor::{PartitionAssignor, RebalanceProtocol};
use super::callbacks::common_protocol;
use super::core::{Core, Effect, Event, LAST_VERSION_WITH_NAMES, World};
use super::listener::RebalanceListener;
use super::membership::consumer::FIRST_VERSION_WITH_PATTERNS;
use super::membership::{GroupRequest, GroupResponse};
use super::streams_group::StreamsMember;
use crate::ClientError;
use crate::caught::caught;
use crate::config::ConsumerConfig;
use crate::metrics::{ConsumerMetrics, FetchMetrics, GroupAnswer};
use crate::net::{Cluster, ConnectionKey, CoordinatorType, MetadataSnapshot, SendOptions, sleep_until};

mod lookups;

/// How much longer than the rebalance timeout a join may go without an answer.
const JOIN_LAPSE: Duration = Duration::from_secs(5);

/// A consumer, behind its handles.
pub(crate) struct Inner {
    pub(crate) config: Arc<ConsumerConfig>,
    pub(crate) cluster: Cluster,
    pub(crate) metrics: ConsumerMetrics,
    shared: Mutex<Shared>,
    world: ClusterWorld,
    /// Something happened that `poll` waits for.
    pub(crate) changed: Notify,
    /// The same for other calls, of which many may wait.
    pub(crate) progress: Notify,
    /// There is something to do sooner than the loop sleeps.
    alarm: Notify,
    pub(crate) assignors: tokio::sync::Mutex<Vec<Box<dyn PartitionAssignor>>>,
    pub(crate) is_cooperative: bool,
    pub(crate) listener: Mutex<Option<Box<dyn RebalanceListener>>>,
    pub(crate) polling: AtomicBool,
    pub(crate) woken: AtomicBool,
    pub(crate) closed: AtomicBool,
}

struct Shared {
    core: Core,
    /// Until when the loop sleeps.
    sleeps_until: Option<Instant>,
}

/// The cluster as the core sees it.
struct ClusterWorld {
    cluster: Cluster,
    version: watch::Receiver<u64>,
}

impl World for ClusterWorld {
    fn metadata(&self) -> Arc<MetadataSnapshot> {
        self.cluster.metadata()
    }

    fn metadata_version(&self) -> u64 {
        *self.version.borrow()
    }

    fn unix_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn timed_out(&self, what: &str, limit: Duration) -> ClientError {
        self.cluster.timed_out(what.to_owned(), limit)
    }
}

impl Inner {
    pub(crate) fn new(
        config: ConsumerConfig,
        assignors: Vec<Box<dyn PartitionAssignor>>,
        streams: Option<StreamsMember>,
        now: Instant,
    ) -> Result<Self, ClientError> {
        let protocol = common_protocol(&assignors)?;
        let config = Arc::new(config);
        let cluster = Cluster::new(&config.common)?;
        cluster.set_allow_auto_topic_creation(config.allow_auto_create_topics);
        let mut core = Core::new(Arc::clone(&config), protocol, new_member_id(), streams, now);
        core.set_metrics(FetchMetrics::new(cluster.recorder().clone()));
        let metrics = ConsumerMetrics::new(cluster.recorder().clone());
        Ok(Self {
            config,
            metrics,
            shared: Mutex::new(Shared { core, sleeps_until: None }),
            world: ClusterWorld { version: cluster.subscribe(), cluster: cluster.clone() },
            cluster,
            changed: Notify::new(),
            progress: Notify::new(),
            alarm: Notify::new(),
            assignors: tokio::sync::Mutex::new(assignors),
            is_cooperative: protocol == RebalanceProtocol::Cooperative,
            listener: Mutex::new(None),
            polling: AtomicBool::new(false),
            woken: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        })
    }

    /// # Errors
    /// [`ClientError::Closed`] after `close`, [`ClientError::Panicked`] if the background work has ended by that.
    pub(crate) fn check_open(&self) -> Result<(), ClientError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(ClientError::Closed);
        }
        match self.cluster.fatal() {
            Some(error @ ClientError::Panicked { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// [`ClientError::InvalidState`] without `group.id`.
    pub(crate) fn group_id(&self) -> Result<&str, ClientError> {
        self.config
            .group_id
            .as_deref()
            .ok_or_else(|| ClientError::state("`group.id` is needed to subscribe and to commit offsets"))
    }

    pub(crate) fn is_in_session(&self) -> bool {
        self.read(|core| core.is_in_session(Instant::now()))
    }

    /// Looks at the core.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Core) -> T) -> T {
        look(&self.shared.lock().core)
    }

    /// Gives something to the core, and does what it says is to be done then.
    pub(crate) fn turn<T>(self: &Arc<Self>, give: impl FnOnce(&mut Core, Instant) -> T) -> T {
        let now = Instant::now();
        let mut shared = self.shared.lock();
        let result = give(&mut shared.core, now);
        for effect in shared.core.poll(now, &self.world) {
            self.perform(effect);
        }
        let is_sooner = |at: Instant| shared.sleeps_until.is_none_or(|until| at < until);
        if shared.core.next_deadline().is_some_and(is_sooner) {
            self.alarm.notify_one();
        }
        result
    }

    /// Lets time pass and metadata change until the consumer is closed.
    pub(crate) async fn run(self: Arc<Self>) {
        if let Err(panicked) = caught(self.work()).await {
            self.fail(panicked);
        }
    }

    /// Background work has panicked: every call ends with that.
    fn fail(&self, panicked: ClientError) {
        self.cluster.fail(panicked.clone());
        self.wake();
        self.shared.lock().core.fail(&panicked);
        self.wake();
    }

    async fn work(self: &Arc<Self>) {
        let mut metadata = self.cluster.subscribe();
        while !self.closed.load(Ordering::Acquire) {
            self.turn(|_, _| ());
            let deadline = {
                let mut shared = self.shared.lock();
                shared.sleeps_until = shared.core.next_deadline();
                shared.sleeps_until
            };
            tokio::select! {
                () = sleep_until(deadline) => {}
                () = self.alarm.notified() => {}
                changed = metadata.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Wakes whoever waits for the consumer.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
        self.progress.notify_waiters();
    }

    /// The consumer is closed: the loop ends, and every call.
    pub(crate) fn end(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake();
        self.alarm.notify_one();
        self.cluster.close();
    }

    /// Begins what the core wants done. Nothing here waits: what takes time becomes a task, whose answer the core gets.
    fn perform(self: &Arc<Self>, effect: Effect) {
        match effect {
            Effect::Wake => self.wake(),
            Effect::RefreshMetadata => self.cluster.request_update(),
            Effect::TrackAll(all) => self.cluster.track_all(all),
            Effect::Track { new, gone } => {
                self.cluster.untrack(gone.iter().map(String::as_str));
                self.cluster.track(new.iter().map(String::as_str));
            }
            Effect::UpdateLeaders(news) => {
                self.cluster.update_leaders(&news.leaders, &news.nodes);
            }
            Effect::FindCoordinator => {
                self.ask(async |inner| Event::Coordinator(inner.find_coordinator().await));
            }
            Effect::Group { token, node, request } => {
                self.ask(async move |inner| Event::Group(token, inner.ask_coordinator(node, request).await));
            }
            Effect::Commit { token, node, request } => self.ask(async move |inner| {
                let options = SendOptions { max_version: Some(LAST_VERSION_WITH_NAMES), ..SendOptions::default() };
                let key = ConnectionKey::coordinator(node);
                let sent = Instant::now();
                let answer = inner.cluster.send_with(key, &request, options).await;
                if answer.is_ok() {
                    inner.metrics.commit_answered(sent.elapsed(), Instant::now());
                }
                Event::Commit(token, answer)
            }),
            Effect::NameTopics { node, ids } => {
                self.ask(async move |inner| Event::TopicNames(inner.name_topics(node, ids).await));
            }
            Effect::FetchCommitted { node, partitions, member } => self.ask(async move |inner| {
                let answer = inner.ask_committed(node, &partitions, member).await;
                Event::Committed(partitions, answer)
            }),
            Effect::ListOffsets { node, request, asked } => {
                self.ask(async move |inner| Event::Offsets(asked, inner.cluster.send(node, &request).await));
            }
            Effect::EpochEnds { node, request, asked } => {
                self.ask(async move |inner| Event::EpochEnds(asked, inner.cluster.send(node, &request).await));
            }
            Effect::LookUpEnd(tp) => self.ask(async move |inner| {
                let end = inner.end_of(&tp).await;
                Event::EndOffset(tp, end)
            }),
            Effect::Fetch(call) => self.ask(async move |inner| {
                let options = SendOptions { max_version: call.max_version, ..SendOptions::default() };
                let key = ConnectionKey::fetch(call.node);
                let sent = Instant::now();
                let answer = inner.cluster.send_with(key, &call.request, options).await;
                if answer.is_ok() {
                    inner.metrics.fetch_answered(sent.elapsed(), Instant::now());
                }
                Event::Fetched(call.node, answer)
            }),
        }
    }

    fn ask<F>(self: &Arc<Self>, question: impl FnOnce(Arc<Self>) -> F)
    where
        F: Future<Output = Event> + Send + 'static,
    {
        let inner = Arc::clone(self);
        let answer = question(Arc::clone(self));
        self.cluster.spawn(async move {
            let work = async {
                let event = answer.await;
                inner.turn(|core, now| core.on(event, now));
            };
            if let Err(panicked) = caught(work).await {
                inner.fail(panicked);
            }
        });
    }

    /// Finds the coordinator, forgetting what is remembered of it.
    async fn find_coordinator(&self) -> Result<i32, ClientError> {
        let group_id = self.group_id()?;
        self.cluster.forget_coordinator(CoordinatorType::Group, group_id);
        Ok(self.cluster.coordinator(CoordinatorType::Group, group_id).await?.id)
    }

    pub(super) async fn ask_coordinator(&self, node: i32, request: GroupRequest) -> Result<GroupResponse, ClientError> {
        let key = ConnectionKey::coordinator(node);
        let options = SendOptions::default();
        let sent = Instant::now();
        let told = |answer, code: i16| {
            let is_fine = ErrorCode::from(code) == ErrorCode::None;
            self.metrics.group_answered(answer, is_fine, sent.elapsed(), Instant::now());
        };
        Ok(match request {
            GroupRequest::Join(join) => {
                let wait = self.config.max_poll_interval.saturating_add(JOIN_LAPSE);
                let timeout = Some(wait.max(self.config.common.request_timeout));
                let options = SendOptions { timeout, ..options };
                self.metrics.join_sent(sent);
                let joined = self.cluster.send_with(key, &join, options).await?;
                told(GroupAnswer::Join, joined.error_code);
                GroupResponse::Join(joined)
            }
            GroupRequest::Sync(sync) => {
                let synced = self.cluster.send_with(key, &sync, options).await?;
                told(GroupAnswer::Sync, synced.error_code);
                GroupResponse::Sync(synced)
            }
            GroupRequest::Heartbeat(beat) => {
                self.metrics.heartbeat_sent(sent);
                let answer = self.cluster.send_with(key, &beat, options).await?;
                told(GroupAnswer::Heartbeat, answer.error_code);
                GroupResponse::Heartbeat(answer)
            }
            GroupRequest::Leave(leave) => GroupResponse::Leave(self.cluster.send_with(key, &leave, options).await?),
            GroupRequest::ConsumerHeartbeat(beat) => {
                let connection = self.cluster.connection(key).await?;
                let version = connection.versions().pick::<ConsumerGroupHeartbeatRequest>(None)?;
                if beat.subscribed_topic_regex.as_ref().is_some_and(|regex| !regex.is_empty())
                    && version < FIRST_VERSION_WITH_PATTERNS
                {
                    return Err(ClientError::UnsupportedVersion {
                        api: ApiKey::ConsumerGroupHeartbeat,
                        client_min: FIRST_VERSION_WITH_PATTERNS,
                        client_max: ConsumerGroupHeartbeatRequest::MAX_VERSION,
                        broker: Some((ConsumerGroupHeartbeatRequest::MIN_VERSION, version)),
                    });
                }
                GroupResponse::ConsumerHeartbeat(self.cluster.send_with(key, &beat, options).await?)
            }
            GroupRequest::StreamsHeartbeat(beat) => {
                self.metrics.heartbeat_sent(sent);
                let answer = self.cluster.send_with(key, &*beat, options).await?;
                told(GroupAnswer::Heartbeat, answer.error_code);
                GroupResponse::StreamsHeartbeat(answer)
            }
        })
    }

    /// Asks a broker for the names of topics; those that it does not know are left out.
    async fn name_topics(&self, node: i32, ids: BTreeSet<Uuid>) -> Result<BTreeMap<Uuid, String>, ClientError> {
        let by_id = |topic_id| MetadataRequestTopic { topic_id, name: None, ..Default::default() };
        let request = MetadataRequest {
            topics: Some(ids.into_iter().map(by_id).collect()),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let response = self.cluster.send(node, &request).await?;
        let known = response.topics.into_iter().filter(|topic| topic.error_code == ErrorCode::None.code());
        Ok(known.filter_map(|topic| Some((topic.topic_id, topic.name?))).collect())
    }
}

/// An id that no other member has, as Kafka's clients draw one for each consumer (KIP-1082).
fn new_member_id() -> String {
    // Each has keys of its own, which the operating system draws.
    let draw = || u128::from(RandomState::new().build_hasher().finish());
    loop {
        let bits = (draw() << 64) | draw();
        if let Some(id) = Uuid::random_from(bits.to_be_bytes()) {
            return id.to_string();
        }
    }
}
