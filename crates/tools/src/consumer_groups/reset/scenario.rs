//! Where to reset to: one function for each of the tool's scenarios.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use vltava_client::admin::OffsetSpec;
use vltava_client::config::IsolationLevel;
use vltava_client::{Admin, TopicPartition};

use super::{Offsets, csv};
use crate::consumer_groups::command_line::SCENARIOS;
use crate::consumer_groups::failed_within;
use crate::failure::Failure;
use crate::java::{hash_map_order, time};
use crate::options::Options;

/// The new offsets of `partitions` by the scenario that the options choose.
pub(crate) async fn offsets(
    admin: &Admin,
    group: &str,
    partitions: &[TopicPartition],
    options: &Options,
    out: &mut dyn Write,
) -> Result<Offsets, Failure> {
    check_partitions(admin, partitions).await?;
    let all = || partitions.iter().cloned();
    if let Some(offset) = options.long("to-offset") {
        in_range(admin, all().map(|partition| (partition, offset)).collect()).await
    } else if options.has("to-earliest") {
        at(admin, all(), OffsetSpec::Earliest).await
    } else if options.has("to-latest") {
        at(admin, all(), OffsetSpec::Latest).await
    } else if let Some(shift) = options.long("shift-by") {
        shifted(admin, group, partitions, shift).await
    } else if let Some(text) = options.value("to-datetime") {
        let timestamp = time::datetime(text).map_err(Failure::Message)?;
        since(admin, partitions, timestamp, out).await
    } else if let Some(text) = options.value("by-duration") {
        let back = time::duration_ms(text).map_err(Failure::Message)?;
        since(admin, partitions, now_ms().saturating_sub(back), out).await
    } else if let Some(path) = options.value("from-file") {
        let plan = csv::read_plan(path, options.values("group"))?;
        match plan.into_iter().find(|(planned, _)| planned == group) {
            Some((_, offsets)) => in_range(admin, offsets).await,
            None => {
                writeln!(out, "\nError: No reset plan for group {group} found")?;
                Ok(Offsets::new())
            }
        }
    } else if options.has("to-current") {
        current(admin, group, partitions).await
    } else {
        let scenarios: Vec<String> = SCENARIOS.iter().map(|scenario| format!("[{scenario}]")).collect();
        let list = scenarios.join(", ");
        let text = format!("Option '[reset-offsets]' requires one of the following scenarios: [{list}]");
        Err(Failure::Usage(text))
    }
}

/// Refuses partitions that do not exist or have no leader.
async fn check_partitions(admin: &Admin, partitions: &[TopicPartition]) -> Result<(), Failure> {
    let topics: BTreeSet<&str> = partitions.iter().map(TopicPartition::topic).collect();
    let mut leaders = BTreeMap::new();
    for described in admin.describe_topics(topics).await.into_values() {
        let topic = described.map_err(failed_within)?;
        for one in topic.partitions {
            leaders.insert(TopicPartition::new(topic.name.as_str(), one.partition), one.leader);
        }
    }
    let list = |wrong: &dyn Fn(&TopicPartition) -> bool| {
        let found: Vec<String> =
            partitions.iter().filter(|partition| wrong(partition)).map(TopicPartition::to_string).collect();
        (!found.is_empty()).then(|| found.join(","))
    };
    if let Some(missing) = list(&|partition| !leaders.contains_key(partition)) {
        return Err(Failure::Message(format!("The partitions \"{missing}\" do not exist")));
    }
    if let Some(leaderless) = list(&|partition| leaders.get(partition).is_some_and(Option::is_none)) {
        return Err(Failure::Message(format!("The partitions \"{leaderless}\" have no leader")));
    }
    Ok(())
}

/// What the log says, in the order of the question; -1 where it has no such offset.
async fn at(
    admin: &Admin,
    partitions: impl Iterator<Item = TopicPartition>,
    spec: OffsetSpec,
) -> Result<Offsets, Failure> {
    let partitions: Vec<TopicPartition> = partitions.collect();
    let wanted = partitions.iter().map(|one| (one.clone(), spec));
    let mut found = admin.list_offsets(wanted, IsolationLevel::ReadUncommitted).await;
    let offset = |partition: TopicPartition| match found.remove(&partition) {
        Some(Ok(found)) => Ok((partition, found.offset)),
        Some(Err(error)) => Err(failed_within(error)),
        None => Err(Failure::Message(format!("Error getting the offset of topic partition: {partition}"))),
    };
    partitions.into_iter().map(offset).collect()
}

/// Moves offsets that lie outside of the log to its first or its end.
async fn in_range(admin: &Admin, wanted: Offsets) -> Result<Offsets, Failure> {
    let all = || wanted.iter().map(|(partition, _)| partition.clone());
    let starts: BTreeMap<_, _> = at(admin, all(), OffsetSpec::Earliest).await?.into_iter().collect();
    let ends: BTreeMap<_, _> = at(admin, all(), OffsetSpec::Latest).await?.into_iter().collect();
    let clamp = |(partition, offset): (TopicPartition, i64)| {
        let (start, end) = (starts.get(&partition).copied(), ends.get(&partition).copied());
        let (bound, text) = match (start, end) {
            (_, Some(end)) if offset > end => (end, "higher than latest"),
            (Some(start), _) if offset < start => (start, "lower than earliest"),
            _ => return (partition, offset),
        };
        tracing::warn!(
            "New offset ({offset}) is {text} offset for topic partition {partition}. Value will be set to {bound}"
        );
        (partition, bound)
    };
    Ok(wanted.into_iter().map(clamp).collect())
}

async fn committed(admin: &Admin, group: &str) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    let committed = admin.list_consumer_group_offsets(group, None).await.map_err(failed_within)?;
    Ok(committed.into_iter().filter_map(|(partition, offset)| Some((partition, offset?.offset))).collect())
}

async fn shifted(admin: &Admin, group: &str, partitions: &[TopicPartition], by: i64) -> Result<Offsets, Failure> {
    let committed = committed(admin, group).await?;
    let shift = |partition: &TopicPartition| match committed.get(partition) {
        Some(offset) => Ok((partition.clone(), offset.wrapping_add(by))),
        None => {
            let text = "since there is no current committed offset";
            Err(Failure::Usage(format!("Cannot shift offset for partition {partition} {text}")))
        }
    };
    in_range(admin, partitions.iter().map(shift).collect::<Result<_, _>>()?).await
}

/// The first records whose timestamp is this or later; the end of a partition that has none.
async fn since(
    admin: &Admin,
    partitions: &[TopicPartition],
    timestamp: i64,
    out: &mut dyn Write,
) -> Result<Offsets, Failure> {
    let found = at(admin, partitions.iter().cloned(), OffsetSpec::Timestamp(timestamp)).await?;
    let (mut found, mut without): (Offsets, Offsets) = found.into_iter().partition(|(_, offset)| *offset >= 0);
    // Where Kafka's tool tells of several, it does so in the order of a `HashMap`.
    hash_map_order(&mut without, 16, |(partition, _)| partition);
    for (partition, _) in &without {
        let (number, topic) = (partition.partition(), partition.topic());
        let text = "is empty. Falling back to latest known offset.";
        writeln!(out, "\nWarn: Partition {number} from topic {topic} {text}")?;
    }
    found.extend(at(admin, without.into_iter().map(|(partition, _)| partition), OffsetSpec::Latest).await?);
    Ok(found)
}

async fn current(admin: &Admin, group: &str, partitions: &[TopicPartition]) -> Result<Offsets, Failure> {
    let committed = committed(admin, group).await?;
    let (with, without): (Vec<_>, Vec<_>) = partitions.iter().partition(|partition| committed.contains_key(*partition));
    let mut offsets: Offsets = with.into_iter().filter_map(|one| Some((one.clone(), *committed.get(one)?))).collect();
    offsets.extend(at(admin, without.into_iter().cloned(), OffsetSpec::Latest).await?);
    Ok(offsets)
}

fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
