//! What the API says of a cluster.

use serde_json::{Value, json};
use vltava_client::admin::NewTopic;
use vltava_client::producer::{HeaderView, ProducerRecord};

use super::cluster::{Cluster, Events};

fn texts<'a>(found: &'a Value, list: &str, field: &str) -> Vec<&'a str> {
    found[list].as_array().unwrap().iter().map(|it| it[field].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_overview_counts_what_there_is() {
    let cluster = Cluster::start().await;
    cluster.create(NewTopic::new("words").partitions(3)).await;
    cluster.create(NewTopic::new("counts").partitions(2)).await;
    let found = cluster.json("/api/overview").await;
    assert_eq!(found["cluster_id"], cluster.broker.cluster_id());
    assert_eq!((&found["topics"], &found["partitions"], &found["groups"]), (&json!(2), &json!(5), &json!(0)));
    assert_eq!((&found["offline_partitions"], &found["under_replicated_partitions"]), (&json!(0), &json!(0)));
    assert_eq!((&found["records_per_second"], &found["problems"]), (&Value::Null, &json!([])));
    let broker = json!({"id": 1, "address": cluster.servers(), "rack": null, "is_controller": true, "leads": 5});
    assert_eq!((&found["brokers"], &found["missing_brokers"]), (&json!([broker]), &json!([])));
}

#[tokio::test]
async fn topics_come_in_pages() {
    let cluster = Cluster::start().await;
    for (name, partitions) in [("orders", 1), ("Orders-2", 3), ("payments", 2)] {
        cluster.create(NewTopic::new(name).partitions(partitions)).await;
    }
    cluster.send([ProducerRecord::new("payments").value("a value of some bytes").partition(0)]).await;
    let all = cluster.json("/api/topics").await;
    assert_eq!(
        (&all["total"], &all["matching"], &all["page"], &all["size"]),
        (&json!(3), &json!(3), &json!(0), &json!(100))
    );
    assert_eq!(texts(&all, "topics", "name"), ["Orders-2", "orders", "payments"]);
    let payments = &all["topics"][2];
    assert_eq!(
        (&payments["partitions"], &payments["replicas"], &payments["offline"]),
        (&json!(2), &json!(1), &json!(0))
    );
    assert!(payments["size_bytes"].as_i64().unwrap() > 60 && all["topics"][0]["size_bytes"] == 0, "{all}");

    let cases = [
        ("filter=ORDERS", 2, vec!["Orders-2", "orders"]),
        ("size=2&page=1", 3, vec!["payments"]),
        ("size=2&page=7", 3, vec![]),
        ("sort=partitions&order=descending&size=2", 3, vec!["Orders-2", "payments"]),
        ("sort=size&order=descending&size=1", 3, vec!["payments"]),
        ("order=descending", 3, vec!["payments", "orders", "Orders-2"]),
    ];
    for (query, matching, names) in cases {
        let found = cluster.json(&format!("/api/topics?{query}")).await;
        assert_eq!((found["matching"].as_u64(), texts(&found, "topics", "name")), (Some(matching), names), "{query}");
    }
}

#[tokio::test]
async fn a_topic_has_partitions_and_settings() {
    let cluster = Cluster::start().await;
    cluster.create(NewTopic::new("words").partitions(2).config("retention.ms", "1000")).await;
    cluster.send(["a", "b"].map(|value| ProducerRecord::new("words").value(value).partition(1))).await;
    let found = cluster.json("/api/topics/words").await;
    let partition = &found["partitions"][1];
    let of = |field: &str| partition[field].clone();
    assert_eq!((of("start_offset"), of("end_offset"), of("leader")), (json!(0), json!(2), json!(1)));
    assert_eq!((of("replicas"), of("isr"), of("problem")), (json!([1]), json!([1]), Value::Null));
    assert!(partition["sizes"][0]["size_bytes"].as_i64().unwrap() > 0, "{found}");

    let configs = cluster.json("/api/topics/words/configs").await;
    let retention = configs["configs"].as_array().unwrap().iter().find(|it| it["name"] == "retention.ms").unwrap();
    assert_eq!((&retention["value"], &retention["source"]), (&json!("1000"), &json!("DYNAMIC_TOPIC_CONFIG")));
    let brokers = cluster.json("/api/brokers").await;
    let dir = &brokers["brokers"][0]["log_dirs"][0];
    assert!(dir["size_bytes"].as_i64().unwrap() > 0 && dir["replicas"] == 2 && dir["problem"].is_null(), "{brokers}");
    let of_broker = cluster.json("/api/brokers/1/configs").await;
    assert!(texts(&of_broker, "configs", "name").contains(&"log.dirs"));
}

#[tokio::test]
async fn records_are_read_from_anywhere() {
    let cluster = Cluster::start().await;
    cluster.create(NewTopic::new("words").partitions(2)).await;
    let hostile = "<img src=x onerror=alert(1)>";
    let headers = [HeaderView::new("trace", Some(b"7")), HeaderView::new("none", None)];
    let record = |partition, timestamp| ProducerRecord::new("words").partition(partition).timestamp(timestamp);
    cluster
        .send([
            record(0, 1000).key("k0").value(r#"{"b":1,"a":12345678901234567890}"#),
            record(0, 2000).key(&[0, 0, 0, 7]).value(hostile),
            ProducerRecord { headers: &headers, ..record(0, 3000) },
            record(1, 2500).value(&[0, 1, 254]),
        ])
        .await;
    let read = async |query: &str| {
        let found = cluster.json(&format!("/api/topics/words/records?{query}")).await;
        let at = |it: &Value| format!("{}:{}", it["partition"], it["offset"]);
        let places: Vec<String> = found["records"].as_array().unwrap().iter().map(at).collect();
        (places.join(" "), found)
    };
    let (places, found) = read("partition=0&from=beginning").await;
    assert_eq!(places, "0:0 0:1 0:2");
    assert_eq!((&found["stopped"], &found["next"], &found["looked_at"]), (&json!("end"), &json!(""), &json!(3)));
    let first = &found["records"][0];
    assert_eq!(first["value"]["text"], "{\n  \"b\": 1,\n  \"a\": 12345678901234567890\n}");
    assert_eq!(
        (&first["value"]["format"], &first["timestamp"], &first["key"]["text"]),
        (&json!("json"), &json!(1000), &json!("k0"))
    );
    let second = &found["records"][1];
    assert_eq!((&second["key"]["text"], &second["key"]["format"]), (&json!("7"), &json!("integer")));
    assert_eq!((&second["value"]["text"], &second["value"]["bytes"]), (&json!(hostile), &json!(hostile.len())));
    let third = &found["records"][2];
    assert_eq!((&third["key"], &third["value"]), (&Value::Null, &Value::Null));
    assert_eq!((&third["headers"][0]["value"]["text"], &third["headers"][1]["value"]), (&json!("7"), &Value::Null));

    let cases = [
        ("from=end&limit=2", "0:2 1:0", "end", ""),
        ("partition=0&from=beginning&limit=2", "0:0 0:1", "limit", "0:2"),
        ("from=offset&at=0:2", "0:2", "end", ""),
        ("partition=0&from=offset&at=1", "0:1 0:2", "end", ""),
        ("partition=0&from=offset&at=99", "", "end", ""),
        ("partition=0&from=timestamp&at=1500", "0:1 0:2", "end", ""),
        ("from=timestamp&at=9999", "", "end", ""),
        ("filter=onerror", "0:1", "end", ""),
        ("filter=%22b%22:1", "0:0", "end", ""),
        ("filter=00+01", "1:0", "end", ""),
        ("filter=k0&from=beginning", "0:0", "end", ""),
    ];
    for (query, places, stopped, next) in cases {
        let (found_at, found) = read(query).await;
        let told = (found["stopped"].as_str().unwrap(), found["next"].as_str().unwrap());
        assert_eq!((found_at.as_str(), told), (places, (stopped, next)), "{query}");
    }
    let (_, as_hex) = read("partition=0&from=beginning&limit=1&value_format=integer").await;
    let value = &as_hex["records"][0]["value"];
    assert_eq!(value["problem"], "32 bytes are no integer: it has 1, 2, 4 or 8");
}

#[tokio::test]
async fn events_tell_rates_and_troubles() {
    let cluster = Cluster::start().await;
    cluster.create(NewTopic::new("words")).await;
    let mut events = Events::open(cluster.console).await;
    let (name, first) = events.next().await;
    assert_eq!((name.as_str(), &first["rates"], &first["topics"]), ("sample", &Value::Null, &json!(1)));
    cluster.send((0..100).map(|_| ProducerRecord::new("words").value("w"))).await;
    let rate = loop {
        let (name, sample) = events.next().await;
        assert_eq!(name, "sample");
        if let Some(rate) = sample["rates"]["words"].as_f64() {
            assert_eq!(sample["records_per_second"], json!(rate));
            break rate;
        }
    };
    assert!(rate > 1.0 && rate < 100.0, "{rate}");
    let Cluster { broker, console, .. } = cluster;
    broker.shutdown().await;
    loop {
        let (name, event) = events.next().await;
        if name == "trouble" {
            assert_eq!(event["problem"]["kind"], "unreachable", "{event}");
            break;
        }
    }
    let answer = super::cluster::ask(console, "GET", "/api/overview", "").await;
    assert_eq!((answer.status, &answer.json()["problem"]["kind"]), (502, &json!("unreachable")));
}
