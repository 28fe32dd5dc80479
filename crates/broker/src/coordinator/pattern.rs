//! Regular expressions of clients, which match whole names. Kafka's are RE2/J's.

use vltava_protocol::ErrorCode;

/// A regular expression.
#[derive(Debug)]
pub(crate) struct Pattern(regex_lite::Regex);

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    ///
    /// `INVALID_REGULAR_EXPRESSION`.
    pub(crate) fn compile(expression: &str) -> Result<Self, ErrorCode> {
        let compiled = regex_lite::Regex::new(&format!("^(?:{expression})$"));
        compiled.map(Self).map_err(|_| ErrorCode::InvalidRegularExpression)
    }

    /// Whether it matches all of `name`.
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}
