//! What a login module's options say, checked.

use std::collections::{BTreeMap, HashMap};

use super::jaas::{JaasConfig, JaasError};
use super::mechanism::Mechanism;
use super::oauthbearer::check_extensions;
use crate::Secret;

/// Why Kafka's `sasl.jaas.config` does not say who is to log in. It shows names of options, and none of their values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// It is not of the form.
    #[error(transparent)]
    Jaas(#[from] JaasError),
    /// The module is of another mechanism, or of the application's own.
    #[error("{module} is not the login module of {mechanism}, which is {expected}")]
    Module {
        /// What is named.
        module: String,
        /// What the connection speaks.
        mechanism: Mechanism,
        /// What would be.
        expected: &'static str,
    },
    /// The options lack one.
    #[error("the login module needs the option `{0}`")]
    Missing(&'static str),
    /// What is there only in Kafka.
    #[error("{0} are not supported")]
    Unsupported(&'static str),
    /// An option that the module has not.
    #[error("the login module has no option `{0}`")]
    Unknown(String),
    /// A value that an option may not have.
    #[error("the option `{0}` has a value that it may not have")]
    Value(String),
}

/// Who a client logs in as, by one of Kafka's login modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientLogin {
    /// By a password, for PLAIN and SCRAM.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// By a token, which somebody else gives.
    OAuthBearer(OAuthOptions),
}

/// The options of Kafka's `OAuthBearerLoginModule`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OAuthOptions {
    /// `clientId`.
    pub client_id: Option<String>,
    /// `clientSecret`.
    pub client_secret: Option<Secret>,
    /// `scope`.
    pub scope: Option<String>,
    /// `extension_NAME`: what goes with the token (KIP-342).
    pub extensions: BTreeMap<String, String>,
}

const PACKAGE: &str = "org.apache.kafka.common.security.";

const fn module_of(mechanism: Mechanism) -> &'static str {
    match mechanism {
        Mechanism::Plain => "org.apache.kafka.common.security.plain.PlainLoginModule",
        Mechanism::ScramSha256 | Mechanism::ScramSha512 => "org.apache.kafka.common.security.scram.ScramLoginModule",
        Mechanism::OAuthBearer => "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule",
    }
}

fn parse(mechanism: Mechanism, text: &str) -> Result<JaasConfig, LoginError> {
    let config = JaasConfig::parse(text)?;
    let expected = module_of(mechanism);
    if config.module != expected {
        // What stands in the place of a class may be something else, where the text is broken.
        let module = if config.module.contains('.') { config.module } else { format!("no class of {PACKAGE}*") };
        return Err(LoginError::Module { module, mechanism, expected });
    }
    Ok(config)
}

impl ClientLogin {
    /// Reads the client's `sasl.jaas.config` for a mechanism.
    ///
    /// # Errors
    /// [`LoginError`].
    pub fn parse(mechanism: Mechanism, text: &str) -> Result<Self, LoginError> {
        let config = parse(mechanism, text)?;
        match mechanism {
            Mechanism::OAuthBearer => Ok(Self::OAuthBearer(OAuthOptions::read(&config)?)),
            Mechanism::Plain | Mechanism::ScramSha256 | Mechanism::ScramSha512 => Self::password(&config),
        }
    }

    fn password(config: &JaasConfig) -> Result<Self, LoginError> {
        for (name, value) in config.options() {
            match name {
                "username" | "password" | "serviceName" => {}
                "tokenauth" if value.expose().eq_ignore_ascii_case("true") => {
                    return Err(LoginError::Unsupported("delegation tokens (`tokenauth=true`)"));
                }
                "tokenauth" => {}
                // Those of a broker, in a text that is used for both.
                other if other.starts_with("user_") => {}
                other => return Err(LoginError::Unknown(other.to_owned())),
            }
        }
        let needed = |name| config.option(name).ok_or(LoginError::Missing(name));
        let (username, password) = (needed("username")?.expose().to_owned(), needed("password")?.clone());
        // Kafka's brokers take neither an empty name nor an empty password, and NUL ends them.
        for (name, value) in [("username", username.as_str()), ("password", password.expose())] {
            if value.is_empty() || value.contains('\0') {
                return Err(LoginError::Value(name.to_owned()));
            }
        }
        Ok(Self::Password { username, password })
    }
}

impl OAuthOptions {
    fn read(config: &JaasConfig) -> Result<Self, LoginError> {
        let mut options = Self::default();
        for (name, value) in config.options() {
            match name {
                "clientId" => options.client_id = Some(value.expose().to_owned()),
                "clientSecret" => options.client_secret = Some(value.clone()),
                "scope" => options.scope = Some(value.expose().to_owned()),
                other => match other.strip_prefix("extension_") {
                    Some(extension) => {
                        options.extensions.insert(extension.to_owned(), value.expose().to_owned());
                    }
                    None if other.starts_with("unsecured") => {
                        return Err(LoginError::Unsupported("unsecured tokens (`unsecuredLogin…`)"));
                    }
                    None => return Err(LoginError::Unknown(other.to_owned())),
                },
            }
        }
        check_extensions(&options.extensions).map_err(|name| LoginError::Value(format!("extension_{name}")))?;
        Ok(options)
    }
}

/// The users that a broker's `sasl.jaas.config` gives PLAIN, by Kafka's `PlainLoginModule`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlainUsers(HashMap<String, Secret>);

impl PlainUsers {
    /// Reads a broker's `sasl.jaas.config` for PLAIN: `user_NAME="PASSWORD"` for each user. A `username` and `password` of
    /// its own, for its connections to other brokers, are of no use to one without others.
    ///
    /// # Errors
    /// [`LoginError`].
    pub fn parse(text: &str) -> Result<Self, LoginError> {
        let config = parse(Mechanism::Plain, text)?;
        let mut users = HashMap::new();
        for (name, value) in config.options() {
            match name.strip_prefix("user_") {
                Some(user) => {
                    users.insert(user.to_owned(), value.clone());
                }
                None if matches!(name, "username" | "password" | "serviceName") => {}
                None => return Err(LoginError::Unknown(name.to_owned())),
            }
        }
        Ok(Self(users))
    }

    /// Whether this is the password of a user, found out in a time that does not tell which of the two is wrong.
    #[must_use]
    pub fn matches(&self, username: &str, password: &[u8]) -> bool {
        match self.0.get(username) {
            Some(expected) => expected.matches(password),
            None => {
                let _ = Secret::from("nobody").matches(password);
                false
            }
        }
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for PlainUsers {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(users: T) -> Self {
        Self(users.into_iter().map(|(name, password)| (name.to_owned(), password.into())).collect())
    }
}

/// What a broker's `sasl.jaas.config` for OAUTHBEARER, by Kafka's `OAuthBearerLoginModule`, says about the tokens of its clients. What it says about logins of the
/// broker's own is of no use to one without others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerOAuthOptions {
    /// `unsecuredValidator…`, where one of them or of `unsecuredLogin…` is given.
    pub unsecured: Option<UnsecuredOptions>,
    /// `ssl.truststore.…`: whom an endpoint of keys is trusted by.
    pub truststore: BTreeMap<String, Secret>,
}

/// The options of Kafka's `OAuthBearerUnsecuredValidatorCallbackHandler`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsecuredOptions {
    /// `unsecuredValidatorPrincipalClaimName`.
    pub principal_claim_name: String,
    /// `unsecuredValidatorScopeClaimName`.
    pub scope_claim_name: String,
    /// `unsecuredValidatorRequiredScope`: all of these.
    pub required_scope: Vec<String>,
    /// `unsecuredValidatorAllowableClockSkewMs`.
    pub allowable_clock_skew_ms: u32,
}

impl Default for UnsecuredOptions {
    fn default() -> Self {
        Self {
            principal_claim_name: "sub".to_owned(),
            scope_claim_name: "scope".to_owned(),
            required_scope: Vec::new(),
            allowable_clock_skew_ms: 0,
        }
    }
}

impl BrokerOAuthOptions {
    /// Reads it.
    ///
    /// # Errors
    /// [`LoginError`].
    pub fn parse(text: &str) -> Result<Self, LoginError> {
        let config = parse(Mechanism::OAuthBearer, text)?;
        let mut options = Self::default();
        for (name, value) in config.options() {
            match name {
                "clientId" | "clientSecret" | "scope" => {}
                "ssl.truststore.certificates"
                | "ssl.truststore.location"
                | "ssl.truststore.password"
                | "ssl.truststore.type" => {
                    options.truststore.insert(name.to_owned(), value.clone());
                }
                other if other.starts_with("extension_") => {}
                other if other.starts_with("unsecuredLogin") => {
                    options.unsecured.get_or_insert_default();
                }
                other => {
                    let unsecured = options.unsecured.get_or_insert_default();
                    unsecured.set(other, value.expose().trim())?;
                }
            }
        }
        Ok(options)
    }
}

impl UnsecuredOptions {
    fn set(&mut self, name: &str, value: &str) -> Result<(), LoginError> {
        let refuse = || LoginError::Value(name.to_owned());
        match name {
            "unsecuredValidatorPrincipalClaimName" if value.is_empty() => {}
            "unsecuredValidatorPrincipalClaimName" => self.principal_claim_name = value.to_owned(),
            "unsecuredValidatorScopeClaimName" if value.is_empty() => {}
            "unsecuredValidatorScopeClaimName" => self.scope_claim_name = value.to_owned(),
            "unsecuredValidatorRequiredScope" => {
                let is_scope = |byte: u8| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~');
                let scope: Vec<String> = value.split(' ').filter(|one| !one.is_empty()).map(str::to_owned).collect();
                if !scope.iter().all(|one| one.bytes().all(is_scope)) {
                    return Err(refuse());
                }
                self.required_scope = scope;
            }
            "unsecuredValidatorAllowableClockSkewMs" if value.is_empty() => {}
            "unsecuredValidatorAllowableClockSkewMs" => {
                let skew = value.parse::<i32>().ok().and_then(|ms| u32::try_from(ms).ok());
                self.allowable_clock_skew_ms = skew.ok_or_else(refuse)?;
            }
            other => return Err(LoginError::Unknown(other.to_owned())),
        }
        Ok(())
    }
}

/// Checks a broker's `sasl.jaas.config` for SCRAM, whose users are in the metadata: a name and password of its own are of no
/// use to a broker without others.
///
/// # Errors
/// [`LoginError`].
pub fn check_scram_of_broker(mechanism: Mechanism, text: &str) -> Result<(), LoginError> {
    let config = parse(mechanism, text)?;
    match config.options().find(|(name, _)| !matches!(*name, "username" | "password" | "serviceName")) {
        Some((name, _)) => Err(LoginError::Unknown(name.to_owned())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required ";
    const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule required ";
    const OAUTH: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required ";

    fn client(mechanism: Mechanism, module: &str, options: &str) -> Result<ClientLogin, String> {
        ClientLogin::parse(mechanism, &format!("{module}{options};")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_client_logs_in_by_name_and_password() {
        let expected = ClientLogin::Password { username: "alice".to_owned(), password: "p;=\"".into() };
        let options = "username=\"alice\" password=\"p;=\\\"\"";
        assert_eq!(client(Mechanism::Plain, PLAIN, options), Ok(expected.clone()));
        for mechanism in [Mechanism::ScramSha256, Mechanism::ScramSha512] {
            assert_eq!(client(mechanism, SCRAM, options), Ok(expected.clone()));
        }
        assert!(!format!("{expected:?}").contains("p;"));
    }

    #[test]
    fn a_client_logs_in_by_token() {
        let options = "clientId=\"app\" clientSecret=\"hidden\" scope=kafka extension_logicalCluster=\"lkc-1\"";
        let Ok(ClientLogin::OAuthBearer(login)) = client(Mechanism::OAuthBearer, OAUTH, options) else {
            unreachable!("an OAuth login")
        };
        assert_eq!(login.client_id.as_deref(), Some("app"));
        assert_eq!(login.scope.as_deref(), Some("kafka"));
        assert_eq!(login.extensions.get("logicalCluster").map(String::as_str), Some("lkc-1"));
        assert!(!format!("{login:?}").contains("hidden"));
        assert!(client(Mechanism::OAuthBearer, OAUTH, "").is_ok());
    }

    #[test]
    fn what_does_not_say_who_logs_in_is_refused_without_secrets() {
        let module = |module: &str, mechanism: &str, expected: &str| {
            format!(
                "{module} is not the login module of {mechanism}, which is org.apache.kafka.common.security.{expected}"
            )
        };
        let cases = [
            (Mechanism::Plain, PLAIN, "username=a", "the login module needs the option `password`".to_owned()),
            (Mechanism::Plain, PLAIN, "password=hidden", "the login module needs the option `username`".to_owned()),
            (
                Mechanism::Plain,
                PLAIN,
                "username=\"\" password=hidden",
                "the option `username` has a value that it may not have".to_owned(),
            ),
            (
                Mechanism::Plain,
                PLAIN,
                "username=a passwort=hidden",
                "the login module has no option `passwort`".to_owned(),
            ),
            (
                Mechanism::ScramSha256,
                SCRAM,
                "username=a password=hidden tokenauth=\"true\"",
                "delegation tokens (`tokenauth=true`) are not supported".to_owned(),
            ),
            (
                Mechanism::ScramSha256,
                PLAIN,
                "username=a password=hidden",
                module(
                    "org.apache.kafka.common.security.plain.PlainLoginModule",
                    "SCRAM-SHA-256",
                    "scram.ScramLoginModule",
                ),
            ),
            (
                Mechanism::Plain,
                "com.sun.security.auth.module.Krb5LoginModule required ",
                "useKeyTab=hidden",
                module("com.sun.security.auth.module.Krb5LoginModule", "PLAIN", "plain.PlainLoginModule"),
            ),
            (
                Mechanism::OAuthBearer,
                OAUTH,
                "unsecuredLoginStringClaim_sub=\"hidden\"",
                "unsecured tokens (`unsecuredLogin…`) are not supported".to_owned(),
            ),
            (
                Mechanism::OAuthBearer,
                OAUTH,
                "extension_auth=\"hidden\"",
                "the option `extension_auth` has a value that it may not have".to_owned(),
            ),
        ];
        for (mechanism, module, options, expected) in cases {
            let error = client(mechanism, module, options).unwrap_err();
            assert_eq!(error, expected);
            assert!(!error.contains("hidden"));
        }
    }

    #[test]
    fn a_broker_says_what_tokens_it_takes_and_not_who_it_is() {
        let read = |options: &str| BrokerOAuthOptions::parse(&format!("{OAUTH}{options};"));
        assert_eq!(read(""), Ok(BrokerOAuthOptions::default()));
        let login = read("clientId=\"a\" clientSecret=\"hidden\" ssl.truststore.location=\"/t.pem\" extension_a=\"b\"");
        let login = login.unwrap();
        assert_eq!(login.unsecured, None);
        assert_eq!(login.truststore.keys().map(String::as_str).collect::<Vec<_>>(), ["ssl.truststore.location"]);
        let unsecured = UnsecuredOptions::default;
        assert_eq!(read("unsecuredLoginStringClaim_sub=\"admin\"").unwrap().unsecured, Some(unsecured()));
        let own = read(
            "unsecuredValidatorPrincipalClaimName=\"who\" unsecuredValidatorScopeClaimName=\"may\" \
             unsecuredValidatorRequiredScope=\"read write\" unsecuredValidatorAllowableClockSkewMs=\"30\"",
        );
        let expected = UnsecuredOptions {
            principal_claim_name: "who".to_owned(),
            scope_claim_name: "may".to_owned(),
            required_scope: vec!["read".to_owned(), "write".to_owned()],
            allowable_clock_skew_ms: 30,
        };
        assert_eq!(own.unwrap().unsecured, Some(expected));
        for (options, name) in [
            ("unsecuredValidatorAllowableClockSkewMs=\"-1\"", "unsecuredValidatorAllowableClockSkewMs"),
            ("unsecuredValidatorRequiredScope=\"a\\\\b\"", "unsecuredValidatorRequiredScope"),
        ] {
            assert_eq!(read(options), Err(LoginError::Value(name.to_owned())));
        }
        assert_eq!(read("ssl.cipher.suites=\"x\""), Err(LoginError::Unknown("ssl.cipher.suites".to_owned())));
        assert!(BrokerOAuthOptions::parse(&format!("{PLAIN}clientId=\"a\";")).is_err());
    }

    #[test]
    fn a_brokers_users_are_those_that_are_named() {
        let text = format!("{PLAIN}username=\"broker\" password=\"b\" user_alice=\"a-1\" user_b_c=\"\";");
        let users = PlainUsers::parse(&text).unwrap();
        assert!(users.matches("alice", b"a-1") && users.matches("b_c", b""));
        assert!(!users.matches("alice", b"a-2") && !users.matches("broker", b"b") && !users.matches("x", b"nobody"));
        assert!(!format!("{users:?}").contains("a-1"));
        assert!(PlainUsers::parse(&format!("{PLAIN}usr_alice=\"a\";")).is_err());
        assert!(PlainUsers::parse(&format!("{SCRAM}user_alice=\"a\";")).is_err());
        let scram = Mechanism::ScramSha256;
        assert!(check_scram_of_broker(scram, &format!("{SCRAM}username=b password=c;")).is_ok());
        assert!(check_scram_of_broker(scram, &format!("{SCRAM}user_alice=\"a\";")).is_err());
    }
}
