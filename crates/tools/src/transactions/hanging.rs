//! `find-hanging`: transactions that are open on a partition and that no coordinator will end.

use std::collections::BTreeMap;
use std::io::Write;

use vltava_client::admin::{ListTransactionsOptions, ProducerState};
use vltava_client::{Admin, ErrorCode, TopicPartition};

use super::{failed, partition, table};
use crate::clock::now_ms;
use crate::failure::Failure;
use crate::java::hash_map_order;
use crate::options::Options;

/// How many topics or partitions are asked for at once.
const BATCH: usize = 500;
const MINUTE_MS: i64 = 60_000;
/// Kafka's default for the longest that a transaction may be open, `transaction.max.timeout.ms`, in minutes.
const DEFAULT_MAX_TIMEOUT: i32 = 15;

/// A transaction that is open on a partition.
type Open = (TopicPartition, ProducerState);

pub(super) async fn find(admin: &Admin, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let refuse = |text: &str| Err(Failure::Message(text.to_owned()));
    if !options.has("topic") && !options.has("broker-id") {
        return refuse(
            "The `find-hanging` command requires either --topic or --broker-id to limit the scope of the search",
        );
    }
    if options.has("partition") && !options.has("topic") {
        return refuse("The --partition argument requires --topic to be provided");
    }
    let timeout = i64::from(options.int("max-transaction-timeout").unwrap_or(DEFAULT_MAX_TIMEOUT)) * MINUTE_MS;
    let candidates = candidates(admin, options.int("broker-id"), timeout, &partitions(admin, options).await?).await?;
    let hanging = if candidates.is_empty() { candidates } else { hanging(admin, candidates).await? };
    let now = now_ms();
    let rows = hanging.iter().map(|(partition, producer)| {
        [
            partition.topic().to_owned(),
            partition.partition().to_string(),
            producer.producer_id.to_string(),
            producer.producer_epoch.to_string(),
            producer.coordinator_epoch.unwrap_or(-1).to_string(),
            producer.current_transaction_start_offset.unwrap_or(-1).to_string(),
            producer.last_timestamp.to_string(),
            ((now - producer.last_timestamp) / MINUTE_MS).to_string(),
        ]
    });
    let headers = [
        "Topic",
        "Partition",
        "ProducerId",
        "ProducerEpoch",
        "CoordinatorEpoch",
        "StartOffset",
        "LastTimestamp",
        "Duration(min)",
    ];
    table(headers, &rows.collect::<Vec<_>>(), out)
}

/// The partitions to search: one, those of a topic, or all; of them those with a replica on the broker asked for.
async fn partitions(admin: &Admin, options: &Options) -> Result<Vec<TopicPartition>, Failure> {
    if options.has("partition") {
        return Ok(vec![partition(options)]);
    }
    let topics: Vec<String> = match options.value("topic") {
        Some(topic) => vec![topic.to_owned()],
        None => {
            let listed = admin.list_topics().await.map_err(|error| failed("Failed to list topics", &error))?;
            listed.into_keys().collect()
        }
    };
    let broker = options.int("broker-id");
    let mut partitions = Vec::new();
    for topics in topics.chunks(BATCH) {
        for described in admin.describe_topics(topics).await.into_values() {
            let topic =
                described.map_err(|error| failed(&format!("Failed to describe {} topics", topics.len()), &error))?;
            let wanted =
                topic.partitions.iter().filter(|one| broker.is_none_or(|broker| one.replicas.contains(&broker)));
            partitions.extend(wanted.map(|one| TopicPartition::new(topic.name.as_str(), one.partition)));
        }
    }
    Ok(partitions)
}

/// The transactions that have been open for longer than any may.
async fn candidates(
    admin: &Admin,
    broker: Option<i32>,
    timeout_ms: i64,
    partitions: &[TopicPartition],
) -> Result<Vec<Open>, Failure> {
    let mut candidates = Vec::new();
    for batch in partitions.chunks(BATCH) {
        let described = admin.describe_producers(batch.iter().cloned(), broker).await;
        let now = now_ms();
        for (partition, producers) in described {
            let producers = producers.map_err(|error| {
                let broker = broker.map_or("Optional.empty".to_owned(), |broker| format!("Optional[{broker}]"));
                failed(
                    &format!("Failed to describe producers for {} partitions on broker {broker}", batch.len()),
                    &error,
                )
            })?;
            let open = producers.into_iter().filter(|producer| {
                producer.current_transaction_start_offset.is_some() && now - producer.last_timestamp > timeout_ms
            });
            candidates.extend(open.map(|producer| (partition.clone(), producer)));
        }
    }
    Ok(candidates)
}

/// Those of the candidates that no coordinator knows of: their producer has no transactional id, or its transaction has not
/// this partition.
async fn hanging(admin: &Admin, candidates: Vec<Open>) -> Result<Vec<Open>, Failure> {
    let mut by_producer: BTreeMap<i64, Vec<Open>> = BTreeMap::new();
    for open in candidates {
        by_producer.entry(open.1.producer_id).or_default().push(open);
    }
    let producer_ids: Vec<i64> = by_producer.keys().copied().collect();
    let filter = ListTransactionsOptions { producer_ids: producer_ids.clone(), ..ListTransactionsOptions::default() };
    let listed = admin.list_transactions(&filter).await.map_err(|error| {
        failed(&format!("Failed to list transactions for {} producers", producer_ids.len()), &error)
    })?;
    let ids: BTreeMap<i64, String> =
        listed.into_values().flatten().map(|listing| (listing.producer_id, listing.transactional_id)).collect();
    let mut known = BTreeMap::new();
    for (id, described) in admin.describe_transactions(ids.values()).await {
        match described {
            Ok(description) => drop(known.insert(id, description.topic_partitions)),
            Err(error) if error.code() == Some(ErrorCode::TransactionalIdNotFound) => {}
            Err(error) => return Err(failed(&format!("Failed to describe {} transactions", ids.len()), &error)),
        }
    }
    let mut groups: Vec<(i64, Vec<Open>)> = by_producer.into_iter().collect();
    hash_map_order(&mut groups, 16, |(producer_id, _)| producer_id);
    let will_end = |(partition, producer): &Open| {
        let id = ids.get(&producer.producer_id);
        id.and_then(|id| known.get(id)).is_some_and(|partitions| partitions.contains(partition))
    };
    Ok(groups.into_iter().flat_map(|(_, open)| open).filter(|open| !will_end(open)).collect())
}
