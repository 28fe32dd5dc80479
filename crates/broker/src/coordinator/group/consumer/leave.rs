//! How members of consumer groups go, and how the groups come and go.

use std::sync::Arc;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::leave_group_request::MemberIdentity;
use vltava_protocol::messages::leave_group_response::MemberResponse;
use vltava_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, LeaveGroupRequest};

use super::topics::{TopicMetadata, metadata_hash};
use super::{Change, Consumer, ConsumerGroup, ConsumerMember, Owned};
use crate::coordinator::group::config::GroupCoordinatorConfig;
use crate::coordinator::group::kind::Group;
use crate::coordinator::group::modern::{Kept, ModernKind as _, STATIC_LEAVE_EPOCH, unknown_member};
use crate::coordinator::group::records::CoordinatorRecord;
use crate::coordinator::group::shard::{GroupCoordinatorShard, Refused};
use crate::coordinator::group::sync::leave_response;
use crate::coordinator::shard::Now;

impl GroupCoordinatorShard {
    pub(in crate::coordinator::group) fn consumer_group(&self, id: &str) -> Option<&ConsumerGroup> {
        self.modern_group(id)
    }

    pub(super) fn consumer_member(&self, group: &str, member: &str) -> Option<&ConsumerMember> {
        self.modern_member(group, member)
    }

    /// Lets a member go, or a static one go for a while.
    pub(super) fn consumer_group_leave(
        &mut self,
        topics: &dyn TopicMetadata,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refused> {
        let group_id: Arc<str> = request.group_id.as_str().into();
        let group = self.known_group::<Consumer>(&group_id)?;
        let id = request.member_id.as_str();
        let member = match &request.instance_id {
            None => group.members.get(id).ok_or_else(|| unknown_member(id, &group_id))?,
            Some(instance) => {
                let unknown =
                    || Refused::new(ErrorCode::UnknownMemberId, format!("Instance id {instance} is unknown."));
                let member = group.static_member(instance).ok_or_else(unknown)?;
                if &*member.id != id {
                    let text =
                        format!("Static member {id} with instance id {instance} was fenced by member {}.", member.id);
                    return Err(Refused::new(ErrorCode::FencedInstanceId, text));
                }
                member
            }
        };
        let member = member.clone();
        tracing::info!(group = %group_id, member = id, epoch = request.member_epoch, "member has left");
        if request.member_epoch == STATIC_LEAVE_EPOCH {
            self.leave_for_a_while(&group_id, member);
        } else {
            self.fence_consumer_member(&group_id, &member.id, Some(topics));
        }
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(request.member_id.clone()),
            member_epoch: request.member_epoch,
            ..ConsumerGroupHeartbeatResponse::default()
        })
    }

    /// Lets members go by the classic protocol's request, which is how an operator removes them; `None` if it is no
    /// consumer group.
    pub(crate) fn leave_consumer_group(
        &mut self,
        now: Now,
        topics: &dyn TopicMetadata,
        request: &LeaveGroupRequest,
    ) -> Option<Vec<MemberResponse>> {
        let group = self.consumer_group(&request.group_id)?;
        let group_id = group.id.clone();
        let mut leaving: Vec<Arc<str>> = Vec::new();
        let mut leave = |identity: &MemberIdentity| {
            let found = group.leaving_member(identity).map(|member| leaving.push(member.id.clone()));
            leave_response(identity.clone(), found)
        };
        let responses = request.members.iter().map(&mut leave).collect();
        self.core.now = now;
        self.fence_consumer_members(&group_id, &leaving, Some(topics));
        Some(responses)
    }

    /// Keeps a static member's partitions for it until its session ends.
    fn leave_for_a_while(&mut self, group: &Arc<str>, mut member: ConsumerMember) {
        member.epoch = STATIC_LEAVE_EPOCH;
        member.pending_revocation = Owned::new();
        for since in member.assigned.values_mut().flat_map(|partitions| partitions.values_mut()) {
            *since = 0;
        }
        self.emit_change(group, Change::Current(member.id.to_string(), Some(Consumer::current_record(&member))));
    }

    /// Takes a member out of its group, which is in another epoch then.
    ///
    /// Where the topics are not at hand, at a deadline, the next heartbeat looks at them.
    pub(in crate::coordinator::group) fn fence_consumer_member(
        &mut self,
        group_id: &Arc<str>,
        member_id: &Arc<str>,
        topics: Option<&dyn TopicMetadata>,
    ) {
        self.fence_consumer_members(group_id, std::slice::from_ref(member_id), topics);
    }

    /// As [`Self::fence_consumer_member`], of several members in one step.
    fn fence_consumer_members(
        &mut self,
        group_id: &Arc<str>,
        member_ids: &[Arc<str>],
        topics: Option<&dyn TopicMetadata>,
    ) {
        let mut any = false;
        for member_id in member_ids {
            let Some(member) = self.consumer_member(group_id, member_id) else { continue };
            let regex = member.wants.regex.clone();
            any = true;
            self.core.cancel_members(group_id, [member_id]);
            self.remove_member::<Consumer>(group_id, member_id);
            if let Some(regex) = regex {
                self.forget_regex(group_id, &regex);
            }
        }
        if !any {
            return;
        }
        let Some(group) = self.consumer_group(group_id) else { return };
        let hash = match topics {
            Some(topics) => metadata_hash(&group.subscribed_topics(), topics),
            None => group.metadata_hash,
        };
        let epoch = group.epoch.saturating_add(1);
        self.set_epoch(group_id, epoch, hash);
    }
}

impl Kept for Consumer {
    fn of(group: &Group) -> Option<&ConsumerGroup> {
        if let Group::Consumer(group) = group { Some(group) } else { None }
    }

    fn of_mut(group: &mut Group) -> Option<&mut ConsumerGroup> {
        if let Group::Consumer(group) = group { Some(group) } else { None }
    }

    fn kept(group: ConsumerGroup) -> Group {
        Group::Consumer(Box::new(group))
    }

    fn record(group: String, change: Change) -> CoordinatorRecord {
        CoordinatorRecord::Consumer { group, change }
    }

    fn session_timeout_ms(config: &GroupCoordinatorConfig, group: &str) -> i32 {
        config.consumer_of(group).session_timeout_ms
    }

    fn fence(shard: &mut GroupCoordinatorShard, group: &Arc<str>, member: &Arc<str>) {
        shard.fence_consumer_member(group, member, None);
    }
}

impl ConsumerGroup {
    /// The member that a leave request means: by its id, or by its instance with or without the id.
    fn leaving_member(&self, identity: &MemberIdentity) -> Result<&ConsumerMember, ErrorCode> {
        let id = identity.member_id.as_str();
        let Some(instance) = &identity.group_instance_id else {
            return self.members.get(id).ok_or(ErrorCode::UnknownMemberId);
        };
        let member = self.static_member(instance).ok_or(ErrorCode::UnknownMemberId)?;
        if id.is_empty() || &*member.id == id { Ok(member) } else { Err(ErrorCode::FencedInstanceId) }
    }
}
