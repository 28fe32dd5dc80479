//! Transactions that are asked for at their coordinator before the first batch of one is appended (KIP-890).

use std::collections::HashMap;

/// Ties an append to the question whether its transaction is open: what was answered for one guard allows no append after
/// a marker, or for the producer's next transaction. As Kafka's (KIP-890).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerificationGuard(u64);

impl VerificationGuard {
    /// The guard of an append for which nothing was asked; it allows none that needs an answer.
    pub const SENTINEL: Self = Self(0);
}

/// A transaction that is being asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VerificationState {
    guard: VerificationGuard,
    started_ms: i64,
    /// The lowest sequence number that was asked for in `epoch`: no higher one may come first.
    pub(crate) lowest_sequence: i32,
    epoch: i16,
    /// Its producer begins every transaction with a new epoch (`transaction.version` 2).
    pub(crate) supports_epoch_bump: bool,
}

impl VerificationState {
    /// A lower number of the same epoch came later, or the numbers begin anew in a newer epoch.
    fn note(&mut self, sequence: i32, epoch: i16) {
        if epoch > self.epoch || (epoch == self.epoch && sequence < self.lowest_sequence) {
            self.epoch = epoch;
            self.lowest_sequence = sequence;
        }
    }
}

/// What is asked of a transaction before its first batch on a partition is appended (KIP-890).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionStart {
    /// The producer's id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// The sequence number of the batch's first record.
    pub base_sequence: i32,
    /// Whether the producer begins every transaction with a new epoch (`transaction.version` 2).
    pub supports_epoch_bump: bool,
}

/// The transactions of a log that are being asked for, by producer.
#[derive(Debug, Default)]
pub(crate) struct Verifications {
    states: HashMap<i64, VerificationState>,
    last_guard: u64,
}

impl Verifications {
    /// The guard of the question that is under way for the producer, or of a new one.
    pub(crate) fn start(&mut self, start: &TransactionStart, now_ms: i64) -> VerificationGuard {
        let last_guard = &mut self.last_guard;
        let state = self.states.entry(start.producer_id).or_insert_with(|| {
            *last_guard += 1;
            VerificationState {
                guard: VerificationGuard(*last_guard),
                started_ms: now_ms,
                lowest_sequence: start.base_sequence,
                epoch: start.producer_epoch,
                supports_epoch_bump: start.supports_epoch_bump,
            }
        });
        state.note(start.base_sequence, start.producer_epoch);
        state.guard
    }

    pub(crate) fn get(&self, producer_id: i64) -> Option<&VerificationState> {
        self.states.get(&producer_id)
    }

    /// Whether `guard` is the one that was given last for the producer.
    pub(crate) fn verifies(&self, producer_id: i64, guard: VerificationGuard) -> bool {
        guard != VerificationGuard::SENTINEL && self.states.get(&producer_id).is_some_and(|state| state.guard == guard)
    }

    /// A transactional batch or a marker of the producer was accepted: what was asked has served its purpose.
    pub(crate) fn end(&mut self, producer_id: i64, producer_epoch: i16, is_control: bool) {
        let Some(state) = self.states.get(&producer_id) else { return };
        // A marker of transaction version 2 bears the epoch of the transaction that follows, which may be asked for
        // already.
        let is_of_next = state.supports_epoch_bump && is_control && producer_epoch == state.epoch;
        if !is_of_next {
            self.states.remove(&producer_id);
        }
    }

    /// Forgets what was asked long ago.
    pub(crate) fn remove_expired(&mut self, now_ms: i64, expiration_ms: i64) {
        self.states.retain(|_, state| now_ms.saturating_sub(state.started_ms) < expiration_ms);
    }
}
