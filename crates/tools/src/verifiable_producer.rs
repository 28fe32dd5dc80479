//! `kafka-verifiable-producer`: produces numbers, and tells of each whether it was acknowledged.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use vltava_client::producer::{ProducerRecord, RecordMetadata};
use vltava_client::{ClientError, Producer, ProducerConfig};
use vltava_protocol::schema::Value;

use crate::clock::now_ms;
use crate::failure::{Failure, exception, message};
use crate::options::{OptionSpec, Options, value};
use crate::signals::unless_signalled;
use crate::throttle::Throttle;
use crate::tool::Tool;
use crate::{argparse, json, properties};

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "kafka-verifiable-producer",
    about: "This tool produces increasing integers to the specified topic and prints JSON metadata to stdout on each \"send\" \
        request, making externally visible which messages have been acked and which have not.",
    options: OPTIONS,
    has_commands: true,
    run,
};

const OPTIONS: &[OptionSpec] = &[
    value("bootstrap-server", "HOST1:PORT1[,HOST2:PORT2[...]]", "REQUIRED: Kafka brokers to connect to."),
    value("topic", "TOPIC", "REQUIRED: The topic to produce to."),
    value("max-messages", "MAX-MESSAGES", "How many messages; if negative, until the process is ended.")
        .int()
        .default("-1"),
    value("throughput", "THROUGHPUT", "Messages a second, about; no limit if negative.").int().default("-1"),
    value("acks", "ACKS", "Acknowledgements of each message: 0, 1 or -1.").int().default("-1"),
    value("producer.config", "CONFIG-FILE", "The old name of --command-config."),
    value("message-create-time", "CREATE-TIME", "The time of the first message, in ms since the epoch.")
        .long()
        .default("-1"),
    value("value-prefix", "VALUE-PREFIX", "A number before each value, with a point behind it.").int(),
    value("repeating-keys", "REPEATING-KEYS", "Keys are numbers from 0 up to this, again and again.").int(),
    value("command-config", "CONFIG-FILE", "Settings of the producer, a properties file."),
];

/// As the tool calls itself in errors.
const PROGRAM: &str = "verifiable-producer";
/// How often is printed what was acknowledged while nothing is sent.
const PRINT_EVERY: Duration = Duration::from_millis(50);

fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    argparse::require(options, PROGRAM, &["topic"])?;
    if !options.has("bootstrap-server") {
        return Err(argparse::error(PROGRAM, "one of the arguments --bootstrap-server is required"));
    }
    if let Some(word) = options.rest.first() {
        return Err(argparse::error(PROGRAM, &format!("unrecognized arguments: '{word}'")));
    }
    let acks = options.int("acks").unwrap_or(-1);
    if ![0, 1, -1].contains(&acks) {
        let why = format!("argument --acks: invalid choice: '{acks}' (choose from {{0,1,-1}})");
        return Err(argparse::error(PROGRAM, &why));
    }
    let mut settings = argparse::settings(options, PROGRAM, "producer.config", out)?;
    properties::put_if_absent(&mut settings, "bootstrap.servers", options.text("bootstrap-server"));
    properties::put_if_absent(&mut settings, "acks", acks.to_string());
    // What fails is told, and not tried again.
    properties::put_if_absent(&mut settings, "retries", "0");
    let config = ProducerConfig::from_properties(settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let signal = runtime.block_on(async {
        let mut session = Session {
            producer: Producer::new(config)?,
            options,
            fates: Arc::default(),
            sent: 0,
            acked: 0,
            start_ms: now_ms(),
        };
        session.run(out).await
    })?;
    out.flush()?;
    match signal {
        Some(status) => std::process::exit(status),
        None => Ok(()),
    }
}

/// A message's key and value, and what became of it.
type Fate = (Option<String>, String, Result<RecordMetadata, ClientError>);

struct Session<'a> {
    producer: Producer,
    options: &'a Options,
    /// What the callbacks have told, to be printed.
    fates: Arc<Mutex<Vec<Fate>>>,
    sent: u64,
    acked: u64,
    start_ms: i64,
}

impl Session<'_> {
    /// Until all is sent, or a signal comes: its status.
    async fn run(&mut self, out: &mut dyn Write) -> Result<Option<i32>, Failure> {
        let status = unless_signalled(async { self.send_all(out).await.map(|()| None) }, Some).await?;
        let producer = self.producer.clone();
        let closing = producer.close(Duration::MAX);
        tokio::pin!(closing);
        let mut ticks = tokio::time::interval(PRINT_EVERY);
        let closed = loop {
            tokio::select! {
                closed = &mut closing => break closed,
                _ = ticks.tick() => self.print(out)?,
            }
        };
        if let Err(error) = closed {
            tracing::error!("closing the producer: {}", exception(&error));
        }
        self.print(out)?;
        writeln!(out, "{}", json::event("shutdown_complete", Vec::new()))?;
        let average = 1000.0 * self.acked as f64 / (now_ms() - self.start_ms) as f64;
        let data = vec![
            ("sent", integer(self.sent)),
            ("acked", integer(self.acked)),
            ("target_throughput", Value::Integer(self.options.int("throughput").unwrap_or(-1).into())),
            ("avg_throughput", Value::Float(average)),
        ];
        writeln!(out, "{}", json::event("tool_data", data))?;
        Ok(status)
    }

    async fn send_all(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        writeln!(out, "{}", json::event("startup_complete", Vec::new()))?;
        out.flush()?;
        let throughput = self.options.int("throughput").unwrap_or(-1);
        let mut throttle = Throttle::new(throughput.into(), self.start_ms);
        let most = u64::try_from(self.options.int("max-messages").unwrap_or(-1)).unwrap_or(u64::MAX);
        let mut created = self.options.long("message-create-time").filter(|time| *time != -1);
        for number in 0..most {
            let sent_ms = now_ms();
            self.send(number, created).await;
            created = created.map(|time| time + now_ms() - self.start_ms);
            self.print(out)?;
            let sleep = throttle.sleep_after(number, sent_ms);
            if !sleep.is_zero() {
                tokio::time::sleep(sleep).await;
            }
        }
        Ok(())
    }

    async fn send(&mut self, number: u64, created: Option<i64>) {
        let keys =
            self.options.int("repeating-keys").and_then(|keys| u64::try_from(keys).ok()).filter(|keys| *keys > 0);
        let key = keys.map(|keys| (number % keys).to_string());
        let value = match self.options.int("value-prefix") {
            Some(prefix) => format!("{prefix}.{number}"),
            None => number.to_string(),
        };
        let topic = self.options.text("topic");
        let mut record = ProducerRecord::new(topic).value(&value);
        if let Some(key) = &key {
            record = record.key(key);
        }
        if let Some(time) = created {
            record = record.timestamp(time);
        }
        self.sent += 1;
        let (fates, of) = (Arc::clone(&self.fates), (key.clone(), value.clone()));
        let placed = self.producer.send_with(record, move |result| fates.lock().push((of.0, of.1, result))).await;
        if let Err(error) = placed {
            self.fates.lock().push((key, value, Err(error)));
        }
    }

    /// Prints what has become of messages since the last time.
    fn print(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        let fates = std::mem::take(&mut *self.fates.lock());
        if fates.is_empty() {
            return Ok(());
        }
        for (key, value, result) in fates {
            let (key, value) = (key.map_or(Value::Null, Value::String), Value::String(value));
            let line = match result {
                Ok(metadata) => {
                    self.acked += 1;
                    let fields = vec![
                        ("key", key),
                        ("value", value),
                        ("partition", Value::Integer(metadata.partition.into())),
                        ("offset", Value::Integer(metadata.offset.unwrap_or(-1))),
                        ("topic", Value::String(metadata.topic.to_string())),
                    ];
                    json::event("producer_send_success", fields)
                }
                Err(error) => {
                    let topic = self.options.text("topic");
                    let exception = exception(&error);
                    let class = exception.split(':').next().unwrap_or_default();
                    let fields = vec![
                        ("topic", Value::String(topic.to_owned())),
                        ("key", key),
                        ("value", value),
                        ("exception", Value::String(format!("class {class}"))),
                        ("message", Value::String(message(&error))),
                    ];
                    json::event("producer_send_error", fields)
                }
            };
            writeln!(out, "{line}")?;
        }
        Ok(out.flush()?)
    }
}

fn integer(value: u64) -> Value {
    Value::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}
