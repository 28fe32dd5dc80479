//! The node of a processor.

use std::sync::Arc;

use super::{Instantiation, MakeNode};
use crate::{
    error::{Error, Result},
    guard::guarded,
    processor::{Callback, Context, Place, Processor},
    record::Record,
    task::{Children, Process, TaskCtx},
};

/// Makes a processor's node from its factory.
pub(crate) fn make<P: Processor>(factory: impl Fn() -> P + Send + Sync + 'static) -> MakeNode {
    Arc::new(move |making: &mut Instantiation<'_>| {
        let topology = making.topology;
        let stores = topology.stores_of(making.id).into_iter().map(|id| (id, topology.store_name(id).to_owned()));
        let node = ProcessorNode {
            stores: stores.collect(),
            processor: factory(),
            children: making.children()?,
            timers: Vec::new(),
            slot: 0,
            name: making.node_name(),
            id: making.node_id(),
        };
        making.place::<P::KIn, P::VIn>(node, true);
        Ok(())
    })
}

struct ProcessorNode<P: Processor> {
    processor: P,
    children: Children<P::KOut, P::VOut>,
    timers: Vec<Option<Callback<P>>>,
    slot: usize,
    name: String,
    stores: Vec<(usize, String)>,
    id: u32,
}

impl<P: Processor> ProcessorNode<P> {
    fn split<'a>(&'a mut self, task: &'a mut TaskCtx) -> (&'a mut P, Context<'a, P>) {
        let ProcessorNode { processor, children, timers, slot, name, stores, .. } = self;
        (processor, Context { children, timers, node: Place { slot: *slot, name, stores }, task })
    }

    /// An error that no record led to.
    fn failed(&self, source: Box<Error>, task: &TaskCtx) -> Box<Error> {
        if source.is_settled() {
            return source;
        }
        let (node, task) = (self.name.clone(), task.rt.task_id.to_string());
        Box::new(Error::Processing { node, task, position: None, source })
    }
}

impl<P: Processor> Process<P::KIn, P::VIn> for ProcessorNode<P> {
    fn init(&mut self, slot: usize, task: &mut TaskCtx) -> Result<()> {
        self.slot = slot;
        let (processor, mut ctx) = self.split(task);
        let done = guarded(|| processor.init(&mut ctx));
        done.map_err(|source| self.failed(source, task))
    }

    fn process(&mut self, record: Record<P::KIn, P::VIn>, task: &mut TaskCtx) -> Result<()> {
        task.rt.enter(&record);
        let (processor, mut ctx) = self.split(task);
        match processor.process(record, &mut ctx) {
            Ok(()) => Ok(()),
            Err(error) => task.rt.settle(error, self.id),
        }
    }

    fn punctuate(&mut self, timer: usize, now: i64, task: &mut TaskCtx) -> Result<()> {
        let Some(mut callback) = self.timers.get_mut(timer).and_then(Option::take) else { return Ok(()) };
        let (processor, mut ctx) = self.split(task);
        let done = guarded(|| callback(processor, now, &mut ctx));
        if let Some(place) = self.timers.get_mut(timer) {
            *place = Some(callback);
        }
        done.or_else(|error| task.rt.settle(error, self.id))
    }

    fn close(&mut self, task: &mut TaskCtx) -> Result<()> {
        let (processor, mut ctx) = self.split(task);
        let done = guarded(|| processor.close(&mut ctx));
        done.map_err(|source| self.failed(source, task))
    }
}
