//! What a member whose coordinator assigns asks of its protocol.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use vltava_protocol::ErrorCode;

use super::MemberState;
use crate::consumer::membership::{GroupRequest, GroupResponse, MembershipConfig};
use crate::consumer::subscription::SubscriptionState;
use crate::net::MetadataSnapshot;
use crate::{ClientError, TopicPartition};

/// What a coordinator assigns: a set of partitions or tasks.
pub(crate) trait Assigned: fmt::Debug + Clone + Default + PartialEq + Send {
    /// Adds what the other has.
    fn extend(&mut self, other: &Self);

    /// Keeps what is in one of the two.
    fn retain_in(&mut self, one: &Self, other: &Self);
}

/// How a member stands with its group, for the protocol to speak of.
#[derive(Debug)]
pub(crate) struct Standing<'a, A> {
    pub(in super::super) config: &'a MembershipConfig,
    pub(in super::super) state: MemberState,
    /// The epoch to tell.
    pub(in super::super) epoch: i32,
    /// What the coordinator wants.
    pub(in super::super) target: &'a A,
}

/// What every answer to a heartbeat says, and the message itself.
#[derive(Debug)]
pub(crate) struct Answer<M> {
    pub(in super::super) error_code: i16,
    pub(in super::super) error_message: Option<String>,
    pub(in super::super) member_epoch: i32,
    pub(in super::super) heartbeat_interval_ms: i32,
    pub(in super::super) message: M,
}

/// Why nothing of what the coordinator was told is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Uncertain {
    /// The member is in no generation of the group.
    OutOfGroup,
    /// A heartbeat was refused.
    Refused,
    /// A heartbeat was not answered, and nobody knows what the answer was.
    Unanswered,
}

/// A group protocol by whose heartbeats the coordinator assigns.
pub(crate) trait ModernProtocol: fmt::Debug + Send {
    /// What is assigned.
    type Assignment: Assigned;
    /// The answer to a heartbeat.
    type Response: fmt::Debug;

    /// Kafka's name of the protocol.
    const NAME: &'static str;

    /// Whether the listener hears that everything is lost even if there was no partition to lose.
    const TELLS_OF_EVERY_LOSS: bool;

    /// The next heartbeat. `held` is what the member has, where the coordinator is to be told.
    fn heartbeat(&mut self, standing: &Standing<'_, Self::Assignment>, held: Option<Self::Assignment>) -> GroupRequest;

    /// The heartbeat by which a member goes.
    fn goodbye(&self, config: &MembershipConfig, epoch: i32) -> GroupRequest;

    /// The answer to a heartbeat.
    ///
    /// # Errors
    /// It is one to something else.
    fn answer(response: GroupResponse) -> Result<Answer<Self::Response>, ClientError>;

    /// Takes over what an answer says; the assignment that the coordinator wants from now on, if it says so.
    ///
    /// # Errors
    /// The answer makes no sense.
    fn take(
        &mut self,
        standing: &Standing<'_, Self::Assignment>,
        message: Self::Response,
    ) -> Result<Option<Self::Assignment>, ClientError>;

    /// Nothing of what the coordinator was told is certain: it is told again.
    fn forget_told(&mut self, why: Uncertain);

    /// What ends the member, in Kafka's words.
    fn explained(error: ClientError) -> ClientError;

    /// The partitions to read of an assignment.
    fn partitions(&self, assigned: &Self::Assignment) -> BTreeSet<TopicPartition>;

    /// Those of the current partitions that do not exist any more, though the next assignment has others of their names.
    fn deleted(&self, _current: &Self::Assignment, _next: &Self::Assignment) -> BTreeSet<TopicPartition> {
        BTreeSet::new()
    }

    /// What of the target can be taken over by now.
    fn available(&self, target: &Self::Assignment) -> Self::Assignment {
        target.clone()
    }

    /// Whether there is something that the coordinator should know now, besides what the member has.
    fn has_news(&self) -> bool {
        false
    }

    /// Whether a member of the group has to give up everything in good order and to join anew.
    fn must_rejoin(&self) -> bool {
        false
    }

    /// The application polls, with this subscription.
    fn on_poll(&mut self, _subscription: &SubscriptionState) {}

    /// The coordinator wants something else.
    fn on_target(&mut self, _target: &Self::Assignment) {}

    /// The member has something else.
    fn on_current(&mut self, _current: &Self::Assignment, _target: &Self::Assignment) {}

    /// There is other metadata.
    fn on_metadata(&mut self, _metadata: &Arc<MetadataSnapshot>, _target: &Self::Assignment) {}
}

/// The answer is one to something else than a heartbeat.
pub(in super::super) fn unexpected<P: ModernProtocol>(response: &GroupResponse) -> ClientError {
    ClientError::unexpected(format!("{response:?} to a heartbeat of a {} group", P::NAME))
}

/// The code, with the coordinator's words if it has some.
pub(in super::super) fn said(code: ErrorCode, words: &str) -> ClientError {
    ClientError::Broker { code, message: Some(words).filter(|words| !words.is_empty()).map(Into::into) }
}
