//! The generated codecs of all messages, behind one type.

use bytes::Bytes;
use vltava_protocol::wire::{DecodeError, EncodeError, Message, Reader, Writer};

/// The codec of one message.
pub(crate) struct Codec {
    /// The module, such as `messages` or `records::group`.
    pub(crate) module: &'static str,
    pub(crate) name: &'static str,
    pub(crate) min: i16,
    pub(crate) max: i16,
    /// Decodes, checks that nothing is left, and encodes again.
    pub(crate) round_trip: fn(Bytes, i16) -> Result<Bytes, Failure>,
    /// Decodes and drops the value.
    pub(crate) decode: fn(Bytes, i16) -> Result<(), DecodeError>,
    /// Encodes a default value.
    pub(crate) default: fn(i16) -> Result<Bytes, EncodeError>,
}

/// Why a round trip failed.
#[derive(Debug, PartialEq)]
pub(crate) enum Failure {
    Decode(DecodeError),
    Encode(EncodeError),
}

fn round_trip<M: Message>(bytes: Bytes, version: i16) -> Result<Bytes, Failure> {
    let mut r = Reader::new(bytes);
    let message = M::decode(&mut r, version).map_err(Failure::Decode)?;
    r.finish().map_err(Failure::Decode)?;
    let encoded = encode(&message, version).map_err(Failure::Encode)?;
    // What was written is read as the same value, unless it has a NaN, which is unequal to itself.
    let again = M::decode(&mut Reader::new(encoded.clone()), version).map_err(Failure::Decode)?;
    if message == message.clone() {
        assert_eq!(again, message, "version {version}");
    }
    Ok(encoded)
}

fn encode<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut w = Writer::new();
    message.encode(&mut w, version)?;
    Ok(w.into_bytes())
}

macro_rules! codecs {
    ($($message:ty,)*) => {
        /// Returns the codecs of all messages.
        pub(crate) fn all() -> Vec<Codec> {
            vec![$(Codec {
                module: module_of(std::any::type_name::<$message>()),
                name: <$message>::NAME,
                min: <$message>::MIN_VERSION,
                max: <$message>::MAX_VERSION,
                round_trip: round_trip::<$message>,
                decode: |bytes, version| <$message>::decode(&mut Reader::new(bytes), version).map(drop),
                default: |version| encode(&<$message>::default(), version),
            },)*]
        }
    };
}

vltava_protocol::for_each_message!(codecs);

/// Returns `messages` for `vltava_protocol::messages::produce_request::ProduceRequest`.
fn module_of(path: &'static str) -> &'static str {
    let file = path.rsplit_once("::").unwrap().0;
    let module = file.rsplit_once("::").unwrap().0;
    module.split_once("::").unwrap().1
}
