//! `transform_values`: new values by a transformer that has state.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use super::{
    KTable, ValueGetter,
    derived::{Derivation, Derived, Deriver},
};
use crate::{
    data::Data,
    dsl::{Named, TableOptions, TransformOptions, materialized::Materialized, options::named_table},
    error::{Error, Result},
    guard::guarded,
    processing::{RecordContext, RecordMetadata},
    record::{Headers, ValueAndTimestamp},
    store::{StoreAccess, StoreHandle, StoreRef, StoreSet},
    task::TaskCtx,
    task_id::TaskId,
};

/// Makes new values of a table's rows, with stores at hand: Kafka's `ValueTransformerWithKey`.
///
/// A deleted row is asked about too, with no value. Without a store of its own the result is made again whenever
/// somebody below reads a row, by another instance; so a transformer that answers differently each time wants a
/// [`Materialized`] with a name.
pub trait ValueTransformerWithKey<K, V>: Send + 'static {
    /// The values it makes.
    type Out: Data;

    /// Before the first row.
    ///
    /// # Errors
    /// Stops the task.
    fn init(&mut self, _ctx: &mut TransformerContext<'_>) -> Result<()> {
        Ok(())
    }

    /// The new value of a row; `None` deletes it.
    ///
    /// # Errors
    /// Go to the processing exception handler.
    fn transform(&mut self, key: &K, value: Option<V>, ctx: &mut TransformerContext<'_>) -> Result<Option<Self::Out>>;
}

/// What a [`ValueTransformerWithKey`] sees of its task. It cannot forward.
pub struct TransformerContext<'a> {
    task: &'a mut TaskCtx,
    stores: &'a [(usize, String)],
}

impl std::fmt::Debug for TransformerContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransformerContext").field("task", &self.task.rt.task_id).finish_non_exhaustive()
    }
}

impl TransformerContext<'_> {
    /// A store that the transformer was connected with.
    ///
    /// # Errors
    /// If the handle is of another topology.
    pub fn store<S: 'static>(&mut self, handle: StoreHandle<S>) -> Result<StoreAccess<'_, S>> {
        let (store, rt) = self.task.store(handle)?;
        Ok(StoreAccess::new(store, rt))
    }

    /// A store by its name and type, for code that learns of them only at run time.
    ///
    /// # Errors
    /// If the transformer is not connected with such a store, or it is of another type.
    pub fn state_store<S: 'static>(&mut self, name: &str) -> Result<StoreAccess<'_, S>> {
        let connected = self.stores.iter().find(|(_, known)| known == name).map(|(id, _)| *id);
        let Some(id) = self.task.global_store(name).or(connected) else {
            return Err(Error::streams(format!("the transformer has no access to store {name}: it is not connected")));
        };
        let (store, rt) = self
            .task
            .store(StoreRef::<S>::new(id).handle())
            .map_err(|_| Error::streams(format!("store {name} is of another type than the transformer expects")))?;
        Ok(StoreAccess::new(store, rt))
    }

    /// Where the row at work comes from; without topic where it is read and not updated.
    #[must_use]
    pub fn record_metadata(&self) -> Option<RecordMetadata<'_>> {
        self.task.rt.context.known.then(|| RecordMetadata::of(&self.task.rt.context))
    }

    /// The row's timestamp in ms since the epoch, -1 for a row that is not there.
    #[must_use]
    pub fn timestamp(&self) -> i64 {
        self.task.rt.context.timestamp
    }

    /// The task.
    #[must_use]
    pub fn task_id(&self) -> TaskId {
        self.task.rt.task_id
    }

    /// `application.id`.
    #[must_use]
    pub fn application_id(&self) -> &str {
        self.task.rt.config.application_id()
    }
}

type Make<T> = Arc<dyn Fn() -> T + Send + Sync>;

impl<K: Data, V: Data> KTable<K, V> {
    /// New values by a transformer; the factory makes one instance for each task.
    ///
    /// The keys stay, so nothing is repartitioned. The result has a store only if a [`Materialized`](crate::Materialized) names one.
    ///
    /// ```
    /// # use vltava_streams::{Result, StreamsBuilder, TopologyTestDriver};
    /// # use vltava_streams::dsl::{TransformerContext, ValueTransformerWithKey};
    /// struct Numbered(u64);
    /// impl ValueTransformerWithKey<String, String> for Numbered {
    ///     type Out = String;
    ///     fn transform(&mut self, _: &String, v: Option<String>, _: &mut TransformerContext<'_>) -> Result<Option<String>> {
    ///         self.0 += 1;
    ///         Ok(v.map(|v| format!("{v} #{}", self.0)))
    ///     }
    /// }
    /// let builder = StreamsBuilder::new();
    /// builder.table::<String, String>("in").transform_values(|| Numbered(0)).to_stream().to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, String>("in");
    /// input.pipe("k".to_owned(), "a".to_owned())?;
    /// input.pipe("k".to_owned(), "b".to_owned())?;
    /// assert_eq!(driver.output_topic::<String, String>("out").read_values()?, ["a #1", "b #2"]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn transform_values<T: ValueTransformerWithKey<K, V>>(
        &self,
        make: impl Fn() -> T + Send + Sync + 'static,
    ) -> KTable<K, T::Out> {
        self.transform_values_with((), move |()| make())
    }

    /// [`transform_values`](Self::transform_values) with stores, whose handles only the factory gets, with a name, or into a
    /// store of this make.
    pub fn transform_values_with<O, T>(
        &self,
        options: O,
        make: impl Fn(<O::Stores as StoreSet>::Handles) -> T + Send + Sync + 'static,
    ) -> KTable<K, T::Out>
    where
        O: TransformOptions<K, T::Out>,
        T: ValueTransformerWithKey<K, V>,
    {
        let ((named, stores, materialized), mut ids) = (options.chosen(), Vec::new());
        stores.ids(&mut ids);
        let make = Arc::new(move || make(stores.handles()));
        self.transform((named.map(Named::into_inner), materialized), ids, make)
    }

    /// [`transform_values_with`](Self::transform_values_with) with stores by their names, which the transformer looks up
    /// in its context.
    #[doc(hidden)]
    pub fn transform_values_by_name<T: ValueTransformerWithKey<K, V>>(
        &self,
        options: impl TableOptions<K, T::Out>,
        stores: &[&str],
        make: impl Fn() -> T + Send + Sync + 'static,
    ) -> KTable<K, T::Out> {
        let ids = stores.iter().map(|store| self.graph.borrow_mut().store_id(store)).collect();
        self.transform(named_table(options), ids, Arc::new(make))
    }

    fn transform<T: ValueTransformerWithKey<K, V>>(
        &self,
        options: (Option<String>, Option<Materialized<K, T::Out>>),
        stores: Vec<usize>,
        make: Make<T>,
    ) -> KTable<K, T::Out> {
        let graph = self.graph.borrow();
        let connected = stores.iter().map(|id| (*id, graph.store_name(*id).to_owned())).collect();
        drop(graph);
        let how = Transformation { make, stores: connected };
        self.derive(options, Derived { stores, ..Derived::new("KTABLE-TRANSFORMVALUES-", how) })
    }
}

struct Transformation<T> {
    make: Make<T>,
    stores: Arc<[(usize, String)]>,
}

impl<K: Data, V: Data, T: ValueTransformerWithKey<K, V>> Derivation<K, V, T::Out> for Transformation<T> {
    type Deriver = Transformer<T>;

    fn deriver(&self) -> Self::Deriver {
        Transformer { transformer: (self.make)(), stores: self.stores.clone() }
    }

    fn view(&self, parent: Arc<dyn ValueGetter<K, V>>) -> Arc<dyn ValueGetter<K, T::Out>> {
        let (make, stores) = (self.make.clone(), self.stores.clone());
        Arc::new(TransformedGetter { parent, make, stores, instances: Mutex::default() })
    }
}

/// Reads rows through the table above, each task by an instance of its own.
struct TransformedGetter<K, V, T> {
    parent: Arc<dyn ValueGetter<K, V>>,
    make: Make<T>,
    stores: Arc<[(usize, String)]>,
    instances: Mutex<HashMap<TaskId, T>>,
}

impl<K: Data, V: Data, T: ValueTransformerWithKey<K, V>> TransformedGetter<K, V, T> {
    fn transform(
        &self,
        key: &K,
        row: Option<ValueAndTimestamp<V>>,
        ctx: &mut TaskCtx,
    ) -> Result<Option<ValueAndTimestamp<T::Out>>> {
        let timestamp = row.as_ref().map_or(-1, |row| row.timestamp);
        // Nothing is known of where the row came from.
        let unknown = RecordContext {
            known: true,
            topic: None,
            partition: -1,
            offset: -1,
            timestamp,
            headers: Headers::new(),
            ..RecordContext::default()
        };
        let task = ctx.rt.task_id;
        let current = std::mem::replace(&mut ctx.rt.context, unknown);
        let instance = self.instances.lock().remove(&task);
        let done = (|| {
            let mut ctx = TransformerContext { task: ctx, stores: &self.stores };
            let mut transformer = match instance {
                Some(transformer) => transformer,
                None => {
                    let mut transformer = (self.make)();
                    transformer.init(&mut ctx)?;
                    transformer
                }
            };
            let value = transformer.transform(key, row.map(|row| row.value), &mut ctx);
            self.instances.lock().insert(task, transformer);
            value
        })();
        ctx.rt.context = current;
        Ok(done?.map(|value| ValueAndTimestamp::new(value, timestamp)))
    }
}

impl<K: Data, V: Data, T: ValueTransformerWithKey<K, V>> ValueGetter<K, T::Out> for TransformedGetter<K, V, T> {
    fn get(&self, ctx: &mut TaskCtx, key: &K) -> Result<Option<ValueAndTimestamp<T::Out>>> {
        let row = self.parent.get(ctx, key)?;
        self.transform(key, row, ctx)
    }

    fn get_as_of(&self, ctx: &mut TaskCtx, key: &K, as_of: i64) -> Result<Option<ValueAndTimestamp<T::Out>>> {
        let row = self.parent.get_as_of(ctx, key, as_of)?;
        self.transform(key, row, ctx)
    }

    fn is_versioned(&self) -> bool {
        self.parent.is_versioned()
    }

    fn stores(&self, ids: &mut Vec<usize>) {
        self.parent.stores(ids);
    }
}

struct Transformer<T> {
    transformer: T,
    stores: Arc<[(usize, String)]>,
}

impl<K: Data, V: Data, T: ValueTransformerWithKey<K, V>> Deriver<K, V, T::Out> for Transformer<T> {
    const HAS_INIT: bool = true;

    fn init(&mut self, node: u32, ctx: &mut TaskCtx) -> Result<()> {
        let done = guarded(|| self.transformer.init(&mut TransformerContext { task: ctx, stores: &self.stores }));
        done.map_err(|source| {
            let (node, task) = (ctx.rt.node_name(node).to_owned(), ctx.rt.task_id.to_string());
            Box::new(Error::Processing { node, task, position: None, source })
        })
    }

    fn derive(&mut self, key: &K, value: Option<V>, ctx: &mut TaskCtx) -> Result<Option<T::Out>> {
        self.transformer.transform(key, value, &mut TransformerContext { task: ctx, stores: &self.stores })
    }
}
