//! A store without timestamps behind a table: what Kafka does with `Stores.persistentKeyValueStore` in a `Materialized`.

use bytes::Bytes;

use super::{BytesIter, KeyValueBytesStore, Order, SegmentedBytesStore, TimeRange};
use crate::error::Result;

/// Keeps the bare values of timestamped ones; what comes back has the timestamp -1, for unknown.
pub(crate) struct PlainAdapter<E>(pub(crate) E);

fn bare(value: &[u8]) -> &[u8] {
    value.split_first_chunk::<8>().map_or(value, |(_, bare)| bare)
}

fn stamped(value: &[u8]) -> Bytes {
    [&(-1i64).to_be_bytes(), value].concat().into()
}

fn stamp(entries: BytesIter) -> BytesIter {
    Box::new(entries.map(|entry| entry.map(|(key, value)| (key, stamped(&value)))))
}

impl KeyValueBytesStore for PlainAdapter<Box<dyn KeyValueBytesStore>> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn persistent(&self) -> bool {
        self.0.persistent()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.0.get(key)?.map(|value| stamped(&value)))
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.0.put(key, value.map(bare))
    }

    fn range(&self, from: Option<&[u8]>, to: Option<&[u8]>, order: Order) -> Result<BytesIter> {
        self.0.range(from, to, order).map(stamp)
    }

    fn prefix(&self, prefix: &[u8], order: Order) -> Result<BytesIter> {
        self.0.prefix(prefix, order).map(stamp)
    }

    fn approximate_num_entries(&self) -> u64 {
        self.0.approximate_num_entries()
    }

    fn commit(&mut self, changelog_offset: Option<i64>) -> Result<()> {
        self.0.commit(changelog_offset)
    }

    fn committed_offset(&self) -> Result<Option<i64>> {
        self.0.committed_offset()
    }

    fn close(&mut self) -> Result<()> {
        self.0.close()
    }
}

impl SegmentedBytesStore for PlainAdapter<Box<dyn SegmentedBytesStore>> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn persistent(&self) -> bool {
        self.0.persistent()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.0.get(key)?.map(|value| stamped(&value)))
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<bool> {
        self.0.put(key, value.map(bare))
    }

    fn remove(&mut self, key: &[u8]) -> Result<()> {
        self.0.remove(key)
    }

    fn fetch(&self, range: &TimeRange<'_>, order: Order) -> Result<BytesIter> {
        self.0.fetch(range, order).map(stamp)
    }

    fn hold_from(&mut self, time: i64) {
        self.0.hold_from(time);
    }

    fn fetch_held(&self, range: &TimeRange<'_>, order: Order) -> Result<BytesIter> {
        self.0.fetch_held(range, order).map(stamp)
    }

    fn commit(&mut self, changelog_offset: Option<i64>) -> Result<()> {
        self.0.commit(changelog_offset)
    }

    fn committed_offset(&self) -> Result<Option<i64>> {
        self.0.committed_offset()
    }

    fn close(&mut self) -> Result<()> {
        self.0.close()
    }
}
