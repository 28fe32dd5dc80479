//! The quotas of clients, altered as Kafka's `ClientQuotaControlManager` does.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use tracing::info;
use vltava_protocol::messages::AlterClientQuotasRequest;
use vltava_protocol::messages::alter_client_quotas_request as asked;
use vltava_protocol::messages::alter_client_quotas_response as answered;
use vltava_protocol::records::metadata::client_quota_record::EntityData;
use vltava_protocol::records::metadata::{ClientQuotaRecord, MetadataRecord};
use vltava_protocol::{ErrorCode, java};

use super::Controller;
use crate::handlers::create_acls::MOST_AT_ONCE;
use crate::metadata::image::MetadataImage;
use crate::metadata::quotas::{CLIENT_ID, IP, QuotaEntity, USER};
use crate::quota::{
    CONNECTION_CREATION_RATE, CONSUMER_BYTE_RATE, CONTROLLER_MUTATION_RATE, PRODUCER_BYTE_RATE, REQUEST_PERCENTAGE,
};
use crate::request::ApiError;

/// Alters what the request names, and tells of each entity what became of it. `hosts` are the names of hosts among them
/// that have an address.
///
/// # Errors
/// Where the metadata log cannot be written, or it is too much for one change; then nothing of it has happened.
pub(crate) async fn alter(
    controller: &Arc<Controller>,
    request: AlterClientQuotasRequest,
    hosts: HashSet<String>,
) -> Result<Vec<answered::EntryData>, ApiError> {
    let outcome = controller.update(move |image| {
        let mut planned = plan(image, &request, &hosts);
        if planned.records.len() > MOST_AT_ONCE {
            let text = "Unable to perform excessively large batch operation.";
            return Err(ApiError::new(ErrorCode::PolicyViolation, text));
        }
        let records = std::mem::take(&mut planned.records);
        Ok((if request.validate_only { Vec::new() } else { records }, planned))
    });
    let Plan { results, altered, .. } = outcome.await?;
    for Altered { entity, key, value } in altered {
        match value {
            Some(value) => info!(%entity, key, value, "a quota is set"),
            None => info!(%entity, key, "a quota is removed"),
        }
    }
    Ok(results)
}

/// The names of addresses in a request that are to be resolved before it is decided on.
pub(crate) fn names_of_hosts(request: &AlterClientQuotasRequest) -> impl Iterator<Item = &str> {
    let parts = request.entries.iter().flat_map(|entry| &entry.entity);
    let names = parts.filter(|part| part.entity_type == IP).filter_map(|part| part.entity_name.as_deref());
    names.filter(|name| !name.is_empty() && address(name).is_none())
}

/// An address as Java takes it, an IPv6 one also in brackets.
pub(crate) fn address(name: &str) -> Option<IpAddr> {
    let inner = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(name).parse().ok().map(|address: IpAddr| address.to_canonical())
}

/// What is to be written, what is answered, and what the log is told if it is done.
#[derive(Debug, Default)]
struct Plan {
    records: Vec<MetadataRecord>,
    results: Vec<answered::EntryData>,
    altered: Vec<Altered>,
}

/// One quota that changes.
#[derive(Debug)]
struct Altered {
    entity: Requested,
    key: String,
    value: Option<f64>,
}

/// An entity as a request has it, whatever its types are, in the order of Java's map of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Requested(Vec<(String, Option<String>)>);

impl Requested {
    fn of(parts: &[asked::EntityData]) -> Self {
        let mut entries: Vec<(String, Option<String>)> = Vec::with_capacity(parts.len());
        for part in parts {
            match entries.iter_mut().find(|(kind, _)| *kind == part.entity_type) {
                Some((_, name)) => name.clone_from(&part.entity_name),
                None => entries.push((part.entity_type.clone(), part.entity_name.clone())),
            }
        }
        let table = java::made_for(parts.len(), entries.len());
        java::sort_by_bucket(&mut entries, table, |(kind, _)| java::string_hash(kind));
        Self(entries)
    }

    fn result(&self, outcome: Result<(), ApiError>) -> answered::EntryData {
        let entity = self.0.iter().map(|(entity_type, entity_name)| answered::EntityData {
            entity_type: entity_type.clone(),
            entity_name: entity_name.clone(),
            ..answered::EntityData::default()
        });
        let error = outcome.err();
        answered::EntryData {
            entity: entity.collect(),
            error_code: error.as_ref().map_or(0, |error| error.code.code()),
            error_message: error.and_then(|error| error.text()),
            ..answered::EntryData::default()
        }
    }
}

/// As Kafka's texts have it.
impl fmt::Display for Requested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> =
            self.0.iter().map(|(kind, name)| format!("{kind}={}", name.as_deref().unwrap_or("null"))).collect();
        write!(f, "ClientQuotaEntity(entries={{{}}})", parts.join(", "))
    }
}

fn refuse(text: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, text)
}

fn plan(image: &MetadataImage, request: &AlterClientQuotasRequest, hosts: &HashSet<String>) -> Plan {
    let mut plan = Plan::default();
    let mut outcomes: Vec<(Requested, Result<(), ApiError>)> = Vec::new();
    for entry in &request.entries {
        let entity = Requested::of(&entry.entity);
        let mut ops: BTreeMap<&str, Option<f64>> = BTreeMap::new();
        let mut is_repeated = false;
        for op in &entry.ops {
            let value = (!op.remove).then_some(op.value);
            is_repeated |= ops.contains_key(op.key.as_str());
            ops.entry(&op.key).or_insert(value);
        }
        let known = outcomes.iter_mut().find(|(known, _)| *known == entity);
        // Kafka says the same of an entity whose keys are named twice. What was decided on it before stays.
        if is_repeated || known.is_some() {
            let refused = Err(refuse(format!("Ignoring duplicate entity {entity}")));
            match known {
                Some((_, outcome)) => *outcome = refused,
                None => outcomes.push((entity, refused)),
            }
            continue;
        }
        let outcome = decide(image, &entity, &ops, hosts).map(|records| {
            if !request.validate_only {
                plan.altered.extend(records.iter().filter_map(|record| altered(&entity, record)));
            }
            plan.records.extend(records);
        });
        outcomes.push((entity, outcome));
    }
    plan.results = outcomes.into_iter().map(|(entity, outcome)| entity.result(outcome)).collect();
    plan
}

fn altered(entity: &Requested, record: &MetadataRecord) -> Option<Altered> {
    let MetadataRecord::ClientQuota(quota) = record else { return None };
    let value = (!quota.remove).then_some(quota.value);
    Some(Altered { entity: entity.clone(), key: quota.key.clone(), value })
}

/// The records that alter one entity, of those keys only that change.
fn decide(
    image: &MetadataImage,
    requested: &Requested,
    ops: &BTreeMap<&str, Option<f64>>,
    hosts: &HashSet<String>,
) -> Result<Vec<MetadataRecord>, ApiError> {
    let entity = check_entity(requested)?;
    let keys = keys(&entity, hosts)?;
    let mut records = Vec::new();
    for (key, value) in ops {
        let current = image.quotas().value(&entity, key);
        match value {
            None if current.is_none() => continue,
            None => {}
            Some(value) => {
                check_value(keys, key, *value)?;
                if current == Some(*value) {
                    continue;
                }
            }
        }
        records.push(MetadataRecord::ClientQuota(ClientQuotaRecord {
            entity: entity.parts().map(|(kind, name)| part(kind, name.as_deref())).collect(),
            key: (*key).to_owned(),
            value: value.unwrap_or_default(),
            remove: value.is_none(),
            ..ClientQuotaRecord::default()
        }));
    }
    Ok(records)
}

fn part(kind: &str, name: Option<&str>) -> EntityData {
    EntityData { entity_type: kind.to_owned(), entity_name: name.map(str::to_owned), ..EntityData::default() }
}

fn check_entity(requested: &Requested) -> Result<QuotaEntity, ApiError> {
    if requested.0.is_empty() {
        return Err(refuse("Invalid empty client quota entity"));
    }
    for (kind, name) in &requested.0 {
        if ![USER, CLIENT_ID, IP].contains(&kind.as_str()) {
            return Err(refuse(format!("Unhandled client quota entity type: {kind}")));
        }
        if name.as_deref() == Some("") {
            return Err(refuse(format!("Empty {kind} not supported")));
        }
    }
    let parts = requested.0.iter().map(|(kind, name)| (kind.as_str(), name.as_deref()));
    QuotaEntity::of(parts).ok_or_else(|| refuse("Invalid empty client quota entity"))
}

/// What a quota's value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Long,
    Int,
    Double,
}

const OF_CLIENTS: &[(&str, Kind)] = &[
    (PRODUCER_BYTE_RATE, Kind::Long),
    (CONSUMER_BYTE_RATE, Kind::Long),
    (REQUEST_PERCENTAGE, Kind::Double),
    (CONTROLLER_MUTATION_RATE, Kind::Double),
];
const OF_ADDRESSES: &[(&str, Kind)] = &[(CONNECTION_CREATION_RATE, Kind::Int)];

/// The keys that an entity may have.
fn keys(entity: &QuotaEntity, hosts: &HashSet<String>) -> Result<&'static [(&'static str, Kind)], ApiError> {
    match &entity.ip {
        None => Ok(OF_CLIENTS),
        Some(_) if entity.user.is_some() || entity.client_id.is_some() => {
            let text = "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId";
            Err(refuse(text))
        }
        Some(Some(name)) if address(name).is_none() && !hosts.contains(name) => {
            Err(refuse(format!("{name} is not a valid IP or resolvable host.")))
        }
        Some(_) => Ok(OF_ADDRESSES),
    }
}

fn check_value(keys: &[(&str, Kind)], key: &str, value: f64) -> Result<(), ApiError> {
    let known = keys.iter().find(|(known, _)| *known == key);
    let (_, kind) = known.ok_or_else(|| refuse(format!("Invalid configuration key {key}")))?;
    // What is no number is no quota either; Kafka takes it.
    if value <= 0.0 || value.is_nan() {
        return Err(refuse(format!("Quota {key} must be greater than 0")));
    }
    let too_large = match kind {
        Kind::Double => return Ok(()),
        Kind::Int if value > f64::from(i32::MAX) => Some("an INT"),
        // As Java compares it: the largest number, as a floating-point number, is in range.
        Kind::Long if value > 9_223_372_036_854_775_807.0 => Some("a LONG"),
        Kind::Int | Kind::Long => None,
    };
    match too_large {
        Some(what) => Err(refuse(format!("Proposed value for {key} is too large for {what}."))),
        None if (value % 1.0).abs() > 1e-6 => Err(refuse(format!("{key} cannot be a fractional value."))),
        None => Ok(()),
    }
}
