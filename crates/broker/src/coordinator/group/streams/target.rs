//! When and how the target assignment of a streams group is computed anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use vltava_protocol::messages::streams_group_heartbeat_response::Status;

use super::assign::{GroupSpec, MemberSpec, SubtopologySpec, sticky};
use super::status::StatusCode;
use super::tasks::Tasks;
use super::{Streams, StreamsGroup};
use crate::coordinator::group::shard::GroupCoordinatorShard;
use crate::coordinator::group::timer_key::TimerKey;

/// The setting that an assignment depends on, as it is recorded.
const STANDBY_REPLICAS: &str = "num.standby.replicas";

/// Why there is no new target assignment though one is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delay {
    /// A group that was empty waits for more members.
    Initial,
    /// The last one is too recent.
    Interval,
}

impl Delay {
    /// What members are told.
    pub(super) fn status(self) -> Status {
        StatusCode::AssignmentDelayed.with(match self {
            Self::Initial => "Assignment delayed due to the configured initial rebalance delay.",
            Self::Interval => "Assignment delayed due to the configured assignment interval.",
        })
    }
}

impl GroupCoordinatorShard {
    /// What an assignment of a group is asked for with.
    pub(super) fn assignment_configs(&self, group_id: &str) -> BTreeMap<String, String> {
        let replicas = self.core.config.streams_of(group_id).num_standby_replicas;
        BTreeMap::from([(STANDBY_REPLICAS.to_owned(), replicas.to_string())])
    }

    /// Lets a group that was empty wait for more members before its first assignment.
    pub(super) fn delay_first_assignment(&mut self, group_id: &Arc<str>) {
        let delay_ms = self.core.config.streams_of(group_id).initial_rebalance_delay_ms;
        let timer = TimerKey::FirstAssignment { group: group_id.clone() };
        if delay_ms > 0 && !self.core.timers.is_armed(&timer) {
            let deadline = self.core.after(delay_ms);
            self.core.timers.schedule(timer, deadline);
        }
    }

    /// The wait of a group that was empty is over.
    pub(in crate::coordinator::group) fn expire_first_assignment(&mut self, group_id: &Arc<str>) {
        // Where the topics were not looked at, after a restart, the next heartbeat does it.
        let is_due = |group: &StreamsGroup| !group.members.is_empty() && group.own.configured.is_some();
        if self.streams_group(group_id).is_some_and(is_due) {
            self.update_streams_target(group_id);
        }
    }

    /// Computes another target assignment if the group is in another epoch, unless it has to wait.
    pub(super) fn update_streams_target(&mut self, group_id: &Arc<str>) -> Option<Delay> {
        if self.core.timers.is_armed(&TimerKey::FirstAssignment { group: group_id.clone() }) {
            return Some(Delay::Initial);
        }
        let interval_ms = self.core.config.streams_of(group_id).assignment_interval_ms;
        let group = self.streams_group(group_id)?;
        if group.assignment_epoch >= group.epoch {
            return None;
        }
        if group.has_recent_target(self.core.now.timestamp_ms, interval_ms) {
            return Some(Delay::Interval);
        }
        let epoch = group.epoch;
        let spec = group.spec();
        let nothing = || group.members.keys().map(|id| (id.clone(), Tasks::default())).collect();
        let target = spec.as_ref().map_or_else(nothing, sticky);
        tracing::info!(group = %group_id, epoch, "computed a target assignment of tasks");
        let missing = spec.as_ref().map_or(0, |spec| spec.standbys_without_process(&target));
        if missing > 0 {
            tracing::warn!(
                group = %group_id,
                missing,
                "there are fewer processes than the standbys of tasks need by `streams.num.standby.replicas`"
            );
        }
        self.record_target::<Streams>(group_id, epoch, target);
        None
    }
}

impl StreamsGroup {
    /// What the assignor is asked; nothing as long as topics are missing, and nobody gets a task.
    fn spec(&self) -> Option<GroupSpec<'_>> {
        let configured = self.own.configured.as_ref().filter(|configured| configured.is_ready());
        let subtopologies = configured.and_then(|configured| configured.subtopologies.as_ref())?;
        let subtopologies = subtopologies.iter().map(|(id, subtopology)| {
            let is_stateful = !subtopology.state_changelog_topics.is_empty();
            (id.as_str(), SubtopologySpec { tasks: subtopology.tasks, is_stateful })
        });
        let members = self.members.iter().map(|(id, member)| {
            (id.clone(), MemberSpec { process_id: &member.wants.process_id, target: self.target.get(id) })
        });
        let replicas = self.own.assignment_configs.get(STANDBY_REPLICAS);
        Some(GroupSpec {
            members: members.collect(),
            subtopologies: subtopologies.collect(),
            standby_replicas: replicas.and_then(|replicas| replicas.parse().ok()).map_or(0, |replicas: usize| replicas),
        })
    }
}
