//! `ssl.*` as typed values.

use std::fmt;
use std::path::PathBuf;

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};
use vltava_config::{ConfigError, split_list};

use super::principal_mapper::SslPrincipalMapper;
use super::store::{self, KeySource, TrustSource};
use crate::Secret;

const CIPHER_SUITES: &str = "ssl.cipher.suites";
const CLIENT_AUTH: &str = "ssl.client.auth";
const ENABLED_PROTOCOLS: &str = "ssl.enabled.protocols";
const ENDPOINT_IDENTIFICATION: &str = "ssl.endpoint.identification.algorithm";
const PRINCIPAL_RULES: &str = "ssl.principal.mapping.rules";
const PROTOCOL: &str = "ssl.protocol";

/// The settings of TLS for one end of connections (Kafka's `SslConfigs`), checked, with the files not read yet.
#[derive(Clone, PartialEq)]
pub struct SslConfig {
    pub(super) keys: Option<KeySource>,
    pub(super) trust: Option<TrustSource>,
    versions: Vec<&'static SupportedProtocolVersion>,
    /// None for all.
    suites: Vec<SupportedCipherSuite>,
    pub(super) checks_host: bool,
    pub(super) client_auth: ClientAuth,
    pub(super) allows_dn_changes: bool,
    pub(super) allows_san_changes: bool,
    pub(super) principals: SslPrincipalMapper,
}

/// Whether a server asks clients for a certificate: `ssl.client.auth`, Kafka's `SslClientAuth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    None,
    /// They are asked, and may have none; one that they have must be trusted.
    Requested,
    /// They must have one.
    Required,
}

impl SslConfig {
    /// Reads the settings; `text` gives the value of each key, and none for Kafka's null.
    ///
    /// # Errors
    /// [`ConfigError`] for a value that TLS cannot be made of here, and for settings that contradict each other.
    pub fn read<'a>(text: &dyn Fn(&'static str) -> Option<&'a str>) -> Result<Self, ConfigError> {
        let flag = |key| text(key).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let config = Self {
            keys: key_source(text)?,
            trust: trust_source(text)?,
            versions: versions(text)?,
            suites: suites(text)?,
            checks_host: match text(ENDPOINT_IDENTIFICATION) {
                None | Some("") => false,
                Some(value) if value.eq_ignore_ascii_case("https") => true,
                Some(value) => return Err(ConfigError::new(ENDPOINT_IDENTIFICATION, value, "must be https or empty")),
            },
            client_auth: match text(CLIENT_AUTH).unwrap_or("none") {
                "none" => ClientAuth::None,
                "requested" => ClientAuth::Requested,
                "required" => ClientAuth::Required,
                value => return Err(ConfigError::new(CLIENT_AUTH, value, "must be none, requested or required")),
            },
            allows_dn_changes: flag("ssl.allow.dn.changes"),
            allows_san_changes: flag("ssl.allow.san.changes"),
            principals: SslPrincipalMapper::parse(text(PRINCIPAL_RULES).unwrap_or("DEFAULT"))?,
        };
        let fits = |suite: &SupportedCipherSuite| config.versions.iter().any(|version| suite.version() == *version);
        if !config.suites.is_empty() && !config.suites.iter().any(fits) {
            return Err(ConfigError::new(
                CIPHER_SUITES,
                listed(text, CIPHER_SUITES),
                "none of them is of a version that may be used",
            ));
        }
        Ok(config)
    }

    /// The algorithms, as far as the settings allow them.
    pub(super) fn provider(&self) -> CryptoProvider {
        let mut provider = default_provider();
        if !self.suites.is_empty() {
            provider.cipher_suites = self.suites.clone();
        }
        provider
    }

    /// The versions, as far as there are cipher suites for them.
    pub(super) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let has_suite =
            |version: &&&'static SupportedProtocolVersion| self.suites.iter().any(|suite| suite.version() == **version);
        self.versions.iter().filter(|version| self.suites.is_empty() || has_suite(version)).copied().collect()
    }

    /// Whether there is a certificate of its own.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.keys.is_some()
    }

    /// Whom the certificates of clients name.
    #[must_use]
    pub fn principals(&self) -> &SslPrincipalMapper {
        &self.principals
    }

    /// Whether a server asks clients for a certificate.
    #[must_use]
    pub fn client_auth(&self) -> ClientAuth {
        self.client_auth
    }
}

impl fmt::Debug for SslConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keys, trust, checks_host, client_auth, .. } = self;
        f.debug_struct("SslConfig")
            .field("keys", keys)
            .field("trust", trust)
            .field("checks_host", checks_host)
            .field("client_auth", client_auth)
            .finish_non_exhaustive()
    }
}

/// The forms of a file.
enum Form {
    Pem,
    Store,
}

fn form(key: &'static str, value: Option<&str>) -> Result<Form, ConfigError> {
    match value.unwrap_or("JKS") {
        pem if pem.eq_ignore_ascii_case("PEM") => Ok(Form::Pem),
        store if store.eq_ignore_ascii_case("JKS") || store.eq_ignore_ascii_case("PKCS12") => Ok(Form::Store),
        other => Err(ConfigError::new(key, other, "must be JKS, PKCS12 or PEM")),
    }
}

fn key_source<'a>(text: &dyn Fn(&'static str) -> Option<&'a str>) -> Result<Option<KeySource>, ConfigError> {
    let given = |key| text(key).filter(|value| !value.is_empty());
    let secret = |key| given(key).map(Secret::from);
    let hidden = |key, reason: &str| Err(ConfigError::new(key, "***", reason));
    let form = form(store::KEYSTORE_TYPE, text(store::KEYSTORE_TYPE))?;
    let location = given(store::KEYSTORE_LOCATION);
    let password = secret(store::KEYSTORE_PASSWORD);
    let key_password = secret(store::KEY_PASSWORD);
    match (secret(store::KEYSTORE_KEY), secret(store::CERTIFICATE_CHAIN), form) {
        (Some(_), _, Form::Store) => hidden(store::KEYSTORE_KEY, "needs `ssl.keystore.type` PEM"),
        (None, Some(_), Form::Store) => hidden(store::CERTIFICATE_CHAIN, "needs `ssl.keystore.type` PEM"),
        (Some(_), None, _) => hidden(store::KEYSTORE_KEY, "needs `ssl.keystore.certificate.chain`"),
        (None, Some(_), _) => hidden(store::CERTIFICATE_CHAIN, "needs `ssl.keystore.key`"),
        (Some(_), Some(_), _) if location.is_some() => {
            hidden(store::KEYSTORE_KEY, "stands in place of `ssl.keystore.location`, not beside it")
        }
        (_, _, Form::Pem) if password.is_some() => {
            hidden(store::KEYSTORE_PASSWORD, "PEM has none, that of a key is `ssl.key.password`")
        }
        (Some(key), Some(chain), _) => Ok(Some(KeySource::Inline { chain, key, password: key_password })),
        (None, None, form) => match (location, form, password) {
            (Some(path), Form::Pem, _) => Ok(Some(KeySource::PemFile { path: path.into(), password: key_password })),
            (Some(path), Form::Store, Some(password)) => {
                Ok(Some(KeySource::Store { path: path.into(), password, key_password }))
            }
            (Some(path), Form::Store, None) => {
                Err(ConfigError::new(store::KEYSTORE_LOCATION, path, "needs `ssl.keystore.password`"))
            }
            (None, _, Some(_)) => hidden(store::KEYSTORE_PASSWORD, "needs `ssl.keystore.location`"),
            (None, ..) if key_password.is_some() => hidden(store::KEY_PASSWORD, "there is no key that it is for"),
            (None, ..) => Ok(None),
        },
    }
}

pub(super) fn trust_source<'a>(
    text: &dyn Fn(&'static str) -> Option<&'a str>,
) -> Result<Option<TrustSource>, ConfigError> {
    let given = |key| text(key).filter(|value| !value.is_empty());
    let secret = |key| given(key).map(Secret::from);
    let hidden = |key, reason: &str| Err(ConfigError::new(key, "***", reason));
    let form = form(store::TRUSTSTORE_TYPE, text(store::TRUSTSTORE_TYPE))?;
    let location = given(store::TRUSTSTORE_LOCATION).map(PathBuf::from);
    let password = secret(store::TRUSTSTORE_PASSWORD);
    match (secret(store::TRUSTSTORE_CERTIFICATES), location, form) {
        (Some(_), _, Form::Store) => hidden(store::TRUSTSTORE_CERTIFICATES, "needs `ssl.truststore.type` PEM"),
        (Some(_), Some(_), _) => {
            hidden(store::TRUSTSTORE_CERTIFICATES, "stands in place of `ssl.truststore.location`, not beside it")
        }
        (_, _, Form::Pem) if password.is_some() => hidden(store::TRUSTSTORE_PASSWORD, "PEM has none"),
        (Some(certificates), None, _) => Ok(Some(TrustSource::Inline(certificates))),
        (None, Some(path), Form::Pem) => Ok(Some(TrustSource::PemFile(path))),
        (None, Some(path), Form::Store) => Ok(Some(TrustSource::Store { path, password })),
        (None, None, _) if password.is_some() => hidden(store::TRUSTSTORE_PASSWORD, "needs `ssl.truststore.location`"),
        (None, None, _) => Ok(None),
    }
}

fn versions<'a>(
    text: &dyn Fn(&'static str) -> Option<&'a str>,
) -> Result<Vec<&'static SupportedProtocolVersion>, ConfigError> {
    let highest = match text(PROTOCOL).unwrap_or("TLSv1.3") {
        "TLSv1.3" | "TLS" => 1,
        "TLSv1.2" => 0,
        value => return Err(ConfigError::new(PROTOCOL, value, "must be TLSv1.3 or TLSv1.2")),
    };
    let all = [("TLSv1.2", &TLS12), ("TLSv1.3", &TLS13)];
    let value = listed(text, ENABLED_PROTOCOLS);
    let enabled = split_list(value);
    if let Some(unknown) = enabled.iter().find(|name| !all.iter().any(|(known, _)| known == *name)) {
        return Err(ConfigError::new(ENABLED_PROTOCOLS, unknown, "must be a list of TLSv1.2 and TLSv1.3"));
    }
    let is_enabled = |name: &str| enabled.is_empty() || enabled.contains(&name);
    let versions: Vec<_> =
        all.into_iter().take(highest + 1).filter(|(name, _)| is_enabled(name)).map(|(_, version)| version).collect();
    if versions.is_empty() {
        return Err(ConfigError::new(ENABLED_PROTOCOLS, value, "all of them are above `ssl.protocol`"));
    }
    Ok(versions)
}

fn suites<'a>(text: &dyn Fn(&'static str) -> Option<&'a str>) -> Result<Vec<SupportedCipherSuite>, ConfigError> {
    let known = default_provider().cipher_suites;
    let find = |name: &str| {
        known.iter().find(|suite| iana_name(**suite).as_deref() == Some(name)).copied().ok_or_else(|| {
            let all: Vec<String> = known.iter().filter_map(|suite| iana_name(*suite)).collect();
            ConfigError::new(CIPHER_SUITES, name, format!("must be a list of {}", all.join(", ")))
        })
    };
    split_list(listed(text, CIPHER_SUITES)).into_iter().map(find).collect()
}

/// rustls tells those of the one version from those of the other by the beginning.
fn iana_name(suite: SupportedCipherSuite) -> Option<String> {
    let name = suite.suite().as_str()?;
    Some(name.strip_prefix("TLS13_").map_or_else(|| name.to_owned(), |rest| format!("TLS_{rest}")))
}

/// A list as it was given. Kafka's null has nothing in it.
fn listed<'a>(text: &dyn Fn(&'static str) -> Option<&'a str>, key: &'static str) -> &'a str {
    text(key).unwrap_or_default()
}

#[cfg(test)]
mod tests;
