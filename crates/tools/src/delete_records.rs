//! `kafka-delete-records`: deletes the records of partitions before given offsets.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::Value;
use vltava_client::{Admin, AdminConfig, TopicPartition};

use crate::failure::{Failure, exception};
use crate::java::hash_map_order;
use crate::options::{OptionSpec, Options, value};
use crate::properties;
use crate::tool::{Tool, block_on};

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "kafka-delete-records",
    about: "This tool helps to delete records of the given partitions down to the specified offset.",
    options: OPTIONS,
    has_commands: false,
    run,
};

const OPTIONS: &[OptionSpec] = &[
    value("bootstrap-server", "server(s) to use for bootstrapping", "REQUIRED: Kafka brokers to connect to."),
    value(
        "offset-json-file",
        "Offset json file path",
        "REQUIRED: Offsets as {\"partitions\": [{\"topic\": \"foo\", \"partition\": 1, \"offset\": 1}], \"version\": 1}.",
    ),
    value("command-config", "command config property file path", "Settings for the admin client, a properties file."),
];

fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    options.require(&["bootstrap-server", "offset-json-file"])?;
    let path = options.text("offset-json-file");
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::Message(path.to_owned()),
        _ => Failure::Message(format!("{path}: {error}")),
    })?;
    let before = offsets(&text)?;
    let config = AdminConfig::from_properties(properties::of_admin(options)?)?;
    block_on(async {
        let admin = Admin::new(config)?;
        writeln!(out, "Executing records delete operation")?;
        let deleted = admin.delete_records(before).await;
        writeln!(out, "Records delete operation completed:")?;
        for (partition, result) in deleted {
            match result {
                Ok(low_watermark) => writeln!(out, "partition: {partition}\tlow_watermark: {low_watermark}")?,
                Err(error) => writeln!(out, "partition: {partition}\terror: {}", exception(&error))?,
            }
        }
        Ok(())
    })
}

/// Offsets by partition, none twice.
fn offsets(text: &str) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    let refuse = |text: &str| Failure::Message(text.to_owned());
    let json: Value = serde_json::from_str(text).map_err(|_| refuse("The input string is not a valid JSON"))?;
    let version = json.get("version").map_or(Some(1), Value::as_i64);
    if version != Some(1) {
        let version = json.get("version").unwrap_or(&Value::Null);
        return Err(Failure::Message(format!("Not supported version field value {version}")));
    }
    let partitions = json.get("partitions").ok_or_else(|| refuse("Missing partitions field"))?;
    let partitions = partitions.as_array().ok_or_else(|| refuse("Expected JSON array, received something else"))?;
    let mut offsets = BTreeMap::new();
    let mut duplicates = Vec::new();
    for entry in partitions {
        let field =
            |name: &str| entry.get(name).ok_or_else(|| Failure::Message(format!("No such field exists: `{name}`")));
        let wrong = |name: &str, value: &Value| Failure::Message(format!("`{name}` cannot be {value}"));
        let (topic, partition, offset) = (field("topic")?, field("partition")?, field("offset")?);
        let number = partition.as_i64().and_then(|number| i32::try_from(number).ok());
        let key = TopicPartition::new(
            topic.as_str().ok_or_else(|| wrong("topic", topic))?,
            number.ok_or_else(|| wrong("partition", partition))?,
        );
        let offset = offset.as_i64().ok_or_else(|| wrong("offset", offset))?;
        if offsets.insert(key.clone(), offset).is_some() && !duplicates.contains(&key) {
            duplicates.push(key);
        }
    }
    if duplicates.is_empty() {
        return Ok(offsets);
    }
    hash_map_order(&mut duplicates, 16, |partition| partition);
    let list: Vec<String> = duplicates.iter().map(TopicPartition::to_string).collect();
    Err(Failure::Message(format!("Offset json file contains duplicate topic partitions: {}", list.join(","))))
}

#[cfg(test)]
mod tests {
    use vltava_client::TopicPartition;

    use super::offsets;

    #[test]
    fn offsets_are_read_from_json() {
        let text = r#"{"partitions": [{"topic": "a", "partition": 1, "offset": 5}, {"topic": "a", "partition": 0,
            "offset": -1}], "version": 1}"#;
        let read: Vec<_> = offsets(text).unwrap().into_iter().collect();
        assert_eq!(read, [(TopicPartition::new("a", 0), -1), (TopicPartition::new("a", 1), 5)]);
        assert!(offsets(r#"{"partitions": []}"#).unwrap().is_empty());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let one = r#"{"topic": "a", "partition": 1, "offset": 5}"#;
        let cases = [
            ("no json".to_owned(), "The input string is not a valid JSON"),
            (r#"{"version": 1}"#.to_owned(), "Missing partitions field"),
            (r#"{"partitions": [], "version": 2}"#.to_owned(), "Not supported version field value 2"),
            (
                format!(r#"{{"partitions": [{one}, {one}]}}"#),
                "Offset json file contains duplicate topic partitions: a-1",
            ),
            (r#"{"partitions": [{"topic": "a"}]}"#.to_owned(), "No such field exists: `partition`"),
            (
                r#"{"partitions": [{"topic": "a", "partition": 4294967296, "offset": 0}]}"#.to_owned(),
                "`partition` cannot be 4294967296",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(offsets(&text).unwrap_err().message(), expected, "{text}");
        }
    }
}
