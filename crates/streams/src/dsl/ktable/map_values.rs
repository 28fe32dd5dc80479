//! `map_values` of tables.

use std::sync::Arc;

use super::{
    KTable,
    derived::{Derived, Mapper},
};
use crate::{
    data::{Data, Nullable},
    dsl::{TableOptions, UserError, options::named_table, sure, user},
    error::Result,
};

impl<K: Data, V: Data> KTable<K, V> {
    /// Turns the value of every row into another; a function that gives an `Option` deletes rows by `None`.
    ///
    /// The result has no store: whoever reads it maps what the table above has.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder.table::<String, i64>("in").map_values(|n| n * 10).to_stream().to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, i64>("in");
    /// input.pipe("k".to_owned(), 2)?;
    /// let out = driver.output_topic::<String, i64>("out");
    /// assert_eq!(out.read_values()?, [20]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn map_values<R: Nullable>(&self, mapper: impl Fn(V) -> R + Send + Sync + 'static) -> KTable<K, R::Some> {
        self.map_values_with((), move |_, v| mapper(v))
    }

    /// [`map_values`](Self::map_values) with a name, or into a store of this make, with a function that sees the key.
    pub fn map_values_with<R: Nullable>(
        &self,
        options: impl TableOptions<K, R::Some>,
        mapper: impl Fn(&K, V) -> R + Send + Sync + 'static,
    ) -> KTable<K, R::Some> {
        self.try_map_values(options, move |k, v| sure(mapper(k, v)))
    }

    /// [`map_values_with`](Self::map_values_with) with a function that may fail; its error goes to the processing exception
    /// handler.
    pub fn try_map_values<R: Nullable, E: Into<UserError>>(
        &self,
        options: impl TableOptions<K, R::Some>,
        mapper: impl Fn(&K, V) -> Result<R, E> + Send + Sync + 'static,
    ) -> KTable<K, R::Some> {
        let mapper: Mapper<K, V, R::Some> = Arc::new(move |k, v| mapper(k, v).map(R::into_some).map_err(user));
        self.derive(named_table(options), Derived::new("KTABLE-MAPVALUES-", mapper))
    }
}
