//! The broker as its handlers see it: configuration, metadata, partitions, and the few things that
//! are shared between connections.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tracing::error;
use vltava_log::LogConfig;
use vltava_protocol::records::metadata::{BrokerRegistrationChangeRecord, MetadataRecord};
use vltava_protocol::{ErrorCode, Uuid};

use crate::config::BrokerConfig;
use crate::config::resolve::{Settings, Sources};
use crate::coordinator;
use crate::coordinator::group::GroupCoordinator;
use crate::descriptors::Descriptors;
use crate::error::BrokerError;
use crate::fetch_session::FetchSessions;
use crate::log_dirs::LogDirs;
use crate::metadata::MetadataStore;
use crate::metadata::image::{MetadataImage, ResourceType, TopicImage};
use crate::metadata::topic_name::CONSUMER_OFFSETS;
use crate::partitions::{Partitions, Storage};
use crate::producer_ids::ProducerIds;
use crate::registration;
use crate::request::ApiError;

/// A running broker.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: BrokerConfig,
    pub(crate) log_dirs: LogDirs,
    pub(crate) metadata: MetadataStore,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) groups: Arc<GroupCoordinator>,
    pub(crate) fetch_sessions: Mutex<FetchSessions>,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) descriptors: Arc<Descriptors>,
    /// Topics that are being created because somebody asked for them.
    pub(crate) creating: Mutex<BTreeSet<String>>,
    /// What clients are told, by listener name.
    endpoints: HashMap<String, (String, u16)>,
    broker_epoch: AtomicI64,
}

impl Node {
    /// Loads everything in the directories. Waits for the disk; to be called within
    /// the runtime.
    pub(crate) fn open(
        config: BrokerConfig,
        storage: Storage,
        log_dirs: LogDirs,
        endpoints: HashMap<String, (String, u16)>,
    ) -> Result<Self, BrokerError> {
        let now_ms = wall_clock_ms();
        storage.identify(&log_dirs);
        let metadata = MetadataStore::load(storage.open_metadata(now_ms)?)?;
        let partitions = Arc::new(Partitions::new(storage));
        let slots = usize::try_from(config.long("max.incremental.fetch.session.cache.slots")).unwrap_or(0);
        let node = Self {
            log_dirs,
            metadata,
            groups: coordinator::group_coordinator(&config, &partitions),
            partitions,
            fetch_sessions: Mutex::new(FetchSessions::new(slots)),
            producer_ids: ProducerIds::default(),
            descriptors: Arc::new(Descriptors::of_process()),
            creating: Mutex::default(),
            endpoints,
            broker_epoch: AtomicI64::new(-1),
            config,
        };
        registration::register(&node)?;
        node.open_partitions(now_ms)?;
        node.unfence()?;
        node.start_groups();
        Ok(node)
    }

    /// Milliseconds since the epoch: what goes into records.
    pub(crate) fn now_ms(&self) -> i64 {
        wall_clock_ms()
    }

    pub(crate) fn cluster_id(&self) -> &str {
        self.log_dirs.cluster_id()
    }

    /// The address that a client of a listener is told, if the listener is advertised.
    pub(crate) fn endpoint(&self, listener: &str) -> Option<(String, u16)> {
        self.endpoints.get(listener).cloned()
    }

    pub(crate) fn endpoints(&self) -> &HashMap<String, (String, u16)> {
        &self.endpoints
    }

    pub(crate) fn rack(&self) -> Option<String> {
        self.config.text("broker.rack").map(str::to_owned)
    }

    pub(crate) fn broker_epoch(&self) -> i64 {
        self.broker_epoch.load(Ordering::Relaxed)
    }

    pub(crate) fn set_broker_epoch(&self, epoch: i64) {
        self.broker_epoch.store(epoch, Ordering::Relaxed);
    }

    /// Where the broker's values come from.
    pub(crate) fn sources<'a>(&'a self, image: &'a MetadataImage) -> Sources<'a> {
        let own = image.config(ResourceType::Broker, &self.config.node_id.to_string());
        let default = image.config(ResourceType::Broker, "");
        Sources {
            dynamic_broker: own.map(AsRef::as_ref),
            dynamic_default: default.map(AsRef::as_ref),
            config: &self.config,
        }
    }

    /// Changes the metadata: `decide` sees the newest state and gives the records. When this
    /// returns, partitions are opened and closed and settings are in force.
    pub(crate) fn update_metadata<T>(
        &self,
        decide: impl FnOnce(&MetadataImage) -> Result<(Vec<MetadataRecord>, T), ApiError>,
    ) -> Result<T, ApiError> {
        self.metadata.update(self.now_ms(), decide, |before, after, records| self.act(before, after, records))
    }

    /// Does what follows from new records.
    fn act(&self, before: &MetadataImage, after: &MetadataImage, records: &[MetadataRecord]) -> Result<(), ApiError> {
        let now_ms = self.now_ms();
        let mut grown: Vec<Uuid> = Vec::new();
        let mut all_settings = false;
        let mut settings_of: Vec<&str> = Vec::new();
        for record in records {
            match record {
                MetadataRecord::Partition(partition) if !grown.contains(&partition.topic_id) => {
                    grown.push(partition.topic_id);
                }
                MetadataRecord::RemoveTopic(removed) => self.partitions.delete(removed.topic_id, now_ms),
                MetadataRecord::Config(config) if config.resource_type == ResourceType::Broker as i8 => {
                    all_settings = true;
                }
                MetadataRecord::Config(config) if config.resource_type == ResourceType::Topic as i8 => {
                    settings_of.push(&config.resource_name);
                }
                _ => {}
            }
        }
        let mut outcome = Ok(());
        let follows_offsets =
            before.topic(CONSUMER_OFFSETS).map(|topic| topic.id) != after.topic(CONSUMER_OFFSETS).map(|topic| topic.id);
        for id in grown {
            let Some(topic) = after.topic_by_id(id) else { continue };
            let opened = self.partitions.open(topic, &self.log_config(after, &topic.name), now_ms);
            if let Err(error) = opened {
                error!(%error, "a new partition has no log");
                outcome = Err(ApiError::new(ErrorCode::KafkaStorageError, error.to_string()));
            }
        }
        if follows_offsets {
            self.follow_offsets_topic(before.topic(CONSUMER_OFFSETS), after.topic(CONSUMER_OFFSETS));
        }
        for partition in self.partitions.all() {
            if all_settings || settings_of.contains(&partition.topic()) {
                partition.update_config(self.log_config(after, partition.topic()));
            }
        }
        outcome
    }

    /// The settings of a topic as its logs take them.
    fn log_config(&self, image: &MetadataImage, topic: &str) -> LogConfig {
        let overrides: Option<&Settings> = image.config(ResourceType::Topic, topic).map(AsRef::as_ref);
        let settings = self.sources(image).topic_settings(overrides);
        let pairs = settings.iter().map(|(key, value)| (*key, value.as_str()));
        LogConfig::from_properties(pairs).unwrap_or_else(|error| {
            // Settings are checked before they are recorded; those of another version may be stricter.
            error!(topic, %error, "the settings of a topic are not understood, Kafka's defaults hold");
            LogConfig::default()
        })
    }

    fn open_partitions(&self, now_ms: i64) -> Result<(), BrokerError> {
        let image = self.metadata.image();
        self.descriptors.check(image.partition_count()).map_err(BrokerError::Descriptors)?;
        let config_of = |topic: &TopicImage| self.log_config(&image, &topic.name);
        self.partitions.storage().load(&image, config_of, now_ms)?;
        for topic in image.topics() {
            let opened = self.partitions.open(topic, &config_of(topic), now_ms);
            opened.map_err(|e| BrokerError::Log { partition: e.partition, source: e.source })?;
        }
        Ok(())
    }

    /// Says that the broker is ready to serve.
    fn unfence(&self) -> Result<(), BrokerError> {
        let change = BrokerRegistrationChangeRecord {
            broker_id: self.config.node_id,
            broker_epoch: self.broker_epoch(),
            fenced: -1,
            ..BrokerRegistrationChangeRecord::default()
        };
        let written = self.update_metadata(|_| Ok((vec![MetadataRecord::BrokerRegistrationChange(change)], ())));
        written.map_err(registration::failed)
    }

    /// Closes every log. Nothing can be appended any more.
    pub(crate) fn close(&self) {
        self.partitions.storage().close(self.broker_epoch());
    }
}

pub(crate) fn wall_clock_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
