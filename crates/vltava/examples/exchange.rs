//! Our clients over listeners, or a Streams application between them: `exchange client|streams NAME FILE…`, which does what
//! `interop/clients/README.md` asks of a client.
#![allow(clippy::print_stdout, reason = "a program whose output is its result")]

use std::{
    error::Error,
    io::{self, Read},
    path::Path,
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::timeout};
use vltava::{
    client::{
        Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, admin::NewTopic,
        producer::ProducerRecord,
    },
    streams::{KafkaStreams, StreamsBuilder, StreamsConfig},
};
use vltava_config::parse_properties;

type Outcome<T> = Result<T, Box<dyn Error>>;
type Settings = Vec<(String, String)>;

const RECORDS: usize = 100;
const PAUSE: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(kind), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err("usage: exchange client|streams NAME FILE…".into());
    };
    let (end, ended) = watch::channel(false);
    std::thread::spawn(move || {
        let mut input = [0; 64];
        while io::stdin().read(&mut input).is_ok_and(|count| count > 0) {}
        let _ = end.send(true);
    });
    for path in arguments {
        let file = Path::new(&path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let exchange = Exchange {
            settings: parse_properties(&std::fs::read_to_string(&path)?),
            topic: format!("{name}-{file}"),
            file,
            ended: ended.clone(),
        };
        match exchange.run(kind == "streams").await {
            Ok(()) => println!("ok {}", exchange.file),
            Err(error) => println!("failed {}: {error}", exchange.file),
        }
    }
    Ok(())
}

/// Over one listener.
struct Exchange {
    settings: Settings,
    file: String,
    topic: String,
    ended: watch::Receiver<bool>,
}

impl Exchange {
    async fn run(&self, is_application: bool) -> Outcome<()> {
        let out = if is_application { format!("{}-out", self.topic) } else { self.topic.clone() };
        let admin = Admin::new(AdminConfig::from_properties(self.settings.clone())?)?;
        let mut topics = vec![&self.topic, &out];
        topics.dedup();
        for (_, created) in
            admin.create_topics(topics.into_iter().map(|topic| NewTopic::new(topic).partitions(1))).await
        {
            created?;
        }
        let producing = self.with(&[("transactional.id", &self.topic)]);
        let producer = Producer::new(ProducerConfig::from_properties(producing)?)?;
        // A broker may have created a topic and not know it yet, and an application fails without its source.
        producer.partitions_for(&self.topic).await?;
        let directory = tempfile::tempdir()?;
        let application = is_application.then(|| self.application(&out, directory.path())).transpose()?;
        let exchanged = match self.produce(producer).await {
            Ok(sent) => self.consume(&out, sent).await,
            Err(error) => Err(error),
        };
        let Some(application) = application else { return exchanged };
        if let Some(failure) = application.failure() {
            return Err(format!("the application failed: {failure}").into());
        }
        exchanged?;
        Ok(application.close_async(PATIENCE).await?)
    }

    fn with(&self, more: &[(&str, &str)]) -> Settings {
        let more = more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        self.settings.iter().cloned().chain(more).collect()
    }

    /// Copies the topic, exactly once.
    fn application(&self, out: &str, directory: &Path) -> Outcome<KafkaStreams> {
        let builder = StreamsBuilder::new();
        builder.stream::<String, String>(&self.topic).to(out);
        let config = StreamsConfig::from_properties(self.with(&[
            ("application.id", &format!("{}-application", self.topic)),
            ("processing.guarantee", "exactly_once_v2"),
            ("state.dir", &directory.display().to_string()),
        ]))?;
        let application = KafkaStreams::new(builder.build()?, config)?;
        application.start()?;
        Ok(application)
    }

    /// How many records were sent.
    async fn produce(&self, producer: Producer) -> Outcome<usize> {
        producer.init_transactions().await?;
        let mut ended = self.ended.clone();
        let mut sent = 0;
        loop {
            let transaction = producer.begin_transaction().await?;
            for number in sent..sent + RECORDS {
                let value = number.to_string();
                drop(transaction.send(ProducerRecord::new(&self.topic).key(&value).value(&value)).await?);
            }
            transaction.commit().await?;
            if sent == 0 {
                println!("producing {}", self.file);
            }
            sent += RECORDS;
            if timeout(PAUSE, ended.wait_for(|ended| *ended)).await.is_ok() {
                producer.close(PATIENCE).await?;
                return Ok(sent);
            }
        }
    }

    /// All of them come once, in their order.
    async fn consume(&self, topic: &str, sent: usize) -> Outcome<()> {
        let consumer = Consumer::new(ConsumerConfig::from_properties(self.with(&[
            ("group.id", &self.topic),
            ("auto.offset.reset", "earliest"),
            ("isolation.level", "read_committed"),
            ("enable.auto.commit", "false"),
        ]))?)?;
        consumer.subscribe([topic])?;
        let begun = Instant::now();
        let mut seen = 0;
        while seen < sent {
            if begun.elapsed() > PATIENCE {
                return Err(format!("read {seen} of {sent} records").into());
            }
            for (_, record) in consumer.poll(Duration::from_secs(1)).await?.iter() {
                if record.value() != Some(seen.to_string().as_bytes()) {
                    return Err(format!("record {seen} is {:?}", record.value()).into());
                }
                seen += 1;
            }
        }
        consumer.commit_sync().await?;
        consumer.close(PATIENCE).await?;
        Ok(())
    }
}
