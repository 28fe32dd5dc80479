//! A map in memory that forgets what was used the longest ago: Kafka's `Stores.lruMap`.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{BytesIter, InMemoryKeyValueStore, KeyValueBytesStore, Order};
use crate::error::Result;

/// An engine that keeps a number of entries at most. What it evicts is deleted from the changelog too, where the store
/// is one of plain values.
#[derive(Debug)]
pub struct LruKeyValueStore {
    map: InMemoryKeyValueStore,
    max_entries: usize,
    uses: Mutex<Uses>,
    evicted: VecDeque<Bytes>,
}

/// When each key was last used, by a counter.
#[derive(Debug, Default)]
struct Uses {
    next: u64,
    by_key: HashMap<Bytes, u64>,
    by_time: BTreeMap<u64, Bytes>,
}

impl Uses {
    fn touch(&mut self, key: &[u8]) {
        let key = match self.by_key.remove_entry(key) {
            Some((key, time)) => {
                self.by_time.remove(&time);
                key
            }
            None => Bytes::copy_from_slice(key),
        };
        self.by_time.insert(self.next, key.clone());
        self.by_key.insert(key, self.next);
        self.next += 1;
    }

    fn forget(&mut self, key: &[u8]) {
        if let Some(time) = self.by_key.remove(key) {
            self.by_time.remove(&time);
        }
    }

    fn oldest(&mut self) -> Option<Bytes> {
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }
}

impl LruKeyValueStore {
    /// An empty store of this many entries at most.
    pub fn new(name: impl Into<String>, max_entries: usize) -> Self {
        let map = InMemoryKeyValueStore::new(name);
        LruKeyValueStore { map, max_entries, uses: Default::default(), evicted: VecDeque::new() }
    }
}

impl KeyValueBytesStore for LruKeyValueStore {
    fn name(&self) -> &str {
        self.map.name()
    }

    fn persistent(&self) -> bool {
        false
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let found = self.map.get(key)?;
        if found.is_some() {
            self.uses.lock().touch(key);
        }
        Ok(found)
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.map.put(key, value)?;
        let uses = self.uses.get_mut();
        match value {
            Some(_) => uses.touch(key),
            None => uses.forget(key),
        }
        while uses.by_key.len() > self.max_entries {
            let Some(oldest) = uses.oldest() else { break };
            self.map.put(&oldest, None)?;
            self.evicted.push_back(oldest);
        }
        Ok(())
    }

    fn take_evicted(&mut self) -> Option<Bytes> {
        self.evicted.pop_front()
    }

    fn range(&self, from: Option<&[u8]>, to: Option<&[u8]>, order: Order) -> Result<BytesIter> {
        self.map.range(from, to, order)
    }

    fn prefix(&self, prefix: &[u8], order: Order) -> Result<BytesIter> {
        self.map.prefix(prefix, order)
    }

    fn approximate_num_entries(&self) -> u64 {
        self.map.approximate_num_entries()
    }

    fn commit(&mut self, changelog_offset: Option<i64>) -> Result<()> {
        self.map.commit(changelog_offset)
    }

    fn committed_offset(&self) -> Result<Option<i64>> {
        self.map.committed_offset()
    }

    fn close(&mut self) -> Result<()> {
        self.map.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_what_was_used_the_longest_ago() {
        let mut store = LruKeyValueStore::new("s", 2);
        for key in [b"a", b"b"] {
            store.put(key, Some(b"1")).unwrap();
        }
        assert!(store.get(b"a").unwrap().is_some());
        store.put(b"c", Some(b"1")).unwrap();
        assert_eq!(store.take_evicted().as_deref(), Some(&b"b"[..]));
        assert_eq!(store.take_evicted(), None);
        assert!(store.get(b"b").unwrap().is_none());
        store.put(b"a", None).unwrap();
        store.put(b"d", Some(b"1")).unwrap();
        assert_eq!(store.take_evicted(), None);
        assert_eq!(store.approximate_num_entries(), 2);
    }
}
