//! What must be there before the first record: source topics exist, internal topics are made.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use vltava_client::{
    Admin, ClientError,
    admin::{NewTopic, TopicDescription},
};
use vltava_protocol::ErrorCode;

use super::{
    cluster::Refusal,
    internal_topics::{RequiredTopic, TopicsPlan, merged},
};
use crate::{
    config::StreamsConfig,
    error::{Error, Result},
    topology::{TopicsInfo, Topology},
};

/// How long one attempt to reach a broker may take, and the pause before the next.
const ATTEMPT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(500);
/// How seldom a warning is repeated.
const REPEAT: Duration = Duration::from_secs(60);

/// The topology as the threads need it: sub-topologies with their topics.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) subtopologies: BTreeMap<u32, TopicsInfo>,
    copartitioned: Vec<BTreeSet<String>>,
    /// The partitions of the internal topics.
    internal: BTreeMap<String, i32>,
}

impl Setup {
    pub(super) fn new(topology: &Topology, config: &StreamsConfig) -> Self {
        Setup {
            subtopologies: topology.subtopologies(config),
            copartitioned: merged(topology.copartition_groups(config.application_id())),
            internal: BTreeMap::new(),
        }
    }

    /// Why tasks cannot be dealt out, if they cannot, as the topics that are read are now.
    pub(super) fn refusal(&self, sources: &BTreeMap<String, i32>) -> Option<Refusal> {
        let read = self.subtopologies.values().flat_map(|info| &info.source_topics);
        let missing: BTreeSet<&String> = read.filter(|topic| !sources.contains_key(*topic)).collect();
        if !missing.is_empty() {
            return Some(Refusal::MissingSourceTopics(missing.into_iter().cloned().collect()));
        }
        let mut existing = self.internal.clone();
        existing.extend(sources.clone());
        self.plan(&existing).required().err().map(|error| Refusal::Topics(error.to_string()))
    }

    fn plan<'a>(&'a self, existing: &'a BTreeMap<String, i32>) -> TopicsPlan<'a> {
        TopicsPlan { subtopologies: &self.subtopologies, copartitioned: &self.copartitioned, existing }
    }
}

/// Tells now and then that the application waits, and for what.
struct Patience {
    begun: Instant,
    told: Option<Instant>,
}

impl Patience {
    fn begin() -> Self {
        Patience { begun: Instant::now(), told: None }
    }

    async fn pause(&mut self, error: &Error) {
        if self.told.is_none_or(|told| told.elapsed() >= REPEAT) {
            self.told = Some(Instant::now());
            let waited_s = self.begun.elapsed().as_secs();
            tracing::warn!(waited_s, "the application cannot begin yet, trying again: {error}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn reach(admin: &Admin) {
    let mut patience = Patience::begin();
    loop {
        let reached = tokio::time::timeout(ATTEMPT, admin.cluster().refresh()).await.unwrap_or_else(|_elapsed| {
            Err(ClientError::Timeout { what: "asking `bootstrap.servers` for metadata".into(), after: ATTEMPT })
        });
        match reached {
            Ok(_) => return,
            Err(error) => patience.pause(&Error::Client { doing: "reaching a broker".to_owned(), source: error }).await,
        }
    }
}

/// Looks the topics up, makes those that are missing and ours. As long as no broker answers it waits, as Kafka does, and
/// says so.
///
/// # Errors
/// If a source topic is missing, topics do not fit together, or the cluster refuses something.
pub(super) async fn prepare_patiently(topology: &Topology, config: &StreamsConfig, admin: &Admin) -> Result<Setup> {
    let mut patience = Patience::begin();
    loop {
        // Of a broker that is away no topic is to be blamed.
        reach(admin).await;
        match prepare(topology, config, admin).await {
            Err(error) if error.is_retriable() => patience.pause(&error).await,
            done => return done,
        }
    }
}

async fn prepare(topology: &Topology, config: &StreamsConfig, admin: &Admin) -> Result<Setup> {
    let mut setup = Setup::new(topology, config);
    let topics = setup.subtopologies.values().flat_map(|info| {
        let changelogs = info.changelog_topics.keys();
        info.source_topics.iter().chain(changelogs).chain(&info.sink_topics)
    });
    let topics: BTreeSet<&String> = topics.collect();
    let existing = existing(admin, topics).await?;
    let plan = setup.plan(&existing);
    let missing = plan.missing_source_topics();
    if !missing.is_empty() {
        return Err(Box::new(Error::MissingSourceTopic { topics: missing.into_iter().collect() }));
    }
    let required = plan.required()?;
    for topic in setup.subtopologies.values().flat_map(|info| &info.sink_topics) {
        if !existing.contains_key(topic) && !required.contains_key(topic) {
            tracing::warn!(
                topic,
                "an output topic does not exist: a task that writes to it makes no progress until it does, and ends its \
                 thread after `task.timeout.ms`"
            );
        }
    }
    create(admin, config, &required, &existing).await?;
    setup.internal = required.into_iter().map(|(topic, required)| (topic, required.partitions)).collect();
    Ok(setup)
}

/// Names the topic only where a broker has said something of it.
fn about(doing: &str, topic: &str, error: ClientError) -> Box<Error> {
    match error.code() {
        Some(_) => Error::client(format!("{doing} {topic}"), error),
        None => Error::client("looking after the topics", error),
    }
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
            Err(error) => return Err(about("looking up topic", &topic, error)),
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
            Err(error) => return Err(about("making internal topic", &topic, error)),
        }
    }
    wait_until_known(admin, required.keys()).await
}

/// A topic that was just made may not be known to every broker yet.
async fn wait_until_known(admin: &Admin, topics: impl Iterator<Item = &String>) -> Result<()> {
    for topic in topics {
        let known = admin.cluster().topic(topic).await;
        known.map_err(|error| about("waiting for internal topic", topic, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Setup;
    use crate::{StreamsBuilder, StreamsConfig, runtime::cluster::Refusal};

    const CHANGELOG: &str = "app-KSTREAM-AGGREGATE-STATE-STORE-0000000001-changelog";

    /// A count of a topic that had two partitions when the application began.
    fn refusal(sources: &[(&str, i32)]) -> Option<Refusal> {
        let builder = StreamsBuilder::new();
        builder.stream::<String, String>("lines").group_by_key().count().to_stream().to("out");
        let config = StreamsConfig::builder("app").build().unwrap();
        let mut setup = Setup::new(&builder.build().unwrap(), &config);
        setup.internal.insert(CHANGELOG.to_owned(), 2);
        let sources: BTreeMap<String, i32> =
            sources.iter().map(|(topic, count)| ((*topic).to_owned(), *count)).collect();
        setup.refusal(&sources)
    }

    #[test]
    fn tasks_are_dealt_out_as_long_as_the_topics_are_what_they_were() {
        assert_eq!(refusal(&[("lines", 2)]), None);
    }

    #[test]
    fn a_source_topic_that_was_deleted_is_named() {
        assert_eq!(refusal(&[]), Some(Refusal::MissingSourceTopics(vec!["lines".to_owned()])));
    }

    #[test]
    fn partitions_that_were_added_are_told_with_topic_counts_and_remedy() {
        let Some(Refusal::Topics(why)) = refusal(&[("lines", 3)]) else { panic!("dealt out") };
        for part in
            [CHANGELOG, "exists with 2 partitions", "3 are needed", "lines has 3", "kafka-streams-application-reset"]
        {
            assert!(why.contains(part), "{part} is not in: {why}");
        }
        assert!(!why.contains("delete"), "{why}");
    }
}
