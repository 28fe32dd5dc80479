//! Offsets that callers ask for: committed ones, and by time. They are no part of what the consumer reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use vltava_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};

use super::Inner;
use crate::consumer::core::{
    Committed, Core, FoundOffset, LAST_VERSION_WITH_NAMES, MemberEpoch, by_leader, is_of_coordinator, offsets_request,
    read_offsets,
};
use crate::consumer::subscription::LATEST_TIMESTAMP;
use crate::net::{ConnectionKey, CoordinatorType};
use crate::{ClientError, OffsetAndMetadata, TopicPartition};

/// First version of `OffsetFetch` that asks for several groups.
const FIRST_VERSION_WITH_GROUPS: i16 = 8;

/// Offsets by time, as far as they were found.
type Found = BTreeMap<TopicPartition, FoundOffset>;

impl Inner {
    /// Finds the coordinator and asks it for committed offsets, once.
    pub(crate) async fn try_committed(
        self: &Arc<Self>,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<Committed, ClientError> {
        let group_id = self.group_id()?;
        let node = self.cluster.coordinator(CoordinatorType::Group, group_id).await?;
        let member = self.read(Core::member_epoch);
        let result = self.ask_committed(node.id, partitions, member).await;
        if let Err(error) = &result
            && is_of_coordinator(error)
        {
            self.cluster.forget_coordinator(CoordinatorType::Group, group_id);
        }
        result
    }

    /// Asks the coordinator for committed offsets, once, as the member that the group knows, if it is one.
    pub(super) async fn ask_committed(
        &self,
        node: i32,
        partitions: &BTreeSet<TopicPartition>,
        member: Option<MemberEpoch>,
    ) -> Result<Committed, ClientError> {
        let group_id = self.group_id()?;
        let connection = self.cluster.connection(ConnectionKey::coordinator(node)).await?;
        let version = connection.versions().pick::<OffsetFetchRequest>(Some(LAST_VERSION_WITH_NAMES))?;
        let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for tp in partitions {
            by_topic.entry(tp.topic()).or_default().push(tp.partition());
        }
        let mut request = OffsetFetchRequest { require_stable: version >= 7, ..OffsetFetchRequest::default() };
        if version >= FIRST_VERSION_WITH_GROUPS {
            let topics = by_topic.into_iter().map(|(name, partition_indexes)| OffsetFetchRequestTopics {
                name: name.to_owned(),
                partition_indexes,
                ..Default::default()
            });
            let mut group = OffsetFetchRequestGroup {
                group_id: group_id.to_owned(),
                topics: Some(topics.collect()),
                ..Default::default()
            };
            if let Some(MemberEpoch { member_id, epoch }) = member {
                group.member_id = Some(member_id);
                group.member_epoch = epoch;
            }
            request.groups = vec![group];
        } else {
            group_id.clone_into(&mut request.group_id);
            let topics = by_topic.into_iter().map(|(name, partition_indexes)| OffsetFetchRequestTopic {
                name: name.to_owned(),
                partition_indexes,
                ..Default::default()
            });
            request.topics = Some(topics.collect());
        }
        let response = connection.send_with(&request, Some(LAST_VERSION_WITH_NAMES), None).await?;
        read_committed(&response)
    }

    /// Offsets by time, from all leaders, tried again until `deadline`.
    pub(crate) async fn list_offsets(
        &self,
        times: BTreeMap<TopicPartition, i64>,
        deadline: Instant,
    ) -> Result<Found, ClientError> {
        let limit = deadline.saturating_duration_since(Instant::now());
        let within = self.cluster.within(deadline, limit, || "look-up of offsets".to_owned());
        within.wait(self.list_offsets_until(times, deadline)).await
    }

    async fn list_offsets_until(
        &self,
        times: BTreeMap<TopicPartition, i64>,
        deadline: Instant,
    ) -> Result<Found, ClientError> {
        let started = Instant::now();
        let mut found = BTreeMap::new();
        let mut left = times;
        let mut attempt = 0;
        loop {
            // Each time: a refresh forgets a topic that nobody reads any more, of which we knew from an assignment before.
            for topic in left.keys().map(|tp| tp.topic().to_owned()).collect::<BTreeSet<_>>() {
                if self.cluster.metadata().topic(&topic).is_none_or(|known| known.error.is_some()) {
                    self.cluster.topic(&topic).await?;
                }
            }
            let metadata = self.cluster.metadata();
            let (by_leader, _) = by_leader(&metadata, left.clone());
            for (node, times) in &by_leader {
                let request = offsets_request(&self.config, &metadata, times.iter().map(|(tp, time)| (tp, *time)));
                match self.cluster.send(*node, &request).await.and_then(|response| read_offsets(&response)) {
                    Ok(some) => found.extend(some),
                    Err(error) if error.is_retriable() => tracing::debug!(%error, "look-up of offsets failed"),
                    Err(error) => return Err(error),
                }
            }
            left.retain(|tp, _| !found.contains_key(tp));
            if left.is_empty() {
                return Ok(found);
            }
            let pause = self.config.common.retry_pause(attempt);
            if Instant::now() + pause >= deadline {
                return Err(ClientError::timeout("look-up of offsets", started.elapsed()));
            }
            attempt += 1;
            tokio::time::sleep(pause).await;
            // The leaders may have moved.
            let _ = self.cluster.refresh().await;
        }
    }

    /// The end of a partition, if it can be had.
    pub(super) async fn end_of(&self, tp: &TopicPartition) -> Option<i64> {
        let times = BTreeMap::from([(tp.clone(), LATEST_TIMESTAMP)]);
        let found = self.list_offsets(times, Instant::now() + self.config.common.request_timeout).await;
        found.ok()?.get(tp).map(|end| end.offset)
    }
}

fn read_committed(response: &OffsetFetchResponse) -> Result<Committed, ClientError> {
    let group = response.groups.first();
    ClientError::check(group.map_or(response.error_code, |group| group.error_code), None)?;
    let mut committed = Committed::new();
    let mut take = |tp: TopicPartition, code: i16, offset: OffsetAndMetadata| {
        let message = Some(Arc::from(format!("committed offset of {tp}")));
        match ErrorCode::from(code) {
            ErrorCode::None => {
                committed.insert(tp, Some(offset).filter(|offset| offset.offset >= 0));
                Ok(())
            }
            code => Err(ClientError::Broker { code, message }),
        }
    };
    for topic in group.into_iter().flat_map(|group| &group.topics) {
        for p in &topic.partitions {
            let offset = committed_offset(p.committed_offset, p.committed_leader_epoch, p.metadata.as_ref());
            take(TopicPartition::new(topic.name.as_str(), p.partition_index), p.error_code, offset)?;
        }
    }
    for topic in &response.topics {
        for p in &topic.partitions {
            let offset = committed_offset(p.committed_offset, p.committed_leader_epoch, p.metadata.as_ref());
            take(TopicPartition::new(topic.name.as_str(), p.partition_index), p.error_code, offset)?;
        }
    }
    Ok(committed)
}

fn committed_offset(offset: i64, leader_epoch: i32, metadata: Option<&String>) -> OffsetAndMetadata {
    let leader_epoch = (leader_epoch >= 0).then_some(leader_epoch);
    OffsetAndMetadata { offset, leader_epoch, metadata: metadata.cloned().unwrap_or_default() }
}
