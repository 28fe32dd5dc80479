//! Committing offsets: requests, answers, and the order in which they go out.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use vltava_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use super::membership::classic::{ClassicMembership, CommitVerdict, Generation};
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
    pub(crate) offsets: Arc<Offsets>,
    pub(crate) waiter: Waiter,
    /// Whether to try again after a retriable error.
    pub(crate) retry: bool,
    pub(crate) deadline: Instant,
}

/// A finished commit whose callback has to be called.
pub(crate) struct Completion {
    pub(crate) offsets: Arc<Offsets>,
    pub(crate) result: Result<(), ClientError>,
    pub(crate) callback: Callback,
}

/// Commits go out one after the other, in the order in which they were asked for.
#[derive(Default)]
pub(crate) struct CommitQueue {
    jobs: VecDeque<CommitJob>,
    running: bool,
    pub(crate) completions: VecDeque<Completion>,
    /// The commit before a rebalance is done.
    pub(crate) prepared: bool,
    /// A static member was replaced: nothing can be committed any more.
    pub(crate) fenced: Option<ClientError>,
}

impl fmt::Debug for CommitQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitQueue").field("jobs", &self.jobs).field("running", &self.running).finish_non_exhaustive()
    }
}

impl CommitQueue {
    /// Adds a job. Returns whether somebody has to start working on the queue.
    pub(crate) fn push(&mut self, job: CommitJob) -> bool {
        self.jobs.push_back(job);
        !std::mem::replace(&mut self.running, true)
    }

    /// The next job; without one, the work on the queue is over.
    pub(crate) fn next(&mut self) -> Option<CommitJob> {
        let job = self.jobs.pop_front();
        self.running = job.is_some();
        job
    }

    /// Whether all commits are done.
    pub(crate) fn is_idle(&self) -> bool {
        !self.running && self.jobs.is_empty()
    }

    /// Takes note of how a job went.
    pub(crate) fn complete(&mut self, job: CommitJob, result: Result<(), ClientError>) {
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
                self.prepared = true;
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

/// The generation in which offsets may be committed: that of the group for a subscriber, none for
/// partitions assigned by hand.
pub(crate) fn generation_for_commit(
    subscribed: bool,
    membership: &ClassicMembership,
) -> Result<Generation, ClientError> {
    if !subscribed {
        return Ok(Generation::NONE);
    }
    if let Some(generation) = membership.stable_generation() {
        return Ok(generation.clone());
    }
    if membership.is_rebalancing() {
        Err(rebalance_in_progress())
    } else {
        Err(ClientError::CommitFailed { reason: "the consumer is not part of an active group".into() })
    }
}

pub(crate) fn build_request(
    membership: &ClassicMembership,
    generation: &Generation,
    offsets: &Offsets,
) -> Result<OffsetCommitRequest, ClientError> {
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
    let config = membership.config();
    let member = !generation.member_id.is_empty();
    Ok(OffsetCommitRequest {
        group_id: config.group_id.clone(),
        generation_id_or_member_epoch: generation.id,
        member_id: generation.member_id.clone(),
        group_instance_id: config.group_instance_id.clone().filter(|_| member),
        topics,
        ..Default::default()
    })
}

/// What the answer says of the commit as a whole: the first error that is not of a topic's access.
pub(crate) fn judge(
    membership: &mut ClassicMembership,
    sent: &Generation,
    response: &OffsetCommitResponse,
) -> Result<(), ClientError> {
    let mut unauthorized: Vec<&str> = Vec::new();
    for topic in &response.topics {
        for partition in &topic.partitions {
            let code = ErrorCode::from(partition.error_code);
            match code {
                ErrorCode::None => {}
                ErrorCode::TopicAuthorizationFailed => unauthorized.push(&topic.name),
                ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator | ErrorCode::RequestTimedOut => {
                    membership.coordinator_unknown(code.name());
                    return Err(ClientError::broker(code));
                }
                ErrorCode::FencedInstanceId
                | ErrorCode::RebalanceInProgress
                | ErrorCode::UnknownMemberId
                | ErrorCode::IllegalGeneration => {
                    return Err(match membership.on_commit_error(code, sent) {
                        CommitVerdict::Fatal => ClientError::broker(code),
                        CommitVerdict::Rebalancing => rebalance_in_progress(),
                        CommitVerdict::Failed => ClientError::CommitFailed {
                            reason: format!(
                                "the group has rebalanced and assigned the partitions to another member ({code})"
                            )
                            .into(),
                        },
                    });
                }
                code => {
                    let message = Some(Arc::from(format!("commit of {}-{}", topic.name, partition.partition_index)));
                    return Err(ClientError::Broker { code, message });
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

/// Polling completes the rebalance, then the commit can be made again.
fn rebalance_in_progress() -> ClientError {
    let message = Some(Arc::from(
        "offsets cannot be committed since the consumer is undergoing a rebalance: poll to complete it, then commit again",
    ));
    ClientError::Broker { code: ErrorCode::RebalanceInProgress, message }
}
