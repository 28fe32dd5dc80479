//! A task, two brokers, and crashes at any point: no result may be missing, whatever has become durable by then.
//!
//! The producer is a model of what is promised: what it was given first does not arrive at one broker later, and what is held
//! back arrives behind everything that was given before its barrier. Everything else is by seed: which broker leads which
//! topic, what arrives when, and when the process dies.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use vltava_client::producer::RecordTag;

use super::unit::Unit;
use crate::{
    Context, FixedKeyContext, FixedKeyProcessor, FixedKeyRecord, JoinWindows, KeyValueStore, Materialized, Processor,
    Record, StoreBuilder, StreamsBuilder, StreamsConfig, Suppressed, Topology,
    error::Result,
    record::Headers,
    store::StoreHandle,
    task::{InputBatch, ProducerRecord, RecordCollector, RecordOrigin, Task, TaskId, TaskOptions, TaskScope},
};

/// A generator of numbers that a seed begins.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

#[derive(Clone, Debug)]
struct Sent {
    topic: String,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    timestamp: i64,
    headers: Headers,
    /// For a changelog: the barriers before it.
    held: Option<usize>,
    barriers: usize,
}

/// What the brokers and the producer have.
#[derive(Default)]
struct Model {
    durable: Vec<Sent>,
    given: Vec<Sent>,
    barriers: usize,
    leaders: BTreeMap<String, u64>,
    /// Whether the promise is kept.
    ordered: bool,
}

impl Model {
    fn leader(&self, topic: &str) -> u64 {
        self.leaders.get(topic).copied().unwrap_or(0)
    }

    /// Whether a record that was given may arrive now.
    fn may_arrive(&self, at: usize) -> bool {
        let sent = &self.given[at];
        let before = || self.given.iter().take(at);
        if !self.ordered {
            // Each partition lingers for itself.
            return before().all(|other| other.topic != sent.topic);
        }
        let leader = self.leader(&sent.topic);
        let in_lane = |other: &Sent| other.held.is_some() == sent.held.is_some() && self.leader(&other.topic) == leader;
        let in_order = before().all(|other| !in_lane(other));
        let released = sent.held.is_none_or(|barriers| {
            let outputs = |other: &&Sent| other.held.is_none() && other.barriers <= barriers;
            self.barriers > barriers && self.given.iter().filter(outputs).count() == 0
        });
        in_order && released
    }

    fn arrive(&mut self, random: &mut Random) {
        let may: Vec<usize> = (0..self.given.len()).filter(|at| self.may_arrive(*at)).collect();
        if may.is_empty() {
            return;
        }
        let at = may[random.below(may.len() as u64) as usize];
        let sent = self.given.remove(at);
        self.durable.push(sent);
    }

    fn flush(&mut self, random: &mut Random) {
        self.barriers += 1;
        while !self.given.is_empty() {
            let before = self.given.len();
            self.arrive(random);
            assert!(self.given.len() < before, "a flush that does not end");
        }
    }
}

/// A collector over the model.
struct Producing {
    model: Arc<Mutex<Model>>,
    unit: Unit,
}

fn give(model: &Mutex<Model>, record: &ProducerRecord<'_>, is_changelog: bool) {
    let mut model = model.lock();
    let barriers = model.barriers;
    model.given.push(Sent {
        topic: record.topic.to_string(),
        key: record.key.unwrap_or_default().to_vec(),
        value: record.value.map(<[u8]>::to_vec),
        timestamp: record.timestamp.unwrap_or(-1),
        headers: record.headers.clone(),
        held: is_changelog.then_some(barriers),
        barriers,
    });
}

impl RecordCollector for Producing {
    fn send(&mut self, record: ProducerRecord<'_>) -> Result<()> {
        if !self.unit.keep(&record, RecordTag { owner: 0, position: -1 }) {
            give(&self.model, &record, true);
        }
        Ok(())
    }

    fn send_from(&mut self, _origin: RecordOrigin<'_>, record: ProducerRecord<'_>) -> Result<()> {
        give(&self.model, &record, false);
        Ok(())
    }

    fn end_unit(&mut self, flushed: bool) -> Result<()> {
        self.unit.end(flushed, |record, _| give(&self.model, &record, true));
        self.model.lock().barriers += 1;
        Ok(())
    }

    fn partitions_for(&mut self, _topic: &str) -> Result<i32> {
        Ok(1)
    }
}

/// Forwards every key once: what its store knows was forwarded before.
struct Deduplicate(StoreHandle<KeyValueStore<String, String>>);

impl FixedKeyProcessor for Deduplicate {
    type K = String;
    type VIn = String;
    type VOut = String;

    fn process(
        &mut self,
        record: FixedKeyRecord<String, String>,
        ctx: &mut FixedKeyContext<'_, '_, Self>,
    ) -> Result<()> {
        let mut seen = ctx.store(self.0)?;
        if seen.get(record.key())?.is_none() {
            seen.put(record.key(), Some(record.value.clone()))?;
            ctx.forward(record)?;
        }
        Ok(())
    }
}

/// Keeps what comes of topic `a` until something comes of topic `b`, and forwards it then before it forgets it.
struct Hold(StoreHandle<KeyValueStore<String, String>>);

impl Processor for Hold {
    type KIn = String;
    type VIn = String;
    type KOut = String;
    type VOut = String;

    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<'_, Self>) -> Result<()> {
        if record.value.starts_with('a') {
            return ctx.store(self.0)?.put(&record.key, Some(record.value));
        }
        if let Some(held) = ctx.store(self.0)?.get(&record.key)? {
            ctx.forward(Record::new(record.key.clone(), held, record.timestamp))?;
            ctx.store(self.0)?.put(&record.key, None)?;
        }
        Ok(())
    }
}

fn store(builder: &StreamsBuilder, name: &str) -> crate::store::StoreRef<KeyValueStore<String, String>> {
    builder.add_state_store(StoreBuilder::<KeyValueStore<String, String>>::in_memory(name))
}

fn deduplicated() -> Topology {
    let builder = StreamsBuilder::new();
    let seen = store(&builder, "seen");
    builder.stream::<String, String>("a").process_values_with(seen, Deduplicate).to("out");
    builder.build().unwrap()
}

fn held() -> Topology {
    let builder = StreamsBuilder::new();
    let held = store(&builder, "held");
    let (a, b) = (builder.stream::<String, String>("a"), builder.stream::<String, String>("b"));
    a.merge(&b).process_with(held, Hold).to("out");
    builder.build().unwrap()
}

fn joined(builder: &StreamsBuilder) -> crate::KStream<String, String> {
    let windows = JoinWindows::of_time_difference_with_no_grace(Duration::from_millis(20));
    let (a, b) = (builder.stream::<String, String>("a"), builder.stream::<String, String>("b"));
    a.outer_join_stream(&b, windows, |a: Option<&String>, b: Option<&String>| format!("{a:?} {b:?}"))
}

fn outer_join() -> Topology {
    let builder = StreamsBuilder::new();
    joined(&builder).to("out");
    builder.build().unwrap()
}

/// Two stores, the lower of which forwards every row that it gets.
fn deduplicated_twice() -> Topology {
    let builder = StreamsBuilder::new();
    let (first, second) = (store(&builder, "first"), store(&builder, "second"));
    let once = builder.stream::<String, String>("a").process_values_with(first, Deduplicate);
    once.process_values_with(second, Deduplicate).to("out");
    builder.build().unwrap()
}

/// A cache downstream of a store.
fn deduplicated_and_counted() -> Topology {
    let builder = StreamsBuilder::new();
    let seen = store(&builder, "seen");
    let once = builder.stream::<String, String>("a").process_values_with(seen, Deduplicate);
    let counts = once.group_by_key().count_with(Materialized::named("counts"));
    counts.map_values(|count| count.to_string()).to_stream().to("out");
    builder.build().unwrap()
}

/// `suppress` downstream of a store.
fn deduplicated_and_suppressed() -> Topology {
    let builder = StreamsBuilder::new();
    let seen = store(&builder, "seen");
    let once = builder.stream::<String, String>("a").process_values_with(seen, Deduplicate);
    let table = once.to_table();
    let limit = Suppressed::until_time_limit(Duration::from_millis(30), crate::BufferConfig::unbounded());
    table.suppress(limit).to_stream().to("out");
    builder.build().unwrap()
}

/// The application: what it has processed and committed, over brokers that outlive it.
struct Application<'a> {
    topology: &'a Topology,
    config: Arc<StreamsConfig>,
    model: Arc<Mutex<Model>>,
    inputs: &'a BTreeMap<&'static str, Vec<(String, String, i64)>>,
    committed: BTreeMap<String, i64>,
    task: Task,
}

const ID: TaskId = TaskId { subtopology: 0, partition: 0 };

impl<'a> Application<'a> {
    fn new(
        topology: &'a Topology,
        inputs: &'a BTreeMap<&'static str, Vec<(String, String, i64)>>,
        model: Arc<Mutex<Model>>,
    ) -> Self {
        let config = Arc::new(StreamsConfig::builder("test").set("max.task.idle.ms", "-1").build().unwrap());
        let task = begin(topology, &config, &model);
        let mut new = Application { topology, config, model, inputs, committed: BTreeMap::new(), task };
        new.read();
        new
    }

    /// Has the records from the committed offsets on.
    fn read(&mut self) {
        for (topic, records) in self.inputs {
            let Some(queue) = self.task.queue(topic) else { continue };
            let from = self.committed.get(*topic).copied().unwrap_or(0);
            for (offset, (key, value, time)) in records.iter().enumerate().skip(from as usize) {
                let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
                self.task
                    .add_records(queue, InputBatch::single(offset as i64, *time, key, value, Headers::new()))
                    .unwrap();
            }
        }
    }

    fn commit(&mut self, random: &mut Random) {
        self.task.flush().unwrap();
        self.model.lock().flush(random);
        let offsets = self.task.consumed_offsets().map(|(topic, offset)| (topic.to_owned(), offset.offset));
        self.committed.extend(offsets.collect::<Vec<_>>());
        self.task.commit_stores(|_| None).unwrap();
    }

    fn crash(&mut self) {
        self.model.lock().given.clear();
        self.task = begin(self.topology, &self.config, &self.model);
        self.read();
    }
}

/// A task with the state that its changelogs have.
fn begin(topology: &Topology, config: &Arc<StreamsConfig>, model: &Arc<Mutex<Model>>) -> Task {
    let unit = if model.lock().ordered { Unit::new(topology.written_changelogs(ID, config)) } else { Unit::default() };
    let options = TaskOptions {
        id: ID,
        config: config.clone(),
        collector: Box::new(Producing { model: model.clone(), unit }),
        state_dir: None,
        globals: None,
        scope: TaskScope::Subtopology,
        now: 0,
    };
    let mut task = Task::new(topology, options).unwrap();
    for sent in &model.lock().durable {
        let store = sent.topic.strip_prefix("test-").and_then(|topic| topic.strip_suffix("-changelog"));
        let Some(store) = store else { continue };
        task.restore(store, &sent.key, sent.value.as_deref(), sent.timestamp, &sent.headers).unwrap();
    }
    task.initialize().unwrap();
    task
}

fn inputs(random: &mut Random) -> BTreeMap<&'static str, Vec<(String, String, i64)>> {
    let mut inputs = BTreeMap::new();
    for (place, topic) in [(0, "a"), (1, "b")] {
        let mut records: Vec<_> = (0..25)
            .map(|number| {
                let key = format!("k{}", random.below(6));
                // No two have the same time: the order in which they come must be the same in every life.
                (key, format!("{topic}{number}"), number * 10 + 2 * i64::try_from(random.below(5)).unwrap() + place)
            })
            .collect();
        // These close all windows before them.
        records.extend(
            (0..3).map(|number| (format!("end{topic}"), format!("{topic}{number}"), 10_000 * (number + 1) + place)),
        );
        inputs.insert(topic, records);
    }
    inputs
}

type Results = BTreeSet<(Vec<u8>, Option<Vec<u8>>)>;

fn results(model: &Mutex<Model>) -> Results {
    let model = model.lock();
    let out = model.durable.iter().filter(|sent| sent.topic == "out");
    out.map(|sent| (sent.key.clone(), sent.value.clone())).collect()
}

fn model(ordered: bool) -> Arc<Mutex<Model>> {
    Arc::new(Mutex::new(Model { ordered, ..Model::default() }))
}

/// What is sent if nobody dies.
fn undisturbed(topology: &Topology, inputs: &BTreeMap<&'static str, Vec<(String, String, i64)>>) -> Results {
    let (model, random) = (model(true), &mut Random(1));
    let mut application = Application::new(topology, inputs, model.clone());
    let mut now = 0;
    while application.task.process(now).unwrap() {
        now += 5000;
    }
    application.commit(random);
    results(&model)
}

/// Runs with crashes. Returns the results that are missing in the end.
fn missing(topology: &Topology, seed: u64, ordered: bool, one_broker: bool) -> Results {
    let random = &mut Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let inputs = inputs(random);
    let expected = undisturbed(topology, &inputs);
    let model = model(ordered);
    let config = StreamsConfig::builder("test").build().unwrap();
    for changelog in topology.written_changelogs(ID, &config) {
        let leader = if one_broker { 0 } else { random.below(2) };
        model.lock().leaders.insert(changelog.topic.to_string(), leader);
    }
    model.lock().leaders.insert("out".to_owned(), random.below(2));
    let mut application = Application::new(topology, &inputs, model.clone());
    let (mut now, mut crashes) = (0, 0);
    loop {
        match random.below(20) {
            0 => application.commit(random),
            1 if crashes < 20 => {
                crashes += 1;
                application.crash();
            }
            2..=9 => {
                now += 5000;
                if !application.task.process(now).unwrap() {
                    break;
                }
            }
            _ => model.lock().arrive(random),
        }
    }
    application.commit(random);
    expected.difference(&results(&model)).cloned().collect()
}

const SEEDS: u64 = 150;

fn lost(topology: &Topology, ordered: bool, one_broker: bool) -> usize {
    let lost = (0..SEEDS).filter(|seed| {
        let missing = missing(topology, *seed, ordered, one_broker);
        assert!(!ordered || missing.is_empty(), "seed {seed}: {missing:?}");
        !missing.is_empty()
    });
    lost.count()
}

#[test]
fn no_result_of_a_store_is_missing_whatever_is_durable_when_the_process_dies() {
    for topology in [deduplicated(), held(), outer_join()] {
        lost(&topology, true, false);
    }
}

#[test]
fn no_result_of_stores_behind_stores_is_missing_where_one_broker_leads_their_changelogs() {
    for topology in [deduplicated_twice(), deduplicated_and_counted(), deduplicated_and_suppressed()] {
        lost(&topology, true, true);
    }
}

#[test]
fn the_simulation_finds_what_is_lost_where_partitions_linger_for_themselves() {
    for topology in [
        deduplicated(),
        held(),
        outer_join(),
        deduplicated_twice(),
        deduplicated_and_counted(),
        deduplicated_and_suppressed(),
    ] {
        assert!(lost(&topology, false, true) > 0, "{}", topology.describe());
    }
}

fn counted() -> Topology {
    let builder = StreamsBuilder::new();
    let counts = builder.stream::<String, String>("a").group_by_key().count_with(Materialized::named("counts"));
    counts.map_values(|count| count.to_string()).to_stream().to("out");
    builder.build().unwrap()
}

impl Application<'_> {
    /// Processes up to an offset of the only input, with commits now and then.
    fn work_up_to(&mut self, offset: i64, random: &mut Random) {
        while self.task.consumed_offsets().all(|(_, consumed)| consumed.offset < offset) {
            match random.below(8) {
                0 => self.commit(random),
                1..=3 => assert!(self.task.process(0).unwrap()),
                _ => self.model.lock().arrive(random),
            }
        }
    }

    /// Works on, and is stopped in the midst of a record or a flush. Returns what it had in its producer and what it gives
    /// when it goes on, with the barriers that it sets by then.
    fn stop_in_the_midst(&mut self, random: &mut Random) -> (Vec<Sent>, usize) {
        let before = self.model.lock().given.len();
        let barriers = self.model.lock().barriers;
        if random.below(2) == 0 {
            self.task.flush().unwrap();
        } else {
            self.task.process(0).unwrap();
        }
        let mut model = self.model.lock();
        let stopped = before + random.below((model.given.len() - before + 1) as u64) as usize;
        let rest = model.given.split_off(stopped);
        let later = std::mem::replace(&mut model.barriers, barriers);
        // What is on its way arrives.
        (0..random.below(4)).for_each(|_| model.arrive(random));
        let mut given = std::mem::take(&mut model.given);
        given.extend(rest);
        (given, later)
    }
}

/// Has the application stopped in the midst of its work, another process take its task over, and the first one go on. Whether
/// a count is below the true one when each key has come once more, for a third process with what is durable.
fn falls_behind(seed: u64, sends_only_in_session: bool) -> bool {
    let random = &mut Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let (topology, model) = (counted(), model(true));
    let keys = (0..60).map(|_| random.below(6)).chain(0..6);
    let records: Vec<_> = keys.map(|key| (format!("k{key}"), "v".to_owned(), 0)).collect();
    let inputs = BTreeMap::from([("a", records.clone())]);
    model.lock().leaders.insert("out".to_owned(), random.below(2));
    let mut application = Application::new(&topology, &inputs, model.clone());
    application.work_up_to(10 + random.below(20) as i64, random);
    let (given, barriers) = application.stop_in_the_midst(random);
    application.crash();
    application.work_up_to(60, random);
    application.commit(random);
    if !sends_only_in_session {
        let mut model = model.lock();
        (model.given, model.barriers) = (given, barriers);
        model.flush(random);
    }
    application.crash();
    application.work_up_to(66, random);
    application.commit(random);
    let (mut truth, mut counts) = (BTreeMap::new(), BTreeMap::new());
    records.iter().for_each(|(key, ..)| *truth.entry(key.clone().into_bytes()).or_insert(0) += 1);
    for sent in model.lock().durable.iter().filter(|sent| sent.topic == "out") {
        let count: i32 = std::str::from_utf8(sent.value.as_deref().unwrap()).unwrap().parse().unwrap();
        counts.insert(sent.key.clone(), count);
    }
    assert!(counts.keys().eq(truth.keys()));
    truth.iter().any(|(key, truth)| counts[key] < *truth)
}

#[test]
fn no_count_falls_behind_when_a_process_that_was_stopped_in_the_midst_of_a_unit_goes_on() {
    for seed in 0..SEEDS {
        assert!(!falls_behind(seed, true), "seed {seed}");
    }
    assert!((0..SEEDS).any(|seed| falls_behind(seed, false)), "what is sent out of its session is not found");
}

/// What the producer's memory cannot hold is not kept in the collector either.
#[test]
fn a_commit_is_asked_for_when_much_waits_for_one() {
    let topology = deduplicated_and_counted();
    let config = StreamsConfig::builder("test").build().unwrap();
    let mut unit = Unit::new(topology.written_changelogs(ID, &config));
    let (topic, headers) = (Arc::from("test-seen-changelog"), Headers::new());
    let record = ProducerRecord {
        topic: &topic,
        partition: Some(0),
        timestamp: Some(0),
        headers: &headers,
        key: Some(b"k"),
        value: Some(&[b'v'; 1000]),
    };
    let mut kept = 0;
    while !unit.is_large() {
        assert!(unit.keep(&record, RecordTag { owner: 0, position: -1 }));
        unit.end(false, |_, _| panic!("its rows are in a cache"));
        kept += 1;
        assert!(kept < 10_000);
    }
    let mut given = 0;
    unit.end(true, |_, _| given += 1);
    assert_eq!((given, unit.is_large()), (kept, false));
}
