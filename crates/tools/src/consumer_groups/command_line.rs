//! The options of `kafka-consumer-groups` and which of them go together.

use std::io::{self, Write};

use crate::failure::Failure;
use crate::options::{BOOTSTRAP_SERVER, OptionSpec, Options, flag, optional_value, value};

pub(super) const OPTIONS: &[OptionSpec] = &[
    BOOTSTRAP_SERVER,
    value("group", "consumer group", "The group.").repeatable(),
    flag("all-groups", "All groups."),
    value("topic", "topic", "A topic, with its partitions where not all of them are meant: name:0,2.").repeatable(),
    flag("all-topics", "All topics of which the group has committed offsets."),
    flag("list", "List all groups."),
    flag("describe", "Describe groups: offsets, members or state."),
    flag("delete", "Delete groups with their offsets."),
    flag("reset-offsets", "Set the offsets of groups without members; the new ones are told."),
    flag("delete-offsets", "Delete the offsets of one group for topics."),
    value("timeout", "timeout (ms)", "How long an answer may take.").long().default("30000"),
    value("command-config", "command config property file", "Settings for the admin client, a properties file."),
    flag("members", "Describe members.").available_if(&["describe"]),
    flag("verbose", "Describe in more columns.").available_if(&["describe"]),
    flag("offsets", "Describe offsets, which is the default.").available_if(&["describe"]),
    optional_value("state", "state", "Describe states, or list with states, of these if given.")
        .available_if(&["describe", "list"]),
    optional_value("type", "type", "List with types, of these if given.").available_if(&["list"]),
    flag("dry-run", "Only tell the offsets that --reset-offsets would set; the default."),
    flag("execute", "Set the offsets."),
    flag("export", "Tell the new offsets as CSV."),
    value("to-offset", "offset", "Reset to this offset.").repeatable().long(),
    value("from-file", "path to CSV file", "Reset to the offsets of a file as --export writes it.").repeatable(),
    value("to-datetime", "datetime", "Reset to the first records from this time on: YYYY-MM-DDThh:mm:ss.sss.")
        .repeatable(),
    value("by-duration", "duration", "Reset to the first records of the time that goes back so far: PnDTnHnMnS."),
    flag("to-earliest", "Reset to the first offsets."),
    flag("to-latest", "Reset to the end."),
    flag("to-current", "Reset to the committed offsets; to the end where there is none."),
    value("shift-by", "number-of-offsets", "Reset to the committed offsets moved by so many, back if negative.").long(),
    value("validate-regex", "regex", "Check a regular expression.").not_yet(),
];

const ACTIONS: [&str; 5] = ["list", "describe", "delete", "reset-offsets", "delete-offsets"];

/// Where `--reset-offsets` goes.
pub(crate) const SCENARIOS: [&str; 8] =
    ["to-offset", "shift-by", "to-datetime", "by-duration", "to-earliest", "to-latest", "to-current", "from-file"];

const NO_ACTION: &str = "WARN: No action will be performed as the --execute option is missing. In version 5.0, this \
    command will require either --dry-run or --execute to be specified. You should add the --dry-run option explicitly \
    if you are scripting this command and want to keep the current default behavior without prompting.";

/// Refuses what does not go together, in Kafka's words.
pub(super) fn check(options: &Options) -> Result<(), Failure> {
    options.require(&["bootstrap-server"])?;
    for action in ["describe", "delete", "reset-offsets"] {
        check_action(options, action)?;
    }
    if options.has("delete-offsets") && !(options.has("group") && options.has("topic")) {
        return Err(usage("Option [delete-offsets] takes the following options: [group], [topic]"));
    }
    options.exclude("group", &["all-groups", "list"])?;
    options.exclude("topic", &["list", "describe"])?;
    if ACTIONS.iter().filter(|action| options.has(action)).count() != 1 {
        let text = "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, \
            --delete-offsets, --validate-regex";
        return Err(usage(text));
    }
    Ok(())
}

fn check_action(options: &Options, action: &str) -> Result<(), Failure> {
    if !options.has(action) {
        return Ok(());
    }
    let is_reset = action == "reset-offsets";
    if is_reset && options.has("dry-run") && options.has("execute") {
        return Err(usage("Option [reset-offsets] only accepts one of [execute] and [dry-run]"));
    }
    if is_reset && !options.has("dry-run") && !options.has("execute") {
        writeln!(io::stderr(), "{NO_ACTION}")?;
    }
    if !options.has("group") && !options.has("all-groups") {
        return Err(usage(&format!("Option [{action}] takes one of these options: [group], [all-groups]")));
    }
    match action {
        "describe" => check_describe(options),
        "delete" if options.has("topic") => {
            Err(usage("The consumer does not support topic-specific offset deletion from a consumer group."))
        }
        "reset-offsets" => {
            let given: Vec<&str> = SCENARIOS.into_iter().filter(|scenario| options.has(scenario)).collect();
            match given.as_slice() {
                [first, rest @ ..] => options.exclude(first, rest),
                [] => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

fn check_describe(options: &Options) -> Result<(), Failure> {
    if ["members", "offsets", "state"].iter().filter(|part| options.has(part)).count() > 1 {
        return Err(usage("Option [describe] takes at most one of these options: [members], [offsets], [state]"));
    }
    if options.value("state").is_some() {
        return Err(usage("Option [describe] does not take a value for [state]"));
    }
    Ok(())
}

fn usage(text: &str) -> Failure {
    Failure::Usage(text.to_owned())
}
