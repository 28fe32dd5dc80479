//! The sender against a model of brokers that checks sequence numbers as Kafka's do, under a fake clock.

mod barrier;
mod behaviour;
mod model;
mod order;
mod permit;
mod random;
