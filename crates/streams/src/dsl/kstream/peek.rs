//! `peek`: a look at every record.

use super::{KStream, Op};
use crate::{
    data::Flow,
    dsl::{Named, Options, UserError, options::name_of, sure, user},
};

impl<K: Flow, V: Flow> KStream<K, V> {
    /// Shows each record to a function and sends it on as it is.
    ///
    /// ```
    /// # use std::sync::{Arc, atomic::{AtomicI64, Ordering}};
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let sum = Arc::new(AtomicI64::new(0));
    /// let builder = StreamsBuilder::new();
    /// let counter = sum.clone();
    /// builder.stream::<String, i64>("in").peek(move |_, n| { counter.fetch_add(*n, Ordering::Relaxed); }).to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, i64>("in");
    /// input.pipe("k".to_owned(), 5)?;
    /// assert_eq!(sum.load(Ordering::Relaxed), 5);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn peek(&self, action: impl Fn(&K, &V) + Send + Sync + 'static) -> Self {
        self.peek_with((), action)
    }

    /// [`peek`](Self::peek) under a name.
    pub fn peek_with(&self, options: impl Options<Named>, action: impl Fn(&K, &V) + Send + Sync + 'static) -> Self {
        self.try_peek(options, move |k, v| {
            action(k, v);
            sure(())
        })
    }

    /// [`peek_with`](Self::peek_with) with a function that may fail; its error goes to the processing exception handler.
    pub fn try_peek<E: Into<UserError>>(
        &self,
        options: impl Options<Named>,
        action: impl Fn(&K, &V) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        self.op(Op::new("KSTREAM-PEEK-", name_of(options)), move |record, out, ctx| {
            action(&record.key, &record.value).map_err(user)?;
            out.forward(record, ctx)
        })
    }
}
