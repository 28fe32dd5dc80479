//! Topics that are in use and cannot be used: they do not exist (any more), or a partition has no leader.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vltava_protocol::ErrorCode;

use super::metadata::{MetadataSnapshot, TopicMetadata};

/// A topic may be in the making, and a leader about to be elected: that is not worth a line.
const PATIENCE: Duration = Duration::from_secs(1);
/// How seldom one is told of again.
const SELDOM: Duration = Duration::from_secs(30);

/// The topics that cannot be used, and when to tell of them.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    next_warning: HashMap<Arc<str>, Instant>,
}

/// What is wrong with a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) topic: Arc<str>,
    /// `None` where it is the whole topic.
    pub(crate) partition: Option<i32>,
    pub(crate) code: ErrorCode,
}

impl Trouble {
    fn of(topic: &TopicMetadata) -> Option<Self> {
        let passes = |code: &ErrorCode| code.is_invalid_metadata();
        let whole = topic.error.filter(passes).map(|code| (None, code));
        let mut partitions = topic.partitions.iter();
        let first = || partitions.find_map(|one| Some((Some(one.partition), one.error.filter(passes)?)));
        let (partition, code) = whole.or_else(first)?;
        Some(Self { topic: Arc::clone(&topic.name), partition, code })
    }
}

impl Troubles {
    /// Takes in what the brokers said, and gives what to tell of now.
    pub(crate) fn update(&mut self, snapshot: &MetadataSnapshot, now: Instant) -> Vec<Trouble> {
        let troubles: Vec<_> = snapshot.topics().filter_map(|topic| Trouble::of(topic)).collect();
        self.next_warning.retain(|topic, _| troubles.iter().any(|trouble| trouble.topic == *topic));
        let is_due = |trouble: &Trouble| {
            let next = self.next_warning.entry(Arc::clone(&trouble.topic)).or_insert(now + PATIENCE);
            let is_due = *next <= now;
            if is_due {
                *next = now + SELDOM;
            }
            is_due
        };
        troubles.into_iter().filter(is_due).collect()
    }

    /// Whether all topics can be used.
    pub(crate) fn is_empty(&self) -> bool {
        self.next_warning.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use vltava_protocol::messages::MetadataResponse;
    use vltava_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};

    use super::*;

    fn topic(name: &str, code: ErrorCode, partitions: &[ErrorCode]) -> MetadataResponseTopic {
        let partitions = partitions.iter().zip(0..).map(|(code, partition_index)| MetadataResponsePartition {
            error_code: code.code(),
            partition_index,
            ..Default::default()
        });
        MetadataResponseTopic {
            name: Some(name.to_owned()),
            error_code: code.code(),
            partitions: partitions.collect(),
            ..Default::default()
        }
    }

    fn snapshot(topics: impl IntoIterator<Item = MetadataResponseTopic>) -> MetadataSnapshot {
        let topics = topics.into_iter().collect();
        MetadataSnapshot::default().updated(&MetadataResponse { topics, ..Default::default() })
    }

    #[test]
    fn what_lasts_is_told_once_and_then_seldom() {
        let missing = || snapshot([topic("t", ErrorCode::UnknownTopicOrPartition, &[])]);
        let fine = || snapshot([topic("t", ErrorCode::None, &[ErrorCode::None])]);
        let start = Instant::now();
        let mut troubles = Troubles::default();
        let mut told = |ms: u64, snapshot: MetadataSnapshot| {
            let told = troubles.update(&snapshot, start + Duration::from_millis(ms)).len();
            (told, troubles.is_empty())
        };
        assert_eq!(told(0, fine()), (0, true));
        assert_eq!(told(10, missing()), (0, false));
        assert_eq!(told(1_009, missing()), (0, false));
        assert_eq!(told(1_010, missing()), (1, false));
        assert_eq!(told(31_009, missing()), (0, false));
        assert_eq!(told(31_010, missing()), (1, false));
        assert_eq!(told(32_000, fine()), (0, true));
        assert_eq!(told(33_000, missing()), (0, false));
    }

    #[test]
    fn the_topic_the_partition_and_the_code_are_named() {
        let none = ErrorCode::None;
        let snapshot = snapshot([
            topic("fine", none, &[none]),
            // That is told to who calls.
            topic("forbidden", ErrorCode::TopicAuthorizationFailed, &[]),
            topic("gone", ErrorCode::UnknownTopicOrPartition, &[]),
            topic("headless", none, &[none, ErrorCode::LeaderNotAvailable, ErrorCode::LeaderNotAvailable]),
        ]);
        let mut troubles = Troubles::default();
        let start = Instant::now();
        troubles.update(&snapshot, start);
        let mut told = troubles.update(&snapshot, start + PATIENCE);
        told.sort_by_key(|trouble| trouble.topic.clone());
        let of = |topic: &str, partition, code| Trouble { topic: topic.into(), partition, code };
        let expected = [
            of("gone", None, ErrorCode::UnknownTopicOrPartition),
            of("headless", Some(1), ErrorCode::LeaderNotAvailable),
        ];
        assert_eq!(told, expected);
    }
}
