//! Stores and an engine of the application's own.

use std::path::PathBuf;

use bytes::Bytes;

use super::super::*;
use crate::{
    OwnStore, StateStore,
    state::{BytesIter, EngineContext, KeyValueBytesStore, Order},
};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// How often each key came. On disk every row is a file, and so is the offset of the last commit.
pub(super) struct Counter {
    rows: Rows,
    /// What is not committed, in a store that can forget.
    changes: Option<BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
    committed: Option<i64>,
    disk: Option<PathBuf>,
}

impl Counter {
    pub(super) fn open(context: &EngineContext, name: &str, persistent: bool, forgets: bool) -> Counter {
        let mut counter =
            Counter { rows: Rows::new(), changes: forgets.then(BTreeMap::new), committed: None, disk: None };
        if let Some(task) = context.state_dir.as_ref().filter(|_| persistent) {
            let directory = task.path.join(format!("files-of-{name}"));
            fs::create_dir_all(&directory).unwrap();
            for file in fs::read_dir(&directory).unwrap() {
                let file = file.unwrap();
                let (name, value) = (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap());
                match name.as_str() {
                    "offset" => counter.committed = Some(String::from_utf8(value).unwrap().parse().unwrap()),
                    key => drop(counter.rows.insert(key.strip_prefix("row-").unwrap().into(), value)),
                }
            }
            counter.disk = Some(directory);
        }
        counter
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let changed = self.changes.as_ref().and_then(|changes| changes.get(key));
        changed.cloned().unwrap_or_else(|| self.rows.get(key).cloned())
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        match &mut self.changes {
            Some(changes) => drop(changes.insert(key.to_vec(), value.map(<[u8]>::to_vec))),
            None => self.write(key, value),
        }
    }

    fn write(&mut self, key: &[u8], value: Option<&[u8]>) {
        let file = self.disk.as_ref().map(|disk| disk.join(format!("row-{}", String::from_utf8_lossy(key))));
        match value {
            Some(value) => {
                self.rows.insert(key.to_vec(), value.to_vec());
                file.into_iter().for_each(|file| fs::write(file, value).unwrap());
            }
            None => {
                self.rows.remove(key);
                file.into_iter().for_each(|file| _ = fs::remove_file(file));
            }
        }
    }
}

impl StateStore for Counter {
    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, _timestamp: i64) -> Result<()> {
        self.put(key, value);
        Ok(())
    }

    fn persistent(&self) -> bool {
        self.disk.is_some()
    }

    fn commit(&mut self, changelog_offset: Option<i64>) -> Result<()> {
        let changes = self.changes.as_mut().map(std::mem::take);
        changes.into_iter().flatten().for_each(|(key, value)| self.write(&key, value.as_deref()));
        if let Some(offset) = changelog_offset {
            self.committed = Some(offset);
            self.disk.iter().for_each(|disk| fs::write(disk.join("offset"), offset.to_string()).unwrap());
        }
        Ok(())
    }

    fn committed_offset(&self) -> Result<Option<i64>> {
        Ok(self.committed)
    }

    fn forget(&mut self) -> Result<bool> {
        self.changes.iter_mut().for_each(BTreeMap::clear);
        Ok(self.changes.is_some())
    }

    fn clear(&mut self) -> Result<()> {
        self.rows.clear();
        self.changes.iter_mut().for_each(BTreeMap::clear);
        self.committed = None;
        if let Some(disk) = &self.disk {
            fs::remove_dir_all(disk).unwrap();
            fs::create_dir(disk).unwrap();
        }
        Ok(())
    }
}

pub(super) struct Enter(pub(super) StoreHandle<OwnStore<Counter>>);

impl Processor for Enter {
    type KIn = String;
    type VIn = String;
    type KOut = String;
    type VOut = i64;

    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<'_, Self>) -> Result<()> {
        let mut counter = ctx.store(self.0)?;
        let key = record.key.as_bytes();
        let count =
            counter.get(key).and_then(|value| Some(i64::from_be_bytes(value.try_into().ok()?))).unwrap_or(0) + 1;
        counter.put(key, Some(&count.to_be_bytes()));
        counter.log_change(key, Some(&count.to_be_bytes()))?;
        ctx.forward(record.with_value(count))
    }
}

/// An engine that has every row on disk as soon as it is put.
pub(super) struct MapEngine(Counter);

impl MapEngine {
    pub(super) fn open(context: &EngineContext) -> Box<dyn KeyValueBytesStore> {
        Box::new(MapEngine(Counter::open(context, "own-engine", true, false)))
    }

    fn scan(&self, is_within: impl Fn(&[u8]) -> bool, order: Order) -> BytesIter {
        let rows = self.0.rows.iter().filter(|(key, _)| is_within(key));
        let mut rows: Vec<_> = rows.map(|(key, value)| Ok((key.clone().into(), value.clone().into()))).collect();
        if order == Order::Reverse {
            rows.reverse();
        }
        Box::new(rows.into_iter())
    }
}

impl KeyValueBytesStore for MapEngine {
    fn name(&self) -> &'static str {
        "own-engine"
    }

    fn persistent(&self) -> bool {
        self.0.persistent()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.0.get(key).map(Bytes::from))
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.0.put(key, value);
        Ok(())
    }

    fn range(&self, from: Option<&[u8]>, to: Option<&[u8]>, order: Order) -> Result<BytesIter> {
        let is_within = |key: &[u8]| from.is_none_or(|from| key >= from) && to.is_none_or(|to| key <= to);
        Ok(self.scan(is_within, order))
    }

    fn prefix(&self, prefix: &[u8], order: Order) -> Result<BytesIter> {
        Ok(self.scan(|key| key.starts_with(prefix), order))
    }

    fn approximate_num_entries(&self) -> u64 {
        self.0.rows.len() as u64
    }

    fn commit(&mut self, changelog_offset: Option<i64>) -> Result<()> {
        self.0.commit(changelog_offset)
    }

    fn committed_offset(&self) -> Result<Option<i64>> {
        self.0.committed_offset()
    }

    fn clear(&mut self) -> Result<()> {
        self.0.clear()
    }

    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}
