//! `map`: a new key and a new value.

use super::{KStream, Op};
use crate::{
    data::Flow,
    dsl::{Named, Options, UserError, options::name_of, sure, user},
};

impl<K: Flow, V: Flow> KStream<K, V> {
    /// Turns each record into one with a new key and value; a grouping or join below repartitions.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("in").map(|k, n| (n, k)).to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, i64>("in");
    /// input.pipe("k".to_owned(), 7)?;
    /// let out = driver.output_topic::<i64, String>("out");
    /// assert_eq!(out.read_key_values()?, [(7, "k".to_owned())]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn map<K2: Flow, V2: Flow>(
        &self,
        mapper: impl Fn(K, V) -> (K2, V2) + Send + Sync + 'static,
    ) -> KStream<K2, V2> {
        self.map_with((), mapper)
    }

    /// [`map`](Self::map) under a name.
    pub fn map_with<K2: Flow, V2: Flow>(
        &self,
        options: impl Options<Named>,
        mapper: impl Fn(K, V) -> (K2, V2) + Send + Sync + 'static,
    ) -> KStream<K2, V2> {
        self.try_map(options, move |k, v| sure(mapper(k, v)))
    }

    /// [`map_with`](Self::map_with) with a function that may fail; its error goes to the processing exception handler.
    pub fn try_map<K2: Flow, V2: Flow, E: Into<UserError>>(
        &self,
        options: impl Options<Named>,
        mapper: impl Fn(K, V) -> Result<(K2, V2), E> + Send + Sync + 'static,
    ) -> KStream<K2, V2> {
        self.op(Op::new("KSTREAM-MAP-", name_of(options)).key().value_lost(), move |record, out, ctx| {
            let (key, value, rest) = record.split();
            let (key, value) = mapper(key, value).map_err(user)?;
            out.forward(rest.with_key(key).with_value(value), ctx)
        })
    }
}
