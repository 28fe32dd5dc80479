//! Access control lists from and into messages and records of the metadata log.

use vltava_protocol::Uuid;
use vltava_protocol::messages::DescribeAclsRequest;
use vltava_protocol::messages::create_acls_request::AclCreation;
use vltava_protocol::messages::delete_acls_request::DeleteAclsFilter;
use vltava_protocol::messages::delete_acls_response::DeleteAclsMatchingAcl;
use vltava_protocol::messages::describe_acls_response::{AclDescription, DescribeAclsResource};
use vltava_protocol::records::metadata::AccessControlEntryRecord;
use vltava_security::acl::{AclBinding, AclBindingFilter, AclOperation, AclPermissionType, PatternType, ResourceType};

pub(crate) fn from_creation(creation: &AclCreation) -> AclBinding {
    AclBinding {
        resource_type: ResourceType::from_code(creation.resource_type),
        resource_name: creation.resource_name.clone(),
        pattern_type: PatternType::from_code(creation.resource_pattern_type),
        principal: creation.principal.clone(),
        host: creation.host.clone(),
        operation: AclOperation::from_code(creation.operation),
        permission_type: AclPermissionType::from_code(creation.permission_type),
    }
}

pub(crate) fn from_record(record: &AccessControlEntryRecord) -> AclBinding {
    AclBinding {
        resource_type: ResourceType::from_code(record.resource_type),
        resource_name: record.resource_name.clone(),
        pattern_type: PatternType::from_code(record.pattern_type),
        principal: record.principal.clone(),
        host: record.host.clone(),
        operation: AclOperation::from_code(record.operation),
        permission_type: AclPermissionType::from_code(record.permission_type),
    }
}

pub(crate) fn record(id: Uuid, binding: &AclBinding) -> AccessControlEntryRecord {
    AccessControlEntryRecord {
        id,
        resource_type: binding.resource_type.code(),
        resource_name: binding.resource_name.clone(),
        pattern_type: binding.pattern_type.code(),
        principal: binding.principal.clone(),
        host: binding.host.clone(),
        operation: binding.operation.code(),
        permission_type: binding.permission_type.code(),
        ..AccessControlEntryRecord::default()
    }
}

pub(crate) fn filter_to_describe(request: &DescribeAclsRequest) -> AclBindingFilter {
    AclBindingFilter {
        resource_type: ResourceType::from_code(request.resource_type_filter),
        resource_name: request.resource_name_filter.clone(),
        pattern_type: PatternType::from_code(request.pattern_type_filter),
        principal: request.principal_filter.clone(),
        host: request.host_filter.clone(),
        operation: AclOperation::from_code(request.operation),
        permission_type: AclPermissionType::from_code(request.permission_type),
    }
}

pub(crate) fn filter_to_delete(filter: &DeleteAclsFilter) -> AclBindingFilter {
    AclBindingFilter {
        resource_type: ResourceType::from_code(filter.resource_type_filter),
        resource_name: filter.resource_name_filter.clone(),
        pattern_type: PatternType::from_code(filter.pattern_type_filter),
        principal: filter.principal_filter.clone(),
        host: filter.host_filter.clone(),
        operation: AclOperation::from_code(filter.operation),
        permission_type: AclPermissionType::from_code(filter.permission_type),
    }
}

/// The pattern of a binding, with no entry yet.
pub(crate) fn described_resource(binding: &AclBinding) -> DescribeAclsResource {
    DescribeAclsResource {
        resource_type: binding.resource_type.code(),
        resource_name: binding.resource_name.clone(),
        pattern_type: binding.pattern_type.code(),
        ..DescribeAclsResource::default()
    }
}

pub(crate) fn description(binding: &AclBinding) -> AclDescription {
    AclDescription {
        principal: binding.principal.clone(),
        host: binding.host.clone(),
        operation: binding.operation.code(),
        permission_type: binding.permission_type.code(),
        ..AclDescription::default()
    }
}

pub(crate) fn deleted(binding: &AclBinding) -> DeleteAclsMatchingAcl {
    DeleteAclsMatchingAcl {
        error_message: None,
        resource_type: binding.resource_type.code(),
        resource_name: binding.resource_name.clone(),
        pattern_type: binding.pattern_type.code(),
        principal: binding.principal.clone(),
        host: binding.host.clone(),
        operation: binding.operation.code(),
        permission_type: binding.permission_type.code(),
        ..DeleteAclsMatchingAcl::default()
    }
}
