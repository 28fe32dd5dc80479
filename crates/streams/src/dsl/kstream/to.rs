//! `to`: into a topic.

use std::rc::Rc;

use super::KStream;
use crate::{
    builder::{GraphNode, Written},
    data::{DefaultSerde, Nullable},
    dsl::Options,
    options::Produced,
    processing::{RecordMetadata, TopicNameExtractor},
    topology::physical::{self, SinkSpec, SinkTopic},
};

impl<K: Nullable, V: Nullable> KStream<K, V> {
    /// Writes the records to a topic, which must exist. Serdes are those the stream was read with, as long as key and
    /// value have not changed, else those of the types. Windowed keys are partitioned without their window: all windows
    /// of a key are where the key itself would be. Timestamps and headers go along; a null key goes to any partition.
    ///
    /// What a serde cannot write, and what the broker refuses, goes to the
    /// [production exception handler](crate::handler::ProductionExceptionHandler).
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("in").to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// driver.input_topic::<String, i64>("in").pipe("k".to_owned(), 5)?;
    /// assert_eq!(driver.output_topic::<String, i64>("out").read_values()?, [5]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn to(&self, topic: &str)
    where
        K: Nullable<Some: DefaultSerde>,
        V: Nullable<Some: DefaultSerde>,
    {
        self.to_with((), topic);
    }

    /// [`to`](Self::to) with serdes, a partitioner or a name.
    pub fn to_with(&self, options: impl Options<Produced<K::Some, V::Some>>, topic: &str) {
        self.add_sink(options, SinkTopic::Static(topic.to_owned()));
    }

    /// Writes each record to the topic that a function names.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("in").to_dynamic(|_, n, _| if *n < 10 { "small".into() } else { "large".into() });
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, i64>("in");
    /// input.pipe("k".to_owned(), 50)?;
    /// let large = driver.output_topic::<String, i64>("large");
    /// assert_eq!(large.read_values()?, [50]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn to_dynamic(&self, topic: impl Fn(&K, &V, &RecordMetadata<'_>) -> String + Send + Sync + 'static)
    where
        K: Nullable<Some: DefaultSerde>,
        V: Nullable<Some: DefaultSerde>,
    {
        self.to_dynamic_with((), Closure(topic));
    }

    /// [`to_dynamic`](Self::to_dynamic) with serdes, a partitioner or a name, to the topic that an extractor names.
    pub fn to_dynamic_with(
        &self,
        options: impl Options<Produced<K::Some, V::Some>>,
        topic: impl TopicNameExtractor<K, V> + 'static,
    ) {
        self.add_sink(options, SinkTopic::Dynamic(std::sync::Arc::new(topic)));
    }

    fn add_sink(&self, options: impl Options<Produced<K::Some, V::Some>>, topic: SinkTopic<K, V>) {
        let produced = options.chosen().unwrap_or_default();
        let mut graph = self.graph.borrow_mut();
        let name = graph.name_or(produced.name.as_deref(), "KSTREAM-SINK-");
        let key_serde = produced.key_serde().or_else(|| self.key_serde.clone());
        let value_serde = produced.value_serde().or_else(|| self.value_serde.clone());
        let sink = name.clone();
        let write = move |written: &Written<'_>, topology: &mut crate::Topology| {
            let spec = SinkSpec {
                name: sink.clone(),
                topic: topic.clone(),
                key_serde: key_serde.clone(),
                value_serde: value_serde.clone(),
                partitioner: produced.partitioner.clone(),
                by_own_key: true,
            };
            topology.add_node(physical::sink::<K, V>(spec, written.parents.clone()))
        };
        graph.add(&[self.node], GraphNode::new(name, Rc::new(write)));
    }
}

/// A function as a topic extractor.
struct Closure<F>(F);

impl<K, V, F> TopicNameExtractor<K, V> for Closure<F>
where
    F: Fn(&K, &V, &RecordMetadata<'_>) -> String + Send + Sync,
{
    fn extract(&self, key: &K, value: &V, metadata: &RecordMetadata<'_>) -> String {
        self.0(key, value, metadata)
    }

    fn name(&self) -> String {
        std::any::type_name::<F>().to_owned()
    }
}
