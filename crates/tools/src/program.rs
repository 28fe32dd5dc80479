//! Which part of the program runs: by its own name, or by the first argument.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{broker, console, tool};

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
    /// Serves a page for operators: topics, records, groups and brokers of a cluster, in a browser.
    Console(console::Args),
}

/// The name under which Kafka's scripts start a broker.
const SERVER_START: &str = "kafka-server-start";

/// Runs what the arguments ask for, the program's own name first.
pub(crate) fn run(mut arguments: Vec<OsString>) -> ExitCode {
    // By the program's own name, then by the first argument.
    for position in 0..2 {
        let Some(name) = arguments.get(position).map(|argument| called_as(argument)) else { break };
        if let Some(found) = tool::find(&name) {
            let rest = arguments.iter().skip(position + 1);
            let rest: Vec<String> = rest.map(|argument| argument.to_string_lossy().into_owned()).collect();
            return tool::run(found, &rest);
        }
        if name == SERVER_START {
            arguments.splice(0..=position, ["vltava".into(), "broker".into()]);
            break;
        }
    }
    let parsed = command().try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(Cli { command: Command::Broker(args) }) => broker::run(args),
        Ok(Cli { command: Command::Console(args) }) => console::run(&args),
        Err(error) => error.exit(),
    }
}

/// The command line with the tools in its help.
fn command() -> clap::Command {
    let mut help = String::from("Kafka's tools, each with --help:\n");
    for tool in tool::TOOLS {
        help.push_str(&format!("  {:<28}{}\n", tool.name, tool.about));
    }
    help.push_str("\nA link to this program that is called as a tool runs that tool.");
    Cli::command().after_help(help)
}

/// The name of a tool in a path to it: without folders, and without the `.sh` of Kafka's scripts.
fn called_as(argument: &OsStr) -> String {
    let name = Path::new(argument).file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(".sh").unwrap_or(&name).to_owned()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::{called_as, command};

    #[test]
    fn tools_are_known_by_links_and_scripts() {
        for path in ["kafka-topics", "bin/kafka-topics.sh", "/usr/bin/kafka-topics"] {
            assert_eq!(called_as(OsStr::new(path)), "kafka-topics");
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }
}
