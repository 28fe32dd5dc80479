//! `select_key`: a new key.

use super::{KStream, Op};
use crate::{
    data::Flow,
    dsl::{Named, Options, UserError, options::name_of, sure, user},
};

impl<K: Flow, V: Flow> KStream<K, V> {
    /// Gives each record a new key; a grouping or join below repartitions.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<Option<String>, String>("in").select_key(|_, v| v.len() as i64).to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<Option<String>, String>("in");
    /// input.pipe(None, "four".to_owned())?;
    /// let out = driver.output_topic::<i64, String>("out");
    /// assert_eq!(out.read_key_values()?, [(4, "four".to_owned())]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn select_key<K2: Flow>(&self, selector: impl Fn(&K, &V) -> K2 + Send + Sync + 'static) -> KStream<K2, V> {
        self.select_key_with((), selector)
    }

    /// [`select_key`](Self::select_key) under a name.
    pub fn select_key_with<K2: Flow>(
        &self,
        options: impl Options<Named>,
        selector: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
    ) -> KStream<K2, V> {
        self.try_select_key(options, move |k, v| sure(selector(k, v)))
    }

    /// [`select_key_with`](Self::select_key_with) with a function that may fail; its error goes to the processing exception
    /// handler.
    pub fn try_select_key<K2: Flow, E: Into<UserError>>(
        &self,
        options: impl Options<Named>,
        selector: impl Fn(&K, &V) -> Result<K2, E> + Send + Sync + 'static,
    ) -> KStream<K2, V> {
        self.op(Op::new("KSTREAM-KEY-SELECT-", name_of(options)).key(), move |record, out, ctx| {
            let key = selector(&record.key, &record.value).map_err(user)?;
            out.forward(record.with_key(key), ctx)
        })
    }
}
