//! `group_by_key` and `group_by`: towards an aggregation.

use super::{KStream, Op};
use crate::{
    data::Nullable,
    dsl::{KGroupedStream, Options, UserError, sure, user},
    options::Grouped,
};

impl<K: Nullable, V: Nullable> KStream<K, V> {
    /// Groups the records by the key they have. If the key has changed on the way they are repartitioned first, through
    /// a topic named after the grouping, or after the store of the aggregation. Records with a null key are dropped.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("in").group_by_key().reduce(|a, b| a + b).to_stream().to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, i64>("in");
    /// input.pipe("k".to_owned(), 1)?;
    /// input.pipe("k".to_owned(), 2)?;
    /// assert_eq!(driver.output_topic::<String, Option<i64>>("out").read_values()?, [Some(1), Some(3)]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn group_by_key(&self) -> KGroupedStream<K, V> {
        self.group_by_key_with(())
    }

    /// [`group_by_key`](Self::group_by_key) with a name or serdes for the repartition topic. Serdes that a [`Grouped`] has
    /// not are not inherited.
    pub fn group_by_key_with(&self, options: impl Options<Grouped<K::Some, V::Some>>) -> KGroupedStream<K, V> {
        let inherited = || Grouped::from_erased(self.key_serde.clone(), self.value_serde.clone());
        let grouped = options.chosen().unwrap_or_else(inherited);
        if let Some(name) = &grouped.name {
            self.graph.borrow_mut().validate_name(name);
        }
        KGroupedStream::new(self.clone(), grouped)
    }

    /// Groups the records by a new key; they are repartitioned. Records whose new key is null are dropped at the
    /// aggregation.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<Option<String>, String>("in").group_by(|_, v| v.clone()).count().to_stream().to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<Option<String>, String>("in");
    /// for word in ["a", "b", "a"] {
    ///     input.pipe(None, word.to_owned())?;
    /// }
    /// let out = driver.output_topic::<String, i64>("out");
    /// let counts = [("a".to_owned(), 1), ("b".to_owned(), 1), ("a".to_owned(), 2)];
    /// assert_eq!(out.read_key_values()?, counts);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn group_by<K2: Nullable>(
        &self,
        selector: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
    ) -> KGroupedStream<K2, V> {
        self.group_by_with((), selector)
    }

    /// [`group_by`](Self::group_by) with a name or serdes for the repartition topic. Serdes that a [`Grouped`] has not are
    /// not inherited.
    pub fn group_by_with<K2: Nullable>(
        &self,
        options: impl Options<Grouped<K2::Some, V::Some>>,
        selector: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
    ) -> KGroupedStream<K2, V> {
        self.try_group_by(options, move |k, v| sure(selector(k, v)))
    }

    /// [`group_by_with`](Self::group_by_with) with a function that may fail; its error goes to the processing exception
    /// handler.
    pub fn try_group_by<K2: Nullable, E: Into<UserError>>(
        &self,
        options: impl Options<Grouped<K2::Some, V::Some>>,
        selector: impl Fn(&K, &V) -> Result<K2, E> + Send + Sync + 'static,
    ) -> KGroupedStream<K2, V> {
        let grouped = options.chosen().unwrap_or_else(|| Grouped::from_erased(None, self.value_serde.clone()));
        let name = grouped.name.clone();
        let keyed = self.op(Op::new("KSTREAM-KEY-SELECT-", name).key(), move |record, out, ctx| {
            let key = selector(&record.key, &record.value).map_err(user)?;
            out.forward(record.with_key(key), ctx)
        });
        KGroupedStream::new(keyed, grouped)
    }
}
