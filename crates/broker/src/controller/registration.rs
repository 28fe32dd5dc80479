//! How this broker shows in the metadata: features of a new cluster, the registration, who leads what, and the log
//! directories that fail.

use std::path::Path;
use std::sync::atomic::Ordering;

use tracing::{error, info, warn};

use vltava_protocol::ErrorCode;
use vltava_protocol::records::metadata::register_broker_record::{BrokerEndpoint, BrokerFeature};
use vltava_protocol::records::metadata::{
    BrokerRegistrationChangeRecord, ConfigRecord, FeatureLevelRecord, MetadataRecord, PartitionChangeRecord,
    RegisterBrokerRecord,
};
use vltava_security::sasl;

use super::{Controller, scram};
use crate::advertised::Advertised;
use crate::config::BrokerConfig;
use crate::error::BrokerError;
use crate::log_dirs::random_id;
use crate::metadata::features::{Feature, SUPPORTED_FEATURES};
use crate::metadata::image::{MetadataImage, NO_LEADER, ResourceType};
use crate::partitions::Placement;
use crate::request::ApiError;

/// Registers this run of the broker, and what it found in its directories. The broker's epoch is the offset of its
/// registration.
pub(crate) fn register(
    controller: &Controller,
    advertised: &Advertised,
    placement: &Placement,
) -> Result<(), BrokerError> {
    let changes = placement.changes(&controller.metadata.image(), advertised.node_id);
    let changes = changes.map_err(|error| BrokerError::Metadata { reason: error.to_string() })?;
    let next_offset = controller.metadata.next_offset();
    let registered = controller.update_now(|image| {
        let mut records = Vec::new();
        if image.features().is_empty() {
            records.extend(first_records(&controller.config, controller.metadata.formatted())?);
        }
        let mut formatted = image.clone();
        for record in &records {
            let replayed = formatted.replay(record);
            replayed.map_err(|error| ApiError::new(ErrorCode::UnknownServerError, error.to_string()))?;
        }
        records.extend(added_users(&controller.config, &formatted)?);
        let broker_epoch = next_offset + i64::try_from(records.len()).unwrap_or(0);
        controller.broker_epoch.store(broker_epoch, Ordering::Relaxed);
        records.push(registration(controller, advertised));
        records.extend(changes);
        Ok((records, ()))
    });
    registered.map_err(failed)
}

/// Says that the broker is ready to serve.
pub(crate) fn unfence(controller: &Controller) -> Result<(), BrokerError> {
    let change = BrokerRegistrationChangeRecord { fenced: -1, ..change_of_registration(controller) };
    let written = controller.update_now(|_| Ok((vec![MetadataRecord::BrokerRegistrationChange(change)], ())));
    written.map_err(failed)
}

/// Takes partitions offline whose directory has failed, and has all see it. Gives the reason where the broker cannot
/// go on without the directory.
pub(crate) async fn directory_failed(controller: &Controller, path: &Path) -> Option<BrokerError> {
    let storage = controller.partitions.storage();
    if let Some(fatal) = storage.fatal_failure(path) {
        return Some(fatal);
    }
    let failed = storage.views().find(|dir| dir.path == path).and_then(|dir| dir.id)?;
    let (online, node_id) = (storage.online(), controller.config.node_id);
    let change = change_of_registration(controller);
    let recorded = controller.update(move |image| {
        let mut records = Vec::new();
        if image.directories() != online {
            let change = BrokerRegistrationChangeRecord { log_dirs: online, ..change };
            records.push(MetadataRecord::BrokerRegistrationChange(change));
        }
        for topic in image.topics() {
            let led =
                topic.partitions.iter().zip(0..).filter(|(partition, _)| {
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

fn change_of_registration(controller: &Controller) -> BrokerRegistrationChangeRecord {
    BrokerRegistrationChangeRecord {
        broker_id: controller.config.node_id,
        broker_epoch: controller.broker_epoch(),
        ..BrokerRegistrationChangeRecord::default()
    }
}

/// What a new cluster begins with: the levels that its directory was formatted with, or this broker's own. A feature that it
/// does not know stands for what it does not serve, and is off. Kafka keeps the least number of replicas in sync with the whole
/// cluster once eligible leader replicas are on.
fn first_records(config: &BrokerConfig, formatted: Option<&MetadataImage>) -> Result<Vec<MetadataRecord>, ApiError> {
    let mut records = Vec::new();
    for Feature { name, min_version, max_version, initial_level } in SUPPORTED_FEATURES {
        let level = match formatted {
            Some(formatted) => formatted.feature_level(name),
            None => *initial_level,
        };
        if level != 0 && !(*min_version..=*max_version).contains(&level) {
            let text = format!(
                "the directory is formatted for {name} {level}, and this broker supports {min_version} to {max_version}"
            );
            return Err(ApiError::new(ErrorCode::UnsupportedVersion, text));
        }
        let record =
            FeatureLevelRecord { name: (*name).to_owned(), feature_level: level, ..FeatureLevelRecord::default() };
        records.extend((level > 0).then_some(MetadataRecord::FeatureLevel(record)));
    }
    let min_insync = MetadataRecord::Config(ConfigRecord {
        resource_type: ResourceType::Broker as i8,
        resource_name: String::new(),
        name: "min.insync.replicas".to_owned(),
        value: config.text("min.insync.replicas").map(str::to_owned),
        ..ConfigRecord::default()
    });
    records.push(min_insync);
    let users = formatted.into_iter().flat_map(|formatted| formatted.scram().all());
    records.extend(users.map(|(hash, user, credential)| scram::record(user, hash, credential)));
    Ok(records)
}

/// The users that the broker is to have from its start on and that it has not: who has a password keeps it.
fn added_users(config: &BrokerConfig, image: &MetadataImage) -> Result<Vec<MetadataRecord>, ApiError> {
    let missing = config.added_users().iter().filter(|user| image.scram().get(user.hash, &user.name).is_none());
    missing
        .map(|user| {
            let salt = sasl::salt().map_err(|error| ApiError::new(ErrorCode::UnknownServerError, error.to_string()))?;
            info!(user = user.name, mechanism = user.hash.mechanism().name(), "a SCRAM credential is added");
            Ok(scram::record(&user.name, user.hash, &user.credential(salt)))
        })
        .collect()
}

fn registration(controller: &Controller, advertised: &Advertised) -> MetadataRecord {
    let mut end_points: Vec<BrokerEndpoint> = advertised
        .endpoints
        .iter()
        .map(|(name, (host, port))| BrokerEndpoint {
            name: name.clone(),
            host: host.clone(),
            port: *port,
            security_protocol: controller.config.security_protocol(name).id(),
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
        broker_id: advertised.node_id,
        incarnation_id: random_id(),
        broker_epoch: controller.broker_epoch(),
        end_points,
        features: features.collect(),
        rack: advertised.rack.clone(),
        fenced: true,
        log_dirs: controller.partitions.storage().online(),
        ..RegisterBrokerRecord::default()
    })
}

fn failed(error: ApiError) -> BrokerError {
    BrokerError::Metadata { reason: error.text().unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use vltava_security::sasl::scram::{AddScram, Hash};

    use super::*;

    fn image(records: impl IntoIterator<Item = MetadataRecord>) -> MetadataImage {
        let mut image = MetadataImage::default();
        records.into_iter().for_each(|record| image.replay(&record).unwrap());
        image
    }

    fn levels(formatted: Option<&[(&str, i16)]>) -> Result<Vec<(String, i16)>, ApiError> {
        let config = BrokerConfig::from_properties([("log.dirs", "unused")]).unwrap();
        let feature = |(name, level): &(&str, i16)| {
            let name = (*name).to_owned();
            let record = FeatureLevelRecord { name, feature_level: *level, ..FeatureLevelRecord::default() };
            MetadataRecord::FeatureLevel(record)
        };
        let formatted = formatted.map(|levels| image(levels.iter().map(feature)));
        let level = |record| match record {
            MetadataRecord::FeatureLevel(record) => Some((record.name, record.feature_level)),
            _ => None,
        };
        Ok(first_records(&config, formatted.as_ref())?.into_iter().filter_map(level).collect())
    }

    #[test]
    fn a_new_cluster_has_the_levels_that_its_directory_was_formatted_with() {
        let own = levels(None).unwrap();
        assert!(own.contains(&("transaction.version".to_owned(), 2)));
        let chosen = [("metadata.version", 30), ("transaction.version", 1), ("share.version", 1)];
        let expected = [("metadata.version".to_owned(), 30), ("transaction.version".to_owned(), 1)];
        assert_eq!(levels(Some(&chosen)).unwrap(), expected);
        let refused = levels(Some(&[("metadata.version", 31)])).unwrap_err().text().unwrap();
        assert_eq!(refused, "the directory is formatted for metadata.version 31, and this broker supports 7 to 30");
    }

    #[test]
    fn users_of_the_format_are_taken_and_those_of_the_start_are_added_where_they_are_not() {
        let add = |argument: &str| AddScram::parse(argument).unwrap();
        let of_format = add("SCRAM-SHA-256=[name=alice,password=of-the-format]").credential(vec![1; 24]);
        let formatted = image([scram::record("alice", Hash::Sha256, &of_format)]);
        let config = BrokerConfig::from_properties([("log.dirs", "unused")]).unwrap();
        let config = config.with_scram_user(add("SCRAM-SHA-256=[name=alice,password=of-the-start]"));
        let config = config.with_scram_user(add("SCRAM-SHA-512=[name=bob,password=bobs]"));
        let image = image(first_records(&config, Some(&formatted)).unwrap());
        assert_eq!(image.scram().get(Hash::Sha256, "alice"), Some(&of_format));
        let added = added_users(&config, &image).unwrap();
        let [MetadataRecord::UserScramCredential(bob)] = added.as_slice() else {
            unreachable!("one user is added: {}", added.len())
        };
        assert_eq!((bob.name.as_str(), bob.mechanism, bob.iterations), ("bob", 2, 4096));
    }
}
