//! Global and read-only stores: stores whose content is a topic's, so that the topic is their changelog.

use std::sync::Arc;

use super::{NodeFactory, NodeKind, Topology, TypePair};
use crate::{
    data::Nullable,
    error::{Error, Result},
    options::Consumed,
    processor::Processor,
    store::{GlobalStoreRef, StoreBuilder, StoreFactory, StoreHandle, StoreRef},
    topology::{
        AutoOffsetReset,
        physical::{self, Extractor, SourceSpec},
        processor_node,
    },
};

/// A store that all tasks read, and the nodes that fill it.
pub(crate) struct GlobalStore {
    pub(crate) factory: StoreFactory,
    /// All its partitions fill the store.
    pub(crate) topic: String,
    pub(crate) source: usize,
    pub(crate) processor: usize,
    /// Whether its content comes back through the processor, not as the topic has it.
    pub(crate) reprocess: bool,
}

/// Which topic fills a store, by which nodes.
#[derive(Clone, Copy, Debug)]
pub struct StoreInput<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The name of the source that reads it.
    pub source: &'a str,
    /// The name of the processor that writes to the store.
    pub processor: &'a str,
}

impl Topology {
    /// Adds a store that every task of every instance can read, with all that is in all partitions of a topic. A thread
    /// of its own fills it through the processor, which is given the store: completely before the first other record is
    /// processed, then as the topic grows, without regard to the time of other streams. The store has no changelog, for
    /// the topic is one, and no record cache.
    ///
    /// Other processors get the store by the reference that is returned, or by its name; they are not connected with it,
    /// and cannot write to it. The timestamp extractor and offset reset of `consumed` do not apply: records have their own
    /// timestamps, and the topic is read from its beginning.
    ///
    /// When the application starts again, the topic is processed anew as far as the store has not kept it (KIP-99,
    /// KIP-233).
    ///
    /// # Errors
    /// If a name is taken, another source reads the topic, or there is a store of the name.
    pub fn add_global_store<S, P>(
        &mut self,
        store: &StoreBuilder<S>,
        input: StoreInput<'_>,
        consumed: &Consumed<<P::KIn as Nullable>::Some, <P::VIn as Nullable>::Some>,
        make: impl Fn(StoreHandle<S>) -> P + Send + Sync + 'static,
    ) -> Result<GlobalStoreRef<S>>
    where
        S: 'static,
        P: Processor<KIn: Nullable, VIn: Nullable>,
    {
        let id = self.store_id(store.name());
        let source = physical::source::<P::KIn, P::VIn>(source_spec::<P>(input, consumed, Extractor::Record));
        let handle = StoreRef::new(id).handle();
        let processor = updater(input, move || make(handle));
        self.add_global(source, processor, store.factory(id), true)?;
        Ok(GlobalStoreRef::new(id))
    }

    /// Adds a store that holds what is in a topic (KIP-813): of each partition in the task of that partition. The
    /// processor is given the store and fills it; others may be connected with the store, and should not write to it. The
    /// topic is the store's changelog: after a restart its records are put back as they are, without the processor. It is
    /// read from its beginning.
    ///
    /// # Errors
    /// If a name is taken, another source reads the topic, or there is a store of the name.
    pub fn add_read_only_state_store<S, P>(
        &mut self,
        store: &StoreBuilder<S>,
        input: StoreInput<'_>,
        consumed: &Consumed<<P::KIn as Nullable>::Some, <P::VIn as Nullable>::Some>,
        make: impl Fn(StoreHandle<S>) -> P + Send + Sync + 'static,
    ) -> Result<StoreRef<S>>
    where
        S: 'static,
        P: Processor<KIn: Nullable, VIn: Nullable>,
    {
        let id = self.store_id(store.name());
        let extractor = Extractor::of(consumed);
        self.add_source(physical::source::<P::KIn, P::VIn>(source_spec::<P>(input, consumed, extractor)))?;
        let handle = StoreRef::new(id).handle();
        self.add_node(updater(input, move || make(handle)))?;
        let factory = StoreFactory { logging: false, ..store.factory(id) };
        self.add_state_store(factory, &[input.processor])?;
        self.connect_source_store_and_topic(id, input.topic.to_owned())?;
        Ok(StoreRef::new(id))
    }

    /// Adds a global store with its source and its processor.
    pub(crate) fn add_global(
        &mut self,
        source: NodeFactory,
        mut processor: NodeFactory,
        factory: StoreFactory,
        reprocess: bool,
    ) -> Result<()> {
        let NodeKind::Source { topics, .. } = &source.kind else {
            return Err(Error::internal("a source is no source"));
        };
        let Some(topic) = topics.first().cloned() else { return Err(Error::internal("a global store has no topic")) };
        self.verify_name(&source.name)?;
        self.verify_topic(&topic)?;
        self.verify_name(&processor.name)?;
        if source.name == processor.name {
            return Err(Error::topology(format!(
                "source and processor of a global store are both named {}",
                source.name
            )));
        }
        let (id, name) = (factory.id, &factory.name);
        if self.stores.contains_key(&id) {
            return Err(Error::topology(format!("A different StateStore has already been added with the name {name}")));
        }
        if self.is_global_store(id) {
            let message = format!("A different GlobalStateStore has already been added with the name {name}");
            return Err(Error::topology(message));
        }
        self.connect_source_store_and_topic(id, topic.clone())?;
        self.global_topics.insert(topic.clone());
        let source = self.push(source);
        if let NodeKind::Processor { stores } = &mut processor.kind {
            stores.push(id);
        }
        let processor = self.push(processor);
        self.unite(processor, source);
        let factory = StoreFactory { logging: false, caching: false, ..factory };
        self.global_stores.push(GlobalStore { factory, topic, source, processor, reprocess });
        Ok(())
    }

    /// Whether there is anything but global stores.
    pub(crate) fn has_tasks(&self) -> bool {
        self.node_groups().iter().any(|group| !self.is_global_group(group))
    }

    pub(crate) fn is_global_store(&self, store: usize) -> bool {
        self.global_stores.iter().any(|global| global.factory.id == store)
    }

    /// Whether a node fills a global store; nothing can be below it.
    pub(super) fn fills_global_store(&self, node: usize) -> bool {
        self.global_stores.iter().any(|global| global.source == node || global.processor == node)
    }
}

fn source_spec<P>(
    input: StoreInput<'_>,
    consumed: &Consumed<<P::KIn as Nullable>::Some, <P::VIn as Nullable>::Some>,
    extractor: Extractor<<P::KIn as Nullable>::Some, <P::VIn as Nullable>::Some>,
) -> SourceSpec<P::KIn, P::VIn>
where
    P: Processor<KIn: Nullable, VIn: Nullable>,
{
    SourceSpec {
        name: input.source.to_owned(),
        topics: vec![input.topic.to_owned()],
        pattern: None,
        reset: Some(AutoOffsetReset::Earliest),
        key_serde: consumed.key_serde(),
        value_serde: consumed.value_serde(),
        extractor,
    }
}

/// The node that fills a store.
pub(crate) fn updater<P: Processor>(
    input: StoreInput<'_>,
    make: impl Fn() -> P + Send + Sync + 'static,
) -> NodeFactory {
    NodeFactory {
        name: Arc::from(input.processor),
        predecessors: vec![input.source.to_owned()],
        kind: NodeKind::Processor { stores: Vec::new() },
        takes: Some(TypePair::of::<P::KIn, P::VIn>()),
        forwards: Some(TypePair::of::<P::KOut, P::VOut>()),
        make: processor_node::make(make),
    }
}
