//! `cargo xtask bank`: builds the clients of the bank (`interop/bank`), broker and driver, and runs it.

use std::{ffi::OsString, process::Command};

use anyhow::Result;

use crate::{
    foreign, programs,
    shell::{self, root},
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
    let clients = [
        ("--java-libs", foreign::java_libs()?),
        ("--python", foreign::python()?),
        ("--franz-go", foreign::go("bank/franz-go")?),
    ];
    for (option, program) in clients {
        if let Some(program) = program {
            bank.arg(option).arg(program);
        }
    }
    shell::run("bank", bank.args(&args.options).current_dir(root()))
}
