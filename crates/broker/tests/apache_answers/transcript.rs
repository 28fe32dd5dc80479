//! A conversation with a broker, as text in which ids and addresses have names.

use std::fmt::{Debug, Write as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use vltava_broker::{Broker, BrokerConfig};
use vltava_protocol::Uuid;
use vltava_protocol::messages::DeleteTopicsRequest;
use vltava_protocol::messages::delete_topics_request::DeleteTopicState;
use vltava_protocol::wire::Request;

use crate::support::{Client, encode};

/// Settings with which the recorded broker differs from Kafka's defaults.
const SETTINGS: [(&str, &str); 10] = [
    ("node.id", "1"),
    ("auto.create.topics.enable", "false"),
    ("offsets.topic.num.partitions", "8"),
    ("group.min.session.timeout.ms", "1000"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.consumer.assignment.interval.ms", "0"),
    ("group.streams.initial.rebalance.delay.ms", "0"),
    ("group.streams.assignment.interval.ms", "0"),
    ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "100"),
    ("transaction.state.log.num.partitions", "8"),
];

/// The variable that names an Apache Kafka to record from.
const APACHE_KAFKA: &str = "APACHE_KAFKA";

/// The variable that names one with an authorizer.
const APACHE_KAFKA_WITH_ACLS: &str = "APACHE_KAFKA_WITH_ACLS";

/// Settings of that one, beside those of [`SETTINGS`].
const ACLS: [(&str, &str); 3] = [
    ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
    ("allow.everyone.if.no.acl.found", "true"),
    ("auto.create.topics.enable", "true"),
];
/// The same, for conversations on a listener that asks who is there.
const APACHE_KAFKA_WITH_SASL: &str = "APACHE_KAFKA_WITH_SASL";

const PLAINTEXT: (&str, &str) = ("listeners", "PLAINTEXT://127.0.0.1:0");

/// A conversation under way.
pub(crate) struct Session {
    address: String,
    client: Client,
    text: String,
    names: Vec<(String, String)>,
}

impl Session {
    fn new(address: &str) -> Self {
        let port = address.rsplit_once(':').unwrap().1;
        let names = vec![(format!("port: {port},"), "port: <port>,".to_owned())];
        Self { address: address.to_owned(), client: Client::connect_to(address), text: String::new(), names }
    }

    /// Says something about what comes.
    pub(crate) fn about(&mut self, text: &str) {
        writeln!(self.text, "\n== {text}").unwrap();
    }

    /// Where the broker is.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A line of its own.
    pub(crate) fn line(&mut self, text: &str) {
        writeln!(self.text, "{text}").unwrap();
    }

    /// A request and its answer.
    pub(crate) fn call<R>(&mut self, what: &str, version: i16, request: &R) -> R::Response
    where
        R: Request<Response: Debug>,
    {
        self.call_then(what, version, request, |_| {})
    }

    /// As [`Self::call`], for an answer whose order or parts are of no meaning.
    pub(crate) fn call_then<R>(
        &mut self,
        what: &str,
        version: i16,
        request: &R,
        tidy: impl FnOnce(&mut R::Response),
    ) -> R::Response
    where
        R: Request<Response: Debug>,
    {
        self.client.send(version, request);
        let Some(mut response) = self.client.receive_if_open::<R>(version) else {
            writeln!(self.text, "-- {what} (v{version})\nthe connection is closed").unwrap();
            self.client = Client::connect_to(&self.address);
            return R::Response::default();
        };
        tidy(&mut response);
        writeln!(self.text, "-- {what} (v{version})\n{response:#?}").unwrap();
        response
    }

    /// A request whose answer is of no interest.
    pub(crate) fn quietly<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.client.call(version, request)
    }

    /// Asks until the answer is as wanted.
    pub(crate) fn until<R: Request>(
        &mut self,
        version: i16,
        request: &R,
        wanted: impl Fn(&R::Response) -> bool,
    ) -> R::Response
    where
        R::Response: Debug,
    {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            let response = self.client.call(version, request);
            if wanted(&response) {
                return response;
            }
            assert!(std::time::Instant::now() < deadline, "never came: {response:?}");
            std::thread::yield_now();
        }
    }

    /// A request on a connection of its own, with another api key or version in its header; tells whether there was an
    /// answer.
    pub(crate) fn raw<R: Request>(&mut self, what: &str, request: &R, api: i16, version: i16) {
        let mut bytes = encode(1, R::MAX_VERSION, request);
        bytes[4..6].copy_from_slice(&api.to_be_bytes());
        bytes[6..8].copy_from_slice(&version.to_be_bytes());
        let mut client = Client::connect_to(&self.address);
        client.stream.write_all(&bytes).unwrap();
        let end = if client.receive_frame().is_some() { "an answer" } else { "the connection is closed" };
        writeln!(self.text, "-- {what}: {end}").unwrap();
    }

    /// Goes on with a connection of its own.
    pub(crate) fn reconnect(&mut self, what: &str) {
        writeln!(self.text, "-- {what}: a new connection").unwrap();
        self.client = Client::connect_to(&self.address);
    }

    /// The same without a word.
    pub(crate) fn reconnect_quietly(&mut self) {
        self.client = Client::connect_to(&self.address);
    }

    /// Bytes as a frame, and those of the answer's frame.
    pub(crate) fn frame(&mut self, what: &str, bytes: &[u8]) -> Option<bytes::Bytes> {
        let mut frame = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
        frame.extend_from_slice(bytes);
        self.client.stream.write_all(&frame).unwrap();
        let answer = self.client.receive_frame();
        let told = answer.as_ref().map_or("the connection is closed".to_owned(), |answer| format!("{answer:?}"));
        writeln!(self.text, "-- {what}: {told}").unwrap();
        answer
    }

    /// Gives a value a name in the transcript.
    pub(crate) fn name(&mut self, name: &str, value: impl ToString) {
        let value = value.to_string();
        assert!(!value.is_empty(), "{name} is empty");
        self.names.push((value, format!("<{name}>")));
    }

    pub(crate) fn create(&mut self, topic: &str, partitions: i32) -> Uuid {
        // A broker to record from may have it of an earlier run.
        let state = DeleteTopicState { name: Some(topic.to_owned()), ..Default::default() };
        let request = DeleteTopicsRequest { topics: vec![state], timeout_ms: 10_000, ..Default::default() };
        self.client.call(6, &request);
        let id = self.client.create_topic(topic, partitions, &[]);
        self.name(&format!("id of {topic}"), id);
        id
    }

    fn into_text(self) -> String {
        let text = self.names.iter().fold(self.text, |text, (value, name)| text.replace(value, name));
        let mut lines = text.lines();
        let mut tidy = String::new();
        while let Some(line) = lines.next() {
            if line.contains("unknown_tagged_fields") {
                // What every message has, empty, in three lines.
                lines.nth(1);
            } else if !line.contains("throttle_time_ms") {
                tidy.push_str(line);
                tidy.push('\n');
            }
        }
        tidy
    }
}

/// Holds a conversation with this broker against the recorded one.
pub(crate) fn check(case: &str, talk: fn(&mut Session)) {
    check_with(case, APACHE_KAFKA, &[PLAINTEXT], talk);
}

/// As [`check`], where access is controlled.
pub(crate) fn check_access(case: &str, talk: fn(&mut Session)) {
    check_with(case, APACHE_KAFKA_WITH_ACLS, &[&[PLAINTEXT], &ACLS[..]].concat(), talk);
}

/// The same on a listener that asks who is there.
pub(crate) fn check_with_sasl(case: &str, talk: fn(&mut Session)) {
    let jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required user_admin=\"admin-secret\" \
                user_alice=\"alice-secret\";";
    let settings = [
        ("listeners", "SASL_PLAINTEXT://127.0.0.1:0"),
        ("security.inter.broker.protocol", "SASL_PLAINTEXT"),
        ("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"),
        ("listener.name.sasl_plaintext.plain.sasl.jaas.config", jaas),
        ("connections.max.reauth.ms", "3600000"),
    ];
    check_with(case, APACHE_KAFKA_WITH_SASL, &settings, talk);
}

fn check_with(case: &str, variable: &str, settings: &[(&str, &str)], talk: fn(&mut Session)) {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/apache_answers/recorded/{case}.txt"));
    if let Ok(address) = std::env::var(variable) {
        std::fs::write(&recorded, transcript(&address, talk)).unwrap();
    }
    // Not an embedded one, whose defaults are others.
    let dir = tempfile::tempdir().unwrap();
    let own = settings.iter().copied().chain([("log.dirs", dir.path().to_str().unwrap())]);
    let broker = Broker::start(BrokerConfig::from_properties(own.chain(SETTINGS)).unwrap()).unwrap();
    let ours = transcript(broker.bootstrap_servers(), talk);
    let apache = std::fs::read_to_string(&recorded).unwrap_or_default();
    if ours != apache {
        let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{case}.txt"));
        std::fs::write(&kept, &ours).unwrap();
        panic!(
            "other answers than Apache Kafka's, see `diff {} {}`; the first difference:\n{}",
            recorded.display(),
            kept.display(),
            first_difference(&apache, &ours)
        );
    }
}

fn transcript(address: &str, talk: fn(&mut Session)) -> String {
    let mut session = Session::new(address);
    talk(&mut session);
    session.into_text()
}

fn first_difference(expected: &str, actual: &str) -> String {
    let same = expected.lines().zip(actual.lines()).take_while(|(one, other)| one == other).count();
    let label = expected.lines().take(same + 1).filter(|line| line.starts_with("-- ")).last().unwrap_or_default();
    let from = |text: &str| text.lines().skip(same).take(3).collect::<Vec<_>>().join("\n");
    format!("{label}\nApache:\n{}\nhere:\n{}", from(expected), from(actual))
}
