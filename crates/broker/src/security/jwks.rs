//! The keys of those who sign tokens: in a file that is looked at for each token, or behind an URL that is asked now and then.
//!
//! Nobody who authenticates waits for them: a token whose key is not there yet is refused, as in Kafka, and the keys are read
//! again on a thread for what blocks.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tracing::{debug, info, warn};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use vltava_config::ConfigError;
use vltava_security::Secret;
use vltava_security::sasl::oauthbearer::{AfterFailure, JsonWebKeySet, JwksRefresh};
use vltava_security::ssl;

use crate::config::tokens::JwksSettings;

const URL: &str = "sasl.oauthbearer.jwks.endpoint.url";

/// The longest set of keys that is read, in bytes: that of the library under Kafka.
const LONGEST: u64 = 512 * 1024;

/// How long one answer may take, connecting and all: twenty seconds for each in the library under Kafka.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a start waits for the first answer.
pub(crate) const PATIENCE_AT_START: Duration = Duration::from_secs(10);

/// Keys in a file.
#[derive(Debug)]
pub(crate) struct KeyFile {
    path: PathBuf,
    read: Mutex<(Stamp, Arc<JsonWebKeySet>)>,
}

/// When a file was written last, and how long it is.
type Stamp = Option<(Option<SystemTime>, u64)>;

impl KeyFile {
    pub(crate) fn open(settings: &JwksSettings, path: PathBuf) -> Result<Self, ConfigError> {
        let stamp = stamp(&path);
        let keys = read(&path).map_err(|why| ConfigError::new(URL, &settings.url, why))?;
        Ok(Self { path, read: Mutex::new((stamp, Arc::new(keys))) })
    }

    /// Those that it has now. What cannot be read leaves what was there before.
    pub(crate) fn current(&self) -> Arc<JsonWebKeySet> {
        let mut known = self.read.lock();
        let stamp = stamp(&self.path);
        if known.0 != stamp {
            known.0 = stamp;
            match read(&self.path) {
                Ok(keys) => {
                    info!(file = %self.path.display(), keys = keys.len(), "the keys for tokens have changed");
                    known.1 = Arc::new(keys);
                }
                Err(why) => warn!(file = %self.path.display(), "the keys for tokens have changed: {why}"),
            }
        }
        Arc::clone(&known.1)
    }
}

fn stamp(path: &PathBuf) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok(), metadata.len()))
}

fn read(path: &PathBuf) -> Result<JsonWebKeySet, String> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut text));
    read.map_err(|error| format!("cannot be read: {error}"))?;
    JsonWebKeySet::parse(&text).map_err(|error| error.to_string())
}

/// Keys behind an URL.
#[derive(Debug)]
pub(crate) struct KeyEndpoint {
    settings: JwksSettings,
    agent: Agent,
    keys: Mutex<Arc<JsonWebKeySet>>,
    refresh: Mutex<JwksRefresh>,
    sooner: Notify,
}

impl KeyEndpoint {
    pub(crate) fn new(settings: JwksSettings) -> Result<Self, ConfigError> {
        let refuse = |why: String| ConfigError::new(URL, &settings.url, why);
        let uri: ureq::http::Uri = settings.url.parse().map_err(|_| refuse("is no URL".to_owned()))?;
        if uri.host().is_none_or(str::is_empty) {
            return Err(refuse("names no host".to_owned()));
        }
        let is_https = uri.scheme_str() == Some("https");
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .https_only(is_https)
            .proxy(None)
            .timeout_global(Some(PATIENCE));
        if is_https {
            config = config.tls_config(tls(&settings)?);
        }
        let refresh = Mutex::new(JwksRefresh::new(settings.refresh, Instant::now()));
        Ok(Self { agent: config.build().new_agent(), settings, keys: Mutex::default(), refresh, sooner: Notify::new() })
    }

    pub(crate) fn is_of(&self, settings: &JwksSettings) -> bool {
        self.settings == *settings
    }

    /// Those that it had when it was asked last; none as long as it has not answered.
    pub(crate) fn current(&self) -> Arc<JsonWebKeySet> {
        Arc::clone(&self.keys.lock())
    }

    /// A token names a key that is not among them.
    pub(crate) fn is_missing(&self, id: &str) {
        if self.refresh.lock().is_missing(id, Instant::now()) {
            debug!(url = shown(&self.settings.url), "the keys for tokens are read again: a token names another");
            self.sooner.notify_one();
        }
    }

    /// Asks now and then, until the broker stops.
    pub(crate) async fn follow(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            let due = self.refresh.lock().due();
            let is_due = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep_until(due.into()) => true,
                () = self.sooner.notified() => false,
            };
            if is_due {
                // Who stops does not wait for an answer.
                tokio::select! {
                    biased;
                    _ = stop.wait_for(|stop| *stop) => return,
                    () = self.ask() => {}
                }
            }
        }
    }

    /// Asks once.
    pub(crate) async fn ask(self: &Arc<Self>) {
        self.refresh.lock().begin(Instant::now());
        let this = Arc::clone(self);
        let asked = tokio::task::spawn_blocking(move || this.fetch()).await;
        let now = Instant::now();
        let url = shown(&self.settings.url);
        match asked.map_err(|error| error.to_string()).and_then(|keys| keys) {
            Ok(keys) => {
                debug!(url, keys = keys.len(), "keys for tokens");
                let keys = Arc::new(keys);
                *self.keys.lock() = Arc::clone(&keys);
                self.refresh.lock().fetched(&keys, now);
            }
            Err(why) => match self.refresh.lock().failed(now) {
                AfterFailure::Again(pause) => {
                    warn!(url, "cannot get the keys for tokens, it is tried again after {pause:?}: {why}");
                }
                AfterFailure::Left(pause) => warn!(
                    url,
                    keys = self.keys.lock().len(),
                    "cannot get the keys for tokens, those from before hold for another {pause:?}: {why}"
                ),
            },
        }
    }

    fn fetch(&self) -> Result<JsonWebKeySet, String> {
        let mut response = self.agent.get(&self.settings.url).call().map_err(|error| error.to_string())?;
        let status = response.status();
        if status != 200 {
            return Err(format!("it answers with status {status}"));
        }
        let text = response.body_mut().with_config().limit(LONGEST).read_to_vec().map_err(|error| error.to_string())?;
        JsonWebKeySet::parse(&text).map_err(|error| error.to_string())
    }
}

/// Whom an https URL is trusted by: `ssl.truststore.*` of the login module, or else the operating system.
fn tls(settings: &JwksSettings) -> Result<TlsConfig, ConfigError> {
    let value = |key: &'static str| settings.truststore.get(key).map(Secret::expose);
    let roots = ssl::trusted_certificates(&value)?;
    let roots = roots.iter().map(|root| Certificate::from_der(root).to_owned());
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::from(roots))
        .unversioned_rustls_crypto_provider(ssl::crypto_provider())
        .build())
}

/// What a log may show of a URL: its query may be a secret, and so may what stands before its host.
fn shown(url: &str) -> String {
    let url = url.split_once('?').map_or(url, |(before, _)| before);
    match url.split_once("://").map(|(scheme, rest)| (scheme, rest.split_once('@'))) {
        Some((scheme, Some((_, rest)))) => format!("{scheme}://{rest}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn a_log_shows_no_secrets_of_a_url() {
        assert_eq!(shown("https://idp:8443/keys?secret=x"), "https://idp:8443/keys");
        assert_eq!(shown("https://who:secret@idp/keys"), "https://idp/keys");
        assert_eq!(shown("https://idp/keys"), "https://idp/keys");
    }
}
