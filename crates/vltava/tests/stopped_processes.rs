//! Two instances of an application, each a process of its own, are stopped in turn (SIGSTOP, as a paused container is) until
//! the group has given their tasks to the other one, and then go on. None of them may end by itself, and no count may be
//! below the true one when each word has come once more: a process that goes on must not write old values behind the new
//! ones, wherever in its work it was stopped.
//!
//! This file is a program: the test starts itself again as the application.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

mod processes;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use processes::{Process, admin_with_topics, count_words, counts, pause};
use vltava::{
    client::{Admin, Producer, ProducerConfig, producer::ProducerRecord},
    embedded,
};

const ROUNDS: usize = 4;
const LINES: usize = 300;
const APPLICATION: &str = "stopped";
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    processes::run("stopped_processes", &[("application", application)], || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(stopped_processes());
    });
}

fn application(arguments: &[String]) {
    let settings = [
        // A thread that is stopped has something to flush when it goes on.
        ("commit.interval.ms", "200"),
        ("consumer.session.timeout.ms", "3000"),
        ("consumer.heartbeat.interval.ms", "100"),
    ];
    count_words(APPLICATION, &arguments[0], &arguments[1], &settings);
}

async fn stopped_processes() {
    let folder = tempfile::tempdir().unwrap();
    let config = embedded::Config::default()
        .property("group.min.session.timeout.ms", "100")
        .property("group.initial.rebalance.delay.ms", "0");
    let broker = embedded::Broker::start(config).unwrap();
    let address = broker.bootstrap_servers();
    let admin = admin_with_topics(address).await;
    let mut instances = ["a", "b"].map(|name| {
        let directory = folder.path().join(name);
        Process::start(&["application", address, directory.to_str().unwrap()])
    });
    wait_for_members(&admin, 2, &mut instances).await;
    let mut truth: BTreeMap<String, i64> = BTreeMap::new();
    for round in 0..ROUNDS {
        let producing = tokio::spawn(produce(address.to_owned(), round));
        // In the midst of its work.
        pause(150).await;
        let stopped = round % 2;
        instances[stopped].signal("-STOP");
        wait_for_members(&admin, 1, &mut instances).await;
        for word in producing.await.unwrap() {
            *truth.entry(word).or_default() += 1;
        }
        wait_until_done(&admin, &mut instances).await;
        instances[stopped].signal("-CONT");
        wait_for_members(&admin, 2, &mut instances).await;
    }
    wait_until_done(&admin, &mut instances).await;
    let words: Vec<String> = truth.keys().cloned().collect();
    send(address, &[words.join(" ")]).await;
    wait_until_done(&admin, &mut instances).await;
    let counts = counts(address, &admin).await;
    assert!(counts.keys().eq(truth.keys()), "the words counted are those written");
    for (word, count) in counts {
        let truth = truth[&word] + 1;
        assert!(truth <= count, "{word}: counted {count}, written {truth}");
    }
}

async fn wait_until_done(admin: &Admin, instances: &mut [Process]) {
    processes::wait_until_done(admin, APPLICATION, PATIENCE, instances).await;
}

/// Lines of words; the answer is all words.
async fn produce(address: String, round: usize) -> Vec<String> {
    let word = |line: usize, i: usize| format!("w{}", (line * 31 + i * 7 + round * 13) % 97);
    let lines: Vec<Vec<String>> = (0..LINES).map(|line| (0..5).map(|i| word(line, i)).collect()).collect();
    send(&address, &lines.iter().map(|line| line.join(" ")).collect::<Vec<_>>()).await;
    lines.concat()
}

async fn send(address: &str, lines: &[String]) {
    let config = ProducerConfig::from_properties([("bootstrap.servers", address), ("linger.ms", "2")]);
    let producer = Producer::new(config.unwrap()).unwrap();
    for line in lines {
        producer.send(ProducerRecord::new("lines").value(line)).await.unwrap().await.unwrap();
    }
}

async fn wait_for_members(admin: &Admin, count: usize, instances: &mut [Process]) {
    let end = Instant::now() + PATIENCE;
    loop {
        let groups = admin.describe_consumer_groups([APPLICATION]).await;
        let members = groups.into_values().next().and_then(Result::ok).map_or(0, |group| group.members.len());
        if members == count {
            return;
        }
        instances.iter_mut().for_each(Process::assert_alive);
        assert!(Instant::now() < end, "{members} members instead of {count}");
        pause(20).await;
    }
}
