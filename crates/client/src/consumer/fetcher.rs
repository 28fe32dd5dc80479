//! Fetching: which requests to send to which broker, and what to return of the answers.
//!
//! There is at most one request in flight per broker. The next one is sent as soon as every
//! partition of that broker has less in the buffer than is asked for at a time ([`FetchSize`]), so
//! that data is on its way while the application works on what came before. The offset to fetch
//! from runs ahead of the position; a seek makes what is buffered or in flight worthless, which the
//! partition's `fetch_epoch` tells.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::fetch_response::PartitionData;
use vltava_protocol::messages::{FetchRequest, FetchResponse};
use vltava_protocol::record::Decompressor;
use vltava_protocol::wire::Records;

use super::position::FetchPosition;
use super::records::{ConsumerRecords, PartitionRecords};
use super::subscription::{FetchEpoch, PartitionState, SubscriptionState};
use crate::config::{AutoOffsetReset, ConsumerConfig, IsolationLevel};
use crate::metrics::{FetchMetrics, Standing};
use crate::net::{LeaderUpdate, MetadataSnapshot, Node};
use crate::{ClientError, TopicPartition};

mod completed;
mod session;
mod size;
mod tally;

#[cfg(test)]
mod tests;

use completed::{CompletedFetch, ReadOptions};
use session::{FetchSession, FetchTarget, LAST_VERSION_WITH_NAMES};
use size::FetchSize;
use tally::{AnswerId, Tally};

/// The settings of fetching.
#[derive(Debug, Clone)]
pub(crate) struct FetchConfig {
    pub(crate) min_bytes: i32,
    pub(crate) max_bytes: i32,
    pub(crate) max_wait: Duration,
    pub(crate) max_partition_bytes: i32,
    pub(crate) max_decompressed_batch_bytes: usize,
    pub(crate) max_poll_records: usize,
    pub(crate) check_crcs: bool,
    pub(crate) client_rack: String,
    pub(crate) isolation: IsolationLevel,
    pub(crate) retry_backoff: Duration,
    pub(crate) metadata_max_age: Duration,
}

impl From<&ConsumerConfig> for FetchConfig {
    fn from(config: &ConsumerConfig) -> Self {
        Self {
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
}

/// A request to send; its answer goes to [`Fetcher::on_response`].
#[derive(Debug)]
pub(crate) struct FetchCall {
    pub(crate) node: i32,
    pub(crate) request: FetchRequest,
    /// Upper limit of the version, where topics have no ids.
    pub(crate) max_version: Option<i16>,
}

/// What the answers told about the cluster.
#[derive(Debug, Default)]
pub(crate) struct FetchNews {
    /// The metadata is wrong.
    pub(crate) update_metadata: bool,
    /// Leaders that brokers told (KIP-951).
    pub(crate) leaders: Vec<LeaderUpdate>,
    pub(crate) nodes: Vec<Node>,
}

/// What was asked of a partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    fetch_epoch: FetchEpoch,
    offset: i64,
}

/// Where a partition's next fetch begins.
#[derive(Debug, Clone, Copy)]
struct Progress {
    next_offset: i64,
    /// What is buffered before it.
    bytes: usize,
    /// That has to be read first.
    hold: bool,
}

/// An error for the application.
#[derive(Debug)]
struct Failure {
    partition: TopicPartition,
    fetch_epoch: FetchEpoch,
    error: ClientError,
}

/// What is known of a partition's data beyond its position.
#[derive(Debug)]
struct Buffered {
    fetch_epoch: FetchEpoch,
    /// The offset to fetch next.
    next_offset: i64,
    bytes: usize,
    /// Number of answers in the queue.
    fetches: usize,
    /// Something was wrong behind what is buffered: look again when that has been read.
    hold: bool,
}

/// A request in flight: what was asked of which partition.
type InFlight = HashMap<TopicPartition, Asked>;

/// The fetcher of a consumer.
#[derive(Debug)]
pub(crate) struct Fetcher {
    config: FetchConfig,
    size: FetchSize,
    sessions: HashMap<i32, FetchSession>,
    in_flight: HashMap<i32, InFlight>,
    /// Brokers that failed, until when they are left alone.
    node_retry: HashMap<i32, Instant>,
    /// Partitions that failed, until when they are left alone.
    partition_retry: HashMap<TopicPartition, Instant>,
    queue: VecDeque<CompletedFetch>,
    buffered: HashMap<TopicPartition, Buffered>,
    /// Errors for the application, returned when the queue is empty.
    errors: VecDeque<Failure>,
    decompressor: Decompressor,
    /// Whether room was made in the buffer since this was asked last.
    made_room: bool,
    tally: Tally,
    metrics: FetchMetrics,
}

impl Fetcher {
    pub(crate) fn new(config: FetchConfig) -> Self {
        Self {
            size: FetchSize::new(config.max_partition_bytes),
            decompressor: Decompressor::with_limit(config.max_decompressed_batch_bytes),
            config,
            sessions: HashMap::new(),
            in_flight: HashMap::new(),
            node_retry: HashMap::new(),
            partition_retry: HashMap::new(),
            queue: VecDeque::new(),
            buffered: HashMap::new(),
            errors: VecDeque::new(),
            made_room: false,
            tally: Tally::default(),
            metrics: FetchMetrics::default(),
        }
    }

    /// Records from now on.
    pub(crate) fn set_metrics(&mut self, metrics: FetchMetrics) {
        self.metrics = metrics;
    }

    /// Records what was read since the last time.
    pub(crate) fn record(&mut self, now: Instant, subscription: &SubscriptionState) {
        let (answers, partitions) = self.tally.take();
        for answer in answers {
            self.metrics.read(answer.all, &answer.topics, now);
        }
        for tp in partitions {
            let standing = Standing {
                lag: subscription.lag(&tp, self.config.isolation),
                lead: subscription.lead(&tp),
                preferred_replica: subscription.get(&tp).and_then(|state| state.preferred_replica(now)),
            };
            self.metrics.stands(&tp, standing, now);
        }
    }

    /// Whether records or errors may be there to return.
    pub(crate) fn has_data(&self) -> bool {
        !self.queue.is_empty() || !self.errors.is_empty()
    }

    /// When a broker or partition that failed is tried again.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.node_retry.values().chain(self.partition_retry.values()).min().copied()
    }

    /// Requests for all brokers that can be asked now.
    pub(crate) fn build_requests(
        &mut self,
        now: Instant,
        subscription: &SubscriptionState,
        metadata: &MetadataSnapshot,
    ) -> (Vec<FetchCall>, FetchNews) {
        self.node_retry.retain(|_, until| *until > now);
        self.partition_retry.retain(|_, until| *until > now);
        let mut news = FetchNews::default();
        let mut full: HashSet<i32> = HashSet::new();
        let mut plan: BTreeMap<i32, Vec<(TopicPartition, FetchTarget)>> = BTreeMap::new();
        let mut asked: HashMap<i32, InFlight> = HashMap::new();
        let mut buffered_bytes: HashMap<i32, usize> = HashMap::new();
        for (tp, state) in subscription.fetchable_partitions() {
            let Some(position) = state.valid_position() else { continue };
            let Some(node) = self.node_for(now, tp, state, position, metadata, &mut news) else { continue };
            if self.in_flight.contains_key(&node) || self.node_retry.contains_key(&node) || full.contains(&node) {
                continue;
            }
            let Progress { next_offset, bytes, hold } = self.progress(tp, state, position);
            let sum = buffered_bytes.entry(node).or_default();
            *sum += bytes;
            let partition_full = self.size.is_full(bytes);
            let node_full = *sum >= self.config.max_bytes.unsigned_abs() as usize;
            if bytes > 0 && (partition_full || node_full) {
                full.insert(node);
                continue;
            }
            if hold || self.partition_retry.contains_key(tp) || self.has_error(tp, state.fetch_epoch) {
                continue;
            }
            let target = FetchTarget {
                topic_id: metadata.topic(tp.topic()).map(|topic| topic.topic_id).unwrap_or_default(),
                offset: next_offset,
                max_bytes: self.size.bytes(),
                leader_epoch: position.leader.epoch.unwrap_or(-1),
            };
            plan.entry(node).or_default().push((tp.clone(), target));
            let one = Asked { fetch_epoch: state.fetch_epoch, offset: next_offset };
            asked.entry(node).or_default().insert(tp.clone(), one);
        }
        plan.retain(|node, _| !full.contains(node));
        self.in_flight.extend(asked.into_iter().filter(|(node, _)| plan.contains_key(node)));
        let calls = plan.into_iter().map(|(node, targets)| self.call(node, &targets)).collect();
        (calls, news)
    }

    fn call(&mut self, node: i32, wanted: &[(TopicPartition, FetchTarget)]) -> FetchCall {
        let mut request = FetchRequest {
            max_wait_ms: i32::try_from(self.config.max_wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: self.config.min_bytes,
            max_bytes: self.config.max_bytes,
            isolation_level: self.config.isolation.code(),
            rack_id: self.config.client_rack.clone(),
            ..FetchRequest::default()
        };
        let ids = self.sessions.entry(node).or_default().build(wanted, &mut request);
        FetchCall { node, request, max_version: (!ids).then_some(LAST_VERSION_WITH_NAMES) }
    }

    /// The broker to fetch a partition from: the leader, or the replica that it prefers (KIP-392).
    fn node_for(
        &self,
        now: Instant,
        tp: &TopicPartition,
        state: &PartitionState,
        position: FetchPosition,
        metadata: &MetadataSnapshot,
        news: &mut FetchNews,
    ) -> Option<i32> {
        if let Some(replica) = state.preferred_replica(now) {
            let online = metadata
                .partition(tp.topic(), tp.partition())
                .is_some_and(|known| known.replicas.contains(&replica) && !known.offline.contains(&replica));
            if online && metadata.brokers.contains_key(&replica) {
                return Some(replica);
            }
            news.update_metadata = true;
        }
        if position.leader.leader.is_none() {
            news.update_metadata = true;
        }
        position.leader.leader
    }

    fn progress(&self, tp: &TopicPartition, state: &PartitionState, position: FetchPosition) -> Progress {
        match self.buffered.get(tp) {
            Some(known) if known.fetch_epoch == state.fetch_epoch && known.fetches > 0 => {
                Progress { next_offset: known.next_offset, bytes: known.bytes, hold: known.hold }
            }
            _ => Progress { next_offset: position.offset, bytes: 0, hold: false },
        }
    }

    fn has_error(&self, tp: &TopicPartition, epoch: FetchEpoch) -> bool {
        self.errors.iter().any(|failed| failed.partition == *tp && failed.fetch_epoch == epoch)
    }

    fn fail(&mut self, partition: TopicPartition, asked: Asked, error: ClientError) {
        self.errors.push_back(Failure { partition, fetch_epoch: asked.fetch_epoch, error });
    }

    fn fail_unreadable(&mut self, partition: TopicPartition, asked: Asked, reason: impl Into<Arc<str>>) {
        let (offset, reason) = (asked.offset, reason.into());
        let error = ClientError::RecordsUnreadable { partition: partition.clone(), offset, reason };
        self.fail(partition, asked, error);
    }

    /// Takes the answer of a broker.
    pub(crate) fn on_response(
        &mut self,
        now: Instant,
        node: i32,
        answer: Result<FetchResponse, ClientError>,
        subscription: &mut SubscriptionState,
    ) -> FetchNews {
        let mut news = FetchNews::default();
        let Some(asked) = self.in_flight.remove(&node) else { return news };
        let session = self.sessions.entry(node).or_default();
        let response = match answer {
            Ok(response) => response,
            Err(error) => {
                tracing::debug!(node, %error, "fetch failed");
                session.on_failure();
                for tp in asked.keys() {
                    if let Some(state) = subscription.get_mut(tp) {
                        state.clear_preferred_replica();
                    }
                }
                self.node_retry.insert(node, now + self.config.retry_backoff);
                news.update_metadata = true;
                return news;
            }
        };
        let mut parts: Vec<(Option<TopicPartition>, PartitionData)> = Vec::new();
        for topic in response.responses {
            let name = if topic.topic.is_empty() {
                session.topic_of(topic.topic_id).map(|tp| Arc::clone(tp.topic_arc()))
            } else {
                Some(Arc::from(topic.topic))
            };
            parts.extend(
                topic
                    .partitions
                    .into_iter()
                    .map(|data| (name.clone().map(|name| TopicPartition::new(name, data.partition_index)), data)),
            );
        }
        let named: Vec<Option<TopicPartition>> = parts.iter().map(|(tp, _)| tp.clone()).collect();
        let code = ErrorCode::from(response.error_code);
        let throttled = response.throttle_time_ms > 0;
        self.metrics.throttled(response.throttle_time_ms, now);
        if !session.on_response(code, response.session_id, throttled, &named) {
            if code != ErrorCode::None && code != ErrorCode::FetchSessionIdNotFound {
                self.node_retry.insert(node, now + self.config.retry_backoff);
                news.update_metadata |= code == ErrorCode::FetchSessionTopicIdError;
            }
            return news;
        }
        news.nodes = response
            .node_endpoints
            .iter()
            .filter_map(|one| Node::new(one.node_id, &one.host, one.port, one.rack.as_deref()))
            .collect();
        if !parts.is_empty() {
            self.size.on_answer(now);
        }
        let answer = self.tally.begin(named.iter().flatten());
        for (tp, data) in parts {
            if let Some(tp) = tp
                && let Some(&asked) = asked.get(&tp)
            {
                let part = Part { tp, answer, asked, data };
                self.on_partition(now, part, subscription, &mut news);
            }
        }
        self.tally.arrived(answer);
        news
    }

    fn on_partition(&mut self, now: Instant, part: Part, subscription: &mut SubscriptionState, news: &mut FetchNews) {
        let Part { tp, asked, data, .. } = &part;
        let Asked { fetch_epoch, offset } = *asked;
        let Some(state) = subscription.get_mut(tp) else { return };
        let Some(position) = state.valid_position().filter(|_| state.fetch_epoch == fetch_epoch) else { return };
        let Progress { next_offset, bytes, .. } = self.progress(tp, state, position);
        if next_offset != offset {
            return;
        }
        if ErrorCode::from(data.error_code) != ErrorCode::None {
            self.on_partition_error(now, part, subscription, news);
            return;
        }
        if data.high_watermark >= 0 {
            state.high_watermark = Some(data.high_watermark);
        }
        if data.last_stable_offset >= 0 {
            state.last_stable_offset = Some(data.last_stable_offset);
        }
        if data.log_start_offset >= 0 {
            state.log_start_offset = Some(data.log_start_offset);
        }
        state.end_offset_requested = false;
        if data.preferred_read_replica >= 0 {
            state.set_preferred_replica(data.preferred_read_replica, now + self.config.metadata_max_age);
        }
        let Part { tp, answer, asked, data } = part;
        let records = data.records.and_then(Records::into_memory).filter(|records| !records.is_empty());
        let Some(records) = records else { return };
        let size = records.len();
        match last_offset(&records) {
            Ok(Some(last)) if last >= offset => {
                // Those whose last batch was begun have no bytes left, and are not read to their end.
                let before = self.buffered.get(&tp).filter(|known| known.fetch_epoch == fetch_epoch);
                let fetches = before.map_or(0, |known| known.fetches) + 1;
                let (next_offset, bytes) = (last + 1, bytes + size);
                let buffered = Buffered { fetch_epoch, next_offset, bytes, fetches, hold: false };
                self.buffered.insert(tp.clone(), buffered);
                self.tally.expect(answer);
                self.queue.push_back(CompletedFetch::new(tp, answer, asked, records, data.aborted_transactions));
            }
            Ok(_) => self.fail_unreadable(tp, asked, "the broker sent data without a complete batch"),
            Err(error) => self.fail_unreadable(tp, asked, error.to_string()),
        }
    }

    fn on_partition_error(
        &mut self,
        now: Instant,
        part: Part,
        subscription: &mut SubscriptionState,
        news: &mut FetchNews,
    ) {
        let Part { tp, asked, data, .. } = part;
        let Asked { fetch_epoch, offset } = asked;
        let code = ErrorCode::from(data.error_code);
        subscription.move_to_end(&tp);
        let policy = subscription.reset_policy();
        let Some(state) = subscription.get_mut(&tp) else { return };
        tracing::debug!(partition = %tp, offset, %code, "fetch of a partition failed");
        self.partition_retry.insert(tp.clone(), now + self.config.retry_backoff);
        match code {
            ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch => {
                let leader = &data.current_leader;
                if leader.leader_id >= 0 && leader.leader_epoch >= 0 {
                    let (leader, leader_epoch) = (leader.leader_id, leader.leader_epoch);
                    news.leaders.push(LeaderUpdate { partition: tp.clone(), leader, leader_epoch });
                }
                news.update_metadata = true;
                state.clear_preferred_replica();
            }
            ErrorCode::ReplicaNotAvailable
            | ErrorCode::KafkaStorageError
            | ErrorCode::OffsetNotAvailable
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::InconsistentTopicId => {
                news.update_metadata = true;
                state.clear_preferred_replica();
            }
            ErrorCode::UnknownLeaderEpoch | ErrorCode::UnknownServerError => {}
            ErrorCode::OffsetOutOfRange => {
                if let Some(buffered) =
                    self.buffered.get_mut(&tp).filter(|b| b.fetches > 0 && b.fetch_epoch == fetch_epoch)
                {
                    buffered.hold = true;
                } else if state.clear_preferred_replica().is_some() {
                    // The follower may lag behind: ask the leader.
                } else if policy == AutoOffsetReset::None {
                    let error = ClientError::OffsetOutOfRange { partition: tp.clone(), offset };
                    self.fail(tp, asked, error);
                } else {
                    tracing::info!(partition = %tp, offset, "fetch position is out of range, resetting offset");
                    state.reset(policy);
                }
            }
            ErrorCode::TopicAuthorizationFailed => {
                let message = Some(Arc::from(format!("not authorized to read topic {}", tp.topic())));
                self.fail(tp, asked, ClientError::Broker { code, message });
            }
            ErrorCode::CorruptMessage => self.fail_unreadable(tp, asked, "the broker found the message corrupt"),
            code => {
                let message = Some(Arc::from(format!("while fetching {tp} at offset {offset}")));
                self.fail(tp, asked, ClientError::Broker { code, message });
            }
        }
    }

    /// Takes up to `max.poll.records` records out of the buffer and moves the positions behind them.
    ///
    /// # Errors
    /// What a broker said about a partition, [`ClientError::RecordsUnreadable`] or
    /// [`ClientError::DecompressedBatchTooLarge`]; only if there are no records before it.
    pub(crate) fn collect(&mut self, subscription: &mut SubscriptionState) -> Result<ConsumerRecords, ClientError> {
        let mut out = ConsumerRecords::default();
        let mut paused: VecDeque<CompletedFetch> = VecDeque::new();
        let options = ReadOptions { isolation: self.config.isolation, check_crcs: self.config.check_crcs };
        let mut failure = None;
        while out.len() < self.config.max_poll_records
            && let Some(mut fetch) = self.queue.pop_front()
        {
            let tp = fetch.partition.clone();
            let Some(state) = subscription.get(&tp).filter(|state| state.fetch_epoch == fetch.fetch_epoch) else {
                self.discard(&fetch);
                continue;
            };
            if state.paused {
                paused.push_back(fetch);
                continue;
            }
            let position = state.valid_position().filter(|p| p.offset == fetch.next_offset());
            let Some(position) = position.filter(|_| subscription.is_fetchable(&tp)) else {
                // Not wanted any more, though nobody has sought: fetch anew.
                self.discard(&fetch);
                if let Some(state) = subscription.get_mut(&tp) {
                    state.fetch_epoch.advance();
                }
                continue;
            };
            let mut records = PartitionRecords::new(tp.clone(), position.offset);
            let bytes_before = fetch.bytes_left;
            let max = self.config.max_poll_records - out.len();
            let result = fetch.read(max, options, &mut self.decompressor, &mut records);
            self.consumed(&tp, bytes_before - fetch.bytes_left, *result.as_ref().unwrap_or(&false));
            let moved = fetch.next_offset() > position.offset;
            if moved && let Some(state) = subscription.get_mut(&tp) {
                state.advance(FetchPosition {
                    offset: fetch.next_offset(),
                    offset_epoch: fetch.last_epoch(),
                    leader: position.leader,
                });
            }
            self.tally.read(&tp);
            if moved || !records.is_empty() {
                out.push(records);
            }
            if matches!(result, Ok(true)) {
                self.tally.over(fetch.answer, tp.topic_arc(), fetch.amount);
            }
            match result {
                Ok(true) if fetch.any_read() => subscription.move_to_end(&tp),
                Ok(true) => {}
                Ok(false) => self.queue.push_front(fetch),
                Err(error) => {
                    self.queue.push_front(fetch);
                    failure = Some(error);
                    break;
                }
            }
        }
        self.queue.append(&mut paused);
        if let Some(error) = failure.filter(|_| out.is_empty()) {
            return Err(error);
        }
        while out.is_empty()
            && let Some(failed) = self.errors.pop_front()
        {
            if subscription.get(&failed.partition).is_some_and(|state| state.fetch_epoch == failed.fetch_epoch) {
                return Err(failed.error);
            }
        }
        Ok(out)
    }

    /// Forgets an answer that is not read to its end.
    fn discard(&mut self, fetch: &CompletedFetch) {
        self.made_room = true;
        let (tp, epoch) = (&fetch.partition, fetch.fetch_epoch);
        self.tally.over(fetch.answer, tp.topic_arc(), fetch.amount);
        if self.buffered.get(tp).is_some_and(|buffered| buffered.fetch_epoch == epoch) {
            self.buffered.remove(tp);
        }
    }

    /// Takes note of what was read from the buffer.
    fn consumed(&mut self, tp: &TopicPartition, bytes: usize, finished: bool) {
        let Some(buffered) = self.buffered.get_mut(tp) else { return };
        let before = buffered.bytes;
        buffered.bytes = before.saturating_sub(bytes);
        self.made_room |= finished || (self.size.is_full(before) && !self.size.is_full(buffered.bytes));
        if finished {
            buffered.fetches = buffered.fetches.saturating_sub(1);
            if buffered.fetches == 0 {
                self.buffered.remove(tp);
            }
        }
    }

    /// The application waits for records, and there are none.
    pub(crate) fn on_wait(&mut self, now: Instant, subscription: &SubscriptionState) {
        let has_more = |tp: &TopicPartition, offset: i64| {
            let end = subscription.get(tp).and_then(|state| state.high_watermark);
            end.is_some_and(|end| end > offset)
        };
        let mut asked = self.in_flight.values().flatten();
        if asked.any(|(tp, asked)| has_more(tp, asked.offset)) {
            self.size.on_wait(now);
        }
    }

    /// Whether room was made in the buffer since the last call, so that a fetch may be possible.
    pub(crate) fn take_made_room(&mut self) -> bool {
        std::mem::take(&mut self.made_room)
    }

    /// Forgets all that is buffered for partitions that are not assigned any more.
    pub(crate) fn retain_assigned(&mut self, subscription: &SubscriptionState) {
        let current = |tp: &TopicPartition, epoch: FetchEpoch| {
            subscription.get(tp).is_some_and(|state| state.fetch_epoch == epoch)
        };
        self.queue.retain(|fetch| {
            let is_kept = current(&fetch.partition, fetch.fetch_epoch);
            if !is_kept {
                self.tally.over(fetch.answer, fetch.partition.topic_arc(), fetch.amount);
            }
            is_kept
        });
        let topics: BTreeSet<String> = subscription.assigned().iter().map(|tp| tp.topic().to_owned()).collect();
        self.metrics.retain(|tp| subscription.is_assigned(tp), |topic| topics.contains(topic));
        self.buffered.retain(|tp, buffered| current(tp, buffered.fetch_epoch));
        self.errors.retain(|failed| current(&failed.partition, failed.fetch_epoch));
        self.partition_retry.retain(|tp, _| subscription.is_assigned(tp));
    }

    /// Requests that close all sessions, by broker.
    pub(crate) fn close_sessions(&mut self) -> Vec<FetchCall> {
        let mut calls = Vec::new();
        for (node, mut session) in self.sessions.drain() {
            let mut request = FetchRequest::default();
            if session.close(&mut request) {
                calls.push(FetchCall { node, request, max_version: None });
            }
        }
        calls
    }
}

/// The answer for one partition.
struct Part {
    tp: TopicPartition,
    answer: AnswerId,
    asked: Asked,
    data: PartitionData,
}

/// The last offset of the last complete batch.
fn last_offset(records: &bytes::Bytes) -> Result<Option<i64>, vltava_protocol::record::RecordError> {
    let mut last = None;
    for batch in vltava_protocol::record::RecordBatches::new(records.clone()) {
        last = Some(batch?.last_offset());
    }
    Ok(last)
}
