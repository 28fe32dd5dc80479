//! What is wrong with a heartbeat before its group is looked at, with Kafka's texts.

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::StreamsGroupHeartbeatRequest;
use vltava_protocol::messages::streams_group_heartbeat_request::TaskIds;

use crate::coordinator::group::modern::STATIC_LEAVE_EPOCH;
use crate::coordinator::group::shard::Refused;
use crate::coordinator::record::fits_in_record;

/// Checks a heartbeat by itself.
///
/// # Errors
///
/// `INVALID_REQUEST` for what contradicts itself or is not there yet, as in Kafka 4.3: static members, warm-up tasks and
/// their offsets, topics by regular expression; `STREAMS_INVALID_TOPOLOGY` for a changelog with a count of its own.
pub(super) fn validate(request: &StreamsGroupHeartbeatRequest) -> Result<(), Refused> {
    unsupported(request)?;
    let is_blank = |value: &str| value.trim().is_empty();
    if is_blank(&request.member_id) {
        return refuse("MemberId can't be empty.");
    }
    if is_blank(&request.group_id) {
        return refuse("GroupId can't be empty.");
    }
    if request.rack_id.as_deref().is_some_and(is_blank) {
        return refuse("RackId can't be empty.");
    }
    let has_tasks = |tasks: &Option<Vec<TaskIds>>| tasks.as_ref().is_some_and(|tasks| !tasks.is_empty());
    match request.member_epoch {
        0 if request.rebalance_timeout_ms == -1 => {
            return refuse("RebalanceTimeoutMs must be provided in first request.");
        }
        0 if has_tasks(&request.active_tasks) => return refuse("ActiveTasks must be empty when (re-)joining."),
        0 if has_tasks(&request.standby_tasks) => return refuse("StandbyTasks must be empty when (re-)joining."),
        0 if has_tasks(&request.warmup_tasks) => return refuse("WarmupTasks must be empty when (re-)joining."),
        0 => check_topology(request)?,
        STATIC_LEAVE_EPOCH => return refuse("InstanceId can't be null."),
        epoch if epoch < STATIC_LEAVE_EPOCH => {
            return refuse(&format!("MemberEpoch is {epoch}, but must be greater than or equal to -2."));
        }
        _ => {}
    }
    let roles = [&request.active_tasks, &request.standby_tasks, &request.warmup_tasks];
    if roles.iter().any(|tasks| tasks.is_some()) && roles.iter().any(|tasks| tasks.is_none()) {
        return refuse("If one task-type is non-null, all must be non-null.");
    }
    if request.member_epoch != 0 && request.topology.is_some() {
        return refuse("Topology can only be provided when (re-)joining.");
    }
    if !fits_in_record(&request.group_id) || !fits_in_record(&request.member_id) {
        // As Kafka answers when it comes to the record.
        return Err(ErrorCode::UnknownServerError.into());
    }
    Ok(())
}

fn unsupported(request: &StreamsGroupHeartbeatRequest) -> Result<(), Refused> {
    let by_regex = |topology: &vltava_protocol::messages::streams_group_heartbeat_request::Topology| {
        topology.subtopologies.iter().any(|subtopology| !subtopology.source_topic_regex.is_empty())
    };
    if request.instance_id.is_some() {
        return refuse("Static membership is not yet supported.");
    }
    if request.task_offsets.is_some() {
        return refuse("TaskOffsets are not supported yet.");
    }
    if request.task_end_offsets.is_some() {
        return refuse("TaskEndOffsets are not supported yet.");
    }
    if request.warmup_tasks.as_ref().is_some_and(|tasks| !tasks.is_empty()) {
        return refuse("WarmupTasks are not supported yet.");
    }
    if request.topology.as_ref().is_some_and(by_regex) {
        return refuse("Regular expressions for source topics are not supported yet.");
    }
    Ok(())
}

fn check_topology(request: &StreamsGroupHeartbeatRequest) -> Result<(), Refused> {
    let Some(topology) = &request.topology else {
        return refuse("Topology must be non-null when (re-)joining.");
    };
    let mut changelogs = topology.subtopologies.iter().flat_map(|subtopology| &subtopology.state_changelog_topics);
    match changelogs.find(|topic| topic.partitions != 0) {
        None => Ok(()),
        Some(topic) => {
            let text = format!(
                "Changelog topic {} must have an undefined partition count, but it is set to {}.",
                topic.name, topic.partitions
            );
            Err(Refused::new(ErrorCode::StreamsInvalidTopology, text))
        }
    }
}

pub(super) fn refuse<T>(text: &str) -> Result<T, Refused> {
    Err(Refused::new(ErrorCode::InvalidRequest, text.to_owned()))
}
