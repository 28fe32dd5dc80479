//! The Processor API: application code as a node, with its context, its stores and its timers.

mod context;
mod fixed_key;

pub use context::Context;
pub(crate) use context::{Callback, Place};
pub(crate) use fixed_key::FixedKeyAdapter;
pub use fixed_key::{FixedKeyContext, FixedKeyProcessor, FixedKeyRecord};

use crate::{data::Flow, error::Result, record::Record};

/// A node of application code. A topology's factory makes one instance per task.
///
/// ```
/// use std::time::Duration;
/// use vltava_streams::{
///     Context, KeyValueStore, Processor, PunctuationType, Record, Result, StoreBuilder, StreamsBuilder,
///     TopologyTestDriver, store::StoreHandle,
/// };
///
/// struct Sums {
///     sums: StoreHandle<KeyValueStore<String, i64>>,
/// }
///
/// impl Processor for Sums {
///     type KIn = String;
///     type VIn = i64;
///     type KOut = String;
///     type VOut = i64;
///
///     fn init(&mut self, ctx: &mut Context<'_, Self>) -> Result<()> {
///         ctx.schedule(Duration::from_secs(10), PunctuationType::StreamTime, |this, now, ctx| {
///             for (key, sum) in ctx.store(this.sums)?.all()? {
///                 ctx.forward(Record::new(key, sum, now))?;
///             }
///             Ok(())
///         })?;
///         Ok(())
///     }
///
///     fn process(&mut self, record: Record<String, i64>, ctx: &mut Context<'_, Self>) -> Result<()> {
///         let mut sums = ctx.store(self.sums)?;
///         let sum = sums.get(&record.key)?.unwrap_or(0) + record.value;
///         sums.put(&record.key, Some(sum))
///     }
/// }
///
/// let builder = StreamsBuilder::new();
/// let sums = builder.add_state_store(StoreBuilder::<KeyValueStore<String, i64>>::in_memory("sums"));
/// builder.stream("in").process_with(sums, |sums| Sums { sums }).to("out");
/// let driver = TopologyTestDriver::new(&builder.build()?)?;
/// let input = driver.input_topic::<String, i64>("in");
/// input.pipe_at("k".to_owned(), 1, 0)?;
/// input.pipe_at("k".to_owned(), 2, 10_000)?;
/// assert_eq!(driver.output_topic::<String, i64>("out").read_values()?, [1, 3]);
/// # Ok::<(), Box<vltava_streams::Error>>(())
/// ```
pub trait Processor: Send + Sized + 'static {
    /// The keys it takes.
    type KIn: Flow;
    /// The values it takes.
    type VIn: Flow;
    /// The keys it forwards.
    type KOut: Flow;
    /// The values it forwards.
    type VOut: Flow;

    /// Before the first record: the place to schedule punctuations.
    ///
    /// # Errors
    /// Stops the task.
    fn init(&mut self, _ctx: &mut Context<'_, Self>) -> Result<()> {
        Ok(())
    }

    /// A record. What is forwarded is processed to its end before `forward` returns.
    ///
    /// # Errors
    /// Go to the processing exception handler.
    fn process(&mut self, record: Record<Self::KIn, Self::VIn>, ctx: &mut Context<'_, Self>) -> Result<()>;

    /// After the last record.
    ///
    /// # Errors
    /// Are reported by the task's close.
    fn close(&mut self, _ctx: &mut Context<'_, Self>) -> Result<()> {
        Ok(())
    }
}
