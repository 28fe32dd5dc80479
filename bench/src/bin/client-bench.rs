//! `client-bench produce|consume --bootstrap B --topic T --records N --size S --partitions P [--payload FILE] …`: our
//! producer and consumer under a fixed load, one JSON line as the result.
//!
//! The consumer reads assigned partitions from the beginning as views, without committing.
//!
//! The producer: `acks=all`, idempotent, `linger.ms=5`, batches of 128 KiB, explicit partitions in runs of 100 records. With
//! `--transaction-ms N` it sends in transactions, and commits one every N ms, as `kafka-producer-perf-test
//! --transaction-duration-ms N` does; the consumer reads what is committed then. `--settings FILE` has more settings of a
//! client, by Kafka's keys.

#![allow(clippy::print_stdout, reason = "a program whose output is its result")]

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use vltava_client::config::{AutoOffsetReset, IsolationLevel};
use vltava_client::producer::{Delivery, Producer, ProducerRecord};
use vltava_client::{ClientError, Consumer, ConsumerConfig, ProducerConfig, TopicPartition};
use vltava_config::parse_properties;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    Produce,
    Consume,
}

/// How the fate of records is learned.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Fate {
    /// A future per record, each awaited.
    Future,
    /// By `flush` alone.
    Flush,
}

#[derive(Parser)]
struct Options {
    what: What,
    #[arg(long)]
    bootstrap: String,
    #[arg(long)]
    topic: String,
    #[arg(long, default_value_t = 5_000_000)]
    records: u64,
    #[arg(long, default_value_t = 100)]
    size: usize,
    #[arg(long, default_value_t = 4)]
    partitions: u64,
    #[arg(long)]
    payload: Option<PathBuf>,
    #[arg(long, default_value = "none")]
    compression: String,
    #[arg(long, default_value = "all")]
    acks: String,
    #[arg(long, default_value_t = 131_072)]
    batch_size: usize,
    #[arg(long, default_value_t = 5)]
    linger_ms: u64,
    #[arg(long, value_enum, default_value_t = Fate::Future)]
    fate: Fate,
    #[arg(long, default_value_t = 5_000)]
    max_poll_records: usize,
    /// How long a transaction is, in ms; none without.
    #[arg(long)]
    transaction_ms: Option<u64>,
    #[arg(long)]
    settings: Option<PathBuf>,
    /// Worker threads of the runtime; 0 runs everything on the main thread.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let started = Instant::now();
    let runtime = match options.threads {
        0 => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        threads => tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?,
    };
    let (records, elapsed) = match options.what {
        What::Produce => runtime.block_on(produce(&options))?,
        What::Consume => runtime.block_on(consume(&options))?,
    };
    let seconds = elapsed.as_secs_f64();
    let result = serde_json::json!({
        "client": "vltava",
        "what": match options.what {
            What::Produce => "produce",
            What::Consume => "consume",
        },
        "ok": records == options.records,
        "records": records,
        "records_per_s": (records as f64 / seconds) as u64,
        "mb_per_s": (records as f64 * options.size as f64 / seconds / 1_048_576.0 * 10.0).round() / 10.0,
        "s": (seconds * 100.0).round() / 100.0,
        "wall_s": (started.elapsed().as_secs_f64() * 100.0).round() / 100.0,
    });
    println!("{result}");
    Ok(())
}

/// Those of the file.
fn settings(options: &Options) -> anyhow::Result<Vec<(String, String)>> {
    let Some(file) = &options.settings else { return Ok(Vec::new()) };
    Ok(parse_properties(&std::fs::read_to_string(file).with_context(|| file.display().to_string())?))
}

fn payloads(options: &Options) -> anyhow::Result<Vec<Vec<u8>>> {
    match &options.payload {
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
            Ok(text.lines().map(|line| line.as_bytes().to_vec()).collect())
        }
        None => Ok((0..1000_u32).map(|i| vec![b'a' + (i % 26) as u8; options.size]).collect()),
    }
}

async fn produce(options: &Options) -> anyhow::Result<(u64, Duration)> {
    let payloads = payloads(options)?;
    let mut config = settings(options)?
        .into_iter()
        .fold(ProducerConfig::builder(), |config, (key, value)| config.set(key, value))
        .bootstrap_servers(&options.bootstrap)
        .set("acks", &options.acks)
        .linger(Duration::from_millis(options.linger_ms))
        .batch_size(options.batch_size)
        .set("compression.type", &options.compression);
    if options.transaction_ms.is_some() {
        config = config.transactional_id(&options.topic);
    }
    let producer = Producer::new(config.build()?)?;
    producer.partitions_for(&options.topic).await?;
    if options.transaction_ms.is_some() {
        producer.init_transactions().await?;
    }
    let started = Instant::now();
    let acknowledged = match (options.transaction_ms, options.fate) {
        (Some(millis), _) => produce_in_transactions(options, &payloads, &producer, millis).await?,
        (None, Fate::Future) => produce_awaited(options, &payloads, &producer).await?,
        (None, Fate::Flush) => produce_flushed(options, &payloads, &producer).await?,
    };
    let elapsed = started.elapsed();
    producer.close(Duration::from_secs(60)).await?;
    Ok((acknowledged, elapsed))
}

fn record<'a>(options: &'a Options, payloads: &'a [Vec<u8>], number: u64) -> ProducerRecord<'a> {
    let value = payloads.get((number % payloads.len() as u64) as usize).map_or(&[][..], Vec::as_slice);
    ProducerRecord::new(&options.topic).value(value).partition((number / 100 % options.partitions) as i32)
}

async fn produce_awaited(options: &Options, payloads: &[Vec<u8>], producer: &Producer) -> anyhow::Result<u64> {
    const OPEN: usize = 100_000;
    let mut open: VecDeque<Delivery> = VecDeque::with_capacity(OPEN + 1);
    let mut acknowledged = 0;
    for number in 0..options.records {
        open.push_back(producer.send(record(options, payloads, number)).await?);
        if open.len() > OPEN
            && let Some(first) = open.pop_front()
        {
            first.await?;
            acknowledged += 1;
        }
    }
    producer.flush().await?;
    for delivery in open {
        delivery.await?;
        acknowledged += 1;
    }
    Ok(acknowledged)
}

async fn produce_flushed(options: &Options, payloads: &[Vec<u8>], producer: &Producer) -> anyhow::Result<u64> {
    for number in 0..options.records {
        let record = record(options, payloads, number);
        match producer.send_nowait(record) {
            Ok(()) => {}
            Err(ClientError::WouldBlock { .. }) => drop(producer.send(record).await?),
            Err(error) => return Err(error.into()),
        }
    }
    producer.flush().await?;
    Ok(options.records)
}

/// A commit tells the fate of all records of its transaction.
async fn produce_in_transactions(
    options: &Options,
    payloads: &[Vec<u8>],
    producer: &Producer,
    millis: u64,
) -> anyhow::Result<u64> {
    /// How many records are sent between two looks at the clock.
    const RUN: u64 = 100;
    let mut number = 0;
    while number < options.records {
        let until = Instant::now() + Duration::from_millis(millis);
        let transaction = producer.begin_transaction().await?;
        while number < options.records && Instant::now() < until {
            for number in number..options.records.min(number + RUN) {
                let record = record(options, payloads, number);
                match producer.send_nowait(record) {
                    Ok(()) => {}
                    Err(ClientError::WouldBlock { .. }) => drop(producer.send(record).await?),
                    Err(error) => return Err(error.into()),
                }
            }
            number += RUN;
            // The producer has no thread of its own on a runtime of one.
            tokio::task::yield_now().await;
        }
        transaction.commit().await?;
    }
    Ok(options.records)
}

async fn consume(options: &Options) -> anyhow::Result<(u64, Duration)> {
    let config = settings(options)?
        .into_iter()
        .fold(ConsumerConfig::builder(), |config, (key, value)| config.set(key, value))
        .bootstrap_servers(&options.bootstrap)
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .max_poll_records(options.max_poll_records)
        .isolation_level(match options.transaction_ms {
            Some(_) => IsolationLevel::ReadCommitted,
            None => IsolationLevel::ReadUncommitted,
        })
        .build()?;
    let consumer = Consumer::new(config)?;
    let started = Instant::now();
    let partitions = (0..options.partitions).map(|partition| TopicPartition::new(&*options.topic, partition as i32));
    consumer.assign(partitions)?;
    let (mut records, mut bytes) = (0, 0);
    while records < options.records {
        let polled = consumer.poll(Duration::from_secs(20)).await?;
        if polled.is_empty() && polled.partitions().is_empty() {
            break;
        }
        for partition in polled.partitions() {
            for batch in partition.batches() {
                bytes += batch.iter().map(|record| record.value().map_or(0, <[u8]>::len)).sum::<usize>();
            }
        }
        records += polled.len() as u64;
    }
    std::hint::black_box(bytes);
    let elapsed = started.elapsed();
    consumer.close(Duration::from_secs(5)).await?;
    Ok((records, elapsed))
}
