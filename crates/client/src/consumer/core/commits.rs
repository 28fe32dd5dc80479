//! Committing offsets: requests, answers, and the order in which they go out.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use vltava_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use super::{Core, Effect, World};
use crate::consumer::membership::{CommitVerdict, Generation};
use crate::{ClientError, OffsetAndMetadata, TopicPartition};

/// Highest version of `OffsetCommit` and `OffsetFetch` that names topics instead of giving ids.
pub(crate) const LAST_VERSION_WITH_NAMES: i16 = 9;

/// Offsets by partition.
pub type Offsets = BTreeMap<TopicPartition, OffsetAndMetadata>;

/// Called with the offsets and how committing them went.
pub(crate) type Callback = Box<dyn FnOnce(&Offsets, Result<(), ClientError>) + Send>;

/// Who waits for a commit.
pub(crate) enum Waiter {
    /// Nobody: a failure is logged.
    Auto,
    /// The preparation of a rebalance.
    Prepare,
    /// A caller.
    Reply(oneshot::Sender<Result<(), ClientError>>),
    /// A callback, to be called by the next `poll`.
    Callback(Callback),
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "Auto",
            Self::Prepare => "Prepare",
            Self::Reply(_) => "Reply",
            Self::Callback(_) => "Callback",
        })
    }
}

/// Offsets to commit.
#[derive(Debug)]
pub(crate) struct CommitJob {
    offsets: Arc<Offsets>,
    waiter: Waiter,
    /// Whether to try again after a retriable error.
    retry: bool,
    /// How long it may take altogether, up to `deadline`.
    limit: Duration,
    deadline: Instant,
    /// The generation in which it was asked for.
    asked_in: i32,
    /// Which of the assignments there was then: an epoch of a member may have several.
    assignment: u64,
}

impl CommitJob {
    pub(crate) fn new(offsets: Offsets, waiter: Waiter, retry: bool, limit: Duration, now: Instant) -> Self {
        let (asked_in, assignment) = (Generation::NONE.id, 0);
        Self { offsets: Arc::new(offsets), waiter, retry, limit, deadline: now + limit, asked_in, assignment }
    }
}

/// A finished commit whose callback has to be called.
pub(crate) struct Completion {
    offsets: Arc<Offsets>,
    result: Result<(), ClientError>,
    callback: Callback,
}

impl Completion {
    pub(crate) fn call(self) {
        (self.callback)(&self.offsets, self.result);
    }
}

impl fmt::Debug for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion").field("offsets", &self.offsets).finish_non_exhaustive()
    }
}

/// Where the first commit of the queue stands.
#[derive(Debug, Default)]
enum Attempt {
    /// To be sent when there is a coordinator.
    #[default]
    Due,
    /// To be sent again then.
    Paused(Instant),
    Sent {
        token: u64,
        generation: Generation,
    },
}

/// Commits go out one after the other, in the order in which they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    jobs: VecDeque<CommitJob>,
    attempt: Attempt,
    failures: u32,
    last_token: u64,
    pub(super) completions: VecDeque<Completion>,
    /// The commit before a rebalance is done.
    pub(super) is_prepared: bool,
    /// A static member was replaced: nothing can be committed any more.
    pub(super) fenced: Option<ClientError>,
}

impl Commits {
    /// Whether all commits are done.
    pub(super) fn is_idle(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Nothing is committed any more.
    pub(super) fn close(&mut self, why: &ClientError) {
        while !self.is_idle() {
            self.settle(Err(why.clone()));
        }
    }

    /// When a commit is sent again, or has no more time.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let deadline = self.jobs.front()?.deadline;
        Some(if let Attempt::Paused(until) = self.attempt { until.min(deadline) } else { deadline })
    }

    /// Takes note of how the first commit went.
    fn settle(&mut self, result: Result<(), ClientError>) {
        self.attempt = Attempt::Due;
        self.failures = 0;
        let Some(job) = self.jobs.pop_front() else { return };
        if let Err(error) = &result
            && error.code() == Some(ErrorCode::FencedInstanceId)
        {
            self.fenced = Some(error.clone());
        }
        match job.waiter {
            Waiter::Auto => {
                if let Err(error) = result {
                    tracing::warn!(%error, "automatic commit of offsets failed");
                }
            }
            Waiter::Prepare => {
                if let Err(error) = result {
                    tracing::error!(%error, "commit of offsets before a rebalance failed, going on to join");
                }
                self.is_prepared = true;
            }
            Waiter::Reply(reply) => {
                // The caller may have gone.
                let _ = reply.send(result);
            }
            Waiter::Callback(callback) => {
                self.completions.push_back(Completion { offsets: job.offsets, result, callback });
            }
        }
    }
}

impl Core {
    pub(super) fn push_commit(&mut self, job: CommitJob) {
        let asked_in = self.membership.as_ref().map_or(Generation::NONE.id, |membership| membership.generation().id);
        self.commits.jobs.push_back(CommitJob { asked_in, assignment: self.assignment, ..job });
    }

    /// Sends the commit whose turn it is, and gives up those that have no more time.
    pub(super) fn poll_commits(&mut self, now: Instant, world: &impl World) {
        while let Some(job) = self.commits.jobs.front() {
            if job.deadline <= now {
                let error = world.timed_out("commit of offsets", job.limit);
                self.commits.settle(Err(error));
                self.wake();
                continue;
            }
            match self.commits.attempt {
                Attempt::Due => {}
                Attempt::Paused(until) if until <= now => self.commits.attempt = Attempt::Due,
                Attempt::Paused(_) | Attempt::Sent { .. } => return,
            }
            let Some(node) = self.coordinator.want() else { return };
            match self.commit_request(job) {
                Ok((generation, request)) => {
                    self.commits.last_token += 1;
                    let token = self.commits.last_token;
                    self.commits.attempt = Attempt::Sent { token, generation };
                    self.effects.push(Effect::Commit { token, node, request });
                }
                Err(error) => {
                    self.commits.settle(Err(error));
                    self.wake();
                }
            }
        }
    }

    /// The request, with the generation of the group for a subscriber, without one for partitions assigned by hand. What
    /// was asked for before another assignment is not committed for partitions that have gone: others read them.
    fn commit_request(&self, job: &CommitJob) -> Result<(Generation, OffsetCommitRequest), ClientError> {
        let membership = self.membership.as_ref().ok_or(ClientError::Closed)?;
        let generation = if self.subscription.is_subscribed() {
            membership.commit_generation().map_err(not_in_group)?.clone()
        } else {
            Generation::NONE
        };
        let is_other = generation.id != job.asked_in || self.assignment != job.assignment;
        let is_late = self.subscription.is_subscribed() && is_other;
        let is_wanted = |tp: &TopicPartition| !is_late || self.subscription.is_assigned(tp);
        let topics = commit_topics(job.offsets.iter().filter(|(tp, _)| is_wanted(tp)))?;
        if topics.is_empty() && !job.offsets.is_empty() {
            return Err(refused(CommitVerdict::Failed, ErrorCode::IllegalGeneration));
        }
        let config = membership.config();
        let is_member = !generation.member_id.is_empty();
        let request = OffsetCommitRequest {
            group_id: config.group_id.clone(),
            generation_id_or_member_epoch: generation.id,
            member_id: generation.member_id.clone(),
            group_instance_id: config.group_instance_id.clone().filter(|_| is_member),
            topics,
            ..Default::default()
        };
        Ok((generation, request))
    }

    pub(super) fn on_commit(&mut self, token: u64, answer: Result<OffsetCommitResponse, ClientError>, now: Instant) {
        let generation = match &self.commits.attempt {
            Attempt::Sent { token: sent, generation } if *sent == token => generation.clone(),
            // One that was given up.
            _ => return,
        };
        self.commits.attempt = Attempt::Due;
        let result = answer.inspect_err(|error| self.coordinator.lost(&error.to_string()));
        match result.and_then(|response| self.judge(&generation, &response)) {
            Ok(()) => self.commits.settle(Ok(())),
            Err(error) => self.commit_failed(error, now),
        }
    }

    /// The first commit failed, or has no coordinator: it is made again if that may help.
    pub(super) fn commit_failed(&mut self, error: ClientError, now: Instant) {
        let Some(job) = self.commits.jobs.front() else { return };
        if matches!(self.commits.attempt, Attempt::Sent { .. }) {
            return;
        }
        let pause = self.config.common.retry_pause(self.commits.failures);
        // A topic that is not there is mostly one that was deleted, and a rebalance waits for this.
        let may_pass = error.is_retriable() && error.code() != Some(ErrorCode::UnknownTopicOrPartition);
        // The member has gone on to another epoch meanwhile, in which the partitions are still its own until they are given up.
        let is_stale = error.code() == Some(ErrorCode::StaleMemberEpoch);
        let may_pass = may_pass || (is_stale && matches!(job.waiter, Waiter::Prepare));
        if job.retry && may_pass && now + pause < job.deadline {
            tracing::debug!(%error, "commit of offsets failed, trying again");
            self.commits.failures += 1;
            self.commits.attempt = Attempt::Paused(now + pause);
        } else {
            self.commits.settle(Err(if is_stale { stale() } else { error }));
        }
    }

    /// What the answer says of the commit as a whole: the first error that is not of a topic's access.
    fn judge(&mut self, sent: &Generation, response: &OffsetCommitResponse) -> Result<(), ClientError> {
        let mut unauthorized: Vec<&str> = Vec::new();
        for topic in &response.topics {
            for partition in &topic.partitions {
                let code = ErrorCode::from(partition.error_code);
                match code {
                    ErrorCode::None => {}
                    ErrorCode::TopicAuthorizationFailed => unauthorized.push(&topic.name),
                    ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator | ErrorCode::RequestTimedOut => {
                        self.coordinator.lost(code.name());
                        return Err(ClientError::broker(code));
                    }
                    ErrorCode::FencedInstanceId
                    | ErrorCode::RebalanceInProgress
                    | ErrorCode::UnknownMemberId
                    | ErrorCode::StaleMemberEpoch
                    | ErrorCode::IllegalGeneration => {
                        let membership = self.membership.as_mut().ok_or(ClientError::Closed)?;
                        return Err(refused(membership.on_commit_error(code, sent), code));
                    }
                    ErrorCode::GroupAuthorizationFailed => return Err(self.of_group(ClientError::broker(code))),
                    code => {
                        let message = format!("commit of {}-{}", topic.name, partition.partition_index);
                        return Err(ClientError::Broker { code, message: Some(message.into()) });
                    }
                }
            }
        }
        if unauthorized.is_empty() {
            return Ok(());
        }
        unauthorized.dedup();
        let message = Some(Arc::from(format!("not authorized to commit to {}", unauthorized.join(", "))));
        Err(ClientError::Broker { code: ErrorCode::TopicAuthorizationFailed, message })
    }
}

fn commit_topics<'a>(
    offsets: impl Iterator<Item = (&'a TopicPartition, &'a OffsetAndMetadata)>,
) -> Result<Vec<OffsetCommitRequestTopic>, ClientError> {
    let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
    for (tp, offset) in offsets {
        if offset.offset < 0 {
            return Err(ClientError::invalid(format!("offset {} of {tp} to commit is negative", offset.offset)));
        }
        let partition = OffsetCommitRequestPartition {
            partition_index: tp.partition(),
            committed_offset: offset.offset,
            committed_leader_epoch: offset.leader_epoch.unwrap_or(-1),
            committed_metadata: Some(offset.metadata.clone()),
            ..Default::default()
        };
        match topics.last_mut() {
            Some(last) if last.name == tp.topic() => last.partitions.push(partition),
            _ => topics.push(OffsetCommitRequestTopic {
                name: tp.topic().to_owned(),
                partitions: vec![partition],
                ..Default::default()
            }),
        }
    }
    Ok(topics)
}

fn not_in_group(verdict: CommitVerdict) -> ClientError {
    match verdict {
        CommitVerdict::Rebalancing => refused(verdict, ErrorCode::RebalanceInProgress),
        _ => ClientError::CommitFailed { reason: "the consumer is not part of an active group".into() },
    }
}

/// What a caller is told of a commit that the group does not take.
fn refused(verdict: CommitVerdict, code: ErrorCode) -> ClientError {
    match verdict {
        CommitVerdict::Fatal => ClientError::broker(code),
        CommitVerdict::Stale => ClientError::broker(ErrorCode::StaleMemberEpoch),
        CommitVerdict::Rebalancing => {
            let message = "offsets cannot be committed since the consumer is undergoing a rebalance: poll to complete it, \
                           then commit again";
            ClientError::Broker { code: ErrorCode::RebalanceInProgress, message: Some(message.into()) }
        }
        CommitVerdict::Failed => ClientError::CommitFailed {
            reason: format!("the group has rebalanced and assigned the partitions to another member ({code})").into(),
        },
    }
}

/// In the epoch in which it was made, the commit is not taken any more.
fn stale() -> ClientError {
    let reason = format!("OffsetCommit failed with stale member epoch. {}", ErrorCode::StaleMemberEpoch.message());
    ClientError::CommitFailed { reason: reason.into() }
}
