//! Every call ends in its time, whatever is behind the address.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::pin::Pin;
use std::time::{Duration, Instant};

use vltava_client::admin::NewTopic;
use vltava_client::producer::{Producer, ProducerRecord};
use vltava_client::{Admin, AdminConfig, ClientError, Consumer, ConsumerConfig, ProducerConfig, TopicPartition};

/// The limit that the calls are given; without it, a connection is tried for 10 s and an answer waited for 30 s.
const LIMIT: &str = "400";
/// Far more than that and far less than those.
const AT_MOST: Duration = Duration::from_secs(7);

/// A server that accepts connections and says nothing.
fn silent() -> String {
    serve(|_| None)
}

/// A server that answers to whatever comes with these bytes.
fn serve(answer: impl Fn(&[u8]) -> Option<&'static [u8]> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 1024];
            if let Ok(read) = stream.read(&mut request)
                && let Some(bytes) = answer(&request[..read])
            {
                let _ = stream.write_all(bytes);
            }
            open.push(stream);
        }
    });
    address
}

/// A port that nobody listens on.
fn closed() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

struct Clients {
    producer: Producer,
    consumer: Consumer,
    admin: Admin,
}

fn clients(servers: &str) -> Clients {
    limited(servers, LIMIT)
}

fn limited(servers: &str, limit: &str) -> Clients {
    let servers = ("bootstrap.servers", servers);
    let whole = ("default.api.timeout.ms", limit);
    let producer = ProducerConfig::from_properties([servers, ("max.block.ms", limit)]).unwrap();
    let consumer = ConsumerConfig::from_properties([servers, whole, ("group.id", "g")]).unwrap();
    let admin = AdminConfig::from_properties([servers, whole, ("request.timeout.ms", limit)]).unwrap();
    Clients {
        producer: Producer::new(producer).unwrap(),
        consumer: Consumer::new(consumer).unwrap(),
        admin: Admin::new(admin).unwrap(),
    }
}

type Call<'a> = Pin<Box<dyn Future<Output = Result<(), ClientError>> + 'a>>;

fn call<'a, T>(call: impl Future<Output = Result<T, ClientError>> + 'a) -> Call<'a> {
    Box::pin(async move { call.await.map(drop) })
}

fn each<'a, K: Ord + 'a, T: 'a>(call: impl Future<Output = BTreeMap<K, Result<T, ClientError>>> + 'a) -> Call<'a> {
    Box::pin(async move { call.await.into_values().next().unwrap().map(drop) })
}

/// Every public call that waits for a broker, by name.
fn calls(clients: &Clients) -> Vec<(&'static str, Call<'_>)> {
    let Clients { producer, consumer, admin } = clients;
    let partition = || TopicPartition::new("t", 0);
    consumer.assign([partition()]).unwrap();
    let offsets = BTreeMap::from([(partition(), 1.into())]);
    vec![
        ("Producer::send", call(producer.send(ProducerRecord::new("t").value("x")))),
        ("Producer::send to a partition", call(producer.send(ProducerRecord::new("t").partition(7)))),
        ("Producer::partitions_for", call(producer.partitions_for("t"))),
        ("Consumer::partitions_for", call(consumer.partitions_for("t"))),
        ("Consumer::list_topics", call(consumer.list_topics())),
        ("Consumer::position", call(async move { consumer.position(&partition()).await })),
        ("Consumer::committed", call(async move { consumer.committed(&[partition()]).await })),
        ("Consumer::beginning_offsets", call(async move { consumer.beginning_offsets(&[partition()]).await })),
        ("Consumer::end_offsets", call(async move { consumer.end_offsets(&[partition()]).await })),
        ("Consumer::offsets_for_times", call(consumer.offsets_for_times(BTreeMap::from([(partition(), 1)])))),
        ("Consumer::commit_sync", call(consumer.commit_sync_offsets(offsets))),
        ("Admin::create_topics", each(admin.create_topics([NewTopic::new("t")]))),
        ("Admin::delete_topics", each(admin.delete_topics(["t"]))),
        ("Admin::describe_topics", each(admin.describe_topics(["t"]))),
        ("Admin::list_topics", call(admin.list_topics())),
        ("Admin::describe_cluster", call(admin.describe_cluster())),
        ("Admin::describe_groups", each(admin.describe_groups(["g"]))),
        ("Admin::list_consumer_group_offsets", call(admin.list_consumer_group_offsets("g", None))),
    ]
}

/// Makes each call with clients of its own, and looks at how it ends.
async fn all_fail(servers: &str, limit: &str, expected: impl Fn(&ClientError) -> bool) {
    let names: Vec<&str> = calls(&limited(servers, limit)).into_iter().map(|one| one.0).collect();
    let run = |index: usize| async move {
        let clients = limited(servers, limit);
        let (_, call) = calls(&clients).swap_remove(index);
        let began = Instant::now();
        let error = call.await.unwrap_err();
        (began.elapsed(), error)
    };
    for (index, name) in names.into_iter().enumerate() {
        let (took, error) = run(index).await;
        assert!(expected(&error), "{name}: {error}");
        assert!(took < AT_MOST, "{name} took {took:?}: {error}");
    }
}

#[tokio::test]
async fn against_a_server_that_is_silent_every_call_times_out() {
    all_fail(&silent(), LIMIT, |error| error.is_retriable() && error.to_string().contains("timed out after")).await;
}

#[tokio::test]
async fn against_a_closed_port_every_call_names_it_in_time() {
    let servers = closed();
    all_fail(&servers, LIMIT, |error| error.is_retriable() && error.to_string().contains(&servers)).await;
}

#[tokio::test]
async fn whoever_does_not_speak_kafka_is_named_at_once() {
    let cases: [(&[u8], &str); 4] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it speaks HTTP"),
        (&[0x15, 3, 3, 0, 2, 2, 50], "it speaks TLS, which `security.protocol` SSL asks for"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "its answer begins with \"SSH-\""),
        (&[0xff, 0xff, 0xff, 0xff, 0], "its answer begins with [ff, ff, ff, ff]"),
    ];
    for (answer, reason) in cases {
        let servers = serve(move |_| Some(answer));
        let clients = clients(&servers);
        let error = clients.producer.partitions_for("t").await.unwrap_err();
        assert_eq!(error.to_string(), format!("{servers} does not speak Kafka's protocol: {reason}"));
        assert!(matches!(error, ClientError::NotKafka { .. }) && !error.is_retriable());
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_refused_at_once() {
    // Reserved for this by RFC 2606.
    let servers = "no-such-host.invalid:9092";
    let text = "invalid `bootstrap.servers` no-such-host.invalid:9092: must have a name that can be resolved";
    // Without a limit of the calls' own: looking for the name may take its time.
    all_fail(servers, "60000", |error| matches!(error, ClientError::Config(_)) && error.to_string() == text).await;
    let consumer = clients(servers).consumer;
    consumer.subscribe(["t"]).unwrap();
    let error = consumer.poll(Duration::from_secs(3600)).await.unwrap_err();
    assert_eq!(error.to_string(), text);
    assert!(error.is_fatal());
}

#[tokio::test]
async fn one_name_that_resolves_is_enough() {
    let servers = format!("no-such-host.invalid:9092,{}", closed());
    let error = clients(&servers).producer.partitions_for("t").await.unwrap_err();
    assert!(error.is_retriable(), "{error}");
}
