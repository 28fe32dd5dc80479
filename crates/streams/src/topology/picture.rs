//! The topology as a picture: for Graphviz, and for Mermaid, which many pages show as it is.

use std::fmt::Write as _;

use vltava_protocol::java;

use super::{NodeKind, Topology};

/// What is drawn, in the order in which it is drawn.
struct Picture {
    clusters: Vec<Cluster>,
    /// Topics by their number, with how they are shown.
    topics: Vec<(String, Shape)>,
    edges: Vec<(Place, Place)>,
}

struct Cluster {
    title: String,
    nodes: Vec<(usize, String)>,
    stores: Vec<(usize, String)>,
    /// A node and a store that it uses.
    uses: Vec<(usize, usize)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Topic,
    /// A repartition topic.
    Internal,
    /// Topics that a pattern takes or an extractor names.
    Dynamic,
}

#[derive(Clone, Copy)]
enum Place {
    Node(usize),
    Topic(usize),
}

impl Topology {
    /// The topology in the language of [Graphviz](https://graphviz.org): sub-topologies as clusters, topics as ellipses
    /// (internal ones dashed), stores as cylinders. Names are those of [`describe`](Self::describe).
    ///
    /// ```
    /// use vltava_streams::StreamsBuilder;
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, String>("in").group_by_key().count().to_stream().to("out");
    /// let dot = builder.build()?.to_graphviz();
    /// assert!(dot.starts_with("digraph topology {"));
    /// assert!(dot.contains(r#"n1 -> s0 [style=dashed, dir=none]"#));
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    #[must_use]
    pub fn to_graphviz(&self) -> String {
        let picture = self.picture();
        // Writing to a String cannot fail, here and below.
        let mut text = String::from("digraph topology {\n  node [shape=box];\n");
        for (number, (name, shape)) in picture.topics.iter().enumerate() {
            let style = if *shape == Shape::Topic { "" } else { ", style=dashed" };
            let _ = writeln!(text, "  t{number} [label={}, shape=ellipse{style}];", quoted(name));
        }
        for (number, cluster) in picture.clusters.iter().enumerate() {
            let _ = writeln!(text, "  subgraph cluster_{number} {{\n    label={};", quoted(&cluster.title));
            for (id, name) in &cluster.nodes {
                let _ = writeln!(text, "    n{id} [label={}];", quoted(name));
            }
            for (id, name) in &cluster.stores {
                let _ = writeln!(text, "    s{id} [label={}, shape=cylinder];", quoted(name));
            }
            for (node, store) in &cluster.uses {
                let _ = writeln!(text, "    n{node} -> s{store} [style=dashed, dir=none];");
            }
            text.push_str("  }\n");
        }
        for (from, to) in &picture.edges {
            let _ = writeln!(text, "  {} -> {};", from.id(), to.id());
        }
        text.push_str("}\n");
        text
    }

    /// The topology as a [Mermaid](https://mermaid.js.org) flow chart: sub-topologies as subgraphs, topics rounded,
    /// stores as cylinders. Names are those of [`describe`](Self::describe).
    #[must_use]
    pub fn to_mermaid(&self) -> String {
        let picture = self.picture();
        let mut text = String::from("flowchart TD\n");
        for (number, (name, _)) in picture.topics.iter().enumerate() {
            let _ = writeln!(text, "  t{number}([{}])", escaped(name));
        }
        for (number, cluster) in picture.clusters.iter().enumerate() {
            let _ = writeln!(text, "  subgraph g{number}[{}]", escaped(&cluster.title));
            for (id, name) in &cluster.nodes {
                let _ = writeln!(text, "    n{id}[{}]", escaped(name));
            }
            for (id, name) in &cluster.stores {
                let _ = writeln!(text, "    s{id}[({})]", escaped(name));
            }
            for (node, store) in &cluster.uses {
                let _ = writeln!(text, "    n{node} -.- s{store}");
            }
            text.push_str("  end\n");
        }
        for (from, to) in &picture.edges {
            let _ = writeln!(text, "  {} --> {}", from.id(), to.id());
        }
        text
    }

    fn picture(&self) -> Picture {
        let mut picture = Picture { clusters: Vec::new(), topics: Vec::new(), edges: Vec::new() };
        for (number, group) in self.node_groups().into_iter().enumerate() {
            let title = match self.is_global_group(&group) {
                true => format!("Sub-topology {number}, global"),
                false => format!("Sub-topology {number}"),
            };
            let mut cluster = Cluster { title, nodes: Vec::new(), stores: Vec::new(), uses: Vec::new() };
            for id in group {
                let Some(node) = self.node(id) else { continue };
                cluster.nodes.push((id, node.name.to_string()));
                for parent in node.predecessors.iter().filter_map(|name| self.node_id(name)) {
                    picture.edges.push((Place::Node(parent), Place::Node(id)));
                }
                self.draw_surroundings(id, &mut cluster, &mut picture);
            }
            picture.clusters.push(cluster);
        }
        picture
    }

    /// The topics and stores of a node.
    fn draw_surroundings(&self, id: usize, cluster: &mut Cluster, picture: &mut Picture) {
        match self.node(id).map(|node| &node.kind) {
            Some(NodeKind::Source { pattern: Some(pattern), .. }) => {
                let topic = picture.topic(&pattern.to_string(), Shape::Dynamic);
                picture.edges.push((topic, Place::Node(id)));
            }
            Some(NodeKind::Source { topics, .. }) => {
                for name in java::hash_order(topics.clone(), java::copied(topics.len())) {
                    let topic = picture.topic(&name, self.shape(&name));
                    picture.edges.push((topic, Place::Node(id)));
                }
            }
            Some(NodeKind::Sink { topic: Some(name), .. }) => {
                let topic = picture.topic(name, self.shape(name));
                picture.edges.push((Place::Node(id), topic));
            }
            Some(NodeKind::Sink { extractor, .. }) => {
                let topic = picture.topic(&format!("chosen by {extractor}"), Shape::Dynamic);
                picture.edges.push((Place::Node(id), topic));
            }
            Some(NodeKind::Processor { stores }) => {
                for store in stores {
                    if cluster.stores.iter().all(|(known, _)| known != store) {
                        cluster.stores.push((*store, self.store_name(*store).to_owned()));
                    }
                    cluster.uses.push((id, *store));
                }
            }
            None => {}
        }
    }

    fn shape(&self, topic: &str) -> Shape {
        if self.internal_topics.contains_key(topic) { Shape::Internal } else { Shape::Topic }
    }
}

impl Picture {
    fn topic(&mut self, name: &str, shape: Shape) -> Place {
        let known = self.topics.iter().position(|(known, _)| known == name);
        Place::Topic(known.unwrap_or_else(|| {
            self.topics.push((name.to_owned(), shape));
            self.topics.len() - 1
        }))
    }
}

impl Place {
    fn id(self) -> String {
        match self {
            Place::Node(id) => format!("n{id}"),
            Place::Topic(id) => format!("t{id}"),
        }
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn escaped(text: &str) -> String {
    format!("\"{}\"", text.replace('#', "#35;").replace('"', "#quot;"))
}

#[cfg(test)]
mod tests {
    use crate::{Grouped, StreamsBuilder};

    fn topology() -> crate::Topology {
        let builder = StreamsBuilder::new();
        let orders = builder.stream::<String, String>("orders");
        let counts = orders.group_by_with(Grouped::named("items"), |_, v| v.clone()).count();
        let named = builder.stream::<String, String>("names");
        named.join(&counts, |name, count| format!("{name} {count}")).to("out");
        builder.build().unwrap()
    }

    #[test]
    fn graphviz() {
        insta::assert_snapshot!(topology().to_graphviz());
    }

    #[test]
    fn mermaid() {
        insta::assert_snapshot!(topology().to_mermaid());
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(super::quoted(r#"a"\b"#), r#""a\"\\b""#);
        assert_eq!(super::escaped(r##"a"#b"##), r#""a#quot;#35;b""#);
    }
}
