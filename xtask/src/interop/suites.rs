//! `cargo xtask suites`: other clients' own test suites against our broker, scored against what Apache Kafka passes.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a chore tells what it does")]

use std::process::Command;

use anyhow::Result;

use super::brokers::{Ours, free_port};
use crate::{programs, shell::root};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The suites to run; all of them when none is given.
    #[arg(value_parser = ["franz-go", "kafka-go", "kafka-python"])]
    suites: Vec<String>,
    /// Seconds that one suite may take.
    #[arg(long, default_value_t = 570)]
    limit: u32,
}

/// Runs each suite on a fresh broker and prints its score; a missed bar is reported and not a failure.
pub(crate) fn run(args: &Args) -> Result<()> {
    let vltava = programs::release(&["vltava-tools"], "vltava")?;
    let all = ["franz-go", "kafka-go", "kafka-python"].map(str::to_owned);
    let chosen = if args.suites.is_empty() { &all[..] } else { &args.suites[..] };
    for suite in chosen {
        // As the broker whose score is the bar was started.
        let settings = ["auto.create.topics.enable=true", "num.partitions=4", "group.min.session.timeout.ms=1000"];
        // kafka-go's tests expect this address in the answers too.
        let ours = match suite.as_str() {
            "kafka-go" => Ours::start_at(&vltava, "localhost:9092", &settings)?,
            _ => Ours::start_at(&vltava, &format!("127.0.0.1:{}", free_port()?), &settings)?,
        };
        eprintln!("== suite {suite}");
        let script = root().join("interop/suites").join(suite).join("run");
        Command::new(script).arg(&ours.bootstrap).env("LIMIT", args.limit.to_string()).status()?;
    }
    Ok(())
}
