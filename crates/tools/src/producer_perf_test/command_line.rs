//! The command line of `kafka-producer-perf-test`.

use std::io::Write;

use vltava_protocol::Uuid;

use super::payload::Payloads;
use crate::argparse;
use crate::failure::Failure;
use crate::options::{OptionSpec, Options, flag, several_values, value};
use crate::properties::{self, Properties};

pub(super) const OPTIONS: &[OptionSpec] = &[
    value("bootstrap-server", "BOOTSTRAP-SERVER", "Kafka brokers to connect to, host:port,host:port."),
    value("topic", "TOPIC", "REQUIRED: The topic to produce to."),
    value("num-records", "NUM-RECORDS", "REQUIRED: How many records.").long(),
    value("record-size", "RECORD-SIZE", "The size of records in bytes; this, --payload-file or --payload-monotonic.")
        .int(),
    value("payload-file", "PAYLOAD-FILE", "A text file: each record is one of its parts, at random."),
    flag("payload-monotonic", "Each record is its number."),
    value("payload-delimiter", "PAYLOAD-DELIMITER", "What lies between the parts of the file, a regular expression.")
        .default("\\n"),
    value("throughput", "THROUGHPUT", "REQUIRED: Records a second, about; -1 for no limit.").double(),
    several_values("producer-props", "PROP-NAME=PROP-VALUE", "The old name of --command-property."),
    several_values("command-property", "PROP-NAME=PROP-VALUE", "Settings of the producer."),
    value("producer.config", "CONFIG-FILE", "The old name of --command-config."),
    value("command-config", "CONFIG-FILE", "Settings of the producer, a properties file."),
    flag("print-metrics", "Print the producer's metrics at the end.").not_yet(),
    value("transactional-id", "TRANSACTIONAL-ID", "The transactional id; one of its own with a duration alone."),
    value(
        "transaction-duration-ms",
        "TRANSACTION-DURATION",
        "When transactions are committed, in ms; 3000 with an id alone.",
    )
    .long(),
    value("warmup-records", "WARMUP-RECORDS", "How many records at first are not in the summary of the steady state.")
        .long()
        .default("0"),
    value("reporting-interval", "INTERVAL-MS", "How often progress is printed, in ms.").long().default("5000"),
];

/// As the tool calls itself in errors.
const PROGRAM: &str = "kafka-producer-perf-test";
const DEFAULT_TRANSACTION_DURATION_MS: i64 = 3000;

/// What is asked for.
#[derive(Debug)]
pub(super) struct CommandLine {
    pub(super) topic: String,
    pub(super) records: u64,
    pub(super) warmup_records: u64,
    pub(super) payloads: Payloads,
    /// Records a second; negative for no limit.
    pub(super) throughput: f64,
    pub(super) reporting_interval_ms: i64,
    /// After how many ms a transaction is committed; `None` without transactions.
    pub(super) transaction_duration: Option<i64>,
    pub(super) producer: Properties,
}

impl CommandLine {
    /// # Errors
    /// In the words of Kafka's tool.
    pub(super) fn read(options: &Options, out: &mut dyn Write) -> Result<Self, Failure> {
        let refuse = |why: &str| Err(argparse::error(PROGRAM, why));
        if let Some(word) = options.rest.first() {
            return refuse(&format!("unrecognized arguments: '{word}'"));
        }
        argparse::require(options, PROGRAM, &["topic", "num-records", "throughput"])?;
        let payloads = ["record-size", "payload-file", "payload-monotonic"];
        let given: Vec<&str> = payloads.into_iter().filter(|name| options.has(name)).collect();
        match given.as_slice() {
            [] => return refuse("one of the arguments --record-size --payload-file --payload-monotonic is required"),
            [_] => {}
            [first, second, ..] => return refuse(&format!("argument --{second}: not allowed with argument --{first}")),
        }
        let long = |name| options.long(name).unwrap_or_default();
        let (records, warmup) = (long("num-records"), long("warmup-records").max(0));
        if records <= 0 {
            return refuse("--num-records should be greater than zero.");
        }
        if warmup >= records {
            return refuse(
                "The value for --warmup-records must be strictly fewer than the number of records in the test, --num-records.",
            );
        }
        if options.int("record-size").is_some_and(|size| size <= 0) {
            return refuse("--record-size should be greater than zero.");
        }
        let sources = ["bootstrap-server", "command-property", "producer-props", "producer.config", "command-config"];
        if !sources.iter().any(|name| options.has(name)) {
            return refuse(
                "At least one of --bootstrap-server, --command-property, --producer-props, --producer.config or \
                 --command-config must be specified.",
            );
        }
        for (new, old) in [("command-property", "producer-props"), ("command-config", "producer.config")] {
            if options.has(new) && options.has(old) {
                return refuse(&format!("--{new} and --{old} cannot be specified together."));
            }
        }
        let duration = options.long("transaction-duration-ms");
        if duration.is_some_and(|ms| ms <= 0) {
            return refuse("--transaction-duration-ms should be greater than zero.");
        }
        if long("reporting-interval") <= 0 {
            return refuse("--reporting-interval should be greater than zero.");
        }
        let payloads = payloads_of(options, out)?;
        let mut producer = producer(options, out)?;
        let transaction_duration = transactions(options, duration, &mut producer);
        Ok(Self {
            topic: options.text("topic").to_owned(),
            records: records.unsigned_abs(),
            warmup_records: warmup.unsigned_abs(),
            payloads,
            throughput: options.double("throughput").unwrap_or(-1.0),
            reporting_interval_ms: long("reporting-interval"),
            transaction_duration,
            producer,
        })
    }
}

fn payloads_of(options: &Options, out: &mut dyn Write) -> Result<Payloads, Failure> {
    if let Some(size) = options.int("record-size") {
        return Ok(Payloads::Random(vec![0; size.unsigned_abs() as usize]));
    }
    let Some(file) = options.value("payload-file") else { return Ok(Payloads::Monotonic(String::new())) };
    let path = std::path::absolute(file)?;
    writeln!(out, "Reading payloads from: {}", path.display())?;
    let parts = Payloads::read(&path, options.value("payload-delimiter").unwrap_or("\n"))?;
    writeln!(out, "Number of records read: {}", parts.len())?;
    Ok(Payloads::Lines(parts))
}

/// The producer's settings: those of the file, over them single ones, over them the brokers.
fn producer(options: &Options, out: &mut dyn Write) -> Result<Properties, Failure> {
    let mut renamed = |old: &'static str, new: &'static str| -> Result<&'static str, Failure> {
        if !options.has(old) {
            return Ok(new);
        }
        let text =
            format!("Option --{old} has been deprecated and will be removed in a future version. Use --{new} instead.");
        writeln!(out, "{text}")?;
        Ok(old)
    };
    let single = renamed("producer-props", "command-property")?;
    let file = renamed("producer.config", "command-config")?;
    let mut settings = properties::load(options.value(file))?;
    for setting in options.values(single) {
        let pieces: Vec<&str> = setting.split('=').collect();
        let [key, value] = pieces.as_slice() else {
            return Err(Failure::Message(format!("Invalid property: {setting}")));
        };
        properties::put(&mut settings, key, *value);
    }
    properties::put_if_absent(&mut settings, "client.id", "perf-producer-client");
    if let Some(servers) = options.value("bootstrap-server") {
        properties::put(&mut settings, "bootstrap.servers", servers);
    }
    Ok(settings)
}

/// After how many ms transactions are committed, where there are some; their id is in the settings then.
fn transactions(options: &Options, duration: Option<i64>, producer: &mut Properties) -> Option<i64> {
    let id = options.value("transactional-id").or(properties::get(producer, "transactional.id")).map(str::to_owned);
    if duration.is_none() && id.is_none() {
        return None;
    }
    let id = id.unwrap_or_else(|| format!("performance-producer-{}", Uuid::from_u128(random())));
    properties::put(producer, "transactional.id", id);
    Some(duration.unwrap_or(DEFAULT_TRANSACTION_DURATION_MS))
}

fn random() -> u128 {
    use std::hash::{BuildHasher, RandomState};
    let half = || u128::from(RandomState::new().hash_one(std::process::id()));
    half() << 64 | half()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<CommandLine, Failure> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        CommandLine::read(&Options::parse(OPTIONS, &words)?, &mut Vec::new())
    }

    const LEAST: &str = "--topic t --num-records 5 --throughput -1 --bootstrap-server h:1";

    #[test]
    fn an_id_or_a_duration_makes_transactions() {
        let id = |line: &CommandLine| properties::get(&line.producer, "transactional.id").map(str::to_owned);
        let plain = read(&format!("{LEAST} --record-size 9")).expect("a command line");
        assert_eq!((plain.transaction_duration, id(&plain)), (None, None));
        let named = read(&format!("{LEAST} --record-size 9 --transactional-id x")).expect("a command line");
        assert_eq!((named.transaction_duration, id(&named).as_deref()), (Some(3000), Some("x")));
        let timed = read(&format!("{LEAST} --record-size 9 --transaction-duration-ms 7")).expect("a command line");
        assert_eq!(timed.transaction_duration, Some(7));
        assert!(id(&timed).is_some_and(|id| id.starts_with("performance-producer-")));
        let set = read(&format!("{LEAST} --record-size 9 --command-property transactional.id=y linger.ms=3"));
        let set = set.expect("a command line");
        assert_eq!((set.transaction_duration, id(&set).as_deref()), (Some(3000), Some("y")));
        assert_eq!(properties::get(&set.producer, "linger.ms"), Some("3"));
    }

    #[test]
    fn refuses_in_kafkas_words() {
        let cases = [
            ("--topic t --num-records 5", "argument --throughput is required"),
            (LEAST, "one of the arguments --record-size --payload-file --payload-monotonic is required"),
            (
                "--topic t --num-records 0 --throughput 1 --record-size 1 --bootstrap-server h:1",
                "--num-records should be greater than zero.",
            ),
            (
                "--topic t --num-records 1 --throughput 1 --record-size 1",
                "At least one of --bootstrap-server, --command-property, --producer-props, --producer.config or \
                 --command-config must be specified.",
            ),
        ];
        for (line, expected) in cases {
            let refused = read(line).expect_err(line);
            assert_eq!(refused.message(), format!("kafka-producer-perf-test: error: {expected}"), "{line}");
        }
        let refused = read(&format!("{LEAST} --record-size 1 --command-property a")).expect_err("no value");
        assert_eq!(refused.message(), "Invalid property: a");
    }
}
