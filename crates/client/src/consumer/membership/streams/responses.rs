//! What a member concludes from the coordinator's answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::streams_group_heartbeat_response::{
    EndpointToPartitions, Status, TaskIds, TopicPartition as Partitions,
};
use vltava_protocol::messages::{StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse};
use vltava_protocol::wire::Message as _;

use super::{GroupResponse, MemberState, StreamsMembership};
use crate::consumer::coordinator::Coordinator;
use crate::consumer::streams_group::{EndpointPartitions, StreamsAssignment, StreamsGroupStatus, StreamsTaskId};
use crate::{ClientError, TopicPartition};

/// Whether the member may have missed an assignment.
///
/// The coordinator tells one when it has changed, and never again; of a heartbeat that was not answered nobody knows whether that
/// was so. If the next answer has an assignment, it is the newest one. If it has none, there was none, or it is missed: a
/// coordinator says its assignment again only to who joins. (Kafka's clients go on, and the tasks may be without anybody who
/// runs them.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    None,
    /// A heartbeat was not answered.
    Unanswered,
    /// Nor did the next answer have an assignment: the tasks are given up in good order, and the member joins anew.
    Missed,
}

impl StreamsMembership {
    pub(super) fn take_response(
        &mut self,
        now: Instant,
        token: u64,
        answer: Result<GroupResponse, ClientError>,
        coordinator: &mut Coordinator,
    ) {
        if self.awaited != Some(token) {
            // Of who has left, or of a heartbeat that was given up.
            if let Err(error) = answer {
                tracing::debug!(group = %self.config.group_id, %error, "a heartbeat failed that is not waited for");
            }
            return;
        }
        self.awaited = None;
        match answer {
            Ok(GroupResponse::StreamsHeartbeat(response)) if response.error_code == ErrorCode::None.code() => {
                self.succeeded(response);
            }
            Ok(GroupResponse::StreamsHeartbeat(response)) => self.refused(now, response, coordinator),
            Ok(other) => {
                let error = ClientError::unexpected(format!("{other:?} to a heartbeat of a streams group"));
                self.failed(now, error, coordinator);
            }
            Err(error) => self.failed(now, error, coordinator),
        }
    }

    fn succeeded(&mut self, response: StreamsGroupHeartbeatResponse) {
        let interval = response.heartbeat_interval_ms.max(0).unsigned_abs();
        self.timer.succeeded(Duration::from_millis(u64::from(interval)));
        self.is_unconfirmed = false;
        self.endpoint_epoch = response.endpoint_information_epoch;
        if let Some(endpoints) = response.partitions_by_user_endpoint {
            self.endpoints = Arc::new(by_endpoint(endpoints));
        }
        if let Some(statuses) = response.status {
            self.take_statuses(statuses);
        }
        if !self.beats() || response.member_epoch < 0 {
            return;
        }
        self.set_epoch(response.member_epoch);
        let is_group_ready = !self.statuses.iter().any(StreamsGroupStatus::holds_up);
        match (response.active_tasks, response.standby_tasks, response.warmup_tasks) {
            (Some(active), Some(standby), Some(warmup)) => {
                self.doubt = Doubt::None;
                let (active, standby, warmup) = (task_ids(active), task_ids(standby), task_ids(warmup));
                let known = &self.member.subtopologies;
                let all = active.iter().chain(&standby).chain(&warmup);
                if let Some(task) = all.into_iter().find(|task| !known.contains_key(&task.subtopology)) {
                    let what = format!("the task {task}, which is of no sub-topology, for a member of a streams group");
                    return self.fail(ClientError::unexpected(what));
                }
                self.take_target(StreamsAssignment { active, standby, warmup, is_group_ready });
            }
            (None, None, None) => {
                if self.doubt == Doubt::Unanswered && self.is_in_group() {
                    tracing::info!(
                        group = %self.config.group_id,
                        "a heartbeat was not answered, which may have had an assignment: joining anew"
                    );
                    self.doubt = Doubt::Missed;
                }
                if self.target.tasks.is_group_ready != is_group_ready && self.is_in_group() {
                    self.take_target(StreamsAssignment { is_group_ready, ..self.target.tasks.clone() });
                }
            }
            _ => self.fail(ClientError::unexpected("some kinds of tasks and not all, for a member of a streams group")),
        }
    }

    fn take_statuses(&mut self, statuses: Vec<Status>) {
        let statuses: Vec<_> = statuses
            .into_iter()
            .map(|status| StreamsGroupStatus::of(status.status_code, status.status_detail))
            .collect();
        if *self.statuses == *statuses {
            return;
        }
        if !statuses.is_empty() {
            tracing::warn!(group = %self.config.group_id, ?statuses, "the coordinator says of the group");
        }
        self.statuses = statuses.into();
    }

    /// Whether the member has to give up its tasks and to join again.
    pub(super) fn must_rejoin(&self) -> bool {
        self.doubt == Doubt::Missed && self.is_in_group()
    }

    /// Nobody knows whether the last heartbeat was heard, and what the answer was.
    pub(super) fn not_answered(&mut self) {
        self.told = None;
        self.is_shutdown_told = false;
        if self.doubt == Doubt::None && self.is_in_group() {
            self.doubt = Doubt::Unanswered;
        }
    }

    /// There was no answer.
    fn failed(&mut self, now: Instant, error: ClientError, coordinator: &mut Coordinator) {
        self.timer.failed(now);
        self.not_answered();
        if error.is_retriable() {
            tracing::debug!(group = %self.config.group_id, %error, "a heartbeat failed");
            coordinator.lost(&error.to_string());
            return;
        }
        self.fail(match error {
            ClientError::UnsupportedVersion { .. } => said(ErrorCode::UnsupportedVersion, &no_streams_protocol()),
            other => other,
        });
    }

    fn refused(&mut self, now: Instant, response: StreamsGroupHeartbeatResponse, coordinator: &mut Coordinator) {
        let code = ErrorCode::from(response.error_code);
        let message = response.error_message.as_deref().unwrap_or("");
        tracing::debug!(group = %self.config.group_id, %code, %message, "a heartbeat was refused");
        self.timer.failed(now);
        self.told = None;
        self.is_shutdown_told = false;
        match code {
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => coordinator.lost(code.name()),
            ErrorCode::CoordinatorLoadInProgress => {}
            ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId => {
                tracing::info!(group = %self.config.group_id, %code, %message, "the member is out of the group");
                self.timer.reset();
                self.lose(MemberState::Fenced);
            }
            // It may be let in later.
            ErrorCode::TopicAuthorizationFailed => self.failure = Some(said(code, message)),
            ErrorCode::UnsupportedVersion => self.fail(said(code, &no_streams_protocol())),
            _ => self.fail(said(code, message)),
        }
    }

    /// There is nothing to be done but to tell the application.
    fn fail(&mut self, error: ClientError) {
        tracing::error!(group = %self.config.group_id, %error, "the member cannot go on");
        self.fatal = Some(error);
        self.lose(MemberState::Fatal);
    }
}

/// Kafka's words for a cluster that does not know the protocol.
fn no_streams_protocol() -> String {
    format!(
        "The cluster does not support the STREAMS group protocol or does not support the versions of the STREAMS group \
         protocol used by this client (used versions: {} to {}).",
        StreamsGroupHeartbeatRequest::MIN_VERSION,
        StreamsGroupHeartbeatRequest::MAX_VERSION
    )
}

/// The code, with the coordinator's words if it has some.
fn said(code: ErrorCode, words: &str) -> ClientError {
    ClientError::Broker { code, message: Some(words).filter(|words| !words.is_empty()).map(Into::into) }
}

fn task_ids(tasks: Vec<TaskIds>) -> BTreeSet<StreamsTaskId> {
    let ids = |TaskIds { subtopology_id, partitions, .. }: TaskIds| {
        partitions.into_iter().map(move |partition| StreamsTaskId { subtopology: subtopology_id.clone(), partition })
    };
    tasks.into_iter().flat_map(ids).collect()
}

fn by_endpoint(endpoints: Vec<EndpointToPartitions>) -> EndpointPartitions {
    let all = |topics: Vec<Partitions>| -> BTreeSet<TopicPartition> {
        let of = |topic: Partitions| {
            let name: Arc<str> = topic.topic.into();
            topic.partitions.into_iter().map(move |partition| TopicPartition::new(name.clone(), partition))
        };
        topics.into_iter().flat_map(of).collect()
    };
    // There is one for each member, and an endpoint has as many members as its instance has threads.
    let mut active = BTreeMap::<(String, u16), BTreeSet<TopicPartition>>::new();
    let mut standby = active.clone();
    for EndpointToPartitions { user_endpoint, active_partitions, standby_partitions, .. } in endpoints {
        let endpoint = (user_endpoint.host, user_endpoint.port);
        active.entry(endpoint.clone()).or_default().extend(all(active_partitions));
        standby.entry(endpoint).or_default().extend(all(standby_partitions));
    }
    EndpointPartitions { active, standby }
}
