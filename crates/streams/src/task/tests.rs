mod begun_anew;
mod exactly_once;
mod own_stores;
mod standbys;

use std::sync::atomic::{AtomicUsize, Ordering};

use std::{fs, path::Path, time::Duration};

use super::*;
use crate::{
    Context, Headers, KeyValueStore, Materialized, Processor, Record, StoreBuilder, StreamsBuilder,
    state::{KeyValueSupplier, LsmEngine, LsmOptions},
    store::StoreHandle,
};

struct Nowhere;

impl RecordCollector for Nowhere {
    fn send(&mut self, _record: ProducerRecord<'_>) -> Result<()> {
        Ok(())
    }
    fn partitions_for(&mut self, _topic: &str) -> Result<i32> {
        Ok(1)
    }
}

/// Counts what is sent.
struct Counting(Arc<AtomicUsize>);

impl RecordCollector for Counting {
    fn send(&mut self, _record: ProducerRecord<'_>) -> Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
    fn partitions_for(&mut self, _topic: &str) -> Result<i32> {
        Ok(1)
    }
}

fn options(config: StreamsConfig, collector: impl RecordCollector + 'static) -> TaskOptions {
    TaskOptions {
        id: TaskId { subtopology: 0, partition: 0 },
        config: Arc::new(config),
        collector: Box::new(collector),
        state_dir: None,
        globals: None,
        scope: TaskScope::Subtopology,
        now: 0,
    }
}

#[test]
fn a_task_of_a_sub_topology_that_is_not_there_is_refused() {
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("a").to("out");
    let config = StreamsConfig::builder("test").build().unwrap();
    let options = TaskOptions { id: TaskId { subtopology: 7, partition: 0 }, ..options(config, Nowhere) };
    let refused = Task::new(&builder.build().unwrap(), options).err().unwrap();
    assert_eq!(refused.to_string(), "task 7_0 is of a sub-topology that this topology does not have");
}

/// A task of two topics, of which both are read, and where each is waited for as long as `max.task.idle.ms` says.
fn task(max_idle: &str) -> (Task, usize, usize) {
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("a").merge(&builder.stream("b")).to("out");
    let config = StreamsConfig::builder("test").set("max.task.idle.ms", max_idle).build().unwrap();
    let options = options(config, Nowhere);
    let mut task = Task::new(&builder.build().unwrap(), options).unwrap();
    task.initialize().unwrap();
    let (a, b) = (task.queue("a").unwrap(), task.queue("b").unwrap());
    task.set_lag(a, None);
    task.set_lag(b, None);
    (task, a, b)
}

#[test]
fn a_restoration_goes_on_where_it_was_when_the_task_went() {
    let builder = StreamsBuilder::new();
    builder.table_with::<String, String>(Materialized::named("rows"), "a");
    let topology = builder.build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let engine = LsmEngine::new(LsmOptions::default()).unwrap();
    let open = || {
        let state_dir = Some(TaskDirectory { path: folder.path().to_owned(), engine: engine.clone() });
        let config = StreamsConfig::builder("test").build().unwrap();
        let options = TaskOptions { state_dir, ..options(config, Nowhere) };
        Task::new(&topology, options).unwrap()
    };
    let mut task = open();
    assert_eq!(task.store_offsets().unwrap(), BTreeMap::from([("rows".to_owned(), None)]));
    task.restore("rows", b"k", Some(b"v"), 1, &Headers::new()).unwrap();
    task.restored("rows", 7).unwrap();
    task.close().unwrap();
    assert_eq!(open().store_offsets().unwrap(), BTreeMap::from([("rows".to_owned(), Some(7))]));
}

#[test]
fn a_smaller_share_of_the_cache_holds_less_back() {
    let builder = StreamsBuilder::new();
    let counts = builder.stream::<String, String>("a").group_by_key();
    counts.count_with(Materialized::named("counts").with_logging_disabled()).to_stream().to("out");
    let sent = Arc::new(AtomicUsize::new(0));
    let config = StreamsConfig::builder("test").build().unwrap();
    let options = options(config, Counting(sent.clone()));
    let mut task = Task::new(&builder.build().unwrap(), options).unwrap();
    task.initialize().unwrap();
    assert_eq!(task.caches(), 1);
    let a = task.queue("a").unwrap();
    for offset in 0..3 {
        give(&mut task, a, offset, offset);
        assert!(task.process(0).unwrap());
    }
    assert_eq!(sent.load(Ordering::Relaxed), 0, "held back until the commit");
    task.set_cache_limit(0);
    give(&mut task, a, 3, 3);
    assert!(task.process(0).unwrap());
    assert_eq!(sent.load(Ordering::Relaxed), 1);
}

fn give(task: &mut Task, queue: usize, offset: i64, timestamp: i64) {
    task.add_records(queue, InputBatch::single(offset, timestamp, Some(b"k"), Some(b"v"), Headers::new())).unwrap();
}

#[test]
fn a_clock_that_is_set_back_holds_no_record_back() {
    let day = 24 * 60 * 60 * 1000;
    let (mut task, a, b) = task("0");
    task.set_lag(b, Some(0));
    give(&mut task, a, 0, 100);
    assert!(task.process(day).unwrap());
    give(&mut task, a, 1, 101);
    assert!(task.process(0).unwrap(), "b has nothing, whatever the time is");

    let (mut task, a, b) = self::task("1000");
    task.set_lag(b, Some(0));
    give(&mut task, a, 0, 100);
    assert!(!task.process(day).unwrap());
    assert!(!task.process(5).unwrap(), "the wait begins anew");
    assert!(task.process(1005).unwrap());
}

#[test]
fn waits_for_records_that_are_known_to_be_at_the_broker() {
    let (mut task, a, b) = task("0");
    give(&mut task, a, 0, 100);
    assert!(!task.process(0).unwrap(), "nothing is known of b");
    task.set_lag(b, Some(1));
    assert!(!task.process(1_000_000).unwrap(), "b has one that was not fetched");
    give(&mut task, b, 0, 50);
    assert!(task.process(1_000_000).unwrap());
    assert_eq!(task.stream_time(), 50, "the lowest timestamp goes first");
    task.set_lag(b, Some(0));
    assert!(task.process(1_000_000).unwrap());
    assert_eq!(task.stream_time(), 100);
}

#[test]
fn waits_so_long_for_records_that_may_come() {
    let (mut task, a, b) = task("20");
    give(&mut task, a, 0, 100);
    task.set_lag(b, Some(0));
    assert!(!task.process(1_000).unwrap());
    assert!(!task.process(1_019).unwrap());
    assert!(task.process(1_020).unwrap());
    // What comes in between begins the wait anew.
    give(&mut task, a, 1, 101);
    give(&mut task, b, 0, 99);
    assert!(task.process(1_030).unwrap());
    assert!(!task.process(1_040).unwrap());
    assert!(task.process(1_060).unwrap());
}

#[test]
fn waits_for_nothing_where_idling_is_off() {
    let (mut task, a, b) = task("-1");
    give(&mut task, a, 0, 100);
    task.set_lag(b, Some(5));
    assert!(task.process(0).unwrap());
}

/// Tells when its schedule is called.
struct Ticking(Arc<parking_lot::Mutex<Vec<i64>>>);

impl Processor for Ticking {
    type KIn = String;
    type VIn = String;
    type KOut = String;
    type VOut = String;

    fn init(&mut self, ctx: &mut Context<'_, Self>) -> Result<()> {
        let tick = |this: &mut Self, now: i64, _: &mut Context<'_, Self>| {
            this.0.lock().push(now);
            Ok(())
        };
        ctx.schedule(Duration::from_millis(100), PunctuationType::StreamTime, tick).map(drop)
    }

    fn process(&mut self, _record: Record<String, String>, _ctx: &mut Context<'_, Self>) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_schedule_by_stream_time_is_called_behind_the_record_that_makes_it_due() {
    let builder = StreamsBuilder::new();
    let ticks: Arc<parking_lot::Mutex<Vec<i64>>> = Arc::default();
    let told = ticks.clone();
    builder.stream::<String, String>("a").process(move || Ticking(told.clone()));
    let config = StreamsConfig::builder("test").build().unwrap();
    let mut task = Task::new(&builder.build().unwrap(), options(config, Nowhere)).unwrap();
    task.initialize().unwrap();
    let a = task.queue("a").unwrap();
    for time in 0..10_000 {
        give(&mut task, a, time, time);
    }
    while task.process(0).unwrap() {}
    let expected: Vec<i64> = (0..100).map(|tick| tick * 100).collect();
    assert_eq!(*ticks.lock(), expected, "as of the JVM, whose driver looks behind every record too");
}

/// Puts every record into a store.
struct Put(StoreHandle<KeyValueStore<String, String>>);

impl Processor for Put {
    type KIn = String;
    type VIn = String;
    type KOut = String;
    type VOut = String;

    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<'_, Self>) -> Result<()> {
        let mut store = ctx.store(self.0)?;
        let _ = store.get(&record.key)?;
        store.put(&record.key, Some(record.value))
    }
}

/// A task that puts what comes from topic `a` into the store `rows` on disk.
fn putting(folder: &Path, engine: &LsmEngine) -> Result<Task> {
    let builder = StreamsBuilder::new();
    let rows = StoreBuilder::<KeyValueStore<String, String>>::key_value(KeyValueSupplier::persistent("rows"));
    let rows = builder.add_state_store(rows);
    builder.stream::<String, String>("a").process_with(rows, Put);
    let continuing = "LogAndContinueProcessingExceptionHandler";
    let config = StreamsConfig::builder("test").set("processing.exception.handler", continuing).build().unwrap();
    let state_dir = Some(TaskDirectory { path: folder.to_owned(), engine: engine.clone() });
    let mut task = Task::new(&builder.build().unwrap(), TaskOptions { state_dir, ..options(config, Nowhere) })?;
    task.initialize()?;
    Ok(task)
}

fn put(task: &mut Task, number: i64, value: &[u8]) -> Result<bool> {
    let a = task.queue("a").unwrap();
    let key = number.to_string();
    task.add_records(a, InputBatch::single(number, number, Some(key.as_bytes()), Some(value), Headers::new()))?;
    task.process(0)
}

#[test]
fn a_commit_is_asked_for_before_what_was_put_takes_more_memory_than_it_should() {
    let (folder, budget) = (tempfile::tempdir().unwrap(), 4 << 20);
    let engine = LsmEngine::new(LsmOptions { write_buffer_bytes: budget, ..LsmOptions::default() }).unwrap();
    let mut task = putting(folder.path(), &engine).unwrap();
    let (mut since, mut most, mut commits) = (0, 0, 0);
    for number in 0..20_000 {
        assert!(put(&mut task, number, &[b'v'; 1000]).unwrap());
        since += 1000;
        most = most.max(since);
        if task.commit_requested() {
            task.flush().unwrap();
            task.commit_stores(|_| Some(number)).unwrap();
            (since, commits) = (0, commits + 1);
            assert!(!task.commit_requested(), "a commit makes room");
        }
    }
    // One memtable is written while another one is flushed.
    assert!(most <= budget / 2, "{most} bytes were put between two commits");
    assert!((5..=40).contains(&commits), "{commits} commits");
}

#[test]
fn a_store_that_is_found_damaged_at_work_asks_no_handler_and_is_restored_anew() {
    let folder = tempfile::tempdir().unwrap();
    let engine = LsmEngine::new(LsmOptions::default()).unwrap();
    let mut task = putting(folder.path(), &engine).unwrap();
    for number in 0..1000 {
        put(&mut task, number, number.to_string().repeat(50).as_bytes()).unwrap();
    }
    task.commit_stores(|_| Some(1000)).unwrap();
    task.close().unwrap();
    drop(task);
    let mut task = putting(folder.path(), &engine).unwrap();
    for table in fs::read_dir(folder.path().join("rows/tables")).unwrap() {
        let table = table.unwrap().path();
        let mut bytes = fs::read(&table).unwrap();
        let half = bytes.len() / 2;
        bytes[..half].iter_mut().step_by(50).for_each(|byte| *byte ^= 1);
        fs::write(table, bytes).unwrap();
    }
    let error = (0..1000).find_map(|number| put(&mut task, number, b"value").err()).unwrap();
    assert!(error.is_corrupted_store(), "{error}");
    task.abandon().unwrap();
    drop(task);
    let task = putting(folder.path(), &engine).unwrap();
    assert_eq!(task.store_offsets().unwrap(), BTreeMap::from([("rows".to_owned(), None)]));
}
