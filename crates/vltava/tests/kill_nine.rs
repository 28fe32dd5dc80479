//! Broker and application, each a process of its own, are killed with SIGKILL at random moments during a word count and
//! started again. No acknowledged line may be lost, and no count may be below the true one.
//!
//! The rule of at least once: what was processed after the last commit is processed again, over stores that may have
//! taken it already. So a word may be counted more often than it was written, and never less often.
//!
//! This file is a program: the test starts itself again as the broker and as the application.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that tells its seed")]

use std::{
    collections::BTreeMap,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use vltava::{
    client::{
        Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicPartition,
        admin::{NewTopic, OffsetSpec},
        config::IsolationLevel,
        producer::ProducerRecord,
    },
    embedded,
    streams::{Grouped, KafkaStreams, Materialized, StreamsBuilder, StreamsConfig},
};

const PARTITIONS: i32 = 2;
const LINES: usize = 6000;
const KILLS: usize = 6;
const APPLICATION: &str = "kill-nine";
const REPARTITION: &str = "kill-nine-words-repartition";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("broker") => broker(&arguments[2], &arguments[3]),
        Some("application") => application(&arguments[2], &arguments[3]),
        // `cargo test -- --list` and filters of other tests.
        Some("--list") => println!("kill_nine: test"),
        Some(filter) if !filter.starts_with('-') && !"kill_nine".contains(filter) => {}
        _ => {
            kill_nine();
            println!(
                "test kill_nine ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out"
            );
        }
    }
}

// ---- the two processes --------------------------------------------------------------------------

fn broker(address: &str, directory: &str) {
    let config = embedded::Config::default().dir(directory).property("listeners", format!("PLAINTEXT://{address}"));
    let _broker = embedded::Broker::start(config).expect("the broker starts");
    park_forever();
}

fn application(address: &str, directory: &str) {
    let builder = StreamsBuilder::new();
    builder
        .stream::<Option<String>, String>("lines")
        .flat_map_values(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .group_by_with(Grouped::named("words"), |_, word| word.clone())
        .count_with(Materialized::named("counts"))
        .to_stream()
        .to("counts");
    let config = StreamsConfig::from_properties([
        ("application.id", APPLICATION),
        ("bootstrap.servers", address),
        ("state.dir", directory),
        ("commit.interval.ms", "50"),
        ("producer.linger.ms", "5"),
        ("repartition.purge.interval.ms", "86400000"),
        ("consumer.session.timeout.ms", "6000"),
    ]);
    let streams = KafkaStreams::new(builder.build().unwrap(), config.unwrap()).expect("the application is made");
    streams.start().expect("the application starts");
    // A failure must show: the parent sees a process that has ended by itself.
    streams.wait_for_state(vltava::streams::State::has_completed_shutdown, Duration::MAX);
    eprintln!("the application ended: {:?}", streams.failure());
    std::process::exit(1);
}

fn park_forever() -> ! {
    loop {
        std::thread::park();
    }
}

/// A process of ours, killed when dropped.
struct Process {
    arguments: Vec<String>,
    child: Child,
}

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let child = spawn(&arguments);
        Process { arguments, child }
    }

    /// SIGKILL, and another one of its kind.
    fn kill_and_restart(&mut self) {
        assert_eq!(self.child.try_wait().unwrap(), None, "{} ended by itself", self.arguments[0]);
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.arguments);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(arguments: &[String]) -> Child {
    let program = std::env::current_exe().unwrap();
    Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}

// ---- the test -----------------------------------------------------------------------------------

fn kill_nine() {
    let seed = std::env::var("KILL_NINE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("seed {seed}: KILL_NINE_SEED={seed} cargo test -p vltava --test kill_nine");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(run(seed));
}

async fn run(seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let mut broker = Process::start(&["broker", &address, path(&folder.path().join("broker"))]);
    wait_until_it_listens(&address).await;
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", &address)]).unwrap()).unwrap();
    for (_, created) in admin.create_topics(["lines", "counts"].map(|t| NewTopic::new(t).partitions(PARTITIONS))).await
    {
        created.unwrap();
    }
    let mut application = Process::start(&["application", &address, path(&folder.path().join("state"))]);

    let produced = tokio::spawn(produce(address.clone(), seed));
    let mut random = Random(seed);
    for round in 0..KILLS {
        // Not a wait for a condition: the moment of the kill is what is random here.
        tokio::time::timeout(Duration::from_millis(100 + random.below(900)), std::future::pending::<()>()).await.ok();
        if round % 2 == 0 {
            application.kill_and_restart();
        } else {
            broker.kill_and_restart();
            wait_until_it_listens(&address).await;
        }
    }
    let acknowledged = produced.await.unwrap();

    wait_until_done(&admin, &mut application).await;
    let lines = read(&address, &admin, "lines").await;
    let values: Vec<String> = lines.into_iter().map(|(_, value)| String::from_utf8(value).unwrap()).collect();
    for line in &acknowledged {
        assert!(values.contains(line), "acknowledged and lost: {line}");
    }
    assert_eq!(values.len(), acknowledged.len(), "the idempotent producer wrote every line once");

    let mut truth: BTreeMap<String, i64> = BTreeMap::new();
    values.iter().flat_map(|line| line.split(' ')).for_each(|word| *truth.entry(word.to_owned()).or_default() += 1);
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for (word, count) in read(&address, &admin, "counts").await {
        counts.insert(String::from_utf8(word).unwrap(), i64::from_be_bytes(count.try_into().unwrap()));
    }
    assert!(counts.keys().eq(truth.keys()), "the words counted are those written");
    let mut again = 0;
    for (word, count) in &counts {
        assert!(truth[word] <= *count, "{word}: counted {count}, written {}", truth[word]);
        again += count - truth[word];
    }
    println!("{} lines acknowledged, {KILLS} kills, {again} words counted again", acknowledged.len());
}

/// Lines of ten words; the answer is those that were acknowledged.
async fn produce(address: String, seed: u64) -> Vec<String> {
    let config = ProducerConfig::from_properties([("bootstrap.servers", address.as_str()), ("linger.ms", "2")]);
    let producer = Producer::new(config.unwrap()).unwrap();
    let mut random = Random(seed ^ 1);
    let mut sent = Vec::new();
    for i in 0..LINES {
        let words = (0..9).map(|_| format!("w{}", random.below(200)));
        let line = words.chain([format!("line{i}")]).collect::<Vec<_>>().join(" ");
        let delivery = producer.send(ProducerRecord::new("lines").value(&line)).await.unwrap();
        sent.push((line, delivery));
        if i % 20 == 0 {
            tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.ok();
        }
    }
    let mut acknowledged = Vec::new();
    for (line, delivery) in sent {
        if delivery.await.is_ok() {
            acknowledged.push(line);
        }
    }
    acknowledged
}

/// Until the group has committed the ends of all that it reads.
async fn wait_until_done(admin: &Admin, application: &mut Process) {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        let done = is_done(admin).await;
        if done == Some(true) {
            return;
        }
        assert_eq!(application.child.try_wait().unwrap(), None, "the application ended by itself");
        assert!(Instant::now() < end, "not done after two minutes");
        tokio::task::yield_now().await;
        tokio::time::timeout(Duration::from_millis(50), std::future::pending::<()>()).await.ok();
    }
}

async fn is_done(admin: &Admin) -> Option<bool> {
    let committed = admin.list_consumer_group_offsets(APPLICATION, None).await.ok()?;
    for topic in ["lines", REPARTITION] {
        for (partition, end) in end_offsets(admin, topic).await? {
            let at = committed.get(&partition).and_then(Option::as_ref).map_or(0, |offset| offset.offset);
            if at < end {
                return Some(false);
            }
        }
    }
    Some(true)
}

async fn end_offsets(admin: &Admin, topic: &str) -> Option<BTreeMap<TopicPartition, i64>> {
    let wanted = (0..PARTITIONS).map(|partition| (TopicPartition::new(topic, partition), OffsetSpec::Latest));
    let ends = admin.list_offsets(wanted, IsolationLevel::ReadUncommitted).await;
    ends.into_iter().map(|(partition, end)| Some((partition, end.ok()?.offset))).collect()
}

/// All records of a topic: key and value.
async fn read(address: &str, admin: &Admin, topic: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let ends = end_offsets(admin, topic).await.unwrap();
    let consumer = Consumer::new(ConsumerConfig::from_properties([("bootstrap.servers", address)]).unwrap()).unwrap();
    consumer.assign(ends.keys().cloned()).unwrap();
    consumer.seek_to_beginning(&[]).unwrap();
    let mut records = Vec::new();
    let mut left = ends;
    while !left.is_empty() {
        for (_, record) in consumer.poll(Duration::from_secs(1)).await.unwrap().iter() {
            records.push((record.key().unwrap_or_default().to_vec(), record.value().unwrap_or_default().to_vec()));
        }
        let mut at = BTreeMap::new();
        for partition in left.keys() {
            at.insert(partition.clone(), consumer.position(partition).await.unwrap());
        }
        left.retain(|partition, end| at[partition] < *end);
    }
    records
}

fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

async fn wait_until_it_listens(address: &str) {
    let end = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < end, "nobody listens on {address}");
        tokio::task::yield_now().await;
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// splitmix64
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}
