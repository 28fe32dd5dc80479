//! Kafka's wire protocol and record format: no I/O, no clock.
