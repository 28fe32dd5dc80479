//! Running other programs, and saying what is run.
#![allow(clippy::print_stderr, reason = "a chore tells on stderr what it does")]

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
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

/// What a command prints on stdout; a failing one is an error with all that it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let out = command.stderr(Stdio::piped()).output().with_context(|| format!("could not start {command:?}"))?;
    if !out.status.success() {
        let (said, complained) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        bail!("{command:?} failed:\n{said}{complained}");
    }
    Ok(String::from_utf8(out.stdout)?)
}

/// What a command prints on stdout when given `input`; a failing one is an error with its stderr.
pub(crate) fn output_with_input(command: &mut Command, input: &str) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("could not start {command:?}"))?;
    write_input(&mut child, input)?;
    let out = child.wait_with_output()?;
    let stdout = String::from_utf8_lossy(&out.stdout).into_owned();
    if !out.status.success() {
        bail!("{command:?}: {}\n{stdout}{}", out.status, String::from_utf8_lossy(&out.stderr));
    }
    Ok(stdout)
}

/// Writes a child's whole standard input and closes it; a child that reads none of it is no error.
pub(crate) fn write_input(child: &mut Child, input: &str) -> Result<()> {
    let Some(mut stdin) = child.stdin.take() else { return Ok(()) };
    match stdin.write_all(input.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Whether a program is on the path and starts.
pub(crate) fn exists(program: &str) -> bool {
    Command::new(program)
        .arg("-version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

/// A check whose peer is missing: skipped with a word on a developer's machine, a failure in CI.
pub(crate) fn skip_or_fail(what: &str, why: &str) -> Result<()> {
    if std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false") {
        bail!("{what}: {why}, and in CI it must run");
    }
    eprintln!("   skipped {what}: {why}");
    Ok(())
}
