//! How long partitions pause while instances come and go: those whose tasks stay where they are, and those whose tasks move.
//!
//! A count with one key for each partition of the input, so that a result tells whose task has written it; and results of a task
//! have a partition of their own, for what a killed producer has left open holds up all behind it. Each partition is given a
//! record every 20 ms; a pause is the time between two results of a partition, as they come to a consumer.
//! Exactly once that is one of what is committed, every 100 ms. Groups of ours and of the JVM's one after the other, on one
//! broker.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::task::JoinHandle;
use vltava::client::{
    Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicPartition, admin::NewTopic,
    config::IsolationLevel, producer::ProducerRecord,
};
use vltava_protocol::record::partition_for_key;

use crate::{
    broker::{Broker, Make},
    mixed::{Application, Frame, Program, spec},
    process::{Process, Spec},
};

const PARTITIONS: i32 = 8;
const PACE: Duration = Duration::from_millis(20);
const LOOK: Duration = Duration::from_millis(100);
/// What does not change for so long is not going to.
const SETTLED: Duration = Duration::from_secs(3);
const LOG_LINES: usize = 20;

/// What is done to a group of two instances and a third.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// Nothing: what the machine and the commits do by themselves.
    Nothing,
    Added,
    Stopped,
    Killed,
    KilledAndRestarted,
}

impl What {
    const ALL: [What; 5] = [What::Nothing, What::Added, What::Stopped, What::Killed, What::KilledAndRestarted];

    fn name(self) -> &'static str {
        match self {
            What::Nothing => "as it was",
            What::Added => "added",
            What::Stopped => "stopped",
            What::Killed => "killed",
            What::KilledAndRestarted => "killed and restarted",
        }
    }
}

/// The longest pause of partitions, and how many there were.
#[derive(Clone, Copy, Debug, Default)]
struct Longest {
    partitions: usize,
    pause: Duration,
}

impl Longest {
    fn take(&mut self, other: Longest) {
        self.partitions += other.partitions;
        self.pause = self.pause.max(other.pause);
    }
}

impl std::fmt::Display for Longest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.partitions {
            0 => f.write_str("none"),
            partitions => write!(f, "{} ms ({partitions})", self.pause.as_millis()),
        }
    }
}

/// Of partitions that stayed where they were, and of those that moved.
#[derive(Clone, Copy, Debug, Default)]
struct Pauses {
    stayed: Longest,
    moved: Longest,
}

/// Programs of one make, for a group of their own.
#[derive(Clone, Debug)]
pub struct Group {
    /// What it is called.
    pub name: String,
    /// Two that are there, and one that comes and goes.
    pub programs: [Program; 3],
}

/// When results have come.
#[derive(Debug, Default)]
struct Arrivals {
    last: BTreeMap<i32, Instant>,
    longest: BTreeMap<i32, Duration>,
}

impl Arrivals {
    fn take(&mut self, partition: i32, now: Instant) {
        if let Some(last) = self.last.insert(partition, now) {
            let longest = self.longest.entry(partition).or_default();
            *longest = now.duration_since(last).max(*longest);
        }
    }

    /// The longest pause since it was begun to look, also one that goes on.
    fn longest(&self, partition: i32, now: Instant) -> Duration {
        let goes_on = self.last.get(&partition).map_or(Duration::ZERO, |last| now.duration_since(*last));
        self.longest.get(&partition).copied().unwrap_or_default().max(goes_on)
    }

    fn have_all_come_since(&self, since: Instant) -> bool {
        (0..PARTITIONS).all(|partition| self.last.get(&partition).is_some_and(|last| *last > since))
    }
}

type Shared = Arc<Mutex<Arrivals>>;

fn with<T>(arrivals: &Shared, look: impl FnOnce(&mut Arrivals) -> T) -> T {
    look(&mut arrivals.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Ends with who waits for it.
struct Background(JoinHandle<Result<()>>);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A key whose results go to the partition of this number.
fn key_of(partition: i32) -> Result<String> {
    let mut keys = (0..1000).map(|number| format!("{partition}-{number}"));
    keys.find(|key| partition_for_key(key.as_bytes(), PARTITIONS) == partition).context("no key for the partition")
}

async fn feed(address: String, topic: String) -> Result<()> {
    let producer = Producer::new(ProducerConfig::from_properties([
        ("bootstrap.servers", address.as_str()),
        ("linger.ms", "0"),
        ("delivery.timeout.ms", "600000"),
    ])?)?;
    let keys: Vec<(i32, String)> =
        (0..PARTITIONS).map(|partition| Ok((partition, key_of(partition)?))).collect::<Result<_>>()?;
    let mut pace = tokio::time::interval(PACE);
    loop {
        pace.tick().await;
        for (partition, key) in &keys {
            let mut record = ProducerRecord::new(&topic);
            record.partition = Some(*partition);
            record.key = Some(key.as_bytes());
            record.value = Some(b"one");
            drop(producer.send(record).await?);
        }
    }
}

async fn watch(address: String, topic: String, isolation: IsolationLevel, arrivals: Shared) -> Result<()> {
    let config = ConsumerConfig::builder().bootstrap_servers(&address).isolation_level(isolation).build()?;
    let consumer = Consumer::new(config)?;
    consumer.assign((0..PARTITIONS).map(|partition| TopicPartition::new(topic.as_str(), partition)))?;
    consumer.seek_to_beginning(&[])?;
    loop {
        let records = match consumer.poll(LOOK).await {
            Ok(records) => records,
            Err(error) if error.is_retriable() => continue,
            Err(error) => return Err(error.into()),
        };
        let now = Instant::now();
        // Markers of transactions move a partition on as well.
        for part in records.partitions().iter().filter(|part| part.iter().next().is_some()) {
            with(&arrivals, |arrivals| arrivals.take(part.topic_partition().partition(), now));
        }
    }
}

/// Runs all, and gives a table of what was seen.
///
/// # Errors
/// Something stood still, or ended by itself.
pub async fn run(frame: &Frame, rounds: usize, make: &Make, groups: &[Group], folder: &Path) -> Result<String> {
    let broker = Broker::start(make, folder, &folder.join("data"), Vec::new())?;
    let mut seen: BTreeMap<(What, usize), Pauses> = BTreeMap::new();
    for (number, group) in groups.iter().enumerate() {
        let mut bench = Bench::start(frame, broker.address(), group, folder).await?;
        for _ in 0..rounds {
            for (what, pauses) in bench.round().await? {
                let known = seen.entry((what, number)).or_default();
                known.stayed.take(pauses.stayed);
                known.moved.take(pauses.moved);
            }
        }
    }
    let mut table = "| an instance is |".to_owned();
    for group in groups {
        write!(table, " {name}: stay | {name}: move |", name = group.name)?;
    }
    writeln!(table, "\n| --- |{}", " --- | --- |".repeat(groups.len()))?;
    for what in What::ALL {
        write!(table, "| {} |", what.name())?;
        for number in 0..groups.len() {
            let Pauses { stayed, moved } = seen.get(&(what, number)).copied().unwrap_or_default();
            write!(table, " {stayed} | {moved} |")?;
        }
        writeln!(table)?;
    }
    Ok(table)
}

struct Bench<'a> {
    frame: &'a Frame,
    admin: Admin,
    application: String,
    instances: Vec<Process>,
    /// The members of the two that are always there.
    first: BTreeSet<String>,
    third: Spec,
    folder: &'a Path,
    arrivals: Shared,
    background: Vec<Background>,
}

impl<'a> Bench<'a> {
    async fn start(frame: &'a Frame, address: &str, group: &Group, folder: &'a Path) -> Result<Self> {
        let admin = Admin::new(AdminConfig::builder().bootstrap_servers(address).build()?)?;
        let [input, output, application] = ["in", "out", "app"].map(|what| format!("pauses-{}-{what}", group.name));
        let topics = [NewTopic::new(&input).partitions(PARTITIONS), NewTopic::new(&output).partitions(PARTITIONS)];
        for (topic, made) in admin.create_topics(topics.map(|topic| topic.replication_factor(1))).await {
            made.with_context(|| format!("making {topic}"))?;
        }
        let arrivals = Shared::default();
        let isolation =
            if frame.exactly_once { IsolationLevel::ReadCommitted } else { IsolationLevel::ReadUncommitted };
        let background = vec![
            Background(tokio::spawn(feed(address.to_owned(), input.clone()))),
            Background(tokio::spawn(watch(address.to_owned(), output.clone(), isolation, arrivals.clone()))),
        ];
        let of = |program| {
            let application = Application { workload: "restore", id: &application, input: &input, output: &output };
            spec(program, &application, address, frame, folder)
        };
        let [one, other, third] = group.programs.each_ref().map(of);
        let instances = vec![Process::start(one, folder)?, Process::start(other, folder)?];
        let first = BTreeSet::new();
        let mut bench = Bench { frame, admin, application, instances, first, third, folder, arrivals, background };
        bench.until_settled(2, &BTreeSet::new()).await?;
        bench.first = bench.owners().await?.into_values().collect();
        Ok(bench)
    }

    /// The third comes and goes in every way.
    async fn round(&mut self) -> Result<Vec<(What, Pauses)>> {
        let mut seen = Vec::new();
        for what in What::ALL {
            if matches!(what, What::Killed | What::KilledAndRestarted) && self.instances.len() < 3 {
                self.add()?;
                self.until_settled(3, &BTreeSet::new()).await?;
            }
            let before = self.owners().await?;
            with(&self.arrivals, |arrivals| arrivals.longest.clear());
            let (owners, gone) = self.happens(what, &before).await?;
            self.until_settled(owners, &gone).await?;
            let (after, now) = (self.owners().await?, Instant::now());
            let mut pauses = Pauses::default();
            for partition in 0..PARTITIONS {
                let pause = with(&self.arrivals, |arrivals| arrivals.longest(partition, now));
                let stays = before.get(&partition) == after.get(&partition);
                let longest = if stays { &mut pauses.stayed } else { &mut pauses.moved };
                longest.take(Longest { partitions: 1, pause });
            }
            seen.push((what, pauses));
        }
        self.instances.pop().context("no third instance")?.terminate(self.frame.patience)?;
        self.until_settled(2, &BTreeSet::new()).await?;
        Ok(seen)
    }

    fn add(&mut self) -> Result<()> {
        self.instances.push(Process::start(self.third.clone(), self.folder)?);
        Ok(())
    }

    /// How many instances there are then, and which members are not any more.
    async fn happens(&mut self, what: What, before: &BTreeMap<i32, String>) -> Result<(usize, BTreeSet<String>)> {
        match what {
            What::Nothing => return Ok((2, BTreeSet::new())),
            What::Added => {
                self.add()?;
                return Ok((3, BTreeSet::new()));
            }
            What::Stopped | What::Killed | What::KilledAndRestarted => {}
        }
        let mut third = self.instances.pop().context("no third instance")?;
        match what {
            What::Stopped => third.terminate(self.frame.patience)?,
            _ => third.kill()?,
        }
        if what != What::KilledAndRestarted {
            return Ok((2, BTreeSet::new()));
        }
        third.start_again()?;
        self.instances.push(third);
        // It comes as another member, and the group keeps the one that was killed for a while.
        Ok((3, before.values().filter(|member| !self.first.contains(*member)).cloned().collect()))
    }

    /// Of every partition the member that has it.
    async fn owners(&self) -> Result<BTreeMap<i32, String>> {
        let mut owners = BTreeMap::new();
        for (_, described) in self.admin.describe_consumer_groups([&self.application]).await {
            let Ok(described) = described else { continue };
            for member in described.members {
                let owned = member.assignment.iter().map(|partition| (partition.partition(), member.member_id.clone()));
                owners.extend(owned);
            }
        }
        Ok(owners)
    }

    /// So many members have the partitions, for some time, none of those that are gone is among them, and results come of each.
    async fn until_settled(&mut self, members: usize, gone: &BTreeSet<String>) -> Result<()> {
        let end = Instant::now() + self.frame.patience;
        let (mut known, mut since) = (BTreeMap::new(), Instant::now());
        loop {
            for instance in &mut self.instances {
                if instance.ended()?.is_some() {
                    bail!("{} has ended:\n{}", instance.name(), instance.tail(LOG_LINES));
                }
            }
            for background in &mut self.background {
                if background.0.is_finished() {
                    (&mut background.0).await??;
                }
            }
            let owners = self.owners().await?;
            if owners != known {
                (known, since) = (owners, Instant::now());
            }
            let distinct: BTreeSet<&String> = known.values().collect();
            let is_whole = known.len() == usize::try_from(PARTITIONS)? && distinct.len() == members;
            let is_without = distinct.iter().all(|member| !gone.contains(*member));
            let have_come = with(&self.arrivals, |arrivals| arrivals.have_all_come_since(since + SETTLED / 2));
            if is_whole && is_without && since.elapsed() >= SETTLED && have_come {
                return Ok(());
            }
            if Instant::now() > end {
                let logs = self.instances.iter().map(|instance| instance.tail(LOG_LINES)).collect::<Vec<_>>();
                bail!("the group does not settle with {members} members: {known:?}\n{}", logs.join("\n"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
