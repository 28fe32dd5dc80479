//! A member of a modern group.

use std::sync::Arc;

use vltava_protocol::ErrorCode;

use super::ModernKind;
use crate::coordinator::group::shard::Refused;

/// The number of [`MemberState::Unknown`] in records.
const UNKNOWN: i8 = 127;

/// Where a member is on its way to the target assignment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// It has what it shall have for its epoch.
    #[default]
    Stable,
    /// It has to give up some of what it has.
    Unrevoked,
    /// It has given up what it had to, and waits for what others hold.
    Unreleased,
    /// A state of another version.
    Unknown,
}

impl MemberState {
    /// The state's number in records of groups in which [`Stable`](Self::Stable) has that number.
    pub(in super::super) fn code(self, stable: i8) -> i8 {
        match self {
            Self::Stable => stable,
            Self::Unrevoked => stable + 1,
            Self::Unreleased => stable + 2,
            Self::Unknown => UNKNOWN,
        }
    }

    /// The state of a number; see [`code`](Self::code).
    pub(in super::super) fn from_code(code: i8, stable: i8) -> Self {
        let states = [Self::Stable, Self::Unrevoked, Self::Unreleased];
        states.into_iter().find(|state| state.code(stable) == code).unwrap_or(Self::Unknown)
    }
}

/// A member: who it is, what it wants, and what it has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModernMember<K: ModernKind> {
    pub(in super::super) id: Arc<str>,
    pub(in super::super) instance_id: Option<String>,
    pub(in super::super) rack_id: Option<String>,
    pub(in super::super) client_id: String,
    pub(in super::super) client_host: String,
    pub(in super::super) rebalance_timeout_ms: i32,
    pub(in super::super) wants: K::Wants,
    pub(in super::super) epoch: i32,
    pub(in super::super) previous_epoch: i32,
    pub(in super::super) state: MemberState,
    pub(in super::super) assigned: K::Owned,
    pub(in super::super) pending_revocation: K::Owned,
}

impl<K: ModernKind> ModernMember<K> {
    /// Makes a member that has just come.
    pub(in super::super) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            instance_id: None,
            rack_id: None,
            client_id: String::new(),
            client_host: String::new(),
            rebalance_timeout_ms: -1,
            wants: K::Wants::default(),
            epoch: 0,
            previous_epoch: K::INITIAL_PREVIOUS_EPOCH,
            state: MemberState::Stable,
            assigned: K::Owned::default(),
            pending_revocation: K::Owned::default(),
        }
    }

    pub(in super::super) fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == epoch
    }

    /// Moves to another epoch, and remembers the one before.
    pub(in super::super) fn advance_to(&mut self, epoch: i32) {
        self.previous_epoch = self.epoch;
        self.epoch = epoch;
    }

    /// Checks that the member is in the epoch that the coordinator thinks; or one behind, if an answer was lost, and holds
    /// nothing but its own.
    ///
    /// # Errors
    ///
    /// `FENCED_MEMBER_EPOCH` with Kafka's text.
    pub(in super::super) fn check_epoch(
        &self,
        epoch: i32,
        holds_its_own: impl FnOnce() -> bool,
    ) -> Result<(), Refused> {
        if epoch == 0 || epoch == self.epoch || (epoch == self.previous_epoch && epoch < self.epoch && holds_its_own())
        {
            return Ok(());
        }
        let word = if epoch > self.epoch { "greater" } else { "smaller" };
        let text = format!(
            "The {} group member has a {word} member epoch ({epoch}) than the one known by the group coordinator ({}). The \
             member must abandon all its partitions and rejoin.",
            K::NAME,
            self.epoch
        );
        Err(Refused::new(ErrorCode::FencedMemberEpoch, text))
    }
}
