//! Subscription by regular expression.

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
