//! `map_values`: a new value.

use super::{KStream, Op};
use crate::{
    data::Flow,
    dsl::{Named, Options, UserError, options::name_of, sure, user},
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
        self.map_values_with((), move |_, v| mapper(v))
    }

    /// [`map_values`](Self::map_values) under a name, with a function that sees the key.
    pub fn map_values_with<V2: Flow>(
        &self,
        options: impl Options<Named>,
        mapper: impl Fn(&K, V) -> V2 + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        self.try_map_values(options, move |k, v| sure(mapper(k, v)))
    }

    /// [`map_values_with`](Self::map_values_with) with a function that may fail; its error goes to the processing exception
    /// handler.
    pub fn try_map_values<V2: Flow, E: Into<UserError>>(
        &self,
        options: impl Options<Named>,
        mapper: impl Fn(&K, V) -> Result<V2, E> + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        self.op(Op::new("KSTREAM-MAPVALUES-", name_of(options)).value(), move |record, out, ctx| {
            let (key, value, rest) = record.split();
            let value = mapper(&key, value).map_err(user)?;
            out.forward(rest.with_key(key).with_value(value), ctx)
        })
    }
}
