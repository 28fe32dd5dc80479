//! The settings of TLS, which each listener may have for itself: `listener.name.NAME.ssl.*` before `ssl.*`.

use std::collections::BTreeMap;

use vltava_config::{ConfigError, Settings};
use vltava_security::SecurityProtocol;
use vltava_security::ssl::{self, SslConfig, SslPrincipalMapper};

use super::keys::without_listener;

/// What TLS of one listener is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ListenerSsl {
    pub(crate) config: SslConfig,
}

impl ListenerSsl {
    /// Reads what holds for a listener. `value` gives that of a key that is set, or its default.
    pub(crate) fn read<'a>(listener: &str, value: &dyn Fn(&str) -> Option<&'a str>) -> Result<Self, ConfigError> {
        let own_key = |key: &str| format!("{}{key}", prefix(listener));
        let of_listener = |key: &'static str| value(&own_key(key)).or_else(|| value(key));
        let config = match SslConfig::read(&of_listener) {
            Ok(config) if config.has_keys() => Ok(config),
            Ok(_) => Err(ConfigError::missing("ssl.keystore.location")),
            Err(error) => Err(error),
        };
        let config = config.map_err(|error| as_given(listener, value, error))?;
        Ok(Self { config })
    }

    /// From the name in a client's certificate to that of a principal.
    pub(crate) fn principals(&self) -> &SslPrincipalMapper {
        self.config.principals()
    }
}

/// The error with the key as it was given: for all listeners, or for this one.
pub(crate) fn as_given<'a>(
    listener: &str,
    value: &dyn Fn(&str) -> Option<&'a str>,
    mut error: ConfigError,
) -> ConfigError {
    let own = format!("{}{}", prefix(listener), error.key);
    if value(&own).is_some() {
        error.key = own;
    }
    error
}

/// What the keys begin with that are a listener's own.
pub(crate) fn prefix(listener: &str) -> String {
    format!("listener.name.{}.", listener.to_ascii_lowercase())
}

/// What every listener with TLS has. Settings that none of them has would be missed: they are refused.
pub(super) fn of_listeners(
    settings: &Settings,
    protocols: &BTreeMap<String, SecurityProtocol>,
) -> Result<BTreeMap<String, ListenerSsl>, ConfigError> {
    let has_tls = |listener: &str| protocols.get(listener).is_some_and(|protocol| protocol.is_tls());
    for (key, _) in settings.foreign() {
        let of_tls = without_listener(key).is_some_and(|key| ssl::BROKER.iter().any(|row| row.key == key));
        if of_tls && !protocols.keys().any(|name| has_tls(name) && key.starts_with(&prefix(name))) {
            return Err(ConfigError::new(key, "***", "there is no listener of this name, in small letters, with TLS"));
        }
    }
    let any = protocols.keys().any(|name| has_tls(name));
    for row in ssl::BROKER.iter().filter(|row| row.support.acts()) {
        let value = settings.text(row.key);
        if !any && !ssl::is_default(row, value) {
            return Err(ConfigError::new(
                row.key,
                row.shown(value.unwrap_or("")),
                "has no effect: no listener has TLS",
            ));
        }
    }
    let names = protocols.keys().filter(|name| has_tls(name));
    names.map(|name| Ok((name.clone(), ListenerSsl::read(name, &|key| settings.text(key))?))).collect()
}
