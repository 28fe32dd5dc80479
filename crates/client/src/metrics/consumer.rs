//! What a consumer counts: once per call, request and answer, never per record.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use vltava_metrics::{Sensor, Tags};

use super::definitions::consumer as define;
use super::{Recorder, fraction_of_ms, nanos};
use crate::TopicPartition;

/// The sensors of a consumer beside those of its fetches.
#[derive(Debug)]
pub(crate) struct ConsumerMetrics {
    recorder: Recorder,
    poll_interval: Sensor,
    poll_idle: Sensor,
    commit_sync: Sensor,
    committed: Sensor,
    commit: Sensor,
    heartbeat: Sensor,
    join: Sensor,
    sync: Sensor,
    rebalance: Sensor,
    rebalance_failed: Sensor,
    assigned: Sensor,
    revoked: Sensor,
    lost: Sensor,
    fetch: Sensor,
    times: Mutex<Times>,
}

/// When what happened last.
#[derive(Debug, Default)]
struct Times {
    poll: Option<Instant>,
    heartbeat: Option<Instant>,
    rebalance_begun: Option<Instant>,
    rebalance: Option<Instant>,
}

/// How long ago something happened last, in whole seconds; -1 if it never did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SecondsAgo {
    pub(crate) poll: f64,
    pub(crate) heartbeat: f64,
    pub(crate) rebalance: f64,
}

/// A coordinator's answer to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupAnswer {
    Join,
    Sync,
    Heartbeat,
}

/// A call of the listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListenerCall {
    Assigned,
    Revoked,
    Lost,
}

impl ConsumerMetrics {
    pub(crate) fn new(recorder: Recorder) -> Self {
        let of_consumer = |definition| recorder.sensor(define::CONSUMER, definition);
        let of_group = |definition| recorder.sensor(define::COORDINATOR, definition);
        Self {
            poll_interval: of_consumer(&define::POLL_INTERVAL),
            poll_idle: of_consumer(&define::POLL_IDLE),
            commit_sync: of_consumer(&define::COMMIT_SYNC),
            committed: of_consumer(&define::COMMITTED),
            commit: of_group(&define::COMMIT),
            heartbeat: of_group(&define::HEARTBEAT),
            join: of_group(&define::JOIN),
            sync: of_group(&define::SYNC),
            rebalance: of_group(&define::REBALANCE),
            rebalance_failed: of_group(&define::REBALANCE_FAILED),
            assigned: of_group(&define::ASSIGNED),
            revoked: of_group(&define::REVOKED),
            lost: of_group(&define::LOST),
            fetch: recorder.sensor(define::FETCH_MANAGER, &define::FETCH),
            times: Mutex::default(),
            recorder,
        }
    }

    /// A poll begins; how long after the one before.
    pub(crate) fn poll_begun(&self, now: Instant) -> Duration {
        let before = self.times.lock().poll.replace(now);
        let since = before.map_or(Duration::ZERO, |before| now.saturating_duration_since(before));
        self.poll_interval.record(fraction_of_ms(since), self.recorder.ms(now));
        since
    }

    /// It is over, having begun at `begun`, `since_last` after the one before.
    pub(crate) fn poll_ended(&self, begun: Instant, since_last: Duration, now: Instant) {
        let took = now.saturating_duration_since(begun);
        let whole = took.saturating_add(since_last).as_secs_f64();
        let part = if whole > 0.0 { took.as_secs_f64() / whole } else { 1.0 };
        self.poll_idle.record(part, self.recorder.ms(now));
    }

    /// `commit_sync` is over, having begun then.
    pub(crate) fn commit_sync(&self, begun: Instant, now: Instant) {
        self.commit_sync.record(nanos(now.saturating_duration_since(begun)), self.recorder.ms(now));
    }

    /// `committed` is over, having begun then.
    pub(crate) fn committed(&self, begun: Instant, now: Instant) {
        self.committed.record(nanos(now.saturating_duration_since(begun)), self.recorder.ms(now));
    }

    /// A commit was answered.
    pub(crate) fn commit_answered(&self, took: Duration, now: Instant) {
        self.commit.record(fraction_of_ms(took), self.recorder.ms(now));
    }

    /// A fetch was answered.
    pub(crate) fn fetch_answered(&self, took: Duration, now: Instant) {
        self.fetch.record(fraction_of_ms(took), self.recorder.ms(now));
    }

    /// A heartbeat goes out.
    pub(crate) fn heartbeat_sent(&self, now: Instant) {
        self.times.lock().heartbeat = Some(now);
    }

    /// The member asks to be let in: a rebalance begins, unless one goes on.
    pub(crate) fn join_sent(&self, now: Instant) {
        self.times.lock().rebalance_begun.get_or_insert(now);
    }

    /// The coordinator answered a member's request.
    pub(crate) fn group_answered(&self, answer: GroupAnswer, is_fine: bool, took: Duration, now: Instant) {
        let (ms, at) = (fraction_of_ms(took), self.recorder.ms(now));
        match answer {
            GroupAnswer::Heartbeat => self.heartbeat.record(ms, at),
            GroupAnswer::Join if is_fine => self.join.record(ms, at),
            GroupAnswer::Sync if is_fine => {
                self.sync.record(ms, at);
                let mut times = self.times.lock();
                times.rebalance = Some(now);
                if let Some(begun) = times.rebalance_begun.take() {
                    self.rebalance.record(fraction_of_ms(now.saturating_duration_since(begun)), at);
                }
            }
            GroupAnswer::Join | GroupAnswer::Sync => self.rebalance_failed.record(1.0, at),
        }
    }

    /// The listener was called.
    pub(crate) fn listener_called(&self, call: ListenerCall, took: Duration, now: Instant) {
        let sensor = match call {
            ListenerCall::Assigned => &self.assigned,
            ListenerCall::Revoked => &self.revoked,
            ListenerCall::Lost => &self.lost,
        };
        sensor.record(fraction_of_ms(took), self.recorder.ms(now));
    }

    /// How long ago something happened last.
    pub(crate) fn seconds_ago(&self, now: Instant) -> SecondsAgo {
        let times = self.times.lock();
        let ago = |at: Option<Instant>| at.map_or(-1.0, |at| now.saturating_duration_since(at).as_secs() as f64);
        SecondsAgo { poll: ago(times.poll), heartbeat: ago(times.heartbeat), rebalance: ago(times.rebalance) }
    }
}

/// The sensors of the fetcher. Those of the default record nothing.
#[derive(Debug, Default)]
pub(crate) struct FetchMetrics {
    recorder: Option<Recorder>,
    throttle: Sensor,
    bytes: Sensor,
    records: Sensor,
    lag: Sensor,
    lead: Sensor,
    topics: HashMap<Arc<str>, TopicSensors>,
    partitions: HashMap<TopicPartition, PartitionSensors>,
}

#[derive(Debug)]
struct TopicSensors {
    bytes: Sensor,
    records: Sensor,
}

#[derive(Debug)]
struct PartitionSensors {
    lag: Sensor,
    lead: Sensor,
    preferred_replica: Sensor,
}

/// How much was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) bytes: usize,
    pub(crate) records: usize,
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, more: Self) {
        self.bytes += more.bytes;
        self.records += more.records;
    }
}

/// Where a partition stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) lag: Option<i64>,
    pub(crate) lead: Option<i64>,
    pub(crate) preferred_replica: Option<i32>,
}

impl FetchMetrics {
    pub(crate) fn new(recorder: Recorder) -> Self {
        let sensor = |definition| recorder.sensor(define::FETCH_MANAGER, definition);
        Self {
            throttle: sensor(&define::FETCH_THROTTLE),
            bytes: sensor(&define::FETCH_BYTES),
            records: sensor(&define::FETCH_RECORDS),
            lag: sensor(&define::LAG),
            lead: sensor(&define::LEAD),
            topics: HashMap::new(),
            partitions: HashMap::new(),
            recorder: Some(recorder),
        }
    }

    /// A broker says for how long it throttles, which may be not at all.
    pub(crate) fn throttled(&self, throttle_ms: i32, now: Instant) {
        if let Some(recorder) = &self.recorder {
            self.throttle.record(f64::from(throttle_ms), recorder.ms(now));
        }
    }

    /// All that an answer brought was read.
    pub(crate) fn read(&mut self, all: Amount, topics: &[(Arc<str>, Amount)], now: Instant) {
        let Some(recorder) = &self.recorder else { return };
        let now = recorder.ms(now);
        self.bytes.record(all.bytes as f64, now);
        self.records.record(all.records as f64, now);
        for (topic, amount) in topics {
            let sensors = self.topics.entry(Arc::clone(topic)).or_insert_with(|| {
                let tags = Tags::new([("topic", Arc::clone(topic))]);
                let sensor = |definition| recorder.sensor_of(define::FETCH_MANAGER, definition, &tags);
                let bytes = sensor(&define::TOPIC_FETCH_BYTES);
                TopicSensors { bytes, records: sensor(&define::TOPIC_FETCH_RECORDS) }
            });
            sensors.bytes.record(amount.bytes as f64, now);
            sensors.records.record(amount.records as f64, now);
        }
    }

    /// Records of a partition were read, and this is where it stands.
    pub(crate) fn stands(&mut self, partition: &TopicPartition, standing: Standing, now: Instant) {
        let Some(recorder) = &self.recorder else { return };
        let now = recorder.ms(now);
        if !self.partitions.contains_key(partition) {
            let tags = Tags::new([("topic", Arc::clone(partition.topic_arc()))])
                .with("partition", partition.partition().to_string());
            let sensor = |definition| recorder.sensor_of(define::FETCH_MANAGER, definition, &tags);
            let new = PartitionSensors {
                lag: sensor(&define::PARTITION_LAG),
                lead: sensor(&define::PARTITION_LEAD),
                preferred_replica: sensor(&define::PREFERRED_REPLICA),
            };
            self.partitions.insert(partition.clone(), new);
        }
        let Some(sensors) = self.partitions.get(partition) else { return };
        if let Some(lag) = standing.lag {
            self.lag.record(lag as f64, now);
            sensors.lag.record(lag as f64, now);
        }
        if let Some(lead) = standing.lead {
            self.lead.record(lead as f64, now);
            sensors.lead.record(lead as f64, now);
        }
        sensors.preferred_replica.record(f64::from(standing.preferred_replica.unwrap_or(-1)), now);
    }

    /// Forgets partitions that are not assigned any more, and topics of which none is.
    pub(crate) fn retain(&mut self, is_assigned: impl Fn(&TopicPartition) -> bool, reads: impl Fn(&str) -> bool) {
        self.partitions.retain(|partition, _| is_assigned(partition));
        self.topics.retain(|topic, _| reads(topic));
    }
}
