//! `kafka-streams-groups` as a process, against a broker in this one, with one member that sends its heartbeats by hand.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::process::Command;

use vltava_broker::embedded;
use vltava_client::admin::NewTopic;
use vltava_client::producer::{Producer, ProducerRecord};
use vltava_client::{Admin, AdminConfig, OffsetAndMetadata, ProducerConfig, TopicPartition};
use vltava_protocol::messages::streams_group_heartbeat_request::{Subtopology, TopicInfo, Topology};
use vltava_protocol::messages::{StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse};

/// Of the process.
const PROCESS: &str = "5f2a-a-process";

struct World {
    broker: embedded::Broker,
    admin: Admin,
    node: i32,
    member: StreamsGroupHeartbeatRequest,
}

fn topic(name: &str) -> TopicInfo {
    TopicInfo { name: name.to_owned(), ..TopicInfo::default() }
}

impl World {
    /// A topic `in` of two partitions with ten records each, and a member of the group `app` that counts by another key.
    async fn new() -> Self {
        let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
        let bootstrap = broker.bootstrap_servers().to_owned();
        let admin = Admin::new(AdminConfig::builder().bootstrap_servers(&bootstrap).build().unwrap()).unwrap();
        for (_, created) in admin.create_topics([NewTopic::new("in").partitions(2)]).await {
            created.unwrap();
        }
        let producer = Producer::new(ProducerConfig::builder().bootstrap_servers(&bootstrap).build().unwrap()).unwrap();
        for number in 0..20 {
            drop(producer.send(ProducerRecord::new("in").partition(number % 2).value("v")).await.unwrap());
        }
        producer.flush().await.unwrap();
        let node = admin.cluster().refresh().await.unwrap().brokers.keys().copied().next().unwrap();
        let read = Subtopology {
            subtopology_id: "0".to_owned(),
            source_topics: vec!["in".to_owned()],
            repartition_sink_topics: vec!["app-words-repartition".to_owned()],
            ..Subtopology::default()
        };
        let count = Subtopology {
            subtopology_id: "1".to_owned(),
            repartition_source_topics: vec![topic("app-words-repartition")],
            state_changelog_topics: vec![topic("app-counts-changelog")],
            ..Subtopology::default()
        };
        let member = StreamsGroupHeartbeatRequest {
            group_id: "app".to_owned(),
            member_id: "a-member-of-the-group".to_owned(),
            rebalance_timeout_ms: 60_000,
            topology: Some(Topology { epoch: 0, subtopologies: vec![read, count], ..Topology::default() }),
            process_id: Some(PROCESS.to_owned()),
            active_tasks: Some(Vec::new()),
            standby_tasks: Some(Vec::new()),
            warmup_tasks: Some(Vec::new()),
            ..StreamsGroupHeartbeatRequest::default()
        };
        // Asking for a coordinator makes that there is one.
        admin.list_consumer_group_offsets("app", None).await.unwrap();
        Self { broker, admin, node, member }
    }

    async fn beat(&self) -> StreamsGroupHeartbeatResponse {
        let response = self.admin.cluster().send(self.node, &self.member).await.unwrap();
        assert_eq!(response.error_code, 0, "{:?}", response.error_message);
        response
    }

    /// Joins, again and again, until the internal topics are there.
    async fn join(&self) -> StreamsGroupHeartbeatResponse {
        let joined = async {
            loop {
                let response = self.beat().await;
                if response.status.as_ref().is_some_and(Vec::is_empty) {
                    return response;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), joined).await.unwrap()
    }

    async fn leave(&mut self) {
        (self.member.member_epoch, self.member.topology) = (-1, None);
        self.beat().await;
    }

    /// What the tool prints, and its exit status.
    async fn tool(&self, line: &str) -> (String, i32) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vltava"));
        command.args(["kafka-streams-groups", "--bootstrap-server", self.broker.bootstrap_servers()]);
        command.args(line.split_whitespace());
        let out = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        (String::from_utf8(out.stdout).unwrap(), out.status.code().unwrap())
    }

    async fn topics(&self) -> Vec<String> {
        let names = self.admin.list_topics().await.unwrap().into_keys();
        names.filter(|name| !name.starts_with("__")).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_listed_and_described() {
    let mut world = World::new().await;
    let epoch = world.join().await.member_epoch;
    let offsets = [(TopicPartition::new("in", 0), OffsetAndMetadata::new(4))];
    assert_eq!(world.tool("--list").await, ("app\n".to_owned(), 0));
    assert_eq!(world.tool("--list --state").await.0, "GROUP           STATE\napp             Stable\n");
    assert_eq!(world.tool("--list --state empty").await.0, "GROUP           STATE\n");
    let described = world.admin.describe_streams_groups(["app"]).await.remove("app").unwrap().unwrap();
    let [member] = &described.members[..] else { panic!("{described:?}") };
    let width = member.client_id.len().max(15);
    let (members, _) = world.tool("--describe --group app --members").await;
    let expected = format!(
        "GROUP           MEMBER                PROCESS         {:<width$} ASSIGNMENTS\n\
         app             a-member-of-the-group 5f2a-a-process  {:<width$} ACTIVE: 0:[0,1]; 1:[0,1]; \n",
        "CLIENT-ID", member.client_id
    );
    assert_eq!(members, expected);
    let (verbose, _) = world.tool("--describe --all-groups --members --verbose").await;
    let row: Vec<&str> = verbose.lines().nth(1).unwrap().split_whitespace().collect();
    let expected = ["app", &epoch.to_string(), "0", "a-member-of-the-group", "streams", &epoch.to_string(), PROCESS];
    assert_eq!(row[..7], expected);
    assert!(verbose.ends_with("ACTIVE: 0:[0,1]; 1:[0,1]; TARGET-ACTIVE: 0:[0,1]; 1:[0,1]; \n"), "{verbose}");
    let (state, _) = world.tool("--describe --group app --state --verbose").await;
    let row: Vec<&str> = state.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[3..], ["Stable", &epoch.to_string(), &epoch.to_string(), "1"]);

    let text = "Assignments can only be reset if the group 'app' is inactive, but the current state is Stable.";
    let (out, _) = world.tool("--reset-offsets --group app --all-input-topics --to-earliest --dry-run").await;
    assert!(out.starts_with(&format!("\nError: {text}\n")), "{out}");
    let (out, status) = world.tool("--delete --group app").await;
    assert!(out.contains("GroupNotEmptyException: Streams group 'app' is not EMPTY."), "{out}");
    assert_eq!(status, 0);

    world.leave().await;
    for (_, set) in world.admin.alter_streams_group_offsets("app", offsets).await {
        set.unwrap();
    }
    let (out, _) = world.tool("--describe --group app --state").await;
    assert!(out.starts_with("\nError: Streams group 'app' has no active members.\n"), "{out}");
    assert_eq!(world.tool("--describe --group app --members").await, (String::new(), 0));
    let (out, status) = world.tool("--describe --group missing").await;
    assert!(out.contains("Executing streams group command failed due to"), "{out}");
    assert_eq!(status, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_are_described_reset_and_deleted() {
    let mut world = World::new().await;
    world.join().await;
    let (offsets, _) = world.tool("--describe --group app").await;
    let mut rows: Vec<Vec<&str>> = offsets.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    rows.sort();
    let repartition = "app-words-repartition";
    let expected = [
        ["app", repartition, "0", "0"],
        ["app", repartition, "1", "0"],
        ["app", "in", "0", "10"],
        ["app", "in", "1", "10"],
    ];
    assert_eq!(rows, expected);
    world.leave().await;
    let committed = [(TopicPartition::new("in", 0), OffsetAndMetadata::new(4))];
    for (_, set) in world.admin.alter_streams_group_offsets("app", committed).await {
        set.unwrap();
    }
    let (out, _) = world.tool("--reset-offsets --group app --input-topic in:1 --to-earliest --dry-run").await;
    assert!(out.starts_with("\nError: One or more topics are not part of the group 'app'.\n"), "{out}");
    let (out, _) = world.tool("--reset-offsets --group app --all-input-topics --shift-by 2 --dry-run").await;
    let row = format!("{:<30} {:<30} {:<10} {:<15}", "app", "in", "0", "6");
    assert!(out.ends_with(&format!("\n{row}\n")), "{out}");
    let (out, _) = world.tool("--reset-offsets --group app --all-input-topics --to-latest --execute --export").await;
    assert_eq!(out.trim(), "in,0,10");
    let committed = world.admin.list_streams_group_offsets("app", None).await.unwrap();
    assert_eq!(committed[&TopicPartition::new("in", 0)].as_ref().unwrap().offset, 10);
    let (out, _) = world.tool("--delete-offsets --group app --all-input-topics").await;
    assert!(out.starts_with("Request succeeded for deleting offsets from group app.\n"), "{out}");
    assert!(world.admin.list_streams_group_offsets("app", None).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_deleted_with_its_internal_topics() {
    let mut world = World::new().await;
    world.join().await;
    world.leave().await;
    assert_eq!(world.topics().await.len(), 3);
    let (out, _) = world.tool("--delete --group app --group missing --delete-all-internal-topics").await;
    let expected = "\nError: Deletion of some streams groups failed:\n\
        * Group 'missing' could not be deleted due to: java.lang.IllegalArgumentException: Group 'missing' does not exist \
        or is not a streams group.\n\
        \nThese streams groups were deleted successfully: 'app'.\n\
        Deletion of associated internal topics of the streams groups ('app') was successful.\n";
    assert_eq!(out, expected);
    assert_eq!(world.topics().await, ["in"]);
    assert_eq!(world.tool("--list").await.0, "");
}
