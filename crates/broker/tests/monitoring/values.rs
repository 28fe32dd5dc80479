//! What is counted.

use vltava_broker::embedded::{Broker, Config};
use vltava_protocol::messages::{DeleteTopicsRequest, ProduceRequest};
use vltava_protocol::record::Compression;

use crate::samples;
use crate::support::{Client, batch, batch_of, fetch_request, produce_request, start};

/// The first sample of the name with these labels, in any order.
fn value(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let fits = |found: &&str| {
        let (of, rest) = found.split_once('{').unwrap_or((found, ""));
        of == name && labels.iter().all(|(label, value)| rest.contains(&format!("{label}=\"{value}\"")))
    };
    let samples = samples(text);
    let found: Vec<&&str> = samples.keys().filter(|found| fits(found)).collect();
    assert_eq!(found.len(), 1, "{name} {labels:?}: {found:?}");
    samples[*found[0]]
}

#[test]
fn what_is_produced_and_fetched_is_counted_for_the_topic_and_for_all() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("counted", 2, &[("max.message.bytes", "1000")]);
    client.create_topic("other", 1, &[]);
    let records = batch(&["a", "b", "c"]);
    let size = records.len() as f64;
    client.produce_batch("counted", 0, records);
    client.produce("counted", 1, &["d"]);
    client.produce("other", 0, &["e", "f"]);
    let large = batch_of(&["x".repeat(2000).as_str()], None, Compression::None);
    let refused = large.len() as f64;
    client.produce_batch("counted", 0, large);
    assert_eq!(client.fetch("counted", 0, 0).error_code, 0);

    let text = broker.metrics();
    let of = |name: &str| value(&text, name, &[("topic", "counted")]);
    let all = |name: &str| samples(&text)[name];
    let name = |name: &str| format!("kafka_server_brokertopicmetrics_{name}_total");
    assert_eq!((of(&name("messagesin")), all(&name("messagesin"))), (4.0, 6.0));
    assert!(of(&name("bytesin")) > size && of(&name("bytesin")) < all(&name("bytesin")));
    assert_eq!((of(&name("bytesout")), all(&name("bytesout"))), (size, size));
    assert_eq!((of(&name("bytesrejected")), of(&name("totalproducerequests"))), (refused, 3.0));
    assert_eq!((of(&name("failedproducerequests")), of(&name("totalfetchrequests"))), (0.0, 1.0));
    let partition = |name: &str| value(&text, name, &[("topic", "counted"), ("partition", "0")]);
    assert_eq!((partition("kafka_log_log_logendoffset"), partition("kafka_log_log_size")), (3.0, size));
    assert_eq!((partition("kafka_log_log_numlogsegments"), partition("kafka_log_log_logstartoffset")), (1.0, 0.0));
    assert_eq!(partition("kafka_cluster_partition_laststableoffsetlag"), 0.0);
    assert_eq!(all("kafka_controller_kafkacontroller_globalpartitioncount"), 3.0);
    assert_eq!(all("kafka_server_replicamanager_offlinereplicacount"), 0.0);
    assert_eq!(all("kafka_server_kafkaserver_brokerstate"), 3.0);
    assert!((0.0..=1.0).contains(&all("kafka_network_socketserver_networkprocessoravgidle_percent")));

    let request = DeleteTopicsRequest { topic_names: vec!["counted".to_owned()], ..DeleteTopicsRequest::default() };
    assert_eq!(client.call(5, &request).responses[0].error_code, 0);
    let text = broker.metrics();
    assert!(!text.contains("\"counted\""), "the series of a topic go with it");
    assert_eq!(samples(&text)[name("messagesin").as_str()], 6.0, "and count for all topics all the same");
}

#[test]
fn requests_are_counted_with_their_times_and_connections_with_their_bytes() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    let silent: ProduceRequest = produce_request("t", 0, batch(&["a"]), 0);
    client.send(9, &silent);
    client.produce("t", 0, &["b"]);
    // It waits for what does not come.
    client.call(11, &fetch_request("t", &[(0, 2)], 300));
    // A request is counted when its answer is sent, which its client may know before.
    let fetched = "kafka_network_requestmetrics_requests_total{request=\"Fetch\",version=\"11\"} 1\n";
    let text = loop {
        match broker.metrics() {
            text if text.contains(fetched) => break text,
            _ => std::thread::yield_now(),
        }
    };
    let of = |name: &str, labels: &[(&str, &str)]| value(&text, name, labels);
    let produce = ("request", "Produce");
    assert_eq!(of("kafka_network_requestmetrics_requests_total", &[produce, ("version", "9")]), 1.0);
    assert_eq!(of("kafka_network_requestmetrics_requests_total", &[produce, ("version", "12")]), 1.0);
    assert_eq!(of("kafka_network_requestmetrics_totaltimems_count", &[produce]), 2.0);
    for fetch in ["Fetch", "FetchConsumer"] {
        let median = |part: &str| {
            let name = format!("kafka_network_requestmetrics_{part}timems");
            of(&name, &[("request", fetch), ("quantile", "0.50")])
        };
        assert!(median("total") >= 250.0 && median("remote") >= 250.0 && median("local") < 250.0);
        assert_eq!(of("kafka_network_requestmetrics_requests_total", &[("request", fetch), ("version", "11")]), 1.0);
    }
    assert_eq!(of("kafka_server_delayedfetchmetrics_expires_total", &[("fetcherType", "consumer")]), 1.0);
    let part = |le: &str| of("vltava_request_seconds_bucket", &[("request", "Fetch"), ("part", "total"), ("le", le)]);
    assert_eq!((part("0.131072"), part("+Inf")), (0.0, 1.0));
    let plain = &[("listener", "PLAINTEXT")];
    let socket = |name: &str| of(&format!("kafka_server_socket_server_metrics_{name}"), plain);
    assert_eq!((socket("connection_count"), socket("connection_creation_total")), (1.0, 1.0));
    assert_eq!((socket("request_total"), socket("response_total")), (4.0, 3.0));
    assert!(socket("incoming_byte_total") > 200.0 && socket("outgoing_byte_total") > 100.0);
    assert!(!text.contains("\"Heartbeat\""), "what was never asked for has no series");
    drop(client);
    while value(&broker.metrics(), "kafka_server_socket_server_metrics_connection_close_total", plain) == 0.0 {
        std::thread::yield_now();
    }
    assert_eq!(value(&broker.metrics(), "kafka_server_socket_server_metrics_connection_count", plain), 0.0);
}

#[test]
fn thousands_of_partitions_are_told_in_pieces_that_fit_together() {
    let broker = Broker::start(Config::default()).unwrap();
    Client::connect(&broker).create_topic("many", 500, &[]);
    let text = broker.metrics();
    let sizes = text.lines().filter(|line| line.starts_with("kafka_log_log_size{")).count();
    assert_eq!(sizes, 500);
    let mut families: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
    let all = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), all, "a family stands at one place");
}
