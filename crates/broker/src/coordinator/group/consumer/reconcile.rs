//! A member's next step towards its target assignment.

use std::collections::BTreeSet;

use vltava_protocol::{ErrorCode, Uuid};

use super::{ConsumerGroup, ConsumerMember, Owned, Partitions};
use crate::coordinator::group::modern::MemberState;

/// What a heartbeat says that its member holds; none if it says nothing.
pub(super) type Held<'a> = Option<&'a Partitions>;

impl ConsumerGroup {
    /// Returns the member as it is after the next step.
    ///
    /// A partition is given only when nobody holds it, and the member's epoch moves on only when it holds nothing any
    /// more that it has to give up.
    ///
    /// # Errors
    ///
    /// `FENCED_MEMBER_EPOCH` for a member whose state is not known and who holds partitions.
    pub(super) fn reconcile(
        &self,
        member: &ConsumerMember,
        subscribed: &BTreeSet<Uuid>,
        subscription_changed: bool,
        held: Held<'_>,
    ) -> Result<ConsumerMember, ErrorCode> {
        let step = Step { group: self, member, subscribed, held };
        Ok(match member.state {
            MemberState::Stable if member.epoch != self.assignment_epoch => step.towards_target(member.epoch),
            MemberState::Stable if subscription_changed => step.without_unsubscribed(),
            MemberState::Stable => member.clone(),
            MemberState::Unrevoked if holds_any(held, &member.pending_revocation) => {
                if subscription_changed {
                    step.without_unsubscribed()
                } else {
                    member.clone()
                }
            }
            MemberState::Unrevoked | MemberState::Unreleased => step.towards_target(member.epoch),
            MemberState::Unknown if held.is_some_and(Partitions::is_empty) => {
                step.towards_target(self.assignment_epoch)
            }
            MemberState::Unknown => return Err(ErrorCode::FencedMemberEpoch),
        })
    }
}

/// Returns whether a member holds any of these, as far as is known: who says nothing may hold them.
fn holds_any(held: Held<'_>, partitions: &Owned) -> bool {
    let Some(held) = held else { return true };
    held.iter().any(|(topic, held)| {
        partitions.get(topic).is_some_and(|partitions| held.iter().any(|index| partitions.contains_key(index)))
    })
}

struct Step<'a> {
    group: &'a ConsumerGroup,
    member: &'a ConsumerMember,
    subscribed: &'a BTreeSet<Uuid>,
    held: Held<'a>,
}

impl Step<'_> {
    /// Takes away what the member no longer subscribes to, before there is another target.
    fn without_unsubscribed(&self) -> ConsumerMember {
        let mut member = self.member.clone();
        let (kept, lost): (Owned, Owned) =
            self.member.assigned.clone().into_iter().partition(|(topic, _)| self.subscribed.contains(topic));
        if lost.is_empty() {
            return member;
        }
        let mut pending = self.member.pending_revocation.clone();
        for (topic, partitions) in lost {
            pending.entry(topic).or_default().extend(partitions);
        }
        member.assigned = kept;
        member.advance_to(self.member.epoch);
        if holds_any(self.held, &pending) {
            member.state = MemberState::Unrevoked;
            member.pending_revocation = pending;
        }
        member
    }

    /// Keeps what is in the target, gives up the rest, and takes what is free.
    fn towards_target(&self, epoch_while_revoking: i32) -> ConsumerMember {
        let target = self.group.target.get(&self.member.id);
        let mut kept = Owned::new();
        let mut revoked = Owned::new();
        for (topic, partitions) in &self.member.assigned {
            for (partition, since) in partitions {
                let stays = self.wants(target, *topic, *partition);
                let place = if stays { &mut kept } else { &mut revoked };
                place.entry(*topic).or_default().insert(*partition, *since);
            }
        }
        let mut member = self.member.clone();
        if !revoked.is_empty() && holds_any(self.held, &revoked) {
            member.state = MemberState::Unrevoked;
            member.advance_to(epoch_while_revoking);
            member.assigned = kept;
            member.pending_revocation = revoked;
            return member;
        }
        let target_epoch = self.group.assignment_epoch;
        let mut waits = false;
        for (topic, partitions) in target.into_iter().flatten().filter(|(topic, _)| self.subscribed.contains(topic)) {
            for partition in partitions {
                if kept.get(topic).is_some_and(|kept| kept.contains_key(partition)) {
                    continue;
                }
                let is_own = |owned: &Owned| owned.get(topic).is_some_and(|own| own.contains_key(partition));
                if self.group.owner_epoch(*topic, *partition).is_some() && !is_own(&self.member.pending_revocation) {
                    waits = true;
                } else {
                    kept.entry(*topic).or_default().insert(*partition, target_epoch);
                }
            }
        }
        member.state = if waits { MemberState::Unreleased } else { MemberState::Stable };
        member.advance_to(target_epoch);
        member.assigned = kept;
        member.pending_revocation = Owned::new();
        member
    }

    fn wants(&self, target: Option<&Partitions>, topic: Uuid, partition: i32) -> bool {
        self.subscribed.contains(&topic)
            && target.and_then(|target| target.get(&topic)).is_some_and(|target| target.contains(&partition))
    }
}
