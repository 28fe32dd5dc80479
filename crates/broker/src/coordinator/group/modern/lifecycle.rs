//! How modern groups and their members come and go in the coordinator, and their deadlines.

use std::collections::BTreeMap;
use std::sync::Arc;

use vltava_protocol::ErrorCode;

use super::{Change, MemberState, ModernGroup, ModernKind, ModernMember};
use crate::coordinator::group::config::GroupCoordinatorConfig;
use crate::coordinator::group::kind::Group;
use crate::coordinator::group::records::CoordinatorRecord;
use crate::coordinator::group::shard::{Core, GroupCoordinatorShard, Refused};
use crate::coordinator::group::timer_key::TimerKey;

/// A kind of groups as the coordinator keeps them.
pub(in super::super) trait Kept: ModernKind {
    /// The group, if it is of the kind.
    fn of(group: &Group) -> Option<&ModernGroup<Self>>;
    fn of_mut(group: &mut Group) -> Option<&mut ModernGroup<Self>>;
    fn kept(group: ModernGroup<Self>) -> Group;
    fn record(group: String, change: Change<Self>) -> CoordinatorRecord;

    fn session_timeout_ms(config: &GroupCoordinatorConfig, group: &str) -> i32;

    /// Takes a member out of its group at a deadline; the group is in another epoch then.
    fn fence(shard: &mut GroupCoordinatorShard, group: &Arc<str>, member: &Arc<str>);
}

impl GroupCoordinatorShard {
    pub(in super::super) fn modern_group<K: Kept>(&self, id: &str) -> Option<&ModernGroup<K>> {
        K::of(self.groups.get(id)?)
    }

    pub(in super::super) fn modern_group_mut<K: Kept>(&mut self, id: &str) -> Option<&mut ModernGroup<K>> {
        K::of_mut(self.groups.get_mut(id)?)
    }

    pub(in super::super) fn modern_member<K: Kept>(&self, group: &str, member: &str) -> Option<&ModernMember<K>> {
        self.modern_group(group)?.members.get(member)
    }

    /// Emits a record of a group and folds it into the state.
    pub(in super::super) fn emit_change<K: Kept>(&mut self, group: &Arc<str>, change: Change<K>) {
        self.emit_and_replay(K::record(group.to_string(), change));
    }

    /// Folds a record of a group; one that says anything new makes the group, in place of a classic one.
    pub(in super::super) fn replay_change<K: Kept>(&mut self, group_id: &str, change: Change<K>) {
        if matches!(change, Change::Group(None)) {
            return self.forget_group(group_id);
        }
        if !change.is_removal() && self.modern_group::<K>(group_id).is_none() {
            let id: Arc<str> = group_id.into();
            self.groups.insert(id.clone(), K::kept(ModernGroup::new(id)));
        }
        if let Some(group) = self.modern_group_mut(group_id) {
            group.apply(change);
        }
    }

    /// Checks that there is a group of the kind, or may be one: an empty classic group becomes one.
    ///
    /// # Errors
    ///
    /// `GROUP_ID_NOT_FOUND` if nobody may make the group, or it is of another kind.
    pub(in super::super) fn check_modern_group<K: Kept>(&self, id: &str, is_joining: bool) -> Result<(), Refused> {
        match self.groups.get(id) {
            Some(group) if K::of(group).is_some() => Ok(()),
            None if is_joining => Ok(()),
            None => Err(not_found(format!("{} group {id} not found.", K::TITLE))),
            Some(Group::Classic(group)) if is_joining && group.is_vacant() => Ok(()),
            Some(_) => Err(not_found(format!("Group {id} is not a {} group.", K::NAME))),
        }
    }

    /// Makes room for a modern group where an empty classic one is.
    pub(in super::super) fn make_room(&mut self, group_id: &Arc<str>) {
        if let Some(Group::Classic(_)) = self.groups.get(group_id) {
            self.emit_and_replay(CoordinatorRecord::group_tombstone(group_id));
        }
    }

    /// Returns the group of whoever is in one.
    ///
    /// # Errors
    ///
    /// `GROUP_ID_NOT_FOUND` if there is none of the kind.
    pub(in super::super) fn known_group<K: Kept>(&self, id: &str) -> Result<&ModernGroup<K>, Refused> {
        self.modern_group(id).ok_or_else(|| {
            let exists = self.groups.contains_key(id);
            let text = if exists { format!("is not a {} group.", K::NAME) } else { "not found.".to_owned() };
            not_found(format!("Group {id} {text}"))
        })
    }

    /// Notes a target assignment; what has not changed is not recorded.
    pub(in super::super) fn record_target<K: Kept>(
        &mut self,
        group_id: &Arc<str>,
        epoch: i32,
        target: BTreeMap<Arc<str>, K::Target>,
    ) {
        let timestamp_ms = self.core.now.timestamp_ms;
        for (id, target) in target {
            let before = self.modern_group::<K>(group_id).and_then(|group| group.target.get(&id));
            if before != Some(&target) {
                let record = K::target_of_record(&target);
                self.emit_change::<K>(group_id, Change::TargetOf(id.to_string(), Some(record)));
            }
        }
        self.emit_change::<K>(group_id, Change::Target(Some(K::target_record(epoch, timestamp_ms))));
    }

    /// Notes a member's next step; it has its rebalance timeout to give up what it has to.
    pub(in super::super) fn record_step<K: Kept>(&mut self, group: &Arc<str>, next: &ModernMember<K>) {
        if next.state == MemberState::Unrevoked {
            self.core.arm_rebalance(group, &next.id, next.rebalance_timeout_ms);
        } else {
            self.core.cancel_rebalance(group, &next.id);
        }
        self.emit_change::<K>(group, Change::Current(next.id.to_string(), Some(K::current_record(next))));
    }

    /// Emits the records that remove a member.
    pub(in super::super) fn remove_member<K: Kept>(&mut self, group: &Arc<str>, member: &Arc<str>) {
        self.emit_change::<K>(group, Change::Current(member.to_string(), None));
        self.emit_change::<K>(group, Change::TargetOf(member.to_string(), None));
        self.emit_change::<K>(group, Change::Member(member.to_string(), None));
    }

    /// A member was not heard of for the time of its session.
    pub(in super::super) fn expire_member_session<K: Kept>(&mut self, group: &Arc<str>, member: &Arc<str>) {
        if self.modern_member::<K>(group, member).is_some() {
            tracing::info!(%group, %member, "member has failed");
            K::fence(self, group, member);
        }
    }

    /// A member has not given up what it had to within its rebalance timeout.
    pub(in super::super) fn expire_revocation<K: Kept>(&mut self, group: &Arc<str>, member: &Arc<str>) {
        let is_late = |member: &ModernMember<K>| member.state == MemberState::Unrevoked;
        if self.modern_member(group, member).is_some_and(is_late) {
            tracing::info!(%group, %member, "member did not give up in time what it had to");
            K::fence(self, group, member);
        }
    }
}

impl Core {
    /// Arms the deadlines of a loaded group's members.
    pub(in super::super) fn arm_members<K: Kept>(&mut self, group: &ModernGroup<K>) {
        let timeout = K::session_timeout_ms(&self.config, &group.id);
        for member in group.members.values() {
            self.arm_session(&group.id, &member.id, timeout);
            if member.state == MemberState::Unrevoked {
                self.arm_rebalance(&group.id, &member.id, member.rebalance_timeout_ms);
            }
        }
    }

    /// Cancels the deadlines of members.
    pub(in super::super) fn cancel_members<'a>(
        &mut self,
        group: &Arc<str>,
        members: impl IntoIterator<Item = &'a Arc<str>>,
    ) {
        for id in members {
            self.cancel_session(group, id);
            self.cancel_rebalance(group, id);
        }
    }

    fn arm_rebalance(&mut self, group: &Arc<str>, member: &Arc<str>, timeout_ms: i32) {
        let deadline = self.after(timeout_ms);
        self.timers.schedule(TimerKey::Rebalance { group: group.clone(), member: member.clone() }, deadline);
    }

    fn cancel_rebalance(&mut self, group: &Arc<str>, member: &Arc<str>) {
        self.timers.cancel(&TimerKey::Rebalance { group: group.clone(), member: member.clone() });
    }
}

/// Returns the records that remove a group.
pub(in super::super) fn tombstones<K: Kept>(group: &ModernGroup<K>) -> Vec<CoordinatorRecord> {
    let members = || group.members.keys().map(|id| id.to_string());
    let changes = members()
        .map(|id| Change::Current(id, None))
        .chain(members().map(|id| Change::TargetOf(id, None)))
        .chain([Change::Target(None)])
        .chain(members().map(|id| Change::Member(id, None)))
        .chain(group.own.removal());
    changes.map(|change| K::record(group.id.to_string(), change)).collect()
}

fn not_found(text: String) -> Refused {
    Refused::new(ErrorCode::GroupIdNotFound, text)
}

pub(in super::super) fn unknown_member(id: &str, group: &str) -> Refused {
    Refused::new(ErrorCode::UnknownMemberId, format!("Member {id} is not a member of group {group}."))
}
