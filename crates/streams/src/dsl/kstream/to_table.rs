//! `to_table`: a stream of upserts as a table.

use std::{rc::Rc, sync::Arc};

use super::KStream;
use crate::{
    builder::{GraphNode, RepartitionNames, RepartitionSpec, Written},
    data::{DefaultSerde, Nullable},
    dsl::{
        KTable, TableOptions,
        ktable::{
            materialize::Materialized as TableStoreSpec,
            source::{self, SourceTable},
        },
        materialized::MaterializedStore,
        options::named_table,
    },
    topology::Topology,
};

impl<K: Nullable, V: Nullable> KStream<K, V> {
    /// The newest value of every key; a null value deletes the row, a null key drops the record. If the key has
    /// changed on the way the records are repartitioned first.
    ///
    /// A record that is older than its row replaces it all the same, unless the store keeps versions. Rows are in a
    /// timestamped store with the changelog topic `APPLICATION-STORE-changelog`.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, Option<i64>>("in").to_table().to_stream().to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, Option<i64>>("in");
    /// input.pipe("k".to_owned(), Some(1))?;
    /// let out = driver.output_topic::<String, Option<i64>>("out");
    /// assert_eq!(out.read_values()?, [Some(1)]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn to_table(&self) -> KTable<K::Some, V::Some>
    where
        K: Nullable<Some: DefaultSerde>,
        V: Nullable<Some: DefaultSerde>,
    {
        self.to_table_with(())
    }

    /// [`to_table`](Self::to_table) with a name for the operator, if there is one, and a store of this make.
    pub fn to_table_with(&self, options: impl TableOptions<K::Some, V::Some>) -> KTable<K::Some, V::Some> {
        const PREFIX: &str = "KSTREAM-TOTABLE-";
        let (name, materialized) = named_table(options);
        let mut graph = self.graph.borrow_mut();
        let named = name.is_some();
        let name = graph.name_or(name.as_deref(), PREFIX);
        let store = MaterializedStore::new(&mut graph, &materialized.unwrap_or_default(), PREFIX)
            .or_serdes(self.key_serde.clone(), self.value_serde.clone());
        let (mut parent, mut sources) = (self.node, self.sources.clone());
        if self.repartition {
            let names = RepartitionNames::new(&mut graph, &name, named);
            sources = Rc::new([names.source.clone()].into());
            let spec = RepartitionSpec::<K, V>::new(names, store.key_serde.clone(), store.value_serde.clone());
            parent = graph.add(&[self.node], spec.into_node());
        }
        let (key_serde, value_serde) = (store.key_serde.clone(), store.value_serde.clone());
        let queryable = store.queryable.then(|| store.store.clone());
        let table = TableStoreSpec::on_demand(&mut graph, store);
        let is_versioned = table.is_versioned();
        let (of, node_name) = (table.clone(), Arc::<str>::from(name.as_str()));
        let write = move |written: &Written<'_>, topology: &mut Topology| {
            topology.add_node(source::node::<K, V>(&node_name, written.parents.clone(), &of))?;
            of.add_store(topology, &node_name)
        };
        let node = GraphNode { output_versioned: Some(is_versioned), ..GraphNode::new(name.clone(), Rc::new(write)) };
        let node = graph.add(&[parent], node);
        KTable::new(&self.graph, node, &name, sources, Arc::new(SourceTable(table)))
            .with_serdes(key_serde, value_serde)
            .with_queryable(queryable)
    }
}
