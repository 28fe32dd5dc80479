//! `/api/applications`: programs of Kafka Streams, by what their metrics say.
//!
//! Metrics have the names that the JMX exporter gives Kafka's, so a program of the JVM with that exporter is read as well.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Problem;
use crate::application::Application;
use crate::application::scrape::{Answer, get};
use crate::application::text::{Sample, parse};
use crate::clock::now_ms;
use crate::console::Shared;

/// Kafka's `KafkaStreams.State`, by the numbers of `client-state`.
const STATES: [&str; 7] =
    ["CREATED", "REBALANCING", "RUNNING", "PENDING_SHUTDOWN", "NOT_RUNNING", "PENDING_ERROR", "ERROR"];

const STREAM: &str = "kafka_streams_stream_metrics_";
const THREAD: &str = "kafka_streams_stream_thread_metrics_";
const TASK: &str = "kafka_streams_stream_task_metrics_";
const TOPIC: &str = "kafka_streams_stream_topic_metrics_";
const LAG: &str = "kafka_consumer_consumer_fetch_manager_metrics_records_lag";

pub(super) async fn applications(shared: &Shared) -> Result<Value, Problem> {
    let asked = shared.config.applications.iter().cloned();
    let asked: Vec<_> = asked.map(|application| tokio::spawn(async move { describe(&application).await })).collect();
    let mut found = Vec::new();
    for answer in asked {
        // A panic of our own is told by the runtime, and the others are told all the same.
        found.extend(answer.await);
    }
    Ok(json!({"at": now_ms(), "applications": found}))
}

pub(super) async fn application(shared: &Shared, name: &str) -> Result<Value, Problem> {
    let known = shared.config.applications.iter().find(|application| application.name == name);
    let missing = || Problem::missing(format!("no `--application {name}=…` was given to this console"));
    Ok(describe(known.ok_or_else(missing)?).await)
}

async fn describe(application: &Application) -> Value {
    let at = application.authority.as_str();
    let (metrics, health, ready) = tokio::join!(get(at, "/metrics"), get(at, "/health"), get(at, "/ready"));
    let mut told = Map::new();
    told.insert("name".to_owned(), json!(application.name));
    told.insert("address".to_owned(), json!(format!("http://{at}")));
    told.insert("health".to_owned(), said(health));
    told.insert("ready".to_owned(), said(ready));
    let samples = metrics.and_then(|answer| match answer.status {
        200 => parse(&answer.body),
        status => Err(format!("/metrics answers with status {status}: {}", answer.body.trim())),
    });
    match samples {
        Ok(samples) => told.extend(of_samples(&samples)),
        Err(why) => _ = told.insert("problem".to_owned(), Problem::unreachable(why).inner()),
    }
    Value::Object(told)
}

/// What `/health` or `/ready` says; `null` of a program that has none.
fn said(answer: Result<Answer, String>) -> Value {
    match answer {
        Ok(Answer { status: status @ (200 | 503), body }) => {
            json!({"is_ok": status == 200, "words": body.trim().chars().take(1000).collect::<String>()})
        }
        _ => Value::Null,
    }
}

fn of_samples(samples: &[Sample]) -> Map<String, Value> {
    let one =
        |name: &str| samples.iter().find(|sample| sample.name.strip_prefix(STREAM) == Some(name)).map(|it| it.value);
    let state = one("client_state").and_then(|state| STATES.get(state as usize));
    let threads = rows(samples, THREAD, &["thread_id"]);
    let tasks = rows(samples, TASK, &["thread_id", "task_id"]);
    let topics = rows(samples, TOPIC, &["thread_id", "task_id", "processor_node_id", "topic"]);
    let lags = samples.iter().filter(|sample| sample.name == LAG && !sample.label("topic").is_empty());
    let lag = |sample: &Sample| {
        let of = |label: &str| sample.label(label).to_owned();
        json!({"client_id": of("client_id"), "topic": of("topic"), "partition": of("partition"), "lag": number(sample.value)})
    };
    let fields = [
        ("state", json!(state)),
        ("alive_threads", json!(one("alive_stream_threads"))),
        ("failed_threads", json!(one("failed_stream_threads"))),
        ("threads", json!(threads)),
        ("tasks", json!(tasks)),
        ("topics", json!(topics)),
        ("lags", lags.map(lag).collect()),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The metrics of a group as a row for each of what they are about: its labels, and the metrics by their short names.
fn rows(samples: &[Sample], group: &str, labels: &[&str]) -> Vec<Map<String, Value>> {
    let mut rows: BTreeMap<Vec<&str>, Map<String, Value>> = BTreeMap::new();
    for sample in samples {
        let Some(metric) = sample.name.strip_prefix(group) else { continue };
        let key: Vec<&str> = labels.iter().map(|label| sample.label(label)).collect();
        let row = rows
            .entry(key)
            .or_insert_with(|| labels.iter().map(|label| ((*label).to_owned(), json!(sample.label(label)))).collect());
        row.insert(metric.to_owned(), number(sample.value));
    }
    rows.into_values().collect()
}

/// JSON has no NaN: what is not known yet is `null`.
fn number(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { Value::Null }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_become_rows() {
        let text = r#"
kafka_streams_stream_metrics_client_state{client_id="c"} 2
kafka_streams_stream_metrics_alive_stream_threads{client_id="c"} 1
kafka_streams_stream_thread_metrics_process_rate{thread_id="t1"} 12.5
kafka_streams_stream_thread_metrics_commit_rate{thread_id="t1"} NaN
kafka_streams_stream_task_metrics_dropped_records_total{thread_id="t1",task_id="0_1"} 3
kafka_consumer_consumer_fetch_manager_metrics_records_lag{client_id="c",topic="words",partition="1"} 7
kafka_consumer_consumer_fetch_manager_metrics_records_lag_max{client_id="c"} 7
"#;
        let found = of_samples(&parse(text).unwrap());
        assert_eq!(
            (&found["state"], &found["alive_threads"], &found["failed_threads"]),
            (&json!("RUNNING"), &json!(1.0), &Value::Null)
        );
        assert_eq!(found["threads"], json!([{"thread_id": "t1", "process_rate": 12.5, "commit_rate": null}]));
        assert_eq!(found["tasks"], json!([{"thread_id": "t1", "task_id": "0_1", "dropped_records_total": 3.0}]));
        assert_eq!(found["lags"], json!([{"client_id": "c", "topic": "words", "partition": "1", "lag": 7.0}]));
    }
}
