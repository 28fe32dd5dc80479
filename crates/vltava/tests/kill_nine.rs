//! Broker and application, each a process of its own, are killed with SIGKILL at random moments during a word count and
//! started again. No acknowledged line may be lost, and no count may be below the true one.
//!
//! The rule of at least once: what was processed after the last commit is processed again, over stores that may have
//! taken it already. So a word may be counted more often than it was written, and never less often.
//!
//! This file is a program: the test starts itself again as the broker and as the application.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that tells its seed")]

mod processes;

use std::{collections::BTreeMap, time::Duration};

use processes::{
    Process, Random, admin_with_topics, count_words, counts, free_address, path, pause, read, wait_until_done,
    wait_until_it_listens,
};
use vltava::{
    client::{Producer, ProducerConfig, producer::ProducerRecord},
    embedded,
};

const LINES: usize = 6000;
const KILLS: usize = 6;
const APPLICATION: &str = "kill-nine";

fn main() {
    processes::run("kill_nine", &[("broker", broker), ("application", application)], kill_nine);
}

fn broker(arguments: &[String]) {
    let config =
        embedded::Config::default().dir(&arguments[1]).property("listeners", format!("PLAINTEXT://{}", arguments[0]));
    let _broker = embedded::Broker::start(config).expect("the broker starts");
    loop {
        std::thread::park();
    }
}

fn application(arguments: &[String]) {
    let settings = [("commit.interval.ms", "50"), ("consumer.session.timeout.ms", "6000")];
    count_words(APPLICATION, &arguments[0], &arguments[1], &settings);
}

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
    let admin = admin_with_topics(&address).await;
    let mut application = Process::start(&["application", &address, path(&folder.path().join("state"))]);

    let produced = tokio::spawn(produce(address.clone(), seed));
    let mut random = Random(seed);
    for round in 0..KILLS {
        // Not a wait for a condition: the moment of the kill is what is random here.
        pause(100 + random.below(900)).await;
        if round % 2 == 0 {
            application.kill_and_restart();
        } else {
            broker.kill_and_restart();
            wait_until_it_listens(&address).await;
        }
    }
    let acknowledged = produced.await.unwrap();

    wait_until_done(&admin, APPLICATION, Duration::from_secs(120), std::slice::from_mut(&mut application)).await;
    let lines = read(&address, &admin, "lines").await;
    let values: Vec<String> = lines.into_iter().map(|(_, value)| String::from_utf8(value).unwrap()).collect();
    for line in &acknowledged {
        assert!(values.contains(line), "acknowledged and lost: {line}");
    }
    assert_eq!(values.len(), acknowledged.len(), "the idempotent producer wrote every line once");

    let mut truth: BTreeMap<String, i64> = BTreeMap::new();
    values.iter().flat_map(|line| line.split(' ')).for_each(|word| *truth.entry(word.to_owned()).or_default() += 1);
    let counts = counts(&address, &admin).await;
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
            pause(10).await;
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
