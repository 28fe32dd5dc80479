//! Keys in time, in segments: one engine of bytes for each span of time, dropped as a whole when it has expired.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::{KeySchema, SegmentedBytesStore, TimeRange};
use crate::{
    error::{Error, Result},
    state::{BytesIter, EngineContext, KeyValueBytesStore, Order, StoreTime},
};

/// How a [`PersistentSegmentedStore`] keeps time. All in ms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segmentation {
    pub(crate) retention: i64,
    pub(crate) interval: i64,
    /// Whether scans over all keys come by time, then by key, as those of Kafka's time-ordered stores do.
    pub(crate) time_ordered: bool,
}

/// An engine of segments, each with the entries of one span of time in the order of their bytes.
///
/// What has expired may still be there until its whole segment has, and until a commit then; it is not returned.
pub struct PersistentSegmentedStore {
    name: String,
    schema: KeySchema,
    time: Segmentation,
    stream_time: StoreTime,
    /// The same as of the last commit.
    committed_time: StoreTime,
    /// Whether reads are as of the last commit.
    committed_only: bool,
    /// From here on nothing is dropped.
    held_from: i64,
    segments: BTreeMap<i64, Box<dyn KeyValueBytesStore>>,
    /// The changelog offset of the last commit.
    committed: Option<i64>,
    /// Whether a restoration has ended.
    is_restored: bool,
    /// For a segment the offset of the last commit before it was made: so much it covers whatever it has lost, for until
    /// then it had nothing.
    made_at: BTreeMap<i64, i64>,
    context: EngineContext,
}

#[cold]
fn failure(store: &str, doing: &str, path: &Path, error: std::io::Error) -> Box<Error> {
    Box::new(Error::Store { store: store.to_owned(), message: format!("{doing} in {}: {error}", path.display()) })
}

impl std::fmt::Debug for PersistentSegmentedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PersistentSegmentedStore")
            .field("name", &self.name)
            .field("time", &self.time)
            .finish_non_exhaustive()
    }
}

/// The file that lists the starts of all segments, each with the offset at which it was made: one that is gone would not be
/// missed otherwise.
const LIST: &str = "store-segments";

impl PersistentSegmentedStore {
    /// Opens what is there.
    pub(crate) fn open(name: String, schema: KeySchema, time: Segmentation, context: &EngineContext) -> Result<Self> {
        let mut store = PersistentSegmentedStore {
            name,
            schema,
            time,
            stream_time: StoreTime::default(),
            committed_time: StoreTime::default(),
            committed_only: false,
            held_from: i64::MAX,
            segments: BTreeMap::new(),
            committed: None,
            is_restored: false,
            made_at: BTreeMap::new(),
            context: context.clone(),
        };
        let Some(directory) = store.directory() else { return Ok(store) };
        let failed = |error: std::io::Error| failure(&store.name, "opening its segments", &directory, error);
        fs::create_dir_all(&directory).map_err(failed)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let file = entry.map_err(failed)?.file_name();
            let start =
                file.to_str().and_then(|file| file.strip_prefix(&store.name)?.strip_prefix('.')?.parse::<i64>().ok());
            found.extend(start.map(|start| start / time.interval));
        }
        found.sort_unstable();
        let listed = match fs::read_to_string(directory.join(LIST)) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            listed => listed.map_err(failed)?,
        };
        for line in listed.lines() {
            let (start, made_at) = line.split_once(' ').map_or((line, None), |(start, made)| (start, Some(made)));
            let Ok(start) = start.parse::<i64>() else { continue };
            let id = start / time.interval;
            if !found.contains(&id) {
                let message = format!("its segment from {start} on is missing");
                return Err(Box::new(Error::CorruptedStore { store: store.name, path: directory, message }));
            }
            if let Some(made_at) = made_at.and_then(|offset| offset.parse().ok()) {
                store.made_at.insert(id, made_at);
            }
        }
        for id in found {
            store.open_segment(id)?;
        }
        store.committed = store.committed_offset()?;
        Ok(store)
    }

    /// Writes the list of segments. It is written behind a segment that is made and before one is deleted, so that after a
    /// crash there may be more than are listed, but not fewer.
    fn write_list(&self) -> Result<()> {
        let Some(directory) = self.directory() else { return Ok(()) };
        let failed = |error: std::io::Error| failure(&self.name, "listing its segments", &directory, error);
        let line = |id: &i64| match self.made_at.get(id) {
            Some(offset) => format!("{} {offset}\n", id * self.time.interval),
            None => format!("{}\n", id * self.time.interval),
        };
        let list: String = self.segments.keys().map(line).collect();
        let new = directory.join(".store-segments.new");
        fs::write(&new, list).map_err(failed)?;
        fs::rename(new, directory.join(LIST)).map_err(failed)
    }

    fn directory(&self) -> Option<PathBuf> {
        self.context.state_dir.as_ref().map(|directory| directory.path.join(&self.name))
    }

    /// Kafka's name of a segment's directory.
    fn segment_name(&self, id: i64) -> String {
        format!("{}.{}", self.name, id * self.time.interval)
    }

    fn id(&self, time: i64) -> i64 {
        time / self.time.interval
    }

    fn segment(&mut self, id: i64) -> Result<&mut Box<dyn KeyValueBytesStore>> {
        if !self.segments.contains_key(&id) {
            self.open_segment(id)?;
            if let Some(segment) = self.segments.get_mut(&id).filter(|_| self.is_restored) {
                segment.end_restoration()?;
            }
            if let Some(committed) = self.committed {
                self.made_at.insert(id, committed);
            }
            self.write_list()?;
        }
        self.segments.get_mut(&id).ok_or_else(|| Error::internal("a segment that was just made is gone"))
    }

    /// The segment that a key that is put belongs to; `None` if it has expired.
    fn segment_of(&mut self, key: &[u8]) -> Result<Option<&mut Box<dyn KeyValueBytesStore>>> {
        let time = self.schema.time(key);
        self.stream_time.advance(time);
        let id = self.id(time);
        if id < self.first_live_segment() { Ok(None) } else { self.segment(id).map(Some) }
    }

    fn open_segment(&mut self, id: i64) -> Result<()> {
        let name = self.segment_name(id);
        let mut engine: Box<dyn KeyValueBytesStore> = match (&self.context.state_dir, self.directory()) {
            (Some(task), Some(directory)) => Box::new(task.engine.open(&name, &directory.join(&name))?),
            _ => self.context.in_memory(&name),
        };
        engine.read_committed(self.committed_only);
        self.segments.insert(id, engine);
        Ok(())
    }

    /// Drops the segments that have expired as a whole. Only at a commit: a task that begins anew from the one before needs
    /// what had not expired by then.
    fn clean_up(&mut self) -> Result<()> {
        let live = self.first_live_segment();
        while let Some(first) = self.segments.first_entry().filter(|first| *first.key() < live) {
            let (id, engine) = first.remove_entry();
            self.made_at.remove(&id);
            self.drop_segment(id, engine)?;
        }
        Ok(())
    }

    fn drop_segment(&self, id: i64, mut engine: Box<dyn KeyValueBytesStore>) -> Result<()> {
        engine.discard()?;
        drop(engine);
        self.write_list()?;
        if let Some(directory) = self.directory() {
            let path = directory.join(self.segment_name(id));
            fs::remove_dir_all(&path).map_err(|error| failure(&self.name, "dropping a segment", &path, error))?;
        }
        Ok(())
    }

    fn first_live_segment(&self) -> i64 {
        self.id(self.stream_time.now().saturating_sub(self.time.retention).min(self.held_from))
    }

    fn live_from(&self) -> i64 {
        let time = if self.committed_only { self.committed_time } else { self.stream_time };
        time.now().saturating_sub(self.time.retention).saturating_add(1)
    }

    fn committed(&mut self, changelog_offset: Option<i64>) {
        self.committed = changelog_offset.or(self.committed);
        self.committed_time = self.stream_time;
    }
}

impl SegmentedBytesStore for PersistentSegmentedStore {
    fn name(&self) -> &str {
        &self.name
    }

    fn persistent(&self) -> bool {
        true
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let time = self.schema.time(key);
        match self.segments.get(&self.id(time)).filter(|_| time >= self.live_from()) {
            Some(segment) => segment.get(key),
            None => Ok(None),
        }
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<bool> {
        let Some(segment) = self.segment_of(key)? else { return Ok(false) };
        segment.put(key, value).map(|()| true)
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<bool> {
        let Some(segment) = self.segment_of(key)? else { return Ok(false) };
        segment.restore(key, value).map(|()| true)
    }

    fn is_restoration_written(&mut self) -> Result<bool> {
        let mut is_written = true;
        for segment in self.segments.values_mut() {
            is_written &= segment.is_restoration_written()?;
        }
        Ok(is_written)
    }

    fn end_restoration(&mut self) -> Result<()> {
        self.is_restored = true;
        self.segments.values_mut().try_for_each(|segment| segment.end_restoration())
    }

    fn fetch(&self, range: &TimeRange<'_>, order: Order) -> Result<BytesIter> {
        // Kafka's window stores in the order of time keep a window for the millisecond in which it expires.
        let by_time = self.time.time_ordered && self.schema == KeySchema::Window;
        self.scan(range, self.live_from() - i64::from(by_time), by_time, order)
    }

    fn time(&self) -> Option<i64> {
        Some(self.stream_time.now())
    }

    fn limit_time(&mut self, limit: i64) {
        self.stream_time.limit(limit);
        self.committed_time.limit(limit);
    }

    fn hold_from(&mut self, time: i64) {
        self.held_from = time;
    }

    fn fetch_held(&self, range: &TimeRange<'_>, order: Order) -> Result<BytesIter> {
        self.scan(range, self.live_from().min(self.held_from), self.time.time_ordered, order)
    }

    fn commit(&mut self, changelog_offset: Option<i64>) -> Result<()> {
        self.clean_up()?;
        self.segments.values_mut().try_for_each(|segment| segment.commit(changelog_offset))?;
        self.committed(changelog_offset);
        Ok(())
    }

    fn forget(&mut self) -> Result<bool> {
        let mut all = true;
        for segment in self.segments.values_mut() {
            all &= segment.forget()?;
        }
        if all {
            self.stream_time = self.committed_time;
        }
        Ok(all)
    }

    fn read_committed(&mut self, only: bool) {
        self.committed_only = only;
        self.segments.values_mut().for_each(|segment| segment.read_committed(only));
    }

    /// The least that any segment covers: what another has already is put again. A segment without an offset may have
    /// lost all it had since it was made.
    fn committed_offset(&self) -> Result<Option<i64>> {
        let mut least = None;
        for (id, segment) in &self.segments {
            let Some(offset) = segment.committed_offset()?.max(self.made_at.get(id).copied()) else { return Ok(None) };
            least = Some(least.map_or(offset, |least: i64| least.min(offset)));
        }
        Ok(least)
    }

    fn commit_partitions(&mut self, offsets: &BTreeMap<i32, i64>) -> Result<()> {
        self.clean_up()?;
        self.segments.values_mut().try_for_each(|segment| segment.commit_partitions(offsets))?;
        self.committed(None);
        Ok(())
    }

    /// What all segments cover; segments that do not agree were not closed.
    fn committed_partitions(&self) -> Result<Option<BTreeMap<i32, i64>>> {
        let mut agreed: Option<BTreeMap<i32, i64>> = None;
        for segment in self.segments.values() {
            let offsets = segment.committed_partitions()?;
            if offsets.is_none() || agreed.as_ref().is_some_and(|agreed| Some(agreed) != offsets.as_ref()) {
                return Ok(None);
            }
            agreed = offsets;
        }
        Ok(Some(agreed.unwrap_or_default()))
    }

    fn needs_commit(&self) -> bool {
        self.segments.values().any(|segment| segment.needs_commit())
    }

    fn uncommitted_bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.uncommitted_bytes()).sum()
    }

    fn clear(&mut self) -> Result<()> {
        self.stream_time.reset();
        self.committed_time.reset();
        (self.committed, self.is_restored) = (None, false);
        self.made_at.clear();
        while let Some((id, engine)) = self.segments.pop_first() {
            self.drop_segment(id, engine)?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        self.segments.values_mut().try_for_each(|segment| segment.close())
    }
}

impl PersistentSegmentedStore {
    fn scan(&self, range: &TimeRange<'_>, live_from: i64, by_time: bool, order: Order) -> Result<BytesIter> {
        let (schema, from) = (self.schema, range.from.max(live_from));
        let last = match schema {
            KeySchema::Window => range.to,
            // Sessions are filed by their end, which may be later than the range's.
            KeySchema::Session => i64::MAX,
        };
        if range.is_backwards() || last < from {
            return Ok(Box::new(std::iter::empty()));
        }
        let range = TimeRange { from, ..*range };
        let (lower, upper) = schema.bounds(&range);
        let segments = self.segments.range(self.id(from)..=self.id(last)).map(|(_, segment)| segment);
        let segments: Vec<_> = match order {
            Order::Forward => segments.collect(),
            Order::Reverse => segments.rev().collect(),
        };
        let mut found = Vec::new();
        for segment in segments {
            let begin = found.len();
            for entry in segment.range(lower.as_deref(), upper.as_deref(), order)? {
                let (key, value) = entry?;
                if schema.matches(&key, &range) {
                    found.push((key, value));
                }
            }
            if by_time && range.from_key.is_none() && range.to_key.is_none() {
                let time_first = |(key, _): &(Bytes, Bytes)| {
                    (schema.time(key), KeySchema::split(schema, key).1.to_vec(), schema.split(key).0.to_vec())
                };
                let mine = found.get_mut(begin..).unwrap_or_default();
                mine.sort_by_cached_key(time_first);
                if order == Order::Reverse {
                    mine.reverse();
                }
            }
        }
        Ok(Box::new(found.into_iter().map(Ok)))
    }
}
