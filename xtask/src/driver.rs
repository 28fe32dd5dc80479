//! The programs of `interop/rounds` that disturb others: how a task builds and runs one.

use std::{ffi::OsString, path::PathBuf, process::Command};

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
    /// The options of the program; `--help` tells them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<OsString>,
}

impl Args {
    pub(crate) fn of(options: &[&str]) -> Self {
        Self { release: false, options: options.iter().map(OsString::from).collect() }
    }

    /// With more options behind these.
    pub(crate) fn and(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(OsString::from));
        self
    }

    /// Builds a program and what it runs, of these packages.
    pub(crate) fn build(&self, program: &str, packages: &[&str]) -> Result<Command> {
        let program: PathBuf = if self.release {
            programs::release(packages, program)?
        } else {
            programs::build()?;
            programs::built(program)
        };
        Ok(Command::new(program))
    }

    /// Runs it.
    pub(crate) fn run(&self, name: &str, mut program: Command) -> Result<()> {
        shell::run(name, program.args(&self.options).current_dir(root()))
    }
}
