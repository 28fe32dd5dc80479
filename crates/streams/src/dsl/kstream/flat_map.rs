//! `flat_map` and `flat_map_values`: none, one or several records for one.

use super::{KStream, Op};
use crate::{
    data::Flow,
    dsl::{Named, Options, UserError, options::name_of, sure, user},
};

impl<K: Flow, V: Flow> KStream<K, V> {
    /// Turns each record into any number of records with new keys and values; a grouping or join below repartitions.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("in").flat_map(|k, n| (0..n).map(move |i| (i, k.clone())).collect::<Vec<_>>()).to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, i64>("in");
    /// input.pipe("k".to_owned(), 2)?;
    /// let out = driver.output_topic::<i64, String>("out");
    /// assert_eq!(out.read_key_values()?, [(0, "k".to_owned()), (1, "k".to_owned())]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn flat_map<K2: Flow, V2: Flow, I: IntoIterator<Item = (K2, V2)>>(
        &self,
        mapper: impl Fn(K, V) -> I + Send + Sync + 'static,
    ) -> KStream<K2, V2> {
        self.flat_map_with((), mapper)
    }

    /// [`flat_map`](Self::flat_map) under a name.
    pub fn flat_map_with<K2: Flow, V2: Flow, I: IntoIterator<Item = (K2, V2)>>(
        &self,
        options: impl Options<Named>,
        mapper: impl Fn(K, V) -> I + Send + Sync + 'static,
    ) -> KStream<K2, V2> {
        self.try_flat_map(options, move |k, v| sure(mapper(k, v)))
    }

    /// [`flat_map_with`](Self::flat_map_with) with a function that may fail; its error goes to the processing exception
    /// handler.
    pub fn try_flat_map<K2: Flow, V2: Flow, I: IntoIterator<Item = (K2, V2)>, E: Into<UserError>>(
        &self,
        options: impl Options<Named>,
        mapper: impl Fn(K, V) -> Result<I, E> + Send + Sync + 'static,
    ) -> KStream<K2, V2> {
        self.op(Op::new("KSTREAM-FLATMAP-", name_of(options)).key().value_lost(), move |record, out, ctx| {
            let (key, value, rest) = record.split();
            for (key, value) in mapper(key, value).map_err(user)? {
                out.forward(rest.clone().with_key(key).with_value(value), ctx)?;
            }
            Ok(())
        })
    }

    /// Turns each value into any number of values; keys stay, so nothing is repartitioned.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("in")
    ///     .flat_map_values(|v| v.split(' ').map(str::to_owned).collect::<Vec<_>>())
    ///     .to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, String>("in");
    /// input.pipe("k".to_owned(), "a b".to_owned())?;
    /// let out = driver.output_topic::<String, String>("out");
    /// assert_eq!(out.read_values()?, ["a", "b"]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn flat_map_values<I: IntoIterator<Item: Flow>>(
        &self,
        mapper: impl Fn(V) -> I + Send + Sync + 'static,
    ) -> KStream<K, I::Item> {
        self.flat_map_values_with((), move |_, v| mapper(v))
    }

    /// [`flat_map_values`](Self::flat_map_values) under a name, with a function that sees the key.
    pub fn flat_map_values_with<I: IntoIterator<Item: Flow>>(
        &self,
        options: impl Options<Named>,
        mapper: impl Fn(&K, V) -> I + Send + Sync + 'static,
    ) -> KStream<K, I::Item> {
        self.try_flat_map_values(options, move |k, v| sure(mapper(k, v)))
    }

    /// [`flat_map_values_with`](Self::flat_map_values_with) with a function that may fail.
    pub fn try_flat_map_values<I: IntoIterator<Item: Flow>, E: Into<UserError>>(
        &self,
        options: impl Options<Named>,
        mapper: impl Fn(&K, V) -> Result<I, E> + Send + Sync + 'static,
    ) -> KStream<K, I::Item> {
        self.op(Op::new("KSTREAM-FLATMAPVALUES-", name_of(options)).value(), move |record, out, ctx| {
            let (key, value, rest) = record.split();
            let values = mapper(&key, value).map_err(user)?;
            let rest = rest.with_key(key);
            for value in values {
                out.forward(rest.clone().with_value(value), ctx)?;
            }
            Ok(())
        })
    }
}
