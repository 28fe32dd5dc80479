//! `cargo xtask mixed`: builds our application, its JVM twin, broker and driver (`interop/rounds`), and runs it.

use std::{ffi::OsString, process::Command};

use anyhow::Result;

use crate::{
    programs,
    shell::{self, output, root},
};

#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Built with optimisations.
    #[arg(long)]
    release: bool,
    /// The options; `--help` tells them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<OsString>,
}

impl Args {
    /// Each instance is killed once.
    pub(crate) fn short(options: &[&str]) -> Self {
        let options = ["--kills", "4"].iter().chain(options).map(OsString::from).collect();
        Args { release: false, options }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(missing) = ["java", "mvn"].into_iter().find(|program| !shell::exists(program)) {
        return shell::skip_or_fail("a group with instances of the JVM", &format!("{missing} is missing"));
    }
    let program = if args.release {
        programs::release(&["vltava-tools", "vltava-rounds", "vltava-bench"], "mixed")?
    } else {
        programs::build()?;
        programs::built("mixed")
    };
    let class_path = output(&mut Command::new(root().join("interop/peers/streams-jvm/build")))?;
    let mut mixed = Command::new(program);
    mixed.args(["--class-path", class_path.trim()]).args(&args.options);
    shell::run("mixed", mixed.current_dir(root()))
}
