//! `merge`: two streams as one.

use std::{collections::BTreeSet, rc::Rc, sync::Arc};

use super::{KStream, processor};
use crate::{
    builder::GraphNode,
    data::Flow,
    dsl::{Named, Options, options::name_of},
    task::Children,
    topology::physical,
};

impl<K: Flow, V: Flow> KStream<K, V> {
    /// The records of both streams; nothing is promised about their order.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("a").merge(&builder.stream("b")).to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let (a, b) = (driver.input_topic::<String, i64>("a"), driver.input_topic::<String, i64>("b"));
    /// a.pipe("k".to_owned(), 1)?;
    /// b.pipe("k".to_owned(), 2)?;
    /// let out = driver.output_topic::<String, i64>("out");
    /// assert_eq!(out.read_values()?, [1, 2]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn merge(&self, other: &KStream<K, V>) -> Self {
        self.merge_with((), other)
    }

    /// [`merge`](Self::merge) under a name.
    pub fn merge_with(&self, options: impl Options<Named>, other: &KStream<K, V>) -> Self {
        let mut graph = self.graph.borrow_mut();
        let name = graph.name_or(name_of(options).as_deref(), "KSTREAM-MERGE-");
        let pass = Arc::new(|record, out: &mut Children<K, V>, ctx: &mut _| out.forward(record, ctx));
        let write = processor::<K, V, K, V>(&name, physical::make_fn(pass));
        let node =
            graph.add(&[self.node, other.node], GraphNode { merge: true, ..GraphNode::new(name.clone(), write) });
        let sources: BTreeSet<_> = self.sources.union(&other.sources).cloned().collect();
        let merged = KStream::new(&self.graph, node, &name, Rc::new(sources));
        merged.with_repartition(self.repartition || other.repartition)
    }
}
