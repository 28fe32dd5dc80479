//! Topics and settings.

use vltava_protocol::Uuid;
use vltava_protocol::messages::alter_configs_request;
use vltava_protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use vltava_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use vltava_protocol::messages::delete_topics_request::DeleteTopicState;
use vltava_protocol::messages::describe_configs_request::DescribeConfigsResource;
use vltava_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use vltava_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use vltava_protocol::messages::metadata_request::MetadataRequestTopic;
use vltava_protocol::messages::{
    AlterConfigsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DeleteTopicsResponse,
    DescribeConfigsRequest, DescribeConfigsResponse, DescribeTopicPartitionsRequest, IncrementalAlterConfigsRequest,
    ListConfigResourcesRequest, MetadataRequest,
};

use crate::transcript::Session;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

fn topic(name: &str, partitions: i32, replicas: i16) -> CreatableTopic {
    CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: replicas,
        ..Default::default()
    }
}

fn with_config(name: &str, key: &str, value: Option<&str>) -> CreatableTopic {
    let config = CreatableTopicConfig { name: key.to_owned(), value: value.map(str::to_owned), ..Default::default() };
    CreatableTopic { configs: vec![config], ..topic(name, 1, 1) }
}

fn assigned(name: &str, replicas: &[(i32, &[i32])]) -> CreatableTopic {
    let assignment = |(index, brokers): &(i32, &[i32])| CreatableReplicaAssignment {
        partition_index: *index,
        broker_ids: brokers.to_vec(),
        ..Default::default()
    };
    CreatableTopic { assignments: replicas.iter().map(assignment).collect(), ..topic(name, -1, -1) }
}

fn create(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest { topics, timeout_ms: 10_000, ..Default::default() }
}

fn delete(names: &[&str]) -> DeleteTopicsRequest {
    let state = |name: &&str| DeleteTopicState { name: Some((*name).to_owned()), ..Default::default() };
    DeleteTopicsRequest { topics: names.iter().map(state).collect(), timeout_ms: 10_000, ..Default::default() }
}

fn delete_ids(ids: &[Uuid]) -> DeleteTopicsRequest {
    let state = |id: &Uuid| DeleteTopicState { name: None, topic_id: *id, ..Default::default() };
    DeleteTopicsRequest { topics: ids.iter().map(state).collect(), timeout_ms: 10_000, ..Default::default() }
}

/// Kafka answers in the order of its maps.
fn deleted(response: &mut DeleteTopicsResponse) {
    response.responses.sort_by(|a, b| (&a.name, a.topic_id.as_bytes()).cmp(&(&b.name, b.topic_id.as_bytes())));
}

fn grow(name: &str, count: i32, assignments: Option<&[&[i32]]>) -> CreatePartitionsRequest {
    let assignment =
        |brokers: &&[i32]| CreatePartitionsAssignment { broker_ids: brokers.to_vec(), ..Default::default() };
    let topic = CreatePartitionsTopic {
        name: name.to_owned(),
        count,
        assignments: assignments.map(|all| all.iter().map(assignment).collect()),
        ..Default::default()
    };
    CreatePartitionsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() }
}

fn zero_id() -> Uuid {
    Uuid::from_bytes([0; 16])
}

/// Sends a request of topics and notes its answer without the settings, which are compared elsewhere.
fn call_create(s: &mut Session, what: &str, topics: Vec<CreatableTopic>) {
    let response = s.call_then(what, 7, &create(topics), |response| {
        for topic in &mut response.topics {
            topic.configs = None;
        }
        response.topics.sort_by(|a, b| (&a.name, a.error_code).cmp(&(&b.name, b.error_code)));
    });
    for created in response.topics.iter().filter(|topic| topic.error_code == 0) {
        s.name(&format!("id of {}", created.name), created.topic_id);
    }
}

pub(crate) fn life(s: &mut Session) {
    s.about("creations");
    let long = "x".repeat(250);
    for name in ["", ".", "..", "a b", "ä", long.as_str(), "__cluster_metadata"] {
        call_create(s, &format!("a topic named `{name}`"), vec![topic(name, 1, 1)]);
    }
    for (partitions, replicas) in [(0, 1), (-2, 1), (1, 0), (1, -2), (1, 2), (i32::MAX, 1), (10_001, 1)] {
        call_create(
            s,
            &format!("{partitions} partitions, {replicas} replicas"),
            vec![topic("n", partitions, replicas)],
        );
    }
    call_create(s, "a topic twice", vec![topic("twice", 1, 1), topic("twice", 1, 1), topic("once", 1, 1)]);
    call_create(s, "one that is there", vec![topic("once", 1, 1)]);
    call_create(s, "one with a dot", vec![topic("a.b", 1, 1)]);
    call_create(s, "one that collides", vec![topic("a_b", 1, 1)]);
    call_create(s, "an unknown setting", vec![with_config("c", "nonsense", Some("1"))]);
    call_create(s, "a wrong setting", vec![with_config("c", "retention.ms", Some("x"))]);
    call_create(s, "a setting out of range", vec![with_config("c", "retention.ms", Some("-2"))]);
    call_create(s, "a setting that is null", vec![with_config("c", "retention.ms", None)]);
    call_create(s, "an unknown broker", vec![assigned("r", &[(0, &[7])])]);
    call_create(s, "a broker twice", vec![assigned("r", &[(0, &[1, 1])])]);
    call_create(s, "no broker", vec![assigned("r", &[(0, &[])])]);
    call_create(s, "partitions with a hole", vec![assigned("r", &[(0, &[1]), (2, &[1])])]);
    call_create(s, "a partition twice", vec![assigned("r", &[(0, &[1]), (0, &[1])])]);
    call_create(s, "assignment and numbers", vec![CreatableTopic { num_partitions: 1, ..assigned("r", &[(0, &[1])]) }]);
    call_create(
        s,
        "assignment and replicas",
        vec![CreatableTopic { replication_factor: 1, ..assigned("r", &[(0, &[1])]) }],
    );
    call_create(s, "an assignment", vec![assigned("assigned", &[(0, &[1]), (1, &[1])])]);
    call_create(s, "by default", vec![topic("defaults", -1, -1)]);
    call_create(s, "no topics", Vec::new());
    s.call_then(
        "only checked",
        7,
        &CreateTopicsRequest { validate_only: true, ..create(vec![topic("v", 2, 1)]) },
        |r| {
            for topic in &mut r.topics {
                topic.configs = None;
                topic.topic_id = zero_id();
            }
        },
    );

    s.about("growth");
    s.call("fewer", 3, &grow("assigned", 1, None));
    s.call("as many", 3, &grow("assigned", 2, None));
    s.call("none", 3, &grow("assigned", 0, None));
    s.call("a negative number", 3, &grow("assigned", -1, None));
    s.call("an unknown topic", 3, &grow("unknown", 3, None));
    s.call("an empty topic", 3, &grow("", 3, None));
    s.call("too many assignments", 3, &grow("assigned", 3, Some(&[&[1], &[1]])));
    s.call("no assignments", 3, &grow("assigned", 3, Some(&[])));
    s.call("an unknown broker", 3, &grow("assigned", 3, Some(&[&[7]])));
    s.call("no broker", 3, &grow("assigned", 3, Some(&[&[]])));
    s.call("other replicas", 3, &grow("assigned", 3, Some(&[&[1, 2]])));
    let twice = [grow("assigned", 3, None).topics, grow("assigned", 4, None).topics].concat();
    s.call("twice", 3, &CreatePartitionsRequest { topics: twice, ..grow("assigned", 3, None) });
    s.call("one more", 3, &grow("assigned", 3, None));

    s.about("questions");
    let named = |name: Option<&str>, id: Uuid| MetadataRequestTopic {
        name: name.map(str::to_owned),
        topic_id: id,
        ..Default::default()
    };
    let metadata = |topics: Vec<MetadataRequestTopic>| MetadataRequest { topics: Some(topics), ..Default::default() };
    let zero = zero_id();
    let bare = |s: &mut Session, what: &str, version: i16, request: &MetadataRequest| {
        s.call_then(what, version, request, |response| {
            response.cluster_id = None;
            response.brokers.clear();
            response.topics.sort_by(|a, b| a.name.cmp(&b.name));
        });
    };
    bare(s, "names", 13, &metadata(vec![named(Some("assigned"), zero), named(Some("unknown"), zero)]));
    bare(s, "names that are none", 13, &metadata(vec![named(Some(""), zero), named(Some("a b"), zero)]));
    bare(s, "a name twice", 13, &metadata(vec![named(Some("defaults"), zero), named(Some("defaults"), zero)]));
    bare(s, "an unknown id", 13, &metadata(vec![named(None, Uuid::from_bytes([7; 16]))]));
    bare(
        s,
        "names and ids",
        12,
        &metadata(vec![named(Some("defaults"), zero), named(None, Uuid::from_bytes([7; 16]))]),
    );
    bare(s, "no name in a version without ids", 10, &metadata(vec![named(None, zero)]));
    bare(s, "no topics", 13, &metadata(Vec::new()));
    let pages = |names: &[&str], limit: i32, cursor: Option<(&str, i32)>| DescribeTopicPartitionsRequest {
        topics: names.iter().map(|n| TopicRequest { name: (*n).to_owned(), ..Default::default() }).collect(),
        response_partition_limit: limit,
        cursor: cursor.map(|(topic_name, partition_index)| Cursor {
            topic_name: topic_name.to_owned(),
            partition_index,
            ..Default::default()
        }),
        ..Default::default()
    };
    s.call("pages", 0, &pages(&["assigned", "unknown"], 10, None));
    s.call("a page", 0, &pages(&["assigned"], 1, None));
    s.call("the page after", 0, &pages(&["assigned"], 1, Some(("assigned", 1))));
    s.call("a page after the end", 0, &pages(&["assigned"], 1, Some(("assigned", 9))));
    s.call("a page after an unknown topic", 0, &pages(&["assigned"], 1, Some(("b", 0))));
    s.call("a page from a negative partition", 0, &pages(&["assigned"], 1, Some(("assigned", -1))));
    s.call("a page of nothing", 0, &pages(&["assigned"], 0, None));
    s.call("a page of less than nothing", 0, &pages(&["assigned"], -1, None));
    s.call("a topic twice", 0, &pages(&["defaults", "defaults"], 10, None));

    s.about("deletions");
    s.call_then("unknown, empty and invalid names", 6, &delete(&["unknown", "", "a b"]), deleted);
    s.call_then("unknown and zero ids", 6, &delete_ids(&[Uuid::from_bytes([7; 16]), zero]), deleted);
    s.call_then("a name twice", 6, &delete(&["once", "once"]), deleted);
    let mut both = delete(&["once"]);
    both.topics[0].topic_id = Uuid::from_bytes([7; 16]);
    s.call_then("name and id", 6, &both, deleted);
    let names = ["assigned", "defaults", "unknown", "assigned"].map(str::to_owned).to_vec();
    s.call_then(
        "old",
        3,
        &DeleteTopicsRequest { topic_names: names, timeout_ms: 10_000, ..Default::default() },
        deleted,
    );
    s.call_then("the rest", 6, &delete(&["assigned", "defaults", "once", "a.b", "a_b"]), deleted);
    s.call("no topics", 6, &delete(&[]));
    s.call("the metadata log", 6, &delete(&["__cluster_metadata"]));
}

fn change(kind: i8, name: &str, changes: &[(&str, i8, Option<&str>)]) -> IncrementalAlterConfigsRequest {
    let config = |(name, operation, value): &(&str, i8, Option<&str>)| AlterableConfig {
        name: (*name).to_owned(),
        config_operation: *operation,
        value: value.map(str::to_owned),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned(),
        configs: changes.iter().map(config).collect(),
        ..Default::default()
    };
    IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() }
}

fn replace(kind: i8, name: &str, settings: &[(&str, Option<&str>)]) -> AlterConfigsRequest {
    let config = |(name, value): &(&str, Option<&str>)| alter_configs_request::AlterableConfig {
        name: (*name).to_owned(),
        value: value.map(str::to_owned),
        ..Default::default()
    };
    let resource = alter_configs_request::AlterConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned(),
        configs: settings.iter().map(config).collect(),
        ..Default::default()
    };
    AlterConfigsRequest { resources: vec![resource], ..Default::default() }
}

fn ask(kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsRequest {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned(),
        configuration_keys: keys.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect()),
        ..Default::default()
    };
    DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, ..Default::default() }
}

/// What is set of a resource.
fn set(response: &mut DescribeConfigsResponse) {
    const DYNAMIC_BROKER: i8 = 2;
    const DYNAMIC_DEFAULT: i8 = 3;
    const DYNAMIC_TOPIC: i8 = 1;
    for result in &mut response.results {
        // Kafka sets `min.insync.replicas` when it formats a directory with eligible leader replicas.
        result.configs.retain(|c| c.name != "min.insync.replicas");
        result.configs.retain(|c| [DYNAMIC_BROKER, DYNAMIC_DEFAULT, DYNAMIC_TOPIC].contains(&c.config_source));
        result.configs.sort_by(|a, b| a.name.cmp(&b.name));
    }
}

pub(crate) fn settings(s: &mut Session) {
    s.create("settings", 1);
    s.about("what is set of a topic");
    let (put, remove, append, subtract) = (0, 1, 2, 3);
    for (what, name, changes) in [
        ("a setting", "settings", &[("retention.ms", put, Some("1000"))][..]),
        ("an unknown one", "settings", &[("nonsense", put, Some("1"))]),
        ("an empty key", "settings", &[("", put, Some("1"))]),
        ("a wrong value", "settings", &[("retention.ms", put, Some("x"))]),
        ("null", "settings", &[("retention.ms", put, None)]),
        ("twice", "settings", &[("retention.ms", put, Some("1")), ("retention.ms", put, Some("2"))]),
        ("no list", "settings", &[("retention.ms", append, Some("1"))]),
        ("a list", "settings", &[("cleanup.policy", append, Some("compact"))]),
        ("a list, twice the same", "settings", &[("cleanup.policy", append, Some("compact"))]),
        ("from a list", "settings", &[("cleanup.policy", subtract, Some("delete"))]),
        ("remove what is not set", "settings", &[("segment.ms", remove, None)]),
        ("remove an unknown one", "settings", &[("nonsense", remove, None)]),
        ("nothing", "settings", &[]),
        ("an unknown topic", "unknown", &[("retention.ms", put, Some("1000"))]),
        ("an empty topic", "", &[("retention.ms", put, Some("1000"))]),
        ("no topic's name", "a b", &[("retention.ms", put, Some("1000"))]),
    ] {
        s.call(what, 1, &change(TOPIC, name, changes));
    }
    let twice = [change(TOPIC, "settings", &[]).resources, change(TOPIC, "settings", &[]).resources].concat();
    s.call("a resource twice", 1, &IncrementalAlterConfigsRequest { resources: twice, ..Default::default() });
    s.call("an unknown kind", 1, &change(3, "settings", &[("retention.ms", put, Some("1000"))]));
    s.call("no resources", 1, &IncrementalAlterConfigsRequest::default());
    s.call_then("what is set", 4, &ask(TOPIC, "settings", None), set);
    s.call("one key", 4, &ask(TOPIC, "settings", Some(&["retention.ms", "nonsense"])));
    s.call_then("no keys", 4, &ask(TOPIC, "settings", Some(&[])), set);
    s.call("of an unknown topic", 4, &ask(TOPIC, "unknown", Some(&["retention.ms"])));
    s.call("of an empty topic", 4, &ask(TOPIC, "", Some(&["retention.ms"])));
    s.call("of no topic's name", 4, &ask(TOPIC, "a b", Some(&["retention.ms"])));
    s.call("of an unknown kind", 4, &ask(3, "settings", Some(&["retention.ms"])));
    s.call("of no resource", 4, &DescribeConfigsRequest::default());
    s.call("all anew", 2, &replace(TOPIC, "settings", &[("segment.ms", Some("1000"))]));
    s.call("null anew", 2, &replace(TOPIC, "settings", &[("segment.ms", None)]));
    s.call("an unknown one anew", 2, &replace(TOPIC, "settings", &[("nonsense", Some("1"))]));
    s.call_then("what is set", 4, &ask(TOPIC, "settings", None), set);

    s.about("of brokers");
    for (what, name, changes) in [
        ("of all", "", &[("message.max.bytes", put, Some("2000000"))][..]),
        ("of this one", "1", &[("log.retention.ms", put, Some("5000"))]),
        ("an unknown one", "1", &[("nonsense", put, Some("1"))]),
        ("an unknown one of all", "", &[("nonsense.of.all", put, Some("1"))]),
        ("a fixed one", "1", &[("num.partitions", put, Some("1"))]),
        ("one for all brokers, of this one", "1", &[("max.connections", put, Some("1000"))]),
        ("one of this broker, for all", "", &[("listeners", put, Some("PLAINTEXT://:1"))]),
        ("one of a listener, for all", "", &[("listener.name.x.ssl.keystore.location", put, Some("/x"))]),
        ("an unknown one of a listener", "1", &[("listener.name.x.nonsense", put, Some("/x"))]),
        ("a wrong value", "1", &[("message.max.bytes", put, Some("x"))]),
        ("a value out of range", "1", &[("message.max.bytes", put, Some("-1"))]),
        ("another broker", "7", &[("message.max.bytes", put, Some("1"))]),
        ("no broker", "x", &[("message.max.bytes", put, Some("1"))]),
    ] {
        s.call(what, 1, &change(BROKER, name, changes));
    }
    s.call_then("what is set of all", 4, &ask(BROKER, "", None), set);
    s.call_then("what is set of this one", 4, &ask(BROKER, "1", None), set);
    s.call("unknown keys", 4, &ask(BROKER, "1", Some(&["nonsense", "no.such.key"])));
    s.call("of another broker", 4, &ask(BROKER, "7", Some(&["message.max.bytes"])));
    s.call("of no broker", 4, &ask(BROKER, "x", Some(&["message.max.bytes"])));
    for (name, keys) in [
        ("", &["message.max.bytes", "nonsense.of.all"][..]),
        ("1", &["log.retention.ms", "nonsense", "max.connections"]),
        ("1", &["listener.name.x.nonsense", "listener.name.x.ssl.keystore.password", "message.max.bytes"]),
    ] {
        let removals: Vec<_> = keys.iter().map(|key| (*key, remove, None)).collect();
        s.quietly(1, &change(BROKER, name, &removals));
    }

    s.call_then("resources", 1, &ListConfigResourcesRequest::default(), |response| {
        response.config_resources.retain(|r| r.resource_type != TOPIC || r.resource_name == "settings");
        response.config_resources.sort_by_key(|r| (r.resource_type, r.resource_name.clone()));
    });
    s.call(
        "resources of an unknown kind",
        1,
        &ListConfigResourcesRequest { resource_types: vec![3], ..Default::default() },
    );
    s.quietly(6, &delete(&["settings"]));
}

/// Which keys of brokers may be changed while they run: of one broker, and of all.
pub(crate) fn dynamic_keys(s: &mut Session) {
    let mut described = s.quietly(4, &ask(BROKER, "1", None));
    let mut entries = described.results.remove(0).configs;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    // A class of the JVM's, and what is described by one of the two only.
    let left_out = [
        "ssl.engine.factory.class",
        "log.initial.task.delay.ms",
        "max.decompressed.batch.bytes",
        "metrics.http.address",
        "remote.log.index.file.cache.ttl.ms",
    ];
    for entry in entries.into_iter().filter(|entry| !left_out.contains(&entry.name.as_str())) {
        let value = entry.value.unwrap_or_else(|| "x".to_owned());
        let codes = ["1", ""].map(|broker| {
            let mut request = change(BROKER, broker, &[(&entry.name, 0, Some(&value))]);
            request.validate_only = true;
            let response = s.quietly(1, &request).responses.remove(0);
            match response.error_code {
                0 => "yes".to_owned(),
                _ => match response.error_message.unwrap_or_default() {
                    // Kafka acts on it or stores it: see `deviations.txt`.
                    text if text.contains("cannot be altered while the broker runs") => "yes".to_owned(),
                    text => text,
                },
            }
        });
        s.line(&format!("{}: one: {}; all: {}", entry.name, codes[0], codes[1]));
    }
}
