//! DescribeTransactions and ListTransactions.

use std::collections::BTreeSet;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::describe_transactions_response::{TopicData, TransactionState as Described};
use vltava_protocol::messages::list_transactions_response::TransactionState as Listed;

use super::records::by_topic;
use super::shard::{Transaction, TransactionShard};
use super::state::TransactionState;
use crate::coordinator::pattern::Pattern;
use crate::coordinator::shard::Now;

/// Which transactions are listed.
#[derive(Debug, Default)]
pub(crate) struct TransactionFilter {
    /// All where empty.
    pub(crate) producer_ids: BTreeSet<i64>,
    /// None where all are.
    pub(crate) states: Option<Vec<TransactionState>>,
    /// Those that began longer ago than this, ms; all where negative.
    pub(crate) min_duration_ms: i64,
    /// Those whose whole id it matches.
    pub(crate) pattern: Option<Pattern>,
}

impl TransactionFilter {
    fn takes(&self, transactional_id: &str, transaction: &Transaction, now: Now) -> bool {
        let metadata = &transaction.metadata;
        let age_ms = now.timestamp_ms.saturating_sub(metadata.start_timestamp_ms);
        metadata.state != TransactionState::Dead
            && (self.producer_ids.is_empty() || self.producer_ids.contains(&metadata.producer_id))
            && self.states.as_ref().is_none_or(|states| states.contains(&metadata.state))
            && (self.min_duration_ms < 0 || age_ms > self.min_duration_ms)
            && self.pattern.as_ref().is_none_or(|pattern| pattern.matches(transactional_id))
    }
}

impl TransactionShard {
    /// Describes the transaction of an id. Of one that is being ended, the partitions are those without their marker.
    pub(crate) fn describe(&self, transactional_id: &str) -> Described {
        let described = Described { transactional_id: transactional_id.to_owned(), ..Described::default() };
        let found = self.transactions.get(transactional_id);
        let Some(transaction) = found.filter(|found| found.metadata.state != TransactionState::Dead) else {
            let error = ErrorCode::TransactionalIdNotFound;
            return Described { error_code: error.code(), ..described };
        };
        let metadata = &transaction.metadata;
        let is_decided = metadata.state.decision().is_some();
        let partitions = if is_decided { &transaction.unmarked } else { &metadata.partitions };
        let topics = by_topic(partitions).into_iter().map(|(topic, partitions)| TopicData {
            topic: topic.to_string(),
            partitions,
            ..TopicData::default()
        });
        Described {
            transaction_state: metadata.state.name().to_owned(),
            transaction_timeout_ms: metadata.timeout_ms,
            transaction_start_time_ms: metadata.start_timestamp_ms,
            producer_id: metadata.producer_id,
            producer_epoch: metadata.producer_epoch,
            topics: topics.collect(),
            ..described
        }
    }

    /// Lists transactions.
    pub(crate) fn list(&self, now: Now, filter: &TransactionFilter) -> Vec<Listed> {
        let taken = self.transactions.iter().filter(|(id, transaction)| filter.takes(id, transaction, now));
        let listed = taken.map(|(id, transaction)| Listed {
            transactional_id: id.to_string(),
            producer_id: transaction.metadata.producer_id,
            transaction_state: transaction.metadata.state.name().to_owned(),
            ..Listed::default()
        });
        listed.collect()
    }
}
