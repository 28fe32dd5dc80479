//! Where input topics are read on.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use vltava_client::admin::OffsetSpec;
use vltava_client::config::IsolationLevel;
use vltava_client::{Admin, TopicPartition};

use crate::failure::{Failure, exception};
use crate::java::{hash_map_order, time};
use crate::options::Options;

/// Partitions with their new offsets, in the order in which they are told.
pub(super) type Offsets = Vec<(TopicPartition, i64)>;

/// The new offsets of `partitions`, by the scenario that the options choose; the earliest ones without any.
pub(super) async fn of_inputs(
    admin: &Admin,
    group: &str,
    partitions: &[TopicPartition],
    options: &Options,
    out: &mut dyn Write,
) -> Result<Offsets, Failure> {
    if let Some(offset) = options.long("to-offset") {
        let wanted = partitions.iter().map(|partition| (partition.clone(), offset)).collect();
        in_range(admin, partitions, wanted, partitions.len(), out).await
    } else if options.has("to-latest") {
        ends(admin, partitions).await
    } else if let Some(shift) = options.long("shift-by") {
        let wanted = current(admin, group, partitions).await?;
        let wanted = wanted.into_iter().map(|(partition, offset)| (partition, offset.wrapping_add(shift))).collect();
        in_range(admin, partitions, wanted, partitions.len(), out).await
    } else if let Some(text) = options.value("to-datetime") {
        since(admin, partitions, time::datetime(text).map_err(failed)?, out).await
    } else if let Some(text) = options.value("by-duration") {
        let unreadable = |why: String| Failure::Message(format!("java.time.format.DateTimeParseException: {why}"));
        let back = time::duration_ms(text).map_err(unreadable)?;
        since(admin, partitions, now_ms().saturating_sub(back), out).await
    } else if let Some(path) = options.value("from-file") {
        let unreadable = |_| failed(format!("java.io.IOException: Unable to read file {path}"));
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        in_range(admin, partitions, read_plan(&text)?, 16, out).await
    } else {
        at(admin, partitions, OffsetSpec::Earliest).await
    }
}

/// Where partitions end.
pub(super) async fn ends(admin: &Admin, partitions: &[TopicPartition]) -> Result<Offsets, Failure> {
    at(admin, partitions, OffsetSpec::Latest).await
}

/// What the logs say, in the order of the question; -1 where one has no such offset.
async fn at(admin: &Admin, partitions: &[TopicPartition], spec: OffsetSpec) -> Result<Offsets, Failure> {
    let wanted = partitions.iter().map(|partition| (partition.clone(), spec));
    let mut found = admin.list_offsets(wanted, IsolationLevel::ReadUncommitted).await;
    let offset = |partition: &TopicPartition| match found.remove(partition) {
        Some(Ok(found)) => Ok((partition.clone(), found.offset)),
        Some(Err(error)) => Err(Failure::Message(exception(&error))),
        None => Err(Failure::Message(format!("no offset of {partition} was told"))),
    };
    partitions.iter().map(offset).collect()
}

/// What the group has committed; the end of a partition of which it has nothing, as a consumer without a setting begins there.
async fn current(admin: &Admin, group: &str, partitions: &[TopicPartition]) -> Result<Offsets, Failure> {
    let committed = admin.list_consumer_group_offsets(group, Some(partitions)).await;
    let committed = committed.map_err(|error| Failure::Message(exception(&error)))?;
    let mut offsets = ends(admin, partitions).await?;
    for (partition, offset) in &mut offsets {
        if let Some(Some(known)) = committed.get(partition) {
            *offset = known.offset;
        }
    }
    Ok(offsets)
}

/// The offsets that are wanted, within the logs; those of other partitions than `partitions` cannot be. `capacity` is that of the
/// map in which Kafka's tool has them, which gives the order of what is told.
async fn in_range(
    admin: &Admin,
    partitions: &[TopicPartition],
    mut wanted: Offsets,
    capacity: usize,
    out: &mut dyn Write,
) -> Result<Offsets, Failure> {
    let starts: BTreeMap<_, _> = at(admin, partitions, OffsetSpec::Earliest).await?.into_iter().collect();
    let ends: BTreeMap<_, _> = ends(admin, partitions).await?.into_iter().collect();
    hash_map_order(&mut wanted, capacity, |(partition, _)| partition);
    let mut new = BTreeMap::new();
    for (partition, offset) in wanted {
        let (Some(start), Some(end)) = (starts.get(&partition), ends.get(&partition)) else {
            return Err(Failure::Message(format!("{partition} is in the reset plan, and not in --input-topics")));
        };
        let (within, why) = within(offset, *start, *end);
        if let Some(why) = why {
            writeln!(out, "New offset ({offset}) is {why} offset. Value will be set to {within}")?;
        }
        new.insert(partition, within);
    }
    let offset = |partition: &TopicPartition| match new.get(partition) {
        Some(offset) => Ok((partition.clone(), *offset)),
        None => Err(Failure::Message(format!("{partition} is in --input-topics, and not in the reset plan"))),
    };
    partitions.iter().map(offset).collect()
}

/// As Kafka's tool has it: the bounds themselves are told to be outside.
fn within(offset: i64, start: i64, end: i64) -> (i64, Option<&'static str>) {
    if offset >= end {
        (end, Some("higher than latest"))
    } else if offset <= start {
        (start, Some("lower than earliest"))
    } else {
        (offset, None)
    }
}

/// The first records of this time or later; the end of a partition that has none.
async fn since(
    admin: &Admin,
    partitions: &[TopicPartition],
    timestamp: i64,
    out: &mut dyn Write,
) -> Result<Offsets, Failure> {
    let mut found = at(admin, partitions, OffsetSpec::Timestamp(timestamp)).await?;
    let ends: BTreeMap<_, _> = ends(admin, partitions).await?.into_iter().collect();
    for (partition, offset) in found.iter_mut().filter(|(_, offset)| *offset < 0) {
        *offset = ends.get(partition).copied().unwrap_or(*offset);
        let (number, topic) = (partition.partition(), partition.topic());
        let text = "is empty, without a committed record. Falling back to latest known offset.";
        writeln!(out, "Partition {number} from topic {topic} {text}")?;
    }
    Ok(found)
}

/// What cannot be read, in the two lines of Kafka's tool.
fn failed(why: String) -> Failure {
    Failure::Message(format!("Resetting offsets failed.\nERROR: {why}"))
}

/// Lines of `TOPIC,PARTITION,OFFSET`; the last one of a partition counts.
fn read_plan(text: &str) -> Result<Offsets, Failure> {
    let refused = |why: &str| failed(format!("java.text.ParseException: {why}"));
    if text.is_empty() {
        return Err(refused("Error parsing reset plan CSV file. It is empty,"));
    }
    let mut plan = BTreeMap::new();
    for line in text.trim_end_matches('\n').split('\n') {
        let [topic, partition, offset] = line.split(',').collect::<Vec<_>>()[..] else {
            return Err(refused("Reset plan CSV file is not following the format `TOPIC,PARTITION,OFFSET`."));
        };
        let no_number =
            |text: &str| Failure::Message(format!("java.lang.NumberFormatException: For input string: \"{text}\""));
        let partition = partition.parse().map_err(|_| no_number(partition))?;
        plan.insert(TopicPartition::new(topic, partition), offset.parse().map_err(|_| no_number(offset))?);
    }
    Ok(plan.into_iter().collect())
}

fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use vltava_client::TopicPartition;

    use super::{read_plan, within};

    #[test]
    fn offsets_outside_of_the_log_become_its_bounds() {
        let (low, high) = (Some("lower than earliest"), Some("higher than latest"));
        let cases = [(5, (5, None)), (2, (3, low)), (3, (3, low)), (9, (9, high)), (12, (9, high)), (8, (8, None))];
        for (offset, expected) in cases {
            assert_eq!(within(offset, 3, 9), expected, "{offset}");
        }
        assert_eq!(within(0, 0, 0), (0, high), "an empty log");
    }

    #[test]
    fn a_plan_is_a_line_for_each_partition() {
        let plan = read_plan("b,1,5\na,0,7\nb,1,6\n").unwrap();
        assert_eq!(plan, [(TopicPartition::new("a", 0), 7), (TopicPartition::new("b", 1), 6)]);
        for (text, why) in [
            ("", "It is empty,"),
            ("a,0", "is not following the format"),
            ("a,0,1,2", "is not following the format"),
            ("a,x,1", "For input string: \"x\""),
            ("a,0,y", "For input string: \"y\""),
        ] {
            let error = read_plan(text).unwrap_err();
            assert!(error.message().contains(why), "{text:?}: {error}");
        }
    }
}
