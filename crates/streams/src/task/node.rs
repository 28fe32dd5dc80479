//! Nodes at work in a task, and the typed edges between them.
//!
//! A node with one parent is owned by it. A node that several parents reach, or that the task itself must reach
//! (timers, cache flushes, close), sits in the task's arena and is taken out while it works.

use std::{any::Any, sync::Arc};

use super::{context::TaskCtx, guard::guarded};
use crate::{
    error::{Error, Result},
    record::Record,
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
}

impl<K, V> Children<K, V> {
    pub(crate) fn new(edges: Vec<Edge<K, V>>, names: Vec<Arc<str>>) -> Self {
        Children { edges, names }
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
            [only] => match only.send(record, ctx) {
                Ok(()) => Ok(()),
                Err(error) => self.failed(0, error, ctx),
            },
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
        child.send(record, ctx).or_else(|error| self.failed(index, error, ctx))
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
