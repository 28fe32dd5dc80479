//! What is known of a transactional id, and how one state follows from another.
//!
//! Each transition gives the whole next state, which is what its record holds. Since `transaction.version` 2 (KIP-890)
//! every end of a transaction gives the producer another epoch, or another id when the epochs are used up: so that
//! nothing a producer sent for one transaction can come into the next.

use std::collections::BTreeSet;

use vltava_log::TopicPartition;
use vltava_protocol::ErrorCode;
use vltava_protocol::record::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID};

use super::state::TransactionState;

/// The first `transaction.version` in which the end of a transaction bumps the epoch.
pub(crate) const EPOCH_BUMP_VERSION: i16 = 2;

/// What is known of a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TransactionMetadata {
    pub(crate) producer_id: i64,
    /// The producer id before the last transition; the same unless that one changed it.
    pub(crate) previous_producer_id: i64,
    /// The producer id after the transaction that is being ended, or -1 where it stays.
    pub(crate) next_producer_id: i64,
    /// -1 before the first answer to the producer.
    pub(crate) producer_epoch: i16,
    /// The epoch that the producer bumped last, or -1: it may have missed the answer. Not in the records, as in Kafka.
    pub(crate) last_producer_epoch: i16,
    /// How long a transaction may be open, ms.
    pub(crate) timeout_ms: i32,
    pub(crate) state: TransactionState,
    /// The partitions of the transaction.
    pub(crate) partitions: BTreeSet<TopicPartition>,
    /// When the transaction began, ms since the epoch; -1 before the first.
    pub(crate) start_timestamp_ms: i64,
    /// When anything changed last, ms since the epoch.
    pub(crate) last_update_timestamp_ms: i64,
    /// The `transaction.version` by which the client added partitions, or the transaction was ended.
    pub(crate) client_version: i16,
}

/// Whether an epoch is the last that a producer is given: the one after it is left for fencing.
pub(crate) fn is_exhausted(epoch: i16) -> bool {
    epoch >= i16::MAX - 1
}

impl TransactionMetadata {
    /// A transactional id that has just been given a producer id.
    pub(crate) fn new(producer_id: i64, timeout_ms: i32, now_ms: i64) -> Self {
        Self {
            producer_id,
            previous_producer_id: NO_PRODUCER_ID,
            next_producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            last_producer_epoch: NO_PRODUCER_EPOCH,
            timeout_ms,
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            start_timestamp_ms: -1,
            last_update_timestamp_ms: now_ms,
            client_version: 0,
        }
    }

    pub(crate) fn is_epoch_exhausted(&self) -> bool {
        is_exhausted(self.producer_epoch)
    }

    /// Whether somebody else coordinates the commit, so that there is no time-out (KIP-939).
    pub(crate) fn is_two_phase_commit(&self) -> bool {
        self.timeout_ms == i32::MAX
    }

    /// Whether a client that says it had this id and epoch may have had it: its id is the current one, or the one that
    /// was given up when its epochs were used up, with the answer lost (KIP-360).
    pub(crate) fn may_have_been(&self, producer_id: i64, epoch: i16) -> bool {
        self.producer_epoch == NO_PRODUCER_EPOCH
            || producer_id == self.producer_id
            || (producer_id == self.previous_producer_id && is_exhausted(epoch))
    }

    /// The next epoch for a producer that initialises itself; it tells the epoch it had, if it had one (KIP-360).
    ///
    /// # Errors
    ///
    /// `PRODUCER_FENCED` if it had another; `UNKNOWN_SERVER_ERROR` if there is no next epoch.
    pub(crate) fn initialised(&self, timeout_ms: i32, had: Option<i16>, now_ms: i64) -> Result<Self, ErrorCode> {
        if self.is_epoch_exhausted() {
            return Err(ErrorCode::UnknownServerError);
        }
        let bumped = self.producer_epoch + 1;
        let (producer_epoch, last_producer_epoch) = match had {
            None => (bumped, NO_PRODUCER_EPOCH),
            Some(had) if self.producer_epoch == NO_PRODUCER_EPOCH || had == self.producer_epoch => {
                (bumped, self.producer_epoch)
            }
            // It asks again: nobody else came since, for that would have cleared the last epoch.
            Some(had) if had == self.last_producer_epoch => (self.producer_epoch, self.last_producer_epoch),
            Some(_) => return Err(ErrorCode::ProducerFenced),
        };
        Ok(Self { producer_epoch, last_producer_epoch, ..self.emptied(timeout_ms, now_ms) })
    }

    /// Another producer id, for the epochs of this one are used up. `told_epoch` is whether the producer told the epoch
    /// it had, by which it may come back.
    pub(crate) fn rotated(&self, producer_id: i64, timeout_ms: i32, told_epoch: bool, now_ms: i64) -> Self {
        let last_producer_epoch = if told_epoch { self.producer_epoch } else { NO_PRODUCER_EPOCH };
        Self { producer_id, producer_epoch: 0, last_producer_epoch, ..self.emptied(timeout_ms, now_ms) }
    }

    fn emptied(&self, timeout_ms: i32, now_ms: i64) -> Self {
        Self {
            timeout_ms,
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            start_timestamp_ms: -1,
            last_update_timestamp_ms: now_ms,
            ..self.followed()
        }
    }

    /// More partitions in the transaction, which begins with the first.
    pub(crate) fn with_partitions(
        &self,
        added: impl IntoIterator<Item = TopicPartition>,
        client_version: i16,
        now_ms: i64,
    ) -> Self {
        let begins = self.state.is_at_rest();
        let mut partitions = self.partitions.clone();
        partitions.extend(added);
        Self {
            state: TransactionState::Ongoing,
            partitions,
            start_timestamp_ms: if begins { now_ms } else { self.start_timestamp_ms },
            last_update_timestamp_ms: now_ms,
            client_version,
            ..self.followed()
        }
    }

    /// The decision to commit or to abort, by a client or broker of `version`. `next_producer_id` is another id if the
    /// epochs of this one are used up.
    pub(crate) fn prepared(&self, committed: bool, version: i16, next_producer_id: i64, now_ms: i64) -> Self {
        let (mut producer_epoch, mut last_producer_epoch) = (self.producer_epoch, self.last_producer_epoch);
        if version >= EPOCH_BUMP_VERSION {
            last_producer_epoch = self.producer_epoch;
            // No producer is given the last epoch. One that has it all the same is aborted without a bump.
            producer_epoch = self.producer_epoch.saturating_add(1);
        }
        Self {
            next_producer_id,
            producer_epoch,
            last_producer_epoch,
            state: if committed { TransactionState::PrepareCommit } else { TransactionState::PrepareAbort },
            // KIP-890: who does not know whether anything is open may abort what was never begun.
            start_timestamp_ms: if self.state.is_at_rest() { now_ms } else { self.start_timestamp_ms },
            last_update_timestamp_ms: now_ms,
            client_version: version,
            ..self.followed()
        }
    }

    /// The abort of an open transaction that its producer does not ask for; it can do nothing with its epoch any more.
    /// `version` is the cluster's.
    pub(crate) fn fenced(&self, version: i16, next_producer_id: i64, now_ms: i64) -> Self {
        if version >= EPOCH_BUMP_VERSION {
            return self.prepared(false, version, next_producer_id, now_ms);
        }
        let producer_epoch = self.producer_epoch.saturating_add(1);
        Self {
            producer_epoch,
            last_producer_epoch: NO_PRODUCER_EPOCH,
            ..self.prepared(false, 0, NO_PRODUCER_ID, now_ms)
        }
    }

    /// The end of the transaction whose markers are all written.
    pub(crate) fn completed(&self, committed: bool, now_ms: i64) -> Self {
        let rotates = self.client_version >= EPOCH_BUMP_VERSION && self.next_producer_id != NO_PRODUCER_ID;
        let (producer_id, producer_epoch) =
            if rotates { (self.next_producer_id, 0) } else { (self.producer_id, self.producer_epoch) };
        Self {
            producer_id,
            producer_epoch,
            next_producer_id: NO_PRODUCER_ID,
            state: if committed { TransactionState::CompleteCommit } else { TransactionState::CompleteAbort },
            partitions: BTreeSet::new(),
            last_update_timestamp_ms: now_ms,
            ..self.followed()
        }
    }

    /// The same, as what comes after it is told of it.
    fn followed(&self) -> Self {
        Self { previous_producer_id: self.producer_id, ..self.clone() }
    }
}
