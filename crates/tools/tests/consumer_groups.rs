//! `kafka-consumer-groups` as a process, against a broker in this one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::process::Command;

use vltava_broker::embedded;
use vltava_client::admin::NewTopic;
use vltava_client::producer::{Producer, ProducerRecord};
use vltava_client::{Admin, AdminConfig, OffsetAndMetadata, ProducerConfig, TopicPartition};
use vltava_protocol::messages::ConsumerGroupHeartbeatRequest;

/// Topics `a` of two partitions, `b` of one, with ten records in each partition: one each second from 1000 s on.
async fn world() -> (embedded::Broker, Admin) {
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let bootstrap = broker.bootstrap_servers().to_owned();
    let admin = Admin::new(AdminConfig::builder().bootstrap_servers(&bootstrap).build().unwrap()).unwrap();
    for (_, created) in admin
        .create_topics([("a", 2), ("b", 1)].map(|(name, count)| {
            // The records are older than any retention.
            NewTopic::new(name).partitions(count).config("retention.ms", "-1")
        }))
        .await
    {
        created.unwrap();
    }
    let producer = Producer::new(ProducerConfig::builder().bootstrap_servers(&bootstrap).build().unwrap()).unwrap();
    for (topic, partition) in [("a", 0), ("a", 1), ("b", 0)] {
        for second in 1000..1010 {
            let record = ProducerRecord::new(topic).partition(partition).value("v").timestamp(second * 1000);
            drop(producer.send(record).await.unwrap());
        }
    }
    producer.flush().await.unwrap();
    (broker, admin)
}

async fn commit(admin: &Admin, group: &str, offsets: &[(&str, i32, i64)]) {
    let offsets = offsets
        .iter()
        .map(|(topic, partition, offset)| (TopicPartition::new(*topic, *partition), OffsetAndMetadata::new(*offset)));
    for (_, result) in admin.alter_consumer_group_offsets(group, offsets).await {
        result.unwrap();
    }
}

/// What the tool prints and its exit status.
async fn tool(broker: &embedded::Broker, line: &str) -> (String, i32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vltava"));
    command.args(["kafka-consumer-groups", "--bootstrap-server", broker.bootstrap_servers()]);
    command.args(line.split_whitespace());
    let out = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (String::from_utf8(out.stdout).unwrap(), out.status.code().unwrap())
}

/// The words of each line of a table, sorted, without its header.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut rows: Vec<_> =
        lines.filter(|words| !words.is_empty() && words[0] != "GROUP" && words[0] != "TOPIC").collect();
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_finds_its_offsets() {
    let (broker, admin) = world().await;
    commit(&admin, "g", &[("a", 0, 4), ("a", 1, 7)]).await;
    let cases = [
        ("--all-topics --to-earliest", ["0", "0"]),
        ("--all-topics --to-latest", ["10", "10"]),
        ("--all-topics --to-current", ["4", "7"]),
        ("--all-topics --to-offset 6", ["6", "6"]),
        ("--topic a:0,1 --to-offset 11", ["10", "10"]),
        ("--topic a --shift-by -5", ["0", "2"]),
        ("--topic a --shift-by 100", ["10", "10"]),
        ("--topic a --to-datetime 1970-01-01T00:16:43.000", ["3", "3"]),
        ("--topic a --to-datetime 1970-01-01T01:16:43.001+01:00", ["4", "4"]),
    ];
    for (scenario, [first, second]) in cases {
        let (out, status) = tool(&broker, &format!("--reset-offsets --group g --dry-run {scenario}")).await;
        assert_eq!(status, 0, "{scenario}: {out}");
        assert_eq!(rows(&out), [["g", "a", "0", first], ["g", "a", "1", second]], "{scenario}");
    }
    let (out, _) = tool(&broker, "--reset-offsets --group g --dry-run --topic b --by-duration P1D").await;
    assert!(
        out.starts_with("\nWarn: Partition 0 from topic b is empty. Falling back to latest known offset.\n"),
        "{out}"
    );
    assert!(rows(&out).contains(&vec!["g", "b", "0", "10"]), "{out}");
    // Nothing of that was carried out.
    let (out, _) = tool(&broker, "--describe --group g").await;
    assert_eq!(rows(&out)[0], ["g", "a", "0", "4", "10", "6", "-", "-", "-"]);
    let (out, _) = tool(&broker, "--reset-offsets --group g --execute --topic a:1 --to-earliest").await;
    assert_eq!(rows(&out), [["g", "a", "1", "0"]]);
    let (out, _) = tool(&broker, "--describe --group g --offsets --verbose").await;
    assert_eq!(rows(&out)[1], ["g", "a", "1", "-", "0", "10", "10", "-", "-", "-"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_carries_offsets_over() {
    let (broker, admin) = world().await;
    commit(&admin, "g", &[("a", 0, 4), ("b", 0, 7)]).await;
    commit(&admin, "h", &[("b", 0, 2)]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("offsets.csv");
    let path = file.to_str().unwrap();
    let (out, _) = tool(&broker, "--reset-offsets --all-groups --all-topics --to-current --dry-run --export").await;
    assert_eq!(out, "g,a,0,4\ng,b,0,7\nh,b,0,2\n\n");
    std::fs::write(&file, out.trim_end()).unwrap();
    commit(&admin, "g", &[("a", 0, 0), ("b", 0, 0)]).await;
    let (out, _) = tool(&broker, &format!("--reset-offsets --group g --group h --from-file {path} --execute")).await;
    assert_eq!(rows(&out), [["g", "a", "0", "4"], ["g", "b", "0", "7"], ["h", "b", "0", "2"]]);
    let committed = admin.list_consumer_group_offsets("g", None).await.unwrap();
    let offsets: Vec<i64> = committed.into_values().map(|offset| offset.unwrap().offset).collect();
    assert_eq!(offsets, [4, 7]);
    let (out, _) = tool(&broker, "--reset-offsets --group g --topic a:0 --to-offset 3 --dry-run --export").await;
    assert_eq!(out, "a,0,3\n\n");
    std::fs::write(&file, "x,a,0,3").unwrap();
    let (out, _) = tool(&broker, &format!("--reset-offsets --group g --from-file {path} --dry-run")).await;
    assert!(out.starts_with("\nError: No reset plan for group g found\n"), "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_reset_is_told() {
    let (broker, admin) = world().await;
    commit(&admin, "g", &[("a", 0, 4)]).await;
    let failed = |why: &str| format!("\nError: Executing consumer group command failed due to {why}\n");
    let unknown = "This server does not host this topic-partition.";
    let cases = [
        ("--topic a:7 --to-earliest", failed("The partitions \"a-7\" do not exist")),
        ("--topic nosuch --to-earliest", failed(unknown)),
        (
            "--topic nosuch:0 --to-earliest",
            failed(&format!(
                "java.util.concurrent.ExecutionException: \
                 org.apache.kafka.common.errors.UnknownTopicOrPartitionException: {unknown}"
            )),
        ),
        ("--topic a --by-duration 5m", failed("Text cannot be parsed to a Duration")),
        (
            "--topic a --to-datetime yesterday",
            failed(
                "java.text.ParseException: Error parsing timestamp. It does not contain a 'T' according to ISO8601 format",
            ),
        ),
        ("--from-file /no/such/file", failed("java.io.IOException: Unable to read file /no/such/file")),
    ];
    for (scenario, expected) in cases {
        let got = tool(&broker, &format!("--reset-offsets --group g --dry-run {scenario}")).await;
        assert_eq!(got, (expected, 0), "{scenario}");
    }
    for scenario in ["--topic a --shift-by 1", "--to-earliest", "--topic a", "--topic a:x --to-earliest"] {
        let got = tool(&broker, &format!("--reset-offsets --group g --dry-run {scenario}")).await;
        assert_eq!(got, (String::new(), 1), "{scenario}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_are_deleted() {
    let (broker, admin) = world().await;
    commit(&admin, "g", &[("a", 0, 4), ("a", 1, 7), ("b", 0, 1)]).await;
    let (out, _) = tool(&broker, "--delete-offsets --group g --topic a:1 --topic b --topic nosuch").await;
    assert!(out.starts_with("Request succeeded for deleting offsets from group g.\n"), "{out}");
    let rows = rows(out.split_once('\n').unwrap().1);
    assert_eq!(rows[..2], [["a", "1", "Successful"], ["b", "0", "Successful"]]);
    assert_eq!(rows[2][..3], ["nosuch", "-", "Error:"]);
    let committed = admin.list_consumer_group_offsets("g", None).await.unwrap();
    assert_eq!(committed.into_keys().collect::<Vec<_>>(), [TopicPartition::new("a", 0)]);
    let (out, status) = tool(&broker, "--delete-offsets --group none --topic a:0").await;
    assert!(out.starts_with("\nError: The group id does not exist.\n"), "{out}");
    assert_eq!(status, 0);
    let (out, _) = tool(&broker, "--delete --group g").await;
    assert_eq!(out, "Deletion of requested consumer groups ('g') was successful.\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_the_consumer_protocol_is_described() {
    let (broker, admin) = world().await;
    let node = admin.cluster().refresh().await.unwrap().brokers.keys().copied().next().unwrap();
    let mut join = ConsumerGroupHeartbeatRequest {
        group_id: "new".to_owned(),
        member_id: "member-of-the-new-group".to_owned(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec!["a".to_owned()]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    // Asking for a coordinator makes that there is one.
    admin.list_consumer_group_offsets("new", None).await.unwrap();
    let joined = admin.cluster().send(node, &join).await.unwrap();
    assert_eq!(joined.error_code, 0, "{:?}", joined.error_message);
    let (out, _) = tool(&broker, "--list --state --type").await;
    assert_eq!(rows(&out), [["new", "Consumer", "Stable"]]);
    assert_eq!(tool(&broker, "--list --type classic").await.0.lines().count(), 1);
    let (out, _) = tool(&broker, "--describe --group new --members --verbose").await;
    let [row] = &rows(&out)[..] else { panic!("{out}") };
    let epoch = joined.member_epoch.to_string();
    assert_eq!(row[..2], ["new", "member-of-the-new-group"]);
    assert_eq!(row[4..], ["2", &epoch, "a:0,1", &epoch, "a:0,1"]);
    let (out, _) = tool(&broker, "--describe --group new --state --verbose").await;
    let [row] = &rows(&out)[..] else { panic!("{out}") };
    assert_eq!(row[3..], ["uniform", "Stable", &epoch, &epoch, "1"]);
    let (out, _) = tool(&broker, "--reset-offsets --group new --all-topics --to-earliest --dry-run").await;
    let text = "Assignments can only be reset if the group 'new' is inactive, but the current state is Stable.";
    assert!(out.starts_with(&format!("\nError: {text}\n")), "{out}");
    let (out, _) = tool(&broker, "--delete --group new").await;
    assert!(
        out.contains("could not be deleted due to: org.apache.kafka.common.errors.GroupNotEmptyException"),
        "{out}"
    );
    join.member_epoch = -1;
    admin.cluster().send(node, &join).await.unwrap();
    let (out, _) = tool(&broker, "--describe --group new --members").await;
    assert_eq!(rows(&out), Vec::<Vec<&str>>::new());
}
