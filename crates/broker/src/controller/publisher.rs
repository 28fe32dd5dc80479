//! What follows on this broker from a change to the metadata: logs are opened and deleted, settings come into force,
//! groups are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::error;
use vltava_log::{LogConfig, LogError, Now};
use vltava_protocol::records::metadata::{MetadataRecord, PartitionChangeRecord, PartitionRecord};
use vltava_protocol::{ErrorCode, Uuid};

use crate::clock;
use crate::config::resolve::Settings;
use crate::config::{BrokerConfig, dynamic};
use crate::coordinator;
use crate::coordinator::group::GroupCoordinator;
use crate::coordinator::transaction::TransactionShards;
use crate::error::BrokerError;
use crate::metadata::Committed;
use crate::metadata::image::{MetadataImage, ResourceType, TopicImage};
use crate::metadata::topic_name::{CONSUMER_OFFSETS, TRANSACTION_STATE};
use crate::partitions::Partitions;
use crate::quota::ClientQuotas;
use crate::request::ApiError;

/// Acts on changes to the metadata.
#[derive(Debug)]
pub(crate) struct Publisher {
    config: Arc<BrokerConfig>,
    partitions: Arc<Partitions>,
    quotas: Arc<ClientQuotas>,
    groups: Arc<GroupCoordinator>,
    transactions: Arc<TransactionShards>,
    /// Whether the partitions of the start are open; what is recorded before concerns those.
    is_loaded: AtomicBool,
}

impl Publisher {
    pub(crate) fn new(
        config: Arc<BrokerConfig>,
        partitions: Arc<Partitions>,
        quotas: Arc<ClientQuotas>,
        groups: Arc<GroupCoordinator>,
        transactions: Arc<TransactionShards>,
    ) -> Self {
        Self { config, partitions, quotas, groups, transactions, is_loaded: AtomicBool::new(false) }
    }

    /// Opens the partitions that there are at the start.
    pub(crate) fn open_partitions(&self, image: &MetadataImage, now: Now) -> Result<(), BrokerError> {
        let config_of = |topic: &TopicImage| self.log_config(image, &topic.name);
        self.partitions.storage().load(image, config_of, now)?;
        for topic in image.topics() {
            match self.partitions.open(topic, self.config.node_id, &config_of(topic), now.wall_ms) {
                Ok(()) => {}
                // The directory is offline: that is seen to when the broker runs.
                Err(e) if matches!(e.source, LogError::Storage { .. } | LogError::Offline { .. }) => {
                    error!(error = %e, "a partition is offline");
                }
                Err(e) => return Err(BrokerError::Log { partition: e.partition, source: e.source }),
            }
        }
        self.is_loaded.store(true, Ordering::Release);
        Ok(())
    }

    /// Does what follows from new records.
    pub(super) fn act(&self, committed: &Committed) -> Result<(), ApiError> {
        let (before, after) = (&*committed.before, &*committed.after);
        let now = clock::now();
        let is_loaded = self.is_loaded.load(Ordering::Acquire);
        let mut changed: Vec<Uuid> = Vec::new();
        let mut all_settings = false;
        let mut settings_of: Vec<&str> = Vec::new();
        for record in &committed.records {
            match record {
                MetadataRecord::Partition(PartitionRecord { topic_id, .. })
                | MetadataRecord::PartitionChange(PartitionChangeRecord { topic_id, .. })
                    if !changed.contains(topic_id) =>
                {
                    changed.push(*topic_id);
                }
                MetadataRecord::RemoveTopic(removed) => self.partitions.delete(removed.topic_id, now),
                MetadataRecord::Config(config) if config.resource_type == ResourceType::Broker as i8 => {
                    all_settings = true;
                }
                MetadataRecord::Config(config) if config.resource_type == ResourceType::Topic as i8 => {
                    settings_of.push(&config.resource_name);
                }
                MetadataRecord::Config(config) if config.resource_type == ResourceType::Group as i8 => {
                    let settings = after.config(ResourceType::Group, &config.resource_name);
                    self.config.groups.dynamic.set_own(&config.resource_name, settings.map(AsRef::as_ref));
                }
                MetadataRecord::FeatureLevel(_) => self.config.transactions.version.follow(after),
                _ => {}
            }
        }
        let mut outcome = Ok(());
        for id in changed.iter().filter(|_| is_loaded) {
            let Some(topic) = after.topic_by_id(*id) else { continue };
            let settings = self.log_config(after, &topic.name);
            if let Err(error) = self.partitions.open(topic, self.config.node_id, &settings, now.wall_ms) {
                error!(%error, "a partition has no log");
                outcome = Err(ApiError::new(ErrorCode::KafkaStorageError, error.to_string()));
            }
        }
        if !Arc::ptr_eq(before.quotas(), after.quotas()) {
            self.quotas.follow(after.quotas());
        }
        let (was, is) = (before.topic(CONSUMER_OFFSETS), after.topic(CONSUMER_OFFSETS));
        if is_loaded && was.map(|topic| topic.id) != is.map(|topic| topic.id) {
            coordinator::follow_offsets_topic(&self.groups, is);
        }
        let (was, is) = (before.topic(TRANSACTION_STATE), after.topic(TRANSACTION_STATE));
        if is_loaded && was.map(|topic| topic.id) != is.map(|topic| topic.id) {
            coordinator::follow_transaction_topic(&self.transactions, is);
        }
        if all_settings {
            dynamic::follow(&self.config, &after.sources(&self.config));
        }
        if all_settings || !settings_of.is_empty() {
            for partition in self.partitions.all() {
                if all_settings || settings_of.contains(&partition.topic()) {
                    partition.update_config(self.log_config(after, partition.topic()));
                }
            }
        }
        outcome
    }

    /// The settings of a topic as its logs take them.
    fn log_config(&self, image: &MetadataImage, topic: &str) -> LogConfig {
        let overrides: Option<&Settings> = image.config(ResourceType::Topic, topic).map(AsRef::as_ref);
        let settings = image.sources(&self.config).topic_settings(overrides);
        let pairs = settings.iter().map(|(key, value)| (*key, value.as_str()));
        LogConfig::from_properties(pairs).unwrap_or_else(|error| {
            // Settings are checked before they are recorded; those of another version may be stricter.
            error!(topic, %error, "the settings of a topic are not understood, Kafka's defaults hold");
            LogConfig::default()
        })
    }
}
