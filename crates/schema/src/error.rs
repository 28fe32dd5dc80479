//! The one error of this crate.

use thiserror::Error;
use vltava_config::ConfigError;

/// The result of everything that can fail here.
pub type Result<T, E = SchemaError> = std::result::Result<T, E>;

/// What can go wrong with schemas and their registry.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// A setting has a wrong value.
    #[error("invalid configuration: {0}")]
    Config(#[from] ConfigError),
    /// The certificates that the system trusts cannot be read.
    #[error("the system's certificates cannot be read: {reason}")]
    Certificates {
        /// Why.
        reason: String,
    },
    /// None of the registry's addresses could be reached.
    #[error("the schema registry at {url} cannot be reached: {reason}")]
    Unavailable {
        /// The last address that was tried, without its password.
        url: String,
        /// Why.
        reason: String,
    },
    /// The registry did not take a schema because it breaks the subject's compatibility rule.
    #[error("the schema is not compatible with those of subject {subject}: {message}")]
    Incompatible {
        /// The subject.
        subject: String,
        /// The registry's explanation.
        message: String,
    },
    /// There is no such subject, version or schema.
    #[error("not in the schema registry: {what}: {message} (error code {code})")]
    NotFound {
        /// What was asked for.
        what: String,
        /// The registry's error code: 40401 subject, 40402 version, 40403 schema; 40404 and 40406 for a subject and a
        /// version that is deleted already.
        code: i64,
        /// The registry's explanation.
        message: String,
    },
    /// The registry refuses these credentials, or wants some.
    #[error("the schema registry refuses access (HTTP status {status}): {message}")]
    Unauthorized {
        /// 401 or 403.
        status: u16,
        /// The registry's explanation.
        message: String,
    },
    /// A text is not a schema of its format.
    #[error("not a valid {format} schema: {reason}")]
    InvalidSchema {
        /// `AVRO`, `PROTOBUF` or `JSON`.
        format: &'static str,
        /// Why.
        reason: String,
    },
    /// Any other answer of the registry that is an error.
    #[error("the schema registry answers with HTTP status {status}, error code {code}: {message}")]
    Registry {
        /// The HTTP status.
        status: u16,
        /// The registry's error code; 0 if it gave none.
        code: i64,
        /// The registry's explanation.
        message: String,
    },
    /// An answer that is not what the registry's API promises.
    #[error("the schema registry's answer to {request} cannot be read: {reason}")]
    Answer {
        /// Method and address.
        request: String,
        /// Why.
        reason: String,
    },
    /// Bytes that are not in the registry's wire format.
    #[error("not in the schema registry's wire format: {0}")]
    WireFormat(String),
    /// A record was written with another type than the one it is read as.
    #[error("schema {id} is of {found} where {expected} is read")]
    OtherType {
        /// The schema's id in the registry.
        id: i32,
        /// What the record was written as.
        found: String,
        /// What was to be read.
        expected: String,
    },
    /// A value that its schema does not take, or bytes that are not a value of it.
    #[error("{format}: {reason}")]
    Value {
        /// `avro`, `protobuf` or `json`.
        format: &'static str,
        /// Why.
        reason: String,
    },
}

impl SchemaError {
    /// Whether the same request may succeed later: the registry is away or overloaded.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            SchemaError::Unavailable { .. } => true,
            SchemaError::Registry { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }

    /// Whether the record that met it is lost, and the next one may fare better.
    #[must_use]
    pub fn is_abortable(&self) -> bool {
        !self.is_fatal()
    }

    /// Whether an application that meets it is set up wrongly, so that no record will fare better.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(
            self,
            SchemaError::Config(_)
                | SchemaError::Certificates { .. }
                | SchemaError::Incompatible { .. }
                | SchemaError::Unauthorized { .. }
                | SchemaError::InvalidSchema { .. }
        )
    }
}
