//! The bytes of a table's change in a repartition topic (KIP-904).

use std::sync::Arc;

use vltava_protocol::record::{put_varint, split_varint};

use super::{Serde, SerdeConfig, SerdeRef, length};
use crate::{
    data::{Data, Flow},
    error::SerdeError,
    record::Change,
};

/// New value, old value, and a last byte that says which are there: 0 old, 1 new, 2 both, where the new one has its
/// length as a varint in front.
pub(crate) struct ChangeSerde<V>(pub(crate) SerdeRef<V>);

impl<V: Data> Data for Change<V> {
    fn default_serde() -> Option<SerdeRef<Self>> {
        V::default_serde().map(|serde| Arc::new(ChangeSerde(serde)) as SerdeRef<Self>)
    }
}

impl<V: Flow> Serde<Change<V>> for ChangeSerde<V> {
    fn serialize(&self, topic: &str, change: &Change<V>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let flag = match (&change.new, &change.old) {
            (Some(new), Some(old)) => {
                let mut bytes = Vec::new();
                self.0.serialize(topic, new, &mut bytes)?;
                put_varint(length(bytes.len())?, out);
                out.extend_from_slice(&bytes);
                self.0.serialize(topic, old, out)?;
                2
            }
            (Some(new), None) => {
                self.0.serialize(topic, new, out)?;
                1
            }
            (None, Some(old)) => {
                self.0.serialize(topic, old, out)?;
                0
            }
            (None, None) => return Err(SerdeError::new("a change needs an old or a new value")),
        };
        out.push(flag);
        Ok(())
    }

    fn deserialize(&self, topic: &str, bytes: &[u8]) -> Result<Change<V>, SerdeError> {
        let Some((flag, mut rest)) = bytes.split_last() else { return Err(SerdeError::new("an empty change")) };
        let mut is_latest = true;
        // Later releases of Kafka put one more byte before the flag.
        if let 3..=5 = flag {
            let Some((latest, before)) = rest.split_last() else { return Err(SerdeError::new("a change cut short")) };
            (is_latest, rest) = (*latest == 1, before);
        }
        let (new, old) = match flag {
            0 | 3 => (None, Some(rest)),
            1 | 4 => (Some(rest), None),
            2 | 5 => {
                let length = split_varint(rest).and_then(|(len, rest)| Some((usize::try_from(len).ok()?, rest)));
                let (len, rest) = length.ok_or_else(|| SerdeError::new("a change without length"))?;
                let both = rest.split_at_checked(len).ok_or_else(|| SerdeError::new("a change cut short"))?;
                (Some(both.0), Some(both.1))
            }
            other => return Err(SerdeError::new(format!("unknown flag {other} of a change"))),
        };
        let read = |bytes: Option<&[u8]>| bytes.map(|bytes| self.0.deserialize(topic, bytes)).transpose();
        Ok(Change { new: read(new)?, old: read(old)?, is_latest })
    }

    fn configure(&self, config: &SerdeConfig, is_key: bool) -> Option<SerdeRef<Change<V>>> {
        self.0.configure(config, is_key).map(|serde| Arc::new(ChangeSerde(serde)) as SerdeRef<Change<V>>)
    }

    fn needs_configuration(&self) -> bool {
        self.0.needs_configuration()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serdes::StringSerde;

    #[test]
    fn changes_come_back() {
        let serde = ChangeSerde(Arc::new(StringSerde) as SerdeRef<String>);
        let some = |text: &str| Some(text.repeat(70));
        for change in [Change::new(some("n"), some("old")), Change::new(some("n"), None), Change::new(None, some("o"))]
        {
            let mut bytes = Vec::new();
            serde.serialize("t", &change, &mut bytes).unwrap();
            assert_eq!(serde.deserialize("t", &bytes).unwrap(), change);
        }
        let mut bytes = Vec::new();
        serde.serialize("t", &Change::new(Some("ab".to_owned()), Some("c".to_owned())), &mut bytes).unwrap();
        assert_eq!(bytes, b"\x04abc\x02");
    }

    #[test]
    fn hostile_bytes_are_errors() {
        let serde = ChangeSerde(Arc::new(StringSerde) as SerdeRef<String>);
        for bytes in [&b""[..], b"\x09", b"\xff\xff\xff\xff\xff\x02", b"\x7fa\x02", b"\x03", b"\x01\x02"] {
            let _ = serde.deserialize("t", bytes);
        }
        assert!(serde.deserialize("t", b"\x7fa\x02").is_err());
    }
}
