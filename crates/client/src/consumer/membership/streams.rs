//! A member of a streams group (KIP-1071): the coordinator assigns tasks of a topology.
//!
//! How it comes to its assignment is for [`modern`](super::modern). A target is a set of tasks, active ones, standbys and
//! warm-ups; the partitions of the active ones are what the consumer reads, and follow from the topology that the member has told
//! when it joined.
//!
//! The coordinator tells an assignment once, when it has changed, and to who joins. A member that does not know whether it has
//! missed an answer gives up its tasks in good order and joins anew (see `streams/responses.rs`).
//!
//! - `streams/request.rs`: what a heartbeat says.
//! - `streams/responses.rs`: what an answer says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse};
use vltava_protocol::wire::Message as _;

use super::modern::{Answer, Assigned, ModernMembership, ModernProtocol, Standing, Uncertain, said, unexpected};
use super::{AssignedTopics, GroupRequest, GroupResponse, MembershipConfig, StreamsGroupMember};
use crate::consumer::streams_group::{
    EndpointPartitions, StreamsAssignment, StreamsGroup, StreamsGroupStatus, StreamsMember,
};
use crate::{ClientError, TopicPartition};

mod request;
mod responses;

#[cfg(test)]
mod tests;

use responses::Doubt;

/// A member of a streams group.
pub(crate) type StreamsMembership = ModernMembership<StreamsProtocol>;

/// What a member has of its own under the streams protocol.
#[derive(Debug)]
pub(crate) struct StreamsProtocol {
    member: StreamsMember,
    doubt: Doubt,
    /// Whether all members are to be asked to end, and whether the coordinator may have heard so.
    wants_shutdown: bool,
    is_shutdown_told: bool,
    statuses: Arc<[StreamsGroupStatus]>,
    endpoints: Arc<EndpointPartitions>,
    /// Which of the coordinator's tables of endpoints that is.
    endpoint_epoch: i32,
}

impl StreamsMembership {
    pub(crate) fn new(config: MembershipConfig, member: StreamsMember, now: Instant) -> Self {
        let protocol = StreamsProtocol {
            member,
            doubt: Doubt::None,
            wants_shutdown: false,
            is_shutdown_told: false,
            statuses: Arc::default(),
            endpoints: Arc::default(),
            endpoint_epoch: -1,
        };
        Self::of(protocol, config, now)
    }
}

impl Assigned for StreamsAssignment {
    fn extend(&mut self, other: &Self) {
        self.active.extend(other.active.iter().cloned());
        self.standby.extend(other.standby.iter().cloned());
        self.warmup.extend(other.warmup.iter().cloned());
    }

    fn retain_in(&mut self, one: &Self, other: &Self) {
        self.active.retain(|task| one.active.contains(task) || other.active.contains(task));
        self.standby.retain(|task| one.standby.contains(task) || other.standby.contains(task));
        self.warmup.retain(|task| one.warmup.contains(task) || other.warmup.contains(task));
    }
}

impl ModernProtocol for StreamsProtocol {
    type Assignment = StreamsAssignment;
    type Response = StreamsGroupHeartbeatResponse;

    const NAME: &'static str = "streams";
    // Standbys are no partitions, and are lost too.
    const TELLS_OF_EVERY_LOSS: bool = true;

    fn heartbeat(
        &mut self,
        standing: &Standing<'_, StreamsAssignment>,
        held: Option<StreamsAssignment>,
    ) -> GroupRequest {
        GroupRequest::StreamsHeartbeat(Box::new(self.said_to_coordinator(standing, held)))
    }

    fn goodbye(&self, config: &MembershipConfig, epoch: i32) -> GroupRequest {
        GroupRequest::StreamsHeartbeat(Box::new(StreamsGroupHeartbeatRequest {
            group_id: config.group_id.clone(),
            member_id: config.member_id.clone(),
            member_epoch: epoch,
            endpoint_information_epoch: self.endpoint_epoch,
            shutdown_application: self.wants_shutdown,
            ..Default::default()
        }))
    }

    fn answer(response: GroupResponse) -> Result<Answer<StreamsGroupHeartbeatResponse>, ClientError> {
        let GroupResponse::StreamsHeartbeat(mut message) = response else {
            return Err(unexpected::<Self>(&response));
        };
        Ok(Answer {
            error_code: message.error_code,
            error_message: message.error_message.take(),
            member_epoch: message.member_epoch,
            heartbeat_interval_ms: message.heartbeat_interval_ms,
            message,
        })
    }

    fn take(
        &mut self,
        standing: &Standing<'_, StreamsAssignment>,
        message: StreamsGroupHeartbeatResponse,
    ) -> Result<Option<StreamsAssignment>, ClientError> {
        self.take_answer(standing, message)
    }

    fn forget_told(&mut self, why: Uncertain) {
        self.is_shutdown_told = false;
        match why {
            Uncertain::OutOfGroup => self.doubt = Doubt::None,
            Uncertain::Refused => {}
            Uncertain::Unanswered if self.doubt == Doubt::None => self.doubt = Doubt::Unanswered,
            Uncertain::Unanswered => {}
        }
    }

    fn explained(error: ClientError) -> ClientError {
        match error {
            ClientError::UnsupportedVersion { .. }
            | ClientError::Broker { code: ErrorCode::UnsupportedVersion, .. } => {
                said(ErrorCode::UnsupportedVersion, &no_streams_protocol())
            }
            other => other,
        }
    }

    /// What active tasks read. The target has tasks of known sub-topologies only.
    fn partitions(&self, assigned: &StreamsAssignment) -> BTreeSet<TopicPartition> {
        let mut partitions = BTreeSet::new();
        for task in &assigned.active {
            let topics = self.member.subtopologies.get(&task.subtopology);
            let topics = topics.into_iter().flat_map(|subtopology| subtopology.inputs());
            partitions.extend(topics.map(|topic| TopicPartition::new(topic, task.partition)));
        }
        partitions
    }

    fn has_news(&self) -> bool {
        self.wants_shutdown && !self.is_shutdown_told
    }

    fn must_rejoin(&self) -> bool {
        self.doubt == Doubt::Missed
    }
}

// A task's topics are known by their names.
impl AssignedTopics for StreamsMembership {}

impl StreamsGroupMember for StreamsMembership {
    fn streams_group(&self) -> Option<StreamsGroup> {
        Some(StreamsGroup {
            assignment: self.current_or_next().clone(),
            statuses: Arc::clone(&self.protocol.statuses),
            endpoints: Arc::clone(&self.protocol.endpoints),
            heartbeat_interval: self.heartbeat_interval(),
        })
    }

    fn request_shutdown_of_application(&mut self) {
        self.protocol.wants_shutdown = true;
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
