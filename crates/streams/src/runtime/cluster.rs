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
    topology::{NodeKind, Topology},
};

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

type Hosts = BTreeMap<HostInfo, BTreeSet<TopicPartition>>;

fn counts<'a>(partitions: impl Iterator<Item = &'a TopicPartition>) -> BTreeMap<String, i32> {
    let mut counts = BTreeMap::new();
    for partition in partitions {
        let count = counts.entry(partition.topic().to_owned()).or_insert(0);
        *count = (*count).max(partition.partition() + 1);
    }
    counts
}

fn take_counts(mut bytes: &[u8]) -> Option<BTreeMap<String, i32>> {
    let mut counts = BTreeMap::new();
    for _ in 0..bytes.try_get_u32().ok()? {
        counts.insert(take_text(&mut bytes)?, bytes.try_get_i32().ok()?);
    }
    Some(counts)
}

impl Cluster {
    /// From the partitions of every host. The numbers of partitions are `more`, what one of ours has [told](Self::counts); a
    /// leader of the JVM leaves them to be seen from the partitions that hosts have.
    pub(super) fn told(hosts: Hosts, standby_hosts: Hosts, more: &[u8]) -> Self {
        let partitions = match take_counts(more) {
            Some(counts) if !counts.is_empty() => counts,
            _ => counts(hosts.values().chain(standby_hosts.values()).flatten()),
        };
        Cluster { hosts, standby_hosts, partitions }
    }

    /// The number of partitions of every topic.
    pub(super) fn counts<'a>(partitions: impl Iterator<Item = &'a TopicPartition>) -> Bytes {
        let counts = counts(partitions);
        let mut bytes = BytesMut::new();
        bytes.put_u32(counts.len() as u32);
        for (topic, count) in &counts {
            put_text(&mut bytes, topic);
            bytes.put_i32(*count);
        }
        bytes.freeze()
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
    use std::collections::BTreeMap;

    use vltava_client::TopicPartition;

    use super::{Cluster, sources_of_stores};
    use crate::{Materialized, StreamsBuilder, query::HostInfo};

    #[test]
    fn numbers_of_partitions_are_told_or_seen() {
        let all: Vec<_> = (0..3).map(|partition| TopicPartition::new("in", partition)).collect();
        let hosts = BTreeMap::from([(HostInfo::new("localhost", 8080), [all[1].clone()].into())]);
        // Who has the last one has not said where he is.
        let told = Cluster::counts(all.iter());
        let cluster = Cluster::told(hosts.clone(), BTreeMap::new(), &told);
        assert_eq!((&cluster.hosts, cluster.partitions["in"]), (&hosts, 3));
        assert_eq!(Cluster::told(hosts.clone(), BTreeMap::new(), &[]).partitions["in"], 2);
        assert!(
            (0..told.len())
                .all(|end| Cluster::told(hosts.clone(), BTreeMap::new(), &told[..end]).partitions["in"] == 2)
        );
        assert!("localhost".parse::<HostInfo>().is_err());
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
