//! `/api/groups/ID/lag-time`: how old the first record is that a group has not committed, by partition.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use vltava_client::admin::OffsetSpec;
use vltava_client::config::IsolationLevel;
use vltava_client::{Consumer, ConsumerConfig, TopicPartition};

use super::Problem;
use crate::clock::now_ms;
use crate::console::Shared;

/// Partitions that are looked at; the others are named.
const MOST: usize = 200;

/// How long it is waited for records.
const WITHIN: Duration = Duration::from_secs(5);

pub(super) async fn lag_time(shared: &Shared, id: &str) -> Result<Value, Problem> {
    let committed = shared.admin.list_consumer_group_offsets(id, None).await?;
    let ask = |spec| {
        let wanted: Vec<_> = committed.keys().map(|partition| (partition.clone(), spec)).collect();
        shared.admin.list_offsets(wanted, IsolationLevel::ReadUncommitted)
    };
    let (starts, ends) = tokio::join!(ask(OffsetSpec::Earliest), ask(OffsetSpec::Latest));
    let offset = |answers: &vltava_client::admin::Results<TopicPartition, vltava_client::admin::ListOffsetsResult>,
                  of: &TopicPartition| {
        answers.get(of).and_then(|answer| answer.as_ref().ok()).map(|answer| answer.offset)
    };
    let (mut behind, mut rows) = (BTreeMap::new(), Vec::new());
    for (partition, committed) in &committed {
        let at = committed.as_ref().map(|committed| committed.offset);
        match (at, offset(&starts, partition), offset(&ends, partition)) {
            (Some(at), Some(_), Some(end)) if at >= end => rows.push(row(partition, Some(0), None)),
            (Some(at), Some(start), Some(_)) => _ = behind.insert(partition.clone(), at.max(start)),
            (None, ..) => rows.push(row(partition, None, Some("nothing is committed"))),
            _ => rows.push(row(partition, None, Some("it is not known where the partition begins and ends"))),
        }
    }
    let left = behind.keys().skip(MOST).cloned().collect::<Vec<_>>();
    rows.extend(
        left.iter().map(|partition| row(partition, None, Some("too many partitions are behind to look at all"))),
    );
    behind.retain(|partition, _| !left.contains(partition));
    let found = timestamps(shared, &behind).await?;
    let now = now_ms();
    for partition in behind.keys() {
        rows.push(match found.get(partition) {
            Some(timestamp) if *timestamp >= 0 => row(partition, Some((now - timestamp).max(0)), None),
            Some(_) => row(partition, None, Some("the record has no timestamp")),
            None => row(partition, None, Some("no record came within 5 s")),
        });
    }
    Ok(json!({"at": now, "partitions": rows}))
}

fn row(partition: &TopicPartition, lag_ms: Option<i64>, reason: Option<&str>) -> Value {
    json!({"topic": partition.topic(), "partition": partition.partition(), "lag_ms": lag_ms, "reason": reason})
}

/// The timestamp of the first record of each partition at an offset or behind it.
async fn timestamps(
    shared: &Shared,
    at: &BTreeMap<TopicPartition, i64>,
) -> Result<BTreeMap<TopicPartition, i64>, Problem> {
    let mut found = BTreeMap::new();
    if at.is_empty() {
        return Ok(found);
    }
    let _place = shared.readers.acquire().await.map_err(|_| Problem::busy("the console is closing"))?;
    // A batch of each partition is enough; a broker gives the first one however large it is.
    let settings = reader(&[("max.partition.fetch.bytes", "1024")]);
    let consumer = Consumer::new(ConsumerConfig::from_properties_quietly(shared.config.properties(&settings))?)?;
    consumer.assign(at.keys().cloned())?;
    for (partition, offset) in at {
        consumer.seek(partition, *offset)?;
    }
    let until = Instant::now() + WITHIN;
    while found.len() < at.len() && Instant::now() < until {
        let records = consumer.poll(until.saturating_duration_since(Instant::now())).await?;
        for records in records.partitions() {
            if let Some(first) = records.iter().next() {
                found.entry(records.topic_partition().clone()).or_insert(first.timestamp());
                consumer.pause(std::slice::from_ref(records.topic_partition()))?;
            }
        }
    }
    consumer.close(Duration::ZERO).await?;
    Ok(found)
}

/// Settings of a consumer that reads for the page: it has no group and leaves nothing behind.
pub(super) fn reader<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let all = [
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "earliest"),
        ("allow.auto.create.topics", "false"),
        ("fetch.max.wait.ms", "200"),
    ];
    all.into_iter().chain(more.iter().copied()).collect()
}
