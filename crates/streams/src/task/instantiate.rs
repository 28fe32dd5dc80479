//! From the topology to the nodes of one task.

use std::{any::Any, sync::Arc};

use super::{
    context::TaskCtx,
    node::{Children, Edge, Process, TypedSlot},
    source::Source,
};
use crate::{
    config::StreamsConfig,
    data::{Data, ErasedSerde},
    error::{Error, Result},
    serdes::{SerdeRef, configured},
    state::{EngineContext, RestoredFrom, Sharing, TaskDirectory},
    store::{AnyStore, StoreFactory, StoreInit},
    topology::Topology,
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
        let edges = self.edges.get_mut(self.id).map(std::mem::take).unwrap_or_default();
        let (mut typed, mut names) = (Vec::new(), Vec::new());
        for (child, edge) in edges.into_iter().rev() {
            let edge = edge.downcast::<Edge<K, V>>();
            typed.push(*edge.map_err(|_| Error::internal("an edge of another type passed the checks"))?);
            names.extend(self.topology.node(child).map(|node| node.name.clone()));
        }
        Ok(Children::new(typed, names))
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

/// The serde that was named or inherited, else the type's own, as this configuration wants it.
pub(crate) fn resolve_serde<T: Data>(
    named: Option<&ErasedSerde>,
    config: &StreamsConfig,
    is_key: bool,
) -> Option<SerdeRef<T>> {
    let serde = named.and_then(ErasedSerde::get::<T>).or_else(T::default_serde)?;
    configured(serde, &config.fields().serdes, is_key)
}

/// Makes a store. One whose damage shows only when its first rows are read is made a second time, empty.
pub(super) fn make_store(factory: &StoreFactory, init: &StoreInit<'_>) -> Result<Box<dyn AnyStore>> {
    let make = || -> Result<_> {
        let store = (factory.make)(init)?;
        store.committed_offset()?;
        store.committed_partitions()?;
        Ok(store)
    };
    match make() {
        Err(error) if error.is_corrupted_store() => make(),
        made => made,
    }
}

/// Makes the stores of some nodes; returns them in the order of their registration.
pub(super) fn make_stores(
    topology: &Topology,
    nodes: &[usize],
    ctx: &mut TaskCtx,
    state_dir: Option<TaskDirectory>,
) -> Result<Vec<usize>> {
    let config = ctx.rt.config.clone();
    let task_id = ctx.rt.task_id.to_string();
    let mut order = Vec::new();
    ctx.stores = topology.store_names.iter().map(|_| None).collect();
    for node in nodes {
        for id in topology.stores_of(*node) {
            let Some(factory) = topology.stores.get(&id).filter(|_| !order.contains(&id)) else { continue };
            let changelog =
                if factory.logging { topology.changelog_topic(factory, config.application_id()) } else { None };
            let restored_from = match (&changelog, topology.changelog_topic(factory, config.application_id())) {
                (Some(_), _) => RestoredFrom::Changelog,
                // A source topic that serves as one.
                (None, Some(_)) => RestoredFrom::Topic,
                (None, None) => RestoredFrom::Nothing,
            };
            let engine = EngineContext { task_id: task_id.clone(), state_dir: state_dir.clone(), restored_from };
            let init = StoreInit {
                config: &config,
                engine: &engine,
                changelog: changelog.map(|topic| (Arc::from(topic), ctx.rt.task_id.partition)),
                caching: factory.caching && config.fields().cache_max_bytes > 0,
                sharing: Sharing::Own,
            };
            ctx.rt.cache.caches += usize::from(init.caching);
            let store = make_store(factory, &init)?;
            if let Some(place) = ctx.stores.get_mut(id) {
                *place = Some(store);
            }
            order.push(id);
        }
    }
    Ok(order)
}
