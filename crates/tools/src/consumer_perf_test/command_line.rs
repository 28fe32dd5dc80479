//! The command line of `kafka-consumer-perf-test`.

use std::io::Write;

use crate::failure::Failure;
use crate::java::date_format::DateFormat;
use crate::java::time_zone::TimeZone;
use crate::options::{BOOTSTRAP_SERVER, OptionSpec, Options, flag, optional_value, value};
use crate::properties::{self, Properties};

pub(super) const OPTIONS: &[OptionSpec] = &[
    BOOTSTRAP_SERVER,
    value("topic", "topic", "The topic to consume from."),
    value("include", "regex", "The topics to consume from, a regular expression."),
    value("group", "gid", "The group of the consumer; perf-consumer- and a number without it."),
    value("fetch-size", "size", "How many bytes of a partition are fetched at once at most.").int().default("1048576"),
    value("command-property", "prop1=val1", "A setting of the consumer, key=value.").repeatable(),
    flag("from-latest", "Begin behind the last record where the group has no offset, and not at the first one."),
    value("socket-buffer-size", "size", "The size of the socket's receive buffer.").int().default("2097152"),
    value("consumer.config", "config file", "Deprecated: use --command-config."),
    value("command-config", "config file", "Settings of the consumer, a properties file."),
    flag("print-metrics", "Print the consumer's metrics at the end.").not_yet(),
    flag("show-detailed-stats", "Print a line for each reporting interval."),
    optional_value("timeout", "milliseconds", "End when no record comes for so long; 10000 without it.").long(),
    value("messages", "count", "Deprecated: use --num-records.").long(),
    value("num-records", "count", "REQUIRED: How many records to consume.").long(),
    value("reporting-interval", "interval_ms", "How often progress is printed, in ms.").long().default("5000"),
    value("date-format", "date format", "How times are printed, a pattern of Java's SimpleDateFormat.")
        .default("yyyy-MM-dd HH:mm:ss:SSS"),
    flag("hide-header", "Print no header."),
];

const DEFAULT_TIMEOUT_MS: i64 = 10_000;

/// Where records come from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    Topic(String),
    Include(String),
}

/// What is asked for. What Kafka's tool looks at only after the header has methods of its own.
#[derive(Debug)]
pub(super) struct CommandLine {
    pub(super) source: Source,
    pub(super) records: i64,
    /// For how long records may stay away.
    pub(super) timeout_ms: i64,
    pub(super) show_detailed_stats: bool,
    pub(super) hide_header: bool,
}

impl CommandLine {
    /// # Errors
    /// In the words of Kafka's tool.
    pub(super) fn read(options: &Options, out: &mut dyn Write) -> Result<Self, Failure> {
        options.require(&["bootstrap-server"])?;
        options.require_one_of(&["topic", "include"])?;
        options.require_one_of(&["messages", "num-records"])?;
        options.exclude("consumer.config", &["command-config"])?;
        for (old, new) in [("messages", "num-records"), ("consumer.config", "command-config")] {
            if options.has(old) {
                writeln!(out, "Warning: --{old} is deprecated. Use --{new} instead.")?;
            }
        }
        let source = match options.value("topic") {
            Some(topic) => Source::Topic(topic.to_owned()),
            None => Source::Include(options.text("include").to_owned()),
        };
        Ok(Self {
            source,
            records: options.long("messages").or(options.long("num-records")).unwrap_or_default(),
            timeout_ms: options.long("timeout").unwrap_or(DEFAULT_TIMEOUT_MS),
            show_detailed_stats: options.has("show-detailed-stats"),
            hide_header: options.has("hide-header"),
        })
    }

    /// The settings of the consumer: those of the options win over the single ones, those over the file's.
    pub(super) fn consumer(&self, options: &Options) -> Result<Properties, Failure> {
        let mut settings = properties::load(options.value("consumer.config").or(options.value("command-config")))?;
        settings.extend(properties::key_values(options.values("command-property")));
        let group = options.value("group").map_or_else(random_group, str::to_owned);
        properties::put(&mut settings, "group.id", group);
        for (key, option) in [
            ("bootstrap.servers", "bootstrap-server"),
            ("receive.buffer.bytes", "socket-buffer-size"),
            ("max.partition.fetch.bytes", "fetch-size"),
        ] {
            properties::put(&mut settings, key, options.text(option));
        }
        let reset = if options.has("from-latest") { "latest" } else { "earliest" };
        properties::put(&mut settings, "auto.offset.reset", reset);
        properties::put(&mut settings, "check.crcs", "false");
        properties::put_if_absent(&mut settings, "client.id", "perf-consumer-client");
        Ok(settings)
    }

    /// How times are printed, in the zone of this machine.
    pub(super) fn date_format(&self, options: &Options) -> Result<DateFormat, Failure> {
        DateFormat::new(options.text("date-format"), TimeZone::local()).map_err(Failure::Message)
    }

    /// How often progress is printed.
    pub(super) fn interval_ms(&self, options: &Options) -> Result<i64, Failure> {
        let refused = || Failure::Message("Reporting interval must be greater than 0.".to_owned());
        options.long("reporting-interval").filter(|ms| *ms > 0).ok_or_else(refused)
    }
}

fn random_group() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("perf-consumer-{}", RandomState::new().hash_one(std::process::id()) % 100_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, Failure> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(OPTIONS, &words)
    }

    fn read(line: &str) -> (CommandLine, Properties, String) {
        let (options, mut out) = (parse(line).expect(line), Vec::new());
        let command_line = CommandLine::read(&options, &mut out).expect(line);
        let consumer = command_line.consumer(&options).expect(line);
        (command_line, consumer, String::from_utf8(out).expect("text"))
    }

    #[test]
    fn options_win_over_single_settings() {
        let own = "--command-property auto.offset.reset=none --command-property client.id=mine --command-property a";
        for (more, key, expected) in [
            ("", "auto.offset.reset", "earliest"),
            ("--from-latest", "auto.offset.reset", "latest"),
            (own, "auto.offset.reset", "earliest"),
            (own, "client.id", "mine"),
            (own, "a", ""),
            ("", "client.id", "perf-consumer-client"),
            ("", "receive.buffer.bytes", "2097152"),
            ("--socket-buffer-size 7", "receive.buffer.bytes", "7"),
            ("", "max.partition.fetch.bytes", "1048576"),
            ("--fetch-size 9", "max.partition.fetch.bytes", "9"),
            ("--group g", "group.id", "g"),
            ("", "check.crcs", "false"),
            ("", "bootstrap.servers", "h:1"),
        ] {
            let (_, consumer, _) = read(&format!("--bootstrap-server h:1 --topic t --num-records 3 {more}"));
            assert_eq!(properties::get(&consumer, key), Some(expected), "{more} {key}");
        }
        let (_, consumer, _) = read("--bootstrap-server h:1 --topic t --num-records 3");
        assert!(properties::get(&consumer, "group.id").is_some_and(|group| group.starts_with("perf-consumer-")));
    }

    #[test]
    fn old_options_are_told_to_be_old() {
        let (line, _, out) = read("--bootstrap-server h:1 --include a.* --messages 3 --timeout --hide-header");
        assert_eq!(out, "Warning: --messages is deprecated. Use --num-records instead.\n");
        assert_eq!((line.source, line.records, line.timeout_ms), (Source::Include("a.*".into()), 3, 10_000));
        assert!(line.hide_header && !line.show_detailed_stats);
        let (line, _, out) = read("--bootstrap-server h:1 --topic t --num-records 4 --timeout 5 --show-detailed-stats");
        assert_eq!((line.source, line.records, line.timeout_ms), (Source::Topic("t".into()), 4, 5));
        assert!(!line.hide_header && line.show_detailed_stats && out.is_empty());
    }

    #[test]
    fn refuses_in_kafkas_words() {
        for (line, expected) in [
            ("--topic t --num-records 1", "Missing required argument \"[bootstrap-server]\""),
            (
                "--bootstrap-server h:1 --num-records 1",
                "Exactly one of the following arguments is required: [topic], [include]",
            ),
            (
                "--bootstrap-server h:1 --topic t",
                "Exactly one of the following arguments is required: [messages], [num-records]",
            ),
            (
                "--bootstrap-server h:1 --topic t --num-records 1 --consumer.config a --command-config b",
                "Option \"[consumer.config]\" can't be used with option \"[command-config]\"",
            ),
            ("--num-records x", "Cannot parse argument 'x' of option num-records"),
            ("--print-metrics", "option --print-metrics is not supported yet"),
        ] {
            let refused = parse(line).and_then(|options| CommandLine::read(&options, &mut Vec::new()));
            assert_eq!(refused.expect_err(line).message(), expected);
        }
        let line = "--bootstrap-server h:1 --topic t --num-records 1 --reporting-interval 0 --date-format b";
        let options = parse(line).expect(line);
        let (line, ..) = read(line);
        let interval = line.interval_ms(&options).expect_err("0");
        assert_eq!(interval.message(), "Reporting interval must be greater than 0.");
        assert_eq!(line.date_format(&options).expect_err("b").message(), "Illegal pattern character 'b'");
    }
}
