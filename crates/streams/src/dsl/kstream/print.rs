//! `print`: the records of a stream as text.

use super::{KStream, Op};
use crate::{
    data::Flow,
    dsl::{Printed, user},
};

impl<K: Flow, V: Flow> KStream<K, V> {
    /// Prints each record; nothing comes after it. For looking at a stream: every line is written by itself.
    ///
    /// A line that cannot be written is an error of this node, and goes to the processing exception handler.
    ///
    /// ```
    /// # use vltava_streams::{Printed, StreamsBuilder, TopologyTestDriver};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("lines.txt");
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<Option<String>, i64>("in").print(Printed::to_file(&path)?.with_label("numbers"));
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<Option<String>, i64>("in");
    /// input.pipe(Some("one".to_owned()), 1)?;
    /// input.pipe(None, 2)?;
    /// assert_eq!(std::fs::read_to_string(path).unwrap(), "[numbers]: one, 1\n[numbers]: null, 2\n");
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn print(&self, printed: Printed<K, V>) {
        let Printed { out, label, name, mapper } = printed;
        let label = label.unwrap_or_else(|| self.name.to_string());
        self.op::<(), ()>(Op::new("KSTREAM-PRINTER-", name), move |record, _, _| {
            let line = format!("[{label}]: {}\n", mapper(&record.key, &record.value));
            let mut out = out.lock();
            out.write_all(line.as_bytes()).and_then(|()| out.flush()).map_err(user)
        });
    }
}
