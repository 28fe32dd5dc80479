//! From what the member has to what the coordinator wants it to have.

use std::collections::BTreeSet;

use super::{Assigned, MemberState, ModernMembership, ModernProtocol};
use crate::consumer::membership::{Acquire, Release, Step};
use crate::consumer::subscription::SubscriptionState;

/// An assignment, and which of the coordinator's it is: what came back the same after something else is another one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct LocalAssignment<A> {
    /// `None` before the first.
    number: Option<u64>,
    pub(super) assigned: A,
}

impl<A: Assigned> LocalAssignment<A> {
    /// The one after this, if it is another.
    fn followed_by(&self, assigned: A) -> Option<Self> {
        let is_same = self.number.is_some() && self.assigned == assigned;
        (!is_same).then(|| Self { number: Some(self.number.map_or(0, |number| number + 1)), assigned })
    }
}

/// How far the application's `poll` has come.
#[derive(Debug)]
pub(super) enum Progress<A> {
    Idle,
    /// What is not in this assignment is being given up.
    Releasing(LocalAssignment<A>),
    /// It is given up.
    Released(LocalAssignment<A>),
    /// This assignment is being taken over.
    Acquiring(LocalAssignment<A>),
    /// Everything is being given up, in good order, to join anew.
    Rejoining,
    /// Everything is being given up, since the group has taken it away.
    Losing,
    /// It is given up, for good.
    Lost,
}

impl<P: ModernProtocol> ModernMembership<P> {
    /// Takes note of what the coordinator wants from now on.
    pub(super) fn take_target(&mut self, assigned: P::Assignment) {
        if let Some(next) = self.target.followed_by(assigned) {
            tracing::debug!(group = %self.config.group_id, target = ?next, "target assignment");
            self.target = next;
            self.protocol.on_target(&self.target.assigned);
        }
        if self.target != self.current {
            self.enter(MemberState::Reconciling);
        } else if matches!(self.state, MemberState::Reconciling | MemberState::Joining) {
            self.enter(MemberState::Stable);
        }
    }

    /// Whether the member has to give up everything and to join again.
    pub(super) fn must_rejoin(&self) -> bool {
        self.state.is_in_group() && self.protocol.must_rejoin()
    }

    /// The next step towards the target.
    pub(super) fn reconcile(&mut self, subscription: &SubscriptionState) -> Step {
        match std::mem::replace(&mut self.progress, Progress::Idle) {
            // What was begun is done first, whatever the target is by now.
            Progress::Rejoining => return self.release_all(),
            Progress::Releasing(assignment) => return self.release(assignment, subscription),
            // A heartbeat that says what the member holds may be on its way: what it does not name, the coordinator gives to
            // others at once if it wants to. The answer tells whether it did.
            Progress::Released(assignment) if self.is_unconfirmed => {
                self.progress = Progress::Released(assignment);
                return Step::Wait;
            }
            Progress::Released(mut assignment) => {
                // The rest others may have by now.
                assignment.assigned.retain_in(&self.target.assigned, &self.current.assigned);
                let partitions = self.protocol.partitions(&assignment.assigned);
                self.progress = Progress::Acquiring(assignment);
                return Step::Acquire(Acquire { partitions, notify: None });
            }
            _ => {}
        }
        if self.must_rejoin() {
            return self.release_all();
        }
        if self.state != MemberState::Reconciling {
            return Step::Wait;
        }
        let assigned = self.protocol.available(&self.target.assigned);
        let next = LocalAssignment { number: self.target.number, assigned };
        if next == self.current {
            // The rest is not to be had yet.
            return Step::Wait;
        }
        if self.current.number.is_some() && next.assigned == self.current.assigned {
            // There is nothing to do, and the coordinator waits to hear it.
            self.current = next;
            self.enter(MemberState::Acknowledging);
            return Step::Wait;
        }
        self.release(next, subscription)
    }

    /// Has everything given up that is not in the assignment.
    fn release(&mut self, assignment: LocalAssignment<P::Assignment>, subscription: &SubscriptionState) -> Step {
        let next = self.protocol.partitions(&assignment.assigned);
        let deleted = self.protocol.deleted(&self.current.assigned, &assignment.assigned);
        let mut keep = subscription.assigned();
        keep.retain(|tp| next.contains(tp) && !deleted.contains(tp));
        self.progress = Progress::Releasing(assignment);
        Step::Release(Release { keep, lost: false, always_tell: false, deleted })
    }

    fn release_all(&mut self) -> Step {
        let keep = BTreeSet::new();
        self.progress = Progress::Rejoining;
        Step::Release(Release { deleted: keep.clone(), keep, lost: false, always_tell: false })
    }

    /// What a release asked for is done.
    pub(super) fn take_release(&mut self) {
        match std::mem::replace(&mut self.progress, Progress::Idle) {
            Progress::Releasing(assignment) => self.progress = Progress::Released(assignment),
            Progress::Rejoining => {
                self.forget_assignment();
                self.join();
            }
            Progress::Losing => {
                self.forget_assignment();
                match self.state {
                    MemberState::Fenced | MemberState::Stale => self.join(),
                    _ => self.progress = Progress::Lost,
                }
            }
            // The group has taken away the rest meanwhile.
            _ => {}
        }
    }

    /// The assignment is taken over, and the listener knows.
    pub(super) fn take_acquisition(&mut self) {
        if let Progress::Acquiring(assignment) = std::mem::replace(&mut self.progress, Progress::Idle)
            && self.state == MemberState::Reconciling
        {
            self.current = assignment;
            self.protocol.on_current(&self.current.assigned, &self.target.assigned);
            self.enter(MemberState::Acknowledging);
        }
    }

    pub(super) fn forget_assignment(&mut self) {
        self.current = LocalAssignment::default();
        self.target = LocalAssignment::default();
        self.progress = Progress::Idle;
        self.protocol.on_target(&self.target.assigned);
        self.protocol.on_current(&self.current.assigned, &self.target.assigned);
    }

    /// What the member has, or is about to have.
    pub(in super::super) fn current_or_next(&self) -> &P::Assignment {
        match &self.progress {
            Progress::Acquiring(assignment) => &assignment.assigned,
            _ => &self.current.assigned,
        }
    }

    /// What the member may hold: what it is about to take over too, where Kafka's clients leave that out until the listener
    /// has heard of it. The coordinator gives to others at once what a member does not name.
    pub(super) fn held(&self) -> P::Assignment {
        let mut held = self.current.assigned.clone();
        if let Progress::Acquiring(assignment) = &self.progress {
            held.extend(&assignment.assigned);
        }
        held
    }
}
