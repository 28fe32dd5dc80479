//! Lists, as Kafka's `ListSerde` writes them (KIP-466).

use std::collections::BTreeSet;

use crate::{DefaultSerde, Nullable, Serde, SerdeError};

/// Every entry with its length in front; -1 is a null.
const VARIABLE_SIZE: u8 = 1;
/// The indexes of nulls first, then the other entries without lengths.
const CONSTANT_SIZE: u8 = 0;

/// A list of what the inner serde writes: `Vec<T>`, or `Vec<Option<T>>` where entries may be null.
///
/// Entries whose serde has a [`fixed_len`](Serde::fixed_len) are written without lengths, as in Kafka. It is the
/// default serde of `Vec<T>` and `Vec<Option<T>>` where `T` has one; `Vec<u8>` is bytes.
///
/// ```
/// use vltava_serde::{BigEndian, ListSerde, Serde};
///
/// let mut bytes = Vec::new();
/// ListSerde(BigEndian).serialize("topic", &vec![Some(7_i16), None], &mut bytes)?;
/// //                the strategy, one null: at 1,             two entries, 7
/// assert_eq!(bytes, [0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 7]);
/// let list: Vec<Option<i16>> = ListSerde(BigEndian).deserialize("topic", &bytes)?;
/// assert_eq!(list, [Some(7), None]);
/// # Ok::<(), vltava_serde::SerdeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ListSerde<S>(pub S);

impl<S, E> Serde<Vec<E>> for ListSerde<S>
where
    E: Nullable,
    S: Serde<E::Some>,
{
    fn serialize(&self, topic: &str, list: &Vec<E>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let constant = self.0.fixed_len().is_some();
        out.push(if constant { CONSTANT_SIZE } else { VARIABLE_SIZE });
        if constant {
            let nulls = || list.iter().enumerate().filter(|(_, entry)| entry.as_some().is_none());
            put_int(nulls().count(), out)?;
            nulls().try_for_each(|(index, _)| put_int(index, out))?;
        }
        put_int(list.len(), out)?;
        for entry in list {
            match entry.as_some() {
                Some(entry) if constant => self.0.serialize(topic, entry, out)?,
                Some(entry) => {
                    let at = out.len();
                    out.extend_from_slice(&[0; 4]);
                    self.0.serialize(topic, entry, out)?;
                    let len = i32::try_from(out.len() - at - 4).map_err(SerdeError::new)?;
                    if let Some(place) = out.get_mut(at..at + 4) {
                        place.copy_from_slice(&len.to_be_bytes());
                    }
                }
                None if constant => {}
                None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
            }
        }
        Ok(())
    }

    fn deserialize(&self, topic: &str, bytes: &[u8]) -> Result<Vec<E>, SerdeError> {
        let mut rest = Rest { bytes, total: bytes.len() };
        let (fixed, nulls) = match rest.take(1)? {
            [CONSTANT_SIZE] => {
                let fixed = self.0.fixed_len().ok_or_else(|| {
                    SerdeError::new("a list of entries of constant size, and the serde of the entries has none")
                })?;
                (Some(fixed), rest.null_indexes()?)
            }
            [VARIABLE_SIZE] => (None, BTreeSet::new()),
            other => return Err(SerdeError::new(format!("a list of unknown serialization strategy {other:?}"))),
        };
        let size = rest.count("entries", 1)?;
        let mut list = Vec::with_capacity(size.min(4096));
        for index in 0..size {
            let len = match fixed {
                Some(_) if nulls.contains(&index) => None,
                Some(fixed) => Some(fixed),
                None => rest.entry_len()?,
            };
            let entry = len.map(|len| self.0.deserialize(topic, rest.take(len)?)).transpose()?;
            let missing = || SerdeError::new(format!("entry {index} of a list is null, and its type has no null"));
            list.push(E::from_option(entry).ok_or_else(missing)?);
        }
        Ok(list)
    }
}

impl<T: DefaultSerde> DefaultSerde for Vec<T> {
    type Serde = ListSerde<T::Serde>;
}
impl<T: DefaultSerde> DefaultSerde for Vec<Option<T>> {
    type Serde = ListSerde<T::Serde>;
}

fn put_int(number: usize, out: &mut Vec<u8>) -> Result<(), SerdeError> {
    out.extend_from_slice(&i32::try_from(number).map_err(SerdeError::new)?.to_be_bytes());
    Ok(())
}

/// What is left to read of a list.
struct Rest<'a> {
    bytes: &'a [u8],
    total: usize,
}

impl<'a> Rest<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], SerdeError> {
        let (taken, rest) =
            self.bytes.split_at_checked(len).ok_or_else(|| SerdeError::new("a list that ends too early"))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn int(&mut self) -> Result<i32, SerdeError> {
        let bytes = self.take(4)?;
        bytes.try_into().map(i32::from_be_bytes).map_err(SerdeError::new)
    }

    /// A number of things of which each has at least a share of `width` in the bytes.
    fn count(&mut self, what: &str, width: usize) -> Result<usize, SerdeError> {
        let number = self.int()?;
        let count = usize::try_from(number).ok().filter(|count| *count <= self.total / width);
        count.ok_or_else(|| SerdeError::new(format!("a list of {} bytes with {number} {what}", self.total)))
    }

    fn null_indexes(&mut self) -> Result<BTreeSet<usize>, SerdeError> {
        let count = self.count("nulls", 4)?;
        // Kafka takes any index; one that no entry has means nothing.
        let indexes = (0..count).map(|_| Ok(usize::try_from(self.int()?).unwrap_or(usize::MAX)));
        indexes.collect()
    }

    /// The length of an entry, `None` for a null.
    fn entry_len(&mut self) -> Result<Option<usize>, SerdeError> {
        match self.int()? {
            -1 => Ok(None),
            len => match usize::try_from(len) {
                Ok(len) if len <= self.total => Ok(Some(len)),
                _ => Err(SerdeError::new(format!("a list of {} bytes with an entry of {len}", self.total))),
            },
        }
    }
}
