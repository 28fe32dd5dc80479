//! What a processor sees of its task while it works.

use std::time::Duration;

use super::Processor;
use crate::{
    data::Flow,
    error::{Error, Result},
    processing::{Cancellable, PunctuationType, RecordMetadata, Timer, next_punctuation},
    record::Record,
    store::{StoreAccess, StoreHandle, StoreRef},
    task::{Children, TaskCtx},
    task_id::TaskId,
};

pub(crate) type Callback<P> = Box<dyn FnMut(&mut P, i64, &mut Context<'_, P>) -> Result<()> + Send>;

/// What a processor sees of its task: its children, its stores, its timers, and where its record comes from.
pub struct Context<'a, P: Processor> {
    pub(crate) children: &'a mut Children<P::KOut, P::VOut>,
    pub(crate) timers: &'a mut Vec<Option<Callback<P>>>,
    pub(crate) node: Place<'a>,
    pub(crate) task: &'a mut TaskCtx,
}

/// Where a processor is in its task.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) slot: usize,
    pub(crate) name: &'a str,
    /// The stores it is connected with, by number and name.
    pub(crate) stores: &'a [(usize, String)],
}

impl<P: Processor> std::fmt::Debug for Context<'_, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("node", &self.node.name).finish_non_exhaustive()
    }
}

impl<P: Processor> Context<'_, P> {
    /// Gives a record to all children; returns when everything below has happened.
    ///
    /// # Errors
    /// If a node below failed for good. Return it.
    pub fn forward(&mut self, record: Record<P::KOut, P::VOut>) -> Result<()> {
        check(&record)?;
        let (timestamp, headers) = (self.task.rt.context.timestamp, self.task.rt.context.headers.clone());
        let done = self.children.forward(record, self.task);
        self.task.rt.context.timestamp = timestamp;
        self.task.rt.context.headers = headers;
        done
    }

    /// Gives a record to one child, by its name.
    ///
    /// # Errors
    /// If there is no such child, or a node below failed for good.
    pub fn forward_to(&mut self, child: &str, record: Record<P::KOut, P::VOut>) -> Result<()> {
        check(&record)?;
        let Some(position) = self.children.position(child) else {
            return Err(Box::new(Error::Streams(format!(
                "unknown downstream node: {child} either does not exist or is not connected to {}",
                self.node.name
            ))));
        };
        let (timestamp, headers) = (self.task.rt.context.timestamp, self.task.rt.context.headers.clone());
        let done = self.children.forward_to(position, record, self.task);
        self.task.rt.context.timestamp = timestamp;
        self.task.rt.context.headers = headers;
        done
    }

    /// A store that the processor was connected with, or a global one, which only the processor that fills it can write to.
    ///
    /// # Errors
    /// If the handle is of another topology.
    pub fn store<S: 'static>(&mut self, handle: StoreHandle<S>) -> Result<StoreAccess<'_, S>> {
        let (store, rt) = self.task.store(handle)?;
        Ok(StoreAccess::new(store, rt))
    }

    /// A store by its name and type, for code that learns of them only at run time. Global stores need not be connected.
    ///
    /// # Errors
    /// If the processor is not connected with such a store, or it is of another type.
    pub fn state_store<S: 'static>(&mut self, name: &str) -> Result<StoreAccess<'_, S>> {
        let connected = self.node.stores.iter().find(|(_, known)| known == name).map(|(id, _)| *id);
        let Some(id) = self.task.global_store(name).or(connected) else {
            let node = self.node.name;
            return Err(Box::new(Error::Streams(format!(
                "processor {node} has no access to store {name}: the store is not connected to the processor; \
                 name it in `process_with`, or in Kafka's addStateStore()"
            ))));
        };
        let node = self.node.name;
        let (store, rt) = self.task.store(StoreRef::<S>::new(id).handle()).map_err(|_| {
            Box::new(Error::Streams(format!("store {name} is of another type than processor {node} expects")))
        })?;
        Ok(StoreAccess::new(store, rt))
    }

    /// Calls a function every `interval` of stream time or wall-clock time.
    ///
    /// By stream time the first call comes with the first record, later ones at multiples of the interval; by wall clock
    /// the first call comes an interval from now. A call that is overdue several times happens once.
    ///
    /// # Errors
    /// If the interval is below 1 ms, or the processor fills a global store.
    pub fn schedule(
        &mut self,
        interval: Duration,
        kind: PunctuationType,
        callback: impl FnMut(&mut P, i64, &mut Context<'_, P>) -> Result<()> + Send + 'static,
    ) -> Result<Cancellable> {
        let interval = self.checked(interval)?;
        let first = match kind {
            PunctuationType::StreamTime => 0,
            PunctuationType::WallClockTime => self.task.rt.wall_clock.saturating_add(interval),
        };
        Ok(self.add_timer(kind, first, interval, Box::new(callback)))
    }

    /// [`schedule`](Self::schedule) with the time of the first call, in ms since the epoch; if that has passed, the
    /// first call comes at the next multiple of the interval from it (KIP-1146).
    ///
    /// # Errors
    /// If the interval is below 1 ms, the start before the epoch, or the processor fills a global store.
    pub fn schedule_from(
        &mut self,
        start: i64,
        interval: Duration,
        kind: PunctuationType,
        callback: impl FnMut(&mut P, i64, &mut Context<'_, P>) -> Result<()> + Send + 'static,
    ) -> Result<Cancellable> {
        let interval = self.checked(interval)?;
        if start < 0 {
            let message = "the minimum supported start time of a schedule is the epoch".to_owned();
            return Err(Box::new(Error::IllegalArgument(message)));
        }
        let now = match kind {
            PunctuationType::StreamTime => self.task.rt.stream_time,
            PunctuationType::WallClockTime => self.task.rt.wall_clock,
        };
        let first = if start < now { next_punctuation(start, interval, now) } else { start };
        Ok(self.add_timer(kind, first, interval, Box::new(callback)))
    }

    fn checked(&self, interval: Duration) -> Result<i64> {
        if self.task.rt.task_id == TaskId::GLOBAL {
            let node = self.node.name;
            let message = format!("processor {node} fills a global store, where nothing can be scheduled");
            return Err(Box::new(Error::IllegalArgument(message)));
        }
        match i64::try_from(interval.as_millis()) {
            Ok(interval @ 1..) => Ok(interval),
            _ => {
                let message = "the minimum supported scheduling interval is 1 millisecond".to_owned();
                Err(Box::new(Error::IllegalArgument(message)))
            }
        }
    }

    fn add_timer(&mut self, kind: PunctuationType, first: i64, interval: i64, callback: Callback<P>) -> Cancellable {
        self.timers.push(Some(callback));
        let timer = Timer { interval, slot: self.node.slot, callback: self.timers.len() - 1, cancelled: false };
        self.task.rt.punctuations.schedule(kind, first, timer)
    }

    /// Stops a schedule.
    pub fn cancel(&mut self, schedule: Cancellable) {
        self.task.rt.punctuations.cancel(schedule);
    }

    /// Asks for a commit as soon as possible.
    pub fn commit(&mut self) {
        self.task.rt.commit_requested = true;
    }

    /// Where the record at work comes from; `None` in `init`, without topic in punctuations.
    #[must_use]
    pub fn record_metadata(&self) -> Option<RecordMetadata<'_>> {
        self.task.rt.context.known.then(|| RecordMetadata::of(&self.task.rt.context))
    }

    /// The greatest timestamp the task has seen, in ms since the epoch; -1 before the first record, and always where a
    /// global store is filled.
    #[must_use]
    pub fn current_stream_time_ms(&self) -> i64 {
        self.task.rt.stream_time
    }

    /// The clock, in ms since the epoch.
    #[must_use]
    pub fn current_system_time_ms(&self) -> i64 {
        self.task.rt.wall_clock
    }

    /// `application.id`.
    #[must_use]
    pub fn application_id(&self) -> &str {
        self.task.rt.config.application_id()
    }

    /// The settings.
    #[must_use]
    pub fn app_configs(&self) -> &crate::StreamsConfig {
        &self.task.rt.config
    }

    /// The task.
    #[must_use]
    pub fn task_id(&self) -> TaskId {
        self.task.rt.task_id
    }

    /// The processor's name in the topology.
    #[must_use]
    pub fn node_name(&self) -> &str {
        self.node.name
    }
}

fn check<K: Flow, V: Flow>(record: &Record<K, V>) -> Result<()> {
    match record.timestamp {
        0.. => Ok(()),
        negative => Err(Box::new(Error::Streams(format!("a record cannot have the negative timestamp {negative}")))),
    }
}
