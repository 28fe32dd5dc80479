//! Checked settings: what a user gave, against the table of definitions.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::definition::{Definition, Kind, Support};
use super::nearest::nearest;
use crate::error::ConfigError;

/// A setting that was accepted though it has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigWarning {
    /// The key is none of Kafka's.
    UnknownKey {
        /// The key as given.
        key: String,
        /// The known key that it is most like, if one is like it.
        nearest: Option<&'static str>,
    },
    /// Kafka has the key, and this client does not act on it.
    NoEffect {
        /// The key.
        key: &'static str,
        /// Why.
        why: &'static str,
    },
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { key, nearest: Some(nearest) } => {
                write!(f, "unknown setting `{key}`: did you mean `{nearest}`?")
            }
            Self::UnknownKey { key, nearest: None } => write!(f, "unknown setting `{key}`"),
            Self::NoEffect { key, why } => write!(f, "`{key}` has no effect: {why}"),
        }
    }
}

/// The tables of one client: those it shares and its own.
pub(crate) type Tables = &'static [&'static [Definition]];

/// All settings of a client: given ones checked, the others at their defaults.
#[derive(Clone)]
pub(crate) struct Settings {
    tables: Tables,
    given: BTreeMap<&'static str, String>,
    warnings: Vec<ConfigWarning>,
}

impl Settings {
    /// Checks `properties`. A later value of the same key replaces an earlier one.
    pub(crate) fn parse<K, V>(tables: Tables, properties: impl IntoIterator<Item = (K, V)>) -> Result<Self, ConfigError>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let mut settings = Self { tables, given: BTreeMap::new(), warnings: Vec::new() };
        for (key, value) in properties {
            let (key, value) = (key.as_ref(), value.as_ref().trim());
            match settings.definition(key) {
                Some(definition) => {
                    settings.given.insert(definition.key, value.to_owned());
                }
                None => settings.warn_unknown(key),
            }
        }
        for (key, value) in settings.given.clone() {
            if let Some(definition) = settings.definition(key) {
                settings.admit(definition, &value)?;
            }
        }
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
        Ok(settings)
    }

    fn warn_unknown(&mut self, key: &str) {
        let keys = self.definitions().map(|definition| definition.key);
        self.warnings.push(ConfigWarning::UnknownKey { key: key.to_owned(), nearest: nearest(key, keys) });
    }

    fn admit(&mut self, definition: &'static Definition, value: &str) -> Result<(), ConfigError> {
        let shown = if definition.kind == Kind::Password { "***" } else { value };
        definition.check(value).map_err(|expected| ConfigError::new(definition.key, shown, expected))?;
        let default = definition.default.unwrap_or_default();
        match definition.support {
            Support::Full => {}
            Support::Refused(_) | Support::Warned(_) if value.eq_ignore_ascii_case(default) => {}
            Support::Refused(why) => return Err(ConfigError::new(definition.key, shown, why)),
            Support::WarnedUnless(harmless, _) if value.eq_ignore_ascii_case(harmless) => {}
            Support::Warned(why) | Support::WarnedUnless(_, why) => {
                self.warnings.push(ConfigWarning::NoEffect { key: definition.key, why });
            }
        }
        Ok(())
    }

    fn definitions(&self) -> impl Iterator<Item = &'static Definition> + use<> {
        self.tables.iter().flat_map(|table| table.iter())
    }

    fn definition(&self, key: &str) -> Option<&'static Definition> {
        self.definitions().find(|definition| definition.key == key)
    }

    pub(crate) fn warnings(&self) -> &[ConfigWarning] {
        &self.warnings
    }

    /// Whether the user gave the key himself.
    pub(crate) fn is_given(&self, key: &str) -> bool {
        self.given.contains_key(key)
    }

    /// The value, given or default; `None` for Kafka's null.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match self.given.get(key) {
            Some(value) => Some(value),
            None => self.definition(key).and_then(|definition| definition.default),
        }
    }

    /// The value of a text that may not be missing.
    pub(crate) fn required(&self, key: &'static str) -> Result<&str, ConfigError> {
        match self.text(key) {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(ConfigError::new(key, "\"\"", "required, and has no default")),
        }
    }

    pub(crate) fn integer(&self, key: &'static str) -> Result<i64, ConfigError> {
        let value = self.text(key).unwrap_or_default();
        value.parse().map_err(|_| ConfigError::new(key, value, "must be an integer"))
    }

    pub(crate) fn int(&self, key: &'static str) -> Result<i32, ConfigError> {
        let value = self.integer(key)?;
        i32::try_from(value).map_err(|_| ConfigError::new(key, value, "must be a 32-bit integer"))
    }

    /// A size in bytes, or a count.
    pub(crate) fn size(&self, key: &'static str) -> Result<usize, ConfigError> {
        let value = self.integer(key)?;
        usize::try_from(value).map_err(|_| ConfigError::new(key, value, "must be >= 0"))
    }

    /// A length of time that the key has in milliseconds.
    pub(crate) fn duration(&self, key: &'static str) -> Result<Duration, ConfigError> {
        let value = self.integer(key)?;
        let millis = u64::try_from(value).map_err(|_| ConfigError::new(key, value, "must be >= 0"))?;
        Ok(Duration::from_millis(millis))
    }

    /// A length of time of which a negative value means none.
    pub(crate) fn duration_or_none(&self, key: &'static str) -> Result<Option<Duration>, ConfigError> {
        Ok(u64::try_from(self.integer(key)?).ok().map(Duration::from_millis))
    }

    pub(crate) fn boolean(&self, key: &'static str) -> Result<bool, ConfigError> {
        let value = self.text(key).unwrap_or_default();
        match value.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(ConfigError::new(key, value, "must be true or false")),
        }
    }

    pub(crate) fn list(&self, key: &'static str) -> Vec<String> {
        let value = self.text(key).unwrap_or_default();
        value.split(',').map(str::trim).filter(|element| !element.is_empty()).map(str::to_owned).collect()
    }
}

/// The name of a class in a list, without the word that Java's printed form has before it.
pub(super) fn class_name(element: &str) -> &str {
    element.strip_prefix("class ").unwrap_or(element)
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (key, value) in &self.given {
            let secret = self.definition(key).is_some_and(|definition| definition.kind == Kind::Password);
            map.entry(key, if secret { &"***" } else { value });
        }
        map.finish()
    }
}
