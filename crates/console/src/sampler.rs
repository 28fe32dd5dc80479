//! Numbers that move: where partitions end, and how fast that grows.
//!
//! A sample is of all topics. It is taken when somebody asks, and serves everyone who asks within the next two seconds, or
//! within ten times the time that it took: of a large cluster less is asked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use vltava_client::admin::{OffsetSpec, TopicDescription};
use vltava_client::config::IsolationLevel;
use vltava_client::net::Node;
use vltava_client::{Admin, ClientError, TopicPartition};

use crate::clock::now_ms;

/// How long a sample serves at least.
const SERVES: Duration = Duration::from_secs(2);

/// A sample serves this many times as long as it took.
const SHARE: u32 = 10;

/// Rates are over this time.
const WINDOW: Duration = Duration::from_secs(10);

/// The cluster at one time.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) taken: Instant,
    /// How long it took.
    took: Duration,
    /// The same as time of day, in ms since the epoch.
    pub(crate) at_ms: i64,
    pub(crate) cluster_id: String,
    pub(crate) controller: Option<i32>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) topics: BTreeMap<String, Result<TopicDescription, ClientError>>,
    /// Where partitions end, or why that is not known; one without a leader is not asked for.
    pub(crate) ends: BTreeMap<TopicPartition, Result<i64, ClientError>>,
}

impl Sample {
    /// The topics that can be described.
    pub(crate) fn described(&self) -> impl Iterator<Item = &TopicDescription> {
        self.topics.values().filter_map(|topic| topic.as_ref().ok())
    }
}

/// A sample, and what has come since an earlier one.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) newest: Arc<Sample>,
    oldest: Arc<Sample>,
}

impl View {
    /// Records in a second by topic, where any came; `None` before there are two samples. Those that a transaction or
    /// compaction left out count as well: offsets do.
    pub(crate) fn rates(&self) -> Option<BTreeMap<&str, f64>> {
        let seconds = self.newest.taken.duration_since(self.oldest.taken).as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let mut rates = BTreeMap::new();
        for (partition, end) in &self.newest.ends {
            let (Ok(end), Some(Ok(before))) = (end, self.oldest.ends.get(partition)) else { continue };
            // A topic that was deleted and made anew begins at zero.
            if end > before {
                *rates.entry(partition.topic()).or_insert(0.0) += (end - before) as f64 / seconds;
            }
        }
        Some(rates)
    }
}

/// Who takes samples.
#[derive(Debug)]
pub(crate) struct Sampler {
    admin: Admin,
    taken: Mutex<Taken>,
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Taken {
    samples: VecDeque<Arc<Sample>>,
    /// When and why the last one could not be taken.
    failure: Option<(Instant, ClientError)>,
}

impl Sampler {
    pub(crate) fn new(admin: Admin) -> Self {
        Self { admin, taken: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// A sample that still serves, or a new one.
    pub(crate) async fn view(&self) -> Result<View, ClientError> {
        if let Some(view) = self.serving(Instant::now()) {
            return view;
        }
        // Who waited for another's sample takes that, and whoever could have none is not asked again for each.
        let _turn = self.turn.lock().await;
        if let Some(view) = self.serving(Instant::now()) {
            return view;
        }
        let sample = self.take().await;
        let mut taken = self.taken.lock();
        match sample {
            Ok(sample) => Ok(taken.add(sample)),
            Err(error) => {
                taken.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn serving(&self, now: Instant) -> Option<Result<View, ClientError>> {
        let taken = self.taken.lock();
        if let Some((at, error)) = &taken.failure {
            return (now.duration_since(*at) < SERVES).then(|| Err(error.clone()));
        }
        let (oldest, newest) = (taken.samples.front()?, taken.samples.back()?);
        let is_fresh = now.duration_since(newest.taken) < SERVES.max(newest.took * SHARE);
        is_fresh.then(|| Ok(View { newest: Arc::clone(newest), oldest: Arc::clone(oldest) }))
    }

    /// Takes a sample, whose time is that of the last answer.
    async fn take(&self) -> Result<Sample, ClientError> {
        let begun = Instant::now();
        let cluster = self.admin.describe_cluster().await?;
        let names: Vec<String> = self.admin.list_topics().await?.into_keys().collect();
        let topics = self.admin.describe_topics(names).await;
        let wanted = topics.values().filter_map(|topic| topic.as_ref().ok()).flat_map(|topic| {
            let led = topic.partitions.iter().filter(|partition| partition.leader.is_some());
            led.map(|partition| (TopicPartition::new(topic.name.as_str(), partition.partition), OffsetSpec::Latest))
        });
        let wanted: Vec<_> = wanted.collect();
        let ends = self.admin.list_offsets(wanted, IsolationLevel::ReadUncommitted).await;
        let ends = ends.into_iter().map(|(partition, found)| (partition, found.map(|found| found.offset))).collect();
        Ok(Sample {
            taken: Instant::now(),
            took: begun.elapsed(),
            at_ms: now_ms(),
            cluster_id: cluster.cluster_id,
            controller: cluster.controller,
            nodes: cluster.nodes,
            topics,
            ends,
        })
    }
}

impl Taken {
    fn add(&mut self, sample: Sample) -> View {
        let newest = Arc::new(sample);
        // Of a large cluster there are few samples in that time.
        let window = WINDOW.max(newest.took * SHARE * 2);
        while self.samples.front().is_some_and(|oldest| newest.taken.duration_since(oldest.taken) > window) {
            self.samples.pop_front();
        }
        self.samples.push_back(Arc::clone(&newest));
        self.failure = None;
        let oldest = self.samples.front().map_or_else(|| Arc::clone(&newest), Arc::clone);
        View { newest, oldest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(taken: Instant, ends: &[(&str, i32, i64)]) -> Arc<Sample> {
        let ends = ends.iter().map(|(topic, partition, end)| (TopicPartition::new(*topic, *partition), Ok(*end)));
        Arc::new(Sample {
            taken,
            took: Duration::ZERO,
            at_ms: 0,
            nodes: Vec::new(),
            controller: None,
            cluster_id: String::new(),
            topics: BTreeMap::new(),
            ends: ends.collect(),
        })
    }

    #[test]
    fn rates_are_what_came_in_between() {
        let begun = Instant::now();
        let oldest = sample(begun, &[("a", 0, 10), ("a", 1, 0), ("b", 0, 5), ("again", 0, 100)]);
        let newest = sample(
            begun + Duration::from_secs(4),
            &[("a", 0, 30), ("a", 1, 20), ("b", 0, 5), ("again", 0, 1), ("new", 0, 7)],
        );
        let view = View { newest, oldest: Arc::clone(&oldest) };
        assert_eq!(view.rates(), Some(BTreeMap::from([("a", 10.0)])));
        assert_eq!(View { newest: Arc::clone(&oldest), oldest }.rates(), None);
    }
}
