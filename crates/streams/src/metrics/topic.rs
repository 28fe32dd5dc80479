//! Metrics of the topics that a task reads and writes.

use std::sync::Arc;

use vltava_metrics::definition::{Group, SensorDefinition, count, total};
use vltava_metrics::{Sensor, Tally};

use super::Recorder;

/// The table.
pub(super) const GROUP: Group = Group {
    name: NAME,
    tags: &["thread-id", "task-id", "processor-node-id", "topic"],
    sensors: &[&CONSUMED, &PRODUCED],
    gauges: &[],
};

const NAME: &str = "stream-topic-metrics";

static CONSUMED: SensorDefinition = SensorDefinition::new(
    "bytes",
    &[
        count("records-consumed-total", "The total number of records consumed from this topic"),
        total("bytes-consumed-total", "The total number of bytes consumed from this topic"),
    ],
);
static PRODUCED: SensorDefinition = SensorDefinition::new(
    "bytes",
    &[
        count("records-produced-total", "The total number of records produced to this topic"),
        total("bytes-produced-total", "The total number of bytes produced to this topic"),
    ],
);

/// What a task has read of a topic.
#[derive(Debug, Default)]
pub(crate) struct Consumed {
    tally: Tally,
    sensor: Sensor,
}

impl Consumed {
    pub(crate) fn measure(&mut self, recorder: &Recorder, source: &str, topic: &Arc<str>) {
        let recorder = recorder.with("processor-node-id", source).with("topic", topic.clone());
        self.sensor = recorder.sensor(NAME, &CONSUMED);
    }

    /// A record of this size.
    #[inline]
    pub(crate) fn add(&mut self, bytes: u64) {
        self.tally.add(bytes as f64);
    }

    pub(crate) fn record(&mut self, now: i64) {
        self.sensor.record_all(&self.tally.take(), now);
    }
}

/// What a task has written, by node and topic.
#[derive(Debug, Default)]
pub(crate) struct Produced {
    topics: Vec<Topic>,
    /// Of the topic that was written last.
    last: usize,
}

#[derive(Debug)]
struct Topic {
    node: u32,
    topic: Arc<str>,
    tally: Tally,
    sensor: Sensor,
}

impl Produced {
    /// A node writes to this topic.
    pub(crate) fn declare(&mut self, node: u32, topic: &Arc<str>) {
        self.find(node, topic);
    }

    fn find(&mut self, node: u32, topic: &Arc<str>) -> usize {
        let is = |known: &Topic| known.node == node && (Arc::ptr_eq(&known.topic, topic) || known.topic == *topic);
        if self.topics.get(self.last).is_some_and(is) {
            return self.last;
        }
        self.last = self.topics.iter().position(is).unwrap_or_else(|| {
            let (tally, sensor) = (Tally::default(), Sensor::default());
            self.topics.push(Topic { node, topic: topic.clone(), tally, sensor });
            self.topics.len() - 1
        });
        self.last
    }

    /// A record of this size was given to be sent.
    #[inline]
    pub(crate) fn add(&mut self, node: u32, topic: &Arc<str>, bytes: u64) {
        let at = self.find(node, topic);
        if let Some(place) = self.topics.get_mut(at) {
            place.tally.add(bytes as f64);
        }
    }

    /// Topics that nobody could know of before have their series from here on.
    pub(super) fn record(&mut self, recorder: &Recorder, node_names: &[Arc<str>], now: i64) {
        for Topic { node, topic, tally, sensor } in &mut self.topics {
            if !sensor.is_recorded() {
                let node = node_names.get(*node as usize).map_or("", |name| name);
                *sensor = recorder.with("processor-node-id", node).with("topic", topic.clone()).sensor(NAME, &PRODUCED);
            }
            sensor.record_all(&tally.take(), now);
        }
    }
}
