//! EndTxn: the decision of the producer. The first one holds; whoever asks again, as after a lost answer, is told of it.

use vltava_protocol::ErrorCode;
use vltava_protocol::record::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID};

use super::add_partitions::Producer;
use super::metadata::{EPOCH_BUMP_VERSION, TransactionMetadata};
use super::shard::{Attempt, TransactionShard};
use super::state::TransactionState;
use crate::coordinator::shard::Now;

/// The producer that goes on after a transaction: none is told to clients that do not know of epoch bumps.
const AS_BEFORE: Producer = Producer { id: NO_PRODUCER_ID, epoch: NO_PRODUCER_EPOCH };

impl TransactionShard {
    /// Decides to commit or to abort a producer's transaction; gives the producer id and epoch for the next one, or -1 to a
    /// client that keeps them. `client_version` is the `transaction.version` that the client follows, `fresh` a producer id
    /// that nobody has.
    ///
    /// # Errors
    ///
    /// `INVALID_PRODUCER_ID_MAPPING`, `PRODUCER_FENCED`, `CONCURRENT_TRANSACTIONS` if the same was decided already and is
    /// being done, and `INVALID_TXN_STATE` if the other was, or nothing is open.
    pub(crate) fn end_transaction(
        &mut self,
        now: Now,
        transactional_id: &str,
        producer: Producer,
        committed: bool,
        client_version: i16,
        fresh: Option<i64>,
    ) -> Result<Attempt<Producer>, ErrorCode> {
        let metadata = self.transaction(transactional_id)?;
        let bumps = client_version >= EPOCH_BUMP_VERSION;
        let asks = if bumps { asked_with_bump(metadata, producer)? } else { asked(metadata, producer)? };
        let is_new = match (metadata.state, asks) {
            (TransactionState::Ongoing, _) => true,
            (TransactionState::PrepareCommit | TransactionState::PrepareAbort, _) => {
                let is_same = metadata.state.decision() == Some(committed);
                return Err(if is_same { ErrorCode::ConcurrentTransactions } else { ErrorCode::InvalidTxnState });
            }
            (TransactionState::CompleteCommit, Asks::Again) => !committed_is(committed, true)?,
            (TransactionState::CompleteAbort, Asks::Again) => !committed_is(committed, false)?,
            // KIP-890: who does not know whether anything is open aborts.
            (_, Asks::Anew) if bumps && !committed => true,
            _ => return Err(ErrorCode::InvalidTxnState),
        };
        if !is_new {
            let current = Producer { id: metadata.producer_id, epoch: metadata.producer_epoch };
            return Ok(Attempt::Done(if bumps { current } else { AS_BEFORE }));
        }
        let next_producer_id = match fresh {
            _ if !bumps || !metadata.is_epoch_exhausted() => NO_PRODUCER_ID,
            Some(fresh) => fresh,
            None => return Ok(Attempt::NeedsProducerId),
        };
        let prepared = metadata.prepared(committed, client_version, next_producer_id, now.timestamp_ms);
        let completed = prepared.completed(committed, now.timestamp_ms);
        self.transit(now, transactional_id, prepared);
        let next = Producer { id: completed.producer_id, epoch: completed.producer_epoch };
        Ok(Attempt::Done(if bumps { next } else { AS_BEFORE }))
    }
}

/// Whether a request is about the transaction that is there, or may repeat one whose answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    Anew,
    Again,
}

/// A repeated request gets what it got: gives true. One that wants the other is wrong.
fn committed_is(wanted: bool, decided: bool) -> Result<bool, ErrorCode> {
    if wanted == decided { Ok(true) } else { Err(ErrorCode::InvalidTxnState) }
}

/// The producer keeps its epoch: what is complete may have been ended by the request that is repeated.
fn asked(metadata: &TransactionMetadata, producer: Producer) -> Result<Asks, ErrorCode> {
    if metadata.producer_id != producer.id {
        Err(ErrorCode::InvalidProducerIdMapping)
    } else if metadata.producer_epoch != producer.epoch {
        Err(ErrorCode::ProducerFenced)
    } else if metadata.state == TransactionState::Empty {
        Ok(Asks::Anew)
    } else {
        Ok(Asks::Again)
    }
}

/// KIP-890: the epoch before the current one is that of a repeated request.
fn asked_with_bump(metadata: &TransactionMetadata, producer: Producer) -> Result<Asks, ErrorCode> {
    // The id was given up with its last epoch.
    let over_ids =
        metadata.previous_producer_id == producer.id && producer.epoch == i16::MAX - 1 && metadata.producer_epoch == 0;
    let over_epochs = Some(metadata.producer_epoch) == producer.epoch.checked_add(1);
    let is_current = producer.epoch == metadata.producer_epoch;
    if metadata.producer_id != producer.id && !over_ids {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    let is_valid = match metadata.state {
        TransactionState::PrepareCommit | TransactionState::PrepareAbort => over_epochs,
        TransactionState::CompleteCommit | TransactionState::CompleteAbort => over_epochs || over_ids || is_current,
        _ => is_current,
    };
    match is_valid {
        true => Ok(if over_epochs || over_ids { Asks::Again } else { Asks::Anew }),
        false => Err(ErrorCode::ProducerFenced),
    }
}
