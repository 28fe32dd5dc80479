//! Quotas of clients (KIP-546): what users, client ids and addresses may use.

use std::collections::BTreeMap;
use std::fmt;

use vltava_protocol::messages::alter_client_quotas_request as asked;
use vltava_protocol::messages::describe_client_quotas_request::ComponentData;
use vltava_protocol::messages::{AlterClientQuotasRequest, DescribeClientQuotasRequest};

use super::{Admin, Results};
use crate::error::ClientError;
use crate::net::SendOptions;

/// What a part of an entity is, of those that Kafka knows (KIP-546, KIP-612).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum QuotaEntityType {
    /// A user, by the name of its principal.
    User,
    /// A client, by `client.id`.
    ClientId,
    /// An address that connections come from, or the name of a host.
    Ip,
}

impl QuotaEntityType {
    const ALL: [Self; 3] = [Self::User, Self::ClientId, Self::Ip];

    /// Kafka's name of the type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ClientId => "client-id",
            Self::Ip => "ip",
        }
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for QuotaEntityType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whose quotas they are, Kafka's `ClientQuotaEntity`: those of a user, of a client id, of both together, or of an address.
/// In the place of each name may stand the default: of all that have no quota of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientQuotaEntity {
    parts: BTreeMap<QuotaEntityType, Option<String>>,
}

impl ClientQuotaEntity {
    /// A user.
    #[must_use]
    pub fn user(name: impl Into<String>) -> Self {
        Self::default().and(QuotaEntityType::User, Some(name.into()))
    }

    /// All users without a quota of their own.
    #[must_use]
    pub fn default_user() -> Self {
        Self::default().and(QuotaEntityType::User, None)
    }

    /// A client id.
    #[must_use]
    pub fn client_id(name: impl Into<String>) -> Self {
        Self::default().and(QuotaEntityType::ClientId, Some(name.into()))
    }

    /// All client ids without a quota of their own.
    #[must_use]
    pub fn default_client_id() -> Self {
        Self::default().and(QuotaEntityType::ClientId, None)
    }

    /// An address, or the name of a host.
    #[must_use]
    pub fn ip(address: impl Into<String>) -> Self {
        Self::default().and(QuotaEntityType::Ip, Some(address.into()))
    }

    /// All addresses without a quota of their own.
    #[must_use]
    pub fn default_ip() -> Self {
        Self::default().and(QuotaEntityType::Ip, None)
    }

    /// The same with another part, of which nothing is the default.
    #[must_use]
    pub fn and(mut self, kind: QuotaEntityType, name: Option<String>) -> Self {
        self.parts.insert(kind, name);
        self
    }

    /// The parts with their names, of which nothing is the default.
    pub fn parts(&self) -> impl Iterator<Item = (QuotaEntityType, Option<&str>)> {
        self.parts.iter().map(|(kind, name)| (*kind, name.as_deref()))
    }
}

/// Which entities are meant, Kafka's `ClientQuotaFilter`: those that have all of its parts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClientQuotaFilter {
    components: Vec<ComponentData>,
    strict: bool,
}

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

impl ClientQuotaFilter {
    /// All entities.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Those that have a part of this type and name, of which nothing is the default.
    #[must_use]
    pub fn named(self, kind: QuotaEntityType, name: Option<&str>) -> Self {
        self.with(kind, if name.is_some() { EXACT } else { DEFAULT }, name)
    }

    /// Those that have a part of this type, whatever its name is.
    #[must_use]
    pub fn any(self, kind: QuotaEntityType) -> Self {
        self.with(kind, SPECIFIED, None)
    }

    /// Those that have no other part, Kafka's `containsOnly`.
    #[must_use]
    pub fn only(self) -> Self {
        Self { strict: true, ..self }
    }

    fn with(mut self, kind: QuotaEntityType, match_type: i8, name: Option<&str>) -> Self {
        self.components.push(ComponentData {
            entity_type: kind.name().to_owned(),
            match_type,
            r#match: name.map(str::to_owned),
            ..ComponentData::default()
        });
        self
    }
}

/// What is to become of an entity's quotas, Kafka's `ClientQuotaAlteration`.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientQuotaAlteration {
    entity: ClientQuotaEntity,
    ops: BTreeMap<String, Option<f64>>,
}

impl ClientQuotaAlteration {
    /// Nothing yet.
    #[must_use]
    pub fn of(entity: ClientQuotaEntity) -> Self {
        Self { entity, ops: BTreeMap::new() }
    }

    /// It may use as much: `producer_byte_rate` and `consumer_byte_rate` in bytes per second, `request_percentage` in
    /// percent of a thread's time, `controller_mutation_rate` in partitions per second, and of addresses
    /// `connection_creation_rate` in connections per second.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: f64) -> Self {
        self.ops.insert(key.into(), Some(value));
        self
    }

    /// It has no quota of its own for a key any more.
    #[must_use]
    pub fn remove(mut self, key: impl Into<String>) -> Self {
        self.ops.insert(key.into(), None);
        self
    }

    fn to_wire(&self) -> asked::EntryData {
        let parts = self.entity.parts().map(|(kind, name)| asked::EntityData {
            entity_type: kind.name().to_owned(),
            entity_name: name.map(str::to_owned),
            ..asked::EntityData::default()
        });
        let ops = self.ops.iter().map(|(key, value)| asked::OpData {
            key: key.clone(),
            value: value.unwrap_or_default(),
            remove: value.is_none(),
            ..asked::OpData::default()
        });
        asked::EntryData { entity: parts.collect(), ops: ops.collect(), ..asked::EntryData::default() }
    }
}

/// How quotas are altered, Kafka's `AlterClientQuotasOptions`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct AlterClientQuotasOptions {
    validate_only: bool,
}

impl AlterClientQuotasOptions {
    /// Whether alterations are only checked. Default: no.
    pub fn validate_only(self, validate_only: bool) -> Self {
        Self { validate_only }
    }
}

impl Admin {
    /// The entities that a filter means, with their quotas by key.
    ///
    /// # Errors
    /// `InvalidRequest` for a filter of an address and something else, `ClusterAuthorizationFailed`;
    /// [`ClientError::UnsupportedVersion`] of before Kafka 2.6.
    pub async fn describe_client_quotas(
        &self,
        filter: &ClientQuotaFilter,
    ) -> Result<BTreeMap<ClientQuotaEntity, BTreeMap<String, f64>>, ClientError> {
        let request = DescribeClientQuotasRequest {
            components: filter.components.clone(),
            strict: filter.strict,
            ..DescribeClientQuotasRequest::default()
        };
        let response = self
            .retry(async || {
                let response = self.cluster.send_any(&request).await?;
                ClientError::check(response.error_code, response.error_message.as_deref()).map(|()| response)
            })
            .await?;
        let mut described = BTreeMap::new();
        for entry in response.entries.unwrap_or_default() {
            let parts = entry.entity.iter().map(|part| (part.entity_type.as_str(), part.entity_name.as_deref()));
            let values = entry.values.into_iter().map(|value| (value.key, value.value)).collect();
            described.insert(entity(parts)?, values);
        }
        Ok(described)
    }

    /// Alters quotas. They are in force when this returns, at the latest when the brokers have heard of it.
    ///
    /// # Errors
    /// For each entity `InvalidRequest` for a key that it cannot have, a value that is not greater than 0, or a name of a
    /// host that has no address; `ClusterAuthorizationFailed`.
    pub async fn alter_client_quotas(
        &self,
        alterations: impl IntoIterator<Item = ClientQuotaAlteration>,
    ) -> Results<ClientQuotaEntity, ()> {
        self.alter_client_quotas_with(alterations, AlterClientQuotasOptions::default()).await
    }

    /// As [`alter_client_quotas`](Self::alter_client_quotas), with options.
    ///
    /// # Errors
    /// As [`alter_client_quotas`](Self::alter_client_quotas).
    pub async fn alter_client_quotas_with(
        &self,
        alterations: impl IntoIterator<Item = ClientQuotaAlteration>,
        options: AlterClientQuotasOptions,
    ) -> Results<ClientQuotaEntity, ()> {
        let entries: BTreeMap<ClientQuotaEntity, asked::EntryData> =
            alterations.into_iter().map(|alteration| (alteration.entity.clone(), alteration.to_wire())).collect();
        let entries = &entries;
        self.retry_each(entries.keys().cloned().collect(), async |entities: Vec<ClientQuotaEntity>| {
            let request = AlterClientQuotasRequest {
                entries: entities.iter().filter_map(|entity| entries.get(entity).cloned()).collect(),
                validate_only: options.validate_only,
                ..AlterClientQuotasRequest::default()
            };
            let response = self.cluster.send_controller(&request, SendOptions::default()).await?;
            let answers = response.entries.into_iter().map(|entry| {
                let parts = entry.entity.iter().map(|part| (part.entity_type.as_str(), part.entity_name.as_deref()));
                Ok((entity(parts)?, ClientError::check(entry.error_code, entry.error_message.as_deref())))
            });
            answers.collect()
        })
        .await
    }
}

fn entity<'a>(parts: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Result<ClientQuotaEntity, ClientError> {
    let mut entity = ClientQuotaEntity::default();
    for (kind, name) in parts {
        let known = QuotaEntityType::of(kind);
        let kind = known.ok_or_else(|| ClientError::unexpected(format!("a quota of an unknown entity `{kind}`")))?;
        entity = entity.and(kind, name.map(str::to_owned));
    }
    Ok(entity)
}
