//! `kafka-streams-application-reset` as a process, against a broker in this one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use vltava_broker::embedded;
use vltava_client::admin::NewTopic;
use vltava_client::producer::{Producer, ProducerRecord};
use vltava_client::{Admin, AdminConfig, Consumer, ConsumerConfig, OffsetAndMetadata, ProducerConfig, TopicPartition};

const CHANGELOG: &str = "app-counts-changelog";
const REPARTITION: &str = "app-by-repartition";

struct World {
    broker: embedded::Broker,
    admin: Admin,
}

/// `in` with two partitions of ten records, one each second from 1000 s on, internal topics of `app`, and what is none.
async fn world() -> World {
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let bootstrap = broker.bootstrap_servers().to_owned();
    let admin = Admin::new(AdminConfig::builder().bootstrap_servers(&bootstrap).build().unwrap()).unwrap();
    let topics =
        [("in", 2), ("through", 1), (CHANGELOG, 2), (REPARTITION, 1), ("app-out", 1), ("apple-x-changelog", 1)];
    let topics = topics.map(|(name, count)| NewTopic::new(name).partitions(count).config("retention.ms", "-1"));
    for (_, created) in admin.create_topics(topics).await {
        created.unwrap();
    }
    let producer = Producer::new(ProducerConfig::builder().bootstrap_servers(&bootstrap).build().unwrap()).unwrap();
    for (topic, partition) in [("in", 0), ("in", 1), ("through", 0)] {
        for second in 1000..1010 {
            let record = ProducerRecord::new(topic).partition(partition).value("v").timestamp(second * 1000);
            drop(producer.send(record).await.unwrap());
        }
    }
    producer.flush().await.unwrap();
    World { broker, admin }
}

impl World {
    /// What the tool prints on standard output and error, and its exit status.
    async fn tool(&self, line: &str) -> (String, String, i32) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vltava"));
        command.args(["kafka-streams-application-reset", "--bootstrap-server", self.broker.bootstrap_servers()]);
        command.args(line.split_whitespace());
        let out = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(out.stdout), text(out.stderr), out.status.code().unwrap())
    }

    async fn commit(&self, offsets: &[(&str, i32, i64)]) {
        let offsets = offsets.iter().map(|(topic, partition, offset)| {
            (TopicPartition::new(*topic, *partition), OffsetAndMetadata::new(*offset))
        });
        for (_, result) in self.admin.alter_consumer_group_offsets("app", offsets).await {
            result.unwrap();
        }
    }

    async fn committed(&self) -> BTreeMap<String, i64> {
        let committed = self.admin.list_consumer_group_offsets("app", None).await.unwrap();
        committed.into_iter().map(|(partition, offset)| (partition.to_string(), offset.unwrap().offset)).collect()
    }

    async fn topics(&self) -> Vec<String> {
        let topics = self.admin.list_topics().await.unwrap().into_values();
        topics.filter(|topic| !topic.is_internal).map(|topic| topic.name).collect()
    }
}

fn offsets(pairs: &[(&str, i64)]) -> BTreeMap<String, i64> {
    pairs.iter().map(|(partition, offset)| ((*partition).to_owned(), *offset)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_says_what_the_next_run_does() {
    let world = world().await;
    world.commit(&[("in", 0, 7), ("in", 1, 10), ("through", 0, 3)]).await;
    let line = "--application-id app --input-topics in,gone --intermediate-topics through";
    let (dry, _, status) = world.tool(&format!("{line} --dry-run")).await;
    assert_eq!(status, 1, "a topic was not found");
    assert_eq!(world.committed().await, offsets(&[("in-0", 7), ("in-1", 10), ("through-0", 3)]));
    assert_eq!(world.topics().await.len(), 6);
    let (first, rest) = dry.split_once('\n').unwrap();
    assert_eq!(first, "----Dry run displays the actions which will be performed when running Streams Reset Tool----");

    let (done, _, status) = world.tool(line).await;
    assert_eq!((&*done, status), (rest, 1));
    told(
        &done,
        &[
            "WARN: `--intermediate-topics` is deprecated and will be removed in a future release",
            "Reset-offsets for input topics [in, gone]",
            "Seek-to-end for intermediate topics [through]",
            "Following input topics are not found, skipping them",
            "Topic: gone",
            "Following input topics offsets will be reset to (for consumer group app)",
            "Topic: in Partition: 0 Offset: 0",
            "Topic: in Partition: 1 Offset: 0",
            "Following intermediate topics offsets will be reset to end (for consumer group app)",
            "Topic: through",
            "Done.",
        ],
    );
    let deleting = done.lines().find(|line| line.starts_with("Deleting inferred internal topics [")).unwrap();
    assert!(
        deleting.contains(CHANGELOG) && deleting.contains(REPARTITION) && !deleting.contains("apple"),
        "{deleting}"
    );
    assert_eq!(world.committed().await, offsets(&[("in-0", 0), ("in-1", 0), ("through-0", 10)]));
    let mut left = world.topics().await;
    left.sort();
    assert_eq!(left, ["app-out", "apple-x-changelog", "in", "through"]);
}

/// The lines before the last two, in any order of partitions.
fn told(text: &str, expected: &[&str]) {
    let lines: Vec<&str> = text.lines().collect();
    let (head, tail) = lines.split_at(lines.len() - 2);
    let (mut head, mut expected) = (head.to_vec(), expected.to_vec());
    head.sort_unstable();
    expected.sort_unstable();
    assert_eq!(head, expected);
    assert_eq!(tail[1], "Done.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_say_where_to_reset_to() {
    let world = world().await;
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("plan.csv");
    std::fs::write(&plan, "in,0,4\nin,1,40\n").unwrap();
    let plan = format!("--from-file {}", plan.display());
    let cases: [(&str, (i64, i64), &str); 8] = [
        ("", (0, 0), ""),
        ("--to-earliest", (0, 0), ""),
        ("--to-latest", (10, 10), ""),
        ("--to-offset 5", (5, 5), ""),
        ("--to-offset 11", (10, 10), "New offset (11) is higher than latest offset. Value will be set to 10"),
        ("--shift-by -6", (1, 0), "New offset (-4) is lower than earliest offset. Value will be set to 0"),
        ("--to-datetime 1970-01-01T00:16:45.000Z", (5, 5), ""),
        (&plan, (4, 10), "New offset (40) is higher than latest offset. Value will be set to 10"),
    ];
    for (scenario, (first, second), told) in cases {
        world.commit(&[("in", 0, 7), ("in", 1, 2)]).await;
        let (out, err, status) = world.tool(&format!("--application-id app --input-topics in {scenario}")).await;
        assert_eq!(status, 0, "{scenario}: {out}{err}");
        assert_eq!(world.committed().await, offsets(&[("in-0", first), ("in-1", second)]), "{scenario}");
        assert!(out.contains(told), "{scenario}: {out}");
    }
    let (out, _, _) = world.tool("--application-id app --input-topics in --by-duration PT1M").await;
    let empty = "Partition 0 from topic in is empty, without a committed record. Falling back to latest known offset.";
    assert!(out.contains(empty), "{out}");
    assert_eq!(world.committed().await, offsets(&[("in-0", 10), ("in-1", 10)]));
    let (_, err, status) = world.tool("--application-id app --to-latest --to-earliest").await;
    assert!(err.contains("can't be used with option") && status == 1, "{err}");
    let (_, err, status) = world.tool("--input-topics in").await;
    assert!(err.contains("application-id") && status == 1, "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_with_members_is_left_alone_unless_they_are_to_be_removed() {
    let world = world().await;
    let servers = world.broker.bootstrap_servers();
    let config = ConsumerConfig::from_properties([("bootstrap.servers", servers), ("group.id", "app")]).unwrap();
    let consumer = Consumer::new(config).unwrap();
    consumer.subscribe(["in"]).unwrap();
    while consumer.assignment().is_empty() {
        consumer.poll(Duration::from_millis(50)).await.unwrap();
    }
    let (out, err, status) = world.tool("--application-id app").await;
    assert_eq!((&*out, status), ("", 1), "{err}");
    assert!(err.starts_with("ERROR: java.lang.IllegalStateException: Consumer group 'app' is still active"), "{err}");
    assert_eq!(world.topics().await.len(), 6, "nothing was deleted");
    let (out, err, status) = world.tool("--application-id app --force --internal-topics app-out").await;
    assert!(out.starts_with("Force deleting all active members in the group: app\n") && status == 1, "{out}{err}");
    assert!(err.contains("Invalid topic specified in the --internal-topics option."), "{err}");
    let line = format!("--application-id app --force --internal-topics {CHANGELOG}");
    let (out, err, status) = world.tool(&line).await;
    assert_eq!(status, 0, "{err}");
    let lines = "No input or intermediate topics specified. Skipping seek.\nDeleting specified internal topics \
                 [app-counts-changelog]\nDone.\n";
    assert!(out.ends_with(lines), "{out}");
    let left = world.topics().await;
    assert!(left.contains(&REPARTITION.to_owned()) && !left.contains(&CHANGELOG.to_owned()), "{left:?}");
}
