//! The start of a broker: what is in its directories becomes what its handlers work with.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::warn;

use crate::advertised::Advertised;
use crate::clock;
use crate::config::{BrokerConfig, dynamic};
use crate::controller::auto_creation::AutoTopicCreation;
use crate::controller::producer_ids::ProducerIds;
use crate::controller::publisher::Publisher;
use crate::controller::{Controller, alter, registration};
use crate::coordinator;
use crate::coordinator::transaction::{TransactionCoordinator, TransactionMarkers};
use crate::descriptors::Descriptors;
use crate::error::BrokerError;
use crate::fetch_session::FetchSessions;
use crate::health::BrokerState;
use crate::metadata::MetadataStore;
use crate::metadata::image::{MetadataImage, ResourceType};
use crate::metadata::topic_name::{CONSUMER_OFFSETS, TRANSACTION_STATE};
use crate::monitoring::Monitoring;
use crate::partitions::{Partitions, Storage};
use crate::quota::ClientQuotas;
use crate::services::Services;

/// Loads everything in the directories. Waits for the disk; to be called within the runtime. `endpoints` is what clients
/// are told, by listener name. Where it is refused, directories that were left cleanly stay so.
pub(crate) fn open(
    config: BrokerConfig,
    storage: Storage,
    endpoints: HashMap<String, (String, u16)>,
    monitoring: &Monitoring,
) -> Result<Services, BrokerError> {
    let storage = Arc::new(storage);
    let opened = load(Arc::new(config), Arc::clone(&storage), endpoints, monitoring);
    if opened.is_err() {
        storage.abandon();
    }
    opened
}

fn load(
    config: Arc<BrokerConfig>,
    storage: Arc<Storage>,
    endpoints: HashMap<String, (String, u16)>,
    monitoring: &Monitoring,
) -> Result<Services, BrokerError> {
    let now = clock::now();
    #[cfg(feature = "oauth")]
    let tokens = crate::security::tokens::Tokens::new(&config)?;
    let (metadata, removed_topics) = MetadataStore::load(storage.open_metadata(now)?)?;
    let metadata = Arc::new(metadata);
    let image = metadata.image();
    storage.format_new(image.directories())?;
    let advertised = Arc::new(Advertised {
        cluster_id: storage.cluster_id().to_owned(),
        node_id: config.node_id,
        rack: config.rack.clone(),
        endpoints,
    });
    let partitions = Arc::new(Partitions::new(Arc::clone(&storage), Arc::clone(&monitoring.metrics.topics)));
    let descriptors = Arc::new(Descriptors::of_process());
    let groups = coordinator::group_coordinator(&config, &partitions);
    let (transaction_shards, wanted) = coordinator::transaction_shards(&config, &partitions);
    for group in image.configured(ResourceType::Group) {
        config.groups.dynamic.set_own(group, image.config(ResourceType::Group, group).map(AsRef::as_ref));
    }
    dynamic::follow(&config, &image.sources(&config));
    warn_of_stored_settings(&config, &image);
    let shards = Arc::clone(&transaction_shards);
    let quotas = Arc::new(ClientQuotas::new(config.quota_windows, config.controller_quota_windows));
    quotas.follow(image.quotas());
    let publisher =
        Publisher::new(Arc::clone(&config), Arc::clone(&partitions), Arc::clone(&quotas), Arc::clone(&groups), shards);
    let controller = Arc::new(Controller::new(
        Arc::clone(&config),
        Arc::clone(&metadata),
        Arc::clone(&partitions),
        Arc::clone(&descriptors),
        publisher,
    ));
    let placement = storage.place(&image, &removed_topics, now)?;
    registration::register(&controller, &advertised, &placement)?;
    let image = metadata.image();
    descriptors.check(image.partition_count()).map_err(BrokerError::Descriptors)?;
    monitoring.health.enter(BrokerState::Recovery);
    controller.publisher().open_partitions(&image, now)?;
    registration::unfence(&controller)?;
    let producer_ids = Arc::new(ProducerIds::new(Arc::clone(&controller)));
    let markers = TransactionMarkers::new(&partitions, &groups, &metadata);
    let transactions = TransactionCoordinator::start(
        Arc::clone(&transaction_shards),
        wanted,
        config.transactions.clone(),
        producer_ids,
        markers,
    );
    config.transactions.version.follow(&image);
    coordinator::follow_offsets_topic(&groups, image.topic(CONSUMER_OFFSETS));
    coordinator::follow_transaction_topic(&transaction_shards, image.topic(TRANSACTION_STATE));
    Ok(Services {
        topic_creation: Arc::new(AutoTopicCreation::new(Arc::clone(&controller))),
        fetch_sessions: Mutex::new(FetchSessions::new(config.fetch_session_slots)),
        config,
        metrics: Arc::clone(&monitoring.metrics),
        runtime: tokio::runtime::Handle::current(),
        advertised,
        metadata,
        controller,
        partitions,
        descriptors,
        quotas,
        groups,
        transaction_shards,
        transactions: Arc::new(transactions),
        #[cfg(feature = "oauth")]
        tokens,
    })
}

/// Tells of settings in the metadata log that have no effect: another broker, or another version, may have written it.
fn warn_of_stored_settings(config: &BrokerConfig, image: &MetadataImage) {
    for name in ["", &config.node_id.to_string()] {
        let settings = image.config(ResourceType::Broker, name);
        for key in settings.into_iter().flat_map(|settings| settings.keys()) {
            if let Some(why) = alter::without_effect(key) {
                warn!("the dynamic setting `{key}` of broker {name:?} has no effect: {why}");
            }
        }
    }
}
