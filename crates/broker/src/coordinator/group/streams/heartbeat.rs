//! StreamsGroupHeartbeat: a member says who it is and what it has, and learns what it shall have.

use std::collections::BTreeMap;
use std::sync::Arc;

use vltava_protocol::messages::streams_group_heartbeat_request::TaskIds as HeldIds;
use vltava_protocol::messages::streams_group_heartbeat_response::{Status, TaskIds};
use vltava_protocol::messages::{StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse};
use vltava_protocol::records::group::StreamsGroupMetadataValue;
use vltava_protocol::records::group::streams_group_metadata_value::LastAssignmentConfig;
use vltava_protocol::{ErrorCode, invariant};

use super::configure::{ConfiguredTopology, InternalTopic, configure};
use super::fold::TopologyChange;
use super::member::StreamsMember;
use super::reconcile::Target;
use super::request::{refuse, validate};
use super::status::StatusCode;
use super::target::Delay;
use super::tasks::{ActiveTasks, TaskSet, Tasks};
use super::topology::{StreamsTopology, topology_value};
use super::{Change, Streams, StreamsGroup};
use crate::coordinator::group::TopicMetadata;
use crate::coordinator::group::consumer::metadata_hash;
use crate::coordinator::group::modern::{LEAVE_EPOCH, MemberState, ModernKind as _, unknown_member};
use crate::coordinator::group::shard::{Caller, GroupCoordinatorShard, Refused};
use crate::coordinator::shard::Now;

/// The answer to a heartbeat, and what is to be done for the group.
#[derive(Debug)]
pub(crate) struct StreamsHeartbeat {
    pub(crate) response: StreamsGroupHeartbeatResponse,
    /// Internal topics of the application that are to be created in the member's name.
    pub(crate) missing: Vec<InternalTopic>,
}

/// What a heartbeat comes to, found before anything of it is recorded.
struct Plan {
    group_id: Arc<str>,
    /// The member as it was, or a new one.
    before: StreamsMember,
    /// The member as it says that it is.
    wanted: StreamsMember,
    /// A topology that the group did not have.
    new_topology: bool,
    topology: Arc<StreamsTopology>,
    configured: Arc<ConfiguredTopology>,
    metadata_hash: i64,
    /// What the member says that it has.
    held: Option<Tasks>,
}

impl GroupCoordinatorShard {
    /// Takes a member's heartbeat: lets it join, moves it on, or lets it leave.
    ///
    /// # Errors
    ///
    /// With Kafka's text: a request that contradicts itself, a member or an epoch that is not known, a full group, a
    /// topology that cannot be or is another than the group's.
    pub(crate) fn streams_group_heartbeat(
        &mut self,
        now: Now,
        caller: &Caller,
        topics: &dyn TopicMetadata,
        request: &StreamsGroupHeartbeatRequest,
    ) -> Result<StreamsHeartbeat, Refused> {
        self.core.now = now;
        validate(request)?;
        if request.member_epoch == LEAVE_EPOCH {
            return self.streams_group_leave(request);
        }
        let plan = self.plan(caller, topics, request)?;
        let (group_id, member_id) = (plan.group_id.clone(), plan.before.id.clone());
        let was_empty = self.streams_group(&group_id).is_none_or(|group| group.members.is_empty());
        let mut status = self.stale_topology(&plan);
        self.record(&plan, topics);
        if was_empty {
            self.delay_first_assignment(&group_id);
        }
        let delay = self.update_streams_target(&group_id);
        status.extend(delay.map(Delay::status));
        self.move_streams_member_on(&group_id, &member_id, delay, plan.held.as_ref());
        let settings = self.core.config.streams_of(&group_id);
        self.core.arm_session(&group_id, &member_id, settings.session_timeout_ms);
        if request.shutdown_application {
            self.request_shutdown(&group_id, &member_id);
        }
        self.answer(&plan, topics, request, status)
    }

    /// Checks a heartbeat against its group.
    fn plan(
        &self,
        caller: &Caller,
        topics: &dyn TopicMetadata,
        request: &StreamsGroupHeartbeatRequest,
    ) -> Result<Plan, Refused> {
        let group_id: Arc<str> = request.group_id.as_str().into();
        let is_joining = request.member_epoch == 0;
        self.check_modern_group::<Streams>(&group_id, is_joining)?;
        let group = self.streams_group(&group_id);
        let known = group.and_then(|group| group.members.get(request.member_id.as_str()));
        let max_size = self.core.config.streams.max_size;
        let members = group.map_or(0, |group| group.members.len());
        // Kafka 4.3 also refuses who is in a full group and joins again, against what it says of the setting.
        if is_joining && known.is_none() && members >= max_size {
            let text = format!("The streams group has reached its maximum capacity of {max_size} members.");
            return Err(Refused::new(ErrorCode::GroupMaxSizeReached, text));
        }
        let before = match known {
            Some(member) => member.clone(),
            None if is_joining => StreamsMember::new(request.member_id.as_str().into()),
            None => return Err(unknown_member(&request.member_id, &group_id)),
        };
        check_epoch(&before, request)?;
        let held = Tasks::of_request(request);
        if before.state == MemberState::Unknown && held.as_ref().is_none_or(|held| !held.is_empty()) {
            let text =
                "The streams group member is in a unknown state. The member must abandon all its tasks and rejoin.";
            return Err(Refused::new(ErrorCode::FencedMemberEpoch, text.to_owned()));
        }
        let wanted = before.updated(caller, request);
        let (topology, new_topology) = topology_of(group, request)?;
        let (configured, metadata_hash) = configuration(group, &topology, topics)?;
        if configured.is_ready()
            && let Some(subtopologies) = &configured.subtopologies
        {
            for tasks in [&request.active_tasks, &request.standby_tasks, &request.warmup_tasks].into_iter().flatten() {
                check_tasks(tasks, |id| subtopologies.get(id).map(|subtopology| subtopology.tasks))?;
            }
        }
        Ok(Plan { group_id, before, wanted, new_topology, topology, configured, metadata_hash, held })
    }

    fn stale_topology(&self, plan: &Plan) -> Vec<Status> {
        let (said, known) = (plan.wanted.wants.topology_epoch, plan.topology.epoch);
        if plan.new_topology || said >= known {
            return Vec::new();
        }
        let text = format!("The member's topology epoch {said} is behind the group's topology epoch {known}.");
        vec![StatusCode::StaleTopology.with(text)]
    }

    /// Records what a heartbeat changes: the member, the topology, and the group's epoch.
    fn record(&mut self, plan: &Plan, topics: &dyn TopicMetadata) {
        let group_id = &plan.group_id;
        self.make_room(group_id);
        let is_known = self.modern_member::<Streams>(group_id, &plan.before.id).is_some();
        let mut bump = !is_known || plan.wanted != plan.before;
        if bump {
            self.emit_change(
                group_id,
                Change::Member(plan.wanted.id.to_string(), Some(Streams::member_record(&plan.wanted))),
            );
        }
        if plan.new_topology {
            self.emit_change(group_id, Change::Own(TopologyChange(Some(plan.topology.to_record()))));
        }
        let validated = if plan.configured.is_ready() { plan.topology.epoch } else { -1 };
        let configs = self.assignment_configs(group_id);
        let Some(group) = self.streams_group_mut(group_id) else { return };
        bump |= plan.metadata_hash != group.metadata_hash
            || validated != group.own.validated_topology_epoch
            || configs != group.own.assignment_configs;
        group.own.configured = Some(plan.configured.clone());
        group.own.checked = Some(topics.version());
        let epoch = group.epoch.saturating_add(1);
        if bump {
            tracing::info!(group = %group_id, member = %plan.before.id, epoch, "streams group is in another epoch");
            self.set_streams_epoch(group_id, epoch, plan.metadata_hash, validated, configs);
            self.core.config.counters.streams_rebalances.increment();
        }
    }

    pub(super) fn set_streams_epoch(
        &mut self,
        group: &Arc<str>,
        epoch: i32,
        metadata_hash: i64,
        validated_topology_epoch: i32,
        configs: BTreeMap<String, String>,
    ) {
        let config = |(key, value)| LastAssignmentConfig { key, value, ..LastAssignmentConfig::default() };
        let value = StreamsGroupMetadataValue {
            epoch,
            metadata_hash,
            validated_topology_epoch,
            last_assignment_configs: Some(configs.into_iter().map(config).collect()),
            ..StreamsGroupMetadataValue::default()
        };
        self.emit_change(group, Change::Group(Some(value)));
    }

    /// Takes the member's next step towards its target.
    fn move_streams_member_on(
        &mut self,
        group_id: &Arc<str>,
        member_id: &Arc<str>,
        delay: Option<Delay>,
        held: Option<&Tasks>,
    ) {
        let Some(group) = self.streams_group(group_id) else { return };
        let Some(member) = group.members.get(member_id) else { return };
        if member.is_reconciled_to(group.assignment_epoch) {
            return;
        }
        let nothing = Tasks::default();
        let tasks = match delay {
            Some(Delay::Initial) => &nothing,
            _ => group.target.get(member_id).unwrap_or(&nothing),
        };
        let next = group.reconcile(member, &Target { epoch: group.assignment_epoch, tasks }, held);
        if next != *member {
            self.record_step(group_id, &next);
        }
    }

    fn answer(
        &mut self,
        plan: &Plan,
        topics: &dyn TopicMetadata,
        request: &StreamsGroupHeartbeatRequest,
        mut status: Vec<Status>,
    ) -> Result<StreamsHeartbeat, Refused> {
        let heartbeat_interval_ms = self.core.config.streams_of(&plan.group_id).heartbeat_interval_ms;
        let id = &plan.before.id;
        let Some(group) = self.streams_group_mut(&plan.group_id) else { return Err(lost(plan)) };
        let Some(after) = group.members.get(id) else { return Err(lost(plan)) };
        let mut response = StreamsGroupHeartbeatResponse {
            member_id: id.to_string(),
            member_epoch: after.epoch,
            heartbeat_interval_ms,
            ..StreamsGroupHeartbeatResponse::default()
        };
        if request.member_epoch == 0 || after.assigned != plan.before.assigned {
            response.active_tasks = Some(active_ids(&after.assigned.active));
            response.standby_tasks = Some(ids(&after.assigned.standby));
            response.warmup_tasks = Some(ids(&after.assigned.warmup));
            if after.wants.user_endpoint.is_some() {
                group.own.endpoint_epoch = group.own.endpoint_epoch.saturating_add(1);
            }
        }
        if group.own.endpoint_epoch != request.endpoint_information_epoch {
            response.partitions_by_user_endpoint = Some(group.endpoints(id, topics));
        }
        response.endpoint_information_epoch = group.own.endpoint_epoch;
        if let Some((code, text)) = &plan.configured.problem {
            status.push(code.with(text));
        }
        if let Some(who) = &group.own.shutdown_requested_by {
            status.push(StatusCode::ShutdownApplication.with(format!(
                "Streams group member {who} encountered a fatal error and requested a shutdown for the entire application."
            )));
        }
        response.status = Some(status);
        Ok(StreamsHeartbeat { response, missing: plan.configured.missing.clone() })
    }

    /// Every member is told from now on to end, until the group has none.
    pub(super) fn request_shutdown(&mut self, group_id: &str, member_id: &Arc<str>) {
        if let Some(group) = self.streams_group_mut(group_id)
            && group.own.shutdown_requested_by.is_none()
        {
            tracing::info!(group = group_id, member = %member_id, "a member wants the streams application to end");
            group.own.shutdown_requested_by = Some(member_id.clone());
        }
    }
}

fn lost(plan: &Plan) -> Refused {
    invariant!(false, "member {} of group {} is there after its heartbeat", plan.before.id, plan.group_id);
    ErrorCode::UnknownServerError.into()
}

/// The topology that the group has after the heartbeat, and whether it is new.
fn topology_of(
    group: Option<&StreamsGroup>,
    request: &StreamsGroupHeartbeatRequest,
) -> Result<(Arc<StreamsTopology>, bool), Refused> {
    let known = group.and_then(|group| group.own.topology.clone());
    let Some(said) = &request.topology else {
        // Kafka takes a group without one for impossible: its first member brings it.
        return known.map(|known| (known, false)).ok_or_else(|| ErrorCode::UnknownServerError.into());
    };
    let said_topology = StreamsTopology::of_record(topology_value(said));
    if said.epoch < 0 || said_topology.subtopologies.len() != said.subtopologies.len() {
        // As Kafka answers a negative epoch, and a subtopology that is there twice.
        return Err(ErrorCode::UnknownServerError.into());
    }
    match known {
        None => Ok((Arc::new(said_topology), true)),
        Some(known) if known.epoch > said.epoch => Ok((known, false)),
        Some(known) if *known == said_topology => Ok((known, false)),
        Some(_) => refuse("Topology updates are not supported yet."),
    }
}

/// The counts of the topology's topics, looked at anew if the cluster's topics have changed.
fn configuration(
    group: Option<&StreamsGroup>,
    topology: &StreamsTopology,
    topics: &dyn TopicMetadata,
) -> Result<(Arc<ConfiguredTopology>, i64), Refused> {
    let known = group.and_then(|group| Some((group, group.own.configured.as_ref()?)));
    if let Some((group, configured)) = known {
        let is_current = group.own.checked == Some(topics.version());
        let hash = if is_current { group.metadata_hash } else { metadata_hash(&topology.required_topics(), topics) };
        if hash == group.metadata_hash {
            return Ok((configured.clone(), hash));
        }
    }
    Ok((Arc::new(configure(topology, topics)?), metadata_hash(&topology.required_topics(), topics)))
}

fn check_epoch(member: &StreamsMember, request: &StreamsGroupHeartbeatRequest) -> Result<(), Refused> {
    let assigned = &member.assigned;
    let are_its_own = |tasks: &Option<Vec<HeldIds>>, is_own: &dyn Fn(&str, i32) -> bool| {
        let own = |tasks: &HeldIds| tasks.partitions.iter().all(|partition| is_own(&tasks.subtopology_id, *partition));
        tasks.as_ref().is_some_and(|tasks| tasks.iter().all(own))
    };
    let is_in = |set: &TaskSet, id: &str, partition: i32| set.get(id).is_some_and(|set| set.contains(&partition));
    member.check_epoch(request.member_epoch, || {
        are_its_own(&request.active_tasks, &|id, it| assigned.active_since(id, it).is_some())
            && are_its_own(&request.standby_tasks, &|id, it| is_in(&assigned.standby, id, it))
            && are_its_own(&request.warmup_tasks, &|id, it| is_in(&assigned.warmup, id, it))
    })
}

/// Checks that tasks are those of the topology.
fn check_tasks(tasks: &[HeldIds], count_of: impl Fn(&str) -> Option<i32>) -> Result<(), Refused> {
    for HeldIds { subtopology_id, partitions, .. } in tasks {
        let Some(count) = count_of(subtopology_id) else {
            return refuse(&format!("Subtopology {subtopology_id} does not exist in the topology."));
        };
        if let Some(partition) = partitions.iter().find(|partition| !(0..count).contains(*partition)) {
            return refuse(&format!(
                "Task {partition} for subtopology {subtopology_id} is invalid. Number of tasks for this subtopology: {count}"
            ));
        }
    }
    Ok(())
}

fn active_ids(tasks: &ActiveTasks) -> Vec<TaskIds> {
    let of_subtopology = |(id, partitions): (&String, &BTreeMap<i32, i32>)| task_ids(id, partitions.keys());
    tasks.iter().map(of_subtopology).collect()
}

fn ids(tasks: &TaskSet) -> Vec<TaskIds> {
    tasks.iter().map(|(id, partitions)| task_ids(id, partitions.iter())).collect()
}

fn task_ids<'a>(subtopology: &str, partitions: impl Iterator<Item = &'a i32>) -> TaskIds {
    TaskIds { subtopology_id: subtopology.to_owned(), partitions: partitions.copied().collect(), ..TaskIds::default() }
}
