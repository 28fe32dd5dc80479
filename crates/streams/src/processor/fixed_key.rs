//! Processors that cannot change keys, so that nothing is repartitioned after them.

use std::time::Duration;

use super::{Context, Processor};
use crate::{
    data::Flow,
    error::Result,
    processing::{Cancellable, PunctuationType, RecordMetadata},
    record::{Headers, Record},
    store::{StoreAccess, StoreHandle},
    task_id::TaskId,
};

/// A record whose key stays as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct FixedKeyRecord<K, V> {
    key: K,
    /// The value.
    pub value: V,
    /// Milliseconds since the epoch, never negative.
    pub timestamp: i64,
    /// The headers.
    pub headers: Headers,
}

impl<K, V> FixedKeyRecord<K, V> {
    /// The key.
    pub const fn key(&self) -> &K {
        &self.key
    }

    /// The same with another value.
    pub fn with_value<V2>(self, value: V2) -> FixedKeyRecord<K, V2> {
        FixedKeyRecord { key: self.key, value, timestamp: self.timestamp, headers: self.headers }
    }

    /// The same with another timestamp, in ms since the epoch.
    #[must_use]
    pub fn with_timestamp(self, timestamp: i64) -> Self {
        FixedKeyRecord { timestamp, ..self }
    }

    /// The same with other headers.
    #[must_use]
    pub fn with_headers(self, headers: Headers) -> Self {
        FixedKeyRecord { headers, ..self }
    }

    fn of(record: Record<K, V>) -> Self {
        let Record { key, value, timestamp, headers } = record;
        FixedKeyRecord { key, value, timestamp, headers }
    }

    fn into_record(self) -> Record<K, V> {
        Record { key: self.key, value: self.value, timestamp: self.timestamp, headers: self.headers }
    }
}

/// A node of application code that keeps the keys of its records. A topology's factory makes one instance per task.
pub trait FixedKeyProcessor: Send + Sized + 'static {
    /// The keys.
    type K: Flow;
    /// The values it takes.
    type VIn: Flow;
    /// The values it forwards.
    type VOut: Flow;

    /// Before the first record.
    ///
    /// # Errors
    /// Stops the task.
    fn init(&mut self, _ctx: &mut FixedKeyContext<'_, '_, Self>) -> Result<()> {
        Ok(())
    }

    /// A record.
    ///
    /// # Errors
    /// Go to the processing exception handler.
    fn process(
        &mut self,
        record: FixedKeyRecord<Self::K, Self::VIn>,
        ctx: &mut FixedKeyContext<'_, '_, Self>,
    ) -> Result<()>;

    /// After the last record.
    ///
    /// # Errors
    /// Are reported by the task's close.
    fn close(&mut self, _ctx: &mut FixedKeyContext<'_, '_, Self>) -> Result<()> {
        Ok(())
    }
}

/// What a [`FixedKeyProcessor`] sees of its task.
#[derive(Debug)]
pub struct FixedKeyContext<'a, 'b, P: FixedKeyProcessor>(&'a mut Context<'b, FixedKeyAdapter<P>>);

impl<P: FixedKeyProcessor> FixedKeyContext<'_, '_, P> {
    /// As [`Context::forward`].
    ///
    /// # Errors
    /// If a node below failed for good. Return it.
    pub fn forward(&mut self, record: FixedKeyRecord<P::K, P::VOut>) -> Result<()> {
        self.0.forward(record.into_record())
    }

    /// As [`Context::forward_to`].
    ///
    /// # Errors
    /// If there is no such child, or a node below failed for good.
    pub fn forward_to(&mut self, child: &str, record: FixedKeyRecord<P::K, P::VOut>) -> Result<()> {
        self.0.forward_to(child, record.into_record())
    }

    /// As [`Context::store`].
    ///
    /// # Errors
    /// If the handle is of another topology.
    pub fn store<S: 'static>(&mut self, handle: StoreHandle<S>) -> Result<StoreAccess<'_, S>> {
        self.0.store(handle)
    }

    /// As [`Context::state_store`].
    ///
    /// # Errors
    /// If the processor is not connected with such a store, or it is of another type.
    pub fn state_store<S: 'static>(&mut self, name: &str) -> Result<StoreAccess<'_, S>> {
        self.0.state_store(name)
    }

    /// As [`Context::schedule`]. A punctuation has no record and so no key to forward; it works on stores.
    ///
    /// # Errors
    /// If the interval is below 1 ms.
    pub fn schedule(
        &mut self,
        interval: Duration,
        kind: PunctuationType,
        mut callback: impl FnMut(&mut P, i64, &mut FixedKeyContext<'_, '_, P>) -> Result<()> + Send + 'static,
    ) -> Result<Cancellable> {
        self.0.schedule(interval, kind, move |this, now, ctx| callback(&mut this.0, now, &mut FixedKeyContext(ctx)))
    }

    /// As [`Context::cancel`].
    pub fn cancel(&mut self, schedule: Cancellable) {
        self.0.cancel(schedule);
    }

    /// As [`Context::commit`].
    pub fn commit(&mut self) {
        self.0.commit();
    }

    /// As [`Context::record_metadata`].
    #[must_use]
    pub fn record_metadata(&self) -> Option<RecordMetadata<'_>> {
        self.0.record_metadata()
    }

    /// As [`Context::current_stream_time_ms`].
    #[must_use]
    pub fn current_stream_time_ms(&self) -> i64 {
        self.0.current_stream_time_ms()
    }

    /// As [`Context::current_system_time_ms`].
    #[must_use]
    pub fn current_system_time_ms(&self) -> i64 {
        self.0.current_system_time_ms()
    }

    /// `application.id`.
    #[must_use]
    pub fn application_id(&self) -> &str {
        self.0.application_id()
    }

    /// The task.
    #[must_use]
    pub fn task_id(&self) -> TaskId {
        self.0.task_id()
    }
}

/// A fixed-key processor as a processor.
#[derive(Debug)]
pub(crate) struct FixedKeyAdapter<P>(pub(crate) P);

impl<P: FixedKeyProcessor> Processor for FixedKeyAdapter<P> {
    type KIn = P::K;
    type VIn = P::VIn;
    type KOut = P::K;
    type VOut = P::VOut;

    fn init(&mut self, ctx: &mut Context<'_, Self>) -> Result<()> {
        self.0.init(&mut FixedKeyContext(ctx))
    }

    fn process(&mut self, record: Record<P::K, P::VIn>, ctx: &mut Context<'_, Self>) -> Result<()> {
        self.0.process(FixedKeyRecord::of(record), &mut FixedKeyContext(ctx))
    }

    fn close(&mut self, ctx: &mut Context<'_, Self>) -> Result<()> {
        self.0.close(&mut FixedKeyContext(ctx))
    }
}
