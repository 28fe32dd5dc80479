//! How the clients of a listener authenticate: `sasl.enabled.mechanisms`, `sasl.jaas.config` and what goes with them, for all
//! listeners, for one (`listener.name.NAME.KEY`), and for one mechanism of one (`listener.name.NAME.MECHANISM.KEY`).

use std::collections::BTreeMap;
use std::time::Duration;

use vltava_config::{ConfigError, Reader, split_list};
use vltava_protocol::java;
#[cfg(feature = "oauth")]
use vltava_security::sasl::BrokerOAuthOptions;
use vltava_security::sasl::{Mechanism, PlainUsers, check_scram_of_broker};

use super::broker_key;

const MECHANISMS: &str = "sasl.enabled.mechanisms";
const JAAS: &str = "sasl.jaas.config";
const MAX_REAUTH: &str = "connections.max.reauth.ms";
const MAX_RECEIVE_SIZE: &str = "sasl.server.max.receive.size";
const FAILURE_DELAY: &str = "connection.failed.authentication.delay.ms";

const HANDLER: &str = "sasl.server.callback.handler.class";

/// The keys of this page that a listener may have for itself.
const OF_LISTENER: [&str; 3] = [MECHANISMS, MAX_REAUTH, MAX_RECEIVE_SIZE];
/// Those that a mechanism of a listener may have for itself.
const OF_MECHANISM: [&str; 2] = [JAAS, MAX_REAUTH];
/// Those of tokens, which a listener and its OAUTHBEARER may have for themselves.
const OF_TOKENS: [&str; 9] = [
    "sasl.oauthbearer.clock.skew.seconds",
    "sasl.oauthbearer.expected.audience",
    "sasl.oauthbearer.expected.issuer",
    "sasl.oauthbearer.jwks.endpoint.refresh.ms",
    "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms",
    "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms",
    "sasl.oauthbearer.jwks.endpoint.url",
    "sasl.oauthbearer.scope.claim.name",
    "sasl.oauthbearer.sub.claim.name",
];

/// How the clients of one listener authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenerSasl {
    /// What they may choose from.
    pub(crate) mechanisms: Vec<Mechanism>,
    /// Those of PLAIN.
    pub(crate) users: PlainUsers,
    /// The longest frame while they do.
    pub(crate) max_receive_size: usize,
    /// How long they wait to hear that they failed.
    pub(crate) failure_delay: Duration,
    max_reauth_ms: BTreeMap<Mechanism, i64>,
    /// What the tokens of OAUTHBEARER are checked with, where it has that.
    #[cfg(feature = "oauth")]
    pub(crate) tokens: Option<super::tokens::TokenSettings>,
}

impl ListenerSasl {
    /// After how many ms they authenticate again; nothing where they need not.
    pub(crate) fn max_reauth_ms(&self, mechanism: Mechanism) -> Option<i64> {
        self.max_reauth_ms.get(&mechanism).copied().filter(|ms| *ms > 0)
    }
}

/// A key behind `listener.name.NAME.`, with the mechanism in front of it, where one is.
struct OwnKey<'a> {
    listener: &'a str,
    /// In small letters, as keys have it.
    mechanism: Option<&'a str>,
}

impl<'a> OwnKey<'a> {
    /// The parts of a key of this page.
    fn parse(name: &'a str) -> Option<Self> {
        let (listener, rest) = name.strip_prefix("listener.name.")?.split_once('.')?;
        if OF_LISTENER.contains(&rest) {
            return Some(Self { listener, mechanism: None });
        }
        let tokens = Mechanism::OAuthBearer.name().to_ascii_lowercase();
        if OF_TOKENS.contains(&rest) {
            return Some(Self { listener, mechanism: Some("oauthbearer") });
        }
        let (mechanism, key) = rest.split_once('.')?;
        let is_one = Mechanism::ALL.iter().any(|known| known.name().to_ascii_lowercase() == mechanism);
        let is_of_tokens = mechanism == tokens && (OF_TOKENS.contains(&key) || key == HANDLER);
        (is_one && (OF_MECHANISM.contains(&key) || is_of_tokens))
            .then_some(Self { listener, mechanism: Some(mechanism) })
    }
}

/// Whether this is a key of a listener that is read here.
pub(crate) fn is_own_key(name: &str) -> bool {
    OwnKey::parse(name).is_some()
}

/// The settings of SASL, and of whom.
pub(super) struct SaslSettings<'a> {
    reader: &'a Reader<'a>,
}

impl<'a> SaslSettings<'a> {
    /// Reads what holds for all listeners.
    pub(super) fn new(reader: &'a Reader<'a>) -> Result<Self, ConfigError> {
        let settings = Self { reader };
        reader.integer(MAX_REAUTH)?;
        reader.int(FAILURE_DELAY)?;
        reader.int(MAX_RECEIVE_SIZE)?;
        reader.list(MECHANISMS);
        OF_TOKENS.into_iter().for_each(|key| reader.used(key));
        Ok(settings)
    }

    /// Refuses what would secure nothing: keys without a listener that asks for SASL, or for mechanisms that it does not
    /// have. `listeners` are those that ask for it.
    pub(super) fn check_use(&self, listeners: &BTreeMap<String, ListenerSasl>) -> Result<(), ConfigError> {
        let value = self.reader.list(MECHANISMS);
        if listeners.is_empty() && self.reader.is_given(MECHANISMS) && value != ["GSSAPI"] {
            return Err(ConfigError::new(MECHANISMS, value.join(","), "no listener asks for SASL"));
        }
        let has_tokens = listeners.values().any(|sasl| sasl.mechanisms.contains(&Mechanism::OAuthBearer));
        for key in OF_TOKENS {
            let default = broker_key(key).and_then(|row| row.default);
            let own = self.reader.text(key).filter(|value| self.reader.is_given(key) && Some(*value) != default);
            if let Some(value) = own.filter(|_| !has_tokens) {
                return Err(ConfigError::new(key, value, "no listener has the mechanism OAUTHBEARER"));
            }
        }
        for (name, _) in self.reader.settings().foreign() {
            let Some(own) = OwnKey::parse(name) else { continue };
            let listener = listeners.iter().find(|(listener, _)| listener.to_ascii_lowercase() == own.listener);
            let reason = match (listener, own.mechanism) {
                (None, _) => format!("no listener {} asks for SASL", own.listener),
                (Some((_, sasl)), Some(mechanism))
                    if !sasl.mechanisms.iter().any(|known| known.name().to_ascii_lowercase() == mechanism) =>
                {
                    format!("the listener does not have the mechanism {}", mechanism.to_ascii_uppercase())
                }
                _ => continue,
            };
            return Err(ConfigError::new(name, "***", reason));
        }
        Ok(())
    }

    /// Those of a listener that asks for SASL.
    pub(super) fn of(&self, listener: &str) -> Result<ListenerSasl, ConfigError> {
        let (key, value) = self.value(listener, MECHANISMS);
        let refuse = |reason: String| Err(ConfigError::new(key.clone(), value.clone(), reason));
        let mut mechanisms = Vec::new();
        for name in split_list(&value) {
            let mechanism = match name.parse::<Mechanism>() {
                Ok(Mechanism::OAuthBearer) if cfg!(not(feature = "oauth")) => {
                    return refuse("OAUTHBEARER needs the feature `oauth` of vltava-broker".to_owned());
                }
                Ok(mechanism) => mechanism,
                Err(error) => return refuse(format!("listener {listener} asks for SASL, {error}")),
            };
            if !mechanisms.contains(&mechanism) {
                mechanisms.push(mechanism);
            }
        }
        // They are told in the order of Java's set of them.
        let table = java::grown(mechanisms.len());
        java::sort_by_bucket(&mut mechanisms, table, |mechanism| java::string_hash(mechanism.name()));
        if mechanisms.is_empty() {
            return refuse(format!("listener {listener} asks for SASL, and no mechanism is enabled"));
        }
        let users = self.check_logins(listener, &mechanisms)?;
        let mut max_reauth_ms = BTreeMap::new();
        for mechanism in &mechanisms {
            let (key, value) = match self.of_mechanism(listener, *mechanism, MAX_REAUTH) {
                (key, Some(value)) => (key, value.to_owned()),
                (_, None) => self.value(listener, MAX_REAUTH),
            };
            max_reauth_ms.insert(*mechanism, parsed(&key, MAX_REAUTH, &value)?);
        }
        let (key, value) = self.value(listener, MAX_RECEIVE_SIZE);
        let max_receive_size = parsed::<i32>(&key, MAX_RECEIVE_SIZE, &value)?;
        let max_receive_size =
            usize::try_from(max_receive_size).map_err(|_| ConfigError::new(key, value, "must be >= 0"))?;
        let failure_delay = self.reader.duration(FAILURE_DELAY)?;
        Ok(ListenerSasl {
            #[cfg(feature = "oauth")]
            tokens: mechanisms.contains(&Mechanism::OAuthBearer).then(|| self.tokens(listener)).transpose()?,
            mechanisms,
            users,
            max_receive_size,
            failure_delay,
            max_reauth_ms,
        })
    }

    /// What the tokens of a listener are checked with.
    #[cfg(feature = "oauth")]
    fn tokens(&self, listener: &str) -> Result<super::tokens::TokenSettings, ConfigError> {
        let mechanism = Mechanism::OAuthBearer;
        let given = |key: &'static str| match self.of_mechanism(listener, mechanism, key) {
            (name, Some(value)) => (name, Some(value.to_owned())),
            (_, None) => {
                let (name, value) = self.value(listener, key);
                (name, Some(value))
            }
        };
        let (key, class) = self.of_mechanism(listener, mechanism, HANDLER);
        let handler = class.map(|class| (key, class));
        let (key, jaas) = self.of_mechanism(listener, mechanism, JAAS);
        let options = match jaas {
            Some(text) => {
                BrokerOAuthOptions::parse(text).map_err(|error| ConfigError::new(key, "***", error.to_string()))?
            }
            None => BrokerOAuthOptions::default(),
        };
        super::tokens::read(&given, handler, options)
    }

    /// Checks the login modules of the mechanisms, and gives the users of PLAIN.
    fn check_logins(&self, listener: &str, mechanisms: &[Mechanism]) -> Result<PlainUsers, ConfigError> {
        let mut users = PlainUsers::default();
        for mechanism in mechanisms {
            let (key, value) = self.of_mechanism(listener, *mechanism, JAAS);
            let refuse = |reason: String| ConfigError::new(key.clone(), "***", reason);
            match (mechanism, value) {
                (Mechanism::Plain, Some(text)) => {
                    users = PlainUsers::parse(text).map_err(|error| refuse(error.to_string()))?;
                }
                (Mechanism::Plain, None) => {
                    let reason = "required, for it has the users of PLAIN";
                    return Err(ConfigError::new(key, "\"\"", reason));
                }
                // Looked at with the rest of what it has.
                (Mechanism::OAuthBearer, _) => {}
                (_, Some(text)) => {
                    check_scram_of_broker(*mechanism, text).map_err(|error| refuse(error.to_string()))?;
                }
                // The users of SCRAM are in the metadata.
                (_, None) => {}
            }
        }
        Ok(users)
    }

    /// What a mechanism of a listener has for itself, and its key.
    fn of_mechanism(&self, listener: &str, mechanism: Mechanism, key: &str) -> (String, Option<&'a str>) {
        let (listener, mechanism) = (listener.to_ascii_lowercase(), mechanism.name().to_ascii_lowercase());
        let key = format!("listener.name.{listener}.{mechanism}.{key}");
        let value = self.reader.settings().given(&key);
        (key, value)
    }

    /// What holds for a listener, and the key that says so.
    fn value(&self, listener: &str, key: &'static str) -> (String, String) {
        let own = format!("listener.name.{}.{key}", listener.to_ascii_lowercase());
        match self.reader.settings().given(&own) {
            Some(value) => (own, value.to_owned()),
            None => (key.to_owned(), self.reader.text(key).unwrap_or_default().to_owned()),
        }
    }
}

/// A number by the definition of `key`; `name` is where it was given.
pub(super) fn parsed<T: std::str::FromStr>(name: &str, key: &str, value: &str) -> Result<T, ConfigError> {
    let checked = match broker_key(key) {
        Some(definition) => definition.parse(value).map_err(|error| ConfigError::new(name, value, error.reason))?,
        None => value.to_owned(),
    };
    checked.parse().map_err(|_| ConfigError::new(name, value, "must be an integer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BrokerConfig;

    const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required user_alice=\"alice-secret\";";
    const SCRAM: &str =
        "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"b\" password=\"b-secret\";";
    const LISTENER: [(&str, &str); 2] =
        [("listeners", "SASL_PLAINTEXT://127.0.0.1:0"), ("security.inter.broker.protocol", "SASL_PLAINTEXT")];

    fn config(pairs: &[(&str, &str)]) -> Result<BrokerConfig, String> {
        let pairs = LISTENER.iter().chain(pairs).copied();
        BrokerConfig::from_properties(pairs).map_err(|error| error.to_string())
    }

    #[test]
    fn a_listener_has_its_mechanisms_and_users() {
        let config = config(&[
            ("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,PLAIN"),
            ("listener.name.sasl_plaintext.plain.sasl.jaas.config", PLAIN),
            ("listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config", SCRAM),
            ("connections.max.reauth.ms", "1000"),
            ("listener.name.sasl_plaintext.plain.connections.max.reauth.ms", "2000"),
            ("listener.name.sasl_plaintext.sasl.server.max.receive.size", "1024"),
            ("sasl.mechanism.inter.broker.protocol", "PLAIN"),
        ])
        .unwrap();
        let sasl = config.sasl("SASL_PLAINTEXT").unwrap();
        assert_eq!(sasl.mechanisms, [Mechanism::Plain, Mechanism::ScramSha256]);
        assert!(sasl.users.matches("alice", b"alice-secret"));
        assert_eq!(sasl.max_reauth_ms(Mechanism::Plain), Some(2000));
        assert_eq!(sasl.max_reauth_ms(Mechanism::ScramSha256), Some(1000));
        assert_eq!((sasl.max_receive_size, sasl.failure_delay), (1024, Duration::from_millis(100)));
        assert!(!format!("{config:?}").contains("secret"));
    }

    #[test]
    fn each_listener_may_have_its_own() {
        let plain = "listener.name.external.plain.sasl.jaas.config";
        let config = config(&[
            ("listeners", "PLAINTEXT://127.0.0.1:0,EXTERNAL://127.0.0.2:0,SASL_PLAINTEXT://127.0.0.3:0"),
            (
                "listener.security.protocol.map",
                "PLAINTEXT:PLAINTEXT,EXTERNAL:SASL_PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
            ),
            ("sasl.enabled.mechanisms", "SCRAM-SHA-512"),
            ("listener.name.external.sasl.enabled.mechanisms", "PLAIN"),
            (plain, PLAIN),
        ])
        .unwrap();
        assert_eq!(config.sasl("EXTERNAL").unwrap().mechanisms, [Mechanism::Plain]);
        assert_eq!(config.sasl("SASL_PLAINTEXT").unwrap().mechanisms, [Mechanism::ScramSha512]);
        assert_eq!(config.sasl("PLAINTEXT"), None);
    }

    #[test]
    fn what_cannot_be_honoured_refuses_to_start() {
        let jaas = "listener.name.sasl_plaintext.plain.sasl.jaas.config";
        let plain = ("sasl.enabled.mechanisms", "PLAIN");
        for (pairs, expected) in [
            (
                vec![],
                "invalid `sasl.enabled.mechanisms` GSSAPI: listener SASL_PLAINTEXT asks for SASL, SASL mechanism GSSAPI: \
                 Kerberos is not supported",
            ),
            (
                vec![plain],
                "invalid `listener.name.sasl_plaintext.plain.sasl.jaas.config` \"\": required, for it has the users of PLAIN",
            ),
            (
                vec![plain, (jaas, "x.Y required user_alice=\"secret\";")],
                "invalid `listener.name.sasl_plaintext.plain.sasl.jaas.config` ***: x.Y is not the login module of PLAIN, \
                 which is org.apache.kafka.common.security.plain.PlainLoginModule",
            ),
            (
                vec![plain, (jaas, PLAIN), ("listener.name.other.plain.sasl.jaas.config", PLAIN)],
                "invalid `listener.name.other.plain.sasl.jaas.config` ***: no listener other asks for SASL",
            ),
            (
                vec![plain, (jaas, PLAIN), ("listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config", SCRAM)],
                "invalid `listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config` ***: the listener does not have the \
                 mechanism SCRAM-SHA-256",
            ),
            (
                vec![plain, (jaas, PLAIN), ("sasl.jaas.config", PLAIN)],
                "invalid `sasl.jaas.config` ***: users and logins stand under \
                 `listener.name.NAME.MECHANISM.sasl.jaas.config`",
            ),
            (
                vec![("listeners", "PLAINTEXT://127.0.0.1:0"), ("security.inter.broker.protocol", "PLAINTEXT"), plain],
                "invalid `sasl.enabled.mechanisms` PLAIN: no listener asks for SASL",
            ),
            (
                vec![plain, (jaas, PLAIN), ("listener.name.sasl_plaintext.plain.connections.max.reauth.ms", "soon")],
                "invalid `listener.name.sasl_plaintext.plain.connections.max.reauth.ms` soon: must be a 64-bit integer",
            ),
        ] {
            let error = config(&pairs).unwrap_err();
            assert_eq!(error, expected);
            assert!(!error.contains("secret"));
        }
        if cfg!(not(feature = "oauth")) {
            let error = config(&[("sasl.enabled.mechanisms", "OAUTHBEARER")]).unwrap_err();
            let reason = "OAUTHBEARER needs the feature `oauth` of vltava-broker";
            assert_eq!(error, format!("invalid `sasl.enabled.mechanisms` OAUTHBEARER: {reason}"));
        }
        let handler = "listener.name.sasl_plaintext.plain.sasl.server.callback.handler.class";
        let error = config(&[plain, (jaas, PLAIN), (handler, "com.example.Own")]).unwrap_err();
        assert_eq!(error, format!("invalid `{handler}` ***: classes of the JVM cannot be loaded"));
    }
}
