//! Topics: create, delete, list, describe, more partitions.

use std::collections::BTreeMap;

use vltava_protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use vltava_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use vltava_protocol::messages::delete_topics_request::DeleteTopicState;
use vltava_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use vltava_protocol::messages::describe_topic_partitions_response::{
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use vltava_protocol::messages::metadata_request::MetadataRequestTopic;
use vltava_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeTopicPartitionsRequest, MetadataRequest,
};
use vltava_protocol::{ErrorCode, Uuid};

use super::retry::Answers;
use super::{Admin, Results};
use crate::error::ClientError;
use crate::net::{SendOptions, TopicMetadata};

/// How many partitions one answer to `DescribeTopicPartitions` may hold (KIP-966); the rest comes by cursor.
const PARTITIONS_PER_ANSWER: i32 = 2000;

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct NewTopic {
    name: String,
    partitions: Option<i32>,
    replication_factor: Option<i16>,
    assignments: BTreeMap<i32, Vec<i32>>,
    configs: BTreeMap<String, String>,
}

impl NewTopic {
    /// A topic with the broker's defaults: `num.partitions` and `default.replication.factor`.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            name,
            partitions: None,
            replication_factor: None,
            assignments: BTreeMap::new(),
            configs: BTreeMap::new(),
        }
    }

    /// The number of partitions; 1 or more.
    pub fn partitions(self, partitions: i32) -> Self {
        Self { partitions: Some(partitions), ..self }
    }

    /// The number of replicas of each partition; 1 up to the number of brokers.
    pub fn replication_factor(self, factor: i16) -> Self {
        Self { replication_factor: Some(factor), ..self }
    }

    /// The brokers of one partition's replicas, the preferred leader first. Excludes the two counts above.
    pub fn assign(mut self, partition: i32, brokers: Vec<i32>) -> Self {
        self.assignments.insert(partition, brokers);
        self
    }

    /// A setting of the topic, by Kafka's key.
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.insert(key.into(), value.into());
        self
    }

    /// The topic's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn to_wire(&self) -> CreatableTopic {
        let assignment = |(&partition_index, broker_ids): (&i32, &Vec<i32>)| CreatableReplicaAssignment {
            partition_index,
            broker_ids: broker_ids.clone(),
            ..CreatableReplicaAssignment::default()
        };
        let config = |(name, value): (&String, &String)| CreatableTopicConfig {
            name: name.clone(),
            value: Some(value.clone()),
            ..CreatableTopicConfig::default()
        };
        CreatableTopic {
            name: self.name.clone(),
            // KIP-464: -1 asks for the broker's default, and stands beside explicit assignments.
            num_partitions: self.partitions.unwrap_or(-1),
            replication_factor: self.replication_factor.unwrap_or(-1),
            assignments: self.assignments.iter().map(assignment).collect(),
            configs: self.configs.iter().map(config).collect(),
            ..CreatableTopic::default()
        }
    }
}

/// How topics are created, Kafka's `CreateTopicsOptions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct CreateTopicsOptions {
    validate_only: bool,
    retry_on_quota_violation: bool,
}

impl Default for CreateTopicsOptions {
    fn default() -> Self {
        Self { validate_only: false, retry_on_quota_violation: true }
    }
}

impl CreateTopicsOptions {
    /// Whether topics are only checked. Default: no.
    pub fn validate_only(self, validate_only: bool) -> Self {
        Self { validate_only, ..self }
    }

    /// Whether what exceeds the client's quota (`controller_mutation_rate`) is tried again when the broker lets it, as long
    /// as that is within `default.api.timeout.ms`. Default: yes. Otherwise it is [`ClientError::ThrottlingQuotaExceeded`].
    pub fn retry_on_quota_violation(self, retry_on_quota_violation: bool) -> Self {
        Self { retry_on_quota_violation, ..self }
    }
}

/// How topics are deleted, Kafka's `DeleteTopicsOptions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct DeleteTopicsOptions {
    retry_on_quota_violation: bool,
}

impl Default for DeleteTopicsOptions {
    fn default() -> Self {
        Self { retry_on_quota_violation: true }
    }
}

impl DeleteTopicsOptions {
    /// As [`CreateTopicsOptions::retry_on_quota_violation`].
    pub fn retry_on_quota_violation(self, retry_on_quota_violation: bool) -> Self {
        Self { retry_on_quota_violation }
    }
}

/// How partitions are added, Kafka's `CreatePartitionsOptions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct CreatePartitionsOptions {
    validate_only: bool,
    retry_on_quota_violation: bool,
}

impl Default for CreatePartitionsOptions {
    fn default() -> Self {
        Self { validate_only: false, retry_on_quota_violation: true }
    }
}

impl CreatePartitionsOptions {
    /// Whether it is only checked whether they could be added. Default: no.
    pub fn validate_only(self, validate_only: bool) -> Self {
        Self { validate_only, ..self }
    }

    /// As [`CreateTopicsOptions::retry_on_quota_violation`].
    pub fn retry_on_quota_violation(self, retry_on_quota_violation: bool) -> Self {
        Self { retry_on_quota_violation, ..self }
    }
}

/// What a created topic became.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreatedTopic {
    /// Its id; zero from brokers older than topic ids.
    pub topic_id: Uuid,
    /// Its number of partitions; -1 where the broker does not say.
    pub num_partitions: i32,
    /// Its replication factor; -1 where the broker does not say.
    pub replication_factor: i16,
}

/// A wish for more partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct NewPartitions {
    total: i32,
    assignments: Option<Vec<Vec<i32>>>,
}

impl NewPartitions {
    /// So many partitions in all, the present ones included.
    pub fn increase_to(total: i32) -> Self {
        Self { total, assignments: None }
    }

    /// The brokers of each added partition's replicas.
    pub fn assign(self, assignments: Vec<Vec<i32>>) -> Self {
        Self { assignments: Some(assignments), ..self }
    }
}

/// A topic in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicListing {
    /// Its name.
    pub name: String,
    /// Its id.
    pub topic_id: Uuid,
    /// Whether it is one of Kafka's own.
    pub is_internal: bool,
}

/// A topic and its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its id.
    pub topic_id: Uuid,
    /// Whether it is one of Kafka's own.
    pub is_internal: bool,
    /// Its partitions in order.
    pub partitions: Vec<TopicPartitionInfo>,
}

/// A partition in a [`TopicDescription`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicPartitionInfo {
    /// Its number.
    pub partition: i32,
    /// The leader's broker id, if there is one.
    pub leader: Option<i32>,
    /// Broker ids of the replicas, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Broker ids of the replicas in sync.
    pub isr: Vec<i32>,
    /// Eligible leader replicas (KIP-966); `None` where the broker does not say.
    pub elr: Option<Vec<i32>>,
    /// The last known ones of them; `None` where the broker does not say.
    pub last_known_elr: Option<Vec<i32>>,
}

impl Admin {
    /// Creates topics.
    ///
    /// # Errors
    /// For each topic `TopicAlreadyExists`, `InvalidTopicException`, `InvalidPartitions`, `InvalidReplicationFactor`,
    /// `InvalidConfig`, … as the broker words it.
    pub async fn create_topics(&self, topics: impl IntoIterator<Item = NewTopic>) -> Results<String, CreatedTopic> {
        self.create_topics_with(topics, CreateTopicsOptions::default()).await
    }

    /// Checks topics as [`create_topics`](Self::create_topics) would, and creates none.
    ///
    /// # Errors
    /// As [`create_topics`](Self::create_topics).
    pub async fn validate_topics(&self, topics: impl IntoIterator<Item = NewTopic>) -> Results<String, CreatedTopic> {
        self.create_topics_with(topics, CreateTopicsOptions::default().validate_only(true)).await
    }

    /// As [`create_topics`](Self::create_topics), with options.
    ///
    /// # Errors
    /// As [`create_topics`](Self::create_topics).
    pub async fn create_topics_with(
        &self,
        topics: impl IntoIterator<Item = NewTopic>,
        options: CreateTopicsOptions,
    ) -> Results<String, CreatedTopic> {
        let CreateTopicsOptions { validate_only, retry_on_quota_violation } = options;
        let topics: BTreeMap<String, CreatableTopic> =
            topics.into_iter().map(|topic| (topic.name.clone(), topic.to_wire())).collect();
        let topics = &topics;
        let names = topics.keys().cloned().collect();
        self.retry_each_on_quota(names, retry_on_quota_violation, async |names: Vec<String>| {
            let request = CreateTopicsRequest {
                topics: names.iter().filter_map(|name| topics.get(name).cloned()).collect(),
                timeout_ms: self.timeout_ms(),
                validate_only,
                ..CreateTopicsRequest::default()
            };
            let response = self.cluster.send_controller(&request, SendOptions::default()).await?;
            let throttle_ms = response.throttle_time_ms;
            let answer = |topic: vltava_protocol::messages::create_topics_response::CreatableTopicResult| {
                let checked = ClientError::check_quota(topic.error_code, topic.error_message.as_deref(), throttle_ms);
                let created = CreatedTopic {
                    topic_id: topic.topic_id,
                    num_partitions: topic.num_partitions,
                    replication_factor: topic.replication_factor,
                };
                (topic.name, checked.map(|()| created))
            };
            Ok(response.topics.into_iter().map(answer).collect())
        })
        .await
    }

    /// Deletes topics by name.
    ///
    /// # Errors
    /// For each topic `UnknownTopicOrPartition`, `TopicDeletionDisabled`, ….
    pub async fn delete_topics(&self, names: impl IntoIterator<Item = impl Into<String>>) -> Results<String, ()> {
        self.delete_topics_with(names, DeleteTopicsOptions::default()).await
    }

    /// As [`delete_topics`](Self::delete_topics), with options.
    ///
    /// # Errors
    /// As [`delete_topics`](Self::delete_topics).
    pub async fn delete_topics_with(
        &self,
        names: impl IntoIterator<Item = impl Into<String>>,
        options: DeleteTopicsOptions,
    ) -> Results<String, ()> {
        let names = names.into_iter().map(Into::into).collect();
        self.retry_each_on_quota(names, options.retry_on_quota_violation, async |names: Vec<String>| {
            let state = |name: &String| DeleteTopicState { name: Some(name.clone()), ..DeleteTopicState::default() };
            // Version 6 names topics in a structure of their own, for they may be given by id there.
            let connection = self.cluster.any_connection().await?;
            let by_state = connection.versions().pick::<DeleteTopicsRequest>(None)? >= 6;
            let request = DeleteTopicsRequest {
                topics: if by_state { names.iter().map(state).collect() } else { Vec::new() },
                topic_names: if by_state { Vec::new() } else { names },
                timeout_ms: self.timeout_ms(),
                ..DeleteTopicsRequest::default()
            };
            let response = self.cluster.send_controller(&request, SendOptions::default()).await?;
            let throttle_ms = response.throttle_time_ms;
            let answers = response.responses.into_iter().map(|topic| {
                let checked = ClientError::check_quota(topic.error_code, topic.error_message.as_deref(), throttle_ms);
                (topic.name.unwrap_or_default(), checked)
            });
            Ok(answers.collect())
        })
        .await
    }

    /// Adds partitions to topics.
    ///
    /// # Errors
    /// For each topic `UnknownTopicOrPartition`, `InvalidPartitions` (not an increase), ….
    pub async fn create_partitions(
        &self,
        topics: impl IntoIterator<Item = (impl Into<String>, NewPartitions)>,
    ) -> Results<String, ()> {
        self.create_partitions_with(topics, CreatePartitionsOptions::default()).await
    }

    /// As [`create_partitions`](Self::create_partitions), with options.
    ///
    /// # Errors
    /// As [`create_partitions`](Self::create_partitions).
    pub async fn create_partitions_with(
        &self,
        topics: impl IntoIterator<Item = (impl Into<String>, NewPartitions)>,
        options: CreatePartitionsOptions,
    ) -> Results<String, ()> {
        let CreatePartitionsOptions { validate_only, retry_on_quota_violation } = options;
        let topics: BTreeMap<String, NewPartitions> =
            topics.into_iter().map(|(name, partitions)| (name.into(), partitions)).collect();
        let topics = &topics;
        let names = topics.keys().cloned().collect();
        self.retry_each_on_quota(names, retry_on_quota_violation, async |names: Vec<String>| {
            let topic = |(name, wish): (&String, &NewPartitions)| CreatePartitionsTopic {
                name: name.clone(),
                count: wish.total,
                assignments: wish
                    .assignments
                    .as_ref()
                    .map(|all| all.iter().map(|brokers| assignment(brokers)).collect()),
                ..CreatePartitionsTopic::default()
            };
            let request = CreatePartitionsRequest {
                topics: topics.iter().filter(|(name, _)| names.contains(name)).map(topic).collect(),
                timeout_ms: self.timeout_ms(),
                validate_only,
                ..CreatePartitionsRequest::default()
            };
            let response = self.cluster.send_controller(&request, SendOptions::default()).await?;
            let throttle_ms = response.throttle_time_ms;
            let answers = response.results.into_iter().map(|topic| {
                let checked = ClientError::check_quota(topic.error_code, topic.error_message.as_deref(), throttle_ms);
                (topic.name, checked)
            });
            Ok(answers.collect())
        })
        .await
    }

    /// All topics, by name.
    ///
    /// # Errors
    /// If no broker answers.
    pub async fn list_topics(&self) -> Result<BTreeMap<String, TopicListing>, ClientError> {
        let response = self
            .retry(async || {
                let request =
                    MetadataRequest { topics: None, allow_auto_topic_creation: false, ..MetadataRequest::default() };
                self.cluster.send_any(&request).await
            })
            .await?;
        let listing = |topic: vltava_protocol::messages::metadata_response::MetadataResponseTopic| {
            let name = topic.name?;
            let listing = TopicListing { name: name.clone(), topic_id: topic.topic_id, is_internal: topic.is_internal };
            Some((name, listing))
        };
        Ok(response.topics.into_iter().filter_map(listing).collect())
    }

    /// Topics and their partitions.
    ///
    /// # Errors
    /// For each topic `UnknownTopicOrPartition`, `InvalidTopicException`, ….
    pub async fn describe_topics(
        &self,
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Results<String, TopicDescription> {
        let names = names.into_iter().map(Into::into).collect();
        self.retry_each(names, async |names: Vec<String>| {
            let connection = self.cluster.any_connection().await?;
            match connection.versions().pick::<DescribeTopicPartitionsRequest>(None) {
                Ok(_) => self.describe_by_cursor(names).await,
                // Brokers older than KIP-966.
                Err(_) => self.describe_by_metadata(names).await,
            }
        })
        .await
    }

    async fn describe_by_cursor(
        &self,
        mut names: Vec<String>,
    ) -> Result<Answers<String, TopicDescription>, ClientError> {
        names.sort();
        let mut found: BTreeMap<String, Result<TopicDescription, ClientError>> = BTreeMap::new();
        let mut cursor: Option<Cursor> = None;
        loop {
            let left = names.iter().filter(|name| cursor.as_ref().is_none_or(|c| **name >= c.topic_name));
            let request = DescribeTopicPartitionsRequest {
                topics: left.map(|name| TopicRequest { name: name.clone(), ..TopicRequest::default() }).collect(),
                response_partition_limit: PARTITIONS_PER_ANSWER,
                cursor,
                ..DescribeTopicPartitionsRequest::default()
            };
            let response = self.cluster.send_any(&request).await?;
            response.topics.into_iter().for_each(|topic| add_described(topic, &mut found));
            match response.next_cursor {
                None => return Ok(found.into_iter().collect()),
                Some(next) => {
                    let next = Cursor {
                        topic_name: next.topic_name,
                        partition_index: next.partition_index,
                        ..Cursor::default()
                    };
                    cursor = Some(next);
                }
            }
        }
    }

    async fn describe_by_metadata(&self, names: Vec<String>) -> Result<Answers<String, TopicDescription>, ClientError> {
        let topic = |name: String| MetadataRequestTopic { name: Some(name), ..MetadataRequestTopic::default() };
        let request = MetadataRequest {
            topics: Some(names.into_iter().map(topic).collect()),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let response = self.cluster.send_any(&request).await?;
        let answers = response.topics.iter().filter_map(TopicMetadata::from_response).map(|topic| {
            let name = topic.name.to_string();
            let described = match topic.error {
                Some(code) => Err(ClientError::broker(code)),
                None => Ok(described_by_metadata(&topic)),
            };
            (name, described)
        });
        Ok(answers.collect())
    }
}

fn assignment(brokers: &[i32]) -> CreatePartitionsAssignment {
    CreatePartitionsAssignment { broker_ids: brokers.to_vec(), ..CreatePartitionsAssignment::default() }
}

/// Adds an answer, or the part of one that a cursor divided, to what is known of its topic.
fn add_described(
    topic: DescribeTopicPartitionsResponseTopic,
    found: &mut BTreeMap<String, Result<TopicDescription, ClientError>>,
) {
    let name = topic.name.unwrap_or_default();
    let code = ErrorCode::from(topic.error_code);
    if code != ErrorCode::None {
        found.insert(name, Err(ClientError::broker(code)));
        return;
    }
    let description = found.entry(name.clone()).or_insert_with(|| {
        let (topic_id, is_internal) = (topic.topic_id, topic.is_internal);
        Ok(TopicDescription { name, topic_id, is_internal, partitions: Vec::new() })
    });
    if let Ok(description) = description {
        description.partitions.extend(topic.partitions.into_iter().map(partition_info));
        description.partitions.sort_by_key(|partition| partition.partition);
    }
}

fn partition_info(partition: DescribeTopicPartitionsResponsePartition) -> TopicPartitionInfo {
    TopicPartitionInfo {
        partition: partition.partition_index,
        leader: (partition.leader_id >= 0).then_some(partition.leader_id),
        replicas: partition.replica_nodes,
        isr: partition.isr_nodes,
        elr: Some(partition.eligible_leader_replicas.unwrap_or_default()),
        last_known_elr: Some(partition.last_known_elr.unwrap_or_default()),
    }
}

fn described_by_metadata(topic: &TopicMetadata) -> TopicDescription {
    let partition = |partition: &crate::net::PartitionMetadata| TopicPartitionInfo {
        partition: partition.partition,
        leader: partition.leader,
        replicas: partition.replicas.clone(),
        isr: partition.isr.clone(),
        elr: None,
        last_known_elr: None,
    };
    TopicDescription {
        name: topic.name.to_string(),
        topic_id: topic.topic_id,
        is_internal: topic.is_internal,
        partitions: topic.partitions.iter().map(partition).collect(),
    }
}
