//! The logical graph: what the operators describe, before the optimiser and the physical topology.

use std::{
    cell::RefCell,
    collections::{BTreeSet, BinaryHeap},
    rc::Rc,
    sync::Arc,
};

use crate::{
    config::StreamsConfig,
    data::ErasedSerde,
    error::{Error, Result},
    task::Pattern,
    topology::{AutoOffsetReset, Topology, illegal_name},
};

pub(crate) type NodeId = usize;
pub(crate) type Shared = Rc<RefCell<Graph>>;
/// Adds a logical node's physical nodes, stores and topics to the topology.
pub(crate) type Write = Rc<dyn Fn(&Written<'_>, &mut Topology) -> Result<()>>;

/// Tells a node whether the table of a parent is versioned, and which parent it is.
pub(crate) type TellVersioned = Rc<dyn Fn(bool, &str)>;

/// A logical node at the time it is written.
pub(crate) struct Written<'a> {
    pub(crate) parents: Vec<String>,
    pub(crate) node: &'a GraphNode,
}

/// What the optimiser must know of a node.
#[derive(Clone)]
pub(crate) enum Kind {
    Plain,
    /// A stream's source; equal ones are merged.
    Source {
        topics: BTreeSet<String>,
        pattern: Option<Pattern>,
        reset: Option<AutoOffsetReset>,
    },
    /// A table's source; its topic may serve as changelog.
    TableSource {
        reuse_topic: bool,
    },
    /// A repartition topic that the optimiser may merge with others.
    Repartition(Rc<RepartitionInfo>),
    /// A join of two streams, with the names of the nodes that fill its stores.
    StreamJoin {
        this: String,
        other: String,
        self_join: bool,
    },
    /// A node that fills a join's store.
    JoinWindow,
}

/// What the optimiser needs to put one repartition in the place of several.
pub(crate) struct RepartitionInfo {
    pub(crate) key_serde: Option<ErasedSerde>,
    pub(crate) value_serde: Option<ErasedSerde>,
    /// The same repartition with these serdes.
    pub(crate) rebuild: Box<dyn Fn(Option<ErasedSerde>, Option<ErasedSerde>) -> GraphNode>,
}

#[derive(Clone)]
pub(crate) struct GraphNode {
    pub(crate) name: String,
    pub(crate) parents: Vec<NodeId>,
    pub(crate) children: Vec<NodeId>,
    pub(crate) key_changing: bool,
    pub(crate) value_changing: bool,
    pub(crate) merge: bool,
    /// A join that keeps records with null keys: repartitions above it must let them through.
    pub(crate) keeps_null_keys: bool,
    /// A repartition below which nobody keeps null keys does not let them through. Set by the optimiser.
    pub(crate) drops_null_keys: bool,
    pub(crate) priority: u64,
    pub(crate) output_versioned: Option<bool>,
    /// The window grace a suppression above this node would wait for, in ms.
    pub(crate) grace: Option<i64>,
    /// Told whether the parent's table is versioned (KIP-914).
    pub(crate) versioned_semantics: Option<TellVersioned>,
    pub(crate) kind: Kind,
    pub(crate) write: Write,
}

impl GraphNode {
    pub(crate) fn new(name: impl Into<String>, write: Write) -> Self {
        GraphNode {
            name: name.into(),
            parents: Vec::new(),
            children: Vec::new(),
            key_changing: false,
            value_changing: false,
            merge: false,
            keeps_null_keys: false,
            drops_null_keys: false,
            priority: 0,
            output_versioned: None,
            grace: None,
            versioned_semantics: None,
            kind: Kind::Plain,
            write,
        }
    }

    pub(crate) fn with_kind(self, kind: Kind) -> Self {
        GraphNode { kind, ..self }
    }
}

/// The root has no name that could clash and writes nothing.
pub(crate) const ROOT: NodeId = 0;

/// The nodes and edges: what the optimiser rewrites, on a copy.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) nodes: Vec<GraphNode>,
    priority: u64,
    /// Key-changing nodes, and the repartition nodes below each that could be merged.
    pub(crate) key_changing: Vec<(NodeId, Vec<NodeId>)>,
    /// Groups of source nodes whose topics must have equally many partitions.
    pub(crate) copartition: Vec<BTreeSet<String>>,
}

/// The logical graph while it grows.
pub(crate) struct Graph {
    pub(crate) plan: Plan,
    /// One counter numbers processors, stores and topics together.
    index: u64,
    pub(crate) store_names: Vec<String>,
    builders: usize,
    pub(crate) implicit: ImplicitNames,
    pub(crate) config: Option<Arc<StreamsConfig>>,
    pub(crate) error: Option<Box<Error>>,
}

/// Names of internal topics and stores that the user has not chosen.
#[derive(Clone, Default)]
pub(crate) struct ImplicitNames {
    pub(crate) changelogs: Vec<String>,
    pub(crate) stores: Vec<String>,
    pub(crate) repartitions: Vec<String>,
}

impl Default for Graph {
    fn default() -> Self {
        let root = GraphNode::new("root", Rc::new(|_, _| Ok(())));
        Graph {
            plan: Plan { nodes: vec![root], priority: 0, key_changing: Vec::new(), copartition: Vec::new() },
            index: 0,
            store_names: Vec::new(),
            builders: 0,
            implicit: ImplicitNames::default(),
            config: None,
            error: None,
        }
    }
}

impl Graph {
    pub(crate) fn len(&self) -> usize {
        self.plan.nodes.len() - 1
    }

    /// `PREFIX` and the next number, ten digits wide.
    pub(crate) fn new_processor_name(&mut self, prefix: &str) -> String {
        let name = format!("{prefix}{:010}", self.index);
        self.index += 1;
        name
    }

    pub(crate) fn new_store_name(&mut self, prefix: &str) -> String {
        self.new_processor_name(&format!("{prefix}STATE-STORE-"))
    }

    /// The given name, or a generated one. The counter moves on in both cases: names of a running application
    /// depend on it.
    pub(crate) fn name_or(&mut self, name: Option<&str>, prefix: &str) -> String {
        self.name_with_suffix_or(name, "", prefix)
    }

    pub(crate) fn name_with_suffix_or(&mut self, name: Option<&str>, suffix: &str, prefix: &str) -> String {
        let generated = self.new_processor_name(prefix);
        let Some(name) = name else { return generated };
        let name = format!("{name}{suffix}");
        self.validate_name(&name);
        name
    }

    pub(crate) fn validate_name(&mut self, name: &str) {
        if let Some(mistake) = illegal_name(name) {
            self.fail(Error::topology(mistake));
        }
    }

    /// Remembers a mistake for `build()`; the first one counts.
    pub(crate) fn fail(&mut self, error: Box<Error>) {
        self.error.get_or_insert(error);
    }

    /// The name of a store's number.
    pub(crate) fn store_name(&self, id: usize) -> &str {
        self.store_names.get(id).map_or("", |name| name)
    }

    /// The number of a store name.
    pub(crate) fn store_id(&mut self, name: &str) -> usize {
        if let Some(id) = self.store_names.iter().position(|known| known == name) {
            return id;
        }
        self.store_names.push(name.to_owned());
        self.store_names.len() - 1
    }

    /// A number that tells one store builder from another.
    pub(crate) fn new_builder(&mut self) -> usize {
        self.builders += 1;
        self.builders
    }

    pub(crate) fn add(&mut self, parents: &[NodeId], node: GraphNode) -> NodeId {
        self.plan.nodes.push(node);
        let id = self.plan.nodes.len() - 1;
        self.attach(parents, id);
        id
    }

    /// Adds a node, perhaps again: below another parent, with a new priority.
    pub(crate) fn attach(&mut self, parents: &[NodeId], id: NodeId) {
        for parent in parents {
            self.plan.add_child(*parent, id);
            self.plan.register(id);
        }
    }

    pub(crate) fn copartition(&mut self, sources: impl IntoIterator<Item = String>) {
        self.plan.copartition.push(sources.into_iter().collect());
    }
}

impl Plan {
    pub(crate) fn node(&self, id: NodeId) -> Option<&GraphNode> {
        self.nodes.get(id)
    }

    pub(crate) fn add_child(&mut self, parent: NodeId, child: NodeId) {
        if let Some(node) = self.nodes.get_mut(parent)
            && !node.children.contains(&child)
        {
            node.children.push(child);
        }
        if let Some(node) = self.nodes.get_mut(child)
            && !node.parents.contains(&parent)
        {
            node.parents.push(parent);
        }
    }

    pub(crate) fn remove_child(&mut self, parent: NodeId, child: NodeId) {
        if let Some(node) = self.nodes.get_mut(parent) {
            node.children.retain(|id| *id != child);
        }
        if let Some(node) = self.nodes.get_mut(child) {
            node.parents.retain(|id| *id != parent);
        }
    }

    /// Adds a node that the optimiser made.
    pub(crate) fn push(&mut self, node: GraphNode) -> NodeId {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn register(&mut self, id: NodeId) {
        let priority = self.priority;
        self.priority += 1;
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.priority = priority;
        if node.key_changing {
            if !self.key_changing.iter().any(|(known, _)| *known == id) {
                self.key_changing.push((id, Vec::new()));
            }
        } else if matches!(node.kind, Kind::Repartition(_))
            && let Some(parent) = self.key_changing_parent(id)
            && let Some((_, below)) = self.key_changing.iter_mut().find(|(known, _)| *known == parent)
            && !below.contains(&id)
        {
            below.push(id);
        }
    }

    /// The key-changing node above, if no value was changed on the way.
    fn key_changing_parent(&self, id: NodeId) -> Option<NodeId> {
        let changing = self.find_parent(id, &|node, _| node.key_changing || node.value_changing);
        changing.filter(|_| changing == self.find_parent(id, &|node, _| node.key_changing))
    }

    /// The node itself or the first above it, depth first, that satisfies.
    pub(crate) fn find_parent(&self, id: NodeId, satisfies: &dyn Fn(&GraphNode, NodeId) -> bool) -> Option<NodeId> {
        let node = self.node(id)?;
        if satisfies(node, id) {
            return Some(id);
        }
        for parent in &node.parents {
            if self.node(*parent).is_some_and(|node| satisfies(node, *parent)) {
                return Some(*parent);
            }
            if let Some(found) = self.find_parent(*parent, satisfies) {
                return Some(found);
            }
        }
        None
    }

    /// Writes the nodes in the order in which they were described, parents before children.
    pub(crate) fn write(&self, topology: &mut Topology) -> Result<()> {
        let mut written = vec![false; self.nodes.len()];
        let mut queue = BinaryHeap::from([std::cmp::Reverse((0, ROOT))]);
        while let Some(std::cmp::Reverse((_, id))) = queue.pop() {
            let Some(node) = self.node(id) else { continue };
            let is_written = |id: &NodeId| written.get(*id).copied().unwrap_or(false);
            if !is_written(&id) && node.parents.iter().all(is_written) {
                let parents = node.parents.iter().filter_map(|id| self.node(*id)).map(|node| node.name.clone());
                (node.write)(&Written { parents: parents.collect(), node }, topology)?;
                if let Some(place) = written.get_mut(id) {
                    *place = true;
                    queue.extend(node.children.iter().filter_map(|child| {
                        self.node(*child).map(|node| std::cmp::Reverse((node.priority + 1, *child)))
                    }));
                }
            }
        }
        Ok(())
    }
}
