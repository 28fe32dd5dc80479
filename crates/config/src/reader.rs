//! From checked settings to a struct of typed fields.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::definition::find;
use crate::error::ConfigError;
use crate::settings::{ConfigWarning, Settings};

/// Reads typed values and remembers of which keys.
#[derive(Debug)]
pub struct Reader<'a> {
    settings: &'a Settings,
    read: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(settings: &'a Settings) -> Self {
        Self { settings, read: RefCell::new(BTreeSet::new()) }
    }

    /// The settings that are read.
    #[must_use]
    pub fn settings(&self) -> &'a Settings {
        self.settings
    }

    /// Keys that act by their definition, and of which nobody read the value.
    #[must_use]
    pub fn unread(&self) -> Vec<&'static str> {
        let read = self.read.borrow();
        let all = self.settings.tables().iter().copied().flatten();
        let acting = all.filter(|definition| definition.support.acts()).map(|definition| definition.key);
        acting.filter(|key| !read.contains(key)).collect()
    }

    /// Keys whose value was read although they do not act by their definition, or that have no definition.
    #[must_use]
    pub fn read_without_support(&self) -> Vec<&'static str> {
        let read = self.read.borrow();
        let acts = |key: &str| find(self.settings.tables(), key).is_some_and(|definition| definition.support.acts());
        read.iter().copied().filter(|key| !acts(key)).collect()
    }

    /// What was accepted though it has no effect.
    #[must_use]
    pub fn warnings(&self) -> Vec<ConfigWarning> {
        self.settings.warnings().to_vec()
    }

    /// Says that the value of `key` is used elsewhere: by what derives another setting from it.
    pub fn used(&self, key: &'static str) {
        self.read.borrow_mut().insert(key);
    }

    /// The value, given or default; `None` for Kafka's null.
    pub fn text(&self, key: &'static str) -> Option<&'a str> {
        self.used(key);
        self.settings.text(key)
    }

    /// As [`text`](Self::text), and none for the empty text either.
    pub fn non_empty(&self, key: &'static str) -> Option<&'a str> {
        self.text(key).filter(|value| !value.is_empty())
    }

    /// Whether the user gave the key himself.
    #[must_use]
    pub fn is_given(&self, key: &str) -> bool {
        self.settings.is_given(key)
    }

    /// The value of a text that may not be missing.
    ///
    /// # Errors
    /// [`ConfigError`] if it is missing or empty.
    pub fn required(&self, key: &'static str) -> Result<&'a str, ConfigError> {
        self.non_empty(key).ok_or_else(|| ConfigError::missing(key))
    }

    /// The value of an integer.
    ///
    /// # Errors
    /// [`ConfigError`] if it has none, as all of these.
    pub fn integer(&self, key: &'static str) -> Result<i64, ConfigError> {
        let value = self.text(key).unwrap_or_default();
        value.parse().map_err(|_| ConfigError::new(key, value, "must be an integer"))
    }

    /// The value of a 32-bit integer.
    ///
    /// # Errors
    /// As [`integer`](Self::integer).
    pub fn int(&self, key: &'static str) -> Result<i32, ConfigError> {
        let value = self.integer(key)?;
        i32::try_from(value).map_err(|_| ConfigError::new(key, value, "must be a 32-bit integer"))
    }

    /// A size in bytes, or a count.
    ///
    /// # Errors
    /// As [`integer`](Self::integer), and if it is negative.
    pub fn size(&self, key: &'static str) -> Result<usize, ConfigError> {
        let value = self.integer(key)?;
        usize::try_from(value).map_err(|_| ConfigError::new(key, value, "must be >= 0"))
    }

    /// A length of time that the key has in milliseconds.
    ///
    /// # Errors
    /// As [`size`](Self::size).
    pub fn duration(&self, key: &'static str) -> Result<Duration, ConfigError> {
        let value = self.integer(key)?;
        let millis = u64::try_from(value).map_err(|_| ConfigError::new(key, value, "must be >= 0"))?;
        Ok(Duration::from_millis(millis))
    }

    /// A length of time in milliseconds, of which a negative value means none.
    ///
    /// # Errors
    /// As [`integer`](Self::integer).
    pub fn duration_or_none(&self, key: &'static str) -> Result<Option<Duration>, ConfigError> {
        Ok(u64::try_from(self.integer(key)?).ok().map(Duration::from_millis))
    }

    /// The value of a floating-point number.
    ///
    /// # Errors
    /// [`ConfigError`] if it has none.
    pub fn double(&self, key: &'static str) -> Result<f64, ConfigError> {
        let value = self.text(key).unwrap_or_default();
        value.parse().map_err(|_| ConfigError::new(key, value, "must be a number"))
    }

    /// The value of a boolean.
    ///
    /// # Errors
    /// [`ConfigError`] if it has none.
    pub fn boolean(&self, key: &'static str) -> Result<bool, ConfigError> {
        let value = self.text(key).unwrap_or_default();
        match value.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(ConfigError::new(key, value, "must be true or false")),
        }
    }

    /// The entries of a list that are not empty.
    pub fn list(&self, key: &'static str) -> Vec<String> {
        let value = self.text(key).unwrap_or_default();
        value.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
    }
}
