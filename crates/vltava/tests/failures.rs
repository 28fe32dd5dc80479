//! What fails in a running application, and what its exception handlers make of it: bytes that cannot be read, code that
//! fails or panics, records that the broker refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use vltava::{
    client::{
        Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicPartition, admin::NewTopic,
        producer::ProducerRecord as ClientRecord,
    },
    embedded,
    streams::{
        Consumed, Context, Error, KafkaStreams, Materialized, Processor, Produced, PunctuationType, Record, Serde,
        SerdeError, State, StateRestoreListener, StreamThreadExceptionResponse, StreamsBuilder, StreamsConfig,
        StreamsConfigBuilder,
        handler::{
            DeadLetter, DeserializationExceptionHandler, ErrorHandlerContext, HandlerResponse,
            ProcessingExceptionHandler, ProductionExceptionHandler, ProductionHandlerResponse,
        },
        serdes::StringSerde,
        task::{ConsumerRecord, ProducerRecord, TimestampExtractor},
    },
};

const PATIENCE: Duration = Duration::from_secs(60);

struct Cluster {
    folder: tempfile::TempDir,
    _broker: embedded::Broker,
    address: String,
    admin: Admin,
}

impl Cluster {
    async fn start(topics: impl IntoIterator<Item = NewTopic>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker =
            embedded::Broker::start(embedded::Config::default().property("auto.create.topics.enable", "false"))
                .unwrap();
        let address = broker.bootstrap_servers().to_owned();
        let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", &address)]).unwrap()).unwrap();
        for (_, created) in admin.create_topics(topics).await {
            created.unwrap();
        }
        Cluster { folder, _broker: broker, address, admin }
    }

    fn config(&self) -> StreamsConfigBuilder {
        StreamsConfig::builder("app")
            .set("bootstrap.servers", &self.address)
            .set("state.dir", self.folder.path().to_str().unwrap())
            .set("commit.interval.ms", "20")
            .set("producer.linger.ms", "0")
    }

    /// Values with their numbers as keys and timestamps.
    async fn send(&self, values: &[&[u8]]) {
        let config = ProducerConfig::from_properties([("bootstrap.servers", &self.address)]).unwrap();
        let producer = Producer::new(config).unwrap();
        for (number, value) in (0..).zip(values) {
            let key = number.to_string();
            let record = ClientRecord::new("in").key(&key).value(value).timestamp(number);
            producer.send(record).await.unwrap().await.unwrap();
        }
    }

    /// The first records of a topic: value, and the headers with their keys.
    async fn read(&self, topic: &str, count: usize) -> Vec<(String, BTreeMap<String, Option<String>>)> {
        let config = ConsumerConfig::from_properties([("bootstrap.servers", &self.address)]).unwrap();
        let consumer = Consumer::new(config).unwrap();
        consumer.assign([TopicPartition::new(topic, 0)]).unwrap();
        consumer.seek_to_beginning(&[]).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (end, mut found) = (Instant::now() + PATIENCE, Vec::new());
        while found.len() < count {
            for (_, record) in consumer.poll(Duration::from_millis(200)).await.unwrap().iter() {
                let headers =
                    record.headers().map(|header| (header.key().into_owned(), header.value().map(text))).collect();
                found.push((text(record.value().unwrap_or_default()), headers));
            }
            assert!(Instant::now() < end, "only {found:?} in {topic}");
        }
        found
    }

    async fn values(&self, topic: &str, count: usize) -> Vec<String> {
        self.read(topic, count).await.into_iter().map(|(value, _)| value).collect()
    }
}

fn start(builder: &StreamsBuilder, config: StreamsConfigBuilder) -> KafkaStreams {
    let streams = KafkaStreams::new(builder.build().unwrap(), config.build().unwrap()).unwrap();
    streams.start().unwrap();
    streams
}

async fn close(streams: KafkaStreams) {
    streams.close_async(PATIENCE).await.unwrap();
    assert!(streams.failure().is_none());
}

async fn failure(streams: KafkaStreams) -> String {
    let failed = tokio::task::spawn_blocking(move || {
        assert!(streams.wait_for_state(|state| state == State::Error, PATIENCE), "{:?}", streams.state());
        streams.failure().unwrap().to_string()
    });
    failed.await.unwrap()
}

/// Unlike Java's, reads UTF-8 only.
struct Utf8;

impl Serde<String> for Utf8 {
    fn serialize(&self, _: &str, data: &String, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(data.as_bytes());
        Ok(())
    }

    fn deserialize(&self, _: &str, bytes: &[u8]) -> Result<String, SerdeError> {
        String::from_utf8(bytes.to_vec()).map_err(SerdeError::new)
    }
}

fn header<'a>(headers: &'a BTreeMap<String, Option<String>>, name: &str) -> Option<&'a str> {
    headers[&format!("__streams.errors.{name}")].as_deref()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_code_and_serdes_fail_on_is_skipped_and_kept() {
    let cluster = Cluster::start(["in", "out", "letters"].map(NewTopic::new)).await;
    let builder = StreamsBuilder::new();
    builder
        .stream_with::<String, String>(Consumed::with(StringSerde, Utf8), "in")
        .try_map_values((), |_, text: String| text.parse::<i64>())
        .map_values(|n| if n == 0 { panic!("nothing to divide by") } else { (60 / n).to_string() })
        .to("out");
    let config = cluster
        .config()
        .set("deserialization.exception.handler", "LogAndContinueExceptionHandler")
        .set("processing.exception.handler", "LogAndContinueProcessingExceptionHandler")
        .set("errors.dead.letter.queue.topic.name", "letters");
    let streams = start(&builder, config);
    cluster.send(&[b"1", b"two", b"0", b"\xff", b"5"]).await;
    assert_eq!(cluster.values("out", 2).await, ["60", "12"]);
    let mut letters = cluster.read("letters", 3).await;
    letters.sort_by_key(|(_, headers)| headers["__streams.errors.offset"].clone());
    let told: Vec<_> = letters
        .iter()
        .map(|(value, headers)| {
            (
                value.as_str(),
                header(headers, "exception").unwrap(),
                header(headers, "message").unwrap(),
                (header(headers, "topic"), header(headers, "partition"), header(headers, "offset")),
            )
        })
        .collect();
    let at = |offset| (Some("in"), Some("0"), Some(offset));
    let serde = "org.apache.kafka.common.errors.SerializationException";
    assert_eq!(told[0], ("two", "ParseIntError", "invalid digit found in string", at("1")));
    assert_eq!(told[1], ("0", "panic", "nothing to divide by", at("2")));
    assert_eq!((told[2].1, told[2].3), (serde, at("3")));
    close(streams).await;
}

#[derive(Clone, Default)]
struct Told {
    errors: Arc<Mutex<Vec<String>>>,
    retries: bool,
}

impl ProductionExceptionHandler for Told {
    fn handle(
        &self,
        context: &ErrorHandlerContext<'_>,
        record: &ProducerRecord<'_>,
        error: &Error,
    ) -> ProductionHandlerResponse {
        let ErrorHandlerContext { task_id, processor_node_id, partition, offset, .. } = context;
        let topic = context.topic.unwrap_or_default();
        let told = format!("{task_id} {processor_node_id} {topic}-{partition}@{offset}: {error}");
        self.errors.lock().unwrap().push(told);
        if self.retries {
            return ProductionHandlerResponse::retry();
        }
        let letter = DeadLetter {
            topic: "letters".to_owned(),
            partition: None,
            timestamp: record.timestamp,
            headers: record.headers.clone(),
            key: None,
            value: record.value.map(|value| value.len().to_string().into()),
        };
        ProductionHandlerResponse::resume().with_dead_letters(vec![letter])
    }
}

fn passing_through() -> StreamsBuilder {
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("in").to("out");
    builder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_refuses_goes_to_the_handler() {
    let small = NewTopic::new("out").config("max.message.bytes", "500");
    let cluster = Cluster::start([NewTopic::new("in"), small, NewTopic::new("letters")]).await;
    let told = Told::default();
    // All of them in one batch: the good ones must not suffer.
    let config = cluster.config().set("producer.linger.ms", "50").production_exception_handler(told.clone());
    let big = [b'x'; 2_000];
    cluster.send(&[b"a", &big, b"b", &big, b"c"]).await;
    let streams = start(&passing_through(), config);
    assert_eq!(cluster.values("out", 3).await, ["a", "b", "c"]);
    assert_eq!(cluster.values("letters", 2).await, ["2000", "2000"]);
    let errors = told.errors.lock().unwrap().clone();
    assert_eq!(errors.len(), 2, "{errors:?}");
    for (error, offset) in errors.iter().zip([1, 3]) {
        let start = format!("0_0 KSTREAM-SINK-0000000001 in-0@{offset}: cannot send to topic out: MESSAGE_TOO_LARGE");
        assert!(error.starts_with(&start), "{error}");
    }
    close(streams).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_producer_refuses_goes_to_the_handler() {
    let cluster = Cluster::start(["in", "out", "letters"].map(NewTopic::new)).await;
    let told = Told::default();
    let config = cluster.config().set("producer.max.request.size", "1000").production_exception_handler(told.clone());
    cluster.send(&[b"a", &[b'x'; 2_000], b"b"]).await;
    let streams = start(&passing_through(), config);
    assert_eq!(cluster.values("out", 2).await, ["a", "b"]);
    assert_eq!(cluster.values("letters", 1).await, ["2000"]);
    let errors = told.errors.lock().unwrap().clone();
    assert!(errors[0].contains("in-0@1") && errors[0].contains("max.request.size"), "{errors:?}");
    close(streams).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_default_stops_with_node_task_and_record_and_keeps_the_record() {
    let small = NewTopic::new("out").config("max.message.bytes", "500");
    let cluster = Cluster::start([NewTopic::new("in"), small, NewTopic::new("letters")]).await;
    let big = "x".repeat(2_000);
    cluster.send(&[b"a", big.as_bytes()]).await;
    let config = cluster.config().set("errors.dead.letter.queue.topic.name", "letters");
    let failure = failure(start(&passing_through(), config)).await;
    let start =
        "task 0_0 failed at KSTREAM-SINK-0000000001 on the record of in-0 at offset 1: cannot send to topic out: ";
    assert!(failure.starts_with(start), "{failure}");
    let (value, headers) = cluster.read("letters", 1).await.remove(0);
    assert_eq!(value, big);
    assert_eq!(header(&headers, "exception"), Some("org.apache.kafka.common.errors.RecordTooLargeException"));
    assert_eq!(header(&headers, "topic"), Some("in"));
    assert_eq!(header(&headers, "offset"), Some("1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_pass_is_tried_again_from_the_last_commit() {
    let cluster = Cluster::start([NewTopic::new("in")]).await;
    let told = Told { retries: true, ..Told::default() };
    let config = cluster.config().set("producer.max.block.ms", "100").production_exception_handler(told.clone());
    cluster.send(&[b"a", b"b", b"c"]).await;
    let streams = start(&passing_through(), config);
    let end = Instant::now() + PATIENCE;
    // The topic is missing, and missing again after the task began anew.
    while told.errors.lock().unwrap().iter().filter(|error| error.contains("in-0@0")).count() < 2 {
        assert!(Instant::now() < end, "{:?}, {:?}", told.errors.lock().unwrap(), streams.failure());
        tokio::task::yield_now().await;
    }
    for (_, created) in cluster.admin.create_topics([NewTopic::new("out")]).await {
        created.unwrap();
    }
    // From the first record on, for nothing was committed; before that there may be the end of an attempt that failed.
    let mut out = Vec::new();
    for count in 3..=5 {
        out = cluster.values("out", count).await;
        if out.ends_with(&["a", "b", "c"].map(str::to_owned)) {
            break;
        }
    }
    assert!(out.ends_with(&["a", "b", "c"].map(str::to_owned)), "{out:?}");
    close(streams).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changelog_that_misses_a_record_stops_the_task() {
    let cluster = Cluster::start(["in", "out"].map(NewTopic::new)).await;
    let builder = StreamsBuilder::new();
    let small = Materialized::named("texts").with_logging_enabled([("max.message.bytes", "500")]);
    let grouped = builder.stream::<String, String>("in").group_by_key();
    grouped.reduce_with(small, |_, newest| newest).to_stream().to("out");
    // Later records of the same changelog do not hide it.
    cluster.send(&[b"a", &[b'x'; 2_000], b"b", b"c"]).await;
    let failure = failure(start(&builder, cluster.config())).await;
    let expected = "task 0_0 failed at the changelog of a store: cannot send to topic app-texts-changelog: ";
    assert!(failure.starts_with(expected), "{failure}");
    assert!(failure.contains("MESSAGE_TOO_LARGE"), "{failure}");
}

/// Panics wherever it is called.
#[derive(Clone, Copy)]
struct Panics;

impl Serde<String> for Panics {
    fn serialize(&self, _: &str, _: &String, _: &mut Vec<u8>) -> Result<(), SerdeError> {
        panic!("at its place")
    }

    fn deserialize(&self, _: &str, _: &[u8]) -> Result<String, SerdeError> {
        panic!("at its place")
    }
}

impl TimestampExtractor<String, String> for Panics {
    fn extract(&self, _: &ConsumerRecord<'_, String, String>, _: i64) -> vltava::streams::Result<i64> {
        panic!("at its place")
    }
}

impl DeserializationExceptionHandler for Panics {
    fn handle(&self, _: &ErrorHandlerContext<'_>, _: &Error) -> HandlerResponse {
        panic!("at its place")
    }
}

impl ProcessingExceptionHandler for Panics {
    fn handle(&self, _: &ErrorHandlerContext<'_>, _: &Error) -> HandlerResponse {
        panic!("at its place")
    }
}

impl ProductionExceptionHandler for Panics {
    fn handle(&self, _: &ErrorHandlerContext<'_>, _: &ProducerRecord<'_>, _: &Error) -> ProductionHandlerResponse {
        panic!("at its place")
    }
}

impl StateRestoreListener for Panics {
    fn on_restore_start(&self, _: &TopicPartition, _: &str, _: i64, _: i64) {
        panic!("at its place")
    }
}

impl Processor for Panics {
    type KIn = String;
    type VIn = String;
    type KOut = String;
    type VOut = String;

    fn init(&mut self, ctx: &mut Context<'_, Self>) -> vltava::streams::Result<()> {
        let wall_clock = PunctuationType::WallClockTime;
        ctx.schedule(Duration::from_millis(1), wall_clock, |_, _, _| panic!("at its place"))?;
        Ok(())
    }

    fn process(&mut self, _: Record<String, String>, _: &mut Context<'_, Self>) -> vltava::streams::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_of_whatever_is_called_ends_in_error_and_tells_the_place() {
    let small = NewTopic::new("small").config("max.message.bytes", "500");
    let cluster = Cluster::start([NewTopic::new("in"), NewTopic::new("out"), small]).await;
    cluster.send(&[b"\xff", &[b'x'; 2_000]]).await;
    let source = "KSTREAM-SOURCE-0000000000";
    let next = "0000000001";
    type Make = fn(&StreamsBuilder);
    let plain: Make = |builder| builder.stream::<String, String>("in").to("small");
    let cases: [(&str, String, Make); 8] = [
        ("reading serde", source.to_owned(), |builder| {
            builder.stream_with::<String, String>(Consumed::with(StringSerde, Panics), "in").to("out");
        }),
        ("writing serde", format!("KSTREAM-SINK-{next}"), |builder| {
            builder.stream::<String, String>("in").to_with(Produced::with(StringSerde, Panics), "out");
        }),
        ("extractor", source.to_owned(), |builder| {
            let panics = Consumed::new().with_timestamp_extractor(Panics);
            builder.stream_with::<String, String>(panics, "in").to("out");
        }),
        ("partitioner", format!("KSTREAM-SINK-{next}"), |builder| {
            let panics = Produced::new().with_stream_partitioner(
                |_: &str, _: Option<&String>, _: Option<&String>, _: i32| -> Option<Vec<i32>> {
                    panic!("at its place")
                },
            );
            builder.stream::<String, String>("in").to_with(panics, "out");
        }),
        ("punctuator", format!("KSTREAM-PROCESSOR-{next}"), |builder| {
            builder.stream::<String, String>("in").process(|| Panics).to("out");
        }),
        ("deserialization handler", source.to_owned(), |builder| {
            builder.stream_with::<String, String>(Consumed::with(StringSerde, Utf8), "in").to("out");
        }),
        ("processing handler", format!("KSTREAM-MAPVALUES-{next}"), |builder| {
            builder.stream::<String, String>("in").try_map_values((), |_, _| Err::<String, _>("no")).to("out");
        }),
        ("production handler", format!("KSTREAM-SINK-{next}"), plain),
    ];
    for (number, (place, node, make)) in cases.into_iter().enumerate() {
        let builder = StreamsBuilder::new();
        make(&builder);
        // Not the group of the one before, which may not have left it.
        let config = StreamsConfig::builder(format!("app-{number}"))
            .set("bootstrap.servers", &cluster.address)
            .set("state.dir", cluster.folder.path().to_str().unwrap())
            .set("producer.linger.ms", "0");
        let config = match place {
            "deserialization handler" => config.deserialization_exception_handler(Panics),
            "processing handler" => config.processing_exception_handler(Panics),
            "production handler" => config.production_exception_handler(Panics),
            _ => config,
        };
        let why = failure(start(&builder, config)).await;
        assert!(why.contains("panicked: at its place"), "{place}: {why}");
        assert!(why.contains(&node), "{place}: {why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_of_a_listener_ends_in_error_and_tells_which() {
    let cluster = Cluster::start(["in", "out"].map(NewTopic::new)).await;
    cluster.send(&[b"a"]).await;
    let counted = || {
        let builder = StreamsBuilder::new();
        builder.stream::<String, String>("in").group_by_key().count().to_stream().to("out");
        KafkaStreams::new(builder.build().unwrap(), cluster.config().build().unwrap()).unwrap()
    };
    for panics_at in [State::Rebalancing, State::Running] {
        let streams = counted();
        streams.set_state_listener(move |state, _| assert!(state != panics_at, "at its place"));
        streams.start().unwrap();
        assert!(streams.wait_for_state_async(|state| state == State::Error, PATIENCE).await, "{}", streams.state());
        let why = streams.failure().unwrap();
        assert!(matches!(&*why, Error::Callback { callback: "the state listener", .. }), "{why:?}");
        assert!(why.to_string().contains("the state listener: application code panicked: "), "{why}");
    }

    // What was counted comes back from the changelog, and the listener is told.
    let streams = counted();
    streams.start().unwrap();
    assert!(streams.wait_until_caught_up_async(PATIENCE).await.unwrap());
    streams.close_async(PATIENCE).await.unwrap();
    streams.clean_up().unwrap();
    drop(streams);
    let streams = counted();
    streams.set_global_state_restore_listener(Panics);
    streams.start().unwrap();
    let why = failure(streams).await;
    assert_eq!(why, "the state restore listener: application code panicked: at its place");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_of_the_uncaught_exception_handler_leaves_the_failure_it_was_asked_about() {
    let cluster = Cluster::start(["in", "out"].map(NewTopic::new)).await;
    cluster.send(&[b"a"]).await;
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("in").map_values(|_| -> String { panic!("the first") }).to("out");
    let streams = KafkaStreams::new(builder.build().unwrap(), cluster.config().build().unwrap()).unwrap();
    streams.set_uncaught_exception_handler(|_| panic!("the second"));
    streams.start().unwrap();
    let why = failure(streams).await;
    assert!(why.contains("KSTREAM-MAPVALUES-0000000001") && why.ends_with("panicked: the first"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_fails_at_once_is_replaced_after_growing_pauses() {
    let cluster = Cluster::start(["in", "out"].map(NewTopic::new)).await;
    cluster.send(&[b"a"]).await;
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("in").map_values(|_| -> String { panic!("again") }).to("out");
    let streams = KafkaStreams::new(builder.build().unwrap(), cluster.config().build().unwrap()).unwrap();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    streams.set_uncaught_exception_handler(move |_| {
        let _ = tell.send(Instant::now());
        StreamThreadExceptionResponse::ReplaceThread
    });
    streams.start().unwrap();
    let mut before = told.recv().await.unwrap();
    for pause in [100, 200, 400] {
        let next = tokio::time::timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
        assert!(next - before >= Duration::from_millis(pause), "{:?} after a failure", next - before);
        before = next;
    }
    // Closing does not wait for the next pause to end.
    streams.close_async(PATIENCE).await.unwrap();
    assert_eq!(streams.state(), State::NotRunning);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_instance_asks_all_of_them_to_close() {
    let cluster = Cluster::start(["in", "out"].map(|topic| NewTopic::new(topic).partitions(2))).await;
    // Who takes over the record before it is asked has no failure of its own.
    static HAS_FAILED: AtomicBool = AtomicBool::new(false);
    let fail_once = |value: String| if HAS_FAILED.swap(true, Ordering::Relaxed) { value } else { panic!("for all") };
    let instance = |name: &str| {
        let builder = StreamsBuilder::new();
        builder.stream::<String, String>("in").map_values(fail_once).to("out");
        let folder = cluster.folder.path().join(name);
        let config = cluster.config().set("state.dir", folder.to_str().unwrap()).build().unwrap();
        let streams = KafkaStreams::new(builder.build().unwrap(), config).unwrap();
        streams.set_uncaught_exception_handler(|_| StreamThreadExceptionResponse::ShutdownApplication);
        streams.start().unwrap();
        streams
    };
    let instances = [instance("one"), instance("other")];
    for streams in &instances {
        assert!(streams.wait_for_state_async(|state| state == State::Running, PATIENCE).await);
    }
    cluster.send(&[b"a"]).await;
    let mut why = Vec::new();
    for streams in instances {
        why.push(failure(streams).await);
    }
    why.sort();
    assert_eq!(why[0], "an instance of the application has asked all of them to close");
    assert!(why[1].ends_with("panicked: for all"), "{why:?}");
}
