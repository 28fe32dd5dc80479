//! Who is at the other end, and who may do what: the rules of Kafka's StandardAuthorizer over the access control lists of the
//! metadata log.
//!
//! In reading order: `authentication` (SASL before the first request), `tokens` and `jwks` (those of OAUTHBEARER, and the keys that sign them), `acls` (the lists and their rules), `authorizer` (super
//! users, what holds without a list, the audit log), `access` (what a handler asks for one request). What each API needs
//! stands in the list of APIs.

pub(crate) mod access;
pub(crate) mod acls;
pub(crate) mod authentication;
pub(crate) mod authorizer;
pub(crate) mod bindings;
#[cfg(feature = "oauth")]
mod jwks;
#[cfg(feature = "oauth")]
pub(crate) mod tokens;

pub(crate) use access::{Access, Resource};
