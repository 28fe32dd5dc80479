//! What the API says of groups.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use vltava_client::admin::NewTopic;
use vltava_client::consumer::streams_group::{InternalTopic, StreamsMember, Subtopology};
use vltava_client::producer::ProducerRecord;
use vltava_client::{Consumer, ConsumerConfig};

use super::cluster::Cluster;

async fn with_words() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.create(NewTopic::new("words").partitions(1)).await;
    cluster.send((0..5).map(|at| ProducerRecord::new("words").value("w").timestamp(1000 * at))).await;
    cluster
}

#[tokio::test]
async fn a_group_has_members_offsets_and_lag() {
    let cluster = with_words().await;
    for (protocol, kind) in [("classic", "Classic"), ("consumer", "Consumer")] {
        let member = cluster.member(protocol, protocol, "words").await;
        let found = cluster.json(&format!("/api/groups/{protocol}")).await;
        assert_eq!((&found["type"], &found["state"], &found["lag"]), (&json!(kind), &json!("Stable"), &json!(3)));
        assert_eq!(found["coordinator"]["address"], cluster.servers());
        let who = &found["members"][0];
        assert_eq!(
            (&who["host"], &who["assignment"]),
            (&json!("127.0.0.1"), &json!([{"topic": "words", "partitions": [0]}]))
        );
        let expected = json!([{
            "topic": "words", "partition": 0, "committed": 2, "metadata": null, "start_offset": 0, "end_offset": 5, "lag": 3,
            "member": who["id"], "problem": null,
        }]);
        assert_eq!(found["offsets"], expected);
        let times = cluster.json(&format!("/api/groups/{protocol}/lag-time")).await;
        let (at, lag) = (times["at"].as_i64().unwrap(), times["partitions"][0]["lag_ms"].as_i64().unwrap());
        assert_eq!(at - lag, 2000, "{times}");
        let reset = cluster.json(&format!("/api/groups/{protocol}/reset")).await;
        assert_eq!(reset["is_possible"], false);
        member.close(std::time::Duration::from_secs(5)).await.unwrap();
    }
    let listed = cluster.json("/api/groups").await;
    let classic = json!({"id": "classic", "type": "Classic", "protocol": "consumer", "state": "Empty"});
    assert_eq!((listed["groups"].as_array().unwrap().len(), &listed["groups"][0]), (2, &classic));
}

#[tokio::test]
async fn what_a_reset_would_do_is_told_and_not_done() {
    let cluster = with_words().await;
    let member = cluster.member("readers", "classic", "words").await;
    member.close(std::time::Duration::from_secs(5)).await.unwrap();
    let cases = [("to=earliest", 0), ("to=latest", 5), ("to=datetime&at=3500", 4), ("to=datetime&at=9999", 5)];
    for (query, reset) in cases {
        let found = cluster.json(&format!("/api/groups/readers/reset?{query}")).await;
        let row = json!({"topic": "words", "partition": 0, "committed": 2, "reset": reset, "change": reset - 2, "problem": null});
        assert_eq!((&found["is_possible"], &found["offsets"]), (&json!(true), &json!([row])), "{query}");
    }
    assert_eq!(cluster.json("/api/groups/readers").await["offsets"][0]["committed"], 2);
    for query in ["to=datetime", "to=earliest&at=1", "to=nowhere", "at=x"] {
        let (status, problem) = cluster.problem(&format!("/api/groups/readers/reset?{query}")).await;
        assert_eq!((status, &problem["kind"]), (400, &json!("asked")), "{query}");
    }
}

#[tokio::test]
async fn a_streams_group_has_a_topology_and_tasks() {
    let cluster = with_words().await;
    let changelog = InternalTopic { replication_factor: -1, ..InternalTopic::default() };
    let counts = Subtopology {
        source_topics: BTreeSet::from(["words".to_owned()]),
        state_changelog_topics: BTreeMap::from([("app-counts-changelog".to_owned(), changelog)]),
        ..Subtopology::default()
    };
    let member = StreamsMember {
        process_id: "p".to_owned(),
        subtopologies: BTreeMap::from([("0".to_owned(), counts)]),
        ..StreamsMember::default()
    };
    let config = ConsumerConfig::builder().bootstrap_servers(cluster.servers()).group_id("app").build().unwrap();
    let consumer = Consumer::of_streams_group(config, member).unwrap();
    consumer.subscribe(["words"]).unwrap();
    let found = loop {
        let _ = consumer.poll(std::time::Duration::from_millis(200)).await.unwrap();
        let answer = cluster.ask("/api/groups/app").await;
        if answer.status == 200 && answer.json()["state"] == "Stable" {
            break answer.json();
        }
    };
    assert_eq!((&found["type"], &found["topology_epoch"]), (&json!("Streams"), &json!(0)));
    let subtopology = &found["subtopologies"][0];
    assert_eq!((&subtopology["id"], &subtopology["source_topics"]), (&json!("0"), &json!(["words"])));
    assert_eq!(subtopology["changelog_topics"][0]["name"], "app-counts-changelog");
    let who = &found["members"][0];
    assert_eq!((&who["tasks"]["active"], &who["tasks"]["standby"]), (&json!(["0_0"]), &json!([])));
    assert_eq!((&found["offsets"][0]["member"], &found["offsets"][0]["committed"]), (&who["id"], &Value::Null));
}
