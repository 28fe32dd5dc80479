//! The quotas of clients: what entities of users, client ids and addresses may use, as the metadata log has it (KIP-546,
//! KIP-612).

use std::collections::BTreeMap;

use vltava_protocol::records::metadata::ClientQuotaRecord;

/// A user, by the name of its principal.
pub(crate) const USER: &str = "user";
/// What a client says of itself in its requests.
pub(crate) const CLIENT_ID: &str = "client-id";
/// An address that connections come from.
pub(crate) const IP: &str = "ip";

/// What the name of an entity's part is; none stands for all that have no quota of their own, Kafka's default.
pub(crate) type Name = Option<String>;

/// Whose quotas they are: those of an address, or of a user, a client id or both.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct QuotaEntity {
    pub(crate) user: Option<Name>,
    pub(crate) client_id: Option<Name>,
    pub(crate) ip: Option<Name>,
}

impl QuotaEntity {
    /// Of pairs of a type and a name; `None` with a type that there is not.
    pub(crate) fn of<'a>(parts: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Option<Self> {
        let mut entity = Self::default();
        for (kind, name) in parts {
            *entity.part_mut(kind)? = Some(name.map(str::to_owned));
        }
        Some(entity)
    }

    /// What it says of a type, if it says anything.
    pub(crate) fn part(&self, kind: &str) -> Option<&Name> {
        match kind {
            USER => self.user.as_ref(),
            CLIENT_ID => self.client_id.as_ref(),
            IP => self.ip.as_ref(),
            _ => None,
        }
    }

    fn part_mut(&mut self, kind: &str) -> Option<&mut Option<Name>> {
        match kind {
            USER => Some(&mut self.user),
            CLIENT_ID => Some(&mut self.client_id),
            IP => Some(&mut self.ip),
            _ => None,
        }
    }

    /// Its parts with their types.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&'static str, &Name)> {
        [USER, CLIENT_ID, IP].into_iter().filter_map(|kind| Some((kind, self.part(kind)?)))
    }
}

/// The quotas of one entity by their keys.
pub(crate) type QuotaValues = BTreeMap<String, f64>;

/// All quotas.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct QuotasImage {
    entities: BTreeMap<QuotaEntity, QuotaValues>,
}

impl QuotasImage {
    /// The entities that have quotas, with them.
    pub(crate) fn entities(&self) -> impl Iterator<Item = (&QuotaEntity, &QuotaValues)> {
        self.entities.iter()
    }

    /// What an entity has for a key.
    pub(crate) fn value(&self, entity: &QuotaEntity, key: &str) -> Option<f64> {
        self.entities.get(entity)?.get(key).copied()
    }

    /// Takes in a record. One of an entity that there is not here, of a later Kafka, concerns nobody.
    pub(super) fn replay(&mut self, record: &ClientQuotaRecord) {
        let parts = record.entity.iter().map(|part| (part.entity_type.as_str(), part.entity_name.as_deref()));
        let Some(entity) = QuotaEntity::of(parts) else { return };
        let values = self.entities.entry(entity.clone()).or_default();
        match record.remove {
            true => drop(values.remove(&record.key)),
            false => drop(values.insert(record.key.clone(), record.value)),
        }
        if values.is_empty() {
            self.entities.remove(&entity);
        }
    }
}
