//! Kafka producer, consumer and admin client on tokio.
//!
//! The crate speaks Kafka's protocol to any broker, and knows nothing of ours. What it decides, it decides in state
//! machines without sockets and clocks; `net` is where both are. Settings are Kafka's, by key or by typed builder, over
//! one table of definitions. TLS is the feature `tls`. What of Kafka is not there yet is refused by name.

pub mod admin;
mod caught;
pub mod config;
pub mod consumer;
pub mod error;
mod metrics;
pub mod net;
mod offset_and_metadata;
pub mod producer;
pub mod sasl;
mod topic_partition;

pub use admin::Admin;
pub use config::{AdminConfig, ConsumerConfig, ProducerConfig};
pub use consumer::{Consumer, ConsumerRecord, ConsumerRecords, RebalanceCallbacks, RebalanceListener};
pub use error::{ClientError, ConfigError};
pub use metrics::GROUPS as METRIC_GROUPS;
pub use offset_and_metadata::OffsetAndMetadata;
pub use producer::Producer;
pub use topic_partition::TopicPartition;
pub use vltava_metrics::{MetricName, MetricValue, Snapshot};
pub use vltava_protocol::{ApiKey, ErrorCode};
pub use vltava_serde as serdes;
