//! `kafka-e2e-latency`: how long a record takes from the producer to the consumer, one after the other.

mod command_line;
mod record;

use std::io::Write;
use std::time::{Duration, Instant};

use vltava_client::admin::NewTopic;
use vltava_client::producer::ProducerRecord;
use vltava_client::{Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicPartition};
use vltava_protocol::record::HeaderView;

use crate::failure::{Failure, exception};
use crate::java::random::Random;
use crate::java::{double, fixed4};
use crate::options::Options;
use crate::tool::{Tool, block_on};
use command_line::{CommandLine, OPTIONS};
use record::{Record, Sizes};

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "kafka-e2e-latency",
    about: "This tool measures end-to-end latency in Kafka by sending messages and timing their reception.",
    options: OPTIONS,
    has_commands: true,
    run,
};

/// How long a record may take.
const POLL: Duration = Duration::from_secs(60);
/// Kafka's default time for closing a consumer.
const CLOSE: Duration = Duration::from_secs(30);
/// A line is printed for the first of so many records.
const REPORT_EVERY: usize = 1000;

fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let command_line = CommandLine::read(options, out)?;
    out.flush()?;
    let consumer = ConsumerConfig::from_properties(command_line.consumer()?)?;
    let producer = ProducerConfig::from_properties(command_line.producer()?)?;
    block_on(async {
        let consumer = Consumer::new(consumer)?;
        let producer = Producer::new(producer)?;
        let measured = measure(&consumer, &producer, &command_line, out).await;
        let closed = producer.close(Duration::MAX).await;
        let left = consumer.close(CLOSE).await;
        measured?;
        closed?;
        Ok(left?)
    })
}

async fn measure(
    consumer: &Consumer,
    producer: &Producer,
    command_line: &CommandLine,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let topic = &command_line.topic;
    if !consumer.list_topics().await?.contains_key(topic) {
        create(command_line, out).await?;
    }
    go_to_end(consumer, topic).await?;
    let mut random = Random::new(0);
    let mut latencies = Vec::new();
    for number in 0..command_line.records {
        let sent = Record::random(&command_line.sizes, &mut random);
        let began = Instant::now();
        send(producer, topic, &sent).await?;
        let records = consumer.poll(POLL).await?;
        let latency = began.elapsed();
        let first = records.iter().next().map(|(_, record)| Record::from(record));
        if let Err(why) = sent.check(first.as_ref(), records.len()) {
            consumer.commit_sync().await?;
            return Err(Failure::Message(why));
        }
        if number.is_multiple_of(REPORT_EVERY) {
            writeln!(out, "{number}\t{}", double(latency.as_nanos() as f64 / 1000.0 / 1000.0))?;
            out.flush()?;
        }
        latencies.push(latency);
    }
    for line in summary(&mut latencies) {
        writeln!(out, "{line}")?;
    }
    Ok(consumer.commit_sync().await?)
}

/// Makes the topic with one partition and one replica.
async fn create(command_line: &CommandLine, out: &mut dyn Write) -> Result<(), Failure> {
    let topic = &command_line.topic;
    let with = "Will create topic with 1 partition(s) and replication factor = 1";
    writeln!(out, "Topic \"{topic}\" does not exist. {with}")?;
    out.flush()?;
    let admin = Admin::new(AdminConfig::from_properties(command_line.settings()?)?)?;
    let created = admin.create_topics([NewTopic::new(topic).partitions(1).replication_factor(1)]).await;
    admin.close();
    for result in created.into_values() {
        if let Err(error) = result {
            writeln!(out, "Creation of topic {topic} failed")?;
            return Err(Failure::Message(exception(&error)));
        }
    }
    Ok(())
}

/// Takes all partitions, and makes sure of where their ends are before anything is sent.
async fn go_to_end(consumer: &Consumer, topic: &str) -> Result<(), Failure> {
    let found = consumer.partitions_for(topic).await?;
    let partitions: Vec<TopicPartition> =
        found.partitions.iter().map(|partition| TopicPartition::new(topic, partition.partition)).collect();
    consumer.assign(partitions.clone())?;
    consumer.seek_to_end(&partitions)?;
    for partition in &partitions {
        consumer.position(partition).await?;
    }
    Ok(())
}

/// Sends a record and waits until it is acknowledged.
async fn send(producer: &Producer, topic: &str, record: &Record) -> Result<(), Failure> {
    let headers: Vec<HeaderView<'_>> =
        record.headers.iter().map(|(key, value)| HeaderView::new(key, value.as_deref())).collect();
    let mut sent = ProducerRecord::new(topic).headers(&headers);
    (sent.key, sent.value) = (record.key.as_deref(), record.value.as_deref());
    producer.send(sent).await?.await?;
    Ok(())
}

/// The lines at the end.
fn summary(latencies: &mut [Duration]) -> [String; 2] {
    let total: f64 = latencies.iter().map(|latency| latency.as_nanos() as f64).sum();
    let average = total / latencies.len() as f64 / 1000.0 / 1000.0;
    latencies.sort_unstable();
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| {
        let index = (latencies.len() as f64 * part) as usize;
        latencies.get(index).map_or(0, Duration::as_millis)
    });
    [
        format!("Avg latency: {} ms", fixed4(average)),
        format!("Percentiles: 50th = {p50}, 99th = {p99}, 99.9th = {p999}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_that_of_kafkas_tool() {
        for (micros, expected) in [
            (vec![1500], ["Avg latency: 1.5000 ms", "Percentiles: 50th = 1, 99th = 1, 99.9th = 1"]),
            (
                (0..1000).rev().map(|number| number * 1000).collect(),
                ["Avg latency: 499.5000 ms", "Percentiles: 50th = 500, 99th = 990, 99.9th = 999"],
            ),
            (vec![4000, 1000], ["Avg latency: 2.5000 ms", "Percentiles: 50th = 4, 99th = 4, 99.9th = 4"]),
        ] {
            let mut latencies: Vec<Duration> = micros.into_iter().map(Duration::from_micros).collect();
            assert_eq!(summary(&mut latencies), expected);
        }
    }
}
