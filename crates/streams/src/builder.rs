//! Where a topology begins.

pub(crate) mod graph;
mod optimize;
mod repartition;

use std::{cell::RefCell, rc::Rc, sync::Arc};

pub(crate) use graph::{Graph, GraphNode, Kind, NodeId, ROOT, Shared, TellVersioned, Write, Written};
pub(crate) use repartition::{RepartitionNames, RepartitionSpec};

use self::graph::ImplicitNames;

use crate::{
    config::StreamsConfig,
    error::{Error, Result},
    store::{StoreBuilder, StoreRef},
    topology::Topology,
};

/// Collects an application's streams and tables; [`build`](Self::build) makes the topology.
///
/// Handles are cheap: a clone is the same builder.
///
/// ```
/// use vltava_streams::StreamsBuilder;
///
/// let builder = StreamsBuilder::new();
/// builder
///     .stream::<Option<String>, String>("lines")
///     .flat_map_values(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
///     .group_by(|_, word| word.clone())
///     .count()
///     .to_stream()
///     .to("counts");
/// let topology = builder.build()?;
/// assert!(topology.describe().as_str().contains("KSTREAM-AGGREGATE-0000000004"));
/// # Ok::<(), Box<vltava_streams::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct StreamsBuilder(pub(crate) Shared);

impl std::fmt::Debug for StreamsBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamsBuilder").field("nodes", &self.0.borrow().len()).finish()
    }
}

impl StreamsBuilder {
    /// An empty builder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty builder that knows the settings from the start: Kafka's `TopologyConfig`.
    #[must_use]
    pub fn with_config(config: &StreamsConfig) -> Self {
        let mut graph = Graph::default();
        graph.config = Some(Arc::new(config.clone()));
        StreamsBuilder(Rc::new(RefCell::new(graph)))
    }

    /// Adds a store, which creates nothing until a processor is connected with it.
    pub fn add_state_store<S>(&self, builder: StoreBuilder<S>) -> StoreRef<S> {
        let mut graph = self.0.borrow_mut();
        let id = graph.store_id(builder.name());
        let factory = builder.factory(id);
        let write = move |_: &Written<'_>, topology: &mut Topology| topology.add_state_store(factory.clone(), &[]);
        graph.add(&[ROOT], GraphNode::new("", Rc::new(write)));
        StoreRef::new(id)
    }

    /// A store that was or will be added, by its name: of a table, for example.
    #[must_use]
    pub fn store_ref<S>(&self, name: &str) -> StoreRef<S> {
        StoreRef::new(self.0.borrow_mut().store_id(name))
    }

    /// Makes the topology, without optimisations unless the builder was made with settings that ask for them.
    ///
    /// # Errors
    /// What only the whole graph shows: clashing names, missing stores, types that do not meet. The first mistake made
    /// on the way is reported, with the name of its node.
    pub fn build(&self) -> Result<Topology> {
        let config = self.0.borrow().config.clone();
        build(&self.0, config.as_deref())
    }

    /// Makes the topology under these settings: `topology.optimization` applies.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_with(&self, config: &StreamsConfig) -> Result<Topology> {
        build(&self.0, Some(config))
    }

    /// The text of the first mistake so far, which [`build`](Self::build) will return.
    #[must_use]
    pub fn first_error(&self) -> Option<String> {
        self.0.borrow().error.as_ref().map(ToString::to_string)
    }

    /// Takes the first mistake so far.
    #[doc(hidden)]
    pub fn take_error(&self) -> Option<Box<Error>> {
        self.0.borrow_mut().error.take()
    }
}

fn build(shared: &Shared, config: Option<&StreamsConfig>) -> Result<Topology> {
    let mut graph = shared.borrow_mut();
    if let Some(error) = graph.error.take() {
        return Err(error);
    }
    let mut plan = graph.plan.clone();
    optimize::optimize(&mut plan, config)?;
    let mut topology = Topology::default();
    topology.store_names = graph.store_names.clone();
    // Operators may look names up while they are written, but not add any.
    drop(graph);
    plan.write(&mut topology)?;
    topology.copartition_sources(&plan.copartition);
    topology.validate()?;
    check_explicit_names(&shared.borrow().implicit, config)?;
    Ok(topology)
}

/// `ensure.explicit.internal.resource.naming` (KIP-1111).
fn check_explicit_names(implicit: &ImplicitNames, config: Option<&StreamsConfig>) -> Result<()> {
    let kinds = [
        ("changelog topic(s)", &implicit.changelogs),
        ("state store(s)", &implicit.stores),
        ("repartition topic(s)", &implicit.repartitions),
    ];
    let missing = kinds.iter().filter(|(_, names)| !names.is_empty());
    let lines: Vec<_> =
        missing.map(|(kind, names)| format!("Following {kind} has not been named: {}", names.join(", "))).collect();
    let ensured = config.is_some_and(|config| config.fields().explicit_naming);
    match lines.is_empty() || !ensured {
        true => Ok(()),
        false => Err(Error::topology(lines.join("; "))),
    }
}
