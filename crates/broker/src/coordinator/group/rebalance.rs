//! How a classic group gets from one generation to the next.

use std::sync::Arc;

use bytes::Bytes;
use vltava_protocol::messages::join_group_response::JoinGroupResponseMember;
use vltava_protocol::messages::{JoinGroupResponse, SyncGroupResponse};
use vltava_protocol::{ErrorCode, invariant};

use super::classic::{ClassicGroup, ClassicGroupState};
use super::classic_records;
use super::member::ClassicMember;
use super::shard::Core;
use super::timer_key::TimerKey;

impl ClassicGroup {
    /// Asks the members to join again, unless they are being asked already.
    pub(super) fn prepare_rebalance_or_complete_join(&mut self, core: &mut Core, reason: &str) {
        if self.state == ClassicGroupState::PreparingRebalance {
            self.maybe_complete_join(core);
        } else {
            self.prepare_rebalance(core, reason);
        }
    }

    /// Asks the members to join again.
    pub(super) fn prepare_rebalance(&mut self, core: &mut Core, reason: &str) {
        if self.state == ClassicGroupState::CompletingRebalance {
            self.fail_syncs(core, ErrorCode::RebalanceInProgress);
        }
        self.pending_sync.clear();
        core.timers.cancel(&self.sync_timer());
        let is_initial = self.state == ClassicGroupState::Empty;
        self.transition_to(ClassicGroupState::PreparingRebalance, core.now.timestamp_ms);
        tracing::info!(group = %self.id, generation = self.generation_id, reason, "preparing to rebalance group");
        if is_initial {
            let delay = core.config.initial_rebalance_delay_ms;
            self.initial_delay_left_ms = self.rebalance_timeout_ms().saturating_sub(delay).max(0);
            let deadline = core.after(delay);
            core.timers.schedule(self.join_timer(), deadline);
        } else if self.has_all_members_joined() {
            self.complete_join(core);
        } else {
            let deadline = core.after(self.rebalance_timeout_ms());
            core.timers.schedule(self.join_timer(), deadline);
        }
    }

    /// Ends the join phase if everybody has joined, except that an initial one lasts as long as its delay.
    pub(super) fn maybe_complete_join(&mut self, core: &mut Core) {
        if self.state == ClassicGroupState::PreparingRebalance
            && !self.initial_rebalance
            && self.has_all_members_joined()
        {
            self.complete_join(core);
        }
    }

    /// The join phase's time is over: prolongs an initial one to which somebody came, or ends it.
    pub(super) fn expire_join(&mut self, core: &mut Core) {
        if self.state != ClassicGroupState::PreparingRebalance {
            return;
        }
        if self.initial_rebalance && self.new_member_added && self.initial_delay_left_ms != 0 {
            self.new_member_added = false;
            let delay = core.config.initial_rebalance_delay_ms.min(self.initial_delay_left_ms);
            self.initial_delay_left_ms =
                self.initial_delay_left_ms.saturating_sub(core.config.initial_rebalance_delay_ms).max(0);
            let deadline = core.after(delay);
            core.timers.schedule(self.join_timer(), deadline);
        } else {
            self.complete_join(core);
        }
    }

    /// Ends the join phase: dynamic members that did not come are out, the others get the next generation.
    fn complete_join(&mut self, core: &mut Core) {
        core.timers.cancel(&self.join_timer());
        let missing: Vec<Arc<str>> = self
            .members()
            .filter(|member| member.awaiting_join.is_none() && member.group_instance_id.is_none())
            .map(|member| member.id.clone())
            .collect();
        for id in &missing {
            self.drop_member(core, id);
        }
        if !missing.is_empty() {
            tracing::info!(group = %self.id, ?missing, "removed members that did not join in time");
        }
        if !self.elect_joined_leader() && self.members().len() > 0 {
            tracing::error!(group = %self.id, "the rebalance could not complete because no member joined");
            let deadline = core.after(self.rebalance_timeout_ms());
            core.timers.schedule(self.join_timer(), deadline);
            return;
        }
        self.init_next_generation(core.now.timestamp_ms);
        if self.state == ClassicGroupState::Empty {
            tracing::info!(group = %self.id, generation = self.generation_id, "group is empty");
            core.emit(classic_records::group_record(self));
            return;
        }
        core.config.counters.classic_rebalances.increment();
        tracing::info!(
            group = %self.id, generation = self.generation_id, members = self.members().len(), "stabilized group"
        );
        for id in self.member_ids() {
            self.answer_join_of(core, &id);
            if let Some(member) = self.member_mut(&id) {
                member.is_new = false;
            }
            self.pending_sync.insert(id);
        }
        let deadline = core.after(self.rebalance_timeout_ms());
        core.timers.schedule(self.sync_timer(), deadline);
    }

    /// Answers a member's parked join request with this generation, and gives the member a new session.
    fn answer_join_of(&mut self, core: &mut Core, id: &Arc<str>) {
        if let Some(token) = self.take_join(id) {
            let response = self.join_response(id);
            core.answer_join(token, response);
        }
        if let Some(member) = self.member(id) {
            core.arm_session(&self.id, id, member.session_timeout_ms);
        }
    }

    /// Makes the answer to a join request; the leader's has the members.
    pub(super) fn join_response(&self, id: &str) -> JoinGroupResponse {
        self.agreed_response(id).unwrap_or_else(|| {
            invariant!(false, "the members of group {} have a leader, and a protocol that all of them offer", self.id);
            let error_code = ErrorCode::UnknownServerError.code();
            JoinGroupResponse { error_code, member_id: id.to_owned(), ..JoinGroupResponse::default() }
        })
    }

    fn agreed_response(&self, id: &str) -> Option<JoinGroupResponse> {
        let protocol = self.protocol_name.as_deref()?;
        let member = |member: &ClassicMember| {
            Some(JoinGroupResponseMember {
                member_id: member.id.to_string(),
                group_instance_id: member.group_instance_id.clone(),
                metadata: member.metadata(protocol)?.clone(),
                ..JoinGroupResponseMember::default()
            })
        };
        let members = if self.is_leader(id) { self.members().map(member).collect::<Option<_>>()? } else { Vec::new() };
        Some(JoinGroupResponse {
            generation_id: self.generation_id,
            protocol_type: self.protocol_type.clone(),
            protocol_name: Some(protocol.to_owned()),
            leader: self.leader_id.as_deref()?.to_owned(),
            member_id: id.to_owned(),
            members,
            ..JoinGroupResponse::default()
        })
    }

    /// Takes the assignments away, and answers who waits for one by an error.
    pub(super) fn fail_syncs(&mut self, core: &mut Core, error: ErrorCode) {
        for member in self.members_mut() {
            member.assignment = Bytes::new();
        }
        self.answer_syncs(core, error);
    }

    /// Answers everybody who waits for an assignment, and gives them a new session.
    pub(super) fn answer_syncs(&mut self, core: &mut Core, error: ErrorCode) {
        for id in self.member_ids() {
            let Some(member) = self.member_mut(&id) else { continue };
            let timeout_ms = member.session_timeout_ms;
            let Some(token) = member.awaiting_sync.take() else { continue };
            if error == ErrorCode::None {
                let response = self.sync_response(&id);
                core.answer_sync(token, response);
            } else {
                core.refuse_sync(token, error);
            }
            core.arm_session(&self.id, &id, timeout_ms);
        }
    }

    /// Makes the answer to a sync request: the member's assignment.
    pub(super) fn sync_response(&self, id: &str) -> SyncGroupResponse {
        let Some(member) = self.member(id) else {
            invariant!(false, "who is answered with an assignment is a member of group {}", self.id);
            let error_code = ErrorCode::UnknownServerError.code();
            return SyncGroupResponse { error_code, ..SyncGroupResponse::default() };
        };
        SyncGroupResponse {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment: member.assignment.clone(),
            ..SyncGroupResponse::default()
        }
    }

    /// Removes a member, its session and its parked requests.
    pub(super) fn drop_member(&mut self, core: &mut Core, id: &Arc<str>) {
        core.cancel_session(&self.id, id);
        if let Some(member) = self.remove(id) {
            refuse_parked(core, &member);
        }
    }

    /// A member was not heard of for the time of its session.
    pub(super) fn expire_session(&mut self, core: &mut Core, id: &Arc<str>) {
        if self.is_pending(id) {
            tracing::info!(group = %self.id, member = %id, "pending member did not come back in time");
            let _ = self.remove(id);
            if self.state == ClassicGroupState::PreparingRebalance && self.has_all_members_joined() {
                self.complete_join(core);
            }
            return;
        }
        if self.member(id).is_none_or(ClassicMember::has_satisfied_heartbeat) {
            return;
        }
        tracing::info!(group = %self.id, member = %id, "member has failed");
        self.drop_member(core, id);
        match self.state {
            ClassicGroupState::Stable | ClassicGroupState::CompletingRebalance => {
                self.prepare_rebalance(core, "a member's session timed out");
            }
            ClassicGroupState::PreparingRebalance if self.has_all_members_joined() => self.complete_join(core),
            ClassicGroupState::PreparingRebalance | ClassicGroupState::Empty => {}
        }
    }

    /// Removes the members that did not ask for their assignment within the rebalance timeout.
    pub(super) fn expire_sync(&mut self, core: &mut Core) {
        let is_due = matches!(self.state, ClassicGroupState::CompletingRebalance | ClassicGroupState::Stable);
        if !is_due || self.pending_sync.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.pending_sync) {
            self.drop_member(core, &id);
        }
        self.prepare_rebalance(core, "members did not ask for their assignment in time");
    }

    /// Notes that a member has asked for its assignment.
    pub(super) fn remove_pending_sync(&mut self, core: &mut Core, id: &str) {
        self.pending_sync.remove(id);
        if self.pending_sync.is_empty() {
            core.timers.cancel(&self.sync_timer());
        }
    }

    fn join_timer(&self) -> TimerKey {
        TimerKey::Join { group: self.id.clone() }
    }

    fn sync_timer(&self) -> TimerKey {
        TimerKey::Sync { group: self.id.clone() }
    }
}

/// Tells a member that is out, if it waits, that it is not known any more.
pub(super) fn refuse_parked(core: &mut Core, member: &ClassicMember) {
    if let Some(token) = member.awaiting_join {
        core.refuse_join(token, "", ErrorCode::UnknownMemberId);
    }
    if let Some(token) = member.awaiting_sync {
        core.refuse_sync(token, ErrorCode::UnknownMemberId);
    }
}
