//! `kafka-consumer-groups --reset-offsets`: new offsets for groups without members.

mod csv;
mod scenario;

use std::io::Write;

pub(crate) use csv::export;
pub(crate) use scenario::offsets;
use vltava_client::{Admin, OffsetAndMetadata, TopicPartition};
use vltava_protocol::ErrorCode;

use super::failed_within;
use crate::failure::{Failure, message};
use crate::java::hash_map_order;
use crate::options::Options;

/// Partitions with their new offsets, in the order in which they are told.
pub(crate) type Offsets = Vec<(TopicPartition, i64)>;

/// States of groups whose offsets may be set.
const INACTIVE: [&str; 2] = ["Empty", "Dead"];

pub(super) async fn reset_offsets(
    admin: &Admin,
    groups: Vec<String>,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut described: Vec<_> = admin.describe_consumer_groups(groups).await.into_iter().collect();
    hash_map_order(&mut described, 16, |(group, _)| group);
    let mut resets: Vec<(String, Offsets)> = Vec::new();
    for (group, description) in described {
        let state = match description {
            Ok(description) => description.state,
            // It may be about to begin.
            Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => "Dead".to_owned(),
            Err(error) => return Err(failed_within(error)),
        };
        let offsets = match INACTIVE.contains(&state.as_str()) {
            true => reset_group(admin, &group, options, out).await?,
            false => {
                let text = "Assignments can only be reset if the group";
                writeln!(out, "\nError: {text} '{group}' is inactive, but the current state is {state}.")?;
                Offsets::new()
            }
        };
        resets.push((group, offsets));
    }
    match options.has("export") {
        true => Ok(writeln!(out, "{}", export(&resets, options.values("group").len() == 1))?),
        false => table(&resets, out),
    }
}

/// Finds the new offsets of one group, and sets them with `--execute`.
async fn reset_group(admin: &Admin, group: &str, options: &Options, out: &mut dyn Write) -> Result<Offsets, Failure> {
    let partitions = partitions_to_reset(admin, group, options).await?;
    let mut offsets = offsets(admin, group, &partitions, options, out).await?;
    hash_map_order(&mut offsets, 16, |(partition, _)| partition);
    if options.has("execute") {
        execute(admin, group, &offsets).await?;
    }
    Ok(offsets)
}

/// Sets the offsets of a group.
pub(crate) async fn execute(admin: &Admin, group: &str, offsets: &Offsets) -> Result<(), Failure> {
    let committed = offsets.iter().map(|(partition, offset)| (partition.clone(), OffsetAndMetadata::new(*offset)));
    let mut failures: Vec<_> = admin.alter_consumer_group_offsets(group, committed).await.into_iter().collect();
    failures.retain(|(_, result)| result.is_err());
    hash_map_order(&mut failures, 16, |(partition, _)| partition);
    let partitions: Vec<String> = failures.iter().map(|(partition, _)| partition.to_string()).collect();
    let Some((_, Err(error))) = failures.into_iter().next() else { return Ok(()) };
    Err(Failure::Message(match error.code() {
        Some(_) => {
            format!("Failed altering group offsets for the following partitions: [{}]", partitions.join(", "))
        }
        None => message(&error),
    }))
}

/// The partitions that the options name.
async fn partitions_to_reset(admin: &Admin, group: &str, options: &Options) -> Result<Vec<TopicPartition>, Failure> {
    if options.has("all-topics") {
        let committed = admin.list_consumer_group_offsets(group, None).await.map_err(failed_within)?;
        return Ok(committed.into_keys().collect());
    }
    if !options.has("topic") && !options.has("from-file") {
        let text = "One of the reset scopes should be defined: --all-topics, --topic.";
        return Err(Failure::Usage(text.into()));
    }
    partitions_of(admin, options.values("topic")).await
}

/// The partitions of arguments: topics, with their partitions where not all of them are meant.
pub(crate) async fn partitions_of(admin: &Admin, topics: &[String]) -> Result<Vec<TopicPartition>, Failure> {
    let mut partitions = Vec::new();
    let mut whole_topics = Vec::new();
    for topic in topics {
        match topic.contains(':') {
            true => partitions.extend(partitions_of_argument(topic)?),
            false => whole_topics.push(topic.clone()),
        }
    }
    for described in admin.describe_topics(whole_topics).await.into_values() {
        let topic = described?;
        partitions.extend(topic.partitions.iter().map(|one| TopicPartition::new(topic.name.as_str(), one.partition)));
    }
    let mut sorted: Vec<&TopicPartition> = partitions.iter().collect();
    sorted.sort();
    if let Some([twice, _]) = sorted.windows(2).find(|pair| pair.first() == pair.last()) {
        return Err(Failure::Message(format!("Duplicate key {twice}")));
    }
    Ok(partitions)
}

/// The partitions of `topic:0,1,2`.
pub(super) fn partitions_of_argument(argument: &str) -> Result<Vec<TopicPartition>, Failure> {
    // As with Java's `split`, empty parts at the end do not count.
    let [topic, list] = argument.trim_end_matches(':').split(':').collect::<Vec<_>>()[..] else {
        let text = format!("Invalid topic arg '{argument}', expected topic name and partitions");
        return Err(Failure::Usage(text));
    };
    let number = |text: &str| match text.parse::<i32>() {
        Ok(number) => Ok(TopicPartition::new(topic, number)),
        Err(_) => Err(Failure::Usage(format!("Invalid partition '{text}' specified in topic arg '{argument}''"))),
    };
    list.trim_end_matches(',').split(',').map(number).collect()
}

fn table(resets: &[(String, Offsets)], out: &mut dyn Write) -> Result<(), Failure> {
    let group_width = resets.iter().map(|(group, _)| group.chars().count()).fold(15, usize::max);
    let topics = resets.iter().flat_map(|(_, offsets)| offsets).map(|(partition, _)| partition.topic().len());
    let topic_width = topics.fold(15, usize::max);
    if !resets.is_empty() {
        write!(out, "\n{:<group_width$} {:<topic_width$} {:<10} NEW-OFFSET", "GROUP", "TOPIC", "PARTITION")?;
    }
    for (group, offsets) in resets {
        for (partition, offset) in offsets {
            let (topic, number) = (partition.topic(), partition.partition());
            write!(out, "\n{group:<group_width$} {topic:<topic_width$} {number:<10} {offset}")?;
        }
    }
    Ok(writeln!(out)?)
}

#[cfg(test)]
mod tests {
    use vltava_client::TopicPartition;

    use super::{partitions_of_argument, table};
    use crate::failure::Failure;

    #[test]
    fn partitions_stand_behind_a_colon() {
        let of = |argument| partitions_of_argument(argument).map_err(|failure| failure.message().to_owned());
        assert_eq!(of("a:0,2").unwrap(), [TopicPartition::new("a", 0), TopicPartition::new("a", 2)]);
        assert_eq!(of("a:1,").unwrap(), [TopicPartition::new("a", 1)]);
        assert_eq!(of("a:x").unwrap_err(), "Invalid partition 'x' specified in topic arg 'a:x''");
        assert_eq!(of("a:").unwrap_err(), "Invalid topic arg 'a:', expected topic name and partitions");
        assert_eq!(of("a:0:1").unwrap_err(), "Invalid topic arg 'a:0:1', expected topic name and partitions");
        assert!(matches!(partitions_of_argument("a:0,,1"), Err(Failure::Usage(_))));
    }

    #[test]
    fn columns_are_as_wide_as_their_longest() {
        let resets = [
            ("g".to_owned(), vec![(TopicPartition::new("a-topic-with-a-long-name", 0), 5)]),
            ("another".to_owned(), vec![]),
        ];
        let mut out = Vec::new();
        table(&resets, &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
        let mut out = Vec::new();
        table(&[], &mut out).unwrap();
        assert_eq!(out, b"\n");
    }
}
