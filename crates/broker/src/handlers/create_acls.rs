//! CreateAcls (30), versions 1–3.
//!
//! Adds entries to the access control lists, each checked by itself; one that is there already is left as it is, and is no
//! error. They are in force when the answer goes out. Without an authorizer there are no lists.
//!
//! Versions: 1 prefixed patterns (KIP-290) · 2 flexible · 3 the resource type of users (KIP-373).

use std::collections::BTreeSet;
use std::sync::Arc;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::create_acls_response::AclCreationResult;
use vltava_protocol::messages::{CreateAclsRequest, CreateAclsResponse};
use vltava_protocol::records::metadata::MetadataRecord;
use vltava_security::acl::{AclBinding, AclOperation, AclPermissionType, CLUSTER_NAME, PatternType, ResourceType};

use crate::controller::Controller;
use crate::log_dirs::random_id;
use crate::request::{Answer, ApiError, RequestContext};
use crate::security::acls::Acls;
use crate::security::bindings;

/// As many entries may be changed by one request as Kafka's controller writes records at once.
pub(crate) const MOST_AT_ONCE: usize = 10_000;

pub(crate) async fn handle(
    controller: &Arc<Controller>,
    context: &RequestContext,
    request: &CreateAclsRequest,
) -> Answer<CreateAclsResponse> {
    let is_unknown = request.creations.iter().any(|creation| {
        [creation.resource_type, creation.resource_pattern_type, creation.operation, creation.permission_type]
            .contains(&0)
    });
    if is_unknown {
        return Answer::Invalid("an access control entry has unknown elements");
    }
    let created = match context.need_of_lists(AclOperation::Alter, "No Authorizer is configured.") {
        Err(error) => Err(error),
        Ok(()) => {
            let wanted: Vec<AclBinding> = request.creations.iter().map(bindings::from_creation).collect();
            if wanted.iter().any(is_filter) {
                return Answer::Response(unknown(wanted.len()));
            }
            controller.update(move |image| plan(image.acls(), &wanted)).await
        }
    };
    let results = created.unwrap_or_else(|error| vec![Err(error); request.creations.len()]);
    let results = results.into_iter().map(|result| match result {
        Ok(()) => AclCreationResult::default(),
        Err(error) => AclCreationResult {
            error_code: error.code.code(),
            error_message: error.text(),
            ..AclCreationResult::default()
        },
    });
    Answer::Response(CreateAclsResponse { results: results.collect(), ..CreateAclsResponse::default() })
}

/// Whether it is meant by a filter only: with one of these Kafka's broker fails over the whole request.
fn is_filter(binding: &AclBinding) -> bool {
    binding.resource_type == ResourceType::Any
        || matches!(binding.pattern_type, PatternType::Any | PatternType::Match)
        || binding.operation == AclOperation::Any
        || binding.permission_type == AclPermissionType::Any
}

fn unknown(count: usize) -> CreateAclsResponse {
    let result = AclCreationResult {
        error_code: ErrorCode::UnknownServerError.code(),
        error_message: None,
        ..AclCreationResult::default()
    };
    CreateAclsResponse { results: vec![result; count], ..CreateAclsResponse::default() }
}

/// What an entry came to.
type Created = Result<(), ApiError>;

/// The records of new entries, and what is told of each that was asked for.
fn plan(acls: &Acls, wanted: &[AclBinding]) -> Result<(Vec<MetadataRecord>, Vec<Created>), ApiError> {
    let mut records = Vec::new();
    let mut results = Vec::with_capacity(wanted.len());
    let mut seen = BTreeSet::new();
    for binding in wanted {
        let checked = check(binding);
        if checked.is_ok() && !acls.contains(binding) && seen.insert(binding) {
            records.push(MetadataRecord::AccessControlEntry(bindings::record(random_id(), binding)));
        }
        results.push(checked);
    }
    if records.len() > MOST_AT_ONCE {
        return Err(ApiError::new(ErrorCode::PolicyViolation, "Unable to perform excessively large batch operation."));
    }
    Ok((records, results))
}

fn check(binding: &AclBinding) -> Result<(), ApiError> {
    let refuse = |text: String| Err(ApiError::new(ErrorCode::InvalidRequest, text));
    let AclBinding { resource_type, resource_name, pattern_type, principal, operation, permission_type, .. } = binding;
    if *resource_type == ResourceType::Cluster && resource_name != CLUSTER_NAME {
        return refuse(format!("The only valid name for the CLUSTER resource is {CLUSTER_NAME}"));
    }
    if resource_name.is_empty() {
        return refuse("Invalid empty resource name".to_owned());
    }
    if *resource_type == ResourceType::Unknown {
        return refuse(format!("Invalid resourceType {resource_type}"));
    }
    if !matches!(pattern_type, PatternType::Literal | PatternType::Prefixed) {
        return refuse(format!("Invalid patternType {pattern_type}"));
    }
    if *operation == AclOperation::Unknown {
        return refuse(format!("Invalid operation {operation}"));
    }
    if !matches!(permission_type, AclPermissionType::Allow | AclPermissionType::Deny) {
        return refuse(format!("Invalid permissionType {permission_type}"));
    }
    if !principal.contains(':') {
        return refuse(format!(
            "Could not parse principal from `{principal}` (no colon is present separating the principal type from the \
             principal name)"
        ));
    }
    Ok(())
}
