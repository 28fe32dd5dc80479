//! DeleteAcls (31), versions 1–3.
//!
//! Removes the entries of the access control lists that filters mean, all in one, and tells which they were. They are out
//! of force when the answer goes out. Without an authorizer there are no lists.
//!
//! Versions: 1 prefixed patterns (KIP-290) · 2 flexible · 3 the resource type of users (KIP-373).

use std::collections::BTreeSet;
use std::sync::Arc;

use vltava_protocol::messages::delete_acls_response::{DeleteAclsFilterResult, DeleteAclsMatchingAcl};
use vltava_protocol::messages::{DeleteAclsRequest, DeleteAclsResponse};
use vltava_protocol::records::metadata::{MetadataRecord, RemoveAccessControlEntryRecord};
use vltava_protocol::{ErrorCode, Uuid};
use vltava_security::acl::{AclBindingFilter, AclOperation, AclPermissionType, PatternType, ResourceType};

use super::create_acls::MOST_AT_ONCE;
use crate::controller::Controller;
use crate::request::{Answer, ApiError, RequestContext};
use crate::security::acls::Acls;
use crate::security::bindings;

/// What a filter came to.
type Deleted = Result<Vec<DeleteAclsMatchingAcl>, ApiError>;

pub(crate) async fn handle(
    controller: &Arc<Controller>,
    context: &RequestContext,
    request: &DeleteAclsRequest,
) -> Answer<DeleteAclsResponse> {
    let is_unknown = request.filters.iter().any(|filter| {
        let elements =
            [filter.resource_type_filter, filter.pattern_type_filter, filter.operation, filter.permission_type];
        elements.contains(&0)
    });
    if is_unknown {
        return Answer::Invalid("a filter of access control entries has unknown elements");
    }
    let deleted = match context.need_of_lists(AclOperation::Alter, "No Authorizer is configured.") {
        Err(error) => Err(error),
        Ok(()) => {
            let filters: Vec<AclBindingFilter> = request.filters.iter().map(bindings::filter_to_delete).collect();
            controller.update(move |image| plan(image.acls(), &filters)).await
        }
    };
    let deleted = deleted.unwrap_or_else(|error| vec![Err(error); request.filters.len()]);
    let results = deleted.into_iter().map(|deleted| match deleted {
        Ok(matching_acls) => {
            DeleteAclsFilterResult { error_message: None, matching_acls, ..DeleteAclsFilterResult::default() }
        }
        Err(error) => DeleteAclsFilterResult {
            error_code: error.code.code(),
            error_message: error.text(),
            ..DeleteAclsFilterResult::default()
        },
    });
    Answer::Response(DeleteAclsResponse { filter_results: results.collect(), ..DeleteAclsResponse::default() })
}

/// The records that remove what the filters mean, and what is told of each.
fn plan(acls: &Acls, filters: &[AclBindingFilter]) -> Result<(Vec<MetadataRecord>, Vec<Deleted>), ApiError> {
    let mut ids: BTreeSet<[u8; 16]> = BTreeSet::new();
    let mut results = Vec::with_capacity(filters.len());
    for filter in filters {
        if let Err(error) = check(filter) {
            results.push(Err(error));
            continue;
        }
        let mut found: Vec<_> = acls.matching(filter).collect();
        found.sort_unstable_by_key(|(_, binding)| *binding);
        ids.extend(found.iter().map(|(id, _)| *id.as_bytes()));
        if ids.len() > MOST_AT_ONCE {
            let text = format!("Cannot remove more than {MOST_AT_ONCE} acls in a single delete operation.");
            return Err(ApiError::new(ErrorCode::InvalidRequest, text));
        }
        results.push(Ok(found.into_iter().map(|(_, binding)| bindings::deleted(binding)).collect()));
    }
    let removal = |id: [u8; 16]| RemoveAccessControlEntryRecord {
        id: Uuid::from_bytes(id),
        ..RemoveAccessControlEntryRecord::default()
    };
    let records = ids.into_iter().map(|id| MetadataRecord::RemoveAccessControlEntry(removal(id)));
    Ok((records.collect(), results))
}

fn check(filter: &AclBindingFilter) -> Result<(), ApiError> {
    let refuse = |text: &str| Err(ApiError::new(ErrorCode::InvalidRequest, text));
    if filter.resource_type == ResourceType::Unknown || filter.pattern_type == PatternType::Unknown {
        return refuse("Unknown patternFilter.");
    }
    if filter.operation == AclOperation::Unknown || filter.permission_type == AclPermissionType::Unknown {
        return refuse("Unknown entryFilter.");
    }
    Ok(())
}
