//! Configuration by Kafka's keys: one table of definitions per client, from which properties are checked, typed builders
//! are fed and documentation is made.
//!
//! Every key that Kafka 4.3 has is known. A key whose effect is not there yet is refused or warned about when it is given
//! a value other than the one that describes what the client does anyway: no option is ignored silently.

mod admin;
mod common;
mod consumer;
mod definitions;
pub mod keys;
mod producer;
mod sasl;
mod security;
mod ssl;

pub use admin::{AdminConfig, AdminConfigBuilder};
pub use common::{CommonConfig, MetadataRecoveryStrategy};
pub use consumer::{AutoOffsetReset, ConsumerConfig, ConsumerConfigBuilder, GroupProtocol, IsolationLevel};
pub use producer::{Acks, ProducerConfig, ProducerConfigBuilder};
pub use vltava_config::{ConfigWarning, Definition, Importance, Kind, Range, Support};
pub use vltava_security::SecurityProtocol;

pub(crate) use common::exponential;
pub(crate) use sasl::{Login, SaslConfig};

/// Setters of a builder, each over one key of the table: of a `duration`, a `string`, or a type that prints itself.
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
    (@one $(#[$doc:meta])* $name:ident string $key:literal) => {
        $(#[$doc])*
        pub fn $name(self, value: impl Into<String>) -> Self {
            self.set($key, value)
        }
    };
    (@one $(#[$doc:meta])* $name:ident $type:ident $key:literal) => {
        $(#[$doc])*
        pub fn $name(self, value: $type) -> Self {
            self.set($key, value.to_string())
        }
    };
}

/// What the configurations of all three clients have over their `TABLES`, and the builder of each.
macro_rules! client_config {
    ($config:ident, $builder:ident) => {
        impl $config {
            /// Starts a typed builder.
            pub fn builder() -> $builder {
                $builder::default()
            }

            /// Checks settings given by Kafka's keys, as a properties file has them.
            ///
            /// # Errors
            /// [`ClientError::Config`](crate::ClientError::Config) naming the key, the value and the range. An unknown key
            /// is no error but a [warning](Self::warnings).
            pub fn from_properties<K, V>(
                properties: impl IntoIterator<Item = (K, V)>,
            ) -> Result<Self, crate::ClientError>
            where
                K: AsRef<str>,
                V: AsRef<str>,
            {
                let config = Self::from_properties_quietly(properties)?;
                for warning in &config.warnings {
                    tracing::warn!("{warning}");
                }
                Ok(config)
            }

            /// The same without logging the [warnings](Self::warnings): for one who makes several clients of the same
            /// settings, and tells them once.
            ///
            /// # Errors
            #[doc = concat!("As [`", stringify!($config), "::from_properties`].")]
            pub fn from_properties_quietly<K, V>(
                properties: impl IntoIterator<Item = (K, V)>,
            ) -> Result<Self, crate::ClientError>
            where
                K: AsRef<str>,
                V: AsRef<str>,
            {
                let settings = vltava_config::Settings::parse(TABLES, properties)?;
                Ok(Self::read(&settings.reader())?)
            }

            /// The same settings under another `client.id`.
            #[must_use]
            pub fn with_client_id(mut self, id: impl Into<String>) -> Self {
                self.common.client_id = id.into();
                self
            }

            /// The same settings with a giver of tokens, for `sasl.mechanism=OAUTHBEARER`; of no use with another.
            #[must_use]
            pub fn with_token_provider(mut self, provider: std::sync::Arc<dyn crate::sasl::TokenProvider>) -> Self {
                self.common.set_token_provider(provider);
                self
            }

            /// The table of all keys.
            pub fn definitions() -> impl Iterator<Item = &'static vltava_config::Definition> {
                TABLES.iter().flat_map(|table| table.iter())
            }

            /// What was accepted though it has no effect. Also logged.
            #[must_use]
            pub fn warnings(&self) -> &[ConfigWarning] {
                &self.warnings
            }

            /// Bootstrap, connections, metadata, retries.
            #[must_use]
            pub fn common(&self) -> &CommonConfig {
                &self.common
            }
        }

        #[doc = concat!("Typed setters over the table of definitions; see [`", stringify!($config), "`].")]
        #[derive(Clone, Default)]
        #[must_use]
        pub struct $builder {
            properties: Vec<(String, String)>,
        }

        /// Shows keys and hides values, among which may be secrets.
        impl std::fmt::Debug for $builder {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_list().entries(self.properties.iter().map(|(key, _)| key)).finish()
            }
        }

        impl $builder {
            /// Checks everything.
            ///
            /// # Errors
            #[doc = concat!("As [`", stringify!($config), "::from_properties`].")]
            pub fn build(self) -> Result<$config, crate::ClientError> {
                $config::from_properties(self.properties)
            }

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
        }
    };
}

use {client_config, setters};

#[cfg(test)]
mod tests;
