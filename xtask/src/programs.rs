//! The programs that the checks start.

use std::{path::PathBuf, sync::Mutex};

use anyhow::Result;

use crate::shell::{self, cargo, root};

/// Builds them with the assertions of a debug build, upon what the tests have built: an example is among them, and so cargo
/// unifies the features of the whole workspace as it does for tests, and builds nothing twice. Once in a process: another
/// cargo that is at work would have to be waited for.
pub(crate) fn build() -> Result<()> {
    static BUILT: Mutex<bool> = Mutex::new(false);
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if *built {
        return Ok(());
    }
    let mut build = cargo();
    build.args(["build", "--quiet", "--workspace", "--all-features"]);
    build.args(
        ["vltava", "rounds", "rounds-application", "bank", "bank-client", "mixed", "streams-bench"]
            .iter()
            .flat_map(|name| ["--bin", name]),
    );
    build.args([
        "--example",
        "word_count",
        "--example",
        "calls_of_a_registry",
        "--example",
        "transactions",
        "--example",
        "exchange",
    ]);
    shell::run("programs", &mut build)?;
    *built = true;
    Ok(())
}

/// One that [`build`] has built: its path below that of the debug build.
pub(crate) fn built(name: &str) -> PathBuf {
    target("debug", name)
}

/// Builds a program, and what it starts, with optimisations: for what takes its time.
pub(crate) fn release(packages: &[&str], name: &str) -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--release", "--quiet"]).args(packages.iter().flat_map(|package| ["--package", package]));
    shell::run(&format!("release build of {name}"), &mut build)?;
    Ok(target("release", name))
}

fn target(folder: &str, name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join(folder).join(name)
}
