//! Metrics under Kafka's names: what is recorded, over which windows, and how it is read.
//!
//! Without a clock: who records says when that is, in milliseconds of any clock that only goes forward, and so does who
//! reads. Nothing is computed before it is read. What a client or a part of an application records stands in tables of
//! [definitions](definition); a [`Sensor`] is made of a row, a [`Registry`] knows the sensors that are alive, and a series
//! ends with the last handle of what it describes.
//!
//! - `name`, `value`: what is read.
//! - `config`, `definition`: how it is recorded.
//! - `stats`: the statistics, equal to those of Kafka's `org.apache.kafka.common.metrics.stats`; `tally`: values put together
//!   before they are recorded.
//! - `registry`, `sensor`, `gauge`: what is alive.
//! - `counter`, `histogram`: what many threads record all the time, without a lock and without windows.
//! - `prometheus`: how all of it is told to a monitoring system; `http`, with the feature of that name, serves it.

mod config;
mod counter;
pub mod definition;
mod gauge;
mod histogram;
#[cfg(feature = "http")]
pub mod http;
mod name;
pub mod prometheus;
mod registry;
mod sensor;
mod stats;
mod tally;
mod value;

pub use config::{MetricConfig, RecordingLevel, UnknownLevel};
pub use counter::Counter;
pub use gauge::Gauge;
pub use histogram::{Distribution, Histogram, Reading};
pub use name::{MetricName, Tags};
pub use registry::Registry;
pub use sensor::Sensor;
pub use stats::Stats;
pub use tally::Tally;
pub use value::{MetricValue, Snapshot};
