//! `repartition`: through a topic of the application's own.

use std::rc::Rc;

use super::KStream;
use crate::{
    builder::{RepartitionNames, RepartitionSpec},
    data::Nullable,
    dsl::Options,
    error::Error,
    options::Repartitioned,
};

impl<K: Nullable, V: Nullable> KStream<K, V> {
    /// Sends the records through an internal topic, so that they are partitioned by their key; always, whether or not
    /// the key has changed. The topic has as many partitions as the largest upstream.
    ///
    /// It is `APPLICATION-NAME-repartition`, where the name is given or made from the operator's; what was processed is
    /// deleted from it. Records with a null key are dropped, unless a left or outer join below keeps them (KIP-962).
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, String>("in").repartition().to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, String>("in");
    /// input.pipe("k".to_owned(), "v".to_owned())?;
    /// let out = driver.output_topic::<String, String>("out");
    /// assert_eq!(out.read_values()?, ["v"]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn repartition(&self) -> Self {
        self.repartition_with(())
    }

    /// [`repartition`](Self::repartition) with a name, a number of partitions, serdes or a partitioner.
    pub fn repartition_with(&self, options: impl Options<Repartitioned<K::Some, V::Some>>) -> Self {
        let repartitioned = options.chosen().unwrap_or_default();
        let mut graph = self.graph.borrow_mut();
        if repartitioned.partitions.is_some_and(|partitions| partitions < 1) {
            graph.fail(Box::new(Error::IllegalArgument("number of partitions must be at least 1".to_owned())));
        }
        let name = match &repartitioned.name {
            Some(name) => {
                graph.validate_name(name);
                name.clone()
            }
            None => graph.new_processor_name("KSTREAM-REPARTITION-"),
        };
        let names = RepartitionNames::new(&mut graph, &name, repartitioned.name.is_some());
        let source = names.source.clone();
        let value_serde = repartitioned.value_serde().or_else(|| self.value_serde.clone());
        // Kafka gives the topic only the key serde that was named here, and its own default otherwise; the types make
        // the inherited one as good.
        let key_serde = repartitioned.key_serde().or_else(|| self.key_serde.clone());
        let spec = RepartitionSpec::<K, V> {
            partitioner: repartitioned.partitioner.clone(),
            partitions: repartitioned.partitions,
            optimizable: false,
            ..RepartitionSpec::new(names, repartitioned.key_serde(), value_serde.clone())
        };
        let node = graph.add(&[self.node], spec.into_node());
        KStream::new(&self.graph, node, &source, Rc::new([source.clone()].into())).with_serdes(key_serde, value_serde)
    }
}
