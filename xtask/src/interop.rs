//! `cargo xtask interop`: our broker, tools and clients beside Apache Kafka and other people's clients.
//!
//! Each check runs real programs against real brokers and compares what they print. Java, Maven and openssl are
//! needed; without them the suite says so and is skipped, and in CI that is a failure.
#![allow(clippy::print_stderr, reason = "a chore tells on stderr what it does")]

use std::time::Instant;

use anyhow::{Result, bail};
use regex_lite::Regex;

use crate::shell;

mod apache_tools;
mod applications;
mod brokers;
mod data_directories;
mod dump_log;
mod foreign_tools;
mod group_protocols;
mod listeners;
mod oauthbearer;
mod schema_registry;
mod streams_groups;
mod suites;
mod transactions;
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

/// One check that needs no broker.
type AloneCheck = (&'static str, fn() -> Result<()>);

fn checks() -> Vec<Check> {
    [
        foreign_tools::CHECKS,
        transcript::CHECKS,
        dump_log::CHECKS,
        applications::CHECKS,
        data_directories::CHECKS,
        group_protocols::CHECKS,
    ]
    .concat()
}

/// Runs the checks whose name matches, each to its end, and fails when any of them failed.
pub(crate) fn run(args: &Args) -> Result<()> {
    let only = Regex::new(&args.only)?;
    let alone =
        [schema_registry::CHECKS, transactions::CHECKS, listeners::CHECKS, oauthbearer::CHECKS, streams_groups::CHECKS];
    let alone: Vec<AloneCheck> = alone.concat().into_iter().filter(|(name, _)| only.is_match(name)).collect();
    let chosen: Vec<Check> = checks().into_iter().filter(|(name, _)| only.is_match(name)).collect();
    let names = alone.iter().map(|(name, _)| *name).chain(chosen.iter().map(|(name, _)| *name));
    if args.list {
        names.for_each(|name| eprintln!("{name}"));
        return Ok(());
    }
    if let Some(missing) = missing_peer() {
        return shell::skip_or_fail("interoperability with Apache Kafka", &format!("{missing} is missing"));
    }
    eprintln!("== interoperability");
    // First, so that nothing runs beside the compiler.
    crate::programs::build()?;
    // Two at a time: most of them wait for brokers that start, sessions that end and tools that come up.
    let outcomes = std::thread::scope(|scope| {
        let alone = scope.spawn(|| alone.iter().map(|(name, check)| (*name, told(name, check))).collect::<Vec<_>>());
        let chosen = with_brokers(&chosen);
        let mut outcomes = alone.join().unwrap_or_else(|why| std::panic::resume_unwind(why));
        outcomes.extend(chosen?);
        anyhow::Ok(outcomes)
    })?;
    let failed: Vec<&str> = outcomes.iter().filter(|(_, passed)| !passed).map(|(name, _)| *name).collect();
    eprintln!("interop: {} passed, {} failed", outcomes.len() - failed.len(), failed.len());
    match failed.is_empty() {
        true => Ok(()),
        false => bail!("interoperability: {}", failed.join(", ")),
    }
}

/// Runs the checks that compare both brokers, one after the other.
fn with_brokers(chosen: &[Check]) -> Result<Vec<(&'static str, bool)>> {
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let both = brokers::Both::start()?;
    Ok(chosen.iter().map(|(name, check)| (*name, told(name, || check(&both)))).collect())
}

/// Runs one check and says what came of it: whether it passed.
fn told(name: &str, check: impl FnOnce() -> Result<()>) -> bool {
    let start = Instant::now();
    let outcome = check();
    match &outcome {
        Ok(()) => eprintln!("   ok      {name} ({:.1} s)", start.elapsed().as_secs_f64()),
        Err(error) => eprintln!("   FAILED  {name}: {error:#}"),
    }
    outcome.is_ok()
}

/// `cargo xtask suites`: other clients' own test suites against our broker, scored against Apache Kafka's bar.
pub(crate) fn run_suites(args: &suites::Args) -> Result<()> {
    suites::run(args)
}

pub(crate) use suites::Args as SuiteArgs;

fn missing_peer() -> Option<&'static str> {
    ["java", "mvn", "openssl"].into_iter().find(|program| !shell::exists(program))
}
