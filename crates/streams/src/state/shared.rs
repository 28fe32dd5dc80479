//! What one task writes and all others read: the engines of global stores.

use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{BytesIter, KeyValueBytesStore, Order, SegmentedBytesStore, TimeRange};
use crate::error::{Error, Result};

/// The engines of an application's global stores, by the stores' names: opened by the task that fills them, read by all.
#[derive(Clone, Default)]
pub struct GlobalStores(Arc<Mutex<HashMap<String, Arc<dyn Any + Send + Sync>>>>);

impl fmt::Debug for GlobalStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.lock().keys()).finish()
    }
}

impl GlobalStores {
    /// Forgets the engines; those who have handles keep them.
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }
}

/// Whose engine a store gets.
#[derive(Clone, Copy)]
pub(crate) enum Sharing<'a> {
    /// One of its own.
    Own,
    /// One that others will read.
    Writer(&'a GlobalStores),
    /// That of a writer, to read.
    Reader(&'a GlobalStores),
}

impl Sharing<'_> {
    /// What is behind a store; `make` makes it where there is none to share.
    pub(crate) fn share<T: Send + Sync + 'static>(
        self,
        name: &str,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<Shared<T>> {
        let of = |place, writes| Shared { name: Arc::from(name), place, writes };
        match self {
            Sharing::Own => Ok(of(Arc::new(RwLock::new(make()?)), true)),
            Sharing::Writer(stores) => {
                let place = Arc::new(RwLock::new(make()?));
                stores.0.lock().insert(name.to_owned(), place.clone());
                Ok(of(place, true))
            }
            Sharing::Reader(stores) => {
                let place = stores.0.lock().get(name).cloned();
                let place = place.and_then(|place| place.downcast::<RwLock<T>>().ok());
                let missing = || Box::new(Error::InvalidStateStore(format!("the state store, {name}, is not open.")));
                Ok(of(place.ok_or_else(missing)?, false))
            }
        }
    }

    /// The engine of a key-value store; `make` makes it where there is none to share.
    pub(crate) fn key_value(
        self,
        name: &str,
        make: impl FnOnce() -> Result<Box<dyn KeyValueBytesStore>>,
    ) -> Result<Box<dyn KeyValueBytesStore>> {
        match self {
            Sharing::Own => make(),
            _ => Ok(Box::new(self.share(name, make)?)),
        }
    }

    /// The engine of a window or session store; `make` makes it where there is none to share.
    pub(crate) fn segmented(
        self,
        name: &str,
        make: impl FnOnce() -> Result<Box<dyn SegmentedBytesStore>>,
    ) -> Result<Box<dyn SegmentedBytesStore>> {
        match self {
            Sharing::Own => make(),
            _ => Ok(Box::new(self.share(name, make)?)),
        }
    }
}

/// A handle of something that others have handles of too.
///
/// The lock is held for one operation. What an engine's scan returns is the reader's own.
pub(crate) struct Shared<T> {
    name: Arc<str>,
    place: Arc<RwLock<T>>,
    writes: bool,
}

impl<T> Shared<T> {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.place.read()
    }

    pub(crate) fn write(&self) -> Result<RwLockWriteGuard<'_, T>> {
        if self.writes {
            return Ok(self.place.write());
        }
        let message = "global store is read only".to_owned();
        Err(Box::new(Error::Store { store: self.name.to_string(), message }))
    }
}

impl<T: ?Sized> Shared<Box<T>> {
    /// What came of reading. A task whose own store is damaged restores it and goes on; who meets that in a store that another
    /// fills cannot, and would begin anew for ever.
    fn told<R>(&self, read: Result<R>) -> Result<R> {
        read.map_err(|error| foreign_damage(self.writes, *error))
    }

    fn told_by_entry(&self, scan: Result<BytesIter>) -> Result<BytesIter> {
        let writes = self.writes;
        let scan = self.told(scan)?;
        if writes {
            return Ok(scan);
        }
        Ok(Box::new(scan.map(move |entry| entry.map_err(|error| foreign_damage(writes, *error)))))
    }
}

fn foreign_damage(is_own: bool, error: Error) -> Box<Error> {
    match error {
        Error::CorruptedStore { store, path, message } if !is_own => {
            let path = path.display();
            let message = format!("the files in {path} are damaged, a start fills the store anew: {message}");
            Box::new(Error::Store { store, message })
        }
        other => Box::new(other),
    }
}

/// What both kinds of engines do under the lock as without it.
macro_rules! under_the_lock {
    () => {
        fn name(&self) -> &str {
            &self.name
        }
        fn persistent(&self) -> bool {
            self.read().persistent()
        }
        fn commit(&mut self, changelog_offset: Option<i64>) -> Result<()> {
            self.write()?.commit(changelog_offset)
        }
        fn committed_offset(&self) -> Result<Option<i64>> {
            self.read().committed_offset()
        }
        fn is_restoration_written(&mut self) -> Result<bool> {
            self.write()?.is_restoration_written()
        }
        fn end_restoration(&mut self) -> Result<()> {
            self.write()?.end_restoration()
        }
        fn commit_partitions(&mut self, offsets: &BTreeMap<i32, i64>) -> Result<()> {
            self.write()?.commit_partitions(offsets)
        }
        fn committed_partitions(&self) -> Result<Option<BTreeMap<i32, i64>>> {
            self.read().committed_partitions()
        }
        fn needs_commit(&self) -> bool {
            self.read().needs_commit()
        }
        fn clear(&mut self) -> Result<()> {
            self.write()?.clear()
        }
        fn close(&mut self) -> Result<()> {
            self.write()?.close()
        }
    };
}

impl KeyValueBytesStore for Shared<Box<dyn KeyValueBytesStore>> {
    under_the_lock!();

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.told(self.read().get(key))
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.write()?.put(key, value)
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.write()?.restore(key, value)
    }

    fn put_batch(&mut self, entries: &[(Bytes, Option<Bytes>)]) -> Result<()> {
        self.write()?.put_batch(entries)
    }

    fn take_evicted(&mut self) -> Option<Bytes> {
        self.write().ok()?.take_evicted()
    }

    fn range(&self, from: Option<&[u8]>, to: Option<&[u8]>, order: Order) -> Result<BytesIter> {
        self.told_by_entry(self.read().range(from, to, order))
    }

    fn prefix(&self, prefix: &[u8], order: Order) -> Result<BytesIter> {
        self.told_by_entry(self.read().prefix(prefix, order))
    }

    fn approximate_num_entries(&self) -> u64 {
        self.read().approximate_num_entries()
    }
}

impl SegmentedBytesStore for Shared<Box<dyn SegmentedBytesStore>> {
    under_the_lock!();

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.told(self.read().get(key))
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<bool> {
        self.write()?.put(key, value)
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<bool> {
        self.write()?.restore(key, value)
    }

    fn remove(&mut self, key: &[u8]) -> Result<()> {
        self.write()?.remove(key)
    }

    fn fetch(&self, range: &TimeRange<'_>, order: Order) -> Result<BytesIter> {
        self.told_by_entry(self.read().fetch(range, order))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{GlobalStores, Sharing, foreign_damage};
    use crate::{
        error::Error,
        state::{InMemoryKeyValueStore, KeyValueBytesStore, Order},
    };

    fn in_memory() -> crate::error::Result<Box<dyn KeyValueBytesStore>> {
        Ok(Box::new(InMemoryKeyValueStore::new("s")))
    }

    #[test]
    fn one_writes_and_others_see_it() {
        let stores = GlobalStores::default();
        let unopened = Sharing::Reader(&stores).key_value("s", in_memory).err().unwrap();
        assert!(unopened.to_string().contains("is not open"), "{unopened}");
        let mut writer = Sharing::Writer(&stores).key_value("s", in_memory).unwrap();
        let mut reader = Sharing::Reader(&stores).key_value("s", in_memory).unwrap();
        writer.put(b"a", Some(b"1")).unwrap();
        assert_eq!(reader.get(b"a").unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(reader.all(Order::Forward).unwrap().count(), 1);
        let refused = reader.put(b"b", Some(b"2")).unwrap_err().to_string();
        assert_eq!(refused, "store s: global store is read only");
        assert!(Sharing::Reader(&stores).segmented("s", || unreachable!()).is_err(), "it is of another kind");
    }

    #[test]
    fn a_scan_is_as_of_its_beginning() {
        let stores = GlobalStores::default();
        let mut writer = Sharing::Writer(&stores).key_value("s", in_memory).unwrap();
        let reader = Sharing::Reader(&stores).key_value("s", in_memory).unwrap();
        writer.put(b"a", Some(b"1")).unwrap();
        let scan = reader.all(Order::Forward).unwrap();
        writer.put(b"b", Some(b"2")).unwrap();
        assert_eq!(scan.count(), 1);
    }

    #[test]
    fn damage_is_only_its_writers_to_repair() {
        let damage = || {
            let (store, path, message) = ("s".to_owned(), PathBuf::from("dir"), "checksum".to_owned());
            Error::CorruptedStore { store, path, message }
        };
        assert!(foreign_damage(true, damage()).is_corrupted_store());
        let told = foreign_damage(false, damage());
        assert!(!told.is_corrupted_store());
        let expected = "store s: the files in dir are damaged, a start fills the store anew: checksum";
        assert_eq!(told.to_string(), expected);
    }
}
