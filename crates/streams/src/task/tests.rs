use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::{
    Consumed, Headers, Materialized, StreamsBuilder,
    state::{LsmEngine, LsmOptions},
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
    builder.table_with::<String, String>("a", Consumed::new(), Materialized::named("rows"));
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
