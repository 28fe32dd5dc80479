//! `kafka-get-offsets`: offsets of partitions, by end or by time.

mod filter;

use std::collections::BTreeMap;
use std::io::{self, Write};

use vltava_client::admin::OffsetSpec;
use vltava_client::config::IsolationLevel;
use vltava_client::{Admin, AdminConfig, TopicPartition};

use crate::failure::{Failure, exception};
use crate::options::{OptionSpec, Options, flag, value};
use crate::properties;
use crate::tool::{Tool, block_on};
use filter::PartitionFilter;

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "kafka-get-offsets",
    about: "An interactive shell for getting topic-partition offsets.",
    options: OPTIONS,
    has_commands: false,
    run,
};

const TIME: &str = "<timestamp> / -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / -5 or \
    latest-tiered / -6 or earliest-pending-upload";

const OPTIONS: &[OptionSpec] = &[
    value("bootstrap-server", "HOST1:PORT1,...,HOST3:PORT3", "REQUIRED. Kafka brokers to connect to."),
    value(
        "topic-partitions",
        "topic1:1,topic2:0-3,topic3,topic4:5-,topic5:-3",
        "Topics by regular expression, each with a partition or a range (lower included, upper excluded).",
    ),
    value("topic", "topic", "Topics by regular expression; all without it."),
    value("partitions", "partition ids", "Numbers of partitions between commas; all without it."),
    value("time", TIME, "The offset of the first record of this time or later, or one that has a name.")
        .default("latest"),
    value("command-config", "config file", "Settings for the admin client, a properties file."),
    flag("exclude-internal-topics", "Leave out internal topics."),
];

fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    options.require(&["bootstrap-server"])?;
    match offsets(options) {
        Ok(offsets) => {
            for (partition, offset) in offsets.into_values() {
                writeln!(out, "{}:{}:{offset}", partition.topic(), partition.partition())?;
            }
            Ok(())
        }
        Err(Failure::Message(message)) => Err(Failure::Message(format!("Error occurred: {message}"))),
        Err(other) => Err(other),
    }
}

/// Offsets by partition, in the order of their names as text.
fn offsets(options: &Options) -> Result<BTreeMap<String, (TopicPartition, i64)>, Failure> {
    if options.has("topic-partitions") && (options.has("topic") || options.has("partitions")) {
        return Err(Failure::Message("--topic-partitions cannot be used with --topic or --partitions".into()));
    }
    let spec = offset_spec(options.text("time"))?;
    let filter = match options.value("topic-partitions") {
        Some(rules) => PartitionFilter::by_rules(rules)?,
        None => PartitionFilter::by_topic_and_numbers(options.value("topic"), options.value("partitions"))?,
    };
    let mut settings = properties::of_admin(options)?;
    properties::put(&mut settings, "client.id", "GetOffsetShell");
    let config = AdminConfig::from_properties(settings)?;
    block_on(async {
        let admin = Admin::new(config)?;
        let partitions = partitions(&admin, &filter, options.has("exclude-internal-topics")).await?;
        if partitions.is_empty() {
            let text = "Could not match any topic-partitions with the specified filters";
            return Err(Failure::Message(text.into()));
        }
        let wanted = partitions.into_iter().map(|partition| (partition, spec));
        let mut offsets = BTreeMap::new();
        for (partition, found) in admin.list_offsets(wanted, IsolationLevel::ReadUncommitted).await {
            match found {
                Ok(found) if found.offset >= 0 => {
                    offsets.insert(partition.to_string(), (partition, found.offset));
                }
                Ok(_) => {}
                Err(error) => {
                    let why = exception(&error);
                    let text = "Skip getting offsets for topic-partition";
                    writeln!(io::stderr(), "{text} {partition} due to error: {why}")?;
                }
            }
        }
        Ok(offsets)
    })
}

async fn partitions(
    admin: &Admin,
    filter: &PartitionFilter,
    without_internal: bool,
) -> Result<Vec<TopicPartition>, Failure> {
    let topics = admin.list_topics().await?;
    let names = topics
        .into_values()
        .filter(|topic| !(without_internal && topic.is_internal) && filter.takes_topic(&topic.name))
        .map(|topic| topic.name);
    let mut partitions = Vec::new();
    for described in admin.describe_topics(names).await.into_values() {
        let topic = described?;
        let all = topic.partitions.iter().map(|one| TopicPartition::new(topic.name.as_str(), one.partition));
        partitions.extend(all.filter(|partition| filter.takes(partition)));
    }
    Ok(partitions)
}

/// The offset that `--time` asks for, by name, by Kafka's number for it, or by time.
fn offset_spec(text: &str) -> Result<OffsetSpec, Failure> {
    Ok(match text {
        "latest" | "-1" => OffsetSpec::Latest,
        "earliest" | "-2" => OffsetSpec::Earliest,
        "max-timestamp" | "-3" => OffsetSpec::MaxTimestamp,
        "earliest-local" | "-4" => OffsetSpec::EarliestLocal,
        "latest-tiered" | "-5" => OffsetSpec::LatestTiered,
        "earliest-pending-upload" | "-6" => OffsetSpec::EarliestPendingUpload,
        other => match other.parse() {
            Ok(timestamp) => OffsetSpec::Timestamp(timestamp),
            Err(_) => {
                let names = TIME.trim_start_matches("<timestamp> / ");
                return Err(Failure::Message(format!(
                    "Malformed time argument {other}. Please use {names}, or a specified long format timestamp"
                )));
            }
        },
    })
}

#[cfg(test)]
mod tests {
    use vltava_client::admin::OffsetSpec;

    use super::offset_spec;

    #[test]
    fn times_have_names_and_numbers() {
        for (text, expected) in [
            ("latest", OffsetSpec::Latest),
            ("-2", OffsetSpec::Earliest),
            ("-6", OffsetSpec::EarliestPendingUpload),
            ("1700000000000", OffsetSpec::Timestamp(1_700_000_000_000)),
        ] {
            assert_eq!(offset_spec(text).unwrap(), expected, "{text}");
        }
        let refused = offset_spec("now").unwrap_err();
        assert!(
            refused.message().starts_with("Malformed time argument now. Please use -1 or latest / -2"),
            "{refused}"
        );
    }
}
