//! What transactions ask of the sender: batches wait until their partition belongs to the transaction, an end waits until
//! all of them are over, and what cannot be part of it any more is given up.

use std::sync::Arc;
use std::time::Instant;

use super::{Effect, Sender};
use crate::error::ClientError;
use crate::producer::transaction::calls::{Answer, NoAnswer, PartitionOfTransaction};
use crate::producer::transaction::manager::{Phase, TransactionManager, TransactionVersion, View};

impl Sender {
    /// Takes in where the transactions stand, and does to the batches what follows from that.
    pub(super) fn follow_transaction(&mut self) {
        if self.accumulator.is_closed() {
            self.accumulator.transact(TransactionManager::close);
        }
        let Some(view) = self.accumulator.transact(|manager| manager.view()) else { return };
        if self.identity != view.identity {
            self.begin_epoch(&view);
        }
        self.transaction = Some(view.clone());
        match &view.phase {
            Phase::Idle => {}
            Phase::Open | Phase::Committing => self.add_partitions(&view),
            Phase::Aborting => self.give_up_unsent(None),
            Phase::Failed(error) => self.give_up_unsent(Some(error)),
            Phase::Dead(error) => self.fatal = Some(error.clone()),
        }
        self.give_up_broken();
    }

    /// Under another identity all partitions count from 0. Nothing is on its way then.
    fn begin_epoch(&mut self, view: &View) {
        self.identity = view.identity;
        let Some(identity) = view.identity else { return };
        for tracker in self.trackers.values_mut() {
            tracker.start_next_epoch(identity);
        }
    }

    /// Has the partitions that something is for added to the transaction, and notes which of them are.
    fn add_partitions(&mut self, view: &View) {
        if view.version == TransactionVersion::Two {
            return;
        }
        let mut missing = Vec::new();
        for id in &self.active {
            if let Some(tracker) = self.trackers.get(id)
                && tracker.transaction != view.number
                && tracker.queue.peek().is_some()
            {
                let (topic, partition) = (Arc::clone(&tracker.queue.topic), tracker.queue.partition);
                missing.push(PartitionOfTransaction { id: *id, topic, partition });
            }
        }
        if missing.is_empty() {
            return;
        }
        let added = self.accumulator.transact(|manager| {
            let added = missing.into_iter().filter_map(|partition| {
                let id = partition.id;
                manager.add(partition).then_some(id)
            });
            added.collect::<Vec<u64>>()
        });
        for id in added.into_iter().flatten() {
            if let Some(tracker) = self.trackers.get_mut(&id) {
                tracker.transaction = view.number;
            }
        }
    }

    /// Whether batches of this partition may go, as far as transactions are concerned.
    pub(super) fn is_in_transaction(&mut self, now: Instant, id: u64) -> bool {
        let Some(view) = &self.transaction else { return true };
        if !matches!(view.phase, Phase::Open | Phase::Committing) {
            return false;
        }
        match view.version {
            TransactionVersion::One => self.trackers.get(&id).is_some_and(|tracker| tracker.transaction == view.number),
            TransactionVersion::Two => match view.ended_at.map(|at| at + self.pause_after_end.get()) {
                Some(begins) if begins > now => {
                    self.wake_at(begins);
                    false
                }
                _ => true,
            },
        }
    }

    /// Whether a transaction is being committed: then nothing lingers.
    pub(super) fn is_committing(&self) -> bool {
        self.transaction.as_ref().is_some_and(|view| matches!(view.phase, Phase::Committing))
    }

    pub(super) fn is_transactional(&self) -> bool {
        self.transaction.is_some()
    }

    /// Gives up what was not sent, and will not be.
    fn give_up_unsent(&mut self, error: Option<&ClientError>) {
        for id in self.active.clone() {
            let Some(queue) = self.trackers.get(&id).map(|tracker| Arc::clone(&tracker.queue)) else { continue };
            while let Some(batch) = queue.pop() {
                let aborted =
                    || ClientError::TransactionAborted { topic: Arc::clone(&queue.topic), partition: queue.partition };
                self.fail(id, batch, error.cloned().unwrap_or_else(aborted), false);
            }
        }
    }

    /// Behind a batch that was given up, the partition's numbers have a gap until the next epoch, which begins when the
    /// transaction is aborted: what would have to be sent again is given up too.
    fn give_up_broken(&mut self) {
        let mut broken = Vec::new();
        for id in &self.active {
            if let Some(tracker) = self.trackers.get_mut(id).filter(|tracker| tracker.is_unresolved) {
                broken.extend(tracker.retries.drain(..).map(|batch| (*id, batch)));
            }
        }
        for (id, batch) in broken {
            let error = match self.transaction.as_ref().map(|view| &view.phase) {
                Some(Phase::Failed(error) | Phase::Dead(error)) => error.clone(),
                _ => {
                    let (topic, partition) = batch.completion.place();
                    ClientError::TransactionAborted { topic: Arc::clone(topic), partition }
                }
            };
            self.fail(id, batch, error, true);
        }
    }

    /// Notes that batches go on the wire. Whether they are the first of their transaction.
    pub(super) fn note_sent(&mut self) -> bool {
        self.accumulator.transact(TransactionManager::note_sent);
        let number = self.transaction.as_ref().map_or(0, |view| view.number);
        std::mem::replace(&mut self.last_sent, number) != number
    }

    /// The request to a coordinator that goes now.
    pub(super) fn coordinate(&mut self, now: Instant) -> Option<Effect> {
        let phase = &self.transaction.as_ref()?.phase;
        let is_aborting = matches!(phase, Phase::Aborting);
        let is_flushed = (is_aborting || matches!(phase, Phase::Committing)) && self.is_flushed();
        if is_aborting && is_flushed {
            self.accumulator.forget_failures();
        }
        let before = std::mem::discriminant(phase);
        let (call, deadline, after) = self.accumulator.transact(|manager| {
            let call = manager.next_call(now, is_flushed);
            (call, manager.calls.deadline(), std::mem::discriminant(&manager.view().phase))
        })?;
        if let Some(deadline) = deadline {
            self.wake_at(deadline);
        }
        if before != after {
            // A batch was given up meanwhile, or the application has called.
            self.wake_at(now);
        }
        let call = call?;
        self.called_at = Some(now);
        Some(Effect::Coordinate(call))
    }

    /// Whether no batch is open or on its way. What was taken into the transaction at the last moment counts.
    fn is_flushed(&self) -> bool {
        let pending = &self.accumulator.pending;
        self.requests.is_empty() && pending.is_empty() && {
            self.accumulator.await_appends();
            pending.is_empty()
        }
    }

    /// The answer to [`Effect::Coordinate`].
    pub(crate) fn coordinated(&mut self, now: Instant, number: u64, result: Result<Answer, NoAnswer>) {
        if let (Ok(_), Some(at)) = (&result, self.called_at.take()) {
            self.pause_after_end.answered(false, now.saturating_duration_since(at));
        }
        self.accumulator.transact(|manager| manager.answered(now, number, result));
    }

    /// Whether transactions leave nothing to be waited for.
    pub(super) fn is_transaction_over(&self) -> bool {
        self.accumulator.transact(|manager| manager.is_at_rest()).unwrap_or(true)
    }
}
