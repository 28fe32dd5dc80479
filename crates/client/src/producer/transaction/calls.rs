//! The requests to the coordinators, one at a time: which comes next, and what its answer changes.
//!
//! A request that may have arrived is repeated until it is answered, whatever becomes of the transaction meanwhile: an end
//! that was not preceded by the answer could be overtaken by what it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use vltava_protocol::ErrorCode;

use super::manager::{State, TransactionManager, TransactionVersion};
use super::verdict::{Asked, Verdict, verdict};
use crate::config::exponential;
use crate::consumer::ConsumerGroupMetadata;
use crate::error::ClientError;
use crate::producer::sender::Identity;
use crate::{OffsetAndMetadata, TopicPartition};

/// The pause while the transaction before is just being ended; Kafka's producer waits as long.
pub(crate) const SOON: Duration = Duration::from_millis(20);

/// A partition that batches of the transaction are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionOfTransaction {
    /// Its queue's.
    pub(crate) id: u64,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
}

/// What the broker of the transaction's coordinator offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) version: TransactionVersion,
    /// Whether a producer may ask it for a new epoch (KIP-360, since Kafka 2.5).
    pub(crate) has_new_epochs: bool,
}

/// A request to a coordinator.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// By which its answer is known.
    pub(crate) number: u64,
    pub(crate) request: Request,
    /// Whether the coordinator that is known is not the one any more, or not reachable.
    pub(crate) look_up: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Request {
    /// To the transaction's coordinator. With an identity: the next epoch of it.
    InitProducerId {
        identity: Option<Identity>,
    },
    /// To the transaction's coordinator, as the next one.
    AddPartitions {
        identity: Identity,
        partitions: Vec<PartitionOfTransaction>,
    },
    AddOffsets {
        identity: Identity,
        group: String,
    },
    /// To the group's coordinator.
    CommitOffsets {
        identity: Identity,
        version: TransactionVersion,
        group: ConsumerGroupMetadata,
        offsets: Vec<(TopicPartition, OffsetAndMetadata)>,
    },
    /// To the transaction's coordinator.
    End {
        identity: Identity,
        version: TransactionVersion,
        commit: bool,
    },
}

impl Request {
    /// The group whose coordinator is meant; `None` for the transaction's.
    pub(crate) fn group(&self) -> Option<&str> {
        match self {
            Self::CommitOffsets { group, .. } => Some(group.group_id()),
            _ => None,
        }
    }

    fn asked(&self) -> Asked {
        match self {
            Self::InitProducerId { .. } => Asked::InitProducerId,
            Self::AddPartitions { .. } => Asked::AddPartitions,
            Self::AddOffsets { .. } => Asked::AddOffsets,
            Self::CommitOffsets { .. } => Asked::CommitOffsets,
            Self::End { commit: true, .. } => Asked::Commit,
            Self::End { commit: false, .. } => Asked::Abort,
        }
    }
}

/// A coordinator's answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    /// One for each partition of the request in their order, or one.
    pub(crate) codes: Vec<ErrorCode>,
    /// The one to go on with, where the answer has it.
    pub(crate) identity: Option<Identity>,
    /// Absent from a group's coordinator.
    pub(crate) offer: Option<Offer>,
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(crate) enum NoAnswer {
    /// The coordinator was not found: nothing was sent.
    NotFound(ClientError),
    /// Whether the request arrived is not known.
    Lost(ClientError),
}

/// The request that is under way, or is to be repeated.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    current: Option<Current>,
    last_number: u64,
}

#[derive(Debug)]
struct Current {
    call: Call,
    is_on_its_way: bool,
    /// Whether it may have arrived without an answer.
    is_in_doubt: bool,
    attempts: u32,
    retry_at: Option<Instant>,
}

impl Calls {
    pub(super) fn clear(&mut self) {
        self.current = None;
    }

    /// When the next request goes, if nothing else happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let current = self.current.as_ref().filter(|current| !current.is_on_its_way)?;
        current.retry_at
    }
}

impl TransactionManager {
    /// The request to send now. `is_flushed` is whether no batch is open or on its way: only then may a transaction end.
    pub(crate) fn next_call(&mut self, now: Instant, is_flushed: bool) -> Option<Call> {
        let is_over = matches!(self.state, State::AbortableError(_) | State::Aborting);
        let current = &mut self.calls.current;
        if current.as_ref().is_some_and(|current| {
            let is_end = matches!(current.call.request, Request::End { .. });
            is_over && !is_end && !current.is_on_its_way && !current.is_in_doubt
        }) {
            *current = None;
        }
        if self.calls.current.is_none() {
            let request = self.next_request(is_flushed)?;
            self.calls.last_number += 1;
            let call = Call { number: self.calls.last_number, request, look_up: false };
            self.calls.current =
                Some(Current { call, is_on_its_way: false, is_in_doubt: false, attempts: 0, retry_at: None });
        }
        let current = self.calls.current.as_mut()?;
        if current.is_on_its_way || current.retry_at.is_some_and(|at| at > now) {
            return None;
        }
        current.is_on_its_way = true;
        Some(current.call.clone())
    }

    fn next_request(&mut self, is_flushed: bool) -> Option<Request> {
        let may_end = match self.state {
            State::Committing => is_flushed && self.offsets.is_empty() && self.to_add.is_empty(),
            State::Aborting => is_flushed,
            _ => false,
        };
        if may_end && !self.is_started {
            // Nobody knows of it.
            self.finish();
        }
        if matches!(self.state, State::Initializing) {
            return Some(Request::InitProducerId { identity: self.identity });
        }
        let identity = self.identity?;
        let version = self.version;
        if matches!(self.state, State::InTransaction | State::Committing) {
            if !self.to_add.is_empty() {
                let partitions = std::mem::take(&mut self.to_add);
                return Some(Request::AddPartitions { identity, partitions });
            }
            if let Some(offsets) = self.offsets.front() {
                let group = offsets.group.clone();
                if version == TransactionVersion::One && !self.groups.contains(group.group_id()) {
                    return Some(Request::AddOffsets { identity, group: group.group_id().to_owned() });
                }
                let offsets = offsets.left.clone();
                // Since version 2 the offsets themselves begin the transaction.
                self.is_started = true;
                return Some(Request::CommitOffsets { identity, version, group, offsets });
            }
        }
        match self.state {
            State::Committing if may_end => Some(Request::End { identity, version, commit: true }),
            State::Aborting if may_end => Some(Request::End { identity, version, commit: false }),
            _ => None,
        }
    }

    /// The answer to a [call](Self::next_call), or why there is none.
    pub(crate) fn answered(&mut self, now: Instant, number: u64, result: Result<Answer, NoAnswer>) {
        let Some(mut current) = self.calls.current.take_if(|current| current.call.number == number) else { return };
        current.is_on_its_way = false;
        let (asked, code, answer) = match result {
            Ok(answer) => {
                self.offered = answer.offer.or(self.offered);
                if current.call.request.group().is_some() {
                    return self.offsets_answered(now, current, &answer.codes);
                }
                let asked = current.call.request.asked();
                (asked, first_error(asked, &answer.codes), Some(answer))
            }
            Err(NoAnswer::NotFound(error)) => {
                let asked = match current.call.request.group() {
                    Some(_) => Asked::GroupCoordinator,
                    None => Asked::TransactionCoordinator,
                };
                match error.code().filter(|_| !error.is_retriable()) {
                    Some(code) => (asked, code, None),
                    None => return self.unanswered(now, current, error),
                }
            }
            Err(NoAnswer::Lost(error)) => {
                current.is_in_doubt = true;
                return self.unanswered(now, current, error);
            }
        };
        match (verdict(asked, code), answer) {
            (Verdict::Done, Some(answer)) => self.done(now, current.call.request, answer),
            (verdict, _) => self.refused(now, current, verdict, ClientError::broker(code)),
        }
    }

    fn unanswered(&mut self, now: Instant, current: Current, error: ClientError) {
        match error.is_retriable() {
            true => self.repeat(now, current, Verdict::LookUp),
            false => self.die(error),
        }
    }

    fn refused(&mut self, now: Instant, current: Current, verdict: Verdict, error: ClientError) {
        match verdict {
            Verdict::Done => {}
            Verdict::Retry | Verdict::RetrySoon | Verdict::LookUp => self.repeat(now, current, verdict),
            Verdict::Uninitialize => self.uninitialize(error),
            Verdict::Abort => self.fail_transaction(error),
            Verdict::AbortWithNewEpoch if self.can_begin_anew() => {
                self.needs_new_epoch |= self.version == TransactionVersion::One;
                self.fail_transaction(error);
            }
            Verdict::Fenced => self.die(ClientError::broker(ErrorCode::ProducerFenced)),
            Verdict::AbortWithNewEpoch | Verdict::Fatal => self.die(error),
        }
    }

    /// Whether the next transaction can have another epoch than one in which numbers were lost.
    pub(super) fn can_begin_anew(&self) -> bool {
        self.version == TransactionVersion::Two || self.offered.is_some_and(|offer| offer.has_new_epochs)
    }

    fn repeat(&mut self, now: Instant, mut current: Current, verdict: Verdict) {
        let (first, longest) = (self.settings.retry_backoff, self.settings.retry_backoff_max);
        let pause = match verdict {
            Verdict::RetrySoon => exponential(first.min(SOON), first, current.attempts),
            _ => exponential(first, longest, current.attempts),
        };
        current.attempts = current.attempts.saturating_add(1);
        current.retry_at = Some(now + pause);
        current.call.look_up = verdict == Verdict::LookUp;
        self.calls.current = Some(current);
    }

    fn done(&mut self, now: Instant, request: Request, answer: Answer) {
        match request {
            Request::InitProducerId { .. } => match answer.identity {
                Some(identity) => self.initialized(identity),
                None => self.die(ClientError::unexpected("a producer without an id")),
            },
            Request::AddPartitions { partitions, .. } => {
                self.is_started = true;
                for partition in partitions {
                    self.partitions.insert(partition.id, true);
                }
            }
            Request::AddOffsets { group, .. } => {
                self.is_started = true;
                self.groups.insert(group);
            }
            Request::CommitOffsets { .. } => {}
            Request::End { .. } => {
                self.identity = answer.identity.or(self.identity);
                self.ended_at = Some(now);
                self.finish();
            }
        }
    }

    /// Each offset has a code of its own: those that failed in passing are sent again.
    fn offsets_answered(&mut self, now: Instant, mut current: Current, codes: &[ErrorCode]) {
        let Request::CommitOffsets { offsets, .. } = &mut current.call.request else { return };
        let mut codes = codes.iter();
        let mut worst: Option<(Verdict, ErrorCode)> = None;
        offsets.retain(|_| {
            let code = codes.next().copied().unwrap_or(ErrorCode::UnknownServerError);
            let verdict = verdict(Asked::CommitOffsets, code);
            if verdict == Verdict::Done {
                return false;
            }
            if worst.is_none_or(|(before, _)| severity(verdict) > severity(before)) {
                worst = Some((verdict, code));
            }
            true
        });
        match worst {
            None => self.offsets_taken(),
            Some((verdict, code)) => self.refused(now, current, verdict, ClientError::broker(code)),
        }
    }
}

/// How much of what remains to be done a verdict ends.
fn severity(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Done => 0,
        Verdict::RetrySoon => 1,
        Verdict::Retry => 2,
        Verdict::LookUp => 3,
        Verdict::Abort | Verdict::AbortWithNewEpoch | Verdict::Uninitialize => 4,
        Verdict::Fenced | Verdict::Fatal => 5,
    }
}

/// The code that decides. Of partitions that are added together, those that were not tried say least.
fn first_error(asked: Asked, codes: &[ErrorCode]) -> ErrorCode {
    let decides = |code: &ErrorCode| (severity(verdict(asked, *code)), *code != ErrorCode::OperationNotAttempted);
    codes.iter().max_by_key(|code| decides(code)).copied().unwrap_or(ErrorCode::UnknownServerError)
}
