//! The steps of a rebalance that belong to `poll`: commit, tell the listener, give up and take over partitions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use vltava_protocol::messages::join_group_response::JoinGroupResponseMember;

use super::commits::{CommitJob, Waiter};
use super::{Core, Effect, topic_counts};
use crate::consumer::assignor::Assignment;
use crate::consumer::group_metadata::ConsumerGroupMetadata;
use crate::consumer::membership::{Acquire, Describe, Release, Step};
use crate::{ClientError, TopicPartition};

/// Which of the listener's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Revoked,
    Lost,
    Assigned,
}

/// What `poll` has to do outside of the core, where the application's code runs. It is taken off the list before it begins,
/// so that nothing is done twice when a `poll` is dropped in between.
#[derive(Debug)]
pub(crate) enum Task {
    /// Call the listener.
    Listener(Call, Vec<TopicPartition>),
    /// Give the new assignment to the assignor of this name.
    Notify { protocol: String, assignment: Assignment, group: ConsumerGroupMetadata },
    /// Have the assignors describe this member, then [`Core::described`].
    Describe(Describe),
    /// Assign partitions to the members, then [`Core::assigned`] or [`Core::assign_failed`].
    Assign { protocol: String, members: Vec<JoinGroupResponseMember>, skip: bool },
}

/// One thing after the other.
#[derive(Debug)]
enum Stage {
    Task(Task),
    /// Own only these partitions; then the member may join.
    Keep(BTreeSet<TopicPartition>),
    /// Own these partitions, `added` ones without fetching until the listener knows of them.
    Own {
        partitions: BTreeSet<TopicPartition>,
        added: BTreeSet<TopicPartition>,
    },
    /// The listener knows: fetch.
    Enable(BTreeSet<TopicPartition>),
}

/// A rebalance under way.
#[derive(Debug, Default)]
pub(super) struct Rebalance {
    stages: VecDeque<Stage>,
    /// The first error of a task, returned when all are done.
    error: Option<ClientError>,
    /// Partitions are not given up before a commit, which is waited for until then.
    commit_deadline: Option<Instant>,
}

impl Rebalance {
    /// Whether `poll` has something to do for the rebalance.
    pub(super) fn has_stages(&self) -> bool {
        !self.stages.is_empty()
    }

    pub(super) fn take_error(&mut self) -> Option<ClientError> {
        self.error.take()
    }

    pub(super) fn commit_deadline(&self) -> Option<Instant> {
        self.commit_deadline
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Core {
    /// Lets time pass for the member, and sends what it has to say.
    pub(super) fn poll_membership(&mut self, now: Instant) {
        let Some(membership) = &mut self.membership else { return };
        let was_needed = membership.rejoin_needed();
        membership.tick(now, &mut self.coordinator);
        let mut wakes = membership.rejoin_needed() != was_needed;
        while let Some((token, request)) = membership.next_request() {
            match self.coordinator.node() {
                Some(node) => self.effects.push(Effect::Group { token, node, request }),
                None => {
                    let reason = "the group coordinator is not known".into();
                    let error = ClientError::NodeNotAvailable { node: -1, reason };
                    membership.on_response(now, token, Err(error), &mut self.coordinator);
                    wakes = true;
                }
            }
        }
        self.look_up_topics(now);
        if wakes {
            self.wake();
        }
    }

    /// Keeps the metadata of what the coordinator assigned, and asks for what has no name yet.
    fn look_up_topics(&mut self, now: Instant) {
        let Some(membership) = &mut self.membership else { return };
        if let Some(topics) = membership.take_assigned_topics() {
            self.subscription.set_assigned_topics(topics);
        }
        let ids = membership.unresolved(now);
        if ids.is_empty() {
            return;
        }
        // What is subscribed to by name is in the metadata as soon as that is new enough.
        if self.subscription.coordinator_pattern().is_none() {
            self.effects.push(Effect::RefreshMetadata);
        } else if let Some(node) = self.coordinator.node() {
            self.effects.push(Effect::NameTopics { node, ids });
        }
    }

    /// Lets the membership go on, as far as that needs `poll`.
    pub(super) fn step_membership(&mut self, now: Instant) -> Result<(), ClientError> {
        // A pattern means nothing before the topics are known.
        let is_unknown = self.subscription.has_pattern() && self.metadata_version.is_none_or(|version| version == 0);
        let Some(membership) = self.membership.as_mut().filter(|_| !is_unknown) else { return Ok(()) };
        match membership.next_step(now, &mut self.coordinator, &mut self.subscription) {
            Step::Wait => {}
            Step::Release(release) => self.release(release, now),
            Step::Describe(describe) => self.add_task(Task::Describe(describe)),
            Step::Assign { protocol, members, skip } => self.add_task(Task::Assign { protocol, members, skip }),
            Step::Acquire(acquire) => self.acquire(acquire, now),
            Step::Fail(error) => return Err(error),
        }
        Ok(())
    }

    fn add_task(&mut self, task: Task) {
        self.rebalance.stages.push_back(Stage::Task(task));
    }

    /// Does the next thing of a rebalance, or says what `poll` has to do for that.
    pub(super) fn next_stage(&mut self) -> Option<Task> {
        match self.rebalance.stages.pop_front()? {
            Stage::Task(task) => return Some(task),
            Stage::Keep(partitions) => {
                self.own(partitions);
                for (_, partition) in self.subscription.iter_mut() {
                    partition.pending_revocation = false;
                }
                self.subscription.set_group_topics(BTreeSet::new());
                if let Some(membership) = &mut self.membership {
                    membership.released();
                }
            }
            Stage::Own { partitions, added } => {
                self.own(partitions);
                self.set_pending_callback(&added, true);
            }
            Stage::Enable(added) => {
                self.set_pending_callback(&added, false);
                if let Some(membership) = &mut self.membership {
                    membership.acquired();
                }
            }
        }
        None
    }

    fn own(&mut self, partitions: BTreeSet<TopicPartition>) {
        self.assignment += 1;
        self.subscription.assign_from_group(partitions);
        self.fetcher.retain_assigned(&self.subscription);
    }

    fn set_pending_callback(&mut self, partitions: &BTreeSet<TopicPartition>, is_pending: bool) {
        for tp in partitions {
            if let Some(partition) = self.subscription.get_mut(tp) {
                partition.pending_callback = is_pending;
            }
        }
        self.fetch_wanted = true;
    }

    fn release(&mut self, release: Release, now: Instant) {
        let Release { keep, lost, always_tell, deleted } = release;
        let gone: Vec<TopicPartition> = self.subscription.assigned().difference(&keep).cloned().collect();
        if !lost && self.config.enable_auto_commit && !self.commit_before_release(&gone, &deleted, now) {
            return;
        }
        self.rebalance.commit_deadline = None;
        if !gone.is_empty() || always_tell {
            self.add_task(Task::Listener(if lost { Call::Lost } else { Call::Revoked }, gone));
        }
        self.rebalance.stages.push_back(Stage::Keep(keep));
    }

    /// Commits the positions; whether that is done, or has taken too long.
    fn commit_before_release(
        &mut self,
        gone: &[TopicPartition],
        deleted: &BTreeSet<TopicPartition>,
        now: Instant,
    ) -> bool {
        if let Some(deadline) = self.rebalance.commit_deadline {
            return self.commits.is_prepared || now >= deadline;
        }
        for tp in gone {
            if let Some(partition) = self.subscription.get_mut(tp) {
                partition.pending_revocation = true;
            }
        }
        let mut offsets = self.subscription.all_consumed();
        offsets.retain(|tp, _| !deleted.contains(tp));
        if offsets.is_empty() {
            return true;
        }
        let limit = self.config.max_poll_interval;
        self.rebalance.commit_deadline = Some(now + limit);
        self.commits.is_prepared = false;
        self.push_commit(CommitJob::new(offsets, Waiter::Prepare, true, limit, now));
        false
    }

    /// Takes over what was assigned to this member.
    fn acquire(&mut self, acquire: Acquire, now: Instant) {
        let Acquire { partitions, notify } = acquire;
        let Some(membership) = &self.membership else { return };
        let (config, generation) = (membership.config(), membership.generation());
        let (group_id, member_id) = (config.group_id.as_str(), generation.member_id.as_str());
        let group = ConsumerGroupMetadata::new(group_id, generation.id, member_id, config.group_instance_id.clone());
        self.group_metadata = Some(group.clone());
        let owned = self.subscription.assigned();
        let added: BTreeSet<TopicPartition> = partitions.difference(&owned).cloned().collect();
        let revoked: Vec<TopicPartition> = owned.difference(&partitions).cloned().collect();
        tracing::info!(group = group_id, ?partitions, ?added, ?revoked, "updating assignment");
        self.next_auto_commit = now + self.config.auto_commit_interval;
        if !revoked.is_empty() {
            self.add_task(Task::Listener(Call::Revoked, revoked));
        }
        if let Some((protocol, assignment)) = notify {
            self.add_task(Task::Notify { protocol, assignment, group });
        }
        self.rebalance.stages.push_back(Stage::Own { partitions, added: added.clone() });
        self.add_task(Task::Listener(Call::Assigned, added.iter().cloned().collect()));
        self.rebalance.stages.push_back(Stage::Enable(added));
    }

    /// The application's part of a task failed. The rebalance goes on.
    pub(crate) fn task_failed(&mut self, source: ClientError) {
        tracing::error!(error = %source, "rebalance callback failed");
        self.rebalance.error.get_or_insert(ClientError::RebalanceCallback { source: Box::new(source) });
    }

    /// What [`Task::Describe`] asked for: this member's metadata in every protocol it can speak, the preferred one first.
    pub(crate) fn described(&mut self, protocols: Vec<(String, Bytes)>) {
        if let Some(membership) = &mut self.membership {
            membership.described(protocols);
        }
    }

    /// This member leads the group and needs the metadata of all topics that the others read.
    pub(crate) fn set_group_topics(&mut self, topics: BTreeSet<String>) {
        self.subscription.set_group_topics(topics);
    }

    /// What [`Task::Assign`] asked for: assignments, encoded, by member id.
    pub(crate) fn assigned(&mut self, assignments: Vec<(String, Bytes)>) {
        let topics: BTreeMap<String, usize> = topic_counts(&self.subscription, &self.metadata);
        if let Some(membership) = &mut self.membership {
            membership.assigned(assignments, topics);
        }
    }

    pub(crate) fn assign_failed(&mut self, now: Instant) {
        if let Some(membership) = &mut self.membership {
            membership.assign_failed(now);
        }
    }
}
