//! Joins of a stream with a table: each record looks its key up.

use std::{collections::BTreeSet, convert::Infallible, marker::PhantomData, rc::Rc, sync::Arc};

use super::{KStream, factory};
use crate::{
    builder::{GraphNode, RepartitionNames, RepartitionSpec, Written},
    data::{Data, ErasedSerde, Flow, Nullable},
    dsl::{KTable, UserError, ktable::ValueGetter, options::Joined, user},
    error::{Error, Result},
    record::Record,
    task::{Children, Instantiation, Process, TaskCtx},
    topology::Topology,
};

impl<K: Nullable, V: Nullable> KStream<K, V> {
    /// Joins each record with the table's row of its key, as it is at that moment; without a row there is no result.
    /// Records with a null key or value are dropped. Only records of the stream make results. If the stream's key has
    /// changed it is repartitioned first; topics of both must have equally many partitions.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// let prices = builder.table::<String, i64>("prices");
    /// builder.stream::<String, i64>("orders").join(&prices, |n, price| n * price).to("totals");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// driver.input_topic::<String, i64>("prices").pipe("tea".to_owned(), 7)?;
    /// let orders = driver.input_topic::<String, i64>("orders");
    /// orders.pipe("tea".to_owned(), 3)?;
    /// orders.pipe("gin".to_owned(), 3)?;
    /// let totals = driver.output_topic::<String, i64>("totals");
    /// assert_eq!(totals.read_values()?, [21]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn join<V2: Data, R: Flow>(
        &self,
        table: &KTable<K::Some, V2>,
        joiner: impl Fn(V::Some, &V2) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        self.try_join(table, Joined::new(), move |_, a, b| Ok::<_, Infallible>(joiner(a, b)))
    }

    /// [`join`](Self::join) with a name, serdes or a grace period, and a joiner that sees the key and may fail.
    pub fn try_join<V2: Data, R: Flow, E: Into<UserError>>(
        &self,
        table: &KTable<K::Some, V2>,
        joined: Joined<K::Some, V::Some, V2>,
        joiner: impl Fn(&K, V::Some, &V2) -> Result<R, E> + Send + Sync + 'static,
    ) -> KStream<K, R> {
        let join = move |key: &K, value: V::Some, row: Option<&V2>| match row {
            Some(row) => joiner(key, value, row).map(Some).map_err(user),
            None => Ok(None),
        };
        self.join_rows(table, &joined, false, join)
    }

    /// Joins each record with the table's row of its key, or with none: a record whose key is null or has no row stays.
    pub fn left_join<V2: Data, R: Flow>(
        &self,
        table: &KTable<K::Some, V2>,
        joiner: impl Fn(V::Some, Option<&V2>) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        self.try_left_join(table, Joined::new(), move |_, a, b| Ok::<_, Infallible>(joiner(a, b)))
    }

    /// [`left_join`](Self::left_join) with a name, serdes or a grace period, and a joiner that sees the key and may
    /// fail.
    pub fn try_left_join<V2: Data, R: Flow, E: Into<UserError>>(
        &self,
        table: &KTable<K::Some, V2>,
        joined: Joined<K::Some, V::Some, V2>,
        joiner: impl Fn(&K, V::Some, Option<&V2>) -> Result<R, E> + Send + Sync + 'static,
    ) -> KStream<K, R> {
        let join = move |key: &K, value: V::Some, row: Option<&V2>| joiner(key, value, row).map(Some).map_err(user);
        self.join_rows(table, &joined, true, join)
    }

    fn join_rows<V2: Data, R: Flow>(
        &self,
        table: &KTable<K::Some, V2>,
        joined: &Joined<K::Some, V::Some, V2>,
        left: bool,
        join: impl Fn(&K, V::Some, Option<&V2>) -> Result<Option<R>> + Send + Sync + 'static,
    ) -> KStream<K, R> {
        let input = match self.repartition {
            true => self.repartition_for_join(joined.name(), joined.key_serde(), joined.value_serde()),
            false => self.clone(),
        };
        let mut graph = self.graph.borrow_mut();
        let sources: BTreeSet<String> = input.sources.union(&table.sources).cloned().collect();
        graph.copartition(sources.clone());
        let prefix = if left { "KSTREAM-LEFTJOIN-" } else { "KSTREAM-JOIN-" };
        let name = graph.name_or(joined.name(), prefix);
        if joined.grace().is_some() {
            graph.fail(Box::new(Error::Unsupported(format!("the grace period of the stream-table join {name}"))));
        }
        let (getter, join) = (table.supplier.view(), Arc::new(join));
        let mut stores = Vec::new();
        getter.stores(&mut stores);
        let node_name = Arc::<str>::from(name.as_str());
        let make = Arc::new(move |making: &mut Instantiation<'_>| {
            let node = JoinNode {
                join: join.clone(),
                getter: getter.clone(),
                left,
                children: making.children::<K, R>()?,
                id: making.node_id(),
                types: PhantomData,
            };
            making.place::<K, V>(node, false);
            Ok(())
        });
        let write = move |written: &Written<'_>, topology: &mut Topology| {
            topology.add_node(factory::<K, V, K, R>(&node_name, written.parents.clone(), make.clone()))?;
            stores.iter().try_for_each(|store| topology.connect(&node_name, *store))
        };
        let node = graph
            .add(&[input.node], GraphNode { keeps_null_keys: left, ..GraphNode::new(name.clone(), Rc::new(write)) });
        let key_serde = joined.key_serde().or_else(|| input.key_serde.clone());
        KStream::new(&self.graph, node, &name, Rc::new(sources)).with_serdes(key_serde, None)
    }

    /// This stream behind a repartition topic. Joins of the same stream share it unless they are named.
    pub(crate) fn repartition_for_join(
        &self,
        name: Option<&str>,
        key_serde: Option<ErasedSerde>,
        value_serde: Option<ErasedSerde>,
    ) -> Self {
        let mut graph = self.graph.borrow_mut();
        let names = RepartitionNames::new(&mut graph, name.unwrap_or(&self.name), name.is_some());
        let source = names.source.clone();
        let key_serde = key_serde.or_else(|| self.key_serde.clone());
        let value_serde = value_serde.or_else(|| self.value_serde.clone());
        let node = match self.join_repartition.get() {
            Some(node) if name.is_none_or(|name| *name == *self.name) => node,
            _ => {
                let spec = RepartitionSpec::<K, V>::new(names, key_serde.clone(), value_serde.clone());
                graph.add(&[self.node], spec.into_node())
            }
        };
        self.join_repartition.set(Some(node));
        KStream::new(&self.graph, node, &source, Rc::new([source.clone()].into())).with_serdes(key_serde, value_serde)
    }
}

struct JoinNode<K: Nullable, V, V2, R, F> {
    join: Arc<F>,
    getter: Arc<dyn ValueGetter<K::Some, V2>>,
    left: bool,
    children: Children<K, R>,
    id: u32,
    types: PhantomData<fn(V)>,
}

impl<K, V, V2, R, F> JoinNode<K, V, V2, R, F>
where
    K: Nullable,
    V: Nullable,
    V2: Data,
    R: Flow,
    F: Fn(&K, V::Some, Option<&V2>) -> Result<Option<R>>,
{
    fn look_up(&mut self, record: Record<K, V>, ctx: &mut TaskCtx) -> Result<()> {
        ctx.rt.enter(&record);
        let (key, value, rest) = record.split();
        let (row, value) = match (key.as_some(), value.into_some()) {
            (Some(some), Some(value)) if self.getter.is_versioned() => {
                (self.getter.get_as_of(ctx, some, rest.timestamp)?, value)
            }
            (Some(some), Some(value)) => (self.getter.get(ctx, some)?, value),
            (None, Some(value)) if self.left => (None, value),
            _ => return ctx.drop_record("its join key or value is null"),
        };
        match (self.join)(&key, value, row.as_ref().map(|row| &row.value))? {
            Some(joined) => self.children.forward(rest.with_key(key).with_value(joined), ctx),
            None => Ok(()),
        }
    }
}

impl<K, V, V2, R, F> Process<K, V> for JoinNode<K, V, V2, R, F>
where
    K: Nullable,
    V: Nullable,
    V2: Data,
    R: Flow,
    F: Fn(&K, V::Some, Option<&V2>) -> Result<Option<R>> + Send + Sync,
{
    fn process(&mut self, record: Record<K, V>, ctx: &mut TaskCtx) -> Result<()> {
        self.look_up(record, ctx).or_else(|error| ctx.rt.settle(error, self.id))
    }
}
