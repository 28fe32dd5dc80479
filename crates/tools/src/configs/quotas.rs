//! The quotas of users, clients and addresses.

use std::collections::BTreeMap;
use std::io::Write;

use vltava_client::Admin;
use vltava_client::admin::{ClientQuotaAlteration, ClientQuotaEntity, ClientQuotaFilter, QuotaEntityType};
use vltava_protocol::java;

use super::entity::{Asked, Kind};
use crate::failure::Failure;
use crate::java::{double, hash_map_order};

/// Sets and removes quotas of one entity. One that is not there cannot be removed.
pub(super) async fn alter(
    admin: &Admin,
    asked: &Asked,
    alterations: &BTreeMap<String, Option<f64>>,
) -> Result<(), Failure> {
    let present: Vec<String> =
        described(admin, asked).await?.into_iter().next().map_or_else(Vec::new, |(_, keys)| keys);
    let is_missing = |(key, value): &(&String, &Option<f64>)| value.is_none() && !present.contains(key);
    let missing: Vec<&str> = alterations.iter().filter(is_missing).map(|(key, _)| key.as_str()).collect();
    if !missing.is_empty() {
        return Err(Failure::Message(format!("Invalid config(s): {}", missing.join(","))));
    }
    let mut entity = ClientQuotaEntity::default();
    for (kind, name) in asked.kinds.iter().zip(&asked.names) {
        entity = entity.and(entity_type(*kind), (!name.is_empty()).then(|| name.clone()));
    }
    let alteration =
        alterations.iter().fold(ClientQuotaAlteration::of(entity), |alteration, (key, value)| match value {
            Some(value) => alteration.set(key, *value),
            None => alteration.remove(key),
        });
    for result in admin.alter_client_quotas([alteration]).await.into_values() {
        result?;
    }
    Ok(())
}

/// Tells the quotas of the entities that are asked for.
pub(super) async fn describe(admin: &Admin, asked: &Asked, out: &mut dyn Write) -> Result<(), Failure> {
    for (line, _) in described(admin, asked).await? {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn entity_type(kind: Kind) -> QuotaEntityType {
    match kind {
        Kind::User => QuotaEntityType::User,
        Kind::Ip => QuotaEntityType::Ip,
        _ => QuotaEntityType::ClientId,
    }
}

/// A line for each entity with quotas, in the order of Java's map of them, and its keys.
async fn described(admin: &Admin, asked: &Asked) -> Result<Vec<(String, Vec<String>)>, Failure> {
    let mut filter = ClientQuotaFilter::all().only();
    for (at, kind) in asked.kinds.iter().enumerate() {
        let kind = entity_type(*kind);
        filter = match asked.names.get(at) {
            Some(name) => filter.named(kind, (!name.is_empty()).then_some(name)),
            None => filter.any(kind),
        };
    }
    Ok(in_javas_order(admin.describe_client_quotas(&filter).await?))
}

fn in_javas_order(entities: BTreeMap<ClientQuotaEntity, BTreeMap<String, f64>>) -> Vec<(String, Vec<String>)> {
    let mut entities: Vec<_> = entities.into_iter().collect();
    let table = java::made_for(entities.len(), entities.len());
    java::sort_by_bucket(&mut entities, table, |(entity, _)| hash(entity));
    let line = |(entity, values): (ClientQuotaEntity, BTreeMap<String, f64>)| {
        let count = values.len();
        let mut values: Vec<(String, f64)> = values.into_iter().collect();
        hash_map_order(&mut values, count, |(key, _)| key);
        let shown: Vec<String> = values.iter().map(|(key, value)| format!("{key}={}", double(*value))).collect();
        let keys = values.into_iter().map(|(key, _)| key).collect();
        (format!("Quota configs for {} are {}", name(&entity), shown.join(", ")), keys)
    };
    entities.into_iter().map(line).collect()
}

/// `Objects.hash(entries)` of a map of types and names.
fn hash(entity: &ClientQuotaEntity) -> i32 {
    let of = |(kind, name): (QuotaEntityType, Option<&str>)| {
        java::string_hash(kind.name()) ^ name.map_or(0, java::string_hash)
    };
    entity.parts().map(of).fold(31, i32::wrapping_add)
}

fn name(entity: &ClientQuotaEntity) -> String {
    let part = |(kind, name): (QuotaEntityType, Option<&str>)| {
        let kind = match kind {
            QuotaEntityType::User => "user-principal",
            other => other.name(),
        };
        match name {
            Some(name) => format!("{kind} '{name}'"),
            None => format!("the default {kind}"),
        }
    };
    entity.parts().map(part).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(entities: impl IntoIterator<Item = (ClientQuotaEntity, Vec<(&'static str, f64)>)>) -> Vec<String> {
        let entities = entities
            .into_iter()
            .map(|(entity, values)| (entity, values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()));
        in_javas_order(entities.collect()).into_iter().map(|(line, _)| line).collect()
    }

    /// As Apache Kafka 4.3.1's tool tells them.
    #[test]
    fn entities_are_told_in_the_words_and_the_order_of_kafkas_tool() {
        let of_alice = vec![
            ("producer_byte_rate", 1e7),
            ("consumer_byte_rate", 5.0),
            ("request_percentage", 12.5),
            ("controller_mutation_rate", 0.001),
        ];
        let users = [
            (ClientQuotaEntity::user("alice"), of_alice),
            (ClientQuotaEntity::default_user(), vec![("producer_byte_rate", 100.0)]),
        ];
        assert_eq!(
            lines(users),
            [
                "Quota configs for the default user-principal are producer_byte_rate=100.0",
                "Quota configs for user-principal 'alice' are producer_byte_rate=1.0E7, consumer_byte_rate=5.0, \
                 controller_mutation_rate=0.001, request_percentage=12.5",
            ]
        );
        let client = |name: Option<&str>| (QuotaEntityType::ClientId, name.map(str::to_owned));
        let ((kind, app), (_, default)) = (client(Some("app")), client(None));
        let both = [
            (ClientQuotaEntity::user("alice").and(kind, default), vec![("consumer_byte_rate", 7.0)]),
            (ClientQuotaEntity::user("bob").and(kind, app), vec![("consumer_byte_rate", 8.0)]),
        ];
        assert_eq!(
            lines(both),
            [
                "Quota configs for user-principal 'bob', client-id 'app' are consumer_byte_rate=8.0",
                "Quota configs for user-principal 'alice', the default client-id are consumer_byte_rate=7.0",
            ]
        );
        let address = [(ClientQuotaEntity::ip("127.0.0.9"), vec![("connection_creation_rate", 3.0)])];
        assert_eq!(lines(address), ["Quota configs for ip '127.0.0.9' are connection_creation_rate=3.0"]);
    }
}
