//! `cargo xtask configuration`: `docs/configuration.md` and the constants of keys, from the tables of definitions.
//!
//! The test that compares them writes them, so that this program need not be built with every crate.

use anyhow::Result;

use crate::shell::{self, cargo};

pub(crate) fn run() -> Result<()> {
    let test = ["test", "-p", "vltava", "--test", "configuration_reference", "--quiet"];
    shell::run("configuration", cargo().args(test).env("VLTAVA_WRITE_CONFIGURATION", "1"))
}
