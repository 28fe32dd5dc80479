use super::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, RecordError};

/// What an idempotent or transactional producer puts into the header of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProducerState {
    /// The producer's id, -1 without one.
    pub producer_id: i64,
    /// The producer's epoch, -1 without a producer id.
    pub producer_epoch: i16,
    /// Sequence number of the first record, -1 without one.
    pub base_sequence: i32,
    /// Whether the batch is part of a transaction.
    pub is_transactional: bool,
}

impl ProducerState {
    /// The state of a producer that is not idempotent.
    pub const NONE: Self = Self {
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        base_sequence: NO_SEQUENCE,
        is_transactional: false,
    };

    /// The state of an idempotent producer outside transactions.
    pub fn idempotent(producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Self {
        Self { producer_id, producer_epoch, base_sequence, is_transactional: false }
    }

    /// The state of a producer inside a transaction.
    pub fn transactional(producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Self {
        Self { is_transactional: true, ..Self::idempotent(producer_id, producer_epoch, base_sequence) }
    }

    /// Checks that the parts go together; markers have no sequence.
    pub(crate) fn check(&self, is_control: bool) -> Result<(), RecordError> {
        let reason = if self.producer_id == NO_PRODUCER_ID {
            if !self.is_transactional {
                return Ok(());
            }
            "a transactional batch needs a producer id"
        } else if self.producer_epoch < 0 {
            "the producer epoch is negative"
        } else if self.base_sequence < 0 && !is_control {
            "the base sequence is negative"
        } else {
            return Ok(());
        };
        Err(RecordError::InvalidProducerState { reason })
    }
}

impl Default for ProducerState {
    fn default() -> Self {
        Self::NONE
    }
}

/// The sequence number `increment` (>= 0) after `sequence`: after 2^31 - 1 comes 0.
pub fn increment_sequence(sequence: i32, increment: i32) -> i32 {
    // The sequence numbers are the integers modulo 2^31.
    sequence.wrapping_add(increment) & i32::MAX
}

/// The sequence number `decrement` (>= 0) before `sequence`: before 0 comes 2^31 - 1.
pub fn decrement_sequence(sequence: i32, decrement: i32) -> i32 {
    sequence.wrapping_sub(decrement) & i32::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(increment_sequence(5, 7), 12);
        assert_eq!(increment_sequence(i32::MAX, 1), 0);
        assert_eq!(increment_sequence(i32::MAX - 1, 5), 3);
        assert_eq!(decrement_sequence(12, 7), 5);
        assert_eq!(decrement_sequence(0, 1), i32::MAX);
        assert_eq!(decrement_sequence(3, 5), i32::MAX - 1);
    }

    #[test]
    fn parts_that_do_not_go_together_are_refused() {
        assert_eq!(ProducerState::NONE.check(false), Ok(()));
        assert_eq!(ProducerState::idempotent(1, 0, 0).check(false), Ok(()));
        assert_eq!(ProducerState::transactional(1, 0, -1).check(true), Ok(()));
        for state in [
            ProducerState::transactional(-1, 0, 0),
            ProducerState::idempotent(1, -1, 0),
            ProducerState::idempotent(1, 0, -1),
        ] {
            assert!(state.check(false).is_err(), "{state:?}");
        }
    }
}
