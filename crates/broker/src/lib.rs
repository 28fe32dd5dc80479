//! A single-node Kafka broker: a library, embeddable in a process.
//!
//! It speaks Kafka's protocol to any client, keeps partitions in Kafka's files and the cluster's
//! metadata in Kafka's records. It does not replicate yet, and it does not
//! print, exit, read the environment or install a logger: that is what the `vltava` binary does.
//!
//! In reading order: [`BrokerConfig`] (`config`), [`Broker`] (`broker`) and [`embedded`]; `network`
//! and `dispatch` bring a request to its handler in `handlers`, by the list in `apis`; what the handlers
//! work with is in `services`: `metadata` and its `controller`, `partitions`, `coordinator`.

mod advertised;
mod apis;
mod broker;
mod cleaner;
mod clock;
mod config;
mod controller;
mod coordinator;
mod descriptors;
mod dispatch;
pub mod embedded;
mod error;
mod fetch_session;
mod handlers;
mod health;
pub mod keys;
mod log_dirs;
mod log_levels;
mod metadata;
pub mod metrics;
mod monitoring;
mod network;
mod partition;
mod partitions;
mod quota;
mod request;
mod security;
mod seldom;
mod services;
mod start;
mod transaction_verification;
mod waiting;

pub use broker::Broker;
pub use config::{BrokerConfig, ConfigError, ConfigWarning, Definition, Listener, parse_properties};
pub use descriptors::TooFewDescriptors;
pub use error::BrokerError;
pub use log_levels::ApplyLogLevels;
pub use vltava_security::sasl::scram::{AddScram, AddScramError};
