//! `kafka-console-producer`: sends what comes on standard input, one record per line.

mod command_line;
mod reader;

use std::io::{self, BufRead, IsTerminal, Write};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use vltava_client::producer::ProducerRecord;
use vltava_client::{ClientError, Producer, ProducerConfig};
use vltava_protocol::record::HeaderView;

use crate::failure::{Failure, exception};
use crate::options::Options;
use crate::signals::INTERRUPTED;
use crate::tool::Tool;
use command_line::{CommandLine, OPTIONS};
use reader::{Line, LineReader, lines};

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "kafka-console-producer",
    about: "This tool helps to read data from standard input and publish it to Kafka.",
    options: OPTIONS,
    has_commands: false,
    run,
};

fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let command_line = CommandLine::read(options, out)?;
    let reader = LineReader::new(&command_line.reader)?;
    let config = ProducerConfig::from_properties(command_line.producer.clone())?;
    // This thread waits for standard input, so the producer needs one of its own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let producer = runtime.block_on(async { Producer::new(config) })?;
    runtime.spawn(close_on_interrupt(producer.clone()));
    let sent = send_lines(&runtime, &producer, &command_line, reader, out);
    // What was read before a failure is sent too.
    let closed = runtime.block_on(producer.close(Duration::MAX));
    sent?;
    if let Err(error) = closed {
        tracing::error!("{}", exception(&error));
    }
    Ok(())
}

fn send_lines(
    runtime: &tokio::runtime::Runtime,
    producer: &Producer,
    command_line: &CommandLine,
    mut reader: LineReader,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let prompt = io::stdin().is_terminal() && io::stdout().is_terminal();
    let mut input = io::stdin().lock();
    let mut bytes = Vec::new();
    loop {
        if prompt {
            write!(out, ">")?;
        }
        out.flush()?;
        bytes.clear();
        if input.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&bytes);
        for text in lines(&text) {
            let line = reader.parse(text)?;
            runtime.block_on(send(producer, &command_line.topic, &line, command_line.sync))?;
        }
    }
}

/// Sends one record. As in Kafka's tool, a failure ends the tool only where it waits for each record.
async fn send(producer: &Producer, topic: &str, line: &Line<'_>, sync: bool) -> Result<(), Failure> {
    let headers: Vec<HeaderView<'_>> =
        line.headers.iter().map(|(key, value)| HeaderView::new(key, value.map(str::as_bytes))).collect();
    let record = ProducerRecord {
        key: line.key.map(str::as_bytes),
        value: line.value.map(str::as_bytes),
        headers: &headers,
        ..ProducerRecord::new(topic)
    };
    if sync {
        producer.send(record).await?.await?;
        return Ok(());
    }
    let topic = topic.to_owned();
    let report = move |error: &ClientError| {
        tracing::error!("error when sending message to topic {topic}: {}", exception(error));
    };
    let reported = report.clone();
    let placed = producer.send_with(record, move |result| {
        if let Err(error) = &result {
            report(error);
        }
    });
    if let Err(error) = placed.await {
        reported(&error);
    }
    Ok(())
}

/// Sends what is left before an interrupt ends the program.
async fn close_on_interrupt(producer: Producer) {
    let Ok(mut interrupt) = signal(SignalKind::interrupt()) else { return };
    interrupt.recv().await;
    if let Err(error) = producer.close(Duration::MAX).await {
        tracing::error!("{}", exception(&error));
    }
    std::process::exit(INTERRUPTED);
}
