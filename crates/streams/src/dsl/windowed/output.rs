//! The outgoing side of a windowed aggregation's node.

use crate::{
    data::Data,
    error::Result,
    metrics::node::Emits,
    record::{Change, Record},
    store::Flushed,
    task::{Children, TaskCtx},
    topology::Instantiation,
    windowed::{Windowed, WindowedKey},
};

use super::{super::materialized::StoreFamily, emit::EmitOnClose, table::WindowedTable};

/// The children, and when they are told of what: at once, when the cache is flushed, or when windows close.
pub(super) struct Output<W, A> {
    pub(super) children: Children<W, Change<A>>,
    pub(super) send_old: bool,
    /// Whether results leave by the cache's flush instead of at once.
    pub(super) cached: bool,
    pub(super) slot: Option<usize>,
    pub(super) emit: Option<EmitOnClose>,
    id: u32,
}

impl<W: WindowedKey, A: Data> Output<W, A> {
    pub(super) fn new<S: StoreFamily>(
        making: &mut Instantiation<'_>,
        table: &WindowedTable<W::Key, A, S>,
    ) -> Result<Self> {
        let emit = EmitOnClose::new(table.emit(), table.store_name());
        making.ctx.rt.metrics.declare_emits(making.node_id(), Emits::Final);
        Ok(Output {
            cached: emit.is_none() && making.is_cached(table.id()),
            children: making.children()?,
            send_old: table.sends_old(),
            slot: None,
            emit,
            id: making.node_id(),
        })
    }

    /// Forwards an update, unless the cache or the windows' close will.
    pub(super) fn update(
        &mut self,
        rest: Record<(), ()>,
        key: W,
        change: Change<A>,
        timestamp: i64,
        ctx: &mut TaskCtx,
    ) -> Result<()> {
        if self.cached || self.emit.is_some() {
            return Ok(());
        }
        let old = change.old.filter(|_| self.send_old);
        let change = Change::new(change.new, old);
        self.forward(rest.with_timestamp(timestamp).with_key(key).with_value(change), ctx)
    }

    /// Forwards what is final, row by row.
    pub(super) fn forward_final(
        &mut self,
        closed: impl ExactSizeIterator<Item = Record<W, Change<A>>>,
        ctx: &mut TaskCtx,
    ) -> Result<()> {
        let (start, count) = (ctx.rt.metrics.start(), closed.len());
        for record in closed {
            self.forward(record, ctx)?;
        }
        ctx.rt.metrics.emitted(self.id, count, start);
        Ok(())
    }

    /// Forwards, and comes back to the record at hand: what is written after it has that one's timestamp.
    pub(super) fn forward(&mut self, record: Record<W, Change<A>>, ctx: &mut TaskCtx) -> Result<()> {
        let (timestamp, headers) = (ctx.rt.context.timestamp, ctx.rt.context.headers.clone());
        let done = self.children.forward(record, ctx);
        ctx.rt.context.timestamp = timestamp;
        ctx.rt.context.headers = headers;
        done
    }

    /// Forwards what left the cache, each row under the record context it was written with.
    pub(super) fn forward_flushed<V>(
        &mut self,
        ctx: &mut TaskCtx,
        next: impl FnMut(&mut TaskCtx) -> Result<Option<Flushed<Windowed<W::Key>, V>>>,
        unwrap: impl Fn(Flushed<Windowed<W::Key>, V>) -> Record<Windowed<W::Key>, Change<A>>,
    ) -> Result<()> {
        let mine = self.slot;
        ctx.rt.evicted.retain(|slot| Some(*slot) != mine);
        ctx.for_each_flushed(next, |flushed, ctx| {
            let (key, value, rest) = unwrap(flushed).split();
            let record = rest.with_key(W::in_window(key.key, key.window)).with_value(value);
            self.children.forward(record, ctx)
        })
    }

    /// Whether the cache has evicted rows that only this node can forward.
    pub(super) fn must_forward(&self, ctx: &TaskCtx) -> bool {
        self.cached && !ctx.rt.evicted.is_empty()
    }
}
