//! The twin of the JVM's workloads (`interop/peers/streams-jvm/SPEC.md`), to be run by its `bench` script with `--cmd`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program prints")]

use std::{
    io::Write,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use vltava::{
    client::TopicPartition,
    streams::{
        Grouped, KafkaStreams, Materialized, State, StateRestoreListener, StreamsBuilder, StreamsConfig, Topology,
    },
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The options that `bench` appends, always as `--name value`.
#[derive(Parser)]
struct Options {
    #[arg(long)]
    workload: String,
    #[arg(long)]
    bootstrap: String,
    #[arg(long)]
    application_id: String,
    #[arg(long)]
    input: String,
    #[arg(long)]
    output: String,
    #[arg(long)]
    state_dir: String,
    #[arg(long, default_value = "1")]
    threads: String,
    #[arg(long)]
    commit_interval_ms: String,
    #[arg(long)]
    cache_bytes: String,
    #[arg(long)]
    guarantee: String,
    #[arg(long)]
    linger_ms: Option<String>,
    /// `k=v,k=v`
    #[arg(long)]
    set: Option<String>,
}

/// Prints `EVENT name epoch-milliseconds`, at once.
fn event(name: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let mut out = std::io::stdout().lock();
    // Whoever watches has gone; there is nobody left to tell.
    let _ = writeln!(out, "EVENT {name} {now}").and_then(|()| out.flush());
}

static FIRST_RECORD: AtomicBool = AtomicBool::new(false);

#[inline]
fn saw_record() {
    if !FIRST_RECORD.load(Ordering::Relaxed) && !FIRST_RECORD.swap(true, Ordering::Relaxed) {
        event("first-record");
    }
}

fn topology(options: &Options, builder: &StreamsBuilder) -> Result<Topology> {
    match options.workload.as_str() {
        "passthrough" => builder
            .stream::<String, String>(&options.input)
            .filter(|_, value| {
                saw_record();
                !value.starts_with('0')
            })
            .map(|key, mut value| {
                value.make_ascii_uppercase();
                (key, value)
            })
            .to(&options.output),
        "word-count" | "eos-word-count" => builder
            .stream::<Option<String>, String>(&options.input)
            .flat_map_values(|line| {
                saw_record();
                line.split(' ').map(str::to_owned).collect::<Vec<_>>()
            })
            .group_by_with(|_, word| word.clone(), Grouped::named("words"))
            .count_with(Materialized::named("counts"))
            .to_stream()
            .to(&options.output),
        "restore" => builder
            .stream::<String, String>(&options.input)
            .peek(|_, _| saw_record())
            .group_by_key()
            .count_with(Materialized::named("counts"))
            .to_stream()
            .to(&options.output),
        other => bail!("workload {other} is not supported yet"),
    }
    Ok(builder.build()?)
}

/// Adds up what was restored.
#[derive(Clone, Default)]
struct Restored(Arc<(OnceLock<()>, AtomicU64)>);

impl StateRestoreListener for Restored {
    fn on_restore_start(&self, _changelog: &TopicPartition, _store: &str, _start: i64, _end: i64) {
        self.0.0.get_or_init(|| event("restore-start"));
    }
    fn on_restore_end(&self, _changelog: &TopicPartition, _store: &str, total: u64) {
        self.0.1.fetch_add(total, Ordering::Relaxed);
    }
}

fn config(options: &Options) -> Result<StreamsConfig> {
    let mut properties = vec![
        ("application.id", options.application_id.as_str()),
        ("bootstrap.servers", &options.bootstrap),
        ("state.dir", &options.state_dir),
        ("num.stream.threads", &options.threads),
        ("commit.interval.ms", &options.commit_interval_ms),
        ("statestore.cache.max.bytes", &options.cache_bytes),
        ("processing.guarantee", &options.guarantee),
        ("auto.offset.reset", "earliest"),
    ];
    properties.extend(options.linger_ms.iter().map(|ms| ("linger.ms", ms.as_str())));
    for pair in options.set.iter().flat_map(|set| set.split(',')).filter(|pair| !pair.is_empty()) {
        properties.push(pair.split_once('=').with_context(|| format!("--set {pair}: not k=v"))?);
    }
    Ok(StreamsConfig::from_properties(properties)?)
}

fn main() -> Result<()> {
    event("main");
    let options = Options::parse();
    let topology = topology(&options, &StreamsBuilder::new())?;
    let streams = KafkaStreams::new(topology, config(&options)?)?;
    let restored = Restored::default();
    streams.set_global_state_restore_listener(restored.clone());
    streams.set_state_listener(move |new, _| {
        static ONCE: OnceLock<()> = OnceLock::new();
        if new == State::Running {
            ONCE.get_or_init(|| {
                match restored.0.1.load(Ordering::Relaxed) {
                    0 => {}
                    total => event(&format!("restored:{total}")),
                }
                event("running");
            });
        }
    });
    event("start");
    streams.start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let mut states = streams.states();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = states.wait_for(|state| state.has_completed_shutdown()) => {}
        }
        anyhow::Ok(())
    })?;
    if let Some(why) = streams.failure() {
        bail!("the application failed: {why}");
    }
    streams.close(Duration::from_secs(30));
    Ok(())
}
