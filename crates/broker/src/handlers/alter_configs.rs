//! AlterConfigs (33), versions 0–2: replaces all settings of a resource by those given.
//!
//! The older way: what is not named goes back to its default. Versions: 2 flexible.

use std::sync::Arc;

use vltava_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use vltava_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use crate::config::ConfigChange;
use crate::controller::Controller;
use crate::controller::alter::{self, Resource};
use crate::request::RequestContext;

pub(crate) async fn handle(
    controller: &Arc<Controller>,
    context: &RequestContext,
    request: &AlterConfigsRequest,
) -> AlterConfigsResponse {
    let named = request.resources.iter().map(|resource| (resource.resource_type, resource.resource_name.as_str()));
    let mut responses = Vec::with_capacity(request.resources.len());
    for (resource, asked) in request.resources.iter().zip(Resource::all(named)) {
        let configs = resource.configs.iter();
        let changes = configs.map(|config| (config.name.clone(), ConfigChange::Set(config.value.clone()))).collect();
        let error = alter::replace(controller, context, &asked, changes, request.validate_only).await.err();
        responses.push(AlterConfigsResourceResponse {
            error_code: error.as_ref().map_or(0, |error| error.code.code()),
            error_message: error.and_then(|error| error.text()),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..AlterConfigsResourceResponse::default()
        });
    }
    AlterConfigsResponse { responses, ..AlterConfigsResponse::default() }
}
