//! Where streams and tables come from: the sources of a builder.

use std::{rc::Rc, sync::Arc};

use vltava_protocol::java;

use super::{
    KStream, KTable, Options, TableOptions,
    ktable::{
        materialize::Materialized as TableStoreSpec,
        source::{self, SourceTable},
    },
    materialized::{KeyValueStores, MaterializedStore},
};
use crate::{
    builder::{GraphNode, Kind, StreamsBuilder, Written, graph::ROOT},
    data::{Data, DefaultSerde, Nullable},
    options::Consumed,
    task::Pattern,
    topology::{
        Topology,
        physical::{self, Extractor, SourceSpec},
    },
};

/// The names of one topic or of several.
pub trait Topics {
    /// The names.
    #[doc(hidden)]
    fn names(self) -> Vec<String>;
}
impl Topics for &str {
    fn names(self) -> Vec<String> {
        vec![self.to_owned()]
    }
}
impl Topics for &String {
    fn names(self) -> Vec<String> {
        vec![self.clone()]
    }
}
impl Topics for String {
    fn names(self) -> Vec<String> {
        vec![self]
    }
}
impl<T: AsRef<str>> Topics for &[T] {
    fn names(self) -> Vec<String> {
        self.iter().map(|topic| topic.as_ref().to_owned()).collect()
    }
}
impl<T: AsRef<str>> Topics for &Vec<T> {
    fn names(self) -> Vec<String> {
        self.as_slice().names()
    }
}
impl<T: AsRef<str>> Topics for Vec<T> {
    fn names(self) -> Vec<String> {
        self.as_slice().names()
    }
}
impl<T: AsRef<str>, const N: usize> Topics for [T; N] {
    fn names(self) -> Vec<String> {
        self.as_slice().names()
    }
}

impl StreamsBuilder {
    /// The records of a topic, or of several, with the serdes of the types. Records with a null key or value are dropped where the
    /// type has no null, and counted, as are those whose timestamp the extractor finds negative. What a serde cannot read
    /// goes to the [deserialisation exception handler](crate::handler::DeserializationExceptionHandler).
    ///
    /// A task takes the record with the lowest timestamp of all its partitions first, and waits for those that have none
    /// as `max.task.idle.ms` says; within a partition the order stays, also where timestamps go back. The topic must
    /// exist.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// // The values may be null, the keys not.
    /// builder.stream::<String, Option<i64>>("in").map_values(|n| n.unwrap_or(0)).to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, Option<i64>>("in");
    /// input.pipe("k".to_owned(), None)?;
    /// input.pipe("k".to_owned(), Some(7))?;
    /// assert_eq!(driver.output_topic::<String, i64>("out").read_values()?, [0, 7]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn stream<K, V>(&self, topics: impl Topics) -> KStream<K, V>
    where
        K: Nullable<Some: DefaultSerde>,
        V: Nullable<Some: DefaultSerde>,
    {
        self.stream_with((), topics)
    }

    /// [`stream`](Self::stream) with serdes, a timestamp extractor, an offset reset or a name.
    pub fn stream_with<K: Nullable, V: Nullable>(
        &self,
        options: impl Options<Consumed<K::Some, V::Some>>,
        topics: impl Topics,
    ) -> KStream<K, V> {
        let topics = topics.names();
        // Kafka passes the topics through a hash set.
        let table = java::copied(topics.len());
        let mut unique: Vec<String> = Vec::new();
        for topic in topics {
            if !unique.contains(&topic) {
                unique.push(topic);
            }
        }
        self.add_stream(java::hash_order(unique, table), None, options)
    }

    /// The records of all topics whose whole name matches a regular expression, now or later. Topics that come are found
    /// when the metadata is read again (`metadata.max.age.ms`), those that go are left; neither stops the others. The
    /// application's own internal topics and Kafka's are not among them.
    ///
    /// Partition by partition the topics share a task and its stores. A store's changelog is made for the first of them:
    /// one that comes later with more partitions ends the application, as does one that two patterns match.
    ///
    /// A new topic without a committed offset begins where [`Consumed::with_offset_reset_policy`] or `auto.offset.reset`
    /// says; with latest, what comes before it is found is skipped.
    pub fn stream_pattern<K, V>(&self, pattern: &str) -> KStream<K, V>
    where
        K: Nullable<Some: DefaultSerde>,
        V: Nullable<Some: DefaultSerde>,
    {
        self.stream_pattern_with((), pattern)
    }

    /// [`stream_pattern`](Self::stream_pattern) with serdes, a timestamp extractor, an offset reset or a name.
    pub fn stream_pattern_with<K: Nullable, V: Nullable>(
        &self,
        options: impl Options<Consumed<K::Some, V::Some>>,
        pattern: &str,
    ) -> KStream<K, V> {
        let compiled = Pattern::new(pattern);
        let pattern = match compiled {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                self.0.borrow_mut().fail(error);
                None
            }
        };
        self.add_stream(Vec::new(), pattern, options)
    }

    fn add_stream<K: Nullable, V: Nullable>(
        &self,
        topics: Vec<String>,
        pattern: Option<Pattern>,
        options: impl Options<Consumed<K::Some, V::Some>>,
    ) -> KStream<K, V> {
        let consumed = options.chosen().unwrap_or_default();
        let mut graph = self.0.borrow_mut();
        let name = graph.name_or(consumed.name.as_deref(), "KSTREAM-SOURCE-");
        let reset = consumed.reset;
        let kind = Kind::Source { topics: topics.iter().cloned().collect(), pattern: pattern.clone(), reset };
        let (key_serde, value_serde) = (consumed.key_serde(), consumed.value_serde());
        let source = name.clone();
        let write = move |_: &Written<'_>, topology: &mut Topology| {
            topology.add_source(physical::source::<K, V>(SourceSpec {
                name: source.clone(),
                topics: topics.clone(),
                pattern: pattern.clone(),
                reset,
                key_serde: consumed.key_serde(),
                value_serde: consumed.value_serde(),
                extractor: Extractor::of(&consumed),
            }))
        };
        let node = graph.add(&[ROOT], GraphNode::new(name.clone(), Rc::new(write)).with_kind(kind));
        let stream = KStream::new(&self.0, node, &name, Rc::new([name.clone()].into()));
        stream.with_serdes(key_serde, value_serde)
    }

    /// The newest value of every key of a topic, with the serdes of the types. Records with a null key are dropped, a
    /// null value deletes its row.
    ///
    /// The newest is what came last, also if its timestamp is lower; only a versioned store goes by the timestamps. Rows
    /// are in a store if something below needs them or the store has a name. Its changelog topic is
    /// `APPLICATION-STORE-changelog`; with `topology.optimization` the source topic itself serves.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder.table::<String, i64>("in").filter(|_, n| *n > 1).to_stream().to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, Option<i64>>("in");
    /// input.pipe("k".to_owned(), Some(2))?;
    /// input.pipe("k".to_owned(), None)?;
    /// assert_eq!(driver.output_topic::<String, Option<i64>>("out").read_values()?, [Some(2), None]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn table<K: DefaultSerde, V: DefaultSerde>(&self, topic: &str) -> KTable<K, V> {
        self.table_with((), topic)
    }

    /// [`table`](Self::table) with serdes, a timestamp extractor, an offset reset or a name, or into a store of this make.
    pub fn table_with<K: Data, V: Data>(
        &self,
        options: impl TableOptions<K, V, KeyValueStores, Consumed<K, V>>,
        topic: &str,
    ) -> KTable<K, V> {
        let (consumed, materialized) = options.chosen();
        let consumed = consumed.unwrap_or_default();
        let mut graph = self.0.borrow_mut();
        let store = MaterializedStore::new(&mut graph, &materialized.unwrap_or_default(), &format!("{topic}-"))
            .with_serdes(consumed.key_serde(), consumed.value_serde());
        let given = consumed.name.as_deref();
        let source = graph.name_with_suffix_or(given, "-source", "KSTREAM-SOURCE-");
        let name = graph.name_or(given, "KTABLE-SOURCE-");
        let (key_serde, value_serde) = (store.key_serde.clone(), store.value_serde.clone());
        let source_serdes = (key_serde.clone(), value_serde.clone());
        let queryable = store.queryable.then(|| store.store.clone());
        let table = TableStoreSpec::on_demand(&mut graph, store);
        let is_versioned = table.is_versioned();
        let (of, node_name, source_name, topic) =
            (table.clone(), Arc::<str>::from(name.as_str()), source.clone(), topic.to_owned());
        let write = move |written: &Written<'_>, topology: &mut Topology| {
            topology.add_source(physical::source::<Option<K>, Option<V>>(SourceSpec {
                name: source_name.clone(),
                topics: vec![topic.clone()],
                pattern: None,
                reset: consumed.reset,
                key_serde: source_serdes.0.clone(),
                value_serde: source_serdes.1.clone(),
                extractor: Extractor::of(&consumed),
            }))?;
            let parents = vec![source_name.clone()];
            topology.add_node(source::node::<Option<K>, Option<V>>(&node_name, parents, &of))?;
            if !of.is_materialized() {
                return Ok(());
            }
            let mut factory = of.factory();
            if matches!(written.node.kind, Kind::TableSource { reuse_topic: true }) {
                factory.logging = false;
                topology.add_state_store(factory, &[&node_name])?;
                return topology.connect_source_store_and_topic(of.id(), topic.clone());
            }
            topology.add_state_store(factory, &[&node_name])
        };
        let node = GraphNode { output_versioned: Some(is_versioned), ..GraphNode::new(name.clone(), Rc::new(write)) };
        let node = graph.add(&[ROOT], node.with_kind(Kind::TableSource { reuse_topic: false }));
        KTable::new(&self.0, node, &name, Rc::new([source].into()), Arc::new(SourceTable(table)))
            .with_serdes(key_serde, value_serde)
            .with_queryable(queryable)
    }
}
