use super::*;
use crate::{Headers, StreamsBuilder};

struct Nowhere;

impl RecordCollector for Nowhere {
    fn send(&mut self, _record: ProducerRecord<'_>) -> Result<()> {
        Ok(())
    }
    fn partitions_for(&mut self, _topic: &str) -> Result<i32> {
        Ok(1)
    }
}

/// A task of two topics, of which both are read, and where each is waited for as long as `max.task.idle.ms` says.
fn task(max_idle: &str) -> (Task, usize, usize) {
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("a").merge(&builder.stream("b")).to("out");
    let config = StreamsConfig::builder("test").set("max.task.idle.ms", max_idle).build().unwrap();
    let options = TaskOptions {
        id: TaskId { subtopology: 0, partition: 0 },
        config: Arc::new(config),
        collector: Box::new(Nowhere),
        state_dir: None,
        globals: None,
        scope: TaskScope::Subtopology,
        now: 0,
    };
    let mut task = Task::new(&builder.build().unwrap(), options).unwrap();
    task.initialize().unwrap();
    let (a, b) = (task.queue("a").unwrap(), task.queue("b").unwrap());
    task.set_lag(a, None);
    task.set_lag(b, None);
    (task, a, b)
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
