//! `cargo xtask rounds`: builds broker, application and the program that disturbs them (`interop/rounds`), and runs it.

use std::{ffi::OsString, process::Command};

use anyhow::Result;

use crate::{
    programs,
    shell::{self, root},
};

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

    /// Twenty disturbances of an application exactly once, always the same ones.
    pub(crate) fn short_exactly_once() -> Self {
        let options = ["--exactly-once", "--seed", "1", "--rounds", "20", "--interval", "20"];
        Args { release: false, options: options.map(OsString::from).to_vec() }
    }

    /// The same on Apache Kafka. A broker of it that was killed may leave out a transaction's marker on a partition, and nobody
    /// sees the end of that one any more: here it is only stopped.
    pub(crate) fn short_exactly_once_on_apache() -> Self {
        let kinds = ["--kinds", "kill,stop,wipe,broker-stop,disk-delay", "--apache"];
        let Args { release, mut options } = Self::short_exactly_once();
        options.extend(kinds.map(OsString::from));
        Args { release, options }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let program = if args.release {
        programs::release(&["vltava-tools", "vltava-rounds"], "rounds")?
    } else {
        programs::build()?;
        programs::built("rounds")
    };
    shell::run("rounds", Command::new(program).args(&args.options).current_dir(root()))
}
