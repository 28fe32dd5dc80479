//! Our client of the schema registry and the serdes over it, on Apicurio's registry: its answers are those of the
//! registry in memory, but where the program that calls both names what differs.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use super::{
    AloneCheck,
    brokers::{free_port, script},
};
use crate::{programs, shell::output};

pub(super) const CHECKS: &[AloneCheck] = &[("schema registry: the client on apicurio's", on_apicurio)];

/// Apicurio's registry, stopped and wiped when dropped.
struct Apicurio {
    port: String,
    folder: PathBuf,
}

impl Apicurio {
    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(script("registry/registry"));
        command.args([verb, "--port", &self.port, "--dir"]).arg(&self.folder);
        command
    }
}

impl Drop for Apicurio {
    fn drop(&mut self) {
        // It may never have been started.
        let _ = self.command("stop").arg("--wipe").output();
    }
}

fn on_apicurio() -> Result<()> {
    let port = free_port()?.to_string();
    let folder = std::env::temp_dir().join(format!("vltava-registry-{}-{port}", std::process::id()));
    let registry = Apicurio { port, folder };
    let url = output(&mut registry.command("start"))?.trim().to_owned();
    output(Command::new(programs::built("examples/calls_of_a_registry")).arg(url)).map(drop)
}
