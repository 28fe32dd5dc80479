//! Which engine a window or a session store gets.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    EngineContext, InMemorySegmentedStore, KeyFormat, KeySchema, PersistentSegmentedStore, PlainAdapter,
    SegmentedBytesStore, StoreFormat, ValueFormat, segmented::Segmentation,
};
use crate::error::{Error, Result};

/// Kafka's least segment, in ms.
const SMALLEST_SEGMENT: i64 = 60_000;

type Make = Arc<dyn Fn(&EngineContext) -> Result<Box<dyn SegmentedBytesStore>> + Send + Sync>;

#[derive(Clone)]
enum Kind {
    Persistent { timestamped: bool, with_headers: bool, time_ordered: bool },
    InMemory,
    Custom(Make),
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Persistent { .. } => "persistent",
            Kind::InMemory => "in-memory",
            Kind::Custom(_) => "custom",
        })
    }
}

impl Kind {
    const PLAIN: Self = Kind::Persistent { timestamped: false, with_headers: false, time_ordered: false };
    const TIMESTAMPED: Self = Kind::Persistent { timestamped: true, with_headers: false, time_ordered: false };
    const WITH_HEADERS: Self = Kind::Persistent { timestamped: false, with_headers: true, time_ordered: false };
    const WITH_BOTH: Self = Kind::Persistent { timestamped: true, with_headers: true, time_ordered: false };

    fn is_time_ordered(&self) -> bool {
        matches!(self, Kind::Persistent { time_ordered: true, .. })
    }

    fn get(
        &self,
        name: &str,
        retention: i64,
        format: StoreFormat,
        context: &EngineContext,
    ) -> Result<Box<dyn SegmentedBytesStore>> {
        let schema = match format.keys {
            KeyFormat::Session { .. } => KeySchema::Session,
            _ => KeySchema::Window,
        };
        Ok(match self {
            Kind::Custom(make) => make(context)?,
            Kind::InMemory => Box::new(match context.transactional {
                true => InMemorySegmentedStore::transactional(name, schema, retention),
                false => InMemorySegmentedStore::new(name, schema, retention),
            }),
            Kind::Persistent { time_ordered, .. } => {
                let time =
                    Segmentation { retention, interval: segment_interval(retention), time_ordered: *time_ordered };
                let open = |context: &_| PersistentSegmentedStore::open(name.to_owned(), schema, time, context);
                Box::new(match context.state_dir {
                    Some(_) => context.open_on_disk(name, format, |_, _| open(context))?,
                    None => open(context)?,
                })
            }
        })
    }
}

fn segment_interval(retention: i64) -> i64 {
    (retention / 2).max(SMALLEST_SEGMENT)
}

/// The milliseconds of a duration; more than fit count as for ever.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Makes the engine of a window store: how long it keeps windows, how long they are, and whether it keeps all values of
/// a key and window or the last.
#[derive(Clone, Debug)]
pub struct WindowSupplier {
    name: String,
    kind: Kind,
    retention: i64,
    window_size: i64,
    retain_duplicates: bool,
}

impl WindowSupplier {
    fn new(
        name: String,
        kind: Kind,
        retention: Duration,
        window_size: Duration,
        retain_duplicates: bool,
    ) -> Result<Self> {
        let (retention, window_size) = (millis(retention), millis(window_size));
        if window_size > retention {
            return Err(Box::new(Error::IllegalArgument(format!(
                "The retention period of the window store {name} must be no smaller than its window size. Got size=[{window_size}], retention=[{retention}]"
            ))));
        }
        Ok(WindowSupplier { name, kind, retention, window_size, retain_duplicates })
    }

    /// Kafka's `Stores.persistentWindowStore`: an engine that outlives the process, for plain values. A windowed
    /// aggregation on it forgets the timestamps of its rows. What has expired is dropped in segments of half the
    /// retention, at least a minute.
    ///
    /// # Errors
    /// If `retention` is less than `window_size`.
    pub fn persistent(
        name: impl Into<String>,
        retention: Duration,
        window_size: Duration,
        retain_duplicates: bool,
    ) -> Result<Self> {
        Self::new(name.into(), Kind::PLAIN, retention, window_size, retain_duplicates)
    }

    /// Kafka's `Stores.persistentTimestampedWindowStore`: the same for values with timestamps.
    ///
    /// # Errors
    /// If `retention` is less than `window_size`.
    pub fn persistent_timestamped(
        name: impl Into<String>,
        retention: Duration,
        window_size: Duration,
        retain_duplicates: bool,
    ) -> Result<Self> {
        Self::new(name.into(), Kind::TIMESTAMPED, retention, window_size, retain_duplicates)
    }

    /// Kafka's `Stores.persistentTimestampedWindowStoreWithHeaders`: the same for values with timestamps and headers.
    ///
    /// # Errors
    /// If `retention` is less than `window_size`.
    pub fn persistent_timestamped_with_headers(
        name: impl Into<String>,
        retention: Duration,
        window_size: Duration,
        retain_duplicates: bool,
    ) -> Result<Self> {
        Self::new(name.into(), Kind::WITH_BOTH, retention, window_size, retain_duplicates)
    }

    /// Kafka's `Stores.inMemoryWindowStore`.
    ///
    /// # Errors
    /// If `retention` is less than `window_size`.
    pub fn in_memory(
        name: impl Into<String>,
        retention: Duration,
        window_size: Duration,
        retain_duplicates: bool,
    ) -> Result<Self> {
        Self::new(name.into(), Kind::InMemory, retention, window_size, retain_duplicates)
    }

    /// An engine of the application's own, with keys as [`KeySchema::Window`] says.
    ///
    /// # Errors
    /// If `retention` is less than `window_size`.
    pub fn custom(
        name: impl Into<String>,
        retention: Duration,
        window_size: Duration,
        retain_duplicates: bool,
        make: impl Fn(&EngineContext) -> Result<Box<dyn SegmentedBytesStore>> + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::new(name.into(), Kind::Custom(Arc::new(make)), retention, window_size, retain_duplicates)
    }

    /// What the DSL makes where the application supplies nothing.
    pub(crate) fn of_dsl(
        name: String,
        in_memory: bool,
        time_ordered: bool,
        retention: i64,
        window_size: i64,
        retain_duplicates: bool,
    ) -> Self {
        let kind = if in_memory {
            Kind::InMemory
        } else {
            Kind::Persistent { timestamped: true, with_headers: true, time_ordered }
        };
        WindowSupplier { name, kind, retention, window_size, retain_duplicates }
    }

    /// The store's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long windows are kept, in ms.
    #[must_use]
    pub fn retention_period(&self) -> i64 {
        self.retention
    }

    /// How long windows are, in ms.
    #[must_use]
    pub fn window_size(&self) -> i64 {
        self.window_size
    }

    /// Whether all values of a key and window are kept.
    #[must_use]
    pub fn retain_duplicates(&self) -> bool {
        self.retain_duplicates
    }

    /// How much time a segment of the engine, and of the cache above it, spans, in ms.
    pub(crate) fn segment_interval(&self) -> i64 {
        match self.kind {
            Kind::Persistent { .. } => segment_interval(self.retention),
            // In memory there are none: the order of the cache is that of time then.
            Kind::InMemory | Kind::Custom(_) => 1,
        }
    }

    /// Whether it is in memory; `None` for an engine of the application's own.
    pub(crate) fn in_memory_kind(&self) -> Option<bool> {
        match self.kind {
            Kind::Persistent { .. } => Some(false),
            Kind::InMemory => Some(true),
            Kind::Custom(_) => None,
        }
    }

    /// Whether scans over all keys come by time first.
    pub(crate) fn is_time_ordered(&self) -> bool {
        self.kind.is_time_ordered()
    }

    /// Whether it forgets the timestamps of values that have them.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.kind, Kind::Persistent { timestamped: false, .. })
    }

    fn make(&self, context: &EngineContext, values: ValueFormat) -> Result<Box<dyn SegmentedBytesStore>> {
        let (segment_interval, duplicates) = (self.segment_interval(), self.retain_duplicates);
        let format = StoreFormat::new(KeyFormat::Window { segment_interval, duplicates }, values);
        self.kind.get(&self.name, self.retention, format, context)
    }

    /// The engine for values as they are.
    pub(crate) fn get(&self, context: &EngineContext) -> Result<Box<dyn SegmentedBytesStore>> {
        self.make(context, ValueFormat::Plain)
    }

    /// The engine for values that begin with their headers and timestamp.
    pub(crate) fn get_with_headers(&self, context: &EngineContext) -> Result<Box<dyn SegmentedBytesStore>> {
        Ok(match self.kind {
            Kind::Persistent { timestamped: true, with_headers: false, .. } => {
                Box::new(PlainAdapter::without_headers(self.make(context, ValueFormat::Timestamped)?))
            }
            Kind::Persistent { timestamped: false, .. } => {
                Box::new(PlainAdapter::without_both(self.make(context, ValueFormat::Plain)?))
            }
            _ => self.make(context, ValueFormat::TimestampedWithHeaders)?,
        })
    }

    /// The engine for values that begin with their timestamp.
    pub(crate) fn get_timestamped(&self, context: &EngineContext) -> Result<Box<dyn SegmentedBytesStore>> {
        Ok(match self.is_plain() {
            true => Box::new(PlainAdapter::without_timestamp(self.make(context, ValueFormat::Plain)?)),
            false => self.make(context, ValueFormat::Timestamped)?,
        })
    }
}

/// Makes the engine of a session store, and how long it keeps sessions after their end.
#[derive(Clone, Debug)]
pub struct SessionSupplier {
    name: String,
    kind: Kind,
    retention: i64,
}

impl SessionSupplier {
    /// Kafka's `Stores.persistentSessionStore`: an engine that outlives the process.
    pub fn persistent(name: impl Into<String>, retention: Duration) -> Self {
        SessionSupplier { name: name.into(), kind: Kind::PLAIN, retention: millis(retention) }
    }

    /// Kafka's `Stores.persistentSessionStoreWithHeaders`: the same for values with headers.
    pub fn persistent_with_headers(name: impl Into<String>, retention: Duration) -> Self {
        SessionSupplier { name: name.into(), kind: Kind::WITH_HEADERS, retention: millis(retention) }
    }

    /// Kafka's `Stores.inMemorySessionStore`.
    pub fn in_memory(name: impl Into<String>, retention: Duration) -> Self {
        SessionSupplier { name: name.into(), kind: Kind::InMemory, retention: millis(retention) }
    }

    /// An engine of the application's own, with keys as [`KeySchema::Session`] says.
    pub fn custom(
        name: impl Into<String>,
        retention: Duration,
        make: impl Fn(&EngineContext) -> Result<Box<dyn SegmentedBytesStore>> + Send + Sync + 'static,
    ) -> Self {
        SessionSupplier { name: name.into(), kind: Kind::Custom(Arc::new(make)), retention: millis(retention) }
    }

    /// What the DSL makes where the application supplies nothing.
    pub(crate) fn of_dsl(name: String, in_memory: bool, time_ordered: bool, retention: i64) -> Self {
        let kind = if in_memory {
            Kind::InMemory
        } else {
            Kind::Persistent { timestamped: false, with_headers: true, time_ordered }
        };
        SessionSupplier { name, kind, retention }
    }

    /// The store's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long sessions are kept after their end, in ms.
    #[must_use]
    pub fn retention_period(&self) -> i64 {
        self.retention
    }

    pub(crate) fn segment_interval(&self) -> i64 {
        match self.kind {
            Kind::Persistent { .. } => segment_interval(self.retention),
            Kind::InMemory | Kind::Custom(_) => 1,
        }
    }

    fn make(&self, context: &EngineContext, values: ValueFormat) -> Result<Box<dyn SegmentedBytesStore>> {
        let keys = KeyFormat::Session { segment_interval: self.segment_interval() };
        self.kind.get(&self.name, self.retention, StoreFormat::new(keys, values), context)
    }

    /// The engine for values as they are.
    pub(crate) fn get(&self, context: &EngineContext) -> Result<Box<dyn SegmentedBytesStore>> {
        self.make(context, ValueFormat::Plain)
    }

    /// The engine for values that begin with their headers.
    pub(crate) fn get_with_headers(&self, context: &EngineContext) -> Result<Box<dyn SegmentedBytesStore>> {
        Ok(match self.kind {
            Kind::Persistent { with_headers: false, .. } => {
                Box::new(PlainAdapter::without_headers(self.make(context, ValueFormat::Plain)?))
            }
            _ => self.make(context, ValueFormat::WithHeaders)?,
        })
    }
}
