//! What flows: records, their headers, and the changes of tables.

use std::sync::Arc;

use bytes::Bytes;

/// One header of a record: a name and bytes, or a null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name; names may repeat.
    pub key: String,
    /// The bytes, `None` for a null.
    pub value: Option<Bytes>,
}

/// The headers of a record, in order. They cost one word while there are none; clones share them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Option<Arc<Vec<Header>>>);

impl Headers {
    /// No headers.
    #[must_use]
    pub const fn new() -> Self {
        Headers(None)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |headers| headers.len())
    }

    /// In order.
    pub fn iter(&self) -> std::slice::Iter<'_, Header> {
        self.0.as_ref().map_or(&[][..], |headers| headers.as_slice()).iter()
    }

    /// The last header of this name, which is the one that counts in Kafka.
    #[must_use]
    pub fn last(&self, key: &str) -> Option<&Header> {
        self.iter().rev().find(|header| header.key == key)
    }

    /// Appends a header.
    pub fn add(&mut self, key: impl Into<String>, value: Option<Bytes>) {
        Arc::make_mut(self.0.get_or_insert_with(Arc::default)).push(Header { key: key.into(), value });
    }

    /// Removes all headers of this name.
    pub fn remove(&mut self, key: &str) {
        let Some(headers) = &mut self.0 else { return };
        if headers.iter().any(|header| header.key == key) {
            let headers = Arc::make_mut(headers);
            headers.retain(|header| header.key != key);
            if headers.is_empty() {
                self.0 = None;
            }
        }
    }
}

impl FromIterator<Header> for Headers {
    fn from_iter<I: IntoIterator<Item = Header>>(headers: I) -> Self {
        let headers: Vec<_> = headers.into_iter().collect();
        Headers((!headers.is_empty()).then(|| Arc::new(headers)))
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = &'a Header;
    type IntoIter = std::slice::Iter<'a, Header>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A record on its way from node to node.
#[derive(Clone, Debug, PartialEq)]
pub struct Record<K, V> {
    /// The key.
    pub key: K,
    /// The value.
    pub value: V,
    /// Milliseconds since the epoch, never negative.
    pub timestamp: i64,
    /// The headers.
    pub headers: Headers,
}

impl<K, V> Record<K, V> {
    /// A record without headers.
    pub const fn new(key: K, value: V, timestamp: i64) -> Self {
        Record { key, value, timestamp, headers: Headers::new() }
    }

    /// The same with another key.
    #[inline]
    pub fn with_key<K2>(self, key: K2) -> Record<K2, V> {
        Record { key, value: self.value, timestamp: self.timestamp, headers: self.headers }
    }

    /// The same with another value.
    #[inline]
    pub fn with_value<V2>(self, value: V2) -> Record<K, V2> {
        Record { key: self.key, value, timestamp: self.timestamp, headers: self.headers }
    }

    /// The same with another timestamp, in ms since the epoch.
    #[inline]
    #[must_use]
    pub fn with_timestamp(self, timestamp: i64) -> Self {
        Record { timestamp, ..self }
    }

    /// The same with other headers.
    #[inline]
    #[must_use]
    pub fn with_headers(self, headers: Headers) -> Self {
        Record { headers, ..self }
    }

    /// Key, value, and the empty record that takes new ones.
    #[inline]
    pub fn split(self) -> (K, V, Record<(), ()>) {
        (self.key, self.value, Record { key: (), value: (), timestamp: self.timestamp, headers: self.headers })
    }
}

/// What a table tells its children about a row: its value before, where they asked for it, and after.
#[derive(Clone, Debug, PartialEq)]
pub struct Change<V> {
    /// The value before; `None` if there was none or nobody asked for it.
    pub old: Option<V>,
    /// The value now; `None` for a deleted row.
    pub new: Option<V>,
    /// Whether this is the row's newest value; false for an out-of-order update of a versioned table (KIP-914).
    pub is_latest: bool,
}

impl<V> Change<V> {
    /// A change that is the row's newest value.
    pub const fn new(new: Option<V>, old: Option<V>) -> Self {
        Change { old, new, is_latest: true }
    }
}

/// A value of a timestamped store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueAndTimestamp<V> {
    /// The value.
    pub value: V,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
}

impl<V> ValueAndTimestamp<V> {
    /// Both together.
    pub const fn new(value: V, timestamp: i64) -> Self {
        ValueAndTimestamp { value, timestamp }
    }
}

/// A value of a timestamped store that keeps headers (KIP-1271).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueTimestampHeaders<V> {
    /// The value.
    pub value: V,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// The headers.
    pub headers: Headers,
}

impl<V> ValueTimestampHeaders<V> {
    /// All together.
    pub const fn new(value: V, timestamp: i64, headers: Headers) -> Self {
        ValueTimestampHeaders { value, timestamp, headers }
    }
}

/// A value of a session store that keeps headers (KIP-1271).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregationWithHeaders<V> {
    /// The value.
    pub aggregation: V,
    /// The headers.
    pub headers: Headers,
}

impl<V> AggregationWithHeaders<V> {
    /// Both together.
    pub const fn new(aggregation: V, headers: Headers) -> Self {
        AggregationWithHeaders { aggregation, headers }
    }
}

/// A record on its way out of a task, as bytes.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ProducerRecord<'a> {
    /// The topic, with the application's prefix if it is internal.
    pub topic: &'a Arc<str>,
    /// The partition where a partitioner or a changelog fixed it; else the producer chooses, by the key's hash.
    pub partition: Option<i32>,
    /// Milliseconds since the epoch; `None` for the changelogs of buffers, which have none.
    pub timestamp: Option<i64>,
    /// The headers.
    pub headers: &'a Headers,
    /// The key's bytes.
    pub key: Option<&'a [u8]>,
    /// The value's bytes.
    pub value: Option<&'a [u8]>,
}

/// Which node sends a record, and which source record led to it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RecordOrigin<'a> {
    /// The node.
    pub node: &'a Arc<str>,
    /// The source record's topic; `None` in punctuations.
    pub topic: Option<&'a Arc<str>>,
    /// Its partition; -1 in punctuations.
    pub partition: i32,
    /// Its offset; -1 in punctuations.
    pub offset: i64,
}
