//! What an alteration of users, clients or addresses is about: quotas, or credentials of SCRAM, never both.

use std::collections::BTreeMap;

use vltava_client::admin::{AlterConfigOp, UserScramCredentialAlteration};

use super::entity::{Asked, Kind};
use super::users;
use crate::failure::Failure;

/// The quotas that users and clients may have.
const OF_CLIENTS: [&str; 4] =
    ["producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate"];
/// The quotas that addresses may have.
const OF_ADDRESSES: [&str; 1] = ["connection_creation_rate"];

/// What is to be altered.
#[derive(Debug, PartialEq)]
pub(super) enum Plan {
    /// Values to set by their keys, of which nothing removes.
    Quotas(BTreeMap<String, Option<f64>>),
    Credentials(Vec<UserScramCredentialAlteration>),
}

/// Refuses what an entity cannot have, in the words of Kafka's tool.
pub(super) fn plan(asked: &Asked, changes: BTreeMap<String, AlterConfigOp>) -> Result<Plan, Failure> {
    let refuse = |text: String| Err(Failure::Message(text));
    let head = asked.head();
    let names = |wanted: &dyn Fn(&str) -> bool, adds: bool| -> Vec<&str> {
        let of = changes.iter().filter(|(_, op)| matches!(op, AlterConfigOp::Set(_)) == adds);
        of.map(|(key, _)| key.as_str()).filter(|key| wanted(key)).collect()
    };
    if head.kind == Kind::Ip {
        let is_unknown = |key: &str| !OF_ADDRESSES.contains(&key);
        let unknown = [names(&is_unknown, true), names(&is_unknown, false)].concat();
        if !unknown.is_empty() {
            return refuse(format!(
                "Only connection quota configs can be added for 'ips' using --bootstrap-server. Unexpected config names: \
                 {}",
                unknown.join(",")
            ));
        }
        return values(changes).map(Plan::Quotas);
    }
    let is_scram = |key: &str| users::mechanism(key).is_some();
    let is_quota = |key: &str| OF_CLIENTS.contains(&key);
    let is_of_users = asked.kinds == [Kind::User];
    let is_unknown = |key: &str| !(is_quota(key) || is_of_users && is_scram(key));
    let (kinds, of) = if is_of_users { ("quota and SCRAM credential", "users") } else { ("quota", "clients") };
    // The names stand in the form of Scala's collections.
    for (verb, collection, adds) in [("added", "Set", true), ("deleted", "ArrayBuffer", false)] {
        let unknown = names(&is_unknown, adds);
        if !unknown.is_empty() {
            return refuse(format!(
                "Only {kinds} configs can be {verb} for '{of}' using --bootstrap-server. Unexpected config names: \
                 {collection}({})",
                unknown.join(", ")
            ));
        }
    }
    let has_quotas = changes.keys().any(|key| is_quota(key));
    if !changes.keys().any(|key| is_scram(key)) {
        return values(changes).map(Plan::Quotas);
    }
    let Some(user) = head.name.filter(|name| !name.is_empty()) else {
        let text = "The use of --entity-default or --user-defaults is not allowed with User SCRAM Credentials using \
                    --bootstrap-server.";
        return refuse(text.to_owned());
    };
    if has_quotas {
        let text = "Cannot alter both quota and SCRAM credential configs simultaneously for 'users' using \
                    --bootstrap-server.";
        return refuse(text.to_owned());
    }
    users::alterations(&user, changes).map(Plan::Credentials)
}

fn values(changes: BTreeMap<String, AlterConfigOp>) -> Result<BTreeMap<String, Option<f64>>, Failure> {
    let value = |(key, op): (String, AlterConfigOp)| match op {
        AlterConfigOp::Set(text) => match text.trim().parse() {
            Ok(value) => Ok((key, Some(value))),
            Err(_) => Err(Failure::Message(format!("Cannot parse quota configuration value for {key}: {text}"))),
        },
        _ => Ok((key, None)),
    };
    changes.into_iter().map(value).collect()
}
