//! The bare engine: records of bytes in, records of bytes out, no broker and no clients.
//!
//! `cargo bench -p vltava-streams --bench engine`; one iteration is a batch of 10 000 records.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark fails loudly")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use divan::{Bencher, black_box, counter::ItemsCount};
use vltava_streams::{
    Headers, JoinWindows, Produced, Result, StreamsBuilder, StreamsConfig, TimeWindows, Topology,
    state::{LsmEngine, LsmOptions, TaskDirectory},
    task::{InputBatch, InputRecord, ProducerRecord, RecordCollector, Task, TaskId, TaskOptions, TaskScope},
};

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

const RECORDS: usize = 10_000;

fn main() {
    divan::main();
}

/// Counts what it is given, so that nothing is optimised away.
struct Sum(u64);

impl RecordCollector for Sum {
    fn send(&mut self, record: ProducerRecord<'_>) -> Result<()> {
        self.0 += record.value.map_or(0, |value| value.len() as u64);
        Ok(())
    }

    fn partitions_for(&mut self, _topic: &str) -> Result<i32> {
        Ok(1)
    }
}

fn task(topology: &Topology) -> Task {
    task_with(topology, &[])
}

fn task_with(topology: &Topology, settings: &[(&str, &str)]) -> Task {
    task_in(topology, settings, None)
}

/// Where a task's stores are on disk.
struct Disk {
    folder: tempfile::TempDir,
    engine: LsmEngine,
}

impl Disk {
    fn new() -> Self {
        Disk { folder: tempfile::tempdir().unwrap(), engine: LsmEngine::new(LsmOptions::default()).unwrap() }
    }

    fn task(&self, topology: &Topology, settings: &[(&str, &str)]) -> Task {
        let directory = TaskDirectory { path: self.folder.path().to_owned(), engine: self.engine.clone() };
        task_in(topology, settings, Some(directory))
    }
}

fn task_in(topology: &Topology, settings: &[(&str, &str)], state_dir: Option<TaskDirectory>) -> Task {
    let config = StreamsConfig::builder("bench");
    let config = settings.iter().fold(config, |config, (key, value)| config.set(*key, *value));
    let options = TaskOptions {
        id: TaskId { subtopology: 0, partition: 0 },
        config: Arc::new(config.build().unwrap()),
        collector: Box::new(Sum(0)),
        state_dir,
        globals: None,
        scope: TaskScope::Everything,
        now: 0,
    };
    let mut task = Task::new(topology, options).unwrap();
    task.initialize().unwrap();
    task
}

fn commit(task: &mut Task) {
    task.flush().unwrap();
    task.commit_stores(|_| Some(1)).unwrap();
}

/// Keys and values in one buffer, as a fetched batch has them.
fn batch(entry: impl Fn(usize) -> (Vec<u8>, Vec<u8>)) -> InputBatch {
    batch_from(0, entry)
}

/// The same, of records whose timestamps begin at `start`.
fn batch_from(start: i64, entry: impl Fn(usize) -> (Vec<u8>, Vec<u8>)) -> InputBatch {
    let first = start;
    let (mut buffer, mut records) = (Vec::new(), Vec::new());
    for at in 0..RECORDS {
        let (key, value) = entry(at);
        let start = buffer.len() as u32;
        let middle = start + key.len() as u32;
        buffer.extend_from_slice(&key);
        buffer.extend_from_slice(&value);
        let (key, value) = (Some(start..middle), Some(middle..buffer.len() as u32));
        records.push(InputRecord {
            offset: at as i64,
            timestamp: first + at as i64,
            key,
            value,
            headers: Headers::new(),
        });
    }
    let mut batch = InputBatch::new(Bytes::from(buffer), None);
    records.into_iter().for_each(|record| batch.push(record));
    batch
}

fn run(bencher: Bencher<'_, '_>, topology: &Topology, batch: &InputBatch) {
    let mut task = task(topology);
    let queue = task.queue("in").unwrap();
    bencher.counter(ItemsCount::new(RECORDS)).with_inputs(|| batch.clone()).bench_local_values(|batch| {
        task.add_records(queue, batch).unwrap();
        while task.process(0).unwrap() {}
        task.flush().unwrap();
        black_box(task.stream_time());
    });
}

fn numbers(at: usize) -> (Vec<u8>, Vec<u8>) {
    ((at as i64 % 1000).to_be_bytes().to_vec(), (at as i64).to_be_bytes().to_vec())
}

fn words(at: usize) -> (Vec<u8>, Vec<u8>) {
    (format!("key-{}", at % 1000).into_bytes(), format!("value number {at}").into_bytes())
}

/// A source, five operators, a node that ends the chain.
#[divan::bench]
fn stateless_numbers(bencher: Bencher<'_, '_>) {
    let builder = StreamsBuilder::new();
    builder
        .stream::<i64, i64>("in")
        .filter(|_, v| *v >= 0)
        .map_values(|v| v + 1)
        .map(|k, v| (k + 1, v))
        .peek(|k, _| _ = black_box(*k))
        .filter_not(|_, v| *v < 0)
        .for_each(|k, v| _ = black_box((k, v)));
    run(bencher, &builder.build().unwrap(), &batch(numbers));
}

/// The same on strings, which the closures keep as they are.
#[divan::bench]
fn stateless_strings(bencher: Bencher<'_, '_>) {
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>("in")
        .filter(|_, v| !v.is_empty())
        .map_values(|v| v)
        .map(|k, v| (k, v))
        .peek(|k, _| _ = black_box(k.len()))
        .filter_not(|_, v| v.is_empty())
        .for_each(|k, v| _ = black_box((k, v)));
    run(bencher, &builder.build().unwrap(), &batch(words));
}

/// From topic to topic with nothing in between.
#[divan::bench]
fn passthrough_strings(bencher: Bencher<'_, '_>) {
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("in").to("out");
    run(bencher, &builder.build().unwrap(), &batch(words));
}

/// A count over 1000 keys behind the record cache, with one flush per batch.
#[divan::bench]
fn count(bencher: Bencher<'_, '_>) {
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("in").group_by_key().count().to_stream().to("out");
    run(bencher, &builder.build().unwrap(), &batch(words));
}

/// A count of the same keys over tumbling windows of five seconds, of which a batch touches two. Every batch has the same
/// timestamps: without the grace all but the first would be dropped for the most part.
#[divan::bench]
fn windowed_count(bencher: Bencher<'_, '_>) {
    let builder = StreamsBuilder::new();
    let windows = TimeWindows::of_size_and_grace(Duration::from_secs(5), Duration::from_secs(86_400));
    let counts = builder.stream::<String, String>("in").group_by_key().windowed_by(windows).count();
    counts.to_stream().to_with(Produced::new(), "out");
    run(bencher, &builder.build().unwrap(), &batch(words));
}

/// A table and its update by every record.
#[divan::bench]
fn join_with_table(bencher: Bencher<'_, '_>) {
    let builder = StreamsBuilder::new();
    let table = builder.table::<i64, i64>("table");
    builder.stream::<i64, i64>("in").left_join(&table, |a, b| a + b.copied().unwrap_or(0)).to("out");
    run(bencher, &builder.build().unwrap(), &batch(numbers));
}

/// A count over a table of many keys on disk, without the record cache: every record reads and writes the engine. A commit
/// behind so many records.
#[divan::bench(args = [1_000, 10_000])]
fn count_on_disk(bencher: Bencher<'_, '_>, between_commits: usize) {
    let builder = StreamsBuilder::new();
    builder.stream::<i64, i64>("in").group_by_key().count().to_stream().to("out");
    let topology = builder.build().unwrap();
    let disk = Disk::new();
    let mut task = disk.task(&topology, &[("statestore.cache.max.bytes", "0")]);
    let mut seed = 1u64;
    let make = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        batch(|at| {
            (((seed ^ (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)) % 200_000).to_be_bytes().to_vec(), vec![0; 8])
        })
    };
    bencher.counter(ItemsCount::new(RECORDS)).with_inputs(make).bench_local_values(|batch| {
        task.add_records(0, batch).unwrap();
        let mut since = 0;
        while task.process(0).unwrap() {
            since += 1;
            if since == between_commits || task.needs_commit() {
                commit(&mut task);
                since = 0;
            }
        }
    });
}

/// A count over windows on disk, behind the record cache; time goes on by 10 s a batch. A commit behind so many records.
#[divan::bench(args = [1_000, 10_000])]
fn windowed_count_on_disk(bencher: Bencher<'_, '_>, between_commits: usize) {
    let builder = StreamsBuilder::new();
    let windows = TimeWindows::of_size_with_no_grace(Duration::from_secs(5));
    builder
        .stream::<String, String>("in")
        .group_by_key()
        .windowed_by(windows)
        .count()
        .to_stream()
        .to_with(Produced::new(), "out");
    let topology = builder.build().unwrap();
    let disk = Disk::new();
    let mut task = disk.task(&topology, &[]);
    let mut start = 0;
    let make = || {
        start += RECORDS as i64;
        batch_from(start, words)
    };
    bencher.counter(ItemsCount::new(RECORDS)).with_inputs(make).bench_local_values(|batch| {
        task.add_records(0, batch).unwrap();
        let mut since = 0;
        while task.process(0).unwrap() {
            since += 1;
            if since == between_commits || task.needs_commit() {
                commit(&mut task);
                since = 0;
            }
        }
    });
}

/// The join of streams below, on disk, while time goes on by 10 s a batch. A commit behind so many records.
#[divan::bench(args = [1_000, 10_000, 100_000])]
fn join_of_streams_on_disk(bencher: Bencher<'_, '_>, between_commits: usize) {
    let topology = join();
    let disk = Disk::new();
    let mut task = disk.task(&topology, &[]);
    let (mut start, mut since) = (0, 0);
    let make = || {
        start += RECORDS as i64;
        batch_from(start, pairs)
    };
    bencher.counter(ItemsCount::new(RECORDS)).with_inputs(make).bench_local_values(|batch| {
        task.add_records(0, batch).unwrap();
        while task.process(0).unwrap() {
            since += 1;
            if since >= between_commits || task.needs_commit() {
                commit(&mut task);
                since = 0;
            }
        }
    });
}

fn join() -> Topology {
    let builder = StreamsBuilder::new();
    let records = builder.stream::<i64, i64>("in");
    let windows = JoinWindows::of_time_difference_with_no_grace(Duration::from_millis(100));
    let odd = records.filter(|_, v| v % 2 == 1);
    records.filter(|_, v| v % 2 == 0).join_stream(&odd, windows, |a, b| a + b).to("out");
    builder.build().unwrap()
}

fn pairs(at: usize) -> (Vec<u8>, Vec<u8>) {
    ((at as i64 / 2 % 1000).to_be_bytes().to_vec(), (at as i64).to_be_bytes().to_vec())
}

/// A stream's even values against its odd ones, no more than 100 ms apart: every second record finds one, of 100 that
/// are in its time. Stores as on disk (segments) and as in memory.
#[divan::bench(args = ["rocksdb", "in_memory"])]
fn join_of_streams(bencher: Bencher<'_, '_>, stores: &str) {
    let topology = join();
    let pairs = batch(pairs);
    let make = || {
        let mut task = task_with(&topology, &[("dsl.store.suppliers.class", stores)]);
        task.add_records(0, pairs.clone()).unwrap();
        task
    };
    // What a task keeps is of its own batch: times do not go back.
    bencher.counter(ItemsCount::new(RECORDS)).with_inputs(make).bench_local_values(|mut task| {
        while task.process(0).unwrap() {}
        task
    });
}
