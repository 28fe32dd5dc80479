//! Sources: from bytes to the first typed node.

use std::sync::Arc;

use super::{
    context::{Runtime, TaskCtx},
    extractor::{ConsumerRecord, TimestampExtractor},
    node::Children,
    queue::RawView,
};
use crate::{
    data::Nullable,
    error::{Error, Result, SerdeError, SerdeOrigin},
    handler::{HandlerResponse, HandlerResult},
    record::Record,
    serdes::SerdeRef,
};

/// A source in a task. It holds the head of every partition's queue, read and stamped, and the record at work.
pub(crate) trait Source: Send {
    /// Room for one more partition; returns its lane.
    fn add_lane(&mut self) -> usize;
    /// Reads a record and makes it the head of its lane. Returns its timestamp, or `None` if the record is dropped.
    fn prepare(&mut self, lane: usize, raw: &RawView<'_>, partition_time: i64, rt: &mut Runtime)
    -> Result<Option<i64>>;
    /// Takes the head of a lane for processing.
    fn take_head(&mut self, lane: usize);
    /// Processes the record that was taken.
    fn process(&mut self, timestamp: i64, ctx: &mut TaskCtx) -> Result<()>;
}

pub(crate) struct SourceNode<K: Nullable, V: Nullable> {
    pub(crate) key_serde: SerdeRef<K::Some>,
    pub(crate) value_serde: SerdeRef<V::Some>,
    /// `None` for the default, which takes the record's timestamp and fails where it is negative.
    pub(crate) extractor: Option<Arc<dyn TimestampExtractor<K::Some, V::Some>>>,
    pub(crate) heads: Vec<Option<Record<K, V>>>,
    pub(crate) current: Option<Record<K, V>>,
    pub(crate) children: Children<K, V>,
    pub(crate) id: u32,
}

impl<K: Nullable, V: Nullable> Source for SourceNode<K, V> {
    fn add_lane(&mut self) -> usize {
        self.heads.push(None);
        self.heads.len() - 1
    }

    fn prepare(
        &mut self,
        lane: usize,
        raw: &RawView<'_>,
        partition_time: i64,
        rt: &mut Runtime,
    ) -> Result<Option<i64>> {
        let key = match raw.key.map(|bytes| self.key_serde.deserialize(raw.topic, bytes)).transpose() {
            Ok(key) => key,
            Err(error) => return unreadable(SerdeOrigin::Key, error, self.id, raw, rt),
        };
        let value = match raw.value.map(|bytes| self.value_serde.deserialize(raw.topic, bytes)).transpose() {
            Ok(value) => value,
            Err(error) => return unreadable(SerdeOrigin::Value, error, self.id, raw, rt),
        };
        let timestamp = match &self.extractor {
            None if raw.timestamp >= 0 => raw.timestamp,
            extractor => {
                let record = ConsumerRecord {
                    topic: raw.topic,
                    partition: raw.partition,
                    offset: raw.offset,
                    timestamp: raw.timestamp,
                    headers: raw.headers,
                    key: key.as_ref(),
                    value: value.as_ref(),
                    now: rt.wall_clock,
                };
                match extractor {
                    Some(extractor) => extractor.extract(&record, partition_time)?,
                    None => super::extractor::FailOnInvalidTimestamp.extract(&record, partition_time)?,
                }
            }
        };
        if timestamp < 0 {
            rt.drop_record("the extracted timestamp is negative");
            return Ok(None);
        }
        let (Some(key), Some(value)) = (K::from_option(key), V::from_option(value)) else {
            rt.drop_record("its key or value is null, and the source's type has no null");
            return Ok(None);
        };
        if let Some(head) = self.heads.get_mut(lane) {
            *head = Some(Record { key, value, timestamp, headers: raw.headers.clone() });
        }
        Ok(Some(timestamp))
    }

    fn take_head(&mut self, lane: usize) {
        self.current = self.heads.get_mut(lane).and_then(Option::take);
    }

    fn process(&mut self, timestamp: i64, ctx: &mut TaskCtx) -> Result<()> {
        let Some(mut record) = self.current.take() else { return Err(Error::internal("a source without a head")) };
        record.timestamp = timestamp;
        self.children.forward(record, ctx)
    }
}

/// Asks the deserialisation handler.
#[cold]
fn unreadable(
    origin: SerdeOrigin,
    source: SerdeError,
    node: u32,
    raw: &RawView<'_>,
    rt: &mut Runtime,
) -> Result<Option<i64>> {
    let (topic, partition, offset) = (raw.topic.to_string(), raw.partition, raw.offset);
    let error = Error::Deserialization { topic, partition, offset, origin, source };
    let saved = std::mem::replace(&mut rt.context, raw.context());
    let handler = rt.handlers.deserialization.clone();
    let HandlerResponse { result, dead_letters } = handler.handle(&rt.error_context(rt.node_name(node)), &error);
    let sent = rt.send_dead_letters(dead_letters);
    rt.context = saved;
    sent?;
    match result {
        HandlerResult::Continue => {
            rt.dropped += 1;
            Ok(None)
        }
        HandlerResult::Fail => Err(Box::new(error)),
    }
}
