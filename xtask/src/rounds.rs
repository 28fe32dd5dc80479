//! `cargo xtask rounds`: builds broker, application and the program that disturbs them (`interop/rounds`), and runs it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::shell::{self, cargo, root};

/// The profile of the short form: with the assertions of a debug build.
const DEV: &str = "dev";

#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Built with optimisations.
    #[arg(long)]
    release: bool,
    /// The options of the rounds; `--help` tells them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<OsString>,
}

impl Args {
    /// A round of each kind of disturbance, always the same ones.
    pub(crate) fn short() -> Self {
        let options = ["--seed", "1", "--rounds", "7", "--steps", "600"];
        Args { release: false, options: options.map(OsString::from).to_vec() }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let profile = if args.release { "release" } else { DEV };
    let mut build = cargo();
    build.args(["build", "--quiet", "--profile", profile, "--package", "vltava-tools", "--package", "vltava-rounds"]);
    shell::run(&format!("{profile} build of the rounds"), &mut build)?;
    let folder = if args.release { "release" } else { "debug" };
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let program = Path::new(&target).join(folder).join("rounds");
    shell::run("rounds", Command::new(program).args(&args.options).current_dir(root()))
}
