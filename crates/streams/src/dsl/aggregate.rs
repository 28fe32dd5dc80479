//! The aggregation of a grouped stream without windows: graph node and processor.

use std::{rc::Rc, sync::Arc};

use super::ktable::{
    materialize::{Materialized, Materializer},
    table_store::TableStore,
};
use crate::{
    builder::Write,
    data::{Data, Nullable},
    dsl::kstream,
    error::Result,
    record::{Change, Record},
    task::{Process, TaskCtx},
    topology::Instantiation,
};

/// Writes the node that aggregates into `table`.
pub(crate) fn write<K: Nullable, V: Nullable, A: Data>(
    name: &str,
    table: &Materialized<K::Some, A>,
    initializer: impl Fn() -> Result<Option<A>> + Send + Sync + 'static,
    aggregator: impl Fn(&K::Some, V::Some, Option<A>) -> Result<Option<A>> + Send + Sync + 'static,
) -> Write {
    let functions = Arc::new((initializer, aggregator));
    let of = table.clone();
    let make = Arc::new(move |making: &mut Instantiation<'_>| {
        let functions = functions.clone();
        let node = AggregateNode {
            initializer: {
                let functions = functions.clone();
                move || functions.0()
            },
            aggregator: move |key: &K::Some, value, sum| functions.1(key, value, sum),
            out: Materializer::new(making, &of)?,
            store: of.store(),
            id: making.node_id(),
        };
        let addressable = node.out.addressable();
        making.place::<K, V>(node, addressable);
        Ok(())
    });
    let (name, table) = (Arc::<str>::from(name), table.clone());
    Rc::new(move |node, topology| {
        let parents = node.parents.clone();
        topology.add_node(kstream::factory::<K, V, K::Some, Change<A>>(&name, parents, make.clone()))?;
        table.add_store(topology, &name)
    })
}

struct AggregateNode<K, A, I, F> {
    initializer: I,
    aggregator: F,
    store: TableStore<K, A>,
    out: Materializer<K, A>,
    id: u32,
}

impl<K, V, A, I, F> Process<K, V> for AggregateNode<K::Some, A, I, F>
where
    K: Nullable,
    V: Nullable,
    A: Data,
    I: Fn() -> Result<Option<A>> + Send,
    F: Fn(&K::Some, V::Some, Option<A>) -> Result<Option<A>> + Send,
{
    fn init(&mut self, slot: usize, ctx: &mut TaskCtx) -> Result<()> {
        self.out.init(slot, ctx)
    }

    fn process(&mut self, record: Record<K, V>, ctx: &mut TaskCtx) -> Result<()> {
        self.aggregate(record, ctx).or_else(|error| ctx.rt.settle(error, self.id))
    }

    fn forward_flushed(&mut self, ctx: &mut TaskCtx) -> Result<()> {
        self.out.forward_flushed(ctx)
    }
}

impl<K: Data, A: Data, I, F> AggregateNode<K, A, I, F>
where
    I: Fn() -> Result<Option<A>>,
{
    fn aggregate<KN, VN>(&mut self, record: Record<KN, VN>, ctx: &mut TaskCtx) -> Result<()>
    where
        KN: Nullable<Some = K>,
        VN: Nullable,
        F: Fn(&K, VN::Some, Option<A>) -> Result<Option<A>>,
    {
        ctx.rt.enter(&record);
        let (key, value, rest) = record.split();
        let (Some(key), Some(value)) = (key.into_some(), value.into_some()) else {
            return ctx.drop_record("its key or value is null");
        };
        let mut timestamp = rest.timestamp;
        let old = match self.store.get(ctx, &key)? {
            Some(old) => {
                timestamp = timestamp.max(old.timestamp);
                Some(old.value)
            }
            None => (self.initializer)()?,
        };
        let sent_old = if self.out.send_old() { old.clone() } else { None };
        let new = (self.aggregator)(&key, value, old)?;
        let record = rest.with_timestamp(timestamp).with_key(key).with_value(Change::new(new, sent_old));
        self.out.put_and_forward(record, ctx)
    }
}
