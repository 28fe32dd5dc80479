//! What a request asks to happen to one setting.

/// A change of one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConfigChange {
    Set(Option<String>),
    Delete,
    Append(Option<String>),
    Subtract(Option<String>),
    /// An operation with a number that nobody knows.
    Unknown(i8),
}
