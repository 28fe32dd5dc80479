//! What handshakes are made with: from the settings and their files, and anew when the files have changed.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::NoClientAuth;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, Error, InconsistentKeys, ServerConfig};

use super::config::{ClientAuth, SslConfig};
use super::error::{SslError, StoreProblem};
use super::name;
use super::store::{KEYSTORE_KEY, KEYSTORE_LOCATION, KeySource, TrustSource};
use super::trust::{ClientTrust, Trust};

/// What a client makes its handshakes with.
pub type ClientContext = Context<ClientConfig>;

/// What a server makes its handshakes with.
pub type ServerContext = Context<ServerConfig>;

/// What handshakes are made with, as Kafka's `SslFactory`. Files that have changed are read again when the next handshake wants it: Kafka's broker
/// does so when it is told to, and its clients never.
///
/// What cannot be used when it has changed leaves what was there before, with a warning, until it changes again.
pub struct Context<C> {
    loaded: Mutex<Loaded<C>>,
}

struct Loaded<C> {
    config: SslConfig,
    files: [Option<Stamp>; 2],
    built: Built<C>,
}

struct Built<C> {
    context: Arc<C>,
    /// The own certificate.
    certificate: Option<Vec<u8>>,
}

/// When a file was written last, and how long it is.
type Stamp = (Option<SystemTime>, u64);

/// An end of connections, as Kafka's `ConnectionMode`: [`ClientConfig`] or [`ServerConfig`].
pub trait End: sealed::Build {}

impl End for ClientConfig {}
impl End for ServerConfig {}

mod sealed {
    use super::{Arc, CertifiedKey, CryptoProvider, SslConfig, SslError};

    pub trait Build: Sized {
        /// Whether it is found by the names in its certificate.
        const IS_SERVER: bool;

        fn build(
            config: &SslConfig,
            provider: Arc<CryptoProvider>,
            own: Option<Arc<CertifiedKey>>,
        ) -> Result<Self, SslError>;
    }
}

impl<C: End> Context<C> {
    /// Reads the files.
    ///
    /// # Errors
    /// [`SslError`], with the setting that has to be changed.
    pub fn new(config: SslConfig) -> Result<Self, SslError> {
        Ok(Self { loaded: Mutex::new(Loaded::new(config)?) })
    }

    /// For the next handshake.
    pub fn current(&self) -> Arc<C> {
        let mut loaded = self.loaded.lock();
        let files = stamps(&loaded.config);
        if files != loaded.files {
            // Whatever comes of it, it is not tried again before the files change again.
            loaded.files = files;
            match loaded.next(&loaded.config) {
                Ok(built) => {
                    tracing::info!("certificates for TLS have changed, new connections are made with them");
                    loaded.built = built;
                }
                Err(error) => tracing::warn!("certificates for TLS have changed and cannot be used: {error}"),
            }
        }
        Arc::clone(&loaded.built.context)
    }

    /// Whether the settings could be replaced by these.
    ///
    /// # Errors
    /// [`SslError`], with the setting that has to be changed.
    pub fn check(&self, config: &SslConfig) -> Result<(), SslError> {
        self.loaded.lock().next(config).map(|_| ())
    }

    /// Begins anew with these settings, whatever certificate there was before.
    ///
    /// # Errors
    /// [`SslError`], with the setting that has to be changed; what there was is kept then.
    pub fn begin_anew(&self, config: SslConfig) -> Result<(), SslError> {
        let mut loaded = self.loaded.lock();
        if loaded.config != config {
            *loaded = Loaded::new(config)?;
        }
        Ok(())
    }

    /// Replaces the settings; those that hold go on holding where the new ones cannot be used.
    ///
    /// # Errors
    /// [`SslError`], with the setting that has to be changed.
    pub fn replace(&self, config: SslConfig) -> Result<(), SslError> {
        let mut loaded = self.loaded.lock();
        if loaded.config != config {
            let files = stamps(&config);
            let built = loaded.next(&config)?;
            *loaded = Loaded { config, files, built };
        }
        Ok(())
    }
}

impl<C> fmt::Debug for Context<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Context").field(&self.loaded.lock().config).finish()
    }
}

impl<C: End> Loaded<C> {
    fn new(config: SslConfig) -> Result<Self, SslError> {
        // Before they are read: what is written in between is seen at the next look.
        let files = stamps(&config);
        let built = Built::new(&config)?;
        Ok(Self { config, files, built })
    }

    /// What comes after this, if it may.
    fn next(&self, config: &SslConfig) -> Result<Built<C>, SslError> {
        let next = Built::new(config)?;
        let (Some(old), Some(new)) = (&self.built.certificate, &next.certificate) else { return Ok(next) };
        let refuse = |reason: &str| {
            let key = config.keys.as_ref().map_or(KEYSTORE_LOCATION, place);
            let path = config.keys.as_ref().and_then(KeySource::path);
            Err(SslError::new(key, path, StoreProblem::Certificate(reason.to_owned())))
        };
        let same_name = |old: Option<String>, new: Option<String>| match (old, new) {
            (Some(old), Some(new)) => old.eq_ignore_ascii_case(&new),
            _ => false,
        };
        if C::IS_SERVER
            && !config.allows_dn_changes
            && !same_name(name::distinguished_name(old), name::distinguished_name(new))
        {
            return refuse(
                "it is of another distinguished name than the one before, and `ssl.allow.dn.changes` is false",
            );
        }
        let has_all = match (name::alternative_names(old), name::alternative_names(new)) {
            (Ok(old), Ok(new)) => old.iter().all(|name| new.contains(name)),
            _ => false,
        };
        if C::IS_SERVER && !config.allows_san_changes && !has_all {
            return refuse("it lacks alternative names of the one before, and `ssl.allow.san.changes` is false");
        }
        Ok(next)
    }
}

impl<C: End> Built<C> {
    fn new(config: &SslConfig) -> Result<Self, SslError> {
        let provider = Arc::new(config.provider());
        let own = config.keys.as_ref().map(|keys| certified(keys, &provider)).transpose()?;
        let certificate = own.as_ref().and_then(|own| own.cert.first()).map(|first| first.to_vec());
        Ok(Self { context: Arc::new(C::build(config, provider, own)?), certificate })
    }
}

impl sealed::Build for ClientConfig {
    const IS_SERVER: bool = false;

    fn build(
        config: &SslConfig,
        provider: Arc<CryptoProvider>,
        own: Option<Arc<CertifiedKey>>,
    ) -> Result<Self, SslError> {
        let trust = Arc::new(Trust::load(config, &provider)?);
        let builder =
            Self::builder_with_provider(provider).with_protocol_versions(&config.versions()).map_err(unusable)?;
        let builder = builder.dangerous().with_custom_certificate_verifier(trust);
        Ok(match own {
            Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
            None => builder.with_no_client_auth(),
        })
    }
}

impl sealed::Build for ServerConfig {
    const IS_SERVER: bool = true;

    fn build(
        config: &SslConfig,
        provider: Arc<CryptoProvider>,
        own: Option<Arc<CertifiedKey>>,
    ) -> Result<Self, SslError> {
        let own = own.ok_or_else(|| SslError::new(KEYSTORE_LOCATION, None, StoreProblem::NoKey))?;
        let verifier: Arc<dyn ClientCertVerifier> = match config.client_auth {
            ClientAuth::None => {
                // Nobody is asked, and a truststore that cannot be used is told all the same, as by Kafka.
                config.trust.as_ref().map(TrustSource::load).transpose()?;
                Arc::new(NoClientAuth)
            }
            ClientAuth::Requested | ClientAuth::Required => Arc::new(ClientTrust::load(config, &provider)?),
        };
        let builder =
            Self::builder_with_provider(provider).with_protocol_versions(&config.versions()).map_err(unusable)?;
        Ok(builder.with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(SingleCertAndKey::from(own))))
    }
}

/// What the checks of the settings leave nothing of.
fn unusable(error: Error) -> SslError {
    SslError::new("ssl.cipher.suites", None, StoreProblem::Unsupported(error.to_string()))
}

fn certified(keys: &KeySource, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, SslError> {
    let identity = keys.load()?;
    let refuse = |problem| SslError::new(place(keys), keys.path(), problem);
    let key = provider.key_provider.load_private_key(identity.key);
    let key =
        key.map_err(|_| refuse(StoreProblem::Unsupported("the kind or the size of its private key".to_owned())))?;
    let chain: Vec<CertificateDer<'static>> = identity.chain.into_iter().map(CertificateDer::from).collect();
    let own = CertifiedKey::new(chain, key);
    match own.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Arc::new(own)),
        Err(Error::InconsistentKeys(_)) => Err(refuse(StoreProblem::KeyMismatch)),
        Err(error) => Err(refuse(StoreProblem::Certificate(error.to_string()))),
    }
}

/// The setting that says where they are.
fn place(keys: &KeySource) -> &'static str {
    if keys.path().is_some() { KEYSTORE_LOCATION } else { KEYSTORE_KEY }
}

fn stamps(config: &SslConfig) -> [Option<Stamp>; 2] {
    let keys = config.keys.as_ref().and_then(KeySource::path);
    let trust = config.trust.as_ref().and_then(TrustSource::path);
    [keys.and_then(stamp), trust.and_then(stamp)]
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok(), metadata.len()))
}

#[cfg(test)]
mod tests;
