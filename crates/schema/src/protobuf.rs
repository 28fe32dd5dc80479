//! Protobuf, with and without a registry.

mod messages;

use std::{collections::HashMap, fmt, marker::PhantomData, sync::Arc};

use parking_lot::RwLock;
use prost::Message;
use vltava_serde::{Serde, SerdeConfig, SerdeError, SerdeRef};

use self::messages::messages;
use crate::{
    error::{Result, SchemaError},
    registry::{Schema, SchemaRegistry, SchemaType},
    wire,
    writing::Writing,
};

/// Protobuf's form of a message: bare, or with the registry's header and the message's place in its file.
///
/// As a key's serde it uses the subject of keys by itself; where neither a topology nor a typed client uses it, ask for
/// [`for_keys`](Self::for_keys).
///
/// ```
/// use vltava_schema::protobuf::ProtobufSerde;
/// use vltava_serde::Serde;
///
/// #[derive(Clone, PartialEq, prost::Message)]
/// struct Order {
///     #[prost(string, tag = "1")]
///     item: String,
/// }
///
/// let serde = ProtobufSerde::<Order>::new();
/// let mut bytes = Vec::new();
/// serde.serialize("orders", &Order { item: "tea".to_owned() }, &mut bytes)?;
/// assert_eq!(bytes, [10, 3, b't', b'e', b'a']);
/// assert_eq!(serde.deserialize("orders", &bytes)?.item, "tea");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ProtobufSerde<T> {
    registered: Option<Arc<Side>>,
    types: PhantomData<fn() -> T>,
}

/// What a serde with a registry keeps.
struct Side {
    writing: Writing,
    name: String,
    /// By the id of a schema, the message indexes that are known to be those of this message in it.
    places: RwLock<HashMap<i32, Arc<[u8]>>>,
}

impl<T> Clone for ProtobufSerde<T> {
    fn clone(&self) -> Self {
        ProtobufSerde { registered: self.registered.clone(), types: PhantomData }
    }
}

impl<T> Default for ProtobufSerde<T> {
    fn default() -> Self {
        ProtobufSerde { registered: None, types: PhantomData }
    }
}

impl<T> fmt::Debug for ProtobufSerde<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.registered.as_ref().map(|side| &side.name);
        f.debug_struct("ProtobufSerde").field("registered", &name).finish()
    }
}

impl<T> ProtobufSerde<T> {
    /// Without a registry: bare messages.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a registry, the text of the `.proto` file, and the message's full name in it (`package.Outer.Inner`).
    ///
    /// # Errors
    /// [`SchemaError::InvalidSchema`] if the file has no such message.
    pub fn with_registry(registry: &SchemaRegistry, proto: &str, message: &str) -> Result<Self> {
        Self::with_schema(registry, Schema::new(SchemaType::Protobuf, proto), message)
    }

    /// With a registry and a file that may import others there.
    ///
    /// # Errors
    /// [`SchemaError::InvalidSchema`] if the file has no such message.
    pub fn with_schema(registry: &SchemaRegistry, schema: Schema, message: &str) -> Result<Self> {
        place(&schema.text, message)?;
        let writing = Writing::new(registry, schema, Some(message.to_owned()));
        Ok(ProtobufSerde { registered: Some(Arc::new(Side::new(writing, message))), types: PhantomData })
    }

    /// The same for keys.
    #[must_use]
    pub fn for_keys(&self) -> Self {
        let side = |side: &Arc<Side>| Arc::new(Side::new(side.writing.for_keys(), &side.name));
        ProtobufSerde { registered: self.registered.as_ref().map(side), types: PhantomData }
    }
}

/// The message indexes of a message of a file, as they are written.
fn place(proto: &str, message: &str) -> Result<Vec<u8>> {
    let found = messages(proto).into_iter().find(|(name, _)| name == message);
    let (_, indexes) = found.ok_or_else(|| {
        let reason = format!("it has no message {message}");
        SchemaError::InvalidSchema { format: "PROTOBUF", reason }
    })?;
    let mut bytes = Vec::new();
    wire::put_message_indexes(&indexes, &mut bytes);
    Ok(bytes)
}

impl Side {
    fn new(writing: Writing, name: &str) -> Self {
        Side { writing, name: name.to_owned(), places: RwLock::default() }
    }

    fn put_header(&self, topic: &str, out: &mut Vec<u8>) -> Result<()> {
        let written = self.writing.written(topic)?;
        wire::put_header(written.id, out);
        if let Some(place) = self.places.read().get(&written.id) {
            out.extend_from_slice(place);
            return Ok(());
        }
        let place = place(&written.schema.text, &self.name)?;
        out.extend_from_slice(&place);
        self.places.write().insert(written.id, place.into());
        Ok(())
    }

    /// The message's bytes, once it is known to be this message.
    fn payload<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        let (id, rest) = wire::split_header(bytes)?;
        if let Some(payload) = self.places.read().get(&id).and_then(|place| rest.strip_prefix(&**place)) {
            return Ok(payload);
        }
        let (indexes, payload) = wire::split_message_indexes(rest)?;
        let schema = self.writing.registry.schema(id)?;
        let other = |found: String| SchemaError::OtherType { id, found, expected: self.name.clone() };
        if schema.schema_type != SchemaType::Protobuf {
            return Err(other(schema.schema_type.name().to_owned()));
        }
        match messages(&schema.text).into_iter().find(|(_, known)| *known == indexes) {
            Some((name, _)) if name == self.name => {
                let place = rest.get(..rest.len() - payload.len()).unwrap_or_default();
                self.places.write().entry(id).or_insert_with(|| place.into());
                Ok(payload)
            }
            Some((name, _)) => Err(other(name)),
            None => Err(other(format!("message {indexes:?}, which its file has not"))),
        }
    }
}

impl<T: Message + Default + 'static> Serde<T> for ProtobufSerde<T> {
    fn serialize(&self, topic: &str, value: &T, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        if let Some(side) = &self.registered {
            side.put_header(topic, out).map_err(SerdeError::new)?;
        }
        value.encode(out).map_err(SerdeError::new)
    }

    fn deserialize(&self, _topic: &str, bytes: &[u8]) -> Result<T, SerdeError> {
        let payload = match &self.registered {
            Some(side) => side.payload(bytes).map_err(SerdeError::new)?,
            None => bytes,
        };
        let unreadable = |reason: prost::DecodeError| {
            SerdeError::new(SchemaError::Value { format: "protobuf", reason: reason.to_string() })
        };
        T::decode(payload).map_err(unreadable)
    }

    fn serialized_len(&self, value: &T) -> Option<usize> {
        self.registered.is_none().then(|| value.encoded_len())
    }

    fn configure(&self, _config: &SerdeConfig, is_key: bool) -> Option<SerdeRef<T>> {
        (is_key && self.registered.is_some()).then(|| Arc::new(self.for_keys()) as SerdeRef<T>)
    }
}
