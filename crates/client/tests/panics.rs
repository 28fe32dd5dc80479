//! A panic in a client's background work, as in a log's subscriber, ends every call with an error.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fmt::Debug;
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use vltava_broker::embedded;
use vltava_client::admin::NewTopic;
use vltava_client::producer::ProducerRecord;
use vltava_client::{
    Admin, AdminConfig, ClientError, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicPartition,
};

const PATIENCE: Duration = Duration::from_secs(60);

async fn broker_with_topic() -> embedded::Broker {
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let admin = Admin::new(AdminConfig::from_properties([servers(&broker)]).unwrap()).unwrap();
    for (_, created) in admin.create_topics([NewTopic::new("t").partitions(1)]).await {
        created.unwrap();
    }
    broker
}

fn servers(broker: &embedded::Broker) -> (&str, &str) {
    ("bootstrap.servers", broker.bootstrap_servers())
}

/// It must not be a limit of time that ends the call.
async fn soon<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, call).await.unwrap()
}

#[track_caller]
fn assert_panicked<T: Debug>(result: Result<T, ClientError>, with: &str) {
    match result {
        Err(error @ ClientError::Panicked { .. }) => {
            assert!(error.to_string().contains(with), "{error}");
            assert!(error.is_fatal());
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_producers_panic_fails_its_records_and_all_later_calls() {
    let broker = broker_with_topic().await;
    let properties = [servers(&broker), ("max.block.ms", "3600000"), ("delivery.timeout.ms", "3600000")];
    let producer = Producer::new(ProducerConfig::from_properties(properties).unwrap()).unwrap();
    producer.partitions_for("t").await.unwrap();
    producer.send_only_while(|| panic!("no permit")).unwrap();
    let record = ProducerRecord::new("t").value("v");
    let delivery = soon(producer.send(record)).await.unwrap();
    let flushed = soon(producer.flush()).await;
    assert_panicked(soon(delivery).await, "no permit");
    assert_panicked(flushed, "no permit");
    assert_panicked(soon(producer.send(record)).await, "no permit");
    soon(producer.close(PATIENCE)).await.unwrap();
}

#[test]
fn a_producer_whose_runtime_has_ended_says_so() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (broker, producer) = runtime.block_on(async {
        let broker = broker_with_topic().await;
        let producer = Producer::new(ProducerConfig::from_properties([servers(&broker)]).unwrap()).unwrap();
        producer.partitions_for("t").await.unwrap();
        (broker, producer)
    });
    producer.send_only_while(|| false).unwrap();
    let delivery = producer.try_send(ProducerRecord::new("t").value("v")).unwrap();
    drop(runtime);
    let waiting = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let flushed = waiting.block_on(soon(producer.flush()));
    assert!(matches!(flushed, Err(ClientError::Closed)), "{flushed:?}");
    let delivered = waiting.block_on(soon(delivery));
    assert!(matches!(delivered, Err(ClientError::Closed)), "{delivered:?}");
    drop(broker);
}

/// Panics when it is given this message.
struct Panics(&'static str);

impl Subscriber for Panics {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        assert!(!message.0.contains(self.0), "no room for: {}", self.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_consumers_panic_ends_its_calls() {
    let broker = broker_with_topic().await;
    // It is called on this thread, where all of the consumer runs.
    let _log = tracing::subscriber::set_default(Panics("synced group"));
    let properties = [servers(&broker), ("group.id", "g"), ("default.api.timeout.ms", "3600000")];
    let consumer = Consumer::new(ConsumerConfig::from_properties(properties).unwrap()).unwrap();
    consumer.subscribe(["t"]).unwrap();
    let end = Instant::now() + PATIENCE;
    let polled = loop {
        match consumer.poll(PATIENCE).await {
            Ok(_) if Instant::now() < end => {}
            other => break other,
        }
    };
    assert_panicked(polled, "synced group");
    let offsets = [(TopicPartition::new("t", 0), 0.into())].into();
    assert_panicked(soon(consumer.commit_sync_offsets(offsets)).await, "synced group");
    assert_panicked(soon(consumer.poll(PATIENCE)).await, "synced group");
    let _ = soon(consumer.close(PATIENCE)).await;
}
