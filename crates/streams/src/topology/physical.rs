//! Physical nodes as the operators need them: functions, sources and sinks.

use std::sync::Arc;

use vltava_client::producer::partition_for_key;

use crate::{
    data::{ErasedSerde, Nullable},
    error::{Error, Result, SerdeError, SerdeOrigin},
    guard::guarded,
    metrics::record_size,
    options::Consumed,
    processing::{ExtractorRef, PartitionerRef, RecordMetadata, Runtime, TopicRef, default_extractor},
    record::{ProducerRecord, Record, RecordOrigin},
    serdes::SerdeRef,
    task::{Children, FnNode, Pattern, Process, SourceNode, TaskCtx},
    topology::{AutoOffsetReset, Instantiation, MakeNode, NodeFactory, NodeKind, TypePair},
};

/// Makes a node of a function; tasks share the function.
pub(crate) fn make_fn<K, V, KO, VO, F>(f: Arc<F>) -> MakeNode
where
    K: 'static,
    V: 'static,
    KO: Send + 'static,
    VO: Send + 'static,
    F: Fn(Record<K, V>, &mut Children<KO, VO>, &mut TaskCtx) -> Result<()> + Send + Sync + 'static,
{
    Arc::new(move |making: &mut Instantiation<'_>| {
        let (id, children) = (making.node_id(), making.children::<KO, VO>()?);
        making.place::<K, V>(FnNode { f: f.clone(), children, id }, false);
        Ok(())
    })
}

/// The timestamp extractor of a source.
#[derive(Clone)]
pub(crate) enum Extractor<K, V> {
    /// `default.timestamp.extractor`.
    Default,
    /// The record's own, which must be valid: internal topics.
    Record,
    Custom(ExtractorRef<K, V>),
}

impl<K, V> Extractor<K, V> {
    pub(crate) fn of(consumed: &Consumed<K, V>) -> Self {
        consumed.extractor.clone().map_or(Extractor::Default, Extractor::Custom)
    }
}

pub(crate) struct SourceSpec<K: Nullable, V: Nullable> {
    pub(crate) name: String,
    pub(crate) topics: Vec<String>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) reset: Option<AutoOffsetReset>,
    pub(crate) key_serde: Option<ErasedSerde>,
    pub(crate) value_serde: Option<ErasedSerde>,
    pub(crate) extractor: Extractor<K::Some, V::Some>,
}

pub(crate) fn source<K: Nullable, V: Nullable>(spec: SourceSpec<K, V>) -> NodeFactory {
    let SourceSpec { name, topics, pattern, reset, key_serde, value_serde, extractor } = spec;
    let make = move |making: &mut Instantiation<'_>| -> Result<()> {
        let extractor = match &extractor {
            Extractor::Default => default_extractor(making.config)?.map(Arc::from),
            Extractor::Record => None,
            Extractor::Custom(extractor) => Some(extractor.clone()),
        };
        let node = SourceNode::<K, V> {
            key_serde: making.serde(key_serde.as_ref(), true)?,
            value_serde: making.serde(value_serde.as_ref(), false)?,
            extractor,
            heads: Vec::new(),
            current: None,
            id: making.node_id(),
            children: making.children()?,
        };
        making.sources.push((making.id, Box::new(node)));
        Ok(())
    };
    NodeFactory {
        name: Arc::from(name),
        predecessors: Vec::new(),
        kind: NodeKind::Source { topics, pattern, reset },
        takes: None,
        forwards: Some(TypePair::of::<K, V>()),
        make: Arc::new(make),
    }
}

/// Where a sink writes.
#[derive(Clone)]
pub(crate) enum SinkTopic<K, V> {
    Static(String),
    Dynamic(TopicRef<K, V>),
}

pub(crate) struct SinkSpec<K: Nullable, V: Nullable> {
    pub(crate) name: String,
    pub(crate) topic: SinkTopic<K, V>,
    pub(crate) key_serde: Option<ErasedSerde>,
    pub(crate) value_serde: Option<ErasedSerde>,
    pub(crate) partitioner: Option<PartitionerRef<K::Some, V::Some>>,
    /// Whether windowed keys are partitioned without their window, where there is no partitioner.
    pub(crate) by_own_key: bool,
}

pub(crate) fn sink<K: Nullable, V: Nullable>(spec: SinkSpec<K, V>, predecessors: Vec<String>) -> NodeFactory {
    let SinkSpec { name, topic, key_serde, value_serde, partitioner, by_own_key } = spec;
    let kind = match &topic {
        SinkTopic::Static(topic) => NodeKind::Sink { topic: Some(topic.clone()), extractor: String::new() },
        SinkTopic::Dynamic(extractor) => NodeKind::Sink { topic: None, extractor: extractor.name() },
    };
    let make = move |making: &mut Instantiation<'_>| -> Result<()> {
        let application = making.config.application_id();
        let key_serde = making.serde::<K::Some>(key_serde.as_ref(), true)?;
        let node = Sink::<K, V> {
            topic: match &topic {
                SinkTopic::Static(topic) => {
                    let topic = making.topology.decorate(topic, application).into();
                    making.ctx.rt.metrics.produced.declare(making.node_id(), &topic);
                    Topic::Static(topic)
                }
                SinkTopic::Dynamic(extractor) => Topic::Dynamic { extractor: extractor.clone(), last: "".into() },
            },
            window_len: if by_own_key && partitioner.is_none() { key_serde.window_len() } else { 0 },
            key_serde,
            value_serde: making.serde(value_serde.as_ref(), false)?,
            partitioner: partitioner.clone(),
            id: making.node_id(),
            serializing: None,
        };
        making.place::<K, V>(node, false);
        Ok(())
    };
    NodeFactory {
        name: Arc::from(name),
        predecessors,
        kind,
        takes: Some(TypePair::of::<K, V>()),
        forwards: None,
        make: Arc::new(make),
    }
}

enum Topic<K, V> {
    Static(Arc<str>),
    /// The last topic is kept: most records go where the one before went.
    Dynamic {
        extractor: TopicRef<K, V>,
        last: Arc<str>,
    },
}

struct Sink<K: Nullable, V: Nullable> {
    topic: Topic<K, V>,
    key_serde: SerdeRef<K::Some>,
    value_serde: SerdeRef<V::Some>,
    partitioner: Option<PartitionerRef<K::Some, V::Some>>,
    /// How many bytes of a key are its window, which partitioning leaves out.
    window_len: usize,
    id: u32,
    /// What a serde is at work on: a panic is then its error.
    serializing: Option<SerdeOrigin>,
}

impl<K: Nullable, V: Nullable> Process<K, V> for Sink<K, V> {
    fn process(&mut self, record: Record<K, V>, ctx: &mut TaskCtx) -> Result<()> {
        let rt = &mut ctx.rt;
        match guarded(|| self.send(&record, rt)) {
            Ok(()) => Ok(()),
            Err(error) => self.failed(*error, &record, rt),
        }
    }
}

impl<K: Nullable, V: Nullable> Sink<K, V> {
    /// Errors of serdes go to the production handler, others to the processing handler.
    #[cold]
    fn failed(&mut self, error: Error, record: &Record<K, V>, rt: &mut Runtime) -> Result<()> {
        rt.enter(record);
        let serializing = self.serializing.take();
        match (error, serializing) {
            (error @ Error::Serialization { .. }, _) => refused(Box::new(error), self.id, rt),
            (Error::Panic(panic), Some(origin)) => {
                let topic = match &self.topic {
                    Topic::Static(topic) | Topic::Dynamic { last: topic, .. } => topic.to_string(),
                };
                let (node, source) = (rt.node_name(self.id).to_owned(), SerdeError::new(format!("panicked: {panic}")));
                refused(Box::new(Error::Serialization { node, topic, origin, source }), self.id, rt)
            }
            (error, _) => rt.settle(Box::new(error), self.id),
        }
    }

    fn send(&mut self, record: &Record<K, V>, rt: &mut Runtime) -> Result<()> {
        let topic = match &mut self.topic {
            Topic::Static(topic) => &*topic,
            Topic::Dynamic { extractor, last } => {
                rt.enter(record);
                let topic = extractor.extract(&record.key, &record.value, &RecordMetadata::of(&rt.context));
                if *topic != **last {
                    *last = topic.into();
                }
                &*last
            }
        };
        let (key, value) = (record.key.as_some(), record.value.as_some());
        let mut partitions = None;
        if let Some(partitioner) = &self.partitioner {
            let count = rt.collector.partitions_for(topic)?;
            partitions = partitioner.partitions(topic, key, value, count);
            if partitions.as_ref().is_some_and(Vec::is_empty) {
                rt.drop_record("the partitioner chose no partition");
                return Ok(());
            }
        }
        rt.key_buffer.clear();
        rt.value_buffer.clear();
        let failed = |origin, source| {
            let (node, topic) =
                (rt.node_names.get(self.id as usize).map_or("", |name| name).to_owned(), topic.to_string());
            Box::new(Error::Serialization { node, topic, origin, source })
        };
        if let Some(key) = key {
            self.serializing = Some(SerdeOrigin::Key);
            let done = self.key_serde.serialize(topic, key, &mut rt.key_buffer);
            done.map_err(|source| failed(SerdeOrigin::Key, source))?;
        }
        if let Some(value) = value {
            self.serializing = Some(SerdeOrigin::Value);
            let done = self.value_serde.serialize(topic, value, &mut rt.value_buffer);
            done.map_err(|source| failed(SerdeOrigin::Value, source))?;
        }
        self.serializing = None;
        let partition = match self.window_len {
            0 => None,
            // Kafka's `WindowedStreamPartitioner`.
            window => match rt.key_buffer.len().checked_sub(window).and_then(|own| rt.key_buffer.get(..own)) {
                Some(own) if key.is_some() => Some(partition_for_key(own, rt.collector.partitions_for(topic)?)),
                _ => None,
            },
        };
        let unnamed;
        let node = match rt.node_names.get(self.id as usize) {
            Some(name) => name,
            None => {
                unnamed = Arc::from("");
                &unnamed
            }
        };
        let context = &rt.context;
        let origin =
            RecordOrigin { node, topic: context.topic.as_ref(), partition: context.partition, offset: context.offset };
        let mut out = ProducerRecord {
            topic,
            partition,
            timestamp: Some(record.timestamp),
            headers: &record.headers,
            key: key.map(|_| rt.key_buffer.as_slice()),
            value: value.map(|_| rt.value_buffer.as_slice()),
        };
        let size = record_size(out.key, out.value, topic, out.headers);
        match partitions {
            None => {
                rt.metrics.produced.add(self.id, topic, size);
                rt.collector.send_from(origin, out)
            }
            Some(partitions) => partitions.into_iter().try_for_each(|partition| {
                out.partition = Some(partition);
                rt.metrics.produced.add(self.id, topic, size);
                rt.collector.send_from(origin, out)
            }),
        }
    }
}

/// Asks the production handler about a record without bytes.
#[cold]
pub(crate) fn refused(error: Box<Error>, node: u32, rt: &mut Runtime) -> Result<()> {
    let Error::Serialization { topic, origin, .. } = &*error else { return Err(error) };
    let handler = rt.config.production_exception_handler().clone();
    let node = rt.node_name(node).to_owned();
    let context = rt.error_context(&node);
    let response = guarded(|| Ok(handler.handle_serialization(&context, topic, *origin, &error)));
    rt.obey(response, error, &node)
}
