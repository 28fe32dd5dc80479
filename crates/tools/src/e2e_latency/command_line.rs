//! The command line of `kafka-e2e-latency`: options, or their values alone in a fixed order, as before Kafka 4.2.

use std::io::Write;

use super::Sizes;
use crate::clock::now_ms;
use crate::failure::Failure;
use crate::options::{OptionSpec, Options, optional_value, value};
use crate::properties::{self, Properties};

pub(super) const OPTIONS: &[OptionSpec] = &[
    value("bootstrap-server", "bootstrap-server", "REQUIRED: Kafka brokers to connect to, host:port,host:port."),
    value("topic", "topic-name", "REQUIRED: The topic to use for the test."),
    value("num-records", "count", "REQUIRED: How many records to send.").int(),
    value("producer-acks", "producer-acks", "REQUIRED: Who acknowledges records, 1 or all."),
    value("record-size", "bytes", "REQUIRED: The size of a record's value in bytes.").int(),
    optional_value("record-key-size", "bytes", "The size of a record's key in bytes; 0 without it.").int(),
    optional_value("record-header-key-size", "bytes", "The size of a header's key in bytes; 0 without it.").int(),
    optional_value("record-header-size", "bytes", "The size of a header's value in bytes, -1 for null; 0 without it.")
        .int(),
    optional_value("num-headers", "count", "How many headers a record has; 0 without it.").int(),
    optional_value("command-config", "config-file", "Settings of all clients, a properties file."),
];

/// What is needed, in the order of the values alone; a file may follow.
const REQUIRED: [&str; 5] = ["bootstrap-server", "topic", "num-records", "producer-acks", "record-size"];

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CommandLine {
    bootstrap_servers: String,
    pub(super) topic: String,
    pub(super) records: usize,
    acks: String,
    pub(super) sizes: Sizes,
    file: Option<String>,
}

impl CommandLine {
    /// # Errors
    /// In the words of Kafka's tool.
    pub(super) fn read(options: &Options, out: &mut dyn Write) -> Result<Self, Failure> {
        if REQUIRED.iter().any(|name| options.has(name)) {
            return Self::from_options(options);
        }
        let words = with_names(&options.rest)?;
        let text = "WARNING: Positional argument usage is deprecated and will be removed in Apache Kafka 5.0. Please use \
            named arguments instead: --bootstrap-server, --topic, --num-records, --producer-acks, --record-size, \
            --command-config";
        writeln!(out, "{text}")?;
        Self::from_options(&Options::parse(OPTIONS, &words)?)
    }

    fn from_options(options: &Options) -> Result<Self, Failure> {
        options.require(&REQUIRED)?;
        let acks = options.text("producer-acks");
        if !["1", "all"].contains(&acks) {
            let text = "Invalid value for --producer-acks. Latency testing requires synchronous acknowledgement. Please \
                use '1' or 'all'.";
            return Err(Failure::Usage(text.to_owned()));
        }
        let number = |name: &str| options.int(name).unwrap_or_default();
        let records = usize::try_from(number("num-records")).unwrap_or_default();
        if records == 0 {
            return Err(Failure::Usage("Value for --num-records must be a positive integer.".to_owned()));
        }
        let size = |name: &str| {
            let refused = || Failure::Usage(format!("Value for --{name} must be a non-negative integer."));
            usize::try_from(number(name)).map_err(|_| refused())
        };
        let (value, key, header_key) =
            (size("record-size")?, size("record-key-size")?, size("record-header-key-size")?);
        let header_value = match number("record-header-size") {
            -1 => None,
            bytes => Some(usize::try_from(bytes).map_err(|_| {
                let text = "Value for --record-header-size must be a non-negative integer or -1 for null header value.";
                Failure::Usage(text.to_owned())
            })?),
        };
        Ok(Self {
            bootstrap_servers: options.text("bootstrap-server").to_owned(),
            topic: options.text("topic").to_owned(),
            records,
            acks: acks.to_owned(),
            sizes: Sizes { key, value, headers: size("num-headers")?, header_key, header_value },
            file: options.value("command-config").map(str::to_owned),
        })
    }

    /// The settings of all clients.
    pub(super) fn settings(&self) -> Result<Properties, Failure> {
        let mut settings = properties::load(self.file.as_deref())?;
        properties::put(&mut settings, "bootstrap.servers", &*self.bootstrap_servers);
        Ok(settings)
    }

    /// A consumer that waits for nothing.
    pub(super) fn consumer(&self) -> Result<Properties, Failure> {
        let mut settings = self.settings()?;
        let group = format!("test-group-{}", now_ms());
        for (key, value) in [
            ("group.id", &*group),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "latest"),
            ("fetch.max.wait.ms", "0"),
        ] {
            properties::put(&mut settings, key, value);
        }
        Ok(settings)
    }

    /// A producer that waits for nothing but acknowledgements.
    pub(super) fn producer(&self) -> Result<Properties, Failure> {
        let mut settings = self.settings()?;
        for (key, value) in [("linger.ms", "0"), ("max.block.ms", "9223372036854775807"), ("acks", &self.acks)] {
            properties::put(&mut settings, key, value);
        }
        Ok(settings)
    }
}

/// The options of values alone.
fn with_names(values: &[String]) -> Result<Vec<String>, Failure> {
    if ![5, 6].contains(&values.len()) {
        let text = format!(
            "Invalid number of arguments. Expected 5 or 6 positional arguments, but got {}. Usage: bootstrap-server topic \
             num-records producer-acks record-size [optional] command-config",
            values.len()
        );
        return Err(Failure::Message(text));
    }
    let names = REQUIRED.into_iter().chain(["command-config"]);
    Ok(names.zip(values).flat_map(|(name, value)| [format!("--{name}"), value.clone()]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> (Result<CommandLine, Failure>, String) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let mut out = Vec::new();
        let read = Options::parse(OPTIONS, &words).and_then(|options| CommandLine::read(&options, &mut out));
        (read, String::from_utf8(out).expect("text"))
    }

    const LEAST: &str = "--bootstrap-server h:1 --topic t --num-records 5 --producer-acks all --record-size 9";

    #[test]
    fn values_alone_are_the_options_and_a_warning() {
        let (named, out) = read(LEAST);
        let (alone, warned) = read("h:1 t 5 all 9");
        assert_eq!(named.expect(LEAST), alone.expect("values"));
        assert!(out.is_empty() && warned.starts_with("WARNING: Positional argument usage is deprecated"), "{warned}");
        let (with_file, _) = read("h:1 t 5 all 9 client.properties");
        assert_eq!(with_file.expect("values").file.as_deref(), Some("client.properties"));
    }

    #[test]
    fn sizes_are_zero_unless_they_are_given() {
        for (more, expected) in [
            ("", Sizes { value: 9, header_value: Some(0), ..Sizes::default() }),
            ("--num-headers --record-key-size", Sizes { value: 9, header_value: Some(0), ..Sizes::default() }),
            (
                "--num-headers 2 --record-key-size 3 --record-header-key-size 4 --record-header-size -1",
                Sizes { value: 9, headers: 2, key: 3, header_key: 4, header_value: None },
            ),
        ] {
            assert_eq!(read(&format!("{LEAST} {more}")).0.expect(more).sizes, expected, "{more}");
        }
    }

    #[test]
    fn clients_wait_for_nothing() {
        let line = read(LEAST).0.expect(LEAST);
        let (consumer, producer) = (line.consumer().expect("settings"), line.producer().expect("settings"));
        for (settings, key, expected) in [
            (&consumer, "fetch.max.wait.ms", "0"),
            (&consumer, "auto.offset.reset", "latest"),
            (&consumer, "enable.auto.commit", "false"),
            (&consumer, "bootstrap.servers", "h:1"),
            (&producer, "acks", "all"),
            (&producer, "linger.ms", "0"),
            (&producer, "bootstrap.servers", "h:1"),
        ] {
            assert_eq!(properties::get(settings, key), Some(expected), "{key}");
        }
    }

    #[test]
    fn refuses_in_kafkas_words() {
        let negative = "--bootstrap-server h:1 --topic t --num-records 5 --producer-acks 1 --record-size -1";
        for (line, expected) in [
            (
                "h:1 t 5 all",
                "Invalid number of arguments. Expected 5 or 6 positional arguments, but got 4. Usage: bootstrap-server \
                 topic num-records producer-acks record-size [optional] command-config",
            ),
            ("h:1 t five all 9", "Cannot parse argument 'five' of option num-records"),
            (
                "h:1 t 5 0 9",
                "Invalid value for --producer-acks. Latency testing requires synchronous acknowledgement. Please use '1' \
                 or 'all'.",
            ),
            ("h:1 t 0 1 9", "Value for --num-records must be a positive integer."),
            ("--topic t", "Missing required argument \"[bootstrap-server]\""),
            (negative, "Value for --record-size must be a non-negative integer."),
        ] {
            assert_eq!(read(line).0.expect_err(line).message(), expected, "{line}");
        }
        for (option, expected) in [
            ("record-key-size -1", "Value for --record-key-size must be a non-negative integer."),
            (
                "record-header-size -2",
                "Value for --record-header-size must be a non-negative integer or -1 for null header value.",
            ),
            ("num-headers -1", "Value for --num-headers must be a non-negative integer."),
        ] {
            assert_eq!(read(&format!("{LEAST} --{option}")).0.expect_err(option).message(), expected);
        }
    }
}
