//! Why a tool ends with a status other than 0.

use std::fmt;
use std::io;

use vltava_client::{ClientError, ConfigError};

/// The end of a tool that did not do what it was asked to; its exit status is 1.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong: the reason and the tool's options go to standard error.
    Usage(String),
    /// The reason goes to standard error.
    Message(String),
    /// Everything has been said.
    Reported,
}

impl Failure {
    /// The reason, empty where it has been told.
    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Usage(message) | Self::Message(message) => message,
            Self::Reported => "",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Message(error.to_string())
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Message(message(&error))
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Message(error.to_string())
    }
}

/// What Java's `getMessage()` says: the broker's words, else those of the error code.
pub(crate) fn message(error: &ClientError) -> String {
    match error {
        ClientError::Broker { code, message } => match message {
            Some(words) if !words.is_empty() => words.to_string(),
            _ => code.message().to_owned(),
        },
        ClientError::InvalidArgument { reason } => reason.to_string(),
        ClientError::SaslAuthentication { message, .. } => message.to_string(),
        other => other.to_string(),
    }
}

/// What Java's `toString()` says of an exception: its class, then its message.
pub(crate) fn exception(error: &ClientError) -> String {
    let class = match error {
        ClientError::Broker { code, .. } | ClientError::SaslAuthentication { code, .. } => code.exception_name(),
        ClientError::Timeout { .. } => "TimeoutException",
        ClientError::UnsupportedVersion { .. } => "UnsupportedVersionException",
        ClientError::InvalidArgument { .. } => "IllegalArgumentException",
        _ => "KafkaException",
    };
    let package = match class {
        "KafkaException" => "org.apache.kafka.common",
        "IllegalArgumentException" => "java.lang",
        _ => "org.apache.kafka.common.errors",
    };
    format!("{package}.{class}: {}", message(error))
}
