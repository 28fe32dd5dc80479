//! InitProducerId for a transactional id: the producer gets an id and epoch that fence whoever had the transactional id
//! before (KIP-98), and goes on with its own after an error (KIP-360).

use vltava_protocol::ErrorCode;

use super::config::TransactionCoordinatorConfig;
use super::metadata::TransactionMetadata;
use super::shard::{Attempt, TransactionShard};
use super::state::TransactionState;
use crate::coordinator::record::fits_in_record;
use crate::coordinator::shard::Now;

/// Who asks for a producer id.
#[derive(Clone, Debug)]
pub(crate) struct InitProducerId {
    pub(crate) transactional_id: String,
    /// How long its transactions may be open, ms.
    pub(crate) timeout_ms: i32,
    /// The producer id and epoch that it had, if it goes on after an error.
    pub(crate) had: Option<(i64, i16)>,
    /// KIP-939: whether the end of its transactions is decided elsewhere.
    pub(crate) two_phase_commit: bool,
    /// KIP-939: whether an open transaction is to be kept for that.
    pub(crate) keeps_prepared: bool,
}

impl TransactionShard {
    /// Gives a producer its id and epoch; `fresh` is an id that nobody has. An open transaction is aborted first: who asks
    /// is told to ask again.
    ///
    /// # Errors
    ///
    /// `CONCURRENT_TRANSACTIONS` while a transaction is being ended, `PRODUCER_FENCED` if another producer has the
    /// transactional id, and those of a wrong request.
    pub(crate) fn init_producer_id(
        &mut self,
        now: Now,
        request: &InitProducerId,
        fresh: Option<i64>,
    ) -> Result<Attempt<(i64, i16)>, ErrorCode> {
        let timeout_ms = request.check(&self.config)?;
        let id = request.transactional_id.as_str();
        let metadata = match self.transactions.get(id) {
            Some(_) => self.transaction(id)?.clone(),
            None => match fresh {
                Some(fresh) => TransactionMetadata::new(fresh, timeout_ms, now.timestamp_ms),
                None => return Ok(Attempt::NeedsProducerId),
            },
        };
        if !request.had.is_none_or(|(producer_id, epoch)| metadata.may_have_been(producer_id, epoch)) {
            return Err(ErrorCode::ProducerFenced);
        }
        let had = request.had.map(|(_, epoch)| epoch);
        let next = match metadata.state {
            TransactionState::Ongoing => {
                return match self.fence(now, id, fresh) {
                    Attempt::Done(()) => Err(ErrorCode::ConcurrentTransactions),
                    Attempt::NeedsProducerId => Ok(Attempt::NeedsProducerId),
                };
            }
            state if !state.is_at_rest() => return Err(ErrorCode::ConcurrentTransactions),
            _ if metadata.is_epoch_exhausted() && had.is_none_or(|had| had == metadata.producer_epoch) => {
                let Some(fresh) = fresh else { return Ok(Attempt::NeedsProducerId) };
                metadata.rotated(fresh, timeout_ms, had.is_some(), now.timestamp_ms)
            }
            _ => metadata.initialised(timeout_ms, had, now.timestamp_ms)?,
        };
        let given = (next.producer_id, next.producer_epoch);
        self.transit(now, id, next);
        Ok(Attempt::Done(given))
    }
}

impl InitProducerId {
    /// Checks what does not depend on the state; gives the time-out that holds.
    ///
    /// # Errors
    ///
    /// Those of a request that is wrong in itself.
    pub(super) fn check(&self, config: &TransactionCoordinatorConfig) -> Result<i32, ErrorCode> {
        let is_allowed = (1..=config.max_timeout_ms).contains(&self.timeout_ms);
        if self.transactional_id.is_empty() {
            Err(ErrorCode::InvalidRequest)
        } else if self.two_phase_commit && !config.two_phase_commit {
            Err(ErrorCode::TransactionalIdAuthorizationFailed)
        } else if self.keeps_prepared {
            // As Kafka 4.3, which has this part of KIP-939 in the protocol only.
            Err(ErrorCode::UnsupportedVersion)
        } else if !self.two_phase_commit && !is_allowed {
            Err(ErrorCode::InvalidTransactionTimeout)
        } else if !fits_in_record(&self.transactional_id) {
            Err(ErrorCode::UnknownServerError)
        } else {
            Ok(if self.two_phase_commit { i32::MAX } else { self.timeout_ms })
        }
    }
}
