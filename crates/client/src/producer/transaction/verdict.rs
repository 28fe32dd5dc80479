//! What the codes of coordinators and leaders mean for a transaction: the table of Kafka's `TransactionManager`.

use vltava_protocol::ErrorCode;

use crate::error::ClientError;

/// Whom is asked for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Any broker, who coordinates the transactions.
    TransactionCoordinator,
    /// Any broker, who coordinates the group.
    GroupCoordinator,
    InitProducerId,
    AddPartitions,
    AddOffsets,
    /// TxnOffsetCommit, of the group's coordinator.
    CommitOffsets,
    Commit,
    Abort,
}

/// What follows from a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    /// Ask again after a pause.
    Retry,
    /// Ask again after a short pause: the transaction before is just being ended.
    RetrySoon,
    /// Ask again, whoever the coordinator is then.
    LookUp,
    /// The transaction can only be aborted.
    Abort,
    /// As `Abort`, and a new epoch is needed for the next one.
    AbortWithNewEpoch,
    /// There is no identity; the application may ask for one again.
    Uninitialize,
    /// Another producer has the transactional id.
    Fenced,
    /// The producer cannot go on.
    Fatal,
}

/// What a code means in the answer to what was asked.
pub(crate) fn verdict(asked: Asked, code: ErrorCode) -> Verdict {
    use ErrorCode as Code;
    let is_commit_of_offsets = asked == Asked::CommitOffsets;
    match code {
        Code::None => Verdict::Done,
        Code::CoordinatorNotAvailable | Code::NotCoordinator => Verdict::LookUp,
        Code::RequestTimedOut if is_commit_of_offsets => Verdict::LookUp,
        Code::ConcurrentTransactions => Verdict::RetrySoon,
        code if code.is_retriable() => Verdict::Retry,
        // Coordinators of old say that of who was fenced. Leaders say it too, but are not asked here.
        Code::InvalidProducerEpoch | Code::ProducerFenced => match asked {
            Asked::TransactionCoordinator | Asked::GroupCoordinator => Verdict::Fatal,
            _ => Verdict::Fenced,
        },
        code => of_its_own(asked, code),
    }
}

fn of_its_own(asked: Asked, code: ErrorCode) -> Verdict {
    use ErrorCode as Code;
    match (asked, code) {
        // An abort that could only be followed by another one would never end.
        (Asked::Abort, Code::TransactionAbortable) => Verdict::Fatal,
        (Asked::InitProducerId, Code::TransactionAbortable) => Verdict::Uninitialize,
        (_, Code::TransactionAbortable) => Verdict::Abort,
        (Asked::InitProducerId, Code::TransactionalIdAuthorizationFailed | Code::ClusterAuthorizationFailed) => {
            Verdict::Uninitialize
        }
        (Asked::GroupCoordinator | Asked::AddOffsets | Asked::CommitOffsets, Code::GroupAuthorizationFailed) => {
            Verdict::Abort
        }
        (Asked::AddPartitions | Asked::AddOffsets | Asked::Commit, Code::UnknownProducerId) => {
            Verdict::AbortWithNewEpoch
        }
        (
            Asked::AddPartitions,
            Code::TransactionalIdAuthorizationFailed | Code::InvalidTxnState | Code::InvalidProducerIdMapping,
        ) => Verdict::Fatal,
        // One of them may not be written to, or does not exist: the others were not tried.
        (Asked::AddPartitions, _) => Verdict::Abort,
        // Members that do not belong to the group any more: their offsets are others' business now.
        (Asked::CommitOffsets, Code::FencedInstanceId | Code::UnknownMemberId | Code::IllegalGeneration) => {
            Verdict::Abort
        }
        _ => Verdict::Fatal,
    }
}

/// Whether a producer with transactions cannot go on after a batch or a call has failed like this.
pub(crate) fn ends_the_producer(error: &ClientError) -> bool {
    match error {
        ClientError::Broker { code, .. } => matches!(
            code,
            ErrorCode::ClusterAuthorizationFailed
                | ErrorCode::TransactionalIdAuthorizationFailed
                | ErrorCode::ProducerFenced
                | ErrorCode::UnsupportedVersion
                | ErrorCode::InvalidProducerIdMapping
        ),
        ClientError::UnsupportedVersion { .. } | ClientError::Closed => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use ErrorCode as Code;

    use super::*;

    /// Kafka 4.3.1's handlers, code by code.
    #[test]
    fn codes_mean_what_kafkas_handlers_make_of_them() {
        use Asked::{Abort, AddOffsets, AddPartitions, Commit, CommitOffsets, InitProducerId};
        let table: &[(&[Asked], &[Code], Verdict)] = &[
            (
                &[InitProducerId, AddPartitions, AddOffsets, CommitOffsets, Commit, Abort],
                &[Code::NotCoordinator, Code::CoordinatorNotAvailable],
                Verdict::LookUp,
            ),
            (
                &[InitProducerId, AddPartitions, AddOffsets, CommitOffsets, Commit, Abort],
                &[Code::ConcurrentTransactions],
                Verdict::RetrySoon,
            ),
            (
                &[InitProducerId, AddPartitions, AddOffsets, CommitOffsets, Commit, Abort],
                &[Code::CoordinatorLoadInProgress, Code::UnknownTopicOrPartition],
                Verdict::Retry,
            ),
            (&[CommitOffsets], &[Code::RequestTimedOut], Verdict::LookUp),
            (&[Commit], &[Code::RequestTimedOut], Verdict::Retry),
            (
                &[InitProducerId, AddPartitions, AddOffsets, CommitOffsets, Commit, Abort],
                &[Code::InvalidProducerEpoch, Code::ProducerFenced],
                Verdict::Fenced,
            ),
            (
                &[InitProducerId],
                &[Code::TransactionalIdAuthorizationFailed, Code::ClusterAuthorizationFailed],
                Verdict::Uninitialize,
            ),
            (&[AddPartitions, AddOffsets, CommitOffsets, Commit], &[Code::TransactionAbortable], Verdict::Abort),
            (&[Abort], &[Code::TransactionAbortable], Verdict::Fatal),
            (
                &[AddPartitions, AddOffsets, Commit, Abort],
                &[Code::TransactionalIdAuthorizationFailed, Code::InvalidTxnState, Code::InvalidProducerIdMapping],
                Verdict::Fatal,
            ),
            (
                &[AddPartitions],
                &[Code::TopicAuthorizationFailed, Code::OperationNotAttempted, Code::UnknownServerError],
                Verdict::Abort,
            ),
            (&[AddPartitions, AddOffsets, Commit], &[Code::UnknownProducerId], Verdict::AbortWithNewEpoch),
            (&[AddOffsets, CommitOffsets], &[Code::GroupAuthorizationFailed], Verdict::Abort),
            (
                &[CommitOffsets],
                &[Code::UnknownMemberId, Code::IllegalGeneration, Code::FencedInstanceId],
                Verdict::Abort,
            ),
            (
                &[CommitOffsets],
                &[
                    Code::TransactionalIdAuthorizationFailed,
                    Code::UnsupportedForMessageFormat,
                    Code::UnknownServerError,
                ],
                Verdict::Fatal,
            ),
            (
                &[InitProducerId, Commit, Abort],
                &[Code::InvalidTransactionTimeout, Code::UnknownServerError],
                Verdict::Fatal,
            ),
            (&[Asked::TransactionCoordinator], &[Code::TransactionalIdAuthorizationFailed], Verdict::Fatal),
            (&[Asked::GroupCoordinator], &[Code::GroupAuthorizationFailed], Verdict::Abort),
        ];
        for (asked, codes, expected) in table {
            for (asked, code) in asked.iter().flat_map(|asked| codes.iter().map(move |code| (*asked, *code))) {
                assert_eq!(verdict(asked, code), *expected, "{asked:?} {code:?}");
            }
            assert!(asked.iter().all(|asked| verdict(*asked, Code::None) == Verdict::Done));
        }
    }
}
