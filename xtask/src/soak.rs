//! `cargo xtask soak`: the tests with cases that no run before had. `cargo test` itself draws the same cases every time
//! (`PROPTEST_RNG_SEED` in `.cargo/config.toml`), so that a change is not refused for what another one broke.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::shell::{self, cargo};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Cases of a property test and of the simulations of tasks and of transactions; those that are slow take a part of that.
    #[arg(long, default_value_t = 5_000)]
    cases: u32,
    /// The seed, to repeat a run.
    #[arg(long)]
    seed: Option<u64>,
    /// One package; all of them otherwise.
    #[arg(long, short)]
    package: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let drawn = || Ok::<_, anyhow::Error>(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs());
    let seed = args.seed.map_or_else(drawn, Ok)?;
    let mut command = cargo();
    command.args(["test", "--no-fail-fast"]);
    match &args.package {
        Some(package) => command.args(["--package", package]),
        None => command.arg("--workspace"),
    };
    command.env("PROPTEST_RNG_SEED", seed.to_string()).env("PROPTEST_CASES", args.cases.to_string());
    command.env("MACHINE_FIRST", seed.to_string()).env("MACHINE_SEEDS", args.cases.to_string());
    command.env("TRANSACTION_FIRST", seed.to_string()).env("TRANSACTION_SEEDS", args.cases.to_string());
    shell::run(&format!("soak with seed {seed}"), &mut command)
}
