//! TxnOffsetCommit: offsets that count when a producer's transaction is committed (KIP-447).

use vltava_protocol::messages::TxnOffsetCommitRequest;
use vltava_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use vltava_protocol::{ErrorCode, Uuid};

use super::classic::{ClassicGroup, ClassicGroupState};
use super::consumer::{ConsumerGroup, TopicMetadata};
use super::kind::Group;
use super::offsets::CommittedOffset;
use super::records::CoordinatorRecord;
use super::shard::GroupCoordinatorShard;
use super::streams::StreamsGroup;
use crate::coordinator::record::RecordBytes;
use crate::coordinator::shard::Now;

/// The answer to a commit, and the records of it in both forms.
pub(crate) type TransactionalCommit = (Vec<TxnOffsetCommitResponseTopic>, Vec<(RecordBytes, CoordinatorRecord)>);

/// The generation of somebody who is in no group.
const NO_GENERATION: i32 = -1;

impl GroupCoordinatorShard {
    /// Gives the records of offsets, to be appended in a transaction, and the answer. The topics exist. Nothing changes:
    /// the log may know that the producer is fenced.
    ///
    /// # Errors
    ///
    /// Those of a request that does not come from a member of this generation, or from nobody in particular; they hold for
    /// every partition.
    pub(crate) fn prepare_transactional_commit(
        &self,
        now: Now,
        request: &TxnOffsetCommitRequest,
        topics: &dyn TopicMetadata,
    ) -> Result<TransactionalCommit, ErrorCode> {
        self.validate_transactional(request, topics)?;
        let mut records = Vec::new();
        let mut responses = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut response =
                TxnOffsetCommitResponseTopic { name: topic.name.clone(), ..TxnOffsetCommitResponseTopic::default() };
            for partition in &topic.partitions {
                let metadata = partition.committed_metadata.clone().unwrap_or_default();
                // Kafka counts UTF-16 units here, as Java's strings do.
                let error = if metadata.encode_utf16().count() > self.core.config.offset_metadata_max_bytes {
                    ErrorCode::OffsetMetadataTooLarge
                } else {
                    let offset = CommittedOffset {
                        offset: partition.committed_offset,
                        leader_epoch: partition.committed_leader_epoch.max(-1),
                        metadata,
                        commit_timestamp_ms: now.timestamp_ms,
                        expire_timestamp_ms: None,
                        // Not known to this request, and not looked up by Kafka.
                        topic_id: Uuid::ZERO,
                    };
                    let index = partition.partition_index;
                    let record = CoordinatorRecord::offset_commit(&request.group_id, &topic.name, index, offset);
                    // As Kafka answers a group whose id is longer than that of a record may be.
                    let bytes = record.encode().map_err(|_| ErrorCode::UnknownServerError)?;
                    records.push((bytes, record));
                    self.core.config.counters.offset_commits.increment();
                    ErrorCode::None
                };
                response.partitions.push(TxnOffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: error.code(),
                    ..TxnOffsetCommitResponsePartition::default()
                });
            }
            responses.push(response);
        }
        Ok((responses, records))
    }

    fn validate_transactional(
        &self,
        request: &TxnOffsetCommitRequest,
        topics: &dyn TopicMetadata,
    ) -> Result<(), ErrorCode> {
        if request.group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        match self.groups.get(request.group_id.as_str()) {
            None if request.generation_id < 0 => Ok(()),
            None => Err(ErrorCode::IllegalGeneration),
            Some(Group::Classic(group)) => group.validate_transactional(request),
            Some(Group::Consumer(group)) => group.validate_transactional(request, topics),
            Some(Group::Streams(group)) => group.validate_transactional(request),
        }
    }
}

impl ClassicGroup {
    /// Old clients tell neither member nor generation; and a rebalance that goes on is no reason to refuse, as it is in
    /// OffsetCommit: the producer is fenced by its generation alone.
    fn validate_transactional(&self, request: &TxnOffsetCommitRequest) -> Result<(), ErrorCode> {
        let instance = request.group_instance_id.as_deref();
        if request.generation_id < 0
            && (self.state == ClassicGroupState::Empty || (request.member_id.is_empty() && instance.is_none()))
        {
            return Ok(());
        }
        self.validate_member(&request.member_id, instance)?;
        if request.generation_id == self.generation_id { Ok(()) } else { Err(ErrorCode::IllegalGeneration) }
    }
}

impl ConsumerGroup {
    /// The epoch of a member is checked as in OffsetCommit; clients know it as a generation.
    fn validate_transactional(
        &self,
        request: &TxnOffsetCommitRequest,
        topics: &dyn TopicMetadata,
    ) -> Result<(), ErrorCode> {
        if is_nobody(request) {
            return Ok(());
        }
        let partitions = request.topics.iter().flat_map(|topic| {
            let id = topics.topic(&topic.name).map_or(Uuid::ZERO, |(id, _)| id);
            topic.partitions.iter().map(move |partition| (id, partition.partition_index))
        });
        let checked = self.validate_epoch(&request.member_id, request.generation_id, partitions);
        checked.map_err(as_generation)
    }
}

impl StreamsGroup {
    /// As of a consumer group.
    fn validate_transactional(&self, request: &TxnOffsetCommitRequest) -> Result<(), ErrorCode> {
        if is_nobody(request) {
            return Ok(());
        }
        let partitions = request.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|partition| (topic.name.as_str(), partition.partition_index))
        });
        self.validate_epoch(&request.member_id, request.generation_id, partitions).map_err(as_generation)
    }
}

/// Whether a request comes from nobody in particular.
fn is_nobody(request: &TxnOffsetCommitRequest) -> bool {
    request.generation_id == NO_GENERATION && request.member_id.is_empty() && request.group_instance_id.is_none()
}

/// How clients know the error of an epoch.
fn as_generation(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::StaleMemberEpoch => ErrorCode::IllegalGeneration,
        error => error,
    }
}
