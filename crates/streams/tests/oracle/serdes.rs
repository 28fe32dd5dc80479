//! Serdes by the names that case files use, over the dynamic value.

use std::{cell::Cell, sync::Arc};

use serde_json::Value as Json;
use vltava_streams::{Data, Serde, SerdeError, SerdeRef, serdes::SerdeConfig};

use super::value::Val;

thread_local! {
    /// Whether the running case has default serdes at all; a type's default is asked for without a configuration.
    static HAS_DEFAULTS: Cell<bool> = const { Cell::new(true) };
}

/// Says whether the next case's configuration has default serdes.
pub fn set_has_defaults(has: bool) {
    HAS_DEFAULTS.set(has);
}

impl Data for Val {
    fn default_serde() -> Option<SerdeRef<Val>> {
        HAS_DEFAULTS.get().then(null)
    }
}

/// What a null serde is in Kafka: the configuration's default.
pub fn null() -> SerdeRef<Val> {
    Arc::new(ConfiguredSerde)
}

/// The serde of a step's field, if it has one.
pub fn serde(step: &Json, field: &str) -> Option<SerdeRef<Val>> {
    step.get(field).and_then(Json::as_str).map(by_name)
}

/// A serde by its name.
pub fn by_name(name: &str) -> SerdeRef<Val> {
    Arc::new(NamedSerde::parse(name))
}

struct ConfiguredSerde;

impl Serde<Val> for ConfiguredSerde {
    fn serialize(&self, _topic: &str, _value: &Val, _out: &mut Vec<u8>) -> Result<(), SerdeError> {
        Err(SerdeError::new("no default serde is configured"))
    }
    fn deserialize(&self, _topic: &str, _bytes: &[u8]) -> Result<Val, SerdeError> {
        Err(SerdeError::new("no default serde is configured"))
    }
    fn configure(&self, config: &SerdeConfig, is_key: bool) -> Option<SerdeRef<Val>> {
        config.get(if is_key { "default.key.serde" } else { "default.value.serde" }).map(by_name)
    }
}

#[derive(Clone, Debug)]
enum NamedSerde {
    Text,
    Long,
    Integer,
    Double,
    Bytes,
    FailsOn(String),
    TimeWindowed { size: i64, inner: Box<NamedSerde> },
    SessionWindowed(Box<NamedSerde>),
}

impl NamedSerde {
    fn parse(name: &str) -> Self {
        let (head, argument) = name.split_once(':').unwrap_or((name, ""));
        match head {
            "string" => NamedSerde::Text,
            "long" => NamedSerde::Long,
            "integer" => NamedSerde::Integer,
            "double" => NamedSerde::Double,
            "bytes" => NamedSerde::Bytes,
            "string_fails_on" => NamedSerde::FailsOn(argument.to_owned()),
            "time_windowed" => {
                let (size, inner) = argument.split_once(':').unwrap();
                NamedSerde::TimeWindowed { size: size.parse().unwrap(), inner: Box::new(Self::parse(inner)) }
            }
            "session_windowed" => NamedSerde::SessionWindowed(Box::new(Self::parse(argument))),
            _ => panic!("unknown serde {name}"),
        }
    }
}

/// What a Java class cast reports.
fn mismatch(serde: &NamedSerde, value: &Val) -> SerdeError {
    SerdeError::new(format!("{serde:?} cannot take {value:?}"))
}

#[allow(clippy::only_used_in_recursion, reason = "an inner serde is told the topic too")]
impl Serde<Val> for NamedSerde {
    fn serialize(&self, topic: &str, value: &Val, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        match (self, value) {
            (NamedSerde::FailsOn(poison), Val::Text(text)) if poison == text => {
                return Err(SerdeError::new(format!("cannot serialize {poison}")));
            }
            (NamedSerde::Text | NamedSerde::FailsOn(_), Val::Text(text)) => out.extend_from_slice(text.as_bytes()),
            (NamedSerde::Long, Val::Long(n)) => out.extend_from_slice(&n.to_be_bytes()),
            (NamedSerde::Integer, Val::Int(n)) => out.extend_from_slice(&n.to_be_bytes()),
            (NamedSerde::Double, Val::Double(x)) => out.extend_from_slice(&x.to_be_bytes()),
            (NamedSerde::Bytes, Val::Bytes(bytes)) => out.extend_from_slice(bytes),
            (NamedSerde::TimeWindowed { inner, .. }, Val::Windowed { key, start, .. }) => {
                inner.serialize(topic, key, out)?;
                out.extend_from_slice(&start.to_be_bytes());
            }
            (NamedSerde::SessionWindowed(inner), Val::Windowed { key, start, end }) => {
                inner.serialize(topic, key, out)?;
                out.extend_from_slice(&end.to_be_bytes());
                out.extend_from_slice(&start.to_be_bytes());
            }
            _ => return Err(mismatch(self, value)),
        }
        Ok(())
    }

    fn deserialize(&self, topic: &str, bytes: &[u8]) -> Result<Val, SerdeError> {
        let wrong = |_| SerdeError::new(format!("{} bytes are no {self:?}", bytes.len()));
        Ok(match self {
            NamedSerde::Text => Val::Text(String::from_utf8_lossy(bytes).into_owned()),
            NamedSerde::FailsOn(poison) => match String::from_utf8_lossy(bytes).into_owned() {
                text if text == *poison => return Err(SerdeError::new(format!("cannot deserialize {poison}"))),
                text => Val::Text(text),
            },
            NamedSerde::Long => Val::Long(i64::from_be_bytes(bytes.try_into().map_err(wrong)?)),
            NamedSerde::Integer => Val::Int(i32::from_be_bytes(bytes.try_into().map_err(wrong)?)),
            NamedSerde::Double => Val::Double(f64::from_be_bytes(bytes.try_into().map_err(wrong)?)),
            NamedSerde::Bytes => Val::Bytes(bytes.to_vec()),
            NamedSerde::TimeWindowed { size, inner } => {
                let (key, start) = split_long(bytes)?;
                let key = Box::new(inner.deserialize(topic, key)?);
                Val::Windowed { key, start, end: start.saturating_add(*size) }
            }
            NamedSerde::SessionWindowed(inner) => {
                let (rest, start) = split_long(bytes)?;
                let (key, end) = split_long(rest)?;
                Val::Windowed { key: Box::new(inner.deserialize(topic, key)?), start, end }
            }
        })
    }

    fn serialized_len(&self, value: &Val) -> Option<usize> {
        match (self, value) {
            (NamedSerde::Text, Val::Text(text)) => Some(text.len()),
            (NamedSerde::Long, Val::Long(_)) => Some(8),
            _ => None,
        }
    }
}

fn split_long(bytes: &[u8]) -> Result<(&[u8], i64), SerdeError> {
    let (rest, last) = bytes.split_last_chunk().ok_or_else(|| SerdeError::new("no window in a windowed key"))?;
    Ok((rest, i64::from_be_bytes(*last)))
}
