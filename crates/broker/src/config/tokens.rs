//! How a listener checks the tokens of OAUTHBEARER: `sasl.oauthbearer.*`, and Kafka's two classes that do so.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use vltava_config::{ConfigError, split_list};
use vltava_security::Secret;
use vltava_security::sasl::oauthbearer::{JwtValidator, RefreshSettings};
use vltava_security::sasl::{BrokerOAuthOptions, UnsecuredOptions};

const URL: &str = "sasl.oauthbearer.jwks.endpoint.url";
const REFRESH: &str = "sasl.oauthbearer.jwks.endpoint.refresh.ms";
const BACKOFF: &str = "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms";
const BACKOFF_MAX: &str = "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms";
const SKEW: &str = "sasl.oauthbearer.clock.skew.seconds";
const AUDIENCE: &str = "sasl.oauthbearer.expected.audience";
const ISSUER: &str = "sasl.oauthbearer.expected.issuer";
const SCOPE_CLAIM: &str = "sasl.oauthbearer.scope.claim.name";
const SUB_CLAIM: &str = "sasl.oauthbearer.sub.claim.name";

/// Kafka's class that checks signed tokens, by its name of today and of before 4.0.
const SIGNED: [&str; 2] = [
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler",
    "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerValidatorCallbackHandler",
];
/// Kafka's class that takes tokens which nobody has signed.
const UNSECURED: &str =
    "org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler";

/// What the tokens of a listener are checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenSettings {
    /// Nobody has signed them.
    Unsecured(UnsecuredOptions),
    Signed {
        keys: JwksSettings,
        validator: JwtValidator,
    },
}

/// Where the keys of those are that sign tokens, and how often it is looked for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JwksSettings {
    pub(crate) url: String,
    /// Where the URL is that of a file.
    pub(crate) file: Option<PathBuf>,
    pub(crate) refresh: RefreshSettings,
    /// `ssl.truststore.*` of the login module: whom an https URL is trusted by.
    pub(crate) truststore: BTreeMap<String, Secret>,
}

/// Reads what holds for a listener. `given` gives the value of a key, or its default, and the name that it was given by;
/// `handler` is the class that is to check tokens, with its key; `options` are those of the login module.
pub(super) fn read(
    given: &dyn Fn(&'static str) -> (String, Option<String>),
    handler: Option<(String, &str)>,
    mut options: BrokerOAuthOptions,
) -> Result<TokenSettings, ConfigError> {
    let text = |key| given(key).1.filter(|value| !value.trim().is_empty()).map(|value| value.trim().to_owned());
    let url = text(URL);
    match (handler, url) {
        (Some((_, class)), Some(url)) if SIGNED.contains(&class) => signed(given, &url, options),
        (None, Some(url)) => signed(given, &url, options),
        (Some((key, UNSECURED)), Some(_)) => {
            Err(ConfigError::new(key, UNSECURED, format!("takes tokens of everybody, and `{URL}` says who signs them")))
        }
        (Some((_, UNSECURED)), None) => Ok(TokenSettings::Unsecured(options.unsecured.get_or_insert_default().clone())),
        (Some((key, class)), None) if SIGNED.contains(&class) => {
            Err(ConfigError::new(key, class, format!("needs `{URL}`")))
        }
        (Some((key, class)), _) => Err(ConfigError::new(key, class, super::keys::CLASSES)),
        // Kafka takes unsigned tokens here without a word: anybody would be let in as whom he likes.
        (None, None) => match options.unsecured {
            Some(unsecured) => Ok(TokenSettings::Unsecured(unsecured)),
            None => {
                let reason = format!(
                    "required with OAUTHBEARER; tokens that nobody has signed need \
                     `listener.name.NAME.oauthbearer.sasl.server.callback.handler.class` {UNSECURED}"
                );
                Err(ConfigError::new(given(URL).0, "\"\"", reason))
            }
        },
    }
}

fn signed(
    given: &dyn Fn(&'static str) -> (String, Option<String>),
    url: &str,
    options: BrokerOAuthOptions,
) -> Result<TokenSettings, ConfigError> {
    let text = |key| given(key).1.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let number = |key| {
        let (name, value) = given(key);
        super::sasl::parsed::<i64>(&name, key, value.as_deref().unwrap_or(""))
    };
    let millis = |key, least: u64| {
        let value = number(key)?;
        let millis = u64::try_from(value).ok().filter(|millis| *millis >= least);
        let millis = millis.ok_or_else(|| ConfigError::new(given(key).0, value, format!("must be >= {least}")))?;
        Ok::<_, ConfigError>(Duration::from_millis(millis))
    };
    let named = |key| text(key).ok_or_else(|| ConfigError::new(given(key).0, "\"\"", "must be the name of a claim"));
    let is_http = ["http://", "https://"].iter().any(|scheme| url.to_ascii_lowercase().starts_with(scheme));
    let file = file_of(url);
    if !is_http && file.is_none() {
        return Err(ConfigError::new(given(URL).0, url, "must be an http, https or file URL"));
    }
    Ok(TokenSettings::Signed {
        keys: JwksSettings {
            url: url.to_owned(),
            file,
            refresh: RefreshSettings {
                every: millis(REFRESH, 1)?,
                backoff: millis(BACKOFF, 0)?,
                backoff_max: millis(BACKOFF_MAX, 0)?,
            },
            truststore: options.truststore,
        },
        validator: JwtValidator {
            expected_audience: text(AUDIENCE).iter().flat_map(|list| split_list(list)).map(str::to_owned).collect(),
            expected_issuer: text(ISSUER),
            clock_skew_seconds: number(SKEW)?,
            scope_claim_name: named(SCOPE_CLAIM)?,
            sub_claim_name: named(SUB_CLAIM)?,
        },
    })
}

/// The path of a `file:` URL of this machine.
fn file_of(url: &str) -> Option<PathBuf> {
    let rest = url.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("file:")).and(url.get(5..))?;
    let path = match rest.strip_prefix("//") {
        Some(with_host) => with_host.strip_prefix("localhost").unwrap_or(with_host),
        None => rest,
    };
    path.starts_with('/').then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BrokerConfig;

    const URLS: (&str, &str) = (URL, "https://idp.example/keys");
    const HANDLER: &str = "listener.name.sasl_plaintext.oauthbearer.sasl.server.callback.handler.class";
    const JAAS: &str = "listener.name.sasl_plaintext.oauthbearer.sasl.jaas.config";
    const MODULE: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required";

    fn config(pairs: &[(&str, &str)]) -> Result<TokenSettings, String> {
        let listener = [
            ("listeners", "SASL_PLAINTEXT://127.0.0.1:0"),
            ("security.inter.broker.protocol", "SASL_PLAINTEXT"),
            ("sasl.enabled.mechanisms", "OAUTHBEARER"),
        ];
        let config = BrokerConfig::from_properties(listener.iter().chain(pairs).copied());
        config
            .map(|config| config.sasl("SASL_PLAINTEXT").unwrap().tokens.clone().unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn signed_tokens_are_what_an_url_of_keys_asks_for() {
        let Ok(TokenSettings::Signed { keys, validator }) = config(&[URLS]) else { panic!("signed") };
        assert_eq!((keys.url.as_str(), keys.file), (URLS.1, None));
        let ms = Duration::from_millis;
        let refresh = RefreshSettings { every: ms(3_600_000), backoff: ms(100), backoff_max: ms(10_000) };
        assert_eq!(keys.refresh, refresh);
        assert_eq!((validator.scope_claim_name.as_str(), validator.sub_claim_name.as_str()), ("scope", "sub"));
        assert_eq!((validator.clock_skew_seconds, validator.expected_issuer), (30, None));
        let own = config(&[
            URLS,
            (HANDLER, SIGNED[0]),
            (JAAS, &format!("{MODULE} clientId=\"x\" ssl.truststore.location=\"/ca.pem\";")),
            ("listener.name.sasl_plaintext.oauthbearer.sasl.oauthbearer.jwks.endpoint.url", "file:///keys.json"),
            ("listener.name.sasl_plaintext.sasl.oauthbearer.expected.audience", "kafka, brokers"),
            ("sasl.oauthbearer.expected.audience", "others"),
            ("sasl.oauthbearer.expected.issuer", "https://idp.example"),
            ("sasl.oauthbearer.clock.skew.seconds", "7"),
            ("sasl.oauthbearer.sub.claim.name", "client_id"),
            ("sasl.oauthbearer.scope.claim.name", "scp"),
        ]);
        let Ok(TokenSettings::Signed { keys, validator }) = own else { panic!("{own:?}") };
        assert_eq!(keys.file, Some(PathBuf::from("/keys.json")));
        assert!(keys.truststore.contains_key("ssl.truststore.location"));
        let expected = JwtValidator {
            expected_audience: vec!["kafka".to_owned(), "brokers".to_owned()],
            expected_issuer: Some("https://idp.example".to_owned()),
            clock_skew_seconds: 7,
            scope_claim_name: "scp".to_owned(),
            sub_claim_name: "client_id".to_owned(),
        };
        assert_eq!(validator, expected);
    }

    #[test]
    fn who_takes_unsigned_tokens_says_so() {
        let unsecured = || Ok(TokenSettings::Unsecured(UnsecuredOptions::default()));
        assert_eq!(config(&[(HANDLER, UNSECURED)]), unsecured());
        let options = format!("{MODULE} unsecuredLoginStringClaim_sub=\"admin\";");
        assert_eq!(config(&[(JAAS, &options)]), unsecured());
        let none = config(&[(JAAS, &format!("{MODULE};"))]).unwrap_err();
        assert!(
            none.starts_with(&format!("invalid `{URL}` \"\": required with OAUTHBEARER; tokens that nobody")),
            "{none}"
        );
    }

    #[test]
    fn what_cannot_be_honoured_refuses_to_start() {
        let own_url = "listener.name.sasl_plaintext.oauthbearer.sasl.oauthbearer.jwks.endpoint.url";
        for (pairs, expected) in [
            (vec![(URL, "ftp://idp/keys")], format!("invalid `{URL}` ftp://idp/keys: must be an http, https or file URL")),
            (vec![(own_url, "keys")], format!("invalid `{own_url}` keys: must be an http, https or file URL")),
            (vec![URLS, (REFRESH, "0")], format!("invalid `{REFRESH}` 0: must be >= 1")),
            (vec![URLS, (BACKOFF, "-1")], format!("invalid `{BACKOFF}` -1: must be >= 0")),
            (vec![URLS, (SUB_CLAIM, " ")], format!("invalid `{SUB_CLAIM}` \"\": must be the name of a claim")),
            (vec![(HANDLER, SIGNED[1])], format!("invalid `{HANDLER}` {}: needs `{URL}`", SIGNED[1])),
            (vec![URLS, (HANDLER, "x.Own")], format!("invalid `{HANDLER}` x.Own: classes of the JVM cannot be loaded")),
            (
                vec![URLS, (HANDLER, UNSECURED)],
                format!("invalid `{HANDLER}` {UNSECURED}: takes tokens of everybody, and `{URL}` says who signs them"),
            ),
            (
                vec![URLS, ("sasl.enabled.mechanisms", "SCRAM-SHA-256")],
                format!("invalid `{URL}` https://idp.example/keys: no listener has the mechanism OAUTHBEARER"),
            ),
            (
                vec![(own_url, URLS.1), ("sasl.enabled.mechanisms", "SCRAM-SHA-256")],
                format!("invalid `{own_url}` ***: the listener does not have the mechanism OAUTHBEARER"),
            ),
            (
                vec![
                    ("listener.name.sasl_plaintext.sasl.oauthbearer.expected.issuer", "x"),
                    ("sasl.enabled.mechanisms", "SCRAM-SHA-256"),
                ],
                "invalid `listener.name.sasl_plaintext.sasl.oauthbearer.expected.issuer` ***: the listener does not have \
                 the mechanism OAUTHBEARER"
                    .to_owned(),
            ),
        ] {
            assert_eq!(config(&pairs), Err(expected));
        }
    }
}
