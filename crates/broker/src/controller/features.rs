//! Changes of the levels of features, decided as Kafka's controller does.

use std::sync::Arc;

use tracing::info;
use vltava_protocol::records::metadata::{ConfigRecord, FeatureLevelRecord, MetadataRecord};
use vltava_protocol::{ErrorCode, java};

use super::Controller;
use crate::metadata::features::{ELIGIBLE_LEADER_REPLICAS_VERSION, Feature, METADATA_VERSION, SUPPORTED_FEATURES};
use crate::metadata::image::{MetadataImage, ResourceType};
use crate::request::ApiError;

/// A level that a feature is to have.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    pub(crate) feature: String,
    pub(crate) level: i16,
    /// [`UPGRADE`], [`SAFE_DOWNGRADE`] or [`UNSAFE_DOWNGRADE`].
    pub(crate) upgrade_type: i8,
}

/// The level may only become higher.
const UPGRADE: i8 = 1;
/// It may become lower where no metadata is lost.
const SAFE_DOWNGRADE: i8 = 2;
/// It may become lower.
const UNSAFE_DOWNGRADE: i8 = 3;

/// The levels of `metadata.version` with which the form of the metadata changed; to go below one loses something.
const METADATA_CHANGED: [i16; 9] = [7, 8, 11, 13, 14, 15, 17, 23, 30];

/// The setting that Kafka keeps with the whole cluster once eligible leader replicas are on.
const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";

/// Sets the levels, all or none.
///
/// # Errors
/// `INVALID_UPDATE_VERSION` of the first one that is refused, in the order of Java's map of them.
pub(crate) async fn update(
    controller: &Arc<Controller>,
    updates: Vec<Update>,
    validate_only: bool,
) -> Result<(), ApiError> {
    let node_id = controller.config().node_id;
    if validate_only {
        return records(node_id, &controller.metadata.image(), updates).map(|_| ());
    }
    let asked: Vec<String> = updates.iter().map(|update| format!("{}={}", update.feature, update.level)).collect();
    let asked = asked.join(", ");
    let min_insync = controller.config().text(MIN_INSYNC_REPLICAS).map(str::to_owned);
    let decide = move |image: &MetadataImage| {
        let enables_elr =
            updates.iter().any(|update| update.feature == ELIGIBLE_LEADER_REPLICAS_VERSION && update.level > 0);
        let levels = records(node_id, image, updates)?;
        let mut all = if enables_elr { keep_min_insync(node_id, image, min_insync) } else { Vec::new() };
        all.extend(levels);
        Ok((all, ()))
    };
    controller.update(decide).await?;
    info!(features = %asked, "the levels of features are set");
    Ok(())
}

fn records(node_id: i32, image: &MetadataImage, updates: Vec<Update>) -> Result<Vec<MetadataRecord>, ApiError> {
    let mut updates = updates;
    let table = java::grown(updates.len());
    java::sort_by_bucket(&mut updates, table, |update| java::string_hash(&update.feature));
    let mut records = Vec::new();
    for Update { feature, level, upgrade_type } in updates {
        check(node_id, image, &feature, level, upgrade_type)?;
        records.push(MetadataRecord::FeatureLevel(FeatureLevelRecord {
            name: feature,
            feature_level: level,
            ..FeatureLevelRecord::default()
        }));
    }
    Ok(records)
}

fn check(node_id: i32, image: &MetadataImage, feature: &str, level: i16, upgrade_type: i8) -> Result<(), ApiError> {
    let refuse = |why: &str| {
        let text = format!("Invalid update version {level} for feature {feature}. {why}");
        Err(ApiError::new(ErrorCode::InvalidUpdateVersion, text))
    };
    if !matches!(upgrade_type, UPGRADE | SAFE_DOWNGRADE | UNSAFE_DOWNGRADE) {
        return refuse("The controller does not support the given upgrade type.");
    }
    if level < 0 {
        return refuse("A feature version cannot be less than 0.");
    }
    let Some(Feature { min_version, max_version, .. }) = SUPPORTED_FEATURES.iter().find(|it| it.name == feature) else {
        return match level {
            0 => refuse(&format!("Feature {feature} not found.")),
            _ => refuse(&format!("Local controller {node_id} does not support this feature.")),
        };
    };
    if !(*min_version..=*max_version).contains(&level) {
        return refuse(&format!("Local controller {node_id} only supports versions {min_version}-{max_version}"));
    }
    let current = image.feature_level(feature);
    if level < current && upgrade_type == UPGRADE {
        return refuse(
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe \
             downgrade.",
        );
    }
    if level > current && upgrade_type != UPGRADE {
        return refuse("Can't downgrade to a newer version.");
    }
    let loses_metadata = METADATA_CHANGED.iter().any(|changed| level < *changed && *changed <= current);
    if feature == METADATA_VERSION && loses_metadata {
        let why = match upgrade_type {
            UNSAFE_DOWNGRADE => "Unsafe metadata downgrade is not supported in this version.",
            _ => "Refusing to perform the requested downgrade because it might delete metadata information.",
        };
        let text = format!("Unsupported metadata.version downgrade from {current} to {level}. {why}");
        return Err(ApiError::new(ErrorCode::InvalidUpdateVersion, text));
    }
    Ok(())
}

/// The least number of replicas in sync is the cluster's from now on, and no broker's.
fn keep_min_insync(node_id: i32, image: &MetadataImage, configured: Option<String>) -> Vec<MetadataRecord> {
    let is_set = |name: &str| {
        image.config(ResourceType::Broker, name).is_some_and(|settings| settings.contains_key(MIN_INSYNC_REPLICAS))
    };
    let record = |name: String, value: Option<String>| {
        MetadataRecord::Config(ConfigRecord {
            resource_type: ResourceType::Broker as i8,
            resource_name: name,
            name: MIN_INSYNC_REPLICAS.to_owned(),
            value,
            ..ConfigRecord::default()
        })
    };
    let mut records = Vec::new();
    if !is_set("") {
        records.push(record(String::new(), configured));
    }
    let broker = node_id.to_string();
    if is_set(&broker) {
        records.push(record(broker, None));
    }
    records
}
