//! The node that makes a stream a table: behind a source, or behind `to_table`.

use std::sync::Arc;

use super::{
    TableSupplier, ValueGetter,
    materialize::{Materialized, Materializer},
};
use crate::{
    data::{Data, Nullable},
    dsl::kstream,
    error::Result,
    record::{Change, Record},
    task::{Process, TaskCtx},
    topology::{Instantiation, NodeFactory},
};

/// A table that comes from a stream of upserts. It has a store only if somebody needs it.
pub(crate) struct SourceTable<K, V>(pub(crate) Materialized<K, V>);

impl<K: Data, V: Data> TableSupplier<K, V> for SourceTable<K, V> {
    fn enable_sending_old_values(&self, force: bool) -> bool {
        if !force && !self.0.is_materialized() {
            return false;
        }
        self.0.materialize();
        self.0.send_old();
        true
    }

    fn view(&self) -> Arc<dyn ValueGetter<K, V>> {
        self.0.materialize();
        Arc::new(self.0.clone())
    }
}

/// The node's factory; records are `(KN, VN)`, rows `(K, V)`.
pub(crate) fn node<KN, VN>(
    name: &Arc<str>,
    predecessors: Vec<String>,
    table: &Materialized<KN::Some, VN::Some>,
) -> NodeFactory
where
    KN: Nullable,
    VN: Nullable,
{
    let table = table.clone();
    let make = move |making: &mut Instantiation<'_>| {
        let node = SourceTableNode { out: Materializer::new(making, &table)?, id: making.node_id() };
        let addressable = node.out.addressable();
        making.place::<KN, VN>(node, addressable);
        Ok(())
    };
    kstream::factory::<KN, VN, KN::Some, Change<VN::Some>>(name, predecessors, Arc::new(make))
}

struct SourceTableNode<K, V> {
    out: Materializer<K, V>,
    id: u32,
}

impl<KN: Nullable, VN: Nullable> Process<KN, VN> for SourceTableNode<KN::Some, VN::Some> {
    fn init(&mut self, slot: usize, ctx: &mut TaskCtx) -> Result<()> {
        self.out.init(slot, ctx)
    }

    fn process(&mut self, record: Record<KN, VN>, ctx: &mut TaskCtx) -> Result<()> {
        ctx.rt.enter(&record);
        let (key, value, rest) = record.split();
        let Some(key) = key.into_some() else { return ctx.drop_record("its key is null") };
        let done = self.update(rest.with_key(key).with_value(value.into_some()), ctx);
        done.or_else(|error| ctx.rt.settle(error, self.id))
    }

    fn forward_flushed(&mut self, ctx: &mut TaskCtx) -> Result<()> {
        self.out.forward_flushed(ctx)
    }
}

impl<K: Data, V: Data> SourceTableNode<K, V> {
    fn update(&mut self, record: Record<K, Option<V>>, ctx: &mut TaskCtx) -> Result<()> {
        let mut old = None;
        if let Some(store) = self.out.store() {
            let row = store.get(ctx, &record.key)?;
            if let Some(row) = &row
                && record.timestamp < row.timestamp
            {
                ctx.rt.remark("updating a table", "out of order");
            }
            old = row.map(|row| row.value);
        }
        let (key, new, rest) = record.split();
        self.out.put_and_forward(rest.with_key(key).with_value(Change::new(new, old)), ctx)
    }
}
