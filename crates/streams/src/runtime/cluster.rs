//! Which instance has which partitions, as the leader of the group tells all members with their assignments.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use vltava_client::TopicPartition;
use vltava_protocol::record::partition_for_key;

use super::kafka_streams::KafkaStreams;
use crate::{
    error::{Error, Result, SerdeOrigin},
    query::{HostInfo, KeyQueryMetadata, StreamsMetadata},
    serdes::Serde,
    task::TaskId,
    topology::{NodeKind, Topology},
};

/// The form of the bytes below.
const VERSION: u8 = 3;

/// The form of what tells why nothing is assigned.
const REFUSAL: u8 = 2;

/// Why the leader of the group assigns nothing: told to all members, each of which ends with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Kafka's `INCOMPLETE_SOURCE_TOPIC_METADATA`.
    MissingSourceTopics(Vec<String>),
    /// Topics do not fit together any more: partitions were added.
    Topics(String),
}

impl Refusal {
    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u8(REFUSAL);
        let (kind, texts) = match self {
            Refusal::MissingSourceTopics(topics) => (0, topics.as_slice()),
            Refusal::Topics(why) => (1, std::slice::from_ref(why)),
        };
        bytes.put_u8(kind);
        bytes.put_u32(texts.len() as u32);
        texts.iter().for_each(|text| put_text(&mut bytes, text));
        bytes.freeze()
    }

    /// `None` for what is not of this form.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        if bytes.try_get_u8().ok()? != REFUSAL {
            return None;
        }
        let kind = bytes.try_get_u8().ok()?;
        let mut texts = Vec::new();
        for _ in 0..bytes.try_get_u32().ok()? {
            texts.push(take_text(&mut bytes)?);
        }
        match kind {
            0 => Some(Refusal::MissingSourceTopics(texts)),
            1 => texts.pop().map(Refusal::Topics),
            _ => None,
        }
    }

    /// The error with which a thread ends.
    pub(super) fn into_error(self) -> Box<Error> {
        match self {
            Refusal::MissingSourceTopics(topics) => Box::new(Error::MissingSourceTopic { topics }),
            Refusal::Topics(why) => Error::streams(why),
        }
    }
}

/// The partitions of the instances that have told where they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cluster {
    pub(super) hosts: Hosts,
    /// The partitions of the tasks of which they have standbys.
    pub(super) standby_hosts: Hosts,
    /// The number of partitions of every source topic.
    pub(super) partitions: BTreeMap<String, i32>,
}

pub(super) type SharedCluster = Arc<Mutex<Cluster>>;

pub(super) fn put_text(bytes: &mut BytesMut, text: &str) {
    bytes.put_u32(text.len() as u32);
    bytes.put_slice(text.as_bytes());
}

pub(super) fn take_text(bytes: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(bytes.try_get_u32().ok()?).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}

pub(super) fn put_tasks(bytes: &mut BytesMut, tasks: &BTreeSet<TaskId>) {
    bytes.put_u32(tasks.len() as u32);
    for task in tasks {
        bytes.put_u32(task.subtopology);
        bytes.put_i32(task.partition);
    }
}

pub(super) fn take_tasks(bytes: &mut &[u8]) -> Option<BTreeSet<TaskId>> {
    let mut tasks = BTreeSet::new();
    for _ in 0..bytes.try_get_u32().ok()? {
        tasks.insert(TaskId { subtopology: bytes.try_get_u32().ok()?, partition: bytes.try_get_i32().ok()? });
    }
    Some(tasks)
}

type Hosts = BTreeMap<HostInfo, BTreeSet<TopicPartition>>;

fn put_hosts(bytes: &mut BytesMut, hosts: &Hosts) {
    bytes.put_u32(hosts.len() as u32);
    for (host, partitions) in hosts {
        put_text(bytes, &host.to_string());
        bytes.put_u32(partitions.len() as u32);
        for partition in partitions {
            put_text(bytes, partition.topic());
            bytes.put_i32(partition.partition());
        }
    }
}

fn take_hosts(bytes: &mut &[u8]) -> Option<Hosts> {
    let mut hosts = Hosts::new();
    for _ in 0..bytes.try_get_u32().ok()? {
        let host = take_text(bytes)?.parse().ok()?;
        let mut partitions = BTreeSet::new();
        for _ in 0..bytes.try_get_u32().ok()? {
            let topic = take_text(bytes)?;
            partitions.insert(TopicPartition::new(topic, bytes.try_get_i32().ok()?));
        }
        hosts.insert(host, partitions);
    }
    Some(hosts)
}

impl Cluster {
    /// With the standbys of the member that is told.
    pub(super) fn encode(&self, standbys: &BTreeSet<TaskId>) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u8(VERSION);
        put_tasks(&mut bytes, standbys);
        bytes.put_u32(self.partitions.len() as u32);
        for (topic, partitions) in &self.partitions {
            put_text(&mut bytes, topic);
            bytes.put_i32(*partitions);
        }
        put_hosts(&mut bytes, &self.hosts);
        put_hosts(&mut bytes, &self.standby_hosts);
        bytes.freeze()
    }

    /// With the standbys of the member that is told. `None` for what is not of this form.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<(Self, BTreeSet<TaskId>)> {
        let mut cluster = Self::default();
        if bytes.try_get_u8().ok()? != VERSION {
            return None;
        }
        let standbys = take_tasks(&mut bytes)?;
        for _ in 0..bytes.try_get_u32().ok()? {
            let topic = take_text(&mut bytes)?;
            cluster.partitions.insert(topic, bytes.try_get_i32().ok()?);
        }
        cluster.hosts = take_hosts(&mut bytes)?;
        cluster.standby_hosts = take_hosts(&mut bytes)?;
        Some((cluster, standbys))
    }

    fn metadata(&self, sources: &BTreeMap<String, BTreeSet<String>>) -> Vec<StreamsMetadata> {
        let stores = |partitions: &BTreeSet<TopicPartition>| -> BTreeSet<String> {
            let has = |topics: &BTreeSet<String>| partitions.iter().any(|p| topics.contains(p.topic()));
            sources.iter().filter(|(_, topics)| has(topics)).map(|(store, _)| store.clone()).collect()
        };
        // Who has nothing active may have standbys.
        let hosts: BTreeSet<&HostInfo> = self.hosts.keys().chain(self.standby_hosts.keys()).collect();
        let of_host = |host: &HostInfo| {
            let partitions = |hosts: &Hosts| hosts.get(host).cloned().unwrap_or_default();
            let (topic_partitions, standby_topic_partitions) =
                (partitions(&self.hosts), partitions(&self.standby_hosts));
            StreamsMetadata {
                host_info: host.clone(),
                state_store_names: stores(&topic_partitions),
                topic_partitions,
                standby_state_store_names: stores(&standby_topic_partitions),
                standby_topic_partitions,
            }
        };
        hosts.into_iter().map(of_host).collect()
    }
}

/// The source topics that lead to every store, by the store's name. Patterns take of the topics that are `known`.
fn sources_of_stores<'a>(
    topology: &Topology,
    application: &str,
    known: impl Iterator<Item = &'a String>,
) -> BTreeMap<String, BTreeSet<String>> {
    // Topics that two patterns match are assigned to nobody.
    let matched = topology.matched(known.cloned(), application).unwrap_or_default();
    let mut sources: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for id in 0..topology.nodes.len() {
        let Some(NodeKind::Processor { stores }) = topology.node(id).map(|node| &node.kind) else { continue };
        let stores: Vec<_> = stores.iter().filter_map(|store| topology.stores.get(store)).collect();
        if stores.is_empty() {
            continue;
        }
        let (mut topics, mut seen, mut left) = (BTreeSet::new(), BTreeSet::new(), vec![id]);
        while let Some((id, node)) =
            left.pop().filter(|id| seen.insert(*id)).and_then(|id| Some((id, topology.node(id)?)))
        {
            topics.extend(
                topology.topics_of_source(id, &matched).iter().map(|topic| topology.decorate(topic, application)),
            );
            left.extend(node.predecessors.iter().filter_map(|name| topology.node_id(name)));
        }
        for store in stores {
            sources.entry(store.name.clone()).or_default().extend(topics.iter().cloned());
        }
    }
    sources
}

impl KafkaStreams {
    fn store_sources(&self) -> BTreeMap<String, BTreeSet<String>> {
        let cluster = self.shared.cluster.lock();
        let known = cluster.partitions.keys();
        sources_of_stores(&self.shared.topology, self.shared.config.application_id(), known)
    }

    /// What every instance has that is configured with `application.server`, as of the last rebalance.
    ///
    /// # Errors
    /// [`Error::StreamsNotStarted`], [`Error::StreamsStopped`].
    pub fn metadata_for_all_streams_clients(&self) -> Result<Vec<StreamsMetadata>> {
        self.shared.must_run()?;
        let sources = self.store_sources();
        Ok(self.shared.cluster.lock().metadata(&sources))
    }

    /// [`metadata_for_all_streams_clients`](Self::metadata_for_all_streams_clients) of the instances that have
    /// partitions of a store, or standbys of them.
    ///
    /// # Errors
    /// As there.
    pub fn streams_metadata_for_store(&self, store: &str) -> Result<Vec<StreamsMetadata>> {
        let mut metadata = self.metadata_for_all_streams_clients()?;
        // Every instance has all of a global store.
        let is_global = self.shared.global_store(store).is_some();
        let has = |instance: &StreamsMetadata| {
            instance.state_store_names.contains(store) || instance.standby_state_store_names.contains(store)
        };
        metadata.retain(|instance| is_global || has(instance));
        Ok(metadata)
    }

    /// Which instance has a key of a store. `None` until the first rebalance, and where no instance is configured with
    /// `application.server`. Of a window or session store the key is meant without its window. Of
    /// a global store it is this instance, and partition -1.
    ///
    /// # Errors
    /// [`Error::StreamsNotStarted`], [`Error::StreamsStopped`], [`Error::UnknownStateStore`], and those of the serde.
    pub fn query_metadata_for_key<K>(
        &self,
        store: &str,
        key: &K,
        key_serde: &impl Serde<K>,
    ) -> Result<Option<KeyQueryMetadata>> {
        self.shared.must_run()?;
        self.shared.known_store(store)?;
        if self.shared.global_store(store).is_some() {
            return Ok(Some(KeyQueryMetadata {
                active_host: self.shared.host.clone(),
                standby_hosts: BTreeSet::new(),
                partition: -1,
            }));
        }
        let sources = self.store_sources().remove(store).unwrap_or_default();
        let cluster = self.shared.cluster.lock();
        let known = sources.iter().filter_map(|topic| Some((cluster.partitions.get(topic)?, topic)));
        let Some((count, topic)) = known.max() else { return Ok(None) };
        let mut bytes = Vec::new();
        key_serde.serialize(topic, key, &mut bytes).map_err(|source| Error::Serialization {
            node: store.to_owned(),
            topic: topic.clone(),
            origin: SerdeOrigin::Key,
            source,
        })?;
        let partition = partition_for_key(&bytes, *count);
        let has = |partitions: &BTreeSet<TopicPartition>| {
            partitions.iter().any(|known| known.partition() == partition && sources.contains(known.topic()))
        };
        let hosts_of = |hosts: &Hosts| -> Vec<HostInfo> {
            hosts.iter().filter(|(_, partitions)| has(partitions)).map(|(host, _)| host.clone()).collect()
        };
        let active_host = hosts_of(&cluster.hosts).into_iter().next();
        let standby_hosts = hosts_of(&cluster.standby_hosts).into_iter().collect();
        Ok(Some(KeyQueryMetadata { active_host, standby_hosts, partition }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use vltava_client::TopicPartition;

    use super::{Cluster, Refusal, sources_of_stores};
    use crate::{Materialized, StreamsBuilder, query::HostInfo, task::TaskId};

    #[test]
    fn what_a_leader_tells_is_read_as_it_was_meant() {
        let mut cluster = Cluster::default();
        cluster.partitions.insert("in".to_owned(), 3);
        let partitions = (0..3).map(|partition| TopicPartition::new("in", partition)).collect();
        cluster.hosts.insert(HostInfo::new("localhost", 8080), partitions);
        cluster.standby_hosts.insert(HostInfo::new("localhost", 8081), [TopicPartition::new("in", 1)].into());
        let standbys = BTreeSet::from([TaskId { subtopology: 0, partition: 1 }]);
        let bytes = cluster.encode(&standbys);
        assert_eq!(Cluster::decode(&bytes), Some((cluster, standbys)));
        assert!((0..bytes.len()).all(|end| Cluster::decode(&bytes[..end]).is_none()));
        assert!("localhost".parse::<HostInfo>().is_err());
    }

    #[test]
    fn why_nothing_is_assigned_is_read_as_it_was_meant() {
        let topics = vec!["a".to_owned(), "b".to_owned()];
        for refusal in [Refusal::MissingSourceTopics(topics), Refusal::Topics("too many partitions".to_owned())] {
            let bytes = refusal.encode();
            assert!((0..bytes.len()).all(|end| Refusal::decode(&bytes[..end]).is_none()));
            assert_eq!(Cluster::decode(&bytes), None);
            assert_eq!(Refusal::decode(&bytes), Some(refusal));
        }
        assert_eq!(Refusal::decode(&Cluster::default().encode(&BTreeSet::new())), None);
    }

    #[test]
    fn a_store_is_where_the_topics_above_it_are() {
        let builder = StreamsBuilder::new();
        let counts = builder.stream::<String, String>("in").group_by(|_, word| word.clone());
        counts.count_with(Materialized::named("counts"));
        builder.stream::<String, String>("other").group_by_key().count_with(Materialized::named("others"));
        let sources = sources_of_stores(&builder.build().unwrap(), "app", [].iter());
        let topics: Vec<_> = sources["counts"].iter().collect();
        assert_eq!(topics, ["app-counts-repartition"]);
        assert!(sources["others"].contains("other"));
    }
}
