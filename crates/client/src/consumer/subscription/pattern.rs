//! Subscription by regular expression, looked at here or by the coordinator.

use std::fmt;

use regex_lite::Regex;

use crate::ClientError;

/// A regular expression over topic names. It has to match the whole name.
#[derive(Clone)]
pub struct TopicPattern {
    text: String,
    regex: Regex,
}

impl TopicPattern {
    /// Compiles a pattern in the syntax of the `regex` crate, without Unicode classes.
    ///
    /// # Errors
    /// [`ClientError::InvalidArgument`] if it is not a regular expression.
    pub fn new(pattern: &str) -> Result<Self, ClientError> {
        let regex = Regex::new(&format!("^(?:{pattern})$"))
            .map_err(|e| ClientError::invalid(format!("topic pattern {pattern}: {e}")))?;
        Ok(Self { text: pattern.to_owned(), regex })
    }

    /// Whether the pattern matches the topic's whole name.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        self.regex.is_match(topic)
    }

    /// The pattern as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TopicPattern").field(&self.text).finish()
    }
}

/// A regular expression over topic names, in the syntax of RE2/J, at which the group's coordinator looks. Kafka's
/// `SubscriptionPattern`; under `group.protocol=consumer` only (KIP-848).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SubscriptionPattern {
    pattern: String,
}

impl SubscriptionPattern {
    /// Takes a pattern as it is: whether it is a regular expression is for the coordinator to say.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self { pattern: pattern.into() }
    }

    /// The pattern as it was given.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.pattern
    }
}

impl fmt::Display for SubscriptionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

/// What [`Consumer::subscribe_pattern`](crate::Consumer::subscribe_pattern) takes: a [`TopicPattern`] or a
/// [`SubscriptionPattern`], for which Kafka has overloads of `subscribe`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PatternSubscription {
    /// The consumer looks for topics that match, in the metadata of all.
    Topics(TopicPattern),
    /// The coordinator looks for them.
    Coordinator(SubscriptionPattern),
}

impl From<TopicPattern> for PatternSubscription {
    fn from(pattern: TopicPattern) -> Self {
        Self::Topics(pattern)
    }
}

impl From<SubscriptionPattern> for PatternSubscription {
    fn from(pattern: SubscriptionPattern) -> Self {
        Self::Coordinator(pattern)
    }
}
