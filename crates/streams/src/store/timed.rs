//! What window and session stores share: the bytes of their keys, and scans over cache and engine together.

use std::ops::Bound;

use super::{
    cache::{Entry, RecordCache},
    core::{StoreCore, unreadable},
    merge,
};
use crate::{
    data::Flow,
    error::{Result, SerdeOrigin},
    serdes::SerdeRef,
    state::{KeySchema, Order, SegmentedBytesStore, TimeRange},
    windowed::{Window, Windowed},
};

/// The bytes before a key in the cache, so that the cache has the order of the engine: the number of its segment, and
/// its time if the engine is ordered by that.
pub(super) const fn prefix(time_ordered: bool) -> usize {
    if time_ordered { 16 } else { 8 }
}

pub(super) type TimedCore<K, V> = StoreCore<Windowed<K>, V, Box<dyn SegmentedBytesStore>>;

/// How the keys of a store lie in bytes.
pub(super) struct TimedKeys<K> {
    pub(super) serde: SerdeRef<K>,
    pub(super) schema: KeySchema,
    /// In ms.
    pub(super) segment_interval: i64,
    /// In ms; of window stores.
    pub(super) window_size: i64,
    /// Whether scans over all keys come by time first.
    pub(super) time_ordered: bool,
}

impl<K: Flow> TimedKeys<K> {
    /// The window of `start` in a store of windows.
    pub(super) fn window(&self, start: i64) -> Window {
        Window::new(start, start.saturating_add(self.window_size))
    }

    fn segment(&self, time: i64) -> i64 {
        time / self.segment_interval
    }

    /// Writes a key to the store's buffer, with its segment before it.
    pub(super) fn fill<V: Flow>(
        &self,
        core: &mut TimedCore<K, V>,
        key: &K,
        window: Window,
        sequence: i32,
    ) -> Result<()> {
        let time = match self.schema {
            KeySchema::Window => window.start(),
            KeySchema::Session => window.end(),
        };
        let buffer = &mut core.key_buffer;
        buffer.clear();
        buffer.extend_from_slice(&self.segment(time).to_be_bytes());
        if self.time_ordered {
            buffer.extend_from_slice(&time.to_be_bytes());
        }
        if let Err(source) = self.serde.serialize(&core.topic, key, buffer) {
            return Err(core.unwritable_key(source));
        }
        buffer.extend_from_slice(&time.to_be_bytes());
        match self.schema {
            KeySchema::Window => buffer.extend_from_slice(&sequence.to_be_bytes()),
            KeySchema::Session => buffer.extend_from_slice(&window.start().to_be_bytes()),
        }
        Ok(())
    }

    /// A key's own bytes.
    pub(super) fn own<V: Flow>(&self, core: &TimedCore<K, V>, key: Option<&K>) -> Result<Option<Vec<u8>>> {
        let Some(key) = key else { return Ok(None) };
        let mut bytes = Vec::new();
        self.serde.serialize(&core.topic, key, &mut bytes).map_err(|source| core.unwritable_key(source))?;
        Ok(Some(bytes))
    }

    fn read(&self, topic: &str, key: &[u8]) -> Result<Windowed<K>> {
        let (own, _) = self.schema.split(key);
        let own = self.serde.deserialize(topic, own).map_err(|source| unreadable(topic, SerdeOrigin::Key, source))?;
        let time = self.schema.time(key);
        let window = match self.schema {
            KeySchema::Window => self.window(time),
            KeySchema::Session => Window::new(KeySchema::session_start(key), time),
        };
        Ok(Windowed::new(own, window))
    }

    /// The entries of a range, in the order of the engine; with those that have expired but are `held`.
    pub(super) fn scan<V: Flow>(
        &self,
        core: &mut TimedCore<K, V>,
        range: &TimeRange<'_>,
        held: bool,
        order: Order,
    ) -> Result<Vec<(Windowed<K>, V)>> {
        if range.is_backwards() {
            return Ok(Vec::new());
        }
        core.order_cache();
        let cached = core.read_cache().map(|cache| self.cached(cache, range, order)).unwrap_or_default();
        let below = match held {
            true => core.engine.fetch_held(range, order)?,
            false => core.engine.fetch(range, order)?,
        };
        merge::sorted(
            cached.into_iter(),
            below,
            order,
            |entry, (key, _)| {
                let time = self.schema.time(key);
                let (segment, time) = (self.segment(time).to_be_bytes(), time.to_be_bytes());
                let time = if self.time_ordered { &time[..] } else { &[] };
                entry.bytes.iter().cmp(segment.iter().chain(time).chain(key.iter()))
            },
            |entry, value| (entry.key.clone(), value),
            |(key, value)| Ok((self.read(&core.topic, &key)?, core.decode(&value)?)),
        )
    }

    /// What the cache has of a range, in its own order: by segment, then by the bytes of the key.
    fn cached<'a, V>(
        &self,
        cache: &'a RecordCache<Windowed<K>, V>,
        range: &TimeRange<'_>,
        order: Order,
    ) -> Vec<&'a Entry<Windowed<K>, V>> {
        let matches = |entry: &&Entry<Windowed<K>, V>| {
            let key = entry.bytes.get(prefix(self.time_ordered)..).unwrap_or_default();
            self.schema.matches(key, range)
        };
        if self.time_ordered {
            let from = range.from.max(0);
            let lower = [self.segment(from).to_be_bytes(), from.to_be_bytes()].concat();
            let mut found: Vec<_> =
                cache.range((Bound::Included(&lower), Bound::Unbounded), Order::Forward).filter(matches).collect();
            if order == Order::Reverse {
                found.reverse();
            }
            return found;
        }
        let last = match self.schema {
            KeySchema::Window => self.segment(range.to),
            KeySchema::Session => i64::MAX,
        };
        let (lower, upper) = self.schema.bounds(range);
        let mut found = Vec::new();
        let mut segment = self.segment(range.from.max(0));
        while segment <= last {
            let prefix = segment.to_be_bytes();
            let from = lower.as_ref().map_or_else(|| prefix.to_vec(), |lower| [&prefix[..], lower].concat());
            let to = upper.as_ref().map(|upper| [&prefix[..], upper].concat());
            let next = segment.checked_add(1).map(i64::to_be_bytes);
            let end = next.as_ref().map_or(Bound::Unbounded, |next| Bound::Excluded(&next[..]));
            let to = to.as_deref().map_or(end, Bound::Included);
            found.extend(cache.range((Bound::Included(&from), to), Order::Forward).filter(matches));
            // The greatest timestamp there is may be in the greatest segment.
            let Some(next) = next else { break };
            // The next segment that has anything.
            let mut rest = cache.range((Bound::Included(&next), Bound::Unbounded), Order::Forward);
            let Some(first) = rest.next().and_then(|entry| entry.bytes.first_chunk::<8>()) else { break };
            segment = i64::from_be_bytes(*first);
        }
        if order == Order::Reverse {
            found.reverse();
        }
        found
    }
}
