//! The topics of every sub-topology, those it reads and writes and those that are its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use vltava_protocol::java;

use super::{Matched, NodeKind, Topology};
use crate::{
    config::StreamsConfig,
    store::{StoreFactory, StoreKind},
    task_id::TaskId,
};

/// The topics of one sub-topology, with the application's prefix where they are internal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicsInfo {
    /// What it reads.
    pub source_topics: BTreeSet<String>,
    /// The patterns by which it reads topics; those that match at the time are among its source topics.
    pub source_patterns: BTreeSet<String>,
    /// What it writes, as far as that is known before a record is seen.
    pub sink_topics: BTreeSet<String>,
    /// Its repartition topics, by name.
    pub repartition_topics: BTreeMap<String, InternalTopicConfig>,
    /// The changelogs of its stores, by name; a source topic may be among them.
    pub changelog_topics: BTreeMap<String, InternalTopicConfig>,
}

/// How an internal topic is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InternalTopicConfig {
    /// Its number of partitions where the topology fixes it.
    pub partitions: Option<i32>,
    /// Its settings, by Kafka's keys.
    pub config: BTreeMap<String, String>,
}

impl InternalTopicConfig {
    fn of(pairs: &[(&str, &str)]) -> Self {
        let config = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        InternalTopicConfig { partitions: None, config }
    }
}

/// A changelog that a store of a task writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WrittenChangelog {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    /// The first node of its store: those of stores downstream are greater.
    pub(crate) rank: usize,
    /// Whether something that comes of its rows may be in memory alone until a flush: in a record cache downstream, or in
    /// what `suppress` holds back.
    pub(crate) until_flush: bool,
}

impl Topology {
    /// The topics of every sub-topology that makes tasks, by its number, as if no topic matched a pattern.
    #[must_use]
    pub fn subtopologies(&self, config: &StreamsConfig) -> BTreeMap<u32, TopicsInfo> {
        self.subtopologies_with(config, &Matched::default())
    }

    /// The topics of every sub-topology that makes tasks, by its number.
    pub(crate) fn subtopologies_with(&self, config: &StreamsConfig, matched: &Matched) -> BTreeMap<u32, TopicsInfo> {
        let mut infos = BTreeMap::new();
        for (number, group) in (0..).zip(self.node_groups()) {
            let info = self.topics_info(&group, config, matched);
            if !info.source_topics.is_empty() {
                infos.insert(number, info);
            }
        }
        infos
    }

    fn topics_info(&self, group: &[usize], config: &StreamsConfig, matched: &Matched) -> TopicsInfo {
        let mut info = TopicsInfo::default();
        let application = config.application_id();
        for id in group {
            match self.node(*id).map(|node| &node.kind) {
                Some(NodeKind::Source { pattern: Some(pattern), .. }) => {
                    info.source_patterns.insert(pattern.to_string());
                    info.source_topics.extend(matched.of(*id).cloned());
                }
                Some(NodeKind::Source { topics, .. }) => {
                    for topic in topics.iter().filter(|topic| !self.global_topics.contains(*topic)) {
                        let name = self.decorate(topic, application);
                        if let Some(partitions) = self.internal_topics.get(topic) {
                            let repartition = repartition_config(*partitions, config);
                            info.repartition_topics.insert(name.clone(), repartition);
                        }
                        info.source_topics.insert(name);
                    }
                }
                Some(NodeKind::Sink { topic: Some(topic), .. }) => {
                    info.sink_topics.insert(self.decorate(topic, application));
                }
                Some(NodeKind::Processor { stores }) => {
                    for store in stores.iter().filter_map(|id| self.stores.get(id)) {
                        if let Some(topic) = self.changelog_topic(store, application) {
                            info.changelog_topics.insert(topic, changelog_config(store, config));
                        }
                    }
                }
                _ => {}
            }
        }
        info
    }

    /// The topic's name as the broker knows it.
    pub(crate) fn decorate(&self, topic: &str, application: &str) -> String {
        match self.internal_topics.contains_key(topic) {
            true => format!("{application}-{topic}"),
            false => topic.to_owned(),
        }
    }

    /// The changelog topic of a store, if it has one.
    pub(crate) fn changelog_topic(&self, store: &StoreFactory, application: &str) -> Option<String> {
        if let Some(topic) = self.source_changelogs.get(&store.id) {
            return Some(topic.clone());
        }
        store.logging.then(|| format!("{application}-{}-changelog", store.name))
    }

    /// The changelogs that the stores of a task write: not those that are topics of sources.
    pub(crate) fn written_changelogs(&self, task: TaskId, config: &StreamsConfig) -> Vec<WrittenChangelog> {
        let application = config.application_id();
        let mut written: Vec<WrittenChangelog> = Vec::new();
        // The last node with a store whose rows are in memory alone until a commit.
        let mut last_in_memory = None;
        // Numbers grow downstream.
        let nodes = self.node_groups().into_iter().nth(task.subtopology as usize).unwrap_or_default();
        for (rank, node) in nodes.into_iter().enumerate() {
            for store in self.stores_of(node).into_iter().filter_map(|id| self.stores.get(&id)) {
                if store.kind == StoreKind::Buffer || store.caching && config.fields().cache_max_bytes > 0 {
                    last_in_memory = Some(rank);
                }
                let topic = self.changelog_topic(store, application).filter(|_| store.logging);
                let Some(topic) = topic.filter(|topic| written.iter().all(|known| *known.topic != **topic)) else {
                    continue;
                };
                let (topic, partition) = (Arc::from(topic), task.partition);
                written.push(WrittenChangelog { topic, partition, rank, until_flush: false });
            }
        }
        for changelog in &mut written {
            changelog.until_flush = last_in_memory.is_some_and(|last| changelog.rank < last);
        }
        written
    }

    /// Topics that must have equally many partitions. A topic may be in two groups, which then must agree: the groups
    /// are those that Kafka makes, whose order of a hash set decides what meets in one.
    #[must_use]
    pub fn copartition_groups(&self, application: &str) -> Vec<BTreeSet<String>> {
        self.copartition_groups_with(application, &Matched::default())
    }

    /// As [`copartition_groups`](Self::copartition_groups), with the topics of patterns.
    pub(crate) fn copartition_groups_with(&self, application: &str, matched: &Matched) -> Vec<BTreeSet<String>> {
        let mut groups: Vec<BTreeSet<String>> = Vec::new();
        let mut group_of: BTreeMap<String, usize> = BTreeMap::new();
        for sources in &self.copartition_groups {
            let topics: Vec<_> =
                self.topics_of(sources, matched).into_iter().map(|topic| self.decorate(topic, application)).collect();
            let table = java::grown(topics.len());
            let topics = java::hash_order(topics, table);
            let group = topics.iter().find_map(|topic| group_of.get(topic)).copied().unwrap_or(groups.len());
            if group == groups.len() {
                groups.push(BTreeSet::new());
            }
            for topic in topics {
                if let Some(group) = groups.get_mut(group) {
                    group.insert(topic.clone());
                }
                group_of.insert(topic, group);
            }
        }
        // What is below an aggregation or a suppression has no topics of its own; a group may have lost all its topics
        // to others.
        let in_use: BTreeSet<_> = group_of.into_values().collect();
        groups.into_iter().enumerate().filter(|(number, _)| in_use.contains(number)).map(|(_, group)| group).collect()
    }

    pub(super) fn topics_of<'a>(&'a self, sources: &BTreeSet<String>, matched: &'a Matched) -> BTreeSet<&'a str> {
        let sources = sources.iter().filter_map(|name| self.node_id(name));
        sources.flat_map(|source| self.topics_of_source(source, matched)).collect()
    }
}

/// `topic.` settings apply to every internal topic.
fn with_overrides(mut topic: InternalTopicConfig, config: &StreamsConfig) -> InternalTopicConfig {
    let overrides = config.originals().filter_map(|(key, value)| key.strip_prefix("topic.").map(|key| (key, value)));
    topic.config.extend(overrides.map(|(key, value)| (key.to_owned(), value.to_owned())));
    topic
}

fn repartition_config(partitions: Option<i32>, config: &StreamsConfig) -> InternalTopicConfig {
    let topic = InternalTopicConfig::of(&[
        ("cleanup.policy", "delete"),
        ("segment.bytes", "52428800"),
        ("retention.ms", "-1"),
        ("message.timestamp.type", "CreateTime"),
    ]);
    InternalTopicConfig { partitions, ..with_overrides(topic, config) }
}

fn changelog_config(store: &StoreFactory, config: &StreamsConfig) -> InternalTopicConfig {
    let additional = config.fields().window_changelog_additional_retention_ms;
    let mut topic = InternalTopicConfig::of(&[("message.timestamp.type", "CreateTime")]);
    let mut set = |key: &str, value: String| topic.config.insert(key.to_owned(), value);
    match store.kind {
        StoreKind::KeyValue | StoreKind::Buffer => {
            set("cleanup.policy", "compact".to_owned());
        }
        StoreKind::Window { retention, delete_only } => {
            set("cleanup.policy", if delete_only { "delete" } else { "compact,delete" }.to_owned());
            set("retention.ms", retention.saturating_add(additional).to_string());
        }
        StoreKind::Versioned { history } => {
            set("cleanup.policy", "compact".to_owned());
            set("min.compaction.lag.ms", history.saturating_add(86_400_000).to_string());
        }
    }
    let mut topic = with_overrides(topic, config);
    topic.config.extend(store.log_config.clone());
    topic
}
