//! What the errors of a thread's clients mean to its tasks.
//!
//! | call | error | here | Kafka Streams |
//! |---|---|---|---|
//! | any | may pass (time-out, no broker, not the leader …) | again, up to `task.timeout.ms` for a task | the same |
//! | commit | the group has given the partitions to others | tasks lost, the thread joins again | `TaskMigratedException` |
//! | commit | a rebalance goes on | given up; `poll` tells what comes of it | not committed, goes on |
//! | commit, poll | `FENCED_INSTANCE_ID` | the thread fails | `StreamsException` |
//! | poll | `INCONSISTENT_GROUP_PROTOCOL` | again for the time of a session, then the thread fails | the thread fails |
//! | poll | no position, or one out of range: [`resets`](super::resets) | as the source's or the application's policy says; none: the thread fails | the same |
//! | produce | `PRODUCER_FENCED`, `INVALID_PRODUCER_EPOCH`, `OUT_OF_ORDER_SEQUENCE_NUMBER`, unknown producer | tasks lost, joins again | `TaskMigratedException` |
//! | produce | no authorisation, no authentication by TLS, invalid topic, unknown server error | the thread fails | `StreamsException` |
//! | produce | any other | the production exception handler is asked | the same |
//! | produce | may pass, and the handler says retry | the task begins anew from its last commit | `TaskCorruptedException` |
//! | transaction | `PRODUCER_FENCED`, `INVALID_PRODUCER_EPOCH`, `INVALID_PRODUCER_ID_MAPPING` | tasks lost, joins again | `TaskMigratedException` |
//! | transaction | its offsets: `ILLEGAL_GENERATION`, `UNKNOWN_MEMBER_ID` | tasks lost, joins again | `TaskMigratedException`, of `CommitFailedException` |
//! | transaction | the same while the thread joins a rebalance | aborted, all running tasks begin anew; the join tells | it does not commit then, and may be fenced |
//! | transaction | a time-out: it may be committed or not | aborted, all running tasks begin anew: offsets and changelogs tell | `TaskCorruptedException`, stores wiped |
//! | transaction | can only be aborted (`TRANSACTION_ABORTABLE`, a record failed …) | aborted, all running tasks begin anew, up to `task.timeout.ms` | `StreamsException` |
//! | transaction | `FENCED_INSTANCE_ID`, no authorisation, unknown server error | the thread fails | `StreamsException` |
//! | transaction | a record failed, and the handler says continue | the thread fails | the commit fails: `StreamsException` |
//! | beginning with transactions | may pass | the task is made again, up to `task.timeout.ms` | the same |
//! | restore | the store covers what the changelog has not | restored anew | `TaskCorruptedException` |
//! | any | any other | the thread fails | `StreamsException` |
//!
//! A thread that fails asks the uncaught-exception handler, and the error keeps the client's as its source.

use vltava_client::ClientError;
use vltava_protocol::ErrorCode;

/// What is to be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may pass.
    Retry,
    /// The group goes on without us, or is about to: the next `poll` tells.
    Rebalance,
    /// Another thread has the tasks.
    Migrated,
    /// The coordinator knows a group of another kind, perhaps the rest of one that has just ended.
    OtherGroup,
    /// The thread cannot go on.
    Fatal,
}

/// Of reading: offsets, metadata, changelogs.
pub(super) fn of_look_up(error: &ClientError) -> Verdict {
    if error.is_retriable() { Verdict::Retry } else { Verdict::Fatal }
}

/// Of committing offsets.
pub(super) fn of_commit(error: &ClientError) -> Verdict {
    match (error, error.code()) {
        (ClientError::CommitFailed { .. }, _) => Verdict::Migrated,
        (_, Some(ErrorCode::RebalanceInProgress)) => Verdict::Rebalance,
        (_, Some(ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId | ErrorCode::StaleMemberEpoch)) => {
            Verdict::Migrated
        }
        _ => of_look_up(error),
    }
}

/// Of polling as a member of the group.
pub(super) fn of_poll(error: &ClientError) -> Verdict {
    match error {
        ClientError::Wakeup => Verdict::Retry,
        ClientError::RebalanceCallback { source } => of_poll(source),
        _ if error.code() == Some(ErrorCode::InconsistentGroupProtocol) => Verdict::OtherGroup,
        _ => of_commit(error),
    }
}

/// Of a transaction: of its offsets, its end, or what it failed by. To retry is to abort it and to begin anew.
pub(super) fn of_transaction(error: &ClientError) -> Verdict {
    let Some(code) = error.code() else {
        let may_pass = match error {
            ClientError::CommitFailed { .. } => return Verdict::Migrated,
            ClientError::TransactionFailed { .. } | ClientError::ProducerFailed { .. } => true,
            error => error.is_retriable(),
        };
        return if may_pass { Verdict::Retry } else { Verdict::Fatal };
    };
    match code {
        ErrorCode::ProducerFenced
        | ErrorCode::InvalidProducerEpoch
        | ErrorCode::InvalidProducerIdMapping
        | ErrorCode::IllegalGeneration
        | ErrorCode::UnknownMemberId
        | ErrorCode::StaleMemberEpoch => Verdict::Migrated,
        ErrorCode::FencedInstanceId | ErrorCode::UnsupportedVersion | ErrorCode::UnsupportedForMessageFormat => {
            Verdict::Fatal
        }
        _ => match of_record(error) {
            Some(Verdict::Fatal) => Verdict::Fatal,
            _ => Verdict::Retry,
        },
    }
}

/// Whether it says that the group is not in the generation any more in which it was asked.
pub(super) fn is_of_generation(error: &ClientError) -> bool {
    let refused = [ErrorCode::IllegalGeneration, ErrorCode::UnknownMemberId, ErrorCode::StaleMemberEpoch];
    matches!(error, ClientError::CommitFailed { .. }) || error.code().is_some_and(|code| refused.contains(&code))
}

/// Of sending a record, where no handler is to be asked.
pub(super) fn of_record(error: &ClientError) -> Option<Verdict> {
    let Some(code) = error.code() else {
        let ended = matches!(
            error,
            ClientError::Closed
                | ClientError::Panicked { .. }
                | ClientError::InvalidState { .. }
                | ClientError::SslAuthentication { .. }
        );
        return ended.then_some(Verdict::Fatal);
    };
    match code {
        ErrorCode::ProducerFenced
        | ErrorCode::InvalidProducerIdMapping
        | ErrorCode::InvalidProducerEpoch
        | ErrorCode::UnknownProducerId
        | ErrorCode::OutOfOrderSequenceNumber => Some(Verdict::Migrated),
        ErrorCode::TopicAuthorizationFailed
        | ErrorCode::GroupAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed
        | ErrorCode::TransactionalIdAuthorizationFailed
        | ErrorCode::SaslAuthenticationFailed
        | ErrorCode::UnsupportedSaslMechanism
        | ErrorCode::IllegalSaslState
        | ErrorCode::SecurityDisabled
        | ErrorCode::InvalidTopicException
        | ErrorCode::UnknownServerError
        | ErrorCode::OffsetMetadataTooLarge => Some(Verdict::Fatal),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn broker(code: ErrorCode) -> ClientError {
        ClientError::broker(code)
    }

    #[test]
    fn every_error_of_a_commit_has_kafkas_answer() {
        let cases = [
            (ClientError::CommitFailed { reason: "gone".into() }, Verdict::Migrated),
            (broker(ErrorCode::IllegalGeneration), Verdict::Migrated),
            (broker(ErrorCode::UnknownMemberId), Verdict::Migrated),
            (broker(ErrorCode::RebalanceInProgress), Verdict::Rebalance),
            (ClientError::Timeout { what: "commit".into(), after: Duration::ZERO }, Verdict::Retry),
            (broker(ErrorCode::NotCoordinator), Verdict::Retry),
            (broker(ErrorCode::FencedInstanceId), Verdict::Fatal),
            (broker(ErrorCode::GroupAuthorizationFailed), Verdict::Fatal),
            (broker(ErrorCode::OffsetMetadataTooLarge), Verdict::Fatal),
            (ClientError::Closed, Verdict::Fatal),
        ];
        for (error, verdict) in cases {
            assert_eq!(of_commit(&error), verdict, "{error}");
        }
    }

    #[test]
    fn who_is_not_let_in_cannot_go_on() {
        for code in
            [ErrorCode::SaslAuthenticationFailed, ErrorCode::UnsupportedSaslMechanism, ErrorCode::IllegalSaslState]
        {
            let (address, message) = ("b:9092".into(), "no".into());
            let error = ClientError::SaslAuthentication { address, mechanism: "PLAIN", code, message };
            let verdicts = [of_look_up(&error), of_commit(&error), of_poll(&error), of_transaction(&error)];
            assert_eq!(verdicts, [Verdict::Fatal; 4], "{code:?}");
            assert_eq!(of_record(&error), Some(Verdict::Fatal), "{code:?}");
        }
    }

    #[test]
    fn every_error_of_a_poll_has_kafkas_answer() {
        let wrapped = |error| ClientError::RebalanceCallback { source: Box::new(error) };
        let cases = [
            (ClientError::Wakeup, Verdict::Retry),
            (broker(ErrorCode::InconsistentGroupProtocol), Verdict::OtherGroup),
            (broker(ErrorCode::FencedInstanceId), Verdict::Fatal),
            (broker(ErrorCode::TopicAuthorizationFailed), Verdict::Fatal),
            (ClientError::NoOffsetForPartition { partitions: Vec::new() }, Verdict::Fatal),
            (wrapped(broker(ErrorCode::NotCoordinator)), Verdict::Retry),
            (wrapped(ClientError::Closed), Verdict::Fatal),
        ];
        for (error, verdict) in cases {
            assert_eq!(of_poll(&error), verdict, "{error}");
        }
    }

    #[test]
    fn every_error_of_a_transaction_is_answered_by_rejoining_beginning_anew_or_failing() {
        let failed = |source| ClientError::TransactionFailed { source: Box::new(source) };
        let dead = |source| ClientError::ProducerFailed { transactional_id: "a".into(), source: Box::new(source) };
        let timeout = || ClientError::Timeout { what: "commit".into(), after: Duration::ZERO };
        let cases = [
            (dead(broker(ErrorCode::ProducerFenced)), Verdict::Migrated),
            (failed(broker(ErrorCode::InvalidProducerEpoch)), Verdict::Migrated),
            (dead(broker(ErrorCode::InvalidProducerIdMapping)), Verdict::Migrated),
            (failed(broker(ErrorCode::IllegalGeneration)), Verdict::Migrated),
            (failed(broker(ErrorCode::UnknownMemberId)), Verdict::Migrated),
            (ClientError::CommitFailed { reason: "gone".into() }, Verdict::Migrated),
            (timeout(), Verdict::Retry),
            (failed(timeout()), Verdict::Retry),
            (failed(broker(ErrorCode::TransactionAbortable)), Verdict::Retry),
            (failed(broker(ErrorCode::NotEnoughReplicas)), Verdict::Retry),
            (dead(broker(ErrorCode::InvalidTxnState)), Verdict::Retry),
            (broker(ErrorCode::NotCoordinator), Verdict::Retry),
            (failed(broker(ErrorCode::FencedInstanceId)), Verdict::Fatal),
            (failed(broker(ErrorCode::GroupAuthorizationFailed)), Verdict::Fatal),
            (dead(broker(ErrorCode::TransactionalIdAuthorizationFailed)), Verdict::Fatal),
            (dead(broker(ErrorCode::UnknownServerError)), Verdict::Fatal),
            (ClientError::InvalidState { reason: "closing".into() }, Verdict::Fatal),
            (ClientError::Closed, Verdict::Fatal),
        ];
        for (error, verdict) in cases {
            assert_eq!(of_transaction(&error), verdict, "{error}");
        }
    }

    #[test]
    fn handlers_are_asked_about_records_unless_the_thread_has_lost_its_tasks_or_all_records_would_fail() {
        let cases = [
            (ErrorCode::ProducerFenced, Some(Verdict::Migrated)),
            (ErrorCode::InvalidProducerEpoch, Some(Verdict::Migrated)),
            (ErrorCode::OutOfOrderSequenceNumber, Some(Verdict::Migrated)),
            (ErrorCode::InvalidProducerIdMapping, Some(Verdict::Migrated)),
            (ErrorCode::TopicAuthorizationFailed, Some(Verdict::Fatal)),
            (ErrorCode::InvalidTopicException, Some(Verdict::Fatal)),
            (ErrorCode::UnknownServerError, Some(Verdict::Fatal)),
            (ErrorCode::MessageTooLarge, None),
            (ErrorCode::NotEnoughReplicas, None),
            (ErrorCode::UnknownTopicOrPartition, None),
        ];
        for (code, verdict) in cases {
            assert_eq!(of_record(&broker(code)), verdict, "{code}");
        }
        let untrusted = ClientError::SslAuthentication { address: "a:1".into(), reason: "not trusted".into() };
        assert_eq!(of_record(&untrusted), Some(Verdict::Fatal));
    }
}
