//! The versions of one key that ended in one segment of time, in the bytes of Kafka's
//! `RocksDBVersionedStoreSegmentValueFormatter`.
//!
//! When the newest of them ended (8 bytes), when the oldest began (8), for each of them from the newest to the oldest
//! when it began (8) and the size of its value (4, -1 for a deletion), then the values from the oldest to the newest.

use bytes::Bytes;

use crate::{error::SerdeError, serdes::length};

/// When a version began, and its value; none for a deletion.
pub(super) type Version = (i64, Option<Bytes>);

/// A version begins where the one before it ends. A row without a value in it that ends where it begins is a deletion
/// which nothing was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// When the newest version ended.
    pub(super) end: i64,
    /// From the newest to the oldest; never empty.
    pub(super) versions: Vec<Version>,
}

/// A version of a row.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) index: usize,
    pub(super) begin: i64,
    pub(super) end: i64,
    pub(super) value: Option<Bytes>,
}

impl Row {
    pub(super) fn new(value: Option<Bytes>, begin: i64, end: i64) -> Self {
        Row { end, versions: vec![(begin, value)] }
    }

    /// When the oldest version began.
    pub(super) fn begin(&self) -> i64 {
        self.versions.last().map_or(self.end, |(begin, _)| *begin)
    }

    fn is_only_a_deletion(&self) -> bool {
        self.end == self.begin()
    }

    /// The version of a time, which must be in this row.
    pub(super) fn find(&self, time: i64) -> Option<Found> {
        let index = self.versions.iter().position(|(begin, _)| *begin <= time)?;
        let (begin, value) = self.versions.get(index)?.clone();
        let end = index.checked_sub(1).and_then(|newer| self.versions.get(newer)).map_or(self.end, |(begin, _)| *begin);
        Some(Found { index, begin, end, value })
    }

    /// Values with when they began and ended, from the newest to the oldest.
    pub(super) fn values(&self) -> impl Iterator<Item = (i64, i64, &Bytes)> {
        let ends = std::iter::once(self.end).chain(self.versions.iter().map(|(begin, _)| *begin));
        self.versions.iter().zip(ends).filter_map(|((begin, value), end)| Some((*begin, end, value.as_ref()?)))
    }

    /// Adds a version that is newer than all. Time between them is that of a deletion.
    pub(super) fn insert_newest(&mut self, begin: i64, end: i64, value: Option<Bytes>) {
        if begin < self.end {
            // A write that was cut short has left what this one says again.
            self.versions.retain(|(other, _)| *other < begin);
            self.end = begin;
            if self.versions.is_empty() {
                self.versions.push((begin, None));
            }
        }
        if self.end == begin && self.is_only_a_deletion() {
            self.versions.clear();
        } else if self.end < begin {
            if self.is_only_a_deletion() {
                self.versions.clear();
            }
            self.versions.insert(0, (self.end, None));
        }
        self.versions.insert(0, (begin, value));
        self.end = end;
    }

    /// Adds a version that is older than all.
    pub(super) fn insert_oldest(&mut self, begin: i64, value: Option<Bytes>) {
        if self.is_only_a_deletion() {
            self.versions.clear();
        }
        self.versions.push((begin, value));
    }

    /// # Errors
    /// If a value is longer than the form has room for.
    pub(super) fn write(&self) -> Result<Vec<u8>, SerdeError> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.end.to_be_bytes());
        out.extend_from_slice(&self.begin().to_be_bytes());
        for (begin, value) in &self.versions {
            out.extend_from_slice(&begin.to_be_bytes());
            let size = value.as_ref().map_or(Ok(-1), |value| length(value.len()))?;
            out.extend_from_slice(&size.to_be_bytes());
        }
        self.versions
            .iter()
            .rev()
            .filter_map(|(_, value)| value.as_ref())
            .for_each(|value| out.extend_from_slice(value));
        Ok(out)
    }

    /// The row; `None` if the bytes are not those of one.
    pub(super) fn read(bytes: &Bytes) -> Option<Self> {
        let (end, rest) = bytes.split_first_chunk::<8>()?;
        let (oldest, mut rest) = rest.split_first_chunk::<8>()?;
        let (oldest, mut versions, mut values_end) = (i64::from_be_bytes(*oldest), Vec::new(), bytes.len());
        loop {
            let (begin, more) = rest.split_first_chunk::<8>()?;
            let (size, more) = more.split_first_chunk::<4>()?;
            let (begin, size) = (i64::from_be_bytes(*begin), i32::from_be_bytes(*size));
            rest = more;
            let value = match usize::try_from(size) {
                Ok(size) => {
                    let start = values_end.checked_sub(size)?;
                    let value = bytes.slice(start..values_end);
                    values_end = start;
                    Some(value)
                }
                Err(_) => None,
            };
            versions.push((begin, value));
            if begin <= oldest {
                break;
            }
        }
        let heads_end = bytes.len() - rest.len();
        (heads_end == values_end).then_some(Row { end: i64::from_be_bytes(*end), versions })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Row;

    /// As `RocksDBVersionedStoreSegmentValueFormatter` of Kafka Streams 4.3.1 lays them out.
    #[test]
    fn rows_have_kafkas_bytes() {
        let row = Row { end: 9, versions: vec![(7, Some("new".into())), (4, None), (2, Some("old".into()))] };
        let head = b"\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x02".to_vec();
        let versions = *b"\0\0\0\0\0\0\0\x07\0\0\0\x03\0\0\0\0\0\0\0\x04\xff\xff\xff\xff\0\0\0\0\0\0\0\x02\0\0\0\x03";
        assert_eq!(row.write().unwrap(), [&head[..], &versions, b"oldnew"].concat());
    }

    #[test]
    fn a_gap_is_a_deletion_and_what_is_deleted_at_once_is_none() {
        let mut row = Row::new(None, 5, 5);
        row.insert_newest(5, 8, Some("a".into()));
        assert_eq!(row, Row::new(Some("a".into()), 5, 8));
        row.insert_newest(10, 12, Some("b".into()));
        assert_eq!(row.versions, [(10, Some("b".into())), (8, None), (5, Some("a".into()))]);
        let mut row = Row::new(None, 5, 5);
        row.insert_newest(7, 8, Some("a".into()));
        assert_eq!(row, Row { end: 8, versions: vec![(7, Some("a".into())), (5, None)] });
        let mut row = Row::new(None, 5, 5);
        row.insert_oldest(3, Some("a".into()));
        assert_eq!(row, Row::new(Some("a".into()), 3, 5));
    }

    #[test]
    fn what_a_write_that_was_cut_short_has_left_is_said_again() {
        let mut row = Row::new(Some("a".into()), 3, 7);
        row.insert_newest(3, 5, Some("a".into()));
        assert_eq!(row, Row::new(Some("a".into()), 3, 5));
    }

    proptest! {
        #[test]
        fn reads_what_it_wrote(
            end: i64,
            begins in prop::collection::btree_set(any::<i64>(), 1..5),
            values: [Option<Vec<u8>>; 5],
        ) {
            let values = values.map(|value| value.map(bytes::Bytes::from));
            let row = Row { end, versions: begins.into_iter().rev().zip(values).collect() };
            prop_assert_eq!(Row::read(&row.write().unwrap().into()), Some(row));
        }

        #[test]
        fn damaged_bytes_are_refused(bytes: Vec<u8>) {
            let _ = Row::read(&bytes.into());
        }
    }
}
