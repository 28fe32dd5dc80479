//! A set of ids as a value: what stays exact however often a record is processed.

use std::{collections::BTreeSet, fmt, num::ParseIntError, str::FromStr};

use vltava::streams::{DefaultSerde, Serde, SerdeError};

/// Ids of records, in order; as text `1,4,5`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids(BTreeSet<u32>);

impl Ids {
    /// Adds one; again is the same.
    pub fn insert(&mut self, id: u32) {
        self.0.insert(id);
    }

    /// This set and one more id.
    #[must_use]
    pub fn with(mut self, id: u32) -> Self {
        self.insert(id);
        self
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What this set has and the other has not.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).copied().collect())
    }
}

impl FromIterator<u32> for Ids {
    fn from_iter<I: IntoIterator<Item = u32>>(ids: I) -> Self {
        Self(ids.into_iter().collect())
    }
}

impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, id) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{id}")?;
        }
        Ok(())
    }
}

impl FromStr for Ids {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.split(',').filter(|id| !id.is_empty()).map(str::parse).collect::<Result<BTreeSet<_>, _>>().map(Self)
    }
}

impl DefaultSerde for Ids {
    type Serde = IdsSerde;
}

/// [`Ids`] as their text.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdsSerde;

impl Serde<Ids> for IdsSerde {
    fn serialize(&self, _topic: &str, ids: &Ids, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(ids.to_string().as_bytes());
        Ok(())
    }

    fn deserialize(&self, _topic: &str, bytes: &[u8]) -> Result<Ids, SerdeError> {
        std::str::from_utf8(bytes).map_err(SerdeError::new)?.parse().map_err(SerdeError::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for ids in [Ids::default(), [7].into_iter().collect(), [3, 1, 2, 3].into_iter().collect::<Ids>()] {
            assert_eq!(ids.to_string().parse(), Ok(ids));
        }
        assert_eq!([3, 1, 2, 3].into_iter().collect::<Ids>().to_string(), "1,2,3");
        assert!("1,x".parse::<Ids>().is_err());
    }
}
