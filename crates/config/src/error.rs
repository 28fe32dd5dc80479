//! A value that a key does not take.

/// A setting with a value that it may not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid `{key}` {value}: {reason}")]
#[non_exhaustive]
pub struct ConfigError {
    /// Kafka's key.
    pub key: String,
    /// The value as given; `***` for secrets.
    pub value: String,
    /// What the key takes, or what the value conflicts with.
    pub reason: String,
    /// The whole sentence that Kafka's broker answers with, where it is not made of key, value and reason.
    kafka: Option<String>,
}

impl ConfigError {
    /// An error that names the key, the value and what would be right.
    #[must_use]
    pub fn new(key: impl Into<String>, value: impl ToString, reason: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.to_string(), reason: reason.into(), kafka: None }
    }

    /// A key without a value and without a default.
    #[must_use]
    pub fn missing(key: impl Into<String>) -> Self {
        Self::new(key, "\"\"", "required, and has no default")
    }

    /// With the sentence that Kafka's broker has for this mistake.
    #[must_use]
    pub fn with_kafka_message(self, message: impl Into<String>) -> Self {
        Self { kafka: Some(message.into()), ..self }
    }

    /// With Kafka's words for what the key takes.
    pub(crate) fn with_kafka_reason(self, reason: &str) -> Self {
        let message = format!("Invalid value {} for configuration {}: {reason}", self.value, self.key);
        self.with_kafka_message(message)
    }

    /// The text that Kafka's broker answers for this mistake.
    #[must_use]
    pub fn kafka_message(&self) -> String {
        match &self.kafka {
            Some(message) => message.clone(),
            None => format!("Invalid value {} for configuration {}: {}", self.value, self.key, self.reason),
        }
    }
}
