//! Membership in a group: what the consumer's core asks of a group protocol.
//!
//! A protocol is a file: a state machine without I/O and clock behind [`Membership`]. The core lets time pass
//! ([`tick`](Membership::tick)), sends what the member has to say ([`next_request`](Membership::next_request)), hands the
//! answers over ([`on_response`](Membership::on_response)), and asks at each `poll` of the application what only `poll` may
//! do ([`next_step`](Membership::next_step)): callbacks run there, and partitions come and go there. How a protocol gets to
//! an assignment (by a leader among the members, or from the coordinator) is its own affair.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use vltava_protocol::messages::join_group_response::JoinGroupResponseMember;
use vltava_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, StreamsGroupHeartbeatRequest,
    StreamsGroupHeartbeatResponse, SyncGroupRequest, SyncGroupResponse,
};
use vltava_protocol::{ErrorCode, Uuid};

use super::assignor::{Assignment, RebalanceProtocol};
use super::close_options::GroupMembershipOperation;
use super::coordinator::Coordinator;
use super::streams_group::{StreamsGroup, StreamsMember};
use super::subscription::SubscriptionState;
use crate::config::GroupProtocol;
use crate::net::MetadataSnapshot;
use crate::{ClientError, TopicPartition};

pub(crate) mod classic;
pub(crate) mod consumer;
mod heartbeat;
mod modern;
pub(crate) mod streams;

#[cfg(test)]
mod tests;

/// A member's settings.
#[derive(Debug, Clone)]
pub(crate) struct MembershipConfig {
    pub(crate) group_id: String,
    pub(crate) group_instance_id: Option<String>,
    pub(crate) group_protocol: GroupProtocol,
    /// The id by which a member is known to a coordinator that assigns: of one process, and of it alone.
    pub(crate) member_id: String,
    /// `group.remote.assignor`.
    pub(crate) remote_assignor: Option<String>,
    /// `client.rack`.
    pub(crate) rack_id: Option<String>,
    /// How members that assign among themselves give up partitions.
    pub(crate) protocol: RebalanceProtocol,
    pub(crate) session_timeout: Duration,
    /// `max.poll.interval.ms`.
    pub(crate) rebalance_timeout: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) retry_backoff: Duration,
    pub(crate) retry_backoff_max: Duration,
}

/// The member's identity in one generation of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Generation {
    /// Where the coordinator assigns, the member epoch.
    pub(crate) id: i32,
    pub(crate) member_id: String,
    /// The assignor that the members agreed on, where they assign.
    pub(crate) protocol: Option<String>,
}

impl Generation {
    /// That of a member that never joined.
    pub(crate) const NONE: Self = Self { id: -1, member_id: String::new(), protocol: None };

    /// Whether the member is in no generation, or has no id.
    pub(crate) fn is_reset(&self) -> bool {
        self.id < 0 || self.member_id.is_empty()
    }
}

/// A request to the coordinator.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum GroupRequest {
    Join(JoinGroupRequest),
    Sync(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    Leave(LeaveGroupRequest),
    ConsumerHeartbeat(ConsumerGroupHeartbeatRequest),
    StreamsHeartbeat(Box<StreamsGroupHeartbeatRequest>),
}

/// The answer to a [`GroupRequest`].
#[derive(Debug, Clone)]
pub(crate) enum GroupResponse {
    Join(JoinGroupResponse),
    Sync(SyncGroupResponse),
    Heartbeat(HeartbeatResponse),
    Leave(LeaveGroupResponse),
    ConsumerHeartbeat(ConsumerGroupHeartbeatResponse),
    StreamsHeartbeat(StreamsGroupHeartbeatResponse),
}

/// What only the application's `poll` may do.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing, until an answer or a timer comes.
    Wait,
    /// Give up partitions. The step is told again until [`Membership::released`].
    Release(Release),
    /// Have the assignors describe this member, then [`Membership::described`].
    Describe(Describe),
    /// Have an assignor divide the partitions, then [`Membership::assigned`] or [`Membership::assign_failed`].
    Assign { protocol: String, members: Vec<JoinGroupResponseMember>, skip: bool },
    /// Own other partitions than before. The membership goes on by itself.
    Acquire(Acquire),
    /// Return the error to the application; the next `poll` tries again.
    Fail(ClientError),
}

/// Which partitions are given up, and how. Unless they are lost, what was consumed is committed before.
#[derive(Debug)]
pub(crate) struct Release {
    pub(crate) keep: BTreeSet<TopicPartition>,
    /// The group has taken them away already.
    pub(crate) lost: bool,
    /// The listener is called even if there is nothing to give up.
    pub(crate) always_tell: bool,
    /// Partitions of topics that do not exist any more, though others may have their names: nothing is committed for them.
    pub(crate) deleted: BTreeSet<TopicPartition>,
}

/// What a member tells the others before they assign.
#[derive(Debug)]
pub(crate) struct Describe {
    pub(crate) topics: BTreeSet<String>,
    pub(crate) owned: BTreeSet<TopicPartition>,
    pub(crate) generation: Option<i32>,
}

/// A new assignment.
#[derive(Debug)]
pub(crate) struct Acquire {
    pub(crate) partitions: BTreeSet<TopicPartition>,
    /// For the assignor of this name.
    pub(crate) notify: Option<(String, Assignment)>,
}

/// What a refused commit means to its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitVerdict {
    /// The code itself, which ends this consumer's membership.
    Fatal,
    /// A rebalance goes on: poll, then commit again.
    Rebalancing,
    /// The partitions belong to somebody else by now.
    Failed,
    /// The member has gone on to another epoch meanwhile, in which the commit may be made again.
    Stale,
}

/// A member of a group, under one of the protocols.
pub(crate) trait Membership: fmt::Debug + Send + AssignedTopics + StreamsGroupMember {
    fn config(&self) -> &MembershipConfig;

    /// The identity with which offsets are committed and transactions told.
    fn generation(&self) -> &Generation;

    /// The generation if offsets may be committed in it.
    ///
    /// # Errors
    /// Without one: whether a rebalance goes on.
    fn commit_generation(&self) -> Result<&Generation, CommitVerdict>;

    /// A commit was refused for the sake of the generation `sent` with it.
    fn on_commit_error(&mut self, code: ErrorCode, sent: &Generation) -> CommitVerdict;

    /// Whether the group counts the member as one of its own, as far as it can know.
    fn is_in_session(&self, now: Instant) -> bool;

    /// Whether the member takes part in a rebalance, so that it may not commit before it has taken the assignment over.
    fn is_joining(&self) -> bool {
        false
    }

    /// Whether the partitions may belong to others already.
    fn has_lost_partitions(&self) -> bool;

    /// The application polls: it is alive, and this is what it has to do.
    fn next_step(&mut self, now: Instant, coordinator: &mut Coordinator, subscription: &mut SubscriptionState) -> Step;

    /// When [`next_step`](Self::next_step) has something to do without an answer coming.
    fn next_step_at(&self, coordinator: &Coordinator) -> Option<Instant>;

    /// Whether [`next_step`](Self::next_step) has something to do besides waiting.
    fn rejoin_needed(&self) -> bool;

    /// Lets time pass, whether or not the application polls.
    fn tick(&mut self, now: Instant, coordinator: &mut Coordinator);

    /// When [`tick`](Self::tick) has something to do without an answer coming.
    fn next_tick(&self, coordinator: &Coordinator) -> Option<Instant>;

    /// The next request to send, with a token for its answer.
    fn next_request(&mut self) -> Option<(u64, GroupRequest)>;

    /// Takes the answer to the request with the given token.
    fn on_response(
        &mut self,
        now: Instant,
        token: u64,
        answer: Result<GroupResponse, ClientError>,
        coordinator: &mut Coordinator,
    );

    /// The coordinator was found.
    fn on_coordinator(&mut self, now: Instant);

    /// There is other metadata; `topics` are the partition counts of what the group reads.
    fn on_metadata(&mut self, topics: &BTreeMap<String, usize>, metadata: &Arc<MetadataSnapshot>);

    /// What [`Step::Release`] asked for is done.
    fn released(&mut self);

    /// What [`Step::Acquire`] asked for is done, and the listener knows.
    fn acquired(&mut self) {}

    /// This member's metadata in every protocol it can speak, the preferred one first.
    fn described(&mut self, protocols: Vec<(String, Bytes)>);

    /// The assignments of the group, encoded, by member id; `topics` are the partition counts they were made of.
    fn assigned(&mut self, assignments: Vec<(String, Bytes)>, topics: BTreeMap<String, usize>);

    /// The assignor failed; the application has the error.
    fn assign_failed(&mut self, now: Instant);

    /// Asks for a rebalance at the next `poll`.
    fn request_rejoin(&mut self, reason: &str);

    /// Leaves the group, if the operation says so, and forgets the generation.
    fn leave(&mut self, reason: &str, operation: GroupMembershipOperation, coordinator: &Coordinator);

    /// Whether the coordinator assigns: its answers tell the [`generation`](Self::generation), and the topics that the
    /// member reads.
    fn follows_coordinator(&self) -> bool {
        false
    }
}

/// The part of a membership that is concerned with assigned topics of which the coordinator tells ids and no names.
pub(crate) trait AssignedTopics {
    /// Ids of assigned topics whose names are to be looked up now; then [`on_topic_names`](Self::on_topic_names), or
    /// metadata that has them.
    fn unresolved(&mut self, _now: Instant) -> BTreeSet<Uuid> {
        BTreeSet::new()
    }

    /// When there are ids to look up again.
    fn next_look_up(&self) -> Option<Instant> {
        None
    }

    /// The names of topics, as far as they were found.
    fn on_topic_names(&mut self, _found: BTreeMap<Uuid, String>) {}

    /// Topics of which the member has partitions, and that were deleted and made anew since it has them.
    fn deleted_topics(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }

    /// The topics that the coordinator assigned, if they are others than when this was asked last.
    fn take_assigned_topics(&mut self) -> Option<BTreeSet<String>> {
        None
    }
}

/// The part of a membership that is one in a streams group.
pub(crate) trait StreamsGroupMember {
    /// What a member of a streams group knows of it.
    fn streams_group(&self) -> Option<StreamsGroup> {
        None
    }

    /// Has all members of a streams group asked to end.
    fn request_shutdown_of_application(&mut self) {}
}

/// The membership under the protocol that the settings name; `streams` is told by a member of a streams group.
pub(crate) fn new(config: MembershipConfig, streams: Option<StreamsMember>, now: Instant) -> Box<dyn Membership> {
    if let Some(member) = streams {
        return Box::new(streams::StreamsMembership::new(config, member, now));
    }
    match config.group_protocol {
        GroupProtocol::Classic => Box::new(classic::ClassicMembership::new(config, now)),
        GroupProtocol::Consumer => Box::new(consumer::ConsumerMembership::new(config, now)),
    }
}

/// A time as requests have it.
fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
