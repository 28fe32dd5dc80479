//! What is recorded, as tables: the reference of all metrics is made of the same rows as the sensors.

use crate::config::RecordingLevel;

/// Metrics of one group, which have the same tags beside those of single rows.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// Such as `producer-metrics`.
    pub name: &'static str,
    /// The tags that every metric of it has.
    pub tags: &'static [&'static str],
    /// What is recorded.
    pub sensors: &'static [&'static SensorDefinition],
    /// What is looked up when it is read.
    pub gauges: &'static [&'static GaugeDefinition],
}

/// What one sensor makes of the values that are recorded.
#[derive(Debug, Clone, Copy)]
pub struct SensorDefinition {
    /// What the values are, such as `bytes`.
    pub unit: &'static str,
    /// From which setting on it is recorded.
    pub level: RecordingLevel,
    /// The metrics.
    pub statistics: &'static [Statistic],
    /// How values are put together for percentiles, if there are some.
    pub bins: Option<Bins>,
    /// Whether Kafka has no such metrics.
    pub is_ours: bool,
}

impl SensorDefinition {
    /// Metrics of level INFO.
    #[must_use]
    pub const fn new(unit: &'static str, statistics: &'static [Statistic]) -> Self {
        Self { unit, level: RecordingLevel::Info, statistics, bins: None, is_ours: false }
    }

    /// The same of another level.
    #[must_use]
    pub const fn level(self, level: RecordingLevel) -> Self {
        Self { level, ..self }
    }

    /// The same with what percentiles need.
    #[must_use]
    pub const fn bins(self, bins: Bins) -> Self {
        Self { bins: Some(bins), ..self }
    }

    /// The same, which Kafka does not have.
    #[must_use]
    pub const fn ours(self) -> Self {
        Self { is_ours: true, ..self }
    }
}

/// A metric that is looked up when it is read.
#[derive(Debug, Clone, Copy)]
pub struct GaugeDefinition {
    /// Such as `connection-count`.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub description: &'static str,
    /// Such as `bytes`.
    pub unit: &'static str,
    /// Whether Kafka has no such metric.
    pub is_ours: bool,
}

impl GaugeDefinition {
    /// A metric that Kafka has too.
    #[must_use]
    pub const fn new(name: &'static str, unit: &'static str, description: &'static str) -> Self {
        Self { name, description, unit, is_ours: false }
    }

    /// The same, which Kafka does not have.
    #[must_use]
    pub const fn ours(self) -> Self {
        Self { is_ours: true, ..self }
    }
}

/// One metric of a sensor.
#[derive(Debug, Clone, Copy)]
pub struct Statistic {
    /// Such as `request-size-avg`.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub description: &'static str,
    /// What is computed.
    pub kind: Kind,
}

/// What is computed of recorded values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// The average over the windows; NaN without a value, as are `Max` and `Min`.
    Avg,
    /// The largest over the windows.
    Max,
    /// The smallest over the windows.
    Min,
    /// The sum of the values over the windows.
    WindowedSum,
    /// How many values were recorded in the windows.
    WindowedCount,
    /// The sum of the values by time.
    Rate(Per),
    /// How many values were recorded by time.
    RateOfEvents(Per),
    /// The sum of all values.
    CumulativeSum,
    /// How many values were recorded in all.
    CumulativeCount,
    /// The last one.
    Value,
    /// What this many percent of the values in the windows are not above, as exactly as the sensor's [`Bins`] are.
    Percentile(f64),
}

/// The time of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// A second.
    Second,
    /// An hour, over windows of an hour.
    Hour,
    /// A nanosecond: of values that are nanoseconds, a part of the time.
    Nanosecond,
}

/// How values are put together for percentiles. What is outside of the range counts as its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bins {
    /// This many of the same width.
    Constant {
        /// How many.
        count: usize,
        /// The smallest value.
        min: f64,
        /// The largest value.
        max: f64,
    },
    /// This many between 0 and `max`, each wider than the one before by the same.
    Linear {
        /// How many.
        count: usize,
        /// The largest value.
        max: f64,
    },
}

macro_rules! statistics {
    ($($(#[$doc:meta])* $function:ident = $kind:expr;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub const fn $function(name: &'static str, description: &'static str) -> Statistic {
            Statistic { name, description, kind: $kind }
        }
    )*};
}

statistics! {
    /// See [`Kind::Avg`].
    avg = Kind::Avg;
    /// See [`Kind::Max`].
    max = Kind::Max;
    /// See [`Kind::Min`].
    min = Kind::Min;
    /// See [`Kind::Rate`], a second.
    rate = Kind::Rate(Per::Second);
    /// See [`Kind::Rate`]: of nanoseconds, a part of the time.
    ratio = Kind::Rate(Per::Nanosecond);
    /// See [`Kind::RateOfEvents`], a second.
    rate_of_events = Kind::RateOfEvents(Per::Second);
    /// See [`Kind::RateOfEvents`], an hour.
    rate_of_events_per_hour = Kind::RateOfEvents(Per::Hour);
    /// See [`Kind::CumulativeSum`].
    total = Kind::CumulativeSum;
    /// See [`Kind::CumulativeCount`].
    count = Kind::CumulativeCount;
    /// See [`Kind::Value`].
    value = Kind::Value;
}
