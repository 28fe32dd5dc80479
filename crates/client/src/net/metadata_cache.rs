//! The current metadata, which topics it is about, and when it has to be read again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};

use super::metadata::{LeaderUpdate, MetadataSnapshot, Node};
use super::troubles::{Trouble, Troubles};

/// Metadata with what is needed to keep it fresh.
#[derive(Debug)]
pub(crate) struct MetadataCache {
    snapshot: RwLock<Arc<MetadataSnapshot>>,
    interest: Mutex<Interest>,
    version: watch::Sender<u64>,
    /// Told when an update is wanted before the metadata is too old.
    pub(crate) wanted: Arc<Notify>,
    /// Told when an update is wanted for topics that nothing is known of.
    pub(crate) hurried: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Interest {
    all_topics: bool,
    topics: HashMap<Arc<str>, Option<Instant>>,
    update_requested: bool,
    last_success: Option<Instant>,
    troubles: Troubles,
}

impl Interest {
    fn has_troubles(&self) -> bool {
        !self.all_topics && !self.troubles.is_empty()
    }
}

impl MetadataCache {
    pub(crate) fn new() -> Self {
        Self {
            snapshot: RwLock::default(),
            interest: Mutex::default(),
            version: watch::Sender::new(0),
            wanted: Arc::default(),
            hurried: Arc::default(),
        }
    }

    pub(crate) fn snapshot(&self) -> Arc<MetadataSnapshot> {
        Arc::clone(&self.snapshot.read())
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Adds a topic. With `used_at` it is forgotten when it was not used for a while, else it stays.
    ///
    /// Says whether the topic is new.
    pub(crate) fn track(&self, topic: &str, used_at: Option<Instant>) -> bool {
        let mut interest = self.interest.lock();
        if let Some(used) = interest.topics.get_mut(topic) {
            *used = used_at;
            return false;
        }
        interest.topics.insert(Arc::from(topic), used_at);
        true
    }

    pub(crate) fn untrack(&self, topic: &str) {
        self.interest.lock().topics.remove(topic);
    }

    pub(crate) fn track_all(&self, all: bool) {
        self.interest.lock().all_topics = all;
    }

    /// Forgets topics that were not used since `since`.
    pub(crate) fn forget_unused(&self, since: Instant) {
        self.interest.lock().topics.retain(|_, used| used.is_none_or(|used| used >= since));
    }

    /// The topics to ask for; `None` for all.
    pub(crate) fn topics(&self) -> Option<Vec<Arc<str>>> {
        let interest = self.interest.lock();
        if interest.all_topics {
            return None;
        }
        let mut topics: Vec<Arc<str>> = interest.topics.keys().cloned().collect();
        topics.sort_unstable();
        Some(topics)
    }

    /// Asks for an update soon.
    pub(crate) fn request_update(&self) {
        self.interest.lock().update_requested = true;
        self.wanted.notify_one();
    }

    /// Asks for an update now.
    pub(crate) fn hurry(&self) {
        self.request_update();
        self.hurried.notify_one();
    }

    /// Tells whoever waits for new metadata to look at the cluster.
    pub(crate) fn tell(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    /// How long the metadata may stay as it is.
    pub(crate) fn fresh_for(&self, now: Instant, max_age: Duration) -> Duration {
        let interest = self.interest.lock();
        match interest.last_success {
            _ if interest.update_requested || interest.has_troubles() => Duration::ZERO,
            Some(at) => max_age.saturating_sub(now.saturating_duration_since(at)),
            None => max_age,
        }
    }

    /// Without an update for how long; `None` before the first.
    pub(crate) fn age(&self, now: Instant) -> Option<Duration> {
        self.interest.lock().last_success.map(|at| now.saturating_duration_since(at))
    }

    /// An update is under way: requests for one made before are served by it.
    pub(crate) fn begin_update(&self) {
        self.interest.lock().update_requested = false;
    }

    pub(crate) fn replace(&self, next: MetadataSnapshot, now: Instant) -> Arc<MetadataSnapshot> {
        let next = Arc::new(next);
        *self.snapshot.write() = Arc::clone(&next);
        let mut interest = self.interest.lock();
        interest.last_success = Some(now);
        // Of all topics, most are not in use.
        let told = if interest.all_topics { Vec::new() } else { interest.troubles.update(&next, now) };
        if interest.has_troubles() {
            self.wanted.notify_one();
        }
        drop(interest);
        for Trouble { topic, partition, code } in told {
            match partition {
                None => tracing::warn!(%topic, "cannot be used: {code}: {}", code.message()),
                Some(partition) => tracing::warn!(%topic, partition, "cannot be used: {code}: {}", code.message()),
            }
        }
        self.version.send_modify(|version| *version += 1);
        next
    }

    /// Whether a topic in use cannot be used, so that the metadata has to be read again soon.
    pub(crate) fn has_troubles(&self) -> bool {
        self.interest.lock().has_troubles()
    }

    /// Takes in leaders that an answer told (KIP-951). Says whether one was new.
    pub(crate) fn update_leaders(&self, leaders: &[LeaderUpdate], nodes: &[Node]) -> bool {
        let mut snapshot = self.snapshot.write();
        let Some(next) = snapshot.with_leaders(leaders, nodes) else { return false };
        *snapshot = Arc::new(next);
        drop(snapshot);
        self.version.send_modify(|version| *version += 1);
        true
    }
}
