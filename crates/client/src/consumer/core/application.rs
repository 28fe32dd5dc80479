//! What the application asks of the core.

use std::collections::BTreeSet;
use std::time::Instant;

use super::commits::{CommitJob, Completion, Offsets, Waiter};
use super::rebalance::{Call, Task};
use super::{Core, Effect, leader_of};
use crate::config::{AutoOffsetReset, GroupProtocol, IsolationLevel};
use crate::consumer::close_options::GroupMembershipOperation;
use crate::consumer::fetcher::FetchCall;
use crate::consumer::group_metadata::ConsumerGroupMetadata;
use crate::consumer::membership::GroupRequest;
use crate::consumer::position::FetchPosition;
use crate::consumer::records::ConsumerRecords;
use crate::consumer::streams_group::StreamsGroup;
use crate::consumer::subscription::PatternSubscription;
use crate::{ClientError, OffsetAndMetadata, TopicPartition};

/// What `poll` does next.
#[derive(Debug)]
pub(crate) enum Next {
    Records(ConsumerRecords),
    Fail(ClientError),
    Task(Task),
    Completions(Vec<Completion>),
    /// Nothing until something happens.
    Wait,
    /// Ask again.
    Again,
}

/// The last words to the brokers.
#[derive(Debug)]
pub(crate) struct Goodbye {
    pub(crate) coordinator: Option<i32>,
    pub(crate) leaving: Vec<GroupRequest>,
    pub(crate) sessions: Vec<FetchCall>,
}

impl Core {
    /// One step of the application's `poll`; `may_wait` tells whether it has time left.
    pub(crate) fn step(&mut self, now: Instant, may_wait: bool) -> Next {
        if self.subscription.is_idle() {
            return Next::Fail(ClientError::state("the consumer is not subscribed to topics or assigned partitions"));
        }
        if let Some(fenced) = &self.commits.fenced {
            return Next::Fail(fenced.clone());
        }
        if !self.commits.completions.is_empty() {
            return Next::Completions(self.take_completions());
        }
        if self.subscription.is_subscribed() && !self.rebalance.has_stages() {
            let result = self.rebalance.take_error().map_or(Ok(()), Err);
            if let Err(error) = result.and_then(|()| self.step_membership(now)) {
                return Next::Fail(self.of_group(error));
            }
        }
        if self.rebalance.has_stages() {
            return self.next_stage().map_or(Next::Again, Next::Task);
        }
        if let Some(error) = self.errors.pop_front() {
            return Next::Fail(error);
        }
        self.maybe_auto_commit(now);
        let collected = self.fetcher.collect(&mut self.subscription);
        self.fetcher.record(now, &self.subscription);
        self.fetch_wanted |= self.fetcher.take_made_room();
        match collected {
            Ok(records) if !records.partitions().is_empty() => Next::Records(records),
            Ok(_) => {
                if may_wait {
                    self.fetcher.on_wait(now, &self.subscription);
                }
                Next::Wait
            }
            Err(error) => Next::Fail(error),
        }
    }

    /// Whether there is neither a subscription nor an assignment.
    pub(crate) fn is_idle(&self) -> bool {
        self.subscription.is_idle()
    }

    /// When [`step`](Self::step) can go on without anything happening.
    pub(crate) fn next_step_at(&self) -> Option<Instant> {
        let membership = self.membership.as_ref().filter(|_| self.subscription.is_subscribed());
        let joins = membership.and_then(|membership| membership.next_step_at(&self.coordinator));
        [self.rebalance.commit_deadline(), joins].into_iter().flatten().min()
    }

    /// Commits the positions if it is time to.
    fn maybe_auto_commit(&mut self, now: Instant) {
        let interval = self.config.auto_commit_interval;
        if !self.config.enable_auto_commit || now < self.next_auto_commit {
            return;
        }
        self.next_auto_commit = now + interval;
        let offsets = self.subscription.all_consumed();
        // Without a group there is nobody to commit to.
        if !offsets.is_empty() && self.membership.is_some() {
            let limit = interval.max(self.config.common.request_timeout);
            self.push_commit(CommitJob::new(offsets, Waiter::Auto, false, limit, now));
        }
    }

    pub(crate) fn subscribe(&mut self, topics: BTreeSet<String>) -> Result<(), ClientError> {
        self.subscription.subscribe_topics(topics).map(drop)
    }

    pub(crate) fn subscribe_pattern(&mut self, pattern: PatternSubscription) -> Result<(), ClientError> {
        match pattern {
            PatternSubscription::Topics(pattern) => self.subscription.subscribe_pattern(pattern)?,
            PatternSubscription::Coordinator(_) if self.config.group_protocol == GroupProtocol::Classic => {
                // In Kafka's words.
                return Err(ClientError::state(
                    "Subscribe to RE2/J pattern is not supported when using the CLASSIC protocol defined in config \
                     group.protocol",
                ));
            }
            PatternSubscription::Coordinator(pattern) if pattern.pattern().is_empty() => {
                return Err(ClientError::invalid("Topic pattern to subscribe to cannot be empty"));
            }
            PatternSubscription::Coordinator(pattern) => self.subscription.subscribe_coordinator_pattern(pattern)?,
        }
        // What is known was read for other topics.
        self.metadata_version = None;
        Ok(())
    }

    pub(crate) fn assign(&mut self, partitions: BTreeSet<TopicPartition>, now: Instant) -> Result<(), ClientError> {
        // What was read of partitions that go is committed as `poll` would have done.
        self.next_auto_commit = self.next_auto_commit.min(now);
        self.maybe_auto_commit(now);
        self.subscription.assign_manually(partitions)?;
        self.fetcher.retain_assigned(&self.subscription);
        // Leaders may be known already.
        self.metadata_version = None;
        self.fetch_wanted = true;
        Ok(())
    }

    pub(crate) fn seek(&mut self, partition: &TopicPartition, offset: &OffsetAndMetadata) -> Result<(), ClientError> {
        let leader = leader_of(&self.metadata, partition);
        let position = FetchPosition { offset: offset.offset, offset_epoch: offset.leader_epoch, leader };
        self.subscription.assigned_mut(partition)?.seek_unvalidated(position);
        self.on_moved();
        Ok(())
    }

    /// Looks up the positions of these partitions, of all if there are none.
    pub(crate) fn reset(&mut self, partitions: &[TopicPartition], to: AutoOffsetReset) -> Result<(), ClientError> {
        let all: Vec<TopicPartition> = match partitions {
            [] => self.subscription.assigned().into_iter().collect(),
            some => some.to_vec(),
        };
        for tp in &all {
            self.subscription.assigned_mut(tp)?.reset(to);
        }
        self.on_moved();
        Ok(())
    }

    fn on_moved(&mut self) {
        // With `auto.offset.reset` none the next poll would tell that an offset is missing, which by now is there or looked
        // for.
        let missing = self.subscription.initializing();
        self.errors.retain(|error| match error {
            ClientError::NoOffsetForPartition { partitions } => partitions.iter().any(|tp| missing.contains(tp)),
            _ => true,
        });
        self.fetcher.retain_assigned(&self.subscription);
        self.fetch_wanted = true;
    }

    pub(crate) fn set_paused(&mut self, partitions: &[TopicPartition], is_paused: bool) -> Result<(), ClientError> {
        for tp in partitions {
            self.subscription.assigned_mut(tp)?.paused = is_paused;
        }
        self.fetch_wanted = true;
        self.wake();
        Ok(())
    }

    pub(crate) fn assignment(&self) -> BTreeSet<TopicPartition> {
        self.subscription.assigned()
    }

    pub(crate) fn subscription(&self) -> BTreeSet<String> {
        self.subscription.subscription()
    }

    pub(crate) fn paused(&self) -> BTreeSet<TopicPartition> {
        self.subscription.iter().filter(|(_, partition)| partition.paused).map(|(tp, _)| tp.clone()).collect()
    }

    pub(crate) fn is_in_session(&self, now: Instant) -> bool {
        !self.is_closing && self.membership.as_ref().is_some_and(|membership| membership.is_in_session(now))
    }

    pub(crate) fn is_rebalancing(&self) -> bool {
        self.subscription.is_subscribed() && self.membership.as_ref().is_some_and(|membership| membership.is_joining())
    }

    pub(crate) fn group_metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.group_metadata.clone()
    }

    /// What a member of a streams group knows of it.
    pub(crate) fn streams_group(&self) -> Option<StreamsGroup> {
        self.membership.as_ref()?.streams_group()
    }

    /// Has all members of a streams group asked to end.
    pub(crate) fn request_shutdown_of_application(&mut self) {
        if let Some(membership) = &mut self.membership {
            membership.request_shutdown_of_application();
        }
    }

    /// Whether the metadata of this topic is kept.
    pub(crate) fn tracks(&self, topic: &str) -> bool {
        self.tracked.contains(topic)
    }

    pub(crate) fn enforce_rebalance(&mut self, reason: &str) -> Result<(), ClientError> {
        if !self.subscription.is_subscribed() {
            return Err(ClientError::state("only a consumer that is subscribed to topics can rebalance"));
        }
        if let Some(membership) = &mut self.membership {
            membership.request_rejoin(if reason.is_empty() { "rebalance enforced by user" } else { reason });
        }
        self.wake();
        Ok(())
    }

    /// What was returned by `poll`, to commit.
    pub(crate) fn consumed(&self) -> Offsets {
        self.subscription.all_consumed()
    }

    pub(crate) fn commit(&mut self, job: CommitJob) -> Result<(), ClientError> {
        match &self.commits.fenced {
            Some(fenced) => Err(fenced.clone()),
            None => {
                self.push_commit(job);
                Ok(())
            }
        }
    }

    /// Nothing is done any more: who waits for a commit hears why.
    pub(crate) fn fail(&mut self, why: &ClientError) {
        self.commits.close(why);
    }

    /// Callbacks of commits that are done.
    pub(crate) fn take_completions(&mut self) -> Vec<Completion> {
        self.commits.completions.drain(..).collect()
    }

    /// Whether all commits are done.
    pub(crate) fn has_committed(&self) -> bool {
        self.commits.is_idle()
    }

    /// The offset of the next record of an assigned partition; `None` while it is looked for.
    pub(crate) fn position(&mut self, partition: &TopicPartition) -> Result<Option<i64>, ClientError> {
        if let Some(position) = self.subscription.assigned_mut(partition)?.valid_position() {
            return Ok(Some(position.offset));
        }
        self.errors.pop_front().map_or(Ok(None), Err)
    }

    /// Records before the end of an assigned partition, which is looked up if it is not known.
    pub(crate) fn current_lag(&mut self, tp: &TopicPartition) -> Result<Option<i64>, ClientError> {
        let isolation: IsolationLevel = self.config.isolation_level;
        self.subscription.assigned_mut(tp)?;
        let lag = self.subscription.lag(tp, isolation);
        if lag.is_none() && self.subscription.end_offset(tp, isolation).is_none() {
            let partition = self.subscription.assigned_mut(tp)?;
            if !std::mem::replace(&mut partition.end_offset_requested, true) {
                self.effects.push(Effect::LookUpEnd(tp.clone()));
            }
        }
        Ok(lag)
    }

    /// What the listener has to hear before all partitions are given up.
    pub(crate) fn farewell(&self) -> Option<(Call, Vec<TopicPartition>)> {
        let partitions: Vec<TopicPartition> = self.subscription.assigned().into_iter().collect();
        let is_lost = self.membership.as_ref().is_none_or(|membership| membership.has_lost_partitions());
        let tells = self.subscription.is_subscribed() && !partitions.is_empty();
        tells.then_some((if is_lost { Call::Lost } else { Call::Revoked }, partitions))
    }

    /// The listener knows that all partitions go.
    pub(crate) fn give_up(&mut self) {
        self.subscription.assign_from_group(BTreeSet::new());
    }

    pub(crate) fn unsubscribe(&mut self, reason: &str, operation: GroupMembershipOperation) {
        if self.subscription.is_subscribed()
            && let Some(membership) = &mut self.membership
        {
            membership.leave(reason, operation, &self.coordinator);
        }
        self.rebalance.clear();
        if self.membership.as_ref().is_some_and(|membership| membership.follows_coordinator()) {
            self.group_metadata = self.outside_of_group();
        }
        self.subscription.unsubscribe();
        self.fetcher.retain_assigned(&self.subscription);
    }

    /// Ends everything; what the brokers should hear of it.
    pub(crate) fn close(&mut self, operation: GroupMembershipOperation) -> Goodbye {
        let coordinator = self.coordinator.node();
        self.unsubscribe("the consumer is being closed", operation);
        self.commits.close(&ClientError::Closed);
        self.is_closing = true;
        self.wake();
        let mut leaving = Vec::new();
        while let Some((_, request)) = self.membership.as_mut().and_then(|membership| membership.next_request()) {
            leaving.push(request);
        }
        Goodbye { coordinator, leaving, sessions: self.fetcher.close_sessions() }
    }
}
