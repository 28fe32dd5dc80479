//! The finished description of an application: sources, processors, sinks and stores, and the tasks made from them.

mod api;
mod describe;
mod global;
mod global_task;
mod instantiate;
mod internal_topics;
mod node;
mod patterns;
pub(crate) mod physical;
mod picture;
pub(crate) mod processor_node;
mod task_stores;
mod validate;

use std::collections::{BTreeMap, BTreeSet, HashMap};

pub use describe::TopologyDescription;
pub use global::StoreInput;
pub(crate) use global::{GlobalStore, updater};
pub(crate) use global_task::{GlobalTask, GlobalTaskOptions, read_global_stores};
pub(crate) use instantiate::Instantiation;
pub(crate) use internal_topics::WrittenChangelog;
pub use internal_topics::{InternalTopicConfig, TopicsInfo};
pub(crate) use node::{MakeNode, NodeFactory, NodeKind, TypePair};
pub(crate) use patterns::Matched;
pub(crate) use validate::illegal_name;

pub use crate::options::AutoOffsetReset;
use vltava_protocol::java;

use crate::{
    error::{Error, Result},
    store::{StoreFactory, StoreKind},
    task::Pattern,
};

/// The physical topology: nodes in the order in which they were added, connected by name, and the stores they use.
///
/// Made by [`StreamsBuilder::build`](crate::StreamsBuilder::build). One topology serves every task of every thread.
#[derive(Default)]
pub struct Topology {
    pub(crate) nodes: Vec<NodeFactory>,
    by_name: HashMap<String, usize>,
    /// Store names by number; the numbers are what handles hold.
    pub(crate) store_names: Vec<String>,
    pub(crate) stores: BTreeMap<usize, StoreFactory>,
    /// Processors by store, in the order in which they were connected.
    connected: BTreeMap<usize, Vec<usize>>,
    pub(crate) global_stores: Vec<GlobalStore>,
    /// Union-find over nodes: connected ones belong to one sub-topology.
    group: Vec<usize>,
    /// Internal topics, without the application's prefix, and their number of partitions where it is fixed.
    pub(crate) internal_topics: BTreeMap<String, Option<i32>>,
    copartition_groups: Vec<BTreeSet<String>>,
    source_topics: BTreeMap<String, usize>,
    patterns: Vec<(Pattern, usize)>,
    pub(crate) global_topics: BTreeSet<String>,
    /// Topics that serve a store as its changelog without being one.
    pub(crate) source_changelogs: BTreeMap<usize, String>,
    resets: BTreeMap<String, AutoOffsetReset>,
}

impl std::fmt::Debug for Topology {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.describe())
    }
}

impl Topology {
    pub(crate) fn node_id(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn node(&self, id: usize) -> Option<&NodeFactory> {
        self.nodes.get(id)
    }

    fn root(&self, mut node: usize) -> usize {
        while let Some(&above) = self.group.get(node)
            && above != node
        {
            node = above;
        }
        node
    }

    fn unite(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        if a != b
            && let Some(place) = self.group.get_mut(b)
        {
            *place = a;
        }
    }

    /// The nodes of every sub-topology, by number: in the order of their first nodes.
    pub(crate) fn node_groups(&self) -> Vec<Vec<usize>> {
        let mut numbers = HashMap::new();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for node in 0..self.nodes.len() {
            let number = *numbers.entry(self.root(node)).or_insert(groups.len());
            if number == groups.len() {
                groups.push(Vec::new());
            }
            if let Some(group) = groups.get_mut(number) {
                group.push(node);
            }
        }
        groups
    }

    pub(crate) fn is_global_source(&self, node: usize) -> bool {
        match self.node(node).map(|node| &node.kind) {
            Some(NodeKind::Source { topics, .. }) => {
                matches!(&topics[..], [topic] if self.global_topics.contains(topic))
            }
            _ => false,
        }
    }

    pub(crate) fn is_global_group(&self, group: &[usize]) -> bool {
        group.iter().any(|node| self.is_global_source(*node))
    }

    fn verify_name(&self, name: &str) -> Result<()> {
        if self.by_name.contains_key(name) {
            return Err(Error::topology(format!("Processor {name} is already added.")));
        }
        Ok(())
    }

    fn verify_parents(&self, name: &str, predecessors: &[String]) -> Result<Vec<usize>> {
        if predecessors.is_empty() {
            return Err(Error::topology(format!("node {name} has no parent")));
        }
        let parent = |parent: &String| match self.node_id(parent) {
            None if parent == name => {
                Err(Error::topology(format!("Parent node {parent} is unknown (self-reference).")))
            }
            None => Err(Error::topology(format!("Parent node {parent} is unknown."))),
            Some(id)
                if self.node(id).is_some_and(|node| matches!(node.kind, NodeKind::Sink { topic: Some(_), .. })) =>
            {
                Err(Error::topology(format!("Sink {parent} cannot be used as a parent.")))
            }
            Some(id) if self.fills_global_store(id) => {
                Err(Error::topology(format!("{parent} fills a global store and cannot be used as a parent.")))
            }
            Some(id) => Ok(id),
        };
        predecessors.iter().map(parent).collect()
    }

    fn push(&mut self, node: NodeFactory) -> usize {
        let id = self.nodes.len();
        self.by_name.insert(node.name.to_string(), id);
        self.group.push(id);
        self.nodes.push(node);
        id
    }

    fn verify_topic(&self, topic: &str) -> Result<()> {
        if self.source_topics.contains_key(topic) || self.global_topics.contains(topic) {
            return Err(Error::topology(format!("Topic {topic} has already been registered by another source.")));
        }
        if self.patterns.iter().any(|(pattern, _)| pattern.matches(topic)) {
            let message = format!("Topic {topic} matches a Pattern already registered by another source.");
            return Err(Error::topology(message));
        }
        Ok(())
    }

    /// Adds a source of topics or of a pattern.
    pub(crate) fn add_source(&mut self, node: NodeFactory) -> Result<()> {
        self.verify_name(&node.name)?;
        let NodeKind::Source { topics, pattern, reset } = &node.kind else {
            return Err(Error::internal("a source is no source"));
        };
        let id = self.nodes.len();
        match pattern {
            Some(pattern) => {
                if self.source_topics.keys().any(|topic| pattern.matches(topic)) {
                    let message = "will match a topic that has already been registered by another source.";
                    return Err(Error::topology(format!("Pattern {pattern} {message}")));
                }
                self.patterns.push((pattern.clone(), id));
            }
            None if topics.is_empty() => {
                return Err(Error::topology(format!("source {} has no topics", node.name)));
            }
            None => {
                for topic in topics {
                    self.verify_topic(topic)?;
                    self.source_topics.insert(topic.clone(), id);
                    if let Some(reset) = reset {
                        self.resets.insert(topic.clone(), *reset);
                    }
                }
            }
        }
        self.push(node);
        Ok(())
    }

    /// Adds a processor or a sink.
    pub(crate) fn add_node(&mut self, node: NodeFactory) -> Result<()> {
        self.verify_name(&node.name)?;
        let parents = self.verify_parents(&node.name, &node.predecessors)?;
        let id = self.push(node);
        for parent in parents {
            self.unite(id, parent);
        }
        Ok(())
    }

    /// The number of a store name; handles hold it.
    pub(crate) fn store_name(&self, id: usize) -> &str {
        self.store_names.get(id).map_or("", String::as_str)
    }

    /// Adds a store, connected to processors.
    pub(crate) fn add_state_store(&mut self, factory: StoreFactory, processors: &[&str]) -> Result<()> {
        let (id, name) = (factory.id, factory.name.clone());
        if let Some(other) = self.stores.get(&id)
            && (other.builder.is_none() || other.builder != factory.builder)
        {
            let message = format!("A different StateStore has already been added with the name {name}");
            return Err(Error::topology(message));
        }
        if self.is_global_store(id) {
            let message = format!("A different GlobalStateStore has already been added with the name {name}");
            return Err(Error::topology(message));
        }
        self.stores.insert(id, factory);
        processors.iter().try_for_each(|processor| self.connect(processor, id))
    }

    /// How long a versioned store keeps old versions, in ms.
    pub(crate) fn history(&self, store: usize) -> Option<i64> {
        match self.stores.get(&store)?.kind {
            StoreKind::Versioned { history } => Some(history),
            StoreKind::KeyValue | StoreKind::Buffer | StoreKind::Window { .. } => None,
        }
    }

    /// Connects a processor with a store that was added before.
    pub(crate) fn connect(&mut self, processor: &str, store: usize) -> Result<()> {
        let name = self.store_name(store).to_owned();
        if self.is_global_store(store) {
            return Err(Error::topology(format!(
                "Global StateStore {name} can be used by a Processor without being specified; it should not be explicitly passed."
            )));
        }
        if !self.stores.contains_key(&store) {
            return Err(Error::topology(format!("StateStore {name} is not added yet.")));
        }
        let Some(id) = self.node_id(processor) else {
            return Err(Error::topology(format!("Processor {processor} is not added yet.")));
        };
        let users = self.connected.entry(store).or_default();
        let first = users.first().copied();
        if !users.contains(&id) {
            users.push(id);
        }
        if let Some(first) = first {
            self.unite(first, id);
        }
        match self.nodes.get_mut(id).map(|node| &mut node.kind) {
            Some(NodeKind::Processor { stores }) => {
                if !stores.contains(&store) {
                    stores.push(store);
                }
                Ok(())
            }
            _ => Err(Error::topology(format!(
                "State store {name} cannot be connected to the source or sink {processor}."
            ))),
        }
    }

    /// The stores of a processor in the order in which Kafka would walk through their names.
    pub(crate) fn stores_of(&self, node: usize) -> Vec<usize> {
        let Some(NodeKind::Processor { stores }) = self.node(node).map(|node| &node.kind) else { return Vec::new() };
        let names: Vec<_> = stores.iter().map(|id| self.store_name(*id)).collect();
        let ordered = java::hash_order(names, java::grown(stores.len()));
        ordered.iter().filter_map(|name| stores.iter().find(|id| self.store_name(**id) == *name).copied()).collect()
    }

    pub(crate) fn add_internal_topic(&mut self, topic: String, partitions: Option<i32>) {
        self.internal_topics.insert(topic, partitions);
    }

    pub(crate) fn copartition_sources(&mut self, groups: &[BTreeSet<String>]) {
        self.copartition_groups = groups.to_vec();
    }

    /// Lets a source topic stand in for a store's changelog.
    pub(crate) fn connect_source_store_and_topic(&mut self, store: usize, topic: String) -> Result<()> {
        if self.source_changelogs.contains_key(&store) {
            return Err(Error::topology(format!("Source store {} is already added.", self.store_name(store))));
        }
        self.source_changelogs.insert(store, topic);
        Ok(())
    }

    /// Where a source topic without a committed offset is read from, if its source says so.
    #[must_use]
    pub fn offset_reset(&self, topic: &str) -> Option<AutoOffsetReset> {
        if self.source_topics.contains_key(topic) {
            return self.resets.get(topic).copied();
        }
        let (_, node) = self.patterns.iter().find(|(pattern, _)| pattern.matches(topic))?;
        self.reset_of_source(*node)
    }

    fn reset_of_source(&self, node: usize) -> Option<AutoOffsetReset> {
        match self.node(node).map(|node| &node.kind) {
            Some(NodeKind::Source { reset, .. }) => *reset,
            _ => None,
        }
    }

    /// Whether a source says where it is read from without a committed offset.
    pub(crate) fn has_offset_resets(&self) -> bool {
        !self.resets.is_empty() || self.patterns.iter().any(|(_, node)| self.reset_of_source(*node).is_some())
    }

    /// The topics of all sources but global ones; internal topics come without the application's prefix.
    pub fn source_topics(&self) -> impl Iterator<Item = &str> {
        self.source_topics.keys().map(String::as_str).filter(|topic| !self.global_topics.contains(*topic))
    }
}
