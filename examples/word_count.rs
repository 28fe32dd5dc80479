//! Word count, whole: a text file through a broker and a Streams application to a table of the most frequent words.
//!
//! Without options it counts the book in `data/` on a broker that runs in this process, and ends by itself:
//!
//! ```text
//! cargo run --release --example word_count
//! cargo run --release --example word_count -- --bootstrap-server localhost:9092 --input some.txt --counts counts.tsv
//! ```
//!
//! A word is a maximal run of Unicode alphanumeric characters, lower-cased.
#![allow(clippy::print_stdout, reason = "a program for people prints")]

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use indicatif::{ProgressBar, ProgressStyle};
use vltava::{
    client::{
        Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicPartition,
        admin::{NewTopic, OffsetSpec},
        config::IsolationLevel,
        producer::ProducerRecord,
    },
    embedded,
    streams::{KafkaStreams, Materialized, State, StreamsBuilder, StreamsConfig, Topology},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PARTITIONS: i32 = 4;

/// Counts the words of a text with Kafka Streams.
#[derive(Parser)]
struct Options {
    /// A broker to use instead of one in this process.
    #[arg(long)]
    bootstrap_server: Option<String>,
    /// The text, `-` for standard input [default: the book in examples/data].
    #[arg(long)]
    input: Option<PathBuf>,
    /// Keeps running and prints every update.
    #[arg(long)]
    follow: bool,
    /// Also writes every `word<TAB>count`, sorted by word, to this file.
    #[arg(long)]
    counts: Option<PathBuf>,
    /// How many words the table shows.
    #[arg(long, default_value_t = 20)]
    top: usize,
}

/// The application: what a user of Kafka Streams would write.
fn topology(input: &str, output: &str) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    builder
        .stream::<Option<String>, String>(input)
        .flat_map_values(words)
        .group_by(|_, word| word.clone())
        .count_with(Materialized::named("counts"))
        .to_stream()
        .to(output);
    Ok(builder.build()?)
}

fn words(line: String) -> Vec<String> {
    let words = line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::ERROR)
        .with_writer(io::stderr)
        .init();
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let _context = runtime.enter();
    let mut phases = Phases::default();

    let broker = match &options.bootstrap_server {
        Some(_) => None,
        None => Some(phases.time("start the broker", || Ok(embedded::Broker::start(embedded::Config::default())?))?),
    };
    let bootstrap = match (&broker, &options.bootstrap_server) {
        (Some(broker), _) => broker.bootstrap_servers().to_owned(),
        (None, Some(server)) => server.clone(),
        (None, None) => bail!("no broker"),
    };
    let run = Run::new(&bootstrap)?;
    phases.time("create the topics", || runtime.block_on(run.create_topics()))?;
    let lines = read_lines(&options)?;
    phases.time("produce the text", || runtime.block_on(run.produce(lines)))?;

    let streams = phases.time("start the application", || run.start_streams())?;
    if options.follow {
        return runtime.block_on(run.follow(&streams));
    }
    let counts = phases.time("count", || runtime.block_on(run.count(&streams)))?;
    phases.time("close the application", || Ok(streams.close(Duration::from_secs(30))?))?;
    if let Some(path) = &options.counts {
        write_counts(path, &counts)?;
    }
    print_top(&counts, options.top);
    phases.print();
    Ok(())
}

fn read_lines(options: &Options) -> Result<Box<dyn Iterator<Item = io::Result<String>>>> {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/moby-dick.txt");
    let path = options.input.clone().unwrap_or(book);
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin()).lines()));
    }
    let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
    Ok(Box::new(BufReader::new(file).lines()))
}

/// One run of the program: its names differ from those of every other run on the same broker.
struct Run {
    bootstrap: String,
    input: String,
    output: String,
    application_id: String,
    state_dir: PathBuf,
    admin: Admin,
}

impl Run {
    fn new(bootstrap: &str) -> Result<Self> {
        let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
        let name = format!("word-count-{started}-{}", std::process::id());
        Ok(Run {
            input: format!("{name}-lines"),
            output: format!("{name}-counts"),
            state_dir: std::env::temp_dir().join(&name),
            application_id: name,
            admin: Admin::new(AdminConfig::from_properties([("bootstrap.servers", bootstrap)])?)?,
            bootstrap: bootstrap.to_owned(),
        })
    }

    async fn create_topics(&self) -> Result<()> {
        let topics = [&self.input, &self.output].map(|name| NewTopic::new(name).partitions(PARTITIONS));
        for (topic, created) in self.admin.create_topics(topics).await {
            created.with_context(|| format!("creating {topic}"))?;
        }
        Ok(())
    }

    async fn produce(&self, lines: impl Iterator<Item = io::Result<String>>) -> Result<usize> {
        let producer = Producer::new(ProducerConfig::from_properties([
            ("bootstrap.servers", self.bootstrap.as_str()),
            ("compression.type", "lz4"),
        ])?)?;
        let mut deliveries = Vec::new();
        for line in lines {
            deliveries.push(producer.send(ProducerRecord::new(&self.input).value(&line?)).await?);
        }
        producer.flush().await?;
        let produced = deliveries.len();
        for delivery in deliveries {
            delivery.await?;
        }
        Ok(produced)
    }

    fn start_streams(&self) -> Result<KafkaStreams> {
        let config = StreamsConfig::from_properties([
            ("application.id", self.application_id.as_str()),
            ("bootstrap.servers", self.bootstrap.as_str()),
            ("num.stream.threads", "2"),
            ("commit.interval.ms", "100"),
            ("producer.linger.ms", "5"),
            ("state.dir", &self.state_dir.display().to_string()),
        ])?;
        let streams = KafkaStreams::new(topology(&self.input, &self.output)?, config)?;
        streams.start()?;
        streams
            .wait_for_state(|state| state == State::Running || state.has_completed_shutdown(), Duration::from_secs(60));
        self.check(&streams)?;
        Ok(streams)
    }

    fn check(&self, streams: &KafkaStreams) -> Result<()> {
        match streams.failure() {
            Some(why) => bail!("the application failed: {why}"),
            None => Ok(()),
        }
    }

    /// Waits until everything was counted, then reads the counts.
    async fn count(&self, streams: &KafkaStreams) -> Result<BTreeMap<String, i64>> {
        let lines = self.end_offsets(&self.input).await?;
        let total: i64 = lines.values().sum();
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} lines ({elapsed})")?;
        let progress = ProgressBar::new(u64::try_from(total)?).with_style(style);
        while !self.is_done(&lines, &progress).await? {
            self.check(streams)?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        progress.finish_and_clear();
        self.read_counts().await
    }

    /// The application is done when its group has committed the ends of the text and of what it repartitioned.
    async fn is_done(&self, lines: &BTreeMap<TopicPartition, i64>, progress: &ProgressBar) -> Result<bool> {
        let words = self.end_offsets(&format!("{}-counts-repartition", self.application_id)).await?;
        let committed = self.admin.list_consumer_group_offsets(&self.application_id, None).await?;
        let at = |partition: &TopicPartition| committed.get(partition).and_then(Option::as_ref).map_or(0, |o| o.offset);
        progress.set_position(u64::try_from(lines.keys().map(at).sum::<i64>())?);
        // Words are written before their line is committed, so in this order nothing is missed.
        let lines_done = lines.iter().all(|(partition, end)| at(partition) >= *end);
        let ends = if lines_done {
            self.end_offsets(&format!("{}-counts-repartition", self.application_id)).await?
        } else {
            words
        };
        Ok(lines_done && ends.iter().all(|(partition, end)| at(partition) >= *end))
    }

    async fn end_offsets(&self, topic: &str) -> Result<BTreeMap<TopicPartition, i64>> {
        let wanted = (0..PARTITIONS).map(|partition| (TopicPartition::new(topic, partition), OffsetSpec::Latest));
        let ends = self.admin.list_offsets(wanted, IsolationLevel::ReadUncommitted).await;
        ends.into_iter().map(|(partition, end)| Ok((partition, end?.offset))).collect()
    }

    /// The last count of every word in the output topic.
    async fn read_counts(&self) -> Result<BTreeMap<String, i64>> {
        let ends = self.end_offsets(&self.output).await?;
        let consumer = self.consumer()?;
        consumer.assign(ends.keys().cloned())?;
        consumer.seek_to_beginning(&[])?;
        let mut counts = BTreeMap::new();
        let mut left: BTreeMap<_, _> = ends.into_iter().filter(|(_, end)| *end > 0).collect();
        while !left.is_empty() {
            for (_, record) in consumer.poll(Duration::from_secs(1)).await?.iter() {
                let (word, count) = word_and_count(record.key(), record.value())?;
                counts.insert(word, count);
            }
            let mut done = Vec::new();
            for (partition, end) in &left {
                if consumer.position(partition).await? >= *end {
                    done.push(partition.clone());
                }
            }
            left.retain(|partition, _| !done.contains(partition));
        }
        Ok(counts)
    }

    /// Prints updates until the process is stopped, or nobody reads them any more.
    async fn follow(&self, streams: &KafkaStreams) -> Result<()> {
        let consumer = self.consumer()?;
        consumer.assign((0..PARTITIONS).map(|partition| TopicPartition::new(self.output.as_str(), partition)))?;
        consumer.seek_to_beginning(&[])?;
        let mut out = io::stdout().lock();
        loop {
            self.check(streams)?;
            let mut lines = String::new();
            for (_, record) in consumer.poll(Duration::from_secs(1)).await?.iter() {
                let (word, count) = word_and_count(record.key(), record.value())?;
                lines.push_str(&format!("{word}\t{count}\n"));
            }
            match out.write_all(lines.as_bytes()).and_then(|()| out.flush()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                written => written?,
            }
        }
    }

    fn consumer(&self) -> Result<Consumer> {
        Ok(Consumer::new(ConsumerConfig::from_properties([("bootstrap.servers", self.bootstrap.as_str())])?)?)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // The state of a run is of no use to another; if it cannot be removed, it is only temporary anyway.
        let _ = std::fs::remove_dir_all(&self.state_dir);
    }
}

fn word_and_count(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(String, i64)> {
    let word = String::from_utf8(key.context("a count without word")?.to_vec())?;
    let count = value.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()).context("a count is 8 bytes")?;
    Ok((word, i64::from_be_bytes(count)))
}

fn write_counts(path: &Path, counts: &BTreeMap<String, i64>) -> Result<()> {
    let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
    let mut out = BufWriter::new(file);
    for (word, count) in counts {
        writeln!(out, "{word}\t{count}")?;
    }
    Ok(out.flush()?)
}

fn print_top(counts: &BTreeMap<String, i64>, top: usize) {
    let mut ranked: Vec<_> = counts.iter().collect();
    ranked.sort_by_key(|(word, count)| (-**count, *word));
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["rank", "word", "count"]);
    for (rank, (word, count)) in (1..).zip(ranked.into_iter().take(top)) {
        table.add_row([rank.to_string(), word.clone(), count.to_string()]);
    }
    println!("{table}");
    println!("{} words, {} different", counts.values().sum::<i64>(), counts.len());
}

/// How long each part of the run took.
#[derive(Default)]
struct Phases(Vec<(&'static str, Duration)>);

impl Phases {
    fn time<T>(&mut self, name: &'static str, f: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let done = f().with_context(|| format!("could not {name}"))?;
        self.0.push((name, start.elapsed()));
        Ok(done)
    }

    fn print(&self) {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED).set_header(["phase", "ms"]);
        for (name, time) in &self.0 {
            table.add_row([(*name).to_owned(), format!("{:.1}", time.as_secs_f64() * 1000.0)]);
        }
        println!("{table}");
    }
}
