//! `cargo xtask tidy`: what no compiler checks, read from the tree, the manifests and `Cargo.lock`.
#![allow(clippy::print_stderr, reason = "a chore tells on stderr what it found")]

use anyhow::{Result, bail};

mod advisories;
mod cores;
mod defaults;
mod errors;
mod kips;
mod layers;
mod licences;
mod origins;
mod sources;

/// Runs every check and lists all findings before it fails.
pub(crate) fn run() -> Result<()> {
    eprintln!("== tidy");
    let metadata = layers::Metadata::read()?;
    let mut findings = Vec::new();
    layers::check(&metadata, &mut findings);
    licences::check(&metadata, &mut findings);
    advisories::check(&metadata, &mut findings)?;
    let sources = sources::check(&mut findings)?;
    cores::check(&sources, &mut findings);
    defaults::check(&sources, &mut findings);
    errors::check(&sources, &mut findings);
    origins::check(&sources, &mut findings)?;
    kips::check(&mut findings)?;
    for finding in &findings {
        eprintln!("   {finding}");
    }
    match findings.len() {
        0 => Ok(()),
        n => bail!("tidy: {n} findings"),
    }
}
