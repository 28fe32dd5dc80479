//! The records of modern groups, and how they fold into a group.

use std::sync::Arc;

use super::{LEAVE_EPOCH, ModernGroup, ModernKind, ModernMember};

/// What a record says about a group; without a value it takes back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change<K: ModernKind> {
    /// The group's epoch; without a value the group is gone.
    Group(Option<K::GroupRecord>),
    /// Who a member is, and what it wants.
    Member(String, Option<K::MemberRecord>),
    /// The epoch of the target assignment.
    Target(Option<K::TargetRecord>),
    /// A member's target.
    TargetOf(String, Option<K::TargetOfRecord>),
    /// What a member has.
    Current(String, Option<K::CurrentRecord>),
    /// What only groups of the kind have.
    Own(K::OwnChange),
}

impl<K: ModernKind> Change<K> {
    /// Returns whether the record only takes back: it makes no group where there is none.
    pub(in super::super) fn is_removal(&self) -> bool {
        match self {
            Self::Group(value) => value.is_none(),
            Self::Member(_, value) => value.is_none(),
            Self::Target(value) => value.is_none(),
            Self::TargetOf(_, value) => value.is_none(),
            Self::Current(_, value) => value.is_none(),
            Self::Own(change) => K::is_removal(change),
        }
    }
}

impl<K: ModernKind> ModernGroup<K> {
    /// Folds a record into the group. That of the group's removal is the caller's.
    pub(in super::super) fn apply(&mut self, change: Change<K>) {
        match change {
            Change::Group(Some(value)) => K::apply_group(self, value),
            Change::Group(None) => {}
            Change::Member(id, Some(value)) => self.update(&id, |member| K::apply_member(member, value)),
            Change::Member(id, None) => {
                if let Some(member) = self.members.remove(id.as_str()) {
                    self.own.forget(&member);
                    K::member_removed(self, &member);
                }
            }
            Change::Target(Some(value)) => {
                (self.assignment_epoch, self.assignment_timestamp_ms) = K::epoch_of_target(&value);
            }
            Change::Target(None) => (self.assignment_epoch, self.assignment_timestamp_ms) = (-1, 0),
            Change::TargetOf(id, Some(value)) => {
                self.target.insert(id.into(), K::target(value));
            }
            Change::TargetOf(id, None) => {
                self.target.remove(id.as_str());
            }
            Change::Current(id, Some(value)) => self.update(&id, |member| K::apply_current(member, value)),
            Change::Current(id, None) if self.members.contains_key(id.as_str()) => self.update(&id, |member| {
                (member.epoch, member.previous_epoch) = (LEAVE_EPOCH, LEAVE_EPOCH);
                (member.assigned, member.pending_revocation) = Default::default();
            }),
            Change::Current(_, None) => {}
            Change::Own(change) => K::apply_own(self, change),
        }
    }

    /// Changes a member, which is made if it is not there: compaction may leave either of its records the first.
    fn update(&mut self, id: &str, change: impl FnOnce(&mut ModernMember<K>)) {
        let id: Arc<str> = id.into();
        let mut member = self.members.remove(&id).unwrap_or_else(|| ModernMember::new(id.clone()));
        self.own.forget(&member);
        change(&mut member);
        self.own.note(&member);
        self.members.insert(id, member);
    }
}
