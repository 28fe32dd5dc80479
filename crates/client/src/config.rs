//! Configuration by Kafka's keys: one table of definitions per client, from which properties are checked, typed builders
//! are fed and documentation is made.
//!
//! Every key that Kafka 4.3 has is known. A key whose effect is not there yet is refused or warned about when it is given
//! a value other than the one that describes what the client does anyway: no option is ignored silently.

mod admin;
mod common;
mod consumer;
pub mod keys;
mod producer;
mod security;

pub use admin::{AdminConfig, AdminConfigBuilder};
pub use common::{CommonConfig, MetadataRecoveryStrategy};
pub use consumer::{AutoOffsetReset, ConsumerConfig, ConsumerConfigBuilder, IsolationLevel};
pub use producer::{Acks, ProducerConfig, ProducerConfigBuilder};
pub use vltava_config::{ConfigWarning, Definition, Importance, Kind, Range, Support};

pub(crate) use common::exponential;

/// Setters of a builder, each over one key of the table.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $kind:ident = $key:literal;)*) => {
        $(setters!(@one $(#[$doc])* $name $kind $key);)*
    };
    (@one $(#[$doc:meta])* $name:ident duration $key:literal) => {
        $(#[$doc])*
        pub fn $name(self, value: std::time::Duration) -> Self {
            self.set($key, value.as_millis().to_string())
        }
    };
    (@one $(#[$doc:meta])* $name:ident bytes $key:literal) => {
        $(#[$doc])*
        pub fn $name(self, value: usize) -> Self {
            self.set($key, value.to_string())
        }
    };
    (@one $(#[$doc:meta])* $name:ident int $key:literal) => {
        $(#[$doc])*
        pub fn $name(self, value: i32) -> Self {
            self.set($key, value.to_string())
        }
    };
    (@one $(#[$doc:meta])* $name:ident bool $key:literal) => {
        $(#[$doc])*
        pub fn $name(self, value: bool) -> Self {
            self.set($key, value.to_string())
        }
    };
    (@one $(#[$doc:meta])* $name:ident string $key:literal) => {
        $(#[$doc])*
        pub fn $name(self, value: impl Into<String>) -> Self {
            self.set($key, value)
        }
    };
}

/// The setters that all three builders have.
macro_rules! common_setters {
    () => {
        /// Adds or replaces any setting by Kafka's key, with the value as it would stand in a properties file.
        pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
            self.properties.push((key.into(), value.into()));
            self
        }

        setters! {
            /// `bootstrap.servers`: `host:port`, separated by commas, from which the rest of the cluster is found.
            /// Required.
            bootstrap_servers: string = "bootstrap.servers";
            /// `client.id`: the name by which the broker knows this client in its logs and quotas. Default: drawn.
            client_id: string = "client.id";
            /// `request.timeout.ms`, default 30 s: how long one request may stay without an answer before its connection
            /// is given up.
            request_timeout: duration = "request.timeout.ms";
            /// `retry.backoff.ms`, default 100 ms: the pause before the first retry; doubled up to
            /// [`retry_backoff_max`](Self::retry_backoff_max).
            retry_backoff: duration = "retry.backoff.ms";
            /// `retry.backoff.max.ms`, default 1 s: the longest pause between retries.
            retry_backoff_max: duration = "retry.backoff.max.ms";
            /// `reconnect.backoff.ms`, default 50 ms: the pause after a connection could not be made; doubled up to
            /// [`reconnect_backoff_max`](Self::reconnect_backoff_max).
            reconnect_backoff: duration = "reconnect.backoff.ms";
            /// `reconnect.backoff.max.ms`, default 1 s: the longest pause between attempts to connect.
            reconnect_backoff_max: duration = "reconnect.backoff.max.ms";
            /// `metadata.max.age.ms`, default 5 min: metadata older than this is read again even without an error.
            metadata_max_age: duration = "metadata.max.age.ms";
            /// `connections.max.idle.ms`, default 9 min (admin: 5 min): an unused connection is closed after this time.
            connections_max_idle: duration = "connections.max.idle.ms";
            /// `socket.connection.setup.timeout.ms`, default 10 s: how long making a connection may take; doubled per
            /// failure up to `socket.connection.setup.timeout.max.ms`.
            socket_connection_setup_timeout: duration = "socket.connection.setup.timeout.ms";
        }
    };
}

/// `Debug` that shows keys and hides values, among which may be secrets.
macro_rules! debug_builder {
    ($name:ident) => {
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_list().entries(self.properties.iter().map(|(key, _)| key)).finish()
            }
        }
    };
}

pub(crate) use {common_setters, debug_builder, setters};

#[cfg(test)]
mod tests;
