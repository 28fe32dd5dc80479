//! Avro, with and without a registry.

mod codec;

use std::{collections::HashMap, fmt, marker::PhantomData, sync::Arc};

use parking_lot::RwLock;
use serde::{Serialize, de::DeserializeOwned};
use vltava_serde::{Serde, SerdeConfig, SerdeError, SerdeRef};

use self::codec::Codec;
use crate::{
    error::{Result, SchemaError},
    registry::{Schema, SchemaRegistry, SchemaType},
    wire,
    writing::{Writing, Written},
};

/// Avro's binary form of any type that `serde` knows: bare, or with the registry's header.
///
/// With a registry, a record is read with the schema it was written with and resolved to this one: fields that are new
/// get their defaults, those that are gone are left out. As a key's serde it uses the subject of keys by itself;
/// where neither a topology nor a typed client uses it, ask for [`for_keys`](Self::for_keys).
///
/// ```
/// use vltava_schema::avro::AvroSerde;
/// use vltava_serde::Serde;
///
/// #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// struct Order { item: String, count: i32 }
///
/// let serde = AvroSerde::<Order>::new(
///     r#"{"type": "record", "name": "Order", "fields": [
///         {"name": "item", "type": "string"}, {"name": "count", "type": "int"}]}"#,
/// )?;
/// let mut bytes = Vec::new();
/// serde.serialize("orders", &Order { item: "tea".to_owned(), count: 2 }, &mut bytes)?;
/// assert_eq!(bytes, [6, b't', b'e', b'a', 4]);
/// assert_eq!(serde.deserialize("orders", &bytes)?.item, "tea");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// With a producer and a registry, and nothing of Streams:
///
/// ```no_run
/// use vltava_client::{Producer, producer::TypedProducer, serdes::StringSerde};
/// use vltava_schema::{SchemaRegistry, avro::AvroSerde};
///
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct Order { item: String, count: i32 }
/// # async fn example(producer: Producer, registry: SchemaRegistry, schema: &str) -> Result<(), Box<dyn std::error::Error>> {
/// let serde = AvroSerde::<Order>::with_registry(&registry, schema)?;
/// let orders = TypedProducer::<String, Order>::new(producer, "orders", StringSerde, serde);
/// let delivery = orders.send(Some(&"mitch".to_owned()), Some(&Order { item: "tea".to_owned(), count: 2 })).await?;
/// delivery.await?;
/// # Ok(())
/// # }
/// ```
pub struct AvroSerde<T> {
    own: Arc<Codec>,
    registered: Option<Arc<Side>>,
    types: PhantomData<fn() -> T>,
}

/// What a serde with a registry keeps: other schemas by their ids.
struct Side {
    writing: Writing,
    readers: RwLock<HashMap<i32, Arc<Codec>>>,
    writers: RwLock<HashMap<i32, Arc<Codec>>>,
}

impl<T> Clone for AvroSerde<T> {
    fn clone(&self) -> Self {
        AvroSerde { own: self.own.clone(), registered: self.registered.clone(), types: PhantomData }
    }
}

impl<T> fmt::Debug for AvroSerde<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registry = self.registered.as_ref().map(|side| &side.writing.registry);
        f.debug_struct("AvroSerde").field("record", &self.own.name()).field("registry", &registry).finish()
    }
}

impl<T> AvroSerde<T> {
    /// Without a registry: bare values, written and read with this schema.
    ///
    /// # Errors
    /// [`SchemaError::InvalidSchema`] if the text is no Avro schema.
    pub fn new(schema: &str) -> Result<Self> {
        Ok(AvroSerde { own: Arc::new(Codec::new(schema, &[], None)?), registered: None, types: PhantomData })
    }

    /// With a registry: its header, and whatever schema a record was written with.
    ///
    /// # Errors
    /// [`SchemaError::InvalidSchema`] if the text is no Avro schema.
    pub fn with_registry(registry: &SchemaRegistry, schema: &str) -> Result<Self> {
        Self::with_schema(registry, Schema::new(SchemaType::Avro, schema))
    }

    /// With a registry and a schema that may refer to others there, which are asked for at once.
    ///
    /// # Errors
    /// [`SchemaError::InvalidSchema`] if a text is no Avro schema, and those of the registry for references.
    pub fn with_schema(registry: &SchemaRegistry, schema: Schema) -> Result<Self> {
        let own = Arc::new(Codec::new(&schema.text, &registry.referenced(&schema)?, None)?);
        let writing = Writing::new(registry, schema, own.name());
        Ok(AvroSerde { own, registered: Some(Arc::new(Side::new(writing))), types: PhantomData })
    }

    /// The same for keys.
    #[must_use]
    pub fn for_keys(&self) -> Self {
        let registered = self.registered.as_ref().map(|side| Arc::new(Side::new(side.writing.for_keys())));
        AvroSerde { own: self.own.clone(), registered, types: PhantomData }
    }

    /// Who writes a topic's records: this schema, or under `use.latest.version` the subject's newest.
    fn writer(&self, side: &Side, written: &Written) -> Result<Arc<Codec>> {
        if Arc::ptr_eq(&written.schema, &side.writing.own) {
            return Ok(self.own.clone());
        }
        if let Some(writer) = side.writers.read().get(&written.id) {
            return Ok(writer.clone());
        }
        let references = side.writing.registry.referenced(&written.schema)?;
        let writer = Arc::new(Codec::new(&written.schema.text, &references, None)?);
        side.writers.write().insert(written.id, writer.clone());
        Ok(writer)
    }

    /// Who reads the records of an id.
    fn reader(&self, side: &Side, id: i32) -> Result<Arc<Codec>> {
        if let Some(reader) = side.readers.read().get(&id) {
            return Ok(reader.clone());
        }
        let schema = side.writing.registry.schema(id)?;
        if schema.schema_type != SchemaType::Avro {
            let (found, expected) = (schema.schema_type.name().to_owned(), "AVRO".to_owned());
            return Err(SchemaError::OtherType { id, found, expected });
        }
        let references = side.writing.registry.referenced(&schema)?;
        let reader = Arc::new(Codec::new(&schema.text, &references, Some(&self.own))?);
        side.readers.write().insert(id, reader.clone());
        Ok(reader)
    }
}

impl Side {
    fn new(writing: Writing) -> Self {
        Side { writing, readers: RwLock::default(), writers: RwLock::default() }
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Serde<T> for AvroSerde<T> {
    fn serialize(&self, topic: &str, value: &T, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let Some(side) = &self.registered else { return self.own.write(value, out).map_err(SerdeError::new) };
        let written = side.writing.written(topic).map_err(SerdeError::new)?;
        wire::put_header(written.id, out);
        self.writer(side, &written).and_then(|writer| writer.write(value, out)).map_err(SerdeError::new)
    }

    fn deserialize(&self, _topic: &str, bytes: &[u8]) -> Result<T, SerdeError> {
        let Some(side) = &self.registered else { return self.own.read(bytes).map_err(SerdeError::new) };
        let (id, payload) = wire::split_header(bytes).map_err(SerdeError::new)?;
        self.reader(side, id).and_then(|reader| reader.read(payload)).map_err(SerdeError::new)
    }

    fn configure(&self, _config: &SerdeConfig, is_key: bool) -> Option<SerdeRef<T>> {
        (is_key && self.registered.is_some()).then(|| Arc::new(self.for_keys()) as SerdeRef<T>)
    }
}
