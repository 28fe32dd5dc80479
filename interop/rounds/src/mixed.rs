//! One group of instances of the JVM's Kafka Streams and of ours, which run one topology and are killed in turn.
//!
//! The topology is a count of words with a repartition topic, of `interop/peers/streams-jvm`; both programs take the same
//! options. Who leads the group changes with the kills. Exactly once each word's counts must come out as 1, 2, 3 and so on
//! to its number; at least once no count may be less than that in the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use vltava::client::{
    Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicPartition, admin::NewTopic,
    config::IsolationLevel, net::CoordinatorType, producer::ProducerRecord,
};
use vltava_protocol::messages::StreamsGroupDescribeRequest;

use crate::{
    broker::{Broker, Make},
    process::{Process, Spec},
};

const INPUT: &str = "mixed-in";
const OUTPUT: &str = "mixed-out";
const APPLICATION: &str = "mixed";
const PARTITIONS: i32 = 4;
const WORDS: u64 = 50;
const PER_LINE: u64 = 5;
/// A line now and then.
const PACE: Duration = Duration::from_millis(4);
const POLL: Duration = Duration::from_millis(200);
const LOG_LINES: usize = 20;

/// How the group divides its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum GroupProtocol {
    /// The members do.
    Classic,
    /// The coordinator does (KIP-1071).
    Streams,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Frame {
    /// How many kills.
    pub kills: usize,
    /// How many times one is stopped for longer than its session, and goes on.
    pub stops: usize,
    /// Whether the guarantee is `exactly_once_v2`.
    pub exactly_once: bool,
    /// `group.protocol`.
    pub group_protocol: GroupProtocol,
    /// `num.standby.replicas`, of a classic group.
    pub standbys: u32,
    /// How long nothing may move.
    pub patience: Duration,
}

/// How an instance is started; the options follow.
#[derive(Clone, Debug)]
pub struct Program {
    /// What its log is called.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its first arguments.
    pub before: Vec<OsString>,
}

/// What came out.
#[derive(Debug, Default)]
struct Counts {
    /// Of every word, the last count.
    last: BTreeMap<String, i64>,
    /// The first count that did not follow the one before.
    out_of_order: Option<String>,
}

impl Counts {
    fn take(&mut self, word: String, count: i64) {
        let last = self.last.entry(word.clone()).or_default();
        if count != *last + 1 && self.out_of_order.is_none() {
            self.out_of_order = Some(format!("{word}: {count} after {last}"));
        }
        *last = count;
    }

    fn sum(&self) -> i64 {
        self.last.values().sum()
    }
}

fn word(number: u64) -> String {
    format!("w{}", number % WORDS)
}

/// Writes lines until it is told to stop; how many it has written.
async fn feed(address: String, lines: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> Result<()> {
    let config = ProducerConfig::from_properties([
        ("bootstrap.servers", address.as_str()),
        ("linger.ms", "0"),
        ("delivery.timeout.ms", "600000"),
    ])?;
    let producer = Producer::new(config)?;
    while !stop.load(Ordering::Relaxed) {
        let line = lines.load(Ordering::Relaxed);
        let words: Vec<String> = (0..PER_LINE).map(|at| word(line * PER_LINE + at)).collect();
        let text = words.join(" ");
        let partition = i32::try_from(line % u64::try_from(PARTITIONS)?)?;
        let mut record = ProducerRecord::new(INPUT);
        record.partition = Some(partition);
        record.value = Some(text.as_bytes());
        producer.send(record).await?.await?;
        lines.store(line + 1, Ordering::Relaxed);
        tokio::time::sleep(PACE).await;
    }
    Ok(())
}

/// Runs it, and says in a line what was seen.
///
/// # Errors
/// Something stood still, ended by itself, or came out wrong.
pub async fn run(frame: &Frame, make: &Make, programs: &[Program], folder: &Path) -> Result<String> {
    let data = folder.join("data");
    let broker = Broker::start(make, folder, &data, Vec::new())?;
    let address = broker.address().to_owned();
    let admin = Admin::new(AdminConfig::builder().bootstrap_servers(&address).build()?)?;
    let topics = [INPUT, OUTPUT].map(|topic| NewTopic::new(topic).partitions(PARTITIONS).replication_factor(1));
    for (topic, made) in admin.create_topics(topics).await {
        made.with_context(|| format!("making {topic}"))?;
    }
    let (lines, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let feeding = tokio::spawn(feed(address.clone(), lines.clone(), stop.clone()));
    let workload = if frame.exactly_once { "eos-word-count" } else { "word-count" };
    let application = Application { workload, id: APPLICATION, input: INPUT, output: OUTPUT };
    let mut instances = Vec::new();
    for program in programs {
        instances.push(Process::start(spec(program, &application, &address, frame, folder), folder)?);
    }
    let mut watch = Watch::new(&address, frame)?;
    watch.until_shared(&admin, &mut instances).await?;
    for kill in 0..frame.kills {
        let at = kill % instances.len();
        if let Some(instance) = instances.get_mut(at) {
            instance.kill()?;
        }
        // The others take over, also what it held; then it comes back.
        watch.until_moved(&mut instances, Some(at)).await?;
        if let Some(instance) = instances.get_mut(at) {
            instance.start_again()?;
        }
        watch.until_moved(&mut instances, None).await?;
    }
    for stop in 0..frame.stops {
        let at = stop % instances.len();
        if let Some(instance) = instances.get(at) {
            instance.stop()?;
        }
        // Its session ends, and the others take over.
        watch.until_moved(&mut instances, Some(at)).await?;
        if let Some(instance) = instances.get(at) {
            instance.go_on()?;
        }
        watch.until_moved(&mut instances, None).await?;
    }
    watch.until_shared(&admin, &mut instances).await?;
    stop.store(true, Ordering::Relaxed);
    feeding.await??;
    let fed = lines.load(Ordering::Relaxed) * PER_LINE;
    watch.until_all(fed, &mut instances).await?;
    let (instances, kills, stops) = (instances.len(), frame.kills, frame.stops);
    Ok(format!("{fed} words counted in one group of {instances} instances, {kills} kills, {stops} stops"))
}

/// What the instances run, of the workloads that both programs have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Application<'a> {
    pub(crate) workload: &'a str,
    pub(crate) id: &'a str,
    pub(crate) input: &'a str,
    pub(crate) output: &'a str,
}

pub(crate) fn spec(
    program: &Program,
    application: &Application<'_>,
    address: &str,
    frame: &Frame,
    folder: &Path,
) -> Spec {
    let state = folder.join(format!("state-{}", program.name));
    let guarantee = if frame.exactly_once { "exactly_once_v2" } else { "at_least_once" };
    let of_group = match frame.group_protocol {
        GroupProtocol::Classic => {
            format!("session.timeout.ms=4000,heartbeat.interval.ms=500,num.standby.replicas={}", frame.standbys)
        }
        // The rest are settings of the broker. The topology is to be told as the JVM's program tells it.
        GroupProtocol::Streams => "group.protocol=streams,replication.factor=1".to_owned(),
    };
    let settings = format!("producer.transaction.timeout.ms=8000,{of_group}");
    let options = [
        ("workload", application.workload),
        ("bootstrap", address),
        ("application-id", application.id),
        ("input", application.input),
        ("output", application.output),
        ("threads", "1"),
        ("commit-interval-ms", "100"),
        ("cache-bytes", "0"),
        ("guarantee", guarantee),
        ("set", &settings),
    ];
    let mut arguments = program.before.clone();
    arguments.extend(options.into_iter().flat_map(|(name, value)| [format!("--{name}").into(), value.into()]));
    arguments.extend(["--state-dir".into(), state.into()]);
    Spec { name: program.name.clone(), program: program.program.clone(), arguments, environment: Vec::new() }
}

/// The client's side.
struct Watch<'a> {
    consumer: Consumer,
    counts: Counts,
    frame: &'a Frame,
}

impl<'a> Watch<'a> {
    fn new(address: &str, frame: &'a Frame) -> Result<Self> {
        let isolation =
            if frame.exactly_once { IsolationLevel::ReadCommitted } else { IsolationLevel::ReadUncommitted };
        let config = ConsumerConfig::builder().bootstrap_servers(address).isolation_level(isolation).build()?;
        let consumer = Consumer::new(config)?;
        consumer.assign((0..PARTITIONS).map(|partition| TopicPartition::new(OUTPUT, partition)))?;
        consumer.seek_to_beginning(&[])?;
        Ok(Watch { consumer, counts: Counts::default(), frame })
    }

    async fn read(&mut self) -> Result<()> {
        let records = match self.consumer.poll(POLL).await {
            Ok(records) => records,
            Err(error) if error.is_retriable() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for (_, record) in records.iter() {
            let word = String::from_utf8(record.key().context("a count without a word")?.to_vec())?;
            let count: [u8; 8] = record.value().context("a word without a count")?.try_into()?;
            self.counts.take(word, i64::from_be_bytes(count));
        }
        match &self.counts.out_of_order {
            Some(wrong) if self.frame.exactly_once => bail!("counts do not follow each other: {wrong}"),
            _ => Ok(()),
        }
    }

    /// None has ended by itself; `killed` has.
    fn look(instances: &mut [Process], killed: Option<usize>) -> Result<()> {
        for (at, instance) in instances.iter_mut().enumerate() {
            if Some(at) != killed && instance.ended()?.is_some() {
                bail!("{} has ended:\n{}", instance.name(), instance.tail(LOG_LINES));
            }
        }
        Ok(())
    }

    fn stands_still(instances: &[Process], doing: &str) -> anyhow::Error {
        let logs: Vec<_> =
            instances.iter().map(|instance| format!("{}:\n{}", instance.name(), instance.tail(LOG_LINES))).collect();
        anyhow::anyhow!("{doing} takes too long\n{}", logs.join("\n"))
    }

    /// Every word's count has gone on, so that every task works.
    async fn until_moved(&mut self, instances: &mut [Process], killed: Option<usize>) -> Result<()> {
        let before = self.counts.last.clone();
        let end = Instant::now() + self.frame.patience;
        loop {
            self.read().await?;
            Self::look(instances, killed)?;
            let moved = |number| {
                let word = word(number);
                self.counts.last.get(&word) > before.get(&word)
            };
            if (0..WORDS).all(moved) {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(Self::stands_still(instances, "going on with every word"));
            }
        }
    }

    /// Instances of both makes have tasks.
    async fn until_shared(&mut self, admin: &Admin, instances: &mut [Process]) -> Result<()> {
        let end = Instant::now() + self.frame.patience;
        loop {
            self.read().await?;
            Self::look(instances, None)?;
            let owners = match self.frame.group_protocol {
                GroupProtocol::Classic => owners(admin).await?,
                GroupProtocol::Streams => owners_of_tasks(admin).await?,
            };
            if owners.len() == instances.len() {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(Self::stands_still(instances, "sharing the tasks among all"));
            }
        }
    }

    async fn until_all(&mut self, fed: u64, instances: &mut [Process]) -> Result<()> {
        let fed = i64::try_from(fed)?;
        let end = Instant::now() + self.frame.patience;
        while self.counts.sum() < fed {
            self.read().await?;
            Self::look(instances, None)?;
            if Instant::now() > end {
                return Err(Self::stands_still(instances, &format!("counting {} of {fed}", self.counts.sum())));
            }
        }
        // What comes now would be too much.
        for _ in 0..10 {
            self.read().await?;
        }
        if self.frame.exactly_once && self.counts.sum() != fed {
            bail!("{} words were written, and {} are counted", fed, self.counts.sum());
        }
        Ok(())
    }
}

/// The members of a streams group that have active tasks.
async fn owners_of_tasks(admin: &Admin) -> Result<BTreeSet<String>> {
    let coordinator = admin.cluster().coordinator(CoordinatorType::Group, APPLICATION).await?;
    let request = StreamsGroupDescribeRequest { group_ids: vec![APPLICATION.to_owned()], ..Default::default() };
    let described = admin.cluster().send(coordinator.id, &request).await?;
    let members = described.groups.into_iter().flat_map(|group| group.members);
    let with_tasks = members.filter(|member| !member.assignment.active_tasks.is_empty());
    Ok(with_tasks.map(|member| member.member_id).collect())
}

/// The members that have partitions.
async fn owners(admin: &Admin) -> Result<BTreeSet<String>> {
    let mut owners = BTreeSet::new();
    for (_, described) in admin.describe_consumer_groups([APPLICATION]).await {
        let Ok(described) = described else { continue };
        let with_partitions = described.members.into_iter().filter(|member| !member.assignment.is_empty());
        owners.extend(with_partitions.map(|member| member.member_id));
    }
    Ok(owners)
}
