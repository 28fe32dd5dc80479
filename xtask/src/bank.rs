//! `cargo xtask bank`: builds the clients of the bank (`interop/bank`), broker and driver, and runs it.

use std::{ffi::OsString, path::PathBuf, process::Command};

use anyhow::Result;

use crate::{
    interop, programs,
    shell::{self, output, root},
};

#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Built with optimisations.
    #[arg(long)]
    release: bool,
    /// The options of the bank; `--help` tells them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<OsString>,
}

impl Args {
    /// A few kills, always the same ones.
    pub(crate) fn short() -> Self {
        let options = ["--seed", "1", "--rounds", "20"];
        Args { release: false, options: options.map(OsString::from).to_vec() }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let program = if args.release {
        programs::release(&["vltava-tools", "vltava-rounds"], "bank")?
    } else {
        programs::build()?;
        programs::built("bank")
    };
    let mut bank = Command::new(program);
    for (option, program) in [("--java-libs", java()?), ("--python", python()?), ("--franz-go", franz_go()?)] {
        if let Some(program) = program {
            bank.arg(option).arg(program);
        }
    }
    shell::run("bank", bank.args(&args.options).current_dir(root()))
}

/// The folder of Apache Kafka's jars.
fn java() -> Result<Option<PathBuf>> {
    if let Some(missing) = ["java", "mvn"].into_iter().find(|program| !shell::exists(program)) {
        shell::skip_or_fail("Apache Kafka's client", &format!("{missing} is missing"))?;
        return Ok(None);
    }
    let libs = output(&mut Command::new(root().join("interop/peers/kafka/fetch")))?;
    Ok(Some(libs.trim().into()))
}

/// A Python that has librdkafka.
fn python() -> Result<Option<PathBuf>> {
    if !shell::exists("python3") {
        shell::skip_or_fail("librdkafka", "python3 is not installed")?;
        return Ok(None);
    }
    interop::python().map(Some)
}

/// The program on franz-go, built.
fn franz_go() -> Result<Option<PathBuf>> {
    if !shell::exists("go") {
        shell::skip_or_fail("franz-go", "go is not installed")?;
        return Ok(None);
    }
    let program = programs::built("bank-franz-go");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg(".").current_dir(root().join("interop/bank/franz-go"));
    output(&mut build)?;
    Ok(Some(program))
}
