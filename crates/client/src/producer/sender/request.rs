//! Which batches go into the next request to a broker.
//!
//! What was given first must not arrive later: of the batches that were never sent, those of the oldest
//! [generation](crate::producer::lane) go, all of them, and before them nothing younger. A batch whose connection broke keeps
//! its place in that order. One that the broker refused for a reason of its partition, as having too few replicas, loses it:
//! that partition may take minutes, and holding up all others of the broker for it would be worse.

use std::sync::Arc;
use std::time::Instant;

use vltava_protocol::record::ProducerState;

use super::{Effect, MAX_WINDOW, Part, Request, Sender};
use crate::metrics::SentBatch;
use crate::producer::accumulator::Head;
use crate::producer::batch::Batch;

/// What a partition has for the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Nothing,
    /// A batch that may go. It has to, if it is due.
    Goes {
        generation: u64,
        is_due: bool,
    },
    /// A batch that may not go yet, and before which nothing of its generation or a later one may.
    Blocks {
        generation: u64,
    },
    /// As `Blocks`, until what it is held back behind is acknowledged.
    Held {
        generation: u64,
        is_due: bool,
        epoch: u64,
    },
    /// A batch that was refused and may go again, whatever else goes.
    Again,
    /// Nothing for now, and nobody has to wait.
    Aside,
}

/// What goes into one request.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Partitions whose batch goes again.
    again: Vec<u64>,
    /// Partitions with a batch of the generation.
    members: Vec<u64>,
    generation: u64,
}

/// What came of a plan.
#[derive(Debug)]
pub(super) enum Taken {
    /// None of it could be taken.
    Nothing,
    /// A request, unless all batches failed.
    Some(Option<Effect>),
}

impl Sender {
    /// What is to be sent to a node now; `None` if nothing is due. Of all `partitions`, what is held back may go if its
    /// epoch is below `released`.
    pub(super) fn plan(
        &mut self,
        now: Instant,
        node: i32,
        is_held: bool,
        partitions: &[u64],
        released: u64,
    ) -> Option<Plan> {
        let nexts: Vec<(u64, Next)> = partitions.iter().map(|id| (*id, self.next(now, node, *id, released))).collect();
        if is_held {
            self.end_held_generation(now, &nexts);
        }
        let blocked = |next: &Next| match next {
            Next::Blocks { generation } | Next::Held { generation, .. } => Some(*generation),
            _ => None,
        };
        let limit = nexts.iter().filter_map(|(_, next)| blocked(next)).min().unwrap_or(u64::MAX);
        let free = nexts.iter().filter_map(|(id, next)| match next {
            Next::Goes { generation, is_due } if *generation < limit => Some((*id, *generation, *is_due)),
            _ => None,
        });
        let mut plan = Plan::default();
        plan.again.extend(nexts.iter().filter(|(_, next)| *next == Next::Again).map(|(id, _)| *id));
        if free.clone().any(|(_, _, is_due)| is_due) {
            plan.generation = free.clone().map(|(_, generation, _)| generation).min().unwrap_or_default();
            plan.members.extend(free.filter(|one| one.1 == plan.generation).map(|(id, _, _)| id));
        }
        (!plan.again.is_empty() || !plan.members.is_empty()).then_some(plan)
    }

    /// A generation that is held back ends when it is due, so that its last epoch comes, but not before an older one has
    /// gone: what cannot go anyway may grow.
    fn end_held_generation(&mut self, now: Instant, nexts: &[(u64, Next)]) {
        let generations = nexts.iter().filter_map(|(_, next)| match next {
            Next::Goes { generation, .. } | Next::Blocks { generation } | Next::Held { generation, .. } => {
                Some(*generation)
            }
            _ => None,
        });
        let Some(oldest) = generations.min() else { return };
        let of_oldest = |next: &Next| match next {
            Next::Held { generation, is_due, epoch } if *generation == oldest => Some((*is_due, *epoch)),
            _ => None,
        };
        let held = || nexts.iter().filter_map(|(id, next)| Some((*id, of_oldest(next)?)));
        if !held().any(|(_, (is_due, _))| is_due) {
            return;
        }
        for (id, _) in held() {
            if let Some(tracker) = self.trackers.get(&id) {
                tracker.queue.close(oldest);
            }
        }
        let last = held().map(|(_, (_, epoch))| epoch).max().unwrap_or_default();
        let pending = &self.accumulator.pending;
        if last >= pending.epoch() && pending.await_barrier() > last {
            // It came in between.
            self.wake_at(now);
        }
    }

    fn next(&mut self, now: Instant, node: i32, id: u64, released: u64) -> Next {
        let Some(tracker) = self.trackers.get_mut(&id) else { return Next::Nothing };
        let is_apart = tracker.is_apart(node) || self.rewrite.contains(&id);
        if let Some(batch) = tracker.retries.front() {
            // Nothing overtakes: a batch goes out again when all before it are over.
            let is_first = tracker.entries.front().is_some_and(|entry| entry.order == batch.order);
            let in_order = self.settings.idempotent || self.settings.max_in_flight == 1;
            let generation = batch.generation;
            let pause = batch.retry_at.filter(|at| *at > now);
            let waits = in_order && !is_first || self.rewrite.contains(&id) || pause.is_some();
            if let Some(at) = pause {
                self.wake_at(at);
            }
            return match (waits, is_apart) {
                (false, false) => Next::Goes { generation, is_due: true },
                (false, true) => Next::Again,
                (true, false) => Next::Blocks { generation },
                (true, true) => Next::Aside,
            };
        }
        let Some(head) = tracker.queue.peek() else { return Next::Nothing };
        let generation = head.generation;
        let is_over = self.settings.max_in_flight > 1 || tracker.entries.is_empty();
        if head.held_epoch.is_some_and(|epoch| epoch < released) {
            tracker.is_released = true;
        }
        let is_admitted = !self.settings.idempotent || self.may_send_new(id) && self.is_in_transaction(now, id);
        if !is_over || !is_admitted {
            return if is_apart { Next::Aside } else { Next::Blocks { generation } };
        }
        let is_due = self.is_due(now, head);
        match head.held_epoch {
            Some(epoch) if epoch >= released => Next::Held { generation, is_due, epoch },
            _ => Next::Goes { generation, is_due },
        }
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
        if head.is_full || due <= now || self.accumulator.is_in_a_hurry() || self.is_committing() {
            return true;
        }
        self.wake_at(due);
        false
    }

    /// A request with the planned batches. What goes again comes first, as far as `max.request.size` allows; the generation
    /// goes whole or with the next request.
    pub(super) fn fill_request(&mut self, now: Instant, node: i32, plan: &Plan, released: u64) -> Taken {
        let limit = self.settings.max_request_size;
        let mut taken = Vec::new();
        let mut size = 0;
        for id in &plan.again {
            let next = self.next_size(*id);
            if size > 0 && size + next > limit {
                break;
            }
            size += next;
            taken.extend(self.take(*id, None, released));
        }
        let whole: usize = plan.members.iter().map(|id| self.next_size(*id)).sum();
        if size == 0 || size + whole <= limit {
            // First no record may go into it any more, or one that is given now could be in a batch that is left behind.
            for tracker in plan.members.iter().filter_map(|id| self.trackers.get(id)) {
                tracker.queue.close(plan.generation);
            }
            for id in &plan.members {
                taken.extend(self.take(*id, Some(plan.generation), released));
            }
        }
        if taken.is_empty() {
            return Taken::Nothing;
        }
        let (mut parts, mut batches) = (Vec::with_capacity(taken.len()), Vec::with_capacity(taken.len()));
        for (id, batch) in taken {
            if let Some((part, batch)) = self.number(id, node, batch) {
                self.wake_at(batch.created + self.settings.delivery_timeout);
                parts.push(part);
                batches.push((id, Some(batch)));
            }
        }
        if batches.is_empty() {
            return Taken::Some(None);
        }
        self.record_sent(now, &batches);
        let is_first = self.note_sent();
        let request = self.next_request;
        self.next_request += 1;
        self.requests.insert(request, Request { node, sent_at: now, is_first, batches });
        self.nodes.entry(node).or_default().in_flight += 1;
        let version = self.transaction.as_ref().map(|view| view.version);
        Taken::Some(Some(Effect::Produce { request, node, parts, version }))
    }

    fn record_sent(&self, now: Instant, batches: &[(u64, Option<Batch>)]) {
        let mut records = 0;
        for (id, batch) in batches {
            let (Some(batch), Some(tracker)) = (batch, self.trackers.get(id)) else { continue };
            records += batch.count();
            let (uncompressed, bytes) = batch.sizes();
            let sent = SentBatch {
                topic: &tracker.queue.topic,
                records: batch.count(),
                bytes,
                uncompressed,
                largest: batch.largest,
                queued: now.saturating_duration_since(batch.created),
            };
            self.accumulator.metrics.sent(sent, now);
        }
        self.accumulator.metrics.requested(records, now);
    }

    fn next_size(&self, id: u64) -> usize {
        let Some(tracker) = self.trackers.get(&id) else { return 0 };
        match tracker.retries.front() {
            Some(batch) => batch.size(),
            None => tracker.queue.peek().map_or(0, |head| head.size),
        }
    }

    /// Takes the partition's next batch, if it is of this generation.
    fn take(&mut self, id: u64, generation: Option<u64>, released: u64) -> Option<(u64, Batch)> {
        let tracker = self.trackers.get_mut(&id)?;
        if !tracker.retries.is_empty() {
            return tracker.retries.pop_front().map(|batch| (id, batch));
        }
        let batch = tracker.queue.pop_released(generation?, released)?;
        tracker.is_released = false;
        Some((id, batch))
    }

    /// Makes a batch ready for the wire.
    fn number(&mut self, id: u64, node: i32, mut batch: Batch) -> Option<(Part, Batch)> {
        let identity = if self.settings.idempotent { self.identity } else { None };
        let is_transactional = self.is_transactional();
        let tracker = self.trackers.get_mut(&id)?;
        if batch.attempts == 0 && !batch.is_part() {
            if let Some(identity) = identity
                && tracker.identity != Some(identity)
            {
                tracker.start_at_beginning(identity);
            }
            batch.order = self.next_order;
            self.next_order += 1;
            tracker.admit(batch.order, batch.count());
        }
        let state = tracker.send(batch.order, node);
        let state = ProducerState { is_transactional, ..state };
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
}
