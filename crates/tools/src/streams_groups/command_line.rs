//! The options of `kafka-streams-groups` and which of them go together.

use crate::consumer_groups::SCENARIOS;
use crate::failure::Failure;
use crate::options::{BOOTSTRAP_SERVER, OptionSpec, Options, flag, optional_value, value};

pub(super) const OPTIONS: &[OptionSpec] = &[
    BOOTSTRAP_SERVER,
    value("group", "streams group", "The group.").repeatable(),
    value(
        "input-topic",
        "topic",
        "A topic that is read, with its partitions where not all of them are meant: name:0,2.",
    )
    .repeatable(),
    flag("all-input-topics", "All topics from outside that the topology reads."),
    flag("list", "List all groups."),
    flag("describe", "Describe groups: offsets, members or state."),
    flag("all-groups", "All groups."),
    flag("delete", "Delete groups with their offsets."),
    flag("delete-offsets", "Delete the offsets of one group for topics."),
    value("timeout", "timeout (ms)", "How long an answer may take.").long().default("30000"),
    value("command-config", "command config property file", "Settings for the admin client, a properties file."),
    optional_value("state", "state", "Describe states, or list with states, of these if given.")
        .available_if(&["list", "describe"]),
    flag("members", "Describe members.").available_if(&["describe"]),
    flag("offsets", "Describe offsets, which is the default.").available_if(&["describe"]),
    flag("reset-offsets", "Set the offsets of groups without members; the new ones are told."),
    value("to-offset", "offset", "Reset to this offset.").repeatable().long(),
    value("from-file", "path to CSV file", "Reset to the offsets of a file as --export writes it.").repeatable(),
    value("to-datetime", "datetime", "Reset to the first records from this time on: YYYY-MM-DDThh:mm:ss.sss.")
        .repeatable(),
    value("by-duration", "duration", "Reset to the first records of the time that goes back so far: PnDTnHnMnS."),
    flag("to-earliest", "Reset to the first offsets."),
    flag("to-latest", "Reset to the end."),
    flag("to-current", "Reset to the committed offsets; to the end where there is none."),
    value("shift-by", "number-of-offsets", "Reset to the committed offsets moved by so many, back if negative.").long(),
    value("delete-internal-topic", "String", "With --reset-offsets and --execute: delete this internal topic.")
        .repeatable(),
    flag("delete-all-internal-topics", "With --delete, or --reset-offsets and --execute: delete all internal topics."),
    flag("verbose", "Describe in more columns.").available_if(&["describe"]),
    flag("dry-run", "Only tell the offsets that --reset-offsets would set."),
    flag("execute", "Set the offsets."),
    flag("export", "Tell the new offsets as CSV."),
];

const ACTIONS: [&str; 5] = ["list", "describe", "reset-offsets", "delete", "delete-offsets"];

/// Refuses what does not go together, in Kafka's words.
pub(super) fn check(options: &Options) -> Result<(), Failure> {
    options.require(&["bootstrap-server"])?;
    let has_groups = options.has("group") || options.has("all-groups");
    if options.has("describe") {
        check_describe(options, has_groups)?;
    }
    if options.has("delete") {
        if !has_groups {
            return Err(usage("Option [delete] takes one of these options: [all-groups], [group]"));
        }
        if options.has("input-topic") || options.has("all-input-topics") {
            let text = "Kafka Streams does not support topic-specific offset deletion from a streams group.";
            return Err(usage(text));
        }
    }
    if options.has("delete-offsets") {
        check_delete_offsets(options)?;
    }
    if options.has("reset-offsets") {
        check_reset(options, has_groups)?;
    }
    check_internal_topics(options)?;
    if (options.has("dry-run") || options.has("execute")) && !options.has("reset-offsets") {
        return Err(usage("Only Option [reset-offsets] accepts [execute] or [dry-run]"));
    }
    options.exclude("list", &["members", "offsets"])?;
    options.exclude("group", &["all-groups", "list"])?;
    options.exclude("input-topic", &["list", "describe", "delete"])?;
    if ACTIONS.iter().filter(|action| options.has(action)).count() != 1 {
        let text = "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, or \
            --delete-offsets.";
        return Err(usage(text));
    }
    Ok(())
}

fn check_describe(options: &Options, has_groups: bool) -> Result<(), Failure> {
    if !has_groups {
        return Err(usage("Option [describe] takes one of these options: [all-groups], [group]"));
    }
    if ["members", "offsets", "state"].iter().filter(|part| options.has(part)).count() > 1 {
        return Err(usage("Option [describe] takes at most one of these options: [members], [offsets], [state]"));
    }
    if options.value("state").is_some() {
        return Err(usage("Option [describe] does not take a value for [state]"));
    }
    Ok(())
}

fn check_delete_offsets(options: &Options) -> Result<(), Failure> {
    let has_topics = options.has("input-topic") || options.has("all-input-topics");
    let groups = options.values("group");
    if !has_topics || groups.is_empty() {
        let text =
            "Option [delete-offsets] takes the [group] and one of these options: [all-input-topics], [input-topic]";
        return Err(usage(text));
    }
    if groups.len() > 1 {
        let text = "Option [delete-offsets] supports only one [group] at a time, but found";
        return Err(usage(&format!("{text}: [{}]", groups.join(", "))));
    }
    Ok(())
}

fn check_reset(options: &Options, has_groups: bool) -> Result<(), Failure> {
    match (options.has("dry-run"), options.has("execute")) {
        (true, true) => return Err(usage("Option [reset-offsets] only accepts one of [execute] and [dry-run]")),
        (false, false) => return Err(usage("Option [reset-offsets] takes the option: [execute] or [dry-run]")),
        _ => {}
    }
    if !has_groups {
        return Err(usage("Option [reset-offsets] takes one of these options: [all-groups], [group]"));
    }
    let given: Vec<&str> = SCENARIOS.into_iter().filter(|scenario| options.has(scenario)).collect();
    match given.as_slice() {
        [first, rest @ ..] => options.exclude(first, rest),
        [] => Ok(()),
    }
}

fn check_internal_topics(options: &Options) -> Result<(), Failure> {
    let (resets, executes) = (options.has("reset-offsets"), options.has("execute"));
    if options.has("delete-all-internal-topics") {
        if !resets && !options.has("delete") {
            let text = "Option [delete-all-internal-topics] takes one of these options: [delete], [reset-offsets]";
            return Err(usage(text));
        }
        if resets && !executes {
            return Err(usage("Option [delete-all-internal-topics] takes [execute] when [reset-offsets] is used."));
        }
    } else if options.has("delete-internal-topic") && !(resets && executes) {
        return Err(usage("Option [delete-internal-topic] takes [reset-offsets] when [execute] is used."));
    }
    Ok(())
}

fn usage(text: &str) -> Failure {
    Failure::Usage(text.to_owned())
}
