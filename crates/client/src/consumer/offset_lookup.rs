//! Looking up offsets: committed ones, by time, and where epochs end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use vltava_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use vltava_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use vltava_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetFetchRequest, OffsetFetchResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
};

use super::inner::{Inner, State, leader_of};
use super::offset_commit::LAST_VERSION_WITH_NAMES;
use super::position::{FetchPosition, LeaderAndEpoch};
use super::subscription::{LATEST_TIMESTAMP, LogTruncation, reset_timestamp};
use crate::config::{AutoOffsetReset, IsolationLevel};
use crate::net::{ConnectionKey, CoordinatorType};
use crate::{ClientError, OffsetAndMetadata, TopicPartition};

/// First version of `OffsetFetch` that asks for several groups.
const FIRST_VERSION_WITH_GROUPS: i16 = 8;

/// An offset found by `ListOffsets`; its offset is negative if there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FoundOffset {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) leader_epoch: Option<i32>,
}

/// Committed offsets, `None` where there is none.
pub(crate) type Committed = BTreeMap<TopicPartition, Option<OffsetAndMetadata>>;

impl Inner {
    /// Starts the look-ups that positions wait for.
    pub(crate) fn look_up_positions(self: &Arc<Self>, state: &mut State, now: Instant) {
        if state.closing || state.subscription.is_idle() || state.subscription.has_all_positions() {
            return;
        }
        self.look_up_committed(state, now);
        self.reset_positions(state, now);
        self.validate_positions(state, now);
    }

    /// New partitions begin at the committed offset, or by the reset policy without a group.
    fn look_up_committed(self: &Arc<Self>, state: &mut State, now: Instant) {
        let partitions = state.subscription.initializing();
        if partitions.is_empty() || state.committed_lookup || state.committed_retry.is_some_and(|at| now < at) {
            return;
        }
        state.committed_retry = None;
        if self.config.group_id.is_none() {
            self.reset_without_offset(state, &partitions);
            return;
        }
        state.committed_lookup = true;
        let inner = Arc::clone(self);
        self.cluster.runtime().spawn(async move {
            let result = inner.try_committed(&partitions).await;
            let mut state = inner.state.lock();
            let now = Instant::now();
            state.committed_lookup = false;
            match result {
                Ok(committed) => inner.on_committed(&mut state, &partitions, committed),
                Err(error) => {
                    tracing::debug!(%error, "look-up of committed offsets failed");
                    state.committed_retry = Some(now + inner.config.common.retry_backoff);
                    if !error.is_retriable() {
                        state.errors.push_back(error);
                    }
                }
            }
            state.fetch_wanted = true;
            inner.drive(&mut state, now);
            inner.touch();
        });
    }

    fn on_committed(&self, state: &mut State, asked: &BTreeSet<TopicPartition>, committed: Committed) {
        let metadata = self.cluster.metadata();
        for (tp, offset) in committed {
            let Some(offset) = offset else { continue };
            if let Some(partition) = state.subscription.get_mut(&tp).filter(|p| p.should_initialize()) {
                let leader = leader_of(&metadata, &tp);
                tracing::info!(partition = %tp, offset = offset.offset, "setting offset to the committed one");
                partition.seek_unvalidated(FetchPosition {
                    offset: offset.offset,
                    offset_epoch: offset.leader_epoch,
                    leader,
                });
            }
        }
        self.reset_without_offset(state, asked);
    }

    fn reset_without_offset(&self, state: &mut State, partitions: &BTreeSet<TopicPartition>) {
        if let Err(error) = state.subscription.reset_initializing(partitions) {
            // Said again for every poll until the application seeks, but looked up only so often.
            state.committed_retry = Some(Instant::now() + self.config.common.retry_backoff);
            if state.errors.is_empty() {
                state.errors.push_back(error);
            }
        }
    }

    /// Asks the coordinator for committed offsets, once.
    pub(crate) async fn try_committed(&self, partitions: &BTreeSet<TopicPartition>) -> Result<Committed, ClientError> {
        let group_id = self.group_id()?;
        let node = self.cluster.coordinator(CoordinatorType::Group, group_id).await?;
        let key = ConnectionKey::coordinator(node.id);
        let result = self.ask_committed(key, group_id, partitions).await;
        if let Err(error) = &result
            && (error.code().is_none()
                || matches!(error.code(), Some(ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable)))
        {
            self.forget_coordinator();
            if let Some(membership) = &mut self.state.lock().membership {
                membership.coordinator_unknown(&error.to_string());
            }
        }
        result
    }

    async fn ask_committed(
        &self,
        key: ConnectionKey,
        group_id: &str,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<Committed, ClientError> {
        let connection = self.cluster.connection(key).await?;
        let version = connection.versions().pick::<OffsetFetchRequest>(Some(LAST_VERSION_WITH_NAMES))?;
        let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for tp in partitions {
            by_topic.entry(tp.topic()).or_default().push(tp.partition());
        }
        let mut request = OffsetFetchRequest { require_stable: version >= 7, ..OffsetFetchRequest::default() };
        if version >= FIRST_VERSION_WITH_GROUPS {
            let topics = by_topic.into_iter().map(|(name, partition_indexes)| OffsetFetchRequestTopics {
                name: name.to_owned(),
                partition_indexes,
                ..Default::default()
            });
            request.groups = vec![OffsetFetchRequestGroup {
                group_id: group_id.to_owned(),
                topics: Some(topics.collect()),
                ..Default::default()
            }];
        } else {
            group_id.clone_into(&mut request.group_id);
            let topics = by_topic.into_iter().map(|(name, partition_indexes)| OffsetFetchRequestTopic {
                name: name.to_owned(),
                partition_indexes,
                ..Default::default()
            });
            request.topics = Some(topics.collect());
        }
        let response = connection.send_with(&request, Some(LAST_VERSION_WITH_NAMES), None).await?;
        read_committed(&response)
    }

    /// Looks up the positions that are to be reset.
    fn reset_positions(self: &Arc<Self>, state: &mut State, now: Instant) {
        let due = state.subscription.needing_reset(now);
        if due.is_empty() {
            return;
        }
        let wall = unix_ms();
        let strategies: BTreeMap<TopicPartition, AutoOffsetReset> = due.into_iter().collect();
        let times: BTreeMap<TopicPartition, i64> = strategies
            .iter()
            .filter_map(|(tp, strategy)| Some((tp.clone(), reset_timestamp(*strategy, wall)?)))
            .collect();
        let (by_leader, without_leader) = self.by_leader(times);
        state.subscription.wait_for_leader(without_leader.keys(), now + self.config.common.retry_backoff);
        if !without_leader.is_empty() {
            self.cluster.request_update();
        }
        for (node, times) in by_leader {
            // No second look-up while this one is under way.
            state.subscription.retry_later(times.keys(), now + self.config.common.request_timeout);
            let inner = Arc::clone(self);
            let strategies = strategies.clone();
            self.cluster.runtime().spawn(async move {
                let result = inner.list_offsets_of(node, &times).await;
                let mut state = inner.state.lock();
                inner.on_reset_offsets(&mut state, &times, &strategies, result);
                state.fetch_wanted = true;
                inner.drive(&mut state, Instant::now());
                inner.touch();
            });
        }
    }

    fn on_reset_offsets(
        &self,
        state: &mut State,
        asked: &BTreeMap<TopicPartition, i64>,
        strategies: &BTreeMap<TopicPartition, AutoOffsetReset>,
        result: Result<BTreeMap<TopicPartition, FoundOffset>, ClientError>,
    ) {
        let now = Instant::now();
        let metadata = self.cluster.metadata();
        let found = match result {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, "look-up of offsets failed");
                if !error.is_retriable() {
                    state.errors.push_back(error);
                }
                BTreeMap::new()
            }
        };
        for (tp, &asked_time) in asked {
            let Some(strategy) = strategies.get(tp) else { continue };
            match found.get(tp) {
                // No record is that young: begin at the end.
                Some(found) if found.offset < 0 && asked_time >= 0 => {
                    if let Some(partition) = state.subscription.get_mut(tp)
                        && partition.reset_strategy() == Some(*strategy)
                    {
                        partition.reset(AutoOffsetReset::Latest);
                    }
                }
                Some(found) if found.offset >= 0 => {
                    let leader = leader_of(&metadata, tp);
                    // Without an epoch, since there is nothing to validate.
                    let position = FetchPosition { offset: found.offset, offset_epoch: None, leader };
                    state.subscription.complete_reset(tp, *strategy, position);
                }
                _ => {
                    self.cluster.request_update();
                    state.subscription.retry_later(std::iter::once(tp), now + self.config.common.retry_backoff);
                }
            }
        }
    }

    /// Asks one broker for offsets by time; partitions with an error that may pass are left out.
    async fn list_offsets_of(
        &self,
        node: i32,
        times: &BTreeMap<TopicPartition, i64>,
    ) -> Result<BTreeMap<TopicPartition, FoundOffset>, ClientError> {
        let metadata = self.cluster.metadata();
        let mut topics: Vec<ListOffsetsTopic> = Vec::new();
        for (tp, &timestamp) in times {
            let partition = ListOffsetsPartition {
                partition_index: tp.partition(),
                current_leader_epoch: leader_of(&metadata, tp).epoch.unwrap_or(-1),
                timestamp,
                ..Default::default()
            };
            match topics.last_mut() {
                Some(last) if last.name == tp.topic() => last.partitions.push(partition),
                _ => topics.push(ListOffsetsTopic {
                    name: tp.topic().to_owned(),
                    partitions: vec![partition],
                    ..Default::default()
                }),
            }
        }
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: self.config.isolation_level.code(),
            topics,
            timeout_ms: i32::try_from(self.config.common.request_timeout.as_millis()).unwrap_or(i32::MAX),
            ..ListOffsetsRequest::default()
        };
        let response = self.cluster.send(node, &request).await?;
        read_offsets(&response)
    }

    /// Offsets by time, from all leaders, tried again until `deadline`.
    pub(crate) async fn list_offsets(
        &self,
        times: BTreeMap<TopicPartition, i64>,
        deadline: Instant,
    ) -> Result<BTreeMap<TopicPartition, FoundOffset>, ClientError> {
        let limit = deadline.saturating_duration_since(Instant::now());
        let within = self.cluster.within(deadline, limit, || "look-up of offsets".to_owned());
        within.wait(self.list_offsets_until(times, deadline)).await
    }

    async fn list_offsets_until(
        &self,
        times: BTreeMap<TopicPartition, i64>,
        deadline: Instant,
    ) -> Result<BTreeMap<TopicPartition, FoundOffset>, ClientError> {
        let started = Instant::now();
        let mut found = BTreeMap::new();
        let mut left = times;
        let mut attempt = 0;
        for topic in left.keys().map(|tp| tp.topic().to_owned()).collect::<BTreeSet<_>>() {
            if self.cluster.metadata().topic(&topic).is_none_or(|known| known.error.is_some()) {
                self.cluster.topic(&topic).await?;
            }
        }
        loop {
            let (by_leader, _) = self.by_leader(left.clone());
            let mut asked = Vec::new();
            for (node, times) in &by_leader {
                asked.push(self.list_offsets_of(*node, times));
            }
            for answer in asked {
                match answer.await {
                    Ok(some) => found.extend(some),
                    Err(error) if error.is_retriable() => tracing::debug!(%error, "look-up of offsets failed"),
                    Err(error) => return Err(error),
                }
            }
            left.retain(|tp, _| !found.contains_key(tp));
            if left.is_empty() {
                return Ok(found);
            }
            let pause = self.config.common.retry_pause(attempt);
            if Instant::now() + pause >= deadline {
                return Err(ClientError::timeout("look-up of offsets", started.elapsed()));
            }
            attempt += 1;
            tokio::time::sleep(pause).await;
            // The leaders may have moved.
            let _ = self.cluster.refresh().await;
        }
    }

    /// Looks up the end of a partition for its lag, unless that is under way.
    pub(crate) fn look_up_end(self: &Arc<Self>, state: &mut State, tp: &TopicPartition) {
        let Some(partition) = state.subscription.get_mut(tp) else { return };
        if std::mem::replace(&mut partition.end_offset_requested, true) {
            return;
        }
        let inner = Arc::clone(self);
        let tp = tp.clone();
        self.cluster.runtime().spawn(async move {
            let times = BTreeMap::from([(tp.clone(), LATEST_TIMESTAMP)]);
            let deadline = Instant::now() + inner.config.common.request_timeout;
            let found = inner.list_offsets(times, deadline).await;
            let mut state = inner.state.lock();
            let Some(partition) = state.subscription.get_mut(&tp) else { return };
            partition.end_offset_requested = false;
            if let Some(end) = found.ok().and_then(|found| found.get(&tp).map(|end| end.offset)) {
                match inner.config.isolation_level {
                    IsolationLevel::ReadCommitted => partition.last_stable_offset = Some(end),
                    IsolationLevel::ReadUncommitted => partition.high_watermark = Some(end),
                }
            }
        });
    }

    /// Groups partitions by their leaders; those without one come second.
    fn by_leader<T>(
        &self,
        partitions: BTreeMap<TopicPartition, T>,
    ) -> (BTreeMap<i32, BTreeMap<TopicPartition, T>>, BTreeMap<TopicPartition, T>) {
        let metadata = self.cluster.metadata();
        let mut by_leader: BTreeMap<i32, BTreeMap<TopicPartition, T>> = BTreeMap::new();
        let mut without = BTreeMap::new();
        for (tp, value) in partitions {
            match leader_of(&metadata, &tp).leader {
                Some(leader) => {
                    by_leader.entry(leader).or_default().insert(tp, value);
                }
                None => {
                    without.insert(tp, value);
                }
            }
        }
        (by_leader, without)
    }

    /// Asks new leaders whether their logs agree with the positions (KIP-320).
    fn validate_positions(self: &Arc<Self>, state: &mut State, now: Instant) {
        let due = state.subscription.needing_validation(now);
        let mut by_leader: BTreeMap<i32, Vec<(TopicPartition, FetchPosition)>> = BTreeMap::new();
        for (tp, position) in due {
            if let LeaderAndEpoch { leader: Some(leader), .. } = position.leader {
                by_leader.entry(leader).or_default().push((tp, position));
            }
        }
        for (node, positions) in by_leader {
            let later = now + self.config.common.request_timeout;
            state.subscription.retry_later(positions.iter().map(|(tp, _)| tp), later);
            let inner = Arc::clone(self);
            self.cluster.runtime().spawn(async move {
                let answer = inner.cluster.send(node, &epoch_request(&positions)).await;
                let mut state = inner.state.lock();
                inner.on_epoch_ends(&mut state, &positions, answer);
                state.fetch_wanted = true;
                inner.drive(&mut state, Instant::now());
                inner.touch();
            });
        }
    }

    fn on_epoch_ends(
        &self,
        state: &mut State,
        asked: &[(TopicPartition, FetchPosition)],
        answer: Result<OffsetForLeaderEpochResponse, ClientError>,
    ) {
        let retry_at = Instant::now() + self.config.common.retry_backoff;
        let response = match answer {
            Ok(response) => response,
            Err(error) => {
                if matches!(error, ClientError::UnsupportedVersion { .. }) {
                    for (tp, _) in asked {
                        if let Some(partition) = state.subscription.get_mut(tp) {
                            partition.complete_validation();
                        }
                    }
                } else {
                    state.subscription.retry_later(asked.iter().map(|(tp, _)| tp), retry_at);
                    if error.is_retriable() {
                        self.cluster.request_update();
                    } else {
                        state.errors.push_back(error);
                    }
                }
                return;
            }
        };
        for topic in &response.topics {
            for end in &topic.partitions {
                let tp = TopicPartition::new(topic.topic.as_str(), end.partition);
                let Some(&(_, position)) = asked.iter().find(|(asked, _)| *asked == tp) else { continue };
                match ErrorCode::from(end.error_code) {
                    ErrorCode::None => {
                        let known = end.leader_epoch >= 0 && end.end_offset >= 0;
                        let end = known.then_some((end.leader_epoch, end.end_offset));
                        if let Some(truncation) = state.subscription.complete_validation(&tp, position, end) {
                            state.errors.push_back(truncated(&truncation));
                            state.subscription.retry_later(std::iter::once(&tp), retry_at);
                        }
                    }
                    ErrorCode::TopicAuthorizationFailed => {
                        state.errors.push_back(ClientError::broker(ErrorCode::TopicAuthorizationFailed));
                        state.subscription.retry_later(std::iter::once(&tp), retry_at);
                    }
                    code => {
                        tracing::debug!(partition = %tp, %code, "validation of a position failed");
                        self.cluster.request_update();
                        state.subscription.retry_later(std::iter::once(&tp), retry_at);
                    }
                }
            }
        }
    }
}

fn truncated(truncation: &LogTruncation) -> ClientError {
    ClientError::LogTruncated {
        partition: truncation.partition.clone(),
        offset: truncation.position.offset,
        divergent: truncation.divergent.as_ref().map(|offset| offset.offset),
    }
}

fn epoch_request(positions: &[(TopicPartition, FetchPosition)]) -> OffsetForLeaderEpochRequest {
    let mut topics: Vec<OffsetForLeaderTopic> = Vec::new();
    for (tp, position) in positions {
        let partition = OffsetForLeaderPartition {
            partition: tp.partition(),
            current_leader_epoch: position.leader.epoch.unwrap_or(-1),
            leader_epoch: position.offset_epoch.unwrap_or(-1),
            ..Default::default()
        };
        match topics.last_mut() {
            Some(last) if last.topic == tp.topic() => last.partitions.push(partition),
            _ => topics.push(OffsetForLeaderTopic {
                topic: tp.topic().to_owned(),
                partitions: vec![partition],
                ..Default::default()
            }),
        }
    }
    // -1: asked by a consumer.
    OffsetForLeaderEpochRequest { replica_id: -1, topics, ..Default::default() }
}

fn read_offsets(response: &ListOffsetsResponse) -> Result<BTreeMap<TopicPartition, FoundOffset>, ClientError> {
    let mut found = BTreeMap::new();
    for topic in &response.topics {
        for partition in &topic.partitions {
            match ErrorCode::from(partition.error_code) {
                ErrorCode::None => {
                    let tp = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                    let offset = FoundOffset {
                        offset: partition.offset,
                        timestamp: partition.timestamp,
                        leader_epoch: (partition.leader_epoch >= 0).then_some(partition.leader_epoch),
                    };
                    found.insert(tp, offset);
                }
                code @ ErrorCode::TopicAuthorizationFailed => {
                    let message = Some(Arc::from(format!("not authorized to read topic {}", topic.name)));
                    return Err(ClientError::Broker { code, message });
                }
                code => tracing::debug!(topic = %topic.name, partition.partition_index, %code, "no offset"),
            }
        }
    }
    Ok(found)
}

fn read_committed(response: &OffsetFetchResponse) -> Result<Committed, ClientError> {
    let group = response.groups.first();
    ClientError::check(group.map_or(response.error_code, |group| group.error_code), None)?;
    let mut committed = Committed::new();
    let mut take = |topic: &str, partition: i32, offset: i64, epoch: i32, metadata: Option<&str>, code: i16| {
        if ErrorCode::from(code) != ErrorCode::None {
            let message = Some(Arc::from(format!("committed offset of {topic}-{partition}")));
            return Err(ClientError::Broker { code: ErrorCode::from(code), message });
        }
        let offset = (offset >= 0).then(|| OffsetAndMetadata {
            offset,
            leader_epoch: (epoch >= 0).then_some(epoch),
            metadata: metadata.unwrap_or_default().to_owned(),
        });
        committed.insert(TopicPartition::new(topic, partition), offset);
        Ok(())
    };
    for topic in group.into_iter().flat_map(|group| &group.topics) {
        for p in &topic.partitions {
            let metadata = p.metadata.as_deref();
            take(&topic.name, p.partition_index, p.committed_offset, p.committed_leader_epoch, metadata, p.error_code)?;
        }
    }
    for topic in &response.topics {
        for p in &topic.partitions {
            let metadata = p.metadata.as_deref();
            take(&topic.name, p.partition_index, p.committed_offset, p.committed_leader_epoch, metadata, p.error_code)?;
        }
    }
    Ok(committed)
}

/// Milliseconds since the epoch.
fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
