//! The vltava program: the broker and Kafka's command-line tools.
