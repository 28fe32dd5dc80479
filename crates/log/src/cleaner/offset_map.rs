//! The latest offset of each key.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Keys are told apart by 128 bits of their hash (as Kafka does with MD5), under secret seeds of this map's own.
#[derive(Debug)]
pub(super) struct OffsetMap {
    offsets: HashMap<u128, i64>,
    seeds: [RandomState; 2],
    max_keys: usize,
    latest_offset: i64,
}

impl OffsetMap {
    pub(super) fn new(max_keys: usize) -> Self {
        Self { offsets: HashMap::new(), seeds: [RandomState::new(), RandomState::new()], max_keys, latest_offset: -1 }
    }

    /// Notes that `key` is at `offset`; false where there is no room for one more key.
    pub(super) fn put(&mut self, key: &[u8], offset: i64) -> bool {
        if self.offsets.len() >= self.max_keys {
            return false;
        }
        self.offsets.insert(self.hash(key), offset);
        true
    }

    /// The latest offset of `key`; -1 where there is none.
    pub(super) fn get(&self, key: &[u8]) -> i64 {
        self.offsets.get(&self.hash(key)).copied().unwrap_or(-1)
    }

    /// The last offset that this map knows of.
    pub(super) fn latest_offset(&self) -> i64 {
        self.latest_offset
    }

    pub(super) fn update_latest_offset(&mut self, offset: i64) {
        self.latest_offset = self.latest_offset.max(offset);
    }

    fn hash(&self, key: &[u8]) -> u128 {
        self.seeds.iter().fold(0, |hash, seed| {
            let mut hasher = seed.build_hasher();
            hasher.write(key);
            hash << 64 | u128::from(hasher.finish())
        })
    }
}
