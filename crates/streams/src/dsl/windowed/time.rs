//! The node that aggregates over tumbling, hopping and unlimited windows.

use super::{functions::Functions, output::Output};
use crate::{
    data::{Data, Nullable},
    error::Result,
    record::{Change, Record, ValueAndTimestamp},
    store::{StoreHandle, TimestampedWindowStore},
    task::{Process, TaskCtx},
    windowed::{Window, Windowed, WindowedKey},
};

use super::super::windows::{TimeWindows, UnlimitedWindows};

/// Windows that are known by the time alone.
#[derive(Clone, Copy, Debug)]
pub(super) enum FixedWindows {
    Time(TimeWindows),
    Unlimited(UnlimitedWindows),
}

impl FixedWindows {
    pub(super) fn size(self) -> i64 {
        match self {
            FixedWindows::Time(windows) => windows.size,
            FixedWindows::Unlimited(_) => i64::MAX,
        }
    }

    pub(super) fn grace(self) -> i64 {
        match self {
            FixedWindows::Time(windows) => windows.grace,
            FixedWindows::Unlimited(_) => 0,
        }
    }

    fn window(self, start: i64) -> Window {
        match self {
            FixedWindows::Time(windows) => Window::new(start, start.saturating_add(windows.size)),
            FixedWindows::Unlimited(_) => Window::new(start, i64::MAX),
        }
    }

    /// The windows that a time is in, the first first.
    fn of(self, timestamp: i64) -> impl Iterator<Item = Window> {
        let (hopping, unlimited) = match self {
            FixedWindows::Time(windows) => (Some(windows.starts(timestamp)), None),
            FixedWindows::Unlimited(windows) => (None, (timestamp >= windows.start).then_some(windows.start)),
        };
        hopping.into_iter().flatten().chain(unlimited).map(move |start| self.window(start))
    }
}

pub(super) struct TimeNode<W: WindowedKey, A, F> {
    pub(super) windows: FixedWindows,
    pub(super) functions: F,
    pub(super) store: StoreHandle<TimestampedWindowStore<W::Key, A>>,
    pub(super) out: Output<W, A>,
    pub(super) observed: i64,
    pub(super) id: u32,
}

impl<K, V, W, A, F> Process<K, V> for TimeNode<W, A, F>
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

impl<W: WindowedKey, A: Data, F> TimeNode<W, A, F> {
    fn aggregate<K, V>(&mut self, record: Record<K, V>, ctx: &mut TaskCtx) -> Result<()>
    where
        K: Nullable<Some = W::Key>,
        V: Nullable,
        F: Functions<W::Key, V, A>,
    {
        ctx.rt.enter(&record);
        let (key, value, rest) = record.split();
        let Some(key) = key.into_some() else { return ctx.drop_record("its key is null") };
        self.observed = self.observed.max(rest.timestamp);
        let close = self.observed.saturating_sub(self.windows.grace());
        // Before the store's time moves on: what has closed may expire with this record.
        self.emit_closed(close, &rest, ctx)?;
        for window in self.windows.of(rest.timestamp) {
            if window.end() <= close {
                ctx.drop_record("its window has closed")?;
                continue;
            }
            let (store, rt) = ctx.store(self.store)?;
            let (old, timestamp) = match store.fetch(rt, &key, window.start())? {
                Some(old) => (Some(old.value), rest.timestamp.max(old.timestamp)),
                None => (self.functions.initialize()?, rest.timestamp),
            };
            let sent_old = if self.out.send_old { old.clone() } else { None };
            let new = self.functions.aggregate(&key, value.clone(), old)?;
            let row = new.clone().map(|new| ValueAndTimestamp::new(new, timestamp));
            self.out.put(self.store, &key, row, window.start(), ctx)?;
            let windowed = W::in_window(key.clone(), window);
            self.out.update(rest.clone(), windowed, Change::new(new, sent_old), timestamp, ctx)?;
        }
        Ok(())
    }

    /// Emits the windows that have closed since the last time.
    fn emit_closed(&mut self, close: i64, rest: &Record<(), ()>, ctx: &mut TaskCtx) -> Result<()> {
        let Some(emit) = &mut self.out.emit else { return Ok(()) };
        let (last, size) = (emit.last_close(&ctx.rt), self.windows.size());
        let upper = close.saturating_sub(size);
        if !emit.is_due(close, &ctx.rt) || upper < 0 {
            return Ok(());
        }
        let lower = if last == -1 { 0 } else { (last - size).max(0) + 1 };
        if last != -1 && self.windows.of(upper).eq(self.windows.of(lower - 1)) {
            return Ok(());
        }
        emit.set_last_close(close, &mut ctx.rt);
        let (store, _) = ctx.store(self.store)?;
        let closed = store.take_closed(lower, upper, (close - size).max(0) + 1)?;
        self.out.emit(closed, rest, ctx)
    }
}

impl<W: WindowedKey, A: Data> Output<W, A> {
    pub(super) fn listen(
        &mut self,
        slot: usize,
        store: StoreHandle<TimestampedWindowStore<W::Key, A>>,
        ctx: &mut TaskCtx,
    ) -> Result<()> {
        self.slot = Some(slot);
        if self.cached {
            self.cached = ctx.store(store)?.0.set_flush_listener(slot, self.send_old);
        }
        Ok(())
    }

    /// Puts a row; what the cache evicts for it is forwarded.
    pub(super) fn put(
        &mut self,
        store: StoreHandle<TimestampedWindowStore<W::Key, A>>,
        key: &W::Key,
        row: Option<ValueAndTimestamp<A>>,
        start: i64,
        ctx: &mut TaskCtx,
    ) -> Result<()> {
        let (windows, rt) = ctx.store(store)?;
        windows.put(rt, key, row, start)?;
        if self.must_forward(ctx) { self.forward_windows(store, ctx) } else { Ok(()) }
    }

    pub(super) fn forward_windows(
        &mut self,
        store: StoreHandle<TimestampedWindowStore<W::Key, A>>,
        ctx: &mut TaskCtx,
    ) -> Result<()> {
        self.forward_flushed(
            ctx,
            |ctx| {
                let (store, rt) = ctx.store(store)?;
                store.next_flushed(rt)
            },
            |row| {
                let timestamp = row.new.as_ref().map_or(row.timestamp, |new| new.timestamp);
                let change = Change::new(row.new.map(|new| new.value), row.old.map(|old| old.value));
                Record { key: row.key, value: change, timestamp, headers: row.headers }
            },
        )
    }

    /// Forwards the final results of windows that have closed.
    pub(super) fn emit(
        &mut self,
        closed: Vec<(Windowed<W::Key>, ValueAndTimestamp<A>)>,
        rest: &Record<(), ()>,
        ctx: &mut TaskCtx,
    ) -> Result<()> {
        let closed = closed.into_iter().map(|(key, row)| {
            let record = rest.clone().with_timestamp(row.timestamp).with_key(W::in_window(key.key, key.window));
            record.with_value(Change::new(Some(row.value), None))
        });
        self.forward_final(closed, ctx)
    }
}
