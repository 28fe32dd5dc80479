//! A store without timestamps behind a table: what Kafka does with `Stores.persistentKeyValueStore` in a `Materialized`.

use bytes::Bytes;

use super::{BytesIter, KeyValueBytesStore, Order, SegmentedBytesStore, TimeRange, forward};
use vltava_protocol::record::split_varint;

use crate::error::Result;

/// Keeps less of each value than it is given, and makes up the rest of what comes back.
pub(crate) struct PlainAdapter<E> {
    engine: E,
    /// What is kept of a value.
    bare: fn(&[u8]) -> &[u8],
    /// What is put before it again.
    before: &'static [u8],
}

/// A timestamp that says it is not known: -1.
const UNKNOWN: [u8; 8] = [0xff; 8];
/// No headers, and that timestamp.
const NO_HEADERS_UNKNOWN: [u8; 9] = [0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

impl<E> PlainAdapter<E> {
    /// Keeps the values of timestamped ones; their timestamp is unknown when they come back.
    pub(crate) fn without_timestamp(engine: E) -> Self {
        PlainAdapter { engine, bare, before: &UNKNOWN }
    }

    /// Keeps what is behind the headers.
    pub(crate) fn without_headers(engine: E) -> Self {
        PlainAdapter { engine, bare: headless, before: &[0] }
    }

    /// Keeps the values of timestamped ones that have headers.
    pub(crate) fn without_both(engine: E) -> Self {
        PlainAdapter { engine, bare: |value| bare(headless(value)), before: &NO_HEADERS_UNKNOWN }
    }

    fn whole(&self, value: &[u8]) -> Bytes {
        [self.before, value].concat().into()
    }

    fn all_whole(&self, entries: BytesIter) -> BytesIter {
        let before = self.before;
        Box::new(entries.map(move |entry| entry.map(|(key, value)| (key, [before, &value].concat().into()))))
    }
}

/// What is behind the headers.
fn headless(value: &[u8]) -> &[u8] {
    let behind = split_varint(value).and_then(|(size, rest)| rest.get(usize::try_from(size).ok()?..));
    behind.unwrap_or(value)
}

fn bare(value: &[u8]) -> &[u8] {
    value.split_first_chunk::<8>().map_or(value, |(_, bare)| bare)
}

impl KeyValueBytesStore for PlainAdapter<Box<dyn KeyValueBytesStore>> {
    forward!([engine]: persistent commit commit_partitions forget read_committed clear close);

    fn name(&self) -> &str {
        self.engine.name()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.engine.get(key)?.map(|value| self.whole(&value)))
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.engine.put(key, value.map(self.bare))
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.engine.restore(key, value.map(self.bare))
    }

    fn range(&self, from: Option<&[u8]>, to: Option<&[u8]>, order: Order) -> Result<BytesIter> {
        self.engine.range(from, to, order).map(|entries| self.all_whole(entries))
    }

    fn prefix(&self, prefix: &[u8], order: Order) -> Result<BytesIter> {
        self.engine.prefix(prefix, order).map(|entries| self.all_whole(entries))
    }

    fn approximate_num_entries(&self) -> u64 {
        self.engine.approximate_num_entries()
    }
}

impl SegmentedBytesStore for PlainAdapter<Box<dyn SegmentedBytesStore>> {
    forward!([engine]: persistent commit commit_partitions forget read_committed clear close);

    fn name(&self) -> &str {
        self.engine.name()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.engine.get(key)?.map(|value| self.whole(&value)))
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<bool> {
        self.engine.put(key, value.map(self.bare))
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<bool> {
        self.engine.restore(key, value.map(self.bare))
    }

    fn remove(&mut self, key: &[u8]) -> Result<()> {
        self.engine.remove(key)
    }

    fn fetch(&self, range: &TimeRange<'_>, order: Order) -> Result<BytesIter> {
        self.engine.fetch(range, order).map(|entries| self.all_whole(entries))
    }

    fn time(&self) -> Option<i64> {
        self.engine.time()
    }

    fn limit_time(&mut self, limit: i64) {
        self.engine.limit_time(limit);
    }

    fn hold_from(&mut self, time: i64) {
        self.engine.hold_from(time);
    }

    fn fetch_held(&self, range: &TimeRange<'_>, order: Order) -> Result<BytesIter> {
        self.engine.fetch_held(range, order).map(|entries| self.all_whole(entries))
    }
}
