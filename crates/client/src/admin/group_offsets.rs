//! The offsets that groups have committed.

use std::collections::BTreeMap;

use vltava_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use vltava_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use vltava_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use vltava_protocol::messages::{OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, OffsetFetchResponse};

use super::offsets::by_topic;
use super::{Admin, Results};
use crate::error::ClientError;
use crate::net::{ConnectionKey, CoordinatorType, SendOptions};
use crate::{OffsetAndMetadata, TopicPartition};

/// Topics are named by id from here on, which says nothing that names do not.
const LAST_VERSION_BY_NAME: i16 = 9;

/// What a group committed, by partition; `None` where it committed nothing.
type Committed = BTreeMap<TopicPartition, Option<OffsetAndMetadata>>;

impl Admin {
    /// The committed offsets of a group, for the given partitions or for all that it has any for.
    ///
    /// # Errors
    /// If the coordinator cannot be asked or refuses, or refuses one of the partitions.
    pub async fn list_consumer_group_offsets(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<Committed, ClientError> {
        self.retry(async || self.fetch_offsets(group, partitions).await).await
    }

    async fn fetch_offsets(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<Committed, ClientError> {
        let topics = partitions.map(|partitions| by_topic(partitions, TopicPartition::partition));
        let coordinator = self.cluster.coordinator(CoordinatorType::Group, group).await?;
        let key = ConnectionKey::coordinator(coordinator.id);
        let connection = self.cluster.connection(key).await?;
        let version = connection.versions().pick::<OffsetFetchRequest>(Some(LAST_VERSION_BY_NAME))?;
        let request = match version {
            // KIP-709: many groups in one request.
            8.. => OffsetFetchRequest {
                groups: vec![OffsetFetchRequestGroup {
                    group_id: group.to_owned(),
                    topics: topics.map(|topics| topics.into_iter().map(fetch_topic).collect()),
                    ..OffsetFetchRequestGroup::default()
                }],
                ..OffsetFetchRequest::default()
            },
            _ => OffsetFetchRequest {
                group_id: group.to_owned(),
                topics: topics.map(|topics| topics.into_iter().map(fetch_topic_of_one).collect()),
                ..OffsetFetchRequest::default()
            },
        };
        let options = SendOptions { max_version: Some(LAST_VERSION_BY_NAME), timeout: None };
        let response = self.cluster.send_with(key, &request, options).await?;
        self.committed(group, response)
    }

    fn committed(&self, group: &str, response: OffsetFetchResponse) -> Result<Committed, ClientError> {
        self.check_group(group, response.error_code, None)?;
        let mut committed = Committed::new();
        let mut add = |topic: &str, partition, offset: i64, epoch: i32, metadata: Option<String>, code| {
            ClientError::check(code, None)?;
            let found = OffsetAndMetadata {
                offset,
                leader_epoch: (epoch >= 0).then_some(epoch),
                metadata: metadata.unwrap_or_default(),
            };
            committed.insert(TopicPartition::new(topic, partition), (offset >= 0).then_some(found));
            Ok::<(), ClientError>(())
        };
        for topic in response.topics {
            for p in topic.partitions {
                let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                add(&topic.name, p.partition_index, offset, epoch, p.metadata, p.error_code)?;
            }
        }
        for answer in response.groups {
            self.check_group(group, answer.error_code, None)?;
            for topic in answer.topics {
                for p in topic.partitions {
                    let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                    add(&topic.name, p.partition_index, offset, epoch, p.metadata, p.error_code)?;
                }
            }
        }
        Ok(committed)
    }

    /// Sets committed offsets of a group that has no members.
    ///
    /// # Errors
    /// If the coordinator cannot be asked; for each partition `UnknownMemberId` (the group is in use),
    /// `UnknownTopicOrPartition`, ….
    pub async fn alter_consumer_group_offsets(
        &self,
        group: &str,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
    ) -> Results<TopicPartition, ()> {
        let offsets: BTreeMap<TopicPartition, OffsetAndMetadata> = offsets.into_iter().collect();
        let offsets = &offsets;
        self.retry_each(offsets.keys().cloned().collect(), async |partitions: Vec<TopicPartition>| {
            let topics = by_topic(&partitions, |partition| {
                let committed = offsets.get(partition);
                OffsetCommitRequestPartition {
                    partition_index: partition.partition(),
                    committed_offset: committed.map_or(-1, |committed| committed.offset),
                    committed_leader_epoch: committed.and_then(|committed| committed.leader_epoch).unwrap_or(-1),
                    committed_metadata: committed.map(|committed| committed.metadata.clone()),
                    ..OffsetCommitRequestPartition::default()
                }
            });
            let topic = |(name, partitions)| OffsetCommitRequestTopic { name, partitions, ..Default::default() };
            let request = OffsetCommitRequest {
                group_id: group.to_owned(),
                topics: topics.into_iter().map(topic).collect(),
                ..OffsetCommitRequest::default()
            };
            let coordinator = self.cluster.coordinator(CoordinatorType::Group, group).await?;
            let options = SendOptions { max_version: Some(LAST_VERSION_BY_NAME), timeout: None };
            let key = ConnectionKey::coordinator(coordinator.id);
            let response = self.cluster.send_with(key, &request, options).await?;
            let mut answers = Vec::new();
            for topic in response.topics {
                for partition in topic.partitions {
                    let key = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                    answers.push((key, self.check_group(group, partition.error_code, None)));
                }
            }
            Ok(answers)
        })
        .await
    }

    /// Deletes committed offsets of topics that no member of the group is subscribed to.
    ///
    /// # Errors
    /// For each partition `GroupSubscribedToTopic`, `GroupIdNotFound`, ….
    pub async fn delete_consumer_group_offsets(
        &self,
        group: &str,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Results<TopicPartition, ()> {
        self.retry_each(partitions.into_iter().collect(), async |partitions: Vec<TopicPartition>| {
            let topics = by_topic(&partitions, |partition| OffsetDeleteRequestPartition {
                partition_index: partition.partition(),
            });
            let topic = |(name, partitions)| OffsetDeleteRequestTopic { name, partitions };
            let request =
                OffsetDeleteRequest { group_id: group.to_owned(), topics: topics.into_iter().map(topic).collect() };
            let response = self.send_to_group(group, &request).await?;
            self.check_group(group, response.error_code, None)?;
            let mut answers = Vec::new();
            for topic in response.topics {
                for partition in topic.partitions {
                    let key = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                    answers.push((key, ClientError::check(partition.error_code, None)));
                }
            }
            Ok(answers)
        })
        .await
    }
}

fn fetch_topic((name, partition_indexes): (String, Vec<i32>)) -> OffsetFetchRequestTopics {
    OffsetFetchRequestTopics { name, partition_indexes, ..OffsetFetchRequestTopics::default() }
}

fn fetch_topic_of_one((name, partition_indexes): (String, Vec<i32>)) -> OffsetFetchRequestTopic {
    OffsetFetchRequestTopic { name, partition_indexes, ..OffsetFetchRequestTopic::default() }
}
