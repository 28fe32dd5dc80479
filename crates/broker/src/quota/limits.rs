//! What a client may use of one kind, and whose use counts together with its own.
//!
//! Kafka's order, from the closest: user and client id, user and the default of client ids, user, the default of users and
//! client id, both defaults, the default of users, client id, the default of client ids. The first that there is holds, and
//! no other. A quota of a user is shared by all of its clients, one of a client id by all users; each user, and each client
//! id, that has the default has it for itself.
//!
//! A request without a client id has the defaults of client ids, where Kafka lets it go.

use std::collections::HashMap;

use super::Client;
use crate::metadata::quotas::QuotasImage;

/// The quotas of one kind of use.
#[derive(Debug, Default)]
pub(super) struct Limits {
    of_users: HashMap<String, OfUser>,
    of_other_users: OfUser,
    of_no_user: OfUser,
}

/// The quotas of a user, or of those that are for no user.
#[derive(Debug, Default)]
struct OfUser {
    alone: Option<f64>,
    of_clients: HashMap<String, f64>,
    of_other_clients: Option<f64>,
}

/// A limit, and by whom its use is shared: those of a user, of a client id or of both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limit<'a> {
    pub(super) per_second: f64,
    pub(super) user: &'a str,
    pub(super) client_id: &'a str,
}

impl Limits {
    /// Those of a key.
    pub(super) fn of(image: &QuotasImage, key: &str) -> Self {
        let mut limits = Self::default();
        for (entity, values) in image.entities() {
            let Some(value) = values.get(key).copied() else { continue };
            if entity.ip.is_some() {
                continue;
            }
            let of_user = match &entity.user {
                None => &mut limits.of_no_user,
                Some(None) => &mut limits.of_other_users,
                Some(Some(user)) => limits.of_users.entry(user.clone()).or_default(),
            };
            match &entity.client_id {
                None => of_user.alone = Some(value),
                Some(None) => of_user.of_other_clients = Some(value),
                Some(Some(client_id)) => drop(of_user.of_clients.insert(client_id.clone(), value)),
            }
        }
        limits
    }

    /// Whether there is none at all.
    pub(super) fn is_empty(&self) -> bool {
        self.of_users.is_empty() && self.of_other_users.is_empty() && self.of_no_user.is_empty()
    }

    /// What holds for a client, if anything does.
    pub(super) fn find<'a>(&self, client: Client<'a>) -> Option<Limit<'a>> {
        let Client { user, client_id } = client;
        let of_client = |of_user: &OfUser| of_user.of_clients.get(client_id).copied().or(of_user.of_other_clients);
        for of_user in self.of_users.get(user).into_iter().chain([&self.of_other_users]) {
            if let Some(per_second) = of_client(of_user) {
                return Some(Limit { per_second, user, client_id });
            }
            if let Some(per_second) = of_user.alone {
                return Some(Limit { per_second, user, client_id: "" });
            }
        }
        of_client(&self.of_no_user).map(|per_second| Limit { per_second, user: "", client_id })
    }
}

impl OfUser {
    fn is_empty(&self) -> bool {
        self.alone.is_none() && self.of_clients.is_empty() && self.of_other_clients.is_none()
    }
}

#[cfg(test)]
mod tests {
    use vltava_protocol::records::metadata::client_quota_record::EntityData;
    use vltava_protocol::records::metadata::{ClientQuotaRecord, MetadataRecord};

    use super::*;
    use crate::metadata::image::MetadataImage;

    const KEY: &str = "producer_byte_rate";

    fn part(kind: &str, name: &str) -> EntityData {
        let entity_name = (name != "*").then(|| name.to_owned());
        EntityData { entity_type: kind.to_owned(), entity_name, ..Default::default() }
    }

    /// `user/client-id`, `*` for a default, and nothing for none.
    fn limits(entities: &[(&str, f64)]) -> Limits {
        let mut image = MetadataImage::default();
        for (entity, value) in entities {
            let (user, client_id) = entity.split_once('/').unwrap();
            let parts = [("user", user), ("client-id", client_id)].into_iter().filter(|(_, name)| !name.is_empty());
            let record = ClientQuotaRecord {
                entity: parts.map(|(kind, name)| part(kind, name)).collect(),
                key: KEY.to_owned(),
                value: *value,
                ..Default::default()
            };
            image.replay(&MetadataRecord::ClientQuota(record)).unwrap();
        }
        Limits::of(image.quotas(), KEY)
    }

    const ALL: [(&str, f64); 8] =
        [("u/c", 1.0), ("u/*", 2.0), ("u/", 3.0), ("*/c", 4.0), ("*/*", 5.0), ("*/", 6.0), ("/c", 7.0), ("/*", 8.0)];

    #[test]
    fn the_closest_of_eight_kinds_holds() {
        // How a client that all of them are about shares its use, as they go one after the other.
        let shared = [("u", "c"), ("u", "c"), ("u", ""), ("u", "c"), ("u", "c"), ("u", ""), ("", "c"), ("", "c")];
        for (from, (user, client_id)) in shared.into_iter().enumerate() {
            let limits = limits(&ALL[from..]);
            let expected = Limit { per_second: ALL[from].1, user, client_id };
            assert_eq!(limits.find(Client { user: "u", client_id: "c" }), Some(expected), "{:?}", &ALL[from..]);
        }
        assert!(limits(&[]).is_empty());
        assert_eq!(limits(&[]).find(Client { user: "u", client_id: "c" }), None);
    }

    #[test]
    fn others_have_the_defaults_each_for_itself() {
        let limits = limits(&ALL);
        for (user, client_id, expected) in [
            ("u", "d", Limit { per_second: 2.0, user: "u", client_id: "d" }),
            ("u", "", Limit { per_second: 2.0, user: "u", client_id: "" }),
            ("v", "c", Limit { per_second: 4.0, user: "v", client_id: "c" }),
            ("v", "d", Limit { per_second: 5.0, user: "v", client_id: "d" }),
        ] {
            assert_eq!(limits.find(Client { user, client_id }), Some(expected), "{user} {client_id}");
        }
    }

    #[test]
    fn what_is_about_others_does_not_hold() {
        for (entity, user, client_id) in [("u/c", "u", "d"), ("u/c", "v", "c"), ("u/", "v", "c"), ("/c", "u", "d")] {
            assert_eq!(limits(&[(entity, 1.0)]).find(Client { user, client_id }), None, "{entity}");
        }
        let of_nobody = limits(&[("u/c", 1.0)]);
        assert!(!of_nobody.is_empty());
    }
}
