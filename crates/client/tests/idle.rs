//! A client that has nothing to do sleeps.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use vltava_broker::embedded;
use vltava_client::admin::NewTopic;
use vltava_client::producer::{Producer, ProducerRecord};
use vltava_client::{Admin, AdminConfig, Consumer, ConsumerConfig, ProducerConfig, TopicPartition};

const TOPIC: &str = "t";
/// Fetches are answered twice a second, heartbeats come every three. One that does not sleep wakes ten thousand times.
const WAKES_A_SECOND: usize = 60;
/// How much of its time a client may work. One whose deadline is in the past never comes to sleep, and works all the time.
const BUSY: u32 = 4;
const WATCHED: Duration = Duration::from_secs(2);

/// How long this thread has worked; nothing where the system does not tell.
fn worked() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(told.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

/// Prepares clients on a runtime of their own, and then counts how often that wakes while `idle` runs.
fn assert_sleeps<C, P, I>(name: &str, prepare: impl FnOnce() -> P, idle: impl FnOnce(C) -> I)
where
    P: Future<Output = C>,
    I: Future<Output = C>,
{
    let parks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&parks);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        })
        .build()
        .unwrap();
    let clients = runtime.block_on(prepare());
    // What was begun settles.
    let clients = runtime.block_on(async {
        passes(Duration::from_millis(500)).await;
        clients
    });
    let (before, began) = (parks.load(Ordering::Relaxed), worked());
    let clients = runtime.block_on(idle(clients));
    let wakes = parks.load(Ordering::Relaxed) - before;
    let most = WAKES_A_SECOND * usize::try_from(WATCHED.as_secs()).unwrap();
    assert!(wakes <= most, "{name} woke {wakes} times in {WATCHED:?}");
    let worked = worked() - began;
    assert!(worked < WATCHED / BUSY, "{name} worked {worked:?} of {WATCHED:?}");
    drop(clients);
}

/// Lets time pass in which nothing is done: what is observed is that nothing happens.
async fn passes(time: Duration) {
    let nothing = tokio::time::timeout(time, std::future::pending::<()>()).await;
    assert!(nothing.is_err());
}

async fn watched<C>(clients: C) -> C {
    passes(WATCHED).await;
    clients
}

fn consumer(servers: &str, properties: &[(&str, &str)]) -> Consumer {
    let all = [("bootstrap.servers", servers)].into_iter().chain(properties.iter().copied());
    Consumer::new(ConsumerConfig::from_properties(all).unwrap()).unwrap()
}

fn partition() -> TopicPartition {
    TopicPartition::new(TOPIC, 0)
}

#[test]
fn idle_clients_sleep() {
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let servers = broker.bootstrap_servers();

    assert_sleeps(
        "an admin client",
        async || {
            let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", servers)]).unwrap()).unwrap();
            admin.create_topics([NewTopic::new(TOPIC)]).await.remove(TOPIC).unwrap().unwrap();
            admin
        },
        watched,
    );
    assert_sleeps(
        "a producer",
        async || {
            let config = ProducerConfig::from_properties([("bootstrap.servers", servers)]).unwrap();
            let producer = Producer::new(config).unwrap();
            producer.send(ProducerRecord::new(TOPIC).value("x")).await.unwrap().await.unwrap();
            producer
        },
        watched,
    );
    let polled = async |consumer: Consumer| {
        assert!(consumer.poll(WATCHED).await.unwrap().is_empty());
        consumer
    };
    // A look-up that failed for good must not leave its next attempt behind.
    let sought = async || {
        let consumer = consumer(servers, &[("auto.offset.reset", "none")]);
        consumer.assign([partition()]).unwrap();
        assert!(consumer.poll(Duration::from_secs(10)).await.is_err(), "there is no offset");
        consumer.seek(&partition(), 1).unwrap();
        let _ = consumer.poll(Duration::from_millis(300)).await.unwrap();
        consumer
    };
    assert_sleeps("a consumer that sought its position", sought, watched);
    assert_sleeps("a consumer that sought its position and polls", sought, polled);
    let grouped = async || {
        let consumer = consumer(servers, &[("auto.offset.reset", "latest"), ("group.id", "g")]);
        consumer.subscribe([TOPIC]).unwrap();
        while consumer.assignment().is_empty() {
            let _ = consumer.poll(Duration::from_millis(100)).await.unwrap();
        }
        consumer
    };
    assert_sleeps("a consumer in a group", grouped, watched);
    let unknown = async || {
        let consumer = consumer(servers, &[]);
        consumer.assign([TopicPartition::new("never-made", 0)]).unwrap();
        let _ = consumer.poll(Duration::from_millis(300)).await.unwrap();
        consumer
    };
    assert_sleeps("a consumer of a topic that is not there", unknown, polled);
}

/// The metadata of a topic that comes to be assigned does not wait for the pause after the metadata before it, and the
/// position does not wait for a pause when its leader is known.
#[tokio::test]
async fn the_first_poll_of_assigned_partitions_waits_for_no_pause() {
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let servers = broker.bootstrap_servers();
    let producer = Producer::new(ProducerConfig::from_properties([("bootstrap.servers", servers)]).unwrap()).unwrap();
    producer.send(ProducerRecord::new(TOPIC).value("x")).await.unwrap().await.unwrap();
    let pause = ("retry.backoff.ms", "30000");
    let most = ("retry.backoff.max.ms", "30000");
    let consumer = consumer(servers, &[("auto.offset.reset", "earliest"), pause, most]);
    consumer.assign([partition()]).unwrap();
    let polled = consumer.poll(Duration::from_secs(15)).await.unwrap();
    assert!(!polled.is_empty(), "the record did not come within half a pause");
}
