//! The versions of a store in its engine, as Kafka's `RocksDBVersionedStore` has them.
//!
//! The newest value of a key stands by itself and never expires. An older version stands in the segment of time in which
//! it ended, in a row with the key's others that ended there; a segment expires as a whole. A deletion is the end of
//! the value before it, or has a row of its own in its own segment. Where it takes the place of the newest value, of
//! the same time, and nothing was before that, there is no trace of it, as in Kafka.
//!
//! A key of the engine is the number of the segment (8 bytes, -1 for newest values) and the store's key.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{
    VersionedPut,
    row::{Found, Row, Version},
};
use crate::{
    error::{Error, Result},
    state::{KeyValueBytesStore, Order, StoreTime},
};

/// Where the newest values are.
const NEWEST: i64 = -1;
/// Where the stream time is, so that after a restart the store still knows what is too late.
const STREAM_TIME: i64 = -2;

/// A key's versions: begin, end, value.
pub(super) type Versions = Vec<(i64, Option<i64>, Bytes)>;

pub(super) struct Rows {
    engine: Box<dyn KeyValueBytesStore>,
    /// In ms; what is put may be as late as that.
    history: i64,
    /// Versions expire in segments of this, in ms.
    segment_interval: i64,
    stream_time: StoreTime,
    /// The stream time that the engine knows.
    written_time: i64,
    /// Those that are not empty.
    segments: BTreeSet<i64>,
    /// Whether reads are as of the last commit.
    committed_only: bool,
}

fn place(segment: i64, key: &[u8]) -> Vec<u8> {
    [&segment.to_be_bytes(), key].concat()
}

fn segment_of(place: &[u8]) -> Option<(i64, &[u8])> {
    let (segment, key) = place.split_first_chunk::<8>()?;
    Some((i64::from_be_bytes(*segment), key))
}

impl Rows {
    pub(super) fn new(engine: Box<dyn KeyValueBytesStore>, history: i64, segment_interval: i64) -> Result<Self> {
        let (stream_time, segments) = (StoreTime::default(), BTreeSet::new());
        let committed_only = false;
        let mut rows =
            Rows { engine, history, segment_interval, stream_time, written_time: -1, segments, committed_only };
        rows.look_through()?;
        Ok(rows)
    }

    /// Reads the time of the store, and which segments it has.
    fn look_through(&mut self) -> Result<()> {
        if let Some(time) = self.engine.get(&place(STREAM_TIME, &[]))? {
            let time = time.first_chunk::<8>().ok_or_else(|| self.damaged())?;
            self.written_time = i64::from_be_bytes(*time);
            self.stream_time.advance(self.written_time);
        }
        let mut next = Some(0i64);
        while let Some(from) = next {
            let first = self.engine.first(Some(&from.to_be_bytes()), Some(&[0x80]))?;
            let Some((place, _)) = first else { break };
            let (segment, _) = segment_of(&place).ok_or_else(|| self.damaged())?;
            self.segments.insert(segment);
            next = segment.checked_add(1);
        }
        Ok(())
    }

    pub(super) fn forget(&mut self) -> Result<bool> {
        if !self.engine.forget()? {
            return Ok(false);
        }
        self.stream_time.reset();
        self.written_time = -1;
        self.segments.clear();
        self.look_through()?;
        Ok(true)
    }

    pub(super) fn read_committed(&mut self, only: bool) {
        self.committed_only = only;
        self.engine.read_committed(only);
    }

    pub(super) fn engine(&self) -> &dyn KeyValueBytesStore {
        &*self.engine
    }

    pub(super) fn commit(&mut self, changelog_offset: Option<i64>) -> Result<()> {
        self.expire()?;
        self.write_time()?;
        self.engine.commit(changelog_offset)
    }

    pub(super) fn commit_partitions(&mut self, offsets: &BTreeMap<i32, i64>) -> Result<()> {
        self.expire()?;
        self.write_time()?;
        self.engine.commit_partitions(offsets)
    }

    fn write_time(&mut self) -> Result<()> {
        let time = self.stream_time.now();
        if time > self.written_time {
            self.engine.put(&place(STREAM_TIME, &[]), Some(&time.to_be_bytes()))?;
            self.written_time = time;
        }
        Ok(())
    }

    pub(super) fn clear(&mut self) -> Result<()> {
        self.stream_time.reset();
        self.written_time = -1;
        self.segments.clear();
        self.engine.clear()
    }

    pub(super) fn close(&mut self) -> Result<()> {
        self.engine.close()
    }

    pub(super) fn stream_time(&self) -> i64 {
        self.stream_time.now()
    }

    pub(super) fn limit_time(&mut self, limit: i64) {
        self.stream_time.limit(limit);
    }

    /// What is older than this is history no more.
    pub(super) fn horizon(&self) -> i64 {
        let now = if self.committed_only { self.written_time } else { self.stream_time.now() };
        now.saturating_sub(self.history)
    }

    fn segment(&self, time: i64) -> i64 {
        time / self.segment_interval
    }

    /// Puts a version; a deletion where there is no value.
    pub(super) fn put(&mut self, key: &[u8], value: Option<Bytes>, time: i64) -> Result<VersionedPut> {
        if time < self.horizon() {
            return Ok(VersionedPut::NotPut);
        }
        self.stream_time.advance(time);
        // When the version that follows begins, as far as is known.
        let mut end = None;
        if let Some((begin, newest)) = self.newest(key)? {
            if time >= begin {
                if time > begin {
                    self.insert_newest(key, (begin, Some(newest)), time)?;
                }
                self.put_newest(key, value, time)?;
                return Ok(VersionedPut::Latest);
            }
            end = Some(begin);
        }
        for segment in self.segments_from(time) {
            let Some(row) = self.row(segment, key)? else { continue };
            if row.end <= time {
                break;
            }
            if row.begin() <= time {
                return self.put_into(segment, row, key, value, time);
            }
            end = Some(row.begin());
        }
        match (end, value) {
            (Some(end), value) => {
                self.put_before(key, value, time, end)?;
                return Ok(VersionedPut::ValidTo(end));
            }
            (None, None) => self.put_last_deletion(key, time)?,
            (None, value) => self.put_newest(key, value, time)?,
        }
        Ok(VersionedPut::Latest)
    }

    /// Puts a version into a row that has one before it.
    fn put_into(
        &mut self,
        segment: i64,
        mut row: Row,
        key: &[u8],
        value: Option<Bytes>,
        time: i64,
    ) -> Result<VersionedPut> {
        let Some(Found { index, begin, end, value: before }) = row.find(time) else { return Err(self.damaged()) };
        let moves = begin < time && self.segment(time) != segment;
        if moves {
            // The version before ends earlier now.
            self.insert_newest(key, (begin, before), time)?;
        }
        if moves || begin == time {
            if let Some(version) = row.versions.get_mut(index) {
                *version = (time, value);
            }
        } else {
            row.versions.insert(index, (time, value));
        }
        self.put_row(segment, key, &row)?;
        Ok(VersionedPut::ValidTo(end))
    }

    /// Puts a version that ends where the one after it begins, and has none before it there.
    fn put_before(&mut self, key: &[u8], value: Option<Bytes>, time: i64, end: i64) -> Result<()> {
        let segment = self.segment(end);
        let row = match self.row(segment, key)? {
            None => Row::new(value, time, end),
            Some(mut row) if row.end <= time => {
                row.insert_newest(time, end, value);
                row
            }
            Some(mut row) => {
                row.insert_oldest(time, value);
                row
            }
        };
        self.put_row(segment, key, &row)
    }

    /// Puts a deletion that nothing follows.
    fn put_last_deletion(&mut self, key: &[u8], time: i64) -> Result<()> {
        let segment = self.segment(time);
        let row = match self.row(segment, key)? {
            None => Row::new(None, time, time),
            Some(row) if row.end == time => return Ok(()),
            Some(mut row) => {
                row.insert_newest(row.end, time, None);
                row
            }
        };
        self.put_row(segment, key, &row)
    }

    /// Moves a version into the segment in which it ended, if that has not expired.
    fn insert_newest(&mut self, key: &[u8], (begin, value): Version, end: i64) -> Result<()> {
        let segment = self.segment(end);
        if segment < self.first_live_segment() {
            return Ok(());
        }
        let row = match self.row(segment, key)? {
            None => Row::new(value, begin, end),
            Some(mut row) => {
                row.insert_newest(begin, end, value);
                row
            }
        };
        self.put_row(segment, key, &row)
    }

    /// The first segment that is not before the history.
    fn first_live_segment(&self) -> i64 {
        self.segment(self.horizon())
    }

    /// Drops the segments before the history. Only at a commit: a task that begins anew from the one before needs what was
    /// history by then.
    fn expire(&mut self) -> Result<()> {
        let live = self.first_live_segment();
        while let Some(segment) = self.segments.first().copied().filter(|segment| *segment < live) {
            let rows = self.engine.prefix(&segment.to_be_bytes(), Order::Forward)?;
            let gone = rows.map(|entry| entry.map(|(place, _)| (place, None))).collect::<Result<Vec<_>>>()?;
            self.engine.put_batch(&gone)?;
            self.segments.remove(&segment);
        }
        Ok(())
    }

    /// Segments of the history that may have versions of this time or later, the last one first.
    fn segments_from(&self, time: i64) -> Vec<i64> {
        self.segments.range(self.segment(time).max(self.first_live_segment())..).rev().copied().collect()
    }

    fn newest(&self, key: &[u8]) -> Result<Option<(i64, Bytes)>> {
        let Some(entry) = self.engine.get(&place(NEWEST, key))? else { return Ok(None) };
        let begin = entry.first_chunk::<8>().ok_or_else(|| self.damaged())?;
        Ok(Some((i64::from_be_bytes(*begin), entry.slice(8..))))
    }

    fn put_newest(&mut self, key: &[u8], value: Option<Bytes>, time: i64) -> Result<()> {
        let entry = value.map(|value| [&time.to_be_bytes(), &value[..]].concat());
        self.engine.put(&place(NEWEST, key), entry.as_deref())
    }

    fn row(&self, segment: i64, key: &[u8]) -> Result<Option<Row>> {
        let Some(bytes) = self.engine.get(&place(segment, key))? else { return Ok(None) };
        Row::read(&bytes).map(Some).ok_or_else(|| self.damaged())
    }

    fn put_row(&mut self, segment: i64, key: &[u8], row: &Row) -> Result<()> {
        self.segments.insert(segment);
        let row = row.write().map_err(|why| Error::unwritable(self.engine.name(), &why))?;
        self.engine.put(&place(segment, key), Some(&row))
    }

    /// The newest version, if it is a value.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<(i64, Bytes)>> {
        self.newest(key)
    }

    /// The version of a time; of a time before the history only if it is the newest.
    pub(super) fn get_as_of(&self, key: &[u8], time: i64) -> Result<Option<(i64, Option<i64>, Bytes)>> {
        if let Some((begin, value)) = self.newest(key)?.filter(|(begin, _)| *begin <= time) {
            return Ok(Some((begin, None, value)));
        }
        if time < self.horizon() {
            return Ok(None);
        }
        for segment in self.segments_from(time) {
            let Some(row) = self.row(segment, key)? else { continue };
            if row.end <= time {
                return Ok(None);
            }
            if row.begin() <= time {
                let found = row.find(time);
                return Ok(found.and_then(|found| Some((found.begin, Some(found.end), found.value?))));
            }
        }
        Ok(None)
    }

    /// The versions that were valid between two times, both included, the newest first; of times before the history only
    /// the newest of the key.
    pub(super) fn get_between(&self, key: &[u8], (from, to): (i64, i64)) -> Result<Versions> {
        let newest = self.newest(key)?.filter(|(begin, _)| *begin <= to);
        let mut versions: Versions = newest.into_iter().map(|(begin, value)| (begin, None, value)).collect();
        if to < self.horizon() {
            return Ok(versions);
        }
        for segment in self.segments_from(from) {
            let Some(row) = self.row(segment, key)? else { continue };
            let found = row.values().filter(|(begin, end, _)| *begin <= to && *end > from);
            versions.extend(found.map(|(begin, end, value)| (begin, Some(end), value.clone())));
        }
        Ok(versions)
    }

    /// All values by key, with their versions by time.
    pub(super) fn all(&self) -> Result<BTreeMap<Bytes, Versions>> {
        let mut all = BTreeMap::<Bytes, Versions>::new();
        for entry in self.engine.all(Order::Forward)? {
            let (place, value) = entry?;
            let (segment, _) = segment_of(&place).ok_or_else(|| self.damaged())?;
            let key = place.slice(8..);
            if segment == NEWEST {
                let begin = value.first_chunk::<8>().ok_or_else(|| self.damaged())?;
                all.entry(key).or_default().push((i64::from_be_bytes(*begin), None, value.slice(8..)));
            } else if segment >= self.first_live_segment().max(0) {
                let row = Row::read(&value).ok_or_else(|| self.damaged())?;
                let mut versions: Versions =
                    row.values().map(|(begin, end, value)| (begin, Some(end), value.clone())).collect();
                if !versions.is_empty() {
                    versions.reverse();
                    all.entry(key).or_default().append(&mut versions);
                }
            }
        }
        Ok(all)
    }

    #[cold]
    fn damaged(&self) -> Box<Error> {
        let message = "an entry of its engine is not one of a versioned store".to_owned();
        Box::new(Error::Store { store: self.engine.name().to_owned(), message })
    }
}
