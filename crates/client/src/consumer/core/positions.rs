//! Where positions come from: committed offsets, the reset policy, and leaders that say where epochs end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use vltava_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use vltava_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};

use super::{Core, Effect, World, leader_of};
use crate::config::{AutoOffsetReset, ConsumerConfig, IsolationLevel};
use crate::consumer::position::FetchPosition;
use crate::consumer::subscription::{EpochEnd, reset_timestamp};
use crate::net::MetadataSnapshot;
use crate::{ClientError, OffsetAndMetadata, TopicPartition};

/// An offset found by `ListOffsets`; its offset is negative if there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FoundOffset {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) leader_epoch: Option<i32>,
}

/// Committed offsets, `None` where there is none.
pub(crate) type Committed = BTreeMap<TopicPartition, Option<OffsetAndMetadata>>;

/// How a position is looked up that is to be reset.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reset {
    pub(crate) strategy: AutoOffsetReset,
    /// What `ListOffsets` is asked for it.
    pub(crate) timestamp: i64,
}

/// The look-up of committed offsets; those of single partitions have their state in the partition.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    is_under_way: bool,
    retry_at: Option<Instant>,
}

impl Lookups {
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.retry_at.filter(|_| !self.is_under_way)
    }
}

impl Core {
    /// Starts the look-ups that positions wait for.
    pub(super) fn poll_positions(&mut self, now: Instant, world: &impl World) {
        if self.subscription.is_idle() || self.subscription.has_all_positions() {
            return;
        }
        self.look_up_committed(now);
        self.reset_positions(now, world);
        self.validate_positions(now);
    }

    /// New partitions begin at the committed offset, or by the reset policy without a group.
    fn look_up_committed(&mut self, now: Instant) {
        self.lookups.retry_at = self.lookups.retry_at.filter(|at| now < *at);
        let Lookups { is_under_way, retry_at } = self.lookups;
        if is_under_way || retry_at.is_some() || !self.subscription.has_initializing() {
            return;
        }
        let partitions = self.subscription.initializing();
        if self.config.group_id.is_none() {
            self.reset_without_offset(&partitions, now);
        } else if let Some(node) = self.coordinator.want() {
            self.lookups.is_under_way = true;
            self.effects.push(Effect::FetchCommitted { node, partitions, member: self.member_epoch() });
        }
    }

    pub(super) fn on_committed(
        &mut self,
        asked: &BTreeSet<TopicPartition>,
        answer: Result<Committed, ClientError>,
        now: Instant,
    ) {
        self.lookups.is_under_way = false;
        let committed = match answer {
            Ok(committed) => committed,
            Err(error) => {
                tracing::debug!(%error, "look-up of committed offsets failed");
                if is_of_coordinator(&error) {
                    self.coordinator.lost(&error.to_string());
                }
                self.lookups.retry_at = Some(now + self.config.common.retry_backoff);
                // Asked again in the epoch that is current then; a heartbeat tells whether the member is out of the group.
                let is_of_epoch =
                    matches!(error.code(), Some(ErrorCode::StaleMemberEpoch | ErrorCode::UnknownMemberId));
                if !is_of_epoch {
                    self.note_failure(error);
                }
                return;
            }
        };
        for (tp, offset) in committed {
            let Some(offset) = offset else { continue };
            if let Some(partition) = self.subscription.get_mut(&tp).filter(|p| p.should_initialize()) {
                tracing::info!(partition = %tp, offset = offset.offset, "setting offset to the committed one");
                partition.seek_unvalidated(FetchPosition {
                    offset: offset.offset,
                    offset_epoch: offset.leader_epoch,
                    leader: leader_of(&self.metadata, &tp),
                });
            }
        }
        self.fetch_wanted = true;
        self.reset_without_offset(asked, now);
    }

    fn reset_without_offset(&mut self, partitions: &BTreeSet<TopicPartition>, now: Instant) {
        if let Err(error) = self.subscription.reset_initializing(partitions) {
            // Said again for every poll until the application seeks, but looked up only so often.
            self.lookups.retry_at = Some(now + self.config.common.retry_backoff);
            if self.errors.is_empty() {
                self.errors.push_back(error);
            }
        }
    }

    /// Looks up the positions that are to be reset.
    fn reset_positions(&mut self, now: Instant, world: &impl World) {
        let due = self.subscription.needing_reset(now);
        if due.is_empty() {
            return;
        }
        let wall = world.unix_ms();
        let resets = due.into_iter().filter_map(|(tp, strategy)| {
            let timestamp = reset_timestamp(strategy, wall)?;
            Some((tp, Reset { strategy, timestamp }))
        });
        let (by_leader, without_leader) = by_leader(&self.metadata, resets);
        if !without_leader.is_empty() {
            let retry_at = now + self.config.common.retry_backoff;
            self.subscription.wait_for_leader(without_leader.iter(), retry_at);
            self.effects.push(Effect::RefreshMetadata);
        }
        for (node, asked) in by_leader {
            // No second look-up while this one is under way.
            self.subscription.retry_later(asked.keys(), now + self.config.common.request_timeout);
            let times = asked.iter().map(|(tp, reset)| (tp, reset.timestamp));
            let request = offsets_request(&self.config, &self.metadata, times);
            self.effects.push(Effect::ListOffsets { node, request, asked });
        }
    }

    pub(super) fn on_offsets(
        &mut self,
        asked: &BTreeMap<TopicPartition, Reset>,
        answer: Result<ListOffsetsResponse, ClientError>,
        now: Instant,
    ) {
        let found = answer.and_then(|response| read_offsets(&response)).unwrap_or_else(|error| {
            tracing::debug!(%error, "look-up of offsets failed");
            self.note_failure(error);
            BTreeMap::new()
        });
        for (tp, &Reset { strategy, timestamp }) in asked {
            match found.get(tp) {
                // No record is that young: begin at the end.
                Some(found) if found.offset < 0 && timestamp >= 0 => {
                    if let Some(partition) = self.subscription.get_mut(tp)
                        && partition.reset_strategy() == Some(strategy)
                    {
                        partition.reset(AutoOffsetReset::Latest);
                    }
                }
                Some(found) if found.offset >= 0 => {
                    let leader = leader_of(&self.metadata, tp);
                    // Without an epoch, since there is nothing to validate.
                    let position = FetchPosition { offset: found.offset, offset_epoch: None, leader };
                    self.subscription.complete_reset(tp, strategy, position);
                }
                _ => self.try_again(tp, now),
            }
        }
        self.fetch_wanted = true;
    }

    /// Asks new leaders whether their logs agree with the positions (KIP-320).
    fn validate_positions(&mut self, now: Instant) {
        let mut by_leader: BTreeMap<i32, Vec<(TopicPartition, FetchPosition)>> = BTreeMap::new();
        for (tp, position) in self.subscription.needing_validation(now) {
            if let Some(leader) = position.leader.leader {
                by_leader.entry(leader).or_default().push((tp, position));
            }
        }
        for (node, asked) in by_leader {
            let later = now + self.config.common.request_timeout;
            self.subscription.retry_later(asked.iter().map(|(tp, _)| tp), later);
            self.effects.push(Effect::EpochEnds { node, request: epoch_request(&asked), asked });
        }
    }

    pub(super) fn on_epoch_ends(
        &mut self,
        asked: &[(TopicPartition, FetchPosition)],
        answer: Result<OffsetForLeaderEpochResponse, ClientError>,
        now: Instant,
    ) {
        self.fetch_wanted = true;
        let response = match answer {
            Ok(response) => response,
            Err(ClientError::UnsupportedVersion { .. }) => {
                for (tp, _) in asked {
                    if let Some(partition) = self.subscription.get_mut(tp) {
                        partition.complete_validation();
                    }
                }
                return;
            }
            Err(error) => {
                for (tp, _) in asked {
                    self.try_again(tp, now);
                }
                return self.note_failure(error);
            }
        };
        for topic in &response.topics {
            for end in &topic.partitions {
                let tp = TopicPartition::new(topic.topic.as_str(), end.partition);
                let Some(&(_, position)) = asked.iter().find(|(asked, _)| *asked == tp) else { continue };
                match ErrorCode::from(end.error_code) {
                    ErrorCode::None => {
                        let is_known = end.leader_epoch >= 0 && end.end_offset >= 0;
                        let end = is_known.then_some(EpochEnd { epoch: end.leader_epoch, offset: end.end_offset });
                        if let Some(truncation) = self.subscription.complete_validation(&tp, position, end) {
                            self.note_failure(truncation.into());
                            self.try_again(&tp, now);
                        }
                    }
                    code => {
                        tracing::debug!(partition = %tp, %code, "validation of a position failed");
                        if code == ErrorCode::TopicAuthorizationFailed {
                            self.note_failure(ClientError::broker(code));
                        }
                        self.try_again(&tp, now);
                    }
                }
            }
        }
    }

    /// The end of a partition was looked up for its lag.
    pub(super) fn on_end_offset(&mut self, tp: &TopicPartition, end: Option<i64>) {
        let Some(partition) = self.subscription.get_mut(tp) else { return };
        partition.end_offset_requested = false;
        if end.is_some() {
            match self.config.isolation_level {
                IsolationLevel::ReadCommitted => partition.last_stable_offset = end,
                IsolationLevel::ReadUncommitted => partition.high_watermark = end,
            }
        }
    }

    /// The look-up of a position failed: its leader may have moved.
    fn try_again(&mut self, tp: &TopicPartition, now: Instant) {
        self.effects.push(Effect::RefreshMetadata);
        self.subscription.retry_later(std::iter::once(tp), now + self.config.common.retry_backoff);
    }

    /// What does not pass is for the application.
    fn note_failure(&mut self, error: ClientError) {
        if !error.is_retriable() {
            self.errors.push_back(error);
        }
    }
}

/// Whether the error tells that the coordinator is another one or out of reach.
pub(crate) fn is_of_coordinator(error: &ClientError) -> bool {
    matches!(error.code(), None | Some(ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable))
}

/// Groups partitions by their leaders; those without one come second.
pub(crate) fn by_leader<T>(
    metadata: &MetadataSnapshot,
    partitions: impl IntoIterator<Item = (TopicPartition, T)>,
) -> (BTreeMap<i32, BTreeMap<TopicPartition, T>>, Vec<TopicPartition>) {
    let mut by_leader: BTreeMap<i32, BTreeMap<TopicPartition, T>> = BTreeMap::new();
    let mut without = Vec::new();
    for (tp, value) in partitions {
        match leader_of(metadata, &tp).leader {
            Some(leader) => {
                by_leader.entry(leader).or_default().insert(tp, value);
            }
            None => without.push(tp),
        }
    }
    (by_leader, without)
}

/// Asks the leader of all these partitions for offsets by time; partitions of a topic follow each other.
pub(crate) fn offsets_request<'a>(
    config: &ConsumerConfig,
    metadata: &MetadataSnapshot,
    times: impl Iterator<Item = (&'a TopicPartition, i64)>,
) -> ListOffsetsRequest {
    let mut topics: Vec<ListOffsetsTopic> = Vec::new();
    for (tp, timestamp) in times {
        let partition = ListOffsetsPartition {
            partition_index: tp.partition(),
            current_leader_epoch: leader_of(metadata, tp).epoch.unwrap_or(-1),
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
    ListOffsetsRequest {
        replica_id: -1,
        isolation_level: config.isolation_level.code(),
        topics,
        timeout_ms: i32::try_from(config.common.request_timeout.as_millis()).unwrap_or(i32::MAX),
        ..ListOffsetsRequest::default()
    }
}

/// The offsets of an answer; partitions with an error that may pass are left out.
pub(crate) fn read_offsets(
    response: &ListOffsetsResponse,
) -> Result<BTreeMap<TopicPartition, FoundOffset>, ClientError> {
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
