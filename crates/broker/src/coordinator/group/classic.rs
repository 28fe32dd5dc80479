//! A group that speaks the classic protocol: its members, their votes and its state.
//!
//! ```text
//!            join                  all rejoined, or time out             leader's sync
//!  Empty ───────────▶ PreparingRebalance ───────────▶ CompletingRebalance ───────────▶ Stable
//!    ▲                  │       ▲  ▲                          │                           │
//!    └──────────────────┘       │  └──────────────────────────┘                           │
//!      nobody is left           └─────────────────────────────────────────────────────────┘
//!                                     join, leave, failed member, new subscription
//! ```
//!
//! This file keeps the books; `rebalance` moves the group from state to state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::join_group_request::JoinGroupRequestProtocol;

use super::classic_records;
use super::member::ClassicMember;
use crate::coordinator::shard::ReplyToken;

/// The protocol type of consumers, whose subscriptions the coordinator can read.
pub(super) const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// The states of a classic group. `Dead` is what a group is called that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClassicGroupState {
    /// No members; committed offsets may be there.
    Empty,
    /// Members are asked to join again.
    PreparingRebalance,
    /// Members wait for the leader's assignment.
    CompletingRebalance,
    /// Every member has an assignment.
    Stable,
}

impl ClassicGroupState {
    /// The state's name in answers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// A classic group.
#[derive(Debug, Clone)]
pub(super) struct ClassicGroup {
    pub(super) id: Arc<str>,
    pub(super) state: ClassicGroupState,
    /// Whether the join phase under way began with an empty group, which waits for more members.
    pub(super) initial_rebalance: bool,
    /// The wall-clock time of the last change of state, ms; none in records older than that field.
    pub(super) state_timestamp_ms: Option<i64>,
    pub(super) protocol_type: Option<String>,
    pub(super) protocol_name: Option<String>,
    pub(super) generation_id: i32,
    pub(super) leader_id: Option<Arc<str>>,
    /// Whether somebody joined since the initial delay was last prolonged.
    pub(super) new_member_added: bool,
    /// What is left, in ms, by which the initial delay may still be prolonged.
    pub(super) initial_delay_left_ms: i32,
    members: BTreeMap<Arc<str>, ClassicMember>,
    static_members: BTreeMap<String, Arc<str>>,
    /// Members that were told their id and have to come back with it.
    pending_join: BTreeSet<Arc<str>>,
    /// Members of this generation that have not asked for their assignment yet.
    pub(super) pending_sync: BTreeSet<Arc<str>>,
    awaiting_join: usize,
    supported_protocols: BTreeMap<String, usize>,
    /// The topics the members subscribe to; none if they cannot be told.
    subscribed_topics: Option<BTreeSet<String>>,
}

impl ClassicGroup {
    /// Makes an empty group.
    pub(super) fn new(id: Arc<str>, timestamp_ms: i64) -> Self {
        Self {
            id,
            state: ClassicGroupState::Empty,
            initial_rebalance: false,
            state_timestamp_ms: Some(timestamp_ms),
            protocol_type: None,
            protocol_name: None,
            generation_id: 0,
            leader_id: None,
            new_member_added: false,
            initial_delay_left_ms: 0,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_join: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            awaiting_join: 0,
            supported_protocols: BTreeMap::new(),
            subscribed_topics: None,
        }
    }

    pub(super) fn members(&self) -> impl ExactSizeIterator<Item = &ClassicMember> {
        self.members.values()
    }

    pub(super) fn member_ids(&self) -> Vec<Arc<str>> {
        self.members.keys().cloned().collect()
    }

    pub(super) fn member(&self, id: &str) -> Option<&ClassicMember> {
        self.members.get(id)
    }

    /// Gives access to a member; its `awaiting_join` and `protocols` are counted, so they have own methods here.
    pub(super) fn member_mut(&mut self, id: &str) -> Option<&mut ClassicMember> {
        self.members.get_mut(id)
    }

    pub(super) fn members_mut(&mut self) -> impl Iterator<Item = &mut ClassicMember> {
        self.members.values_mut()
    }

    pub(super) fn pending_join(&self) -> impl Iterator<Item = &Arc<str>> {
        self.pending_join.iter()
    }

    pub(super) fn is_pending(&self, id: &str) -> bool {
        self.pending_join.contains(id)
    }

    pub(super) fn add_pending(&mut self, id: Arc<str>) {
        self.pending_join.insert(id);
    }

    pub(super) fn static_member_id(&self, group_instance_id: &str) -> Option<Arc<str>> {
        self.static_members.get(group_instance_id).cloned()
    }

    pub(super) fn is_leader(&self, id: &str) -> bool {
        self.leader_id.as_deref() == Some(id)
    }

    /// Returns whether nobody is there and nobody is expected: the group may be forgotten.
    pub(super) fn is_vacant(&self) -> bool {
        self.state == ClassicGroupState::Empty && self.pending_join.is_empty()
    }

    pub(super) fn awaiting_join_count(&self) -> usize {
        self.awaiting_join
    }

    pub(super) fn has_all_members_joined(&self) -> bool {
        self.members.len() == self.awaiting_join && self.pending_join.is_empty()
    }

    pub(super) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    /// Returns the longest rebalance timeout of the members, ms.
    pub(super) fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0).max(0)
    }

    /// Adds a member, with the join request of it that waits; the first member leads.
    pub(super) fn add(&mut self, member: ClassicMember, protocol_type: &str) {
        if let Some(instance) = &member.group_instance_id {
            self.static_members.insert(instance.clone(), member.id.clone());
        }
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.to_owned());
        }
        if self.leader_id.is_none() {
            self.leader_id = Some(member.id.clone());
        }
        self.count_protocols(&member.protocols);
        self.awaiting_join += usize::from(member.awaiting_join.is_some());
        self.pending_join.remove(&member.id);
        self.members.insert(member.id.clone(), member);
    }

    /// Removes a member or pending member; somebody else leads if it did. The member is returned with its parked
    /// requests, which the caller has to answer.
    #[must_use]
    pub(super) fn remove(&mut self, id: &str) -> Option<ClassicMember> {
        self.pending_join.remove(id);
        self.pending_sync.remove(id);
        let member = self.members.remove(id)?;
        self.uncount_protocols(&member.protocols);
        self.awaiting_join -= usize::from(member.awaiting_join.is_some());
        if let Some(instance) = &member.group_instance_id {
            self.static_members.remove(instance);
        }
        if self.is_leader(id) {
            self.leader_id = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Gives the member of a static instance a new id, and returns the old one's parked join and sync requests.
    pub(super) fn replace_static_member(
        &mut self,
        old_id: &str,
        new_id: &Arc<str>,
    ) -> (Option<ReplyToken>, Option<ReplyToken>) {
        let Some(mut member) = self.members.remove(old_id) else { return (None, None) };
        let parked = (member.awaiting_join.take(), member.awaiting_sync.take());
        self.awaiting_join -= usize::from(parked.0.is_some());
        if self.is_leader(old_id) {
            self.leader_id = Some(new_id.clone());
        }
        if self.pending_sync.remove(old_id) {
            self.pending_sync.insert(new_id.clone());
        }
        if let Some(instance) = &member.group_instance_id {
            self.static_members.insert(instance.clone(), new_id.clone());
        }
        member.id = new_id.clone();
        member.is_new = false;
        self.members.insert(new_id.clone(), member);
        parked
    }

    /// Parks a member's join request; returns the one it replaces.
    pub(super) fn park_join(&mut self, id: &str, token: ReplyToken) -> Option<ReplyToken> {
        let member = self.members.get_mut(id)?;
        let replaced = member.awaiting_join.replace(token);
        self.awaiting_join += usize::from(replaced.is_none());
        replaced
    }

    /// Takes a member's parked join request.
    pub(super) fn take_join(&mut self, id: &str) -> Option<ReplyToken> {
        let token = self.members.get_mut(id)?.awaiting_join.take();
        self.awaiting_join -= usize::from(token.is_some());
        token
    }

    /// Replaces what a member offers.
    pub(super) fn set_protocols(&mut self, id: &str, protocols: Vec<JoinGroupRequestProtocol>) {
        let Some(member) = self.members.get_mut(id) else { return };
        let old = std::mem::replace(&mut member.protocols, protocols);
        let new = member.protocols.clone();
        self.uncount_protocols(&old);
        self.count_protocols(&new);
    }

    fn count_protocols(&mut self, protocols: &[JoinGroupRequestProtocol]) {
        for protocol in protocols {
            *self.supported_protocols.entry(protocol.name.clone()).or_default() += 1;
        }
    }

    fn uncount_protocols(&mut self, protocols: &[JoinGroupRequestProtocol]) {
        for protocol in protocols {
            if let Some(count) = self.supported_protocols.get_mut(&protocol.name) {
                *count -= 1;
                if *count == 0 {
                    self.supported_protocols.remove(&protocol.name);
                }
            }
        }
    }

    fn is_supported_by_all(&self, protocol: &str) -> bool {
        self.supported_protocols.get(protocol).copied().unwrap_or(0) == self.members.len()
    }

    /// Returns whether somebody who offers these protocols can be in the group.
    pub(super) fn supports_protocols(&self, protocol_type: &str, protocols: &[JoinGroupRequestProtocol]) -> bool {
        if self.state == ClassicGroupState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|protocol| self.is_supported_by_all(&protocol.name))
    }

    /// Returns the protocol with the most votes among those that every member offers; the first by name of equals.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            *votes.entry(member.vote(|name| self.is_supported_by_all(name))?).or_default() += 1;
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.to_owned())
    }

    /// Makes somebody who has joined the leader; `false` if nobody has.
    pub(super) fn elect_joined_leader(&mut self) -> bool {
        let Some(leader) = self.leader_id.as_deref().and_then(|id| self.members.get(id)) else { return false };
        if leader.awaiting_join.is_some() {
            return true;
        }
        let Some(joined) = self.members.values().find(|member| member.awaiting_join.is_some()) else { return false };
        self.leader_id = Some(joined.id.clone());
        true
    }

    pub(super) fn transition_to(&mut self, state: ClassicGroupState, timestamp_ms: i64) {
        self.initial_rebalance =
            state == ClassicGroupState::PreparingRebalance && self.state == ClassicGroupState::Empty;
        self.state = state;
        self.state_timestamp_ms = Some(timestamp_ms);
    }

    /// Begins the next generation: settles the protocol, and waits for the leader's assignment, or is empty.
    pub(super) fn init_next_generation(&mut self, timestamp_ms: i64) {
        self.generation_id = self.generation_id.wrapping_add(1).max(0);
        self.pending_sync.clear();
        self.protocol_name = self.select_protocol();
        self.compute_subscribed_topics();
        let next =
            if self.members.is_empty() { ClassicGroupState::Empty } else { ClassicGroupState::CompletingRebalance };
        self.transition_to(next, timestamp_ms);
    }

    /// Reads the members' subscriptions, if the group is one of consumers and they can be read.
    pub(super) fn compute_subscribed_topics(&mut self) {
        self.subscribed_topics = self.read_subscriptions();
    }

    fn read_subscriptions(&self) -> Option<BTreeSet<String>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(self.protocol_name.as_deref()?)?;
            topics.extend(classic_records::subscribed_topics(metadata)?);
        }
        Some(topics)
    }

    pub(super) fn has_known_subscriptions(&self) -> bool {
        self.subscribed_topics.is_some()
    }

    /// Returns whether a member subscribes to the topic; consumers whose subscription cannot be read may.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed_topics {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    /// Checks that a request comes from a member, and for a static one from the latest of its instance.
    ///
    /// # Errors
    ///
    /// `UNKNOWN_MEMBER_ID`, or `FENCED_INSTANCE_ID` if the instance has another member id by now.
    pub(super) fn validate_member(&self, id: &str, group_instance_id: Option<&str>) -> Result<(), ErrorCode> {
        // KIP-345: of two processes with one instance id the older is told that it was replaced.
        if let Some(instance) = group_instance_id {
            match self.static_members.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if &**current != id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }
}
