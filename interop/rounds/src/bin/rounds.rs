//! `cargo xtask rounds`: kills, stops, wipes and full disks over one application, and a verdict for each round.
#![allow(clippy::print_stdout, reason = "a command that tells what it does")]

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::Parser;
use vltava_rounds::{
    broker::Make,
    clock,
    disk::{SlowDisk, SmallDisk},
    driver,
    failure::Failure,
    plan::{Frame, Kind, Plan},
    round::{self, Passed},
    stage::Programs,
};

/// Runs an application of seven parts (word count, windowed count with suppress, outer join, foreign-key join, join of tables,
/// join with a global table, deduplication by a store) in one to three instances, disturbs them and their broker, and checks
/// that no result is lost, that every table is exact, that no process ends by itself and that none stands still.
///
/// With `--exactly-once` a round is one disturbance of three instances that process exactly once. After each interval of
/// rounds what was read as committed must have every result once, and another application begins.
///
/// Each round is drawn from the seed, its number and the kinds: `--seed S --from N --rounds 1` with the same kinds and
/// steps is round N again, as far as the machine lets it be. What failed keeps its folder, with the logs of all processes.
#[derive(Parser)]
#[command(name = "cargo xtask rounds")]
struct Options {
    /// How many rounds.
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// The seed; drawn if none is given, and printed first in any case.
    #[arg(long)]
    seed: Option<u64>,
    /// The number of the first round.
    #[arg(long, default_value_t = 0)]
    from: u32,
    /// What may happen; the kinds take turns in being the first of a round. All that is possible here by default.
    #[arg(long, value_delimiter = ',', value_enum)]
    kinds: Vec<Kind>,
    /// Steps of a round; each writes about a dozen records. With `--exactly-once` at least so many in an interval, and as many
    /// as the disturbances last; 600 by default.
    #[arg(long)]
    steps: Option<u32>,
    /// With `processing.guarantee=exactly_once_v2`.
    #[arg(long)]
    exactly_once: bool,
    /// With `--exactly-once` after how many rounds the results are checked; the last interval is a whole one too.
    #[arg(long, default_value_t = 25)]
    interval: u32,
    /// A broker to use, which is not disturbed; our own otherwise.
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "apache")]
    bootstrap_server: Option<String>,
    /// Apache Kafka's broker, fresh for each round.
    #[arg(long)]
    apache: bool,
    /// The instances' session time-out, which the broker must allow.
    #[arg(long)]
    session_timeout_ms: Option<u64>,
    /// How long nothing may move.
    #[arg(long, default_value_t = 60)]
    patience_s: u64,
    /// Goes on with the next round after one that failed, and sums up at the end.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> Result<ExitCode> {
    driver::run(all(&Options::parse()))
}

async fn all(options: &Options) -> Result<ExitCode> {
    let seed = driver::seed(options.seed)?;
    println!("seed {seed}");
    let programs = programs(options)?;
    let own_broker = options.bootstrap_server.is_none();
    // Whoever stands exactly once does so again and again, and not for longer than it must.
    let (steps, session_ms) = if options.exactly_once { (600, 2_000) } else { (2_000, 4_000) };
    let frame = Frame {
        seed,
        kinds: kinds(options, own_broker)?,
        steps: options.steps.unwrap_or(steps),
        session: Duration::from_millis(options.session_timeout_ms.unwrap_or(session_ms)),
        fake_clock: clock::library().is_some(),
        own_broker,
        exactly_once: options.exactly_once.then(|| options.interval.clamp(1, options.rounds.max(1))),
    };
    let mut failed = Vec::new();
    let end = options.from.saturating_add(options.rounds);
    // A play is a round, or an interval of them.
    let play = frame.exactly_once.unwrap_or(1);
    for first in (options.from..end).step_by(play as usize) {
        if let Err(failure) = one(options, &programs, &frame, first / play).await? {
            failed.push((first, failure.in_short()));
            if !options.keep_going {
                break;
            }
        }
    }
    let rounds = options.rounds;
    println!("{} of {rounds} rounds failed (seed {seed})", failed.len());
    for (number, failure) in &failed {
        println!("  round {number}: {failure}");
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One round; the outer error is for what keeps any round from being run.
async fn one(options: &Options, programs: &Programs, frame: &Frame, number: u32) -> Result<Result<Passed, Failure>> {
    let plan = Plan::new(frame, number);
    let named = match frame.exactly_once {
        Some(rounds) => format!("rounds {} to {}", number * rounds, (number + 1) * rounds - 1),
        None => format!("round {number}"),
    };
    println!(
        "{named}: instances with {:?} threads, {} partitions, stores {}, commit every {} ms, linger {} ms, cache {} bytes",
        plan.instances,
        plan.partitions,
        if plan.on_disk { "on disk" } else { "in memory" },
        plan.commit_interval_ms,
        plan.linger_ms,
        plan.cache_bytes
    );
    if let Some(back) = plan.set_back {
        println!("  records are set back by {} s from step {} on", back.by.as_secs(), back.from_step);
    }
    let folder = tempfile::Builder::new().prefix("vltava-rounds-").tempdir()?;
    let patience = Duration::from_secs(options.patience_s);
    let started = Instant::now();
    let outcome = round::run(programs, frame, (number, &plan), folder.path(), patience).await;
    let seconds = started.elapsed().as_secs_f64();
    match &outcome {
        Ok(passed) => println!("  ok: {} records in, {} out, {seconds:.1} s", passed.records, passed.results),
        Err(failure) => {
            println!("{named} failed after {seconds:.1} s: {failure}");
            println!("  its logs are in {}", folder.keep().display());
            println!("  again: {}", command(options, frame, number));
        }
    }
    Ok(outcome)
}

/// The command that runs one round again.
fn command(options: &Options, frame: &Frame, number: u32) -> String {
    let (from, rounds) = match frame.exactly_once {
        Some(rounds) => (number * rounds, rounds),
        None => (number, 1),
    };
    let names = frame.kinds.iter().filter_map(clap::ValueEnum::to_possible_value);
    let kinds: Vec<String> = names.map(|value| value.get_name().to_owned()).collect();
    let mut command = format!(
        "cargo xtask rounds --seed {} --from {from} --rounds {rounds} --kinds {} --steps {} --session-timeout-ms {}",
        frame.seed,
        kinds.join(","),
        frame.steps,
        frame.session.as_millis()
    );
    if frame.exactly_once.is_some() {
        command += " --exactly-once";
        command += &format!(" --interval {rounds}");
    }
    if options.apache {
        command += " --apache";
    }
    if let Some(server) = &options.bootstrap_server {
        command += &format!(" --bootstrap-server {server}");
    }
    command
}

/// The kinds that are asked for, or all that are possible; what was asked for by name and is not possible is an error.
fn kinds(options: &Options, own_broker: bool) -> Result<Vec<Kind>> {
    let asked = !options.kinds.is_empty();
    let all = if options.exactly_once { Kind::EXACTLY_ONCE } else { Kind::AT_LEAST_ONCE };
    let mut kinds = if asked { options.kinds.clone() } else { all.to_vec() };
    if !own_broker && kinds.iter().any(|kind| kind.needs_own_broker()) {
        if asked {
            bail!("a broker that is not ours is not killed or stopped");
        }
        kinds.retain(|kind| !kind.needs_own_broker());
    }
    if kinds.contains(&Kind::FullDisk)
        && let Err(why) = SmallDisk::is_possible()
    {
        if asked {
            return Err(why.context("no full disk is possible here"));
        }
        println!("no full disk here: {why:#}");
        kinds.retain(|kind| *kind != Kind::FullDisk);
    }
    if kinds.contains(&Kind::DiskDelay)
        && let Err(why) = SlowDisk::is_possible()
    {
        if asked {
            return Err(why.context("no disk can stand still here"));
        }
        println!("no disk stands still here: {why:#}");
        kinds.retain(|kind| *kind != Kind::DiskDelay);
    }
    if kinds.contains(&Kind::Clock) && clock::library().is_none() {
        println!("no clock is set back here, as libfaketime is not installed: records are set back instead");
    }
    Ok(kinds)
}

/// The programs, of the build that this one is of.
fn programs(options: &Options) -> Result<Programs> {
    let broker = match &options.bootstrap_server {
        Some(address) => Make::External(address.clone()),
        None => driver::broker(options.apache, "rounds")?,
    };
    Ok(Programs { broker, application: driver::beside("rounds-application", "rounds")? })
}
