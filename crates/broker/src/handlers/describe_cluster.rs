//! DescribeCluster (60), versions 0–2.
//!
//! Tells the cluster's id, its controller and its brokers (KIP-700). Controllers are not reachable
//! by clients here, so asking for their end points is refused as Kafka refuses what it does not
//! serve on a listener.
//!
//! Versions: 1 kind of end point (KIP-919) · 2 fenced brokers (KIP-1073).

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use vltava_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};
use vltava_security::acl::AclOperation;

use crate::advertised::Advertised;
use crate::request::RequestContext;
use crate::security::Resource;

/// The end points of brokers; 2 would be those of controllers.
const BROKERS: i8 = 1;

pub(crate) fn handle(
    advertised: &Advertised,
    context: &RequestContext,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    let mut response = DescribeClusterResponse {
        cluster_id: advertised.cluster_id.clone(),
        endpoint_type: request.endpoint_type,
        ..DescribeClusterResponse::default()
    };
    if request.endpoint_type != BROKERS {
        let code = match request.endpoint_type {
            2 => ErrorCode::MismatchedEndpointType,
            _ => ErrorCode::UnsupportedEndpointType,
        };
        response.endpoint_type = BROKERS;
        response.error_code = code.code();
        response.error_message = Some(match code {
            ErrorCode::MismatchedEndpointType => {
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
                    .to_owned()
            }
            _ => format!("Unsupported endpoint type {}", request.endpoint_type),
        });
        return response;
    }
    response.controller_id = advertised.node_id;
    if let Some((host, port)) = advertised.endpoint(&context.peer.listener) {
        response.brokers.push(DescribeClusterBroker {
            broker_id: advertised.node_id,
            host,
            port: i32::from(port),
            rack: advertised.rack.clone(),
            ..DescribeClusterBroker::default()
        });
    }
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = match context.may(AclOperation::Describe, Resource::CLUSTER) {
            true => context.authorized_operations(Resource::CLUSTER),
            false => 0,
        };
    }
    response
}
