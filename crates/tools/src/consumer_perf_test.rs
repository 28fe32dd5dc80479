//! `kafka-consumer-perf-test`: how fast records are consumed.

mod command_line;
mod report;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use vltava_client::consumer::TopicPattern;
use vltava_client::{Consumer, ConsumerConfig, RebalanceCallbacks};

use crate::clock::now_ms;
use crate::failure::Failure;
use crate::options::Options;
use crate::tool::Tool;
use command_line::{CommandLine, OPTIONS, Source};
use report::{JoinTimes, Read, Report};

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "kafka-consumer-perf-test",
    about: "This tool is used to verify the consumer performance.",
    options: OPTIONS,
    has_commands: false,
    run,
};

/// How long one wait for records lasts at most, as in Kafka's tool.
const POLL: Duration = Duration::from_millis(100);
/// Kafka's default time for closing a consumer.
const CLOSE: Duration = Duration::from_secs(30);

fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let command_line = CommandLine::read(options, out)?;
    if !command_line.hide_header {
        writeln!(out, "{}", report::header(command_line.show_detailed_stats))?;
        out.flush()?;
    }
    let config = ConsumerConfig::from_properties(command_line.consumer(options)?)?;
    // Records are counted on this thread, while others are fetched on another.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let consumer = Consumer::new(config)?;
        let consumed = consume(&consumer, &command_line, options, out).await;
        let closed = consumer.close(CLOSE).await;
        consumed?;
        Ok(closed?)
    })
}

async fn consume(
    consumer: &Consumer,
    command_line: &CommandLine,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let start_ms = now_ms();
    let report = Report { format: command_line.date_format(options)?, interval_ms: command_line.interval_ms(options)? };
    let joins = Arc::new(Mutex::new(JoinTimes::new(start_ms)));
    subscribe(consumer, &command_line.source, &joins)?;
    let mut read = Read::default();
    let mut reported = Read::default();
    let mut now = now_ms();
    let (mut last_consumed_ms, mut last_report_ms) = (now, now);
    while read.records < command_line.records && now - last_consumed_ms <= command_line.timeout_ms {
        let records = consumer.poll(POLL).await?;
        now = now_ms();
        if !records.is_empty() {
            last_consumed_ms = now;
        }
        for (_, record) in records.iter() {
            read.add(record.key(), record.value());
            // At most once in these records, after the first one: the time does not go on meanwhile.
            if now - last_report_ms >= report.interval_ms {
                let joining_ms = joins.lock().end_round();
                if command_line.show_detailed_stats {
                    writeln!(out, "{}", report.progress(&read, &reported, last_report_ms..now, joining_ms))?;
                    out.flush()?;
                }
                (last_report_ms, reported) = (now, read);
            }
        }
    }
    if read.records < command_line.records {
        writeln!(
            out,
            "WARNING: Exiting before consuming the expected number of records: timeout ({} ms) exceeded. You can use the \
             --timeout option to increase the timeout.",
            command_line.timeout_ms
        )?;
    }
    if !command_line.show_detailed_stats {
        writeln!(out, "{}", report.total(&read, start_ms..now_ms(), joins.lock().total_ms()))?;
    }
    Ok(())
}

fn subscribe(consumer: &Consumer, source: &Source, joins: &Arc<Mutex<JoinTimes>>) -> Result<(), Failure> {
    let (on_revoked, on_assigned) = (Arc::clone(joins), Arc::clone(joins));
    let listener = RebalanceCallbacks::new()
        .on_revoked(move |_, partitions| {
            on_revoked.lock().revoked(partitions, now_ms());
            Ok(())
        })
        .on_assigned(move |_, partitions| {
            on_assigned.lock().assigned(partitions, now_ms());
            Ok(())
        });
    match source {
        Source::Topic(topic) => consumer.subscribe_with([topic.as_str()], listener)?,
        Source::Include(pattern) => consumer.subscribe_pattern_with(TopicPattern::new(pattern)?, listener)?,
    }
    Ok(())
}
