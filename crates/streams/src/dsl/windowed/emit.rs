//! When closed windows are emitted: KIP-825.

use super::super::windows::EmitStrategy;
use crate::task::Runtime;

/// Kafka's internal setting: how often closed windows are looked for, in ms of wall clock.
const INTERVAL: &str = "__emit.interval.ms.kstreams.windowed.aggregation__";

/// What a node that emits on window close knows.
#[derive(Debug)]
pub(super) struct EmitOnClose {
    /// Windows that closed up to here have been emitted; -1 before the first.
    pub(super) last_close: i64,
    next: i64,
}

impl EmitOnClose {
    pub(super) fn new(strategy: EmitStrategy) -> Option<Self> {
        (strategy == EmitStrategy::OnWindowClose).then_some(EmitOnClose { last_close: -1, next: 0 })
    }

    /// Whether it is time to look for windows that closed before `close`.
    pub(super) fn is_due(&mut self, close: i64, rt: &Runtime) -> bool {
        if rt.wall_clock < self.next {
            return false;
        }
        self.next = rt.wall_clock.saturating_add(rt.config.internal_interval(INTERVAL));
        self.last_close == -1 || self.last_close < close
    }
}
