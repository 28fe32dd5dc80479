//! Sources: from bytes to the first typed node.

use std::{fmt, sync::Arc};

use super::{
    input::RawView,
    node::{Children, TaskCtx},
};
use crate::{
    data::Nullable,
    error::{Error, Result, SerdeError, SerdeOrigin},
    guard::guarded,
    processing::{ConsumerRecord, FailOnInvalidTimestamp, Runtime, TimestampExtractor},
    record::Record,
    serdes::SerdeRef,
};

/// A pattern of topic names; it matches whole names.
#[derive(Clone)]
pub(crate) struct Pattern {
    text: Arc<str>,
    regex: Arc<regex_lite::Regex>,
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Result<Self> {
        let regex = regex_lite::Regex::new(&format!("^(?:{text})$"));
        let regex = regex.map_err(|e| Error::topology(format!("pattern {text} of topic names: {e}")))?;
        Ok(Pattern { text: text.into(), regex: Arc::new(regex) })
    }

    pub(crate) fn matches(&self, topic: &str) -> bool {
        self.regex.is_match(topic)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Which topics a source reads.
pub(crate) enum Reads {
    /// Those that match; each is known when its first record comes.
    Pattern(Pattern),
    Topics(Vec<Arc<str>>),
}

/// A source of a task, with its node's name and what it reads.
pub(crate) struct ConnectedSource {
    pub(crate) source: Box<dyn Source>,
    pub(crate) name: Arc<str>,
    pub(crate) reads: Reads,
}

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
        let mut stage = Stage::Key;
        match guarded(|| self.read(lane, raw, partition_time, rt, &mut stage)) {
            Ok(read) => Ok(read),
            Err(error) => failed(stage, *error, self.id, raw, rt),
        }
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

/// Whose turn it was when something failed.
#[derive(Clone, Copy)]
enum Stage {
    Key,
    Value,
    Extractor,
}

impl<K: Nullable, V: Nullable> SourceNode<K, V> {
    /// [`Source::prepare`]; `stage` tells how far it came.
    #[inline]
    fn read(
        &mut self,
        lane: usize,
        raw: &RawView<'_>,
        partition_time: i64,
        rt: &mut Runtime,
        stage: &mut Stage,
    ) -> Result<Option<i64>> {
        let unreadable = |origin, source| {
            let (topic, partition, offset) = (raw.topic.to_string(), raw.partition, raw.offset);
            Box::new(Error::Deserialization { topic, partition, offset, origin, source })
        };
        let key = raw.key.map(|bytes| self.key_serde.deserialize(raw.topic, bytes)).transpose();
        let key = key.map_err(|source| unreadable(SerdeOrigin::Key, source))?;
        *stage = Stage::Value;
        let value = raw.value.map(|bytes| self.value_serde.deserialize(raw.topic, bytes)).transpose();
        let value = value.map_err(|source| unreadable(SerdeOrigin::Value, source))?;
        *stage = Stage::Extractor;
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
                    None => FailOnInvalidTimestamp.extract(&record, partition_time)?,
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
}

/// Asks the deserialisation handler, if it was a serde that failed.
#[cold]
#[inline(never)]
fn failed(stage: Stage, error: Error, node: u32, raw: &RawView<'_>, rt: &mut Runtime) -> Result<Option<i64>> {
    let origin = match stage {
        Stage::Key => Some(SerdeOrigin::Key),
        Stage::Value => Some(SerdeOrigin::Value),
        Stage::Extractor => None,
    };
    let error = match (error, origin) {
        (Error::Panic(panic), Some(origin)) => {
            let (topic, partition, offset) = (raw.topic.to_string(), raw.partition, raw.offset);
            let source = SerdeError::new(format!("panicked: {panic}"));
            Box::new(Error::Deserialization { topic, partition, offset, origin, source })
        }
        (error, _) => Box::new(error),
    };
    let node = rt.node_name(node).to_owned();
    let saved = std::mem::replace(&mut rt.context, raw.context());
    let done = match *error {
        Error::Deserialization { .. } => {
            let handler = rt.handlers.deserialization.clone();
            let response = guarded(|| Ok(handler.handle(&rt.error_context(&node), &error)));
            rt.obey(response, error, &node)
        }
        _ => Err(rt.located(error, &node)),
    };
    rt.context = saved;
    done.map(|()| None)
}
