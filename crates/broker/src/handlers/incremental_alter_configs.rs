//! IncrementalAlterConfigs (44), versions 0–1 (KIP-339).
//!
//! Sets, deletes, appends to and subtracts from single settings of topics and of the broker; what
//! is not named stays. Versions: 1 flexible.

use std::sync::Arc;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use vltava_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use crate::config::ConfigChange;
use crate::controller::Controller;
use crate::controller::alter::{self, Resource};
use crate::metadata::image::ResourceType;
use crate::request::{ApiError, RequestContext};

/// As Kafka: who may not alter the levels of loggers is told so without a text.
fn has_text(resource_type: i8, error: &ApiError) -> bool {
    resource_type != ResourceType::BrokerLogger as i8 || error.code != ErrorCode::ClusterAuthorizationFailed
}

pub(crate) async fn handle(
    controller: &Arc<Controller>,
    context: &RequestContext,
    request: &IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let named = request.resources.iter().map(|resource| (resource.resource_type, resource.resource_name.as_str()));
    let mut responses = Vec::with_capacity(request.resources.len());
    for (resource, asked) in request.resources.iter().zip(Resource::all(named)) {
        let changes = resource.configs.iter().map(|config| {
            let value = config.value.clone();
            let change = match config.config_operation {
                0 => ConfigChange::Set(value),
                1 => ConfigChange::Delete,
                2 => ConfigChange::Append(value),
                3 => ConfigChange::Subtract(value),
                other => ConfigChange::Unknown(other),
            };
            (config.name.clone(), change)
        });
        let error = alter::change(controller, context, &asked, changes.collect(), request.validate_only).await.err();
        responses.push(AlterConfigsResourceResponse {
            error_code: error.as_ref().map_or(0, |error| error.code.code()),
            error_message: error.filter(|error| has_text(resource.resource_type, error)).and_then(|error| error.text()),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..AlterConfigsResourceResponse::default()
        });
    }
    IncrementalAlterConfigsResponse { responses, ..IncrementalAlterConfigsResponse::default() }
}
