//! What must be there before the first record: source topics exist, internal topics are made.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use vltava_client::{
    Admin, ClientError, TopicPartition,
    admin::{NewTopic, TopicDescription},
};
use vltava_protocol::ErrorCode;

use super::{
    internal_topics::{RequiredTopic, TopicsPlan, merged},
    refusal::Refusal,
};
use crate::{
    config::StreamsConfig,
    error::{Error, Result},
    task::TaskId,
    topology::{Matched, TopicsInfo, Topology},
};

/// How long one attempt to reach a broker may take, and the pause before the next.
const ATTEMPT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(500);
/// How seldom a warning is repeated.
const REPEAT: Duration = Duration::from_secs(60);

/// The topology as the threads need it: sub-topologies with their topics, as far as topics are there.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    topology: Arc<Topology>,
    config: Arc<StreamsConfig>,
    pub(super) subtopologies: BTreeMap<u32, TopicsInfo>,
    copartitioned: Vec<BTreeSet<String>>,
    /// What patterns take.
    matched: Matched,
    /// The partitions of the internal topics.
    internal: BTreeMap<String, i32>,
}

impl Setup {
    /// `topics` are those that patterns may match.
    ///
    /// # Errors
    /// If two patterns match one.
    pub(super) fn new(
        topology: &Arc<Topology>,
        config: &Arc<StreamsConfig>,
        topics: impl IntoIterator<Item = String>,
    ) -> Result<Self> {
        let matched = topology.matched(topics, config.application_id())?;
        Ok(Setup {
            topology: topology.clone(),
            config: config.clone(),
            subtopologies: topology.subtopologies_with(config, &matched),
            copartitioned: merged(topology.copartition_groups_with(config.application_id(), &matched)),
            matched,
            internal: BTreeMap::new(),
        })
    }

    /// Whether it can become another one, as topics come and go.
    pub(super) fn has_patterns(&self) -> bool {
        self.topology.has_patterns()
    }

    /// Those of the tasks that have stores with changelogs.
    pub(super) fn stateful<T>(&self, tasks: &BTreeMap<TaskId, T>) -> BTreeSet<TaskId> {
        tasks.keys().copied().filter(|task| self.has_changelogs(*task)).collect()
    }

    /// Whether a task has stores with changelogs.
    pub(super) fn has_changelogs(&self, task: TaskId) -> bool {
        self.subtopologies.get(&task.subtopology).is_some_and(|info| !info.changelog_topics.is_empty())
    }

    /// The partitions that a task reads.
    pub(super) fn inputs_of(&self, task: TaskId) -> Vec<TopicPartition> {
        let topics = self.subtopologies.get(&task.subtopology).into_iter().flat_map(|info| &info.source_topics);
        topics.map(|topic| TopicPartition::new(topic.as_str(), task.partition)).collect()
    }

    /// The sub-topology that reads a topic, also one that has come since.
    pub(super) fn subtopology_of(&self, topic: &str) -> Option<u32> {
        let mut infos = self.subtopologies.iter();
        let known = infos.find(|(_, info)| info.source_topics.contains(topic)).map(|(number, _)| *number);
        known.or_else(|| self.topology.subtopology_by_pattern(topic))
    }

    /// The topics that it reads, keeps and writes.
    fn topics(&self) -> BTreeSet<&String> {
        let topics = self.subtopologies.values().flat_map(|info| {
            let changelogs = info.changelog_topics.keys();
            info.source_topics.iter().chain(changelogs).chain(&info.sink_topics)
        });
        topics.collect()
    }

    /// The same where these topics are there.
    ///
    /// # Errors
    /// If two patterns match one.
    pub(super) fn with_topics(&self, topics: impl IntoIterator<Item = String>) -> Result<Setup> {
        Setup::new(&self.topology, &self.config, topics)
    }

    /// What becomes of it with these topics, if anything does: internal topics that are new are made.
    ///
    /// # Errors
    /// If two patterns match a topic, or topics do not fit together, or the cluster refuses something.
    pub(super) async fn renewed(&self, sources: &BTreeMap<String, i32>, admin: &Admin) -> Result<Option<Setup>> {
        let renewed = self.with_topics(sources.keys().cloned())?;
        if renewed.matched == self.matched {
            return Ok(None);
        }
        let mut existing = existing(admin, renewed.topics()).await?;
        existing.extend(sources.clone());
        renewed.complete(admin, &existing).await.map(Some)
    }

    /// Makes the internal topics that do not exist.
    async fn complete(mut self, admin: &Admin, existing: &BTreeMap<String, i32>) -> Result<Setup> {
        let plan = self.plan(existing);
        let missing = plan.missing_source_topics();
        if !missing.is_empty() {
            return Err(Box::new(Error::MissingSourceTopic { topics: missing.into_iter().collect() }));
        }
        let required = plan.required()?;
        for topic in self.subtopologies.values().flat_map(|info| &info.sink_topics) {
            if !existing.contains_key(topic) && !required.contains_key(topic) {
                tracing::warn!(
                    topic,
                    "an output topic does not exist: a task that writes to it makes no progress until it does, and ends \
                     its thread after `task.timeout.ms`"
                );
            }
        }
        for pattern in self.topology.patterns_without_topics(&self.matched) {
            tracing::warn!(%pattern, "no topic matches the pattern of a source: it reads nothing until one does");
        }
        create(admin, &self.config, &required, existing).await?;
        self.internal = required.into_iter().map(|(topic, required)| (topic, required.partitions)).collect();
        Ok(self)
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
        self.plan(&existing).required().err().map(|error| Refusal::Assignment(error.to_string()))
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

/// # Errors
/// If a broker does not let the application in: the next one would not, either.
async fn reach(admin: &Admin) -> Result<()> {
    let mut patience = Patience::begin();
    loop {
        let reached = tokio::time::timeout(ATTEMPT, admin.cluster().refresh()).await.unwrap_or_else(|_elapsed| {
            Err(ClientError::Timeout { what: "asking `bootstrap.servers` for metadata".into(), after: ATTEMPT })
        });
        match reached {
            Ok(_) => return Ok(()),
            Err(error @ ClientError::SaslAuthentication { .. }) => {
                return Err(Error::client("reaching a broker", error));
            }
            Err(error) => patience.pause(&Error::Client { doing: "reaching a broker".to_owned(), source: error }).await,
        }
    }
}

/// Looks the topics up, makes those that are missing and ours. As long as no broker answers it waits, as Kafka does, and
/// says so.
///
/// # Errors
/// If a source topic is missing, topics do not fit together, or the cluster refuses something.
pub(super) async fn prepare_patiently(
    topology: &Arc<Topology>,
    config: &Arc<StreamsConfig>,
    admin: &Admin,
) -> Result<Setup> {
    let mut patience = Patience::begin();
    loop {
        // Of a broker that is away no topic is to be blamed.
        reach(admin).await?;
        match prepare(topology, config, admin).await {
            Err(error) if error.is_retriable() => patience.pause(&error).await,
            done => return done,
        }
    }
}

async fn prepare(topology: &Arc<Topology>, config: &Arc<StreamsConfig>, admin: &Admin) -> Result<Setup> {
    let setup = Setup::new(topology, config, to_match(topology, admin).await?)?;
    let existing = existing(admin, setup.topics()).await?;
    // One that matches may have gone meanwhile.
    setup.with_topics(existing.keys().cloned())?.complete(admin, &existing).await
}

/// The topics of the cluster, if there are patterns for them; without Kafka's own ones.
pub(super) async fn to_match(topology: &Topology, admin: &Admin) -> Result<Vec<String>> {
    if !topology.has_patterns() {
        return Ok(Vec::new());
    }
    let topics = admin.list_topics().await.map_err(|error| Error::client("listing the topics", error))?;
    Ok(topics.into_values().filter(|topic| !topic.is_internal).map(|topic| topic.name).collect())
}

/// Names the topic only where a broker has said something of it.
fn about(doing: &str, topic: &str, error: ClientError) -> Box<Error> {
    match error.code() {
        Some(_) => Error::client(format!("{doing} {topic}"), error),
        None => Error::client("looking after the topics", error),
    }
}

/// The partitions of those topics that exist.
async fn existing(admin: &Admin, topics: impl IntoIterator<Item = &String>) -> Result<BTreeMap<String, i32>> {
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
    use std::{collections::BTreeMap, sync::Arc};

    use super::Setup;
    use crate::{StreamsBuilder, StreamsConfig, runtime::refusal::Refusal};

    const CHANGELOG: &str = "app-KSTREAM-AGGREGATE-STATE-STORE-0000000001-changelog";

    /// A count of a topic that had two partitions when the application began.
    fn refusal(sources: &[(&str, i32)]) -> Option<Refusal> {
        let builder = StreamsBuilder::new();
        builder.stream::<String, String>("lines").group_by_key().count().to_stream().to("out");
        let config = StreamsConfig::builder("app").build().unwrap();
        let mut setup = Setup::new(&Arc::new(builder.build().unwrap()), &Arc::new(config), []).unwrap();
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
        let Some(Refusal::Assignment(why)) = refusal(&[("lines", 3)]) else { panic!("dealt out") };
        for part in
            [CHANGELOG, "exists with 2 partitions", "3 are needed", "lines has 3", "kafka-streams-application-reset"]
        {
            assert!(why.contains(part), "{part} is not in: {why}");
        }
        assert!(!why.contains("delete"), "{why}");
    }
}
