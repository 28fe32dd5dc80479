//! When closed windows are emitted: KIP-825.

use std::sync::Arc;

use super::super::windows::EmitStrategy;
use crate::processing::Runtime;

/// What a node that emits on window close knows.
#[derive(Debug)]
pub(super) struct EmitOnClose {
    /// The name of the store, by which commits keep the last close.
    store: Arc<str>,
    last_close: i64,
    next: i64,
}

impl EmitOnClose {
    pub(super) fn new(strategy: EmitStrategy, store: &str) -> Option<Self> {
        (strategy == EmitStrategy::OnWindowClose).then(|| EmitOnClose { store: store.into(), last_close: -1, next: 0 })
    }

    /// Windows that closed up to here have been emitted, by this task or, before a restart, by another; -1 if none have.
    pub(super) fn last_close(&mut self, rt: &Runtime) -> i64 {
        if self.last_close == -1
            && let Some(kept) = rt.processor_times.get(&*self.store)
        {
            self.last_close = *kept;
        }
        self.last_close
    }

    /// Whether it is time to look for windows that closed before `close`.
    pub(super) fn is_due(&mut self, close: i64, rt: &Runtime) -> bool {
        let interval = rt.config.fields().window_emit_interval_ms;
        // A clock that was set back is not waited for until it has caught up.
        if rt.wall_clock < self.next && self.next.saturating_sub(rt.wall_clock) <= interval {
            return false;
        }
        self.next = rt.wall_clock.saturating_add(interval);
        let last = self.last_close(rt);
        last == -1 || last < close
    }

    /// Windows that closed up to here are being emitted; the next commit keeps it.
    pub(super) fn set_last_close(&mut self, close: i64, rt: &mut Runtime) {
        self.last_close = close;
        match rt.processor_times.get_mut(&*self.store) {
            Some(kept) => *kept = close,
            None => _ = rt.processor_times.insert(self.store.to_string(), close),
        }
    }
}
