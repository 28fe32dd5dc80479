//! The ordered map in memory.

use std::{collections::BTreeMap, ops::Bound};

use bytes::Bytes;

use super::{BytesIter, KeyValueBytesStore, Order, overlay::Overlay};
use crate::error::Result;

/// An engine that lives and dies with its task; the changelog brings it back.
#[derive(Debug, Default)]
pub struct InMemoryKeyValueStore {
    name: String,
    map: BTreeMap<Bytes, Bytes>,
    transaction: Option<Transaction>,
}

/// What a map needs to forget what was put since its last commit.
#[derive(Debug, Default)]
struct Transaction {
    /// What was there before.
    replaced: Overlay,
    /// The changelog offset of the last commit.
    committed: Option<i64>,
    /// Whether reads are as of the last commit.
    committed_only: bool,
}

impl InMemoryKeyValueStore {
    /// An empty store.
    pub fn new(name: impl Into<String>) -> Self {
        InMemoryKeyValueStore { name: name.into(), map: BTreeMap::new(), transaction: None }
    }

    /// An empty store that can forget what was put since its last commit.
    pub(crate) fn transactional(name: impl Into<String>) -> Self {
        let transaction = Some(Transaction::default());
        InMemoryKeyValueStore { transaction, ..Self::new(name) }
    }

    /// What lies over the map for reads.
    fn replaced(&self) -> Option<&Overlay> {
        self.transaction.as_ref().filter(|transaction| transaction.committed_only).map(|it| &it.replaced)
    }

    fn collect(&self, range: (Bound<&[u8]>, Bound<&[u8]>), order: Order) -> BytesIter {
        let entries = self.map.range::<[u8], _>(range).map(|(k, v)| Ok((k.clone(), v.clone())));
        let entries: Vec<_> = match order {
            Order::Forward => entries.collect(),
            Order::Reverse => entries.rev().collect(),
        };
        let entries: BytesIter = Box::new(entries.into_iter());
        match self.replaced() {
            Some(replaced) => replaced.over(range, order, entries),
            None => entries,
        }
    }
}

impl KeyValueBytesStore for InMemoryKeyValueStore {
    fn name(&self) -> &str {
        &self.name
    }

    fn persistent(&self) -> bool {
        false
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        match self.replaced().and_then(|replaced| replaced.get(key)) {
            Some(row) => Ok(row.value_bytes()),
            None => Ok(self.map.get(key).cloned()),
        }
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        if let Some(transaction) = &mut self.transaction {
            transaction.replaced.put_first(key, || self.map.get(key));
        }
        match (value, self.map.get_mut(key)) {
            (Some(value), Some(place)) => *place = Bytes::copy_from_slice(value),
            (Some(value), None) => {
                self.map.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            }
            (None, Some(_)) => {
                self.map.remove(key);
            }
            (None, None) => {}
        }
        Ok(())
    }

    fn range(&self, from: Option<&[u8]>, to: Option<&[u8]>, order: Order) -> Result<BytesIter> {
        if let (Some(from), Some(to)) = (from, to)
            && from > to
        {
            // A range whose ends are crossed is empty, not an error: negative numbers sort above positive ones.
            return Ok(Box::new(std::iter::empty()));
        }
        let from = from.map_or(Bound::Unbounded, Bound::Included);
        let to = to.map_or(Bound::Unbounded, Bound::Included);
        Ok(self.collect((from, to), order))
    }

    fn prefix(&self, prefix: &[u8], order: Order) -> Result<BytesIter> {
        let end = prefix_end(prefix);
        let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        Ok(self.collect((Bound::Included(prefix), to), order))
    }

    fn approximate_num_entries(&self) -> u64 {
        self.map.len() as u64
    }

    fn commit(&mut self, changelog_offset: Option<i64>) -> Result<()> {
        if let Some(transaction) = &mut self.transaction {
            transaction.replaced.clear();
            transaction.committed = changelog_offset.or(transaction.committed);
        }
        Ok(())
    }

    fn forget(&mut self) -> Result<bool> {
        let Some(transaction) = &mut self.transaction else { return Ok(false) };
        for row in transaction.replaced.take() {
            match row.value() {
                Some(value) => self.map.insert(Bytes::copy_from_slice(row.key()), Bytes::copy_from_slice(value)),
                None => self.map.remove(row.key()),
            };
        }
        Ok(true)
    }

    fn read_committed(&mut self, only: bool) {
        if let Some(transaction) = &mut self.transaction {
            transaction.committed_only = only;
        }
    }

    fn committed_offset(&self) -> Result<Option<i64>> {
        Ok(self.transaction.as_ref().and_then(|transaction| transaction.committed))
    }

    fn uncommitted_bytes(&self) -> u64 {
        self.transaction.as_ref().map_or(0, |transaction| transaction.replaced.bytes())
    }

    fn clear(&mut self) -> Result<()> {
        self.map.clear();
        if let Some(transaction) = &mut self.transaction {
            transaction.replaced.clear();
            transaction.committed = None;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        self.clear()
    }
}

/// The first key after all keys with this prefix; `None` if there is no such key.
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.last_mut() {
        if *last < 0xff {
            *last += 1;
            return Some(end);
        }
        end.pop();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(iter: BytesIter) -> Vec<String> {
        iter.map(|entry| String::from_utf8_lossy(&entry.unwrap().0).into_owned()).collect()
    }

    #[test]
    fn scans_in_byte_order() {
        let mut store = InMemoryKeyValueStore::new("s");
        for key in ["b", "ab", "a", "c"] {
            store.put(key.as_bytes(), Some(b"v")).unwrap();
        }
        store.put(b"c", None).unwrap();
        assert_eq!(keys(store.all(Order::Forward).unwrap()), ["a", "ab", "b"]);
        assert_eq!(keys(store.range(Some(b"ab"), None, Order::Reverse).unwrap()), ["b", "ab"]);
        assert_eq!(keys(store.prefix(b"a", Order::Forward).unwrap()), ["a", "ab"]);
        assert_eq!(keys(store.range(Some(b"b"), Some(b"a"), Order::Forward).unwrap()), [""; 0]);
    }

    #[test]
    fn the_end_of_a_prefix_carries() {
        assert_eq!(prefix_end(&[1, 0xff]), Some(vec![2]));
        assert_eq!(prefix_end(&[0xff, 0xff]), None);
    }
}
