//! What is known of the cluster at one moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use vltava_protocol::messages::MetadataResponse;
use vltava_protocol::messages::metadata_response::MetadataResponseTopic;
use vltava_protocol::{ErrorCode, Uuid};

use crate::TopicPartition;

/// A broker's id and where it listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Node {
    /// The broker's id; negative for an entry of `bootstrap.servers`, whose id is not known.
    pub id: i32,
    /// Host name or address.
    pub host: Arc<str>,
    /// Port.
    pub port: u16,
    /// The rack that the broker says it is in.
    pub rack: Option<Arc<str>>,
}

impl Node {
    pub(crate) fn new(id: i32, host: &str, port: i32, rack: Option<&str>) -> Option<Self> {
        let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
        Some(Self { id, host: Arc::from(host), port, rack: rack.map(Arc::from) })
    }

    /// `host:port`, with brackets around an IPv6 address.
    #[must_use]
    pub fn address(&self) -> String {
        if self.host.contains(':') && !self.host.starts_with('[') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// One partition, as the brokers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionMetadata {
    /// The partition's number.
    pub partition: i32,
    /// Why there is no leader, if there is none.
    pub error: Option<ErrorCode>,
    /// The leader's broker id.
    pub leader: Option<i32>,
    /// The leader's epoch; -1 where the broker does not say.
    pub leader_epoch: i32,
    /// Broker ids of all replicas, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Broker ids of the replicas in sync.
    pub isr: Vec<i32>,
    /// Broker ids of replicas that are offline.
    pub offline: Vec<i32>,
}

/// One topic, as the brokers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicMetadata {
    /// The topic's name.
    pub name: Arc<str>,
    /// Its id; zero where the broker does not say.
    pub topic_id: Uuid,
    /// Why the topic cannot be used, if it cannot.
    pub error: Option<ErrorCode>,
    /// Whether it is one of Kafka's own topics.
    pub is_internal: bool,
    /// Its partitions; the index is the partition's number.
    pub partitions: Vec<PartitionMetadata>,
    /// Bits of [`AclOperation`](https://kafka.apache.org/) codes; `i32::MIN` if they were not asked for.
    pub authorized_operations: i32,
}

impl TopicMetadata {
    /// One of its partitions.
    #[must_use]
    pub fn partition(&self, partition: i32) -> Option<&PartitionMetadata> {
        self.partitions.get(usize::try_from(partition).ok()?)
    }

    pub(crate) fn from_response(topic: &MetadataResponseTopic) -> Option<Self> {
        let name = Arc::from(topic.name.as_deref()?);
        let mut partitions: Vec<PartitionMetadata> = topic
            .partitions
            .iter()
            .map(|one| PartitionMetadata {
                partition: one.partition_index,
                error: error(one.error_code),
                leader: (one.leader_id >= 0).then_some(one.leader_id),
                leader_epoch: one.leader_epoch,
                replicas: one.replica_nodes.clone(),
                isr: one.isr_nodes.clone(),
                offline: one.offline_replicas.clone(),
            })
            .collect();
        partitions.sort_by_key(|one| one.partition);
        // Partitions are numbered from 0 without gaps; what breaks that rule cannot be addressed.
        let dense = partitions.iter().zip(0..).take_while(|(one, index)| one.partition == *index).count();
        partitions.truncate(dense);
        Some(Self {
            name,
            topic_id: topic.topic_id,
            error: error(topic.error_code),
            is_internal: topic.is_internal,
            partitions,
            authorized_operations: topic.topic_authorized_operations,
        })
    }

    /// Keeps what `previous` knows better: a broker that lags behind may answer with older leader epochs.
    fn keep_newer(&mut self, previous: &Self) {
        if self.topic_id != previous.topic_id {
            return;
        }
        for (new, old) in self.partitions.iter_mut().zip(&previous.partitions) {
            if old.leader_epoch > new.leader_epoch && new.leader_epoch >= 0 {
                new.clone_from(old);
            }
        }
    }
}

fn error(code: i16) -> Option<ErrorCode> {
    match ErrorCode::from(code) {
        ErrorCode::None => None,
        code => Some(code),
    }
}

/// A partition's leader as an answer to produce or fetch told it (KIP-951).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderUpdate {
    /// The partition.
    pub partition: TopicPartition,
    /// The leader's broker id.
    pub leader: i32,
    /// Its epoch.
    pub leader_epoch: i32,
}

/// What is known of the cluster at one moment. Immutable: a refresh makes a new one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetadataSnapshot {
    /// The cluster's id.
    pub cluster_id: Option<Arc<str>>,
    /// The broker to which requests for the controller go.
    pub controller: Option<i32>,
    /// The brokers by id; empty until the first answer.
    pub brokers: BTreeMap<i32, Node>,
    topics: HashMap<Arc<str>, Arc<TopicMetadata>>,
    names: HashMap<Uuid, Arc<str>>,
}

impl MetadataSnapshot {
    /// A topic, if it was asked for; look at its [`error`](TopicMetadata::error) too.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicMetadata>> {
        self.topics.get(name)
    }

    /// All topics that were asked for, in no order.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicMetadata>> {
        self.topics.values()
    }

    /// The name of a topic by its id.
    #[must_use]
    pub fn topic_name(&self, id: Uuid) -> Option<&Arc<str>> {
        self.names.get(&id)
    }

    /// One partition.
    #[must_use]
    pub fn partition(&self, topic: &str, partition: i32) -> Option<&PartitionMetadata> {
        self.topics.get(topic)?.partition(partition)
    }

    /// The leader of a partition, if it has one that is among the brokers.
    #[must_use]
    pub fn leader(&self, topic: &str, partition: i32) -> Option<&Node> {
        self.brokers.get(&self.partition(topic, partition)?.leader?)
    }

    /// The snapshot that an answer makes of this one. Topics that were not asked for any more are forgotten.
    pub(crate) fn updated(&self, response: &MetadataResponse) -> Self {
        let brokers = response
            .brokers
            .iter()
            .filter_map(|one| Node::new(one.node_id, &one.host, one.port, one.rack.as_deref()))
            .map(|node| (node.id, node))
            .collect();
        let mut next = Self {
            cluster_id: response.cluster_id.as_deref().map(Arc::from),
            controller: (response.controller_id >= 0).then_some(response.controller_id),
            brokers,
            topics: HashMap::with_capacity(response.topics.len()),
            names: HashMap::with_capacity(response.topics.len()),
        };
        for topic in response.topics.iter().filter_map(TopicMetadata::from_response) {
            next.insert(topic, self);
        }
        next
    }

    fn insert(&mut self, mut topic: TopicMetadata, previous: &Self) {
        if let Some(old) = previous.topics.get(&topic.name) {
            topic.keep_newer(old);
        }
        if topic.topic_id != Uuid::default() && topic.error.is_none() {
            self.names.insert(topic.topic_id, Arc::clone(&topic.name));
        }
        self.topics.insert(Arc::clone(&topic.name), Arc::new(topic));
    }

    /// The snapshot with newer leaders that an answer to produce or fetch told (KIP-951), if any is newer.
    pub(crate) fn with_leaders(&self, leaders: &[LeaderUpdate], nodes: &[Node]) -> Option<Self> {
        let mut next = None;
        for LeaderUpdate { partition: tp, leader, leader_epoch } in leaders {
            let known = self.partition(tp.topic(), tp.partition());
            let newer = known.is_some_and(|known| known.leader_epoch < *leader_epoch);
            let reachable = self.brokers.contains_key(leader) || nodes.iter().any(|node| node.id == *leader);
            if !newer || !reachable {
                continue;
            }
            let next = next.get_or_insert_with(|| self.clone());
            if let Some(known) = next.topics.get_mut(tp.topic())
                && let Some(one) =
                    usize::try_from(tp.partition()).ok().and_then(|at| Arc::make_mut(known).partitions.get_mut(at))
            {
                one.leader = Some(*leader);
                one.leader_epoch = *leader_epoch;
                one.error = None;
            }
        }
        if let Some(next) = &mut next {
            next.brokers.extend(nodes.iter().map(|node| (node.id, node.clone())));
        }
        next
    }
}
