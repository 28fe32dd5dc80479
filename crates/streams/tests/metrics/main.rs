//! The metrics of Streams beside those of Apache Kafka's, which were recorded (`interop/metrics/StreamsMetrics.java`).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod names;
mod values;
