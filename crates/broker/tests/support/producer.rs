//! A transactional producer that speaks single protocol messages, of either generation.

use std::time::Instant;

use bytes::Bytes;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use vltava_protocol::messages::describe_transactions_response::TransactionState;
use vltava_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use vltava_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use vltava_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeTransactionsRequest, EndTxnRequest, EndTxnResponse,
    FindCoordinatorRequest, InitProducerIdRequest, InitProducerIdResponse, OffsetFetchRequest, TxnOffsetCommitRequest,
};
use vltava_protocol::record::{Compression, Decompressor, ProducerState, RecordBatches};

use crate::support::{Client, PATIENCE, batch_of, code, fetch_request, produce_request};

/// How a client of a generation speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    /// Clients before KIP-890: they add partitions, and keep their epoch.
    Old,
    /// Clients of `transaction.version` 2.
    New,
}

/// A producer with a transactional id.
pub(crate) struct Producer {
    pub(crate) client: Client,
    pub(crate) id: String,
    pub(crate) generation: Generation,
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) timeout_ms: i32,
    /// Of the next record of each partition.
    sequences: Vec<((String, i32), i32)>,
}

impl Producer {
    /// A producer that has its id.
    pub(crate) fn start(address: &str, id: &str, generation: Generation) -> Self {
        let mut producer = Self::new(address, id, generation);
        producer.init();
        producer
    }

    pub(crate) fn new(address: &str, id: &str, generation: Generation) -> Self {
        Self {
            client: Client::connect_to(address),
            id: id.to_owned(),
            generation,
            producer_id: -1,
            epoch: -1,
            timeout_ms: 60_000,
            sequences: Vec::new(),
        }
    }

    /// Connects to a broker that was started again.
    pub(crate) fn reconnect(&mut self, address: &str) {
        self.client = Client::connect_to(address);
    }

    pub(crate) fn find_coordinator(&mut self) {
        let request = FindCoordinatorRequest {
            key_type: 1,
            coordinator_keys: vec![self.id.clone()],
            ..FindCoordinatorRequest::default()
        };
        let found = until(|| self.client.call(6, &request), |answer| answer.coordinators[0].error_code == 0);
        assert_eq!(found.coordinators[0].key, self.id);
    }

    /// Asks for an id until there is one.
    pub(crate) fn init(&mut self) {
        self.find_coordinator();
        let request = self.init_request();
        let busy = [ErrorCode::ConcurrentTransactions, ErrorCode::CoordinatorLoadInProgress, ErrorCode::NotCoordinator];
        let answer =
            until(|| self.client.call(5, &request), |answer| !busy.contains(&ErrorCode::from(answer.error_code)));
        self.take(&answer);
    }

    pub(crate) fn init_request(&self) -> InitProducerIdRequest {
        InitProducerIdRequest {
            transactional_id: Some(self.id.clone()),
            transaction_timeout_ms: self.timeout_ms,
            producer_id: -1,
            producer_epoch: -1,
            ..InitProducerIdRequest::default()
        }
    }

    fn take(&mut self, answer: &InitProducerIdResponse) {
        assert_eq!(ErrorCode::from(answer.error_code), ErrorCode::None);
        self.become_producer(answer.producer_id, answer.producer_epoch);
    }

    pub(crate) fn become_producer(&mut self, producer_id: i64, epoch: i16) {
        if (self.producer_id, self.epoch) != (producer_id, epoch) {
            self.sequences.clear();
        }
        (self.producer_id, self.epoch) = (producer_id, epoch);
    }

    /// Adds a partition as clients of the old generation do.
    pub(crate) fn add_partition(&mut self, version: i16, topic: &str, partition: i32) -> ErrorCode {
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.id.clone(),
            v3_and_below_producer_id: self.producer_id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: topic.to_owned(),
                partitions: vec![partition],
                ..AddPartitionsToTxnTopic::default()
            }],
            ..AddPartitionsToTxnRequest::default()
        };
        let mut answer = self.client.call(version, &request);
        answer.results_by_topic_v3_and_below.remove(0).results_by_partition[0].partition_error_code.into()
    }

    /// Sends a record within the transaction, as the generation does, and repeats what may be repeated.
    pub(crate) fn send(&mut self, topic: &str, partition: i32, value: &str) -> ErrorCode {
        if self.generation == Generation::Old {
            let added = until(|| self.add_partition(3, topic, partition), is_final);
            if added != ErrorCode::None {
                return added;
            }
        }
        let sent = until(|| self.produce(topic, partition, value), is_final);
        if sent == ErrorCode::None {
            *self.sequence(topic, partition) += 1;
        }
        sent
    }

    fn sequence(&mut self, topic: &str, partition: i32) -> &mut i32 {
        let key = (topic.to_owned(), partition);
        let at = self.sequences.iter().position(|(at, _)| *at == key).unwrap_or_else(|| {
            self.sequences.push((key, 0));
            self.sequences.len() - 1
        });
        &mut self.sequences[at].1
    }

    /// Sends a record once, to a partition that is in the transaction or not.
    pub(crate) fn produce(&mut self, topic: &str, partition: i32, value: &str) -> ErrorCode {
        let sequence = *self.sequence(topic, partition);
        let state = ProducerState::transactional(self.producer_id, self.epoch, sequence);
        let batch = batch_of(&[value], Some(state), Compression::None);
        self.produce_batch(topic, partition, batch)
    }

    pub(crate) fn produce_batch(&mut self, topic: &str, partition: i32, batch: Bytes) -> ErrorCode {
        let mut request = produce_request(topic, partition, batch, -1);
        request.transactional_id = Some(self.id.clone());
        let version = match self.generation {
            Generation::Old => 11,
            Generation::New => 12,
        };
        self.client.call(version, &request).responses.remove(0).partition_responses[0].error_code.into()
    }

    /// Stores an offset of a group within the transaction.
    pub(crate) fn commit_offset(&mut self, group: &str, topic: &str, partition: i32, offset: i64) -> ErrorCode {
        if self.generation == Generation::Old {
            let request = AddOffsetsToTxnRequest {
                transactional_id: self.id.clone(),
                producer_id: self.producer_id,
                producer_epoch: self.epoch,
                group_id: group.to_owned(),
                ..AddOffsetsToTxnRequest::default()
            };
            let added = until(|| self.client.call(4, &request).error_code.into(), is_final);
            if added != ErrorCode::None {
                return added;
            }
        }
        let group_request =
            FindCoordinatorRequest { coordinator_keys: vec![group.to_owned()], ..FindCoordinatorRequest::default() };
        until(|| self.client.call(6, &group_request), |answer| answer.coordinators[0].error_code == 0);
        let request = self.offset_request(group, topic, partition, offset);
        let version = match self.generation {
            Generation::Old => 4,
            Generation::New => 5,
        };
        let once = || {
            let mut answer = self.client.call(version, &request);
            answer.topics.remove(0).partitions[0].error_code.into()
        };
        until(once, is_final)
    }

    pub(crate) fn offset_request(
        &self,
        group: &str,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> TxnOffsetCommitRequest {
        TxnOffsetCommitRequest {
            transactional_id: self.id.clone(),
            group_id: group.to_owned(),
            producer_id: self.producer_id,
            producer_epoch: self.epoch,
            generation_id: -1,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: topic.to_owned(),
                partitions: vec![TxnOffsetCommitRequestPartition {
                    partition_index: partition,
                    committed_offset: offset,
                    committed_leader_epoch: -1,
                    ..TxnOffsetCommitRequestPartition::default()
                }],
                ..TxnOffsetCommitRequestTopic::default()
            }],
            ..TxnOffsetCommitRequest::default()
        }
    }

    /// Ends the transaction, and takes the epoch for the next one.
    pub(crate) fn end(&mut self, committed: bool) -> ErrorCode {
        let answer = self.end_once(committed);
        let error = ErrorCode::from(answer.error_code);
        if error == ErrorCode::None && self.generation == Generation::New {
            self.become_producer(answer.producer_id, answer.producer_epoch);
        }
        error
    }

    /// Asks for the end of the transaction, without taking anything from the answer.
    pub(crate) fn end_once(&mut self, committed: bool) -> EndTxnResponse {
        let request = EndTxnRequest {
            transactional_id: self.id.clone(),
            producer_id: self.producer_id,
            producer_epoch: self.epoch,
            committed,
            ..EndTxnRequest::default()
        };
        let version = match self.generation {
            Generation::Old => 4,
            Generation::New => 5,
        };
        self.client.call(version, &request)
    }

    pub(crate) fn describe(&mut self) -> TransactionState {
        let request = DescribeTransactionsRequest {
            transactional_ids: vec![self.id.clone()],
            ..DescribeTransactionsRequest::default()
        };
        self.client.call(0, &request).transaction_states.remove(0)
    }

    /// Waits until the transaction is in a state.
    pub(crate) fn comes_to(&mut self, state: &str) -> TransactionState {
        until(|| self.describe(), |described| described.transaction_state == state)
    }
}

/// Whether asking again gives nothing else.
fn is_final(error: &ErrorCode) -> bool {
    !matches!(
        error,
        ErrorCode::ConcurrentTransactions
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::NotCoordinator
            | ErrorCode::NotEnoughReplicas
    )
}

/// Asks until the answer is as wanted.
pub(crate) fn until<T>(mut ask: impl FnMut() -> T, wanted: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "it never comes");
        std::thread::yield_now();
    }
}

/// What a reader of committed records sees of a partition, and the last stable offset.
pub(crate) fn committed(client: &mut Client, topic: &str, partition: i32) -> (Vec<String>, i64) {
    let mut values = Vec::new();
    let mut offset = 0;
    let mut decompressor = Decompressor::default();
    loop {
        let mut request = fetch_request(topic, &[(partition, offset)], 0);
        request.isolation_level = 1;
        let data = client.call(12, &request).responses.remove(0).partitions.remove(0);
        assert_eq!(data.error_code, 0);
        let aborted = data.aborted_transactions.clone().unwrap_or_default();
        let bytes = data.records.unwrap_or_default();
        let batches: Vec<_> = RecordBatches::new(bytes.memory().unwrap().clone()).map(Result::unwrap).collect();
        let Some(last) = batches.last() else { return (values, data.last_stable_offset) };
        offset = last.header().next_offset();
        for (at, batch) in batches.iter().enumerate() {
            let header = batch.header();
            // Aborted from its first offset to the next marker of its producer.
            let is_aborted = header.is_transactional()
                && aborted.iter().any(|transaction| {
                    let ends_between = batches[..at].iter().any(|earlier| {
                        let earlier = earlier.header();
                        earlier.is_control()
                            && earlier.producer_id() == header.producer_id()
                            && earlier.base_offset() > transaction.first_offset
                    });
                    transaction.producer_id == header.producer_id()
                        && transaction.first_offset <= header.base_offset()
                        && !ends_between
                });
            if header.is_control() || is_aborted {
                continue;
            }
            for record in batch.records(&mut decompressor).unwrap() {
                let value = record.unwrap().value().unwrap_or_default().to_vec();
                values.push(String::from_utf8(value).unwrap());
            }
        }
    }
}

/// The offset of a group that a consumer begins at: an error while a transaction may change it.
pub(crate) fn stable_offset(client: &mut Client, group: &str, topic: &str, partition: i32) -> Result<i64, ErrorCode> {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.to_owned(),
            member_epoch: -1,
            topics: Some(vec![OffsetFetchRequestTopics {
                name: topic.to_owned(),
                partition_indexes: vec![partition],
                ..OffsetFetchRequestTopics::default()
            }]),
            ..OffsetFetchRequestGroup::default()
        }],
        require_stable: true,
        ..OffsetFetchRequest::default()
    };
    let mut answer = client.call(9, &request);
    let group = answer.groups.remove(0);
    assert_eq!(group.error_code, code(ErrorCode::None));
    let partition = &group.topics[0].partitions[0];
    match ErrorCode::from(partition.error_code) {
        ErrorCode::None => Ok(partition.committed_offset),
        error => Err(error),
    }
}
