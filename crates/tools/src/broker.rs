//! `vltava broker`: a broker as a process.
//!
//! As `kafka-server-start` does, it takes a `server.properties` and overrides; without a file it
//! runs on Kafka's defaults. It ends with status 0 after a stop by SIGTERM or SIGINT, with 1 when it
//! cannot start. A second signal ends it at once, with 130, and the next start recovers.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};
use tracing_subscriber::filter::LevelFilter;
use vltava_broker::{AddScram, Broker, BrokerConfig, parse_properties};

use crate::logging::{self, Levels};

/// What a shell reports for a program that an interrupt ended.
const INTERRUPTED: u8 = 130;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The configuration, in Kafka's keys; Kafka's defaults without it.
    #[arg(value_name = "server.properties")]
    properties: Option<PathBuf>,
    /// Sets one key over the file; may be given many times.
    #[arg(long = "override", value_name = "key=value")]
    overrides: Vec<String>,
    /// The id that an empty directory is formatted with; drawn at random if none is given.
    #[arg(long, value_name = "id")]
    cluster_id: Option<String>,
    /// A user of SCRAM that the broker is to have, as for `kafka-storage format`, such as
    /// 'SCRAM-SHA-256=[name=alice,password=alice-secret]'; may be given many times. Who has a password of that mechanism
    /// already keeps it.
    #[arg(long = "add-scram", value_name = "mechanism=[name=user,password=secret]")]
    add_scram: Vec<String>,
    /// What is logged to standard error: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "level", default_value = "info")]
    log_level: LevelFilter,
}

/// Runs a broker until a signal ends it.
pub(crate) fn run(args: Args) -> ExitCode {
    let started = Instant::now();
    let levels = logging::init(args.log_level);
    match serve(args, levels, started) {
        Ok(status) => status,
        Err(failure) => {
            error!("the broker cannot run: {}", with_causes(&failure));
            ExitCode::FAILURE
        }
    }
}

/// A failure with what is behind it; a cause that the error above it has in its own words is not told again.
fn with_causes(failure: &anyhow::Error) -> String {
    failure
        .chain()
        .skip(1)
        .map(ToString::to_string)
        .fold(failure.to_string(), |told, cause| if told.contains(&cause) { told } else { format!("{told}: {cause}") })
}

fn serve(args: Args, levels: Levels, started: Instant) -> Result<ExitCode> {
    let config = configuration(&args)?;
    let config = config.with_log_levels(args.log_level, Box::new(move |changed| levels.set(changed)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = runtime.block_on(async { Signals::listen() })?;
    let mut broker = Broker::start(config)?;
    let mut stdout = io::stdout().lock();
    writeln!(
        stdout,
        "Kafka Server started: cluster {} on {}, ready in {} ms",
        broker.cluster_id(),
        broker.bootstrap_servers(),
        started.elapsed().as_millis(),
    )?;
    stdout.flush()?;
    runtime.block_on(async {
        let signal = tokio::select! {
            signal = signals.next() => signal,
            // Kafka's broker ends, too, when it cannot go on without a log directory.
            failure = broker.failed() => return Err(failure.into()),
        };
        info!("stopping by {signal}");
        tokio::select! {
            () = broker.shutdown() => Ok(ExitCode::SUCCESS),
            _ = signals.next() => std::process::exit(i32::from(INTERRUPTED)),
        }
    })
}

/// The signals that end a broker.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one and names it.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

fn configuration(args: &Args) -> Result<BrokerConfig> {
    let mut pairs = match &args.properties {
        Some(path) => read(path)?,
        None => Vec::new(),
    };
    for given in &args.overrides {
        match given.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                pairs.push((key.trim().to_owned(), value.trim().to_owned()));
            }
            _ => bail!("--override {given}: needs the form key=value"),
        }
    }
    let mut config = BrokerConfig::from_properties(pairs)?;
    for argument in &args.add_scram {
        config = config.with_scram_user(AddScram::parse(argument).context("--add-scram")?);
    }
    Ok(match &args.cluster_id {
        Some(id) => config.with_cluster_id(id),
        None => config,
    })
}

fn read(path: &Path) -> Result<Vec<(String, String)>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let text = String::from_utf8(bytes).with_context(|| format!("`{}` is not UTF-8", path.display()))?;
    Ok(parse_properties(&text))
}

#[cfg(test)]
mod tests {
    use vltava_broker::BrokerError;

    use super::*;

    #[test]
    fn each_cause_of_a_failure_is_told_once() {
        let refused = || io::Error::other("disk on fire");
        let path = PathBuf::from("/d");
        let bare = BrokerError::Io { action: "create", path, source: refused() };
        assert_eq!(with_causes(&bare.into()), "cannot create `/d`: disk on fire");
        let source = vltava_log::LogError::Storage { context: "reading t-0".to_owned(), source: refused() };
        let telling = BrokerError::Log { partition: "t-0".to_owned(), source };
        assert_eq!(with_causes(&telling.into()), "log `t-0`: reading t-0: disk on fire");
        let above = anyhow::Error::from(refused()).context("cannot read `server.properties`");
        assert_eq!(with_causes(&above), "cannot read `server.properties`: disk on fire");
    }
}
