//! Keys and certificates from where the settings say they are.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};

use super::error::{SslError, StoreProblem};
use super::{ec_key, jks, pem, pkcs12};
use crate::Secret;

pub(super) const KEY_PASSWORD: &str = "ssl.key.password";
pub(super) const CERTIFICATE_CHAIN: &str = "ssl.keystore.certificate.chain";
pub(super) const KEYSTORE_KEY: &str = "ssl.keystore.key";
pub(super) const KEYSTORE_LOCATION: &str = "ssl.keystore.location";
pub(super) const KEYSTORE_PASSWORD: &str = "ssl.keystore.password";
pub(super) const KEYSTORE_TYPE: &str = "ssl.keystore.type";
pub(super) const TRUSTSTORE_CERTIFICATES: &str = "ssl.truststore.certificates";
pub(super) const TRUSTSTORE_LOCATION: &str = "ssl.truststore.location";
pub(super) const TRUSTSTORE_PASSWORD: &str = "ssl.truststore.password";
pub(super) const TRUSTSTORE_TYPE: &str = "ssl.truststore.type";

/// What is in a store.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) keys: Vec<StoredKey>,
    pub(super) trusted: Vec<Vec<u8>>,
}

/// A private key, its certificate, and those above it.
pub(super) struct StoredKey {
    /// In PKCS#8, where the password opens it.
    pub(super) key: Result<Vec<u8>, StoreProblem>,
    pub(super) chain: Vec<Vec<u8>>,
}

/// Where private key and certificates are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeySource {
    /// In the settings themselves.
    Inline {
        chain: Secret,
        key: Secret,
        password: Option<Secret>,
    },
    PemFile {
        path: PathBuf,
        password: Option<Secret>,
    },
    Store {
        path: PathBuf,
        password: Secret,
        key_password: Option<Secret>,
    },
}

/// Where the certificates are that are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TrustSource {
    Inline(Secret),
    PemFile(PathBuf),
    Store { path: PathBuf, password: Option<Secret> },
}

/// A private key, with the certificate it is of and those above.
pub(super) struct Identity {
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) chain: Vec<Vec<u8>>,
}

impl Identity {
    fn new(key: PrivateKeyDer<'static>, chain: Vec<Vec<u8>>) -> Self {
        let complete = match (&key, chain.first()) {
            (PrivateKeyDer::Pkcs8(key), Some(own)) => ec_key::with_public_half(key.secret_pkcs8_der(), own),
            _ => None,
        };
        Self { key: complete.map_or(key, |complete| PrivatePkcs8KeyDer::from(complete).into()), chain }
    }
}

impl KeySource {
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Inline { .. } => None,
            Self::PemFile { path, .. } | Self::Store { path, .. } => Some(path),
        }
    }

    pub(super) fn load(&self) -> Result<Identity, SslError> {
        let file = self.path();
        let at = |key| move |problem| SslError::new(key, file, problem);
        match self {
            Self::Inline { chain, key, password } => {
                let key =
                    key_of_pem(key.expose(), password.as_ref()).map_err(blame(KEYSTORE_KEY, KEY_PASSWORD, file))?;
                let chain = certificates(chain.expose()).map_err(at(CERTIFICATE_CHAIN))?;
                Ok(Identity::new(key, chain))
            }
            Self::PemFile { path, password } => {
                let text = read_pem(path, KEYSTORE_TYPE).map_err(at(KEYSTORE_LOCATION))?;
                let key = key_of_pem(&text, password.as_ref()).map_err(blame(KEYSTORE_LOCATION, KEY_PASSWORD, file))?;
                let chain = certificates(&text).map_err(at(KEYSTORE_LOCATION))?;
                Ok(Identity::new(key, chain))
            }
            Self::Store { path, password, key_password } => {
                let bytes = read(path).map_err(at(KEYSTORE_LOCATION))?;
                let stored =
                    open(&bytes, Some(password.expose()), key_password.as_ref().map(Secret::expose), KEYSTORE_TYPE)
                        .map_err(blame(KEYSTORE_LOCATION, KEYSTORE_PASSWORD, file))?;
                let first = stored.keys.into_iter().next();
                let StoredKey { key, chain } = first.ok_or(StoreProblem::NoKey).map_err(at(KEYSTORE_LOCATION))?;
                if chain.is_empty() {
                    return Err(at(KEYSTORE_LOCATION)(StoreProblem::NoCertificate));
                }
                let of_key = if key_password.is_some() { KEY_PASSWORD } else { KEYSTORE_PASSWORD };
                let key = key.map_err(blame(KEYSTORE_LOCATION, of_key, file))?;
                Ok(Identity::new(PrivatePkcs8KeyDer::from(key).into(), chain))
            }
        }
    }
}

impl TrustSource {
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Inline(_) => None,
            Self::PemFile(path) | Self::Store { path, .. } => Some(path),
        }
    }

    /// The setting that names it.
    pub(super) fn key(&self) -> &'static str {
        if matches!(self, Self::Inline(_)) { TRUSTSTORE_CERTIFICATES } else { TRUSTSTORE_LOCATION }
    }

    pub(super) fn load(&self) -> Result<Vec<Vec<u8>>, SslError> {
        let file = self.path();
        let at = |problem| SslError::new(self.key(), file, problem);
        match self {
            Self::Inline(text) => certificates(text.expose()).map_err(at),
            Self::PemFile(path) => read_pem(path, TRUSTSTORE_TYPE).and_then(|text| certificates(&text)).map_err(at),
            Self::Store { path, password } => {
                let bytes = read(path).map_err(at)?;
                let password = password.as_ref().map(Secret::expose);
                let stored = open(&bytes, password, None, TRUSTSTORE_TYPE).map_err(blame(
                    TRUSTSTORE_LOCATION,
                    TRUSTSTORE_PASSWORD,
                    file,
                ))?;
                // As the JVM trusts the certificate of a key that lies there, too.
                let of_keys = stored.keys.into_iter().filter_map(|key| key.chain.into_iter().next());
                let trusted: Vec<Vec<u8>> = stored.trusted.into_iter().chain(of_keys).collect();
                if trusted.is_empty() { Err(at(StoreProblem::NoCertificate)) } else { Ok(trusted) }
            }
        }
    }
}

/// Which setting a problem is told of: that of the password, or that of the place.
fn blame(place: &'static str, password: &'static str, file: Option<&Path>) -> impl Fn(StoreProblem) -> SslError {
    move |problem| {
        let of_password =
            matches!(problem, StoreProblem::WrongPassword | StoreProblem::NeedsPassword | StoreProblem::NotEncrypted);
        SslError::new(if of_password { password } else { place }, file, problem)
    }
}

/// What no store of keys or certificates is larger than, in bytes.
const LARGEST: u64 = 64 << 20;

fn read(path: &Path) -> Result<Vec<u8>, StoreProblem> {
    let unreadable = |error: std::io::Error| StoreProblem::Unreadable(error.to_string());
    let mut bytes = Vec::new();
    // A device has no end.
    File::open(path).map_err(unreadable)?.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST {
        return Err(StoreProblem::Unreadable(format!("it is larger than {LARGEST} bytes")));
    }
    Ok(bytes)
}

/// As the JVM, which has read either format under the name of the other since Java 8.
fn open(
    bytes: &[u8],
    password: Option<&str>,
    key_password: Option<&str>,
    type_key: &'static str,
) -> Result<Stored, StoreProblem> {
    let wrong = |found| Err(StoreProblem::WrongType { found, key: type_key });
    match bytes {
        _ if bytes.starts_with(&jks::MAGIC) => jks::read(bytes, password, key_password),
        _ if bytes.starts_with(&jks::JCEKS_MAGIC) => Err(StoreProblem::Unsupported("a store of type JCEKS".to_owned())),
        _ if pem::is_pem(bytes) => wrong("PEM"),
        _ => pkcs12::read(bytes, password, key_password),
    }
}

fn read_pem(path: &Path, type_key: &'static str) -> Result<String, StoreProblem> {
    let bytes = read(path)?;
    let wrong = |found| StoreProblem::WrongType { found, key: type_key };
    if bytes.starts_with(&jks::MAGIC) {
        return Err(wrong("JKS"));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) if pem::is_pem(error.as_bytes()) => Ok(String::from_utf8_lossy(error.as_bytes()).into_owned()),
        Err(error) if error.as_bytes().starts_with(&[super::der::SEQUENCE]) => Err(wrong("PKCS12, or DER")),
        Err(_) => Err(StoreProblem::Malformed("there is no PEM in it")),
    }
}

fn certificates(text: &str) -> Result<Vec<Vec<u8>>, StoreProblem> {
    let of_certificates = |section: &pem::Section| matches!(section.label.as_str(), "CERTIFICATE" | "X509 CERTIFICATE");
    let certificates: Vec<Vec<u8>> =
        pem::sections(text)?.into_iter().filter(of_certificates).map(|section| section.bytes).collect();
    if certificates.is_empty() { Err(StoreProblem::NoCertificate) } else { Ok(certificates) }
}

fn key_of_pem(text: &str, password: Option<&Secret>) -> Result<PrivateKeyDer<'static>, StoreProblem> {
    let mut keys: Vec<pem::Section> =
        pem::sections(text)?.into_iter().filter(|section| section.label.ends_with("PRIVATE KEY")).collect();
    let pem::Section { label, bytes } = match keys.len() {
        0 => return Err(StoreProblem::NoKey),
        1 => keys.swap_remove(0),
        more => return Err(StoreProblem::ManyKeys(more)),
    };
    match (label.as_str(), password) {
        ("ENCRYPTED PRIVATE KEY", Some(password)) => {
            Ok(PrivatePkcs8KeyDer::from(pkcs12::decrypt_key(&bytes, password.expose())?).into())
        }
        ("ENCRYPTED PRIVATE KEY", None) => Err(StoreProblem::NeedsPassword),
        (_, Some(_)) => Err(StoreProblem::NotEncrypted),
        ("PRIVATE KEY", None) => Ok(PrivatePkcs8KeyDer::from(bytes).into()),
        ("RSA PRIVATE KEY", None) => Ok(PrivatePkcs1KeyDer::from(bytes).into()),
        ("EC PRIVATE KEY", None) => Ok(PrivateSec1KeyDer::from(bytes).into()),
        (other, None) => Err(StoreProblem::Unsupported(format!("a key of type {other}"))),
    }
}

#[cfg(test)]
mod tests;
