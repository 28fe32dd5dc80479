//! A group, where it does not matter which protocol it speaks.

use super::classic::{CONSUMER_PROTOCOL_TYPE, ClassicGroup, ClassicGroupState};
use super::consumer::ConsumerGroup;
use super::modern::{self, ModernGroupState};
use super::offsets::CommittedOffset;
use super::records::CoordinatorRecord;
use super::streams::StreamsGroup;

/// The type of protocol of streams groups in answers.
const STREAMS_PROTOCOL_TYPE: &str = "streams";

/// A group of any protocol.
#[derive(Debug)]
pub(super) enum Group {
    Classic(Box<ClassicGroup>),
    Consumer(Box<ConsumerGroup>),
    Streams(Box<StreamsGroup>),
}

impl Group {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Classic(group) => &group.id,
            Self::Consumer(group) => &group.id,
            Self::Streams(group) => &group.id,
        }
    }

    /// The name of the group's type in answers.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Classic(_) => "classic",
            Self::Consumer(_) => "consumer",
            Self::Streams(_) => "streams",
        }
    }

    pub(super) fn state_name(&self) -> &'static str {
        match self {
            Self::Classic(group) => group.state.name(),
            Self::Consumer(group) => group.state().name(),
            Self::Streams(group) => group.state().name(),
        }
    }

    pub(super) fn protocol_type(&self) -> &str {
        match self {
            Self::Classic(group) => group.protocol_type.as_deref().unwrap_or_default(),
            Self::Consumer(_) => CONSUMER_PROTOCOL_TYPE,
            Self::Streams(_) => STREAMS_PROTOCOL_TYPE,
        }
    }

    /// Returns whether the group has no members, so that somebody may delete it.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Classic(group) => group.state == ClassicGroupState::Empty,
            Self::Consumer(group) => group.state() == ModernGroupState::Empty,
            Self::Streams(group) => group.state() == ModernGroupState::Empty,
        }
    }

    /// Returns whether the group has no members and expects none, so that it may go by itself.
    pub(super) fn is_vacant(&self) -> bool {
        match self {
            Self::Classic(group) => group.is_vacant(),
            Self::Consumer(_) | Self::Streams(_) => self.is_empty(),
        }
    }

    /// Returns whether offsets may be deleted: of what the members read, the coordinator has to know the topics.
    pub(super) fn may_delete_offsets(&self) -> bool {
        match self {
            Self::Classic(group) => self.is_empty() || group.uses_consumer_protocol(),
            Self::Consumer(_) | Self::Streams(_) => true,
        }
    }

    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        match self {
            Self::Classic(group) => group.is_subscribed_to(topic),
            Self::Consumer(group) => group.is_subscribed_to(topic),
            Self::Streams(group) => group.is_subscribed_to(topic),
        }
    }

    /// Returns whether an offset has outlived its retention (KIP-211): since the group is empty, or, where the group
    /// does not subscribe to the topic or only stores offsets, since the commit.
    pub(super) fn is_expired(&self, offset: &CommittedOffset, timestamp_ms: i64, retention_ms: i64) -> bool {
        let committed = offset.commit_timestamp_ms;
        let since = match self {
            Self::Consumer(_) | Self::Streams(_) => committed,
            Self::Classic(group) => match (&group.protocol_type, group.state) {
                (None, _) => committed,
                (Some(_), ClassicGroupState::Empty) => group.state_timestamp_ms.unwrap_or(committed),
                (Some(_), ClassicGroupState::Stable)
                    if group.uses_consumer_protocol() && group.has_known_subscriptions() =>
                {
                    committed
                }
                (Some(_), _) => return false,
            },
        };
        match offset.expire_timestamp_ms {
            Some(expire_timestamp_ms) => timestamp_ms >= expire_timestamp_ms,
            None => timestamp_ms.saturating_sub(since) >= retention_ms,
        }
    }

    /// Returns the records that remove the group.
    pub(super) fn tombstones(&self) -> Vec<CoordinatorRecord> {
        match self {
            Self::Classic(group) => vec![CoordinatorRecord::group_tombstone(&group.id)],
            Self::Consumer(group) => modern::tombstones(group),
            Self::Streams(group) => modern::tombstones(group),
        }
    }
}
