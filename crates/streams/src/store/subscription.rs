//! Who waits for which row of the other table in a foreign-key join: Kafka's subscription store.
//!
//! A key is the foreign key with its length before it, and the primary key behind it, so that all subscribers of a row
//! stand together. A value is a subscription; the engine has its headers and its timestamp before it (KIP-1271), the
//! changelog has them in the record.

use std::sync::Arc;

use bytes::Bytes;
use vltava_protocol::record::split_varint;

use super::{AnyStore, StoreInit, changelog, with_headers::write_headers};
use crate::{
    error::{Error, Result},
    processing::Runtime,
    record::Headers,
    state::{BytesIter, KeyFormat, KeyValueBytesStore, KeyValueSupplier, Order, forward},
};

const TIMESTAMP: usize = 8;

/// The subscriptions of a task, in bytes. It has no record cache, as in Kafka.
pub(crate) struct SubscriptionStore {
    name: Arc<str>,
    engine: Box<dyn KeyValueBytesStore>,
    changelog: Option<(Arc<str>, i32)>,
    value_buffer: Vec<u8>,
}

impl SubscriptionStore {
    pub(crate) fn make(name: &str, init: &StoreInit<'_>) -> Result<Box<dyn AnyStore>> {
        let supplier = match init.config.fields().stores_in_memory {
            true => KeyValueSupplier::in_memory(name),
            false if init.config.fields().headers_format => KeyValueSupplier::persistent_timestamped_with_headers(name),
            false => KeyValueSupplier::persistent_timestamped(name),
        };
        Ok(Box::new(SubscriptionStore {
            name: Arc::from(name),
            engine: supplier.get_with_headers(init.engine, KeyFormat::Subscription)?,
            changelog: init.changelog.clone(),
            value_buffer: Vec::new(),
        }))
    }

    /// Keeps a subscription that came with the record being processed.
    pub(crate) fn put(&mut self, rt: &mut Runtime, key: &[u8], subscription: &[u8]) -> Result<()> {
        self.keep(key, subscription, rt.context.timestamp, &rt.context.headers)?;
        self.log(rt, key, Some(subscription))
    }

    /// Forgets one, whether or not it is there.
    pub(crate) fn delete(&mut self, rt: &mut Runtime, key: &[u8]) -> Result<()> {
        self.engine.put(key, None)?;
        self.log(rt, key, None)
    }

    /// Keys and subscriptions below a foreign key. The iterator owns what it reads.
    pub(crate) fn below(&self, prefix: &[u8]) -> Result<impl Iterator<Item = Result<(Bytes, Bytes)>> + use<>> {
        let entries: BytesIter = self.engine.prefix(prefix, Order::Forward)?;
        Ok(entries.map(|entry| {
            let (key, value) = entry?;
            let subscription = value.slice(before(&value).min(value.len())..);
            Ok((key, subscription))
        }))
    }

    fn keep(&mut self, key: &[u8], subscription: &[u8], timestamp: i64, headers: &Headers) -> Result<()> {
        self.value_buffer.clear();
        write_headers(headers, &mut self.value_buffer).map_err(|why| Error::unwritable(&self.name, &why))?;
        self.value_buffer.extend_from_slice(&timestamp.to_be_bytes());
        self.value_buffer.extend_from_slice(subscription);
        self.engine.put(key, Some(&self.value_buffer))
    }

    fn log(&self, rt: &mut Runtime, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        let Some(changelog) = &self.changelog else { return Ok(()) };
        let (timestamp, headers) = (Some(rt.context.timestamp), rt.context.headers.clone());
        changelog::send(changelog, rt, (key, value), timestamp, &headers)
    }
}

/// How many bytes of headers and timestamp are before a subscription.
fn before(value: &[u8]) -> usize {
    let headers = split_varint(value).and_then(|(size, rest)| {
        let written = value.len().checked_sub(rest.len())?;
        written.checked_add(usize::try_from(size).ok()?)
    });
    headers.map_or(value.len(), |headers| headers.saturating_add(TIMESTAMP))
}

impl AnyStore for SubscriptionStore {
    forward!([engine]: persistent commit forget clear close raw_entries);

    fn name(&self) -> &str {
        &self.name
    }

    fn flush_cache(&mut self, _rt: &mut Runtime) -> Result<Option<usize>> {
        Ok(None)
    }

    fn recycle(&mut self) -> Result<bool> {
        Ok(true)
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64) -> Result<()> {
        self.restore_with_headers(key, value, timestamp, &Headers::new())
    }

    fn restore_with_headers(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: i64,
        headers: &Headers,
    ) -> Result<()> {
        match value {
            Some(value) => self.keep(key, value, timestamp, headers),
            None => self.engine.put(key, None),
        }
    }
}
