//! `security.protocol`, and the keys of TLS that go with it.

use vltava_config::{ConfigError, Reader};
use vltava_security::SecurityProtocol;
#[cfg(feature = "tls")]
use vltava_security::ssl::SslConfig;

const PROTOCOL: &str = "security.protocol";

/// How connections are protected, if they can be.
pub(super) fn protocol(settings: &Reader<'_>) -> Result<SecurityProtocol, ConfigError> {
    let value = settings.required(PROTOCOL)?;
    let refuse = |reason: &str| Err(ConfigError::new(PROTOCOL, value, reason));
    match value.parse::<SecurityProtocol>() {
        Ok(protocol) if protocol.is_tls() && cfg!(not(feature = "tls")) => refuse(vltava_security::ssl::NO_TLS),
        Ok(protocol) => Ok(protocol),
        Err(()) => refuse("is no security protocol"),
    }
}

/// Refuses keys of TLS where there is none: their effect would be missed.
pub(super) fn check(settings: &Reader<'_>, protocol: SecurityProtocol) -> Result<(), ConfigError> {
    // In a program whose broker has TLS they act by their definitions, whatever the client is built with.
    for row in vltava_security::ssl::CLIENT.iter().filter(|row| row.support.acts()) {
        let value = settings.text(row.key);
        if !protocol.is_tls() && !vltava_security::ssl::is_default(row, value) {
            let reason = match cfg!(feature = "tls") {
                true => format!("has no effect with `security.protocol` {}", protocol.name()),
                false => vltava_security::ssl::NO_TLS.to_owned(),
            };
            return Err(ConfigError::new(row.key, row.shown(value.unwrap_or("")), reason));
        }
    }
    Ok(())
}

/// The keys of TLS, where there is TLS.
#[cfg(feature = "tls")]
pub(super) fn read(settings: &Reader<'_>, protocol: SecurityProtocol) -> Result<Option<SslConfig>, ConfigError> {
    let read = || SslConfig::read(&|key| settings.settings().text(key));
    protocol.is_tls().then(read).transpose()
}
