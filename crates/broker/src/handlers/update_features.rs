//! UpdateFeatures (57), versions 0–2.
//!
//! Raises and lowers the levels of features that are in force in the cluster: all of those asked for, or none. What may
//! be set to what is `controller/features.rs`; the levels are in force when the answer leaves.
//!
//! Versions: 1 the type of the upgrade instead of leave to lower, and requests that only validate (KIP-778) · 2 no results
//! of single features (KIP-1022). Before version 1 all are upgrades, whatever leave there is, as in Kafka.

use std::sync::Arc;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::update_features_response::UpdatableFeatureResult;
use vltava_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use vltava_security::acl::AclOperation;

use crate::controller::Controller;
use crate::controller::features::{self, Update};
use crate::request::RequestContext;

pub(crate) async fn handle(
    controller: &Arc<Controller>,
    context: &RequestContext,
    request: &UpdateFeaturesRequest,
) -> UpdateFeaturesResponse {
    if let Err(error) = context.need_of_cluster(AclOperation::Alter) {
        return UpdateFeaturesResponse {
            error_code: error.code.code(),
            error_message: error.text(),
            ..UpdateFeaturesResponse::default()
        };
    }
    let updates = request.feature_updates.iter().map(|update| Update {
        feature: update.feature.clone(),
        level: update.max_version_level,
        upgrade_type: update.upgrade_type,
    });
    let updated = features::update(controller, updates.collect(), request.validate_only).await;
    if let Err(error) = updated {
        let told =
            |text| format!("The update failed for all features since the following feature had an error: {text}");
        return UpdateFeaturesResponse {
            error_code: error.code.code(),
            error_message: error.text().map(told),
            ..UpdateFeaturesResponse::default()
        };
    }
    let mut response = UpdateFeaturesResponse { error_message: None, ..UpdateFeaturesResponse::default() };
    if context.version <= 1 {
        let results = request.feature_updates.iter().map(|update| UpdatableFeatureResult {
            feature: update.feature.clone(),
            error_code: ErrorCode::None.code(),
            // Java's text of no error.
            error_message: Some("NONE".to_owned()),
            ..UpdatableFeatureResult::default()
        });
        response.results = results.collect();
    }
    response
}
