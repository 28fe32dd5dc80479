//! Settings of the registry's client and of the serdes that use it, by the keys of Confluent's serializers.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use vltava_config::Importance::{High, Low};
use vltava_config::Kind::{Boolean, Class, Int, List, Password};
use vltava_config::Range::{Any, AtLeast, OneOf};
use vltava_config::{ConfigError, ConfigWarning, Definition, Kind, Reader, Settings, Tables};

use crate::{error::Result, subject::SubjectNameStrategy};

const URL: &str = "schema.registry.url";
const SOURCE: &str = "basic.auth.credentials.source";
const USER_INFO: &str = "basic.auth.user.info";
const BY_TOPIC: &str = "io.confluent.kafka.serializers.subject.TopicNameStrategy";

#[rustfmt::skip]
static REGISTRY: Tables = &[&[
    Definition::new("auto.register.schemas", Boolean, Some("true"), Any, "Whether a serializer registers its schema."),
    Definition::new(SOURCE, Kind::String, Some("URL"), OneOf(&["URL", "USER_INFO"]), "Where the login is: in the address (`http://user:password@host`), or in basic.auth.user.info."),
    Definition::new(USER_INFO, Password, None, Any, "user:password."),
    Definition::new("http.connect.timeout.ms", Int, Some("60000"), AtLeast(1), "How long a connection may take, in ms.").importance(Low),
    Definition::new("http.read.timeout.ms", Int, Some("60000"), AtLeast(1), "How long an answer may take, in ms.").importance(Low),
    Definition::new("key.subject.name.strategy", Class, Some(BY_TOPIC), Any, "The subject of keys."),
    Definition::new("normalize.schemas", Boolean, Some("false"), Any, "Whether schemas are compared without regard to order and spelling.").importance(Low),
    Definition::new(URL, List, None, Any, "Addresses with commas between; each is tried until one answers.").importance(High),
    Definition::new("use.latest.version", Boolean, Some("false"), Any, "Whether a serializer writes with the subject's newest schema; only where it does not register.").importance(Low),
    Definition::new("value.subject.name.strategy", Class, Some(BY_TOPIC), Any, "The subject of values."),
]];

/// The settings of a [`SchemaRegistry`](super::SchemaRegistry), checked.
///
/// ```
/// use vltava_schema::RegistryConfig;
///
/// let config = RegistryConfig::from_properties([
///     ("schema.registry.url", "http://one:8081,http://two:8081"),
///     ("use.latest.version", "true"),
///     ("auto.register.schemas", "false"),
///     ("basic.auth.credentials.source", "USER_INFO"),
///     ("basic.auth.user.info", "fred:letmein"),
/// ])?;
/// assert!(!format!("{config:?}").contains("letmein"));
/// let wrong = RegistryConfig::from_properties([("schema.registry.url", "ftp://one")]).unwrap_err();
/// assert_eq!(
///     wrong.to_string(),
///     "invalid configuration: invalid `schema.registry.url` ftp://one: must begin with http:// or https://"
/// );
/// # Ok::<(), vltava_schema::SchemaError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryConfig {
    /// Without what logs in.
    urls: Vec<String>,
    /// What logs in at each, from the address itself.
    url_logins: Vec<Option<String>>,
    user_info: Option<String>,
    pub(crate) auto_register_schemas: bool,
    pub(crate) use_latest_version: bool,
    pub(crate) normalize_schemas: bool,
    pub(crate) key_strategy: SubjectNameStrategy,
    pub(crate) value_strategy: SubjectNameStrategy,
    pub(crate) connect_timeout_ms: u64,
    pub(crate) read_timeout_ms: u64,
}

impl fmt::Debug for RegistryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryConfig")
            .field(URL, &self.urls)
            .field(USER_INFO, &self.user_info.as_ref().map(|_| "***"))
            .field("auto.register.schemas", &self.auto_register_schemas)
            .field("use.latest.version", &self.use_latest_version)
            .field("key.subject.name.strategy", &self.key_strategy)
            .field("value.subject.name.strategy", &self.value_strategy)
            .finish_non_exhaustive()
    }
}

impl RegistryConfig {
    /// From the keys of Confluent's serializers; `schema.registry.url` is required.
    ///
    /// | key | default | |
    /// |---|---|---|
    /// | `schema.registry.url` | – | addresses with commas between; each is tried until one answers |
    /// | `basic.auth.credentials.source` | `URL` | `URL` (`http://user:password@host`) or `USER_INFO` |
    /// | `basic.auth.user.info` | – | `user:password` |
    /// | `auto.register.schemas` | true | whether a serializer registers its schema |
    /// | `use.latest.version` | false | whether it writes with the subject's newest schema; only where it does not register |
    /// | `normalize.schemas` | false | whether schemas are compared without regard to order and spelling |
    /// | `key.subject.name.strategy` | `TopicNameStrategy` | the subject of keys |
    /// | `value.subject.name.strategy` | `TopicNameStrategy` | the subject of values |
    /// | `http.connect.timeout.ms` | 60000 | for a connection |
    /// | `http.read.timeout.ms` | 60000 | for an answer |
    ///
    /// # Errors
    /// [`SchemaError::Config`](crate::SchemaError::Config) names a missing or unknown key, or a wrong value.
    pub fn from_properties<K, V>(properties: impl IntoIterator<Item = (K, V)>) -> Result<Self>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let mut builder = RegistryConfigBuilder::default();
        for (key, value) in properties {
            builder = builder.set(key, value);
        }
        builder.build()
    }

    /// The table of all keys.
    pub fn definitions() -> impl Iterator<Item = &'static Definition> {
        REGISTRY.iter().copied().flatten()
    }

    fn read(reader: &Reader<'_>) -> Result<Self> {
        let (mut urls, mut url_logins) = (Vec::new(), Vec::new());
        for url in reader.list(URL) {
            let (url, login) = address(&url)?;
            urls.push(url);
            url_logins.push(login);
        }
        if urls.is_empty() {
            return Err(ConfigError::missing(URL).into());
        }
        let user_info = match (reader.text(SOURCE), reader.non_empty(USER_INFO)) {
            (Some("USER_INFO"), Some(login)) if login.contains(':') => Some(login.to_owned()),
            (Some("USER_INFO"), Some(_)) => return error(USER_INFO, "***", "must be user:password"),
            (Some("USER_INFO"), None) => return Err(ConfigError::missing(USER_INFO).into()),
            _ => None,
        };
        let strategy = |key| SubjectNameStrategy::parse(key, reader.required(key)?);
        let millis = |key| reader.integer(key).map(i64::unsigned_abs);
        Ok(Self {
            urls,
            url_logins,
            user_info,
            auto_register_schemas: reader.boolean("auto.register.schemas")?,
            use_latest_version: reader.boolean("use.latest.version")?,
            normalize_schemas: reader.boolean("normalize.schemas")?,
            key_strategy: strategy("key.subject.name.strategy")?,
            value_strategy: strategy("value.subject.name.strategy")?,
            connect_timeout_ms: millis("http.connect.timeout.ms")?,
            read_timeout_ms: millis("http.read.timeout.ms")?,
        })
    }

    /// A builder, with the registry's address.
    pub fn builder(url: impl Into<String>) -> RegistryConfigBuilder {
        RegistryConfigBuilder::default().set(URL, url)
    }

    /// Addresses, each with the header that logs in there.
    pub(super) fn bases(&self) -> Vec<(String, Option<String>)> {
        let login = |own: &Option<String>| {
            let user_info = own.as_ref().or(self.user_info.as_ref())?;
            Some(format!("Basic {}", STANDARD.encode(user_info)))
        };
        self.urls.iter().zip(&self.url_logins).map(|(url, own)| (url.clone(), login(own))).collect()
    }

    pub(crate) fn strategy(&self, is_key: bool) -> SubjectNameStrategy {
        if is_key { self.key_strategy } else { self.value_strategy }
    }
}

/// Collects settings; [`build`](Self::build) checks them.
#[derive(Default)]
#[must_use]
pub struct RegistryConfigBuilder {
    values: BTreeMap<String, String>,
}

impl fmt::Debug for RegistryConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryConfigBuilder").field("keys", &self.values.keys()).finish()
    }
}

impl RegistryConfigBuilder {
    /// Sets a key of [`RegistryConfig::from_properties`].
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.values.insert(key.into(), value.into());
        self
    }

    /// `auto.register.schemas`, default true.
    pub fn auto_register_schemas(self, on: bool) -> Self {
        self.set("auto.register.schemas", on.to_string())
    }

    /// `use.latest.version`, default false.
    pub fn use_latest_version(self, on: bool) -> Self {
        self.set("use.latest.version", on.to_string())
    }

    /// User and password for every address that has none in itself.
    pub fn basic_auth(self, user: &str, password: &str) -> Self {
        let login = format!("{user}:{password}");
        self.set("basic.auth.credentials.source", "USER_INFO").set(USER_INFO, login)
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`SchemaError::Config`](crate::SchemaError::Config) names a missing or unknown key, or a wrong value.
    pub fn build(self) -> Result<RegistryConfig> {
        let settings = Settings::parse(REGISTRY, &self.values)?;
        match settings.warnings().first() {
            Some(warning @ (ConfigWarning::UnknownKey { key, .. } | ConfigWarning::NoEffect { key, .. })) => {
                error(key, "***", format!("{warning}, in the settings of the schema registry's client"))
            }
            _ => RegistryConfig::read(&settings.reader()),
        }
    }
}

fn error<T>(key: &str, value: &str, reason: impl Into<String>) -> Result<T> {
    Err(ConfigError::new(key, value, reason).into())
}

/// An address without the slash at its end and without what logs in, and that.
fn address(url: &str) -> Result<(String, Option<String>)> {
    let shown = url.rsplit('@').next().unwrap_or(url);
    if url.starts_with("mock://") {
        return error(URL, shown, "a registry in memory is made by `MockRegistry`");
    }
    let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https")) else {
        return error(URL, shown, "must begin with http:// or https://");
    };
    if scheme == "https" && !cfg!(feature = "tls") {
        return error(URL, shown, "https needs the feature `tls` of vltava-schema");
    }
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (login, host) = host.rsplit_once('@').map_or((None, host), |(login, host)| (Some(login.to_owned()), host));
    if host.is_empty() {
        return error(URL, &format!("{scheme}://"), "must name a host");
    }
    Ok((format!("{scheme}://{host}{}", path.trim_end_matches('/')), login))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(properties: &[(&str, &str)]) -> String {
        RegistryConfig::from_properties(properties.iter().copied()).unwrap_err().to_string()
    }

    #[test]
    fn wrong_settings_are_named() {
        let url = (URL, "http://a:1/");
        assert!(refused(&[]).contains("`schema.registry.url` \"\": required"));
        assert!(refused(&[url, ("use.latest.version", "yes")]).ends_with("must be true or false"));
        assert!(refused(&[url, ("http.read.timeout.ms", "0")]).contains("`http.read.timeout.ms` 0"));
        assert!(refused(&[url, ("basic.auth.credentials.source", "SASL_INHERIT")]).contains("SASL_INHERIT"));
        assert!(refused(&[url, ("basic.auth.credentials.source", "USER_INFO")]).contains("user.info` \"\": required"));
        let misspelt = refused(&[url, ("schema.registry.ulr", "x")]);
        assert!(misspelt.contains("`schema.registry.ulr`: did you mean `schema.registry.url`?"), "{misspelt}");
        assert!(refused(&[(URL, "mock://tests")]).ends_with("made by `MockRegistry`"));
    }

    #[test]
    fn every_key_is_read_into_a_field() {
        let settings = Settings::parse(REGISTRY, [(URL, "http://one")]).unwrap();
        let reader = settings.reader();
        RegistryConfig::read(&reader).unwrap();
        assert_eq!(reader.unread(), [""; 0]);
        assert_eq!(reader.read_without_support(), [""; 0]);
    }

    #[test]
    fn an_address_may_bring_its_login() {
        let config = RegistryConfig::builder("http://u:p@one:8081/, http://two/base/").build().unwrap();
        let bases = config.bases();
        assert_eq!(bases[0], ("http://one:8081".to_owned(), Some("Basic dTpw".to_owned())));
        assert_eq!(bases[1], ("http://two/base".to_owned(), None));
        assert!(!format!("{config:?}").contains("u:p"));
        let config = RegistryConfig::builder("http://one").basic_auth("u", "p").build().unwrap();
        assert_eq!(config.bases()[0].1.as_deref(), Some("Basic dTpw"));
    }
}
