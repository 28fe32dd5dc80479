//! How members of consumer groups go, and how the groups come and go.

use std::sync::Arc;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::leave_group_request::MemberIdentity;
use vltava_protocol::messages::leave_group_response::MemberResponse;
use vltava_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, LeaveGroupRequest};

use super::fold::{Change, current_value};
use super::heartbeat::unknown_member;
use super::topics::{TopicMetadata, metadata_hash};
use super::{ConsumerGroup, ConsumerMember, Owned, STATIC_LEAVE_EPOCH};
use crate::coordinator::group::kind::Group;
use crate::coordinator::group::records::CoordinatorRecord;
use crate::coordinator::group::shard::{GroupCoordinatorShard, Refused};
use crate::coordinator::group::sync::leave_response;
use crate::coordinator::group::timer_key::TimerKey;
use crate::coordinator::shard::Now;

impl GroupCoordinatorShard {
    pub(in crate::coordinator::group) fn consumer_group(&self, id: &str) -> Option<&ConsumerGroup> {
        match self.groups.get(id)? {
            Group::Consumer(group) => Some(group),
            Group::Classic(_) | Group::Streams(_) => None,
        }
    }

    pub(super) fn consumer_group_mut(&mut self, id: &str) -> Option<&mut ConsumerGroup> {
        match self.groups.get_mut(id)? {
            Group::Consumer(group) => Some(group),
            Group::Classic(_) | Group::Streams(_) => None,
        }
    }

    pub(super) fn consumer_member(&self, group: &str, member: &str) -> Option<&ConsumerMember> {
        self.consumer_group(group)?.members.get(member)
    }

    /// Emits a record of a consumer group and folds it into the state.
    pub(super) fn emit_consumer(&mut self, group: &Arc<str>, change: Change) {
        self.emit_and_replay(CoordinatorRecord::Consumer { group: group.to_string(), change });
    }

    /// Makes room for a consumer group: an empty classic group becomes one.
    ///
    /// # Errors
    ///
    /// `GROUP_ID_NOT_FOUND` if nobody may make the group, or it is a classic one with members.
    pub(super) fn make_consumer_group(&mut self, group_id: &Arc<str>, is_joining: bool) -> Result<(), Refused> {
        match self.groups.get(group_id) {
            None if is_joining => Ok(()),
            None => Err(not_found(format!("Consumer group {group_id} not found."))),
            Some(Group::Classic(group)) if is_joining && group.is_vacant() => {
                self.emit_and_replay(CoordinatorRecord::group_tombstone(group_id));
                Ok(())
            }
            Some(_) => Err(not_found(format!("Group {group_id} is not a consumer group."))),
        }
    }

    /// Lets a member go, or a static one go for a while.
    pub(super) fn consumer_group_leave(
        &mut self,
        topics: &dyn TopicMetadata,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refused> {
        let group_id: Arc<str> = request.group_id.as_str().into();
        let Some(group) = self.consumer_group(&group_id) else {
            let exists = self.groups.contains_key(&group_id);
            let text = if exists { "is not a consumer group." } else { "not found." };
            return Err(not_found(format!("Group {group_id} {text}")));
        };
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
        self.emit_consumer(group, Change::Current(member.id.to_string(), Some(current_value(&member))));
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
            let regex = member.regex.clone();
            any = true;
            self.core.cancel_session(group_id, member_id);
            let timer = TimerKey::Rebalance { group: group_id.clone(), member: member_id.clone() };
            self.core.timers.cancel(&timer);
            self.remove_consumer_member(group_id, member_id);
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

    /// Emits the records that remove a member.
    pub(super) fn remove_consumer_member(&mut self, group: &Arc<str>, member: &Arc<str>) {
        self.emit_consumer(group, Change::Current(member.to_string(), None));
        self.emit_consumer(group, Change::TargetOf(member.to_string(), None));
        self.emit_consumer(group, Change::Member(member.to_string(), None));
    }

    /// A member was not heard of for the time of its session.
    pub(in crate::coordinator::group) fn expire_consumer_session(&mut self, group: &Arc<str>, member: &Arc<str>) {
        tracing::info!(%group, %member, "member has failed");
        self.fence_consumer_member(group, member, None);
    }

    /// A member has not given up its partitions within its rebalance timeout.
    pub(in crate::coordinator::group) fn expire_revocation(&mut self, group: &Arc<str>, member: &Arc<str>) {
        let is_late = self
            .consumer_member(group, member)
            .is_some_and(|member| member.state == super::MemberState::UnrevokedPartitions);
        if is_late {
            tracing::info!(%group, %member, "member did not give up its partitions in time");
            self.fence_consumer_member(group, member, None);
        }
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

/// Returns the records that remove a group without members.
pub(in crate::coordinator::group) fn tombstones(group: &ConsumerGroup) -> Vec<CoordinatorRecord> {
    let members = || group.members.keys().map(|id| id.to_string());
    let regexes = group.regexes.keys().map(|regex| Change::Regex(regex.clone(), None));
    let changes = members()
        .map(|id| Change::Current(id, None))
        .chain(members().map(|id| Change::TargetOf(id, None)))
        .chain([Change::Target(None)])
        .chain(members().map(|id| Change::Member(id, None)))
        .chain(regexes)
        .chain([Change::Group(None)]);
    changes.map(|change| CoordinatorRecord::Consumer { group: group.id.to_string(), change }).collect()
}

fn not_found(text: String) -> Refused {
    Refused::new(ErrorCode::GroupIdNotFound, text)
}
