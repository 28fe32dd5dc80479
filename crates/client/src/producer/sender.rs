//! The sender: which batches go to which broker when, and what becomes of them.
//!
//! A state machine without socket and clock: [`Sender::poll`] says what is to be done now, the answers come back by
//! [`Sender::answered`]. The rules of idempotence are Kafka's: sequence numbers per partition, at most five requests
//! without an answer, a batch that has to be sent again goes out alone and in its order, and a gap that cannot be closed
//! begins a new epoch (KIP-98, KIP-360).

mod outcome;
mod tracker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use vltava_protocol::ErrorCode;
use vltava_protocol::record::Compressor;

use super::accumulator::{Accumulator, Head, PartitionQueue};
use super::batch::Batch;
use crate::config::{Acks, exponential};
use crate::error::ClientError;

pub(crate) use outcome::PartitionOutcome;
pub(crate) use tracker::Identity;
use tracker::Tracker;

/// The broker remembers this many batches per producer and partition. If more went out behind one without an answer, as to
/// another leader, it could not tell any more whether it has that one.
const MAX_WINDOW: u64 = 5;

/// What the sender needs of the configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SenderSettings {
    pub(crate) acks: Acks,
    pub(crate) idempotent: bool,
    pub(crate) linger: Duration,
    pub(crate) delivery_timeout: Duration,
    pub(crate) retries: u32,
    pub(crate) retry_backoff: Duration,
    pub(crate) retry_backoff_max: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) max_request_size: usize,
    pub(crate) availability_timeout: Option<Duration>,
}

/// Who leads a partition, as far as the metadata knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leader {
    /// This broker.
    Node(i32),
    /// Not known now.
    Unknown,
    /// The topic cannot be written to.
    Refused(ErrorCode),
}

/// The sender's view of the metadata.
pub(crate) trait Leaders {
    fn leader(&self, topic: &str, partition: i32) -> Leader;
}

/// One batch of a request.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) bytes: Bytes,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Connect to a broker, then [`Sender::connected`] or [`Sender::disconnected`].
    Connect(i32),
    /// Send batches, then [`Sender::answered`] with one outcome for each.
    Produce { request: u64, node: i32, parts: Vec<Part> },
    /// Get a producer id, then [`Sender::identified`].
    InitProducerId,
    /// Read the metadata of this topic again.
    RefreshMetadata(Arc<str>),
}

#[derive(Debug, Default)]
struct Node {
    link: Link,
    in_flight: usize,
    /// Since when it could not take a batch that was ready.
    blocked_since: Option<Instant>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Link {
    #[default]
    Down,
    Connecting,
    Up,
}

#[derive(Debug)]
struct Request {
    node: i32,
    /// `None` for a batch that was given up while it was on its way.
    batches: Vec<(u64, Option<Batch>)>,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Sender {
    settings: SenderSettings,
    accumulator: Arc<Accumulator>,
    compressor: Compressor,
    trackers: HashMap<u64, Tracker, RandomState>,
    /// Partitions with batches that are queued or not over.
    active: Vec<u64>,
    nodes: BTreeMap<i32, Node>,
    requests: BTreeMap<u64, Request>,
    next_request: u64,
    next_order: u64,
    /// With which active partition the next request begins, so that none starves.
    rotation: usize,
    identity: Option<Identity>,
    init: Init,
    /// Partitions whose batches have to be numbered anew under a new epoch.
    rewrite: BTreeSet<u64>,
    refresh: BTreeSet<Arc<str>>,
    fatal: Option<ClientError>,
    deadline: Option<Instant>,
}

/// Where getting a producer id stands.
#[derive(Debug, Default)]
struct Init {
    is_asked: bool,
    attempts: u32,
    retry_at: Option<Instant>,
}

impl Sender {
    pub(crate) fn new(settings: SenderSettings, accumulator: Arc<Accumulator>) -> Self {
        Self {
            settings,
            accumulator,
            compressor: Compressor::new(),
            trackers: HashMap::default(),
            active: Vec::new(),
            nodes: BTreeMap::new(),
            requests: BTreeMap::new(),
            next_request: 0,
            next_order: 0,
            rotation: 0,
            identity: None,
            init: Init::default(),
            rewrite: BTreeSet::new(),
            refresh: BTreeSet::new(),
            fatal: None,
            deadline: None,
        }
    }

    /// What is to be done now. Call it again after an answer, when the accumulator says so, when the metadata has changed,
    /// and at the [deadline](Self::deadline).
    pub(crate) fn poll(&mut self, now: Instant, leaders: &impl Leaders) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.deadline = None;
        self.take_activated();
        if let Some(error) = self.fatal.clone() {
            self.fail_all(&error);
        }
        self.expire(now);
        self.settle_sequences();
        self.drain(now, leaders, &mut effects);
        if self.needs_identity(now) {
            effects.push(Effect::InitProducerId);
        }
        effects.extend(std::mem::take(&mut self.refresh).into_iter().map(Effect::RefreshMetadata));
        effects
    }

    /// When to poll at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Nothing is queued and nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.active.is_empty() && self.requests.is_empty()
    }

    fn take_activated(&mut self) {
        for queue in self.accumulator.take_activated() {
            let id = queue.id;
            let tracker = self.trackers.entry(id).or_insert_with(|| Tracker::new(queue));
            if !std::mem::replace(&mut tracker.is_listed, true) {
                self.active.push(id);
            }
        }
    }

    /// A broker can be sent to.
    pub(crate) fn connected(&mut self, node: i32) {
        self.nodes.entry(node).or_default().link = Link::Up;
    }

    /// A broker cannot be sent to; requests on their way are answered separately.
    pub(crate) fn disconnected(&mut self, node: i32) {
        self.nodes.entry(node).or_default().link = Link::Down;
    }

    fn wake_at(&mut self, at: Instant) {
        self.deadline = Some(self.deadline.map_or(at, |deadline| deadline.min(at)));
    }

    /// Fills requests as long as a broker takes one and has a batch that is ready.
    fn drain(&mut self, now: Instant, leaders: &impl Leaders, effects: &mut Vec<Effect>) {
        let ready = self.ready_by_node(now, leaders, effects);
        self.rotation = self.rotation.wrapping_add(1);
        for (node, mut partitions) in ready {
            let start = self.rotation % partitions.len().max(1);
            partitions.rotate_left(start);
            while self.can_take(node) {
                let Some(effect) = self.fill_request(now, node, &partitions) else { break };
                effects.push(effect);
            }
            if self.has_ready(now, &partitions) {
                self.nodes.entry(node).or_default().blocked_since.get_or_insert(now);
            } else if let Some(node) = self.nodes.get_mut(&node) {
                node.blocked_since = None;
            }
        }
    }

    /// Whether a batch of one of the partitions could be sent if only the broker took it.
    fn has_ready(&mut self, now: Instant, partitions: &[u64]) -> bool {
        partitions.iter().any(|id| self.is_ready(now, *id))
    }

    fn can_take(&self, node: i32) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.link == Link::Up && node.in_flight < self.settings.max_in_flight)
    }

    /// The active partitions that have a batch to send now, by leader. Forgets partitions that have nothing.
    fn ready_by_node(
        &mut self,
        now: Instant,
        leaders: &impl Leaders,
        effects: &mut Vec<Effect>,
    ) -> BTreeMap<i32, Vec<u64>> {
        let mut ready: BTreeMap<i32, Vec<u64>> = BTreeMap::new();
        for id in std::mem::take(&mut self.active) {
            if self.forget_if_done(id) {
                continue;
            }
            self.active.push(id);
            let is_ready = self.is_ready(now, id);
            let Some(queue) = self.trackers.get(&id).map(|tracker| Arc::clone(&tracker.queue)) else { continue };
            let leader = leaders.leader(&queue.topic, queue.partition);
            queue.available.store(self.is_available(now, leader), Ordering::Relaxed);
            match leader {
                Leader::Node(node) if is_ready => {
                    let state = self.nodes.entry(node).or_default();
                    if state.link == Link::Down {
                        state.link = Link::Connecting;
                        effects.push(Effect::Connect(node));
                    }
                    ready.entry(node).or_default().push(id);
                }
                Leader::Node(_) => {}
                Leader::Unknown => {
                    self.refresh.insert(Arc::clone(&queue.topic));
                }
                Leader::Refused(code) => self.refuse(id, &ClientError::broker(code)),
            }
        }
        ready
    }

    /// Whether records without a key may go to a partition with this leader.
    fn is_available(&self, now: Instant, leader: Leader) -> bool {
        let Leader::Node(node) = leader else { return false };
        let blocked_since = self.nodes.get(&node).and_then(|node| node.blocked_since);
        match (self.settings.availability_timeout, blocked_since) {
            (Some(timeout), Some(since)) => now.saturating_duration_since(since) < timeout,
            _ => true,
        }
    }

    fn forget_if_done(&mut self, id: u64) -> bool {
        let Some(tracker) = self.trackers.get_mut(&id) else { return true };
        // The order matters: what comes after the queue was seen empty activates the partition anew.
        let is_done = tracker.entries.is_empty() && tracker.queue.head().is_none();
        tracker.is_listed = !is_done;
        is_done
    }

    /// Whether the partition's next batch may be sent now; if only time is missing, notes until when.
    fn is_ready(&mut self, now: Instant, id: u64) -> bool {
        let Some(tracker) = self.trackers.get(&id) else { return false };
        let in_order = self.settings.idempotent || self.settings.max_in_flight == 1;
        if let Some(next) = tracker.retries.front() {
            // Nothing overtakes: a batch goes out again when all before it are over.
            let is_first = tracker.entries.front().is_some_and(|entry| entry.order == next.order);
            if in_order && !is_first || self.rewrite.contains(&id) {
                return false;
            }
            return match next.retry_at {
                Some(at) if at > now => {
                    self.wake_at(at);
                    false
                }
                _ => true,
            };
        }
        let Some(head) = tracker.queue.head_if_any() else { return false };
        let on_wire = tracker.entries.len();
        if self.settings.max_in_flight == 1 && on_wire > 0 {
            return false;
        }
        if self.settings.idempotent && !self.may_send_new(id) {
            return false;
        }
        self.is_due(now, head)
    }

    /// Whether a batch that has no sequence number yet may get one.
    fn may_send_new(&self, id: u64) -> bool {
        let (Some(tracker), Some(current)) = (self.trackers.get(&id), self.identity) else { return false };
        !tracker.is_unresolved
            && !tracker.has_gap()
            && !self.rewrite.contains(&id)
            && (tracker.entries.is_empty()
                // Batches of an older epoch have to be over first, or those of the new one would arrive before them.
                || tracker.identity == Some(current)
                    && tracker.window() < MAX_WINDOW
                    // A broker that does not know the producer takes any number as its first: with the first batch lost,
                    // the second would be written before it.
                    && tracker.is_known())
    }

    fn is_due(&mut self, now: Instant, head: Head) -> bool {
        let due = head.created + self.settings.linger;
        if head.is_full || due <= now || self.accumulator.is_in_a_hurry() {
            return true;
        }
        self.wake_at(due);
        false
    }

    /// A request to `node` with at most one batch of each partition.
    fn fill_request(&mut self, now: Instant, node: i32, partitions: &[u64]) -> Option<Effect> {
        let mut parts = Vec::new();
        let mut batches = Vec::new();
        let mut size = 0;
        for &id in partitions {
            if !self.is_ready(now, id) {
                continue;
            }
            let next = self.next_size(id);
            if !batches.is_empty() && size + next > self.settings.max_request_size {
                break;
            }
            if let Some((part, batch)) = self.take_batch(id) {
                size += part.bytes.len();
                parts.push(part);
                batches.push((id, Some(batch)));
            }
        }
        if batches.is_empty() {
            return None;
        }
        let request = self.next_request;
        self.next_request += 1;
        for created in batches.iter().filter_map(|(_, batch)| batch.as_ref()).map(|batch| batch.created) {
            self.deadline = Some(self.deadline.map_or(created + self.settings.delivery_timeout, |deadline| {
                deadline.min(created + self.settings.delivery_timeout)
            }));
        }
        self.requests.insert(request, Request { node, batches });
        self.nodes.entry(node).or_default().in_flight += 1;
        Some(Effect::Produce { request, node, parts })
    }

    fn next_size(&self, id: u64) -> usize {
        let Some(tracker) = self.trackers.get(&id) else { return 0 };
        match tracker.retries.front() {
            Some(batch) => batch.size(),
            None => tracker.queue.head_if_any().map_or(0, |head| head.size),
        }
    }

    /// Takes the partition's next batch, numbered and ready for the wire.
    fn take_batch(&mut self, id: u64) -> Option<(Part, Batch)> {
        let identity = if self.settings.idempotent { self.identity } else { None };
        let tracker = self.trackers.get_mut(&id)?;
        let mut batch = match tracker.retries.pop_front() {
            Some(batch) => batch,
            None => {
                let mut batch = tracker.queue.pop()?;
                if let Some(identity) = identity
                    && tracker.identity != Some(identity)
                {
                    tracker.start_at_beginning(identity);
                }
                batch.order = self.next_order;
                self.next_order += 1;
                tracker.admit(batch.order, batch.count());
                batch
            }
        };
        let state = tracker.send(batch.order);
        let queue = Arc::clone(&tracker.queue);
        let is_first = batch.attempts == 0;
        batch.attempts += 1;
        match batch.seal(state, &mut self.compressor) {
            Ok(bytes) => {
                if is_first {
                    let (uncompressed, compressed) = batch.sizes();
                    self.accumulator.observe_ratio(&queue, uncompressed, compressed);
                    self.accumulator.shrink(&mut batch);
                }
                let part = Part { topic: Arc::clone(&queue.topic), partition: queue.partition, bytes };
                Some((part, batch))
            }
            Err(error) => {
                self.fail(id, batch, error, false);
                None
            }
        }
    }

    /// Gives up batches that were not acknowledged in `delivery.timeout.ms`.
    fn expire(&mut self, now: Instant) {
        let timeout = self.settings.delivery_timeout;
        let is_over = |batch: &Batch| batch.created + timeout <= now;
        let mut expired = Vec::new();
        for (id, batch) in self.requests.values_mut().flat_map(|request| &mut request.batches) {
            if batch.as_ref().is_some_and(is_over) {
                expired.extend(batch.take().map(|batch| (*id, batch)));
            }
        }
        for id in &self.active {
            let Some(tracker) = self.trackers.get_mut(id) else { continue };
            while tracker.retries.front().is_some_and(is_over) {
                expired.extend(tracker.retries.pop_front().map(|batch| (*id, batch)));
            }
            while tracker.queue.head_if_any().is_some_and(|head| head.created + timeout <= now) {
                expired.extend(tracker.queue.pop().map(|batch| (*id, batch)));
            }
        }
        for (id, batch) in expired {
            let error = self.expired(id, &batch);
            // Whether it was written is not known.
            let unresolved = batch.attempts > 0;
            self.fail(id, batch, error, unresolved);
        }
        self.wake_for_expiry(now);
    }

    fn wake_for_expiry(&mut self, now: Instant) {
        let oldest = |id: &u64| {
            let tracker = self.trackers.get(id)?;
            let queued = tracker.queue.head_if_any().map(|head| head.created);
            let retried = tracker.retries.front().map(|batch| batch.created);
            queued.into_iter().chain(retried).min()
        };
        let on_wire =
            self.requests.values().flat_map(|request| &request.batches).filter_map(|(_, batch)| batch.as_ref());
        let oldest = self.active.iter().filter_map(oldest).chain(on_wire.map(|batch| batch.created)).min();
        if let Some(oldest) = oldest {
            self.wake_at((oldest + self.settings.delivery_timeout).max(now));
        }
    }

    fn expired(&self, id: u64, batch: &Batch) -> ClientError {
        let what = match self.trackers.get(&id) {
            Some(tracker) => {
                format!("delivery of {} records to {}-{}", batch.count(), tracker.queue.topic, tracker.queue.partition)
            }
            None => "delivery".to_owned(),
        };
        ClientError::timeout(what, self.settings.delivery_timeout)
    }

    /// Ends doubts about sequence numbers: with a new epoch where there is a gap.
    fn settle_sequences(&mut self) {
        if !self.settings.idempotent {
            return;
        }
        for id in &self.active {
            let Some(tracker) = self.trackers.get_mut(id) else { continue };
            if tracker.begins_with_gap() {
                self.rewrite.insert(*id);
            } else if tracker.is_unresolved && tracker.entries.is_empty() {
                if tracker.is_contiguous() {
                    tracker.is_unresolved = false;
                } else {
                    self.rewrite.insert(*id);
                }
            }
        }
        if self.rewrite.is_empty() {
            return;
        }
        let Some(current) = self.identity else { return };
        // KIP-360: an idempotent producer begins a new epoch by itself; when there is none left, as a new producer.
        let Some(epoch) = current.epoch.checked_add(1) else {
            self.identity = None;
            return;
        };
        let next = Identity { id: current.id, epoch };
        tracing::debug!(epoch, "beginning a new producer epoch");
        self.begin_identity(next);
    }

    fn begin_identity(&mut self, identity: Identity) {
        self.identity = Some(identity);
        for id in std::mem::take(&mut self.rewrite) {
            if let Some(tracker) = self.trackers.get_mut(&id) {
                tracker.start_at_beginning(identity);
            }
        }
    }

    fn needs_identity(&mut self, now: Instant) -> bool {
        if !self.settings.idempotent || self.identity.is_some() || self.active.is_empty() {
            return false;
        }
        if self.init.is_asked {
            return false;
        }
        if let Some(at) = self.init.retry_at.filter(|at| *at > now) {
            self.wake_at(at);
            return false;
        }
        self.init.is_asked = true;
        true
    }

    /// The answer to [`Effect::InitProducerId`].
    pub(crate) fn identified(&mut self, now: Instant, result: Result<Identity, ClientError>) {
        self.init.is_asked = false;
        match result {
            Ok(identity) => {
                self.init = Init::default();
                self.begin_identity(identity);
            }
            Err(error) if error.is_retriable() => {
                let pause =
                    exponential(self.settings.retry_backoff, self.settings.retry_backoff_max, self.init.attempts);
                self.init.attempts = self.init.attempts.saturating_add(1);
                self.init.retry_at = Some(now + pause);
            }
            Err(error) => self.fatal = Some(error),
        }
    }

    /// Fails whatever is queued or to be sent again.
    pub(crate) fn fail_all(&mut self, error: &ClientError) {
        for id in self.active.clone() {
            self.refuse(id, error);
        }
    }

    /// As [`fail_all`](Self::fail_all), also what is on its way.
    pub(crate) fn abandon(&mut self, error: &ClientError) {
        self.take_activated();
        self.fail_all(error);
        let on_wire: Vec<(u64, Batch)> = self
            .requests
            .values_mut()
            .flat_map(|request| &mut request.batches)
            .filter_map(|(id, batch)| Some((*id, batch.take()?)))
            .collect();
        for (id, batch) in on_wire {
            self.fail(id, batch, error.clone(), true);
        }
    }

    fn refuse(&mut self, id: u64, error: &ClientError) {
        let mut refused = Vec::new();
        if let Some(tracker) = self.trackers.get_mut(&id) {
            refused.extend(tracker.retries.drain(..));
            refused.extend(std::iter::from_fn(|| tracker.queue.pop()));
        }
        for batch in refused {
            let unresolved = batch.attempts > 0;
            self.fail(id, batch, error.clone(), unresolved);
        }
    }
}

/// The queue's head without forgetting the partition.
impl PartitionQueue {
    fn head_if_any(&self) -> Option<Head> {
        if self.is_empty() { None } else { self.head() }
    }
}

#[cfg(test)]
mod tests;
