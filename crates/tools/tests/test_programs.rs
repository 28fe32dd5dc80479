//! The programs that test a broker as processes, against a broker in this one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::process::{Command, Stdio};

use serde_json::Value;
use vltava_broker::embedded;
use vltava_client::admin::NewTopic;
use vltava_client::{Admin, AdminConfig};

/// A broker with the topic `t` of one partition.
async fn world() -> embedded::Broker {
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let config = AdminConfig::builder().bootstrap_servers(broker.bootstrap_servers()).build().unwrap();
    let admin = Admin::new(config).unwrap();
    for (_, created) in admin.create_topics([NewTopic::new("t").partitions(1)]).await {
        created.unwrap();
    }
    broker
}

fn command(broker: &embedded::Broker, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vltava"));
    let words = line.split_whitespace().map(|word| if word == "B" { broker.bootstrap_servers() } else { word });
    command.args(words);
    command
}

/// What a tool prints; its exit status is 0.
async fn printed(broker: &embedded::Broker, line: &str) -> String {
    let mut command = command(broker, line);
    let out = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn events(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_has_produced_the_other_consumes() {
    let broker = world().await;
    let line =
        "kafka-verifiable-producer --bootstrap-server B --topic t --max-messages 4 --value-prefix 7 --repeating-keys 3";
    let produced = events(&printed(&broker, line).await);
    let acked = ["producer_send_success"; 4];
    let around = [&["startup_complete"][..], &acked, &["shutdown_complete", "tool_data"]].concat();
    assert_eq!(names(&produced), around);
    let last = &produced[4];
    assert_eq!((&last["key"], &last["value"], &last["offset"]), (&"0".into(), &"7.3".into(), &3.into()));
    assert_eq!((&produced[6]["sent"], &produced[6]["acked"]), (&4.into(), &4.into()));

    let line = "kafka-verifiable-consumer --bootstrap-server B --topic t --group-id g --max-messages 3 --verbose";
    let consumed = events(&printed(&broker, line).await);
    let expected = [
        "startup_complete",
        "partitions_assigned",
        "record_data",
        "record_data",
        "record_data",
        "records_consumed",
        "offsets_committed",
        "partitions_revoked",
        "shutdown_complete",
        "shutdown_requested",
    ];
    assert_eq!(names(&consumed), expected);
    assert_eq!((&consumed[4]["key"], &consumed[4]["value"]), (&"2".into(), &"7.2".into()));
    assert_eq!(consumed[5]["partitions"][0]["maxOffset"], 2);
    assert_eq!((&consumed[6]["offsets"][0]["offset"], &consumed[6]["success"]), (&3.into(), &true.into()));
    // The next one goes on behind what was printed, not behind what was read.
    let line = "kafka-verifiable-consumer --bootstrap-server B --topic t --group-id g --max-messages 1";
    let consumed = events(&printed(&broker, line).await);
    assert_eq!(consumed[2]["partitions"][0]["minOffset"], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_without_an_end_sums_up_when_it_is_terminated() {
    use std::io::BufRead;
    let broker = world().await;
    let line = "kafka-verifiable-producer --bootstrap-server B --topic t --throughput 1000";
    let mut child = command(&broker, line).stdout(Stdio::piped()).spawn().unwrap();
    let out = child.stdout.take().unwrap();
    let ended = tokio::task::spawn_blocking(move || {
        let mut lines = std::io::BufReader::new(out).lines().map(Result::unwrap);
        let first: Vec<String> = lines.by_ref().take(5).collect();
        let kill = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(kill.success());
        let rest: Vec<String> = lines.collect();
        (first, rest, child.wait().unwrap())
    });
    let (first, rest, status) = ended.await.unwrap();
    assert_eq!(status.code(), Some(143));
    let all = events(&[first, rest].concat().join("\n"));
    let acked = all.iter().filter(|event| event["name"] == "producer_send_success").count();
    assert_eq!(names(&all)[all.len() - 2..], ["shutdown_complete", "tool_data"]);
    assert_eq!(all[all.len() - 1]["acked"], acked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_perf_test_counts_what_was_acknowledged() {
    let broker = world().await;
    let perf = "kafka-producer-perf-test --bootstrap-server B --topic t --throughput -1";
    let out = printed(&broker, &format!("{perf} --num-records 500 --record-size 50")).await;
    assert!(out.starts_with("500 records sent, ") && out.trim_end().ends_with(" ms 99.9th."), "{out}");
    let out = printed(&broker, &format!("{perf} --num-records 20 --payload-monotonic --warmup-records 5")).await;
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("Warmup first 5 records."), "{out}");
    assert!(lines[1].starts_with("20 records sent, "), "{out}");
    let (steady, _) = lines[2].split_once(" steady state records sent, ").unwrap();
    let steady: u32 = steady.parse().unwrap();
    // Records of the warm-up that are acknowledged late are counted too, as by Kafka's tool.
    assert!((15..=20).contains(&steady), "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_perf_test_counts_what_was_consumed() {
    let broker = world().await;
    let produce = "kafka-producer-perf-test --bootstrap-server B --topic t --throughput -1 --num-records 512";
    printed(&broker, &format!("{produce} --record-size 2048")).await;
    let perf = "kafka-consumer-perf-test --bootstrap-server B --hide-header";
    let out = printed(&broker, &format!("{perf} --topic t --num-records 512")).await;
    let fields: Vec<&str> = out.trim_end().split(", ").collect();
    assert_eq!((fields.len(), fields[2], fields[4]), (10, "1.0000", "512"), "{out}");
    let detailed = format!("{perf} --include t.* --show-detailed-stats --reporting-interval 1 --date-format 'at'");
    let out = printed(&broker, &format!("{detailed} --messages 512")).await;
    let (first, progress) = out.split_once('\n').unwrap();
    assert_eq!(first, "Warning: --messages is deprecated. Use --num-records instead.");
    assert!(progress.starts_with("at, 0, ") && progress.lines().all(|line| line.starts_with("at, 0, ")), "{out}");
    // Behind the last record there is nothing.
    let out = printed(&broker, &format!("{detailed} --num-records 1 --from-latest --timeout 1")).await;
    let warning = "WARNING: Exiting before consuming the expected number of records: timeout (1 ms) exceeded. You can use \
        the --timeout option to increase the timeout.\n";
    assert_eq!(out, warning);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_timed_from_one_end_to_the_other() {
    let broker = world().await;
    let line = "kafka-e2e-latency --bootstrap-server B --topic new --num-records 3 --producer-acks all --record-size 5";
    let out = printed(&broker, &format!("{line} --record-key-size 2 --num-headers 2 --record-header-key-size 3")).await;
    let lines: Vec<&str> = out.lines().collect();
    let created = "Topic \"new\" does not exist. Will create topic with 1 partition(s) and replication factor = 1";
    assert_eq!((lines.len(), lines[0]), (4, created), "{out}");
    assert!(lines[1].starts_with("0\t") && lines[2].starts_with("Avg latency: "), "{out}");
    assert!(lines[3].starts_with("Percentiles: 50th = "), "{out}");
    let out = printed(&broker, "kafka-e2e-latency B new 2 1 5").await;
    let first: Vec<&str> = out.lines().map(|line| line.split([' ', '\t']).next().unwrap()).collect();
    assert_eq!(first, ["WARNING:", "0", "Avg", "Percentiles:"]);
}
