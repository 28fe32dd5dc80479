//! Offsets of partitions: look-up by time, and deletion of what is before one.

use std::collections::BTreeMap;

use vltava_protocol::invariant;
use vltava_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use vltava_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use vltava_protocol::messages::{DeleteRecordsRequest, ListOffsetsRequest};

use super::retry::Answers;
use super::{Admin, Results};
use crate::TopicPartition;
use crate::config::IsolationLevel;
use crate::error::ClientError;
use crate::net::{ConnectionKey, SendOptions};

/// Which offset of a partition is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OffsetSpec {
    /// The first that is there.
    Earliest,
    /// The one after the last; under read committed the last stable offset.
    Latest,
    /// That of the record with the highest timestamp (KIP-734).
    MaxTimestamp,
    /// The first on the broker's own disk (KIP-405).
    EarliestLocal,
    /// The last in tiered storage (KIP-1005).
    LatestTiered,
    /// The first of those that are not in tiered storage yet (KIP-1023).
    EarliestPendingUpload,
    /// That of the first record whose timestamp, in ms since the epoch, is this or later.
    Timestamp(i64),
}

impl OffsetSpec {
    fn code(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            Self::EarliestLocal => -4,
            Self::LatestTiered => -5,
            Self::EarliestPendingUpload => -6,
            Self::Timestamp(timestamp) => timestamp,
        }
    }

    /// The lowest version of `ListOffsets` that knows the question.
    fn min_version(self) -> i16 {
        match self {
            Self::MaxTimestamp => 7,
            Self::EarliestLocal => 8,
            Self::LatestTiered => 9,
            Self::EarliestPendingUpload => 11,
            _ => 1,
        }
    }
}

/// The answer for one partition; offset and timestamp are -1 where no record fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListOffsetsResult {
    /// The offset.
    pub offset: i64,
    /// The timestamp of its record in ms since the epoch; -1 where the question was not about one.
    pub timestamp: i64,
    /// The leader epoch of its record, if the broker tells it.
    pub leader_epoch: Option<i32>,
}

impl Admin {
    /// Offsets of partitions by time or end.
    ///
    /// # Errors
    /// For each partition `UnknownTopicOrPartition`, ….
    pub async fn list_offsets(
        &self,
        wanted: impl IntoIterator<Item = (TopicPartition, OffsetSpec)>,
        isolation: IsolationLevel,
    ) -> Results<TopicPartition, ListOffsetsResult> {
        let wanted: BTreeMap<TopicPartition, OffsetSpec> = wanted.into_iter().collect();
        let wanted = &wanted;
        let isolation_level = i8::from(isolation == IsolationLevel::ReadCommitted);
        self.retry_each(wanted.keys().cloned().collect(), async |partitions: Vec<TopicPartition>| {
            let (leaders, mut answers) = self.leaders(partitions).await?;
            for (node, partitions) in leaders {
                let spec = |partition: &TopicPartition| wanted.get(partition).copied().unwrap_or(OffsetSpec::Latest);
                let topics = by_topic(&partitions, |partition| ListOffsetsPartition {
                    partition_index: partition.partition(),
                    timestamp: spec(partition).code(),
                    ..ListOffsetsPartition::default()
                });
                let topic = |(name, partitions)| ListOffsetsTopic { name, partitions, ..ListOffsetsTopic::default() };
                let request = ListOffsetsRequest {
                    replica_id: -1,
                    isolation_level,
                    topics: topics.into_iter().map(topic).collect(),
                    timeout_ms: self.timeout_ms(),
                    ..ListOffsetsRequest::default()
                };
                let least = partitions.iter().map(|partition| spec(partition).min_version()).max().unwrap_or(1);
                let connection = self.cluster.connection(ConnectionKey::data(node)).await?;
                if connection.versions().pick::<ListOffsetsRequest>(None)? < least {
                    return Err(ClientError::unsupported("this kind of offset by the broker"));
                }
                let response = connection.send(&request).await?;
                for topic in response.topics {
                    for partition in topic.partitions {
                        let key = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                        let found = ListOffsetsResult {
                            offset: partition.offset,
                            timestamp: partition.timestamp,
                            leader_epoch: (partition.leader_epoch >= 0).then_some(partition.leader_epoch),
                        };
                        answers.push((key, ClientError::check(partition.error_code, None).map(|()| found)));
                    }
                }
            }
            Ok(answers)
        })
        .await
    }

    /// Deletes all records before the given offset, or all up to the high watermark for -1. The answer is the new first
    /// offset of each partition.
    ///
    /// # Errors
    /// For each partition `OffsetOutOfRange`, `PolicyViolation` (a compacted topic), ….
    pub async fn delete_records(
        &self,
        before: impl IntoIterator<Item = (TopicPartition, i64)>,
    ) -> Results<TopicPartition, i64> {
        let before: BTreeMap<TopicPartition, i64> = before.into_iter().collect();
        let before = &before;
        self.retry_each(before.keys().cloned().collect(), async |partitions: Vec<TopicPartition>| {
            let (leaders, mut answers) = self.leaders(partitions).await?;
            for (node, partitions) in leaders {
                let topics = by_topic(&partitions, |partition| {
                    let offset = before.get(partition).copied();
                    invariant!(offset.is_some(), "records of {partition} are to be deleted before an offset");
                    DeleteRecordsPartition {
                        partition_index: partition.partition(),
                        // 0 deletes nothing, and -1 everything.
                        offset: offset.unwrap_or(0),
                        ..DeleteRecordsPartition::default()
                    }
                });
                let topic = |(name, partitions)| DeleteRecordsTopic { name, partitions, ..Default::default() };
                let request = DeleteRecordsRequest {
                    topics: topics.into_iter().map(topic).collect(),
                    timeout_ms: self.timeout_ms(),
                    ..DeleteRecordsRequest::default()
                };
                let response =
                    self.cluster.send_with(ConnectionKey::data(node), &request, SendOptions::default()).await?;
                for topic in response.topics {
                    for partition in topic.partitions {
                        let key = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                        let checked = ClientError::check(partition.error_code, None);
                        answers.push((key, checked.map(|()| partition.low_watermark)));
                    }
                }
            }
            Ok(answers)
        })
        .await
    }

    /// Partitions by the broker that leads them, and answers for those that have no leader.
    pub(super) async fn leaders<T>(
        &self,
        partitions: Vec<TopicPartition>,
    ) -> Result<(BTreeMap<i32, Vec<TopicPartition>>, Answers<TopicPartition, T>), ClientError> {
        let topics: std::collections::BTreeSet<&str> = partitions.iter().map(TopicPartition::topic).collect();
        self.cluster.track(topics.iter().copied());
        let known = |topic: &&str| self.cluster.metadata().topic(topic).is_some_and(|topic| topic.error.is_none());
        let snapshot = if topics.iter().all(known) { self.cluster.metadata() } else { self.cluster.refresh().await? };
        let mut leaders: BTreeMap<i32, Vec<TopicPartition>> = BTreeMap::new();
        let mut answers = Vec::new();
        for key in partitions {
            let topic = snapshot.topic(key.topic());
            let partition = topic.and_then(|topic| topic.partition(key.partition()));
            let unknown = vltava_protocol::ErrorCode::UnknownTopicOrPartition;
            match (topic.and_then(|topic| topic.error), partition) {
                (Some(code), _) => answers.push((key, Err(ClientError::broker(code)))),
                (None, None) => answers.push((key, Err(ClientError::broker(unknown)))),
                (None, Some(partition)) => match partition.leader {
                    Some(leader) => leaders.entry(leader).or_default().push(key),
                    None => {
                        let code = vltava_protocol::ErrorCode::LeaderNotAvailable;
                        answers.push((key, Err(ClientError::broker(code))));
                    }
                },
            }
        }
        Ok((leaders, answers))
    }
}

/// Groups partitions under their topics, as requests want them.
pub(super) fn by_topic<T>(
    partitions: &[TopicPartition],
    mut make: impl FnMut(&TopicPartition) -> T,
) -> BTreeMap<String, Vec<T>> {
    let mut topics: BTreeMap<String, Vec<T>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(partition.topic().to_owned()).or_default().push(make(partition));
    }
    topics
}
