//! A topology without a broker: records in, records out, in a plain `#[test]`.

mod queries;
mod stores;
#[cfg(test)]
mod tests;
mod topics;
mod work;

use std::{
    any::Any,
    cell::{RefCell, RefMut},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
pub use stores::{TestKeyValueStore, TestWindowStore};
pub use topics::{TestInputTopic, TestOutputTopic, TestRecord};
use vltava_metrics::{Registry, Snapshot};

use crate::{
    config::StreamsConfig,
    data::{DefaultSerde, Nullable},
    error::{Error, Result},
    metrics::{self, Recorder},
    processing::RecordCollector,
    record::{Headers, ProducerRecord},
    serdes::SerdeRef,
    state::GlobalStores,
    store::{StoreAccess, StoreRef},
    task::{Task, TaskOptions, TaskScope},
    task_id::TaskId,
    topology::{GlobalTask, NodeKind, Topology},
};

/// Runs a whole topology as one task with one partition per topic, on the calling thread.
///
/// Every record is processed to its end before `pipe` returns: what is written to internal topics comes back in, and
/// the caches are flushed after each record, as if every record were followed by a commit. The driver and its topics
/// are handles of the same thing.
#[derive(Clone)]
pub struct TopologyTestDriver(Rc<RefCell<Driver>>);

impl std::fmt::Debug for TopologyTestDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopologyTestDriver").finish_non_exhaustive()
    }
}

/// A record that the topology has sent, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentRecord {
    /// The topic, internal ones with the application's prefix.
    pub topic: Arc<str>,
    /// The partition, where a partitioner or changelog fixed it.
    pub partition: Option<i32>,
    /// Milliseconds since the epoch; `None` where the record has none.
    pub timestamp: Option<i64>,
    /// The key's bytes.
    pub key: Option<Bytes>,
    /// The value's bytes.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Headers,
}

/// Keeps what a task sends.
#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Vec<SentRecord>>>);

impl Capture {
    fn take_from(&self, start: usize) -> Vec<SentRecord> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.get(start..).unwrap_or_default().to_vec()
    }
}

impl RecordCollector for Capture {
    fn send(&mut self, record: ProducerRecord<'_>) -> Result<()> {
        let sent = SentRecord {
            topic: record.topic.clone(),
            partition: record.partition,
            timestamp: record.timestamp,
            key: record.key.map(Bytes::copy_from_slice),
            value: record.value.map(Bytes::copy_from_slice),
            headers: record.headers.clone(),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sent);
        Ok(())
    }

    fn partitions_for(&mut self, _topic: &str) -> Result<i32> {
        Ok(1)
    }
}

struct Driver {
    task: Task,
    global: Option<GlobalTask>,
    store_names: Vec<String>,
    /// The names of the global ones.
    global_stores: Vec<String>,
    sent: Capture,
    /// How much of `sent` has been looked at for topics that come back in.
    captured: usize,
    /// What each output topic's reader has read.
    read: BTreeMap<String, usize>,
    offsets: BTreeMap<String, i64>,
    now: i64,
    config: Arc<StreamsConfig>,
    metrics: Registry,
    ends: Ends,
    closed: bool,
}

/// The sinks, by their topics.
struct Ends {
    sinks: BTreeMap<String, String>,
    /// The sink that chooses a topic for every record, if there is one.
    dynamic_sink: Option<String>,
}

impl Ends {
    fn of(topology: &Topology, application_id: &str) -> Self {
        let mut ends = Ends { sinks: BTreeMap::new(), dynamic_sink: None };
        for node in &topology.nodes {
            let name = node.name.to_string();
            match &node.kind {
                NodeKind::Sink { topic: Some(topic), .. } => {
                    drop(ends.sinks.insert(topology.decorate(topic, application_id), name));
                }
                NodeKind::Sink { .. } => ends.dynamic_sink = Some(name),
                NodeKind::Source { .. } | NodeKind::Processor { .. } => {}
            }
        }
        ends
    }

    /// The sink that writes to a topic.
    fn sink(&self, topic: &str) -> Option<&String> {
        self.sinks.get(topic).or(self.dynamic_sink.as_ref())
    }
}

fn misuse<T>(message: impl Into<String>) -> Result<T> {
    Err(Box::new(Error::Streams(message.into())))
}

impl TopologyTestDriver {
    /// A driver with default settings: application id `test`, the clock at 0.
    ///
    /// # Errors
    /// If a serde is missing or a processor cannot be initialised.
    pub fn new(topology: &Topology) -> Result<Self> {
        Self::with_config(topology, &StreamsConfig::builder("test").build()?, 0)
    }

    /// A driver with settings, its clock at `now`, in ms since the epoch. As in the JVM's driver, windows that close and rows of
    /// outer joins that find nobody are looked for with every record, and not once in a second of its clock.
    ///
    /// # Errors
    /// If a serde is missing or a processor cannot be initialised.
    pub fn with_config(topology: &Topology, config: &StreamsConfig, now: i64) -> Result<Self> {
        let (sent, config) = (Capture::default(), Arc::new(config.emitting_at_once()));
        let globals = GlobalStores::default();
        let mut global = work::open_global(topology, &config, &globals, now)?;
        let mut task = Task::new(
            topology,
            TaskOptions {
                id: TaskId { subtopology: 0, partition: 0 },
                config: config.clone(),
                collector: Box::new(sent.clone()),
                state_dir: None,
                globals: global.is_some().then_some(globals),
                scope: TaskScope::Everything,
                now,
            },
        )?;
        task.initialize()?;
        let (read, offsets) = (BTreeMap::new(), BTreeMap::new());
        let store_names = topology.store_names.clone();
        let global_stores = topology.global_stores.iter().map(|global| global.factory.name.clone()).collect();
        let (metrics, ends) = (metrics::registry(&config), Ends::of(topology, config.application_id()));
        // By the driver's clock, which stands still while a record is processed, nothing takes any time.
        let recorder = Recorder::of_thread(&metrics, std::thread::current().name().unwrap_or("main"), || 0);
        task.measure(&recorder);
        if let Some(global) = &mut global {
            global.measure(&recorder);
        }
        let closed = false;
        let driver = Driver {
            task,
            global,
            store_names,
            global_stores,
            sent,
            captured: 0,
            read,
            offsets,
            now,
            config,
            metrics,
            ends,
            closed,
        };
        Ok(TopologyTestDriver(Rc::new(RefCell::new(driver))))
    }

    /// An input topic with the serdes of its types.
    #[must_use]
    pub fn input_topic<K, V>(&self, topic: &str) -> TestInputTopic<K, V>
    where
        K: Nullable<Some: DefaultSerde>,
        V: Nullable<Some: DefaultSerde>,
    {
        self.input_topic_with(topic, crate::serdes::serde_of::<K::Some>(), crate::serdes::serde_of::<V::Some>())
    }

    /// An input topic with these serdes.
    #[must_use]
    pub fn input_topic_with<K: Nullable, V: Nullable>(
        &self,
        topic: &str,
        key_serde: SerdeRef<K::Some>,
        value_serde: SerdeRef<V::Some>,
    ) -> TestInputTopic<K, V> {
        TestInputTopic::new(self.clone(), topic, key_serde, value_serde)
    }

    /// An output topic with the serdes of its types.
    #[must_use]
    pub fn output_topic<K, V>(&self, topic: &str) -> TestOutputTopic<K, V>
    where
        K: Nullable<Some: DefaultSerde>,
        V: Nullable<Some: DefaultSerde>,
    {
        self.output_topic_with(topic, crate::serdes::serde_of::<K::Some>(), crate::serdes::serde_of::<V::Some>())
    }

    /// An output topic with these serdes.
    #[must_use]
    pub fn output_topic_with<K: Nullable, V: Nullable>(
        &self,
        topic: &str,
        key_serde: SerdeRef<K::Some>,
        value_serde: SerdeRef<V::Some>,
    ) -> TestOutputTopic<K, V> {
        TestOutputTopic::new(self.clone(), topic, key_serde, value_serde)
    }

    /// Puts a record of bytes into a source topic and runs the topology until nothing is left to do.
    ///
    /// # Errors
    /// If no source reads the topic, or processing fails; the driver is of no further use then.
    pub fn pipe_bytes(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp: i64,
        headers: Headers,
    ) -> Result<()> {
        let mut driver = self.at_work()?;
        if !driver.enqueue(topic, key, value, timestamp, headers)? {
            return Err(Box::new(Error::IllegalArgument(format!("unknown topic {topic}: no source reads it"))));
        }
        driver.run()
    }

    /// The driver, for a call that makes it work.
    fn at_work(&self) -> Result<RefMut<'_, Driver>> {
        match self.0.try_borrow_mut() {
            Ok(driver) if driver.closed => misuse("the test driver is closed"),
            Ok(driver) => Ok(driver),
            Err(_) => misuse("the test driver is at work: a function that was given a store cannot use it"),
        }
    }

    /// Everything the topology has sent so far, in order, over all topics: output, repartition and changelog alike.
    #[must_use]
    pub fn history(&self) -> Vec<SentRecord> {
        self.0.borrow().sent.take_from(0)
    }

    /// What was sent from a position of [`history`](Self::history) on.
    #[must_use]
    pub fn history_from(&self, start: usize) -> Vec<SentRecord> {
        self.0.borrow().sent.take_from(start)
    }

    /// Moves the clock, and runs the wall-clock punctuations that fall due.
    ///
    /// # Errors
    /// If application code fails.
    pub fn advance_wall_clock_time(&self, by: Duration) -> Result<()> {
        let mut driver = self.at_work()?;
        let by = i64::try_from(by.as_millis());
        driver.now = by.ok().and_then(|by| driver.now.checked_add(by)).unwrap_or(i64::MAX);
        let now = driver.now;
        driver.task.maybe_punctuate_system_time(now)?;
        driver.commit()?;
        driver.run()
    }

    /// The clock, in ms since the epoch.
    #[must_use]
    pub fn wall_clock_time(&self) -> i64 {
        self.0.borrow().now
    }

    /// The greatest timestamp so far, in ms since the epoch; -1 before the first record.
    #[must_use]
    pub fn stream_time(&self) -> i64 {
        self.0.borrow().task.stream_time()
    }

    /// How many records were dropped so far, over all nodes: Kafka's `dropped-records-total`.
    #[must_use]
    pub fn dropped_records(&self) -> u64 {
        self.0.borrow().dropped_records()
    }

    /// Works with a store by its name and type, as a processor would: with [`StoreAccess`], to read and to write.
    ///
    /// The type is the one the store is made with. The stores of the DSL keep a timestamp with each value
    /// ([`TimestampedKeyValueStore`](crate::TimestampedKeyValueStore),
    /// [`TimestampedWindowStore`](crate::TimestampedWindowStore)); [`query`](Self::query) reads them without.
    ///
    /// ```
    /// # use vltava_streams::{Materialized, StreamsBuilder, TimestampedKeyValueStore, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// let words = builder.stream::<String, String>("in").group_by_key();
    /// words.count_with(Materialized::named("counts"));
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// driver.input_topic::<String, String>("in").pipe("k".to_owned(), "v".to_owned())?;
    /// let row = driver.store::<TimestampedKeyValueStore<String, i64>, _>("counts", |store| store.get(&"k".to_owned()))?;
    /// assert_eq!(row.map(|row| row.value), Some(1));
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownStateStore`] if there is no store of this name, [`Error::InvalidStateStore`] with its type if it
    /// is of another one; or what the function fails with.
    pub fn store<S: Any, R>(&self, name: &str, f: impl FnOnce(&mut StoreAccess<'_, S>) -> Result<R>) -> Result<R> {
        let mut driver = self.at_work()?;
        let id = driver.store_id(name)?;
        let ctx = driver.ctx_of(name);
        let kind = ctx.stores.get(id).and_then(Option::as_ref).map_or("of another type", |store| store.kind());
        let (store, rt) = ctx.store(StoreRef::<S>::new(id).handle()).map_err(|_| {
            let asked = std::any::type_name::<S>();
            Box::new(Error::InvalidStateStore(format!("the store {name} is a {kind}, and not a {asked}")))
        })?;
        f(&mut StoreAccess::new(store, rt))
    }

    /// The bytes of a store whose types are not the application's, such as the shared store of an outer join; `None` of
    /// any other.
    ///
    /// # Errors
    /// If the engine cannot be read.
    #[doc(hidden)]
    pub fn raw_entries(&self, name: &str) -> Result<Option<Vec<(Bytes, Bytes)>>> {
        let mut driver = self.at_work()?;
        let store = driver.ctx_of(name).stores.iter().flatten().find(|store| store.name() == name);
        store.and_then(|store| store.raw_entries()).transpose()
    }

    /// The names of the stores.
    ///
    /// # Errors
    /// If an engine cannot be read.
    pub fn store_names(&self) -> Result<Vec<String>> {
        let driver = self.at_work()?;
        let own = driver.task.store_offsets()?.into_keys();
        Ok(own.chain(driver.global_stores.iter().cloned()).collect())
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> Arc<StreamsConfig> {
        self.0.borrow().config.clone()
    }

    /// The topics that something was sent to so far, internal ones among them.
    #[must_use]
    pub fn produced_topic_names(&self) -> BTreeSet<String> {
        self.history().into_iter().map(|record| record.topic.to_string()).collect()
    }

    /// Everything that was sent to one topic so far, in order, whether it was read or not.
    #[must_use]
    pub fn history_of(&self, topic: &str) -> Vec<SentRecord> {
        self.history().into_iter().filter(|record| &*record.topic == topic).collect()
    }

    /// What the driver has counted, under Kafka's names: of the task, its nodes and topics, as of the last
    /// record that was piped in. What is of level DEBUG or TRACE is there with that `metrics.recording.level`. Rates are per second of the
    /// driver's clock, by which what measures how long something takes is 0.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, String>("in").to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// driver.input_topic::<Option<String>, String>("in").pipe(None, "no key".to_owned())?;
    /// let metrics = driver.metrics()?;
    /// let dropped = metrics.iter().find(|(name, _)| name.name == "dropped-records-total");
    /// assert_eq!(dropped.map(|(_, value)| value.as_f64()), Some(1.0));
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If it is asked for from within [`store`](Self::store).
    pub fn metrics(&self) -> Result<Snapshot> {
        let Ok(driver) = self.0.try_borrow() else { return misuse("the test driver is at work") };
        Ok(driver.metrics.snapshot(driver.now))
    }

    /// Flushes what is cached and closes processors and stores. What was sent can still be read; everything else that
    /// is asked of a closed driver is an error. Closing it again does nothing.
    ///
    /// # Errors
    /// The first failure.
    pub fn close(&self) -> Result<()> {
        let Ok(mut driver) = self.0.try_borrow_mut() else { return misuse("the test driver is at work") };
        if std::mem::replace(&mut driver.closed, true) {
            return Ok(());
        }
        let flushed = driver.task.flush();
        let closed = flushed.and(driver.task.close());
        let global = driver.global.as_mut().map_or(Ok(()), GlobalTask::close);
        closed.and(global)
    }

    /// The next record of a topic that its readers have not read yet.
    fn next_of(&self, topic: &str) -> Result<Option<SentRecord>> {
        let Ok(mut driver) = self.0.try_borrow_mut() else { return misuse("the test driver is at work") };
        let driver = &mut *driver;
        let records = driver.sent.0.lock().unwrap_or_else(PoisonError::into_inner);
        let read = driver.read.get(topic).copied().unwrap_or(0);
        let next = records.iter().enumerate().skip(read).find(|(_, record)| &*record.topic == topic);
        let Some((at, record)) = next else {
            let known = driver.ends.sink(topic).is_some() || records.iter().any(|record| &*record.topic == topic);
            return if known {
                Ok(None)
            } else {
                Err(Box::new(Error::IllegalArgument(format!("unknown topic {topic}: no sink writes to it"))))
            };
        };
        driver.read.insert(topic.to_owned(), at + 1);
        Ok(Some(record.clone()))
    }

    fn waiting(&self, topic: &str) -> usize {
        let driver = self.0.borrow();
        let read = driver.read.get(topic).copied().unwrap_or(0);
        let records = driver.sent.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().skip(read).filter(|record| &*record.topic == topic).count()
    }
}
