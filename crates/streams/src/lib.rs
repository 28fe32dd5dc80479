//! Kafka Streams as a Rust library: typed DSL, Processor API, state stores, TopologyTestDriver.
