//! `for_each`: the end of a stream in application code.

use super::{KStream, Op};
use crate::{
    data::Flow,
    dsl::{Named, Options, UserError, options::name_of, sure, user},
};

impl<K: Flow, V: Flow> KStream<K, V> {
    /// Gives each record to a function; nothing comes after it. Kafka's `foreach`.
    ///
    /// ```
    /// # use std::sync::mpsc::channel;
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let (sender, receiver) = channel();
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("in").for_each(move |_, n| sender.send(n).unwrap_or_default());
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, i64>("in");
    /// input.pipe("k".to_owned(), 5)?;
    /// assert_eq!(receiver.try_recv(), Ok(5));
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn for_each(&self, action: impl Fn(K, V) + Send + Sync + 'static) {
        self.for_each_with((), action);
    }

    /// [`for_each`](Self::for_each) under a name.
    pub fn for_each_with(&self, options: impl Options<Named>, action: impl Fn(K, V) + Send + Sync + 'static) {
        self.try_for_each(options, move |k, v| {
            action(k, v);
            sure(())
        });
    }

    /// [`for_each_with`](Self::for_each_with) with a function that may fail; its error goes to the processing exception handler.
    pub fn try_for_each<E: Into<UserError>>(
        &self,
        options: impl Options<Named>,
        action: impl Fn(K, V) -> Result<(), E> + Send + Sync + 'static,
    ) {
        self.op::<(), ()>(Op::new("KSTREAM-FOREACH-", name_of(options)), move |record, _, _| {
            action(record.key, record.value).map_err(user)
        });
    }
}
