//! The text of a topology, character by character as Kafka prints it.

use std::{
    cmp::Ordering,
    fmt::{self, Write as _},
};

use super::{NodeKind, Topology};
use vltava_protocol::java::{self, TreeSet};

/// A topology as text; see [`Topology::describe`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyDescription(String);

impl TopologyDescription {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopologyDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A node while it is described: its neighbours, and how many paths lead down from it, which is what it is sorted by.
struct Described {
    predecessors: TreeSet,
    successors: TreeSet,
    size: usize,
}

impl Topology {
    /// Sub-topologies, their nodes and connections, as Kafka's `Topology.describe()` prints them.
    ///
    /// ```
    /// use vltava_streams::StreamsBuilder;
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, String>("in").filter(|_, v| !v.is_empty()).to("out");
    /// let text = "Topologies:
    ///    Sub-topology: 0
    ///     Source: KSTREAM-SOURCE-0000000000 (topics: [in])
    ///       --> KSTREAM-FILTER-0000000001
    ///     Processor: KSTREAM-FILTER-0000000001 (stores: [])
    ///       --> KSTREAM-SINK-0000000002
    ///       <-- KSTREAM-SOURCE-0000000000
    ///     Sink: KSTREAM-SINK-0000000002 (topic: out)
    ///       <-- KSTREAM-FILTER-0000000001
    ///
    /// ";
    /// assert_eq!(builder.build()?.describe().as_str(), text);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    #[must_use]
    pub fn describe(&self) -> TopologyDescription {
        let mut text = String::from("Topologies:\n ");
        for (number, group) in self.node_groups().iter().enumerate() {
            text.push_str("  ");
            if self.is_global_group(group) {
                self.describe_global(number, group, &mut text);
            } else {
                self.describe_group(number, group, &mut text);
            }
        }
        TopologyDescription(text)
    }

    fn describe_global(&self, number: usize, group: &[usize], text: &mut String) {
        let name = |id: usize| self.node(id).map_or("", |node| &*node.name);
        let Some(&source) = group.iter().find(|id| self.is_global_source(**id)) else { return };
        let Some(&processor) = group.iter().find(|id| **id != source) else { return };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "Sub-topology: {number} for global store (will not generate tasks)");
        let _ = writeln!(text, "    {}\n      --> {}", self.head(source), name(processor));
        let _ = writeln!(text, "    {}\n      --> none\n      <-- {}", self.head(processor), name(source));
    }

    fn describe_group(&self, number: usize, group: &[usize], text: &mut String) {
        let mut nodes: Vec<Described> = self
            .nodes
            .iter()
            .map(|_| Described { predecessors: TreeSet::new(), successors: TreeSet::new(), size: 1 })
            .collect();
        let names: Vec<_> = group.iter().filter_map(|id| self.node(*id)).map(|node| &*node.name).collect();
        // Kafka walks through a hash map here; the order decides what the neighbours are sorted by when they meet.
        for name in java::hash_order(names, java::grown(group.len())) {
            let Some(id) = self.node_id(name) else { continue };
            let predecessors = self.node(id).map_or(&[][..], |node| &node.predecessors);
            for parent in predecessors.iter().filter_map(|parent| self.node_id(parent)) {
                let sizes: Vec<_> = nodes.iter().map(|node| node.size).collect();
                if let Some(node) = nodes.get_mut(id) {
                    node.predecessors.insert(parent, |a, b| self.compare(&sizes, a, b));
                }
                if let Some(node) = nodes.get_mut(parent) {
                    node.successors.insert(id, |a, b| self.compare(&sizes, a, b));
                }
                let size = nodes.get(id).map_or(1, |node| node.size);
                grow(&mut nodes, parent, size);
            }
        }
        let sizes: Vec<_> = nodes.iter().map(|node| node.size).collect();
        let mut ordered = group.to_vec();
        ordered.sort_by(|a, b| self.compare(&sizes, *a, *b));
        let _ = writeln!(text, "Sub-topology: {number}");
        for id in ordered {
            let Some(node) = nodes.get(id) else { continue };
            let _ = write!(text, "    {}", self.head(id));
            let kind = self.node(id).map(|node| &node.kind);
            if !matches!(kind, Some(NodeKind::Sink { .. })) {
                let _ = write!(text, "\n      --> {}", self.names(&node.successors));
            }
            if !matches!(kind, Some(NodeKind::Source { .. })) {
                let _ = write!(text, "\n      <-- {}", self.names(&node.predecessors));
            }
            text.push('\n');
        }
        text.push('\n');
    }

    fn head(&self, id: usize) -> String {
        let Some(node) = self.node(id) else { return String::new() };
        let name = &node.name;
        match &node.kind {
            NodeKind::Source { pattern: Some(pattern), .. } => format!("Source: {name} (topics: {pattern})"),
            NodeKind::Source { topics, .. } => {
                let topics = java::hash_order(topics.clone(), java::copied(topics.len()));
                format!("Source: {name} (topics: [{}])", topics.join(", "))
            }
            NodeKind::Processor { stores } => {
                let grown: Vec<_> = self.stores_of(id).into_iter().map(|id| self.store_name(id)).collect();
                let stores = java::hash_order(grown, java::copied(stores.len()));
                format!("Processor: {name} (stores: [{}])", stores.join(", "))
            }
            NodeKind::Sink { topic: Some(topic), .. } => format!("Sink: {name} (topic: {topic})"),
            NodeKind::Sink { extractor, .. } => format!("Sink: {name} (extractor class: {extractor})"),
        }
    }

    fn names(&self, set: &TreeSet) -> String {
        let items = set.items();
        let names: Vec<_> = items.iter().filter_map(|id| self.node(*id)).map(|node| &*node.name).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }

    /// Bigger first, then by name.
    fn compare(&self, sizes: &[usize], a: usize, b: usize) -> Ordering {
        let name = |id: usize| self.node(id).map(|node| &node.name);
        sizes.get(b).cmp(&sizes.get(a)).then_with(|| name(a).cmp(&name(b)))
    }
}

/// Adds to a node and to all that are known to be above it, once per path.
fn grow(nodes: &mut [Described], id: usize, by: usize) {
    let Some(node) = nodes.get_mut(id) else { return };
    node.size += by;
    for parent in node.predecessors.items() {
        grow(nodes, parent, by);
    }
}
