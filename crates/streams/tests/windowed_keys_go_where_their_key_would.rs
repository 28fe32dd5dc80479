//! Topics of windowed keys are partitioned by the key alone.

#![allow(clippy::unwrap_used, reason = "a broken test fails loudly")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use vltava_client::producer::partition_for_key;
use vltava_streams::{
    Headers, Produced, Result, Serde, SerdeError, SessionWindows, StreamsBuilder, StreamsConfig, TimeWindows, Topology,
    Window, Windowed,
    serdes::{SessionWindowedSerde, StringSerde, serde_of},
    task::{InputBatch, InputRecord, ProducerRecord, RecordCollector, Task, TaskId, TaskOptions, TaskScope},
};

const PARTITIONS: i32 = 7;

/// The bytes of a key, and the partition chosen for it.
type Placed = (Vec<u8>, Option<i32>);

/// What is sent to the topic.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<Placed>>>);

impl RecordCollector for Sent {
    fn send(&mut self, record: ProducerRecord<'_>) -> Result<()> {
        // A changelog is partitioned like its task.
        if &**record.topic == "out" {
            self.0.lock().unwrap().push((record.key.unwrap_or_default().to_vec(), record.partition));
        }
        Ok(())
    }

    fn partitions_for(&mut self, _topic: &str) -> Result<i32> {
        Ok(PARTITIONS)
    }
}

/// A windowed key as an application may write it: the key and one byte.
struct OneByteWindow;

impl Serde<Windowed<String>> for OneByteWindow {
    fn serialize(&self, topic: &str, key: &Windowed<String>, out: &mut Vec<u8>) -> std::result::Result<(), SerdeError> {
        StringSerde.serialize(topic, &key.key, out)?;
        out.push(key.window.start() as u8);
        Ok(())
    }

    fn deserialize(&self, _topic: &str, _bytes: &[u8]) -> std::result::Result<Windowed<String>, SerdeError> {
        Err(SerdeError::new("nobody reads these"))
    }

    fn window_len(&self) -> usize {
        1
    }
}

fn play(topology: &Topology, keys: &[&str]) -> Vec<Placed> {
    let sent = Sent::default();
    let options = TaskOptions {
        id: TaskId { subtopology: 0, partition: 0 },
        config: Arc::new(StreamsConfig::builder("app").build().unwrap()),
        collector: Box::new(sent.clone()),
        state_dir: None,
        globals: None,
        scope: TaskScope::Everything,
        now: 0,
    };
    let mut task = Task::new(topology, options).unwrap();
    task.initialize().unwrap();
    let mut buffer = Vec::new();
    let mut records = Vec::new();
    for (at, key) in keys.iter().enumerate() {
        let start = buffer.len() as u32;
        buffer.extend_from_slice(key.as_bytes());
        let key = Some(start..buffer.len() as u32);
        let (offset, timestamp) = (at as i64, at as i64);
        records.push(InputRecord { offset, timestamp, key: key.clone(), value: key, headers: Headers::new() });
    }
    let mut batch = InputBatch::new(Bytes::from(buffer), None);
    records.into_iter().for_each(|record| batch.push(record));
    let queue = task.queue("in").unwrap();
    task.add_records(queue, batch).unwrap();
    while task.process(0).unwrap() {}
    task.flush().unwrap();
    sent.0.lock().unwrap().clone()
}

fn windows(produced: Produced<Windowed<String>, String>) -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>("in")
        .map(|key, value: String| (Windowed::new(key, Window::new(value.len() as i64, 100)), value))
        .to_with(produced, "out");
    builder.build().unwrap()
}

#[test]
fn all_windows_of_a_key_go_to_one_partition() {
    let keys = ["a", "bb", "ccc", "dddd", "a", "bb"];
    let sent = play(&windows(Produced::with(OneByteWindow, serde_of::<String>())), &keys);
    let expected: Vec<_> = keys
        .iter()
        .map(|key| {
            let bytes = [key.as_bytes(), &[key.len() as u8]].concat();
            (bytes, Some(partition_for_key(key.as_bytes(), PARTITIONS)))
        })
        .collect();
    assert_eq!(sent, expected);
}

#[test]
fn a_partitioner_of_the_application_decides_alone() {
    let produced = Produced::with(OneByteWindow, serde_of::<String>());
    let to_five = |_: &str, _: Option<&Windowed<String>>, _: Option<&String>, _: i32| Some(vec![5]);
    let sent = play(&windows(produced.clone().with_stream_partitioner(to_five)), &["a", "bb"]);
    assert!(sent.iter().all(|(_, partition)| *partition == Some(5)), "{sent:?}");
    let to_any = |_: &str, _: Option<&Windowed<String>>, _: Option<&String>, _: i32| None;
    let sent = play(&windows(produced.with_stream_partitioner(to_any)), &["a", "bb"]);
    assert!(sent.iter().all(|(_, partition)| partition.is_none()), "{sent:?}");
}

#[test]
fn keys_without_window_are_left_to_the_producer() {
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("in").to("out");
    let sent = play(&builder.build().unwrap(), &["a", "bb"]);
    assert!(sent.iter().all(|(_, partition)| partition.is_none()), "{sent:?}");
}

#[test]
fn aggregations_and_kafkas_serdes_say_what_the_window_is() {
    let builder = StreamsBuilder::new();
    let grouped = builder.stream::<String, String>("in").group_by_key();
    let count = grouped.windowed_by(TimeWindows::of_size_with_no_grace(Duration::from_millis(10))).count();
    count.to_stream().to_with(Produced::new().with_value_serde(serde_of::<i64>()), "out");
    let gap = SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_millis(10));
    let count = grouped.windowed_by_sessions(gap).count();
    count.to_stream().to_with(Produced::with(SessionWindowedSerde::new(StringSerde), serde_of::<i64>()), "out");
    let sent = play(&builder.build().unwrap(), &["a", "bb", "ccc"]);
    assert_eq!(sent.len(), 6, "{sent:?}");
    for (bytes, partition) in sent {
        let own: Vec<_> = bytes.iter().copied().take_while(|byte| *byte != 0).collect();
        assert_eq!(partition, Some(partition_for_key(&own, PARTITIONS)), "{bytes:?}");
    }
}
