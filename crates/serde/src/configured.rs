//! Serdes that the configuration names: `default.key.serde`, `default.value.serde` and those of lists.

use std::any::type_name;

use bytes::Bytes;
use uuid::Uuid;

use crate::{
    BigEndian, BooleanSerde, BytesSerde, Data, DefaultSerde, ErasedSerde, ListSerde, Serde, SerdeConfig, SerdeError,
    SerdeRef, StringSerde, UuidSerde, Void, VoidSerde, config::NamedSerde,
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
/// use vltava_config::Settings;
/// use vltava_serde::{Configured, Serde, SerdeConfig, SerdeRef};
///
/// let class = "org.apache.kafka.common.serialization.Serdes$LongSerde";
/// let settings = Settings::parse(&[], [("default.value.serde", class)])?;
/// let config = SerdeConfig::read(&settings.reader());
/// let values: Option<SerdeRef<i64>> = Configured.configure(&config, false);
/// assert!(values.is_some());
/// let texts: Option<SerdeRef<String>> = Configured.configure(&config, false);
/// assert!(texts.is_none(), "a long is no text");
/// # Ok::<(), vltava_config::ConfigError>(())
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
    fn configure(&self, config: &SerdeConfig, is_key: bool) -> Option<SerdeRef<T>> {
        named(config.named(is_key)?)?.iter().find_map(ErasedSerde::get::<T>)
    }
    fn needs_configuration(&self) -> bool {
        true
    }
}

/// The serdes of a class: one for every type that it can have.
fn named(NamedSerde { class, inner }: &NamedSerde) -> Option<Vec<ErasedSerde>> {
    match class.as_str() {
        "ListSerde" => match inner.as_deref()? {
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
        "StringSerde" => Some(vec![ErasedSerde::of::<String>(StringSerde)]),
        "ShortSerde" => Some(vec![ErasedSerde::of::<i16>(BigEndian)]),
        "IntegerSerde" => Some(vec![ErasedSerde::of::<i32>(BigEndian)]),
        "LongSerde" => Some(vec![ErasedSerde::of::<i64>(BigEndian)]),
        "FloatSerde" => Some(vec![ErasedSerde::of::<f32>(BigEndian)]),
        "DoubleSerde" => Some(vec![ErasedSerde::of::<f64>(BigEndian)]),
        "UUIDSerde" => Some(vec![ErasedSerde::of::<Uuid>(UuidSerde)]),
        "BooleanSerde" => Some(vec![ErasedSerde::of::<bool>(BooleanSerde)]),
        "VoidSerde" => Some(vec![ErasedSerde::of::<Void>(VoidSerde)]),
        "ByteArraySerde" | "BytesSerde" | "ByteBufferSerde" => {
            Some(vec![ErasedSerde::of::<Vec<u8>>(BytesSerde), ErasedSerde::of::<Bytes>(BytesSerde)])
        }
        _ => None,
    }
}

fn lists<T: DefaultSerde>() -> Vec<ErasedSerde> {
    vec![
        ErasedSerde::of::<Vec<T>>(ListSerde(T::Serde::default())),
        ErasedSerde::of::<Vec<Option<T>>>(ListSerde(T::Serde::default())),
    ]
}
