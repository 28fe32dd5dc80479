//! Partitions of a transaction: added by the client or, since `transaction.version` 2, by the broker that gets its first
//! batch; and verified by a broker that gets a batch of a client that adds them itself (KIP-890).

use std::collections::{BTreeMap, BTreeSet};

use vltava_log::TopicPartition;
use vltava_protocol::ErrorCode;

use super::metadata::TransactionMetadata;
use super::shard::TransactionShard;
use super::state::TransactionState;
use crate::coordinator::shard::Now;

/// A producer, as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

impl TransactionShard {
    /// Adds partitions to a producer's transaction, which begins with the first. `client_version` is the
    /// `transaction.version` that the client follows.
    ///
    /// # Errors
    ///
    /// `INVALID_PRODUCER_ID_MAPPING` if the transactional id is not this producer's, `PRODUCER_FENCED` if its epoch is
    /// another one, `CONCURRENT_TRANSACTIONS` while the transaction before is being ended.
    pub(crate) fn add_partitions(
        &mut self,
        now: Now,
        transactional_id: &str,
        producer: Producer,
        partitions: &BTreeSet<TopicPartition>,
        client_version: i16,
    ) -> Result<(), ErrorCode> {
        let metadata = self.transaction_of(transactional_id, producer)?;
        if metadata.state == TransactionState::Ongoing && metadata.partitions.is_superset(partitions) {
            return Ok(());
        }
        let next = metadata.with_partitions(partitions.iter().cloned(), client_version, now.timestamp_ms);
        self.transit(now, transactional_id, next);
        Ok(())
    }

    /// Gives the partitions that are not in a producer's open transaction, with `TRANSACTION_ABORTABLE`.
    ///
    /// # Errors
    ///
    /// As [`TransactionShard::add_partitions`], for all of them.
    pub(crate) fn verify_partitions(
        &self,
        transactional_id: &str,
        producer: Producer,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, ErrorCode>, ErrorCode> {
        let metadata = self.transaction_of(transactional_id, producer)?;
        let missing = partitions.difference(&metadata.partitions);
        Ok(missing.map(|partition| (partition.clone(), ErrorCode::TransactionAbortable)).collect())
    }

    /// A producer's transaction that is not being ended.
    fn transaction_of(&self, transactional_id: &str, producer: Producer) -> Result<&TransactionMetadata, ErrorCode> {
        let metadata = self.transaction(transactional_id)?;
        if metadata.producer_id != producer.id {
            Err(ErrorCode::InvalidProducerIdMapping)
        } else if metadata.producer_epoch != producer.epoch {
            Err(ErrorCode::ProducerFenced)
        } else if metadata.state.decision().is_some() {
            Err(ErrorCode::ConcurrentTransactions)
        } else {
            Ok(metadata)
        }
    }
}
