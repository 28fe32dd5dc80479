//! `kafka-producer-perf-test`: how fast records are produced, with transactions or without.

mod command_line;
mod payload;
mod stats;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use vltava_client::producer::{ProducerRecord, Transaction};
use vltava_client::{ClientError, Producer, ProducerConfig};

use crate::clock::now_ms;
use crate::failure::{Failure, exception};
use crate::options::Options;
use crate::throttle::Throttle;
use crate::tool::Tool;
use command_line::{CommandLine, OPTIONS};
use payload::SplittableRandom;
use stats::Stats;

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "kafka-producer-perf-test",
    about: "This tool is used to verify the producer performance.",
    options: OPTIONS,
    has_commands: true,
    run,
};

/// How often lines are printed at least that are due.
const PRINT_EVERY: Duration = Duration::from_millis(100);

fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let mut command_line = CommandLine::read(options, out)?;
    let config = ProducerConfig::from_properties(command_line.producer.clone())?;
    // The records are made on this thread, so the producer needs one of its own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let producer = Producer::new(config)?;
        let produced = produce(&producer, &mut command_line, out).await;
        producer.close(Duration::MAX).await?;
        produced
    })
}

/// What the callbacks fill, and what is printed of it.
#[derive(Debug)]
struct Progress {
    stats: Stats,
    steady_state: Option<Stats>,
    lines: Vec<String>,
}

type Shared = Arc<Mutex<Progress>>;

async fn produce(producer: &Producer, command_line: &mut CommandLine, out: &mut dyn Write) -> Result<(), Failure> {
    if command_line.transaction_duration.is_some() {
        producer.init_transactions().await?;
    }
    if command_line.warmup_records > 0 {
        writeln!(
            out,
            "Warmup first {} records. Steady state results will print after the complete test summary.",
            command_line.warmup_records
        )?;
    }
    let start = now_ms();
    let stats = Stats::new(command_line.records, command_line.reporting_interval_ms, false, start);
    let progress = Arc::new(Mutex::new(Progress { stats, steady_state: None, lines: Vec::new() }));
    send_all(producer, command_line, &progress, out).await?;
    while_printing(producer.flush(), &progress, out).await?;
    print(&progress, out)?;
    let mut progress = progress.lock();
    writeln!(out, "{}", progress.stats.total(now_ms()))?;
    if let Some(steady_state) = &mut progress.steady_state {
        writeln!(out, "{}", steady_state.total(now_ms()))?;
    }
    Ok(())
}

async fn send_all(
    producer: &Producer,
    command_line: &mut CommandLine,
    progress: &Shared,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut random = SplittableRandom::new(0);
    let mut throttle = Throttle::new(command_line.throughput, now_ms());
    let mut transaction: Option<(Transaction, i64)> = None;
    for number in 0..command_line.records {
        let payload = command_line.payloads.next(number, &mut random);
        if command_line.transaction_duration.is_some() && transaction.is_none() {
            transaction = Some((producer.begin_transaction().await?, now_ms()));
        }
        let sent_ms = now_ms();
        if command_line.warmup_records > 0 && number == command_line.warmup_records {
            let left = command_line.records - command_line.warmup_records;
            let mut progress = progress.lock();
            progress.steady_state = Some(Stats::new(left, command_line.reporting_interval_ms, true, now_ms()));
            progress.stats.suppress_windows();
        }
        let record = ProducerRecord::new(&command_line.topic).value(payload);
        let sent =
            Sent { at_ms: sent_ms, bytes: payload.len(), in_steady_state: progress.lock().steady_state.is_some() };
        let placed = producer.send_with(record, acknowledged(progress, sent));
        if let Err(error) = placed.await {
            refused(error)?;
        }
        if let (Some((_, began)), Some(duration)) = (&transaction, command_line.transaction_duration)
            && duration <= sent_ms - began
            && let Some((transaction, _)) = transaction.take()
        {
            while_printing(transaction.commit(), progress, out).await?;
        }
        print(progress, out)?;
        let sleep = throttle.sleep_after(number, sent_ms);
        if !sleep.is_zero() {
            tokio::time::sleep(sleep).await;
        }
    }
    match transaction {
        Some((transaction, _)) => while_printing(transaction.commit(), progress, out).await,
        None => Ok(()),
    }
}

/// What its callback knows of a record.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at_ms: i64,
    bytes: usize,
    /// A record of the warm-up is none of the steady state, however late it is acknowledged.
    in_steady_state: bool,
}

/// A record that could not be given to the producer: as Java's tool, which logs what brokers and time-outs refuse and goes on.
fn refused(error: ClientError) -> Result<(), ClientError> {
    match error {
        ClientError::Broker { .. } | ClientError::Timeout { .. } | ClientError::RecordTooLarge { .. } => {
            tracing::error!("{}", exception(&error));
            Ok(())
        }
        error => Err(error),
    }
}

/// What is done when a record is acknowledged, or has failed.
fn acknowledged<T>(progress: &Shared, sent: Sent) -> impl FnOnce(Result<T, ClientError>) + Send + 'static + use<T> {
    let progress = Arc::clone(progress);
    move |result| match result {
        Ok(_) => {
            let now = now_ms();
            let latency = u32::try_from(now - sent.at_ms).unwrap_or(0);
            let Progress { stats, steady_state, lines } = &mut *progress.lock();
            stats.record(latency, sent.bytes, now, lines);
            if let Some(steady_state) = steady_state.as_mut().filter(|_| sent.in_steady_state) {
                steady_state.record(latency, sent.bytes, now, lines);
            }
        }
        Err(error) => tracing::error!("{}", exception(&error)),
    }
}

/// Waits, and prints meanwhile what is due.
async fn while_printing(
    work: impl Future<Output = Result<(), ClientError>>,
    progress: &Shared,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    tokio::pin!(work);
    let mut ticks = tokio::time::interval(PRINT_EVERY);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done?),
            _ = ticks.tick() => print(progress, out)?,
        }
    }
}

fn print(progress: &Shared, out: &mut dyn Write) -> Result<(), Failure> {
    let lines = std::mem::take(&mut progress.lock().lines);
    for line in &lines {
        writeln!(out, "{line}")?;
    }
    if !lines.is_empty() {
        out.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_the_warm_up_is_none_of_the_steady_state_however_late_it_is_acknowledged() {
        let stats = |is_steady_state| Stats::new(2, 5_000, is_steady_state, now_ms());
        let progress = Progress { stats: stats(false), steady_state: None, lines: Vec::new() };
        let progress = Arc::new(Mutex::new(progress));
        let [warm_up, steady] = [false, true]
            .map(|in_steady_state| acknowledged::<()>(&progress, Sent { at_ms: now_ms(), bytes: 10, in_steady_state }));
        progress.lock().steady_state = Some(stats(true));
        warm_up(Ok(()));
        steady(Ok(()));
        let mut progress = progress.lock();
        let Progress { stats, steady_state, .. } = &mut *progress;
        assert!(stats.total(now_ms() + 1).starts_with("2 records sent"));
        assert!(steady_state.as_mut().unwrap().total(now_ms() + 1).starts_with("1 steady state records sent"));
    }
}
