//! Under which subject the registry keeps the schemas of a topic.

use vltava_config::{ConfigError, class_name};

use crate::error::{Result, SchemaError};

/// How a subject is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubjectNameStrategy {
    /// `TOPIC-key` or `TOPIC-value`: one type per topic. The default.
    #[default]
    TopicName,
    /// The full name of the record: the type evolves the same way in all topics.
    RecordName,
    /// `TOPIC-RECORD`: several types per topic, each evolving by itself.
    TopicRecordName,
}

impl SubjectNameStrategy {
    /// By the name of the registry's Java class, with or without package, or without `Strategy`.
    ///
    /// # Errors
    /// [`SchemaError::Config`] for other names.
    pub fn parse(key: &str, name: &str) -> Result<Self> {
        let class = class_name(name);
        match class.trim_end_matches("Strategy") {
            "TopicName" => Ok(SubjectNameStrategy::TopicName),
            "RecordName" => Ok(SubjectNameStrategy::RecordName),
            "TopicRecordName" => Ok(SubjectNameStrategy::TopicRecordName),
            _ => {
                let known = "must be TopicNameStrategy, RecordNameStrategy or TopicRecordNameStrategy";
                Err(ConfigError::new(key, name, known).into())
            }
        }
    }

    /// The subject of a topic's keys or values.
    ///
    /// # Errors
    /// [`SchemaError::InvalidSchema`] if the strategy wants a record's name and the schema has none.
    pub fn subject(self, topic: &str, is_key: bool, format: &'static str, record: Option<&str>) -> Result<String> {
        let record = || {
            let reason = format!("it has no name, and {self:?}Strategy makes subjects of it");
            record.ok_or(SchemaError::InvalidSchema { format, reason })
        };
        Ok(match self {
            SubjectNameStrategy::TopicName if is_key => format!("{topic}-key"),
            SubjectNameStrategy::TopicName => format!("{topic}-value"),
            SubjectNameStrategy::RecordName => record()?.to_owned(),
            SubjectNameStrategy::TopicRecordName => format!("{topic}-{}", record()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::SubjectNameStrategy as Strategy;

    #[test]
    fn subjects_are_those_of_the_java_serializers() {
        let subject = |strategy: Strategy, is_key| strategy.subject("t", is_key, "AVRO", Some("a.B")).unwrap();
        assert_eq!(subject(Strategy::TopicName, true), "t-key");
        assert_eq!(subject(Strategy::TopicName, false), "t-value");
        assert_eq!(subject(Strategy::RecordName, false), "a.B");
        assert_eq!(subject(Strategy::TopicRecordName, true), "t-a.B");
        let unnamed = Strategy::RecordName.subject("t", true, "AVRO", None).unwrap_err().to_string();
        assert_eq!(unnamed, "not a valid AVRO schema: it has no name, and RecordNameStrategy makes subjects of it");
    }

    #[test]
    fn java_class_names_are_known() {
        let class = "io.confluent.kafka.serializers.subject.TopicRecordNameStrategy";
        assert_eq!(Strategy::parse("k", class).unwrap(), Strategy::TopicRecordName);
        let wrong = Strategy::parse("value.subject.name.strategy", "Mine").unwrap_err().to_string();
        assert!(wrong.contains("`value.subject.name.strategy` Mine"), "{wrong}");
    }
}
