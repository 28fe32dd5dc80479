//! The tables of all metrics. Names and descriptions are Kafka's, which dashboards know.

pub(crate) mod consumer;
pub(crate) mod network;
pub(crate) mod producer;
