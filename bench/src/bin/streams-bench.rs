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
        Grouped, JoinWindows, KStream, KafkaStreams, Materialized, State, StateRestoreListener, StreamJoined,
        StreamsBuilder, StreamsConfig, TimeWindows, Topology,
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

const SECOND: Duration = Duration::from_secs(1);

static FIRST_RECORD: AtomicBool = AtomicBool::new(false);

#[inline]
fn saw_record() {
    if !FIRST_RECORD.load(Ordering::Relaxed) && !FIRST_RECORD.swap(true, Ordering::Relaxed) {
        event("first-record");
    }
}

/// The source of a workload, watched for the first record.
fn events(builder: &StreamsBuilder, topic: &str) -> KStream<String, String> {
    builder.stream(topic).peek(|_, _| saw_record())
}

/// The first characters of a value, which are ASCII.
fn start(value: &str, length: usize) -> &str {
    value.get(..length).unwrap_or(value)
}

fn topology(options: &Options, builder: &StreamsBuilder) -> Result<Topology> {
    let (input, second) = options.input.split_once(',').unwrap_or((&options.input, ""));
    match options.workload.as_str() {
        "passthrough" => events(builder, input)
            .filter(|_, value| !value.starts_with('0'))
            .map(|key, mut value| {
                value.make_ascii_uppercase();
                (key, value)
            })
            .to(&options.output),
        "word-count" | "eos-word-count" => builder
            .stream::<Option<String>, String>(input)
            .flat_map_values(|line| {
                saw_record();
                line.split(' ').map(str::to_owned).collect::<Vec<_>>()
            })
            .group_by_with(Grouped::named("words"), |_, word| word.clone())
            .count_with(Materialized::named("counts"))
            .to_stream()
            .to(&options.output),
        "windowed-count" => {
            let windows = TimeWindows::of_size_and_grace(10 * SECOND, 5 * SECOND).advance_by(5 * SECOND);
            events(builder, input)
                .group_by_key()
                .windowed_by(windows)
                .count_with(Materialized::named("counts"))
                .to_stream()
                .map(|windowed, count| (format!("{}@{}", windowed.key, windowed.window.start()), count))
                .to(&options.output);
        }
        "stream-table-join" => {
            let rows = builder.table_with::<String, String>(Materialized::named("table"), second);
            events(builder, input).join(&rows, |event, row| format!("{}|{row}", start(&event, 32))).to(&options.output);
        }
        "stream-stream-join" => {
            let right = events(builder, second);
            let windows = JoinWindows::of_time_difference_and_grace(5 * SECOND, SECOND);
            let joined = StreamJoined::new().with_name("join").with_store_name("join");
            let join = |_: &String, left: &String, right: &String| format!("{}|{}", start(left, 16), start(right, 16));
            events(builder, input).join_stream_with(joined, &right, windows, join).to(&options.output);
        }
        "restore" => events(builder, input)
            .group_by_key()
            .count_with(Materialized::named("counts"))
            .to_stream()
            .to(&options.output),
        other => bail!("there is no workload {other}"),
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
    streams.close(Duration::from_secs(30))?;
    Ok(())
}
