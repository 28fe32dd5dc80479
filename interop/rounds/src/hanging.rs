//! What an operator does beside Apache Kafka: transactions that its coordinator has given up are ended.
//!
//! A coordinator of Apache Kafka 4.3 that does not know a partition takes it for deleted, and leaves it out when it writes the
//! markers of a transaction. What was written there stays open for ever, and whoever reads what is committed waits for ever too.
//! `kafka-transactions find-hanging` and `abort` are for that; here the same is done as long as the rounds last, but only where
//! the coordinator says that it has aborted the transaction. One that has just started says nothing of what it has not loaded
//! yet, and what it has committed must not be aborted: that is told, and nobody can mend it.

use std::{collections::BTreeSet, time::Duration};

use vltava::client::{
    Admin, TopicPartition,
    admin::{AbortTransactionSpec, ListTransactionsOptions, TransactionState},
};

use crate::journal::Journal;

/// How long a transaction must be found hanging, at both ends of this time, until it is ended.
const LOOK: Duration = Duration::from_secs(5);

/// A transaction that is open on a partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Open {
    partition: TopicPartition,
    start_offset: i64,
    producer_id: i64,
    producer_epoch: i16,
    /// That of the last marker of the producer there.
    coordinator_epoch: i32,
    /// Whether its coordinator has committed it.
    committed: bool,
}

/// Ends what hangs, again and again. What cannot be asked now is asked the next time.
pub async fn end_again_and_again(admin: Admin, journal: Journal) {
    let mut before = BTreeSet::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let now = find(&admin).await.unwrap_or_default();
        for open in now.intersection(&before) {
            let Open { partition, start_offset, producer_id, .. } = open;
            let ended = if open.committed { "was committed".to_owned() } else { abort(&admin, open).await };
            journal.tell(format_args!(
                "a transaction of producer {producer_id} on {partition} hangs from {start_offset} on: {ended}"
            ));
        }
        before = now;
    }
}

async fn abort(admin: &Admin, open: &Open) -> String {
    let spec = AbortTransactionSpec {
        topic_partition: open.partition.clone(),
        producer_id: open.producer_id,
        producer_epoch: open.producer_epoch,
        coordinator_epoch: open.coordinator_epoch,
    };
    admin.abort_transaction(&spec).await.map_or_else(|error| error.to_string(), |()| "is ended".to_owned())
}

/// Transactions that are open on partitions, and that no coordinator will end there.
async fn find(admin: &Admin) -> Option<BTreeSet<Open>> {
    let topics = admin.list_topics().await.ok()?;
    let mut partitions = Vec::new();
    for described in admin.describe_topics(topics.into_keys().collect::<Vec<_>>()).await.into_values() {
        let topic = described.ok()?;
        partitions.extend(topic.partitions.iter().map(|one| TopicPartition::new(topic.name.as_str(), one.partition)));
    }
    let mut open = BTreeSet::new();
    for (partition, producers) in admin.describe_producers(partitions, None).await {
        for producer in producers.ok()? {
            if let Some(start_offset) = producer.current_transaction_start_offset {
                open.insert(Open {
                    partition: partition.clone(),
                    start_offset,
                    producer_id: producer.producer_id,
                    producer_epoch: i16::try_from(producer.producer_epoch).ok()?,
                    coordinator_epoch: producer.coordinator_epoch.unwrap_or(0),
                    committed: false,
                });
            }
        }
    }
    let producer_ids = open.iter().map(|open| open.producer_id).collect();
    let filter = ListTransactionsOptions { producer_ids, ..ListTransactionsOptions::default() };
    let listed = admin.list_transactions(&filter).await.ok()?;
    let ids = listed.into_values().flatten().map(|listing| listing.transactional_id);
    let mut hanging = BTreeSet::new();
    for described in admin.describe_transactions(ids).await.into_values() {
        let transaction = described.ok()?;
        let committed = match transaction.state {
            TransactionState::CompleteCommit => true,
            TransactionState::CompleteAbort => false,
            _ => continue,
        };
        // Since version 2 a transaction's end takes the next epoch.
        let is_last = |epoch: i16| epoch == transaction.producer_epoch || epoch + 1 == transaction.producer_epoch;
        let left_out =
            open.iter().filter(|open| open.producer_id == transaction.producer_id && is_last(open.producer_epoch));
        hanging.extend(left_out.cloned().map(|open| Open { committed, ..open }));
    }
    Some(hanging)
}
