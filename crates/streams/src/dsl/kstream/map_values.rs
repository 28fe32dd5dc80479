//! `map_values`: a new value.

use std::convert::Infallible;

use super::{KStream, Op};
use crate::{
    data::Flow,
    dsl::{UserError, user},
};

impl<K: Flow, V: Flow> KStream<K, V> {
    /// Turns each value into another; keys stay, so nothing is repartitioned.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, String>("in").map_values(|v| v.to_uppercase()).to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, String>("in");
    /// input.pipe("k".to_owned(), "v".to_owned())?;
    /// let out = driver.output_topic::<String, String>("out");
    /// assert_eq!(out.read_values()?, ["V"]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn map_values<V2: Flow>(&self, mapper: impl Fn(V) -> V2 + Send + Sync + 'static) -> KStream<K, V2> {
        self.try_map_values(None, move |_, v| Ok::<_, Infallible>(mapper(v)))
    }

    /// [`map_values`](Self::map_values) under a name.
    pub fn map_values_named<V2: Flow>(
        &self,
        name: &str,
        mapper: impl Fn(V) -> V2 + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        self.try_map_values(Some(name), move |_, v| Ok::<_, Infallible>(mapper(v)))
    }

    /// [`map_values`](Self::map_values) with a function that also sees the key.
    pub fn map_values_with_key<V2: Flow>(
        &self,
        mapper: impl Fn(&K, V) -> V2 + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        self.try_map_values(None, move |k, v| Ok::<_, Infallible>(mapper(k, v)))
    }

    /// [`map_values_with_key`](Self::map_values_with_key) with a function that may fail; its error goes to the
    /// processing exception handler.
    pub fn try_map_values<V2: Flow, E: Into<UserError>>(
        &self,
        name: Option<&str>,
        mapper: impl Fn(&K, V) -> Result<V2, E> + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        self.op(Op::new("KSTREAM-MAPVALUES-", name).value(), move |record, out, ctx| {
            let (key, value, rest) = record.split();
            let value = mapper(&key, value).map_err(user)?;
            out.forward(rest.with_key(key).with_value(value), ctx)
        })
    }
}
