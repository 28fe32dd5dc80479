//! How a client says who it is: `sasl.mechanism`, `sasl.jaas.config` and what goes with them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use vltava_config::{ConfigError, Reader};
use vltava_security::sasl::{ClientLogin, Mechanism, OAuthOptions};
use vltava_security::{Secret, SecurityProtocol};

use crate::sasl::{TokenFile, TokenProvider};

const MECHANISM: &str = "sasl.mechanism";
const JAAS: &str = "sasl.jaas.config";
const ENDPOINT: &str = "sasl.oauthbearer.token.endpoint.url";
const CLIENT_ID: &str = "sasl.oauthbearer.client.credentials.client.id";
const CLIENT_SECRET: &str = "sasl.oauthbearer.client.credentials.client.secret";
const SCOPE: &str = "sasl.oauthbearer.scope";
const URLENCODE: &str = "sasl.oauthbearer.header.urlencode";
const CONNECT_TIMEOUT: &str = "sasl.login.connect.timeout.ms";
const READ_TIMEOUT: &str = "sasl.login.read.timeout.ms";
/// What acts where tokens are got by HTTP, and nowhere else.
const BY_HTTP: [&str; 6] = [CLIENT_ID, CLIENT_SECRET, SCOPE, URLENCODE, CONNECT_TIMEOUT, READ_TIMEOUT];
const LOGIN_HANDLER: &str = "sasl.login.callback.handler.class";

/// What Java's clients need to be told to get tokens as they are got here.
const LOGIN_HANDLERS: [&str; 2] = [
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler",
    "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerLoginCallbackHandler",
];

/// How a client says who it is.
#[derive(Debug, Clone)]
pub(crate) struct SaslConfig {
    pub(crate) mechanism: Mechanism,
    pub(crate) login: Login,
}

/// What it shows for that.
#[derive(Debug, Clone)]
pub(crate) enum Login {
    Password {
        username: String,
        password: Secret,
    },
    Token {
        /// Until somebody hands one over, there may be none.
        provider: Option<Arc<dyn TokenProvider>>,
        extensions: BTreeMap<String, String>,
        /// Whether the last connection that showed one was let in.
        was_let_in: Arc<AtomicBool>,
    },
}

impl PartialEq for Login {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Password { username, password }, Self::Password { username: name, password: word }) => {
                username == name && password == word
            }
            (Self::Token { provider, extensions, .. }, Self::Token { provider: other, extensions: others, .. }) => {
                let is_same = match (provider, other) {
                    (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                    (None, None) => true,
                    _ => false,
                };
                is_same && extensions == others
            }
            _ => false,
        }
    }
}

impl PartialEq for SaslConfig {
    fn eq(&self, other: &Self) -> bool {
        self.mechanism == other.mechanism && self.login == other.login
    }
}

impl SaslConfig {
    /// Reads the keys; none where the protocol does not ask for SASL. Keys that would say who the client is, and that nobody
    /// would hear, are refused.
    pub(super) fn read(reader: &Reader<'_>, protocol: SecurityProtocol) -> Result<Option<Self>, ConfigError> {
        let name = reader.required(MECHANISM)?;
        let jaas = reader.non_empty(JAAS);
        let endpoint = reader.non_empty(ENDPOINT);
        let handler = reader.non_empty(LOGIN_HANDLER);
        let is_by_http = endpoint.is_some_and(|url| url.starts_with("http"));
        for key in BY_HTTP {
            reader.used(key);
            let is_harmless = key == URLENCODE && !reader.boolean(key)?;
            if reader.is_given(key) && !is_by_http && !is_harmless {
                let reason = format!("acts with an http or https URL in `{ENDPOINT}` only");
                return Err(ConfigError::new(key, "***", reason));
            }
        }
        if !protocol.is_sasl() {
            let unheard = format!("`security.protocol` is {}, which does not ask who the client is", protocol.name());
            let given = [(MECHANISM, Some(name).filter(|name| *name != "GSSAPI")), (JAAS, jaas.map(|_| "***"))];
            let given = given.into_iter().chain([(ENDPOINT, endpoint), (LOGIN_HANDLER, handler)]);
            for (key, value) in given {
                if let Some(value) = value {
                    return Err(ConfigError::new(key, value, unheard));
                }
            }
            return Ok(None);
        }
        let mechanism: Mechanism = name
            .parse()
            .map_err(|error: vltava_security::sasl::NotSupported| ConfigError::new(MECHANISM, name, error.why))?;
        if let Some(class) = handler
            && (mechanism != Mechanism::OAuthBearer || !LOGIN_HANDLERS.contains(&class))
        {
            return Err(ConfigError::new(LOGIN_HANDLER, class, "classes of the JVM cannot be loaded"));
        }
        if mechanism != Mechanism::OAuthBearer
            && let Some(endpoint) = endpoint
        {
            return Err(ConfigError::new(ENDPOINT, endpoint, format!("`{MECHANISM}` {mechanism} takes no tokens")));
        }
        let login = match (jaas, mechanism) {
            (Some(text), _) => {
                ClientLogin::parse(mechanism, text).map_err(|error| ConfigError::new(JAAS, "***", error.to_string()))?
            }
            (None, Mechanism::OAuthBearer) => ClientLogin::OAuthBearer(OAuthOptions::default()),
            (None, _) => {
                return Err(ConfigError::new(JAAS, "\"\"", format!("required with `{MECHANISM}` {mechanism}")));
            }
        };
        let login = match login {
            ClientLogin::Password { username, password } => Login::Password { username, password },
            ClientLogin::OAuthBearer(options) => Self::tokens(reader, options, endpoint)?,
        };
        Ok(Some(Self { mechanism, login }))
    }

    fn tokens(reader: &Reader<'_>, options: OAuthOptions, endpoint: Option<&str>) -> Result<Login, ConfigError> {
        let OAuthOptions { client_id, client_secret, scope, extensions } = options;
        let credentials = Credentials {
            client_id: reader.non_empty(CLIENT_ID).map(str::to_owned).or(client_id),
            client_secret: reader.non_empty(CLIENT_SECRET).map(Secret::from).or(client_secret),
            scope: reader.non_empty(SCOPE).map(str::to_owned).or(scope),
        };
        let provider: Option<Arc<dyn TokenProvider>> = match endpoint {
            Some(url) if url.starts_with("http://") || url.starts_with("https://") => {
                Some(by_http(reader, url, credentials)?)
            }
            _ if credentials != Credentials::default() => {
                let reason = "must be the http or https URL that the client's credentials and scope are for";
                return Err(ConfigError::new(ENDPOINT, endpoint.unwrap_or("\"\""), reason));
            }
            Some(url) => {
                let path = file_of(url)
                    .ok_or_else(|| ConfigError::new(ENDPOINT, url, "must be an http, https or file URL"))?;
                Some(Arc::new(TokenFile(path)))
            }
            None => None,
        };
        Ok(Login::Token { provider, extensions, was_let_in: Arc::default() })
    }

    /// What is missing before a client can be made of it.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        match &self.login {
            Login::Token { provider: None, .. } => {
                let reason = format!("required with `{MECHANISM}` OAUTHBEARER, unless the client has a token provider");
                Err(ConfigError::new(ENDPOINT, "\"\"", reason))
            }
            _ => Ok(()),
        }
    }
}

/// What the client shows to the endpoint: from settings of their own, else from `sasl.jaas.config`.
#[derive(Debug, Default, PartialEq)]
struct Credentials {
    client_id: Option<String>,
    client_secret: Option<Secret>,
    scope: Option<String>,
}

#[cfg(feature = "oauth")]
fn by_http(reader: &Reader<'_>, url: &str, credentials: Credentials) -> Result<Arc<dyn TokenProvider>, ConfigError> {
    let missing = |key| ConfigError::new(key, "\"\"", "required to get tokens by HTTP, here or in `sasl.jaas.config`");
    let timeout = |key| match reader.is_given(key) {
        true => reader.duration(key).map(Some),
        false => Ok(None),
    };
    let grant = crate::sasl::Grant {
        url: url.to_owned(),
        client_id: credentials.client_id.ok_or_else(|| missing(CLIENT_ID))?,
        client_secret: credentials.client_secret.ok_or_else(|| missing(CLIENT_SECRET))?,
        scope: credentials.scope,
        encodes_header: reader.boolean(URLENCODE)?,
        connect_timeout: timeout(CONNECT_TIMEOUT)?,
        read_timeout: timeout(READ_TIMEOUT)?,
    };
    let endpoint = crate::sasl::TokenEndpoint::new(grant).map_err(|error| ConfigError::new(ENDPOINT, url, error))?;
    Ok(Arc::new(endpoint))
}

#[cfg(not(feature = "oauth"))]
fn by_http(_: &Reader<'_>, url: &str, _: Credentials) -> Result<Arc<dyn TokenProvider>, ConfigError> {
    Err(ConfigError::new(ENDPOINT, url, "tokens by HTTP need the feature `oauth` of vltava-client"))
}

/// The path of a `file:` URL of this machine.
fn file_of(url: &str) -> Option<PathBuf> {
    let rest = url.strip_prefix("file:")?;
    let path = match rest.strip_prefix("//") {
        Some(with_host) => with_host.strip_prefix("localhost").unwrap_or(with_host),
        None => rest,
    };
    path.starts_with('/').then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AdminConfig;

    const BOOT: (&str, &str) = ("bootstrap.servers", "localhost:9092");
    const SASL: (&str, &str) = ("security.protocol", "SASL_PLAINTEXT");
    const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"alice\" password=\"alice-secret\";";
    const OAUTH: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;";

    fn read(pairs: &[(&str, &str)]) -> Result<AdminConfig, String> {
        let pairs = [BOOT].into_iter().chain(pairs.iter().copied());
        AdminConfig::from_properties(pairs).map_err(|error| error.to_string())
    }

    #[test]
    fn a_client_has_a_mechanism_and_shows_nothing_of_its_secret() {
        let config = read(&[SASL, ("sasl.mechanism", "PLAIN"), ("sasl.jaas.config", PLAIN)]).unwrap();
        let sasl = config.common().sasl.as_ref().unwrap();
        assert_eq!(sasl.mechanism, Mechanism::Plain);
        assert!(matches!(&sasl.login, Login::Password { username, .. } if username == "alice"));
        assert!(!format!("{config:?}").contains("secret"));
        assert!(read(&[]).unwrap().common().sasl.is_none());
    }

    #[test]
    fn tokens_come_from_a_file_or_from_a_provider() {
        let oauth = [SASL, ("sasl.mechanism", "OAUTHBEARER"), ("sasl.jaas.config", OAUTH)];
        let sasl = |pairs: &[(&str, &str)]| read(pairs).unwrap().common().sasl.clone().unwrap();
        let none = sasl(&oauth).check().unwrap_err().to_string();
        assert!(none.contains("unless the client has a token provider"), "{none}");
        for url in ["file:///run/token", "file:/run/token", "file://localhost/run/token"] {
            let handler = ("sasl.login.callback.handler.class", LOGIN_HANDLERS[0]);
            let with_file: Vec<_> = oauth.into_iter().chain([(ENDPOINT, url), handler]).collect();
            assert!(sasl(&with_file).check().is_ok());
        }
    }

    #[test]
    fn tokens_by_http_need_the_feature_and_the_clients_credentials() {
        let url = (ENDPOINT, "https://idp.example/token");
        let jaas = OAUTH.replace(';', " clientId=\"app\" clientSecret=\"tell-nobody\" scope=\"kafka\";");
        let oauth = [SASL, ("sasl.mechanism", "OAUTHBEARER"), url];
        let with = |more: &[(&str, &str)]| read(&oauth.iter().chain(more).copied().collect::<Vec<_>>());
        if cfg!(feature = "oauth") {
            for more in [
                &[("sasl.jaas.config", jaas.as_str())][..],
                &[(CLIENT_ID, "app"), (CLIENT_SECRET, "tell-nobody"), (CONNECT_TIMEOUT, "1000")],
            ] {
                let config = with(more).unwrap();
                assert!(config.common().sasl.as_ref().unwrap().check().is_ok());
                assert!(!format!("{config:?}").contains("tell-nobody"));
            }
            assert!(with(&[]).unwrap_err().contains("required to get tokens by HTTP"));
        } else {
            assert!(with(&[]).unwrap_err().contains("need the feature `oauth`"));
        }
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        let mechanism = |name| ("sasl.mechanism", name);
        let jaas = ("sasl.jaas.config", PLAIN);
        let unheard = "`security.protocol` is PLAINTEXT, which does not ask who the client is";
        for (pairs, expected) in [
            (vec![SASL], "invalid `sasl.mechanism` GSSAPI: Kerberos is not supported".to_owned()),
            (vec![SASL, mechanism("PLAIN")], "invalid `sasl.jaas.config` \"\": required with `sasl.mechanism` PLAIN".to_owned()),
            (vec![jaas], format!("invalid `sasl.jaas.config` ***: {unheard}")),
            (vec![mechanism("PLAIN")], format!("invalid `sasl.mechanism` PLAIN: {unheard}")),
            (
                vec![SASL, mechanism("SCRAM-SHA-256"), jaas],
                "invalid `sasl.jaas.config` ***: org.apache.kafka.common.security.plain.PlainLoginModule is not the login \
                 module of SCRAM-SHA-256, which is org.apache.kafka.common.security.scram.ScramLoginModule"
                    .to_owned(),
            ),
            (
                vec![SASL, mechanism("PLAIN"), jaas, (LOGIN_HANDLER, "com.example.Own")],
                "invalid `sasl.login.callback.handler.class` com.example.Own: classes of the JVM cannot be loaded".to_owned(),
            ),
            (
                vec![SASL, mechanism("OAUTHBEARER"), (ENDPOINT, "ftp://idp.example/token")],
                "invalid `sasl.oauthbearer.token.endpoint.url` ftp://idp.example/token: must be an http, https or file URL"
                    .to_owned(),
            ),
            (
                vec![SASL, mechanism("OAUTHBEARER"), (ENDPOINT, "file:/t"), (CLIENT_SECRET, "tell-nobody")],
                format!("invalid `{CLIENT_SECRET}` ***: acts with an http or https URL in `{ENDPOINT}` only"),
            ),
        ] {
            let error = read(&pairs).unwrap_err();
            assert_eq!(error, expected);
            assert!(!error.contains("alice-secret") && !error.contains("tell-nobody"));
        }
    }
}
