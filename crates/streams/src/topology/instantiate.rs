//! From the topology to tasks: their nodes and stores.

use std::{any::Any, collections::BTreeSet, sync::Arc};

use super::{
    NodeKind, Topology,
    task_stores::{make_stores, open_global_stores},
};
use crate::{
    config::StreamsConfig,
    data::{Data, ErasedSerde},
    error::{Error, Result},
    processing::{Runtime, resolve_serde},
    serdes::SerdeRef,
    state::Sharing,
    store::KeptStores,
    task::{
        Children, ConnectedSource, Edge, Process, Reads, Source, Task, TaskCtx, TaskOptions, TaskParts, TaskScope,
        TypedSlot,
    },
};

type Erased = Box<dyn Any + Send>;

/// A task in the making: nodes from the last to the first, so that children exist before their parents.
pub(crate) struct Instantiation<'a> {
    pub(crate) topology: &'a Topology,
    pub(crate) config: &'a Arc<StreamsConfig>,
    /// The node that is being made.
    pub(crate) id: usize,
    pub(crate) edges: Vec<Vec<(usize, Erased)>>,
    /// Sources with their node.
    pub(crate) sources: Vec<(usize, Box<dyn Source>)>,
    /// The arena slot of every node that has one.
    pub(crate) slots: Vec<Option<usize>>,
    /// The nodes that nothing follows.
    ends: BTreeSet<usize>,
    pub(crate) ctx: &'a mut TaskCtx,
}

/// What [`instantiate`] made besides what is in the context.
pub(crate) struct Instantiated {
    /// The sources with their nodes, the last first.
    pub(crate) sources: Vec<(usize, Box<dyn Source>)>,
}

/// Makes some nodes of a topology; those in the arena are to be initialised in the context's order.
pub(crate) fn instantiate(
    topology: &Topology,
    config: &Arc<StreamsConfig>,
    nodes: &[usize],
    ctx: &mut TaskCtx,
) -> Result<Instantiated> {
    let mut making = Instantiation {
        topology,
        config,
        id: 0,
        edges: topology.nodes.iter().map(|_| Vec::new()).collect(),
        sources: Vec::new(),
        slots: topology.nodes.iter().map(|_| None).collect(),
        ends: topology.ends(),
        ctx,
    };
    let mut missing = None;
    for &node in nodes.iter().rev() {
        making.id = node;
        let Some(factory) = topology.node(node) else { continue };
        match (factory.make)(&mut making) {
            // Nodes are made from the last to the first; of several without serde the first is to be named.
            Err(error) if matches!(*error, Error::MissingSerde { .. }) => missing = Some(error),
            done => done?,
        }
    }
    if let Some(error) = missing {
        return Err(error);
    }
    let Instantiation { sources, slots, ctx, .. } = making;
    // Nodes were made from the last to the first; they are initialised from the first to the last.
    ctx.init_order = slots.iter().flatten().copied().collect();
    Ok(Instantiated { sources })
}

impl Instantiation<'_> {
    /// The node's children, in the order in which they were added to the topology.
    pub(crate) fn children<K: 'static, V: 'static>(&mut self) -> Result<Children<K, V>> {
        let edges = self.edges.get_mut(self.id).map(std::mem::take);
        let edges = edges.ok_or_else(|| Error::internal("a node that no edges were counted for"))?;
        let (mut typed, mut names, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for (child, edge) in edges.into_iter().rev() {
            let edge = edge.downcast::<Edge<K, V>>();
            typed.push(*edge.map_err(|_| Error::internal("an edge of another type passed the checks"))?);
            names.extend(self.topology.node(child).map(|node| node.name.clone()));
            let is_end = self.ends.contains(&child);
            if is_end {
                self.ctx.rt.metrics.declare_end(child);
            }
            ends.push(is_end.then_some(child as u32));
        }
        Ok(Children::new(typed, names, ends))
    }

    /// Puts the node where its parents find it: into its only parent, or into the arena if it has several, or if the
    /// task itself must reach it.
    pub(crate) fn place<K: 'static, V: 'static>(&mut self, node: impl Process<K, V> + 'static, addressable: bool) {
        let Some(factory) = self.topology.node(self.id) else { return };
        let parents: Vec<_> = factory.predecessors.iter().filter_map(|name| self.topology.node_id(name)).collect();
        if let ([parent], false) = (&parents[..], addressable) {
            if let Some(edges) = self.edges.get_mut(*parent) {
                edges.push((self.id, Box::new(Edge::Owned(Box::new(node)))));
            }
            return;
        }
        let slot = self.ctx.arena.len();
        self.ctx.arena.push(Some(Box::new(TypedSlot(Box::new(node)))));
        if let Some(place) = self.slots.get_mut(self.id) {
            *place = Some(slot);
        }
        for parent in parents {
            if let Some(edges) = self.edges.get_mut(parent) {
                edges.push((self.id, Box::new(Edge::<K, V>::Slot(slot))));
            }
        }
    }

    pub(crate) fn node_id(&self) -> u32 {
        self.id as u32
    }

    pub(crate) fn node_name(&self) -> String {
        self.topology.node(self.id).map(|node| node.name.to_string()).unwrap_or_default()
    }

    /// Whether a store of this task has a record cache.
    pub(crate) fn is_cached(&self, store: usize) -> bool {
        self.topology.stores.get(&store).is_some_and(|store| store.caching) && self.config.fields().cache_max_bytes > 0
    }

    /// The serde that was named or inherited, else the type's own.
    pub(crate) fn serde<T: Data>(&self, named: Option<&ErasedSerde>, is_key: bool) -> Result<SerdeRef<T>> {
        resolve_serde(named, self.config, is_key).ok_or_else(|| {
            Box::new(Error::MissingSerde { node: self.node_name(), type_name: std::any::type_name::<T>() })
        })
    }
}

impl Task {
    /// Makes nodes and stores; processors are initialised by [`initialize`](Self::initialize).
    ///
    /// # Errors
    /// If a store cannot be opened, or a serde is missing.
    pub fn new(topology: &Topology, options: TaskOptions) -> Result<Self> {
        Self::new_over(topology, options, KeptStores::default())
    }

    /// The same over stores of a task of this id that was [abandoned](Self::abandon) or [recycled](Self::recycle).
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn new_over(topology: &Topology, options: TaskOptions, kept: KeptStores) -> Result<Self> {
        let TaskOptions { id, config, collector, state_dir, globals, scope, now } = options;
        topology.validate()?;
        let groups = topology.node_groups();
        let mut nodes: Vec<usize> = match scope {
            TaskScope::Everything => {
                groups.into_iter().filter(|group| !topology.is_global_group(group)).flatten().collect()
            }
            TaskScope::Subtopology => groups.into_iter().nth(id.subtopology as usize).ok_or_else(|| {
                Error::streams(format!("task {id} is of a sub-topology that this topology does not have"))
            })?,
        };
        nodes.sort_unstable();
        let node_names = topology.nodes.iter().map(|node| node.name.clone()).collect();
        let mut ctx = TaskCtx::new(Runtime::new(id, &config, collector, node_names, now));
        let mut kept = kept;
        let kept_offsets = kept.take_offsets();
        let (store_order, open_marks) = make_stores(topology, &nodes, &mut ctx, state_dir, kept)?;
        if let Some(globals) = &globals {
            open_global_stores(topology, &mut ctx, Sharing::Reader(globals), None)?;
        }
        let Instantiated { sources } = instantiate(topology, &config, &nodes, &mut ctx)?;
        let sources = sources.into_iter().rev();
        let sources = sources.filter_map(|(node, source)| topology.connected(node, source, &config)).collect();
        Ok(Task::of(TaskParts { ctx, sources, store_order, open_marks, kept_offsets, scope }))
    }
}

impl Topology {
    /// The nodes that nothing follows.
    fn ends(&self) -> BTreeSet<usize> {
        let mut ends: BTreeSet<usize> = (0..self.nodes.len()).collect();
        for parent in self.nodes.iter().flat_map(|node| &node.predecessors).filter_map(|name| self.node_id(name)) {
            ends.remove(&parent);
        }
        ends
    }

    /// A source with what it reads.
    fn connected(&self, node: usize, source: Box<dyn Source>, config: &StreamsConfig) -> Option<ConnectedSource> {
        let node = self.node(node)?;
        let reads = match &node.kind {
            NodeKind::Source { pattern: Some(pattern), .. } => Reads::Pattern(pattern.clone()),
            NodeKind::Source { topics, .. } => {
                let topics = topics.iter().map(|topic| self.decorate(topic, config.application_id()).into());
                Reads::Topics(topics.collect())
            }
            NodeKind::Processor { .. } | NodeKind::Sink { .. } => return None,
        };
        Some(ConnectedSource { source, name: node.name.clone(), reads })
    }
}
