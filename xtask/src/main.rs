//! The project's own chores: `cargo xtask ci` is the one list of checks, run the same way everywhere.

use anyhow::Result;
use clap::{Parser, Subcommand};

mod bank;
mod ci;
mod codegen;
mod configuration;
mod driver;
mod foreign;
mod interop;
mod metrics;
mod mixed;
mod oracle;
mod programs;
mod rounds;
mod shell;
mod soak;
mod tidy;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own chores")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Transactional producers of several makes move money while they and their broker are killed.
    Bank(driver::Args),
    /// Every check beside the tests: format, lints, docs, tidy, generated code, interoperability.
    Ci(ci::Args),
    /// Messages, records and API keys from the specifications in Apache Kafka's jars.
    Codegen(codegen::Args),
    /// The reference of all settings and the constants of their keys, from the definitions.
    Configuration,
    /// The speed of our engine and the JVM's over the golden cases, in one run.
    EngineBench(oracle::BenchArgs),
    /// Our broker, tools and applications beside Apache Kafka and other people's clients.
    Interop(interop::Args),
    /// The reference of all metrics, from the definitions.
    Metrics,
    /// Instances of the JVM's Kafka Streams and of ours in one group, killed in turn.
    Mixed(driver::Args),
    /// Random cases computed by the JVM, and our answers to them.
    Oracle(oracle::Args),
    /// Kills, stops, wipes and full disks over one application, in rounds.
    Rounds(driver::Args),
    /// The tests with many cases that are drawn anew.
    Soak(soak::Args),
    /// Other clients' own test suites against our broker, scored.
    Suites(interop::SuiteArgs),
    /// Layers, file sizes, licences, advisories, leftovers.
    Tidy,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Bank(args) => bank::run(&args),
        Command::Ci(args) => ci::run(&args),
        Command::Codegen(args) => codegen::run(&args),
        Command::Configuration => configuration::run(),
        Command::EngineBench(args) => oracle::bench(&args),
        Command::Metrics => metrics::run(),
        Command::Oracle(args) => oracle::check(&args),
        Command::Interop(args) => interop::run(&args),
        Command::Mixed(args) => mixed::run(&args),
        Command::Rounds(args) => rounds::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Suites(args) => interop::run_suites(&args),
        Command::Tidy => tidy::run(),
    }
}
