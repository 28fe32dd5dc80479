//! A thread as a member of a streams group (KIP-1071): what it tells of the topology, and what the group's state means to it.
//!
//! Under this protocol the broker makes internal topics, assigns tasks, and says who has which partitions. `vltava-client` has the
//! state machine; its listener is that of the other protocol.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use vltava_client::{
    TopicPartition,
    consumer::streams_group::{
        EndpointPartitions, InternalTopic, StreamsAssignment, StreamsGroup, StreamsGroupStatus, StreamsMember,
        StreamsTaskId, Subtopology,
    },
};

use super::{cluster::Cluster, kafka_streams::Shared};
use crate::{
    config::StreamsConfig,
    error::{Error, Result},
    query::HostInfo,
    task::TaskId,
    topology::{InternalTopicConfig, Topology},
};

/// How many heartbeats the group's source topics may be missing, as in Kafka.
const PATIENCE_IN_HEARTBEATS: u32 = 2;

/// What a thread of the application says of itself when it joins.
///
/// # Errors
/// [`Error::Internal`] if topics that must have equally many partitions are of several sub-topologies.
pub(super) fn member(shared: &Shared) -> Result<StreamsMember> {
    let tags = shared.config.originals().filter_map(|(key, value)| Some((key.strip_prefix("client.tag.")?, value)));
    Ok(StreamsMember {
        process_id: shared.process_id.to_string(),
        endpoint: shared.host.as_ref().map(|host| (host.host().to_owned(), host.port())),
        client_tags: tags.map(|(tag, value)| (tag.to_owned(), value.to_owned())).collect(),
        subtopologies: subtopologies(&shared.topology, &shared.config)?,
    })
}

fn subtopologies(topology: &Topology, config: &StreamsConfig) -> Result<BTreeMap<String, Subtopology>> {
    let replication_factor = config.fields().replication_factor;
    let internal = |topics: &BTreeMap<String, InternalTopicConfig>| -> BTreeMap<String, InternalTopic> {
        let topic = |(name, topic): (&String, &InternalTopicConfig)| {
            let (partitions, config) = (topic.partitions, topic.config.clone());
            (name.clone(), InternalTopic { partitions, replication_factor, config })
        };
        topics.iter().map(topic).collect()
    };
    let infos = topology.subtopologies(config);
    let repartition: BTreeSet<&String> = infos.values().flat_map(|info| info.repartition_topics.keys()).collect();
    let groups = topology.copartition_groups(config.application_id());
    let mut described = BTreeMap::new();
    for (number, info) in &infos {
        let is_own = |topic: &&String| !info.repartition_topics.contains_key(*topic);
        let subtopology = Subtopology {
            source_topics: info.source_topics.iter().filter(is_own).cloned().collect(),
            repartition_sink_topics: info
                .sink_topics
                .iter()
                .filter(|topic| repartition.contains(topic))
                .cloned()
                .collect(),
            repartition_source_topics: internal(&info.repartition_topics),
            state_changelog_topics: internal(&info.changelog_topics),
            copartition_groups: groups.iter().filter(|group| group.is_subset(&info.source_topics)).cloned().collect(),
        };
        described.insert(number.to_string(), subtopology);
    }
    let told: usize = described.values().map(|subtopology| subtopology.copartition_groups.len()).sum();
    if told != groups.len() {
        return Err(Error::internal("a group of co-partitioned topics is not of one sub-topology"));
    }
    Ok(described)
}

/// The tasks of which a member is to have the stores only.
pub(super) fn standbys(assignment: &StreamsAssignment) -> BTreeSet<TaskId> {
    let tasks = assignment.standby.iter().chain(&assignment.warmup);
    // The numbers are those that it was told.
    let of =
        |task: &StreamsTaskId| Some(TaskId { subtopology: task.subtopology.parse().ok()?, partition: task.partition });
    tasks.filter_map(of).collect()
}

/// The topics that the coordinator names, as Kafka's words it; all of it where it says something else.
fn missing_topics(why: &str) -> Vec<String> {
    let named = why.strip_prefix("Source topics ").and_then(|rest| rest.strip_suffix(" are missing."));
    named.map_or_else(|| vec![why.to_owned()], |topics| topics.split(", ").map(str::to_owned).collect())
}

/// What a thread does about the state of its group, which it looks at after each poll.
#[derive(Debug, Default)]
pub(super) struct GroupWatch {
    /// Since when source topics are missing.
    missing_since: Option<Instant>,
    endpoints: Arc<EndpointPartitions>,
}

impl GroupWatch {
    /// Takes in the state. Whether the group is ready to process records.
    ///
    /// # Errors
    /// [`Error::ShutdownRequested`] if a member has asked all to end, [`Error::MissingSourceTopic`] if source topics are missing
    /// for longer than two heartbeats, [`Error::Streams`] if topics do not fit together.
    pub(super) fn look(&mut self, group: &StreamsGroup, now: Instant) -> Result<bool> {
        let mut missing = None;
        for status in group.statuses.iter() {
            match status {
                StreamsGroupStatus::ShutdownApplication(_) => return Err(Box::new(Error::ShutdownRequested)),
                StreamsGroupStatus::IncorrectlyPartitionedTopics(why) => return Err(Error::streams(why.clone())),
                StreamsGroupStatus::MissingSourceTopics(why) => missing = Some(why),
                _ => {}
            }
        }
        match missing {
            None => self.missing_since = None,
            Some(why) => self.wait_for_topics(why, group.heartbeat_interval * PATIENCE_IN_HEARTBEATS, now)?,
        }
        Ok(group.assignment.is_group_ready)
    }

    fn wait_for_topics(&mut self, why: &str, patience: Duration, now: Instant) -> Result<()> {
        let since = *self.missing_since.get_or_insert(now);
        if now.duration_since(since) < patience {
            return Ok(());
        }
        Err(Box::new(Error::MissingSourceTopic { topics: missing_topics(why) }))
    }

    /// Who has which partitions, if that is other than when this was asked last.
    pub(super) fn take_endpoints(&mut self, group: &StreamsGroup) -> Option<Cluster> {
        // Before the first answer nothing is known, and what another thread was told stands.
        if Arc::ptr_eq(&self.endpoints, &group.endpoints) || self.endpoints == group.endpoints {
            return None;
        }
        self.endpoints = group.endpoints.clone();
        let hosts = |some: &BTreeMap<(String, u16), BTreeSet<TopicPartition>>| {
            some.iter().map(|((host, port), partitions)| (HostInfo::new(host, *port), partitions.clone())).collect()
        };
        Some(Cluster::told(hosts(&group.endpoints.active), hosts(&group.endpoints.standby), &[]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Materialized, StreamsBuilder};

    const INTERVAL: Duration = Duration::from_secs(5);

    fn group(statuses: impl IntoIterator<Item = StreamsGroupStatus>) -> StreamsGroup {
        StreamsGroup {
            statuses: statuses.into_iter().collect(),
            heartbeat_interval: INTERVAL,
            ..StreamsGroup::default()
        }
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_topology_is_told_as_the_jvm_tells_it() {
        let builder = StreamsBuilder::new();
        let words = builder.stream::<String, String>("lines").group_by(|_, word| word.clone());
        let counts = words.count_with(Materialized::named("counts"));
        let table = builder.table::<String, String>("names");
        counts.join(&table, |count, name| format!("{name}{count}")).to_stream().to("out");
        let config = StreamsConfig::from_properties([("application.id", "app"), ("replication.factor", "3")]).unwrap();
        let told = subtopologies(&builder.build().unwrap(), &config).unwrap();
        assert_eq!(told.keys().collect::<Vec<_>>(), ["0", "1"]);
        let (reads, counts) = (&told["0"], &told["1"]);
        assert_eq!(reads.source_topics, set(&["lines"]));
        assert_eq!(reads.repartition_sink_topics, set(&["app-counts-repartition"]));
        assert!(reads.repartition_source_topics.is_empty() && reads.state_changelog_topics.is_empty());
        assert_eq!(counts.source_topics, set(&["names"]), "repartition topics are told by themselves");
        let repartition = &counts.repartition_source_topics["app-counts-repartition"];
        assert_eq!((repartition.partitions, repartition.replication_factor), (None, 3));
        assert_eq!(repartition.config["cleanup.policy"], "delete");
        let changelog = &counts.state_changelog_topics["app-counts-changelog"];
        assert_eq!((changelog.partitions, changelog.config["cleanup.policy"].as_str()), (None, "compact"));
        assert_eq!(counts.copartition_groups, [set(&["app-counts-repartition", "names"])]);
    }

    #[test]
    fn standbys_and_warm_ups_have_stores_only() {
        let task = |subtopology: &str, partition| StreamsTaskId { subtopology: subtopology.to_owned(), partition };
        let assignment = StreamsAssignment {
            active: [task("0", 0)].into(),
            standby: [task("1", 2)].into(),
            warmup: [task("10", 1)].into(),
            is_group_ready: true,
        };
        let expected = [(1, 2), (10, 1)].map(|(subtopology, partition)| TaskId { subtopology, partition });
        assert_eq!(standbys(&assignment), expected.into());
    }

    #[test]
    fn source_topics_may_be_missing_for_two_heartbeats() {
        let missing = group([StreamsGroupStatus::MissingSourceTopics("Source topics lines are missing.".to_owned())]);
        let (mut watch, begun) = (GroupWatch::default(), Instant::now());
        assert!(!watch.look(&missing, begun).unwrap(), "it is not ready");
        assert!(watch.look(&missing, begun + INTERVAL * 2 - Duration::from_millis(1)).is_ok());
        assert!(watch.look(&group([]), begun + INTERVAL).is_ok());
        let again = begun + INTERVAL * 3;
        assert!(watch.look(&missing, again).is_ok(), "it is counted anew");
        let error = watch.look(&missing, again + INTERVAL * 2).unwrap_err();
        assert!(matches!(*error, Error::MissingSourceTopic { .. }), "{error}");
        assert_eq!(error.to_string(), "missing source topics: lines");
        assert_eq!(missing_topics("something else"), ["something else"]);
    }

    #[test]
    fn what_the_group_says_ends_the_thread_or_does_not() {
        let why = || "why".to_owned();
        let look = |status| GroupWatch::default().look(&group([status]), Instant::now());
        assert!(matches!(*look(StreamsGroupStatus::ShutdownApplication(why())).unwrap_err(), Error::ShutdownRequested));
        let error = look(StreamsGroupStatus::IncorrectlyPartitionedTopics(why())).unwrap_err();
        assert_eq!(error.to_string(), "why");
        for status in [
            StreamsGroupStatus::StaleTopology(why()),
            StreamsGroupStatus::MissingInternalTopics(why()),
            StreamsGroupStatus::AssignmentDelayed(why()),
            StreamsGroupStatus::Other(77, why()),
        ] {
            assert!(look(status).is_ok());
        }
    }

    #[test]
    fn endpoints_are_taken_over_once() {
        let partitions: BTreeSet<_> = (0..2).map(|partition| TopicPartition::new("lines", partition)).collect();
        let endpoints = EndpointPartitions {
            active: [(("here".to_owned(), 80), partitions.clone())].into(),
            standby: BTreeMap::new(),
        };
        let group = StreamsGroup { endpoints: Arc::new(endpoints), ..StreamsGroup::default() };
        let mut watch = GroupWatch::default();
        assert_eq!(watch.take_endpoints(&StreamsGroup::default()), None);
        let cluster = watch.take_endpoints(&group).unwrap();
        assert_eq!(cluster.hosts, [(HostInfo::new("here", 80), partitions)].into());
        assert_eq!(cluster.partitions["lines"], 2);
        assert_eq!(watch.take_endpoints(&group), None);
    }
}
