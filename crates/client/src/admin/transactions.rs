//! Transactions: what producers have open, what the coordinators know of it, and how it is ended from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::describe_producers_request::TopicRequest;
use vltava_protocol::messages::describe_producers_response;
use vltava_protocol::messages::describe_transactions_response;
use vltava_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use vltava_protocol::messages::{
    DescribeProducersRequest, DescribeTransactionsRequest, InitProducerIdRequest, ListTransactionsRequest,
    WriteTxnMarkersRequest,
};

use super::offsets::by_topic;
use super::retry::Answers;
use super::{Admin, Results};
use crate::TopicPartition;
use crate::error::ClientError;
use crate::net::CoordinatorType;

/// What a partition's leader, or another replica, knows of one producer (KIP-664).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerState {
    /// The producer's id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i32,
    /// The sequence number of its last record, -1 where none is known.
    pub last_sequence: i32,
    /// When it wrote last, in ms since the epoch; -1 where it has not.
    pub last_timestamp: i64,
    /// The epoch of the transaction coordinator that wrote its last marker, where there has been one.
    pub coordinator_epoch: Option<i32>,
    /// Where its open transaction begins in the partition, where one is open.
    pub current_transaction_start_offset: Option<i64>,
}

/// The state in which a coordinator has a transaction; shown by Kafka's name of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TransactionState {
    /// Partitions have been added and it has not been ended.
    Ongoing,
    /// It is being aborted: markers are still to be written.
    PrepareAbort,
    /// It is being committed: markers are still to be written.
    PrepareCommit,
    /// It was aborted, all markers are written.
    CompleteAbort,
    /// It was committed, all markers are written.
    CompleteCommit,
    /// There has been none since the producer began.
    Empty,
    /// The producer is being fenced.
    PrepareEpochFence,
    /// One that this client does not know.
    Unknown,
}

impl TransactionState {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Ongoing, "Ongoing"),
        (Self::PrepareAbort, "PrepareAbort"),
        (Self::PrepareCommit, "PrepareCommit"),
        (Self::CompleteAbort, "CompleteAbort"),
        (Self::CompleteCommit, "CompleteCommit"),
        (Self::Empty, "Empty"),
        (Self::PrepareEpochFence, "PrepareEpochFence"),
        (Self::Unknown, "Unknown"),
    ];

    fn parse(name: &str) -> Self {
        Self::ALL.into_iter().find(|(_, known)| *known == name).map_or(Self::Unknown, |(state, _)| state)
    }

    /// Kafka's name of the state, such as `PrepareCommit`.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(state, _)| *state == self).map_or("Unknown", |(_, name)| name)
    }
}

impl fmt::Display for TransactionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What the coordinator of a transactional id knows (KIP-664).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionDescription {
    /// The broker that coordinates it.
    pub coordinator_id: i32,
    /// The state of its last transaction.
    pub state: TransactionState,
    /// The producer's id.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// After how many ms the coordinator aborts it.
    pub transaction_timeout_ms: i32,
    /// When the open transaction began, in ms since the epoch; `None` where none is open.
    pub transaction_start_time_ms: Option<i64>,
    /// The partitions of the open transaction, or those whose markers are still to be written.
    pub topic_partitions: BTreeSet<TopicPartition>,
}

/// A transactional id in a list (KIP-664).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionListing {
    /// `transactional.id`.
    pub transactional_id: String,
    /// The producer's id.
    pub producer_id: i64,
    /// The state of its last transaction.
    pub state: TransactionState,
}

/// Which transactional ids to list; all by default (KIP-664).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListTransactionsOptions {
    /// Those in one of these states; none for all.
    pub states: Vec<TransactionState>,
    /// Those of these producers; none for all.
    pub producer_ids: Vec<i64>,
    /// Those whose transaction has been open for longer than this (brokers since 3.8).
    pub duration: Option<Duration>,
    /// Those that match this regular expression of the broker's, which is RE2's (brokers since 4.1).
    pub transactional_id_pattern: Option<String>,
}

/// The transaction to abort, as a partition's leader knows it ([`Admin::describe_producers`], KIP-664).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbortTransactionSpec {
    /// The partition on which it is open.
    pub topic_partition: TopicPartition,
    /// The producer's id.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// An epoch of the coordinator that is not lower than the partition has seen; 0 where it has seen none.
    pub coordinator_epoch: i32,
}

impl fmt::Display for AbortTransactionSpec {
    /// As Java shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "AbortTransactionSpec(topicPartition={}, producerId={}, producerEpoch={}, coordinatorEpoch={})",
            self.topic_partition, self.producer_id, self.producer_epoch, self.coordinator_epoch
        )
    }
}

/// The producer id and epoch that a transactional id has after its producers were fenced (Kafka's `fenceProducers`): theirs
/// are older.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FencedProducer {
    /// The producer id.
    pub producer_id: i64,
    /// The epoch.
    pub epoch: i16,
}

impl Admin {
    /// The producers that have lately written to partitions, as the leaders know them, or as `broker` does.
    ///
    /// # Errors
    /// For each partition `UnknownTopicOrPartition`, `TopicAuthorizationFailed`, `NotLeaderOrFollower` (where `broker` has no
    /// replica of it), ….
    pub async fn describe_producers(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        broker: Option<i32>,
    ) -> Results<TopicPartition, Vec<ProducerState>> {
        let wanted: BTreeSet<TopicPartition> = partitions.into_iter().collect();
        self.retry_each(wanted.into_iter().collect(), async |partitions: Vec<TopicPartition>| {
            let (brokers, mut answers): (BTreeMap<i32, Vec<TopicPartition>>, Answers<_, _>) = match broker {
                Some(broker) => (BTreeMap::from([(broker, partitions)]), Vec::new()),
                None => self.leaders(partitions).await?,
            };
            for (node, partitions) in brokers {
                let topics = by_topic(&partitions, TopicPartition::partition);
                let topic = |(name, partition_indexes)| TopicRequest { name, partition_indexes, ..Default::default() };
                let request = DescribeProducersRequest {
                    topics: topics.into_iter().map(topic).collect(),
                    ..DescribeProducersRequest::default()
                };
                self.await_broker(node).await?;
                let response = self.cluster.send(node, &request).await?;
                for topic in response.topics {
                    for partition in topic.partitions {
                        let key = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                        let checked = ClientError::check(partition.error_code, partition.error_message.as_deref());
                        let states = || partition.active_producers.iter().map(ProducerState::of).collect();
                        let described = checked.map_err(|error| producers_error(error, &key, broker));
                        answers.push((key, described.map(|()| states())));
                    }
                }
            }
            Ok(answers)
        })
        .await
    }

    /// Transactional ids with the state of their transactions, as their coordinators know them.
    ///
    /// # Errors
    /// For each id `TransactionalIdNotFound`, `TransactionalIdAuthorizationFailed`, ….
    pub async fn describe_transactions(
        &self,
        transactional_ids: impl IntoIterator<Item = impl Into<String>>,
    ) -> Results<String, TransactionDescription> {
        self.for_each(transactional_ids, async |id: String| self.describe_transaction(&id).await).await
    }

    async fn describe_transaction(&self, id: &str) -> Result<TransactionDescription, ClientError> {
        let request = DescribeTransactionsRequest {
            transactional_ids: vec![id.to_owned()],
            ..DescribeTransactionsRequest::default()
        };
        let (coordinator, response) = self.send_to_coordinator(CoordinatorType::Transaction, id, &request).await?;
        let described = response.transaction_states.into_iter().find(|state| state.transactional_id == id);
        let described = described.ok_or_else(|| ClientError::unexpected("no transaction described"))?;
        let checked = self.check_coordinator(CoordinatorType::Transaction, id, described.error_code, None);
        checked.map_err(|error| {
            let why = match error.code() {
                Some(ErrorCode::TransactionalIdAuthorizationFailed) => "due to authorization failure",
                Some(ErrorCode::TransactionalIdNotFound) => "because the ID could not be found",
                _ => "due to unexpected error",
            };
            in_words(error, format!("DescribeTransactions request for transactionalId `{id}` failed {why}"))
        })?;
        Ok(TransactionDescription::of(described, coordinator))
    }

    /// The transactional ids that each broker coordinates, by the broker's id.
    ///
    /// # Errors
    /// If a broker cannot be asked, does not know a filter, or refuses.
    pub async fn list_transactions(
        &self,
        options: &ListTransactionsOptions,
    ) -> Result<BTreeMap<i32, Vec<TransactionListing>>, ClientError> {
        /// What stands for no filter.
        const ANY_DURATION: i64 = -1;
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let request = ListTransactionsRequest {
            state_filters: options.states.iter().map(|state| state.name().to_owned()).collect(),
            producer_id_filters: options.producer_ids.clone(),
            duration_filter: options.duration.map_or(ANY_DURATION, millis),
            transactional_id_pattern: options.transactional_id_pattern.clone().filter(|pattern| !pattern.is_empty()),
            ..ListTransactionsRequest::default()
        };
        let mut found = BTreeMap::new();
        for broker in self.all_brokers().await? {
            let asked = self.ask(broker, &request, |response| response.error_code).await;
            let response = asked.map_err(|error| {
                let why = "failed with an unexpected exception";
                in_words(error, format!("ListTransactions request sent to broker {broker} {why}"))
            })?;
            let listings = response.transaction_states.into_iter().map(|listed| TransactionListing {
                transactional_id: listed.transactional_id,
                producer_id: listed.producer_id,
                state: TransactionState::parse(&listed.transaction_state),
            });
            found.insert(broker, listings.collect());
        }
        Ok(found)
    }

    /// Writes an abort marker for a transaction that hangs: one that is open on a partition and that no coordinator will
    /// end any more. Needs the right to alter the cluster.
    ///
    /// # Errors
    /// `InvalidProducerEpoch` for an epoch that the producer has left, `TransactionCoordinatorFenced` for an epoch of the
    /// coordinator that is too low, `ClusterAuthorizationFailed`, ….
    pub async fn abort_transaction(&self, spec: &AbortTransactionSpec) -> Result<(), ClientError> {
        let partition = &spec.topic_partition;
        let topic = WritableTxnMarkerTopic {
            name: partition.topic().to_owned(),
            partition_indexes: vec![partition.partition()],
            ..WritableTxnMarkerTopic::default()
        };
        let marker = WritableTxnMarker {
            producer_id: spec.producer_id,
            producer_epoch: spec.producer_epoch,
            transaction_result: false,
            topics: vec![topic],
            coordinator_epoch: spec.coordinator_epoch,
            ..WritableTxnMarker::default()
        };
        let request = WriteTxnMarkersRequest { markers: vec![marker], ..WriteTxnMarkersRequest::default() };
        let mut results = self
            .retry_each(vec![partition.clone()], async |partitions: Vec<TopicPartition>| {
                let (leaders, mut answers) = self.leaders(partitions).await?;
                for node in leaders.into_keys() {
                    let response = self.cluster.send(node, &request).await?;
                    let markers = response.markers.iter().filter(|marker| marker.producer_id == spec.producer_id);
                    let topics =
                        markers.flat_map(|marker| &marker.topics).filter(|topic| topic.name == partition.topic());
                    let mut answered = topics.flat_map(|topic| &topic.partitions);
                    let answer = answered.find(|answer| answer.partition_index == partition.partition());
                    let answer = answer.ok_or_else(|| ClientError::unexpected("no marker written"))?;
                    answers.push((partition.clone(), ClientError::check(answer.error_code, None)));
                }
                Ok(answers)
            })
            .await;
        let result = results.remove(partition);
        let result = result.unwrap_or_else(|| Err(ClientError::unexpected("no marker written")));
        result.map_err(|error| {
            let why = match error.code() {
                Some(ErrorCode::ClusterAuthorizationFailed) => "failed due to cluster authorization error".to_owned(),
                Some(ErrorCode::InvalidProducerEpoch) => "failed due an invalid producer epoch".to_owned(),
                Some(ErrorCode::TransactionCoordinatorFenced) => format!(
                    "failed since the provided coordinator epoch {} has been fenced by the active coordinator",
                    spec.coordinator_epoch
                ),
                _ => format!("failed due to unexpected error: {error}"),
            };
            in_words(error, format!("WriteTxnMarkers request with {spec} {why}"))
        })
    }

    /// Fences the producers of transactional ids, and with it aborts what they have open: whoever uses one of the ids now is
    /// refused from then on, until it begins anew.
    ///
    /// # Errors
    /// For each id `TransactionalIdAuthorizationFailed`, ….
    pub async fn fence_producers(
        &self,
        transactional_ids: impl IntoIterator<Item = impl Into<String>>,
    ) -> Results<String, FencedProducer> {
        self.for_each(transactional_ids, async |id: String| self.fence_producer(&id).await).await
    }

    /// Aborts the open transaction of a transactional id and fences its producer (KIP-939).
    ///
    /// # Errors
    /// Those of [`Self::fence_producers`].
    pub async fn force_terminate_transaction(&self, transactional_id: &str) -> Result<(), ClientError> {
        self.retry(async || self.fence_producer(transactional_id).await).await.map(|_| ())
    }

    async fn fence_producer(&self, id: &str) -> Result<FencedProducer, ClientError> {
        let timeout = self.cluster.config().request_timeout.as_millis();
        let request = InitProducerIdRequest {
            transactional_id: Some(id.to_owned()),
            // The id is only fenced, and has no producer of this timeout; Java's client gives the same.
            transaction_timeout_ms: i32::try_from(timeout).unwrap_or(i32::MAX),
            producer_id: -1,
            producer_epoch: -1,
            ..InitProducerIdRequest::default()
        };
        let (_, response) = self.send_to_coordinator(CoordinatorType::Transaction, id, &request).await?;
        let checked = self.check_coordinator(CoordinatorType::Transaction, id, response.error_code, None);
        checked.map_err(|error| {
            let why = match error.code() {
                Some(ErrorCode::ClusterAuthorizationFailed) => "cluster authorization failure",
                Some(ErrorCode::TransactionalIdAuthorizationFailed) => "transactional ID authorization failure",
                _ => "unexpected error",
            };
            in_words(error, format!("InitProducerId request for transactionalId `{id}` failed due to {why}"))
        })?;
        Ok(FencedProducer { producer_id: response.producer_id, epoch: response.producer_epoch })
    }
}

impl ProducerState {
    fn of(state: &describe_producers_response::ProducerState) -> Self {
        Self {
            producer_id: state.producer_id,
            producer_epoch: state.producer_epoch,
            last_sequence: state.last_sequence,
            last_timestamp: state.last_timestamp,
            coordinator_epoch: (state.coordinator_epoch >= 0).then_some(state.coordinator_epoch),
            current_transaction_start_offset: (state.current_txn_start_offset >= 0)
                .then_some(state.current_txn_start_offset),
        }
    }
}

impl TransactionDescription {
    fn of(state: describe_transactions_response::TransactionState, coordinator_id: i32) -> Self {
        let partitions = state.topics.into_iter().flat_map(|data| {
            let topic: std::sync::Arc<str> = data.topic.into();
            data.partitions.into_iter().map(move |partition| TopicPartition::new(topic.clone(), partition))
        });
        Self {
            coordinator_id,
            state: TransactionState::parse(&state.transaction_state),
            producer_id: state.producer_id,
            producer_epoch: state.producer_epoch,
            transaction_timeout_ms: state.transaction_timeout_ms,
            transaction_start_time_ms: (state.transaction_start_time_ms >= 0)
                .then_some(state.transaction_start_time_ms),
            topic_partitions: partitions.collect(),
        }
    }
}

/// A broker's error in the words that Java's client has for it.
fn in_words(error: ClientError, words: String) -> ClientError {
    match error {
        ClientError::Broker { code, .. } => ClientError::Broker { code, message: Some(words.into()) },
        other => other,
    }
}

/// What `describe_producers` says of a partition. Who named the broker is told when it has no replica; else the leader has
/// moved, which passes.
fn producers_error(error: ClientError, partition: &TopicPartition, broker: Option<i32>) -> ClientError {
    let words = match (error.code(), broker) {
        (Some(ErrorCode::NotLeaderOrFollower), Some(broker)) => {
            // Not the code of a moved leader, which would be asked for again.
            let reason = format!("Failed to describe active producers for partition {partition} on brokerId {broker}");
            return ClientError::InvalidArgument { reason: reason.into() };
        }
        (Some(ErrorCode::NotLeaderOrFollower | ErrorCode::UnknownTopicOrPartition), None) => return error,
        (Some(ErrorCode::TopicAuthorizationFailed), _) => {
            let topic = partition.topic();
            format!(
                "Failed to describe active producers for partition {partition} due to authorization failure on topic `{topic}`"
            )
        }
        _ => format!("Failed to describe active producers for partition {partition} due to unexpected error"),
    };
    in_words(error, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_kafkas_names() {
        for (state, name) in TransactionState::ALL {
            assert_eq!(TransactionState::parse(name), state);
            assert_eq!(state.to_string(), name);
        }
        assert_eq!(TransactionState::parse("Prepared"), TransactionState::Unknown);
    }

    #[test]
    fn a_replica_that_is_not_there_is_no_moved_leader() {
        let partition = TopicPartition::new("t", 3);
        let moved = || ClientError::broker(ErrorCode::NotLeaderOrFollower);
        assert_eq!(producers_error(moved(), &partition, None).code(), Some(ErrorCode::NotLeaderOrFollower));
        let refused = producers_error(moved(), &partition, Some(7));
        assert!(!refused.is_retriable());
        assert!(refused.to_string().contains("partition t-3 on brokerId 7"), "{refused}");
    }

    #[test]
    fn a_specification_looks_as_in_java() {
        let spec = AbortTransactionSpec {
            topic_partition: TopicPartition::new("t", 3),
            producer_id: 12,
            producer_epoch: 2,
            coordinator_epoch: 0,
        };
        let text = "AbortTransactionSpec(topicPartition=t-3, producerId=12, producerEpoch=2, coordinatorEpoch=0)";
        assert_eq!(spec.to_string(), text);
    }
}
