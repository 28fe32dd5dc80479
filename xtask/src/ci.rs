//! `cargo xtask ci`: every check beside `cargo test --workspace`, in the order of what fails fastest.

use anyhow::Result;

use crate::{
    bank, codegen, interop, mixed, oracle, programs, rounds,
    shell::{self, cargo},
    tidy,
};

/// What stays in the workspace.
const UNPUBLISHED: [&str; 5] = ["vltava-bench", "vltava-example-service", "vltava-examples", "vltava-rounds", "xtask"];

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Result<()> {
    shell::run("format", cargo().args(["fmt", "--all", "--", "--check"]))?;
    tidy::run()?;
    codegen::run(&codegen::Args::check())?;
    programs::build()?;
    // What compiles, and beside it what waits for processes to die and sessions to end.
    std::thread::scope(|scope| {
        let running = scope.spawn(whole_systems);
        let compiled = compiled();
        let ran = running.join().unwrap_or_else(|why| std::panic::resume_unwind(why));
        compiled.and(ran)
    })?;
    interop::run(&interop::Args::everything())
}

/// Lints, documentation, packages, and tests of what is compiled in another way or runs longer than in `cargo test`.
fn compiled() -> Result<()> {
    // The formats of schemas are features that nothing else in the workspace asks for.
    let everything = ["--workspace", "--all-features", "--quiet"];
    let mut lints = cargo();
    lints.arg("clippy").args(everything).args(["--all-targets", "--", "-D", "warnings"]);
    shell::run("lints", &mut lints)?;
    // Of tests that are built already: thirty thousand rebalances, counted there.
    let mut rebalances = cargo();
    rebalances.arg("test").args(everything).args(["--lib", "machine::simulation::runs::no_record_is_lost"]);
    rebalances.env("MACHINE_SEEDS", "1650").env("MACHINE_REBALANCES", "30000");
    shell::run("rebalances", &mut rebalances)?;
    let mut docs = cargo();
    shell::run("docs", docs.arg("doc").args(everything).arg("--no-deps").env("RUSTDOCFLAGS", "-D warnings"))?;
    // Nothing else is built without TLS: what such a program says of its settings.
    let mut without = cargo();
    without.args(["test", "--quiet", "-p", "vltava-client", "-p", "vltava-broker", "--no-default-features", "--lib"]);
    shell::run("without TLS", without.arg("config::"))?;
    // As they would be published: complete, and with nothing from outside.
    let packages = ["package", "--workspace", "--no-verify", "--allow-dirty", "--quiet"];
    shell::run("packages", cargo().args(packages).args(UNPUBLISHED.iter().flat_map(|name| ["--exclude", name])))?;
    oracle::check(&oracle::Args::some())
}

/// Brokers and applications that are disturbed.
fn whole_systems() -> Result<()> {
    rounds::run(&rounds::short())?;
    rounds::run(&rounds::short_exactly_once())?;
    if shell::exists("java") && shell::exists("mvn") {
        rounds::run(&rounds::short_exactly_once_on_apache())?;
        mixed::run(&mixed::short(&["--exactly-once"]))?;
    } else {
        shell::skip_or_fail("rounds on Apache Kafka", "java or mvn is missing")?;
    }
    bank::run(&bank::short())
}
