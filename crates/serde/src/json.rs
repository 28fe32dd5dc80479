//! JSON, for whatever `serde` can write and read.

use std::ops::{Deref, DerefMut};

use serde_core::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

use crate::{DefaultSerde, Flow, Serde, SerdeError};

/// JSON text of any type that `serde` can write and read.
///
/// ```
/// use vltava_serde::{JsonSerde, Serde};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Order { item: String, count: u32 }
///
/// let mut bytes = Vec::new();
/// JsonSerde.serialize("orders", &Order { item: "tea".to_owned(), count: 3 }, &mut bytes)?;
/// assert_eq!(bytes, br#"{"item":"tea","count":3}"#);
/// let order: Order = JsonSerde.deserialize("orders", &bytes)?;
/// assert_eq!(order.count, 3);
/// # Ok::<(), vltava_serde::SerdeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonSerde;

impl<T: Serialize + DeserializeOwned> Serde<T> for JsonSerde {
    fn serialize(&self, _topic: &str, value: &T, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        serde_json::to_writer(out, value).map_err(SerdeError::new)
    }
    fn deserialize(&self, _topic: &str, bytes: &[u8]) -> Result<T, SerdeError> {
        serde_json::from_slice(bytes).map_err(SerdeError::new)
    }
}

/// A value whose default serde is JSON, so that none has to be named.
///
/// ```
/// use vltava_serde::{Json, serde_of};
///
/// #[derive(Clone, serde::Serialize, serde::Deserialize)]
/// struct Order { count: u32 }
///
/// let order = serde_of::<Json<Order>>().deserialize("orders", br#"{"count":3}"#)?;
/// assert_eq!(order.count, 3);
/// # Ok::<(), vltava_serde::SerdeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Json<T>(pub T);

// By hand, so that who derives nothing builds no macros for it.
impl<T: Serialize> Serialize for Json<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
impl<'de, T: Deserialize<'de>> Deserialize<'de> for Json<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Json)
    }
}

impl<T> Json<T> {
    /// The value.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Json<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Json<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> From<T> for Json<T> {
    fn from(value: T) -> Self {
        Json(value)
    }
}

impl<T: Flow + Serialize + DeserializeOwned> DefaultSerde for Json<T> {
    type Serde = JsonSerde;
}
