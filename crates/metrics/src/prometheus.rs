//! Metrics as text for Prometheus, under the names that the JMX exporter gives Kafka's.
//!
//! A metric is called `domain_group_name` in lower case, with what is no letter or digit as `_`, and its tags are its labels:
//! `kafka_producer_producer_metrics_record_send_total{client_id="c"}`. So calls it the exporter by default (with
//! `lowercaseOutputName`), and so do the widespread rules for clients and Streams. A word is a label of a metric of its group
//! that is 1, as in those rules: `kafka_producer_app_info{client_id="c",version="1"} 1`.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::name::MetricName;
use crate::value::{MetricValue, Snapshot};

/// The media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics of one name.
#[derive(Debug, Default)]
struct Family {
    help: &'static str,
    is_total: bool,
    /// Labels and value.
    lines: Vec<(String, f64)>,
}

/// The text.
#[must_use]
pub fn text(snapshot: &Snapshot) -> String {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for (name, value) in snapshot {
        let (family, labels, value) = match value {
            MetricValue::Number(number) => (family_of(name), labels(name, None), *number),
            MetricValue::Text(text) => (word(&[name.domain, name.group]), labels(name, Some(text)), 1.0),
        };
        let family = families.entry(family).or_default();
        family.help = name.description;
        family.is_total = name.name.ends_with("-total");
        family.lines.push((labels, value));
    }
    let mut text = String::new();
    for (name, family) in families {
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP {name} {}", family.help.replace('\\', "\\\\").replace('\n', "\\n"));
        let _ = writeln!(text, "# TYPE {name} {}", if family.is_total { "counter" } else { "gauge" });
        for (labels, value) in family.lines {
            let _ = match value {
                f64::INFINITY => writeln!(text, "{name}{labels} +Inf"),
                f64::NEG_INFINITY => writeln!(text, "{name}{labels} -Inf"),
                value => writeln!(text, "{name}{labels} {value}"),
            };
        }
    }
    text
}

fn family_of(name: &MetricName) -> String {
    word(&[name.domain, name.group, name.name])
}

fn word(parts: &[&str]) -> String {
    parts.join("_").chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

fn labels(name: &MetricName, text: Option<&str>) -> String {
    let mut labels = String::new();
    for (tag, value) in name.tags.iter().chain(text.map(|text| (name.name, text))) {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(labels, "{}{}=\"{value}\"", if labels.is_empty() { '{' } else { ',' }, word(&[tag]));
    }
    if !labels.is_empty() {
        labels.push('}');
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::name::{MetricName, Tags};
    use crate::value::Snapshot;

    #[test]
    fn names_are_the_exporters() {
        let client = |id: &str| Tags::new([("client-id", id)]);
        let name = |group, name, tags| MetricName::new("kafka.producer", group, name, "what it is", tags);
        let snapshot = Snapshot::from([
            (name("producer-metrics", "record-send-total", client("a")), 12.0.into()),
            (name("producer-metrics", "record-send-total", client("b\"\n")), 0.5.into()),
            (name("producer-metrics", "request-latency-max", client("a")), f64::NAN.into()),
            (name("producer-topic-metrics", "byte-rate", client("a").with("topic", "t")), f64::INFINITY.into()),
            (name("app-info", "version", client("a")), "0.1.0".into()),
        ]);
        let expected = r#"# HELP kafka_producer_app_info what it is
# TYPE kafka_producer_app_info gauge
kafka_producer_app_info{client_id="a",version="0.1.0"} 1
# HELP kafka_producer_producer_metrics_record_send_total what it is
# TYPE kafka_producer_producer_metrics_record_send_total counter
kafka_producer_producer_metrics_record_send_total{client_id="a"} 12
kafka_producer_producer_metrics_record_send_total{client_id="b\"\n"} 0.5
# HELP kafka_producer_producer_metrics_request_latency_max what it is
# TYPE kafka_producer_producer_metrics_request_latency_max gauge
kafka_producer_producer_metrics_request_latency_max{client_id="a"} NaN
# HELP kafka_producer_producer_topic_metrics_byte_rate what it is
# TYPE kafka_producer_producer_topic_metrics_byte_rate gauge
kafka_producer_producer_topic_metrics_byte_rate{client_id="a",topic="t"} +Inf
"#;
        assert_eq!(text(&snapshot), expected);
    }
}
