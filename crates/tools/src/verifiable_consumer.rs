//! `kafka-verifiable-consumer`: consumes as a member of a group, and tells each thing that happens.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use vltava_client::consumer::PartitionRecords;
use vltava_client::{
    ClientError, Consumer, ConsumerConfig, ConsumerRecords, OffsetAndMetadata, RebalanceCallbacks, TopicPartition,
};
use vltava_protocol::record::RecordView;
use vltava_protocol::schema::Value;

use crate::failure::{Failure, exception, message};
use crate::java::hash_map_order;
use crate::options::{OptionSpec, Options, flag, value};
use crate::signals::unless_signalled;
use crate::tool::{Tool, block_on};
use crate::{argparse, json, properties};

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "kafka-verifiable-consumer",
    about: "This tool consumes messages from a specific topic and emits consumer events (e.g. group rebalances, received \
        messages, and offsets committed) as JSON objects to STDOUT.",
    options: OPTIONS,
    has_commands: true,
    run,
};

const OPTIONS: &[OptionSpec] = &[
    value("bootstrap-server", "HOST1:PORT1[,HOST2:PORT2[...]]", "REQUIRED: Kafka brokers to connect to."),
    value("topic", "TOPIC", "REQUIRED: The topic to consume."),
    value("group-protocol", "GROUP-PROTOCOL", "The protocol of the group: CLASSIC or CONSUMER.").default("classic"),
    value(
        "group-remote-assignor",
        "GROUP-REMOTE-ASSIGNOR",
        "The group's assignor in the broker, of the protocol CONSUMER.",
    ),
    value("group-id", "GROUP-ID", "REQUIRED: The group."),
    value("group-instance-id", "GROUP-INSTANCE-ID", "The name of this member, if it is a static one."),
    value("max-messages", "MAX-MESSAGES", "How many messages; if negative, until the process is ended.")
        .int()
        .default("-1"),
    value("session-timeout", "TIMEOUT-MS", "The member's session time-out in ms, of the protocol CLASSIC.").int(),
    flag("verbose", "Print each message."),
    flag("enable-autocommit", "Commit offsets now and then, and not after each batch of messages."),
    value("reset-policy", "RESET-POLICY", "Where to begin without an offset: earliest, latest or none.")
        .default("earliest"),
    value("assignment-strategy", "ASSIGNMENT-STRATEGY", "The group's assignor, of the protocol CLASSIC.")
        .default("org.apache.kafka.clients.consumer.RangeAssignor"),
    value("consumer.config", "CONFIG-FILE", "The old name of --command-config."),
    value("command-config", "CONFIG-FILE", "Settings of the consumer, a properties file."),
];

/// As the tool calls itself in errors.
const PROGRAM: &str = "verifiable-consumer";
/// How long one wait for records lasts at most.
const LONGEST_POLL: Duration = Duration::from_secs(3600);
/// Kafka's default time for closing a consumer.
const CLOSE: Duration = Duration::from_secs(30);

fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    argparse::require(options, PROGRAM, &["topic", "group-id", "bootstrap-server"])?;
    if let Some(word) = options.rest.first() {
        return Err(argparse::error(PROGRAM, &format!("unrecognized arguments: '{word}'")));
    }
    let config = ConsumerConfig::from_properties(settings(options, out)?)?;
    let status = block_on(async {
        let (consumer, events) = (Consumer::new(config)?, Arc::default());
        let mut session = Session { consumer, options, events, count: 0 };
        session.run(out).await
    })?;
    out.flush()?;
    match status {
        Some(status) => std::process::exit(status),
        None => Ok(()),
    }
}

fn settings(options: &Options, out: &mut dyn Write) -> Result<properties::Properties, Failure> {
    let mut settings = argparse::settings(options, PROGRAM, "consumer.config", out)?;
    let mut put = |key: &str, value: &str| properties::put(&mut settings, key, value);
    let protocol = options.text("group-protocol").to_lowercase();
    put("group.protocol", &protocol);
    if protocol == "consumer" {
        if let Some(assignor) = options.value("group-remote-assignor") {
            put("group.remote.assignor", assignor);
        }
    } else {
        put("partition.assignment.strategy", options.text("assignment-strategy"));
    }
    if let Some(timeout) = options.value("session-timeout") {
        put("session.timeout.ms", timeout);
    }
    put("group.id", options.text("group-id"));
    if let Some(id) = options.value("group-instance-id") {
        put("group.instance.id", id);
    }
    put("bootstrap.servers", options.text("bootstrap-server"));
    put("enable.auto.commit", if options.has("enable-autocommit") { "true" } else { "false" });
    put("auto.offset.reset", options.text("reset-policy"));
    Ok(settings)
}

struct Session<'a> {
    consumer: Consumer,
    options: &'a Options,
    /// What the rebalance callbacks have to tell, to be printed.
    events: Arc<Mutex<Vec<String>>>,
    count: u64,
}

impl Session<'_> {
    /// Until all is consumed, or a signal comes: its status.
    async fn run(&mut self, out: &mut dyn Write) -> Result<Option<i32>, Failure> {
        let status = unless_signalled(async { self.consume(out).await.map(|()| None) }, Some).await?;
        let requested = || json::event("shutdown_requested", Vec::new());
        self.print_events(out)?;
        if status.is_some() {
            writeln!(out, "{}", requested())?;
        }
        if let Err(error) = self.consumer.close(CLOSE).await {
            tracing::error!("closing the consumer: {}", exception(&error));
        }
        self.print_events(out)?;
        writeln!(out, "{}", json::event("shutdown_complete", Vec::new()))?;
        // Kafka's tool has a hook that runs when it ends by itself too.
        if status.is_none() {
            writeln!(out, "{}", requested())?;
        }
        Ok(status)
    }

    /// A failure of the consumer is told and ends the tool with status 0, as Kafka's.
    async fn consume(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        writeln!(out, "{}", json::event("startup_complete", Vec::new()))?;
        out.flush()?;
        if let Err(error) = self.subscribe() {
            tracing::error!("Error during processing, terminating consumer process: {}", exception(&error));
            return Ok(());
        }
        while self.left() > 0 {
            let records = match self.consumer.poll(LONGEST_POLL).await {
                Ok(records) => records,
                Err(error) => {
                    tracing::error!("Error during processing, terminating consumer process: {}", exception(&error));
                    return Ok(());
                }
            };
            self.print_events(out)?;
            if records.is_empty() {
                continue;
            }
            let offsets = self.received(&records, out)?;
            if !self.options.has("enable-autocommit") {
                let committed = self.consumer.commit_sync_offsets(offsets.clone()).await;
                writeln!(out, "{}", committed_event(offsets, committed))?;
            }
            out.flush()?;
        }
        Ok(())
    }

    fn subscribe(&self) -> Result<(), ClientError> {
        let told = |name: &'static str| {
            let events = Arc::clone(&self.events);
            move |_: &Consumer, partitions: &[TopicPartition]| {
                let partitions = Value::Array(partitions.iter().map(partition).collect());
                events.lock().push(json::event(name, vec![("partitions", partitions)]));
                Ok(())
            }
        };
        let listener =
            RebalanceCallbacks::new().on_revoked(told("partitions_revoked")).on_assigned(told("partitions_assigned"));
        self.consumer.subscribe_with([self.options.text("topic")], listener)
    }

    /// How many messages are still to come.
    fn left(&self) -> u64 {
        match u64::try_from(self.options.int("max-messages").unwrap_or(-1)) {
            Ok(most) => most.saturating_sub(self.count),
            Err(_) => u64::MAX,
        }
    }

    fn print_events(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let events = std::mem::take(&mut *self.events.lock());
        for event in &events {
            writeln!(out, "{event}")?;
        }
        if events.is_empty() { Ok(()) } else { Ok(out.flush()?) }
    }

    /// Tells what has come, as far as it was asked for; the offsets to commit.
    fn received(
        &mut self,
        records: &ConsumerRecords,
        out: &mut dyn Write,
    ) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, Failure> {
        let mut offsets = BTreeMap::new();
        let mut summaries = Vec::new();
        for of_partition in records.partitions() {
            let taken = usize::try_from(self.left()).unwrap_or(usize::MAX).min(of_partition.len());
            let of_taken = || of_partition.iter().take(taken);
            let (Some(first), Some(last)) = (of_taken().next(), of_taken().last()) else { continue };
            let partition = of_partition.topic_partition();
            offsets.insert(partition.clone(), OffsetAndMetadata::new(last.offset() + 1));
            let mut summary = named(partition);
            summary.push(("count", Value::Integer(i64::try_from(taken).unwrap_or(i64::MAX))));
            summary.push(("minOffset", Value::Integer(first.offset())));
            summary.push(("maxOffset", Value::Integer(last.offset())));
            summaries.push(json::object(summary));
            if self.options.has("verbose") {
                for record in of_taken() {
                    writeln!(out, "{}", record_event(of_partition, &record))?;
                }
            }
            self.count += taken as u64;
        }
        let count = Value::Integer(i64::try_from(records.len()).unwrap_or(i64::MAX));
        let fields = vec![("count", count), ("partitions", Value::Array(summaries))];
        writeln!(out, "{}", json::event("records_consumed", fields))?;
        Ok(offsets)
    }
}

fn record_event(partition: &PartitionRecords, record: &RecordView<'_>) -> String {
    let string = |bytes: Option<&[u8]>| {
        bytes.map_or(Value::Null, |bytes| Value::String(String::from_utf8_lossy(bytes).into_owned()))
    };
    let mut fields = vec![("key", string(record.key())), ("value", string(record.value()))];
    fields.extend(named(partition.topic_partition()));
    fields.push(("offset", Value::Integer(record.offset())));
    json::event("record_data", fields)
}

fn committed_event(offsets: BTreeMap<TopicPartition, OffsetAndMetadata>, committed: Result<(), ClientError>) -> String {
    let mut offsets: Vec<(TopicPartition, OffsetAndMetadata)> = offsets.into_iter().collect();
    hash_map_order(&mut offsets, 16, |(partition, _)| partition);
    let offsets = offsets.into_iter().map(|(partition, offset)| {
        let mut fields = named(&partition);
        fields.push(("offset", Value::Integer(offset.offset)));
        json::object(fields)
    });
    let mut fields = vec![("offsets", Value::Array(offsets.collect()))];
    if let Err(error) = &committed {
        fields.push(("error", Value::String(message(error))));
    }
    fields.push(("success", Value::Bool(committed.is_ok())));
    json::event("offsets_committed", fields)
}

fn partition(partition: &TopicPartition) -> Value {
    json::object(named(partition))
}

fn named(partition: &TopicPartition) -> Vec<(&'static str, Value)> {
    vec![
        ("topic", Value::String(partition.topic().to_owned())),
        ("partition", Value::Integer(partition.partition().into())),
    ]
}
