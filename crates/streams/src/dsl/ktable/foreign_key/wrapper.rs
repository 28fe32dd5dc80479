//! What the two sides of a foreign-key join tell each other, in the JVM's bytes (KIP-213).

use std::sync::Arc;

use crate::{
    data::{Data, Flow},
    error::SerdeError,
    serdes::{Serde, SerdeConfig, SerdeRef, configured},
};

/// Both halves of the hash of a row's value.
pub(crate) type Hash = [u64; 2];

/// What a subscription asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// Forget it, and do not answer.
    DeleteKeyNoPropagate = 0,
    /// Forget it, and answer that there is nothing.
    DeleteKeyAndPropagate = 1,
    /// Remember it, and answer in any case.
    PropagateNullIfNoFkValAvailable = 2,
    /// Remember it, and answer if the row is there.
    PropagateOnlyIfFkValAvailable = 3,
}

impl Instruction {
    fn of(byte: u8) -> Option<Self> {
        [
            Self::DeleteKeyNoPropagate,
            Self::DeleteKeyAndPropagate,
            Self::PropagateNullIfNoFkValAvailable,
            Self::PropagateOnlyIfFkValAvailable,
        ]
        .get(usize::from(byte))
        .copied()
    }

    pub(crate) fn deletes(self) -> bool {
        matches!(self, Self::DeleteKeyNoPropagate | Self::DeleteKeyAndPropagate)
    }
}

/// A subscription without the key it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// Of the value that the key has; `None` where it has none.
    pub(crate) hash: Option<Hash>,
    pub(crate) instruction: Instruction,
    /// Where the answer has to go; `None` in version 0, which applications before Kafka 3.4 wrote.
    pub(crate) primary_partition: Option<i32>,
}

/// A subscription on its way to the other table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubscriptionWrapper<K> {
    pub(crate) subscription: Subscription,
    pub(crate) primary_key: K,
}

impl<K: Data> Data for SubscriptionWrapper<K> {}

/// Set in the first byte where there is no hash; the other bits are the version.
const HASH_IS_NULL: u8 = 0x80;

fn write_head(version: u8, hash: Option<Hash>, instruction: Option<Instruction>, out: &mut Vec<u8>) {
    out.push(if hash.is_some() { version } else { version | HASH_IS_NULL });
    out.extend(instruction.map(|instruction| instruction as u8));
    for half in hash.iter().flatten() {
        out.extend_from_slice(&half.to_be_bytes());
    }
}

fn cut_short(what: &str) -> SerdeError {
    SerdeError::new(format!("a {what} of a foreign-key join that is cut short"))
}

fn hash_of(first: u8, bytes: &[u8]) -> Option<(Option<Hash>, &[u8])> {
    if first & HASH_IS_NULL != 0 {
        return Some((None, bytes));
    }
    let (h1, bytes) = bytes.split_first_chunk::<8>()?;
    let (h2, bytes) = bytes.split_first_chunk::<8>()?;
    Some((Some([u64::from_be_bytes(*h1), u64::from_be_bytes(*h2)]), bytes))
}

impl Subscription {
    /// Reads the bytes of a subscription; gives the bytes of the primary key as well.
    pub(crate) fn read(bytes: &[u8]) -> Result<(Self, &[u8]), SerdeError> {
        let short = || cut_short("subscription");
        let Some(([first, instruction], rest)) = bytes.split_first_chunk::<2>() else { return Err(short()) };
        let version = first & !HASH_IS_NULL;
        let instruction = Instruction::of(*instruction)
            .ok_or_else(|| SerdeError::new(format!("unknown instruction {instruction} of a subscription")))?;
        let (hash, rest) = hash_of(*first, rest).ok_or_else(short)?;
        let (key, primary_partition) = match version {
            0 => (rest, None),
            1 => {
                let (key, partition) = rest.split_last_chunk::<4>().ok_or_else(short)?;
                (key, Some(i32::from_be_bytes(*partition)))
            }
            _ => return Err(SerdeError::new(format!("unsupported version {version} of a subscription"))),
        };
        Ok((Subscription { hash, instruction, primary_partition }, key))
    }
}

/// Version and instruction, a byte each; the hash, 16 bytes, if there is one; the primary key; and from version 1 on
/// the partition of the primary key, 4 bytes.
pub(crate) struct SubscriptionWrapperSerde<K> {
    pub(crate) key_serde: SerdeRef<K>,
    /// The topic that the key's serde is told, which does not exist.
    pub(crate) topic: Arc<str>,
}

impl<K: Flow> Serde<SubscriptionWrapper<K>> for SubscriptionWrapperSerde<K> {
    fn serialize(&self, _topic: &str, wrapper: &SubscriptionWrapper<K>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let Subscription { hash, instruction, primary_partition } = wrapper.subscription;
        write_head(u8::from(primary_partition.is_some()), hash, Some(instruction), out);
        self.key_serde.serialize(&self.topic, &wrapper.primary_key, out)?;
        out.extend(primary_partition.into_iter().flat_map(i32::to_be_bytes));
        Ok(())
    }

    fn deserialize(&self, _topic: &str, bytes: &[u8]) -> Result<SubscriptionWrapper<K>, SerdeError> {
        let (subscription, key) = Subscription::read(bytes)?;
        Ok(SubscriptionWrapper { subscription, primary_key: self.key_serde.deserialize(&self.topic, key)? })
    }

    fn configure(&self, config: &SerdeConfig, _is_key: bool) -> Option<SerdeRef<SubscriptionWrapper<K>>> {
        let key_serde = configured(self.key_serde.clone(), config, true)?;
        let topic = pseudo_topic(config.application_id()?, &self.topic);
        Some(Arc::new(SubscriptionWrapperSerde { key_serde, topic }))
    }

    fn needs_configuration(&self) -> bool {
        self.key_serde.needs_configuration()
    }
}

/// The name of a topic that does not exist, as serdes are told it: with the application's.
pub(crate) fn pseudo_topic(application_id: &str, topic: &str) -> Arc<str> {
    format!("{application_id}-{topic}").into()
}

/// The answer to a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubscriptionResponseWrapper<V> {
    /// That of the subscription.
    pub(crate) hash: Option<Hash>,
    pub(crate) foreign_value: Option<V>,
    /// Where the answer has to go. It is not part of the bytes.
    pub(crate) primary_partition: Option<i32>,
}

impl<V: Data> Data for SubscriptionResponseWrapper<V> {
    fn default_serde() -> Option<SerdeRef<Self>> {
        V::default_serde().map(|serde| Arc::new(SubscriptionResponseWrapperSerde(serde)) as SerdeRef<Self>)
    }
}

/// The version, a byte; the hash, 16 bytes, if there is one; and the value. As in Kafka, a value without bytes cannot be
/// told from none.
pub(crate) struct SubscriptionResponseWrapperSerde<V>(pub(crate) SerdeRef<V>);

impl<V: Flow> Serde<SubscriptionResponseWrapper<V>> for SubscriptionResponseWrapperSerde<V> {
    fn serialize(
        &self,
        topic: &str,
        response: &SubscriptionResponseWrapper<V>,
        out: &mut Vec<u8>,
    ) -> Result<(), SerdeError> {
        write_head(0, response.hash, None, out);
        response.foreign_value.as_ref().map_or(Ok(()), |value| self.0.serialize(topic, value, out))
    }

    fn deserialize(&self, topic: &str, bytes: &[u8]) -> Result<SubscriptionResponseWrapper<V>, SerdeError> {
        let short = || cut_short("response");
        let (first, rest) = bytes.split_first().ok_or_else(short)?;
        let version = first & !HASH_IS_NULL;
        if version != 0 {
            return Err(SerdeError::new(format!("unsupported version {version} of a foreign-key join's response")));
        }
        let (hash, value) = hash_of(*first, rest).ok_or_else(short)?;
        let foreign_value = match value {
            [] => None,
            value => Some(self.0.deserialize(topic, value)?),
        };
        Ok(SubscriptionResponseWrapper { hash, foreign_value, primary_partition: None })
    }

    fn configure(&self, config: &SerdeConfig, _is_key: bool) -> Option<SerdeRef<SubscriptionResponseWrapper<V>>> {
        let serde = self.0.configure(config, false)?;
        Some(Arc::new(SubscriptionResponseWrapperSerde(serde)))
    }

    fn needs_configuration(&self) -> bool {
        self.0.needs_configuration()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serdes::StringSerde;

    const HASH: Hash = [0x65d3_5b60_8c9d_4d05, 0xa58e_308f_34ca_abb3];

    fn subscriptions() -> SubscriptionWrapperSerde<String> {
        SubscriptionWrapperSerde { key_serde: Arc::new(StringSerde), topic: "pk".into() }
    }

    fn responses() -> SubscriptionResponseWrapperSerde<String> {
        SubscriptionResponseWrapperSerde(Arc::new(StringSerde))
    }

    fn subscription(
        hash: Option<Hash>,
        instruction: Instruction,
        partition: Option<i32>,
    ) -> SubscriptionWrapper<String> {
        let subscription = Subscription { hash, instruction, primary_partition: partition };
        SubscriptionWrapper { subscription, primary_key: "o1".to_owned() }
    }

    /// The first as Kafka Streams 4.3.1 writes it; version 0 is that of Kafka before 3.4.
    #[test]
    fn subscriptions_have_kafkas_bytes() {
        use Instruction::*;
        let cases = [
            (
                subscription(Some(HASH), PropagateOnlyIfFkValAvailable, Some(0)),
                &b"\x01\x03\x65\xd3\x5b\x60\x8c\x9d\x4d\x05\xa5\x8e\x30\x8f\x34\xca\xab\xb3o1\0\0\0\0"[..],
            ),
            (subscription(None, DeleteKeyAndPropagate, Some(258)), b"\x81\x01o1\0\0\x01\x02"),
            (subscription(None, PropagateNullIfNoFkValAvailable, None), b"\x80\x02o1"),
            (
                subscription(Some(HASH), DeleteKeyNoPropagate, None),
                b"\x00\x00\x65\xd3\x5b\x60\x8c\x9d\x4d\x05\xa5\x8e\x30\x8f\x34\xca\xab\xb3o1",
            ),
        ];
        for (wrapper, bytes) in cases {
            let mut written = Vec::new();
            subscriptions().serialize("t", &wrapper, &mut written).unwrap();
            assert_eq!(written, bytes);
            assert_eq!(subscriptions().deserialize("t", bytes).unwrap(), wrapper);
        }
    }

    #[test]
    fn responses_have_kafkas_bytes() {
        let response = |hash, value: Option<&str>| SubscriptionResponseWrapper {
            hash,
            foreign_value: value.map(str::to_owned),
            primary_partition: None,
        };
        let cases = [
            (response(Some([1, 2]), Some("x")), &b"\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02x"[..]),
            (response(Some([1, 2]), None), b"\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02"),
            (response(None, Some("x")), b"\x80x"),
            (response(None, None), b"\x80"),
        ];
        for (response, bytes) in cases {
            let mut written = Vec::new();
            responses().serialize("t", &response, &mut written).unwrap();
            assert_eq!(written, bytes);
            assert_eq!(responses().deserialize("t", bytes).unwrap(), response);
        }
    }

    #[test]
    fn hostile_bytes_are_errors() {
        for bytes in
            [&b""[..], b"\x01", b"\x81\x04o1\0\0\0\0", b"\x82\x01o1\0\0\0\0", b"\x01\x01short", b"\x81\x01\0\0"]
        {
            assert!(subscriptions().deserialize("t", bytes).is_err(), "{bytes:?}");
        }
        for bytes in [&b""[..], b"\x00short", b"\x81x", b"\x01"] {
            assert!(responses().deserialize("t", bytes).is_err(), "{bytes:?}");
        }
    }
}
