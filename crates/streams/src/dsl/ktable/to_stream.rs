//! `to_stream`: a table's changes as a stream.

use std::sync::Arc;

use super::KTable;
use crate::{
    builder::GraphNode,
    data::Flow,
    dsl::{KStream, Named, Options, kstream::processor, options::name_of},
    record::{Change, Record},
    task::Children,
    topology::physical,
};

impl<K: Flow, V: Flow> KTable<K, V> {
    /// The changes as a stream; `None` for a row that was deleted. With a cache above only the last change of a row between
    /// two commits is there. Keys stay, so nothing is repartitioned.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder.table::<String, i64>("in").to_stream().to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, Option<i64>>("in");
    /// input.pipe("k".to_owned(), Some(1))?;
    /// input.pipe("k".to_owned(), None)?;
    /// let out = driver.output_topic::<String, Option<i64>>("out");
    /// assert_eq!(out.read_values()?, [Some(1), None]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn to_stream(&self) -> KStream<K, Option<V>> {
        self.to_stream_with(())
    }

    /// [`to_stream`](Self::to_stream) under a name.
    pub fn to_stream_with(&self, options: impl Options<Named>) -> KStream<K, Option<V>> {
        self.changes_as(options, |key| key)
    }

    /// The changes as a stream whose keys may be null, for operators that work with both.
    #[doc(hidden)]
    pub fn to_nullable_stream(&self, options: impl Options<Named>) -> KStream<Option<K>, Option<V>> {
        self.changes_as(options, Some)
    }

    fn changes_as<K2: Flow>(
        &self,
        options: impl Options<Named>,
        key: impl Fn(K) -> K2 + Send + Sync + 'static,
    ) -> KStream<K2, Option<V>> {
        let mut graph = self.graph.borrow_mut();
        let name = graph.name_or(name_of(options).as_deref(), "KTABLE-TOSTREAM-");
        let f = move |record: Record<K, Change<V>>, out: &mut Children<K2, Option<V>>, ctx: &mut _| {
            let (old, change, rest) = record.split();
            out.forward(rest.with_key(key(old)).with_value(change.new), ctx)
        };
        let write = processor::<K, Change<V>, K2, Option<V>>(&name, physical::make_fn(Arc::new(f)));
        let node = graph.add(&[self.node], GraphNode::new(name.clone(), write));
        KStream::new(&self.graph, node, &name, self.sources.clone())
            .with_serdes(self.key_serde.clone(), self.value_serde.clone())
    }
}
