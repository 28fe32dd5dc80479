//! How many partitions the topics of a topology have, and which of them are still missing.
//!
//! Where counts depend on the order in which subtopologies are looked at, it is that of Java's maps, as in Kafka.

use std::collections::{BTreeMap, BTreeSet};

use vltava_protocol::ErrorCode;
use vltava_protocol::java;
use vltava_protocol::records::group::streams_group_topology_value::{Subtopology, TopicInfo};

use super::status::StatusCode;
use super::topology::{StreamsTopology, source_topics};
use crate::coordinator::group::TopicMetadata;
use crate::coordinator::group::shard::Refused;

/// A topology with the counts of its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct ConfiguredTopology {
    /// None if the counts cannot be told: topics that are read are missing, or do not fit together.
    pub(super) subtopologies: Option<BTreeMap<String, ConfiguredSubtopology>>,
    /// Topics that are to be created.
    pub(super) missing: Vec<InternalTopic>,
    /// What keeps the topology from running, and how members are told.
    pub(super) problem: Option<(StatusCode, String)>,
}

impl ConfiguredTopology {
    pub(super) fn is_ready(&self) -> bool {
        self.problem.is_none()
    }
}

/// A subtopology with the counts of its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct ConfiguredSubtopology {
    /// The number of tasks: of partitions of the topic with the most.
    pub(super) tasks: i32,
    pub(super) source_topics: BTreeSet<String>,
    pub(super) repartition_sink_topics: BTreeSet<String>,
    pub(super) repartition_source_topics: BTreeMap<String, InternalTopic>,
    pub(super) state_changelog_topics: BTreeMap<String, InternalTopic>,
}

/// A topic that belongs to the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InternalTopic {
    pub(crate) name: String,
    /// At least 1.
    pub(crate) partitions: i32,
    /// 0 for the broker's default.
    pub(crate) replication_factor: i16,
    pub(crate) configs: BTreeMap<String, String>,
}

/// Why a topology does not run.
enum Problem {
    /// Members are told, and the group waits until the topics change.
    Status(StatusCode, String),
    /// The topology cannot be.
    Refused(Refused),
}

/// Finds the counts of a topology's topics and what is missing.
///
/// # Errors
///
/// `STREAMS_INVALID_TOPOLOGY`, and `UNKNOWN_SERVER_ERROR` for one that contradicts itself, as Kafka answers that.
pub(super) fn configure(topology: &StreamsTopology, topics: &dyn TopicMetadata) -> Result<ConfiguredTopology, Refused> {
    match Configuration::new(topology, topics).run() {
        Ok(configured) => Ok(configured),
        Err(Problem::Refused(refused)) => Err(refused),
        Err(Problem::Status(code, text)) => {
            Ok(ConfiguredTopology { subtopologies: None, missing: Vec::new(), problem: Some((code, text)) })
        }
    }
}

struct Configuration<'a> {
    /// In the order of Java's map of them.
    subtopologies: Vec<&'a Subtopology>,
    topology: &'a StreamsTopology,
    topics: &'a dyn TopicMetadata,
    /// Counts of internal topics.
    decided: BTreeMap<&'a str, i32>,
}

impl<'a> Configuration<'a> {
    fn new(topology: &'a StreamsTopology, topics: &'a dyn TopicMetadata) -> Self {
        let all: Vec<_> = topology.subtopologies.values().collect();
        let mut subtopologies = all;
        let table = java::grown(subtopologies.len());
        java::sort_by_bucket(&mut subtopologies, table, |subtopology| java::string_hash(&subtopology.subtopology_id));
        Self { subtopologies, topology, topics, decided: BTreeMap::new() }
    }

    fn run(mut self) -> Result<ConfiguredTopology, Problem> {
        self.check_source_topics()?;
        self.decided = self.repartition_topics()?;
        self.copartition()?;
        self.changelogs()?;
        let mut subtopologies = BTreeMap::new();
        for (id, subtopology) in &self.topology.subtopologies {
            subtopologies.insert(id.clone(), self.subtopology(subtopology)?);
        }
        let missing = self.missing(&subtopologies)?;
        let problem = (!missing.is_empty()).then(|| {
            let names: Vec<&str> = missing.iter().map(|topic| topic.name.as_str()).collect();
            (StatusCode::MissingInternalTopics, format!("Internal topics are missing: {}", summary(&names)))
        });
        Ok(ConfiguredTopology { subtopologies: Some(subtopologies), missing, problem })
    }

    fn existing(&self, topic: &str) -> Option<i32> {
        self.topics.topic(topic).map(|(_, partitions)| partitions)
    }

    /// The count of a topic that is there, or that is decided.
    fn count(&self, topic: &str) -> Option<i32> {
        self.existing(topic).or_else(|| self.decided.get(topic).copied())
    }

    fn check_source_topics(&self) -> Result<(), Problem> {
        let all = self.subtopologies.iter().flat_map(|subtopology| &subtopology.source_topics);
        let missing: BTreeSet<&str> = all.map(String::as_str).filter(|topic| self.existing(topic).is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let missing: Vec<&str> = missing.into_iter().collect();
        let text = format!("Source topics {} are missing.", summary(&missing));
        Err(Problem::Status(StatusCode::MissingSourceTopics, text))
    }

    /// Counts of repartition topics: as given, or as many as the subtopology that writes to one has.
    fn repartition_topics(&self) -> Result<BTreeMap<&'a str, i32>, Problem> {
        let mut counts: BTreeMap<&str, i32> = BTreeMap::new();
        for subtopology in &self.subtopologies {
            let given = subtopology.repartition_source_topics.iter().filter(|topic| topic.partitions != 0);
            counts.extend(given.map(|topic| (topic.name.as_str(), topic.partitions)));
        }
        loop {
            let (mut is_open, mut any) = (false, false);
            for subtopology in &self.subtopologies {
                for sink in &subtopology.repartition_sink_topics {
                    if counts.contains_key(sink.as_str()) {
                        continue;
                    }
                    let sources = subtopology
                        .repartition_source_topics
                        .iter()
                        .filter_map(|it| counts.get(it.name.as_str()).copied());
                    let outer = subtopology.source_topics.iter().filter_map(|topic| self.existing(topic));
                    match sources.chain(outer).max() {
                        Some(count) => {
                            counts.insert(sink, count);
                            any = true;
                        }
                        None => is_open = true,
                    }
                }
            }
            if !is_open {
                break;
            }
            if !any {
                return Err(invalid(
                    "Failed to compute number of partitions for all repartition topics. There may be loops in the \
                     topology that cannot be resolved."
                        .to_owned(),
                ));
            }
        }
        let mut sources = self.subtopologies.iter().flat_map(|subtopology| &subtopology.repartition_source_topics);
        if sources.all(|topic| counts.contains_key(topic.name.as_str())) {
            return Ok(counts);
        }
        Err(invalid(
            "Failed to compute number of partitions for all repartition topics, because a repartition source topic is \
             never used as a sink topic."
                .to_owned(),
        ))
    }

    /// Topics that are joined have as many partitions as each other.
    fn copartition(&mut self) -> Result<(), Problem> {
        let repartition = self.subtopologies.iter().flat_map(|subtopology| &subtopology.repartition_source_topics);
        let (fixed, flexible): (Vec<&TopicInfo>, Vec<&TopicInfo>) =
            repartition.partition(|topic| topic.partitions != 0);
        let names = |topics: Vec<&'a TopicInfo>| topics.into_iter().map(|topic| topic.name.as_str()).collect();
        let (fixed, flexible): (BTreeSet<&str>, BTreeSet<&str>) = (names(fixed), names(flexible));
        for subtopology in self.subtopologies.clone() {
            for group in &subtopology.copartition_groups {
                let mut topics: BTreeSet<&'a str> = BTreeSet::new();
                for index in &group.source_topics {
                    let topic = usize::try_from(*index).ok().and_then(|index| subtopology.source_topics.get(index));
                    topics.insert(topic.ok_or_else(contradiction)?);
                }
                for index in &group.repartition_source_topics {
                    let topics_of = &subtopology.repartition_source_topics;
                    let topic = usize::try_from(*index).ok().and_then(|index| topics_of.get(index));
                    topics.insert(&topic.ok_or_else(contradiction)?.name);
                }
                self.copartition_group(&topics, &fixed, &flexible)?;
            }
        }
        Ok(())
    }

    fn copartition_group(
        &mut self,
        topics: &BTreeSet<&'a str>,
        fixed: &BTreeSet<&str>,
        flexible: &BTreeSet<&str>,
    ) -> Result<(), Problem> {
        let (mut repartition, mut others) = (BTreeMap::new(), BTreeMap::new());
        for topic in topics {
            let count = self.count(topic).ok_or_else(contradiction)?;
            let place = if fixed.contains(topic) || flexible.contains(topic) { &mut repartition } else { &mut others };
            place.insert(*topic, count);
        }
        let wanted = if let Some(first) = others.values().next().copied() {
            same(&others, others.values().copied(), first)?
        } else if let Some(first) = fixed.iter().next() {
            // As Kafka: all fixed topics of the topology are held against each other, not those of the group alone.
            let counts: Option<Vec<i32>> = fixed.iter().map(|topic| self.count(topic)).collect();
            let first = self.count(first).ok_or_else(contradiction)?;
            same(&repartition, counts.ok_or_else(contradiction)?.into_iter(), first)?
        } else if let Some(most) = repartition.values().max() {
            *most
        } else {
            return Ok(());
        };
        for (topic, count) in &repartition {
            if fixed.contains(topic) && *count != wanted {
                return Err(Problem::Status(
                    StatusCode::IncorrectlyPartitionedTopics,
                    format!(
                        "Number of partitions [{count}] of repartition topic [{topic}] doesn't match number of \
                         partitions [{wanted}] of the source topic."
                    ),
                ));
            }
        }
        self.decided.extend(repartition.keys().map(|topic| (*topic, wanted)));
        Ok(())
    }

    /// The count of the topic with the most partitions that a subtopology reads.
    fn tasks(&self, subtopology: &Subtopology) -> Result<i32, Problem> {
        let counts: Option<Vec<i32>> = source_topics(subtopology).map(|topic| self.count(topic)).collect();
        let most = counts.ok_or_else(contradiction)?.into_iter().max();
        most.ok_or_else(|| invalid(format!("No source topics found for subtopology {}", subtopology.subtopology_id)))
    }

    fn changelogs(&mut self) -> Result<(), Problem> {
        let mut counts = Vec::new();
        for subtopology in &self.subtopologies {
            let tasks = self.tasks(subtopology)?;
            counts.extend(subtopology.state_changelog_topics.iter().map(|topic| (topic.name.as_str(), tasks)));
        }
        self.decided.extend(counts);
        Ok(())
    }

    fn subtopology(&self, subtopology: &Subtopology) -> Result<ConfiguredSubtopology, Problem> {
        let internal = |topics: &[TopicInfo]| -> Result<BTreeMap<String, InternalTopic>, Problem> {
            topics.iter().map(|topic| Ok((topic.name.clone(), self.internal(topic)?))).collect()
        };
        let tasks = self.tasks(subtopology)?;
        if tasks < 1 {
            return Err(contradiction());
        }
        Ok(ConfiguredSubtopology {
            tasks,
            source_topics: subtopology.source_topics.iter().cloned().collect(),
            repartition_sink_topics: subtopology.repartition_sink_topics.iter().cloned().collect(),
            repartition_source_topics: internal(&subtopology.repartition_source_topics)?,
            state_changelog_topics: internal(&subtopology.state_changelog_topics)?,
        })
    }

    fn internal(&self, topic: &TopicInfo) -> Result<InternalTopic, Problem> {
        let partitions = match topic.partitions {
            0 => self.decided.get(topic.name.as_str()).copied().ok_or_else(contradiction)?,
            partitions => partitions,
        };
        if partitions < 1 {
            return Err(contradiction());
        }
        Ok(InternalTopic {
            name: topic.name.clone(),
            partitions,
            replication_factor: topic.replication_factor,
            configs: topic.topic_configs.iter().map(|config| (config.key.clone(), config.value.clone())).collect(),
        })
    }

    /// Returns the internal topics that are not there, in the order of Java's map of all of them.
    fn missing(&self, subtopologies: &BTreeMap<String, ConfiguredSubtopology>) -> Result<Vec<InternalTopic>, Problem> {
        let mut wanted: Vec<&InternalTopic> = Vec::new();
        for subtopology in subtopologies.values() {
            let topics =
                subtopology.repartition_source_topics.values().chain(subtopology.state_changelog_topics.values());
            for topic in topics {
                wanted.retain(|other| other.name != topic.name);
                wanted.push(topic);
            }
        }
        let table = java::grown(wanted.len());
        java::sort_by_bucket(&mut wanted, table, |topic| java::string_hash(&topic.name));
        let mut missing = Vec::new();
        for topic in wanted {
            match self.existing(&topic.name) {
                None => missing.push(topic.clone()),
                Some(found) if found != topic.partitions => {
                    return Err(Problem::Status(
                        StatusCode::IncorrectlyPartitionedTopics,
                        format!(
                            "Existing topic {} has different number of partitions: expected {}, found {found}",
                            topic.name, topic.partitions
                        ),
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(missing)
    }
}

fn same(topics: &BTreeMap<&str, i32>, mut counts: impl Iterator<Item = i32>, wanted: i32) -> Result<i32, Problem> {
    if counts.all(|count| count == wanted) {
        return Ok(wanted);
    }
    let told: Vec<String> = topics.iter().map(|(topic, count)| format!("{topic}={count}")).collect();
    Err(Problem::Status(
        StatusCode::IncorrectlyPartitionedTopics,
        format!("Following topics do not have the same number of partitions: [{{{}}}]", told.join(", ")),
    ))
}

/// Names the first three topics.
fn summary(topics: &[&str]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<&str> = topics.iter().take(SHOWN).copied().collect();
    let rest = match topics.len().saturating_sub(SHOWN) {
        0 => String::new(),
        rest => format!(" and {rest} additional topics"),
    };
    shown.join(", ") + &rest
}

fn invalid(text: String) -> Problem {
    Problem::Refused(Refused::new(ErrorCode::StreamsInvalidTopology, text))
}

/// As Kafka answers what it takes for impossible.
fn contradiction() -> Problem {
    Problem::Refused(ErrorCode::UnknownServerError.into())
}
