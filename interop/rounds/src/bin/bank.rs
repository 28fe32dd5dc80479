//! `cargo xtask bank`: transfers between accounts under kills, and a reader that must never see money come or go.
#![allow(clippy::print_stdout, reason = "a command that tells what it does")]

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::Parser;
use vltava_rounds::{
    bank::{client::Client, run},
    driver,
};

/// Has transactional producers of several makes move money between accounts, kills them and their broker with SIGKILL, and
/// checks that whoever reads what is committed never sees money come or go, and every transfer that was committed.
///
/// Who is killed when follows from the seed. What failed keeps its folder, with the logs of all processes.
#[derive(Parser)]
#[command(name = "cargo xtask bank")]
struct Options {
    /// How many kills.
    #[arg(long, default_value_t = 500)]
    rounds: u32,
    /// The seed; drawn if none is given, and printed first in any case.
    #[arg(long)]
    seed: Option<u64>,
    /// Apache Kafka's broker, and not ours.
    #[arg(long)]
    apache: bool,
    /// The clients: ours, java, librdkafka, franz; all that are given a program by default.
    #[arg(long, value_delimiter = ',')]
    clients: Vec<String>,
    /// How long nothing may move.
    #[arg(long, default_value_t = 60)]
    patience_s: u64,
    /// The folder of Apache Kafka's jars, for its client.
    #[arg(long)]
    java_libs: Option<PathBuf>,
    /// A Python that has confluent-kafka, for librdkafka.
    #[arg(long)]
    python: Option<PathBuf>,
    /// The program of `interop/bank/franz-go`.
    #[arg(long)]
    franz_go: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    driver::run(all(&Options::parse()))
}

async fn all(options: &Options) -> Result<ExitCode> {
    let seed = driver::seed(options.seed)?;
    println!("seed {seed}");
    let clients = clients(options)?;
    let names: Vec<&str> = clients.iter().map(|client| client.name).collect();
    println!("{} rounds with {}", options.rounds, names.join(", "));
    let make = driver::broker(options.apache, "bank")?;
    let folder = tempfile::Builder::new().prefix("vltava-bank-").tempdir()?;
    let patience = Duration::from_secs(options.patience_s);
    let frame = run::Frame { seed, rounds: options.rounds, patience };
    let started = Instant::now();
    let outcome = run::run(&frame, &make, &clients, folder.path()).await;
    let seconds = started.elapsed().as_secs_f64();
    let seen =
        outcome.map(|passed| format!("{} transfers, {} moments, {seconds:.1} s", passed.transfers, passed.moments));
    Ok(driver::told(seen.map_err(|failure| failure.context(format!("seed {seed}"))), folder))
}

fn clients(options: &Options) -> Result<Vec<Client>> {
    let bank = driver::interop()?.join("bank");
    let mut clients =
        vec![Client { name: "ours", program: driver::beside("bank-client", "bank")?, before: Vec::new() }];
    if let Some(libs) = &options.java_libs {
        let heap = ["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];
        let mut before: Vec<_> = heap.map(Into::into).to_vec();
        before.extend(["-cp".into(), libs.join("*").into(), bank.join("java/BankClient.java").into()]);
        clients.push(Client { name: "java", program: "java".into(), before });
    }
    if let Some(python) = &options.python {
        let before = vec![bank.join("librdkafka.py").into()];
        clients.push(Client { name: "librdkafka", program: python.clone(), before });
    }
    if let Some(program) = &options.franz_go {
        clients.push(Client { name: "franz", program: program.clone(), before: Vec::new() });
    }
    if let Some(unknown) = options.clients.iter().find(|name| !clients.iter().any(|client| client.name == **name)) {
        bail!("there is no client {unknown}, or it was given no program");
    }
    clients.retain(|client| options.clients.is_empty() || options.clients.iter().any(|name| name == client.name));
    Ok(clients)
}
