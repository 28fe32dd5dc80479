//! `/api/topics/NAME`: a topic's partitions.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vltava_client::admin::{OffsetSpec, TopicPartitionInfo};
use vltava_client::config::IsolationLevel;
use vltava_client::{ClientError, ErrorCode, TopicPartition};

use super::Problem;
use super::brokers::replicas;
use super::overview::{is_offline, is_under_replicated};
use crate::console::Shared;
use crate::sampler::Sample;

pub(super) async fn topic(shared: &Shared, name: &str) -> Result<Value, Problem> {
    let view = shared.sampler.view().await?;
    let topic = described(&view.newest, name)?;
    let led = topic.partitions.iter().filter(|partition| !is_offline(partition));
    let wanted: Vec<_> = led.map(|it| (TopicPartition::new(name, it.partition), OffsetSpec::Earliest)).collect();
    let (starts, (replicas, problems)) = tokio::join!(
        shared.admin.list_offsets(wanted, IsolationLevel::ReadUncommitted),
        replicas(shared, &view.newest, name)
    );
    let mut sizes: BTreeMap<i32, Vec<Value>> = BTreeMap::new();
    for (broker, partition, info) in replicas {
        let size = json!({"broker": broker, "size_bytes": info.size_bytes, "offset_lag": info.offset_lag, "is_future": info.is_future});
        sizes.entry(partition).or_default().push(size);
    }
    let mut partition = |it: &TopicPartitionInfo| {
        let key = TopicPartition::new(name, it.partition);
        let end = view.newest.ends.get(&key);
        let start = starts.get(&key);
        let failed = [start.and_then(|it| it.as_ref().err()), end.and_then(|it| it.as_ref().err())];
        json!({
            "partition": it.partition,
            "leader": it.leader,
            "replicas": it.replicas,
            "isr": it.isr,
            "is_under_replicated": is_under_replicated(it),
            "start_offset": start.and_then(|it| it.as_ref().ok()).map(|it| it.offset),
            "end_offset": end.and_then(|it| it.as_ref().ok()),
            "sizes": sizes.remove(&it.partition).unwrap_or_default(),
            "problem": failed.into_iter().flatten().next().map(|error| Problem::from(error).inner()),
        })
    };
    let partitions: Vec<Value> = topic.partitions.iter().map(&mut partition).collect();
    Ok(json!({
        "at": view.newest.at_ms,
        "name": name,
        "topic_id": topic.topic_id.to_string(),
        "is_internal": topic.is_internal,
        "records_per_second": view.rates().map(|rates| rates.get(name).copied().unwrap_or(0.0)),
        "partitions": partitions,
        "problems": problems,
    }))
}

/// The topic in a sample.
pub(super) fn described<'a>(
    sample: &'a Sample,
    name: &str,
) -> Result<&'a vltava_client::admin::TopicDescription, Problem> {
    match sample.topics.get(name) {
        Some(topic) => Ok(topic.as_ref()?),
        None => {
            let unknown = Problem::from(ClientError::broker(ErrorCode::UnknownTopicOrPartition));
            Err(unknown.saying(format!("there is no topic `{name}`, or the console's login may not see it")))
        }
    }
}
