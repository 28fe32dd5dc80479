//! Why the leader of a group assigns nothing: Kafka's `AssignorError`.

use bytes::{Buf, Bytes, BytesMut};

use super::cluster::{put_text, take_text};
use crate::error::Error;

/// Told to all members, each of which ends with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Kafka's `INCOMPLETE_SOURCE_TOPIC_METADATA`.
    MissingSourceTopics(Vec<String>),
    /// Kafka's `ASSIGNMENT_ERROR`: topics do not fit together, since partitions were added, or a member is not understood.
    Assignment(String),
    /// Kafka's `SHUTDOWN_REQUESTED`: an instance has asked all to end.
    Shutdown,
}

/// What a JVM leader does not tell.
const SEE_LEADER: &str = "the leader of the group could not assign the tasks; its log says why";

impl Refusal {
    /// Kafka's number.
    pub(super) fn code(&self) -> i32 {
        match self {
            Refusal::MissingSourceTopics(_) => 1,
            Refusal::Assignment(_) => 3,
            Refusal::Shutdown => 4,
        }
    }

    /// What the JVM has no place for.
    pub(super) fn more(&self) -> Bytes {
        let texts = match self {
            Refusal::MissingSourceTopics(topics) => topics.as_slice(),
            Refusal::Assignment(why) => std::slice::from_ref(why),
            Refusal::Shutdown => &[],
        };
        let mut bytes = BytesMut::new();
        texts.iter().for_each(|text| put_text(&mut bytes, text));
        bytes.freeze()
    }

    /// From Kafka's number, 0 for none, and what one of ours has told beside it.
    pub(super) fn told(code: i32, mut more: &[u8]) -> Option<Self> {
        let mut texts = Vec::new();
        while more.has_remaining()
            && let Some(text) = take_text(&mut more)
        {
            texts.push(text);
        }
        match code {
            0 => None,
            1 => Some(Refusal::MissingSourceTopics(texts)),
            4 => Some(Refusal::Shutdown),
            _ => Some(Refusal::Assignment(texts.pop().unwrap_or_else(|| SEE_LEADER.to_owned()))),
        }
    }

    /// The error with which a thread ends.
    pub(super) fn into_error(self) -> Box<Error> {
        match self {
            Refusal::MissingSourceTopics(topics) => Box::new(Error::MissingSourceTopic { topics }),
            Refusal::Assignment(why) => Error::streams(why),
            Refusal::Shutdown => Box::new(Error::ShutdownRequested),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_nothing_is_assigned_is_read_as_it_was_meant() {
        let topics = vec!["a".to_owned(), "b".to_owned()];
        let refusals = [
            Refusal::MissingSourceTopics(topics),
            Refusal::Assignment("too many partitions".to_owned()),
            Refusal::Shutdown,
        ];
        for refusal in refusals {
            assert_eq!(Refusal::told(refusal.code(), &refusal.more()), Some(refusal));
        }
        assert_eq!(Refusal::told(0, &[]), None);
    }

    #[test]
    fn of_a_leader_of_the_jvm_the_number_is_known() {
        assert_eq!(Refusal::told(1, &[]), Some(Refusal::MissingSourceTopics(Vec::new())));
        assert_eq!(Refusal::told(3, &[]), Some(Refusal::Assignment(SEE_LEADER.to_owned())));
        assert_eq!(Refusal::told(4, &[9]), Some(Refusal::Shutdown));
    }
}
