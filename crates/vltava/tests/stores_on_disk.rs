//! Stores on disk that are of no use are restored from their changelogs, and what was counted goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use vltava::{
    client::{Admin, AdminConfig, Producer, ProducerConfig, TopicPartition, admin::NewTopic, producer::ProducerRecord},
    embedded,
    streams::{
        KafkaStreams, Materialized, StateRestoreListener, StreamsBuilder, StreamsConfig, state::KeyValueSupplier,
    },
};

mod waiting;

use waiting::{PATIENCE, await_count};

/// A broker with the topic `in`, and the directory of an application.
struct Ground {
    folder: tempfile::TempDir,
    _broker: embedded::Broker,
    address: String,
    runtime: tokio::runtime::Runtime,
}

impl Ground {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
        let address = broker.bootstrap_servers().to_owned();
        let ground = Ground { folder: tempfile::tempdir().unwrap(), _broker: broker, address, runtime };
        ground.runtime.block_on(async {
            for (_, created) in ground.admin().create_topics([NewTopic::new("in")]).await {
                created.unwrap();
            }
        });
        ground
    }

    fn admin(&self) -> Admin {
        Admin::new(AdminConfig::from_properties([("bootstrap.servers", &self.address)]).unwrap()).unwrap()
    }

    fn send<'a>(&self, keys: impl IntoIterator<Item = &'a str>) {
        self.runtime.block_on(async {
            let config = ProducerConfig::from_properties([("bootstrap.servers", &self.address)]).unwrap();
            let producer = Producer::new(config).unwrap();
            for key in keys {
                drop(producer.send(ProducerRecord::new("in").key(key).value("v")).await.unwrap());
            }
            producer.flush().await.unwrap();
        });
    }

    /// Has the changelog begin at this offset.
    fn delete_changelog_before(&self, offset: i64) {
        self.runtime.block_on(async {
            let changelog = TopicPartition::new("counting-counts-changelog", 0);
            for (_, deleted) in self.admin().delete_records([(changelog, offset)]).await {
                assert_eq!(deleted.unwrap(), offset);
            }
        });
    }

    fn delete_changelog(&self) {
        self.runtime.block_on(async {
            for (_, deleted) in self.admin().delete_topics(["counting-counts-changelog"]).await {
                deleted.unwrap();
            }
        });
    }

    fn task(&self) -> PathBuf {
        self.folder.path().join("counting/0_0")
    }

    /// An application that counts keys in this store, without a cache.
    fn counting(&self, supplier: KeyValueSupplier) -> KafkaStreams {
        let streams = self.application(supplier);
        streams.start().unwrap();
        streams
    }

    fn application(&self, supplier: KeyValueSupplier) -> KafkaStreams {
        let builder = StreamsBuilder::new();
        let counts = Materialized::supplied(supplier)
            .with_caching_disabled()
            .with_logging_enabled([("cleanup.policy", "delete")]);
        builder.stream::<String, String>("in").group_by_key().count_with(counts);
        let config = StreamsConfig::from_properties([
            ("application.id", "counting"),
            ("bootstrap.servers", &self.address),
            ("state.dir", self.folder.path().to_str().unwrap()),
            ("commit.interval.ms", "50"),
        ]);
        let _context = self.runtime.enter();
        KafkaStreams::new(builder.build().unwrap(), config.unwrap()).unwrap()
    }

    /// Waits until the application has committed so many records of `in`.
    fn wait_until_committed(&self, records: i64) {
        let (input, deadline) = (TopicPartition::new("in", 0), Instant::now() + PATIENCE);
        loop {
            let committed = self
                .runtime
                .block_on(async { self.admin().list_consumer_group_offsets("counting", None).await.unwrap() });
            let committed = committed.get(&input).and_then(Option::as_ref).map(|offset| offset.offset);
            if committed == Some(records) {
                return;
            }
            assert!(Instant::now() < deadline, "committed: {committed:?}");
        }
    }

    /// Runs the application until a key has been counted so often.
    fn count(&self, supplier: KeyValueSupplier, key: &str, wanted: i64) {
        let streams = self.counting(supplier);
        await_count(&streams, key, wanted);
        streams.close(PATIENCE).unwrap();
    }
}

fn timestamped() -> KeyValueSupplier {
    KeyValueSupplier::persistent_timestamped("counts")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => assert!(fs::copy(entry.path(), target).is_ok()),
        }
    }
}

/// Changes bytes all over the tables of the store.
fn damage(store: &Path) {
    for table in fs::read_dir(store.join("tables")).unwrap() {
        let table = table.unwrap().path();
        let mut bytes = fs::read(&table).unwrap();
        let half = bytes.len() / 2;
        bytes.iter_mut().take(half).step_by(50).for_each(|byte| *byte ^= 1);
        fs::write(table, bytes).unwrap();
    }
}

#[test]
fn a_store_older_than_the_beginning_of_its_changelog_is_restored_anew() {
    let ground = Ground::new();
    ground.send(["old"; 3]);
    ground.count(timestamped(), "old", 3);
    let stale = ground.folder.path().join("stale");
    copy(&ground.task(), &stale);
    ground.send(["new"; 6]);
    ground.count(timestamped(), "new", 6);
    // The store is as of offset 3 of its changelog, which begins at 6: nobody knows what became of `old` in between.
    fs::remove_dir_all(ground.task()).unwrap();
    copy(&stale, &ground.task());
    ground.delete_changelog_before(6);
    ground.send(["old", "new"]);
    let streams = ground.counting(timestamped());
    await_count(&streams, "new", 7);
    await_count(&streams, "old", 1);
    streams.close(PATIENCE).unwrap();
}

/// How many records were restored.
#[derive(Clone, Default)]
struct Restored(Arc<AtomicU64>);

impl StateRestoreListener for Restored {
    fn on_restore_end(&self, _changelog: &TopicPartition, _store: &str, total_restored: u64) {
        self.0.fetch_add(total_restored, Ordering::Relaxed);
    }
}

#[test]
fn after_a_crash_nothing_is_restored_that_was_committed() {
    let ground = Ground::new();
    ground.send(["k"; 3]);
    let streams = ground.counting(timestamped());
    await_count(&streams, "k", 3);
    ground.wait_until_committed(3);
    // Who is answered now is answered when the commit is over.
    await_count(&streams, "k", 3);
    // What a process leaves that is killed now.
    let left = ground.folder.path().join("left");
    copy(&ground.task(), &left);
    streams.close(PATIENCE).unwrap();
    fs::remove_dir_all(ground.task()).unwrap();
    copy(&left, &ground.task());
    ground.send(["k"]);
    let (streams, restored) = (ground.application(timestamped()), Restored::default());
    streams.set_global_state_restore_listener(restored.clone());
    streams.start().unwrap();
    await_count(&streams, "k", 4);
    assert_eq!(restored.0.load(Ordering::Relaxed), 0);
    streams.close(PATIENCE).unwrap();
}

#[test]
fn a_store_that_another_changelog_of_its_name_filled_is_restored_anew() {
    let ground = Ground::new();
    ground.send(["old"; 3]);
    ground.count(timestamped(), "old", 3);
    let others = ground.folder.path().join("others");
    copy(&ground.task(), &others);
    ground.delete_changelog();
    fs::remove_dir_all(ground.task()).unwrap();
    ground.send(["new"; 6]);
    ground.count(timestamped(), "new", 6);
    // It covers offset 3, which the changelog has; but what is there before it was never written to that one.
    fs::remove_dir_all(ground.task()).unwrap();
    copy(&others, &ground.task());
    ground.send(["old", "new"]);
    let streams = ground.counting(timestamped());
    await_count(&streams, "new", 7);
    await_count(&streams, "old", 1);
    streams.close(PATIENCE).unwrap();
}

#[test]
fn a_store_that_is_damaged_at_work_is_restored_without_anybodys_help() {
    let ground = Ground::new();
    let keys: Vec<String> = (0..2000).map(|number| format!("a key of some length, number {number}")).collect();
    let keys = || keys.iter().map(String::as_str);
    ground.send(keys());
    let last = keys().next_back().unwrap();
    ground.count(timestamped(), last, 1);
    let streams = ground.counting(timestamped());
    await_count(&streams, last, 1);
    damage(&ground.task().join("counts"));
    ground.send(keys());
    await_count(&streams, last, 2);
    // The middle of the table was damaged; at least once, so what was processed again may be counted again.
    ground.send(["done"]);
    await_count(&streams, "done", 1);
    assert!(streams.failure().is_none());
    streams.close(PATIENCE).unwrap();
    assert!(!ground.task().join("counts/damaged").exists(), "it is a new one");
    // And so it is between two lives.
    damage(&ground.task().join("counts"));
    ground.send(["done"]);
    ground.count(timestamped(), "done", 2);
}

#[test]
fn a_store_that_is_opened_in_another_form_than_it_was_written_in_is_restored() {
    let ground = Ground::new();
    ground.send(["k"; 2]);
    ground.count(KeyValueSupplier::persistent("counts"), "k", 2);
    ground.send(["k"]);
    ground.count(timestamped(), "k", 3);
    ground.send(["k"]);
    ground.count(KeyValueSupplier::persistent("counts"), "k", 4);
    ground.send(["k"]);
    ground.count(KeyValueSupplier::persistent_timestamped_with_headers("counts"), "k", 5);
}
