//! Stores of the application's own making: Kafka's `StateStore`.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use super::{
    AnyStore, StoreAccess, StoreBuilder, StoreInit, StoreKind,
    changelog::{Changelog, Format},
};
use crate::{
    error::{Error, Result},
    processing::Runtime,
    state::{EngineContext, Sharing},
};

/// What a store of the application's own does for the task that it belongs to. Its own methods are what processors call.
///
/// A store that only needs another engine for keys and values is better off as a
/// [`KeyValueSupplier::custom`](crate::state::KeyValueSupplier::custom).
///
/// ```
/// use std::collections::BTreeMap;
///
/// use vltava_streams::{
///     Context, OwnStore, Processor, Record, Result, StateStore, StoreBuilder, StreamsBuilder, TopologyTestDriver,
///     store::StoreHandle,
/// };
///
/// /// How often each word length was met.
/// #[derive(Default)]
/// struct Lengths(BTreeMap<u8, u8>);
///
/// impl StateStore for Lengths {
///     fn restore(&mut self, key: &[u8], value: Option<&[u8]>, _timestamp: i64) -> Result<()> {
///         if let (Some(length), Some(count)) = (key.first(), value.and_then(<[u8]>::first)) {
///             self.0.insert(*length, *count);
///         }
///         Ok(())
///     }
/// }
///
/// struct Count(StoreHandle<OwnStore<Lengths>>);
///
/// impl Processor for Count {
///     type KIn = String;
///     type VIn = String;
///     type KOut = ();
///     type VOut = ();
///
///     fn process(&mut self, record: Record<String, String>, ctx: &mut Context<'_, Self>) -> Result<()> {
///         let mut lengths = ctx.store(self.0)?;
///         let length = record.value.len() as u8;
///         let count = lengths.0.entry(length).or_default();
///         *count += 1;
///         let count = *count;
///         lengths.log_change(&[length], Some(&[count]))
///     }
/// }
///
/// let builder = StreamsBuilder::new();
/// let lengths = builder.add_state_store(StoreBuilder::own("lengths", |_| Ok(Lengths::default())));
/// builder.stream::<String, String>("words").process_with(lengths, Count);
/// let driver = TopologyTestDriver::new(&builder.build()?)?;
/// let words = driver.input_topic::<String, String>("words");
/// for word in ["one", "two", "three"] {
///     words.pipe("k".to_owned(), word.to_owned())?;
/// }
/// let met = driver.store::<OwnStore<Lengths>, _>("lengths", |lengths| Ok(lengths.0.clone()))?;
/// assert_eq!(met, BTreeMap::from([(3, 2), (5, 1)]));
/// # Ok::<(), Box<vltava_streams::Error>>(())
/// ```
pub trait StateStore: Send + 'static {
    /// Takes a record of the changelog, as [`log_change`](StoreAccess::log_change) has sent it: `None` is a deletion, the
    /// timestamp is that of the record that was being processed, in ms since the epoch.
    ///
    /// # Errors
    /// If it cannot be read or written; the task ends with it.
    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64) -> Result<()>;

    /// Whether what is committed outlives the process. Default: no; then it is restored whenever a task begins.
    fn persistent(&self) -> bool {
        false
    }

    /// Makes what is in it durable, together with the offset up to which the changelog is covered by it; `None` leaves the
    /// offset as it was. Default: nothing.
    ///
    /// # Errors
    /// If it cannot be written.
    fn commit(&mut self, _changelog_offset: Option<i64>) -> Result<()> {
        Ok(())
    }

    /// The offset that was committed last: where restoring goes on. Default: none, which is the beginning.
    ///
    /// # Errors
    /// If it cannot be read.
    fn committed_offset(&self) -> Result<Option<i64>> {
        Ok(None)
    }

    /// Forgets what was done since the last [`commit`](Self::commit), as if it had never been: the transaction that it was
    /// part of did not come to be. Also asked when it has just been made: then nothing that it has may be of an unfinished
    /// transaction. False if it cannot say so. Default: false.
    ///
    /// Under exactly-once a store that cannot forget is made anew after a transaction that failed. One that is
    /// [persistent](Self::persistent) too is [emptied](Self::clear) before, and if its process has died, and restored from
    /// the beginning of its changelog, as Kafka does it with all stores.
    ///
    /// # Errors
    /// If it cannot be read or written; the task ends with it.
    fn forget(&mut self) -> Result<bool> {
        Ok(false)
    }

    /// Forgets everything, what was committed too: the changelog does not have the offset that is covered any more, or it
    /// cannot [forget](Self::forget) less, and the changelog is read from its beginning. Default: an error.
    ///
    /// # Errors
    /// If it cannot be done; the task ends with it.
    fn clear(&mut self) -> Result<()> {
        Err(Error::streams("it cannot be emptied: `StateStore::clear` is not implemented".to_owned()))
    }

    /// The end of its task. Default: nothing.
    ///
    /// # Errors
    /// If something could not be written.
    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A [`StateStore`] in a task.
pub struct OwnStore<S> {
    name: Arc<str>,
    store: S,
    changelog: Changelog,
}

impl<S> fmt::Debug for OwnStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnStore").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<S> OwnStore<S> {
    pub(crate) fn get_mut(&mut self) -> &mut S {
        &mut self.store
    }
}

impl<S: StateStore> StoreBuilder<OwnStore<S>> {
    /// A store of the application's own; `make` makes one for each task. It has no record cache, and cannot be a global
    /// store: `build()` or the start of a task refuse it.
    #[must_use]
    pub fn own(
        name: impl Into<String>,
        make: impl Fn(&EngineContext) -> Result<S> + Send + Sync + 'static,
    ) -> StoreBuilder<OwnStore<S>> {
        let name = name.into();
        let known: Arc<str> = Arc::from(name.as_str());
        let make = move |init: &StoreInit<'_>| -> Result<Box<dyn AnyStore>> {
            if init.caching {
                return Err(Error::topology(format!("store {known} is the application's own: it has no record cache")));
            }
            if !matches!(init.sharing, Sharing::Own) {
                return Err(Error::topology(format!("store {known} is the application's own: it cannot be global")));
            }
            let (partition, format) = (init.changelog.clone(), Format::Plain);
            let changelog = Changelog { partition, format, headers_format: false };
            Ok(Box::new(OwnStore { name: known.clone(), store: make(init.engine)?, changelog }))
        };
        StoreBuilder::new(name, StoreKind::KeyValue, Arc::new(make))
    }
}

impl<S: StateStore> StoreAccess<'_, OwnStore<S>> {
    /// Sends a change to the changelog, where the store has one: what [`restore`](StateStore::restore) is given if the
    /// store has to be made again. A later change of the same key replaces it there.
    ///
    /// # Errors
    /// If the producer has failed.
    pub fn log_change(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.store.changelog.log(self.rt.0, key, value)
    }
}

impl<S: StateStore> Deref for StoreAccess<'_, OwnStore<S>> {
    type Target = S;
    fn deref(&self) -> &S {
        &self.store.store
    }
}

impl<S: StateStore> DerefMut for StoreAccess<'_, OwnStore<S>> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.store.store
    }
}

impl<S: StateStore> AnyStore for OwnStore<S> {
    fn name(&self) -> &str {
        &self.name
    }
    fn flush_cache(&mut self, _rt: &mut Runtime) -> Result<Option<usize>> {
        Ok(None)
    }
    fn commit(&mut self, changelog_offset: Option<i64>) -> Result<()> {
        self.store.commit(changelog_offset)
    }
    fn committed_offset(&self) -> Result<Option<i64>> {
        self.store.committed_offset()
    }
    fn forget(&mut self) -> Result<bool> {
        self.store.forget()
    }
    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64) -> Result<()> {
        self.store.restore(key, value, timestamp)
    }
    fn persistent(&self) -> bool {
        self.store.persistent()
    }
    fn clear(&mut self) -> Result<()> {
        self.store.clear()
    }
    fn close(&mut self) -> Result<()> {
        self.store.close()
    }
}
