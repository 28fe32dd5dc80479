//! The record cache of one store: the newest value per key, not yet written below.
//!
//! Values are kept typed, so that an update costs a look-up; keys are known by their bytes. Two lists run through the
//! entries: by use (the last used first) and by when they became dirty, both as Kafka's `NamedCache` orders them.

use std::{collections::BTreeMap, hash::BuildHasher, ops::Bound, sync::Arc};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::{processing::Runtime, record::Headers, state::Order};

const NIL: usize = usize::MAX;
/// What an entry costs beside its bytes: about what Kafka charges (references, flags, context).
const ENTRY_OVERHEAD: usize = 96;

/// The record context an entry was written under: what its flush forwards and logs with.
#[derive(Clone, Debug, Default)]
pub(crate) struct EntryContext {
    pub(crate) topic: Option<Arc<str>>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) headers: Headers,
}

impl EntryContext {
    pub(crate) fn of(rt: &Runtime) -> Self {
        let context = &rt.context;
        EntryContext {
            topic: context.topic.clone(),
            partition: context.partition,
            offset: context.offset,
            timestamp: context.timestamp,
            headers: context.headers.clone(),
        }
    }
}

pub(crate) struct Entry<K, V> {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) key: K,
    pub(crate) value: Option<V>,
    /// The value's bytes where its serde may fail, so that it fails at the put and not at the flush.
    pub(crate) value_bytes: Option<Vec<u8>>,
    pub(crate) context: EntryContext,
    dirty: bool,
    size: usize,
    used: Links,
    dirtied: Links,
}

#[derive(Clone, Copy)]
struct Links {
    prev: usize,
    next: usize,
}
const UNLINKED: Links = Links { prev: NIL, next: NIL };

#[derive(Clone, Copy)]
struct List {
    head: usize,
    tail: usize,
}

#[derive(Clone, Copy)]
enum Which {
    Used,
    Dirty,
}

pub(crate) struct RecordCache<K, V> {
    table: HashTable<usize>,
    hasher: FixedState,
    slab: Vec<Option<Entry<K, V>>>,
    free: Vec<usize>,
    used: List,
    dirty: List,
    /// The entries by their bytes, once somebody has asked for a range of them.
    ordered: Option<BTreeMap<Box<[u8]>, usize>>,
}

impl<K, V> RecordCache<K, V> {
    pub(crate) fn new() -> Self {
        let empty = List { head: NIL, tail: NIL };
        RecordCache {
            table: HashTable::new(),
            hasher: FixedState::default(),
            slab: Vec::new(),
            free: Vec::new(),
            used: empty,
            dirty: empty,
            ordered: None,
        }
    }

    /// From here on the entries are known in the order of their bytes too, for [`range`](Self::range).
    pub(crate) fn keep_order(&mut self) {
        if self.ordered.is_none() {
            let entries = self.slab.iter().enumerate();
            let keys = entries.filter_map(|(id, entry)| entry.as_ref().map(|entry| (entry.bytes.clone(), id)));
            self.ordered = Some(keys.collect());
        }
    }

    /// The entries within these bounds in the order of their bytes; none before [`keep_order`](Self::keep_order).
    pub(crate) fn range<'a>(
        &'a self,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        order: Order,
    ) -> Box<dyn Iterator<Item = &'a Entry<K, V>> + 'a> {
        let empty = match bounds {
            (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from > to,
            _ => false,
        };
        let Some(ordered) = self.ordered.as_ref().filter(|_| !empty) else { return Box::new(std::iter::empty()) };
        let entries = ordered.range::<[u8], _>(bounds).filter_map(|(_, id)| self.entry(*id));
        match order {
            Order::Forward => Box::new(entries),
            Order::Reverse => Box::new(entries.rev()),
        }
    }

    fn find(&self, bytes: &[u8]) -> Option<usize> {
        let slab = &self.slab;
        let same = |id: &usize| slab.get(*id).and_then(Option::as_ref).is_some_and(|entry| *entry.bytes == *bytes);
        self.table.find(self.hasher.hash_one(bytes), same).copied()
    }

    /// The entry of a key, which now is the last used.
    pub(crate) fn get(&mut self, bytes: &[u8]) -> Option<&Entry<K, V>> {
        let id = self.find(bytes)?;
        self.touch(id);
        self.entry(id)
    }

    /// The entry of a key, without a trace.
    pub(crate) fn peek(&self, bytes: &[u8]) -> Option<&Entry<K, V>> {
        self.find(bytes).and_then(|id| self.entry(id))
    }

    /// Puts a value. `weight` is the size of its bytes. The memory used goes to `total`.
    pub(crate) fn put(&mut self, bytes: &[u8], update: Update<'_, K, V>, total: &mut u64)
    where
        K: Clone,
    {
        let size = bytes.len() + update.weight + ENTRY_OVERHEAD;
        let id = match self.find(bytes) {
            Some(id) => {
                if let Some(Some(entry)) = self.slab.get_mut(id) {
                    *total = total.saturating_sub(entry.size as u64);
                    entry.value = update.value;
                    entry.value_bytes = update.value_bytes;
                    entry.size = size;
                    if let Some(context) = update.dirty {
                        entry.context = context;
                    } else {
                        self.touch(id);
                        *total += size as u64;
                        return;
                    }
                }
                self.touch(id);
                id
            }
            None => {
                let dirty = update.dirty.is_some();
                let entry = Entry {
                    bytes: bytes.into(),
                    key: update.key.clone(),
                    value: update.value,
                    value_bytes: update.value_bytes,
                    context: update.dirty.unwrap_or_default(),
                    dirty: false,
                    size,
                    used: UNLINKED,
                    dirtied: UNLINKED,
                };
                let id = self.insert(entry);
                if !dirty {
                    *total += size as u64;
                    return;
                }
                id
            }
        };
        *total += size as u64;
        self.mark_dirty(id);
    }

    fn insert(&mut self, entry: Entry<K, V>) -> usize {
        let hash = self.hasher.hash_one(&*entry.bytes);
        let id = match self.free.pop() {
            Some(id) => {
                if let Some(place) = self.slab.get_mut(id) {
                    *place = Some(entry);
                }
                id
            }
            None => {
                self.slab.push(Some(entry));
                self.slab.len() - 1
            }
        };
        let (slab, hasher) = (&self.slab, &self.hasher);
        let rehash = |id: &usize| slab.get(*id).and_then(Option::as_ref).map_or(0, |e| hasher.hash_one(&*e.bytes));
        self.table.insert_unique(hash, id, rehash);
        if let (Some(ordered), Some(Some(entry))) = (&mut self.ordered, self.slab.get(id)) {
            ordered.insert(entry.bytes.clone(), id);
        }
        self.push(Which::Used, id, true);
        id
    }

    /// Takes the least recently used entry out, and whether it was dirty.
    pub(crate) fn evict(&mut self, total: &mut u64) -> Option<(Entry<K, V>, bool)> {
        let entry = self.remove(self.used.tail, total)?;
        let dirty = entry.dirty;
        Some((entry, dirty))
    }

    pub(crate) fn remove_key(&mut self, bytes: &[u8], total: &mut u64) -> Option<Entry<K, V>> {
        let id = self.find(bytes)?;
        self.remove(id, total)
    }

    fn remove(&mut self, id: usize, total: &mut u64) -> Option<Entry<K, V>> {
        let hash = self.hasher.hash_one(&*self.entry(id)?.bytes);
        if self.entry(id)?.dirty {
            self.unlink(Which::Dirty, id);
        }
        self.unlink(Which::Used, id);
        if let Ok(found) = self.table.find_entry(hash, |other| *other == id) {
            found.remove();
        }
        let entry = self.slab.get_mut(id)?.take()?;
        if let Some(ordered) = &mut self.ordered {
            ordered.remove(&entry.bytes);
        }
        self.free.push(id);
        *total = total.saturating_sub(entry.size as u64);
        Some(entry)
    }

    /// The first dirty entry, which now is clean.
    pub(crate) fn next_dirty(&mut self) -> Option<&Entry<K, V>> {
        let id = self.dirty.head;
        if id == NIL {
            return None;
        }
        self.unlink(Which::Dirty, id);
        if let Some(Some(entry)) = self.slab.get_mut(id) {
            entry.dirty = false;
        }
        self.entry(id)
    }

    pub(crate) fn is_dirty(&self, bytes: &[u8]) -> bool {
        self.peek(bytes).is_some_and(|entry| entry.dirty)
    }

    fn entry(&self, id: usize) -> Option<&Entry<K, V>> {
        self.slab.get(id).and_then(Option::as_ref)
    }

    fn touch(&mut self, id: usize) {
        if self.used.head != id {
            self.unlink(Which::Used, id);
            self.push(Which::Used, id, true);
        }
    }

    fn mark_dirty(&mut self, id: usize) {
        let was = self.slab.get_mut(id).and_then(Option::as_mut).is_some_and(|e| std::mem::replace(&mut e.dirty, true));
        if was {
            if self.dirty.tail == id {
                return;
            }
            self.unlink(Which::Dirty, id);
        }
        self.push(Which::Dirty, id, false);
    }

    fn list(&mut self, which: Which) -> &mut List {
        match which {
            Which::Used => &mut self.used,
            Which::Dirty => &mut self.dirty,
        }
    }

    fn links(&mut self, which: Which, id: usize) -> Option<&mut Links> {
        let entry = self.slab.get_mut(id)?.as_mut()?;
        Some(match which {
            Which::Used => &mut entry.used,
            Which::Dirty => &mut entry.dirtied,
        })
    }

    fn push(&mut self, which: Which, id: usize, front: bool) {
        let list = *self.list(which);
        let neighbour = if front { list.head } else { list.tail };
        if let Some(links) = self.links(which, id) {
            *links = if front { Links { prev: NIL, next: neighbour } } else { Links { prev: neighbour, next: NIL } };
        }
        if let Some(links) = self.links(which, neighbour) {
            *(if front { &mut links.prev } else { &mut links.next }) = id;
        }
        let list = self.list(which);
        if front || list.head == NIL {
            list.head = id;
        }
        if !front || list.tail == NIL {
            list.tail = id;
        }
    }

    fn unlink(&mut self, which: Which, id: usize) {
        let Some(links) = self.links(which, id) else { return };
        let Links { prev, next } = std::mem::replace(links, UNLINKED);
        match self.links(which, prev) {
            Some(links) => links.next = next,
            None => self.list(which).head = next,
        }
        match self.links(which, next) {
            Some(links) => links.prev = prev,
            None => self.list(which).tail = prev,
        }
    }
}

/// A value for the cache; `dirty` carries its record context, a clean entry was only read.
pub(crate) struct Update<'a, K, V> {
    pub(crate) key: &'a K,
    pub(crate) value: Option<V>,
    pub(crate) value_bytes: Option<Vec<u8>>,
    pub(crate) weight: usize,
    pub(crate) dirty: Option<EntryContext>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(cache: &mut RecordCache<u8, i64>, key: u8, value: i64, dirty: bool, total: &mut u64) {
        let dirty = dirty.then(EntryContext::default);
        let update = Update { key: &key, value: Some(value), value_bytes: None, weight: 8, dirty };
        cache.put(&[key], update, total);
    }

    #[test]
    fn dirty_entries_come_in_order_of_their_last_update() {
        let (mut cache, mut total) = (RecordCache::new(), 0);
        for (key, dirty) in [(1, true), (2, true), (3, false), (1, true), (4, true)] {
            put(&mut cache, key, 0, dirty, &mut total);
        }
        let order: Vec<_> = std::iter::from_fn(|| cache.next_dirty().map(|e| e.key)).collect();
        assert_eq!(order, [2, 1, 4]);
        assert!(cache.next_dirty().is_none());
    }

    #[test]
    fn the_least_recently_used_entry_goes_first() {
        let (mut cache, mut total) = (RecordCache::new(), 0);
        for key in 1..=3 {
            put(&mut cache, key, 0, true, &mut total);
        }
        assert!(cache.get(&[1]).is_some());
        let order: Vec<_> = std::iter::from_fn(|| cache.evict(&mut total).map(|(e, dirty)| (e.key, dirty))).collect();
        assert_eq!(order, [(2, true), (3, true), (1, true)]);
        assert_eq!(total, 0);
        assert!(cache.table.is_empty() && cache.next_dirty().is_none());
    }
}
