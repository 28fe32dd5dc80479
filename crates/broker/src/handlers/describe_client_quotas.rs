//! DescribeClientQuotas (48), versions 0–1.
//!
//! Which entities have quotas, and which (KIP-546): those that have all parts of a filter, by name, by default or by being
//! there at all, and with `strict` no other part. A wrong filter is an error of the whole request.
//!
//! Versions: 1 flexible.

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::describe_client_quotas_request::ComponentData;
use vltava_protocol::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use vltava_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
use vltava_security::acl::AclOperation;

use crate::metadata::MetadataStore;
use crate::metadata::quotas::{CLIENT_ID, IP, Name, QuotaEntity, QuotaValues, USER};
use crate::request::{ApiError, RequestContext};
use crate::security::Resource;

pub(crate) fn handle(
    metadata: &MetadataStore,
    context: &RequestContext,
    request: &DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    let described = match context.may(AclOperation::DescribeConfigs, Resource::CLUSTER) {
        true => filter(&request.components),
        false => Err(ErrorCode::ClusterAuthorizationFailed.into()),
    };
    match described {
        Ok(filter) => {
            let image = metadata.image();
            let found = image.quotas().entities().filter(|(entity, _)| matches(&filter, request.strict, entity));
            DescribeClientQuotasResponse {
                entries: Some(found.map(|(entity, values)| entry(entity, values)).collect()),
                ..DescribeClientQuotasResponse::default()
            }
        }
        Err(error) => DescribeClientQuotasResponse {
            error_code: error.code.code(),
            error_message: error.message,
            entries: None,
            ..DescribeClientQuotasResponse::default()
        },
    }
}

/// A type of entity, and the name that it is to have, if it matters.
type Component<'a> = (&'a str, Option<Name>);

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

fn filter(components: &[ComponentData]) -> Result<Vec<Component<'_>>, ApiError> {
    let refuse = |text: String| Err(ApiError::new(ErrorCode::InvalidRequest, text));
    let mut filter: Vec<Component<'_>> = Vec::new();
    for component in components {
        let kind = component.entity_type.as_str();
        if kind.is_empty() {
            return refuse("Invalid empty entity type.".to_owned());
        }
        if filter.iter().any(|(known, _)| *known == kind) {
            return refuse(format!("Entity type {kind} cannot appear more than once in the filter."));
        }
        if ![USER, CLIENT_ID, IP].contains(&kind) {
            let text = format!("Unsupported entity type {kind}");
            return Err(ApiError::new(ErrorCode::UnsupportedVersion, text));
        }
        let wanted = match (component.match_type, &component.r#match) {
            (EXACT, Some(name)) => Some(Some(name.clone())),
            (EXACT, None) => {
                return refuse("Request specified MATCH_TYPE_EXACT, but set match string to null.".to_owned());
            }
            (DEFAULT, None) => Some(None),
            (SPECIFIED, None) => None,
            (DEFAULT | SPECIFIED, Some(_)) => {
                let name = if component.match_type == DEFAULT { "DEFAULT" } else { "SPECIFIED" };
                return refuse(format!("Request specified MATCH_TYPE_{name}, but also specified a match string."));
            }
            (other, _) => return refuse(format!("Unknown match type {other}")),
        };
        filter.push((kind, wanted));
    }
    let has = |kind: &str| filter.iter().any(|(known, _)| *known == kind);
    if has(IP) && (has(USER) || has(CLIENT_ID)) {
        return refuse(
            "Invalid entity filter component combination. IP filter component should not be used with user or clientId \
             filter component."
                .to_owned(),
        );
    }
    Ok(filter)
}

fn matches(filter: &[Component<'_>], strict: bool, entity: &QuotaEntity) -> bool {
    let fits = |(kind, wanted): &Component<'_>| {
        entity.part(kind).is_some_and(|name| wanted.as_ref().is_none_or(|wanted| wanted == name))
    };
    (!strict || entity.parts().count() == filter.len()) && filter.iter().all(fits)
}

fn entry(entity: &QuotaEntity, values: &QuotaValues) -> EntryData {
    let parts = entity.parts().map(|(kind, name)| EntityData {
        entity_type: kind.to_owned(),
        entity_name: name.clone(),
        ..EntityData::default()
    });
    let values =
        values.iter().map(|(key, value)| ValueData { key: key.clone(), value: *value, ..ValueData::default() });
    EntryData { entity: parts.collect(), values: values.collect(), ..EntryData::default() }
}
