//! `cargo xtask mixed`: instances of the JVM's Kafka Streams and of ours in one group.
#![allow(clippy::print_stdout, reason = "a command that tells what it does")]

use std::{path::Path, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use vltava_rounds::{
    broker::Make,
    mixed::{self, GroupProtocol, Program},
};

/// Runs two instances of the JVM's Kafka Streams and two of ours as members of one group, kills them in turn with SIGKILL,
/// and compares what comes out with what went in. What failed keeps its folder, with the logs of all processes.
#[derive(Parser)]
#[command(name = "cargo xtask mixed")]
struct Options {
    /// How many kills.
    #[arg(long, default_value_t = 8)]
    kills: usize,
    /// How many times one is stopped with SIGSTOP for longer than its session, after the kills.
    #[arg(long, default_value_t = 0)]
    stops: usize,
    /// With `processing.guarantee=exactly_once_v2`.
    #[arg(long)]
    exactly_once: bool,
    /// On Apache Kafka's broker, and not ours.
    #[arg(long)]
    apache: bool,
    /// How the group divides its tasks (`group.protocol`).
    #[arg(long, value_enum, default_value = "classic")]
    group_protocol: GroupProtocol,
    /// How many standbys of each task (`num.standby.replicas`); of a classic group.
    #[arg(long, default_value_t = 0)]
    standbys: u32,
    /// How many instances of the JVM's.
    #[arg(long, default_value_t = 2)]
    jvm: usize,
    /// How many of ours.
    #[arg(long, default_value_t = 2)]
    ours: usize,
    /// How long nothing may move.
    #[arg(long, default_value_t = 90)]
    patience_s: u64,
    /// The class path of `interop/peers/streams-jvm`.
    #[arg(long)]
    class_path: String,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            done = all(&options) => done,
            // What runs is ended when the run is dropped.
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            _ = terminate.recv() => bail!("terminated"),
        }
    })
}

async fn all(options: &Options) -> Result<ExitCode> {
    if options.group_protocol == GroupProtocol::Streams && options.standbys > 0 {
        bail!("the standbys of a streams group are a setting of the group, which `--standbys` does not make");
    }
    let interop = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no folder above")?;
    let beside = |name: &str| -> Result<PathBuf> { Ok(std::env::current_exe()?.with_file_name(name)) };
    let make =
        if options.apache { Make::Apache(interop.join("peers/kafka/broker")) } else { Make::Vltava(beside("vltava")?) };
    let heap = ["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", &options.class_path];
    let logging =
        format!("-Dlog4j2.configurationFile={}", interop.join("peers/kafka/tools-log4j2.properties").display());
    let mut before: Vec<_> = vec![logging.into()];
    before.extend(heap.map(Into::into));
    before.push("peers.App".into());
    let jvm = (0..options.jvm).map(|at| Program {
        name: format!("jvm-{at}"),
        program: "java".into(),
        before: before.clone(),
    });
    let program = beside("streams-bench")?;
    let ours = (0..options.ours).map(|at| Program {
        name: format!("ours-{at}"),
        program: program.clone(),
        before: Vec::new(),
    });
    let programs: Vec<Program> = interleaved(jvm.collect(), ours.collect());
    let folder = tempfile::Builder::new().prefix("vltava-mixed-").tempdir()?;
    let frame = mixed::Frame {
        kills: options.kills,
        stops: options.stops,
        exactly_once: options.exactly_once,
        group_protocol: options.group_protocol,
        standbys: options.standbys,
        patience: Duration::from_secs(options.patience_s),
    };
    match mixed::run(&frame, &make, &programs, folder.path()).await {
        Ok(seen) => {
            println!("ok: {seen}");
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) => {
            println!("failed: {failure:#}");
            println!("the logs are in {}", folder.keep().display());
            Ok(ExitCode::FAILURE)
        }
    }
}

/// One of each in turn: the kills go round in this order.
fn interleaved(one: Vec<Program>, other: Vec<Program>) -> Vec<Program> {
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut all = Vec::new();
    loop {
        match (one.next(), other.next()) {
            (None, None) => return all,
            (first, second) => all.extend(first.into_iter().chain(second)),
        }
    }
}
