//! A word count whose processes are killed or stopped: the programs, and what a test asks of the broker.
//!
//! A test of this kind is a program that starts itself again as the processes that it needs.
#![allow(dead_code, reason = "each of the programs uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a failure here fails a test")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "programs")]

use std::{
    collections::BTreeMap,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use vltava::{
    client::{
        Admin, AdminConfig, Consumer, ConsumerConfig, TopicPartition,
        admin::{NewTopic, OffsetSpec},
        config::IsolationLevel,
    },
    streams::{Grouped, KafkaStreams, Materialized, State, StreamsBuilder, StreamsConfig},
};

pub(crate) const PARTITIONS: i32 = 2;

/// What one of the processes does, with its arguments.
type Role = fn(&[String]);

/// Runs what the arguments ask for: one of the processes, by its name and further arguments, or the test. Other tests'
/// filters and `cargo test -- --list` are not for it.
pub(crate) fn run(name: &str, roles: &[(&str, Role)], test: impl FnOnce()) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let first = arguments.first().map(String::as_str);
    if let Some((_, role)) = roles.iter().find(|(role, _)| Some(*role) == first) {
        return role(&arguments[1..]);
    }
    match first {
        Some("--list") => println!("{name}: test"),
        Some(filter) if !filter.starts_with('-') && !name.contains(filter) => {}
        _ => {
            test();
            println!(
                "test {name} ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out"
            );
        }
    }
}

/// Counts the words of `lines` into `counts`, until the process ends.
pub(crate) fn count_words(application: &str, address: &str, directory: &str, settings: &[(&str, &str)]) {
    let builder = StreamsBuilder::new();
    builder
        .stream::<Option<String>, String>("lines")
        .flat_map_values(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .group_by_with(Grouped::named("words"), |_, word| word.clone())
        .count_with(Materialized::named("counts"))
        .to_stream()
        .to("counts");
    let own = [
        ("application.id", application),
        ("bootstrap.servers", address),
        ("state.dir", directory),
        ("producer.linger.ms", "5"),
        ("repartition.purge.interval.ms", "86400000"),
    ];
    let config = StreamsConfig::from_properties(own.into_iter().chain(settings.iter().copied()));
    let streams = KafkaStreams::new(builder.build().unwrap(), config.unwrap()).expect("the application is made");
    streams.start().expect("the application starts");
    // A failure must show: the parent sees a process that has ended by itself.
    streams.wait_for_state(State::has_completed_shutdown, Duration::MAX);
    eprintln!("the application ended: {:?}", streams.failure());
    std::process::exit(1);
}

/// This program once more, as one of its processes; killed when dropped.
pub(crate) struct Process {
    arguments: Vec<String>,
    child: Child,
}

impl Process {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let child = spawn(&arguments);
        Process { arguments, child }
    }

    /// SIGKILL, and another one of its kind.
    pub(crate) fn kill_and_restart(&mut self) {
        self.assert_alive();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.arguments);
    }

    pub(crate) fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    pub(crate) fn assert_alive(&mut self) {
        assert_eq!(self.child.try_wait().unwrap(), None, "{} ended by itself", self.arguments[0]);
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

/// Until something is looked at again, or a moment that is as good as any other.
pub(crate) async fn pause(ms: u64) {
    let _ = tokio::time::timeout(Duration::from_millis(ms), std::future::pending::<()>()).await;
}

/// A client of the broker there, where the topics `lines` and `counts` are made.
pub(crate) async fn admin_with_topics(address: &str) -> Admin {
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", address)]).unwrap()).unwrap();
    let topics = ["lines", "counts"].map(|topic| NewTopic::new(topic).partitions(PARTITIONS));
    for (_, created) in admin.create_topics(topics).await {
        created.unwrap();
    }
    admin
}

/// Waits until the application has committed the ends of all that it reads.
pub(crate) async fn wait_until_done(admin: &Admin, application: &str, patience: Duration, processes: &mut [Process]) {
    let end = Instant::now() + patience;
    while is_done(admin, application).await != Some(true) {
        processes.iter_mut().for_each(Process::assert_alive);
        assert!(Instant::now() < end, "not done in time");
        pause(50).await;
    }
}

async fn is_done(admin: &Admin, application: &str) -> Option<bool> {
    let committed = admin.list_consumer_group_offsets(application, None).await.ok()?;
    for topic in ["lines", &format!("{application}-words-repartition")] {
        for (partition, end) in end_offsets(admin, topic, PARTITIONS).await? {
            let at = committed.get(&partition).and_then(Option::as_ref).map_or(0, |offset| offset.offset);
            if at < end {
                return Some(false);
            }
        }
    }
    Some(true)
}

pub(crate) async fn end_offsets(admin: &Admin, topic: &str, partitions: i32) -> Option<BTreeMap<TopicPartition, i64>> {
    let wanted = (0..partitions).map(|partition| (TopicPartition::new(topic, partition), OffsetSpec::Latest));
    let ends = admin.list_offsets(wanted, IsolationLevel::ReadUncommitted).await;
    ends.into_iter().map(|(partition, end)| Some((partition, end.ok()?.offset))).collect()
}

/// The last count of every word.
pub(crate) async fn counts(address: &str, admin: &Admin) -> BTreeMap<String, i64> {
    let records = read(address, admin, "counts").await.into_iter();
    records
        .map(|(word, count)| (String::from_utf8(word).unwrap(), i64::from_be_bytes(count.try_into().unwrap())))
        .collect()
}

/// All records of a topic: key and value.
pub(crate) async fn read(address: &str, admin: &Admin, topic: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    read_as(address, admin, topic, "read_uncommitted").await
}

/// [`read`] without what was aborted; waits for the end of transactions that are open.
pub(crate) async fn read_committed(address: &str, admin: &Admin, topic: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    read_as(address, admin, topic, "read_committed").await
}

async fn read_as(address: &str, admin: &Admin, topic: &str, isolation: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut left = end_offsets(admin, topic, PARTITIONS).await.unwrap();
    let config = ConsumerConfig::from_properties([("bootstrap.servers", address), ("isolation.level", isolation)]);
    let consumer = Consumer::new(config.unwrap()).unwrap();
    consumer.assign(left.keys().cloned()).unwrap();
    consumer.seek_to_beginning(&[]).unwrap();
    let mut records = Vec::new();
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

/// Where a broker may listen.
pub(crate) fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

pub(crate) async fn wait_until_it_listens(address: &str) {
    let end = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < end, "nobody listens on {address}");
        tokio::task::yield_now().await;
    }
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// splitmix64
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}
