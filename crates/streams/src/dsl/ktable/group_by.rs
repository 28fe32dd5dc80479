//! `group_by` of tables: rows move to another key, as what was subtracted and what is added.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::KTable;
use crate::{
    builder::GraphNode,
    data::{Data, Nullable},
    dsl::{Options, UserError, grouped_table::KGroupedTable, kstream::processor, sure, user},
    error::Result,
    options::Grouped,
    record::{Change, Record},
    task::{Children, Process, TaskCtx},
    topology::Instantiation,
};

impl<K: Data, V: Data> KTable<K, V> {
    /// Groups the rows by a new key, with a new value; they are repartitioned. A row whose new key or value is null
    /// does not take part.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// let towns = builder.table::<String, String>("home");
    /// towns.group_by(|person, town| (town.clone(), person.clone())).count().to_stream().to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, String>("home");
    /// input.pipe("ada".to_owned(), "Prague".to_owned())?;
    /// input.pipe("ada".to_owned(), "Brno".to_owned())?;
    /// let out = driver.output_topic::<String, i64>("out");
    /// let counts = [("Prague".to_owned(), 1), ("Prague".to_owned(), 0), ("Brno".to_owned(), 1)];
    /// assert_eq!(out.read_key_values()?, counts);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn group_by<K2, V2>(
        &self,
        selector: impl Fn(&K, &V) -> (K2, V2) + Send + Sync + 'static,
    ) -> KGroupedTable<K2::Some, V2::Some>
    where
        K2: Nullable<Some: PartialEq>,
        V2: Nullable,
    {
        self.group_by_with((), selector)
    }

    /// [`group_by`](Self::group_by) with a name or serdes for the repartition topic.
    pub fn group_by_with<K2, V2>(
        &self,
        options: impl Options<Grouped<K2::Some, V2::Some>>,
        selector: impl Fn(&K, &V) -> (K2, V2) + Send + Sync + 'static,
    ) -> KGroupedTable<K2::Some, V2::Some>
    where
        K2: Nullable<Some: PartialEq>,
        V2: Nullable,
    {
        self.try_group_by(options, move |k, v| sure(selector(k, v)))
    }

    /// [`group_by_with`](Self::group_by_with) with a function that may fail; its error goes to the processing exception
    /// handler.
    pub fn try_group_by<K2, V2, E>(
        &self,
        options: impl Options<Grouped<K2::Some, V2::Some>>,
        selector: impl Fn(&K, &V) -> Result<(K2, V2), E> + Send + Sync + 'static,
    ) -> KGroupedTable<K2::Some, V2::Some>
    where
        K2: Nullable<Some: PartialEq>,
        V2: Nullable,
        E: Into<UserError>,
    {
        let grouped = options.chosen().unwrap_or_default();
        let mut graph = self.graph.borrow_mut();
        let name = graph.name_or(grouped.name.as_deref(), "KTABLE-SELECT-");
        let selector = Arc::new(move |key: &K, value: &V| -> Result<Option<(K2::Some, V2::Some)>> {
            let (key, value) = selector(key, value).map_err(user)?;
            Ok(key.into_some().zip(value.into_some()))
        });
        let versioned = Arc::new(AtomicBool::new(false));
        let of = versioned.clone();
        let make = move |making: &mut Instantiation<'_>| {
            let node = SelectNode {
                selector: selector.clone(),
                versioned: of.load(Ordering::Relaxed),
                children: making.children::<K2::Some, Change<V2::Some>>()?,
                id: making.node_id(),
            };
            making.place::<K, Change<V>>(node, false);
            Ok(())
        };
        let write = processor::<K, Change<V>, K2::Some, Change<V2::Some>>(&name, Arc::new(make));
        let node = GraphNode {
            versioned_semantics: Some(Rc::new(move |on, _| versioned.store(on, Ordering::Relaxed))),
            ..GraphNode::new(name.clone(), write)
        };
        let node = graph.add(&[self.node], node);
        drop(graph);
        self.enable_sending_old_values(true);
        KGroupedTable::new(&self.graph, node, &grouped)
    }
}

struct SelectNode<F, K2, V2> {
    selector: Arc<F>,
    /// Whether the table above keeps versions; then out-of-order updates do not count.
    versioned: bool,
    children: Children<K2, Change<V2>>,
    id: u32,
}

impl<F, K2: Data + PartialEq, V2: Data> SelectNode<F, K2, V2> {
    fn select<K, V>(&mut self, record: Record<K, Change<V>>, ctx: &mut TaskCtx) -> Result<()>
    where
        F: Fn(&K, &V) -> Result<Option<(K2, V2)>>,
    {
        let (key, change, rest) = record.split();
        let is_latest = change.is_latest;
        if self.versioned && !is_latest {
            return Ok(());
        }
        let new = change.new.as_ref().map_or(Ok(None), |value| (self.selector)(&key, value))?;
        let old = change.old.as_ref().map_or(Ok(None), |value| (self.selector)(&key, value))?;
        match (old, new) {
            // One record for both (KIP-904), so that nobody sees the row gone in between.
            (Some((old_key, old)), Some((new_key, new))) if old_key == new_key => {
                let change = Change { old: Some(old), new: Some(new), is_latest };
                self.children.forward(rest.with_key(new_key).with_value(change), ctx)
            }
            (old, new) => {
                if let Some((key, old)) = old {
                    let change = Change { old: Some(old), new: None, is_latest };
                    self.children.forward(rest.clone().with_key(key).with_value(change), ctx)?;
                }
                if let Some((key, new)) = new {
                    let change = Change { old: None, new: Some(new), is_latest };
                    self.children.forward(rest.with_key(key).with_value(change), ctx)?;
                }
                Ok(())
            }
        }
    }
}

impl<F, K, V, K2, V2> Process<K, Change<V>> for SelectNode<F, K2, V2>
where
    F: Fn(&K, &V) -> Result<Option<(K2, V2)>> + Send + Sync,
    K2: Data + PartialEq,
    V2: Data,
{
    fn process(&mut self, record: Record<K, Change<V>>, ctx: &mut TaskCtx) -> Result<()> {
        self.select(record, ctx).or_else(|error| ctx.rt.settle(error, self.id))
    }
}
