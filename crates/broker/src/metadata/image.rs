//! What the metadata log says, folded record by record. Readers hold a copy that does not change.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use vltava_protocol::Uuid;
use vltava_protocol::records::metadata::{
    ConfigRecord, FeatureLevelRecord, MetadataRecord, PartitionChangeRecord, PartitionRecord,
};

use super::quotas::QuotasImage;
use super::scram::ScramImage;
use crate::config::BrokerConfig;
use crate::config::resolve::{Settings, Sources};
use crate::log_dirs::{MIGRATING, UNASSIGNED};
use crate::security::acls::Acls;
use crate::security::bindings;

/// The kinds of resources that have configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ResourceType {
    Topic = 2,
    Broker = 4,
    BrokerLogger = 8,
    ClientMetrics = 16,
    Group = 32,
}

impl ResourceType {
    pub(crate) fn from_wire(id: i8) -> Option<Self> {
        [Self::Topic, Self::Broker, Self::BrokerLogger, Self::ClientMetrics, Self::Group]
            .into_iter()
            .find(|kind| *kind as i8 == id)
    }
}

/// The state of the cluster after the records up to some offset.
#[derive(Debug, Clone, Default)]
pub(crate) struct MetadataImage {
    topics: BTreeMap<Arc<str>, Arc<TopicImage>>,
    names: HashMap<Uuid, Arc<str>>,
    configs: BTreeMap<(ResourceType, String), Arc<Settings>>,
    features: BTreeMap<String, i16>,
    scram: Arc<ScramImage>,
    quotas: Arc<QuotasImage>,
    next_producer_id: i64,
    acls: Arc<Acls>,
    /// The log directories of the one broker that work, by its registration; empty where it has not told them.
    directories: Vec<Uuid>,
}

/// A topic and its partitions, which are numbered from 0 without gaps.
#[derive(Debug, Clone)]
pub(crate) struct TopicImage {
    pub(crate) name: Arc<str>,
    pub(crate) id: Uuid,
    pub(crate) partitions: Vec<PartitionImage>,
}

/// Who has a partition, and who leads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionImage {
    pub(crate) replicas: Vec<i32>,
    pub(crate) isr: Vec<i32>,
    pub(crate) leader: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) partition_epoch: i32,
    pub(crate) directories: Vec<Uuid>,
}

impl PartitionImage {
    /// The directory of a broker's replica.
    pub(crate) fn directory_of(&self, broker: i32) -> Uuid {
        let at = self.replicas.iter().position(|replica| *replica == broker);
        at.and_then(|at| self.directories.get(at)).copied().unwrap_or(MIGRATING)
    }
}

/// A record that does not fit the state it comes upon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ReplayError(String);

impl MetadataImage {
    pub(crate) fn topics(&self) -> impl ExactSizeIterator<Item = &Arc<TopicImage>> {
        self.topics.values()
    }

    /// How many partitions all topics have.
    pub(crate) fn partition_count(&self) -> usize {
        self.topics.values().map(|topic| topic.partitions.len()).sum()
    }

    /// The topics whose names are at or after `name`, in the order of their names.
    pub(crate) fn topics_from<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<TopicImage>> {
        self.topics.range::<str, _>((std::ops::Bound::Included(name), std::ops::Bound::Unbounded)).map(|(_, t)| t)
    }

    pub(crate) fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(name)
    }

    pub(crate) fn topic_by_id(&self, id: Uuid) -> Option<&Arc<TopicImage>> {
        self.names.get(&id).and_then(|name| self.topics.get(name))
    }

    /// The names of the resources of a kind that have settings of their own.
    pub(crate) fn configured(&self, kind: ResourceType) -> impl Iterator<Item = &str> {
        self.configs.keys().filter(move |(of, _)| *of == kind).map(|(_, name)| name.as_str())
    }

    pub(crate) fn config(&self, kind: ResourceType, name: &str) -> Option<&Arc<Settings>> {
        self.configs.get(&(kind, name.to_owned()))
    }

    /// Where the values of the broker with `config` come from.
    pub(crate) fn sources<'a>(&'a self, config: &'a BrokerConfig) -> Sources<'a> {
        Sources {
            dynamic_broker: self.config(ResourceType::Broker, &config.node_id.to_string()).map(AsRef::as_ref),
            dynamic_default: self.config(ResourceType::Broker, "").map(AsRef::as_ref),
            config,
        }
    }

    /// The features that are on.
    pub(crate) fn features(&self) -> &BTreeMap<String, i16> {
        &self.features
    }

    /// The level of a feature; 0 where it is off.
    pub(crate) fn feature_level(&self, name: &str) -> i16 {
        self.features.get(name).map_or(0, |level| *level)
    }

    /// The users of SCRAM.
    pub(crate) fn scram(&self) -> &ScramImage {
        &self.scram
    }

    /// The quotas of clients.
    pub(crate) fn quotas(&self) -> &Arc<QuotasImage> {
        &self.quotas
    }

    /// The log directories of the broker that work, as it last told; empty where it never did.
    pub(crate) fn directories(&self) -> &[Uuid] {
        &self.directories
    }

    /// Whether a replica's directory works, as far as the metadata tells.
    pub(crate) fn is_online(&self, directory: Uuid) -> bool {
        let is_unassigned = directory == UNASSIGNED || directory == MIGRATING;
        is_unassigned || self.directories.is_empty() || self.directories.contains(&directory)
    }

    /// The replicas of a partition that are offline, as far as this broker, the only one, is among them.
    pub(crate) fn offline_replicas(&self, partition: &PartitionImage, broker: i32) -> Vec<i32> {
        let is_offline = partition.replicas.contains(&broker) && !self.is_online(partition.directory_of(broker));
        if is_offline { vec![broker] } else { Vec::new() }
    }

    /// The access control lists.
    pub(crate) fn acls(&self) -> &Arc<Acls> {
        &self.acls
    }

    /// The first producer id that was not given to any broker.
    pub(crate) fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// Folds one record in.
    pub(crate) fn replay(&mut self, record: &MetadataRecord) -> Result<(), ReplayError> {
        match record {
            MetadataRecord::Topic(topic) => self.add_topic(&topic.name, topic.topic_id),
            MetadataRecord::Partition(partition) => self.add_partition(partition),
            MetadataRecord::PartitionChange(change) => self.change_partition(change),
            MetadataRecord::RemoveTopic(removed) => self.remove_topic(removed.topic_id),
            MetadataRecord::Config(config) => self.set_config(config),
            MetadataRecord::FeatureLevel(feature) => self.set_feature(feature),
            MetadataRecord::UserScramCredential(user) => Arc::make_mut(&mut self.scram).set(user).map_err(ReplayError),
            MetadataRecord::RemoveUserScramCredential(user) => {
                Arc::make_mut(&mut self.scram).remove(user).map_err(ReplayError)
            }
            MetadataRecord::ClientQuota(quota) => {
                Arc::make_mut(&mut self.quotas).replay(quota);
                Ok(())
            }
            MetadataRecord::ProducerIds(ids) => {
                self.next_producer_id = ids.next_producer_id;
                Ok(())
            }
            MetadataRecord::RegisterBroker(broker) => {
                self.directories.clone_from(&broker.log_dirs);
                Ok(())
            }
            MetadataRecord::BrokerRegistrationChange(change) => {
                if !change.log_dirs.is_empty() {
                    self.directories.clone_from(&change.log_dirs);
                }
                Ok(())
            }
            MetadataRecord::AccessControlEntry(entry) => {
                Arc::make_mut(&mut self.acls).add(entry.id, bindings::from_record(entry));
                Ok(())
            }
            MetadataRecord::RemoveAccessControlEntry(removed) => match Arc::make_mut(&mut self.acls).remove(removed.id)
            {
                true => Ok(()),
                false => Err(ReplayError(format!("access control entry {} is not known", removed.id))),
            },
            // Brokers: there is this one. Others: kept in the log, of no use here yet.
            _ => Ok(()),
        }
    }

    fn add_topic(&mut self, name: &str, id: Uuid) -> Result<(), ReplayError> {
        if self.topics.contains_key(name) {
            return Err(ReplayError(format!("topic `{name}` is created twice")));
        }
        let name: Arc<str> = name.into();
        let topic = TopicImage { name: Arc::clone(&name), id, partitions: Vec::new() };
        self.names.insert(id, Arc::clone(&name));
        self.topics.insert(name, Arc::new(topic));
        Ok(())
    }

    fn topic_mut(&mut self, id: Uuid) -> Result<&mut TopicImage, ReplayError> {
        let name = self.names.get(&id);
        let topic = name.and_then(|name| self.topics.get_mut(name));
        topic.map(Arc::make_mut).ok_or_else(|| ReplayError(format!("topic id {id} is not known")))
    }

    fn add_partition(&mut self, record: &PartitionRecord) -> Result<(), ReplayError> {
        let topic = self.topic_mut(record.topic_id)?;
        let partition = PartitionImage {
            replicas: record.replicas.clone(),
            isr: record.isr.clone(),
            leader: record.leader,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
            directories: record.directories.clone(),
        };
        let at = usize::try_from(record.partition_id).unwrap_or(usize::MAX);
        let count = topic.partitions.len();
        match topic.partitions.get_mut(at) {
            Some(known) => *known = partition,
            None if at == count => topic.partitions.push(partition),
            None => {
                let name = &topic.name;
                return Err(ReplayError(format!("partition {} of `{name}` leaves a gap", record.partition_id)));
            }
        }
        Ok(())
    }

    fn change_partition(&mut self, record: &PartitionChangeRecord) -> Result<(), ReplayError> {
        let topic = self.topic_mut(record.topic_id)?;
        let at = usize::try_from(record.partition_id).unwrap_or(usize::MAX);
        let Some(partition) = topic.partitions.get_mut(at) else {
            let name = &topic.name;
            return Err(ReplayError(format!("partition {} of `{name}` is not known", record.partition_id)));
        };
        if let Some(isr) = &record.isr {
            partition.isr.clone_from(isr);
        }
        if let Some(replicas) = &record.replicas {
            partition.replicas.clone_from(replicas);
        }
        if let Some(directories) = &record.directories {
            partition.directories.clone_from(directories);
        }
        if record.leader != LEADER_UNCHANGED {
            partition.leader = record.leader;
            partition.leader_epoch += 1;
        }
        partition.partition_epoch += 1;
        Ok(())
    }

    fn remove_topic(&mut self, id: Uuid) -> Result<(), ReplayError> {
        let name = self.names.remove(&id).ok_or_else(|| ReplayError(format!("topic id {id} is not known")))?;
        self.topics.remove(&name);
        self.configs.remove(&(ResourceType::Topic, name.to_string()));
        Ok(())
    }

    fn set_config(&mut self, record: &ConfigRecord) -> Result<(), ReplayError> {
        let kind = ResourceType::from_wire(record.resource_type)
            .ok_or_else(|| ReplayError(format!("resource type {} is not known", record.resource_type)))?;
        let key = (kind, record.resource_name.clone());
        let settings = Arc::make_mut(self.configs.entry(key.clone()).or_default());
        match &record.value {
            Some(value) => {
                settings.insert(record.name.clone(), value.clone());
            }
            None => {
                settings.remove(&record.name);
            }
        }
        if settings.is_empty() {
            self.configs.remove(&key);
        }
        Ok(())
    }

    fn set_feature(&mut self, record: &FeatureLevelRecord) -> Result<(), ReplayError> {
        if record.feature_level == 0 {
            self.features.remove(&record.name);
        } else {
            self.features.insert(record.name.clone(), record.feature_level);
        }
        Ok(())
    }
}

/// The leader of a partition that has none.
pub(crate) const NO_LEADER: i32 = -1;

/// The leader in a change record that leaves the leader as it is.
const LEADER_UNCHANGED: i32 = -2;

#[cfg(test)]
mod tests;
