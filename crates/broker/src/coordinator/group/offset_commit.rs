//! OffsetCommit and OffsetDelete, and the two ways in which offsets go by themselves: expiry and a deleted topic.

use vltava_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use vltava_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use vltava_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use vltava_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use vltava_protocol::messages::{OffsetCommitRequest, OffsetDeleteRequest};
use vltava_protocol::{ErrorCode, Uuid};

use super::classic::{ClassicGroup, ClassicGroupState};
use super::offsets::CommittedOffset;
use super::records::CoordinatorRecord;
use super::shard::{Caller, GroupCoordinatorShard};
use super::timer_key::TimerKey;
use crate::coordinator::record::NO_PRODUCER_ID;
use crate::coordinator::shard::{Now, Shard};

/// The first version in which a commit to a group that is not there is told so (KIP-848).
const GROUP_ID_NOT_FOUND_MIN_VERSION: i16 = 9;
/// A retention time that leaves it to the broker.
const DEFAULT_RETENTION_TIME_MS: i64 = -1;

impl GroupCoordinatorShard {
    /// Stores offsets. The topics have name and id, and exist.
    ///
    /// # Errors
    ///
    /// Those of a request that does not come from a member of this generation; they hold for every partition.
    pub(crate) fn commit_offsets(
        &mut self,
        now: Now,
        context: &Caller,
        request: OffsetCommitRequest,
    ) -> Result<Vec<OffsetCommitResponseTopic>, ErrorCode> {
        self.core.now = now;
        self.validate_commit(now, context, &request)?;
        let expire_timestamp_ms = (request.retention_time_ms != DEFAULT_RETENTION_TIME_MS)
            .then(|| now.timestamp_ms.saturating_add(request.retention_time_ms));
        let mut accepted = Vec::new();
        let mut responses = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            responses.push(self.check_topic(&request.group_id, topic, now, expire_timestamp_ms, &mut accepted));
        }
        let encoded: Result<Vec<_>, _> = accepted.iter().map(CoordinatorRecord::encode).collect();
        // As Kafka answers a group whose id is longer than that of a record may be.
        let encoded = encoded.map_err(|_| ErrorCode::UnknownServerError)?;
        if !self.core.fits_in_batch(&encoded) {
            return Err(ErrorCode::UnknownServerError);
        }
        for (record, bytes) in accepted.into_iter().zip(encoded) {
            self.core.emit(Ok(bytes));
            let position = self.offsets.next_position();
            self.replay(position, NO_PRODUCER_ID, record);
        }
        Ok(responses)
    }

    fn check_topic(
        &self,
        group_id: &str,
        topic: OffsetCommitRequestTopic,
        now: Now,
        expire_timestamp_ms: Option<i64>,
        accepted: &mut Vec<CoordinatorRecord>,
    ) -> OffsetCommitResponseTopic {
        let mut response = OffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            ..OffsetCommitResponseTopic::default()
        };
        for partition in topic.partitions {
            let metadata = partition.committed_metadata.unwrap_or_default();
            // Kafka counts UTF-16 units here, as Java's strings do.
            let error = if metadata.encode_utf16().count() > self.core.config.offset_metadata_max_bytes {
                ErrorCode::OffsetMetadataTooLarge
            } else {
                let offset = CommittedOffset {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch.max(-1),
                    metadata,
                    commit_timestamp_ms: now.timestamp_ms,
                    expire_timestamp_ms,
                    topic_id: topic.topic_id,
                };
                self.core.config.counters.offset_commits.increment();
                accepted.push(CoordinatorRecord::offset_commit(
                    group_id,
                    &topic.name,
                    partition.partition_index,
                    offset,
                ));
                ErrorCode::None
            };
            response.partitions.push(OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: error.code(),
                ..OffsetCommitResponsePartition::default()
            });
        }
        response
    }

    fn validate_commit(&mut self, now: Now, context: &Caller, request: &OffsetCommitRequest) -> Result<(), ErrorCode> {
        if let Some(group) = self.consumer_group(&request.group_id) {
            let partitions = request
                .topics
                .iter()
                .flat_map(|topic| topic.partitions.iter().map(|partition| (topic.topic_id, partition.partition_index)));
            let epoch = request.generation_id_or_member_epoch;
            return group.validate_commit(context.api_version, &request.member_id, epoch, partitions);
        }
        if let Some(group) = self.streams_group(&request.group_id) {
            let partitions = request
                .topics
                .iter()
                .flat_map(|topic| topic.partitions.iter().map(|partition| (&*topic.name, partition.partition_index)));
            let epoch = request.generation_id_or_member_epoch;
            return group.validate_commit(context.api_version, &request.member_id, epoch, partitions);
        }
        match self.group_at(now, &request.group_id) {
            // Whoever assigns partitions by hand may store offsets under a group that has no members.
            None if request.generation_id_or_member_epoch < 0 => Ok(()),
            None if context.api_version >= GROUP_ID_NOT_FOUND_MIN_VERSION => Err(ErrorCode::GroupIdNotFound),
            None => Err(ErrorCode::IllegalGeneration),
            Some((group, core)) => {
                group.validate_commit(
                    &request.member_id,
                    request.group_instance_id.as_deref(),
                    request.generation_id_or_member_epoch,
                )?;
                if matches!(group.state, ClassicGroupState::Stable | ClassicGroupState::PreparingRebalance) {
                    group.renew_session(core, &request.member_id);
                }
                Ok(())
            }
        }
    }

    /// Removes offsets of topics that nobody in the group subscribes to.
    ///
    /// # Errors
    ///
    /// Those of the whole group: it is not there, or has members that are not consumers.
    pub(crate) fn delete_offsets(
        &mut self,
        now: Now,
        request: OffsetDeleteRequest,
    ) -> Result<Vec<OffsetDeleteResponseTopic>, ErrorCode> {
        if request.group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        self.core.now = now;
        let group = self.groups.get(request.group_id.as_str()).ok_or(ErrorCode::GroupIdNotFound)?;
        if !group.may_delete_offsets() {
            return Err(ErrorCode::NonEmptyGroup);
        }
        let topics: Vec<(OffsetDeleteRequestTopic, bool)> = request
            .topics
            .into_iter()
            .map(|topic| {
                let is_subscribed = group.is_subscribed_to(&topic.name);
                (topic, is_subscribed)
            })
            .collect();
        self.core.allow_division();
        Ok(topics
            .into_iter()
            .map(|(topic, is_subscribed)| self.delete_topic_offsets(&request.group_id, topic, is_subscribed))
            .collect())
    }

    fn delete_topic_offsets(
        &mut self,
        group_id: &str,
        topic: OffsetDeleteRequestTopic,
        is_subscribed: bool,
    ) -> OffsetDeleteResponseTopic {
        let error = if is_subscribed { ErrorCode::GroupSubscribedToTopic } else { ErrorCode::None };
        let mut response =
            OffsetDeleteResponseTopic { name: topic.name.clone(), ..OffsetDeleteResponseTopic::default() };
        for partition in topic.partitions {
            let index = partition.partition_index;
            let exists = self.offsets.get(group_id, &topic.name, index).is_some()
                || self.offsets.is_unstable(group_id, &topic.name, index);
            if exists && !is_subscribed {
                self.core.config.counters.offset_deletions.increment();
                self.emit_and_replay(CoordinatorRecord::offset_tombstone(group_id, &topic.name, index));
            }
            response
                .partitions
                .push(OffsetDeleteResponsePartition { partition_index: index, error_code: error.code() });
        }
        response
    }

    /// Removes the offsets of deleted topics.
    pub(crate) fn topics_deleted(&mut self, now: Now, topics: &[(String, Uuid)]) {
        self.core.now = now;
        self.core.allow_division();
        for (topic, topic_id) in topics {
            for (group, partition) in self.offsets.groups_with(topic, *topic_id) {
                self.emit_and_replay(CoordinatorRecord::offset_tombstone(&group, topic, partition));
            }
        }
    }

    /// Removes the offsets past their retention, and the groups that have nothing left.
    pub(super) fn expire_offsets(&mut self) {
        let now = self.core.now;
        let retention_ms = self.core.config.offsets_retention_ms;
        self.core.allow_division();
        let groups: Vec<_> = self.groups.keys().cloned().collect();
        for group_id in groups {
            let Some(group) = self.groups.get(&group_id) else { continue };
            let mut expired = Vec::new();
            let mut any_kept = self.offsets.has_open_transaction(&group_id);
            for (topic, partitions) in self.offsets.topics_of(&group_id) {
                let is_subscribed = group.is_subscribed_to(topic);
                for (partition, offset) in partitions {
                    let is_expired = !is_subscribed
                        && group.is_expired(offset, now.timestamp_ms, retention_ms)
                        && !self.offsets.is_unstable(&group_id, topic, partition);
                    if is_expired {
                        expired.push((topic.to_owned(), partition));
                    } else {
                        any_kept = true;
                    }
                }
            }
            let tombstones = if !any_kept && group.is_vacant() { group.tombstones() } else { Vec::new() };
            self.core.config.counters.offset_expirations.add(expired.len() as u64);
            for (topic, partition) in expired {
                self.emit_and_replay(CoordinatorRecord::offset_tombstone(&group_id, &topic, partition));
            }
            for record in tombstones {
                self.emit_and_replay(record);
            }
        }
        let interval = self.core.config.offsets_retention_check_interval_ms;
        self.core.timers.schedule(TimerKey::OffsetExpiration, now.elapsed_ms.saturating_add(interval));
    }
}

impl ClassicGroup {
    /// Checks that a commit comes from a member of this generation, or from outside to a group without members.
    fn validate_commit(
        &self,
        member_id: &str,
        group_instance_id: Option<&str>,
        generation_id: i32,
    ) -> Result<(), ErrorCode> {
        if generation_id < 0 && self.state == ClassicGroupState::Empty {
            return Ok(());
        }
        if generation_id >= 0 || !member_id.is_empty() || group_instance_id.is_some() {
            self.validate_member(member_id, group_instance_id)?;
            if generation_id != self.generation_id {
                return Err(ErrorCode::IllegalGeneration);
            }
        } else {
            return Err(ErrorCode::UnknownMemberId);
        }
        // The member has to fetch its assignment first: it may not own the partitions any more.
        if self.state == ClassicGroupState::CompletingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }
}
