//! A topology built node by node, without the DSL.

use std::{collections::BTreeSet, sync::Arc};

use super::{NodeFactory, NodeKind, Pattern, Topology, TypePair};
use crate::{
    data::Nullable,
    error::{Error, Result},
    options::{Consumed, Produced},
    processing::TopicNameExtractor,
    processor::{FixedKeyAdapter, FixedKeyProcessor, Processor},
    store::{StoreBuilder, StoreRef, StoreSet},
    topology::physical::{self, Extractor, SinkSpec, SinkTopic, SourceSpec},
    topology::processor_node,
};

impl Topology {
    /// An empty topology.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a source of topics.
    ///
    /// # Errors
    /// If the name is taken, there is no topic, or another source reads one of them.
    pub fn add_source_node<K: Nullable, V: Nullable>(
        &mut self,
        name: &str,
        topics: &[&str],
        consumed: Consumed<K::Some, V::Some>,
    ) -> Result<&mut Self> {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        self.add_source(physical::source::<K, V>(source_spec(name, topics, None, &consumed)))?;
        Ok(self)
    }

    /// Adds a source of all topics whose whole name matches a regular expression.
    ///
    /// # Errors
    /// If the name is taken, the pattern is none, or it matches a topic of another source.
    pub fn add_pattern_source_node<K: Nullable, V: Nullable>(
        &mut self,
        name: &str,
        pattern: &str,
        consumed: Consumed<K::Some, V::Some>,
    ) -> Result<&mut Self> {
        let pattern = Some(Pattern::new(pattern)?);
        self.add_source(physical::source::<K, V>(source_spec(name, Vec::new(), pattern, &consumed)))?;
        Ok(self)
    }

    /// Adds a processor below its parents, connected with stores; its factory gets their handles.
    ///
    /// # Errors
    /// If the name is taken, a parent is missing or a sink, or a store was not added before.
    pub fn add_processor<S: StoreSet, P: Processor>(
        &mut self,
        name: &str,
        parents: &[&str],
        stores: S,
        make: impl Fn(S::Handles) -> P + Send + Sync + 'static,
    ) -> Result<&mut Self> {
        let mut ids = Vec::new();
        stores.ids(&mut ids);
        let predecessors = parents.iter().map(|parent| (*parent).to_owned()).collect();
        self.add_node(NodeFactory {
            name: Arc::from(name),
            predecessors,
            kind: NodeKind::Processor { stores: Vec::new() },
            takes: Some(TypePair::of::<P::KIn, P::VIn>()),
            forwards: Some(TypePair::of::<P::KOut, P::VOut>()),
            make: processor_node::make(move || make(stores.handles())),
        })?;
        for id in ids {
            self.connect(name, id)?;
        }
        Ok(self)
    }

    /// Adds a processor that keeps keys.
    ///
    /// # Errors
    /// As [`add_processor`](Self::add_processor).
    pub fn add_fixed_key_processor<S: StoreSet, P: FixedKeyProcessor>(
        &mut self,
        name: &str,
        parents: &[&str],
        stores: S,
        make: impl Fn(S::Handles) -> P + Send + Sync + 'static,
    ) -> Result<&mut Self> {
        self.add_processor(name, parents, stores, move |handles| FixedKeyAdapter(make(handles)))
    }

    /// Adds a sink below its parents.
    ///
    /// # Errors
    /// If the name is taken, or a parent is missing or a sink.
    pub fn add_sink<K: Nullable, V: Nullable>(
        &mut self,
        name: &str,
        topic: &str,
        produced: Produced<K::Some, V::Some>,
        parents: &[&str],
    ) -> Result<&mut Self> {
        self.add_sink_node::<K, V>(name, SinkTopic::Static(topic.to_owned()), produced, parents)
    }

    /// Adds a sink whose topic is chosen for each record.
    ///
    /// # Errors
    /// If the name is taken, or a parent is missing or a sink.
    pub fn add_dynamic_sink<K: Nullable, V: Nullable>(
        &mut self,
        name: &str,
        topic: impl TopicNameExtractor<K, V> + 'static,
        produced: Produced<K::Some, V::Some>,
        parents: &[&str],
    ) -> Result<&mut Self> {
        self.add_sink_node::<K, V>(name, SinkTopic::Dynamic(Arc::new(topic)), produced, parents)
    }

    fn add_sink_node<K: Nullable, V: Nullable>(
        &mut self,
        name: &str,
        topic: SinkTopic<K, V>,
        produced: Produced<K::Some, V::Some>,
        parents: &[&str],
    ) -> Result<&mut Self> {
        let spec = SinkSpec {
            name: name.to_owned(),
            topic,
            key_serde: produced.key_serde(),
            value_serde: produced.value_serde(),
            partitioner: produced.partitioner.clone(),
            by_own_key: false,
        };
        let parents = parents.iter().map(|parent| (*parent).to_owned()).collect();
        self.add_node(physical::sink::<K, V>(spec, parents))?;
        Ok(self)
    }

    /// Adds a store and connects it with processors that were added before.
    ///
    /// # Errors
    /// If another store has its name, or a processor is missing.
    pub fn add_store<S>(&mut self, builder: &StoreBuilder<S>, processors: &[&str]) -> Result<StoreRef<S>> {
        let id = self.store_id(builder.name());
        self.add_state_store(builder.factory(id), processors)?;
        Ok(StoreRef::new(id))
    }

    /// A store that was or will be added, by its name.
    pub fn store_ref<S>(&mut self, name: &str) -> StoreRef<S> {
        StoreRef::new(self.store_id(name))
    }

    pub(super) fn store_id(&mut self, name: &str) -> usize {
        if let Some(id) = self.store_names.iter().position(|known| known == name) {
            return id;
        }
        self.store_names.push(name.to_owned());
        self.store_names.len() - 1
    }

    /// Connects a processor with stores that were added before.
    ///
    /// # Errors
    /// If the processor or a store is missing, or the node is no processor.
    pub fn connect_processor_and_state_stores(&mut self, processor: &str, stores: &[&str]) -> Result<&mut Self> {
        if stores.is_empty() {
            return Err(Error::topology(format!("no stores to connect {processor} with")));
        }
        for store in stores {
            let id = self.store_id(store);
            self.connect(processor, id)?;
        }
        Ok(self)
    }

    /// Demands that the topics of these sources have equally many partitions.
    pub fn copartition(&mut self, sources: &[&str]) {
        let group: BTreeSet<_> = sources.iter().map(|source| (*source).to_owned()).collect();
        self.copartition_groups.push(group);
    }
}

fn source_spec<K: Nullable, V: Nullable>(
    name: &str,
    topics: Vec<String>,
    pattern: Option<Pattern>,
    consumed: &Consumed<K::Some, V::Some>,
) -> SourceSpec<K, V> {
    SourceSpec {
        name: name.to_owned(),
        topics,
        pattern,
        reset: consumed.reset,
        key_serde: consumed.key_serde(),
        value_serde: consumed.value_serde(),
        extractor: Extractor::of(consumed),
    }
}
