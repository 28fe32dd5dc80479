//! A single-node Kafka broker: a library, embeddable in a process.

mod coordinator;
