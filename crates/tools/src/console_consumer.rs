//! `kafka-console-consumer`: prints the records of topics.

mod command_line;
mod deserializer;
mod formatter;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use vltava_client::consumer::TopicPattern;
use vltava_client::{Consumer, ConsumerConfig, TopicPartition};
use vltava_protocol::record::{RecordView, TimestampType};

use crate::failure::{Failure, exception};
use crate::options::Options;
use crate::signals::unless_signalled;
use crate::tool::{Tool, block_on};
use command_line::{CommandLine, OPTIONS, Source, Start};
use formatter::Formatter;

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "kafka-console-consumer",
    about: "This tool helps to read data from Kafka topics and outputs it to standard output.",
    options: OPTIONS,
    has_commands: false,
    run,
};

/// How long one wait for records lasts at most where there is no end to the waiting.
const LONGEST_POLL: Duration = Duration::from_secs(3600);
/// Kafka's default time for closing a consumer.
const CLOSE: Duration = Duration::from_secs(30);

fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let command_line = CommandLine::read(options, out)?;
    let config = ConsumerConfig::from_properties(command_line.consumer.clone())?;
    out.flush()?;
    let ended = block_on(async {
        let consumer = Consumer::new(config)?;
        let mut session = Session { consumer, command_line: &command_line, count: 0 };
        let printed = session.start_and_print(out).await;
        if let Err(error) = session.consumer.close(CLOSE).await {
            tracing::error!("closing the consumer: {}", exception(&error));
        }
        writeln!(io::stderr(), "Processed a total of {} messages", session.count)?;
        printed
    })?;
    if let End::Signal(status) = ended {
        if command_line.systest_events {
            writeln!(out, "shutdown_complete")?;
        }
        out.flush()?;
        std::process::exit(status);
    }
    Ok(())
}

/// Why no more records are printed.
enum End {
    /// All that were asked for, or none in time, or the consumer failed; Kafka's status is 0 in all cases.
    Done,
    /// A signal, with the status that it leads to.
    Signal(i32),
}

struct Session<'a> {
    consumer: Consumer,
    command_line: &'a CommandLine,
    /// Records printed.
    count: u64,
}

impl Session<'_> {
    async fn start_and_print(&mut self, out: &mut dyn Write) -> Result<End, Failure> {
        self.start()?;
        unless_signalled(self.print(out), End::Signal).await
    }

    fn start(&self) -> Result<(), Failure> {
        match &self.command_line.source {
            Source::Topic(topic) => self.consumer.subscribe([topic.as_str()])?,
            Source::Include(pattern) => self.consumer.subscribe_pattern(TopicPattern::new(pattern)?)?,
            Source::Partition(topic, partition, start) => {
                let partition = TopicPartition::new(topic.as_str(), *partition);
                self.consumer.assign([partition.clone()])?;
                match start {
                    Start::Earliest => self.consumer.seek_to_beginning(&[partition])?,
                    Start::Latest => self.consumer.seek_to_end(&[partition])?,
                    Start::At(offset) => self.consumer.seek(&partition, *offset)?,
                }
            }
        }
        Ok(())
    }

    async fn print(&mut self, out: &mut dyn Write) -> Result<End, Failure> {
        let timeout = self.command_line.timeout;
        let mut since = Instant::now();
        while self.wants_more() {
            let records = match self.consumer.poll(timeout.unwrap_or(LONGEST_POLL)).await {
                Ok(records) => records,
                Err(error) => {
                    tracing::error!("Error processing message, terminating consumer process: {}", exception(&error));
                    return Ok(End::Done);
                }
            };
            if records.is_empty() {
                if timeout.is_some_and(|timeout| since.elapsed() > timeout) {
                    let error = "org.apache.kafka.common.errors.TimeoutException";
                    tracing::error!("Error processing message, terminating consumer process: {error}");
                    return Ok(End::Done);
                }
                continue;
            }
            for partition in records.partitions() {
                let mut left = None;
                for batch in partition.batches() {
                    for record in batch.iter() {
                        if !self.wants_more() {
                            left.get_or_insert(record.offset());
                            continue;
                        }
                        self.count += 1;
                        self.write(partition.topic_partition(), batch.timestamp_type(), &record, out)?;
                    }
                }
                // What was read and not printed is not to be committed.
                if let Some(offset) = left {
                    self.consumer.seek(partition.topic_partition(), offset)?;
                }
            }
            if out.flush().is_err() {
                writeln!(io::stderr(), "Unable to write to standard out, closing consumer.")?;
                return Ok(End::Done);
            }
            since = Instant::now();
        }
        Ok(End::Done)
    }

    fn wants_more(&self) -> bool {
        self.command_line.max_messages.is_none_or(|most| self.count < most)
    }

    fn write(
        &self,
        partition: &TopicPartition,
        kind: TimestampType,
        record: &RecordView<'_>,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        let Formatter::Default(format) = &self.command_line.formatter else { return Ok(()) };
        match format.write(partition, kind, record, out) {
            Ok(()) => Ok(()),
            Err(failure) if self.command_line.skip_message_on_error => {
                tracing::error!("Error processing message, skipping this message: {failure}");
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }
}
