//! `kafka-transactions`: transactional ids and open transactions, hanging ones found and ended.

mod hanging;

use std::io::{self, Write};
use std::time::Duration;

use vltava_client::admin::{AbortTransactionSpec, ListTransactionsOptions};
use vltava_client::{Admin, AdminConfig, ClientError, TopicPartition};

use crate::argparse;
use crate::clock::now_ms;
use crate::failure::{Failure, message};
use crate::java::hash_map_order;
use crate::options::{OptionSpec, Options, value};
use crate::properties;
use crate::tool::{Tool, block_on};

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "kafka-transactions",
    about: "This tool is used to analyze the transactional state of producers in the cluster: list, describe, \
        describe-producers, abort, find-hanging or forceTerminateTransaction, then options.",
    options: OPTIONS,
    has_commands: true,
    run,
};

const OPTIONS: &[OptionSpec] = &[
    value("bootstrap-server", "host:port", "REQUIRED: Kafka brokers to connect to, host:port,host:port."),
    value("command-config", "FILE", "Settings for the admin client, a properties file."),
    value(
        "duration-filter",
        "DURATION_FILTER",
        "list: transactions open for longer than this, in ms; all if negative.",
    )
    .long(),
    value("transactional-id-pattern", "PATTERN", "list: transactional ids that match this regular expression."),
    value("transactional-id", "TRANSACTIONAL_ID", "describe: the transactional id."),
    value("transactionalId", "TRANSACTIONAL_ID", "forceTerminateTransaction: the transactional id."),
    value("topic", "TOPIC", "abort, describe-producers, find-hanging: the topic."),
    value("partition", "PARTITION", "abort, describe-producers, find-hanging: the partition's number.").int(),
    value("broker-id", "BROKER_ID", "describe-producers, find-hanging: the broker to ask.").int(),
    value("start-offset", "START_OFFSET", "abort: the offset at which the transaction begins.").long(),
    value("producer-id", "PRODUCER_ID", "abort: the producer's id, for brokers before 3.0.").long(),
    value("producer-epoch", "PRODUCER_EPOCH", "abort: the producer's epoch, for brokers before 3.0.").int(),
    value("coordinator-epoch", "COORDINATOR_EPOCH", "abort: the coordinator's epoch, for brokers before 3.0.").int(),
    value(
        "max-transaction-timeout",
        "MINUTES",
        "find-hanging: no transaction may be open for longer than this, in minutes.",
    )
    .int(),
];

/// As the tool calls itself in errors.
const PROGRAM: &str = "kafka-transactions.sh";

/// A command: its name, the options that it needs, and those that it may have besides.
type Command = (&'static str, &'static [&'static str], &'static [&'static str]);

const COMMANDS: [Command; 6] = [
    ("list", &[], &["duration-filter", "transactional-id-pattern"]),
    ("describe", &["transactional-id"], &[]),
    ("describe-producers", &["topic", "partition"], &["broker-id"]),
    ("abort", &["topic", "partition"], &["start-offset", "producer-id", "producer-epoch", "coordinator-epoch"]),
    ("find-hanging", &[], &["broker-id", "max-transaction-timeout", "topic", "partition"]),
    ("forceTerminateTransaction", &["transactionalId"], &[]),
];

fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let command = match options.rest.as_slice() {
        [] => return Err(argparse::error(PROGRAM, "too few arguments")),
        [command, ..] => command.as_str(),
    };
    let Some((command, needed, allowed)) = COMMANDS.into_iter().find(|(name, ..)| *name == command) else {
        let names: Vec<String> = COMMANDS.iter().map(|(name, ..)| format!("'{name}'")).collect();
        let why = format!("invalid choice: '{command}' (choose from {})", names.join(", "));
        return Err(argparse::error(PROGRAM, &why));
    };
    argparse::require(options, PROGRAM, &["bootstrap-server"])?;
    argparse::require(options, PROGRAM, needed)?;
    let all: Vec<&str> =
        COMMANDS.iter().flat_map(|(_, needed, allowed)| needed.iter().chain(*allowed)).copied().collect();
    argparse::only(options, PROGRAM, &[needed, allowed].concat(), &all)?;
    if let Some(word) = options.rest.get(1) {
        return Err(argparse::error(PROGRAM, &format!("unrecognized arguments: '{word}'")));
    }
    let config = AdminConfig::from_properties(properties::of_admin(options)?)?;
    block_on(async {
        let admin = Admin::new(config)?;
        match command {
            "list" => list(&admin, options, out).await,
            "describe" => describe(&admin, options.text("transactional-id"), out).await,
            "describe-producers" => describe_producers(&admin, options, out).await,
            "abort" => abort(&admin, options).await,
            "find-hanging" => hanging::find(&admin, options, out).await,
            _ => force_terminate(&admin, options.text("transactionalId")).await,
        }
    })
}

async fn list(admin: &Admin, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let filter = ListTransactionsOptions {
        duration: options.long("duration-filter").and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis),
        transactional_id_pattern: options.value("transactional-id-pattern").map(str::to_owned),
        ..ListTransactionsOptions::default()
    };
    let listed =
        admin.list_transactions(&filter).await.map_err(|error| failed("Failed to list transactions", &error))?;
    let rows = listed.iter().flat_map(|(coordinator, listings)| {
        listings.iter().map(move |listing| {
            let producer_id = listing.producer_id.to_string();
            [listing.transactional_id.clone(), coordinator.to_string(), producer_id, listing.state.to_string()]
        })
    });
    table(["TransactionalId", "Coordinator", "ProducerId", "TransactionState"], &rows.collect::<Vec<_>>(), out)
}

async fn describe(admin: &Admin, transactional_id: &str, out: &mut dyn Write) -> Result<(), Failure> {
    let described = admin.describe_transactions([transactional_id]).await.remove(transactional_id);
    let description = match described {
        Some(Ok(description)) => description,
        Some(Err(error)) => {
            let what = format!("Failed to describe transaction state of transactional-id `{transactional_id}`");
            return Err(failed(&what, &error));
        }
        None => return Ok(()),
    };
    let or_none = |value: Option<i64>| value.map_or("None".to_owned(), |value| value.to_string());
    let mut partitions: Vec<TopicPartition> = description.topic_partitions.into_iter().collect();
    hash_map_order(&mut partitions, 16, |partition| partition);
    let partitions: Vec<String> = partitions.iter().map(TopicPartition::to_string).collect();
    let row = [
        description.coordinator_id.to_string(),
        transactional_id.to_owned(),
        description.producer_id.to_string(),
        description.producer_epoch.to_string(),
        description.state.to_string(),
        description.transaction_timeout_ms.to_string(),
        or_none(description.transaction_start_time_ms),
        or_none(description.transaction_start_time_ms.map(|start| now_ms() - start)),
        partitions.join(","),
    ];
    let headers = [
        "CoordinatorId",
        "TransactionalId",
        "ProducerId",
        "ProducerEpoch",
        "TransactionState",
        "TransactionTimeoutMs",
        "CurrentTransactionStartTimeMs",
        "TransactionDurationMs",
        "TopicPartitions",
    ];
    table(headers, &[row], out)
}

async fn describe_producers(admin: &Admin, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let broker = options.int("broker-id");
    let partition = partition(options);
    let producers = match admin.describe_producers([partition.clone()], broker).await.remove(&partition) {
        Some(Ok(producers)) => producers,
        Some(Err(error)) => {
            let asked = broker.map_or("leader".to_owned(), |broker| format!("broker {broker}"));
            return Err(failed(&format!("Failed to describe producers for partition {partition} on {asked}"), &error));
        }
        None => Vec::new(),
    };
    let rows = producers.iter().map(|producer| {
        [
            producer.producer_id.to_string(),
            producer.producer_epoch.to_string(),
            producer.coordinator_epoch.unwrap_or(-1).to_string(),
            producer.last_sequence.to_string(),
            producer.last_timestamp.to_string(),
            producer.current_transaction_start_offset.map_or("None".to_owned(), |offset| offset.to_string()),
        ]
    });
    let headers = [
        "ProducerId",
        "ProducerEpoch",
        "LatestCoordinatorEpoch",
        "LastSequence",
        "LastTimestamp",
        "CurrentTransactionStartOffset",
    ];
    table(headers, &rows.collect::<Vec<_>>(), out)
}

async fn abort(admin: &Admin, options: &Options) -> Result<(), Failure> {
    let refuse = |text: &str| Err(Failure::Message(text.to_owned()));
    let topic_partition = partition(options);
    let spec = match (options.long("start-offset"), options.long("producer-id")) {
        (Some(start_offset), _) => open_transaction(admin, topic_partition, start_offset).await?,
        (None, None) => {
            return refuse(
                "The transaction to abort must be identified either with --start-offset (for brokers on 3.0 or above) or \
                 with --producer-id, --producer-epoch, and --coordinator-epoch (for older brokers)",
            );
        }
        (None, Some(producer_id)) => {
            let Some(producer_epoch) = options.int("producer-epoch") else {
                return refuse("Missing required argument --producer-epoch");
            };
            let Ok(producer_epoch) = i16::try_from(producer_epoch) else {
                return refuse("argument --producer-epoch: out of range");
            };
            let Some(coordinator_epoch) = options.int("coordinator-epoch") else {
                return refuse("Missing required argument --coordinator-epoch");
            };
            // A producer whose first transaction hangs has seen no coordinator; 0 is not above any.
            AbortTransactionSpec {
                topic_partition,
                producer_id,
                producer_epoch,
                coordinator_epoch: coordinator_epoch.max(0),
            }
        }
    };
    let aborted = admin.abort_transaction(&spec).await;
    aborted.map_err(|error| failed(&format!("Failed to abort transaction {spec}"), &error))
}

/// The transaction that begins at this offset, as the leader knows it.
async fn open_transaction(
    admin: &Admin,
    topic_partition: TopicPartition,
    start_offset: i64,
) -> Result<AbortTransactionSpec, Failure> {
    let producers = match admin.describe_producers([topic_partition.clone()], None).await.remove(&topic_partition) {
        Some(Err(error)) => {
            return Err(failed(&format!("Failed to validate producer state for partition {topic_partition}"), &error));
        }
        Some(Ok(producers)) => producers,
        None => Vec::new(),
    };
    let found = producers.iter().find(|producer| producer.current_transaction_start_offset == Some(start_offset));
    let Some((producer, producer_epoch)) = found.and_then(|one| Some((one, i16::try_from(one.producer_epoch).ok()?)))
    else {
        return Err(Failure::Message(format!(
            "Could not find any open transactions starting at offset {start_offset} on partition {topic_partition}"
        )));
    };
    let coordinator_epoch = producer.coordinator_epoch.unwrap_or(0);
    Ok(AbortTransactionSpec { topic_partition, producer_id: producer.producer_id, producer_epoch, coordinator_epoch })
}

async fn force_terminate(admin: &Admin, transactional_id: &str) -> Result<(), Failure> {
    let ended = admin.force_terminate_transaction(transactional_id).await;
    ended.map_err(|error| failed(&format!("Failed to force terminate transactionalId `{transactional_id}`"), &error))
}

/// The partition of `--topic` and `--partition`, which are given.
fn partition(options: &Options) -> TopicPartition {
    TopicPartition::new(options.text("topic"), options.int("partition").unwrap_or_default())
}

fn failed(what: &str, error: &ClientError) -> Failure {
    Failure::Message(format!("{what}: {}. Enable debug logging for additional detail.", message(error)))
}

/// Columns as wide as their longest value, each with a tab behind it.
fn table<const N: usize>(headers: [&str; N], rows: &[[String; N]], out: &mut dyn Write) -> Result<(), Failure> {
    let mut widths = headers.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.encode_utf16().count());
        }
    }
    let mut line = |cells: [&str; N]| -> io::Result<()> {
        for (cell, width) in cells.iter().zip(widths) {
            write!(out, "{cell:<width$}\t")?;
        }
        writeln!(out)
    };
    line(headers)?;
    for row in rows {
        line(row.each_ref().map(String::as_str))?;
    }
    Ok(())
}
