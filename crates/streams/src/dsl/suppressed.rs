//! What `suppress` is told: Kafka's `Suppressed` and `BufferConfig`.

use std::{collections::BTreeMap, marker::PhantomData, time::Duration};

use crate::{state::millis, windowed::WindowedKey};

/// A buffer that never emits early: it has no bounds, or the application stops at them.
#[derive(Clone, Copy, Debug)]
pub enum Strict {}
/// A buffer that emits its oldest changes early when it is full.
#[derive(Clone, Copy, Debug)]
pub enum Eager {}

/// How much a suppression buffers, and what it does when that is full. `F` says whether it may emit early.
#[derive(Clone, Debug)]
pub struct BufferConfig<F> {
    pub(crate) limits: Limits,
    kind: PhantomData<fn() -> F>,
}

#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) shut_down: bool,
    /// The settings of the changelog's topic; `None` for no changelog.
    pub(crate) logging: Option<BTreeMap<String, String>>,
}

impl<F> BufferConfig<F> {
    fn with<G>(self, change: impl FnOnce(&mut Limits)) -> BufferConfig<G> {
        let mut limits = self.limits;
        change(&mut limits);
        BufferConfig { limits, kind: PhantomData }
    }

    /// At most this many records.
    #[must_use]
    pub fn with_max_records(self, records: u64) -> Self {
        self.with(|limits| limits.records = records)
    }

    /// At most this many bytes, as Kafka counts them: keys, values, and some for each record's context.
    #[must_use]
    pub fn with_max_bytes(self, bytes: u64) -> Self {
        self.with(|limits| limits.bytes = bytes)
    }

    /// Emits the oldest changes early when it is full.
    #[must_use]
    pub fn emit_early_when_full(self) -> BufferConfig<Eager> {
        self.with(|limits| limits.shut_down = false)
    }

    /// Stops the application with an error when it is full.
    #[must_use]
    pub fn shut_down_when_full(self) -> BufferConfig<Strict> {
        self.with(|limits| limits.shut_down = true)
    }

    /// Without bounds: as much as the memory holds.
    #[must_use]
    pub fn with_no_bound(self) -> BufferConfig<Strict> {
        self.with(|limits| {
            (limits.records, limits.bytes) = (u64::MAX, u64::MAX);
            limits.shut_down = true;
        })
    }

    /// A changelog with these settings of its topic. Default: on, without any.
    #[must_use]
    pub fn with_logging_enabled<A, B>(self, config: impl IntoIterator<Item = (A, B)>) -> Self
    where
        A: Into<String>,
        B: Into<String>,
    {
        let config = config.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        self.with(|limits| limits.logging = Some(config))
    }

    /// No changelog: what is buffered is lost with its task.
    #[must_use]
    pub fn with_logging_disabled(self) -> Self {
        self.with(|limits| limits.logging = None)
    }
}

impl BufferConfig<Strict> {
    /// Without bounds: as much as the memory holds.
    #[must_use]
    pub fn unbounded() -> Self {
        let limits = Limits { records: u64::MAX, bytes: u64::MAX, shut_down: true, logging: Some(BTreeMap::new()) };
        BufferConfig { limits, kind: PhantomData }
    }
}

impl BufferConfig<Eager> {
    /// At most this many records; emits early when it is full.
    #[must_use]
    pub fn max_records(records: u64) -> Self {
        BufferConfig::unbounded().emit_early_when_full().with_max_records(records)
    }

    /// At most this many bytes; emits early when it is full.
    #[must_use]
    pub fn max_bytes(bytes: u64) -> Self {
        BufferConfig::unbounded().emit_early_when_full().with_max_bytes(bytes)
    }
}

/// Until when changes are held back.
#[derive(Clone, Debug)]
pub struct Suppressed<U> {
    pub(crate) until: U,
    pub(crate) limits: Limits,
    pub(crate) name: Option<String>,
}

/// Until a row's window has closed: its end and the grace are over. Only the last change of a window is sent on, and a
/// deletion never.
#[derive(Clone, Copy, Debug)]
pub struct WindowCloses;

/// Until this time has passed since the first change that was held back, by the stream's time.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimit {
    wait: i64,
}

impl Suppressed<WindowCloses> {
    /// Sends one result for each window, when it has closed. The buffer must not emit early.
    #[must_use]
    pub fn until_window_closes(buffer: BufferConfig<Strict>) -> Self {
        Suppressed { until: WindowCloses, limits: buffer.limits, name: None }
    }
}

impl Suppressed<TimeLimit> {
    /// Sends at most one change of a row in this time.
    #[must_use]
    pub fn until_time_limit<F>(time_to_wait: Duration, buffer: BufferConfig<F>) -> Self {
        Suppressed { until: TimeLimit { wait: millis(time_to_wait) }, limits: buffer.limits, name: None }
    }
}

impl<U> Suppressed<U> {
    /// A name for the operator; its buffer is called after it.
    #[must_use]
    pub fn with_name(self, name: impl Into<String>) -> Self {
        Suppressed { name: Some(name.into()), ..self }
    }
}

/// What may suppress a table with keys `K`: until windows close only where the keys are in windows.
pub trait SuppressUntil<K>: Copy + Send + Sync + 'static {
    /// How long a change waits, in ms; `None` for the grace of the windows above.
    #[doc(hidden)]
    fn wait(self) -> Option<i64>;
    /// The time from which it waits, in ms.
    #[doc(hidden)]
    fn time(self, key: &K, record_timestamp: i64) -> i64;
    /// Whether deletions are swallowed.
    #[doc(hidden)]
    fn drops_tombstones(self) -> bool;
}

impl<K> SuppressUntil<K> for TimeLimit {
    fn wait(self) -> Option<i64> {
        Some(self.wait)
    }
    fn time(self, _key: &K, record_timestamp: i64) -> i64 {
        record_timestamp
    }
    fn drops_tombstones(self) -> bool {
        false
    }
}

impl<K: WindowedKey> SuppressUntil<K> for WindowCloses {
    fn wait(self) -> Option<i64> {
        None
    }
    fn time(self, key: &K, _record_timestamp: i64) -> i64 {
        key.window().end()
    }
    fn drops_tombstones(self) -> bool {
        true
    }
}
