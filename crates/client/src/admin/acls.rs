//! Access control lists: who may do what.

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::create_acls_request::AclCreation;
use vltava_protocol::messages::delete_acls_request::DeleteAclsFilter;
use vltava_protocol::messages::delete_acls_response::{DeleteAclsFilterResult, DeleteAclsMatchingAcl};
use vltava_protocol::messages::describe_acls_response::DescribeAclsResource;
use vltava_protocol::messages::{CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest};
pub use vltava_security::acl::{
    AclBinding, AclBindingFilter, AclOperation, AclPermissionType, CLUSTER_NAME, PatternType, ResourceType, WILDCARD,
};

use super::{Admin, Results};
use crate::error::ClientError;

impl Admin {
    /// The entries of the access control lists that a filter means.
    ///
    /// # Errors
    /// `SecurityDisabled` where the broker has no authorizer, `ClusterAuthorizationFailed`, or `InvalidRequest` for a filter
    /// with something unknown, which is not sent.
    pub async fn describe_acls(&self, filter: &AclBindingFilter) -> Result<Vec<AclBinding>, ClientError> {
        if is_unknown(filter) {
            return Err(invalid("The AclBindingFilter must not contain UNKNOWN elements."));
        }
        let request = DescribeAclsRequest {
            resource_type_filter: filter.resource_type.code(),
            resource_name_filter: filter.resource_name.clone(),
            pattern_type_filter: filter.pattern_type.code(),
            principal_filter: filter.principal.clone(),
            host_filter: filter.host.clone(),
            operation: filter.operation.code(),
            permission_type: filter.permission_type.code(),
            ..DescribeAclsRequest::default()
        };
        let response = self
            .retry(async || {
                let response = self.cluster.send_any(&request).await?;
                ClientError::check(response.error_code, response.error_message.as_deref()).map(|()| response)
            })
            .await?;
        Ok(response.resources.iter().flat_map(described).collect())
    }

    /// Adds entries to the access control lists. One that is there already is no error.
    ///
    /// # Errors
    /// For each entry `SecurityDisabled` where the broker has no authorizer, `ClusterAuthorizationFailed`, or
    /// `InvalidRequest`; one that only a filter could be is not sent.
    pub async fn create_acls(&self, bindings: impl IntoIterator<Item = AclBinding>) -> Results<AclBinding, ()> {
        let mut wrong = Vec::new();
        let mut sound = Vec::new();
        for binding in bindings {
            match indefinite(&binding) {
                Some(why) => wrong.push((binding, Err(invalid(&format!("Invalid ACL creation: {why}"))))),
                None => sound.push(binding),
            }
        }
        let created = self.retry_each(sound, async |bindings: Vec<AclBinding>| {
            let creations = bindings.iter().map(creation).collect();
            let request = CreateAclsRequest { creations, ..CreateAclsRequest::default() };
            let response = self.cluster.send_any(&request).await?;
            let results = response.results.iter();
            let results = results.map(|result| ClientError::check(result.error_code, result.error_message.as_deref()));
            // The answers are in the order of the entries.
            Ok(bindings.into_iter().zip(results).collect())
        });
        let mut results = created.await;
        results.extend(wrong);
        results
    }

    /// Removes the entries that filters mean; gives, for each filter, those that there were.
    ///
    /// # Errors
    /// For each filter `SecurityDisabled` where the broker has no authorizer, `ClusterAuthorizationFailed`, or
    /// `InvalidRequest`; one with something unknown is not sent.
    pub async fn delete_acls(
        &self,
        filters: impl IntoIterator<Item = AclBindingFilter>,
    ) -> Results<AclBindingFilter, Vec<AclBinding>> {
        let (wrong, sound): (Vec<AclBindingFilter>, Vec<AclBindingFilter>) = filters.into_iter().partition(is_unknown);
        let deleted = self.retry_each(sound, async |filters: Vec<AclBindingFilter>| {
            let request =
                DeleteAclsRequest { filters: filters.iter().map(deletion).collect(), ..DeleteAclsRequest::default() };
            let response = self.cluster.send_any(&request).await?;
            // The answers are in the order of the filters.
            Ok(filters.into_iter().zip(response.filter_results.iter().map(deleted_by)).collect())
        });
        let mut results = deleted.await;
        for filter in wrong {
            results.insert(filter, Err(invalid("The AclBindingFilter must not contain UNKNOWN elements.")));
        }
        results
    }
}

fn invalid(text: &str) -> ClientError {
    ClientError::Broker { code: ErrorCode::InvalidRequest, message: Some(text.into()) }
}

fn is_unknown(filter: &AclBindingFilter) -> bool {
    filter.resource_type == ResourceType::Unknown
        || filter.pattern_type == PatternType::Unknown
        || filter.operation == AclOperation::Unknown
        || filter.permission_type == AclPermissionType::Unknown
}

/// What makes an entry one that only a filter could be, in the words of Java's client.
fn indefinite(binding: &AclBinding) -> Option<String> {
    let AclBinding { resource_type, pattern_type, operation, permission_type, .. } = binding;
    if matches!(resource_type, ResourceType::Any | ResourceType::Unknown) {
        return Some(format!("Resource type is {resource_type}."));
    }
    if !matches!(pattern_type, PatternType::Literal | PatternType::Prefixed) {
        return Some(format!("Resource pattern type is {pattern_type}."));
    }
    if matches!(operation, AclOperation::Any | AclOperation::Unknown) {
        return Some(format!("Operation is {operation}"));
    }
    if matches!(permission_type, AclPermissionType::Any | AclPermissionType::Unknown) {
        return Some(format!("Permission type is {permission_type}"));
    }
    None
}

fn creation(binding: &AclBinding) -> AclCreation {
    AclCreation {
        resource_type: binding.resource_type.code(),
        resource_name: binding.resource_name.clone(),
        resource_pattern_type: binding.pattern_type.code(),
        principal: binding.principal.clone(),
        host: binding.host.clone(),
        operation: binding.operation.code(),
        permission_type: binding.permission_type.code(),
        ..AclCreation::default()
    }
}

fn deletion(filter: &AclBindingFilter) -> DeleteAclsFilter {
    DeleteAclsFilter {
        resource_type_filter: filter.resource_type.code(),
        resource_name_filter: filter.resource_name.clone(),
        pattern_type_filter: filter.pattern_type.code(),
        principal_filter: filter.principal.clone(),
        host_filter: filter.host.clone(),
        operation: filter.operation.code(),
        permission_type: filter.permission_type.code(),
        ..DeleteAclsFilter::default()
    }
}

fn described(resource: &DescribeAclsResource) -> impl Iterator<Item = AclBinding> {
    resource.acls.iter().map(|entry| AclBinding {
        resource_type: ResourceType::from_code(resource.resource_type),
        resource_name: resource.resource_name.clone(),
        pattern_type: PatternType::from_code(resource.pattern_type),
        principal: entry.principal.clone(),
        host: entry.host.clone(),
        operation: AclOperation::from_code(entry.operation),
        permission_type: AclPermissionType::from_code(entry.permission_type),
    })
}

fn deleted_by(result: &DeleteAclsFilterResult) -> Result<Vec<AclBinding>, ClientError> {
    ClientError::check(result.error_code, result.error_message.as_deref())?;
    let binding = |acl: &DeleteAclsMatchingAcl| {
        ClientError::check(acl.error_code, acl.error_message.as_deref())?;
        Ok(AclBinding {
            resource_type: ResourceType::from_code(acl.resource_type),
            resource_name: acl.resource_name.clone(),
            pattern_type: PatternType::from_code(acl.pattern_type),
            principal: acl.principal.clone(),
            host: acl.host.clone(),
            operation: AclOperation::from_code(acl.operation),
            permission_type: AclPermissionType::from_code(acl.permission_type),
        })
    };
    result.matching_acls.iter().map(binding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_filter_could_be_is_told_in_javas_words() {
        let good = AclBinding {
            resource_type: ResourceType::Topic,
            resource_name: "t".to_owned(),
            pattern_type: PatternType::Literal,
            principal: "User:a".to_owned(),
            host: WILDCARD.to_owned(),
            operation: AclOperation::All,
            permission_type: AclPermissionType::Deny,
        };
        let cases = [
            (good.clone(), None),
            (AclBinding { resource_type: ResourceType::Any, ..good.clone() }, Some("Resource type is ANY.")),
            (AclBinding { pattern_type: PatternType::Match, ..good.clone() }, Some("Resource pattern type is MATCH.")),
            (AclBinding { operation: AclOperation::Unknown, ..good.clone() }, Some("Operation is UNKNOWN")),
            (AclBinding { permission_type: AclPermissionType::Any, ..good }, Some("Permission type is ANY")),
        ];
        for (binding, why) in cases {
            assert_eq!(indefinite(&binding).as_deref(), why);
        }
    }
}
