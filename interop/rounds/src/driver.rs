//! What the programs have in common that disturb others: how they run, and with what.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use crate::broker::Make;

/// Runs it until it is done or somebody ends it. Then what it runs is ended too, and what it mounted unmounted, as it is dropped.
///
/// # Errors
/// Its own, and that it was ended.
pub fn run(all: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            done = all => done,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            _ = terminate.recv() => bail!("terminated"),
        }
    })
}

/// The seed that was given, or one that is drawn.
///
/// # Errors
/// The clock is before 1970.
pub fn seed(given: Option<u64>) -> Result<u64> {
    let drawn = || Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs());
    given.map_or_else(drawn, Ok)
}

/// The folder `interop`.
///
/// # Errors
/// It is not there.
pub fn interop() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no folder above")
}

/// A program of the build that this one is of; `task` is what builds them.
///
/// # Errors
/// It is not built.
pub fn beside(name: &str, task: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name(name);
    if !program.exists() {
        bail!("{} is not built: use `cargo xtask {task}`", program.display());
    }
    Ok(program)
}

/// Apache Kafka's broker, or ours.
///
/// # Errors
/// It is not there.
pub fn broker(apache: bool, task: &str) -> Result<Make> {
    Ok(if apache { Make::Apache(interop()?.join("peers/kafka/broker")) } else { Make::Vltava(beside("vltava", task)?) })
}

/// Tells how a run ended in this folder, which stays if it failed.
#[allow(clippy::print_stdout, reason = "a command that tells what it does")]
pub fn told(outcome: Result<String>, folder: TempDir) -> ExitCode {
    match outcome {
        Ok(seen) => {
            println!("ok: {seen}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("failed: {failure:#}");
            println!("the logs are in {}", folder.keep().display());
            ExitCode::FAILURE
        }
    }
}
