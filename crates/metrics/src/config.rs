//! How long and how much is recorded.

use std::str::FromStr;

/// How detailed a metric is, and up to which detail metrics are recorded (`metrics.recording.level`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordingLevel {
    /// What is always recorded.
    #[default]
    Info,
    /// What costs something with each record or has a series for each part.
    Debug,
    /// Everything.
    Trace,
}

impl RecordingLevel {
    /// Whether what has this level is recorded where the setting is `configured`.
    #[must_use]
    pub fn is_recorded_at(self, configured: Self) -> bool {
        self <= configured
    }

    /// Kafka's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
            Self::Trace => "TRACE",
        }
    }
}

/// A word that is no recording level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownLevel;

impl FromStr for RecordingLevel {
    type Err = UnknownLevel;

    fn from_str(word: &str) -> Result<Self, UnknownLevel> {
        [Self::Info, Self::Debug, Self::Trace]
            .into_iter()
            .find(|level| level.name().eq_ignore_ascii_case(word))
            .ok_or(UnknownLevel)
    }
}

/// Over what statistics with windows are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricConfig {
    pub(crate) samples: usize,
    pub(crate) window_ms: i64,
    pub(crate) level: RecordingLevel,
}

impl MetricConfig {
    /// `samples` windows (`metrics.num.samples`) of `window_ms` (`metrics.sample.window.ms`); each is one at least.
    #[must_use]
    pub fn new(samples: usize, window_ms: i64, level: RecordingLevel) -> Self {
        Self { samples: samples.max(1), window_ms: window_ms.max(1), level }
    }

    /// Up to which detail is recorded.
    #[must_use]
    pub fn level(&self) -> RecordingLevel {
        self.level
    }

    pub(crate) fn expiry_ms(&self) -> i64 {
        i64::try_from(self.samples).unwrap_or(i64::MAX).saturating_mul(self.window_ms)
    }
}

/// Kafka's defaults: two windows of 30 s, INFO.
impl Default for MetricConfig {
    fn default() -> Self {
        Self::new(2, 30_000, RecordingLevel::Info)
    }
}
