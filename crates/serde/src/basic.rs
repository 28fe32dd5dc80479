//! Strings, big-endian numbers and bytes.

use bytes::Bytes;

use crate::{DefaultSerde, Serde, SerdeError};

/// UTF-8, as Kafka's `StringSerde`. What is not UTF-8 is read with `U+FFFD` in its place, as Java reads it.
#[derive(Clone, Copy, Debug, Default)]
pub struct StringSerde;

impl Serde<String> for StringSerde {
    fn serialize(&self, _topic: &str, value: &String, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(value.as_bytes());
        Ok(())
    }
    fn deserialize(&self, _topic: &str, bytes: &[u8]) -> Result<String, SerdeError> {
        // Java replaces what is not UTF-8; so do we, or the same topic would stop one of the two.
        Ok(match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => String::from_utf8_lossy(bytes).into_owned(),
        })
    }
    fn serialized_len(&self, value: &String) -> Option<usize> {
        Some(value.len())
    }
}
impl DefaultSerde for String {
    type Serde = StringSerde;
}

/// Fixed width, big endian, as Kafka's serdes for numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct BigEndian;

macro_rules! big_endian {
    ($($t:ty),*) => {$(
        impl Serde<$t> for BigEndian {
            fn serialize(&self, _topic: &str, value: &$t, out: &mut Vec<u8>) -> Result<(), SerdeError> {
                out.extend_from_slice(&value.to_be_bytes());
                Ok(())
            }
            fn deserialize(&self, _topic: &str, bytes: &[u8]) -> Result<$t, SerdeError> {
                bytes.try_into().map(<$t>::from_be_bytes).map_err(|_| {
                    SerdeError::new(format!("{} bytes for {}, which has {}", bytes.len(), stringify!($t), size_of::<$t>()))
                })
            }
            fn serialized_len(&self, _value: &$t) -> Option<usize> {
                Some(size_of::<$t>())
            }
            fn fixed_len(&self) -> Option<usize> {
                Some(size_of::<$t>())
            }
        }
        impl DefaultSerde for $t { type Serde = BigEndian; }
    )*};
}
big_endian!(i16, i32, i64, u64, f32, f64);

/// Bytes as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct BytesSerde;

impl Serde<Vec<u8>> for BytesSerde {
    fn serialize(&self, _topic: &str, value: &Vec<u8>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(value);
        Ok(())
    }
    fn deserialize(&self, _topic: &str, bytes: &[u8]) -> Result<Vec<u8>, SerdeError> {
        Ok(bytes.to_vec())
    }
    fn serialized_len(&self, value: &Vec<u8>) -> Option<usize> {
        Some(value.len())
    }
}
impl DefaultSerde for Vec<u8> {
    type Serde = BytesSerde;
}

impl Serde<Bytes> for BytesSerde {
    fn serialize(&self, _topic: &str, value: &Bytes, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(value);
        Ok(())
    }
    fn deserialize(&self, _topic: &str, bytes: &[u8]) -> Result<Bytes, SerdeError> {
        Ok(Bytes::copy_from_slice(bytes))
    }
    fn serialized_len(&self, value: &Bytes) -> Option<usize> {
        Some(value.len())
    }
}
impl DefaultSerde for Bytes {
    type Serde = BytesSerde;
}
