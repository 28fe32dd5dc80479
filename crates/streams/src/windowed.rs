//! Spans of time, and keys within them.

use std::fmt;

use crate::data::{Data, Flow};

/// A span of time in ms since the epoch: what a window of any kind is.
///
/// Whether the end belongs to it depends on the kind: it does not for time windows, and it does for session windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    start: i64,
    end: i64,
}

impl Window {
    /// The span from `start` to `end`, in ms since the epoch. A start below 0 counts as 0, an end before the start as
    /// the start.
    #[must_use]
    pub const fn new(start: i64, end: i64) -> Self {
        let start = if start < 0 { 0 } else { start };
        Window { start, end: if end < start { start } else { end } }
    }

    /// Its first millisecond.
    #[must_use]
    pub const fn start(&self) -> i64 {
        self.start
    }

    /// Its end in ms: the first one after a time window, the last one of a session.
    #[must_use]
    pub const fn end(&self) -> i64 {
        self.end
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Window{{startMs={}, endMs={}}}", self.start, self.end)
    }
}

/// The key of a windowed table: a key and the window it is in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Windowed<K> {
    /// The key of the records.
    pub key: K,
    /// Their window.
    pub window: Window,
}

impl<K> Windowed<K> {
    /// A key in a window.
    pub const fn new(key: K, window: Window) -> Self {
        Windowed { key, window }
    }
}

impl<K: fmt::Display> fmt::Display for Windowed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}@{}/{}]", self.key, self.window.start, self.window.end)
    }
}

impl<K: Flow> Data for Windowed<K> {}

/// A key that is in a window: what suppression until a window closes needs to know of a table's keys.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the key of a windowed table",
    note = "aggregate over windows first: `group_by_key().windowed_by(...)`"
)]
pub trait WindowedKey: Data {
    /// The key without its window.
    type Key: Data;
    /// A key in a window.
    #[doc(hidden)]
    fn in_window(key: Self::Key, window: Window) -> Self;
    /// The key without its window.
    fn key(&self) -> &Self::Key;
    /// The window.
    fn window(&self) -> Window;
}

impl<K: Data> WindowedKey for Windowed<K> {
    type Key = K;
    fn in_window(key: K, window: Window) -> Self {
        Windowed { key, window }
    }
    fn key(&self) -> &K {
        &self.key
    }
    fn window(&self) -> Window {
        self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_as_kafka_shows_it() {
        assert_eq!(Windowed::new("a", Window::new(5, 15)).to_string(), "[a@5/15]");
        assert_eq!(Window::new(5, 15).to_string(), "Window{startMs=5, endMs=15}");
    }
}
