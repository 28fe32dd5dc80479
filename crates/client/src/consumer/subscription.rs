//! What a consumer reads: subscription, assigned partitions and their positions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::position::{FetchPosition, LeaderAndEpoch};
use crate::config::{AutoOffsetReset, IsolationLevel};
use crate::{ClientError, OffsetAndMetadata, TopicPartition};

mod partition_state;
mod pattern;

#[cfg(test)]
mod tests;

pub(crate) use partition_state::{FetchEpoch, FetchState, PartitionState};
pub use pattern::{PatternSubscription, SubscriptionPattern, TopicPattern};

/// How partitions come to the consumer.
#[derive(Debug, Clone, Default)]
enum Mode {
    #[default]
    None,
    Topics,
    Pattern(TopicPattern),
    /// The coordinator knows which topics match.
    CoordinatorPattern(SubscriptionPattern),
    Manual,
}

/// A position that the leader's log does not have any more (KIP-320).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogTruncation {
    pub(crate) partition: TopicPartition,
    pub(crate) position: FetchPosition,
    /// The first offset that is known to differ.
    pub(crate) divergent: Option<OffsetAndMetadata>,
}

/// Where the records of an epoch end in a leader's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EpochEnd {
    /// The largest epoch up to the one that was asked for.
    pub(crate) epoch: i32,
    /// Behind its last record.
    pub(crate) offset: i64,
}

impl From<LogTruncation> for ClientError {
    fn from(truncation: LogTruncation) -> Self {
        Self::LogTruncated {
            partition: truncation.partition,
            offset: truncation.position.offset,
            divergent: truncation.divergent.map(|offset| offset.offset),
        }
    }
}

/// The subscription and the assignment.
#[derive(Debug)]
pub(crate) struct SubscriptionState {
    mode: Mode,
    topics: BTreeSet<String>,
    /// Topics of all members, while this one is the group's leader.
    group_topics: BTreeSet<String>,
    /// Topics that the coordinator assigned, whether or not they are subscribed to by name.
    assigned_topics: BTreeSet<String>,
    partitions: BTreeMap<TopicPartition, PartitionState>,
    reset_policy: AutoOffsetReset,
    counter: u64,
    /// Whether other topics than before may be wanted.
    topics_changed: bool,
}

impl SubscriptionState {
    pub(crate) fn new(reset_policy: AutoOffsetReset) -> Self {
        Self {
            mode: Mode::None,
            topics: BTreeSet::new(),
            group_topics: BTreeSet::new(),
            assigned_topics: BTreeSet::new(),
            partitions: BTreeMap::new(),
            reset_policy,
            counter: 0,
            topics_changed: false,
        }
    }

    /// Subscribes to topics by name; whether that changed anything.
    pub(crate) fn subscribe_topics(&mut self, topics: BTreeSet<String>) -> Result<bool, ClientError> {
        match self.mode {
            Mode::None | Mode::Topics => self.mode = Mode::Topics,
            _ => return Err(exclusive()),
        }
        self.topics_changed = true;
        Ok(self.change_topics(topics))
    }

    /// Subscribes to all topics that match; they become known by
    /// [`update_pattern`](Self::update_pattern).
    pub(crate) fn subscribe_pattern(&mut self, pattern: TopicPattern) -> Result<(), ClientError> {
        match self.mode {
            Mode::None | Mode::Pattern(_) => self.mode = Mode::Pattern(pattern),
            _ => return Err(exclusive()),
        }
        self.topics_changed = true;
        Ok(())
    }

    /// Subscribes to all topics that match in the coordinator's eyes.
    pub(crate) fn subscribe_coordinator_pattern(&mut self, pattern: SubscriptionPattern) -> Result<(), ClientError> {
        match self.mode {
            Mode::None | Mode::CoordinatorPattern(_) => self.mode = Mode::CoordinatorPattern(pattern),
            _ => return Err(exclusive()),
        }
        self.topics_changed = true;
        Ok(())
    }

    /// The pattern that the coordinator looks at.
    pub(crate) fn coordinator_pattern(&self) -> Option<&SubscriptionPattern> {
        match &self.mode {
            Mode::CoordinatorPattern(pattern) => Some(pattern),
            _ => None,
        }
    }

    /// Takes over the topics that exist; whether those that match the pattern changed.
    pub(crate) fn update_pattern<'a>(&mut self, existing: impl Iterator<Item = &'a str>) -> bool {
        let Mode::Pattern(pattern) = &self.mode else { return false };
        let topics = existing.filter(|t| pattern.matches(t)).map(str::to_owned).collect();
        self.change_topics(topics)
    }

    /// Adds topics that the leader assigned, as far as they match the pattern.
    pub(crate) fn add_matching<'a>(&mut self, topics: impl Iterator<Item = &'a str>) -> bool {
        let Mode::Pattern(pattern) = &self.mode else { return false };
        let mut all = self.topics.clone();
        all.extend(topics.filter(|t| pattern.matches(t)).map(str::to_owned));
        self.change_topics(all)
    }

    fn change_topics(&mut self, topics: BTreeSet<String>) -> bool {
        let changed = self.topics != topics;
        self.topics = topics;
        self.topics_changed |= changed;
        changed
    }

    /// Assigns partitions by hand. Those assigned before keep their state.
    pub(crate) fn assign_manually(&mut self, partitions: BTreeSet<TopicPartition>) -> Result<(), ClientError> {
        match self.mode {
            Mode::None | Mode::Manual => self.mode = Mode::Manual,
            _ => return Err(exclusive()),
        }
        self.change_topics(partitions.iter().map(|tp| tp.topic().to_owned()).collect());
        self.set_partitions(partitions);
        Ok(())
    }

    /// Takes over the partitions of the group's assignment.
    pub(crate) fn assign_from_group(&mut self, partitions: BTreeSet<TopicPartition>) {
        if self.is_subscribed() {
            self.set_partitions(partitions);
        }
    }

    fn set_partitions(&mut self, partitions: BTreeSet<TopicPartition>) {
        self.partitions.retain(|tp, _| partitions.contains(tp));
        for tp in partitions {
            self.counter += 1;
            let fresh = PartitionState::new(self.counter, FetchEpoch::first(self.counter));
            self.partitions.entry(tp).or_insert(fresh);
        }
    }

    /// Ends subscription and assignment.
    pub(crate) fn unsubscribe(&mut self) {
        self.mode = Mode::None;
        self.topics_changed = true;
        self.topics.clear();
        self.group_topics.clear();
        self.assigned_topics.clear();
        self.partitions.clear();
    }

    /// Whether partitions are assigned by the group.
    pub(crate) fn is_subscribed(&self) -> bool {
        matches!(self.mode, Mode::Topics | Mode::Pattern(_) | Mode::CoordinatorPattern(_))
    }

    pub(crate) fn has_pattern(&self) -> bool {
        matches!(self.mode, Mode::Pattern(_))
    }

    /// Whether there is neither a subscription nor an assignment.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.mode, Mode::None)
    }

    /// The topics subscribed to; empty under manual assignment.
    pub(crate) fn subscription(&self) -> BTreeSet<String> {
        if self.is_subscribed() { self.topics.clone() } else { BTreeSet::new() }
    }

    /// Sets the topics of all members, while this one leads them.
    pub(crate) fn set_group_topics(&mut self, topics: BTreeSet<String>) {
        self.topics_changed |= self.group_topics != topics;
        self.group_topics = topics;
    }

    /// Sets the topics that the coordinator assigned.
    pub(crate) fn set_assigned_topics(&mut self, topics: BTreeSet<String>) {
        self.topics_changed |= self.assigned_topics != topics;
        self.assigned_topics = topics;
    }

    /// The topics subscribed to, or those of partitions assigned by hand.
    pub(crate) fn topics(&self) -> &BTreeSet<String> {
        &self.topics
    }

    /// Whether [`metadata_topics`](Self::metadata_topics) may be others than when this was asked last.
    pub(crate) fn take_topics_changed(&mut self) -> bool {
        std::mem::take(&mut self.topics_changed)
    }

    /// Topics whose metadata the consumer needs.
    pub(crate) fn metadata_topics(&self) -> BTreeSet<String> {
        [&self.topics, &self.group_topics, &self.assigned_topics].into_iter().flatten().cloned().collect()
    }

    /// Whether each partition belongs to the current subscription.
    pub(crate) fn matches_subscription<'a>(&self, mut partitions: impl Iterator<Item = &'a TopicPartition>) -> bool {
        match &self.mode {
            Mode::Pattern(pattern) => partitions.all(|tp| pattern.matches(tp.topic())),
            _ => partitions.all(|tp| self.topics.contains(tp.topic())),
        }
    }

    pub(crate) fn assigned(&self) -> BTreeSet<TopicPartition> {
        self.partitions.keys().cloned().collect()
    }

    pub(crate) fn is_assigned(&self, tp: &TopicPartition) -> bool {
        self.partitions.contains_key(tp)
    }

    pub(crate) fn get(&self, tp: &TopicPartition) -> Option<&PartitionState> {
        self.partitions.get(tp)
    }

    pub(crate) fn get_mut(&mut self, tp: &TopicPartition) -> Option<&mut PartitionState> {
        self.partitions.get_mut(tp)
    }

    /// The state of an assigned partition.
    ///
    /// # Errors
    /// [`ClientError::NotAssigned`] for any other.
    pub(crate) fn assigned_mut(&mut self, tp: &TopicPartition) -> Result<&mut PartitionState, ClientError> {
        self.partitions.get_mut(tp).ok_or_else(|| ClientError::NotAssigned { partition: tp.clone() })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicPartition, &PartitionState)> {
        self.partitions.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&TopicPartition, &mut PartitionState)> {
        self.partitions.iter_mut()
    }

    /// Whether the partition may be fetched and its records returned.
    pub(crate) fn is_fetchable(&self, tp: &TopicPartition) -> bool {
        self.partitions.get(tp).is_some_and(|state| self.fetchable(tp, state))
    }

    fn fetchable(&self, tp: &TopicPartition, state: &PartitionState) -> bool {
        // A topic may have left the subscription while its partitions are still assigned.
        state.is_fetchable() && (!matches!(self.mode, Mode::Topics) || self.topics.contains(tp.topic()))
    }

    /// Fetchable partitions, those that got data last at the end.
    pub(crate) fn fetchable_partitions(&self) -> Vec<(&TopicPartition, &PartitionState)> {
        let mut list: Vec<_> = self.partitions.iter().filter(|(tp, state)| self.fetchable(tp, state)).collect();
        list.sort_by_key(|(_, state)| state.order);
        list
    }

    /// Lets other partitions be fetched first.
    pub(crate) fn move_to_end(&mut self, tp: &TopicPartition) {
        self.counter += 1;
        let order = self.counter;
        if let Some(state) = self.partitions.get_mut(tp) {
            state.order = order;
        }
    }

    /// Partitions without position that look for a committed offset first.
    pub(crate) fn initializing(&self) -> BTreeSet<TopicPartition> {
        self.partitions.iter().filter(|(_, state)| state.should_initialize()).map(|(tp, _)| tp.clone()).collect()
    }

    /// Whether one of the partitions looks for a committed offset first.
    pub(crate) fn has_initializing(&self) -> bool {
        self.partitions.values().any(PartitionState::should_initialize)
    }

    /// Resets those of `partitions` that still have no position, by the policy.
    ///
    /// # Errors
    /// [`ClientError::NoOffsetForPartition`] if the policy is `none`.
    pub(crate) fn reset_initializing(&mut self, partitions: &BTreeSet<TopicPartition>) -> Result<(), ClientError> {
        let policy = self.reset_policy;
        let mut without: BTreeSet<TopicPartition> = BTreeSet::new();
        for (tp, state) in &mut self.partitions {
            if state.should_initialize() && partitions.contains(tp) {
                if policy == AutoOffsetReset::None {
                    without.insert(tp.clone());
                } else {
                    state.reset(policy);
                }
            }
        }
        if without.is_empty() {
            Ok(())
        } else {
            Err(ClientError::NoOffsetForPartition { partitions: without.into_iter().collect() })
        }
    }

    pub(crate) fn reset_policy(&self) -> AutoOffsetReset {
        self.reset_policy
    }

    /// Partitions of which the position has to be looked up now, with the strategy.
    pub(crate) fn needing_reset(&self, now: Instant) -> Vec<(TopicPartition, AutoOffsetReset)> {
        self.partitions
            .iter()
            .filter(|(_, state)| state.is_due(FetchState::AwaitReset, now))
            .filter_map(|(tp, state)| Some((tp.clone(), state.reset_strategy()?)))
            .collect()
    }

    /// Partitions of which the position has to be validated now.
    pub(crate) fn needing_validation(&self, now: Instant) -> Vec<(TopicPartition, FetchPosition)> {
        self.partitions
            .iter()
            .filter(|(_, state)| state.is_due(FetchState::AwaitValidation, now))
            .filter_map(|(tp, state)| Some((tp.clone(), state.position()?)))
            .collect()
    }

    /// When the next look-up may be tried again.
    pub(crate) fn next_retry(&self) -> Option<Instant> {
        self.partitions.values().filter_map(PartitionState::next_retry).min()
    }

    /// Whether every assigned partition has a good position.
    pub(crate) fn has_all_positions(&self) -> bool {
        self.partitions.values().all(|state| state.state() == FetchState::Fetching)
    }

    /// The look-up of these partitions failed: try again later.
    pub(crate) fn retry_later<'a>(&mut self, partitions: impl Iterator<Item = &'a TopicPartition>, at: Instant) {
        for tp in partitions {
            if let Some(state) = self.partitions.get_mut(tp) {
                state.retry_at(at);
            }
        }
    }

    /// The leader of these partitions is not known: try again when it is, at the latest then.
    pub(crate) fn wait_for_leader<'a>(&mut self, partitions: impl Iterator<Item = &'a TopicPartition>, at: Instant) {
        for tp in partitions {
            if let Some(state) = self.partitions.get_mut(tp) {
                state.wait_for_leader(at);
            }
        }
    }

    /// Takes over a position found by `strategy`, unless the partition wants another by now.
    pub(crate) fn complete_reset(&mut self, tp: &TopicPartition, strategy: AutoOffsetReset, position: FetchPosition) {
        if let Some(state) = self.partitions.get_mut(tp)
            && state.state() == FetchState::AwaitReset
            && state.reset_strategy() == Some(strategy)
        {
            tracing::info!(partition = %tp, %position, "reset offset");
            state.seek_unvalidated(position);
        }
    }

    /// Judges a position by where the epoch of its last record ends in the leader's log.
    ///
    /// `end` is `None` if the leader knows no such epoch. Returns the truncation if there was one and no reset policy says
    /// what to do.
    pub(crate) fn complete_validation(
        &mut self,
        tp: &TopicPartition,
        asked: FetchPosition,
        end: Option<EpochEnd>,
    ) -> Option<LogTruncation> {
        let policy = self.reset_policy;
        let state = self.partitions.get_mut(tp)?;
        if state.state() != FetchState::AwaitValidation || state.position() != Some(asked) {
            return None;
        }
        let divergent = match end {
            Some(end) if end.offset >= asked.offset => {
                state.complete_validation();
                return None;
            }
            Some(end) => Some(OffsetAndMetadata::new(end.offset).with_leader_epoch(end.epoch)),
            None => None,
        };
        if policy == AutoOffsetReset::None {
            return Some(LogTruncation { partition: tp.clone(), position: asked, divergent });
        }
        tracing::info!(partition = %tp, position = %asked, ?divergent, "log was truncated");
        match divergent {
            Some(found) => state.seek_validated(FetchPosition {
                offset: found.offset,
                offset_epoch: found.leader_epoch,
                leader: asked.leader,
            }),
            None => state.reset(policy),
        }
        None
    }

    /// Takes over the leaders of new metadata.
    pub(crate) fn on_leaders(&mut self, leader_of: impl Fn(&TopicPartition) -> LeaderAndEpoch) {
        for (tp, state) in &mut self.partitions {
            state.on_leader(leader_of(tp));
        }
    }

    /// Reads nothing of these topics, which were deleted, and others have their names; as long as the metadata says so.
    pub(crate) fn on_deleted_topics(&mut self, topics: &BTreeSet<String>) {
        for (tp, state) in &mut self.partitions {
            state.is_deleted = topics.contains(tp.topic());
        }
    }

    /// Positions of all partitions that have a good one, to commit.
    pub(crate) fn all_consumed(&self) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
        self.partitions
            .iter()
            .filter(|(_, state)| !state.is_deleted)
            .filter_map(|(tp, state)| {
                let position = state.valid_position()?;
                let offset = OffsetAndMetadata {
                    offset: position.offset,
                    leader_epoch: position.offset_epoch,
                    metadata: String::new(),
                };
                Some((tp.clone(), offset))
            })
            .collect()
    }

    /// Records between the position and the end of what may be read, if both are known.
    pub(crate) fn lag(&self, tp: &TopicPartition, isolation: IsolationLevel) -> Option<i64> {
        let state = self.partitions.get(tp)?;
        Some(state_end(state, isolation)? - state.position()?.offset)
    }

    /// Records between the beginning of the partition and the position, if both are known.
    pub(crate) fn lead(&self, tp: &TopicPartition) -> Option<i64> {
        let state = self.partitions.get(tp)?;
        Some(state.position()?.offset - state.log_start_offset?)
    }

    /// The end of what may be read, as the last answer had it.
    pub(crate) fn end_offset(&self, tp: &TopicPartition, isolation: IsolationLevel) -> Option<i64> {
        state_end(self.partitions.get(tp)?, isolation)
    }
}

fn state_end(state: &PartitionState, isolation: IsolationLevel) -> Option<i64> {
    match isolation {
        IsolationLevel::ReadCommitted => state.last_stable_offset,
        IsolationLevel::ReadUncommitted => state.high_watermark,
    }
}

fn exclusive() -> ClientError {
    ClientError::InvalidState { reason: "subscription to topics, partitions and pattern are mutually exclusive".into() }
}

/// The timestamp that `ListOffsets` takes for a strategy; `None` for [`AutoOffsetReset::None`].
///
/// `now_ms` is milliseconds since the epoch.
pub(crate) fn reset_timestamp(strategy: AutoOffsetReset, now_ms: i64) -> Option<i64> {
    match strategy {
        AutoOffsetReset::Earliest => Some(EARLIEST_TIMESTAMP),
        AutoOffsetReset::Latest => Some(LATEST_TIMESTAMP),
        // Negative times have a meaning of their own.
        AutoOffsetReset::ByDuration(back) => Some(now_ms.saturating_sub(millis(back)).max(0)),
        AutoOffsetReset::None => None,
    }
}

/// Asks `ListOffsets` for the log's end.
pub(crate) const LATEST_TIMESTAMP: i64 = -1;
/// Asks `ListOffsets` for the log's start.
pub(crate) const EARLIEST_TIMESTAMP: i64 = -2;

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
