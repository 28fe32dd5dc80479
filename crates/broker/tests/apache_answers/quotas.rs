//! Quotas of clients: how they are set, and what they do.

use vltava_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use vltava_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use vltava_protocol::messages::create_topics_request::CreatableTopic;
use vltava_protocol::messages::delete_topics_request::DeleteTopicState;
use vltava_protocol::messages::describe_client_quotas_request::ComponentData;
use vltava_protocol::messages::{
    AlterClientQuotasRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeClientQuotasRequest, FetchRequest, ProduceRequest,
};

use crate::support::{batch, fetch_request, produce_request};
use crate::transcript::Session;

/// Parts of an entity as `type=name`, where `*` stands for the default.
fn entity(text: &str) -> Vec<EntityData> {
    let parts = text.split(' ').filter(|part| !part.is_empty()).map(|part| {
        let (kind, name) = part.split_once('=').unwrap();
        let entity_name = (name != "*").then(|| name.to_owned());
        EntityData { entity_type: kind.to_owned(), entity_name, ..Default::default() }
    });
    parts.collect()
}

/// Keys with their values, where nothing stands for removal.
fn entry(of: &str, ops: &[(&str, Option<f64>)]) -> EntryData {
    let ops = ops.iter().map(|(key, value)| OpData {
        key: (*key).to_owned(),
        value: value.unwrap_or_default(),
        remove: value.is_none(),
        ..Default::default()
    });
    EntryData { entity: entity(of), ops: ops.collect(), ..Default::default() }
}

fn alter(entries: Vec<EntryData>) -> AlterClientQuotasRequest {
    AlterClientQuotasRequest { entries, ..Default::default() }
}

/// What became of each entity; Kafka tells of them in the order of a map.
fn set(s: &mut Session, what: &str, version: i16, request: &AlterClientQuotasRequest) {
    s.call_then(what, version, request, |response| {
        response.entries.sort_by_key(|entry| format!("{:?}", entry.entity));
    });
}

fn component(kind: &str, match_type: i8, name: Option<&str>) -> ComponentData {
    let r#match = name.map(str::to_owned);
    ComponentData { entity_type: kind.to_owned(), match_type, r#match, ..Default::default() }
}

fn tell(s: &mut Session, what: &str, strict: bool, components: &[ComponentData]) {
    let request = DescribeClientQuotasRequest { components: components.to_vec(), strict, ..Default::default() };
    s.call_then(what, 1, &request, |response| {
        for entry in response.entries.iter_mut().flatten() {
            entry.entity.sort_by(|one, other| other.entity_type.cmp(&one.entity_type));
            entry.values.sort_by(|one, other| one.key.cmp(&other.key));
        }
        let of = |entry: &vltava_protocol::messages::describe_client_quotas_response::EntryData| format!("{entry:?}");
        response.entries.iter_mut().for_each(|entries| entries.sort_by_key(of));
    });
}

const KEYS: [&str; 5] = [
    "producer_byte_rate",
    "consumer_byte_rate",
    "request_percentage",
    "controller_mutation_rate",
    "connection_creation_rate",
];

/// Forgets what an earlier run has left.
fn forget(s: &mut Session, entities: &[&str]) {
    for of in entities {
        let keys: Vec<(&str, Option<f64>)> =
            KEYS.iter().filter(|key| of.starts_with("ip") == key.starts_with("conn")).map(|key| (*key, None)).collect();
        s.quietly(1, &alter(vec![entry(of, &keys)]));
    }
}

const ENTITIES: [&str; 9] = [
    "user=alice",
    "user=alice client-id=app",
    "user=alice client-id=*",
    "user=*",
    "user=* client-id=*",
    "client-id=app",
    "client-id=*",
    "ip=10.0.0.1",
    "ip=*",
];

pub(crate) fn life(s: &mut Session) {
    forget(s, &ENTITIES);
    tell(s, "there are none", false, &[]);
    for version in [0, 1] {
        s.call("nothing", version, &alter(vec![]));
    }
    let all: Vec<EntryData> = ENTITIES
        .iter()
        .zip(1_u8..)
        .map(|(of, value)| {
            let key = if of.starts_with("ip") { KEYS[4] } else { KEYS[0] };
            entry(of, &[(key, Some(f64::from(value) * 100.0))])
        })
        .collect();
    let only_validated = AlterClientQuotasRequest { validate_only: true, ..alter(all.clone()) };
    set(s, "all kinds of entities, only validated", 1, &only_validated);
    tell(s, "there are still none", false, &[]);
    set(s, "all kinds of entities", 1, &alter(all));
    let several = [(KEYS[0], None), (KEYS[1], Some(5.0)), (KEYS[2], Some(12.5)), (KEYS[3], Some(0.1))];
    set(s, "several keys, one of them goes", 0, &alter(vec![entry("client-id=app user=alice", &several)]));
    set(s, "what is not there goes", 1, &alter(vec![entry("user=nobody", &[(KEYS[0], None), ("unknown", None)])]));
    tell(s, "all", false, &[]);
    tell(s, "all, strictly none", true, &[]);
    for strict in [false, true] {
        tell(s, "those of a user", strict, &[component("user", 0, Some("alice"))]);
        tell(s, "those of the default of users", strict, &[component("user", 1, None)]);
        tell(s, "those of any user", strict, &[component("user", 2, None)]);
        tell(
            s,
            "those of a user and any client",
            strict,
            &[component("client-id", 2, None), component("user", 0, Some("alice"))],
        );
        tell(s, "those of addresses", strict, &[component("ip", 2, None)]);
        tell(s, "those of nobody", strict, &[component("user", 0, Some("nobody"))]);
    }
    wrong_filters(s);
    wrong_alterations(s);
    forget(s, &ENTITIES);
    tell(s, "they are gone", false, &[]);
}

fn wrong_filters(s: &mut Session) {
    tell(s, "no type", false, &[component("", 2, None)]);
    tell(s, "an unknown type", false, &[component("group", 2, None)]);
    tell(s, "a type twice", false, &[component("user", 2, None), component("user", 1, None)]);
    tell(s, "no name", false, &[component("user", 0, None)]);
    tell(s, "a name for the default", false, &[component("user", 1, Some("alice"))]);
    tell(s, "a name for any", false, &[component("user", 2, Some("alice"))]);
    tell(s, "an unknown kind of match", false, &[component("user", 3, None)]);
    tell(s, "an address and a user", false, &[component("user", 2, None), component("ip", 2, None)]);
}

fn wrong_alterations(s: &mut Session) {
    let rate = (KEYS[0], Some(1.0));
    let wrong = vec![
        entry("", &[rate]),
        entry("group=g", &[rate]),
        entry("user=", &[rate]),
        entry("client-id=", &[rate]),
        entry("ip=", &[(KEYS[4], Some(1.0))]),
        entry("ip=10.0.0.1 user=alice", &[rate]),
        entry("ip=no.such.host.invalid", &[(KEYS[4], Some(1.0))]),
        entry("ip=10.0.0.2", &[rate]),
        entry("user=v1", &[("unknown", Some(1.0))]),
        entry("user=v2", &[(KEYS[4], Some(1.0))]),
        entry("user=v3", &[(KEYS[0], Some(0.0))]),
        entry("user=v4", &[(KEYS[0], Some(-1.0))]),
        entry("user=v5", &[(KEYS[0], Some(1.5))]),
        entry("user=v6", &[(KEYS[0], Some(1e30))]),
        entry("user=v7", &[(KEYS[2], Some(0.0))]),
        entry("ip=10.0.0.3", &[(KEYS[4], Some(3e9))]),
        entry("ip=10.0.0.4", &[(KEYS[4], Some(0.5))]),
        entry("user=v8", &[rate, (KEYS[0], Some(2.0))]),
        entry("user=v9", &[(KEYS[1], Some(2.0))]),
        entry("user=v9", &[rate]),
        entry("client-id=c user=v10", &[(KEYS[1], Some(2.0))]),
        entry("user=v10 client-id=c", &[rate]),
        entry("user=v11 user=v12", &[("unknown", Some(1.0))]),
    ];
    set(s, "what is wrong with alterations", 1, &alter(wrong));
    tell(s, "what was altered all the same", false, &[component("user", 2, None)]);
    forget(s, &["user=v9", "user=v10 client-id=c"]);
}

/// A topic to create.
fn creation(name: &str, num_partitions: i32) -> CreateTopicsRequest {
    let topic = CreatableTopic { name: name.to_owned(), num_partitions, replication_factor: 1, ..Default::default() };
    CreateTopicsRequest { topics: vec![topic], timeout_ms: 5000, ..Default::default() }
}

fn deletion(name: &str, by_name: bool) -> DeleteTopicsRequest {
    let state = DeleteTopicState { name: Some(name.to_owned()), ..Default::default() };
    DeleteTopicsRequest {
        topics: if by_name { vec![] } else { vec![state] },
        topic_names: if by_name { vec![name.to_owned()] } else { vec![] },
        timeout_ms: 5000,
        ..Default::default()
    }
}

fn growth(name: &str, count: i32) -> CreatePartitionsRequest {
    let topic = CreatePartitionsTopic { name: name.to_owned(), count, assignments: None, ..Default::default() };
    CreatePartitionsRequest { topics: vec![topic], timeout_ms: 5000, ..Default::default() }
}

/// Sets a quota of the client id of these tests, and waits until it is known.
fn quota(s: &mut Session, key: &str, value: Option<f64>) {
    s.quietly(1, &alter(vec![entry("client-id=test", &[(key, value)])]));
    let request =
        DescribeClientQuotasRequest { components: vec![component("client-id", 0, Some("test"))], ..Default::default() };
    s.until(1, &request, |response| response.entries.iter().flatten().next().is_some() == value.is_some());
}

/// Tells of the throttle time, and goes on with another connection: this one is not served for as long.
fn throttled(s: &mut Session, what: &str, throttle_time_ms: i32) {
    s.line(&format!("{what}: {throttle_time_ms} ms"));
    s.reconnect_quietly();
}

/// Whole seconds of a time that goes by.
fn seconds(throttle_time_ms: i32) -> i32 {
    (throttle_time_ms + 900) / 1000 * 1000
}

pub(crate) fn throttling(s: &mut Session) {
    forget(s, &["client-id=test"]);
    for name in ["made", "more", "refused"] {
        s.quietly(6, &deletion(name, false));
    }
    s.create("quoted", 1);

    s.about("produce");
    quota(s, KEYS[0], Some(100.0));
    for version in [12, 3] {
        // By its size, ten seconds' worth is free.
        let request: ProduceRequest = produce_request("quoted", 0, batch(&["v".repeat(3000).as_str()]), -1);
        let answer = s.call("produce", version, &request);
        throttled(s, "produce", answer.throttle_time_ms / 1000 * 1000);
    }
    quota(s, KEYS[0], None);

    s.about("fetch");
    quota(s, KEYS[1], Some(100.0));
    let once: FetchRequest = fetch_request("quoted", &[(0, 0)], 100);
    for version in [12, 4] {
        let answer = s.call_then("fetch too much", version, &once, |_| {});
        throttled(s, "fetch", answer.throttle_time_ms / 1000 * 1000);
    }
    let in_session = FetchRequest { session_epoch: 0, ..once.clone() };
    let answer = s.call("fetch too much in a session", 12, &in_session);
    throttled(s, "fetch", answer.throttle_time_ms / 1000 * 1000);
    let nothing = fetch_request("quoted", &[(0, 2)], 0);
    let answer = s.call("fetch nothing", 12, &nothing);
    throttled(s, "fetch", answer.throttle_time_ms / 1000 * 1000);
    quota(s, KEYS[1], None);

    s.about("changes of topics");
    quota(s, KEYS[3], Some(0.01));
    let validated = CreateTopicsRequest { validate_only: true, ..creation("made", 1) };
    let answer = s.call_then("the first is free", 7, &validated, |answer| {
        answer.topics.iter_mut().for_each(|topic| topic.configs = None);
        answer.topics.iter_mut().for_each(|topic| topic.topic_id = Default::default());
    });
    throttled(s, "create", seconds(answer.throttle_time_ms));
    for version in [7, 6] {
        let answer = s.call("too many", version, &creation("refused", 1));
        throttled(s, "create", seconds(answer.throttle_time_ms));
    }
    let answer = s.call_then("too many, of a client that does not know", 5, &creation("made", 1), |answer| {
        answer.topics.iter_mut().for_each(|topic| topic.configs = None);
    });
    throttled(s, "create", seconds(answer.throttle_time_ms));
    let answer = s.call("what is wrong costs nothing", 5, &creation("a/b", 1));
    throttled(s, "create", seconds(answer.throttle_time_ms));
    let answer = s.call("too many partitions", 3, &growth("made", 2));
    throttled(s, "grow", seconds(answer.throttle_time_ms));
    let answer = s.call("too many partitions, of a client that does not know", 2, &growth("made", 2));
    throttled(s, "grow", seconds(answer.throttle_time_ms));
    for version in [6, 5] {
        let answer = s.call_then("too many deleted", version, &deletion("made", version < 6), |answer| {
            answer.responses.iter_mut().for_each(|topic| topic.topic_id = Default::default());
        });
        throttled(s, "delete", seconds(answer.throttle_time_ms));
    }
    let answer = s.call("too many deleted, of a client that does not know", 4, &deletion("made", true));
    throttled(s, "delete", seconds(answer.throttle_time_ms));
    quota(s, KEYS[3], None);
}
