//! What is produced to and fetched from topics: for each, and for all together.

use std::sync::Arc;

use vltava_metrics::Counter;
use vltava_protocol::ErrorCode;

/// Of one topic, or of all.
#[derive(Debug, Default)]
pub(crate) struct TopicCounters {
    pub(super) messages_in: Counter,
    pub(super) bytes_in: Counter,
    pub(super) bytes_out: Counter,
    pub(super) bytes_rejected: Counter,
    pub(super) produce_requests: Counter,
    pub(super) failed_produce_requests: Counter,
    pub(super) fetch_requests: Counter,
    pub(super) failed_fetch_requests: Counter,
}

/// Of a topic, as long as it is there; what happens counts for all topics, too, and stays there when it is gone.
#[derive(Debug, Default)]
pub(crate) struct TopicMetrics {
    of_topic: TopicCounters,
    of_all: Arc<TopicCounters>,
}

impl TopicMetrics {
    pub(crate) fn new(of_all: &Arc<TopicCounters>) -> Self {
        Self { of_topic: TopicCounters::default(), of_all: Arc::clone(of_all) }
    }

    pub(super) fn of_topic(&self) -> &TopicCounters {
        &self.of_topic
    }

    fn both(&self) -> [&TopicCounters; 2] {
        [&self.of_topic, &self.of_all]
    }

    /// A batch of so many records and bytes was appended.
    pub(crate) fn appended(&self, records: i64, bytes: usize) {
        for counters in self.both() {
            counters.produce_requests.increment();
            counters.messages_in.add(records.unsigned_abs());
            counters.bytes_in.add(bytes as u64);
        }
    }

    /// A batch of so many bytes was not appended.
    pub(crate) fn refused(&self, code: ErrorCode, bytes: usize) {
        for counters in self.both() {
            counters.produce_requests.increment();
            if is_too_large(code) {
                counters.bytes_rejected.add(bytes as u64);
            }
            if !is_expected(code) {
                counters.failed_produce_requests.increment();
            }
        }
    }

    /// A partition was looked at for a fetch.
    pub(crate) fn looked_at(&self, code: Option<ErrorCode>) {
        for counters in self.both() {
            counters.fetch_requests.increment();
            if code.is_some_and(|code| !is_expected_of_fetch(code)) {
                counters.failed_fetch_requests.increment();
            }
        }
    }

    /// So many bytes of records are sent to a client.
    pub(crate) fn sent(&self, bytes: usize) {
        for counters in self.both() {
            counters.bytes_out.add(bytes as u64);
        }
    }
}

fn is_too_large(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge)
}

/// What Kafka does not take for a failure of its own.
fn is_expected(code: ErrorCode) -> bool {
    use ErrorCode::{CorruptMessage, KafkaStorageError, NotLeaderOrFollower, UnknownTopicId, UnknownTopicOrPartition};
    is_too_large(code)
        || matches!(
            code,
            CorruptMessage | KafkaStorageError | NotLeaderOrFollower | UnknownTopicId | UnknownTopicOrPartition
        )
}

/// The same of a fetch.
fn is_expected_of_fetch(code: ErrorCode) -> bool {
    use ErrorCode::{
        FencedLeaderEpoch, InconsistentTopicId, OffsetOutOfRange, ReplicaNotAvailable, UnknownLeaderEpoch,
    };
    is_expected(code)
        || matches!(
            code,
            FencedLeaderEpoch | InconsistentTopicId | OffsetOutOfRange | ReplicaNotAvailable | UnknownLeaderEpoch
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_to_a_topic_counts_for_all_and_stays() {
        let all = Arc::new(TopicCounters::default());
        for _ in 0..2 {
            let topic = TopicMetrics::new(&all);
            topic.appended(3, 200);
            // Bytes and failures, as Kafka counts them.
            for (code, rejected, failed) in [
                (ErrorCode::MessageTooLarge, 50, 0),
                (ErrorCode::CorruptMessage, 0, 0),
                (ErrorCode::InvalidTimestamp, 0, 1),
            ] {
                let before = (topic.of_topic.bytes_rejected.count(), topic.of_topic.failed_produce_requests.count());
                topic.refused(code, 50);
                let after = (topic.of_topic.bytes_rejected.count(), topic.of_topic.failed_produce_requests.count());
                assert_eq!((after.0 - before.0, after.1 - before.1), (rejected, failed), "{code:?}");
            }
            topic.looked_at(None);
            topic.looked_at(Some(ErrorCode::OffsetOutOfRange));
            topic.looked_at(Some(ErrorCode::UnknownServerError));
            topic.sent(70);
            let one = &topic.of_topic;
            assert_eq!((one.messages_in.count(), one.bytes_in.count(), one.bytes_out.count()), (3, 200, 70));
            assert_eq!((one.produce_requests.count(), one.fetch_requests.count()), (4, 3));
            assert_eq!((one.failed_produce_requests.count(), one.failed_fetch_requests.count()), (1, 1));
        }
        assert_eq!((all.messages_in.count(), all.bytes_in.count(), all.bytes_out.count()), (6, 400, 140));
        assert_eq!((all.bytes_rejected.count(), all.fetch_requests.count()), (100, 6));
    }
}
