//! The options of `kafka-console-consumer` and the settings that they make.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use super::formatter::Formatter;
use crate::failure::Failure;
use crate::options::{BOOTSTRAP_SERVER, OptionSpec, Options, flag, value};
use crate::properties::{self, Properties};

const DEFAULT_FORMATTER: &str = "org.apache.kafka.tools.consumer.DefaultMessageFormatter";

const FORMATTER_HELP: &str = "A setting of the formatter: print.timestamp, print.key, print.offset, print.epoch, \
    print.partition, print.headers, print.value, key.separator, line.separator, headers.separator, null.literal, \
    key.deserializer, value.deserializer, headers.deserializer.";

pub(super) const OPTIONS: &[OptionSpec] = &[
    value("topic", "topic", "The topic to consume from."),
    value("include", "regex", "The topics to consume from, a regular expression."),
    value("partition", "partition", "The partition to consume from.").int(),
    value("offset", "offset", "Where to begin in the partition: a number, earliest or latest.").default("latest"),
    value("consumer-property", "consumer_prop", "Deprecated: use --command-property.").repeatable(),
    value("command-property", "consumer_prop", "A setting of the consumer, key=value.").repeatable(),
    value("consumer.config", "config file", "Deprecated: use --command-config."),
    value("command-config", "config file", "Settings of the consumer, a properties file."),
    value("formatter", "class", "The class that formats records: the default one or NoOpMessageFormatter.")
        .default(DEFAULT_FORMATTER),
    value("property", "prop", "Deprecated: use --formatter-property.").repeatable(),
    value("formatter-property", "prop", FORMATTER_HELP).repeatable(),
    value("formatter-config", "config file", "Settings of the formatter, a properties file."),
    flag("from-beginning", "Begin at the first record where the group has no offset."),
    value("max-messages", "num_messages", "End after so many records.").int(),
    value("timeout-ms", "timeout_ms", "End when no record comes for so long.").long(),
    flag("skip-message-on-error", "Go on after a record that cannot be printed."),
    BOOTSTRAP_SERVER,
    value("key-deserializer", "class", "The deserializer of keys."),
    value("value-deserializer", "class", "The deserializer of values."),
    flag("enable-systest-events", "Tell when the consumer has ended."),
    value("isolation-level", "level", "read_committed or read_uncommitted.").default("read_uncommitted"),
    value("group", "consumer group id", "The group of the consumer."),
];

/// Where records come from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    Topic(String),
    Include(String),
    Partition(String, i32, Start),
}

/// Where a partition is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Earliest,
    Latest,
    At(i64),
}

/// What the options ask for.
#[derive(Debug)]
pub(super) struct CommandLine {
    pub(super) source: Source,
    pub(super) consumer: Properties,
    pub(super) formatter: Formatter,
    /// How many records at most; `None` for all.
    pub(super) max_messages: Option<u64>,
    /// How long to wait for a record; `None` for ever.
    pub(super) timeout: Option<Duration>,
    pub(super) skip_message_on_error: bool,
    pub(super) systest_events: bool,
}

impl CommandLine {
    pub(super) fn read(options: &Options, out: &mut dyn Write) -> Result<Self, Failure> {
        check(options)?;
        let property = options.one_spelling("consumer-property", "command-property")?;
        let config = options.one_spelling("consumer.config", "command-config")?;
        deprecated(property == "consumer-property", "consumer-property", "command-property", out)?;
        deprecated(config == "consumer.config", "consumer.config", "command-config", out)?;
        let mut consumer = properties::load(options.value(config))?;
        let from_file = properties::get(&consumer, "group.id").map(str::to_owned);
        let extra = properties::key_values(options.values(property));
        let from_property = properties::get(&extra, "group.id").map(str::to_owned);
        consumer.extend(extra);
        let group = group(options, [options.value("group").map(str::to_owned), from_file, from_property])?;
        settings(options, &mut consumer, group)?;
        let start = start(options)?;
        let topic = options.value("topic").map(str::to_owned);
        let source = match (topic, options.int("partition"), options.value("include")) {
            (Some(topic), Some(partition), _) => Source::Partition(topic, partition, start),
            (Some(topic), None, _) => Source::Topic(topic),
            (None, _, include) => Source::Include(include.unwrap_or_default().to_owned()),
        };
        Ok(Self {
            source,
            consumer,
            formatter: formatter(options, out)?,
            max_messages: options.int("max-messages").and_then(|most| u64::try_from(most).ok()),
            timeout: options.long("timeout-ms").and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis),
            skip_message_on_error: options.has("skip-message-on-error"),
            systest_events: options.has("enable-systest-events"),
        })
    }
}

fn check(options: &Options) -> Result<(), Failure> {
    options.require_one_of(&["topic", "include"])?;
    let refused = if options.has("partition") {
        if !options.has("topic") {
            Some("The topic is required when partition is specified.")
        } else if options.has("from-beginning") && options.has("offset") {
            Some("Options from-beginning and offset cannot be specified together.")
        } else {
            None
        }
    } else {
        options.has("offset").then_some("The partition is required when offset is specified.")
    };
    match refused {
        Some(text) => Err(Failure::Usage(text.into())),
        None => options.require(&["bootstrap-server"]),
    }
}

fn deprecated(used: bool, old: &str, new: &str, out: &mut dyn Write) -> Result<(), Failure> {
    if used {
        let end = format!("is deprecated and will be removed in a future version. Use --{new} instead.");
        writeln!(out, "Option --{old} {end}")?;
    }
    Ok(())
}

/// The group that is given in up to three places, which have to agree.
fn group(options: &Options, given: [Option<String>; 3]) -> Result<Option<String>, Failure> {
    let groups: BTreeSet<String> = given.into_iter().flatten().collect();
    if groups.len() > 1 {
        let list: Vec<String> = groups.iter().map(|group| format!("'{group}'")).collect();
        let places = "(directly using '--group', via '--consumer-property', or via '--consumer.config')";
        let text = format!(
            "The group ids provided in different places {places} do not match. Detected group ids: {}",
            list.join(", ")
        );
        return Err(Failure::Usage(text));
    }
    if !groups.is_empty() && options.has("partition") {
        return Err(Failure::Usage("Options group and partition cannot be specified together.".into()));
    }
    Ok(groups.into_iter().next())
}

fn settings(options: &Options, consumer: &mut Properties, group: Option<String>) -> Result<(), Failure> {
    let from_beginning = options.has("from-beginning");
    match properties::get(consumer, "auto.offset.reset") {
        Some(reset) if from_beginning && reset != "earliest" => {
            let text = format!(
                "Can't simultaneously specify --from-beginning and 'auto.offset.reset={reset}', please remove one option"
            );
            return Err(Failure::Message(text));
        }
        Some(_) => {}
        None => properties::put(consumer, "auto.offset.reset", if from_beginning { "earliest" } else { "latest" }),
    }
    properties::put(consumer, "bootstrap.servers", options.text("bootstrap-server"));
    properties::put_if_absent(consumer, "client.id", "console-consumer");
    let isolation = options.text("isolation-level");
    if options.has("isolation-level") {
        properties::put(consumer, "isolation.level", isolation);
    } else {
        properties::put_if_absent(consumer, "isolation.level", isolation);
    }
    match group {
        Some(group) => properties::put(consumer, "group.id", group),
        None => {
            // A group for this once needs no offsets.
            properties::put(consumer, "group.id", format!("console-consumer-{}", random_below_100_000()));
            properties::put_if_absent(consumer, "enable.auto.commit", "false");
        }
    }
    Ok(())
}

fn random_below_100_000() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id()) % 100_000
}

fn start(options: &Options) -> Result<Start, Failure> {
    if !options.has("offset") {
        return Ok(if options.has("from-beginning") { Start::Earliest } else { Start::Latest });
    }
    let text = options.text("offset");
    match text.to_lowercase().as_str() {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        _ => text.parse().ok().filter(|offset| *offset >= 0).map(Start::At).ok_or_else(|| {
            let valid = "Valid values are 'earliest', 'latest', or a non-negative long.";
            Failure::Usage(format!("The provided offset value '{text}' is incorrect. {valid}"))
        }),
    }
}

fn formatter(options: &Options, out: &mut dyn Write) -> Result<Formatter, Failure> {
    let property = options.one_spelling("property", "formatter-property")?;
    deprecated(property == "property", "property", "formatter-property", out)?;
    let mut settings = properties::load(options.value("formatter-config"))?;
    for (option, key) in [("key-deserializer", "key.deserializer"), ("value-deserializer", "value.deserializer")] {
        if let Some(class) = options.value(option).filter(|class| !class.is_empty()) {
            properties::put(&mut settings, key, class);
        }
    }
    settings.extend(properties::key_values(options.values(property)));
    Formatter::new(options.value("formatter").unwrap_or(DEFAULT_FORMATTER), &settings)
}

#[cfg(test)]
mod tests {
    use super::{CommandLine, OPTIONS, Source, Start};
    use crate::failure::Failure;
    use crate::options::Options;
    use crate::properties::get;

    fn read(line: &str) -> Result<CommandLine, Failure> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        CommandLine::read(&Options::parse(OPTIONS, &words)?, &mut Vec::new())
    }

    #[test]
    fn a_group_for_once_commits_nothing() {
        let line = read("--topic t --bootstrap-server h:1").expect("a command line");
        assert_eq!(line.source, Source::Topic("t".into()));
        assert_eq!(get(&line.consumer, "auto.offset.reset"), Some("latest"));
        assert_eq!(get(&line.consumer, "enable.auto.commit"), Some("false"));
        assert!(get(&line.consumer, "group.id").is_some_and(|group| group.starts_with("console-consumer-")));
        let line = read("--topic t --bootstrap-server h:1 --group g --from-beginning").expect("a command line");
        assert_eq!(get(&line.consumer, "auto.offset.reset"), Some("earliest"));
        assert_eq!(get(&line.consumer, "enable.auto.commit"), None);
    }

    #[test]
    fn a_partition_begins_where_it_is_told() {
        let cases = [
            ("", Start::Latest),
            ("--from-beginning", Start::Earliest),
            ("--offset EARLIEST", Start::Earliest),
            ("--offset 7", Start::At(7)),
        ];
        for (more, expected) in cases {
            let line = read(&format!("--topic t --partition 3 --bootstrap-server h:1 {more}")).expect(more);
            assert_eq!(line.source, Source::Partition("t".into(), 3, expected), "{more}");
        }
    }

    #[test]
    fn refuses_in_kafkas_words() {
        let cases = [
            ("--bootstrap-server h:1", "Exactly one of the following arguments is required: [topic], [include]"),
            ("--topic t", "Missing required argument \"[bootstrap-server]\""),
            ("--topic t --offset 1", "The partition is required when offset is specified."),
            (
                "--topic t --bootstrap-server h:1 --partition 0 --offset -2",
                "The provided offset value '-2' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long.",
            ),
            (
                "--topic t --bootstrap-server h:1 --partition 0 --group g",
                "Options group and partition cannot be specified together.",
            ),
            (
                "--topic t --bootstrap-server h:1 --from-beginning --command-property auto.offset.reset=latest",
                "Can't simultaneously specify --from-beginning and 'auto.offset.reset=latest', please remove one option",
            ),
            ("--topic t --bootstrap-server h:1 --formatter some.Class", "--formatter some.Class is not supported yet"),
        ];
        for (line, expected) in cases {
            assert_eq!(read(line).expect_err(line).message(), expected, "{line}");
        }
    }
}
