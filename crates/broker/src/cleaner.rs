//! The compaction of the logs: `log.cleaner.threads` at once, until nothing is left to do, then a pause of
//! `log.cleaner.backoff.ms`. The settings may change while the broker runs: they are looked at before each log, and now
//! and then in a pause; how fast it may be, whenever it is held up.

mod throttler;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use throttler::Throttler;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::warn;
use vltava_log::CleanerSettings;

use crate::clock;
use crate::config::BrokerConfig;
use crate::config::resolve::Sources;
use crate::metadata::MetadataStore;
use crate::partitions::Partitions;

/// Between two rounds.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// How often it is looked in a pause whether it has become shorter.
const LOOK: Duration = Duration::from_secs(1);

/// Compacts until `stop` says so.
#[derive(Debug, Clone)]
pub(crate) struct LogCleaner {
    config: Arc<BrokerConfig>,
    metadata: Arc<MetadataStore>,
    partitions: Arc<Partitions>,
    /// Of all threads; who waits holds up the others.
    throttler: Arc<Mutex<Throttler>>,
    stop: watch::Receiver<bool>,
}

/// What the settings say.
#[derive(Debug, Clone, Copy, PartialEq)]
struct CleanerConfig {
    threads: usize,
    backoff: Duration,
    /// Of one thread.
    settings: CleanerSettings,
    max_bytes_per_second: f64,
}

impl CleanerConfig {
    fn of(sources: &Sources<'_>) -> Self {
        let kafkas = CleanerSettings::default();
        let threads = sources.value("log.cleaner.threads").unwrap_or(1);
        // What is set is for all threads together.
        let part = threads.max(1);
        let dedupe = sources.value("log.cleaner.dedupe.buffer.size").unwrap_or(kafkas.dedupe_buffer_size);
        let io = sources.value("log.cleaner.io.buffer.size").unwrap_or(kafkas.io_buffer_size);
        let load_factor = sources.value("log.cleaner.io.buffer.load.factor");
        Self {
            threads,
            backoff: Duration::from_millis(sources.value("log.cleaner.backoff.ms").unwrap_or(15_000)),
            settings: CleanerSettings {
                dedupe_buffer_size: dedupe / part as u64,
                dedupe_buffer_load_factor: load_factor.unwrap_or(kafkas.dedupe_buffer_load_factor),
                io_buffer_size: io / part,
            },
            max_bytes_per_second: sources.value("log.cleaner.io.max.bytes.per.second").unwrap_or(f64::MAX),
        }
    }
}

impl LogCleaner {
    pub(crate) fn new(
        config: Arc<BrokerConfig>,
        metadata: Arc<MetadataStore>,
        partitions: Arc<Partitions>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let throttler = Arc::new(Mutex::new(Throttler::new(Instant::now())));
        Self { config, metadata, partitions, throttler, stop }
    }

    /// Cleans, on threads for work that waits for the disk, until the broker stops.
    pub(crate) async fn run(mut self) {
        if !self.config.log_cleaner_enable {
            return;
        }
        while self.pause().await {
            let mut threads = JoinSet::new();
            for _ in 0..self.now().threads {
                let worker = self.clone();
                threads.spawn_blocking(move || worker.clean());
            }
            while let Some(ended) = threads.join_next().await {
                if let Err(error) = ended {
                    warn!(%error, "the compaction of the logs panicked");
                }
            }
        }
    }

    fn clean(&self) {
        let settings = || self.now().settings;
        self.partitions
            .storage()
            .clean(settings, clock::wall_clock_ms, &|bytes| self.keep_to_rate(bytes), || *self.stop.borrow());
    }

    /// Waits where more is read and written than may be, until the broker stops.
    fn keep_to_rate(&self, bytes: usize) {
        let mut throttler = self.throttler.lock();
        if !throttler.observe(bytes, Instant::now()) {
            return;
        }
        while !*self.stop.borrow() {
            let left = throttler.wait(self.now().max_bytes_per_second, Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(SHORTEST_PAUSE));
        }
        throttler.begin(Instant::now());
    }

    fn now(&self) -> CleanerConfig {
        CleanerConfig::of(&self.metadata.image().sources(&self.config))
    }

    /// Waits for the next round; false when the broker stops.
    async fn pause(&mut self) -> bool {
        let begun = Instant::now();
        loop {
            let left = self.now().backoff.max(SHORTEST_PAUSE).saturating_sub(begun.elapsed());
            if left.is_zero() {
                return true;
            }
            tokio::select! {
                () = tokio::time::sleep(left.min(LOOK)) => {}
                _ = self.stop.wait_for(|stop| *stop) => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_the_memory() {
        let config = BrokerConfig::from_properties([
            ("log.cleaner.threads", "4"),
            ("log.cleaner.dedupe.buffer.size", "1000"),
            ("log.cleaner.io.buffer.size", "40000"),
            ("log.cleaner.io.buffer.load.factor", "0.5"),
            ("log.cleaner.backoff.ms", "7"),
            ("log.cleaner.io.max.bytes.per.second", "5000000"),
        ])
        .unwrap();
        let settings =
            CleanerSettings { dedupe_buffer_size: 250, dedupe_buffer_load_factor: 0.5, io_buffer_size: 10_000 };
        let backoff = Duration::from_millis(7);
        let expected = CleanerConfig { threads: 4, backoff, settings, max_bytes_per_second: 5e6 };
        assert_eq!(CleanerConfig::of(&Sources::static_only(&config)), expected);
    }

    #[test]
    fn by_default_it_is_as_kafkas() {
        let config = BrokerConfig::from_properties([("log.dirs", "data")]).unwrap();
        let settings = CleanerSettings::default();
        let backoff = Duration::from_secs(15);
        let expected = CleanerConfig { threads: 1, backoff, settings, max_bytes_per_second: f64::MAX };
        assert_eq!(CleanerConfig::of(&Sources::static_only(&config)), expected);
    }
}
