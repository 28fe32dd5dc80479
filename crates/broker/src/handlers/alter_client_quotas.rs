//! AlterClientQuotas (49), versions 0–1.
//!
//! Sets and removes quotas of users, client ids and both together (KIP-546), and of addresses (KIP-612); no name stands for
//! the default of all that have none of their own. Each entity is answered for itself, and the quotas are in force when the
//! answer goes out. With `validate_only` nothing is altered.
//!
//! Versions: 1 flexible.

use std::collections::HashSet;
use std::sync::Arc;

use vltava_protocol::messages::alter_client_quotas_response::{EntityData, EntryData};
use vltava_protocol::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};
use vltava_security::acl::AclOperation;

use crate::controller::{Controller, quotas};
use crate::request::{ApiError, RequestContext};

pub(crate) async fn handle(
    controller: &Arc<Controller>,
    context: &RequestContext,
    request: &AlterClientQuotasRequest,
) -> AlterClientQuotasResponse {
    let altered = match context.need_of_cluster(AclOperation::AlterConfigs) {
        Ok(()) => {
            let hosts = resolvable(request).await;
            quotas::alter(controller, request.clone(), hosts).await
        }
        Err(error) => Err(error),
    };
    let entries = altered.unwrap_or_else(|error| failed(request, &error));
    AlterClientQuotasResponse { entries, ..AlterClientQuotasResponse::default() }
}

/// The names of hosts in the request that have an address. They are looked up here, where nobody waits behind.
async fn resolvable(request: &AlterClientQuotasRequest) -> HashSet<String> {
    let mut found = HashSet::new();
    for name in quotas::names_of_hosts(request) {
        if !found.contains(name) && tokio::net::lookup_host((name, 0)).await.is_ok_and(|mut all| all.next().is_some()) {
            found.insert(name.to_owned());
        }
    }
    found
}

/// One answer for everything in the request, with the code's own text.
fn failed(request: &AlterClientQuotasRequest, error: &ApiError) -> Vec<EntryData> {
    let entry = |entity: &[vltava_protocol::messages::alter_client_quotas_request::EntityData]| EntryData {
        error_code: error.code.code(),
        error_message: Some(error.code.message().to_owned()),
        entity: entity
            .iter()
            .map(|part| EntityData {
                entity_type: part.entity_type.clone(),
                entity_name: part.entity_name.clone(),
                ..EntityData::default()
            })
            .collect(),
        ..EntryData::default()
    };
    request.entries.iter().map(|asked| entry(&asked.entity)).collect()
}
