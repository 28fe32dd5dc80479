//! What must be there before the first record: source topics exist, internal topics are made.

use std::collections::BTreeMap;

use vltava_client::{
    Admin, ClientError,
    admin::{NewTopic, TopicDescription},
};
use vltava_protocol::ErrorCode;

use super::internal_topics::{RequiredTopic, TopicsPlan, merged};
use crate::{
    config::StreamsConfig,
    error::{Error, Result},
    topology::{TopicsInfo, Topology},
};

/// The topology as the threads need it: sub-topologies with their topics.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) subtopologies: BTreeMap<u32, TopicsInfo>,
}

fn failed(what: impl std::fmt::Display, error: impl std::fmt::Display) -> Box<Error> {
    Box::new(Error::Streams(format!("{what}: {error}")))
}

/// Looks the topics up, makes those that are missing and ours.
///
/// # Errors
/// If a source topic is missing, topics do not fit together, or the cluster cannot be reached.
pub(super) async fn prepare(topology: &Topology, config: &StreamsConfig, admin: &Admin) -> Result<Setup> {
    let subtopologies = topology.subtopologies(config);
    let copartitioned = merged(topology.copartition_groups(config.application_id()));
    let topics = subtopologies.values().flat_map(|info| {
        let changelogs = info.changelog_topics.keys();
        info.source_topics.iter().chain(changelogs).chain(&info.sink_topics)
    });
    let topics: std::collections::BTreeSet<&String> = topics.collect();
    let existing = existing(admin, topics).await?;
    let plan = TopicsPlan { subtopologies: &subtopologies, copartitioned: &copartitioned, existing: &existing };
    let missing = plan.missing_source_topics();
    if !missing.is_empty() {
        let missing = missing.into_iter().collect::<Vec<_>>().join(", ");
        return Err(failed("missing source topics", missing));
    }
    let required = plan.required()?;
    create(admin, config, &required, &existing).await?;
    Ok(Setup { subtopologies })
}

/// The partitions of those topics that exist.
pub(super) async fn existing(
    admin: &Admin,
    topics: impl IntoIterator<Item = &String>,
) -> Result<BTreeMap<String, i32>> {
    let mut existing = BTreeMap::new();
    for (topic, description) in admin.describe_topics(topics.into_iter().cloned()).await {
        match description {
            Ok(TopicDescription { partitions, .. }) => {
                existing.insert(topic, i32::try_from(partitions.len()).unwrap_or(i32::MAX));
            }
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {}
            Err(error) => return Err(failed(format_args!("topic {topic}"), error)),
        }
    }
    Ok(existing)
}

async fn create(
    admin: &Admin,
    config: &StreamsConfig,
    required: &BTreeMap<String, RequiredTopic>,
    existing: &BTreeMap<String, i32>,
) -> Result<()> {
    let replication = config.fields().replication_factor;
    let missing = required.iter().filter(|(topic, _)| !existing.contains_key(*topic));
    let new = missing.map(|(topic, required)| {
        let new = NewTopic::new(topic).partitions(required.partitions).replication_factor(replication);
        required.config.iter().fold(new, |new, (key, value)| new.config(key, value))
    });
    for (topic, created) in admin.create_topics(new).await {
        match created {
            Ok(_) => tracing::info!(topic, "made an internal topic"),
            // Another instance has just made it, by the same plan.
            Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => {}
            Err(error) => return Err(failed(format_args!("internal topic {topic}"), error)),
        }
    }
    wait_until_known(admin, required.keys()).await
}

/// A topic that was just made may not be known to every broker yet.
async fn wait_until_known(admin: &Admin, topics: impl Iterator<Item = &String>) -> Result<()> {
    for topic in topics {
        let known: std::result::Result<_, ClientError> = admin.cluster().topic(topic).await;
        known.map_err(|error| failed(format_args!("internal topic {topic}"), error))?;
    }
    Ok(())
}
