//! `process` and `process_values`: application code as a node.

use std::{rc::Rc, sync::Arc};

use super::{KStream, factory};
use crate::{
    builder::{GraphNode, Written},
    data::Flow,
    dsl::{Named, Options, ProcessorOptions, options::name_of},
    processor::{FixedKeyAdapter, FixedKeyProcessor, Processor},
    store::StoreSet,
    topology::{Topology, processor_node},
};

impl<K: Flow, V: Flow> KStream<K, V> {
    /// Gives the records to a processor of the application, one instance per task. It may forward any keys, so a
    /// grouping or join below repartitions; [`process_values`](Self::process_values) avoids that.
    ///
    /// It gets every record, nulls and late ones too, in the order of the task; it makes no store or topic but those of
    /// the stores it is given. [`Processor`] has an example with a store and a timer.
    pub fn process<P>(&self, make: impl Fn() -> P + Send + Sync + 'static) -> KStream<P::KOut, P::VOut>
    where
        P: Processor<KIn = K, VIn = V>,
    {
        self.process_with((), move |()| make())
    }

    /// [`process`](Self::process) with stores, or a name, or both. Only the factory gets the handles of the stores, so a
    /// processor cannot use one that it is not connected with.
    pub fn process_with<O, P>(
        &self,
        options: O,
        make: impl Fn(<O::Stores as StoreSet>::Handles) -> P + Send + Sync + 'static,
    ) -> KStream<P::KOut, P::VOut>
    where
        O: ProcessorOptions,
        P: Processor<KIn = K, VIn = V>,
    {
        let ((named, stores), mut ids) = (options.chosen(), Vec::new());
        stores.ids(&mut ids);
        self.process_node("KSTREAM-PROCESSOR-", named.map(Named::into_inner), ids, true, move || make(stores.handles()))
    }

    /// [`process`](Self::process) with stores by their names, which the processor looks up in its context.
    #[doc(hidden)]
    pub fn process_by_name<P>(
        &self,
        options: impl Options<Named>,
        stores: &[&str],
        make: impl Fn() -> P + Send + Sync + 'static,
    ) -> KStream<P::KOut, P::VOut>
    where
        P: Processor<KIn = K, VIn = V>,
    {
        let ids = stores.iter().map(|store| self.graph.borrow_mut().store_id(store)).collect();
        self.process_node("KSTREAM-PROCESSOR-", name_of(options), ids, true, make)
    }

    /// Gives the records to a processor that keeps their keys, so that nothing is repartitioned after it. Otherwise as
    /// [`process`](Self::process).
    ///
    /// ```
    /// # use vltava_streams::{FixedKeyContext, FixedKeyProcessor, FixedKeyRecord, Result, StreamsBuilder, TopologyTestDriver};
    /// struct Numbered(i64);
    /// impl FixedKeyProcessor for Numbered {
    ///     type K = String;
    ///     type VIn = String;
    ///     type VOut = String;
    ///     fn process(
    ///         &mut self,
    ///         record: FixedKeyRecord<String, String>,
    ///         ctx: &mut FixedKeyContext<'_, '_, Self>,
    ///     ) -> Result<()> {
    ///         self.0 += 1;
    ///         let numbered = format!("{} {}", self.0, record.value);
    ///         ctx.forward(record.with_value(numbered))
    ///     }
    /// }
    /// let builder = StreamsBuilder::new();
    /// builder.stream("in").process_values(|| Numbered(0)).to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// driver.input_topic::<String, String>("in").pipe("k".to_owned(), "a".to_owned())?;
    /// assert_eq!(driver.output_topic::<String, String>("out").read_values()?, ["1 a"]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn process_values<P>(&self, make: impl Fn() -> P + Send + Sync + 'static) -> KStream<K, P::VOut>
    where
        P: FixedKeyProcessor<K = K, VIn = V>,
    {
        self.process_values_with((), move |()| make())
    }

    /// [`process_values`](Self::process_values) with stores, or a name, or both.
    pub fn process_values_with<O, P>(
        &self,
        options: O,
        make: impl Fn(<O::Stores as StoreSet>::Handles) -> P + Send + Sync + 'static,
    ) -> KStream<K, P::VOut>
    where
        O: ProcessorOptions,
        P: FixedKeyProcessor<K = K, VIn = V>,
    {
        let ((named, stores), mut ids) = (options.chosen(), Vec::new());
        stores.ids(&mut ids);
        self.process_node("KSTREAM-PROCESSVALUES-", named.map(Named::into_inner), ids, false, move || {
            FixedKeyAdapter(make(stores.handles()))
        })
    }

    /// [`process_values`](Self::process_values) with stores by their names, which the processor looks up in its
    /// context.
    #[doc(hidden)]
    pub fn process_values_by_name<P>(
        &self,
        options: impl Options<Named>,
        stores: &[&str],
        make: impl Fn() -> P + Send + Sync + 'static,
    ) -> KStream<K, P::VOut>
    where
        P: FixedKeyProcessor<K = K, VIn = V>,
    {
        let ids = stores.iter().map(|store| self.graph.borrow_mut().store_id(store)).collect();
        self.process_node("KSTREAM-PROCESSVALUES-", name_of(options), ids, false, move || FixedKeyAdapter(make()))
    }

    fn process_node<P>(
        &self,
        prefix: &str,
        name: Option<String>,
        stores: Vec<usize>,
        changes_key: bool,
        make: impl Fn() -> P + Send + Sync + 'static,
    ) -> KStream<P::KOut, P::VOut>
    where
        P: Processor<KIn = K, VIn = V>,
    {
        let mut graph = self.graph.borrow_mut();
        // Unlike other operators, Kafka's process() takes no number when it is given a name.
        let name = match name {
            Some(name) => {
                graph.validate_name(&name);
                name
            }
            None => graph.new_processor_name(prefix),
        };
        let (make, node_name) = (processor_node::make(make), Arc::<str>::from(name.as_str()));
        let write = move |written: &Written<'_>, topology: &mut Topology| {
            let parents = written.parents.clone();
            topology.add_node(factory::<K, V, P::KOut, P::VOut>(&node_name, parents, make.clone()))?;
            stores.iter().try_for_each(|store| topology.connect(&node_name, *store))
        };
        // Kafka's optimiser does not see that a processor changes keys or values, so repartitions below stay where
        // they are.
        let node = graph.add(&[self.node], GraphNode::new(name.clone(), Rc::new(write)));
        let key_serde = if changes_key { None } else { self.key_serde.clone() };
        self.below(node, &name).with_serdes(key_serde, None).with_repartition(self.repartition || changes_key)
    }
}
