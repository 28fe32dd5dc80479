//! JoinGroup: a member comes into a group, or comes again.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use super::classic::{ClassicGroup, ClassicGroupState};
use super::classic_records;
use super::config::NEW_MEMBER_JOIN_TIMEOUT_MS;
use super::kind::Group;
use super::member::ClassicMember;
use super::shard::{Caller, Core, GroupCoordinatorShard};
use crate::coordinator::record::fits_in_record;
use crate::coordinator::shard::{Now, ReplyToken};

/// The first version in which a new dynamic member is told its id before it is let in (KIP-394).
const MEMBER_ID_REQUIRED_MIN_VERSION: i16 = 4;
/// The first version in which a leader can be told to leave the assignment as it is (KIP-814).
const SKIP_ASSIGNMENT_MIN_VERSION: i16 = 9;

impl GroupCoordinatorShard {
    /// Lets a member join; `token` is answered in this operation's output or in that of a later one.
    pub(crate) fn join_group(&mut self, now: Now, context: &Caller, mut request: JoinGroupRequest, token: ReplyToken) {
        self.core.now = now;
        let config = &self.core.config;
        if request.group_id.is_empty() {
            return self.core.refuse_join(token, &request.member_id, ErrorCode::InvalidGroupId);
        }
        if !(config.min_session_timeout_ms..=config.max_session_timeout_ms).contains(&request.session_timeout_ms) {
            return self.core.refuse_join(token, &request.member_id, ErrorCode::InvalidSessionTimeout);
        }
        if !names(&request).all(fits_in_record) {
            // As Kafka answers when it comes to the record.
            return self.core.refuse_join(token, &request.member_id, ErrorCode::UnknownServerError);
        }
        if context.api_version == 0 {
            request.rebalance_timeout_ms = request.session_timeout_ms;
        }
        // A protocol named twice would be counted twice in the votes.
        let mut names = HashSet::new();
        request.protocols.retain(|protocol| names.insert(protocol.name.clone()));

        if let Some(group @ (Group::Consumer(_) | Group::Streams(_))) = self.groups.get(request.group_id.as_str()) {
            if !group.is_empty() {
                return self.core.refuse_join(token, "", ErrorCode::InconsistentGroupProtocol);
            }
            for record in group.tombstones() {
                self.emit_and_replay(record);
            }
        }
        if !self.groups.contains_key(request.group_id.as_str()) {
            if !request.member_id.is_empty() {
                return self.core.refuse_join(token, &request.member_id, ErrorCode::UnknownMemberId);
            }
            let id: Arc<str> = request.group_id.as_str().into();
            let group = ClassicGroup::new(id.clone(), now.timestamp_ms);
            self.core.emit(classic_records::empty_group_record(&group));
            self.groups.insert(id, Group::Classic(Box::new(group)));
        }
        if let Some((group, core)) = self.group_at(now, &request.group_id.clone()) {
            group.join(core, context, request, token);
        }
    }
}

impl ClassicGroup {
    fn join(&mut self, core: &mut Core, context: &Caller, request: JoinGroupRequest, token: ReplyToken) {
        if !self.has_room_for(&request.member_id, core.config.max_size) {
            let id: Arc<str> = request.member_id.as_str().into();
            self.drop_member(core, &id);
            return core.refuse_join(token, "", ErrorCode::GroupMaxSizeReached);
        }
        if !self.supports_protocols(&request.protocol_type, &request.protocols) {
            return core.refuse_join(token, &request.member_id, ErrorCode::InconsistentGroupProtocol);
        }
        if request.member_id.is_empty() {
            self.join_new(core, context, request, token);
        } else if self.is_pending(&request.member_id) {
            if request.group_instance_id.is_some() {
                // A member id that was promised to a dynamic member.
                return core.refuse_join(token, &request.member_id, ErrorCode::UnknownServerError);
            }
            let id = request.member_id.as_str().into();
            self.join_added(core, context, request, id, token);
        } else {
            self.join_existing(core, request, token);
        }
    }

    fn has_room_for(&self, id: &str, max_size: usize) -> bool {
        match self.state {
            ClassicGroupState::Empty => true,
            // Of the members so far only those that come again count.
            ClassicGroupState::PreparingRebalance => {
                self.member(id).is_some_and(|member| member.awaiting_join.is_some())
                    || self.awaiting_join_count() < max_size
            }
            ClassicGroupState::CompletingRebalance | ClassicGroupState::Stable => {
                self.member(id).is_some() || self.members().len() < max_size
            }
        }
    }

    fn join_new(&mut self, core: &mut Core, context: &Caller, request: JoinGroupRequest, token: ReplyToken) {
        let id = core.new_member_id(request.group_instance_id.as_deref().unwrap_or(&context.client_id));
        if let Some(instance) = &request.group_instance_id {
            match self.static_member_id(instance) {
                Some(old_id) => self.join_replacing(core, context, request, &old_id, id, token),
                None => self.join_added(core, context, request, id, token),
            }
        } else if context.api_version >= MEMBER_ID_REQUIRED_MIN_VERSION {
            // KIP-394: a client that never hears its id must not stay in the group as a member without a process.
            core.arm_session(&self.id, &id, request.session_timeout_ms);
            core.refuse_join(token, &id, ErrorCode::MemberIdRequired);
            self.add_pending(id);
        } else {
            self.join_added(core, context, request, id, token);
        }
    }

    /// Adds a member that was not in the group.
    fn join_added(
        &mut self,
        core: &mut Core,
        context: &Caller,
        request: JoinGroupRequest,
        id: Arc<str>,
        token: ReplyToken,
    ) {
        if self.state == ClassicGroupState::PreparingRebalance && self.initial_rebalance {
            self.new_member_added = true;
        }
        let reason = format!("adding member {id}; client reason: {}", join_reason(&request));
        let member = ClassicMember {
            id: id.clone(),
            group_instance_id: request.group_instance_id,
            client_id: context.client_id.clone(),
            client_host: context.client_host.clone(),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols,
            assignment: Bytes::new(),
            awaiting_join: Some(token),
            awaiting_sync: None,
            is_new: true,
        };
        self.add(member, &request.protocol_type);
        // A join can take long, but a client that has gone away meanwhile must not stay for ever.
        core.arm_session(&self.id, &id, NEW_MEMBER_JOIN_TIMEOUT_MS);
        self.prepare_rebalance_or_complete_join(core, &reason);
    }

    fn join_existing(&mut self, core: &mut Core, request: JoinGroupRequest, token: ReplyToken) {
        let id = request.member_id.clone();
        if let Err(error) = self.validate_member(&id, request.group_instance_id.as_deref()) {
            return core.refuse_join(token, &id, error);
        }
        let is_unchanged = self.member(&id).is_some_and(|member| member.offers(&request.protocols));
        match self.state {
            ClassicGroupState::PreparingRebalance => self.rejoin(core, request, token, "joining again"),
            // The member has not had the answer to its first request, which was the same.
            ClassicGroupState::CompletingRebalance if is_unchanged => {
                core.answer_join(token, self.join_response(&id));
            }
            // By joining again the leader says that it wants another assignment, for instance for new partitions.
            ClassicGroupState::Stable if self.is_leader(&id) => {
                self.rejoin(core, request, token, "the leader joined again");
            }
            ClassicGroupState::Stable if is_unchanged => core.answer_join(token, self.join_response(&id)),
            ClassicGroupState::CompletingRebalance | ClassicGroupState::Stable => {
                self.rejoin(core, request, token, "a member's subscription changed");
            }
            ClassicGroupState::Empty => core.refuse_join(token, &id, ErrorCode::UnknownMemberId),
        }
    }

    /// Takes over what a member asks for now, and sees to it that a rebalance follows.
    fn rejoin(&mut self, core: &mut Core, request: JoinGroupRequest, token: ReplyToken, reason: &str) {
        let reason = format!("{reason}: {}; client reason: {}", request.member_id, join_reason(&request));
        self.update_member(core, &request.member_id.clone(), request, token);
        self.prepare_rebalance_or_complete_join(core, &reason);
    }

    fn update_member(&mut self, core: &mut Core, id: &str, request: JoinGroupRequest, token: ReplyToken) {
        self.set_protocols(id, request.protocols);
        if let Some(member) = self.member_mut(id) {
            member.rebalance_timeout_ms = request.rebalance_timeout_ms;
            member.session_timeout_ms = request.session_timeout_ms;
        }
        if let Some(replaced) = self.park_join(id, token) {
            // The client has given up on that request; whoever still waits for it may ask again.
            core.refuse_join(replaced, id, ErrorCode::RebalanceInProgress);
        }
    }

    /// Lets a new process of a static member in, under a new member id, in place of the process before.
    fn join_replacing(
        &mut self,
        core: &mut Core,
        context: &Caller,
        request: JoinGroupRequest,
        old_id: &Arc<str>,
        id: Arc<str>,
        token: ReplyToken,
    ) {
        tracing::info!(
            group = %self.id, instance = request.group_instance_id.as_deref(), old = %old_id, new = %id,
            "replacing static member"
        );
        let old_leader = self.leader_id.clone();
        let (parked_join, parked_sync) = self.replace_static_member(old_id, &id);
        core.cancel_session(&self.id, old_id);
        if let Some(parked) = parked_join {
            core.refuse_join(parked, old_id, ErrorCode::FencedInstanceId);
        }
        if let Some(parked) = parked_sync {
            core.refuse_sync(parked, ErrorCode::FencedInstanceId);
        }
        self.update_member(core, &id, request, token);
        if let Some(member) = self.member(&id) {
            core.arm_session(&self.id, &id, member.session_timeout_ms);
        }
        match self.state {
            // KIP-345: a restart within the session timeout moves no partitions.
            ClassicGroupState::Stable if self.protocol_name == self.select_protocol() => {
                core.emit(classic_records::group_record(self));
                self.answer_replaced(core, context.api_version, old_leader, &id);
            }
            ClassicGroupState::Stable | ClassicGroupState::CompletingRebalance => {
                self.prepare_rebalance(core, "a static member was replaced by one with other protocols");
            }
            ClassicGroupState::PreparingRebalance | ClassicGroupState::Empty => self.maybe_complete_join(core),
        }
    }

    /// Answers the join of a static member that goes on with its assignment.
    fn answer_replaced(&mut self, core: &mut Core, api_version: i16, old_leader: Option<Arc<str>>, id: &Arc<str>) {
        let Some(token) = self.take_join(id) else { return };
        let response = if api_version >= SKIP_ASSIGNMENT_MIN_VERSION {
            // KIP-814: the leader learns that it leads, and that nothing is to be assigned.
            JoinGroupResponse { skip_assignment: self.is_leader(id), ..self.join_response(id) }
        } else {
            // A client that cannot skip must not take itself for the leader, or it would assign anew.
            let leader = old_leader.as_deref().unwrap_or_default().to_owned();
            JoinGroupResponse { leader, members: Vec::new(), ..self.join_response(id) }
        };
        core.answer_join(token, response);
    }
}

/// What a request says that the record of its group will have as a string.
fn names(request: &JoinGroupRequest) -> impl Iterator<Item = &str> {
    let of_member = [&request.group_id, &request.protocol_type].into_iter().chain(&request.group_instance_id);
    of_member.chain(request.protocols.iter().map(|protocol| &protocol.name)).map(String::as_str)
}

fn join_reason(request: &JoinGroupRequest) -> &str {
    request.reason.as_deref().filter(|reason| !reason.is_empty()).unwrap_or("not provided")
}
