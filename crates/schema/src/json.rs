//! JSON with the registry's header, as Confluent's `KafkaJsonSchemaSerializer` writes it.
//!
//! JSON without a registry is [`vltava_serde::JsonSerde`].

use std::{fmt, marker::PhantomData, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};
use vltava_serde::{Serde, SerdeConfig, SerdeError, SerdeRef};

use crate::{
    error::{Result, SchemaError},
    registry::{Schema, SchemaRegistry, SchemaType},
    wire,
    writing::Writing,
};

/// JSON of any type that `serde` knows, under a JSON schema of the registry.
///
/// The schema is registered or looked up; values are not held against it, as Confluent's serializer does not unless it
/// is told to. Records of whatever schema of type JSON are read. With `RecordNameStrategy` the record's name is the
/// schema's `title`. As a key's serde it uses the subject of keys by itself; where neither a topology nor a typed client
/// uses it, ask for [`for_keys`](Self::for_keys).
pub struct JsonSchemaSerde<T> {
    writing: Arc<Writing>,
    types: PhantomData<fn() -> T>,
}

impl<T> Clone for JsonSchemaSerde<T> {
    fn clone(&self) -> Self {
        JsonSchemaSerde { writing: self.writing.clone(), types: PhantomData }
    }
}

impl<T> fmt::Debug for JsonSchemaSerde<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonSchemaSerde").field("schema", &self.writing.own.text).finish_non_exhaustive()
    }
}

impl<T> JsonSchemaSerde<T> {
    /// With the text of a JSON schema.
    ///
    /// # Errors
    /// [`SchemaError::InvalidSchema`] if it is no JSON.
    pub fn new(registry: &SchemaRegistry, schema: &str) -> Result<Self> {
        Self::with_schema(registry, Schema::new(SchemaType::Json, schema))
    }

    /// With a schema that may refer to others.
    ///
    /// # Errors
    /// [`SchemaError::InvalidSchema`] if its text is no JSON.
    pub fn with_schema(registry: &SchemaRegistry, schema: Schema) -> Result<Self> {
        let parsed: serde_json::Value = serde_json::from_str(&schema.text)
            .map_err(|reason| SchemaError::InvalidSchema { format: "JSON", reason: reason.to_string() })?;
        let title = parsed.get("title").and_then(|title| title.as_str()).map(str::to_owned);
        let writing = Arc::new(Writing::new(registry, schema, title));
        Ok(JsonSchemaSerde { writing, types: PhantomData })
    }

    /// The same for keys.
    #[must_use]
    pub fn for_keys(&self) -> Self {
        JsonSchemaSerde { writing: Arc::new(self.writing.for_keys()), types: PhantomData }
    }

    fn value_error(reason: impl ToString) -> SerdeError {
        SerdeError::new(SchemaError::Value { format: "json", reason: reason.to_string() })
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Serde<T> for JsonSchemaSerde<T> {
    fn serialize(&self, topic: &str, value: &T, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        wire::put_header(self.writing.written(topic).map_err(SerdeError::new)?.id, out);
        serde_json::to_writer(out, value).map_err(Self::value_error)
    }

    fn deserialize(&self, _topic: &str, bytes: &[u8]) -> Result<T, SerdeError> {
        let (id, payload) = wire::split_header(bytes).map_err(SerdeError::new)?;
        let written = self.writing.registry.schema(id).map_err(SerdeError::new)?;
        if written.schema_type != SchemaType::Json {
            let (found, expected) = (written.schema_type.name().to_owned(), "JSON".to_owned());
            return Err(SerdeError::new(SchemaError::OtherType { id, found, expected }));
        }
        serde_json::from_slice(payload).map_err(Self::value_error)
    }

    fn configure(&self, _config: &SerdeConfig, is_key: bool) -> Option<SerdeRef<T>> {
        is_key.then(|| Arc::new(self.for_keys()) as SerdeRef<T>)
    }
}
