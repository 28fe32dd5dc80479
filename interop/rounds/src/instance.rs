//! The application's options, shared by the program that runs it and by the rounds that start it.

use std::{ffi::OsString, path::PathBuf};

use clap::Parser;
use vltava::streams::{Result, StreamsConfig};

/// How long a transaction may be open that nobody ends: whoever reads what is committed waits as long for the results of an
/// instance whose state was wiped.
const TRANSACTION_TIMEOUT_MS: u32 = 5_000;

/// One instance of the application of the rounds; it ends when it fails, and by nothing else.
#[derive(Clone, Debug, Parser, PartialEq, Eq)]
pub struct Instance {
    /// The broker.
    #[arg(long)]
    pub bootstrap_server: String,
    /// `application.id`, which the topics' names begin with too.
    #[arg(long)]
    pub application_id: String,
    /// `state.dir`
    #[arg(long)]
    pub state_dir: PathBuf,
    /// `num.stream.threads`
    #[arg(long)]
    pub threads: u32,
    /// `commit.interval.ms`
    #[arg(long)]
    pub commit_interval_ms: u32,
    /// The producers' `linger.ms`.
    #[arg(long)]
    pub linger_ms: u32,
    /// `statestore.cache.max.bytes`
    #[arg(long)]
    pub cache_bytes: u32,
    /// The consumers' `session.timeout.ms`; heartbeats come four times as often.
    #[arg(long)]
    pub session_timeout_ms: u64,
    /// `processing.guarantee=exactly_once_v2`
    #[arg(long)]
    pub exactly_once: bool,
    /// The DSL's stores are in memory, and not on disk.
    #[arg(long)]
    pub in_memory: bool,
}

impl Instance {
    /// The arguments that give this value back.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut option = |name: &str, value: OsString| arguments.extend([OsString::from(name), value]);
        option("--bootstrap-server", self.bootstrap_server.clone().into());
        option("--application-id", self.application_id.clone().into());
        option("--state-dir", self.state_dir.clone().into());
        option("--threads", self.threads.to_string().into());
        option("--commit-interval-ms", self.commit_interval_ms.to_string().into());
        option("--linger-ms", self.linger_ms.to_string().into());
        option("--cache-bytes", self.cache_bytes.to_string().into());
        option("--session-timeout-ms", self.session_timeout_ms.to_string().into());
        for (name, is_set) in [("--exactly-once", self.exactly_once), ("--in-memory", self.in_memory)] {
            if is_set {
                arguments.push(name.into());
            }
        }
        arguments
    }

    /// The application's configuration.
    ///
    /// # Errors
    /// A value that Streams refuses.
    pub fn config(&self) -> Result<StreamsConfig> {
        let stores = if self.in_memory { "in_memory" } else { "rocksdb" };
        let guarantee = if self.exactly_once { "exactly_once_v2" } else { "at_least_once" };
        StreamsConfig::from_properties([
            ("processing.guarantee", guarantee.to_owned()),
            ("producer.transaction.timeout.ms", TRANSACTION_TIMEOUT_MS.to_string()),
            ("application.id", self.application_id.clone()),
            ("bootstrap.servers", self.bootstrap_server.clone()),
            ("state.dir", self.state_dir.display().to_string()),
            ("num.stream.threads", self.threads.to_string()),
            ("commit.interval.ms", self.commit_interval_ms.to_string()),
            ("producer.linger.ms", self.linger_ms.to_string()),
            ("statestore.cache.max.bytes", self.cache_bytes.to_string()),
            ("dsl.store.suppliers.class", stores.to_owned()),
            ("consumer.session.timeout.ms", self.session_timeout_ms.to_string()),
            ("consumer.heartbeat.interval.ms", (self.session_timeout_ms / 4).max(1).to_string()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_give_the_options_back() {
        let instance = Instance {
            bootstrap_server: "127.0.0.1:9092".to_owned(),
            application_id: "a".to_owned(),
            state_dir: "state".into(),
            threads: 2,
            commit_interval_ms: 50,
            linger_ms: 5,
            cache_bytes: 0,
            session_timeout_ms: 4_000,
            exactly_once: true,
            in_memory: true,
        };
        let program = [OsString::from("rounds-application")];
        assert_eq!(Instance::parse_from(program.into_iter().chain(instance.arguments())), instance);
        assert!(instance.config().is_ok());
    }
}
