//! What a metric says.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::name::MetricName;

/// What all metrics said at one time, by their names.
pub type Snapshot = BTreeMap<MetricName, MetricValue>;

/// The value of a metric. Most are numbers; NaN is a number of which nothing was recorded, as an average of nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricValue {
    /// A number.
    Number(f64),
    /// A word, such as a version.
    Text(Arc<str>),
}

impl MetricValue {
    /// The number, NaN for a word.
    #[must_use]
    pub fn as_f64(&self) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Text(_) => f64::NAN,
        }
    }
}

impl From<f64> for MetricValue {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for MetricValue {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl PartialEq<f64> for MetricValue {
    fn eq(&self, other: &f64) -> bool {
        self.as_f64() == *other
    }
}

impl PartialOrd<f64> for MetricValue {
    fn partial_cmp(&self, other: &f64) -> Option<std::cmp::Ordering> {
        self.as_f64().partial_cmp(other)
    }
}

impl fmt::Display for MetricValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}
