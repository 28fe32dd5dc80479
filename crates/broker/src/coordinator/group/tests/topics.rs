//! The topics of a cluster, as tests have them.

use std::collections::BTreeMap;

use vltava_protocol::Uuid;

use super::harness::topic_id;
use crate::coordinator::group::TopicMetadata;

/// Topics by name, with their numbers of partitions.
#[derive(Clone, Debug, Default)]
pub(in crate::coordinator::group) struct TopicTable {
    version: i64,
    pub(in crate::coordinator::group) topics: BTreeMap<String, i32>,
}

impl TopicTable {
    pub(in crate::coordinator::group) fn new(topics: &[(&str, i32)]) -> Self {
        let topics = topics.iter().map(|(name, partitions)| ((*name).to_owned(), *partitions)).collect();
        Self { version: 1, topics }
    }

    pub(in crate::coordinator::group) fn set(&mut self, name: &str, partitions: Option<i32>) {
        self.version += 1;
        match partitions {
            Some(partitions) => self.topics.insert(name.into(), partitions),
            None => self.topics.remove(name),
        };
    }
}

impl TopicMetadata for TopicTable {
    fn version(&self) -> i64 {
        self.version
    }

    fn topic(&self, name: &str) -> Option<(Uuid, i32)> {
        self.topics.get(name).map(|partitions| (topic_id(name), *partitions))
    }

    fn name(&self, id: Uuid) -> Option<String> {
        self.topics.keys().find(|name| topic_id(name) == id).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.topics.keys().cloned().collect()
    }
}
