//! Streams of records, and the operators on them.

mod filter;
mod flat_map;
mod for_each;
mod group_by;
mod join_global;
mod join_stream;
mod join_table;
mod map;
mod map_values;
mod merge;
mod peek;
mod print;
mod process;
mod repartition;
mod select_key;
pub(crate) mod split;
mod to;
mod to_table;

use std::{cell::Cell, collections::BTreeSet, marker::PhantomData, rc::Rc, sync::Arc};

use crate::{
    builder::{GraphNode, NodeId, Shared, Write},
    data::{ErasedSerde, Flow},
    error::Result,
    record::Record,
    task::{Children, TaskCtx},
    topology::{MakeNode, NodeFactory, NodeKind, TypePair, physical},
};

/// A stream of records, or a point in a topology through which they flow.
///
/// A handle is cheap: a clone is the same point, and what is attached to it gets the same records. `K` and `V` are the
/// types of keys and values; where nulls may occur they are `Option`s.
///
/// Operators that look at one record at a time (`filter`, `map`, `peek`, `split` …) keep its timestamp and headers, do not
/// care in which order records come, give a null to the function like any other value, and make neither topic nor store.
/// Those that may change the key mark the stream: a grouping, join or `to_table` below sends the records through a
/// repartition topic first, once for all of them where the optimiser may. An error or panic of a function goes to the
/// [processing exception handler](crate::handler) with node, task and record.
pub struct KStream<K, V> {
    pub(crate) graph: Shared,
    pub(crate) node: NodeId,
    pub(crate) name: Rc<str>,
    /// The source nodes whose partitioning this stream has.
    pub(crate) sources: Rc<BTreeSet<String>>,
    /// Whether the key has changed since the records were last partitioned by it.
    pub(crate) repartition: bool,
    pub(crate) key_serde: Option<ErasedSerde>,
    pub(crate) value_serde: Option<ErasedSerde>,
    /// The repartition that a join of this stream has made: further joins share it.
    pub(crate) join_repartition: Rc<Cell<Option<NodeId>>>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for KStream<K, V> {
    fn clone(&self) -> Self {
        KStream {
            graph: self.graph.clone(),
            node: self.node,
            name: self.name.clone(),
            sources: self.sources.clone(),
            repartition: self.repartition,
            key_serde: self.key_serde.clone(),
            value_serde: self.value_serde.clone(),
            join_repartition: self.join_repartition.clone(),
            types: PhantomData,
        }
    }
}

impl<K, V> std::fmt::Debug for KStream<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KStream").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The name and nature of an operator's node.
pub(crate) struct Op {
    pub(crate) prefix: &'static str,
    pub(crate) name: Option<String>,
    pub(crate) changes_key: bool,
    pub(crate) changes_value: bool,
    pub(crate) loses_value_serde: bool,
}

impl Op {
    pub(crate) fn new(prefix: &'static str, name: Option<String>) -> Self {
        Op { prefix, name, changes_key: false, changes_value: false, loses_value_serde: false }
    }
    pub(crate) fn key(self) -> Self {
        Op { changes_key: true, ..self }
    }
    /// Changes the value along with the key: Kafka marks only the key.
    pub(crate) fn value_lost(self) -> Self {
        Op { loses_value_serde: true, ..self }
    }
    pub(crate) fn value(self) -> Self {
        Op { changes_value: true, loses_value_serde: true, ..self }
    }
}

impl<K, V> KStream<K, V> {
    pub(crate) fn new(graph: &Shared, node: NodeId, name: &str, sources: Rc<BTreeSet<String>>) -> Self {
        KStream {
            graph: graph.clone(),
            node,
            name: name.into(),
            sources,
            repartition: false,
            key_serde: None,
            value_serde: None,
            join_repartition: Rc::default(),
            types: PhantomData,
        }
    }

    /// The stream below a new node, without serdes.
    pub(crate) fn below<K2, V2>(&self, node: NodeId, name: &str) -> KStream<K2, V2> {
        KStream { repartition: self.repartition, ..KStream::new(&self.graph, node, name, self.sources.clone()) }
    }

    pub(crate) fn with_serdes(mut self, key: Option<ErasedSerde>, value: Option<ErasedSerde>) -> Self {
        self.key_serde = key;
        self.value_serde = value;
        self
    }

    pub(crate) fn with_repartition(mut self, repartition: bool) -> Self {
        self.repartition = repartition;
        self
    }
}

impl<K: Flow, V: Flow> KStream<K, V> {
    /// Adds a node that is a function of record and children. Keys and values keep their serdes unless they change.
    pub(crate) fn op<KO: Flow, VO: Flow>(
        &self,
        op: Op,
        f: impl Fn(Record<K, V>, &mut Children<KO, VO>, &mut TaskCtx) -> Result<()> + Send + Sync + 'static,
    ) -> KStream<KO, VO> {
        let name = self.graph.borrow_mut().name_or(op.name.as_deref(), op.prefix);
        self.op_as(name, &op, &[self.node], f)
    }

    /// The same under a name that is already made.
    pub(crate) fn op_as<KO: Flow, VO: Flow>(
        &self,
        name: String,
        op: &Op,
        parents: &[NodeId],
        f: impl Fn(Record<K, V>, &mut Children<KO, VO>, &mut TaskCtx) -> Result<()> + Send + Sync + 'static,
    ) -> KStream<KO, VO> {
        let write = processor::<K, V, KO, VO>(&name, physical::make_fn(Arc::new(f)));
        let node = GraphNode {
            key_changing: op.changes_key,
            value_changing: op.changes_value,
            ..GraphNode::new(name.clone(), write)
        };
        let node = self.graph.borrow_mut().add(parents, node);
        let stream = self.below(node, &name).with_repartition(self.repartition || op.changes_key);
        let key = if op.changes_key { None } else { self.key_serde.clone() };
        let value = if op.loses_value_serde { None } else { self.value_serde.clone() };
        stream.with_serdes(key, value)
    }
}

/// Writes a processor without stores.
pub(crate) fn processor<K: 'static, V: 'static, KO: 'static, VO: 'static>(name: &str, make: MakeNode) -> Write {
    let name: Arc<str> = name.into();
    Rc::new(move |written, topology| {
        topology.add_node(factory::<K, V, KO, VO>(&name, written.parents.clone(), make.clone()))
    })
}

/// A processor's physical node.
pub(crate) fn factory<K: 'static, V: 'static, KO: 'static, VO: 'static>(
    name: &Arc<str>,
    predecessors: Vec<String>,
    make: MakeNode,
) -> NodeFactory {
    NodeFactory {
        name: name.clone(),
        predecessors,
        kind: NodeKind::Processor { stores: Vec::new() },
        takes: Some(TypePair::of::<K, V>()),
        forwards: Some(TypePair::of::<KO, VO>()),
        make,
    }
}
