//! What records hold, in words.

use bytes::Bytes;
use vltava_protocol::record::RecordView;
use vltava_protocol::schema::{Schema, Value};
use vltava_protocol::wire::{DecodeError, Reader};

use crate::failure::Failure;
use crate::json;
use crate::options::Options;

/// Kafka's default of both decoder classes.
pub(super) const STRING_DECODER: &str = "org.apache.kafka.tools.api.StringDecoder";

/// What decodes the records of a file.
#[derive(Debug)]
pub(super) enum Decoder {
    /// Keys and values of their own.
    Plain { key: Class, value: Class },
    /// The records of a coordinator's topic.
    Coordinator(Vec<Schema>),
    /// Those of the metadata log.
    Metadata(Vec<Schema>),
}

/// Kafka's decoders of single values.
#[derive(Debug, Clone, Copy)]
pub(super) enum Class {
    String,
    Integer,
    Long,
}

/// Key and value of a record in words, where it has them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) key: Option<String>,
    pub(super) payload: Option<String>,
}

impl Decoder {
    pub(super) fn new(options: &Options) -> Result<Self, Failure> {
        let coordinators = [
            ("offsets-decoder", "records/group"),
            ("transaction-log-decoder", "records/transaction"),
            ("cluster-metadata-decoder", "records/metadata"),
            ("share-group-state-decoder", "records/share"),
        ];
        if let Some((name, family)) = coordinators.into_iter().find(|(name, _)| options.has(name)) {
            let schemas = Schema::family(family);
            let metadata = name == "cluster-metadata-decoder";
            return Ok(if metadata { Self::Metadata(schemas) } else { Self::Coordinator(schemas) });
        }
        let class = |name| Class::by_name(options.value(name).unwrap_or(STRING_DECODER));
        Ok(Self::Plain { key: class("key-decoder-class")?, value: class("value-decoder-class")? })
    }

    /// # Errors
    /// A failure that names the offset, where a record of a coordinator has no key.
    pub(super) fn decode(&self, record: &RecordView<'_>) -> Result<Decoded, Failure> {
        match self {
            Self::Plain { key, value } => Ok(Decoded {
                key: record.key().map(|bytes| key.text(bytes)).transpose()?,
                payload: record.value().map(|bytes| value.text(bytes)).transpose()?,
            }),
            Self::Coordinator(schemas) => coordinator(schemas, record),
            Self::Metadata(schemas) => {
                let payload = metadata(schemas, record.value().unwrap_or_default())
                    .unwrap_or_else(|why| format!("Error at {}, skipping. {why}", record.offset()));
                Ok(Decoded { key: None, payload: Some(payload) })
            }
        }
    }
}

impl Class {
    fn by_name(name: &str) -> Result<Self, Failure> {
        match name.strip_prefix("org.apache.kafka.tools.api.") {
            Some("StringDecoder") => Ok(Self::String),
            Some("IntegerDecoder") => Ok(Self::Integer),
            Some("LongDecoder") => Ok(Self::Long),
            _ => Err(Failure::Message(format!("decoder {name} is not supported yet"))),
        }
    }

    fn text(self, bytes: &[u8]) -> Result<String, Failure> {
        let short = |width| {
            Failure::Message(format!("a number of {width} bytes is to be decoded, and there are {}", bytes.len()))
        };
        Ok(match self {
            Self::String => String::from_utf8_lossy(bytes).into_owned(),
            // What follows is passed over, as Java does.
            Self::Integer => i32::from_be_bytes(*bytes.first_chunk().ok_or_else(|| short(4))?).to_string(),
            Self::Long => i64::from_be_bytes(*bytes.first_chunk().ok_or_else(|| short(8))?).to_string(),
        })
    }
}

fn coordinator(schemas: &[Schema], record: &RecordView<'_>) -> Result<Decoded, Failure> {
    let offset = record.offset();
    let Some(key) = record.key() else {
        return Err(Failure::Message(format!(
            "Failed to decode message at offset {offset} using the specified decoder (message had a missing key)"
        )));
    };
    let unreadable = |why: String| Ok(Decoded { key: Some(why), payload: None });
    let skipped = |why: &str| unreadable(format!("Error at offset {offset}, skipping. {why}"));
    let mut reader = Reader::new(Bytes::copy_from_slice(key));
    let Ok(kind) = reader.i16() else { return skipped("Could not read version from key's buffer.") };
    let of_kind =
        |suffix: &str| schemas.iter().find(|schema| schema.number() == Some(kind) && schema.name().ends_with(suffix));
    let (Some(key_schema), Some(value_schema)) = (of_kind("Key"), of_kind("Value")) else {
        return unreadable(format!("Unknown record type {kind} at offset {offset}, skipping."));
    };
    // A key has one version only.
    let key = match key_schema.read(&mut reader, 0) {
        Ok(key) => named("type", Value::String(kind.to_string()), key),
        Err(error) => return skipped(&unread(kind, "key", &error)),
    };
    let Some(value) = record.value() else {
        return Ok(Decoded { key: Some(json::text(&key)), payload: Some("<DELETE>".to_owned()) });
    };
    let mut reader = Reader::new(Bytes::copy_from_slice(value));
    let Ok(version) = reader.i16() else { return skipped("Could not read version from value's buffer.") };
    if !value_schema.has_version(version) {
        return skipped(&format!("Found an unknown record version {version} for {kind} type"));
    }
    let value = match value_schema.read(&mut reader, version) {
        Ok(value) if value_schema.name() == "GroupMetadataValue" => with_protocol(value),
        Ok(value) => value,
        Err(error) => return skipped(&unread(version, "value", &error)),
    };
    let value = named("version", Value::String(version.to_string()), value);
    Ok(Decoded { key: Some(json::text(&key)), payload: Some(json::text(&value)) })
}

fn unread(version: i16, what: &str, error: &DecodeError) -> String {
    format!("Could not read record with version {version} from {what}'s buffer due to: {error}.")
}

fn named(name: &str, of: Value, data: Value) -> Value {
    Value::Struct(vec![(name.to_owned(), of), ("data".to_owned(), data)])
}

/// A classic group of consumers with its members' subscriptions and assignments, which are bytes in the record.
fn with_protocol(mut group: Value) -> Value {
    let Value::Struct(fields) = &mut group else { return group };
    let is_consumers = fields
        .iter()
        .any(|(name, value)| name == "protocolType" && matches!(value, Value::String(kind) if kind == "consumer"));
    let members = fields.iter_mut().find(|(name, _)| name == "members").map(|(_, members)| members);
    if let (true, Some(Value::Array(members))) = (is_consumers, members) {
        for member in members {
            let Value::Struct(fields) = member else { continue };
            for (name, value) in fields {
                let message = match name.as_str() {
                    "subscription" => "ConsumerProtocolSubscription",
                    "assignment" => "ConsumerProtocolAssignment",
                    _ => continue,
                };
                if let Some(read) = protocol(message, value) {
                    *value = read;
                }
            }
        }
    }
    group
}

/// The message in the bytes, if it is one; else they are shown as they are.
fn protocol(message: &str, bytes: &Value) -> Option<Value> {
    let Value::Bytes(bytes) = bytes else { return None };
    let schema = Schema::find("messages", message)?;
    let mut reader = Reader::new(bytes.clone());
    let version = reader.i16().ok().filter(|version| schema.has_version(*version))?;
    schema.read(&mut reader, version).ok()
}

/// A record of the metadata log, or why it cannot be read.
fn metadata(schemas: &[Schema], value: &[u8]) -> Result<String, String> {
    let mut reader = Reader::new(Bytes::copy_from_slice(value));
    let mut head = |what: &str| {
        let number = reader.unsigned_varint().map_err(|_| format!("Error while reading {what}"))?;
        i16::try_from(number).map_err(|_| format!("Value for {what} was too large."))
    };
    let (frame, kind, version) = (head("frame version")?, head("type")?, head("version")?);
    if frame != 1 {
        return Err(format!(
            "Could not deserialize metadata record due to unknown frame version {frame}(only frame version 1 is supported)"
        ));
    }
    let schema = schemas.iter().find(|schema| schema.number() == Some(kind));
    let schema = schema.ok_or_else(|| format!("Unknown metadata id {kind}"))?;
    if !schema.has_version(version) {
        return Err(format!("Failed to deserialize record with type {kind}"));
    }
    let data =
        schema.read(&mut reader, version).map_err(|_| format!("Failed to deserialize record with type {kind}"))?;
    if reader.remaining() > 0 {
        return Err(format!("Found {} byte(s) of garbage after {kind}", reader.remaining()));
    }
    Ok(json::text(&Value::Struct(vec![
        ("type".to_owned(), Value::String(constant(schema.name()))),
        ("version".to_owned(), Value::Integer(version.into())),
        ("data".to_owned(), data),
    ])))
}

/// A name as that of a constant: `TopicRecord` is `TOPIC_RECORD`.
fn constant(name: &str) -> String {
    let mut out = String::new();
    for (index, c) in name.chars().enumerate() {
        if index > 0 && c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}

#[cfg(test)]
mod tests;
