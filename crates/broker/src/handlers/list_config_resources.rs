//! ListConfigResources (74), versions 0–1 (KIP-714, KIP-1142).
//!
//! What has settings: topics, this broker, its loggers, subscriptions to clients' metrics, groups with settings of their
//! own.
//!
//! Versions: 0 metrics subscriptions only · 1 any type, all of them where none is given.

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::list_config_resources_response::ConfigResource;
use vltava_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use vltava_security::acl::AclOperation;

use crate::config::BrokerConfig;
use crate::metadata::MetadataStore;
use crate::metadata::image::ResourceType;
use crate::request::RequestContext;
use crate::security::Resource;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

pub(crate) fn handle(
    config: &BrokerConfig,
    metadata: &MetadataStore,
    context: &RequestContext,
    request: &ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    if !context.may(AclOperation::DescribeConfigs, Resource::CLUSTER) {
        let error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return ListConfigResourcesResponse { error_code, ..ListConfigResourcesResponse::default() };
    }
    const ALL: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];
    let types = match request.resource_types.as_slice() {
        _ if context.version == 0 => &[CLIENT_METRICS],
        [] => &ALL[..],
        types => types,
    };
    if types.iter().any(|kind| !ALL.contains(kind)) {
        return ListConfigResourcesResponse {
            error_code: ErrorCode::UnsupportedVersion.code(),
            ..ListConfigResourcesResponse::default()
        };
    }
    let mut response = ListConfigResourcesResponse::default();
    let image = metadata.image();
    let configured = |kind| image.configured(kind).map(str::to_owned).collect();
    for &resource_type in types {
        let names = match resource_type {
            TOPIC => image.topics().map(|topic| topic.name.to_string()).collect(),
            BROKER | BROKER_LOGGER => vec![config.node_id.to_string()],
            CLIENT_METRICS => configured(ResourceType::ClientMetrics),
            GROUP => configured(ResourceType::Group),
            _ => Vec::new(),
        };
        let resource = |resource_name| ConfigResource { resource_name, resource_type, ..ConfigResource::default() };
        response.config_resources.extend(names.into_iter().map(resource));
    }
    response
}
