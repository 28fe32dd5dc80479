//! The node that aggregates over sessions.

use super::{super::windows::SessionWindows, functions::Functions, output::Output};
use crate::{
    data::{Data, Nullable},
    error::Result,
    record::{Change, Headers, Record},
    state::Order,
    store::{SessionStore, StoreHandle},
    task::{Process, TaskCtx},
    windowed::{Window, Windowed, WindowedKey},
};

pub(super) struct SessionNode<W: WindowedKey, A, F, M> {
    pub(super) windows: SessionWindows,
    pub(super) functions: F,
    pub(super) merger: M,
    pub(super) store: StoreHandle<SessionStore<W::Key, A>>,
    pub(super) out: Output<W, A>,
    pub(super) observed: i64,
    pub(super) id: u32,
}

impl<K, V, W, A, F, M> Process<K, V> for SessionNode<W, A, F, M>
where
    K: Nullable<Some = W::Key>,
    V: Nullable,
    W: WindowedKey,
    A: Data,
    F: Functions<W::Key, V, A>,
    M: Fn(&W::Key, Option<A>, Option<A>) -> Result<Option<A>> + Send,
{
    fn init(&mut self, slot: usize, ctx: &mut TaskCtx) -> Result<()> {
        self.out.slot = Some(slot);
        if self.out.cached {
            self.out.cached = ctx.store(self.store)?.0.set_flush_listener(slot, self.out.send_old);
        }
        Ok(())
    }

    fn process(&mut self, record: Record<K, V>, ctx: &mut TaskCtx) -> Result<()> {
        self.aggregate(record, ctx).or_else(|error| ctx.rt.settle(error, self.id))
    }

    fn forward_flushed(&mut self, ctx: &mut TaskCtx) -> Result<()> {
        self.forward_sessions(ctx)
    }
}

impl<W: WindowedKey, A: Data, F, M> SessionNode<W, A, F, M> {
    fn aggregate<K, V>(&mut self, record: Record<K, V>, ctx: &mut TaskCtx) -> Result<()>
    where
        K: Nullable<Some = W::Key>,
        V: Nullable,
        F: Functions<W::Key, V, A>,
        M: Fn(&W::Key, Option<A>, Option<A>) -> Result<Option<A>>,
    {
        ctx.rt.enter(&record);
        let (key, value, rest) = record.split();
        let Some(key) = key.into_some() else { return ctx.drop_record("its key is null") };
        let (timestamp, SessionWindows { gap, grace }) = (rest.timestamp, self.windows);
        self.observed = self.observed.max(timestamp);
        let close = self.observed.saturating_sub(grace).saturating_sub(gap);
        // Before the store's time moves on: what has closed may expire with this record.
        self.emit_closed(close, &rest, ctx)?;
        let alone = Window::new(timestamp, timestamp);
        let mut merged = alone;
        let mut sum = self.functions.initialize()?;
        let (store, _) = ctx.store(self.store)?;
        let (earliest, latest) = (timestamp.saturating_sub(gap), timestamp.saturating_add(gap));
        let sessions = store.find_sessions(Some(&key), Some(&key), earliest, latest, Order::Forward)?;
        for (session, value) in &sessions {
            sum = (self.merger)(&key, sum, Some(value.clone()))?;
            let window = session.window;
            merged = Window::new(merged.start().min(window.start()), merged.end().max(window.end()));
        }
        if merged.end() < close {
            return ctx.drop_record("its session has closed");
        }
        if merged != alone {
            for (session, value) in sessions {
                let (store, rt) = ctx.store(self.store)?;
                store.remove(rt, &session)?;
                self.forward_evicted(ctx)?;
                self.update(session, Change::new(None, Some(value)), ctx)?;
            }
        }
        let sum = self.functions.aggregate(&key, value, sum)?;
        let session = Windowed::new(key, merged);
        self.put(&session, sum.clone(), ctx)?;
        self.update(session, Change::new(sum, None), ctx)
    }

    fn put(&mut self, session: &Windowed<W::Key>, value: Option<A>, ctx: &mut TaskCtx) -> Result<()> {
        let (store, rt) = ctx.store(self.store)?;
        store.put(rt, session, value)?;
        self.forward_evicted(ctx)
    }

    fn forward_evicted(&mut self, ctx: &mut TaskCtx) -> Result<()> {
        if self.out.must_forward(ctx) { self.forward_sessions(ctx) } else { Ok(()) }
    }

    /// Forwards an update at the session's end; Kafka's has no headers.
    fn update(&mut self, session: Windowed<W::Key>, change: Change<A>, ctx: &mut TaskCtx) -> Result<()> {
        let end = session.window.end();
        let key = W::in_window(session.key, session.window);
        self.out.update(Record::new((), (), end), key, change, end, ctx)
    }

    fn forward_sessions(&mut self, ctx: &mut TaskCtx) -> Result<()> {
        let store = self.store;
        // What comes from a store with headers has that store's headers: none.
        let bare = ctx.store(store)?.0.has_headers_format();
        self.out.forward_flushed(
            ctx,
            |ctx| {
                let (store, rt) = ctx.store(store)?;
                store.next_flushed(rt)
            },
            |row| {
                let timestamp = row.key.window.end();
                let headers = if bare { Headers::new() } else { row.headers };
                Record { key: row.key, value: Change::new(row.new, row.old), timestamp, headers }
            },
        )
    }

    /// Emits the sessions that have closed since the last time.
    fn emit_closed(&mut self, close: i64, rest: &Record<(), ()>, ctx: &mut TaskCtx) -> Result<()> {
        let Some(emit) = &mut self.out.emit else { return Ok(()) };
        let (lower, upper) = (emit.last_close(&ctx.rt).max(0), close.saturating_sub(1));
        if !emit.is_due(close, &ctx.rt) || upper < 0 || upper < lower {
            return Ok(());
        }
        emit.set_last_close(close, &mut ctx.rt);
        let (store, _) = ctx.store(self.store)?;
        let closed = store.take_closed(lower, upper, close.max(0))?.into_iter().map(|(session, value)| {
            let end = session.window.end();
            let record = rest.clone().with_timestamp(end).with_key(W::in_window(session.key, session.window));
            record.with_value(Change::new(Some(value), None))
        });
        self.out.forward_final(closed, ctx)
    }
}
