//! `filter` and `filter_not`.

use std::convert::Infallible;

use super::{KStream, Op};
use crate::{
    data::Flow,
    dsl::{UserError, user},
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
        self.keep(None, true, move |k, v| Ok::<_, Infallible>(predicate(k, v)))
    }

    /// [`filter`](Self::filter) under a name.
    pub fn filter_named(&self, name: &str, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.keep(Some(name), true, move |k, v| Ok::<_, Infallible>(predicate(k, v)))
    }

    /// [`filter`](Self::filter) with a predicate that may fail; its error goes to the processing exception handler.
    pub fn try_filter<E: Into<UserError>>(
        &self,
        name: Option<&str>,
        predicate: impl Fn(&K, &V) -> Result<bool, E> + Send + Sync + 'static,
    ) -> Self {
        self.keep(name, true, predicate)
    }

    /// Drops the records that satisfy a predicate.
    pub fn filter_not(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.keep(None, false, move |k, v| Ok::<_, Infallible>(predicate(k, v)))
    }

    /// [`filter_not`](Self::filter_not) under a name.
    pub fn filter_not_named(&self, name: &str, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.keep(Some(name), false, move |k, v| Ok::<_, Infallible>(predicate(k, v)))
    }

    /// [`filter_not`](Self::filter_not) with a predicate that may fail.
    pub fn try_filter_not<E: Into<UserError>>(
        &self,
        name: Option<&str>,
        predicate: impl Fn(&K, &V) -> Result<bool, E> + Send + Sync + 'static,
    ) -> Self {
        self.keep(name, false, predicate)
    }

    fn keep<E: Into<UserError>>(
        &self,
        name: Option<&str>,
        wanted: bool,
        predicate: impl Fn(&K, &V) -> Result<bool, E> + Send + Sync + 'static,
    ) -> Self {
        self.op(Op::new("KSTREAM-FILTER-", name), move |record, out, ctx| {
            match predicate(&record.key, &record.value).map_err(user)? == wanted {
                true => out.forward(record, ctx),
                false => Ok(()),
            }
        })
    }
}
