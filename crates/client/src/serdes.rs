//! Keys and values as bytes, in the forms that Kafka's own serializers write.
//!
//! | serde | types | bytes | Kafka's class |
//! |---|---|---|---|
//! | [`Utf8`] | `str`, `String` | UTF-8 | `StringSerializer` |
//! | [`BigEndian`] | `i16`, `i32`, `i64`, `f32`, `f64` | big-endian, IEEE 754 | `ShortSerializer` … `DoubleSerializer` |
//! | [`Raw`] | `[u8]`, `Vec<u8>`, [`Bytes`] | as they are | `ByteArraySerializer`, `BytesSerializer` |
//! | [`Boolean`] | `bool` | 0 or 1 | `BooleanSerializer` |
//! | [`UuidText`] | [`Uuid`] | 36 characters | `UUIDSerializer` |
//! | [`Json`] | whatever `serde` knows | JSON | – |

use bytes::Bytes;
use uuid::Uuid;

use crate::error::ClientError;

/// Turns values into bytes.
pub trait Serializer<T: ?Sized> {
    /// Appends the value's bytes to `buffer`.
    ///
    /// # Errors
    /// [`ClientError::Serde`] if the value has no bytes in this form. What was appended until then has no meaning.
    fn serialize(&self, value: &T, buffer: &mut Vec<u8>) -> Result<(), ClientError>;
}

/// Turns bytes into values.
pub trait Deserializer<T> {
    /// The value of which these are the bytes.
    ///
    /// # Errors
    /// [`ClientError::Serde`] if they are not.
    fn deserialize(&self, bytes: &[u8]) -> Result<T, ClientError>;
}

fn error<T>(target: &'static str, reason: impl ToString) -> Result<T, ClientError> {
    Err(ClientError::Serde { target, reason: reason.to_string().into() })
}

/// Text as UTF-8.
///
/// ```
/// use vltava_client::serdes::{Deserializer, Serializer, Utf8};
///
/// let mut bytes = Vec::new();
/// Utf8.serialize("mitch", &mut bytes)?;
/// let text: String = Utf8.deserialize(&bytes)?;
/// assert_eq!(text, "mitch");
/// # Ok::<(), vltava_client::ClientError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Utf8;

impl Serializer<str> for Utf8 {
    fn serialize(&self, value: &str, buffer: &mut Vec<u8>) -> Result<(), ClientError> {
        buffer.extend_from_slice(value.as_bytes());
        Ok(())
    }
}

impl Serializer<String> for Utf8 {
    fn serialize(&self, value: &String, buffer: &mut Vec<u8>) -> Result<(), ClientError> {
        buffer.extend_from_slice(value.as_bytes());
        Ok(())
    }
}

impl Deserializer<String> for Utf8 {
    fn deserialize(&self, bytes: &[u8]) -> Result<String, ClientError> {
        std::str::from_utf8(bytes).map(str::to_owned).or_else(|reason| error("string", reason))
    }
}

/// Numbers, the most significant byte first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BigEndian;

macro_rules! big_endian {
    ($($number:ty),*) => {
        $(
            impl Serializer<$number> for BigEndian {
                fn serialize(&self, value: &$number, buffer: &mut Vec<u8>) -> Result<(), ClientError> {
                    buffer.extend_from_slice(&value.to_be_bytes());
                    Ok(())
                }
            }

            impl Deserializer<$number> for BigEndian {
                fn deserialize(&self, bytes: &[u8]) -> Result<$number, ClientError> {
                    match bytes.try_into() {
                        Ok(bytes) => Ok(<$number>::from_be_bytes(bytes)),
                        Err(_) => {
                            let size = size_of::<$number>();
                            error(stringify!($number), format!("{} bytes in place of {size}", bytes.len()))
                        }
                    }
                }
            }
        )*
    };
}

big_endian!(i16, i32, i64, f32, f64);

/// Bytes as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Raw;

impl<T: AsRef<[u8]> + ?Sized> Serializer<T> for Raw {
    fn serialize(&self, value: &T, buffer: &mut Vec<u8>) -> Result<(), ClientError> {
        buffer.extend_from_slice(value.as_ref());
        Ok(())
    }
}

impl Deserializer<Vec<u8>> for Raw {
    fn deserialize(&self, bytes: &[u8]) -> Result<Vec<u8>, ClientError> {
        Ok(bytes.to_vec())
    }
}

impl Deserializer<Bytes> for Raw {
    fn deserialize(&self, bytes: &[u8]) -> Result<Bytes, ClientError> {
        Ok(Bytes::copy_from_slice(bytes))
    }
}

/// A truth value in one byte, 0 or 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Boolean;

impl Serializer<bool> for Boolean {
    fn serialize(&self, value: &bool, buffer: &mut Vec<u8>) -> Result<(), ClientError> {
        buffer.push(u8::from(*value));
        Ok(())
    }
}

impl Deserializer<bool> for Boolean {
    fn deserialize(&self, bytes: &[u8]) -> Result<bool, ClientError> {
        match bytes {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => error("boolean", format!("{bytes:?} in place of one byte, 0 or 1")),
        }
    }
}

/// A UUID in its usual spelling of 36 characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UuidText;

impl Serializer<Uuid> for UuidText {
    fn serialize(&self, value: &Uuid, buffer: &mut Vec<u8>) -> Result<(), ClientError> {
        let mut text = Uuid::encode_buffer();
        buffer.extend_from_slice(value.hyphenated().encode_lower(&mut text).as_bytes());
        Ok(())
    }
}

impl Deserializer<Uuid> for UuidText {
    fn deserialize(&self, bytes: &[u8]) -> Result<Uuid, ClientError> {
        Uuid::try_parse_ascii(bytes).or_else(|reason| error("uuid", reason))
    }
}

/// JSON, of every type that `serde` can write or read.
///
/// ```
/// use vltava_client::serdes::{Deserializer, Json, Serializer};
///
/// #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// struct User {
///     name: String,
/// }
///
/// let mut bytes = Vec::new();
/// Json.serialize(&User { name: "elyse".to_owned() }, &mut bytes)?;
/// assert_eq!(bytes, br#"{"name":"elyse"}"#);
/// let user: User = Json.deserialize(&bytes)?;
/// assert_eq!(user.name, "elyse");
/// # Ok::<(), vltava_client::ClientError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Json;

impl<T: serde::Serialize + ?Sized> Serializer<T> for Json {
    fn serialize(&self, value: &T, buffer: &mut Vec<u8>) -> Result<(), ClientError> {
        serde_json::to_writer(buffer, value).or_else(|reason| error("json", reason))
    }
}

impl<T: serde::de::DeserializeOwned> Deserializer<T> for Json {
    fn deserialize(&self, bytes: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(bytes).or_else(|reason| error("json", reason))
    }
}

#[cfg(test)]
mod tests;
