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

/// What a family of samples is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Its samples are numbers of values by upper bounds, a sum and a count.
    Histogram,
    /// Its samples are quantiles and a count.
    Summary,
}

impl FamilyKind {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// Text that grows, family by family. The samples of a family stand together.
#[derive(Debug, Default)]
pub struct Text {
    text: String,
}

impl Text {
    /// Begins a family.
    pub fn family(&mut self, name: &str, help: &str, kind: FamilyKind) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP {name} {}", help.replace('\\', "\\\\").replace('\n', "\\n"));
        let _ = writeln!(self.text, "# TYPE {name} {}", kind.name());
    }

    /// One sample, with labels and their values.
    pub fn sample<'l, 'v>(&mut self, name: &str, labels: impl IntoIterator<Item = (&'l str, &'v str)>, value: f64) {
        self.text.push_str(name);
        let mut separator = '{';
        for (label, value) in labels {
            self.text.push(separator);
            self.text.extend(label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
            self.text.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
            separator = ',';
        }
        if separator == ',' {
            self.text.push('}');
        }
        let _ = match value {
            f64::INFINITY => writeln!(self.text, " +Inf"),
            f64::NEG_INFINITY => writeln!(self.text, " -Inf"),
            value => writeln!(self.text, " {value}"),
        };
    }

    /// How long it is by now, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether there is nothing yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// What was written.
    #[must_use]
    pub fn into_string(self) -> String {
        self.text
    }
}

/// All metrics of one name.
#[derive(Debug)]
struct Family<'a> {
    help: &'static str,
    kind: FamilyKind,
    samples: Vec<(&'a MetricName, Option<&'a str>, f64)>,
}

/// The text of a snapshot.
#[must_use]
pub fn text(snapshot: &Snapshot) -> String {
    let mut text = Text::default();
    write(snapshot, &mut text);
    text.into_string()
}

/// Adds a snapshot to a text.
pub fn write(snapshot: &Snapshot, text: &mut Text) {
    let mut families: BTreeMap<String, Family<'_>> = BTreeMap::new();
    for (name, value) in snapshot {
        let (family, told, value) = match value {
            MetricValue::Number(number) => (word(&[name.domain, name.group, name.name]), None, *number),
            MetricValue::Text(text) => (word(&[name.domain, name.group]), Some(&**text), 1.0),
        };
        let kind = if name.name.ends_with("-total") { FamilyKind::Counter } else { FamilyKind::Gauge };
        let empty = || Family { help: name.description, kind, samples: Vec::new() };
        families.entry(family).or_insert_with(empty).samples.push((name, told, value));
    }
    for (name, family) in families {
        text.family(&name, family.help, family.kind);
        for (metric, told, value) in family.samples {
            let told = told.map(|told| (metric.name, told));
            text.sample(&name, metric.tags.iter().chain(told), value);
        }
    }
}

/// Parts of a name, as one word.
#[must_use]
pub fn word(parts: &[&str]) -> String {
    parts.join("_").chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
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
