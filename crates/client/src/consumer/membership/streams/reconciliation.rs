//! From the tasks that the member has to those that the coordinator wants it to have.

use std::collections::BTreeSet;

use super::{MemberState, StreamsMembership};
use crate::TopicPartition;
use crate::consumer::membership::{Acquire, Release, Step};
use crate::consumer::streams_group::{StreamsAssignment, StreamsTaskId};
use crate::consumer::subscription::SubscriptionState;

/// An assignment, and which of the coordinator's it is: what came back the same after something else is another one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LocalAssignment {
    /// `None` before the first.
    number: Option<u64>,
    pub(super) tasks: StreamsAssignment,
}

impl LocalAssignment {
    /// The one after this, if it is another.
    fn followed_by(&self, tasks: StreamsAssignment) -> Option<Self> {
        let is_same = self.number.is_some() && self.tasks == tasks;
        (!is_same).then(|| Self { number: Some(self.number.map_or(0, |number| number + 1)), tasks })
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
    /// Everything is being given up, in good order, to join anew.
    Rejoining,
    /// Everything is being given up, since the group has taken it away.
    Losing,
    /// It is given up, for good.
    Lost,
}

impl StreamsMembership {
    /// Takes note of what the coordinator wants from now on.
    pub(super) fn take_target(&mut self, tasks: StreamsAssignment) {
        if let Some(next) = self.target.followed_by(tasks) {
            tracing::debug!(group = %self.config.group_id, target = ?next, "target assignment");
            self.target = next;
        }
        if self.target != self.current {
            self.enter(MemberState::Reconciling);
        } else if matches!(self.state, MemberState::Reconciling | MemberState::Joining) {
            self.enter(MemberState::Stable);
        }
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
            Progress::Released(assignment) => {
                let assignment = self.still_wanted(assignment);
                let partitions = self.partitions_of(&assignment.tasks.active);
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
        let next = self.target.clone();
        if self.current.number.is_some() && next.tasks == self.current.tasks {
            // There is nothing to do, and the coordinator waits to hear it.
            self.current = next;
            self.enter(MemberState::Acknowledging);
            return Step::Wait;
        }
        self.release(next, subscription)
    }

    /// Has everything given up that is not in the assignment.
    fn release(&mut self, assignment: LocalAssignment, subscription: &SubscriptionState) -> Step {
        let next = self.partitions_of(&assignment.tasks.active);
        let mut keep = subscription.assigned();
        keep.retain(|tp| next.contains(tp));
        self.progress = Progress::Releasing(assignment);
        Step::Release(Release { keep, lost: false, always_tell: false, deleted: BTreeSet::new() })
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
            self.enter(MemberState::Acknowledging);
        }
    }

    pub(super) fn forget_assignment(&mut self) {
        self.current = LocalAssignment::default();
        self.target = LocalAssignment::default();
        self.progress = Progress::Idle;
    }

    /// What the member has, or is about to have.
    pub(super) fn assignment(&self) -> &StreamsAssignment {
        match &self.progress {
            Progress::Acquiring(assignment) => &assignment.tasks,
            _ => &self.current.tasks,
        }
    }

    /// The assignment without what is neither held nor in the target any more: others may have it by now.
    fn still_wanted(&self, mut assignment: LocalAssignment) -> LocalAssignment {
        let (target, current, tasks) = (&self.target.tasks, &self.current.tasks, &mut assignment.tasks);
        tasks.active.retain(|task| target.active.contains(task) || current.active.contains(task));
        tasks.standby.retain(|task| target.standby.contains(task) || current.standby.contains(task));
        tasks.warmup.retain(|task| target.warmup.contains(task) || current.warmup.contains(task));
        assignment
    }

    /// What the member may hold: what it is about to take over too, where Kafka's clients leave that out until the listener
    /// has heard of it. The coordinator gives to others at once what a member does not name.
    pub(super) fn held(&self) -> StreamsAssignment {
        let mut held = self.current.tasks.clone();
        if let Progress::Acquiring(assignment) = &self.progress {
            held.active.extend(assignment.tasks.active.iter().cloned());
            held.standby.extend(assignment.tasks.standby.iter().cloned());
            held.warmup.extend(assignment.tasks.warmup.iter().cloned());
        }
        held
    }

    /// What active tasks read. The target has tasks of known sub-topologies only.
    fn partitions_of(&self, tasks: &BTreeSet<StreamsTaskId>) -> BTreeSet<TopicPartition> {
        let mut partitions = BTreeSet::new();
        for task in tasks {
            let topics = self.member.subtopologies.get(&task.subtopology);
            let topics = topics.into_iter().flat_map(|subtopology| subtopology.inputs());
            partitions.extend(topics.map(|topic| TopicPartition::new(topic, task.partition)));
        }
        partitions
    }
}
