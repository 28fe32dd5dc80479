//! Which topics belong to an application, and are deleted with what it has committed.

use std::collections::BTreeSet;
use std::io::Write;

use vltava_client::admin::StreamsGroupDescription;
use vltava_client::{Admin, ClientError};

use crate::failure::Failure;

/// The internal topics of a group that bear its name; of others it is told that they stay.
pub(super) fn of_group(group: &StreamsGroupDescription, out: &mut dyn Write) -> Result<Vec<String>, Failure> {
    let read: BTreeSet<&String> = group.subtopologies.iter().flat_map(|it| &it.source_topics).collect();
    let all = group.subtopologies.iter().flat_map(|subtopology| {
        subtopology.repartition_source_topics.keys().chain(subtopology.state_changelog_topics.keys())
    });
    let mut internal = Vec::new();
    for topic in all.filter(|topic| !read.contains(topic)) {
        if is_inferred(topic, &group.group_id) {
            internal.push(topic.clone());
        } else {
            let id = &group.group_id;
            let text = format!("The internal topic '{topic}' is not inferred as internal");
            writeln!(out, "\nError: {text} and thus will not be deleted with the group '{id}'.")?;
        }
    }
    Ok(internal)
}

/// Deletes topics; the first failure, and whose.
pub(super) async fn delete(admin: &Admin, topics: Vec<String>) -> Vec<(String, ClientError)> {
    let results = admin.delete_topics(topics).await;
    results.into_iter().filter_map(|(topic, result)| Some((topic, result.err()?))).collect()
}

/// Whether a topic's name is one that Kafka Streams gives a topic of this application.
fn is_inferred(topic: &str, application: &str) -> bool {
    const ENDS: [&str; 4] =
        ["-changelog", "-repartition", "-subscription-registration-topic", "-subscription-response-topic"];
    const NUMBERED: [&str; 2] =
        ["-KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-", "-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-"];
    let is_of = topic.strip_prefix(application).is_some_and(|rest| rest.starts_with('-'));
    let is_numbered = |middle: &&str| {
        let number = topic.strip_suffix("-topic").and_then(|topic| topic.rsplit_once(*middle));
        number.is_some_and(|(before, number)| {
            !before.is_empty() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    is_of && (ENDS.iter().any(|end| topic.ends_with(end)) || NUMBERED.iter().any(is_numbered))
}

#[cfg(test)]
mod tests {
    use super::is_inferred;

    #[test]
    fn names_of_internal_topics_are_known_by_their_form() {
        for (topic, expected) in [
            ("app-counts-changelog", true),
            ("app-words-repartition", true),
            ("app-KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-0000000006-topic", true),
            ("app-x-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-0000000014-topic", true),
            ("app-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-x-topic", false),
            ("app-join-subscription-response-topic", true),
            ("other-counts-changelog", false),
            ("apples-counts-changelog", false),
            ("app-counts", false),
        ] {
            assert_eq!(is_inferred(topic, "app"), expected, "{topic}");
        }
    }
}
