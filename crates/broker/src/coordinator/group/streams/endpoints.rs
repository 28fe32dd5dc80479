//! Which partitions are at which endpoint: what members need to send queries to each other.

use std::collections::BTreeSet;

use vltava_protocol::messages::streams_group_heartbeat_response::{Endpoint, EndpointToPartitions, TopicPartition};

use super::StreamsGroup;
use super::configure::ConfiguredSubtopology;
use super::member::StreamsMember;
use crate::coordinator::group::TopicMetadata;

impl StreamsGroup {
    /// Returns the endpoints of all members, that of `last` after the others.
    pub(super) fn endpoints(&self, last: &str, topics: &dyn TopicMetadata) -> Vec<EndpointToPartitions> {
        let others = self.members.values().filter(|member| &*member.id != last);
        let last = self.members.get(last);
        others.chain(last).filter_map(|member| self.endpoint(member, topics)).collect()
    }

    fn endpoint(&self, member: &StreamsMember, topics: &dyn TopicMetadata) -> Option<EndpointToPartitions> {
        let endpoint = member.wants.user_endpoint.as_ref()?;
        let active = member.assigned.active.iter().map(|(id, partitions)| (id, partitions.keys().copied().collect()));
        let standby = member.assigned.standby.iter().map(|(id, partitions)| (id, partitions.clone()));
        Some(EndpointToPartitions {
            user_endpoint: Endpoint { host: endpoint.host.clone(), port: endpoint.port, ..Endpoint::default() },
            active_partitions: self.partitions(active, topics),
            standby_partitions: self.partitions(standby, topics),
            ..EndpointToPartitions::default()
        })
    }

    fn partitions<'a>(
        &self,
        tasks: impl Iterator<Item = (&'a String, BTreeSet<i32>)>,
        topics: &dyn TopicMetadata,
    ) -> Vec<TopicPartition> {
        let subtopologies = self.own.configured.as_ref().and_then(|configured| configured.subtopologies.as_ref());
        let mut partitions = Vec::new();
        for (id, tasks) in tasks {
            let Some(subtopology) = subtopologies.and_then(|subtopologies| subtopologies.get(id)) else { continue };
            partitions.extend(topics_read(subtopology).filter_map(|name| of_topic(name, &tasks, topics)));
        }
        partitions
    }
}

fn topics_read(subtopology: &ConfiguredSubtopology) -> impl Iterator<Item = &String> {
    subtopology.source_topics.iter().chain(subtopology.repartition_source_topics.keys())
}

/// The partitions of a topic that belong to tasks: it may have fewer than there are tasks.
fn of_topic(name: &str, tasks: &BTreeSet<i32>, topics: &dyn TopicMetadata) -> Option<TopicPartition> {
    let (_, count) = topics.topic(name)?;
    let has_fewer = i32::try_from(tasks.len()).is_ok_and(|tasks| count < tasks);
    let partitions = tasks.iter().zip(0..).filter(|(_, at)| !has_fewer || *at < count).map(|(partition, _)| *partition);
    Some(TopicPartition { topic: name.to_owned(), partitions: partitions.collect(), ..TopicPartition::default() })
}
