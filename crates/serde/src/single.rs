//! Truth values, identifiers, and types that have next to no bytes.

use uuid::Uuid;

use crate::{DefaultSerde, Serde, SerdeError};

/// One byte, 1 or 0, as Kafka's `BooleanSerde`.
#[derive(Clone, Copy, Debug, Default)]
pub struct BooleanSerde;

impl Serde<bool> for BooleanSerde {
    fn serialize(&self, _topic: &str, value: &bool, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.push(u8::from(*value));
        Ok(())
    }
    fn deserialize(&self, _topic: &str, bytes: &[u8]) -> Result<bool, SerdeError> {
        match bytes {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(SerdeError::new(format!("byte {other} for a boolean, which is 0 or 1"))),
            _ => Err(SerdeError::new(format!("{} bytes for a boolean, which has 1", bytes.len()))),
        }
    }
    fn serialized_len(&self, _value: &bool) -> Option<usize> {
        Some(1)
    }
}
impl DefaultSerde for bool {
    type Serde = BooleanSerde;
}

/// The 36 characters of a UUID, as Kafka's `UUIDSerde`.
#[derive(Clone, Copy, Debug, Default)]
pub struct UuidSerde;

/// How many characters a UUID has.
const UUID_LEN: usize = 36;

impl Serde<Uuid> for UuidSerde {
    fn serialize(&self, _topic: &str, value: &Uuid, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(value.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
        Ok(())
    }
    fn deserialize(&self, _topic: &str, bytes: &[u8]) -> Result<Uuid, SerdeError> {
        Uuid::try_parse_ascii(bytes).map_err(SerdeError::new)
    }
    fn serialized_len(&self, _value: &Uuid) -> Option<usize> {
        Some(UUID_LEN)
    }
    fn fixed_len(&self) -> Option<usize> {
        Some(UUID_LEN)
    }
}
impl DefaultSerde for Uuid {
    type Serde = UuidSerde;
}

/// The type without a value: a stream of `Option<Void>` has nothing but nulls there, as Java's `Void`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Void {}

/// Kafka's `VoidSerde`: only null passes; any bytes are an error.
#[derive(Clone, Copy, Debug, Default)]
pub struct VoidSerde;

impl Serde<Void> for VoidSerde {
    fn serialize(&self, _topic: &str, value: &Void, _out: &mut Vec<u8>) -> Result<(), SerdeError> {
        match *value {}
    }
    fn deserialize(&self, _topic: &str, bytes: &[u8]) -> Result<Void, SerdeError> {
        Err(SerdeError::new(format!("{} bytes where only null may stand", bytes.len())))
    }
}
impl DefaultSerde for Void {
    type Serde = VoidSerde;
}

/// No bytes at all, for values that only say that a key is there; Kafka has no serde of this kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnitSerde;

impl Serde<()> for UnitSerde {
    fn serialize(&self, _topic: &str, _value: &(), _out: &mut Vec<u8>) -> Result<(), SerdeError> {
        Ok(())
    }
    fn deserialize(&self, _topic: &str, bytes: &[u8]) -> Result<(), SerdeError> {
        if bytes.is_empty() { Ok(()) } else { Err(SerdeError::new(format!("{} bytes for a unit", bytes.len()))) }
    }
    fn serialized_len(&self, _value: &()) -> Option<usize> {
        Some(0)
    }
}
impl DefaultSerde for () {
    type Serde = UnitSerde;
}
