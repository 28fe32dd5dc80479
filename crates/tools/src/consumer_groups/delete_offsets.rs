//! `kafka-consumer-groups --delete-offsets`: forget what a group has committed for topics.

use std::collections::BTreeSet;
use std::io::Write;

use vltava_client::{Admin, ClientError, TopicPartition};
use vltava_protocol::ErrorCode;

use super::reset::partitions_of_argument;
use crate::failure::{Failure, exception};
use crate::java::hash_map_order;
use crate::options::Options;

/// What became of one partition, or with `None` of a topic whose partitions are not known.
pub(crate) type Deletion = (String, Option<i32>, Result<(), ClientError>);

pub(super) async fn delete_offsets(admin: &Admin, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let group = options.text("group");
    let mut deletions: Vec<Deletion> = Vec::new();
    let partitions = partitions_of(admin, options.values("topic"), &mut deletions).await?;
    let outcome = match partitions.is_empty() {
        // Then nothing asks the coordinator, and yet the group may be missing.
        true => {
            let described = admin.describe_consumer_groups([group]).await;
            described.into_values().try_for_each(|result| result.map(drop))
        }
        false => delete(admin, group, partitions, &mut deletions).await,
    };
    tell(group, outcome, deletions, out)
}

/// The partitions of arguments: topics, with their partitions where not all of them are meant. Topics that are not there
/// are among the deletions.
pub(crate) async fn partitions_of(
    admin: &Admin,
    topics: &[String],
    deletions: &mut Vec<Deletion>,
) -> Result<BTreeSet<TopicPartition>, Failure> {
    let mut partitions = BTreeSet::new();
    let mut whole_topics = BTreeSet::new();
    for topic in topics {
        match topic.contains(':') {
            true => partitions.extend(partitions_of_argument(topic)?),
            false => drop(whole_topics.insert(topic.clone())),
        }
    }
    for (topic, described) in admin.describe_topics(whole_topics).await {
        match described {
            Ok(topic) => {
                let all = topic.partitions.iter();
                partitions.extend(all.map(|one| TopicPartition::new(topic.name.as_str(), one.partition)));
            }
            Err(error) => deletions.push((topic, None, Err(error))),
        }
    }
    Ok(partitions)
}

/// Tells what became of it: of the whole, and of each partition.
pub(crate) fn tell(
    group: &str,
    outcome: Result<(), ClientError>,
    deletions: Vec<Deletion>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    match outcome.err().map(|error| (error.code(), error)) {
        None => writeln!(out, "Request succeeded for deleting offsets from group {group}.")?,
        Some((code, _)) => writeln!(out, "\nError: {}", summary(code))?,
    }
    table(deletions, out)
}

/// Deletes offsets; the first failure is that of the whole.
pub(crate) async fn delete(
    admin: &Admin,
    group: &str,
    partitions: BTreeSet<TopicPartition>,
    deletions: &mut Vec<Deletion>,
) -> Result<(), ClientError> {
    let results = admin.delete_consumer_group_offsets(group, partitions).await;
    let mut results: Vec<(TopicPartition, Result<(), ClientError>)> = results.into_iter().collect();
    hash_map_order(&mut results, 16, |(partition, _)| partition);
    let outcome = results.iter().find_map(|(_, result)| result.as_ref().err().cloned());
    let told = results.into_iter().map(|(one, result)| (one.topic().to_owned(), Some(one.partition()), result));
    deletions.extend(told);
    outcome.map_or(Ok(()), Err)
}

/// What the tool says of a failure before it lists the partitions.
fn summary(code: Option<ErrorCode>) -> String {
    let Some(code) = code else { return "Encountered some unknown error: UNKNOWN_SERVER_ERROR".to_owned() };
    match code {
        ErrorCode::InvalidGroupId
        | ErrorCode::GroupIdNotFound
        | ErrorCode::GroupAuthorizationFailed
        | ErrorCode::NonEmptyGroup => code.message().to_owned(),
        ErrorCode::GroupSubscribedToTopic
        | ErrorCode::TopicAuthorizationFailed
        | ErrorCode::UnknownTopicOrPartition => {
            "Encountered some partition-level error, see the follow-up details.".to_owned()
        }
        other => format!("Encountered some unknown error: {}", other.name()),
    }
}

fn table(mut deletions: Vec<Deletion>, out: &mut dyn Write) -> Result<(), Failure> {
    let width = deletions.iter().map(|(topic, _, _)| topic.len()).fold(15, usize::max);
    // Kafka's tool sorts by topic and number as one text.
    deletions.sort_by_cached_key(|(topic, partition, _)| format!("{topic}{}", partition.unwrap_or(-1)));
    write!(out, "\n{:<width$} {:<10} {:<15}", "TOPIC", "PARTITION", "STATUS")?;
    for (topic, partition, result) in deletions {
        let partition = partition.map_or_else(|| "-".to_owned(), |partition| partition.to_string());
        let status = match result {
            Ok(()) => "Successful".to_owned(),
            Err(error) => format!("Error: {}", exception(&error)),
        };
        write!(out, "\n{topic:<width$} {partition:<10} {status:<15}")?;
    }
    Ok(writeln!(out)?)
}

#[cfg(test)]
mod tests {
    use vltava_client::ClientError;
    use vltava_protocol::ErrorCode;

    use super::{summary, table};

    #[test]
    fn the_table_is_sorted_by_topic_and_number_as_text() {
        let error = ClientError::Broker { code: ErrorCode::GroupSubscribedToTopic, message: None };
        let deletions = vec![
            ("a".to_owned(), Some(2), Err(error)),
            ("a".to_owned(), Some(10), Ok(())),
            ("b".to_owned(), None, Ok(())),
        ];
        let mut out = Vec::new();
        table(deletions, &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }

    #[test]
    fn a_group_is_told_of_in_its_own_words() {
        assert_eq!(summary(Some(ErrorCode::NonEmptyGroup)), "The group is not empty.");
        assert_eq!(
            summary(Some(ErrorCode::CoordinatorNotAvailable)),
            "Encountered some unknown error: COORDINATOR_NOT_AVAILABLE"
        );
    }
}
