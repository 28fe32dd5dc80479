//! The sender: which batches go to which broker when, and what becomes of them.
//!
//! A state machine without socket and clock: [`Sender::poll`] says what is to be done now, the answers come back by
//! [`Sender::answered`]. The rules of idempotence are Kafka's: sequence numbers per partition, at most five requests
//! without an answer, a batch that has to be sent again goes out alone and in its order, and a gap that cannot be closed
//! begins a new epoch (KIP-98, KIP-360).

mod first_request;
mod outcome;
mod request;
mod tracker;
mod transactional;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use vltava_protocol::ErrorCode;
use vltava_protocol::record::Compressor;

use super::accumulator::Accumulator;
use super::batch::Batch;
use super::transaction::calls::Call;
use super::transaction::manager::{TransactionVersion, View};
use crate::config::{Acks, exponential};
use crate::error::ClientError;

use first_request::PauseAfterEnd;
pub(crate) use outcome::PartitionOutcome;
use request::Taken;
pub(crate) use tracker::Identity;
use tracker::Tracker;

/// The broker remembers this many batches per producer and partition. If more went out behind one without an answer, as to
/// another leader, it could not tell any more whether it has that one.
const MAX_WINDOW: u64 = 5;

/// The order of the first batch that is sent. Those that were not sent have 0.
const FIRST_ORDER: u64 = 1;

/// How soon it is asked again whether requests may be sent, while they may not.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

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
    /// Send batches, then [`Sender::answered`] with one outcome for each. `version` is that of the transaction they belong to.
    Produce { request: u64, node: i32, parts: Vec<Part>, version: Option<TransactionVersion> },
    /// Get a producer id, then [`Sender::identified`].
    InitProducerId,
    /// Send a request to a coordinator, then [`Sender::coordinated`].
    Coordinate(Call),
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
    sent_at: Instant,
    /// Whether none was sent before in its transaction.
    is_first: bool,
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
    identity: Option<Identity>,
    init: Init,
    /// Where the transactions stand, for a producer with `transactional.id`.
    transaction: Option<View>,
    pause_after_end: PauseAfterEnd,
    /// The number of the last transaction of which batches were sent.
    last_sent: u64,
    /// When a coordinator was last asked.
    called_at: Option<Instant>,
    /// Partitions whose batches have to be numbered anew under a new epoch.
    rewrite: BTreeSet<u64>,
    refresh: BTreeSet<Arc<str>>,
    fatal: Option<ClientError>,
    /// Records of earlier eras are discarded.
    era: u64,
    /// Said once that what is held back takes all memory.
    has_warned: bool,
    deadline: Option<Instant>,
    /// When it was called last.
    called: Option<Instant>,
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
            next_order: FIRST_ORDER,
            identity: None,
            init: Init::default(),
            transaction: None,
            pause_after_end: PauseAfterEnd::default(),
            last_sent: 0,
            called_at: None,
            rewrite: BTreeSet::new(),
            refresh: BTreeSet::new(),
            fatal: None,
            era: 0,
            has_warned: false,
            deadline: None,
            called: None,
        }
    }

    /// What is to be done now. Call it again after an answer, when the accumulator says so, when the metadata has changed,
    /// and at the [deadline](Self::deadline).
    pub(crate) fn poll(&mut self, now: Instant, leaders: &impl Leaders) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.deadline = None;
        self.called = Some(now);
        self.take_activated();
        self.follow_transaction();
        if let Some(error) = self.fatal.clone() {
            self.fail_all(&error);
        }
        self.discard();
        self.note_released();
        self.expire(now);
        self.settle_sequences();
        self.give_up_held();
        self.drain(now, leaders, &mut effects);
        if self.needs_identity(now) {
            effects.push(Effect::InitProducerId);
        }
        effects.extend(self.coordinate(now));
        effects.extend(std::mem::take(&mut self.refresh).into_iter().map(Effect::RefreshMetadata));
        effects
    }

    /// When to poll at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Nothing is queued and nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.active.is_empty() && self.requests.is_empty() && self.is_transaction_over()
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

    /// Fills requests as long as a broker takes one and has a batch that is due.
    fn drain(&mut self, now: Instant, leaders: &impl Leaders, effects: &mut Vec<Effect>) {
        let lanes = self.lanes(now, leaders);
        if !lanes.is_empty() && !self.accumulator.permit.may_send() {
            return self.wake_at(now + LOOK_AGAIN);
        }
        self.release_if_stuck();
        let released = self.accumulator.pending.released_below();
        let mut blocked = BTreeSet::new();
        for (&(node, is_held), partitions) in &lanes {
            while let Some(plan) = self.plan(now, node, is_held, partitions, released) {
                self.connect(node, effects);
                if !self.can_take(node) {
                    blocked.insert(node);
                    break;
                }
                let Taken::Some(effect) = self.fill_request(now, node, &plan, released) else { break };
                effects.extend(effect);
            }
        }
        for (node, _) in lanes.into_keys() {
            let node = (node, self.nodes.entry(node).or_default());
            if blocked.contains(&node.0) {
                node.1.blocked_since.get_or_insert(now);
            } else {
                node.1.blocked_since = None;
            }
        }
    }

    /// Memory that is held back is not given back before the next barrier, and whoever waits for memory may be the one who
    /// would set it.
    fn release_if_stuck(&mut self) {
        let pending = &self.accumulator.pending;
        let is_stuck = pending.is_used()
            && self.accumulator.memory.has_waiters()
            && self.requests.is_empty()
            && pending.has_held_since_barrier()
            && !pending.has_open();
        if is_stuck {
            if !std::mem::replace(&mut self.has_warned, true) {
                tracing::warn!(
                    "`buffer.memory` is used up by records that are held back until the next barrier: they are let go \
                     before it. Raise `buffer.memory` above what one unit of work writes"
                );
            }
            pending.barrier();
        }
    }

    /// After closing there will be no barrier any more.
    fn give_up_held(&self) {
        let pending = &self.accumulator.pending;
        if self.accumulator.is_closed() && pending.is_used() && !pending.has_open() {
            self.accumulator.discard_all_held();
        }
    }

    fn connect(&mut self, node: i32, effects: &mut Vec<Effect>) {
        let state = self.nodes.entry(node).or_default();
        if state.link == Link::Down {
            state.link = Link::Connecting;
            effects.push(Effect::Connect(node));
        }
    }

    fn can_take(&self, node: i32) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.link == Link::Up && node.in_flight < self.settings.max_in_flight)
    }

    /// The active partitions by leader, those that are held back apart. Forgets partitions that have nothing.
    fn lanes(&mut self, now: Instant, leaders: &impl Leaders) -> BTreeMap<(i32, bool), Vec<u64>> {
        let mut lanes: BTreeMap<(i32, bool), Vec<u64>> = BTreeMap::new();
        for id in std::mem::take(&mut self.active) {
            if self.forget_if_done(id) {
                continue;
            }
            self.active.push(id);
            let Some(queue) = self.trackers.get(&id).map(|tracker| Arc::clone(&tracker.queue)) else { continue };
            let leader = leaders.leader(&queue.topic, queue.partition);
            queue.available.store(self.is_available(now, leader), Ordering::Relaxed);
            match leader {
                Leader::Node(node) => {
                    self.accumulator.assign(&queue, node);
                    lanes.entry((node, queue.is_held())).or_default().push(id);
                }
                Leader::Unknown => {
                    self.refresh.insert(Arc::clone(&queue.topic));
                }
                Leader::Refused(code) => self.refuse(id, &ClientError::broker(code)),
            }
        }
        lanes
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
        let is_done = tracker.entries.is_empty() && tracker.queue.is_done();
        tracker.is_listed = !is_done;
        is_done
    }

    /// What was held back and may go now can be too old, whether or not there is a broker to send it to.
    fn note_released(&mut self) {
        let pending = &self.accumulator.pending;
        if !pending.is_used() {
            return;
        }
        let released = pending.released_below();
        for id in &self.active {
            let Some(tracker) = self.trackers.get_mut(id) else { continue };
            let epoch = tracker.queue.peek().and_then(|head| head.held_epoch);
            if epoch.is_some_and(|epoch| epoch < released) {
                tracker.is_released = true;
            }
        }
    }

    /// Gives up what was taken and is not acknowledged when its era is over. Those on their way may be written or not.
    fn discard(&mut self) {
        let era = self.accumulator.permit.era();
        if std::mem::replace(&mut self.era, era) == era {
            return;
        }
        let mut discarded = Vec::new();
        for (id, batch) in self.requests.values_mut().flat_map(|request| &mut request.batches) {
            if batch.as_ref().is_some_and(|batch| batch.era < era) {
                discarded.extend(batch.take().map(|batch| (*id, batch)));
            }
        }
        for id in &self.active {
            let Some(tracker) = self.trackers.get_mut(id) else { continue };
            let (over, rest) = tracker.retries.drain(..).partition(|batch| batch.era < era);
            tracker.retries = rest;
            discarded.extend(Vec::from(over).into_iter().map(|batch| (*id, batch)));
        }
        for (id, batch) in discarded {
            if let Some(tracker) = self.trackers.get_mut(&id) {
                tracker.lose(batch.order);
            }
            self.accumulator.discard(batch);
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
            while tracker.queued_since().is_some_and(|since| since + timeout <= now) {
                tracker.is_released = false;
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
            let queued = tracker.queued_since();
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
        // A transaction with a gap is aborted, and the next one has another epoch.
        if !self.settings.idempotent || self.is_transactional() {
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
        let has_one = self.identity.is_some() || self.is_transactional();
        if !self.settings.idempotent || has_one || self.active.is_empty() {
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
        self.accumulator.transact(|manager| manager.die(error.clone()));
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

#[cfg(test)]
mod tests;
