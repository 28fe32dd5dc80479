//! The broker as its handlers see it: configuration, metadata, partitions, and the few things that
//! are shared between connections.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use parking_lot::Mutex;
use tracing::{error, warn};
use vltava_log::{LogConfig, LogError, Now};
use vltava_protocol::records::metadata::{
    BrokerRegistrationChangeRecord, MetadataRecord, PartitionChangeRecord, PartitionRecord,
};
use vltava_protocol::{ErrorCode, Uuid};

use crate::alter;
use crate::clock;
use crate::config::BrokerConfig;
use crate::config::resolve::{Settings, Sources};
use crate::controller::Controller;
use crate::coordinator;
use crate::coordinator::group::GroupCoordinator;
use crate::descriptors::Descriptors;
use crate::error::BrokerError;
use crate::fetch_session::FetchSessions;
use crate::metadata::image::{MetadataImage, NO_LEADER, ResourceType, TopicImage};
use crate::metadata::topic_name::CONSUMER_OFFSETS;
use crate::metadata::{Committed, MetadataStore};
use crate::partitions::{Partitions, Storage};
use crate::producer_ids::ProducerIds;
use crate::registration;
use crate::request::ApiError;

/// A running broker.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: BrokerConfig,
    pub(crate) metadata: MetadataStore,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) groups: Arc<GroupCoordinator>,
    pub(crate) fetch_sessions: Mutex<FetchSessions>,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) controller: Controller,
    pub(crate) descriptors: Arc<Descriptors>,
    /// Topics that are being created because somebody asked for them.
    pub(crate) creating: Mutex<BTreeSet<String>>,
    /// What clients are told, by listener name.
    endpoints: HashMap<String, (String, u16)>,
    broker_epoch: AtomicI64,
    is_loaded: AtomicBool,
}

impl Node {
    /// Loads everything in the directories. Waits for the disk; to be called within
    /// the runtime. Where it is refused, directories that were left cleanly stay so.
    pub(crate) fn open(
        config: BrokerConfig,
        storage: Storage,
        endpoints: HashMap<String, (String, u16)>,
    ) -> Result<Self, BrokerError> {
        let storage = Arc::new(storage);
        let opened = Self::load(config, Arc::clone(&storage), endpoints);
        if opened.is_err() {
            storage.abandon();
        }
        opened
    }

    fn load(
        config: BrokerConfig,
        storage: Arc<Storage>,
        endpoints: HashMap<String, (String, u16)>,
    ) -> Result<Self, BrokerError> {
        let now = clock::now();
        let (metadata, removed_topics) = MetadataStore::load(storage.open_metadata(now)?)?;
        storage.format_new(metadata.image().directories())?;
        let partitions = Arc::new(Partitions::new(storage));
        let slots = config.fetch_session_slots;
        let node = Self {
            metadata,
            groups: coordinator::group_coordinator(&config, &partitions),
            partitions,
            fetch_sessions: Mutex::new(FetchSessions::new(slots)),
            producer_ids: ProducerIds::default(),
            descriptors: Arc::new(Descriptors::of_process()),
            creating: Mutex::default(),
            controller: Controller::default(),
            endpoints,
            broker_epoch: AtomicI64::new(-1),
            is_loaded: AtomicBool::new(false),
            config,
        };
        let image = node.metadata.image();
        for group in image.configured(ResourceType::Group) {
            node.config.groups.own.set(group, image.config(ResourceType::Group, group).map(AsRef::as_ref));
        }
        drop(image);
        node.warn_of_stored_settings();
        let placement = node.partitions.storage().place(&node.metadata.image(), &removed_topics, now)?;
        registration::register(&node, &placement)?;
        node.open_partitions(now)?;
        node.unfence()?;
        node.start_groups();
        Ok(node)
    }

    /// Tells of settings in the metadata log that have no effect: another broker, or another version, may have written it.
    fn warn_of_stored_settings(&self) {
        let image = self.metadata.image();
        for name in ["", &self.config.node_id.to_string()] {
            let settings = image.config(ResourceType::Broker, name);
            for key in settings.into_iter().flat_map(|settings| settings.keys()) {
                if let Some(why) = alter::without_effect(key) {
                    warn!("the dynamic setting `{key}` of broker {name:?} has no effect: {why}");
                }
            }
        }
    }

    /// Milliseconds since the epoch: what goes into records.
    pub(crate) fn now_ms(&self) -> i64 {
        clock::wall_clock_ms()
    }

    pub(crate) fn cluster_id(&self) -> &str {
        self.partitions.storage().cluster_id()
    }

    /// The address that a client of a listener is told, if the listener is advertised.
    pub(crate) fn endpoint(&self, listener: &str) -> Option<(String, u16)> {
        self.endpoints.get(listener).cloned()
    }

    pub(crate) fn endpoints(&self) -> &HashMap<String, (String, u16)> {
        &self.endpoints
    }

    pub(crate) fn rack(&self) -> Option<String> {
        self.config.rack.clone()
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

    /// Does what follows from new records.
    pub(crate) fn act(&self, committed: &Committed) -> Result<(), ApiError> {
        let (before, after) = (&*committed.before, &*committed.after);
        let now = clock::now();
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
                    self.config.groups.own.set(&config.resource_name, settings.map(AsRef::as_ref));
                }
                _ => {}
            }
        }
        let mut outcome = Ok(());
        for id in changed.iter().filter(|_| self.is_loaded()) {
            let Some(topic) = after.topic_by_id(*id) else { continue };
            let settings = self.log_config(after, &topic.name);
            if let Err(error) = self.partitions.open(topic, self.config.node_id, &settings, now.wall_ms) {
                error!(%error, "a partition has no log");
                outcome = Err(ApiError::new(ErrorCode::KafkaStorageError, error.to_string()));
            }
        }
        let (was, is) = (before.topic(CONSUMER_OFFSETS), after.topic(CONSUMER_OFFSETS));
        if self.is_loaded() && was.map(|topic| topic.id) != is.map(|topic| topic.id) {
            self.follow_offsets_topic(is);
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

    /// Whether the partitions of the start are open; what is recorded before concerns those.
    fn is_loaded(&self) -> bool {
        self.is_loaded.load(Ordering::Acquire)
    }

    /// Takes partitions offline whose directory has failed, and has all see it. Gives the reason where the broker cannot
    /// go on without the directory.
    pub(crate) async fn directory_failed(&self, path: &Path) -> Option<BrokerError> {
        let storage = self.partitions.storage();
        if let Some(fatal) = storage.fatal_failure(path) {
            return Some(fatal);
        }
        let failed = storage.views().find(|dir| dir.path == path).and_then(|dir| dir.id)?;
        let (online, node_id, broker_epoch) = (storage.online(), self.config.node_id, self.broker_epoch());
        let recorded = self.update_metadata(move |image| {
            let mut records = Vec::new();
            if image.directories() != online {
                records.push(MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
                    broker_id: node_id,
                    broker_epoch,
                    log_dirs: online,
                    ..BrokerRegistrationChangeRecord::default()
                }));
            }
            for topic in image.topics() {
                let led = topic.partitions.iter().zip(0..).filter(|(partition, _)| {
                    partition.leader != NO_LEADER && partition.directory_of(node_id) == failed
                });
                records.extend(led.map(|(_, partition_id)| {
                    MetadataRecord::PartitionChange(PartitionChangeRecord {
                        partition_id,
                        topic_id: topic.id,
                        leader: NO_LEADER,
                        ..PartitionChangeRecord::default()
                    })
                }));
            }
            Ok((records, ()))
        });
        match recorded.await {
            Ok(()) => warn!(dir = %path.display(), "the partitions of a failed log directory are offline"),
            Err(error) => error!(?error, "a failed log directory cannot be recorded"),
        }
        None
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

    fn open_partitions(&self, now: Now) -> Result<(), BrokerError> {
        let image = self.metadata.image();
        self.descriptors.check(image.partition_count()).map_err(BrokerError::Descriptors)?;
        let config_of = |topic: &TopicImage| self.log_config(&image, &topic.name);
        self.partitions.storage().load(&image, config_of, now)?;
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

    /// Says that the broker is ready to serve.
    fn unfence(&self) -> Result<(), BrokerError> {
        let change = BrokerRegistrationChangeRecord {
            broker_id: self.config.node_id,
            broker_epoch: self.broker_epoch(),
            fenced: -1,
            ..BrokerRegistrationChangeRecord::default()
        };
        let written = self.update_metadata_now(|_| Ok((vec![MetadataRecord::BrokerRegistrationChange(change)], ())));
        written.map_err(registration::failed)
    }

    /// Closes every log. Nothing can be appended any more. The controller is to be stopped before.
    pub(crate) fn close(&self) {
        self.partitions.storage().close(self.broker_epoch());
    }
}
