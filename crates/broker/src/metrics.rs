//! What the broker counts, under Kafka's names, and as text for Prometheus in the form of the JMX exporter.
//!
//! - `definitions`: the tables of all metrics.
//! - `requests`, `topics`, `listeners`: what is counted where it happens, once per request or batch and without a lock.
//! - `flushes`: how long disks take; `groups`: what the coordinators have.
//! - `page`: the text, piece by piece. What lasts is looked up for it: the sizes of logs, what the metadata says.
//! - `process`: what the process takes.
//!
//! A series is there as long as what it describes: that of a topic goes with the topic.

pub mod definitions;
mod flushes;
mod groups;
mod listeners;
mod page;
mod process;
mod requests;
mod topics;

use std::sync::{Arc, OnceLock};

use tokio::sync::Semaphore;
use vltava_metrics::{Counter, MetricConfig, Registry, Tags};

pub(crate) use self::flushes::FlushTimes;
pub(crate) use self::listeners::ListenerMetrics;
pub(crate) use self::page::{Looks, Page};
pub(crate) use self::requests::{RequestMetrics, Spent, timed};
pub(crate) use self::topics::{TopicCounters, TopicMetrics};

/// What a broker counts.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) requests: RequestMetrics,
    /// Of all topics, also those that are gone.
    pub(crate) topics: Arc<TopicCounters>,
    /// Connections that were closed because nothing moved.
    expired: Arc<Counter>,
    /// The places of `queued.max.requests`, and how many there are.
    places: OnceLock<(Arc<Semaphore>, usize)>,
    pub(crate) flushes: Arc<FlushTimes>,
    registry: Registry,
}

impl Metrics {
    pub(crate) fn new(config: MetricConfig) -> Self {
        let registry = Registry::new("kafka.server", config, Tags::default());
        Self {
            requests: RequestMetrics::default(),
            topics: Arc::default(),
            expired: Arc::default(),
            places: OnceLock::new(),
            flushes: Arc::default(),
            registry,
        }
    }

    /// Tells of the places of requests from now on, all of which are free.
    pub(crate) fn follow_places(&self, places: &Arc<Semaphore>) {
        // They are those of the one network there is.
        let _ = self.places.set((Arc::clone(places), places.available_permits()));
    }

    /// How many requests have a place.
    fn places_taken(&self) -> usize {
        self.places.get().map_or(0, |(places, all)| all.saturating_sub(places.available_permits()))
    }

    /// Of a listener, as long as somebody has it.
    pub(crate) fn listener(&self, name: &str) -> Arc<ListenerMetrics> {
        Arc::new(ListenerMetrics::new(&self.registry, &self.expired, name))
    }
}
