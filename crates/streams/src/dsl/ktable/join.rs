//! Joins of two tables by their keys: inner, left and outer.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    KTable, TableSupplier, ValueGetter,
    materialize::{Materialized as TableStoreSpec, Materializer},
};
use crate::{
    builder::{GraphNode, Written},
    data::{Data, Nullable},
    dsl::{TableOptions, UserError, kstream, materialized::MaterializedStore, options::named_table, sure, user},
    error::Result,
    record::{Change, Record, ValueAndTimestamp},
    task::{Children, Process, TaskCtx},
    topology::{Instantiation, Topology},
};

/// Both sides, of which the kind of join says which may be missing.
type Joiner<V1, V2, R> = Arc<dyn Fn(Option<&V1>, Option<&V2>) -> Result<Option<R>> + Send + Sync>;

/// Which side a row of the result needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Needs {
    this: bool,
    other: bool,
}

impl<K: Data, V: Data> KTable<K, V> {
    /// The rows that both tables have, joined; an update of either side updates the result.
    ///
    /// Rows meet by their key, so topics of both sides must have equally many partitions. A deletion of either side deletes
    /// the result; a joiner that gives `None` does too. The result's timestamp is the greater of both. Rows of both are in
    /// stores, their own or those of the tables above; the result has one only where it is given. Of versioned tables,
    /// updates that are older than their row do not count.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// let (price, stock) = (builder.table::<String, i64>("price"), builder.table::<String, i64>("stock"));
    /// price.join(&stock, |price, n| price * n).to_stream().to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// driver.input_topic::<String, i64>("price").pipe("tea".to_owned(), 3)?;
    /// driver.input_topic::<String, i64>("stock").pipe("tea".to_owned(), 10)?;
    /// let out = driver.output_topic::<String, i64>("out");
    /// assert_eq!(out.read_values()?, [30]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn join<V2: Data, R: Nullable>(
        &self,
        other: &KTable<K, V2>,
        joiner: impl Fn(&V, &V2) -> R + Send + Sync + 'static,
    ) -> KTable<K, R::Some> {
        self.join_with((), other, joiner)
    }

    /// [`join`](Self::join) with a name, or into a store of this make.
    pub fn join_with<V2: Data, R: Nullable>(
        &self,
        options: impl TableOptions<K, R::Some>,
        other: &KTable<K, V2>,
        joiner: impl Fn(&V, &V2) -> R + Send + Sync + 'static,
    ) -> KTable<K, R::Some> {
        self.try_join(options, other, move |a, b| sure(joiner(a, b)))
    }

    /// [`join_with`](Self::join_with) with a joiner that may fail; its error goes to the processing exception handler.
    pub fn try_join<V2: Data, R: Nullable, E: Into<UserError>>(
        &self,
        options: impl TableOptions<K, R::Some>,
        other: &KTable<K, V2>,
        joiner: impl Fn(&V, &V2) -> Result<R, E> + Send + Sync + 'static,
    ) -> KTable<K, R::Some> {
        let joiner: Joiner<V, V2, R::Some> = Arc::new(move |a, b| match (a, b) {
            (Some(a), Some(b)) => joiner(a, b).map(R::into_some).map_err(user),
            _ => Ok(None),
        });
        join_tables(self, other, options, joiner, Needs { this: true, other: true })
    }

    /// The rows of this table, joined with those of the other where it has them. A deletion of the other side joins the
    /// row again, with nothing. Otherwise as [`join`](Self::join).
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// let (price, stock) = (builder.table::<String, i64>("price"), builder.table::<String, i64>("stock"));
    /// price.left_join(&stock, |price, n| price * n.copied().unwrap_or(0)).to_stream().to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// driver.input_topic::<String, i64>("price").pipe("tea".to_owned(), 3)?;
    /// driver.input_topic::<String, i64>("stock").pipe("tea".to_owned(), 10)?;
    /// assert_eq!(driver.output_topic::<String, Option<i64>>("out").read_values()?, [Some(0), Some(30)]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn left_join<V2: Data, R: Nullable>(
        &self,
        other: &KTable<K, V2>,
        joiner: impl Fn(&V, Option<&V2>) -> R + Send + Sync + 'static,
    ) -> KTable<K, R::Some> {
        self.left_join_with((), other, joiner)
    }

    /// [`left_join`](Self::left_join) with a name, or into a store of this make.
    pub fn left_join_with<V2: Data, R: Nullable>(
        &self,
        options: impl TableOptions<K, R::Some>,
        other: &KTable<K, V2>,
        joiner: impl Fn(&V, Option<&V2>) -> R + Send + Sync + 'static,
    ) -> KTable<K, R::Some> {
        self.try_left_join(options, other, move |a, b| sure(joiner(a, b)))
    }

    /// [`left_join_with`](Self::left_join_with) with a joiner that may fail.
    pub fn try_left_join<V2: Data, R: Nullable, E: Into<UserError>>(
        &self,
        options: impl TableOptions<K, R::Some>,
        other: &KTable<K, V2>,
        joiner: impl Fn(&V, Option<&V2>) -> Result<R, E> + Send + Sync + 'static,
    ) -> KTable<K, R::Some> {
        let joiner: Joiner<V, V2, R::Some> = Arc::new(move |a, b| match a {
            Some(a) => joiner(a, b).map(R::into_some).map_err(user),
            None => Ok(None),
        });
        join_tables(self, other, options, joiner, Needs { this: true, other: false })
    }

    /// The rows that any of the tables has; at least one side is there. Otherwise as [`join`](Self::join).
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// let (north, south) = (builder.table::<String, i64>("north"), builder.table::<String, i64>("south"));
    /// let sum = |a: Option<&i64>, b: Option<&i64>| a.copied().unwrap_or(0) + b.copied().unwrap_or(0);
    /// north.outer_join(&south, sum).to_stream().to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// driver.input_topic::<String, i64>("south").pipe("tea".to_owned(), 3)?;
    /// driver.input_topic::<String, i64>("north").pipe("tea".to_owned(), 4)?;
    /// assert_eq!(driver.output_topic::<String, Option<i64>>("out").read_values()?, [Some(3), Some(7)]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn outer_join<V2: Data, R: Nullable>(
        &self,
        other: &KTable<K, V2>,
        joiner: impl Fn(Option<&V>, Option<&V2>) -> R + Send + Sync + 'static,
    ) -> KTable<K, R::Some> {
        self.outer_join_with((), other, joiner)
    }

    /// [`outer_join`](Self::outer_join) with a name, or into a store of this make.
    pub fn outer_join_with<V2: Data, R: Nullable>(
        &self,
        options: impl TableOptions<K, R::Some>,
        other: &KTable<K, V2>,
        joiner: impl Fn(Option<&V>, Option<&V2>) -> R + Send + Sync + 'static,
    ) -> KTable<K, R::Some> {
        self.try_outer_join(options, other, move |a, b| sure(joiner(a, b)))
    }

    /// [`outer_join_with`](Self::outer_join_with) with a joiner that may fail.
    pub fn try_outer_join<V2: Data, R: Nullable, E: Into<UserError>>(
        &self,
        options: impl TableOptions<K, R::Some>,
        other: &KTable<K, V2>,
        joiner: impl Fn(Option<&V>, Option<&V2>) -> Result<R, E> + Send + Sync + 'static,
    ) -> KTable<K, R::Some> {
        let joiner: Joiner<V, V2, R::Some> = Arc::new(move |a, b| joiner(a, b).map(R::into_some).map_err(user));
        join_tables(self, other, options, joiner, Needs { this: false, other: false })
    }
}

fn join_tables<K: Data, V: Data, V2: Data, R: Data>(
    this: &KTable<K, V>,
    other: &KTable<K, V2>,
    options: impl TableOptions<K, R>,
    joiner: Joiner<V, V2, R>,
    needs: Needs,
) -> KTable<K, R> {
    let (name, materialized) = named_table(options);
    let name = name.as_deref();
    let shared = this.graph.clone();
    let mut graph = shared.borrow_mut();
    let store = materialized.map(|materialized| {
        MaterializedStore::new(&mut graph, &materialized, "KTABLE-MERGE-").or_serdes(this.key_serde.clone(), None)
    });
    let merge_name = graph.name_or(name, "KTABLE-MERGE-");
    let sources: std::collections::BTreeSet<String> = this.sources.union(&other.sources).cloned().collect();
    graph.copartition(sources.clone());
    let left_outer = !needs.other;
    if left_outer {
        this.enable_sending_old_values(true);
    }
    if !needs.this {
        other.enable_sending_old_values(true);
    }
    let this_name = graph.name_with_suffix_or(name, "-join-this", "KTABLE-JOINTHIS-");
    let other_name = graph.name_with_suffix_or(name, "-join-other", "KTABLE-JOINOTHER-");
    let key_serde = store.as_ref().map_or(this.key_serde.clone(), |store| store.key_serde.clone());
    let value_serde = store.as_ref().and_then(|store| store.value_serde.clone());
    let queryable = store.as_ref().map(|store| store.store.clone());
    let table = Arc::new(JoinedTable {
        this: this.supplier.clone(),
        other: other.supplier.clone(),
        this_getter: this.supplier.view(),
        other_getter: other.supplier.view(),
        joiner,
        needs,
        store: store.map(|store| TableStoreSpec::new(&mut graph, store)),
        send_old: AtomicBool::new(false),
        this_versioned: AtomicBool::new(false),
        other_versioned: AtomicBool::new(false),
    });
    let (this_parent, other_parent) = (this.name.to_string(), other.name.to_string());
    let names = [&this_name, &other_name, &merge_name].map(|name| Arc::<str>::from(name.as_str()));
    let of = table.clone();
    let (this_side, other_side) = (this_parent.clone(), other_parent.clone());
    let write = move |_: &Written<'_>, topology: &mut Topology| {
        let [this_node, other_node, merge_node] = &names;
        let make = of.clone().make_this();
        topology.add_node(kstream::factory::<K, Change<V>, K, Change<R>>(this_node, vec![this_side.clone()], make))?;
        let make = of.clone().make_other();
        topology.add_node(kstream::factory::<K, Change<V2>, K, Change<R>>(
            other_node,
            vec![other_side.clone()],
            make,
        ))?;
        let parents = vec![this_node.to_string(), other_node.to_string()];
        let make = of.clone().make_merge();
        topology.add_node(kstream::factory::<K, Change<R>, K, Change<R>>(merge_node, parents, make))?;
        if let Some(store) = &of.store {
            store.add_store(topology, merge_node)?;
        }
        let mut ids = Vec::new();
        of.other_getter.stores(&mut ids);
        ids.drain(..).try_for_each(|id| topology.connect(this_node, id))?;
        of.this_getter.stores(&mut ids);
        ids.drain(..).try_for_each(|id| topology.connect(other_node, id))
    };
    let of = table.clone();
    let node = GraphNode {
        output_versioned: Some(of.store.as_ref().is_some_and(TableStoreSpec::is_versioned)),
        versioned_semantics: Some(Rc::new(move |on, parent| {
            if parent == this_parent {
                of.this_versioned.store(on, Ordering::Relaxed);
            }
            if parent == other_parent {
                of.other_versioned.store(on, Ordering::Relaxed);
            }
        })),
        ..GraphNode::new(merge_name.clone(), Rc::new(write))
    };
    let node = graph.add(&[this.node, other.node], node);
    KTable::new(&shared, node, &merge_name, Rc::new(sources), table)
        .with_serdes(key_serde, value_serde)
        .with_queryable(queryable)
}

struct JoinedTable<K, V, V2, R> {
    this: Arc<dyn TableSupplier<K, V>>,
    other: Arc<dyn TableSupplier<K, V2>>,
    this_getter: Arc<dyn ValueGetter<K, V>>,
    other_getter: Arc<dyn ValueGetter<K, V2>>,
    joiner: Joiner<V, V2, R>,
    needs: Needs,
    store: Option<TableStoreSpec<K, R>>,
    send_old: AtomicBool,
    this_versioned: AtomicBool,
    other_versioned: AtomicBool,
}

impl<K: Data, V: Data, V2: Data, R: Data> JoinedTable<K, V, V2, R> {
    fn make_this(self: Arc<Self>) -> crate::topology::MakeNode {
        Arc::new(move |making: &mut Instantiation<'_>| {
            let joiner = self.joiner.clone();
            let side = Side {
                getter: self.other_getter.clone(),
                join: move |mine: Option<&V>, theirs: Option<&V2>| joiner(mine, theirs),
                needs_mine: self.needs.this,
                needs_theirs: self.needs.other,
                versioned: self.this_versioned.load(Ordering::Relaxed),
                send_old: self.send_old.load(Ordering::Relaxed),
                children: making.children()?,
                id: making.node_id(),
                types: std::marker::PhantomData,
            };
            making.place::<K, Change<V>>(side, false);
            Ok(())
        })
    }

    fn make_other(self: Arc<Self>) -> crate::topology::MakeNode {
        Arc::new(move |making: &mut Instantiation<'_>| {
            let joiner = self.joiner.clone();
            let side = Side {
                getter: self.this_getter.clone(),
                join: move |mine: Option<&V2>, theirs: Option<&V>| joiner(theirs, mine),
                needs_mine: self.needs.other,
                needs_theirs: self.needs.this,
                versioned: self.other_versioned.load(Ordering::Relaxed),
                send_old: self.send_old.load(Ordering::Relaxed),
                children: making.children()?,
                id: making.node_id(),
                types: std::marker::PhantomData,
            };
            making.place::<K, Change<V2>>(side, false);
            Ok(())
        })
    }

    fn make_merge(self: Arc<Self>) -> crate::topology::MakeNode {
        Arc::new(move |making: &mut Instantiation<'_>| {
            let send_old = self.send_old.load(Ordering::Relaxed);
            let out = match &self.store {
                Some(store) => Materializer::new(making, store)?,
                None => Materializer::without_store(making, send_old)?,
            };
            let node = MergeNode { out, send_old, id: making.node_id() };
            let addressable = node.out.addressable();
            making.place::<K, Change<R>>(node, addressable);
            Ok(())
        })
    }
}

impl<K: Data, V: Data, V2: Data, R: Data> TableSupplier<K, R> for JoinedTable<K, V, V2, R> {
    fn enable_sending_old_values(&self, _force: bool) -> bool {
        self.this.enable_sending_old_values(true);
        self.other.enable_sending_old_values(true);
        if let Some(store) = &self.store {
            store.send_old();
        }
        self.send_old.store(true, Ordering::Relaxed);
        true
    }

    fn view(&self) -> Arc<dyn ValueGetter<K, R>> {
        match &self.store {
            Some(store) => Arc::new(store.clone()),
            None => Arc::new(JoinedGetter {
                this: self.this_getter.clone(),
                other: self.other_getter.clone(),
                joiner: self.joiner.clone(),
                needs: self.needs,
            }),
        }
    }
}

/// Joins the rows of both tables when it is asked.
struct JoinedGetter<K, V, V2, R> {
    this: Arc<dyn ValueGetter<K, V>>,
    other: Arc<dyn ValueGetter<K, V2>>,
    joiner: Joiner<V, V2, R>,
    needs: Needs,
}

impl<K: Data, V: Data, V2: Data, R: Data> ValueGetter<K, R> for JoinedGetter<K, V, V2, R> {
    fn get(&self, ctx: &mut TaskCtx, key: &K) -> Result<Option<ValueAndTimestamp<R>>> {
        let this = self.this.get(ctx, key)?;
        if this.is_none() && self.needs.this {
            return Ok(None);
        }
        let other = self.other.get(ctx, key)?;
        if (other.is_none() && self.needs.other) || (this.is_none() && other.is_none()) {
            return Ok(None);
        }
        let timestamp =
            this.as_ref().map_or(-1, |row| row.timestamp).max(other.as_ref().map_or(-1, |row| row.timestamp));
        let value = (self.joiner)(this.as_ref().map(|row| &row.value), other.as_ref().map(|row| &row.value))?;
        Ok(value.map(|value| ValueAndTimestamp::new(value, timestamp)))
    }

    fn stores(&self, ids: &mut Vec<usize>) {
        self.this.stores(ids);
        self.other.stores(ids);
    }
}

/// One side of a join: an update of mine looks at theirs.
struct Side<K, V, V2, R, F> {
    getter: Arc<dyn ValueGetter<K, V2>>,
    join: F,
    needs_mine: bool,
    needs_theirs: bool,
    versioned: bool,
    send_old: bool,
    children: Children<K, Change<R>>,
    id: u32,
    types: std::marker::PhantomData<fn(V)>,
}

impl<K: Data, V: Data, V2: Data, R: Data, F> Side<K, V, V2, R, F>
where
    F: Fn(Option<&V>, Option<&V2>) -> Result<Option<R>>,
{
    fn update(&mut self, record: Record<K, Change<V>>, ctx: &mut TaskCtx) -> Result<()> {
        ctx.rt.enter(&record);
        let (key, change, rest) = record.split();
        if self.versioned && !change.is_latest {
            return ctx.drop_record("it is out of order in a versioned table");
        }
        let theirs = self.getter.get(ctx, &key)?;
        let absent = change.new.is_none() && change.old.is_none();
        if theirs.is_none() && (self.needs_theirs || absent) {
            return Ok(());
        }
        let timestamp = theirs.as_ref().map_or(rest.timestamp, |row| row.timestamp.max(rest.timestamp));
        let theirs = theirs.as_ref().map(|row| &row.value);
        let join = |mine: Option<&V>| match (mine, theirs) {
            (None, _) if self.needs_mine => Ok(None),
            (None, None) => Ok(None),
            (mine, theirs) => (self.join)(mine, theirs),
        };
        let new = join(change.new.as_ref())?;
        let old = if self.send_old { join(change.old.as_ref())? } else { None };
        let change = Change { new, old, is_latest: change.is_latest };
        self.children.forward(rest.with_timestamp(timestamp).with_key(key).with_value(change), ctx)
    }
}

impl<K: Data, V: Data, V2: Data, R: Data, F> Process<K, Change<V>> for Side<K, V, V2, R, F>
where
    F: Fn(Option<&V>, Option<&V2>) -> Result<Option<R>> + Send,
{
    fn process(&mut self, record: Record<K, Change<V>>, ctx: &mut TaskCtx) -> Result<()> {
        self.update(record, ctx).or_else(|error| ctx.rt.settle(error, self.id))
    }
}

/// Where both sides meet: the result's store, if it has one.
struct MergeNode<K, R> {
    out: Materializer<K, R>,
    send_old: bool,
    id: u32,
}

impl<K: Data, R: Data> Process<K, Change<R>> for MergeNode<K, R> {
    fn init(&mut self, slot: usize, ctx: &mut TaskCtx) -> Result<()> {
        self.out.init(slot, ctx)
    }

    fn process(&mut self, mut record: Record<K, Change<R>>, ctx: &mut TaskCtx) -> Result<()> {
        ctx.rt.enter(&record);
        if !self.send_old {
            record.value.old = None;
        }
        self.out.put_and_forward(record, ctx).or_else(|error| ctx.rt.settle(error, self.id))
    }

    fn forward_flushed(&mut self, ctx: &mut TaskCtx) -> Result<()> {
        self.out.forward_flushed(ctx)
    }
}
