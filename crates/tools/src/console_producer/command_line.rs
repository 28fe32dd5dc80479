//! The options of `kafka-console-producer` and the settings that they make.

use std::io::Write;

use crate::failure::Failure;
use crate::options::{BOOTSTRAP_SERVER, OptionSpec, Options, flag, optional_value, value};
use crate::properties::{self, Properties};

/// Kafka's reader of lines.
const LINE_READER: &str = "org.apache.kafka.tools.LineMessageReader";

const READER_HELP: &str = "A setting of the reader: parse.key, key.separator, parse.headers, headers.delimiter, \
    headers.separator, headers.key.separator, ignore.error, null.marker.";

pub(super) const OPTIONS: &[OptionSpec] = &[
    value("topic", "topic", "REQUIRED: The topic to produce to."),
    BOOTSTRAP_SERVER,
    flag("sync", "Send one record at a time and wait for each."),
    optional_value("compression-codec", "compression-codec", "none, gzip, snappy, lz4 or zstd; gzip without a value."),
    value("batch-size", "size", "batch.size in bytes.").int().default("16384"),
    value("message-send-max-retries", "count", "retries of the producer.").int().default("3"),
    value("retry-backoff-ms", "ms", "retry.backoff.ms of the producer.").long().default("100"),
    value("timeout", "timeout_ms", "linger.ms of the producer.").long().default("1000"),
    value("request-required-acks", "acks", "acks of the producer.").default("-1"),
    value("request-timeout-ms", "ms", "request.timeout.ms of the producer.").int().default("1500"),
    value("metadata-expiry-ms", "ms", "metadata.max.age.ms of the producer.").long().default("300000"),
    value("max-block-ms", "ms", "max.block.ms of the producer.").long().default("60000"),
    value("max-memory-bytes", "bytes", "buffer.memory of the producer.").long().default("33554432"),
    value("max-partition-memory-bytes", "bytes", "Deprecated: use --batch-size.").int().default("16384"),
    value("line-reader", "reader_class", "The class that reads lines.").default(LINE_READER),
    value("socket-buffer-size", "size", "send.buffer.bytes of the producer.").int().default("102400"),
    value("property", "prop", "Deprecated: use --reader-property.").repeatable(),
    value("reader-property", "prop", READER_HELP).repeatable(),
    value("reader-config", "config file", "Settings of the reader, a properties file."),
    value("producer-property", "producer_prop", "Deprecated: use --command-property.").repeatable(),
    value("command-property", "producer_prop", "A setting of the producer, key=value.").repeatable(),
    value("producer.config", "config file", "Deprecated: use --command-config."),
    value("command-config", "config file", "Settings of the producer, a properties file."),
];

/// Which settings of the producer come from which options.
const MERGED: [(&str, &str); 11] = [
    ("linger.ms", "timeout"),
    ("acks", "request-required-acks"),
    ("request.timeout.ms", "request-timeout-ms"),
    ("retries", "message-send-max-retries"),
    ("retry.backoff.ms", "retry-backoff-ms"),
    ("send.buffer.bytes", "socket-buffer-size"),
    ("buffer.memory", "max-memory-bytes"),
    ("batch.size", "batch-size"),
    ("batch.size", "max-partition-memory-bytes"),
    ("metadata.max.age.ms", "metadata-expiry-ms"),
    ("max.block.ms", "max-block-ms"),
];

/// What the options ask for.
#[derive(Debug)]
pub(super) struct CommandLine {
    pub(super) topic: String,
    pub(super) sync: bool,
    pub(super) reader: Properties,
    pub(super) producer: Properties,
}

impl CommandLine {
    pub(super) fn read(options: &Options, out: &mut dyn Write) -> Result<Self, Failure> {
        options.require(&["topic"])?;
        let config = options.one_spelling("producer.config", "command-config")?;
        let property = options.one_spelling("producer-property", "command-property")?;
        let reader_property = options.one_spelling("property", "reader-property")?;
        let successors = [
            (property, "producer-property", "a future version", "command-property"),
            (config, "producer.config", "a future version", "command-config"),
            (reader_property, "property", "a future version", "reader-property"),
            ("max-partition-memory-bytes", "max-partition-memory-bytes", "Apache Kafka 5.0", "batch-size"),
        ];
        for (used, old, until, new) in successors {
            if used == old && options.has(old) {
                writeln!(out, "Warning: --{old} is deprecated and will be removed in {until}. Use --{new} instead.")?;
            }
        }
        let bootstrap = options.text("bootstrap-server");
        if bootstrap.is_empty() {
            return Err(Failure::Usage("Error while validating the bootstrap address\n".into()));
        }
        let line_reader = options.text("line-reader");
        if line_reader != LINE_READER {
            return Err(Failure::Message(format!("--line-reader {line_reader} is not supported yet")));
        }
        let topic = options.text("topic").to_owned();
        let mut reader = properties::load(options.value("reader-config"))?;
        reader.extend(properties::key_values(options.values(reader_property)));
        let mut producer = properties::load(options.value(config))?;
        producer.extend(properties::key_values(options.values(property)));
        settings(options, &mut producer, bootstrap);
        Ok(Self { topic, sync: options.has("sync"), reader, producer })
    }
}

/// Adds what the options say, and what they default to where the user's settings say nothing.
fn settings(options: &Options, producer: &mut Properties, bootstrap: &str) {
    properties::put(producer, "bootstrap.servers", bootstrap);
    let codec = match options.value("compression-codec") {
        Some(codec) if !codec.is_empty() => codec,
        _ if options.has("compression-codec") => "gzip",
        _ => "none",
    };
    properties::put(producer, "compression.type", codec);
    properties::put_if_absent(producer, "client.id", "console-producer");
    for (key, option) in MERGED {
        let value = options.value(option).unwrap_or_default();
        if options.has(option) {
            properties::put(producer, key, value);
        } else {
            properties::put_if_absent(producer, key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CommandLine, OPTIONS};
    use crate::options::Options;
    use crate::properties::get;

    fn read(line: &str) -> (CommandLine, String) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let mut out = Vec::new();
        let line = CommandLine::read(&Options::parse(OPTIONS, &words).expect(line), &mut out).expect(line);
        (line, String::from_utf8(out).expect("text"))
    }

    #[test]
    fn an_option_wins_over_a_setting_and_a_setting_over_a_default() {
        let line = "--topic t --bootstrap-server h:1 --command-property linger.ms=5 --command-property batch.size=7 \
            --batch-size 9 --compression-codec";
        let (read, printed) = read(line);
        let of = |key: &str| get(&read.producer, key).map(str::to_owned);
        assert_eq!(of("linger.ms").as_deref(), Some("5"));
        assert_eq!(of("batch.size").as_deref(), Some("9"));
        assert_eq!(of("retries").as_deref(), Some("3"));
        assert_eq!(of("compression.type").as_deref(), Some("gzip"));
        assert_eq!(of("client.id").as_deref(), Some("console-producer"));
        assert_eq!(printed, "");
    }

    #[test]
    fn old_spellings_work_with_a_warning() {
        let (read, printed) =
            read("--topic t --bootstrap-server h:1 --property parse.key=true --producer-property a=b");
        assert_eq!(get(&read.reader, "parse.key"), Some("true"));
        assert_eq!(get(&read.producer, "a"), Some("b"));
        insta::assert_snapshot!(printed, @r"
        Warning: --producer-property is deprecated and will be removed in a future version. Use --command-property instead.
        Warning: --property is deprecated and will be removed in a future version. Use --reader-property instead.
        ");
    }
}
