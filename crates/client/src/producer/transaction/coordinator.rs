//! The edge to the coordinators: finds one, sends it a call's request, and puts the answer into the manager's terms.

use std::collections::BTreeMap;
use std::sync::Arc;

use vltava_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use vltava_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use vltava_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest, TxnOffsetCommitRequest,
};
use vltava_protocol::{ApiKey, ErrorCode};

use super::calls::{Answer, Call, NoAnswer, Offer, PartitionOfTransaction, Request};
use super::manager::TransactionVersion;
use crate::consumer::ConsumerGroupMetadata;
use crate::error::ClientError;
use crate::net::{ApiVersions, Cluster, Connection, ConnectionKey, CoordinatorType};
use crate::producer::sender::Identity;
use crate::{OffsetAndMetadata, TopicPartition};

/// Since version 4, AddPartitionsToTxn is the brokers' among each other.
const ADD_PARTITIONS_OF_CLIENTS: i16 = 3;
/// What is above belongs to `transaction.version` 2 (KIP-890).
const COMMIT_OFFSETS_BEFORE_TWO: i16 = 4;
const END_BEFORE_TWO: i16 = 4;

/// By whom and for how long.
#[derive(Debug, Clone)]
pub(crate) struct Coordinated {
    pub(crate) transactional_id: Arc<str>,
    /// `transaction.timeout.ms`.
    pub(crate) timeout_ms: i32,
}

impl Coordinated {
    /// Sends a call to its coordinator.
    pub(crate) async fn send(&self, cluster: &Cluster, call: &Call) -> Result<Answer, NoAnswer> {
        let (kind, key) = match call.request.group() {
            Some(group) => (CoordinatorType::Group, group),
            None => (CoordinatorType::Transaction, &*self.transactional_id),
        };
        if call.look_up {
            cluster.forget_coordinator(kind, key);
        }
        let node = cluster.coordinator(kind, key).await.map_err(NoAnswer::NotFound)?;
        let connection = cluster.connection_to(ConnectionKey::coordinator(node.id), &node).await;
        let connection = connection.map_err(NoAnswer::NotFound)?;
        let answer = self.ask(&connection, &call.request).await.map_err(NoAnswer::Lost)?;
        let offer = (kind == CoordinatorType::Transaction).then(|| offer(connection.versions()));
        Ok(Answer { offer, ..answer })
    }

    async fn ask(&self, connection: &Connection, request: &Request) -> Result<Answer, ClientError> {
        match request {
            Request::InitProducerId { identity } => self.init_producer_id(connection, *identity).await,
            Request::AddPartitions { identity, partitions } => {
                self.add_partitions(connection, *identity, partitions).await
            }
            Request::AddOffsets { identity, group } => {
                let request = AddOffsetsToTxnRequest {
                    transactional_id: self.transactional_id.to_string(),
                    producer_id: identity.id,
                    producer_epoch: identity.epoch,
                    group_id: group.clone(),
                    ..AddOffsetsToTxnRequest::default()
                };
                Ok(of_code(connection.send(&request).await?.error_code))
            }
            Request::CommitOffsets { identity, version, group, offsets } => {
                self.commit_offsets(connection, *identity, *version, group, offsets).await
            }
            Request::End { identity, version, commit } => {
                let request = EndTxnRequest {
                    transactional_id: self.transactional_id.to_string(),
                    producer_id: identity.id,
                    producer_epoch: identity.epoch,
                    committed: *commit,
                    ..EndTxnRequest::default()
                };
                let cap = (*version == TransactionVersion::One).then_some(END_BEFORE_TWO);
                let response = connection.send_with(&request, cap, None).await?;
                let identity = identity_of(response.producer_id, response.producer_epoch);
                Ok(Answer { identity, ..of_code(response.error_code) })
            }
        }
    }

    async fn init_producer_id(
        &self,
        connection: &Connection,
        identity: Option<Identity>,
    ) -> Result<Answer, ClientError> {
        let Identity { id, epoch } = identity.unwrap_or(Identity { id: -1, epoch: -1 });
        let request = InitProducerIdRequest {
            transactional_id: Some(self.transactional_id.to_string()),
            transaction_timeout_ms: self.timeout_ms,
            producer_id: id,
            producer_epoch: epoch,
            ..InitProducerIdRequest::default()
        };
        let response = connection.send(&request).await?;
        let identity = identity_of(response.producer_id, response.producer_epoch);
        Ok(Answer { identity, ..of_code(response.error_code) })
    }

    async fn add_partitions(
        &self,
        connection: &Connection,
        identity: Identity,
        partitions: &[PartitionOfTransaction],
    ) -> Result<Answer, ClientError> {
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for one in partitions {
            topics.entry(&one.topic).or_default().push(one.partition);
        }
        let topics = topics.into_iter().map(|(name, partitions)| AddPartitionsToTxnTopic {
            name: name.to_owned(),
            partitions,
            ..AddPartitionsToTxnTopic::default()
        });
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.transactional_id.to_string(),
            v3_and_below_producer_id: identity.id,
            v3_and_below_producer_epoch: identity.epoch,
            v3_and_below_topics: topics.collect(),
            ..AddPartitionsToTxnRequest::default()
        };
        let response = connection.send_with(&request, Some(ADD_PARTITIONS_OF_CLIENTS), None).await?;
        let codes = response.results_by_topic_v3_and_below.iter().flat_map(|topic| {
            let partitions = topic.results_by_partition.iter();
            partitions.map(|one| ((topic.name.as_str(), one.partition_index), one.partition_error_code))
        });
        let codes: BTreeMap<(&str, i32), i16> = codes.collect();
        Ok(of_partitions(partitions.iter().map(|one| codes.get(&(&*one.topic, one.partition)))))
    }

    async fn commit_offsets(
        &self,
        connection: &Connection,
        identity: Identity,
        version: TransactionVersion,
        group: &ConsumerGroupMetadata,
        offsets: &[(TopicPartition, OffsetAndMetadata)],
    ) -> Result<Answer, ClientError> {
        let mut topics: BTreeMap<&str, Vec<TxnOffsetCommitRequestPartition>> = BTreeMap::new();
        for (partition, offset) in offsets {
            topics.entry(partition.topic()).or_default().push(TxnOffsetCommitRequestPartition {
                partition_index: partition.partition(),
                committed_offset: offset.offset,
                committed_leader_epoch: offset.leader_epoch.unwrap_or(-1),
                committed_metadata: Some(offset.metadata.clone()),
                ..TxnOffsetCommitRequestPartition::default()
            });
        }
        let topics = topics.into_iter().map(|(name, partitions)| TxnOffsetCommitRequestTopic {
            name: name.to_owned(),
            partitions,
            ..TxnOffsetCommitRequestTopic::default()
        });
        let request = TxnOffsetCommitRequest {
            transactional_id: self.transactional_id.to_string(),
            group_id: group.group_id().to_owned(),
            producer_id: identity.id,
            producer_epoch: identity.epoch,
            generation_id: group.generation_id(),
            member_id: group.member_id().to_owned(),
            group_instance_id: group.group_instance_id().map(str::to_owned),
            topics: topics.collect(),
            ..TxnOffsetCommitRequest::default()
        };
        let cap = (version == TransactionVersion::One).then_some(COMMIT_OFFSETS_BEFORE_TWO);
        let response = connection.send_with(&request, cap, None).await?;
        let codes = response.topics.iter().flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|one| ((topic.name.as_str(), one.partition_index), one.error_code))
        });
        let codes: BTreeMap<(&str, i32), i16> = codes.collect();
        Ok(of_partitions(offsets.iter().map(|(one, _)| codes.get(&(one.topic(), one.partition())))))
    }
}

fn of_code(code: i16) -> Answer {
    Answer { codes: vec![ErrorCode::from(code)], ..Answer::default() }
}

/// The codes of what was asked for, in its order. What has none was not answered.
fn of_partitions<'a>(codes: impl Iterator<Item = Option<&'a i16>>) -> Answer {
    let codes = codes.map(|code| code.map_or(ErrorCode::UnknownServerError, |code| ErrorCode::from(*code)));
    Answer { codes: codes.collect(), ..Answer::default() }
}

fn identity_of(id: i64, epoch: i16) -> Option<Identity> {
    (id >= 0).then_some(Identity { id, epoch })
}

fn offer(versions: &ApiVersions) -> Offer {
    /// InitProducerId takes an identity since this version.
    const NEW_EPOCHS_SINCE: i16 = 3;
    let version = match versions.feature_level("transaction.version") {
        0 | 1 => TransactionVersion::One,
        _ => TransactionVersion::Two,
    };
    let highest = versions.range(ApiKey::InitProducerId).map_or(0, |(_, highest)| highest);
    Offer { version, has_new_epochs: highest >= NEW_EPOCHS_SINCE }
}
