//! The consumer's state, and the tasks that carry out what it decides.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use vltava_protocol::messages::join_group_response::JoinGroupResponseMember;

use super::assignor::{PartitionAssignor, RebalanceProtocol};
use super::fetcher::{FetchConfig, Fetcher};
use super::group_metadata::ConsumerGroupMetadata;
use super::listener::RebalanceListener;
use super::membership::classic::{ClassicMembership, MembershipConfig};
use super::offset_commit::{CommitJob, CommitQueue, Waiter};
use super::position::LeaderAndEpoch;
use super::subscription::SubscriptionState;
use crate::config::ConsumerConfig;
use crate::net::{Cluster, CoordinatorType, MetadataSnapshot};
use crate::{ClientError, TopicPartition};

/// What `poll` has to do outside of the state's lock, in this order. A task is taken off the list
/// before it begins, so that nothing is done twice when a `poll` is dropped in between.
#[derive(Debug)]
pub(crate) enum Task {
    /// Call the listener.
    Revoked(Vec<TopicPartition>),
    /// Call the listener.
    Lost(Vec<TopicPartition>),
    /// Call the listener.
    Assigned(Vec<TopicPartition>),
    /// Own only these partitions; then the member may join.
    FinishPrepare { keep: BTreeSet<TopicPartition> },
    /// Own these partitions, new ones without fetching until the listener knows of them.
    Apply { assignment: BTreeSet<TopicPartition>, added: BTreeSet<TopicPartition> },
    /// The listener knows: fetch.
    Enable(BTreeSet<TopicPartition>),
    /// Give the new assignment to the assignor.
    Notify { protocol: String, assignment: super::assignor::Assignment },
    /// Tell the subscription to the coordinator.
    Join,
    /// Assign partitions to the members.
    Assign { protocol: String, members: Vec<JoinGroupResponseMember>, skip: bool },
}

/// All that changes.
pub(crate) struct State {
    pub(crate) subscription: SubscriptionState,
    pub(crate) fetcher: Fetcher,
    /// `None` without `group.id`.
    pub(crate) membership: Option<ClassicMembership>,
    pub(crate) group_metadata: Option<ConsumerGroupMetadata>,
    pub(crate) commits: CommitQueue,
    pub(crate) tasks: VecDeque<Task>,
    /// The first error of a task, returned when all are done.
    pub(crate) task_error: Option<ClientError>,
    /// Errors of look-ups, returned by the next `poll`.
    pub(crate) errors: VecDeque<ClientError>,
    /// The preparation of a rebalance waits for a commit until then.
    pub(crate) prepare_deadline: Option<Instant>,
    pub(crate) next_auto_commit: Instant,
    /// Whether a fetch could be possible that was not before.
    pub(crate) fetch_wanted: bool,
    pub(crate) committed_lookup: bool,
    pub(crate) committed_retry: Option<Instant>,
    pub(crate) metadata_version: u64,
    /// Topics whose metadata is kept.
    pub(crate) tracked: BTreeSet<String>,
    /// The subscription that the group knows of.
    pub(crate) joined_topics: Option<BTreeSet<String>>,
    pub(crate) is_leader: bool,
    /// Partition counts of the group's topics when the leader assigned.
    pub(crate) assigned_topics: Option<BTreeMap<String, usize>>,
    pub(crate) closing: bool,
}

/// A consumer, behind its handles.
pub(crate) struct Inner {
    pub(crate) config: ConsumerConfig,
    pub(crate) cluster: Cluster,
    pub(crate) state: Mutex<State>,
    /// Something happened that `poll` waits for.
    pub(crate) changed: Notify,
    /// The same for other calls, of which many may wait.
    pub(crate) progress: Notify,
    /// A deadline may have moved.
    pub(crate) deadlines: Notify,
    pub(crate) protocol: RebalanceProtocol,
    pub(crate) assignors: tokio::sync::Mutex<Vec<Box<dyn PartitionAssignor>>>,
    pub(crate) listener: Mutex<Option<Box<dyn RebalanceListener>>>,
    pub(crate) polling: AtomicBool,
    pub(crate) woken: AtomicBool,
    pub(crate) closed: AtomicBool,
}

impl Inner {
    pub(crate) fn new(
        config: ConsumerConfig,
        assignors: Vec<Box<dyn PartitionAssignor>>,
        now: Instant,
    ) -> Result<Self, ClientError> {
        let protocol = common_protocol(&assignors)?;
        let cluster = Cluster::new(&config.common)?;
        cluster.set_allow_auto_topic_creation(config.allow_auto_create_topics);
        let membership = config.group_id.as_ref().map(|group_id| {
            let settings = MembershipConfig {
                group_id: group_id.clone(),
                group_instance_id: config.group_instance_id.clone(),
                session_timeout: config.session_timeout,
                rebalance_timeout: config.max_poll_interval,
                heartbeat_interval: config.heartbeat_interval,
                retry_backoff: config.common.retry_backoff,
                retry_backoff_max: config.common.retry_backoff_max,
            };
            ClassicMembership::new(settings, now)
        });
        let state = State {
            subscription: SubscriptionState::new(config.auto_offset_reset),
            fetcher: Fetcher::new(fetch_config(&config)),
            group_metadata: config
                .group_id
                .as_ref()
                .map(|group_id| ConsumerGroupMetadata::new(group_id, -1, "", config.group_instance_id.clone())),
            membership,
            commits: CommitQueue::default(),
            tasks: VecDeque::new(),
            task_error: None,
            errors: VecDeque::new(),
            prepare_deadline: None,
            next_auto_commit: now + config.auto_commit_interval,
            fetch_wanted: false,
            committed_lookup: false,
            committed_retry: None,
            metadata_version: 0,
            tracked: BTreeSet::new(),
            joined_topics: None,
            is_leader: false,
            assigned_topics: None,
            closing: false,
        };
        Ok(Self {
            cluster,
            state: Mutex::new(state),
            changed: Notify::new(),
            progress: Notify::new(),
            deadlines: Notify::new(),
            protocol,
            assignors: tokio::sync::Mutex::new(assignors),
            listener: Mutex::new(None),
            polling: AtomicBool::new(false),
            woken: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            config,
        })
    }

    /// Wakes whoever waits for the state to change.
    pub(crate) fn touch(&self) {
        self.changed.notify_one();
        self.progress.notify_waiters();
    }

    pub(crate) fn is_in_session(&self) -> bool {
        let state = self.state.lock();
        !state.closing && state.membership.as_ref().is_some_and(|membership| membership.is_in_session(Instant::now()))
    }

    pub(crate) fn api_timeout(&self) -> Duration {
        self.config.common.api_timeout
    }

    /// # Errors
    /// [`ClientError::Closed`] after `close`.
    pub(crate) fn check_open(&self) -> Result<(), ClientError> {
        if self.closed.load(Ordering::Acquire) { Err(ClientError::Closed) } else { Ok(()) }
    }

    /// # Errors
    /// [`ClientError::InvalidState`] without `group.id`.
    pub(crate) fn group_id(&self) -> Result<&str, ClientError> {
        self.config
            .group_id
            .as_deref()
            .ok_or_else(|| ClientError::state("`group.id` is needed to subscribe and to commit offsets"))
    }

    /// Carries out what the state wants: sends requests, looks up positions.
    pub(crate) fn drive(self: &Arc<Self>, state: &mut State, now: Instant) {
        self.send_group_requests(state);
        if state.closing {
            return;
        }
        self.look_up_positions(state, now);
        if state.fetch_wanted {
            state.fetch_wanted = false;
            self.send_fetches(state, now);
        }
        self.deadlines.notify_one();
    }

    /// Takes over metadata that is newer than what the state knows.
    pub(crate) fn take_metadata(&self, state: &mut State) {
        let version = *self.cluster.subscribe().borrow();
        if version == state.metadata_version {
            return;
        }
        state.metadata_version = version;
        let snapshot = self.cluster.metadata();
        if state.subscription.has_pattern() {
            let exclude_internal = self.config.exclude_internal_topics;
            let names: Vec<String> = snapshot
                .topics()
                .filter(|topic| topic.error.is_none() && !(exclude_internal && topic.is_internal))
                .map(|topic| topic.name.to_string())
                .collect();
            state.subscription.update_pattern(names.iter().map(String::as_str));
        }
        state.subscription.on_leaders(|tp| leader_of(&snapshot, tp));
        state.fetch_wanted = true;
        let now_topics = state.topic_snapshot(&snapshot);
        let changed = state.assigned_topics.as_ref().is_some_and(|then| *then != now_topics);
        if changed && let Some(membership) = &mut state.membership {
            membership.request_rejoin_if_necessary("cached metadata has changed");
        }
    }

    /// Keeps the metadata of what the consumer reads, and of nothing else.
    pub(crate) fn track_topics(&self, state: &mut State) {
        self.cluster.track_all(state.subscription.has_pattern());
        let wanted = state.subscription.metadata_topics();
        self.cluster.untrack(state.tracked.difference(&wanted).map(String::as_str));
        self.cluster.track(wanted.difference(&state.tracked).map(String::as_str));
        state.tracked = wanted;
    }

    /// Queues a commit and has it worked on.
    pub(crate) fn push_commit(self: &Arc<Self>, state: &mut State, job: CommitJob) {
        if state.commits.push(job) {
            let inner = Arc::clone(self);
            self.cluster.runtime().spawn(async move { inner.work_on_commits().await });
        }
    }

    /// Commits the positions if it is time to.
    pub(crate) fn maybe_auto_commit(self: &Arc<Self>, state: &mut State, now: Instant) {
        if !self.config.enable_auto_commit || now < state.next_auto_commit || state.closing {
            return;
        }
        state.next_auto_commit = now + self.config.auto_commit_interval;
        let offsets = state.subscription.all_consumed();
        if !offsets.is_empty() {
            let deadline = now + self.config.auto_commit_interval.max(self.config.common.request_timeout);
            let job = CommitJob { offsets: Arc::new(offsets), waiter: Waiter::Auto, retry: false, deadline };
            self.push_commit(state, job);
        }
    }

    /// Forgets the group's coordinator everywhere.
    pub(crate) fn forget_coordinator(&self) {
        if let Some(group_id) = &self.config.group_id {
            self.cluster.forget_coordinator(CoordinatorType::Group, group_id);
        }
    }
}

impl State {
    /// With `auto.offset.reset` none the next poll would tell that an offset is missing, which by now is there or looked
    /// for.
    pub(crate) fn forget_missing_offsets(&mut self) {
        let missing = self.subscription.initializing();
        self.errors.retain(|error| match error {
            ClientError::NoOffsetForPartition { partitions } => partitions.iter().any(|tp| missing.contains(tp)),
            _ => true,
        });
    }

    /// Partition counts of the topics that the group reads, as far as they exist.
    pub(crate) fn topic_snapshot(&self, metadata: &MetadataSnapshot) -> BTreeMap<String, usize> {
        self.subscription
            .metadata_topics()
            .into_iter()
            .filter_map(|name| {
                let count = metadata.topic(&name).filter(|topic| topic.error.is_none())?.partitions.len();
                Some((name, count))
            })
            .collect()
    }

    /// When something has to be done without anything happening, and without `poll`. Nothing may be among it that is not
    /// over when it was done, or time stands still while a processor is busy.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let beat = self.membership.as_ref().and_then(ClassicMembership::next_tick);
        if self.closing || self.subscription.is_idle() {
            return beat;
        }
        let committed = self.committed_retry.filter(|_| !self.committed_lookup && self.subscription.has_initializing());
        [beat, self.subscription.next_retry(), self.fetcher.next_deadline(), committed].into_iter().flatten().min()
    }
}

/// The leader of a partition in the metadata.
pub(crate) fn leader_of(metadata: &MetadataSnapshot, tp: &TopicPartition) -> LeaderAndEpoch {
    match metadata.partition(tp.topic(), tp.partition()) {
        Some(known) if known.leader.is_some_and(|leader| metadata.brokers.contains_key(&leader)) => {
            LeaderAndEpoch { leader: known.leader, epoch: (known.leader_epoch >= 0).then_some(known.leader_epoch) }
        }
        _ => LeaderAndEpoch::default(),
    }
}

/// The highest rebalance protocol that all assignors support.
fn common_protocol(assignors: &[Box<dyn PartitionAssignor>]) -> Result<RebalanceProtocol, ClientError> {
    let supported = |protocol| assignors.iter().all(|a| a.supported_protocols().contains(&protocol));
    let mut names = BTreeSet::new();
    if let Some(twice) = assignors.iter().find(|a| !names.insert(a.name())) {
        return Err(ClientError::invalid(format!("assignor {} is given twice", twice.name())));
    }
    if supported(RebalanceProtocol::Cooperative) {
        Ok(RebalanceProtocol::Cooperative)
    } else if supported(RebalanceProtocol::Eager) {
        Ok(RebalanceProtocol::Eager)
    } else {
        let names: Vec<&str> = names.into_iter().collect();
        Err(ClientError::invalid(format!("assignors {} have no rebalance protocol in common", names.join(", "))))
    }
}

fn fetch_config(config: &ConsumerConfig) -> FetchConfig {
    FetchConfig {
        min_bytes: config.fetch_min_bytes,
        max_bytes: config.fetch_max_bytes,
        max_wait: config.fetch_max_wait,
        max_partition_bytes: config.max_partition_fetch_bytes,
        max_decompressed_batch_bytes: config.max_decompressed_batch_bytes,
        max_poll_records: config.max_poll_records,
        check_crcs: config.check_crcs,
        client_rack: config.client_rack.clone(),
        isolation: config.isolation_level,
        retry_backoff: config.common.retry_backoff,
        metadata_max_age: config.common.metadata_max_age,
    }
}
