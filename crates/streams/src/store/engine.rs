//! What a typed store asks of an engine of bytes.

use bytes::Bytes;

use crate::{
    error::Result,
    state::{KeyValueBytesStore, SegmentedBytesStore},
};

/// An engine as the layers above see it: a map of the bytes that are in the changelog too.
pub(crate) trait Engine: Send {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;
    /// Puts or deletes. False if the key's time has expired, and nothing was put.
    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<bool>;
    /// Puts or deletes what the changelog has.
    fn restore(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()>;
    fn remove(&mut self, key: &[u8]) -> Result<()> {
        self.put(key, None).map(drop)
    }
    /// A key that the engine has forgotten by itself.
    fn take_evicted(&mut self) -> Option<Bytes> {
        None
    }
    fn persistent(&self) -> bool;
    /// See [`SegmentedBytesStore::time`].
    fn time(&self) -> Option<i64> {
        None
    }
    /// See [`SegmentedBytesStore::limit_time`].
    fn limit_time(&mut self, _limit: i64) {}
}

impl Engine for Box<dyn KeyValueBytesStore> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        (**self).get(key)
    }
    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<bool> {
        (**self).put(key, value).map(|()| true)
    }
    fn restore(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        (**self).restore(key, value)
    }
    fn take_evicted(&mut self) -> Option<Bytes> {
        (**self).take_evicted()
    }
    fn persistent(&self) -> bool {
        (**self).persistent()
    }
}

impl Engine for Box<dyn SegmentedBytesStore> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        (**self).get(key)
    }
    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<bool> {
        (**self).put(key, value)
    }
    fn restore(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        (**self).restore(key, value).map(drop)
    }
    fn remove(&mut self, key: &[u8]) -> Result<()> {
        (**self).remove(key)
    }
    fn persistent(&self) -> bool {
        (**self).persistent()
    }
    fn time(&self) -> Option<i64> {
        (**self).time()
    }
    fn limit_time(&mut self, limit: i64) {
        (**self).limit_time(limit);
    }
}
