//! `kafka-streams-groups --reset-offsets`: new offsets for groups without members.

use std::collections::BTreeSet;
use std::io::Write;

use vltava_client::{Admin, TopicPartition};
use vltava_protocol::ErrorCode;

use super::{failed_within, internal_topics};
use crate::consumer_groups::reset::{self as consumer_reset, Offsets};
use crate::failure::{Failure, exception};
use crate::java::hash_map_order;
use crate::options::Options;

/// States of groups whose offsets may be set.
const INACTIVE: [&str; 2] = ["Empty", "Dead"];

pub(super) async fn reset_offsets(
    admin: &Admin,
    groups: Vec<String>,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut described: Vec<_> = admin.describe_streams_groups(groups).await.into_iter().collect();
    hash_map_order(&mut described, 16, |(group, _)| group);
    let mut resets: Vec<(String, Offsets)> = Vec::new();
    for (group, description) in described {
        let state = match &description {
            Ok(description) => description.state.clone(),
            Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => "Dead".to_owned(),
            Err(error) => return Err(failed_within(error.clone())),
        };
        let offsets = if INACTIVE.contains(&state.as_str()) {
            let offsets = reset_group(admin, &group, options, out).await?;
            if options.has("execute") {
                delete_internal_topics(admin, &group, description.ok().as_ref(), options, out).await?;
            }
            offsets
        } else {
            let text = "Assignments can only be reset if the group";
            writeln!(out, "\nError: {text} '{group}' is inactive, but the current state is {state}.")?;
            Offsets::new()
        };
        resets.push((group, offsets));
    }
    match options.has("export") {
        true => Ok(writeln!(out, "{}", consumer_reset::export(&resets, options.values("group").len() == 1))?),
        false => table(&resets, out),
    }
}

/// Finds the new offsets of one group, and sets them with `--execute`.
async fn reset_group(admin: &Admin, group: &str, options: &Options, out: &mut dyn Write) -> Result<Offsets, Failure> {
    let partitions = if options.has("all-input-topics") {
        input_offsets(admin, group).await?
    } else if options.has("input-topic") {
        let partitions = consumer_reset::partitions_of(admin, options.values("input-topic")).await?;
        let committed = admin.list_streams_group_offsets(group, None).await.map_err(failed_within)?;
        if partitions.iter().all(|partition| committed.contains_key(partition)) {
            partitions
        } else {
            writeln!(out, "\nError: One or more topics are not part of the group '{group}'.")?;
            Vec::new()
        }
    } else if options.has("from-file") {
        Vec::new()
    } else {
        let text = "One of the reset scopes should be defined: --all-topics, --topic.";
        return Err(Failure::Usage(text.to_owned()));
    };
    let mut offsets = consumer_reset::offsets(admin, group, &partitions, options, out).await?;
    hash_map_order(&mut offsets, 16, |(partition, _)| partition);
    if options.has("execute") {
        consumer_reset::execute(admin, group, &offsets).await?;
    }
    Ok(offsets)
}

/// The partitions of topics from outside for which a group has committed offsets.
pub(super) async fn input_offsets(admin: &Admin, group: &str) -> Result<Vec<TopicPartition>, Failure> {
    let mut topics = BTreeSet::new();
    for described in admin.describe_streams_groups([group]).await.into_values() {
        let described = described.map_err(failed_within)?;
        topics.extend(described.subtopologies.into_iter().flat_map(|subtopology| subtopology.source_topics));
    }
    let committed = admin.list_streams_group_offsets(group, None).await.map_err(failed_within)?;
    Ok(committed.into_keys().filter(|partition| topics.contains(partition.topic())).collect())
}

/// Deletes the internal topics that the options name.
async fn delete_internal_topics(
    admin: &Admin,
    group: &str,
    described: Option<&vltava_client::admin::StreamsGroupDescription>,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let topics = match described {
        Some(described) if options.has("delete-all-internal-topics") => internal_topics::of_group(described, out)?,
        _ => options.values("delete-internal-topic").to_vec(),
    };
    let failures = internal_topics::delete(admin, topics).await;
    let Some((_, error)) = failures.into_iter().next() else { return Ok(()) };
    let why = match error.code() {
        Some(ErrorCode::UnknownTopicOrPartition) => "because the topics do not exist.".to_owned(),
        _ => format!("due to {}", exception(&error)),
    };
    Ok(writeln!(out, "\nError: Deleting internal topics for group '{group}' failed {why}")?)
}

fn table(resets: &[(String, Offsets)], out: &mut dyn Write) -> Result<(), Failure> {
    if !resets.is_empty() {
        write!(out, "\n{:<30} {:<30} {:<10} {:<15}", "GROUP", "TOPIC", "PARTITION", "NEW-OFFSET")?;
    }
    for (group, offsets) in resets {
        for (partition, offset) in offsets {
            let (topic, number) = (partition.topic(), partition.partition());
            write!(out, "\n{group:<30} {topic:<30} {number:<10} {offset:<15}")?;
        }
    }
    Ok(writeln!(out)?)
}
