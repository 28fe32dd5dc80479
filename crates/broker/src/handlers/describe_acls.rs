//! DescribeAcls (29), versions 1–3.
//!
//! Tells the entries of the access control lists that a filter means, by resource, in the order of the resources. Without
//! an authorizer there are no lists.
//!
//! Versions: 1 prefixed patterns (KIP-290) · 2 flexible · 3 the resource type of users (KIP-373).

use std::collections::BTreeMap;

use vltava_protocol::messages::describe_acls_response::DescribeAclsResource;
use vltava_protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};
use vltava_security::acl::AclOperation;

use crate::metadata::MetadataStore;
use crate::request::{Answer, RequestContext};
use crate::security::bindings;

pub(crate) fn handle(
    metadata: &MetadataStore,
    context: &RequestContext,
    request: &DescribeAclsRequest,
) -> Answer<DescribeAclsResponse> {
    let elements =
        [request.resource_type_filter, request.pattern_type_filter, request.operation, request.permission_type];
    if elements.contains(&0) {
        return Answer::Invalid("a filter of access control entries has unknown elements");
    }
    let needed = context.need_of_lists(AclOperation::Describe, "No Authorizer is configured on the broker");
    if let Err(error) = needed {
        return Answer::Response(DescribeAclsResponse {
            error_code: error.code.code(),
            error_message: error.text(),
            ..DescribeAclsResponse::default()
        });
    }
    let filter = bindings::filter_to_describe(request);
    let image = metadata.image();
    let mut resources: BTreeMap<_, DescribeAclsResource> = BTreeMap::new();
    let mut found: Vec<_> = image.acls().matching(&filter).map(|(_, binding)| binding).collect();
    found.sort_unstable();
    for binding in found {
        let pattern = (binding.resource_type, &binding.resource_name, binding.pattern_type);
        let resource = resources.entry(pattern).or_insert_with(|| bindings::described_resource(binding));
        resource.acls.push(bindings::description(binding));
    }
    let resources = resources.into_values().collect();
    Answer::Response(DescribeAclsResponse { resources, ..DescribeAclsResponse::default() })
}
