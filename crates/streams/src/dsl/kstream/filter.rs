//! `filter` and `filter_not`.

use super::{KStream, Op};
use crate::{
    data::Flow,
    dsl::{Named, Options, UserError, options::name_of, sure, user},
};

impl<K: Flow, V: Flow> KStream<K, V> {
    /// Keeps the records that satisfy a predicate; keys stay, so nothing is repartitioned.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("in").filter(|_, n| *n > 1).to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, i64>("in");
    /// for n in [1, 2, 3] {
    ///     input.pipe("k".to_owned(), n)?;
    /// }
    /// let out = driver.output_topic::<String, i64>("out");
    /// assert_eq!(out.read_values()?, [2, 3]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn filter(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.filter_with((), predicate)
    }

    /// [`filter`](Self::filter) under a name.
    pub fn filter_with(
        &self,
        options: impl Options<Named>,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.try_filter(options, move |k, v| sure(predicate(k, v)))
    }

    /// [`filter_with`](Self::filter_with) with a predicate that may fail; its error goes to the processing exception handler.
    pub fn try_filter<E: Into<UserError>>(
        &self,
        options: impl Options<Named>,
        predicate: impl Fn(&K, &V) -> Result<bool, E> + Send + Sync + 'static,
    ) -> Self {
        self.keep(options, true, predicate)
    }

    /// Drops the records that satisfy a predicate.
    pub fn filter_not(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.filter_not_with((), predicate)
    }

    /// [`filter_not`](Self::filter_not) under a name.
    pub fn filter_not_with(
        &self,
        options: impl Options<Named>,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.try_filter_not(options, move |k, v| sure(predicate(k, v)))
    }

    /// [`filter_not_with`](Self::filter_not_with) with a predicate that may fail.
    pub fn try_filter_not<E: Into<UserError>>(
        &self,
        options: impl Options<Named>,
        predicate: impl Fn(&K, &V) -> Result<bool, E> + Send + Sync + 'static,
    ) -> Self {
        self.keep(options, false, predicate)
    }

    fn keep<E: Into<UserError>>(
        &self,
        options: impl Options<Named>,
        wanted: bool,
        predicate: impl Fn(&K, &V) -> Result<bool, E> + Send + Sync + 'static,
    ) -> Self {
        self.op(Op::new("KSTREAM-FILTER-", name_of(options)), move |record, out, ctx| {
            match predicate(&record.key, &record.value).map_err(user)? == wanted {
                true => out.forward(record, ctx),
                false => Ok(()),
            }
        })
    }
}
