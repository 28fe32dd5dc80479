//! Joins of a table with another one by a key that is in the rows: inner and left (KIP-213).

mod build;
mod nodes;
mod wrapper;

use std::sync::Arc;

use super::KTable;
use crate::{
    data::{Data, Nullable},
    dsl::{TableOptions, UserError, materialized::KeyValueStores, sure, table_joined::TableJoined, user},
    error::Result,
};

/// The key of the other table that a row belongs to.
type ForeignKeyExtractor<K, V, KO> = Arc<dyn Fn(&K, &V) -> Result<Option<KO>> + Send + Sync>;
type Joiner<V, VO, R> = Arc<dyn Fn(&V, Option<&VO>) -> Result<Option<R>> + Send + Sync>;

/// What the user says of a foreign-key join.
struct Functions<K, V, KO, VO, R> {
    extractor: ForeignKeyExtractor<K, V, KO>,
    joiner: Joiner<V, VO, R>,
    left: bool,
}

fn extractor<K, V, F: Nullable, E: Into<UserError>>(
    extractor: impl Fn(&K, &V) -> Result<F, E> + Send + Sync + 'static,
) -> ForeignKeyExtractor<K, V, F::Some> {
    Arc::new(move |key, value| extractor(key, value).map(F::into_some).map_err(user))
}

impl<K: Data, V: Data> KTable<K, V> {
    /// The rows of this table, each joined with the row of `other` that it names: many rows may name the same one. An
    /// update of either side updates the result, whose keys are this table's.
    ///
    /// `foreign_key` finds the other table's key in a row; a row for which it is `None` joins nothing and counts as
    /// dropped. The tables need not have equally many partitions. Each row sends a subscription through a topic to where
    /// the other table's row is, and gets its answers through another topic; answers to an earlier value of the row are
    /// dropped, and count. So results come later than updates, and one update may be followed by a repeated result or
    /// by a repeated deletion.
    ///
    /// It makes the repartition topics `APPLICATION-…-SUBSCRIPTION-REGISTRATION-N-topic` and
    /// `APPLICATION-…-SUBSCRIPTION-RESPONSE-N-topic`, and the store `…-SUBSCRIPTION-STATE-STORE-N` with its changelog.
    /// Their bytes are Kafka's. As there, a value of the other table that has no bytes, such as an empty string, is
    /// taken for a missing row.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.table::<i64, String>("orders");
    /// let customers = builder.table::<String, String>("customers");
    /// let customer = |order: &String| order.split(':').next().map(str::to_owned);
    /// let named = orders.join_by_foreign_key(&customers, customer, |order, name| format!("{order} for {name}"));
    /// named.to_stream().to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// driver.input_topic::<i64, String>("orders").pipe(1, "c7:tea".to_owned())?;
    /// driver.input_topic::<i64, String>("orders").pipe(2, "c7:tin".to_owned())?;
    /// driver.input_topic::<String, String>("customers").pipe("c7".to_owned(), "Ada".to_owned())?;
    /// let out = driver.output_topic::<i64, String>("out");
    /// assert_eq!(out.read_values()?, ["c7:tea for Ada", "c7:tin for Ada"]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn join_by_foreign_key<F: Nullable, VO: Data, R: Nullable>(
        &self,
        other: &KTable<F::Some, VO>,
        foreign_key: impl Fn(&V) -> F + Send + Sync + 'static,
        joiner: impl Fn(&V, &VO) -> R + Send + Sync + 'static,
    ) -> KTable<K, R::Some> {
        self.join_by_foreign_key_with((), other, move |_, value| foreign_key(value), joiner)
    }

    /// [`join_by_foreign_key`](Self::join_by_foreign_key) with a name or partitioners, or into a store of this make, by
    /// a key that is found in key and value (KIP-1104).
    pub fn join_by_foreign_key_with<F: Nullable, VO: Data, R: Nullable>(
        &self,
        options: impl TableOptions<K, R::Some, KeyValueStores, TableJoined<K, F::Some>>,
        other: &KTable<F::Some, VO>,
        foreign_key: impl Fn(&K, &V) -> F + Send + Sync + 'static,
        joiner: impl Fn(&V, &VO) -> R + Send + Sync + 'static,
    ) -> KTable<K, R::Some> {
        let foreign_key = move |key: &K, value: &V| sure(foreign_key(key, value));
        self.try_join_by_foreign_key(options, other, foreign_key, move |value, other| sure(joiner(value, other)))
    }

    /// [`join_by_foreign_key_with`](Self::join_by_foreign_key_with) with functions that may fail; their errors go to the
    /// processing exception handler.
    pub fn try_join_by_foreign_key<F: Nullable, VO: Data, R: Nullable, E: Into<UserError>, G: Into<UserError>>(
        &self,
        options: impl TableOptions<K, R::Some, KeyValueStores, TableJoined<K, F::Some>>,
        other: &KTable<F::Some, VO>,
        foreign_key: impl Fn(&K, &V) -> Result<F, E> + Send + Sync + 'static,
        joiner: impl Fn(&V, &VO) -> Result<R, G> + Send + Sync + 'static,
    ) -> KTable<K, R::Some> {
        let joiner: Joiner<V, VO, R::Some> = Arc::new(move |value, other| match other {
            Some(other) => joiner(value, other).map(R::into_some).map_err(user),
            None => Ok(None),
        });
        let functions = Functions { extractor: extractor(foreign_key), joiner, left: false };
        let (joined, materialized) = options.chosen();
        build::join(self, other, functions, joined.unwrap_or_default(), materialized)
    }

    /// The rows of this table, each joined with the row of `other` that it names, where that is there.
    ///
    /// As [`join_by_foreign_key`](Self::join_by_foreign_key), but a row whose foreign key is `None`, or names a row that
    /// is missing, has a result too.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// let homes = builder.table::<String, String>("homes");
    /// let inhabitants = builder.table::<String, i64>("inhabitants");
    /// let sized = homes.left_join_by_foreign_key(&inhabitants, String::clone, |town, n| format!("{town} {n:?}"));
    /// sized.to_stream().to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// driver.input_topic::<String, String>("homes").pipe("ada".to_owned(), "Brno".to_owned())?;
    /// driver.input_topic::<String, i64>("inhabitants").pipe("Brno".to_owned(), 400_000)?;
    /// let out = driver.output_topic::<String, String>("out");
    /// assert_eq!(out.read_values()?, ["Brno None", "Brno Some(400000)"]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn left_join_by_foreign_key<F: Nullable, VO: Data, R: Nullable>(
        &self,
        other: &KTable<F::Some, VO>,
        foreign_key: impl Fn(&V) -> F + Send + Sync + 'static,
        joiner: impl Fn(&V, Option<&VO>) -> R + Send + Sync + 'static,
    ) -> KTable<K, R::Some> {
        self.left_join_by_foreign_key_with((), other, move |_, value| foreign_key(value), joiner)
    }

    /// [`left_join_by_foreign_key`](Self::left_join_by_foreign_key) with a name or partitioners, or into a store of this make, by
    /// a key that is found in key and value (KIP-1104).
    pub fn left_join_by_foreign_key_with<F: Nullable, VO: Data, R: Nullable>(
        &self,
        options: impl TableOptions<K, R::Some, KeyValueStores, TableJoined<K, F::Some>>,
        other: &KTable<F::Some, VO>,
        foreign_key: impl Fn(&K, &V) -> F + Send + Sync + 'static,
        joiner: impl Fn(&V, Option<&VO>) -> R + Send + Sync + 'static,
    ) -> KTable<K, R::Some> {
        let foreign_key = move |key: &K, value: &V| sure(foreign_key(key, value));
        self.try_left_join_by_foreign_key(options, other, foreign_key, move |value, other| sure(joiner(value, other)))
    }

    /// [`left_join_by_foreign_key_with`](Self::left_join_by_foreign_key_with) with functions that may fail; their errors go to the
    /// processing exception handler.
    pub fn try_left_join_by_foreign_key<F: Nullable, VO: Data, R: Nullable, E: Into<UserError>, G: Into<UserError>>(
        &self,
        options: impl TableOptions<K, R::Some, KeyValueStores, TableJoined<K, F::Some>>,
        other: &KTable<F::Some, VO>,
        foreign_key: impl Fn(&K, &V) -> Result<F, E> + Send + Sync + 'static,
        joiner: impl Fn(&V, Option<&VO>) -> Result<R, G> + Send + Sync + 'static,
    ) -> KTable<K, R::Some> {
        let joiner: Joiner<V, VO, R::Some> =
            Arc::new(move |value, other| joiner(value, other).map(R::into_some).map_err(user));
        let functions = Functions { extractor: extractor(foreign_key), joiner, left: true };
        let (joined, materialized) = options.chosen();
        build::join(self, other, functions, joined.unwrap_or_default(), materialized)
    }
}
