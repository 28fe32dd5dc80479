//! The node that aggregates over sliding windows (KIP-450).
//!
//! A record is put into every window that is there for it. Then those are made that it is the reason for: the window
//! that ends with it, the one right after the record before it, and the one right after itself if others follow.

use std::collections::HashSet;

use super::{super::windows::SlidingWindows, functions::Functions, output::Output};
use crate::{
    data::{Data, Nullable},
    error::{Error, Result},
    record::{Change, Record, ValueAndTimestamp},
    state::Order,
    store::{StoreHandle, TimestampedWindowStore},
    task::{Process, TaskCtx},
    windowed::{Window, WindowedKey},
};

pub(super) struct SlidingNode<W: WindowedKey, A, F> {
    pub(super) windows: SlidingWindows,
    pub(super) functions: F,
    pub(super) store: StoreHandle<TimestampedWindowStore<W::Key, A>>,
    pub(super) out: Output<W, A>,
    pub(super) observed: i64,
    pub(super) id: u32,
}

/// The record at hand.
struct Current<K, V> {
    key: K,
    value: V,
    rest: Record<(), ()>,
    /// Windows that end before this have closed.
    close: i64,
}

/// What the windows around a record told.
struct Around<A> {
    starts: HashSet<i64>,
    /// The aggregate of what lies before and after the record within reach.
    left: Option<ValueAndTimestamp<A>>,
    right: Option<ValueAndTimestamp<A>>,
    left_exists: bool,
    right_exists: bool,
    previous: Option<i64>,
}

impl<A> Default for Around<A> {
    fn default() -> Self {
        let (left, right) = (None, None);
        Around { starts: HashSet::new(), left, right, left_exists: false, right_exists: false, previous: None }
    }
}

impl<K, V, W, A, F> Process<K, V> for SlidingNode<W, A, F>
where
    K: Nullable<Some = W::Key>,
    V: Nullable,
    W: WindowedKey,
    A: Data,
    F: Functions<W::Key, V, A>,
{
    fn init(&mut self, slot: usize, ctx: &mut TaskCtx) -> Result<()> {
        self.out.listen(slot, self.store, ctx)
    }

    fn process(&mut self, record: Record<K, V>, ctx: &mut TaskCtx) -> Result<()> {
        self.aggregate(record, ctx).or_else(|error| ctx.rt.settle(error, self.id))
    }

    fn forward_flushed(&mut self, ctx: &mut TaskCtx) -> Result<()> {
        self.out.forward_windows(self.store, ctx)
    }
}

impl<W: WindowedKey, A: Data, F> SlidingNode<W, A, F> {
    fn aggregate<K, V>(&mut self, record: Record<K, V>, ctx: &mut TaskCtx) -> Result<()>
    where
        K: Nullable<Some = W::Key>,
        V: Nullable,
        F: Functions<W::Key, V, A>,
    {
        ctx.rt.enter(&record);
        let (key, value, rest) = record.split();
        let Some(key) = key.into_some() else { return ctx.drop_record("its key is null") };
        if value.as_some().is_none() {
            return ctx.drop_record("its value is null");
        }
        let timestamp = rest.timestamp;
        self.observed = self.observed.max(timestamp);
        let close = self.observed.saturating_sub(self.windows.grace);
        if timestamp.saturating_add(self.windows.difference) < close {
            return ctx.drop_record("its window has closed");
        }
        let current = Current { key, value, rest, close };
        if timestamp < self.windows.difference {
            return self.process_early(&current, ctx);
        }
        // Before the store's time moves on: what has closed may expire with this record.
        self.emit_closed(&current.rest, close, ctx)?;
        self.process_reverse(&current, ctx)
    }

    fn around<V>(
        &self,
        current: &Current<W::Key, V>,
        order: Order,
        ctx: &mut TaskCtx,
    ) -> Result<Vec<(Window, ValueAndTimestamp<A>)>> {
        let timestamp = current.rest.timestamp;
        let from = timestamp.saturating_sub(self.windows.difference.saturating_mul(2)).max(0);
        let key = Some(&current.key);
        let found = ctx.store(self.store)?.0.fetch_keys(key, key, from, timestamp.saturating_add(1), order)?;
        Ok(found.into_iter().map(|(key, row)| (key.window, row)).collect())
    }

    fn process_reverse<V: Nullable>(&mut self, current: &Current<W::Key, V>, ctx: &mut TaskCtx) -> Result<()>
    where
        F: Functions<W::Key, V, A>,
    {
        let timestamp = current.rest.timestamp;
        let mut around = Around::default();
        for (window, row) in self.around(current, Order::Reverse, ctx)? {
            let (start, end) = (window.start(), window.start().saturating_add(self.windows.difference));
            around.starts.insert(start);
            if Some(start) == timestamp.checked_add(1) {
                around.right_exists = true;
            } else if end > timestamp {
                if around.right.is_none() {
                    around.right = Some(row.clone());
                }
                self.update(window, Some(row), current, ctx)?;
            } else if end == timestamp {
                around.left_exists = true;
                let latest = row.timestamp;
                self.update(window, Some(row), current, ctx)?;
                if latest >= timestamp {
                    return Ok(());
                }
                around.previous = Some(latest);
            } else {
                around.previous = Some(row.timestamp);
                around.left = Some(row);
                break;
            }
        }
        self.create_windows(around, current, ctx)
    }

    /// A record before the first whole window: all such are in the window that begins at 0.
    fn process_early<V: Nullable>(&mut self, current: &Current<W::Key, V>, ctx: &mut TaskCtx) -> Result<()>
    where
        F: Functions<W::Key, V, A>,
    {
        let timestamp = current.rest.timestamp;
        let mut around = Around::default();
        let mut combined = None;
        for (window, row) in self.around(current, Order::Forward, ctx)? {
            around.starts.insert(window.start());
            if window.start() == 0 {
                if row.timestamp < timestamp {
                    around.previous = Some(row.timestamp);
                }
                combined = Some((window, row));
            } else if window.start() <= timestamp {
                around.right = Some(row.clone());
                self.update(window, Some(row), current, ctx)?;
            } else {
                around.right_exists = true;
            }
        }
        if around.right.is_none() {
            around.right = combined.as_ref().map(|(_, row)| row).filter(|row| row.timestamp > timestamp).cloned();
        }
        self.create_right(&mut around, current, ctx)?;
        if let Some(previous) = around.previous.filter(|previous| !around.starts.contains(&previous.saturating_add(1)))
        {
            self.create_right_of_previous(previous.saturating_add(1), current, ctx)?;
        }
        let (window, row) = match combined {
            Some((window, row)) => (window, Some(row)),
            None => (Window::new(0, self.windows.difference), self.initial(timestamp)?),
        };
        self.update(window, row, current, ctx)
    }

    fn create_windows<V: Nullable>(
        &mut self,
        mut around: Around<A>,
        current: &Current<W::Key, V>,
        ctx: &mut TaskCtx,
    ) -> Result<()>
    where
        F: Functions<W::Key, V, A>,
    {
        let (timestamp, difference) = (current.rest.timestamp, self.windows.difference);
        if let Some(start) = around.previous.map(|previous| previous.saturating_add(1))
            && !around.starts.contains(&start)
            && start.saturating_add(difference) >= timestamp
        {
            self.create_right_of_previous(start, current, ctx)?;
        }
        if !around.left_exists {
            let holds_previous = around.previous.is_some_and(|previous| timestamp - difference <= previous);
            let row = match around.left.take().filter(|_| holds_previous) {
                Some(left) => Some(ValueAndTimestamp::new(left.value, timestamp)),
                None => self.initial(timestamp)?,
            };
            self.update(Window::new(timestamp - difference, timestamp), row, current, ctx)?;
        }
        self.create_right(&mut around, current, ctx)
    }

    fn initial<V>(&mut self, timestamp: i64) -> Result<Option<ValueAndTimestamp<A>>>
    where
        F: Functions<W::Key, V, A>,
    {
        Ok(self.functions.initialize()?.map(|value| ValueAndTimestamp::new(value, timestamp)))
    }

    /// The window right after the record, if others are in it.
    fn create_right<V: Nullable>(
        &mut self,
        around: &mut Around<A>,
        current: &Current<W::Key, V>,
        ctx: &mut TaskCtx,
    ) -> Result<()> {
        let timestamp = current.rest.timestamp;
        let Some(right) = around.right.take().filter(|right| !around.right_exists && right.timestamp > timestamp)
        else {
            return Ok(());
        };
        let window = self.window(timestamp.saturating_add(1));
        let (value, latest) = (right.value.clone(), right.timestamp);
        self.out.put(self.store, &current.key, Some(right), window.start(), ctx)?;
        let key = W::in_window(current.key.clone(), window);
        self.out.update(current.rest.clone(), key, Change::new(Some(value), None), latest, ctx)
    }

    fn create_right_of_previous<V: Nullable>(
        &mut self,
        start: i64,
        current: &Current<W::Key, V>,
        ctx: &mut TaskCtx,
    ) -> Result<()>
    where
        F: Functions<W::Key, V, A>,
    {
        let row = self.initial(current.rest.timestamp)?;
        self.update(self.window(start), row, current, ctx)
    }

    fn window(&self, start: i64) -> Window {
        Window::new(start, start.saturating_add(self.windows.difference))
    }

    /// Puts the record into a window.
    fn update<V: Nullable>(
        &mut self,
        window: Window,
        row: Option<ValueAndTimestamp<A>>,
        current: &Current<W::Key, V>,
        ctx: &mut TaskCtx,
    ) -> Result<()>
    where
        F: Functions<W::Key, V, A>,
    {
        if window.end() < current.close {
            return ctx.drop_record("its window has closed");
        }
        if window.start() == window.end() {
            // Kafka builds such windows and refuses the first record.
            let message = "Window endMs time must be greater than window startMs time.".to_owned();
            return Err(Box::new(Error::IllegalArgument(message)));
        }
        let timestamp = row.as_ref().map_or(current.rest.timestamp, |row| row.timestamp.max(current.rest.timestamp));
        let old = row.map(|row| row.value);
        let sent_old = if self.out.send_old { old.clone() } else { None };
        let new = self.functions.aggregate(&current.key, current.value.clone(), old)?;
        let row = new.clone().map(|new| ValueAndTimestamp::new(new, timestamp));
        self.out.put(self.store, &current.key, row, window.start(), ctx)?;
        let key = W::in_window(current.key.clone(), window);
        self.out.update(current.rest.clone(), key, Change::new(new, sent_old), timestamp, ctx)
    }

    /// Emits the windows that have closed since the last time.
    fn emit_closed(&mut self, rest: &Record<(), ()>, close: i64, ctx: &mut TaskCtx) -> Result<()> {
        let Some(emit) = &mut self.out.emit else { return Ok(()) };
        let (last, difference) = (emit.last_close(&ctx.rt), self.windows.difference);
        let upper = close.saturating_sub(difference).saturating_sub(1);
        if !emit.is_due(close, &ctx.rt) || upper < 0 {
            return Ok(());
        }
        let lower = if last == -1 { 0 } else { (last - difference).max(0) };
        emit.set_last_close(close, &mut ctx.rt);
        let (store, _) = ctx.store(self.store)?;
        let closed = store.take_closed(lower, upper, (close - difference).max(0))?;
        self.out.emit(closed, rest, ctx)
    }
}
