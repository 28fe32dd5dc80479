//! JSON, for whatever `serde` can write and read.

use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Serde;
use crate::{
    data::{DefaultSerde, Flow},
    error::SerdeError,
};

/// JSON text of any type that `serde` can write and read.
///
/// ```
/// use vltava_streams::{Consumed, Produced, StreamsBuilder, TopologyTestDriver, data::Data, serdes::{JsonSerde, StringSerde}};
///
/// #[derive(Clone, serde::Serialize, serde::Deserialize)]
/// struct Order { item: String, count: u32 }
/// impl Data for Order {}
///
/// let builder = StreamsBuilder::new();
/// let orders = builder.stream_with::<String, Order>(&["orders"], Consumed::with(StringSerde, JsonSerde));
/// orders.filter(|_, order| order.count > 1).to_with("bulk", Produced::with(StringSerde, JsonSerde));
/// let driver = TopologyTestDriver::new(&builder.build()?)?;
/// let orders = driver.input_topic::<String, String>("orders");
/// orders.pipe("a".to_owned(), r#"{"item":"tea","count":3}"#.to_owned())?;
/// let bulk = driver.output_topic::<String, String>("bulk");
/// assert_eq!(bulk.read_values()?, [r#"{"item":"tea","count":3}"#]);
/// # Ok::<(), Box<vltava_streams::Error>>(())
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
/// use vltava_streams::{StreamsBuilder, serdes::Json};
///
/// #[derive(Clone, serde::Serialize, serde::Deserialize)]
/// struct Order { count: u32 }
///
/// let builder = StreamsBuilder::new();
/// builder.stream::<String, Json<Order>>("orders").filter(|_, order| order.count > 1).to("bulk");
/// # builder.build()?;
/// # Ok::<(), Box<vltava_streams::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json<T>(pub T);

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
