//! Running other programs, and saying what is run.
#![allow(clippy::print_stderr, reason = "a chore tells on stderr what it does")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a command with the terminal as its own; a failing one is an error with its name.
pub(crate) fn run(title: &str, command: &mut Command) -> Result<()> {
    let start = Instant::now();
    eprintln!("== {title}");
    let status = command.status().with_context(|| format!("{title}: could not start {command:?}"))?;
    if !status.success() {
        bail!("{title} failed: {status}");
    }
    eprintln!("   {title}: {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// What a command prints on stdout; a failing one is an error with its stderr.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let out = command.stderr(Stdio::piped()).output().with_context(|| format!("could not start {command:?}"))?;
    if !out.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&out.stderr));
    }
    Ok(String::from_utf8(out.stdout)?)
}
