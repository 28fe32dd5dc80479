//! `authorizer.class.name` and the settings of Kafka's StandardAuthorizer, which Kafka's broker itself does not know.

use std::collections::HashSet;
use std::sync::Arc;

use vltava_config::{ConfigError, Reader, Settings};
use vltava_security::KafkaPrincipal;

use crate::security::authorizer::Authorizer;

pub(super) const CLASS_NAME: &str = "authorizer.class.name";
const SUPER_USERS: &str = "super.users";
const ALLOW_EVERYONE_IF_NO_ACL_FOUND: &str = "allow.everyone.if.no.acl.found";

/// Whether this is a key of the authorizer, which the broker itself does not know.
pub(crate) fn is_authorizer_key(name: &str) -> bool {
    matches!(name, SUPER_USERS | ALLOW_EVERYONE_IF_NO_ACL_FOUND)
}

/// The one class that there is.
const STANDARD: &str = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";

pub(super) fn read(reader: &Reader<'_>, settings: &Settings) -> Result<Option<Arc<Authorizer>>, ConfigError> {
    match reader.non_empty(CLASS_NAME) {
        None => return Ok(None),
        Some(STANDARD) => {}
        Some(class) => return Err(ConfigError::new(CLASS_NAME, class, format!("must be {STANDARD} or empty"))),
    }
    let given = |wanted: &str| settings.foreign().find(|(key, _)| *key == wanted).map(|(_, value)| value);
    let super_users = match given(SUPER_USERS) {
        Some(users) => principals(users)?,
        None => HashSet::new(),
    };
    let allow_everyone_if_no_acl_found =
        given(ALLOW_EVERYONE_IF_NO_ACL_FOUND).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    Ok(Some(Arc::new(Authorizer { super_users, allow_everyone_if_no_acl_found })))
}

/// The principals between semicolons.
fn principals(users: &str) -> Result<HashSet<KafkaPrincipal>, ConfigError> {
    let named = users.split(';').map(str::trim).filter(|user| !user.is_empty());
    let principal = |user: &str| {
        user.parse().map_err(|()| {
            let reason = format!("expected a string in format principalType:principalName but got {user}");
            ConfigError::new(SUPER_USERS, users, reason)
        })
    };
    named.map(principal).collect()
}
