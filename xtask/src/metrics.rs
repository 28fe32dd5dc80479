//! `cargo xtask metrics`: `docs/metrics.md`, from the tables of definitions.
//!
//! The test that compares it writes it, so that this program need not be built with every crate.

use anyhow::Result;

use crate::shell::{self, cargo};

pub(crate) fn run() -> Result<()> {
    let test = ["test", "-p", "vltava", "--test", "metrics_reference", "--quiet"];
    shell::run("metrics", cargo().args(test).env("VLTAVA_WRITE_METRICS", "1"))
}
