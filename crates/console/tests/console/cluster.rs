//! A broker with something to see on it, a console of it, and one who asks that.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use vltava_broker::embedded;
use vltava_client::admin::NewTopic;
use vltava_client::config::AutoOffsetReset;
use vltava_client::producer::ProducerRecord;
use vltava_client::{Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig};
use vltava_console::{Console, ConsoleConfig};

/// A broker and a console.
pub(crate) struct Cluster {
    pub(crate) broker: embedded::Broker,
    pub(crate) console: SocketAddr,
    pub(crate) admin: Admin,
}

/// An answer of a console.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {}{}", self.head, self.body))
    }
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
        let servers = broker.bootstrap_servers().to_owned();
        let config = AdminConfig::builder().bootstrap_servers(&servers).build().unwrap();
        let console = console(ConsoleConfig::new([("bootstrap.servers", servers.as_str())])).await;
        Self { broker, console, admin: Admin::new(config).unwrap() }
    }

    pub(crate) fn servers(&self) -> &str {
        self.broker.bootstrap_servers()
    }

    pub(crate) async fn create(&self, topic: NewTopic) {
        for (_, created) in self.admin.create_topics([topic]).await {
            created.unwrap();
        }
    }

    pub(crate) fn producer(&self) -> Producer {
        let config = ProducerConfig::builder().bootstrap_servers(self.servers()).build().unwrap();
        Producer::new(config).unwrap()
    }

    pub(crate) async fn send(&self, records: impl IntoIterator<Item = ProducerRecord<'_>>) {
        let producer = self.producer();
        let mut sent = Vec::new();
        for record in records {
            sent.push(producer.send(record).await.unwrap());
        }
        producer.flush().await.unwrap();
        for delivery in sent {
            delivery.await.unwrap();
        }
    }

    /// A consumer of a group that has read something of a topic and committed it.
    pub(crate) async fn member(&self, group: &str, protocol: &str, topic: &str) -> Consumer {
        let config = ConsumerConfig::builder()
            .bootstrap_servers(self.servers())
            .group_id(group)
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .set("group.protocol", protocol)
            .set("enable.auto.commit", "false")
            .set("max.poll.records", "2");
        let consumer = Consumer::new(config.build().unwrap()).unwrap();
        consumer.subscribe([topic]).unwrap();
        while consumer.poll(std::time::Duration::from_secs(1)).await.unwrap().is_empty() {}
        consumer.commit_sync().await.unwrap();
        consumer
    }

    pub(crate) async fn ask(&self, path: &str) -> Answer {
        ask(self.console, "GET", path, "").await
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let answer = self.ask(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    /// The problem that an answer tells, with its status.
    pub(crate) async fn problem(&self, path: &str) -> (u16, Value) {
        let answer = self.ask(path).await;
        (answer.status, answer.json()["problem"].clone())
    }
}

/// A console that serves as long as the test runs, at a free port.
pub(crate) async fn console(config: ConsoleConfig) -> SocketAddr {
    let console = Console::bind(config.address(([127, 0, 0, 1], 0).into())).await.unwrap();
    let address = console.local_addr();
    tokio::spawn(console.serve());
    address
}

/// Asks once.
pub(crate) async fn ask(console: SocketAddr, method: &str, path: &str, headers: &str) -> Answer {
    let mut stream = TcpStream::connect(console).await.unwrap();
    let host = if headers.to_lowercase().contains("host:") { String::new() } else { format!("host: {console}\r\n") };
    let request = format!("{method} {path} HTTP/1.1\r\n{host}{headers}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// A stream of events.
pub(crate) struct Events(BufReader<TcpStream>);

impl Events {
    pub(crate) async fn open(console: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(console).await.unwrap();
        let request = format!("GET /api/events HTTP/1.1\r\nhost: {console}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        Self(BufReader::new(stream))
    }

    /// The next event: its name and what it says.
    pub(crate) async fn next(&mut self) -> (String, Value) {
        let mut name = String::new();
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).await.unwrap() > 0, "the events ended");
            if let Some(event) = line.strip_prefix("event: ") {
                event.trim().clone_into(&mut name);
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (name, serde_json::from_str(data).unwrap());
            }
        }
    }
}
