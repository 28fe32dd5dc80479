//! How a start of the broker shows in the metadata: features of a new cluster, the registration, who leads what.

use vltava_protocol::records::metadata::register_broker_record::{BrokerEndpoint, BrokerFeature};
use vltava_protocol::records::metadata::{ConfigRecord, FeatureLevelRecord, MetadataRecord, RegisterBrokerRecord};

use crate::error::BrokerError;
use crate::log_dirs::random_id;
use crate::metadata::features::SUPPORTED_FEATURES;
use crate::metadata::image::ResourceType;
use crate::node::Node;
use crate::partitions::Placement;
use crate::request::ApiError;
use crate::security::SecurityProtocol;

/// Registers this run of the broker, and what it found in its directories. The broker's epoch is the offset of its
/// registration.
pub(crate) fn register(node: &Node, placement: &Placement) -> Result<(), BrokerError> {
    let changes = placement.changes(&node.metadata.image(), node.config.node_id);
    let changes = changes.map_err(|error| BrokerError::Metadata { reason: error.to_string() })?;
    let next_offset = node.metadata.next_offset();
    let registered = node.update_metadata_now(|image| {
        let mut records = Vec::new();
        if image.features().is_empty() {
            records.extend(first_records(node));
        }
        let broker_epoch = next_offset + i64::try_from(records.len()).unwrap_or(0);
        node.set_broker_epoch(broker_epoch);
        records.push(registration(node, broker_epoch));
        records.extend(changes);
        Ok((records, ()))
    });
    registered.map_err(failed)
}

/// What a new cluster begins with. Kafka keeps the least number of replicas in sync with the whole
/// cluster once eligible leader replicas are on.
fn first_records(node: &Node) -> Vec<MetadataRecord> {
    let features = SUPPORTED_FEATURES.iter().filter(|feature| feature.initial_level > 0).map(|feature| {
        MetadataRecord::FeatureLevel(FeatureLevelRecord {
            name: feature.name.to_owned(),
            feature_level: feature.initial_level,
            ..FeatureLevelRecord::default()
        })
    });
    let min_insync = MetadataRecord::Config(ConfigRecord {
        resource_type: ResourceType::Broker as i8,
        resource_name: String::new(),
        name: "min.insync.replicas".to_owned(),
        value: node.config.text("min.insync.replicas").map(str::to_owned),
        ..ConfigRecord::default()
    });
    features.chain([min_insync]).collect()
}

fn registration(node: &Node, broker_epoch: i64) -> MetadataRecord {
    let mut end_points: Vec<BrokerEndpoint> = node
        .endpoints()
        .iter()
        .map(|(name, (host, port))| BrokerEndpoint {
            name: name.clone(),
            host: host.clone(),
            port: *port,
            security_protocol: SecurityProtocol::Plaintext as i16,
            ..BrokerEndpoint::default()
        })
        .collect();
    end_points.sort_by(|a, b| a.name.cmp(&b.name));
    let features = SUPPORTED_FEATURES.iter().map(|feature| BrokerFeature {
        name: feature.name.to_owned(),
        min_supported_version: feature.min_version,
        max_supported_version: feature.max_version,
        ..BrokerFeature::default()
    });
    MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker_id: node.config.node_id,
        incarnation_id: random_id(),
        broker_epoch,
        end_points,
        features: features.collect(),
        rack: node.rack(),
        fenced: true,
        log_dirs: node.partitions.storage().online(),
        ..RegisterBrokerRecord::default()
    })
}

pub(crate) fn failed(error: ApiError) -> BrokerError {
    BrokerError::Metadata { reason: error.text().unwrap_or_default() }
}
