//! The consumer's core: what is read, committed, looked up and told to the group, and when.
//!
//! A state machine without socket, clock and callback. [`Core::poll`] says what is to be done now, and what comes of that
//! goes into [`Core::on`]; `io` is the edge that does it. What only the application's `poll` may do comes out of
//! [`Core::step`]: rebalances happen there, since callbacks run on the caller, and records are returned there.
//!
//! - `core/application.rs`: the application's calls, `step` before all.
//! - `core/rebalance.rs`: the steps of a rebalance, whatever the group's protocol.
//! - `core/positions.rs`: where positions come from: committed offsets, resets, validation.
//! - `core/commits.rs`: commits, one after the other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use vltava_protocol::messages::{
    FetchResponse, ListOffsetsRequest, ListOffsetsResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};
use vltava_protocol::{ErrorCode, Uuid};

use super::assignor::RebalanceProtocol;
use super::coordinator::Coordinator;
use super::fetcher::{FetchCall, FetchNews, Fetcher};
use super::group_metadata::ConsumerGroupMetadata;
use super::membership::{self, GroupRequest, GroupResponse, Membership, MembershipConfig};
use super::position::{FetchPosition, LeaderAndEpoch};
use super::streams_group::StreamsMember;
use super::subscription::SubscriptionState;
use crate::config::ConsumerConfig;
use crate::metrics::FetchMetrics;
use crate::net::MetadataSnapshot;
use crate::{ClientError, TopicPartition};

mod application;
mod commits;
mod positions;
mod rebalance;

#[cfg(test)]
mod simulation;

pub(crate) use application::{Goodbye, Next};
use commits::Commits;
pub use commits::Offsets;
pub(crate) use commits::{CommitJob, Completion, LAST_VERSION_WITH_NAMES, Waiter};
use positions::Lookups;
pub(crate) use positions::{
    Committed, FoundOffset, Reset, by_leader, is_of_coordinator, offsets_request, read_offsets,
};
use rebalance::Rebalance;
pub(crate) use rebalance::{Call, Task};

/// What the core sees of the world around it.
pub(crate) trait World {
    /// What is known of the cluster.
    fn metadata(&self) -> Arc<MetadataSnapshot>;
    /// Changes with the metadata.
    fn metadata_version(&self) -> u64;
    /// Milliseconds since the epoch.
    fn unix_ms(&self) -> i64;
    /// The error of what had no more time, with what may be the reason.
    fn timed_out(&self, what: &str, limit: Duration) -> ClientError;
}

/// A member of a group whose coordinator assigns, as look-ups of committed offsets name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberEpoch {
    pub(crate) member_id: String,
    pub(crate) epoch: i32,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Whoever waits for the consumer has to look again.
    Wake,
    /// The metadata is wrong.
    RefreshMetadata,
    /// Keep the metadata of all topics, or only of those that are named.
    TrackAll(bool),
    /// Keep the metadata of other topics than before.
    Track { new: Vec<String>, gone: Vec<String> },
    /// A broker told who leads partitions (KIP-951).
    UpdateLeaders(FetchNews),
    /// Then [`Event::Coordinator`].
    FindCoordinator,
    /// Then [`Event::Group`].
    Group { token: u64, node: i32, request: GroupRequest },
    /// Then [`Event::TopicNames`].
    NameTopics { node: i32, ids: BTreeSet<Uuid> },
    /// Then [`Event::Commit`].
    Commit { token: u64, node: i32, request: OffsetCommitRequest },
    /// Then [`Event::Committed`].
    FetchCommitted { node: i32, partitions: BTreeSet<TopicPartition>, member: Option<MemberEpoch> },
    /// Then [`Event::Offsets`].
    ListOffsets { node: i32, request: ListOffsetsRequest, asked: BTreeMap<TopicPartition, Reset> },
    /// Then [`Event::EpochEnds`].
    EpochEnds { node: i32, request: OffsetForLeaderEpochRequest, asked: Vec<(TopicPartition, FetchPosition)> },
    /// Then [`Event::EndOffset`].
    LookUpEnd(TopicPartition),
    /// Then [`Event::Fetched`].
    Fetch(FetchCall),
}

/// What came of an [`Effect`], with what was asked.
#[derive(Debug)]
pub(crate) enum Event {
    Coordinator(Result<i32, ClientError>),
    Group(u64, Result<GroupResponse, ClientError>),
    TopicNames(Result<BTreeMap<Uuid, String>, ClientError>),
    Commit(u64, Result<OffsetCommitResponse, ClientError>),
    Committed(BTreeSet<TopicPartition>, Result<Committed, ClientError>),
    Offsets(BTreeMap<TopicPartition, Reset>, Result<ListOffsetsResponse, ClientError>),
    EpochEnds(Vec<(TopicPartition, FetchPosition)>, Result<OffsetForLeaderEpochResponse, ClientError>),
    EndOffset(TopicPartition, Option<i64>),
    Fetched(i32, Result<FetchResponse, ClientError>),
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Core {
    config: Arc<ConsumerConfig>,
    subscription: SubscriptionState,
    fetcher: Fetcher,
    coordinator: Coordinator,
    /// `None` without `group.id`.
    membership: Option<Box<dyn Membership>>,
    group_metadata: Option<ConsumerGroupMetadata>,
    rebalance: Rebalance,
    commits: Commits,
    /// Counts what the group has assigned to the consumer and taken away.
    assignment: u64,
    lookups: Lookups,
    next_auto_commit: Instant,
    metadata: Arc<MetadataSnapshot>,
    /// `None` if the metadata has to be looked at again.
    metadata_version: Option<u64>,
    /// Topics whose metadata is kept.
    tracked: BTreeSet<String>,
    /// Whether that of all topics is kept.
    tracks_all: bool,
    /// Errors to be returned by the next `poll`.
    errors: VecDeque<ClientError>,
    /// Whether a fetch could be possible that was not before.
    fetch_wanted: bool,
    is_closing: bool,
    effects: Vec<Effect>,
}

impl Core {
    /// `protocol` is how the assignors give up partitions, `member_id` what a coordinator that assigns knows the member by,
    /// `streams` what a member of a streams group says of itself.
    pub(crate) fn new(
        config: Arc<ConsumerConfig>,
        protocol: RebalanceProtocol,
        member_id: String,
        streams: Option<StreamsMember>,
        now: Instant,
    ) -> Self {
        let (retry_backoff, retry_backoff_max) = (config.common.retry_backoff, config.common.retry_backoff_max);
        let membership = config.group_id.as_ref().map(|group_id| {
            let settings = MembershipConfig {
                group_id: group_id.clone(),
                group_instance_id: config.group_instance_id.clone(),
                group_protocol: config.group_protocol,
                member_id,
                remote_assignor: config.group_remote_assignor.clone(),
                rack_id: Some(config.client_rack.clone()).filter(|rack| !rack.is_empty()),
                protocol,
                session_timeout: config.session_timeout,
                rebalance_timeout: config.max_poll_interval,
                heartbeat_interval: config.heartbeat_interval,
                retry_backoff,
                retry_backoff_max,
            };
            membership::new(settings, streams, now)
        });
        let mut core = Self {
            subscription: SubscriptionState::new(config.auto_offset_reset),
            fetcher: Fetcher::new((&*config).into()),
            coordinator: Coordinator::new(retry_backoff, retry_backoff_max),
            membership,
            group_metadata: None,
            rebalance: Rebalance::default(),
            commits: Commits::default(),
            assignment: 0,
            lookups: Lookups::default(),
            next_auto_commit: now + config.auto_commit_interval,
            metadata: Arc::default(),
            metadata_version: None,
            tracked: BTreeSet::new(),
            tracks_all: false,
            errors: VecDeque::new(),
            fetch_wanted: false,
            is_closing: false,
            effects: Vec::new(),
            config,
        };
        core.group_metadata = core.outside_of_group();
        core
    }

    /// The place of a consumer that is in no generation of its group.
    fn outside_of_group(&self) -> Option<ConsumerGroupMetadata> {
        let instance = self.config.group_instance_id.clone();
        Some(ConsumerGroupMetadata::new(self.config.group_id.as_ref()?, -1, "", instance))
    }

    /// Records from now on what is fetched.
    pub(crate) fn set_metrics(&mut self, metrics: FetchMetrics) {
        self.fetcher.set_metrics(metrics);
    }

    /// What is to be done now. Call it after every other call, when the metadata has changed, and at the
    /// [deadline](Self::next_deadline).
    pub(crate) fn poll(&mut self, now: Instant, world: &impl World) -> Vec<Effect> {
        if self.is_closing {
            return std::mem::take(&mut self.effects);
        }
        self.take_metadata(world);
        self.poll_membership(now);
        self.poll_commits(now, world);
        self.poll_positions(now, world);
        self.track_topics();
        self.fetch_wanted |= self.fetcher.next_deadline().is_some_and(|at| at <= now);
        if std::mem::take(&mut self.fetch_wanted) {
            let (calls, news) = self.fetcher.build_requests(now, &self.subscription, &self.metadata);
            self.effects.extend(calls.into_iter().map(Effect::Fetch));
            self.take_news(news);
        }
        if self.coordinator.poll(now) {
            self.effects.push(Effect::FindCoordinator);
        }
        std::mem::take(&mut self.effects)
    }

    /// When to poll at the latest. Nothing may be among it that is not over when it was done, or time stands still while a
    /// processor is busy.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if self.is_closing {
            return None;
        }
        let beat = self.membership.as_ref().and_then(|membership| membership.next_tick(&self.coordinator));
        let group = [beat, self.coordinator.next_deadline(), self.commits.next_deadline()];
        let reading = [
            self.subscription.next_retry(),
            self.fetcher.next_deadline(),
            self.lookups.next_deadline().filter(|_| self.subscription.has_initializing()),
        ];
        let reading = reading.into_iter().filter(|_| !self.subscription.is_idle());
        group.into_iter().chain(reading).flatten().min()
    }

    /// Takes in what came of an effect.
    pub(crate) fn on(&mut self, event: Event, now: Instant) {
        if self.is_closing {
            return;
        }
        match event {
            Event::Coordinator(found) => self.on_coordinator(found, now),
            Event::Group(token, answer) => {
                if let Some(membership) = &mut self.membership {
                    membership.on_response(now, token, answer, &mut self.coordinator);
                }
                self.follow_coordinator();
            }
            Event::TopicNames(found) => self.on_topic_names(found),
            Event::Commit(token, answer) => self.on_commit(token, answer, now),
            Event::Committed(asked, answer) => self.on_committed(&asked, answer, now),
            Event::Offsets(asked, answer) => self.on_offsets(&asked, answer, now),
            Event::EpochEnds(asked, answer) => self.on_epoch_ends(&asked, answer, now),
            Event::EndOffset(tp, end) => return self.on_end_offset(&tp, end),
            Event::Fetched(node, answer) => {
                let news = self.fetcher.on_response(now, node, answer, &mut self.subscription);
                self.take_news(news);
                self.fetch_wanted = true;
                if !self.fetcher.has_data() {
                    return;
                }
            }
        }
        self.wake();
    }

    fn on_coordinator(&mut self, found: Result<i32, ClientError>, now: Instant) {
        let found = found.map_err(|error| self.of_group(error));
        self.coordinator.on_found(now, &found);
        match found {
            Ok(_) => {
                if let Some(membership) = &mut self.membership {
                    membership.on_coordinator(now);
                }
            }
            Err(error) => {
                let is_needed = self.subscription.is_subscribed() || self.subscription.has_initializing();
                if !error.is_retriable() && is_needed && self.errors.is_empty() {
                    self.errors.push_back(error.clone());
                }
                self.commit_failed(error, now);
            }
        }
    }

    /// Takes over what a coordinator that assigns has told of the member's place in its group.
    fn follow_coordinator(&mut self) {
        let Some(membership) = self.membership.as_ref().filter(|membership| membership.follows_coordinator()) else {
            return;
        };
        let generation = membership.generation();
        if !generation.is_reset() {
            let group_id = membership.config().group_id.as_str();
            let (epoch, id) = (generation.id, generation.member_id.as_str());
            let instance = self.config.group_instance_id.clone();
            self.group_metadata = Some(ConsumerGroupMetadata::new(group_id, epoch, id, instance));
        }
    }

    /// The member as look-ups of committed offsets name it, while it is in a group whose coordinator assigns.
    pub(crate) fn member_epoch(&self) -> Option<MemberEpoch> {
        let membership = self.membership.as_ref().filter(|membership| membership.follows_coordinator())?;
        let generation = Some(membership.generation()).filter(|generation| !generation.is_reset())?;
        Some(MemberEpoch { member_id: generation.member_id.clone(), epoch: generation.id })
    }

    fn on_topic_names(&mut self, found: Result<BTreeMap<Uuid, String>, ClientError>) {
        match found {
            Ok(found) => {
                if let Some(membership) = &mut self.membership {
                    membership.on_topic_names(found);
                }
            }
            Err(error) => tracing::debug!(%error, "look-up of topics' names failed"),
        }
    }

    /// Takes over metadata that is newer than what is known.
    fn take_metadata(&mut self, world: &impl World) {
        let version = world.metadata_version();
        if self.metadata_version == Some(version) {
            return;
        }
        self.metadata_version = Some(version);
        self.metadata = world.metadata();
        if self.subscription.has_pattern() {
            let exclude_internal = self.config.exclude_internal_topics;
            let exists = |topic: &&Arc<_>| is_visible(topic, exclude_internal);
            let names: Vec<&str> = self.metadata.topics().filter(exists).map(|topic| &*topic.name).collect();
            self.subscription.update_pattern(names.into_iter());
        }
        self.note_unauthorized_topics();
        let metadata = &self.metadata;
        self.subscription.on_leaders(|tp| leader_of(metadata, tp));
        if let Some(membership) = &mut self.membership {
            membership.on_metadata(&topic_counts(&self.subscription, metadata), metadata);
            // Offsets of the one mean nothing in the other, and what is committed by name is committed for the other.
            self.subscription.on_deleted_topics(&membership.deleted_topics());
        }
        self.fetch_wanted = true;
        self.wake();
    }

    /// Has the application told of the topics that it reads and may not see.
    fn note_unauthorized_topics(&mut self) {
        let is_unauthorized = |name: &String| {
            let error = self.metadata.topic(name).and_then(|topic| topic.error);
            error == Some(ErrorCode::TopicAuthorizationFailed)
        };
        let topics: Vec<String> = self.subscription.metadata_topics().into_iter().filter(is_unauthorized).collect();
        let is_told = |error: &ClientError| error.code() == Some(ErrorCode::TopicAuthorizationFailed);
        if !topics.is_empty() && !self.errors.iter().any(is_told) {
            let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
            self.errors.push_back(ClientError::unauthorized_topics(&topics));
        }
    }

    /// Names the consumer's group in an error of access to it.
    fn of_group(&self, error: ClientError) -> ClientError {
        match &self.config.group_id {
            Some(group) => error.of_group(group),
            None => error,
        }
    }

    /// Keeps the metadata of what the consumer reads, and of nothing else.
    fn track_topics(&mut self) {
        if !self.subscription.take_topics_changed() {
            return;
        }
        let all = self.subscription.has_pattern();
        if std::mem::replace(&mut self.tracks_all, all) != all {
            self.effects.push(Effect::TrackAll(all));
        }
        let wanted = self.subscription.metadata_topics();
        self.effects.push(Effect::Track {
            new: wanted.difference(&self.tracked).cloned().collect(),
            gone: self.tracked.difference(&wanted).cloned().collect(),
        });
        self.tracked = wanted;
    }

    fn take_news(&mut self, news: FetchNews) {
        if news.update_metadata {
            self.effects.push(Effect::RefreshMetadata);
        }
        if !news.leaders.is_empty() {
            self.effects.push(Effect::UpdateLeaders(news));
        }
    }

    fn wake(&mut self) {
        if !matches!(self.effects.last(), Some(Effect::Wake)) {
            self.effects.push(Effect::Wake);
        }
    }
}

fn is_visible(topic: &crate::net::TopicMetadata, exclude_internal: bool) -> bool {
    topic.error.is_none() && !(exclude_internal && topic.is_internal)
}

/// Partition counts of the topics that the group reads, as far as they exist.
fn topic_counts(subscription: &SubscriptionState, metadata: &MetadataSnapshot) -> BTreeMap<String, usize> {
    let known = |name: String| {
        let count = metadata.topic(&name).filter(|topic| topic.error.is_none())?.partitions.len();
        Some((name, count))
    };
    subscription.metadata_topics().into_iter().filter_map(known).collect()
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
