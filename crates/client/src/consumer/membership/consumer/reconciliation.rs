//! From what the member has to what the coordinator wants it to have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use vltava_protocol::Uuid;

use super::{ConsumerMembership, MemberState};
use crate::TopicPartition;
use crate::consumer::membership::{Acquire, Release, Step};
use crate::consumer::subscription::SubscriptionState;

/// Partitions by the ids of their topics.
pub(super) type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;

/// An assignment, and which of the coordinator's it is: what came back the same after something else is another one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LocalAssignment {
    /// `None` before the first.
    number: Option<u64>,
    pub(super) partitions: Partitions,
}

impl LocalAssignment {
    /// The one after this, if it is another.
    fn followed_by(&self, partitions: Partitions) -> Option<Self> {
        let is_same = self.number.is_some() && self.partitions == partitions;
        (!is_same).then(|| Self { number: Some(self.number.map_or(0, |number| number + 1)), partitions })
    }
}

/// How far the application's `poll` has come.
#[derive(Debug)]
pub(super) enum Progress {
    Idle,
    /// What is not in this assignment is being given up.
    Releasing(LocalAssignment),
    /// It is given up.
    Released(LocalAssignment),
    /// This assignment is being taken over.
    Acquiring(LocalAssignment),
    /// Everything is being given up, since the group has taken it away.
    Losing,
    /// It is given up, for good.
    Lost,
}

/// Which topics of a target have no name yet, and when to ask for them.
#[derive(Debug, Default)]
pub(super) struct LookUps {
    missing: BTreeSet<Uuid>,
    at: Option<Instant>,
    attempts: u32,
}

impl ConsumerMembership {
    /// Takes note of what the coordinator wants from now on.
    pub(super) fn take_target(&mut self, partitions: Partitions) {
        if let Some(next) = self.target.followed_by(partitions) {
            tracing::debug!(group = %self.config.group_id, target = ?next, "target assignment");
            self.target = next;
            self.resolve();
        }
        if self.target != self.current {
            self.enter(MemberState::Reconciling);
        } else if matches!(self.state, MemberState::Reconciling | MemberState::Joining) {
            self.enter(MemberState::Stable);
        }
    }

    /// The next step towards the target.
    pub(super) fn reconcile(&mut self, subscription: &SubscriptionState) -> Step {
        if self.state != MemberState::Reconciling {
            self.progress = Progress::Idle;
            return Step::Wait;
        }
        match std::mem::replace(&mut self.progress, Progress::Idle) {
            // A heartbeat that says what the member holds may be on its way: what it does not name, the coordinator gives to
            // others at once if it wants to. The answer tells whether it did.
            Progress::Released(assignment) if self.is_unconfirmed => {
                self.progress = Progress::Released(assignment);
                return Step::Wait;
            }
            Progress::Released(assignment) => {
                let assignment = self.still_wanted(assignment);
                let partitions = self.named(&assignment);
                self.progress = Progress::Acquiring(assignment);
                return Step::Acquire(Acquire { partitions, notify: None });
            }
            // What was begun is done first, whatever the target is by now.
            Progress::Releasing(assignment) => return self.release(assignment, subscription),
            _ => {}
        }
        let known = |id: &Uuid| self.names.contains_key(id);
        let partitions: Partitions = self.target.partitions.clone().into_iter().filter(|(id, _)| known(id)).collect();
        let next = LocalAssignment { number: self.target.number, partitions };
        if next == self.current {
            // The rest waits for its names.
            return Step::Wait;
        }
        if self.current.number.is_some() && next.partitions == self.current.partitions {
            // There is nothing to do, and the coordinator waits to hear it.
            self.current = next;
            self.enter(MemberState::Acknowledging);
            return Step::Wait;
        }
        self.release(next, subscription)
    }

    /// Has everything given up that is not in the assignment.
    fn release(&mut self, assignment: LocalAssignment, subscription: &SubscriptionState) -> Step {
        let (owned, next) = (self.named(&self.current), self.named(&assignment));
        let ids = |assignment: &LocalAssignment| -> BTreeMap<String, Uuid> {
            let named = |id: &Uuid| Some((self.names.get(id)?.clone(), *id));
            assignment.partitions.keys().filter_map(named).collect()
        };
        let (before, after) = (ids(&self.current), ids(&assignment));
        // A topic that was made anew has its name in common with the other, and no record.
        let is_deleted = |tp: &&TopicPartition| match (before.get(tp.topic()), after.get(tp.topic())) {
            (Some(before), Some(after)) => before != after,
            _ => false,
        };
        let deleted: BTreeSet<TopicPartition> = owned.iter().filter(is_deleted).cloned().collect();
        let mut keep = subscription.assigned();
        keep.retain(|tp| next.contains(tp) && !deleted.contains(tp));
        self.progress = Progress::Releasing(assignment);
        Step::Release(Release { keep, lost: false, always_tell: false, deleted })
    }

    /// What a release asked for is done.
    pub(super) fn take_release(&mut self) {
        match std::mem::replace(&mut self.progress, Progress::Idle) {
            Progress::Releasing(assignment) => self.progress = Progress::Released(assignment),
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
            self.forget_names();
            self.enter(MemberState::Acknowledging);
        }
    }

    pub(super) fn forget_assignment(&mut self) {
        self.current = LocalAssignment::default();
        self.target = LocalAssignment::default();
        self.progress = Progress::Idle;
        self.look_ups = LookUps::default();
        self.forget_names();
    }

    /// The assignment without what is neither held nor in the target any more: others may have it by now.
    fn still_wanted(&self, mut assignment: LocalAssignment) -> LocalAssignment {
        let has = |some: &Partitions, id: &Uuid, partition: &i32| {
            some.get(id).is_some_and(|partitions| partitions.contains(partition))
        };
        let (target, current) = (&self.target.partitions, &self.current.partitions);
        assignment.partitions.retain(|id, partitions| {
            partitions.retain(|partition| has(target, id, partition) || has(current, id, partition));
            !partitions.is_empty()
        });
        assignment
    }

    /// What the member may hold: what it is about to take over too, where Kafka's clients leave that out until the listener
    /// has heard of it. The coordinator gives to others at once what a member does not name.
    pub(super) fn held(&self) -> Partitions {
        let mut held = self.current.partitions.clone();
        if let Progress::Acquiring(assignment) = &self.progress {
            for (id, partitions) in &assignment.partitions {
                held.entry(*id).or_default().extend(partitions);
            }
        }
        held
    }

    fn named(&self, assignment: &LocalAssignment) -> BTreeSet<TopicPartition> {
        let mut named = BTreeSet::new();
        for (id, partitions) in &assignment.partitions {
            if let Some(name) = self.names.get(id) {
                named.extend(partitions.iter().map(|partition| TopicPartition::new(name.as_str(), *partition)));
            }
        }
        named
    }

    /// Names what the metadata knows of the target.
    pub(super) fn resolve(&mut self) {
        let target = self.target.partitions.keys();
        let missing: BTreeSet<Uuid> = target.filter(|id| !self.names.contains_key(id)).copied().collect();
        let found = missing.iter().filter_map(|id| Some((*id, self.metadata.topic_name(*id)?.to_string())));
        let found: BTreeMap<Uuid, String> = found.collect();
        if missing != self.look_ups.missing {
            self.look_ups = LookUps { missing, ..LookUps::default() };
        }
        self.take_names(found);
    }

    /// The topics that have other ids by now than those whose partitions are taken over.
    pub(super) fn replaced_topics(&self) -> BTreeSet<String> {
        let is_replaced = |name: &String, id: Uuid| {
            let known = self.metadata.topic(name).filter(|topic| topic.error.is_none() && !topic.topic_id.is_zero());
            known.is_some_and(|topic| topic.topic_id != id)
        };
        let named = |id: &Uuid| Some((self.names.get(id)?, *id));
        let current = self.current.partitions.keys().filter_map(named);
        current.filter(|&(name, id)| is_replaced(name, id)).map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn take_names(&mut self, found: BTreeMap<Uuid, String>) {
        for (id, name) in found {
            if self.look_ups.missing.remove(&id) {
                self.names.insert(id, name);
                self.names_changed = true;
            }
        }
    }

    /// Forgets the names of topics that are no more assigned.
    fn forget_names(&mut self) {
        let (target, current) = (&self.target.partitions, &self.current.partitions);
        let before = self.names.len();
        self.names.retain(|id, _| target.contains_key(id) || current.contains_key(id));
        self.names_changed |= self.names.len() != before;
    }

    /// The ids to look up now.
    pub(super) fn look_up(&mut self, now: Instant) -> BTreeSet<Uuid> {
        if self.look_ups.missing.is_empty() || self.look_ups.at.is_some_and(|at| now < at) {
            return BTreeSet::new();
        }
        let factor = 1u32.checked_shl(self.look_ups.attempts).unwrap_or(u32::MAX);
        let pause = self.config.retry_backoff.saturating_mul(factor).min(self.config.retry_backoff_max);
        self.look_ups.attempts = self.look_ups.attempts.saturating_add(1);
        self.look_ups.at = Some(now + pause);
        self.look_ups.missing.clone()
    }

    /// When to look up names again.
    pub(super) fn next_look_up(&self) -> Option<Instant> {
        self.look_ups.at.filter(|_| !self.look_ups.missing.is_empty())
    }
}
