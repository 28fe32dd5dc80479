//! The options of `kafka-topics` and which of them go together.

use std::io::{self, Write};

use crate::failure::Failure;
use crate::options::{BOOTSTRAP_SERVER, OptionSpec, Options, flag, value};

const ASSIGNMENT: &str =
    "broker_id_for_part1_replica1 : broker_id_for_part1_replica2 , broker_id_for_part2_replica1 ...";

pub(super) const OPTIONS: &[OptionSpec] = &[
    BOOTSTRAP_SERVER,
    value("command-config", "command config property file", "Settings for the admin client, a properties file."),
    flag("list", "List all available topics."),
    flag("create", "Create a new topic."),
    flag("delete", "Delete a topic."),
    flag("alter", "Add partitions to topics."),
    flag("describe", "List details for the given topics."),
    value("topic", "topic", "The topic; except for --create a regular expression."),
    value("topic-id", "topic-id", "The id of the topic to describe."),
    value("config", "name=value", "A setting of the topic being created.").repeatable(),
    value("delete-config", "name", "No longer supported.").repeatable(),
    value("partitions", "# of partitions", "The number of partitions for --create or --alter.").int(),
    value("replication-factor", "replication factor", "The number of replicas for --create.").int(),
    value("replica-assignment", ASSIGNMENT, "The brokers of each partition for --create or --alter."),
    flag("under-replicated-partitions", "Describe only under-replicated partitions."),
    flag("unavailable-partitions", "Describe only partitions whose leader is not available."),
    flag("under-min-isr-partitions", "Describe only partitions with fewer in-sync replicas than the minimum."),
    flag("at-min-isr-partitions", "Describe only partitions with exactly the minimum of in-sync replicas."),
    flag("topics-with-overrides", "Describe only topics with settings of their own."),
    flag("if-exists", "Do nothing where the topic to alter, delete or describe does not exist."),
    flag("if-not-exists", "Do not fail where the topic to create exists."),
    flag("exclude-internal", "List or describe no internal topics."),
    value("partition-size-limit-per-response", "count", "The most partitions in one response.").int().not_yet(),
];

const ACTIONS: [&str; 5] = ["alter", "create", "describe", "list", "delete"];
const REPORTS: [&str; 4] =
    ["under-replicated-partitions", "under-min-isr-partitions", "at-min-isr-partitions", "unavailable-partitions"];

/// Refuses what does not go together, in Kafka's words.
pub(super) fn check(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    if ACTIONS.iter().filter(|action| options.has(action)).count() != 1 {
        let text = "Command must include exactly one action: --list, --describe, --create, --alter or --delete";
        return Err(Failure::Usage(text.into()));
    }
    if options.has("delete-config") {
        let text = "delete-config option is no longer supported and deprecated since version 4.0. The config will be \
            fully removed in future releases.";
        writeln!(io::stderr(), "{text}")?;
    }
    check_required(options, out)?;
    let only_for: [(&str, &[&str]); 7] = [
        ("config", &["alter", "create"]),
        ("partitions", &["alter", "create"]),
        ("replication-factor", &["create"]),
        ("replica-assignment", &["alter", "create"]),
        ("if-exists", &["alter", "delete", "describe"]),
        ("if-not-exists", &["create"]),
        ("exclude-internal", &["list", "describe"]),
    ];
    for (option, actions) in only_for {
        options.exclude(option, &others(actions))?;
    }
    if options.has("create") {
        options.exclude("replica-assignment", &["partitions", "replication-factor"])?;
    }
    for report in REPORTS {
        options.exclude(report, &others(&["describe"]))?;
        options.exclude(report, &["topics-with-overrides"])?;
    }
    options.exclude("topics-with-overrides", &others(&["describe"]))
}

fn check_required(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    if !options.has("bootstrap-server") {
        return Err(Failure::Message("--bootstrap-server must be specified".into()));
    }
    if options.has("describe") && options.has("if-exists") {
        if !options.has("topic") && !options.has("topic-id") {
            return Err(Failure::Usage("--topic or --topic-id is required to describe a topic".into()));
        }
        if options.has("topic") && options.has("topic-id") {
            let text = "Only topic id will be used when both --topic and --topic-id are specified and topicId is not \
                Uuid.ZERO_UUID";
            writeln!(out, "{text}")?;
        }
    }
    if !options.has("list") && !options.has("describe") {
        options.require(&["topic"])?;
    }
    if options.has("alter") {
        if options.has("config") {
            let text = "Option combination \"[bootstrap-server],[config]\" can't be used with option \"[alter]\" (To \
                alter topic configurations, the kafka-configs tool can be used.)";
            return Err(Failure::Usage(text.into()));
        }
        options.require(&["partitions"])?;
    }
    Ok(())
}

fn others(actions: &[&str]) -> Vec<&'static str> {
    ACTIONS.into_iter().filter(|action| !actions.contains(action)).collect()
}
