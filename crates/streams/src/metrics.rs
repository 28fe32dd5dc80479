//! What is counted, under the names of Kafka Streams' metrics.

use std::{collections::BTreeMap, fmt};

use crate::{config::StreamsConfig, record::Headers, task::Task};

/// The name of a metric, as Kafka's `MetricName`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct MetricName {
    /// Such as `dropped-records-total`.
    pub name: &'static str,
    /// Such as `stream-task-metrics`.
    pub group: &'static str,
    /// `client-id`, or `thread-id` and, of a task, `task-id`; where it applies `processor-node-id` and `topic`.
    pub tags: BTreeMap<&'static str, String>,
}

impl fmt::Display for MetricName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.group, self.name)?;
        self.tags.iter().try_for_each(|(tag, value)| write!(f, ",{tag}={value}"))
    }
}

/// How often something happened: in all, and in each of the last spans of time, as Kafka's `Rate` keeps it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    total: u64,
    /// The oldest first.
    samples: Vec<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    /// In ms.
    begin: i64,
    last: i64,
    count: u64,
}

/// `metrics.num.samples` and `metrics.sample.window.ms`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampling {
    samples: i64,
    window_ms: i64,
}

impl Sampling {
    fn of(config: &StreamsConfig) -> Self {
        let fields = config.fields();
        Sampling { samples: fields.metrics_samples.max(1), window_ms: fields.metrics_window_ms.max(1) }
    }
}

impl Meter {
    pub(crate) fn record(&mut self, count: u64, now: i64, sampling: Sampling) {
        self.total += count;
        match self.samples.last_mut() {
            Some(sample) if now - sample.begin < sampling.window_ms => {
                sample.count += count;
                sample.last = now;
            }
            _ => self.samples.push(Sample { begin: now, last: now, count }),
        }
        // One more is kept, which may reach into the time that counts.
        let kept = usize::try_from(sampling.samples).unwrap_or(1) + 1;
        self.samples.drain(..self.samples.len().saturating_sub(kept));
    }

    /// Per second. Spans that have not begun count as whole ones, so that a first record is no burst.
    fn rate(&self, now: i64, Sampling { samples, window_ms }: Sampling) -> f64 {
        let mut live = self.samples.iter().filter(|sample| now - sample.last < samples * window_ms).peekable();
        let mut elapsed = now - live.peek().map_or(now, |oldest| oldest.begin);
        let (whole, least) = (elapsed / window_ms, samples - 1);
        if whole < least {
            elapsed += (least - whole) * window_ms;
        }
        let count: u64 = live.map(|sample| sample.count).sum();
        count as f64 * 1000.0 / elapsed.max(1) as f64
    }
}

/// What a task counts.
pub(crate) struct Counters {
    thread: String,
    task: String,
    sampling: Sampling,
    /// Whether `metrics.recording.level` lets Kafka's metrics of level DEBUG be recorded.
    debug: bool,
    dropped: Meter,
    processed_by_all: Meter,
    /// By source node.
    processed: BTreeMap<String, Meter>,
    /// Records and bytes, by node and topic.
    consumed: BTreeMap<(String, String), (u64, u64)>,
    produced: BTreeMap<(String, String), (u64, u64)>,
}

impl Counters {
    pub(crate) fn new(config: &StreamsConfig, thread: &str, task: &str) -> Self {
        Counters {
            thread: thread.to_owned(),
            task: task.to_owned(),
            sampling: Sampling::of(config),
            debug: config.fields().debug_metrics,
            dropped: Meter::default(),
            processed_by_all: Meter::default(),
            processed: BTreeMap::new(),
            consumed: BTreeMap::new(),
            produced: BTreeMap::new(),
        }
    }

    /// Takes what the task has counted itself.
    pub(crate) fn update(&mut self, task: &Task, now: i64) {
        self.dropped(task.dropped_records(), now);
        if self.debug {
            task.processed().for_each(|(source, total)| self.processed(source, total, now));
        }
    }

    pub(crate) fn dropped(&mut self, total: u64, now: i64) {
        let more = total.saturating_sub(self.dropped.total);
        if more > 0 {
            self.dropped.record(more, now, self.sampling);
        }
    }

    pub(crate) fn processed(&mut self, source: &str, total: u64, now: i64) {
        if !self.processed.contains_key(source) {
            self.processed.insert(source.to_owned(), Meter::default());
        }
        let Some(known) = self.processed.get_mut(source) else { return };
        let more = total.saturating_sub(known.total);
        if more > 0 {
            known.record(more, now, self.sampling);
            self.processed_by_all.record(more, now, self.sampling);
        }
    }

    pub(crate) fn consumed(&mut self, source: &str, topic: &str, bytes: u64) {
        let (records, sum) = self.consumed.entry((source.to_owned(), topic.to_owned())).or_default();
        (*records, *sum) = (*records + 1, *sum + bytes);
    }

    pub(crate) fn produced(&mut self, sink: &str, topic: &str, bytes: u64) {
        let (records, sum) = self.produced.entry((sink.to_owned(), topic.to_owned())).or_default();
        (*records, *sum) = (*records + 1, *sum + bytes);
    }

    /// All of them, each with its value at `now`.
    pub(crate) fn all(&self, now: i64) -> BTreeMap<MetricName, f64> {
        let mut metrics = BTreeMap::new();
        let tags = || BTreeMap::from([("thread-id", self.thread.clone()), ("task-id", self.task.clone())]);
        let mut add = |name, group, tags, value| metrics.insert(MetricName { name, group, tags }, value);
        let mut meter = |rate, total, group, tags: BTreeMap<_, _>, meter: &Meter| {
            add(rate, group, tags.clone(), meter.rate(now, self.sampling));
            add(total, group, tags, meter.total as f64);
        };
        let task = "stream-task-metrics";
        meter("dropped-records-rate", "dropped-records-total", task, tags(), &self.dropped);
        if self.debug {
            meter("process-rate", "process-total", task, tags(), &self.processed_by_all);
            for (node, processed) in &self.processed {
                let mut tags = tags();
                tags.insert("processor-node-id", node.clone());
                meter("process-rate", "process-total", "stream-processor-node-metrics", tags, processed);
            }
        }
        let directions = [
            ("records-consumed-total", "bytes-consumed-total", &self.consumed),
            ("records-produced-total", "bytes-produced-total", &self.produced),
        ];
        for (records, bytes, counted) in directions {
            for ((node, topic), (count, sum)) in counted {
                let mut tags = tags();
                tags.insert("processor-node-id", node.clone());
                tags.insert("topic", topic.clone());
                add(records, "stream-topic-metrics", tags.clone(), *count as f64);
                add(bytes, "stream-topic-metrics", tags, *sum as f64);
            }
        }
        metrics
    }
}

/// What a standby counts: Kafka's `update` metrics, of level DEBUG.
pub(crate) struct StandbyCounters {
    thread: String,
    task: String,
    sampling: Sampling,
    debug: bool,
    updated: Meter,
}

impl StandbyCounters {
    pub(crate) fn new(config: &StreamsConfig, thread: &str, task: &str) -> Self {
        StandbyCounters {
            thread: thread.to_owned(),
            task: task.to_owned(),
            sampling: Sampling::of(config),
            debug: config.fields().debug_metrics,
            updated: Meter::default(),
        }
    }

    /// Its stores have taken records.
    pub(crate) fn updated(&mut self, records: u64, now: i64) {
        self.updated.record(records, now, self.sampling);
    }

    /// All of them, each with its value at `now`.
    pub(crate) fn all(&self, now: i64) -> BTreeMap<MetricName, f64> {
        if !self.debug {
            return BTreeMap::new();
        }
        let name = |name| {
            let tags = BTreeMap::from([("thread-id", self.thread.clone()), ("task-id", self.task.clone())]);
            MetricName { name, group: "stream-task-metrics", tags }
        };
        let rate = self.updated.rate(now, self.sampling);
        [(name("update-rate"), rate), (name("update-total"), self.updated.total as f64)].into()
    }
}

/// What a stream thread counts.
pub(crate) struct ThreadCounters {
    thread: String,
    sampling: Sampling,
    processed: Meter,
    committed: Meter,
}

impl ThreadCounters {
    pub(crate) fn new(config: &StreamsConfig, thread: &str) -> Self {
        let sampling = Sampling::of(config);
        ThreadCounters { thread: thread.to_owned(), sampling, processed: Meter::default(), committed: Meter::default() }
    }

    pub(crate) fn thread(&self) -> &str {
        &self.thread
    }

    pub(crate) fn processed(&mut self, records: usize, now: i64) {
        if records > 0 {
            self.processed.record(records as u64, now, self.sampling);
        }
    }

    pub(crate) fn committed(&mut self, now: i64) {
        self.committed.record(1, now, self.sampling);
    }

    pub(crate) fn all(&self, now: i64) -> BTreeMap<MetricName, f64> {
        let meters =
            [("process-rate", "process-total", &self.processed), ("commit-rate", "commit-total", &self.committed)];
        let values = meters
            .into_iter()
            .flat_map(|(rate, total, meter)| [(rate, meter.rate(now, self.sampling)), (total, meter.total as f64)]);
        let name = |name| {
            let tags = BTreeMap::from([("thread-id", self.thread.clone())]);
            MetricName { name, group: "stream-thread-metrics", tags }
        };
        values.map(|(metric, value)| (name(metric), value)).collect()
    }
}

/// What Kafka's clients count as the size of a record.
pub(crate) fn record_size(key: Option<&[u8]>, value: Option<&[u8]>, topic: &str, headers: &Headers) -> u64 {
    // Timestamp, offset and partition.
    let fixed = 8 + 8 + 4;
    let headers = headers.iter().map(|header| header.key.len() + header.value.as_ref().map_or(0, bytes::Bytes::len));
    let bytes =
        fixed + topic.len() + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + headers.sum::<usize>();
    bytes as u64
}

#[cfg(test)]
mod tests {
    use super::{Meter, Sampling};

    #[test]
    fn rates_are_over_the_last_windows() {
        let sampling = Sampling { samples: 2, window_ms: 30_000 };
        let mut meter = Meter::default();
        meter.record(3, 0, sampling);
        assert_eq!(meter.rate(0, sampling), 0.1, "three in a window of 30 s");
        meter.record(3, 30_000, sampling);
        assert_eq!(meter.rate(45_000, sampling), 6.0 / 45.0);
        assert_eq!(meter.rate(60_000, sampling), 3.0 / 30.0, "the first window is over");
        assert_eq!(meter.rate(200_000, sampling), 0.0);
        assert_eq!(meter.total, 6);
    }
}
