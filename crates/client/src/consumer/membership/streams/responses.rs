//! What an answer to a heartbeat says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vltava_protocol::messages::StreamsGroupHeartbeatResponse;
use vltava_protocol::messages::streams_group_heartbeat_response::{
    EndpointToPartitions, Status, TaskIds, TopicPartition as Partitions,
};

use super::StreamsProtocol;
use crate::consumer::membership::modern::Standing;
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

impl StreamsProtocol {
    pub(super) fn take_answer(
        &mut self,
        standing: &Standing<'_, StreamsAssignment>,
        message: StreamsGroupHeartbeatResponse,
    ) -> Result<Option<StreamsAssignment>, ClientError> {
        let group = &standing.config.group_id;
        self.endpoint_epoch = message.endpoint_information_epoch;
        if let Some(endpoints) = message.partitions_by_user_endpoint {
            self.endpoints = Arc::new(by_endpoint(endpoints));
        }
        if let Some(statuses) = message.status {
            self.take_statuses(group, statuses);
        }
        let is_group_ready = !self.statuses.iter().any(StreamsGroupStatus::holds_up);
        match (message.active_tasks, message.standby_tasks, message.warmup_tasks) {
            (Some(active), Some(standby), Some(warmup)) => {
                self.doubt = Doubt::None;
                let (active, standby, warmup) = (task_ids(active), task_ids(standby), task_ids(warmup));
                let known = &self.member.subtopologies;
                let all = active.iter().chain(&standby).chain(&warmup);
                if let Some(task) = all.into_iter().find(|task| !known.contains_key(&task.subtopology)) {
                    let what = format!("the task {task}, which is of no sub-topology, for a member of a streams group");
                    return Err(ClientError::unexpected(what));
                }
                Ok(Some(StreamsAssignment { active, standby, warmup, is_group_ready }))
            }
            (None, None, None) if standing.state.is_in_group() => {
                if self.doubt == Doubt::Unanswered {
                    tracing::info!(
                        %group,
                        "a heartbeat was not answered, which may have had an assignment: joining anew"
                    );
                    self.doubt = Doubt::Missed;
                }
                let is_other = standing.target.is_group_ready != is_group_ready;
                Ok(is_other.then(|| StreamsAssignment { is_group_ready, ..standing.target.clone() }))
            }
            (None, None, None) => Ok(None),
            _ => Err(ClientError::unexpected("some kinds of tasks and not all, for a member of a streams group")),
        }
    }

    fn take_statuses(&mut self, group: &str, statuses: Vec<Status>) {
        let statuses: Vec<_> = statuses
            .into_iter()
            .map(|status| StreamsGroupStatus::of(status.status_code, status.status_detail))
            .collect();
        if *self.statuses == *statuses {
            return;
        }
        if !statuses.is_empty() {
            tracing::warn!(%group, ?statuses, "the coordinator says of the group");
        }
        self.statuses = statuses.into();
    }
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
