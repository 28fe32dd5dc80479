//! An ordered map that lies over an engine: of the keys that it has, what it says counts.
//!
//! Over a tree on disk lie the writes that are not committed yet, and below them those that are and wait until they are
//! written into tables in one sorted batch ([`LsmKeyValueStore`](super::LsmKeyValueStore)). Over a map in memory it is the
//! other way round: there lies what the writes since the last commit have replaced, so that map and overlay together are
//! the map as of that commit.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, btree_map},
    iter::Peekable,
    mem,
    ops::Bound,
};

use bytes::Bytes;

use super::{BytesIter, Order};
use crate::error::Result;

/// What an entry costs beside the bytes of its key and value: two handles, their allocations, its place in a node.
const ENTRY_OVERHEAD: u64 = 128;

/// A key, and its value if it has one.
type Entry = (Bytes, Option<Bytes>);
/// The ends of a range.
pub(super) type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Values by key, `None` for keys that are not there.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    entries: BTreeMap<Bytes, Option<Bytes>>,
    bytes: u64,
}

fn len(value: Option<&Bytes>) -> u64 {
    value.map_or(0, |value| value.len() as u64)
}

impl Overlay {
    /// What it says of a key, if anything.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<&Bytes>> {
        self.entries.get(key).map(Option::as_ref)
    }

    /// Says something else of a key.
    pub(super) fn put(&mut self, key: Bytes, value: Option<Bytes>) {
        self.bytes += key.len() as u64 + len(value.as_ref()) + ENTRY_OVERHEAD;
        let key_len = key.len() as u64;
        if let Some(before) = self.entries.insert(key, value) {
            self.bytes -= key_len + len(before.as_ref()) + ENTRY_OVERHEAD;
        }
    }

    /// Takes over what another one says; that one says nothing any more.
    pub(super) fn append(&mut self, other: &mut Overlay) {
        match self.len() {
            0 => mem::swap(self, other),
            // They come in order: the next one's place is near the last one's.
            _ => other.take().for_each(|(key, value)| self.put(key, value)),
        }
    }

    /// Says something of a key of which it says nothing yet.
    pub(super) fn put_first(&mut self, key: &[u8], value: impl FnOnce() -> Option<Bytes>) {
        if !self.entries.contains_key(key) {
            self.put(Bytes::copy_from_slice(key), value());
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// About how much memory it takes, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes all out, in the order of the keys.
    pub(super) fn take(&mut self) -> btree_map::IntoIter<Bytes, Option<Bytes>> {
        self.bytes = 0;
        mem::take(&mut self.entries).into_iter()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// All it says, in the order of the keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        self.entries.iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// What is between two bounds, in `order`: of this where it has a key, else of `below`, which has the same order.
    pub(super) fn over(&self, bounds: Bounds<'_>, order: Order, below: BytesIter) -> BytesIter {
        let entries: Vec<_> = match order {
            Order::Forward => self.range(bounds).collect(),
            Order::Reverse => self.range(bounds).rev().collect(),
        };
        if entries.is_empty() {
            return below;
        }
        Box::new(Merged { above: entries.into_iter().peekable(), below: below.peekable(), order })
    }

    /// The same forward, for as long as this does not change.
    pub(super) fn borrowed_over<'a, B>(&'a self, bounds: Bounds<'a>, below: B) -> impl Iterator<Item = B::Item> + 'a
    where
        B: Iterator<Item = Result<(Bytes, Bytes)>> + 'a,
    {
        Merged { above: self.range(bounds).peekable(), below: below.peekable(), order: Order::Forward }
    }

    fn range<'a>(&'a self, bounds: Bounds<'a>) -> impl DoubleEndedIterator<Item = Entry> + 'a {
        let is_empty = match bounds {
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from >= to,
            _ => false,
        };
        // The map takes a range whose ends are crossed for a mistake.
        let entries = (!is_empty).then(|| self.entries.range::<[u8], _>(bounds));
        entries.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone()))
    }
}

struct Merged<A: Iterator<Item = Entry>, B: Iterator> {
    above: Peekable<A>,
    below: Peekable<B>,
    order: Order,
}

impl<A, B> Iterator for Merged<A, B>
where
    A: Iterator<Item = Entry>,
    B: Iterator<Item = Result<(Bytes, Bytes)>>,
{
    type Item = Result<(Bytes, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let compared = match (self.above.peek(), self.below.peek()) {
                (None, _) | (_, Some(Err(_))) => return self.below.next(),
                (Some(_), None) => Ordering::Less,
                (Some((above, _)), Some(Ok((below, _)))) => match self.order {
                    Order::Forward => above.cmp(below),
                    Order::Reverse => below.cmp(above),
                },
            };
            if compared.is_gt() {
                return self.below.next();
            }
            if compared.is_eq() {
                // It is hidden.
                self.below.next();
            }
            if let Some((key, Some(value))) = self.above.next() {
                return Some(Ok((key, value)));
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
                overlay.put(Bytes::from(vec![*key]), Some(Bytes::from_static(b"before")));
                overlay.put(Bytes::from(vec![*key]), value.map(|value| Bytes::from(vec![value])));
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
        overlay.put(Bytes::from_static(b"a"), Some(Bytes::new()));
        let below: BytesIter = Box::new([Err(Error::internal("unreadable"))].into_iter());
        let found: Vec<_> = overlay.over((Bound::Unbounded, Bound::Unbounded), Order::Forward, below).collect();
        assert!(matches!(&found[..], [Err(_), Ok(_)]), "{found:?}");
    }
}
