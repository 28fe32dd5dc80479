//! Nodes at work in a task, the typed edges between them, and what they share.
//!
//! A node with one parent is owned by it. A node that several parents reach, or that the task itself must reach
//! (timers, cache flushes, close), sits in the task's arena and is taken out while it works.

use std::{any::Any, sync::Arc};

use crate::{
    error::{Error, Result},
    guard::guarded,
    processing::Runtime,
    record::Record,
    store::{AnyStore, StoreHandle},
};

/// A node at work in a task.
pub(crate) trait Process<K, V>: Send {
    /// Before the first record; only nodes in the arena are asked.
    fn init(&mut self, _slot: usize, _ctx: &mut TaskCtx) -> Result<()> {
        Ok(())
    }
    fn process(&mut self, record: Record<K, V>, ctx: &mut TaskCtx) -> Result<()>;
    /// One of the node's timers is due.
    fn punctuate(&mut self, _timer: usize, _now: i64, _ctx: &mut TaskCtx) -> Result<()> {
        Ok(())
    }
    /// Forwards what the node's store has flushed from its cache.
    fn forward_flushed(&mut self, _ctx: &mut TaskCtx) -> Result<()> {
        Ok(())
    }
    /// After the last record; only nodes in the arena are asked.
    fn close(&mut self, _ctx: &mut TaskCtx) -> Result<()> {
        Ok(())
    }
}

/// The way to one child: by ownership, or by its place in the arena.
pub(crate) enum Edge<K, V> {
    Owned(Box<dyn Process<K, V>>),
    Slot(usize),
}

impl<K: 'static, V: 'static> Edge<K, V> {
    #[inline(always)]
    fn send(&mut self, record: Record<K, V>, ctx: &mut TaskCtx) -> Result<()> {
        match self {
            Edge::Owned(node) => guarded(|| node.process(record, ctx)),
            Edge::Slot(slot) => ctx.send_to_slot(*slot, record),
        }
    }
}

/// The typed children of a node, in the order in which they were connected.
pub(crate) struct Children<K, V> {
    edges: Vec<Edge<K, V>>,
    names: Vec<Arc<str>>,
    /// The numbers of those that nothing follows.
    ends: Vec<Option<u32>>,
}

impl<K, V> Children<K, V> {
    pub(crate) fn new(edges: Vec<Edge<K, V>>, names: Vec<Arc<str>>, ends: Vec<Option<u32>>) -> Self {
        Children { edges, names, ends }
    }

    /// The position of a child, by its name.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|child| &**child == name)
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Children<K, V> {
    /// Gives the record to every child, depth first; the last one gets the original.
    #[inline(always)] // Saves one copy of the record and a call per hop; the usual node has one child.
    pub(crate) fn forward(&mut self, record: Record<K, V>, ctx: &mut TaskCtx) -> Result<()> {
        match &mut self.edges[..] {
            [only] => {
                let timestamp = record.timestamp;
                match only.send(record, ctx) {
                    Ok(()) => {
                        if let [Some(end)] = self.ends[..] {
                            ctx.rt.metrics.ended(end, timestamp, ctx.rt.wall_clock);
                        }
                        Ok(())
                    }
                    Err(error) => self.failed(0, error, ctx),
                }
            }
            _ => self.forward_to_all(record, ctx),
        }
    }

    /// A node asks the handler about errors itself; if it panicked, that is left to its parent.
    #[cold]
    #[inline(never)]
    fn failed(&self, child: usize, error: Box<Error>, ctx: &mut TaskCtx) -> Result<()> {
        match (&*error, self.names.get(child)) {
            (Error::Panic(_), Some(name)) => ctx.rt.settle_at(error, name),
            _ => Err(error),
        }
    }

    #[inline(never)]
    fn forward_to_all(&mut self, record: Record<K, V>, ctx: &mut TaskCtx) -> Result<()> {
        let last = self.edges.len().saturating_sub(1);
        for child in 0..last {
            self.forward_to(child, record.clone(), ctx)?;
        }
        self.forward_to(last, record, ctx)
    }

    /// Gives the record to one child.
    pub(crate) fn forward_to(&mut self, index: usize, record: Record<K, V>, ctx: &mut TaskCtx) -> Result<()> {
        let Some(child) = self.edges.get_mut(index) else { return Ok(()) };
        let timestamp = record.timestamp;
        child.send(record, ctx).or_else(|error| self.failed(index, error, ctx))?;
        if let Some(Some(end)) = self.ends.get(index) {
            ctx.rt.metrics.ended(*end, timestamp, ctx.rt.wall_clock);
        }
        Ok(())
    }
}

/// An arena entry, erased over its types; `Any` is asked about the node, never about a record.
pub(crate) trait Slot: Any + Send {
    fn init(&mut self, slot: usize, ctx: &mut TaskCtx) -> Result<()>;
    fn punctuate(&mut self, timer: usize, now: i64, ctx: &mut TaskCtx) -> Result<()>;
    fn forward_flushed(&mut self, ctx: &mut TaskCtx) -> Result<()>;
    fn close(&mut self, ctx: &mut TaskCtx) -> Result<()>;
}

pub(crate) struct TypedSlot<K, V>(pub(crate) Box<dyn Process<K, V>>);

impl<K: 'static, V: 'static> Slot for TypedSlot<K, V> {
    fn init(&mut self, slot: usize, ctx: &mut TaskCtx) -> Result<()> {
        self.0.init(slot, ctx)
    }
    fn punctuate(&mut self, timer: usize, now: i64, ctx: &mut TaskCtx) -> Result<()> {
        self.0.punctuate(timer, now, ctx)
    }
    fn forward_flushed(&mut self, ctx: &mut TaskCtx) -> Result<()> {
        self.0.forward_flushed(ctx)
    }
    fn close(&mut self, ctx: &mut TaskCtx) -> Result<()> {
        self.0.close(ctx)
    }
}

/// A node that is a function of record and children: most operators.
pub(crate) struct FnNode<F, KO, VO> {
    pub(crate) f: Arc<F>,
    pub(crate) children: Children<KO, VO>,
    pub(crate) id: u32,
}

impl<K, V, KO, VO, F> Process<K, V> for FnNode<F, KO, VO>
where
    F: Fn(Record<K, V>, &mut Children<KO, VO>, &mut TaskCtx) -> Result<()> + Send + Sync,
    KO: Send,
    VO: Send,
{
    #[inline]
    fn process(&mut self, record: Record<K, V>, ctx: &mut TaskCtx) -> Result<()> {
        match (self.f)(record, &mut self.children, ctx) {
            Ok(()) => Ok(()),
            Err(error) => ctx.rt.settle(error, self.id),
        }
    }
}

/// A task's shared state: the arena of nodes that several reach, the stores, and the rest. Passed down by `&mut`.
pub(crate) struct TaskCtx {
    /// Arena slots in the order of the topology: the order of initialisation and close.
    pub(crate) init_order: Vec<usize>,
    pub(crate) arena: Vec<Option<Box<dyn Slot>>>,
    pub(crate) stores: Vec<Option<Box<dyn AnyStore>>>,
    /// The global ones among them, which every processor may read, by number.
    pub(crate) global_stores: Vec<usize>,
    pub(crate) rt: Runtime,
}

impl TaskCtx {
    pub(crate) fn new(rt: Runtime) -> Self {
        TaskCtx { init_order: Vec::new(), arena: Vec::new(), stores: Vec::new(), global_stores: Vec::new(), rt }
    }

    /// Initialises the nodes that want it, in the order of the topology.
    pub(crate) fn init_nodes(&mut self) -> Result<()> {
        for slot in self.init_order.clone() {
            self.with_slot(slot, |node, ctx| node.init(slot, ctx))?;
        }
        Ok(())
    }

    /// Closes the nodes that want it; returns the first failure.
    pub(crate) fn close_nodes(&mut self) -> Result<()> {
        let mut first = Ok(());
        for slot in self.init_order.clone() {
            first = first.and(self.with_slot(slot, |node, ctx| node.close(ctx)));
        }
        first
    }

    pub(crate) fn send_to_slot<K: 'static, V: 'static>(&mut self, slot: usize, record: Record<K, V>) -> Result<()> {
        let mut node = self.take(slot)?;
        let done = match (&mut *node as &mut dyn Any).downcast_mut::<TypedSlot<K, V>>() {
            Some(typed) => guarded(|| typed.0.process(record, self)),
            None => Err(Error::internal("a slot holds another type than its edge")),
        };
        self.put_back(slot, node);
        done
    }

    pub(crate) fn with_slot(
        &mut self,
        slot: usize,
        f: impl FnOnce(&mut dyn Slot, &mut TaskCtx) -> Result<()>,
    ) -> Result<()> {
        let mut node = self.take(slot)?;
        let done = guarded(|| f(&mut *node, self));
        self.put_back(slot, node);
        done
    }

    /// Forwards what a store's cache gives by its flush, each under the record context that it was written with.
    pub(crate) fn for_each_flushed<R>(
        &mut self,
        mut next: impl FnMut(&mut Self) -> Result<Option<R>>,
        mut forward: impl FnMut(R, &mut Self) -> Result<()>,
    ) -> Result<()> {
        let saved = self.rt.context.clone();
        let done = loop {
            match next(self) {
                Ok(Some(flushed)) => match forward(flushed, self) {
                    Ok(()) => {}
                    failed => break failed,
                },
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.rt.context = saved;
        done
    }

    fn take(&mut self, slot: usize) -> Result<Box<dyn Slot>> {
        let node = self.arena.get_mut(slot).and_then(Option::take);
        node.ok_or_else(|| Error::internal("a node was reached while it was at work"))
    }

    fn put_back(&mut self, slot: usize, node: Box<dyn Slot>) {
        if let Some(place) = self.arena.get_mut(slot) {
            *place = Some(node);
        }
    }

    /// The number of a global store, by its name.
    pub(crate) fn global_store(&self, name: &str) -> Option<usize> {
        let named = |id: &&usize| matches!(self.stores.get(**id), Some(Some(store)) if store.name() == name);
        self.global_stores.iter().find(named).copied()
    }

    /// The store behind a handle, and the runtime it works with.
    #[inline]
    pub(crate) fn store<S: 'static>(&mut self, handle: StoreHandle<S>) -> Result<(&mut S, &mut Runtime)> {
        let store = self.stores.get_mut(handle.id()).and_then(Option::as_mut);
        let store = store.and_then(|store| (&mut **store as &mut dyn Any).downcast_mut::<S>());
        match store {
            Some(store) => Ok((store, &mut self.rt)),
            None => Err(Error::internal("a store handle of another topology or type")),
        }
    }

    /// Forwards what caches evicted while no node of theirs could do it.
    pub(crate) fn forward_evicted(&mut self) -> Result<()> {
        while let Some(slot) = self.rt.evicted.pop() {
            self.with_slot(slot, |node, ctx| node.forward_flushed(ctx))?;
        }
        Ok(())
    }

    pub(crate) fn drop_record(&mut self, why: &'static str) -> Result<()> {
        self.rt.drop_record(why);
        Ok(())
    }
}
