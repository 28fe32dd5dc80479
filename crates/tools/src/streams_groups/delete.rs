//! `kafka-streams-groups --delete`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use vltava_client::Admin;

use super::{internal_topics, list};
use crate::failure::{Failure, exception};
use crate::java::hash_map_order;
use crate::options::Options;

pub(super) async fn delete(
    admin: &Admin,
    groups: Vec<String>,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let known: BTreeMap<String, Option<String>> =
        list::listed(admin, Vec::new()).await?.into_iter().map(|group| (group.group_id, group.state)).collect();
    let (mut deleted, mut kept): (Vec<String>, Vec<(String, String)>) = (Vec::new(), Vec::new());
    let mut wanted = Vec::new();
    for group in groups.into_iter().collect::<BTreeSet<String>>() {
        match refusal(&group, known.get(&group)) {
            Some(reason) => kept.push((group, reason)),
            None => wanted.push(group),
        }
    }
    let internal = match options.has("delete-all-internal-topics") {
        true => internal_topics_of(admin, &wanted, out).await?,
        false => BTreeMap::new(),
    };
    for (group, result) in admin.delete_streams_groups(wanted).await {
        match result {
            Ok(()) => deleted.push(group),
            Err(error) => kept.push((group, exception(&error))),
        }
    }
    hash_map_order(&mut deleted, 16, |group| group);
    hash_map_order(&mut kept, 16, |(group, _)| group);
    let mut failures = Vec::new();
    for group in &deleted {
        let errors = internal_topics::delete(admin, internal.get(group).map_or_else(Vec::new, Clone::clone)).await;
        for (topic, _) in &errors {
            writeln!(out, "Failed to delete internal topic: {topic}")?;
        }
        failures.extend(errors.into_iter().next().map(|(_, error)| (group, exception(&error))));
    }
    let names = deleted.join("', '");
    if kept.is_empty() {
        writeln!(out, "Deletion of requested streams groups ('{names}') was successful.")?;
    } else {
        writeln!(out, "\nError: Deletion of some streams groups failed:")?;
        for (group, reason) in &kept {
            writeln!(out, "* Group '{group}' could not be deleted due to: {reason}")?;
        }
        if !deleted.is_empty() {
            writeln!(out, "\nThese streams groups were deleted successfully: '{names}'.")?;
        }
    }
    if internal.is_empty() || deleted.is_empty() {
        return Ok(());
    }
    if failures.is_empty() {
        let with_topics: Vec<&str> =
            deleted.iter().filter(|group| internal.contains_key(*group)).map(String::as_str).collect();
        let names = with_topics.join("', '");
        let text = "Deletion of associated internal topics of the streams groups";
        return Ok(writeln!(out, "{text} ('{names}') was successful.")?);
    }
    writeln!(out, "Deletion of some associated internal topics failed:")?;
    for (group, error) in failures {
        let text = format!("* Internal topics of the streams group '{group}' could not be deleted due to: {error}");
        writeln!(out, "{text}")?;
    }
    Ok(())
}

/// Why a group is not even asked to be deleted, as Java's exceptions print themselves.
fn refusal(group: &str, state: Option<&Option<String>>) -> Option<String> {
    let Some(state) = state else {
        let text = format!("Group '{group}' does not exist or is not a streams group.");
        return Some(format!("java.lang.IllegalArgumentException: {text}"));
    };
    match state.as_deref() {
        None | Some("Empty") => None,
        Some("Dead") => Some(format!("java.lang.IllegalStateException: Streams group '{group}' group state is DEAD.")),
        Some(_) => Some(format!(
            "org.apache.kafka.common.errors.GroupNotEmptyException: Streams group '{group}' is not EMPTY."
        )),
    }
}

/// The internal topics of groups, of those that have any.
async fn internal_topics_of(
    admin: &Admin,
    groups: &[String],
    out: &mut dyn Write,
) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    let mut topics = BTreeMap::new();
    for (group, described) in admin.describe_streams_groups(groups).await {
        match described {
            Ok(described) => {
                let of_group = internal_topics::of_group(&described, out)?;
                if !of_group.is_empty() {
                    topics.insert(group, of_group);
                }
            }
            Err(error) => {
                writeln!(out, "\nError: Retrieving internal topics failed due to {}", exception(&error))?;
            }
        }
    }
    Ok(topics)
}
