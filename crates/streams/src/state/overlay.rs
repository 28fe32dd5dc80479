//! An ordered map that lies over an engine: of the keys that it has, what it says counts.
//!
//! Over a tree on disk lie the writes that are not committed yet, and below them those that are and wait until they are
//! written into tables in one sorted batch ([`LsmKeyValueStore`](super::LsmKeyValueStore)). Over a map in memory it is the
//! other way round: there lies what the writes since the last commit have replaced, so that map and overlay together are
//! the map as of that commit.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    collections::{BTreeSet, btree_set},
    iter::Peekable,
    mem,
    ops::Bound,
};

use bytes::{BufMut, Bytes};
use vltava_protocol::invariant;

use super::{BytesIter, Order};
use crate::error::Result;

/// What an entry costs beside the bytes of its key and value: a handle, its place in a node, what the allocation is longer.
const ENTRY_OVERHEAD: u64 = 64;
/// The ends of a range.
pub(super) type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// A key and its value, if it has one, in one allocation: whether it has one (1 byte), the key's length (4 bytes), the key, the
/// value. Rows are in the order of their keys.
#[derive(Clone, Debug)]
pub(super) struct Row(Bytes);

impl Row {
    const HEAD: usize = 5;

    /// A row of a key that is given in parts.
    fn new<const N: usize>(key: [&[u8]; N], value: Option<&[u8]>) -> Self {
        let len = key.iter().map(|part| part.len()).sum::<usize>();
        let mut row = Vec::with_capacity(Self::HEAD + len + value.map_or(0, <[u8]>::len));
        row.put_u8(value.is_some().into());
        // A key of 4 GiB is refused where it is written to disk.
        row.put_u32_ne(len as u32);
        key.into_iter().for_each(|part| row.put_slice(part));
        if let Some(value) = value {
            row.put_slice(value);
        }
        Row(row.into())
    }

    /// Where the key ends.
    fn end(&self) -> usize {
        let len = self.0.get(1..Self::HEAD).and_then(|len| len.try_into().ok()).map_or(0, u32::from_ne_bytes);
        Self::HEAD + len as usize
    }

    fn has_value(&self) -> bool {
        self.0.first() == Some(&1)
    }

    pub(super) fn key(&self) -> &[u8] {
        let key = self.0.get(Self::HEAD..self.end());
        invariant!(key.is_some(), "a row is as long as it says");
        key.unwrap_or(&[])
    }

    pub(super) fn value(&self) -> Option<&[u8]> {
        self.0.get(self.end()..).filter(|_| self.has_value())
    }

    /// The key, without a copy.
    pub(super) fn key_bytes(&self) -> Bytes {
        self.0.slice(Self::HEAD..self.end())
    }

    /// The value, without a copy.
    pub(super) fn value_bytes(&self) -> Option<Bytes> {
        self.has_value().then(|| self.0.slice(self.end()..))
    }

    /// Keys and values of rows, copied into one allocation: cheaper than a handle more for each of them.
    pub(super) fn copied<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<(Bytes, Option<Bytes>)> {
        let (mut block, mut ends) = (Vec::new(), Vec::new());
        for row in rows {
            block.extend_from_slice(row.key());
            let key = block.len();
            if let Some(value) = row.value() {
                block.extend_from_slice(value);
            }
            ends.push((key, block.len(), row.has_value()));
        }
        let (block, mut begin) = (Bytes::from(block), 0);
        let entries = ends.into_iter().map(|(key, end, has_value)| {
            let entry = (block.slice(begin..key), has_value.then(|| block.slice(key..end)));
            begin = end;
            entry
        });
        entries.collect()
    }

    fn weight(&self) -> u64 {
        (self.0.len() - Self::HEAD) as u64 + ENTRY_OVERHEAD
    }
}

impl Borrow<[u8]> for Row {
    fn borrow(&self) -> &[u8] {
        self.key()
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Row {}

impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Row {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(other.key())
    }
}

/// Values by key, none for keys that are not there.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    rows: BTreeSet<Row>,
    bytes: u64,
}

impl Overlay {
    /// What it says of a key, if anything.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Row> {
        self.rows.get(key)
    }

    /// Says something else of a key, which is given in parts.
    pub(super) fn put<const N: usize>(&mut self, key: [&[u8]; N], value: Option<&[u8]>) {
        self.put_row(Row::new(key, value));
    }

    fn put_row(&mut self, row: Row) {
        self.bytes += row.weight();
        if let Some(before) = self.rows.replace(row) {
            self.bytes -= before.weight();
        }
    }

    /// Takes over what another one says; that one says nothing any more.
    pub(super) fn append(&mut self, other: &mut Overlay) {
        match self.len() {
            0 => mem::swap(self, other),
            // They come in order: the next one's place is near the last one's.
            _ => other.take().for_each(|row| self.put_row(row)),
        }
    }

    /// Says something of a key of which it says nothing yet.
    pub(super) fn put_first<'a>(&mut self, key: &[u8], value: impl FnOnce() -> Option<&'a Bytes>) {
        if !self.rows.contains(key) {
            self.put([key], value().map(|value| &value[..]));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// About how much memory it takes, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes all out, in the order of the keys.
    pub(super) fn take(&mut self) -> btree_set::IntoIter<Row> {
        self.bytes = 0;
        mem::take(&mut self.rows).into_iter()
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.bytes = 0;
    }

    /// All it says, in the order of the keys.
    pub(super) fn iter(&self) -> btree_set::Iter<'_, Row> {
        self.rows.iter()
    }

    /// What is between two bounds, in `order`: of this where it has a key, else of `below`, which has the same order.
    pub(super) fn over(&self, bounds: Bounds<'_>, order: Order, below: BytesIter) -> BytesIter {
        let rows: Vec<Row> = match order {
            Order::Forward => self.range(bounds).cloned().collect(),
            Order::Reverse => self.range(bounds).rev().cloned().collect(),
        };
        if rows.is_empty() {
            return below;
        }
        Box::new(Merged { above: rows.into_iter().peekable(), below: below.peekable(), order })
    }

    /// The same forward, for as long as this does not change.
    pub(super) fn borrowed_over<'a, B>(&'a self, bounds: Bounds<'a>, below: B) -> impl Iterator<Item = B::Item> + 'a
    where
        B: Iterator<Item = Result<(Bytes, Bytes)>> + 'a,
    {
        Merged { above: self.range(bounds).peekable(), below: below.peekable(), order: Order::Forward }
    }

    fn range<'a>(&'a self, bounds: Bounds<'a>) -> impl DoubleEndedIterator<Item = &'a Row> + 'a {
        let is_empty = match bounds {
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from >= to,
            _ => false,
        };
        // The map takes a range whose ends are crossed for a mistake.
        let rows = (!is_empty).then(|| self.rows.range::<[u8], _>(bounds));
        rows.into_iter().flatten()
    }
}

struct Merged<A: Iterator, B: Iterator> {
    above: Peekable<A>,
    below: Peekable<B>,
    order: Order,
}

impl<A, B> Iterator for Merged<A, B>
where
    A: Iterator<Item: Borrow<Row>>,
    B: Iterator<Item = Result<(Bytes, Bytes)>>,
{
    type Item = Result<(Bytes, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let compared = match (self.above.peek(), self.below.peek()) {
                (None, _) | (_, Some(Err(_))) => return self.below.next(),
                (Some(_), None) => Ordering::Less,
                (Some(above), Some(Ok((below, _)))) => match self.order {
                    Order::Forward => above.borrow().key().cmp(below),
                    Order::Reverse => below[..].cmp(above.borrow().key()),
                },
            };
            if compared.is_gt() {
                return self.below.next();
            }
            if compared.is_eq() {
                // It is hidden.
                self.below.next();
            }
            let row = self.above.next()?;
            let row = row.borrow();
            if let Some(value) = row.value_bytes() {
                return Some(Ok((row.key_bytes(), value)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::Error;

    fn bound(kind: u8, key: &[u8]) -> Bound<&[u8]> {
        match kind {
            0 => Bound::Unbounded,
            1 => Bound::Included(key),
            _ => Bound::Excluded(key),
        }
    }

    fn is_within(key: &[u8], (from, to): (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
        let from = match from {
            Bound::Unbounded => true,
            Bound::Included(from) => key >= from,
            Bound::Excluded(from) => key > from,
        };
        from && match to {
            Bound::Unbounded => true,
            Bound::Included(to) => key <= to,
            Bound::Excluded(to) => key < to,
        }
    }

    fn again(entries: &[(Bytes, Bytes)]) -> BytesIter {
        let entries = entries.to_vec();
        Box::new(entries.into_iter().map(Ok))
    }

    proptest! {
        #[test]
        fn what_is_above_hides_what_is_below(
            above in proptest::collection::btree_map(0u8..20, proptest::option::of(0u8..4), 0..12),
            below in proptest::collection::btree_map(0u8..20, 4u8..8, 0..12),
            (from, to) in (0u8..20, 0u8..20),
            kinds in (0u8..3, 0u8..3),
        ) {
            let mut overlay = Overlay::default();
            for (key, value) in &above {
                // What was there is counted no more.
                overlay.put([&[*key]], Some(b"before"));
                overlay.put([&[*key]], value.map(|value| [value]).as_ref().map(|value| &value[..]));
                overlay.put_first(&[*key], || unreachable!("it is there"));
            }
            let bytes: u64 = above.values().map(|value| 1 + ENTRY_OVERHEAD + u64::from(value.is_some())).sum();
            prop_assert_eq!((overlay.bytes(), overlay.len()), (bytes, above.len()));
            let (from, to) = ([from], [to]);
            let bounds = (bound(kinds.0, &from), bound(kinds.1, &to));
            let mut expected: Vec<_> = (0u8..20)
                .filter(|key| is_within(&[*key], bounds))
                .filter_map(|key| Some((key, above.get(&key).copied().unwrap_or_else(|| below.get(&key).copied())?)))
                .collect();
            for order in [Order::Forward, Order::Reverse] {
                let mut entries: Vec<_> = below.iter().filter(|(key, _)| is_within(&[**key], bounds)).collect();
                if order == Order::Reverse {
                    entries.reverse();
                }
                let entries: Vec<_> =
                    entries.into_iter().map(|(k, v)| (Bytes::from(vec![*k]), Bytes::from(vec![*v]))).collect();
                let found: Vec<_> =
                    overlay.over(bounds, order, again(&entries)).map(|entry| entry.unwrap()).collect();
                let found: Vec<_> = found.iter().map(|(key, value)| (key[0], value[0])).collect();
                prop_assert_eq!(&found, &expected);
                if order == Order::Forward {
                    let borrowed = overlay.borrowed_over(bounds, again(&entries)).map(|entry| entry.unwrap());
                    prop_assert!(borrowed.map(|(key, value)| (key[0], value[0])).eq(expected.iter().copied()));
                }
                expected.reverse();
            }
        }
    }

    #[test]
    fn what_cannot_be_read_below_is_told() {
        let mut overlay = Overlay::default();
        overlay.put([b"a"], Some(b""));
        let below: BytesIter = Box::new([Err(Error::internal("unreadable"))].into_iter());
        let found: Vec<_> = overlay.over((Bound::Unbounded, Bound::Unbounded), Order::Forward, below).collect();
        assert!(matches!(&found[..], [Err(_), Ok(_)]), "{found:?}");
    }
}
