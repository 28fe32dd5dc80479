//! `cargo xtask interop`: our broker, tools and clients beside Apache Kafka and other people's clients.
//!
//! Each check runs real programs against real brokers and compares what they print. Java and Maven are
//! needed; without them the suite says so and is skipped, and in CI that is a failure.
#![allow(clippy::print_stderr, reason = "a chore tells on stderr what it does")]

use std::time::Instant;

use anyhow::{Result, bail};
use regex_lite::Regex;

use crate::shell;

mod applications;
mod brokers;
mod data_directories;
mod foreign_clients;
mod foreign_tools;
mod suites;
mod transcript;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Runs only the checks whose name matches this regular expression.
    #[arg(long, default_value = ".")]
    only: String,
    /// Lists the checks and ends.
    #[arg(long)]
    list: bool,
}

impl Args {
    /// All checks.
    pub(crate) fn everything() -> Self {
        Args { only: ".".to_owned(), list: false }
    }
}

/// One check: its name, and what it does with the two brokers.
type Check = (&'static str, fn(&brokers::Both) -> Result<()>);

fn checks() -> Vec<Check> {
    [foreign_tools::CHECKS, foreign_clients::CHECKS, transcript::CHECKS, applications::CHECKS, data_directories::CHECKS]
        .concat()
}

/// Runs the checks whose name matches, each to its end, and fails when any of them failed.
pub(crate) fn run(args: &Args) -> Result<()> {
    let only = Regex::new(&args.only)?;
    let chosen: Vec<Check> = checks().into_iter().filter(|(name, _)| only.is_match(name)).collect();
    if args.list {
        chosen.iter().for_each(|(name, _)| eprintln!("{name}"));
        return Ok(());
    }
    if let Some(missing) = missing_peer() {
        return shell::skip_or_fail("interoperability with Apache Kafka", &format!("{missing} is missing"));
    }
    eprintln!("== interoperability");
    let both = brokers::Both::start()?;
    let mut failed = Vec::new();
    for (name, check) in &chosen {
        let start = Instant::now();
        match check(&both) {
            Ok(()) => eprintln!("   ok      {name} ({:.1} s)", start.elapsed().as_secs_f64()),
            Err(error) => {
                eprintln!("   FAILED  {name}: {error:#}");
                failed.push(*name);
            }
        }
    }
    eprintln!("interop: {} passed, {} failed", chosen.len() - failed.len(), failed.len());
    match failed.is_empty() {
        true => Ok(()),
        false => bail!("interoperability: {}", failed.join(", ")),
    }
}

/// `cargo xtask suites`: other clients' own test suites against our broker, scored against Apache Kafka's bar.
pub(crate) fn run_suites(args: &suites::Args) -> Result<()> {
    suites::run(args)
}

pub(crate) use suites::Args as SuiteArgs;

fn missing_peer() -> Option<&'static str> {
    ["java", "mvn"].into_iter().find(|program| !shell::exists(program))
}
