//! What a producer counts: once per batch and request, never per record.

use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use vltava_metrics::{Sensor, Tags};

use super::definitions::producer as define;
use super::{Recorder, fraction_of_ms, nanos};

/// The sensors of a producer. Those of the default record nothing.
#[derive(Debug, Default)]
pub(crate) struct ProducerMetrics {
    recorder: Option<Recorder>,
    batch_size: Sensor,
    batch_split: Sensor,
    buffer_exhausted: Sensor,
    buffer_wait: Sensor,
    compression: Sensor,
    flush: Sensor,
    metadata_wait: Sensor,
    throttle: Sensor,
    errors: Sensor,
    retries: Sensor,
    records: Sensor,
    queue_time: Sensor,
    record_size: Sensor,
    records_per_request: Sensor,
    latency: Sensor,
    init: Sensor,
    begin: Sensor,
    send_offsets: Sensor,
    commit: Sensor,
    abort: Sensor,
    topics: Mutex<HashMap<Arc<str>, Arc<TopicSensors>, RandomState>>,
}

#[derive(Debug)]
struct TopicSensors {
    records: Sensor,
    bytes: Sensor,
    compression: Sensor,
    retries: Sensor,
    errors: Sensor,
}

/// A batch that goes on the wire for the first time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SentBatch<'a> {
    pub(crate) topic: &'a Arc<str>,
    pub(crate) records: i32,
    pub(crate) bytes: usize,
    /// Before compression.
    pub(crate) uncompressed: usize,
    /// The size of its largest record.
    pub(crate) largest: usize,
    /// How long it has waited.
    pub(crate) queued: Duration,
}

/// A call whose time is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timed {
    Flush,
    InitTransactions,
    BeginTransaction,
    SendOffsets,
    CommitTransaction,
    AbortTransaction,
    /// Waiting for a topic's metadata.
    Metadata,
    /// Waiting for memory.
    Memory,
}

impl ProducerMetrics {
    pub(crate) fn new(recorder: Recorder) -> Self {
        let sensor = |definition| recorder.sensor(define::PRODUCER, definition);
        Self {
            batch_size: sensor(&define::BATCH_SIZE),
            batch_split: sensor(&define::BATCH_SPLIT),
            buffer_exhausted: sensor(&define::BUFFER_EXHAUSTED),
            buffer_wait: sensor(&define::BUFFER_WAIT),
            compression: sensor(&define::COMPRESSION),
            flush: sensor(&define::FLUSH_TIME),
            metadata_wait: sensor(&define::METADATA_WAIT),
            throttle: sensor(&define::THROTTLE_TIME),
            errors: sensor(&define::RECORD_ERRORS),
            retries: sensor(&define::RECORD_RETRIES),
            records: sensor(&define::RECORDS),
            queue_time: sensor(&define::QUEUE_TIME),
            record_size: sensor(&define::RECORD_SIZE),
            records_per_request: sensor(&define::RECORDS_PER_REQUEST),
            latency: sensor(&define::REQUEST_LATENCY),
            init: sensor(&define::TXN_INIT),
            begin: sensor(&define::TXN_BEGIN),
            send_offsets: sensor(&define::TXN_SEND_OFFSETS),
            commit: sensor(&define::TXN_COMMIT),
            abort: sensor(&define::TXN_ABORT),
            topics: Mutex::default(),
            recorder: Some(recorder),
        }
    }

    /// A batch goes on the wire.
    pub(crate) fn sent(&self, batch: SentBatch<'_>, now: Instant) {
        let Some((recorder, topic)) = self.of_topic(batch.topic) else { return };
        let now = recorder.ms(now);
        let (records, bytes) = (f64::from(batch.records), batch.bytes as f64);
        let ratio = bytes / batch.uncompressed.max(1) as f64;
        topic.records.record(records, now);
        topic.bytes.record(bytes, now);
        topic.compression.record(ratio, now);
        self.batch_size.record(bytes, now);
        self.queue_time.record(fraction_of_ms(batch.queued), now);
        self.compression.record(ratio, now);
        self.record_size.record(batch.largest as f64, now);
        self.records.record(records, now);
    }

    /// A request with this many records goes on the wire.
    pub(crate) fn requested(&self, records: i32, now: Instant) {
        self.record(&self.records_per_request, f64::from(records), now);
    }

    /// A request was answered.
    pub(crate) fn answered(&self, took: Duration, now: Instant) {
        self.record(&self.latency, fraction_of_ms(took), now);
    }

    /// A broker says for how long it throttles, which may be not at all.
    pub(crate) fn throttled(&self, throttle_ms: i32, now: Instant) {
        self.record(&self.throttle, f64::from(throttle_ms), now);
    }

    /// A batch is to be sent again.
    pub(crate) fn retried(&self, topic: &Arc<str>, records: i32, now: Instant) {
        let Some((recorder, topic)) = self.of_topic(topic) else { return };
        let now = recorder.ms(now);
        self.retries.record(f64::from(records), now);
        topic.retries.record(f64::from(records), now);
    }

    /// A batch has failed for good.
    pub(crate) fn failed(&self, topic: &Arc<str>, records: i32, now: Instant) {
        let Some((recorder, topic)) = self.of_topic(topic) else { return };
        let now = recorder.ms(now);
        self.errors.record(f64::from(records), now);
        topic.errors.record(f64::from(records), now);
    }

    /// A record was not taken.
    pub(crate) fn refused(&self, now: Instant) {
        self.record(&self.errors, 1.0, now);
    }

    /// A batch was too large.
    pub(crate) fn split(&self, now: Instant) {
        self.record(&self.batch_split, 1.0, now);
    }

    /// A record was not taken for want of memory.
    pub(crate) fn exhausted(&self, now: Instant) {
        self.record(&self.buffer_exhausted, 1.0, now);
    }

    /// A call that began at `since` is over.
    pub(crate) fn timed(&self, call: Timed, since: Instant, now: Instant) {
        let sensor = match call {
            Timed::Flush => &self.flush,
            Timed::InitTransactions => &self.init,
            Timed::BeginTransaction => &self.begin,
            Timed::SendOffsets => &self.send_offsets,
            Timed::CommitTransaction => &self.commit,
            Timed::AbortTransaction => &self.abort,
            Timed::Metadata => &self.metadata_wait,
            Timed::Memory => &self.buffer_wait,
        };
        self.record(sensor, nanos(now.saturating_duration_since(since)), now);
    }

    /// Forgets topics that `is_known` does not know.
    pub(crate) fn forget_topics(&self, is_known: impl Fn(&str) -> bool) {
        self.topics.lock().retain(|topic, _| is_known(topic));
    }

    fn record(&self, sensor: &Sensor, value: f64, now: Instant) {
        if let Some(recorder) = &self.recorder {
            sensor.record(value, recorder.ms(now));
        }
    }

    fn of_topic(&self, topic: &Arc<str>) -> Option<(&Recorder, Arc<TopicSensors>)> {
        let recorder = self.recorder.as_ref()?;
        let mut topics = self.topics.lock();
        if let Some(known) = topics.get(topic) {
            return Some((recorder, Arc::clone(known)));
        }
        let tags = Tags::new([("topic", Arc::clone(topic))]);
        let sensor = |definition| recorder.sensor_of(define::TOPIC, definition, &tags);
        let new = Arc::new(TopicSensors {
            records: sensor(&define::TOPIC_RECORDS),
            bytes: sensor(&define::TOPIC_BYTES),
            compression: sensor(&define::TOPIC_COMPRESSION),
            retries: sensor(&define::TOPIC_RETRIES),
            errors: sensor(&define::TOPIC_ERRORS),
        });
        topics.insert(Arc::clone(topic), Arc::clone(&new));
        Some((recorder, new))
    }
}
