//! Serdes that the configuration names: `default.key.serde`, `default.value.serde` and those of lists.

use std::{any::type_name, sync::Arc};

use bytes::Bytes;
use uuid::Uuid;

use super::{BigEndian, BooleanSerde, BytesSerde, ListSerde, Serde, SerdeRef, StringSerde, UuidSerde, Void, VoidSerde};
use crate::{
    config::{ConfiguredSerde, StreamsConfig, simple},
    data::{Data, DefaultSerde, ErasedSerde},
    error::SerdeError,
};

/// The serde that `default.key.serde` or `default.value.serde` names, by Kafka's class.
///
/// A type's own default comes without being asked for; this one is for applications whose configuration decides. It
/// knows the classes of Kafka's `Serdes` (`org.apache.kafka.common.serialization.Serdes$LongSerde`, or just
/// `LongSerde`), and of lists (`ListSerde`) those whose entries `default.list.key.serde.inner` or
/// `default.list.value.serde.inner` names so; a list is always a `Vec`, whatever `default.list.key.serde.type` says. Without
/// such a class, with one that is not known, or with one of another type than `T` no task begins: the error names the node and
/// the type.
///
/// ```
/// use vltava_streams::{Consumed, StreamsBuilder, StreamsConfig, TopologyTestDriver, serdes::{Configured, StringSerde}};
///
/// let builder = StreamsBuilder::new();
/// builder.stream_with::<String, i64>(&["in"], Consumed::with(StringSerde, Configured)).to("out");
/// let config = StreamsConfig::from_properties([
///     ("application.id", "a"),
///     ("default.value.serde", "org.apache.kafka.common.serialization.Serdes$LongSerde"),
/// ])?;
/// let driver = TopologyTestDriver::with_config(&builder.build()?, &config, 0)?;
/// driver.input_topic::<String, i64>("in").pipe("k".to_owned(), 7)?;
/// assert_eq!(driver.output_topic::<String, i64>("out").read_values()?, [7]);
/// # Ok::<(), Box<vltava_streams::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Configured;

impl Configured {
    fn missing<T, R>() -> Result<R, SerdeError> {
        let name = type_name::<T>();
        Err(SerdeError::new(format!("`default.key.serde` or `default.value.serde` names no serde for {name}")))
    }
}

impl<T: Data> Serde<T> for Configured {
    fn serialize(&self, _topic: &str, _value: &T, _out: &mut Vec<u8>) -> Result<(), SerdeError> {
        Configured::missing::<T, ()>()
    }
    fn deserialize(&self, _topic: &str, _bytes: &[u8]) -> Result<T, SerdeError> {
        Configured::missing::<T, T>()
    }
    fn configure(&self, config: &StreamsConfig, is_key: bool) -> Option<SerdeRef<T>> {
        let settings = config.fields();
        let ConfiguredSerde { class, inner } = if is_key { &settings.key_serde } else { &settings.value_serde };
        named(class.as_deref()?, inner.as_deref())?.iter().find_map(ErasedSerde::get::<T>)
    }
    fn needs_configuration(&self) -> bool {
        true
    }
}

/// The serdes of a class: one for every type that it can have.
fn named(class: &str, inner: Option<&str>) -> Option<Vec<ErasedSerde>> {
    match simple(class) {
        "ListSerde" => match simple(inner?) {
            "StringSerde" => Some(lists::<String>()),
            "ShortSerde" => Some(lists::<i16>()),
            "IntegerSerde" => Some(lists::<i32>()),
            "LongSerde" => Some(lists::<i64>()),
            "FloatSerde" => Some(lists::<f32>()),
            "DoubleSerde" => Some(lists::<f64>()),
            "UUIDSerde" => Some(lists::<Uuid>()),
            "BooleanSerde" => Some(lists::<bool>()),
            "ByteArraySerde" | "BytesSerde" | "ByteBufferSerde" => {
                Some([lists::<Vec<u8>>(), lists::<Bytes>()].concat())
            }
            _ => None,
        },
        "StringSerde" => Some(vec![erased::<String>(StringSerde)]),
        "ShortSerde" => Some(vec![erased::<i16>(BigEndian)]),
        "IntegerSerde" => Some(vec![erased::<i32>(BigEndian)]),
        "LongSerde" => Some(vec![erased::<i64>(BigEndian)]),
        "FloatSerde" => Some(vec![erased::<f32>(BigEndian)]),
        "DoubleSerde" => Some(vec![erased::<f64>(BigEndian)]),
        "UUIDSerde" => Some(vec![erased::<Uuid>(UuidSerde)]),
        "BooleanSerde" => Some(vec![erased::<bool>(BooleanSerde)]),
        "VoidSerde" => Some(vec![erased::<Void>(VoidSerde)]),
        "ByteArraySerde" | "BytesSerde" | "ByteBufferSerde" => {
            Some(vec![erased::<Vec<u8>>(BytesSerde), erased::<Bytes>(BytesSerde)])
        }
        _ => None,
    }
}

fn erased<T: 'static>(serde: impl Serde<T>) -> ErasedSerde {
    ErasedSerde::new(Arc::new(serde) as SerdeRef<T>)
}

fn lists<T: DefaultSerde>() -> Vec<ErasedSerde> {
    vec![erased::<Vec<T>>(ListSerde(T::Serde::default())), erased::<Vec<Option<T>>>(ListSerde(T::Serde::default()))]
}
