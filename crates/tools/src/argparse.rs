//! The words of argparse4j, which reads the command lines of some of Kafka's tools.

use std::io::Write;

use crate::failure::Failure;
use crate::options::Options;
use crate::properties::{self, Properties};

/// A command line that is wrong, in the words of a tool's parser.
pub(crate) fn error(program: &str, why: &str) -> Failure {
    Failure::Usage(format!("{program}: error: {why}"))
}

/// Refuses a command line without one of these.
pub(crate) fn require(options: &Options, program: &str, names: &[&str]) -> Result<(), Failure> {
    match names.iter().find(|name| !options.has(name)) {
        Some(missing) => Err(error(program, &format!("argument --{missing} is required"))),
        None => Ok(()),
    }
}

/// Refuses options that are none of `known`: those of another command.
pub(crate) fn only(options: &Options, program: &str, known: &[&str], all: &[&str]) -> Result<(), Failure> {
    match all.iter().find(|name| options.has(name) && !known.contains(name)) {
        Some(other) => Err(error(program, &format!("unrecognized arguments: '--{other}'"))),
        None => Ok(()),
    }
}

/// The settings of a client from the file of `--command-config` or of its old name; that one is told to be old.
pub(crate) fn settings(
    options: &Options,
    program: &str,
    old: &str,
    out: &mut dyn Write,
) -> Result<Properties, Failure> {
    if options.has(old) && options.has("command-config") {
        return Err(error(program, &format!("Options --{old} and --command-config are mutually exclusive.")));
    }
    if options.has(old) {
        let text = "has been deprecated and will be removed in a future version. Use --command-config instead.";
        writeln!(out, "Option --{old} {text}")?;
    }
    let file = options.value(old).or(options.value("command-config"));
    properties::load(file).map_err(|failure| error(program, failure.message()))
}
