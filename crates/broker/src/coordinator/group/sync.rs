//! SyncGroup, Heartbeat and LeaveGroup: the life of a member after its join.

use std::collections::HashMap;
use std::sync::Arc;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::leave_group_request::MemberIdentity;
use vltava_protocol::messages::leave_group_response::MemberResponse;
use vltava_protocol::messages::{HeartbeatRequest, LeaveGroupRequest, SyncGroupRequest};

use super::classic::{ClassicGroup, ClassicGroupState};
use super::classic_records;
use super::shard::{Core, GroupCoordinatorShard};
use crate::coordinator::shard::{Now, ReplyToken};

impl GroupCoordinatorShard {
    /// Gives a member its assignment, now or when the leader has sent it; the leader's request brings it.
    pub(crate) fn sync_group(&mut self, now: Now, request: SyncGroupRequest, token: ReplyToken) {
        if request.group_id.is_empty() {
            return self.core.refuse_sync(token, ErrorCode::InvalidGroupId);
        }
        match self.group_at(now, &request.group_id.clone()) {
            Some((group, core)) => group.sync(core, request, token),
            None => self.core.refuse_sync(token, ErrorCode::UnknownMemberId),
        }
    }

    /// Keeps a member's session alive.
    ///
    /// # Errors
    ///
    /// `REBALANCE_IN_PROGRESS` asks the member to join again; others say that it is not (any more) in the group.
    pub(crate) fn heartbeat(&mut self, now: Now, request: &HeartbeatRequest) -> Result<(), ErrorCode> {
        if request.group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let (group, core) = self.group_at(now, &request.group_id).ok_or(ErrorCode::UnknownMemberId)?;
        group.heartbeat(core, request)
    }

    /// Takes members out of a group; the answer has one entry per member of the request.
    ///
    /// # Errors
    ///
    /// `INVALID_GROUP_ID` for an empty group id.
    pub(crate) fn leave_group(
        &mut self,
        now: Now,
        request: LeaveGroupRequest,
    ) -> Result<Vec<MemberResponse>, ErrorCode> {
        if request.group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let responses = match self.group_at(now, &request.group_id) {
            Some((group, core)) => group.leave(core, request.members),
            None => {
                let refuse = |member| leave_response(member, Err(ErrorCode::UnknownMemberId));
                request.members.into_iter().map(refuse).collect()
            }
        };
        Ok(responses)
    }
}

impl ClassicGroup {
    fn sync(&mut self, core: &mut Core, request: SyncGroupRequest, token: ReplyToken) {
        if let Err(error) = self.validate_sync(&request) {
            return core.refuse_sync(token, error);
        }
        let id = request.member_id.clone();
        match self.state {
            ClassicGroupState::Empty => core.refuse_sync(token, ErrorCode::UnknownMemberId),
            ClassicGroupState::PreparingRebalance => core.refuse_sync(token, ErrorCode::RebalanceInProgress),
            ClassicGroupState::CompletingRebalance => {
                if let Some(member) = self.member_mut(&id)
                    && let Some(replaced) = member.awaiting_sync.replace(token)
                {
                    core.refuse_sync(replaced, ErrorCode::RebalanceInProgress);
                }
                self.remove_pending_sync(core, &id);
                if self.is_leader(&id) {
                    self.assign(core, request);
                }
            }
            ClassicGroupState::Stable => {
                self.remove_pending_sync(core, &id);
                core.answer_sync(token, self.sync_response(&id));
            }
        }
    }

    fn validate_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        self.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
        // KIP-559: since version 5 a member says what it thinks was agreed on.
        let differs =
            |theirs: &Option<String>, ours: &Option<String>| theirs.is_some() && ours.is_some() && theirs != ours;
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol_name, &self.protocol_name)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    /// Takes the leader's assignment: writes it down, and hands it out.
    fn assign(&mut self, core: &mut Core, request: SyncGroupRequest) {
        let mut assignments: HashMap<String, _> =
            request.assignments.into_iter().map(|entry| (entry.member_id, entry.assignment)).collect();
        for member in self.members_mut() {
            member.assignment = assignments.remove(&*member.id).unwrap_or_default();
        }
        let record = classic_records::group_record(self);
        if record.as_ref().is_ok_and(|record| !core.fits_in_batch(std::slice::from_ref(record))) {
            tracing::error!(group = %self.id, "the group's metadata is larger than a record may be");
            self.fail_syncs(core, ErrorCode::UnknownServerError);
            return self.prepare_rebalance(core, "the assignment could not be stored");
        }
        core.emit(record);
        self.transition_to(ClassicGroupState::Stable, core.now.timestamp_ms);
        self.answer_syncs(core, ErrorCode::None);
    }

    fn heartbeat(&mut self, core: &mut Core, request: &HeartbeatRequest) -> Result<(), ErrorCode> {
        self.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
        if self.state == ClassicGroupState::Empty {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.renew_session(core, &request.member_id);
        if self.state == ClassicGroupState::PreparingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// Gives a member another session timeout of time.
    pub(super) fn renew_session(&self, core: &mut Core, id: &str) {
        if let Some(member) = self.member(id) {
            core.arm_session(&self.id, &member.id, member.session_timeout_ms);
        }
    }

    fn leave(&mut self, core: &mut Core, members: Vec<MemberIdentity>) -> Vec<MemberResponse> {
        let mut any_left = false;
        let mut responses = Vec::with_capacity(members.len());
        for member in members {
            let result = self.leave_one(core, &member);
            any_left |= result.is_ok();
            responses.push(leave_response(member, result));
        }
        if any_left {
            match self.state {
                ClassicGroupState::Stable | ClassicGroupState::CompletingRebalance => {
                    self.prepare_rebalance(core, "members left");
                }
                ClassicGroupState::PreparingRebalance => self.maybe_complete_join(core),
                ClassicGroupState::Empty => {}
            }
        }
        responses
    }

    fn leave_one(&mut self, core: &mut Core, member: &MemberIdentity) -> Result<(), ErrorCode> {
        let instance = member.group_instance_id.as_deref();
        let id: Arc<str> = if member.member_id.is_empty() {
            // An administrator takes out a static member by its instance id (KIP-345).
            instance.and_then(|instance| self.static_member_id(instance)).ok_or(ErrorCode::UnknownMemberId)?
        } else {
            if !self.is_pending(&member.member_id) {
                self.validate_member(&member.member_id, instance)?;
            }
            member.member_id.as_str().into()
        };
        let reason = member.reason.as_deref().unwrap_or("not provided");
        tracing::info!(group = %self.id, member = %id, reason, "member has left");
        self.drop_member(core, &id);
        Ok(())
    }
}

pub(super) fn leave_response(member: MemberIdentity, result: Result<(), ErrorCode>) -> MemberResponse {
    MemberResponse {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        error_code: result.err().unwrap_or(ErrorCode::None).code(),
        ..MemberResponse::default()
    }
}
