//! Repartition topics: a pass-through node, a sink, and the source that reads it back.

use std::{rc::Rc, sync::Arc};

use super::graph::{Graph, GraphNode, Kind, RepartitionInfo};
use crate::{
    data::{ErasedSerde, Nullable},
    processing::PartitionerRef,
    record::Record,
    task::{Children, TaskCtx},
    topology::{
        MakeNode, NodeFactory, NodeKind, TypePair,
        physical::{self, SinkSpec, SourceSpec},
    },
};

/// The names of a repartition's topic and nodes.
#[derive(Clone, Debug)]
pub(crate) struct RepartitionNames {
    pub(crate) topic: String,
    pub(crate) filter: String,
    pub(crate) sink: String,
    pub(crate) source: String,
}

impl RepartitionNames {
    /// Consumes three numbers, whether or not they are used.
    pub(crate) fn new(graph: &mut Graph, prefix: &str, by_user: bool) -> Self {
        const SUFFIX: &str = "-repartition";
        let topic = if prefix.ends_with(SUFFIX) { prefix.to_owned() } else { format!("{prefix}{SUFFIX}") };
        if !by_user {
            graph.implicit.repartitions.push(topic.clone());
        }
        let sink = graph.new_processor_name("KSTREAM-SINK-");
        let filter = graph.new_processor_name("KSTREAM-FILTER-");
        let source = graph.new_processor_name("KSTREAM-SOURCE-");
        if is_generated(prefix) {
            return RepartitionNames { topic, filter, sink, source };
        }
        Self::of_topic(topic)
    }

    fn of_topic(topic: String) -> Self {
        RepartitionNames {
            filter: format!("{topic}-filter"),
            sink: format!("{topic}-sink"),
            source: format!("{topic}-source"),
            topic,
        }
    }
}

/// Whether a name looks generated: `KSTREAM…-` and ten digits.
fn is_generated(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("KSTREAM") else { return false };
    let Some((_, digits)) = rest.rsplit_once('-') else { return false };
    digits.len() == 10 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// What a repartition is made from.
#[derive(Clone)]
pub(crate) struct RepartitionSpec<K: Nullable, V: Nullable> {
    pub(crate) names: RepartitionNames,
    pub(crate) key_serde: Option<ErasedSerde>,
    pub(crate) value_serde: Option<ErasedSerde>,
    pub(crate) partitioner: Option<PartitionerRef<K::Some, V::Some>>,
    pub(crate) partitions: Option<i32>,
    /// Whether the optimiser may merge it with others.
    pub(crate) optimizable: bool,
}

impl<K: Nullable, V: Nullable> RepartitionSpec<K, V> {
    pub(crate) fn new(
        names: RepartitionNames,
        key_serde: Option<ErasedSerde>,
        value_serde: Option<ErasedSerde>,
    ) -> Self {
        RepartitionSpec { names, key_serde, value_serde, partitioner: None, partitions: None, optimizable: true }
    }

    pub(crate) fn into_node(self) -> GraphNode {
        let kind = match self.optimizable {
            false => Kind::Plain,
            true => {
                let spec = self.clone();
                Kind::Repartition(Rc::new(RepartitionInfo {
                    key_serde: self.key_serde.clone(),
                    value_serde: self.value_serde.clone(),
                    rebuild: Box::new(move |key_serde, value_serde| {
                        let names = RepartitionNames::of_topic(spec.names.topic.clone());
                        RepartitionSpec { names, key_serde, value_serde, ..spec.clone() }.into_node()
                    }),
                }))
            }
        };
        let (name, spec) = (self.names.source.clone(), self);
        let write = move |written: &super::Written<'_>, topology: &mut crate::Topology| {
            let RepartitionNames { topic, filter, sink, source } = &spec.names;
            topology.add_internal_topic(topic.clone(), spec.partitions);
            topology.add_node(NodeFactory {
                name: Arc::from(filter.as_str()),
                predecessors: written.parents.clone(),
                kind: NodeKind::Processor { stores: Vec::new() },
                takes: Some(TypePair::of::<K, V>()),
                forwards: Some(TypePair::of::<K, V>()),
                make: pass_through::<K, V>(written.node.drops_null_keys),
            })?;
            topology.add_node(physical::sink::<K, V>(
                SinkSpec {
                    name: sink.clone(),
                    topic: physical::SinkTopic::Static(topic.clone()),
                    key_serde: spec.key_serde.clone(),
                    value_serde: spec.value_serde.clone(),
                    partitioner: spec.partitioner.clone(),
                    by_own_key: false,
                },
                vec![filter.clone()],
            ))?;
            topology.add_source(physical::source::<K, V>(SourceSpec {
                name: source.clone(),
                topics: vec![topic.clone()],
                pattern: None,
                reset: None,
                key_serde: spec.key_serde.clone(),
                value_serde: spec.value_serde.clone(),
                extractor: physical::Extractor::Record,
            }))
        };
        GraphNode::new(name, Rc::new(write)).with_kind(kind)
    }
}

/// The node in front of the sink.
fn pass_through<K: Nullable, V: Nullable>(drops_null_keys: bool) -> MakeNode {
    physical::make_fn(Arc::new(move |record: Record<K, V>, out: &mut Children<K, V>, ctx: &mut TaskCtx| {
        match drops_null_keys && record.key.as_some().is_none() {
            true => Ok(()),
            false => out.forward(record, ctx),
        }
    }))
}
