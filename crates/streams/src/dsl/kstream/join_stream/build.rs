//! The graph of a join: a node per side that keeps its records, one per side that looks at the other's, and their
//! meeting point.

use std::{any::TypeId, collections::BTreeSet, rc::Rc, sync::Arc};

use super::{
    Joiner, Outer,
    nodes::{JoinSide, Left, Reach, Right, Side, WindowNode},
    stores::{JoinStores, Names},
};
use crate::{
    builder::{Graph, GraphNode, Kind, NodeId, Written},
    data::{Flow, Nullable},
    dsl::{JoinWindows, KStream, StreamJoined, kstream},
    error::{Error, Result},
    record::Record,
    store::{StoreFactory, StoreRef},
    task::{Children, TaskCtx},
    topology::{Instantiation, MakeNode, Topology, TypePair, physical::make_fn},
};

impl<K: Nullable, V: Nullable> KStream<K, V> {
    pub(super) fn join_windowed<V2: Nullable, R: Flow>(
        &self,
        other: &KStream<K, V2>,
        windows: JoinWindows,
        joined: &StreamJoined<K::Some, V::Some, V2::Some>,
        outer: Outer,
        join: impl Joiner<K, V::Some, V2::Some, R>,
    ) -> KStream<K, R> {
        let repartition_name = |suffix: &str| joined.name.as_ref().map(|name| format!("{name}{suffix}"));
        let this = match self.repartition {
            true => {
                let name = repartition_name("-left");
                self.repartition_for_join(name.as_deref(), joined.key_serde(), joined.value_serde())
            }
            false => self.clone(),
        };
        let other = match other.repartition {
            true => {
                let name = repartition_name("-right");
                other.repartition_for_join(name.as_deref(), joined.key_serde(), joined.other_value_serde())
            }
            false => other.clone(),
        };
        let mut graph = self.graph.borrow_mut();
        if let Err(error) = windows.check() {
            graph.fail(error);
        }
        let sources: BTreeSet<String> = this.sources.union(&other.sources).cloned().collect();
        graph.copartition(sources.clone());
        let names = Names::new(&mut graph, joined.name.as_deref(), outer);
        let stores = JoinStores::new(&mut graph, joined, windows, &names, outer);
        let (left, right) = (&stores.this, &stores.other);
        add_window::<K, V>(&mut graph, this.node, &names.this_window, left);
        add_window::<K, V2>(&mut graph, other.node, &names.other_window, right);
        let name = names.merge.to_string();
        let nodes = JoinNodes { names: names.clone(), stores, windows, outer, join: Arc::new(join) };
        let kind = Kind::StreamJoin {
            this: names.this_window.to_string(),
            other: names.other_window.to_string(),
            self_join: false,
        };
        let write = move |written: &Written<'_>, topology: &mut Topology| match written.node.kind {
            Kind::StreamJoin { self_join: true, .. } => nodes.write_self_join::<K, V, V2, R>(topology),
            _ => nodes.write::<K, V, V2, R>(topology),
        };
        let node = GraphNode {
            keeps_null_keys: outer.left || outer.right,
            ..GraphNode::new(name.clone(), Rc::new(write)).with_kind(kind)
        };
        let node = graph.add(&[this.node, other.node], node);
        KStream::new(&self.graph, node, &name, Rc::new(sources)).with_serdes(joined.key_serde(), None)
    }
}

/// The node that keeps one side's records.
fn add_window<K: Nullable, V: Nullable>(graph: &mut Graph, parent: NodeId, name: &Arc<str>, store: &StoreFactory) {
    let handle = StoreRef::new(store.id).handle();
    let make: MakeNode = Arc::new(move |making: &mut Instantiation<'_>| {
        let node = WindowNode::<K, V> { store: handle, children: making.children()?, id: making.node_id() };
        making.place::<K, V>(node, false);
        Ok(())
    });
    let (node_name, store) = (name.clone(), store.clone());
    let write = move |written: &Written<'_>, topology: &mut Topology| {
        topology.add_node(kstream::factory::<K, V, K, V>(&node_name, written.parents.clone(), make.clone()))?;
        topology.add_state_store(store.clone(), &[&node_name])
    };
    graph.add(&[parent], GraphNode::new(name.to_string(), Rc::new(write)).with_kind(Kind::JoinWindow));
}

/// What the nodes of a join are made from.
struct JoinNodes<F> {
    names: Names,
    stores: JoinStores,
    windows: JoinWindows,
    outer: Outer,
    join: Arc<F>,
}

impl<F> JoinNodes<F> {
    fn write<K: Nullable, V: Nullable, V2: Nullable, R: Flow>(&self, topology: &mut Topology) -> Result<()>
    where
        F: Joiner<K, V::Some, V2::Some, R>,
    {
        let Names { this_window, other_window, this_join, other_join, merge, .. } = &self.names;
        let make = self.make_side::<K, V, V::Some, V2::Some, R, Left>(self.stores.other.id, self.outer.left);
        topology.add_node(kstream::factory::<K, V, K, R>(this_join, vec![this_window.to_string()], make))?;
        topology.connect(this_join, self.stores.other.id)?;
        self.add_unjoined(topology, this_join)?;
        let make = self.make_side::<K, V2, V::Some, V2::Some, R, Right>(self.stores.this.id, self.outer.right);
        topology.add_node(kstream::factory::<K, V2, K, R>(other_join, vec![other_window.to_string()], make))?;
        topology.connect(other_join, self.stores.this.id)?;
        self.add_unjoined(topology, other_join)?;
        let pass = |record: Record<K, R>, out: &mut Children<K, R>, ctx: &mut TaskCtx| out.forward(record, ctx);
        let parents = vec![this_join.to_string(), other_join.to_string()];
        topology.add_node(kstream::factory::<K, R, K, R>(merge, parents, make_fn(Arc::new(pass))))
    }

    fn add_unjoined(&self, topology: &mut Topology, node: &str) -> Result<()> {
        match &self.stores.unjoined {
            Some(store) => topology.add_state_store(store.clone(), &[node]),
            None => Ok(()),
        }
    }

    fn make_side<K: Nullable, V: Nullable, A: Flow, B: Flow, R: Flow, S>(&self, other: usize, outer: bool) -> MakeNode
    where
        S: Side<A, B, This = V::Some>,
        F: Joiner<K, A, B, R>,
    {
        let (join, reach) = (self.join.clone(), Reach::new::<A, B, S>(&self.windows));
        let unjoined = self.stores.unjoined.as_ref().map(|store| store.id);
        Arc::new(move |making: &mut Instantiation<'_>| {
            let node = JoinSide::<K, A, B, R, F, S> {
                join: join.clone(),
                other: StoreRef::new(other).handle(),
                unjoined: unjoined.map(|id| StoreRef::new(id).handle()),
                reach,
                outer,
                children: making.children()?,
                id: making.node_id(),
            };
            making.place::<K, V>(node, false);
            Ok(())
        })
    }

    /// One node and one store: the stream is joined with itself.
    fn write_self_join<K: Nullable, V: Nullable, V2: Nullable, R: Flow>(&self, topology: &mut Topology) -> Result<()>
    where
        F: Joiner<K, V::Some, V2::Some, R>,
    {
        let Names { this_window, merge, .. } = &self.names;
        if TypeId::of::<V::Some>() != TypeId::of::<V2::Some>() {
            let (forwards, takes) = (TypePair::of::<K, V>().name(), TypePair::of::<K, V2>().name());
            let (parent, child) = (this_window.to_string(), merge.to_string());
            return Err(Box::new(Error::EdgeType { parent, child, forwards, takes }));
        }
        let (join, windows, store) = (self.join.clone(), self.windows, self.stores.this.id);
        let make: MakeNode = Arc::new(move |making: &mut Instantiation<'_>| {
            let node = super::nodes::SelfJoin::<K, V::Some, V2::Some, R, F> {
                join: join.clone(),
                store: StoreRef::new(store).handle(),
                windows,
                stream_time: -1,
                children: making.children()?,
                id: making.node_id(),
                types: std::marker::PhantomData,
            };
            making.place::<K, V>(node, false);
            Ok(())
        });
        topology.add_node(kstream::factory::<K, V, K, R>(merge, vec![this_window.to_string()], make))?;
        topology.connect(merge, store)
    }
}
