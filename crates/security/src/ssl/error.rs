//! Why keys and certificates cannot be used.

use std::path::{Path, PathBuf};

use vltava_config::ConfigError;

/// What is wrong with a file of keys or certificates, or with what a setting holds of them. Kafka's
/// `InvalidConfigurationException` says so in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid `{key}`{}: {problem}", display_file(self.file.as_deref()))]
#[non_exhaustive]
pub struct SslError {
    /// The setting that has to be changed.
    pub key: &'static str,
    /// The file, where it is one.
    pub file: Option<PathBuf>,
    /// What is wrong.
    pub problem: StoreProblem,
}

/// What is wrong with a store of keys or certificates, where Kafka has the JVM's exceptions. None of these tells a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreProblem {
    /// The operating system does not give the file.
    #[error("the file cannot be read: {0}")]
    Unreadable(String),
    /// The password does not open it.
    #[error("the password is wrong")]
    WrongPassword,
    /// It cannot be opened without a password.
    #[error("a password is needed")]
    NeedsPassword,
    /// A password is given for a key that is not encrypted.
    #[error("a password is given, and the key is not encrypted")]
    NotEncrypted,
    /// There is no private key in it.
    #[error("it has no private key")]
    NoKey,
    /// There is more than one private key where one is expected.
    #[error("it has {0} private keys, and may have one")]
    ManyKeys(usize),
    /// There is no certificate in it, or none that is trusted.
    #[error("it has no certificate")]
    NoCertificate,
    /// It is of another type than the settings say.
    #[error("it is {found}, set `{key}` accordingly")]
    WrongType {
        /// What it is.
        found: &'static str,
        /// The setting that says what it is.
        key: &'static str,
    },
    /// Its bytes are not what its type says.
    #[error("it is damaged, or of another form: {0}")]
    Malformed(&'static str),
    /// It uses an algorithm that is not supported.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// A certificate that TLS cannot be based on.
    #[error("a certificate cannot be used: {0}")]
    Certificate(String),
    /// Certificate and private key are not of one another.
    #[error("the private key is not that of the certificate")]
    KeyMismatch,
    /// The operating system has no certificates that are trusted.
    #[error("the operating system has no trusted certificates, and no truststore is given")]
    NoSystemRoots,
}

impl SslError {
    pub(super) fn new(key: &'static str, file: Option<&Path>, problem: StoreProblem) -> Self {
        Self { key, file: file.map(Path::to_path_buf), problem }
    }
}

impl From<SslError> for ConfigError {
    fn from(error: SslError) -> Self {
        let shown = error.file.as_ref().map_or_else(|| "***".to_owned(), |file| file.display().to_string());
        ConfigError::new(error.key, shown, error.problem.to_string())
    }
}

fn display_file(file: Option<&Path>) -> String {
    file.map_or_else(String::new, |file| format!(" {}", file.display()))
}
