//! The state of one assigned partition.

use std::time::Instant;

use crate::config::AutoOffsetReset;
use crate::consumer::position::{FetchPosition, LeaderAndEpoch};

/// How far the position of a partition is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FetchState {
    /// There is none yet: it comes from the committed offset or the reset policy.
    Initializing,
    /// It is being looked up by the given strategy.
    AwaitReset,
    /// The leader changed, and has to say whether its log agrees up to the position (KIP-320).
    AwaitValidation,
    /// It is good.
    Fetching,
}

/// Which fetches of a partition still count: those of another epoch brought what nobody wants any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FetchEpoch(u64);

impl FetchEpoch {
    /// The first one of the `assignments`th partition that came to be assigned: no other partition's, nor an earlier one's
    /// of the same.
    pub(crate) fn first(assignments: u64) -> Self {
        Self(assignments << 32)
    }

    /// What was fetched before is of no use any more.
    pub(crate) fn advance(&mut self) {
        self.0 += 1;
    }
}

/// One assigned partition.
#[derive(Debug)]
pub(crate) struct PartitionState {
    state: FetchState,
    position: Option<FetchPosition>,
    reset_strategy: Option<AutoOffsetReset>,
    next_retry: Option<Instant>,
    /// The retry waits for a leader, and not for an error to pass.
    awaits_leader: bool,
    preferred_replica: Option<(i32, Instant)>,
    /// Changes whenever what was fetched before is of no use any more.
    pub(crate) fetch_epoch: FetchEpoch,
    /// Partitions are fetched in ascending order of this number.
    pub(crate) order: u64,
    pub(crate) paused: bool,
    /// Being revoked: nothing is fetched or returned any more.
    pub(crate) pending_revocation: bool,
    /// Of a topic that was deleted, though another may have its name: the position means nothing any more.
    pub(crate) is_deleted: bool,
    /// Assigned, but the rebalance listener has not finished yet.
    pub(crate) pending_callback: bool,
    pub(crate) high_watermark: Option<i64>,
    pub(crate) last_stable_offset: Option<i64>,
    pub(crate) log_start_offset: Option<i64>,
    /// Whether the end offset is being looked up for the lag.
    pub(crate) end_offset_requested: bool,
}

impl PartitionState {
    pub(crate) fn new(order: u64, fetch_epoch: FetchEpoch) -> Self {
        Self {
            state: FetchState::Initializing,
            position: None,
            reset_strategy: None,
            next_retry: None,
            awaits_leader: false,
            preferred_replica: None,
            fetch_epoch,
            order,
            paused: false,
            pending_revocation: false,
            is_deleted: false,
            pending_callback: false,
            high_watermark: None,
            last_stable_offset: None,
            log_start_offset: None,
            end_offset_requested: false,
        }
    }

    pub(crate) fn state(&self) -> FetchState {
        self.state
    }

    /// The position, good or yet to be validated.
    pub(crate) fn position(&self) -> Option<FetchPosition> {
        self.position
    }

    /// The position if it is good.
    pub(crate) fn valid_position(&self) -> Option<FetchPosition> {
        self.position.filter(|_| self.state == FetchState::Fetching)
    }

    pub(crate) fn reset_strategy(&self) -> Option<AutoOffsetReset> {
        self.reset_strategy
    }

    pub(crate) fn is_fetchable(&self) -> bool {
        let is_held_back = self.paused || self.pending_revocation || self.is_deleted || self.pending_callback;
        !is_held_back && self.state == FetchState::Fetching
    }

    pub(crate) fn should_initialize(&self) -> bool {
        self.state == FetchState::Initializing && !self.pending_revocation && !self.is_deleted
    }

    /// Whether a look-up is due: in `state`, and no retry is being waited for.
    pub(crate) fn is_due(&self, state: FetchState, now: Instant) -> bool {
        self.state == state && self.next_retry.is_none_or(|at| at <= now)
    }

    /// When the next attempt of a look-up may be made, if it waits for that.
    pub(crate) fn next_retry(&self) -> Option<Instant> {
        self.next_retry.filter(|_| matches!(self.state, FetchState::AwaitReset | FetchState::AwaitValidation))
    }

    /// No further attempt before `at`.
    pub(crate) fn retry_at(&mut self, at: Instant) {
        self.next_retry = Some(at);
        self.awaits_leader = false;
    }

    /// No further attempt before `at` or before a leader is known.
    pub(crate) fn wait_for_leader(&mut self, at: Instant) {
        self.next_retry = Some(at);
        self.awaits_leader = true;
    }

    /// Moves to a position that needs no validation.
    pub(crate) fn seek_validated(&mut self, position: FetchPosition) {
        self.state = FetchState::Fetching;
        self.position = Some(position);
        self.reset_strategy = None;
        self.next_retry = None;
        self.fetch_epoch.advance();
    }

    /// Moves to a position that is validated if the epochs for that are known.
    pub(crate) fn seek_unvalidated(&mut self, position: FetchPosition) {
        self.seek_validated(position);
        self.start_validation(position);
    }

    /// Forgets the position and asks for one by `strategy`.
    pub(crate) fn reset(&mut self, strategy: AutoOffsetReset) {
        self.state = FetchState::AwaitReset;
        self.position = None;
        self.reset_strategy = Some(strategy);
        self.next_retry = None;
        self.fetch_epoch.advance();
    }

    /// Moves on behind records that were returned.
    pub(crate) fn advance(&mut self, position: FetchPosition) {
        if self.state == FetchState::Fetching {
            self.position = Some(position);
        }
    }

    /// Takes over the leader of new metadata; whether the position awaits validation now.
    pub(crate) fn on_leader(&mut self, leader: LeaderAndEpoch) -> bool {
        if leader.leader.is_some() && std::mem::take(&mut self.awaits_leader) {
            self.next_retry = None;
        }
        if self.state == FetchState::AwaitReset || leader.leader.is_none() {
            return false;
        }
        if let Some(position) = self.position
            && position.leader != leader
        {
            self.start_validation(FetchPosition { leader, ..position });
            self.preferred_replica = None;
        }
        self.state == FetchState::AwaitValidation
    }

    fn start_validation(&mut self, position: FetchPosition) {
        let can = position.offset_epoch.is_some() && position.leader.epoch.is_some();
        self.state = if can { FetchState::AwaitValidation } else { FetchState::Fetching };
        self.position = Some(position);
        self.next_retry = None;
    }

    /// The position awaiting validation turned out to be good.
    pub(crate) fn complete_validation(&mut self) {
        if self.state == FetchState::AwaitValidation && self.position.is_some() {
            self.state = FetchState::Fetching;
            self.next_retry = None;
        }
    }

    /// The replica that the leader asked to read from, until it expires (KIP-392).
    pub(crate) fn preferred_replica(&self, now: Instant) -> Option<i32> {
        self.preferred_replica.filter(|&(_, until)| now <= until).map(|(replica, _)| replica)
    }

    pub(crate) fn set_preferred_replica(&mut self, replica: i32, until: Instant) {
        if self.preferred_replica.is_none_or(|(known, _)| known != replica) {
            self.preferred_replica = Some((replica, until));
        }
    }

    /// Reads from the leader again; the replica that was preferred, if there was one.
    pub(crate) fn clear_preferred_replica(&mut self) -> Option<i32> {
        self.preferred_replica.take().map(|(replica, _)| replica)
    }
}
