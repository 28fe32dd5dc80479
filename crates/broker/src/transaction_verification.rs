//! The question to the transaction coordinator that precedes a transaction's first batch on a partition (KIP-890): whether
//! the transaction is open there, or with `transaction.version` 2 the request to add the partition to it.

use std::fmt::Debug;
use std::pin::Pin;

use vltava_log::{TransactionStart, VerificationGuard};
use vltava_protocol::{ErrorCode, invariant};

use crate::partition::Partition;

/// What a transaction coordinator says of each partition, once it does.
pub(crate) type Answers<'a> = Pin<Box<dyn Future<Output = Vec<Result<(), ErrorCode>>> + Send + 'a>>;

/// The transaction coordinator, as partitions see it.
pub(crate) trait TransactionVerifier: Debug + Send + Sync + 'static {
    /// Answers what AddPartitionsToTxn of a broker (version 4 and later) answers, for each partition in the order of the
    /// request. A coordinator that is not there or not ready says so by its code for all of them.
    ///
    /// Cancel-safe: a partition may have been added all the same, and its transaction ends with a marker more.
    fn add_or_verify<'a>(&'a self, request: AddOrVerify<'a>) -> Answers<'a>;
}

/// A transaction, and partitions that are about to be written to in it.
#[derive(Debug, Clone)]
pub(crate) struct AddOrVerify<'a> {
    pub(crate) transactional_id: &'a str,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    /// The partitions are to be in the transaction already; otherwise they are added.
    pub(crate) verify_only: bool,
    /// Topics and partitions, each once.
    pub(crate) partitions: Vec<(&'a str, i32)>,
}

/// What a client understands and expects, by the version of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionSupport {
    /// It knows no abortable error.
    DefaultError,
    /// It knows `TRANSACTION_ABORTABLE`.
    GenericErrorSupported,
    /// And it leaves it to the broker to add partitions to its transactions, which begin with a new epoch each.
    AddPartition,
}

impl TransactionSupport {
    /// Of a produce request.
    pub(crate) fn of_produce(version: i16) -> Self {
        match version {
            12.. => Self::AddPartition,
            11 => Self::GenericErrorSupported,
            _ => Self::DefaultError,
        }
    }

    /// Of a TxnOffsetCommit request.
    pub(crate) fn of_txn_offset_commit(version: i16) -> Self {
        match version {
            5.. => Self::AddPartition,
            4 => Self::GenericErrorSupported,
            _ => Self::DefaultError,
        }
    }

    pub(crate) fn supports_epoch_bump(self) -> bool {
        self == Self::AddPartition
    }

    /// What the client is told where the coordinator said `code`.
    fn told(self, code: ErrorCode) -> ErrorCode {
        match code {
            ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
            ErrorCode::TransactionAbortable if self == Self::DefaultError => ErrorCode::InvalidTxnState,
            code => code,
        }
    }
}

/// The writer of a transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TransactionalProducer<'a> {
    pub(crate) transactional_id: &'a str,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) support: TransactionSupport,
}

/// A partition that a transaction is about to be written to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) partition: &'a Partition,
    /// Of the first record that is to be written.
    pub(crate) base_sequence: i32,
}

/// Asks for the transaction where it is not open on a partition yet; gives for each what its append has to bring along, or
/// why there is to be none. Each partition is named once.
pub(crate) async fn ask(
    verifier: &dyn TransactionVerifier,
    producer: TransactionalProducer<'_>,
    targets: &[Target<'_>],
    now_ms: i64,
) -> Vec<Result<VerificationGuard, ErrorCode>> {
    let start = |target: &Target<'_>| {
        target.partition.start_verification(
            &TransactionStart {
                producer_id: producer.producer_id,
                producer_epoch: producer.producer_epoch,
                base_sequence: target.base_sequence,
                supports_epoch_bump: producer.support.supports_epoch_bump(),
            },
            now_ms,
        )
    };
    let mut outcome: Vec<_> = targets.iter().map(start).collect();
    let is_open_question =
        |guard: &Result<VerificationGuard, ErrorCode>| guard.is_ok_and(|guard| guard != VerificationGuard::SENTINEL);
    let asked = targets.iter().zip(&outcome).filter(|(_, guard)| is_open_question(guard));
    let partitions: Vec<_> = asked.map(|(target, _)| (target.partition.topic(), target.partition.index())).collect();
    if partitions.is_empty() {
        return outcome;
    }
    let answers = verifier
        .add_or_verify(AddOrVerify {
            transactional_id: producer.transactional_id,
            producer_id: producer.producer_id,
            producer_epoch: producer.producer_epoch,
            verify_only: !producer.support.supports_epoch_bump(),
            partitions,
        })
        .await;
    let is_answered = answers.len() == outcome.iter().filter(|guard| is_open_question(guard)).count();
    invariant!(is_answered, "a transaction coordinator answers for every partition that it is asked for");
    let mut answers = answers.into_iter();
    for guard in outcome.iter_mut().filter(|guard| is_open_question(guard)) {
        let answer = answers.next().unwrap_or(Err(ErrorCode::UnknownServerError));
        *guard = guard.and_then(|guard| answer.map(|()| guard).map_err(|code| producer.support.told(code)));
    }
    outcome
}

#[cfg(test)]
mod tests;
