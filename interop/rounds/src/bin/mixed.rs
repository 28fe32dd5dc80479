//! `cargo xtask mixed`: instances of the JVM's Kafka Streams and of ours in one group.

use std::{process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use clap::Parser;
use vltava_rounds::{
    driver,
    mixed::{self, GroupProtocol, Program},
    pauses::{self, Group},
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
    /// Compares nothing, but measures how long partitions pause when an instance is added, stopped, killed, and killed
    /// and restarted: in a group of ours, and then in one of the JVM's.
    #[arg(long)]
    pauses: bool,
    /// How many times, with `--pauses`; the longest pauses of all are told.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
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
    driver::run(all(&Options::parse()))
}

async fn all(options: &Options) -> Result<ExitCode> {
    if options.pauses && options.group_protocol == GroupProtocol::Streams {
        bail!("pauses are measured in classic groups, whose members tell what they have");
    }
    if options.group_protocol == GroupProtocol::Streams && options.standbys > 0 {
        bail!("the standbys of a streams group are a setting of the group, which `--standbys` does not make");
    }
    let make = driver::broker(options.apache, "mixed")?;
    let heap = ["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", &options.class_path];
    let logging = driver::interop()?.join("peers/kafka/tools-log4j2.properties");
    let logging = format!("-Dlog4j2.configurationFile={}", logging.display());
    let mut before: Vec<_> = vec![logging.into()];
    before.extend(heap.map(Into::into));
    before.push("peers.App".into());
    let program = driver::beside("streams-bench", "mixed")?;
    let jvm = |at| Program { name: format!("jvm-{at}"), program: "java".into(), before: before.clone() };
    let ours = |at| Program { name: format!("ours-{at}"), program: program.clone(), before: Vec::new() };
    let programs: Vec<Program> =
        interleaved((0..options.jvm).map(jvm).collect(), (0..options.ours).map(ours).collect());
    let folder = tempfile::Builder::new().prefix("vltava-mixed-").tempdir()?;
    let frame = mixed::Frame {
        kills: options.kills,
        stops: options.stops,
        exactly_once: options.exactly_once,
        group_protocol: options.group_protocol,
        standbys: options.standbys,
        patience: Duration::from_secs(options.patience_s),
    };
    let outcome = if options.pauses {
        let group = |name: &str, programs| Group { name: name.to_owned(), programs };
        let groups = [group("ours", [0, 1, 2].map(ours)), group("jvm", [0, 1, 2].map(jvm))];
        let seen = pauses::run(&frame, options.rounds, &make, &groups, folder.path()).await;
        seen.map(|seen| format!("measured\n{seen}"))
    } else {
        mixed::run(&frame, &make, &programs, folder.path()).await.map(|seen| seen.to_string())
    };
    Ok(driver::told(outcome, folder))
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
