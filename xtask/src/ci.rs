//! `cargo xtask ci`: every check beside `cargo test --workspace`, in the order of what fails fastest.

use anyhow::Result;

use crate::{
    codegen, interop, oracle, rounds,
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
    shell::run("lints", cargo().args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))?;
    // The formats of schemas are features that nothing else in the workspace asks for.
    shell::run("schemas", cargo().args(["test", "-p", "vltava-schema", "--all-features", "--quiet"]))?;
    shell::run(
        "docs",
        cargo().args(["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    // As they would be published: complete, and with nothing from outside.
    let packages = ["package", "--workspace", "--no-verify", "--allow-dirty", "--quiet"];
    shell::run("packages", cargo().args(packages).args(UNPUBLISHED.iter().flat_map(|name| ["--exclude", name])))?;
    rounds::run(&rounds::Args::short())?;
    oracle::check(&oracle::Args::some())?;
    interop::run(&interop::Args::everything())
}
