//! The tokens of OAUTHBEARER: what each listener checks them with.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};
use vltava_config::ConfigError;
use vltava_security::sasl::oauthbearer::{JwtError, JwtValidator, TokenRefused, UnsecuredValidator, ValidToken};

use super::jwks::{KeyEndpoint, KeyFile, PATIENCE_AT_START};
use crate::config::BrokerConfig;
use crate::config::tokens::TokenSettings;

/// What the listeners of a broker check tokens with.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    by_listener: BTreeMap<String, Arc<ListenerTokens>>,
    endpoints: Vec<Arc<KeyEndpoint>>,
}

/// What one listener checks them with.
#[derive(Debug)]
pub(crate) struct ListenerTokens {
    listener: String,
    check: Check,
}

#[derive(Debug)]
enum Check {
    Unsecured(UnsecuredValidator),
    Signed { validator: JwtValidator, keys: Keys },
}

#[derive(Debug)]
enum Keys {
    File(KeyFile),
    Endpoint(Arc<KeyEndpoint>),
}

impl Tokens {
    /// For all listeners that have OAUTHBEARER. Listeners of the same provider share its keys.
    pub(crate) fn new(config: &BrokerConfig) -> Result<Self, ConfigError> {
        let mut tokens = Self::default();
        for listener in &config.listeners {
            let settings = config.sasl(&listener.name).and_then(|sasl| sasl.tokens.as_ref());
            let check = match settings {
                None => continue,
                Some(TokenSettings::Unsecured(options)) => {
                    warn!(
                        listener = listener.name,
                        "tokens that nobody has signed are taken: who comes is who he says"
                    );
                    Check::Unsecured(UnsecuredValidator::new(options.clone()))
                }
                Some(TokenSettings::Signed { keys, validator }) => {
                    warn_of_what_is_not_checked(&listener.name, validator);
                    let known = tokens.endpoints.iter().find(|endpoint| endpoint.is_of(keys));
                    let keys = match (&keys.file, known) {
                        (Some(path), _) => Keys::File(KeyFile::open(keys, path.clone())?),
                        (None, Some(known)) => Keys::Endpoint(Arc::clone(known)),
                        (None, None) => {
                            let endpoint = Arc::new(KeyEndpoint::new(keys.clone())?);
                            tokens.endpoints.push(Arc::clone(&endpoint));
                            Keys::Endpoint(endpoint)
                        }
                    };
                    Check::Signed { validator: validator.clone(), keys }
                }
            };
            let of_listener = ListenerTokens { listener: listener.name.clone(), check };
            tokens.by_listener.insert(listener.name.clone(), Arc::new(of_listener));
        }
        Ok(tokens)
    }

    /// What a listener checks them with, where it takes any.
    pub(crate) fn of(&self, listener: &str) -> Option<&Arc<ListenerTokens>> {
        self.by_listener.get(listener)
    }

    /// Asks the endpoints for the first time, so that who connects at once is let in. A start waits for none of them for long:
    /// what does not answer is asked again later.
    pub(crate) async fn begin(&self) {
        let mut asking = JoinSet::new();
        for endpoint in &self.endpoints {
            let endpoint = Arc::clone(endpoint);
            asking.spawn(async move { endpoint.ask().await });
        }
        let all = async { while asking.join_next().await.is_some() {} };
        if timeout(PATIENCE_AT_START, all).await.is_err() {
            warn!("the broker starts without keys for tokens: they do not come in {} s", PATIENCE_AT_START.as_secs());
        }
    }

    /// The endpoints that are to be asked for keys.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Arc<KeyEndpoint>> {
        self.endpoints.iter()
    }
}

/// As Kafka does.
fn warn_of_what_is_not_checked(listener: &str, validator: &JwtValidator) {
    if validator.expected_audience.is_empty() {
        warn!(
            listener,
            "without `sasl.oauthbearer.expected.audience` tokens are taken that are for nobody in particular"
        );
    }
    if validator.expected_issuer.is_none() {
        warn!(listener, "without `sasl.oauthbearer.expected.issuer` tokens are taken whoever has issued them");
    }
}

impl ListenerTokens {
    /// Checks a token; why it is refused is told in the log alone.
    pub(crate) fn check(&self, token: &str, wall_clock_ms: i64) -> Result<ValidToken, TokenRefused> {
        let checked = match &self.check {
            Check::Unsecured(validator) => validator.validate(token, wall_clock_ms),
            Check::Signed { validator, keys } => {
                let known = match keys {
                    Keys::File(file) => file.current(),
                    Keys::Endpoint(endpoint) => endpoint.current(),
                };
                validator.validate(token, &known, wall_clock_ms).map_err(|error| {
                    if let (JwtError::UnknownKey { id: Some(id), .. }, Keys::Endpoint(endpoint)) = (&error, keys) {
                        endpoint.is_missing(id);
                    }
                    TokenRefused::invalid(error.to_string())
                })
            }
        };
        checked.inspect_err(|refused| info!(listener = self.listener, "a token is refused: {}", refused.why))
    }
}
