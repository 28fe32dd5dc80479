//! How a stream is printed: Kafka's `Printed`.

use std::{
    fmt,
    fs::File,
    io::{self, Write},
    path::Path,
    sync::Arc,
};

use parking_lot::Mutex;

use crate::{
    data::Nullable,
    error::{Error, Result},
};

type Mapper<K, V> = Arc<dyn Fn(&K, &V) -> String + Send + Sync>;

/// Where the records of a stream are printed, as lines of the form `[label]: key, value`.
///
/// All tasks print to the same place, a line at a time.
pub struct Printed<K, V> {
    pub(crate) out: Arc<Mutex<dyn Write + Send>>,
    pub(crate) label: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) mapper: Mapper<K, V>,
}

impl<K, V> fmt::Debug for Printed<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Printed").field("label", &self.label).field("name", &self.name).finish_non_exhaustive()
    }
}

/// As Java prints what may be null.
struct Text<T>(T);

impl<T: Nullable<Some: fmt::Display>> fmt::Display for Text<&T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_some() {
            Some(some) => some.fmt(f),
            None => f.write_str("null"),
        }
    }
}

impl<K: Nullable<Some: fmt::Display>, V: Nullable<Some: fmt::Display>> Printed<K, V> {
    /// To the standard output.
    #[must_use]
    pub fn to_sys_out() -> Self {
        Self::to_writer(io::stdout())
    }

    /// To a file, which is made anew.
    ///
    /// # Errors
    /// [`Error::Topology`] if the file cannot be written.
    pub fn to_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = File::create(path).map_err(|error| {
            Error::topology(format!("unable to write stream to file at [{}]: {error}", path.display()))
        })?;
        Ok(Self::to_writer(file))
    }

    /// To any other place. Each line is written at once and flushed.
    #[must_use]
    pub fn to_writer(out: impl Write + Send + 'static) -> Self {
        let mapper = Arc::new(|key: &K, value: &V| format!("{}, {}", Text(key), Text(value)));
        Printed { out: Arc::new(Mutex::new(out)), label: None, name: None, mapper }
    }
}

impl<K, V> Printed<K, V> {
    /// What stands in brackets. Default: the name of the node whose records are printed.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The name of the node that prints.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What stands behind the label. Default: key, comma and value, `null` where there is none.
    #[must_use]
    pub fn with_key_value_mapper(mut self, mapper: impl Fn(&K, &V) -> String + Send + Sync + 'static) -> Self {
        self.mapper = Arc::new(mapper);
        self
    }
}
