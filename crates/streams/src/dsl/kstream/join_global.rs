//! Joins of a stream with a global table: each record looks up a key that is made of it.

use std::{marker::PhantomData, rc::Rc, sync::Arc};

use super::{KStream, factory};
use crate::{
    builder::{GraphNode, Written},
    data::{Data, Flow, Nullable},
    dsl::{GlobalKTable, Named, Options, UserError, ktable::ValueGetter, options::name_of, sure, user},
    error::{Error, Result},
    record::Record,
    task::{Children, Process, TaskCtx},
    topology::{Instantiation, Topology},
};

impl<K: Nullable, V: Nullable> KStream<K, V> {
    /// Joins each record with the row of the global table whose key `selector` makes of the record, as it is at that
    /// moment; without a row there is no result. Records with a null value, and those whose selected key is null, are
    /// dropped. Only records of the stream make results, and they keep their key, so that nothing is repartitioned; the
    /// topics need not have equally many partitions.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// let cities = builder.global_table::<String, String>("cities");
    /// let visits = builder.stream::<Option<String>, String>("visits");
    /// visits.join_global(&cities, |_, visit| visit.clone(), |visit, country| format!("{visit}, {country}")).to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// driver.input_topic::<String, String>("cities").pipe("Praha".to_owned(), "Bohemia".to_owned())?;
    /// let visits = driver.input_topic::<Option<String>, String>("visits");
    /// visits.pipe(None, "Praha".to_owned())?;
    /// visits.pipe(None, "Atlantis".to_owned())?;
    /// assert_eq!(driver.output_topic::<Option<String>, String>("out").read_values()?, ["Praha, Bohemia"]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn join_global<N: Nullable, V2: Data, R: Flow>(
        &self,
        table: &GlobalKTable<N::Some, V2>,
        selector: impl Fn(&K, &V::Some) -> N + Send + Sync + 'static,
        joiner: impl Fn(V::Some, &V2) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        self.join_global_with((), table, selector, move |_, a, b| joiner(a, b))
    }

    /// [`join_global`](Self::join_global) under a name, with a joiner that sees the stream's key.
    pub fn join_global_with<N: Nullable, V2: Data, R: Flow>(
        &self,
        options: impl Options<Named>,
        table: &GlobalKTable<N::Some, V2>,
        selector: impl Fn(&K, &V::Some) -> N + Send + Sync + 'static,
        joiner: impl Fn(&K, V::Some, &V2) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        self.try_join_global(options, table, move |k, v| sure(selector(k, v)), move |k, a, b| sure(joiner(k, a, b)))
    }

    /// [`join_global_with`](Self::join_global_with) with functions that may fail.
    pub fn try_join_global<N: Nullable, V2: Data, R: Flow, E: Into<UserError>, F: Into<UserError>>(
        &self,
        options: impl Options<Named>,
        table: &GlobalKTable<N::Some, V2>,
        selector: impl Fn(&K, &V::Some) -> Result<N, E> + Send + Sync + 'static,
        joiner: impl Fn(&K, V::Some, &V2) -> Result<R, F> + Send + Sync + 'static,
    ) -> KStream<K, R> {
        let join = move |key: &K, value: V::Some, row: Option<&V2>| match row {
            Some(row) => joiner(key, value, row).map(Some).map_err(user),
            None => Ok(None),
        };
        self.join_global_rows(
            (name_of(options), false),
            table,
            move |key, value| selector(key, value).map_err(user),
            join,
        )
    }

    /// [`join_global`](Self::join_global), but a record whose selected key is null or has no row stays, joined with
    /// nothing. Records with a null value are dropped.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// let names = builder.global_table::<i64, String>("names");
    /// let calls = builder.stream::<String, i64>("calls");
    /// let named = calls.left_join_global(
    ///     &names,
    ///     |_, number| (*number > 0).then_some(*number),
    ///     |number, name| name.map_or_else(|| number.to_string(), String::clone),
    /// );
    /// named.to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// driver.input_topic::<i64, String>("names").pipe(112, "help".to_owned())?;
    /// let calls = driver.input_topic::<String, i64>("calls");
    /// for number in [112, 113, -1] {
    ///     calls.pipe("k".to_owned(), number)?;
    /// }
    /// assert_eq!(driver.output_topic::<String, String>("out").read_values()?, ["help", "113", "-1"]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn left_join_global<N: Nullable, V2: Data, R: Flow>(
        &self,
        table: &GlobalKTable<N::Some, V2>,
        selector: impl Fn(&K, &V::Some) -> N + Send + Sync + 'static,
        joiner: impl Fn(V::Some, Option<&V2>) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        self.left_join_global_with((), table, selector, move |_, a, b| joiner(a, b))
    }

    /// [`left_join_global`](Self::left_join_global) under a name, with a joiner that sees the stream's key.
    pub fn left_join_global_with<N: Nullable, V2: Data, R: Flow>(
        &self,
        options: impl Options<Named>,
        table: &GlobalKTable<N::Some, V2>,
        selector: impl Fn(&K, &V::Some) -> N + Send + Sync + 'static,
        joiner: impl Fn(&K, V::Some, Option<&V2>) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        self.try_left_join_global(
            options,
            table,
            move |k, v| sure(selector(k, v)),
            move |k, a, b| sure(joiner(k, a, b)),
        )
    }

    /// [`left_join_global_with`](Self::left_join_global_with) with functions that may fail.
    pub fn try_left_join_global<N: Nullable, V2: Data, R: Flow, E: Into<UserError>, F: Into<UserError>>(
        &self,
        options: impl Options<Named>,
        table: &GlobalKTable<N::Some, V2>,
        selector: impl Fn(&K, &V::Some) -> Result<N, E> + Send + Sync + 'static,
        joiner: impl Fn(&K, V::Some, Option<&V2>) -> Result<R, F> + Send + Sync + 'static,
    ) -> KStream<K, R> {
        let join = move |key: &K, value: V::Some, row: Option<&V2>| joiner(key, value, row).map(Some).map_err(user);
        self.join_global_rows(
            (name_of(options), true),
            table,
            move |key, value| selector(key, value).map_err(user),
            join,
        )
    }

    fn join_global_rows<N: Nullable, V2: Data, R: Flow>(
        &self,
        (name, left): (Option<String>, bool),
        table: &GlobalKTable<N::Some, V2>,
        select: impl Fn(&K, &V::Some) -> Result<N> + Send + Sync + 'static,
        join: impl Fn(&K, V::Some, Option<&V2>) -> Result<Option<R>> + Send + Sync + 'static,
    ) -> KStream<K, R> {
        let mut graph = self.graph.borrow_mut();
        if !Rc::ptr_eq(&self.graph, &table.graph) {
            let store = table.table.store_name();
            graph.fail(Error::topology(format!("{} and the global table {store} are of two builders", self.name)));
        }
        // Kafka's name of both kinds.
        let name = graph.name_or(name.as_deref(), "KSTREAM-LEFTJOIN-");
        let (getter, select, join) = (Arc::new(table.table.clone()), Arc::new(select), Arc::new(join));
        let node_name = Arc::<str>::from(name.as_str());
        let make = Arc::new(move |making: &mut Instantiation<'_>| {
            let node = JoinGlobalNode {
                select: select.clone(),
                join: join.clone(),
                getter: getter.clone() as Arc<dyn ValueGetter<N::Some, V2>>,
                left,
                children: making.children::<K, R>()?,
                id: making.node_id(),
                types: PhantomData,
            };
            making.place::<K, V>(node, false);
            Ok(())
        });
        let write = move |written: &Written<'_>, topology: &mut Topology| {
            topology.add_node(factory::<K, V, K, R>(&node_name, written.parents.clone(), make.clone()))
        };
        let node = graph
            .add(&[self.node], GraphNode { keeps_null_keys: left, ..GraphNode::new(name.clone(), Rc::new(write)) });
        self.below(node, &name).with_serdes(self.key_serde.clone(), None)
    }
}

struct JoinGlobalNode<N: Nullable, K, V, V2, R, S, F> {
    select: Arc<S>,
    join: Arc<F>,
    getter: Arc<dyn ValueGetter<N::Some, V2>>,
    left: bool,
    children: Children<K, R>,
    id: u32,
    types: PhantomData<fn(V)>,
}

impl<N, K, V, V2, R, S, F> JoinGlobalNode<N, K, V, V2, R, S, F>
where
    N: Nullable,
    K: Nullable,
    V: Nullable,
    V2: Data,
    R: Flow,
    S: Fn(&K, &V::Some) -> Result<N>,
    F: Fn(&K, V::Some, Option<&V2>) -> Result<Option<R>>,
{
    fn look_up(&mut self, record: Record<K, V>, ctx: &mut TaskCtx) -> Result<()> {
        ctx.rt.enter(&record);
        let (key, value, rest) = record.split();
        let Some(value) = value.into_some() else { return ctx.drop_record("its value is null") };
        let row = match (self.select)(&key, &value)?.as_some() {
            Some(selected) => self.getter.get(ctx, selected)?,
            None if self.left => None,
            None => return ctx.drop_record("its join key is null"),
        };
        match (self.join)(&key, value, row.as_ref().map(|row| &row.value))? {
            Some(joined) => self.children.forward(rest.with_key(key).with_value(joined), ctx),
            None => Ok(()),
        }
    }
}

impl<N, K, V, V2, R, S, F> Process<K, V> for JoinGlobalNode<N, K, V, V2, R, S, F>
where
    N: Nullable,
    K: Nullable,
    V: Nullable,
    V2: Data,
    R: Flow,
    S: Fn(&K, &V::Some) -> Result<N> + Send + Sync,
    F: Fn(&K, V::Some, Option<&V2>) -> Result<Option<R>> + Send + Sync,
{
    fn process(&mut self, record: Record<K, V>, ctx: &mut TaskCtx) -> Result<()> {
        self.look_up(record, ctx).or_else(|error| ctx.rt.settle(error, self.id))
    }
}
