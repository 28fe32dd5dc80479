//! What the sender knows of one partition: batches that were sent and are not over, and their sequence numbers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use vltava_protocol::record::{ProducerState, increment_sequence};

use crate::producer::accumulator::PartitionQueue;
use crate::producer::batch::Batch;

/// A producer id with its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// A batch that was sent at least once and is not over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// The batch's `order`.
    pub(crate) order: u64,
    /// How many batches of the partition were sent before it.
    ordinal: u64,
    pub(crate) sequence: i32,
    pub(crate) count: i32,
    /// Whether its numbers were changed while it was on the wire with the old ones.
    pub(crate) was_reset: bool,
    /// Whether an answer is awaited.
    pub(crate) on_wire: bool,
    /// Refused for good: its numbers are a gap. It stays until the batches before it are over, for only then may those
    /// behind it be numbered anew; one before it may be written already, and must go out again with its own number.
    pub(crate) is_gap: bool,
    /// It or one before it was refused for a reason of the partition: others do not wait for it.
    is_apart: bool,
}

/// One partition.
#[derive(Debug)]
pub(crate) struct Tracker {
    pub(crate) queue: Arc<PartitionQueue>,
    /// Whether it is among the sender's active partitions.
    pub(crate) is_listed: bool,
    /// In the order in which their records were given to the producer.
    pub(crate) entries: VecDeque<Entry>,
    /// Batches to be sent again, in that order too.
    pub(crate) retries: VecDeque<Batch>,
    /// Under which the sequence numbers count.
    pub(crate) identity: Option<Identity>,
    /// How many batches were sent.
    admitted: u64,
    next_sequence: i32,
    last_acknowledged: i32,
    /// To which node the last batch was sent.
    node: i32,
    /// Whether the first batch of the queue was held back and may go.
    pub(crate) is_released: bool,
    /// A batch was given up whose fate is not known: nothing new until the others are over.
    pub(crate) is_unresolved: bool,
    /// The last transaction that the partition was added to.
    pub(crate) transaction: u64,
    /// Whether the broker knows the producer by an epoch before this one, of the same producer id.
    was_known: bool,
}

impl Tracker {
    pub(crate) fn new(queue: Arc<PartitionQueue>) -> Self {
        Self {
            queue,
            is_listed: false,
            entries: VecDeque::new(),
            retries: VecDeque::new(),
            identity: None,
            admitted: 0,
            next_sequence: 0,
            last_acknowledged: -1,
            node: -1,
            is_released: false,
            is_unresolved: false,
            transaction: 0,
            was_known: false,
        }
    }

    /// Numbers a batch that is sent for the first time.
    pub(crate) fn admit(&mut self, order: u64, count: i32) {
        let sequence = if self.identity.is_some() { self.next_sequence } else { -1 };
        let ordinal = self.admitted;
        self.admitted += 1;
        self.entries.push_back(Entry {
            order,
            ordinal,
            sequence,
            count,
            was_reset: false,
            on_wire: false,
            is_gap: false,
            is_apart: false,
        });
        self.next_sequence = increment_sequence(self.next_sequence, count);
    }

    /// The producer state with which a batch goes on the wire; notes that it does.
    pub(crate) fn send(&mut self, order: u64, node: i32) -> ProducerState {
        self.node = node;
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.order == order) else {
            return ProducerState::NONE;
        };
        entry.on_wire = true;
        entry.was_reset = false;
        match self.identity {
            Some(identity) => ProducerState::idempotent(identity.id, identity.epoch, entry.sequence),
            None => ProducerState::NONE,
        }
    }

    /// The answer for a batch is there.
    pub(crate) fn answered(&mut self, order: u64) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.order == order) {
            entry.on_wire = false;
        }
    }

    /// The batch is written.
    pub(crate) fn acknowledge(&mut self, order: u64) {
        if let Some(entry) = self.remove(order)
            && entry.sequence >= 0
        {
            self.last_acknowledged =
                self.last_acknowledged.max(increment_sequence(entry.sequence, entry.count.saturating_sub(1)));
            if increment_sequence(self.last_acknowledged, 1) < entry.sequence {
                // The numbers went over 2^31 - 1.
                self.last_acknowledged = increment_sequence(entry.sequence, entry.count.saturating_sub(1));
            }
        }
    }

    /// The batch was refused for good, and not written.
    pub(crate) fn refused(&mut self, order: u64) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.order == order) {
            entry.is_gap = true;
            entry.on_wire = false;
        }
    }

    /// Whether the broker waits for numbers that will not come.
    pub(crate) fn begins_with_gap(&self) -> bool {
        self.entries.front().is_some_and(|entry| entry.is_gap)
    }

    pub(crate) fn has_gap(&self) -> bool {
        self.entries.iter().any(|entry| entry.is_gap)
    }

    pub(crate) fn remove(&mut self, order: u64) -> Option<Entry> {
        let position = self.entries.iter().position(|entry| entry.order == order)?;
        self.entries.remove(position)
    }

    /// A batch is given up whose fate is not known: nothing new goes out until it is clear what the broker has.
    pub(crate) fn lose(&mut self, order: u64) {
        if self.remove(order).is_some() {
            self.is_unresolved = true;
        }
    }

    /// Replaces a batch by parts that together have its sequence numbers.
    pub(crate) fn replace(&mut self, order: u64, parts: impl Iterator<Item = (u64, i32)>) {
        let Some(position) = self.entries.iter().position(|entry| entry.order == order) else { return };
        let Some(whole) = self.entries.remove(position) else { return };
        let mut sequence = whole.sequence;
        for (offset, (order, count)) in parts.enumerate() {
            let entry = Entry { order, sequence, count, on_wire: false, ..whole };
            self.entries.insert(position + offset, entry);
            if sequence >= 0 {
                sequence = increment_sequence(sequence, count);
            }
        }
    }

    /// Puts a batch among those to be sent again, at its place.
    pub(crate) fn retry(&mut self, batch: Batch) {
        let place = |order: u64| self.entries.iter().position(|entry| entry.order == order);
        let mine = place(batch.order);
        let position = self.retries.iter().position(|other| place(other.order) > mine);
        self.retries.insert(position.unwrap_or(self.retries.len()), batch);
    }

    /// The broker refused a batch for a reason of the partition: it may take its time.
    pub(crate) fn set_apart(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.is_apart = true);
    }

    /// Whether the partition has a trouble of its own, for which others at this node do not wait.
    pub(crate) fn is_apart(&self, node: i32) -> bool {
        self.is_unresolved
            || self.entries.iter().any(|entry| entry.is_apart || entry.is_gap || entry.on_wire && self.node != node)
    }

    /// Since when the first batch of the queue waits for being sent; `None` if there is none, or it may not go yet.
    ///
    /// What was held back waits since it was given, and not since it may go: a process that was stopped for longer than
    /// `delivery.timeout.ms` must not send it behind what others have written meanwhile.
    pub(crate) fn queued_since(&self) -> Option<Instant> {
        let head = self.queue.peek()?;
        let is_held = head.held_epoch.is_some() && !self.is_released;
        (!is_held).then_some(head.created)
    }

    /// Whether the broker knows the producer in this partition, for it has acknowledged a batch of it: then it takes no number
    /// but the next one.
    pub(crate) fn is_known(&self) -> bool {
        self.was_known || self.last_acknowledged >= 0
    }

    /// How many batches were sent from the oldest one on that is not over, whatever became of the others.
    pub(crate) fn window(&self) -> u64 {
        self.entries.front().map_or(0, |oldest| self.admitted - oldest.ordinal)
    }

    /// Whether all numbers that were given out are acknowledged.
    pub(crate) fn is_contiguous(&self) -> bool {
        let expected = if self.last_acknowledged >= 0 { increment_sequence(self.last_acknowledged, 1) } else { 0 };
        self.next_sequence == expected
    }

    /// Counts from 0 under the identity of the next transactions, when no batch is open.
    pub(crate) fn start_next_epoch(&mut self, identity: Identity) {
        let is_same = self.identity.is_some_and(|before| before.id == identity.id);
        self.was_known = is_same && self.is_known();
        self.start_at_beginning(identity);
    }

    /// Counts from 0 under another identity, the batches that are not over first.
    pub(crate) fn start_at_beginning(&mut self, identity: Identity) {
        self.identity = Some(identity);
        self.last_acknowledged = -1;
        self.is_unresolved = false;
        let mut sequence = 0;
        self.entries.retain(|entry| !entry.is_gap);
        for entry in &mut self.entries {
            entry.sequence = sequence;
            entry.was_reset |= entry.on_wire;
            sequence = increment_sequence(sequence, entry.count);
        }
        self.next_sequence = sequence;
    }
}
