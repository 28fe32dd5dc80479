//! Which part of the program runs: by its own name, or by the first argument.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::broker;

/// Kafka in one program: the broker and the command-line tools.
#[derive(Parser)]
#[command(name = "vltava", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a broker until it is told to stop (SIGTERM or SIGINT).
    Broker(broker::Args),
}

/// Names under which Kafka's scripts start a broker.
const SERVER_START: &str = "kafka-server-start";

/// Runs what the arguments ask for, the program's own name first.
pub(crate) fn run(arguments: Vec<OsString>) -> ExitCode {
    let mut arguments = arguments;
    if arguments.first().is_some_and(|name| called_as(name) == SERVER_START) {
        arguments.splice(0..1, ["vltava".into(), "broker".into()]);
    }
    match Cli::parse_from(arguments).command {
        Command::Broker(args) => broker::run(args),
    }
}

/// The name of a tool in a path to it: without folders, and without the `.sh` of Kafka's scripts.
fn called_as(argument: &OsStr) -> String {
    let name = Path::new(argument).file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(".sh").unwrap_or(&name).to_owned()
}
