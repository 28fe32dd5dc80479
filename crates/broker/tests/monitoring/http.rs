//! Over HTTP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use vltava_broker::embedded::{Broker, Config};

use crate::support::Client;

pub(crate) fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: h\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn served() -> Config {
    Config::default().property("metrics.http.address", "127.0.0.1:0")
}

#[test]
fn nothing_is_served_unless_somebody_asks_for_it() {
    assert_eq!(Broker::start(Config::default()).unwrap().metrics_address(), None);
}

#[test]
fn metrics_and_health_are_served_as_long_as_the_broker_runs() {
    let broker = Broker::start(served()).unwrap();
    let address = broker.metrics_address().unwrap();
    let metrics = ask(address, "/metrics").unwrap();
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4"), "{metrics}");
    assert!(metrics.contains("\nkafka_server_kafkaserver_brokerstate 3\n"), "{metrics}");
    assert!(metrics.contains(&format!("clusterid=\"{}\"", broker.cluster_id())));
    assert!(ask(address, "/health").unwrap().contains("\r\n\r\nok\n"));
    assert!(ask(address, "/ready").unwrap().ends_with("\r\n\r\nok\n"));
    drop(broker);
    assert!(ask(address, "/ready").is_err(), "the address is free");
    TcpListener::bind(address).unwrap();
}

#[test]
fn an_address_that_cannot_be_had_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = Config::default().property("metrics.http.address", &address);
    let error = Broker::start(config).unwrap_err().to_string();
    assert!(error.contains(&format!("metrics.http.address={address}")), "{error}");
}

#[test]
fn hundreds_who_say_nothing_keep_neither_the_broker_nor_others_from_their_work() {
    let broker = Broker::start(served()).unwrap();
    let address = broker.metrics_address().unwrap();
    let silent: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    assert_eq!(client.produce("t", 0, &["a"]).error_code, 0);
    drop(silent);
    assert!(ask(address, "/ready").unwrap().ends_with("\r\n\r\nok\n"));
}
