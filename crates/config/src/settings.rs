//! Checked settings: what a user gave, against the tables of definitions.

use std::collections::BTreeMap;
use std::fmt;

use crate::definition::{Definition, Support, Tables, find};
use crate::error::ConfigError;
use crate::nearest::nearest;
use crate::reader::Reader;

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
    /// Kafka has the key, and nothing here acts on it.
    NoEffect {
        /// The key.
        key: String,
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

/// What the owner of the tables says about a key that is in none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// It is nobody's: a warning with the nearest key.
    Unknown,
    /// It is nobody's, and most like this key, which may be somebody else's.
    Misspelt(&'static str),
    /// Somebody else checks it.
    Accepted,
    /// It is Kafka's and has no effect here, for this reason.
    Warned(&'static str),
    /// It is Kafka's and its effect would be missed, for this reason.
    Refused(&'static str),
}

/// All settings of one owner: given ones checked, the others at their defaults.
#[derive(Clone)]
pub struct Settings {
    tables: Tables,
    given: BTreeMap<&'static str, String>,
    foreign: BTreeMap<String, String>,
    warnings: Vec<ConfigWarning>,
}

impl Settings {
    /// Checks `properties`. A later value of the same key replaces an earlier one; keys that are in no table are warned
    /// about.
    ///
    /// # Errors
    /// [`ConfigError`] with the first key, in the order of the alphabet, whose value is not allowed or whose effect would
    /// be missed.
    pub fn parse<K, V>(tables: Tables, properties: impl IntoIterator<Item = (K, V)>) -> Result<Self, ConfigError>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        Self::parse_with(tables, properties, |_| Foreign::Unknown)
    }

    /// As [`parse`](Self::parse); `foreign` decides about keys that are in no table.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_with<K, V>(
        tables: Tables,
        properties: impl IntoIterator<Item = (K, V)>,
        foreign: impl Fn(&str) -> Foreign,
    ) -> Result<Self, ConfigError>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let mut settings = Self { tables, given: BTreeMap::new(), foreign: BTreeMap::new(), warnings: Vec::new() };
        for (key, value) in properties {
            let (key, value) = (key.as_ref(), value.as_ref().trim());
            match find(tables, key) {
                Some(definition) => {
                    settings.given.insert(definition.key, value.to_owned());
                }
                None => {
                    settings.foreign.insert(key.to_owned(), value.to_owned());
                }
            }
        }
        for key in settings.foreign.keys() {
            let key = key.clone();
            settings.warnings.push(match foreign(&key) {
                Foreign::Accepted => continue,
                Foreign::Refused(why) => return Err(ConfigError::new(key, "***", why)),
                Foreign::Warned(why) => ConfigWarning::NoEffect { key, why },
                Foreign::Misspelt(near) => ConfigWarning::UnknownKey { key, nearest: Some(near) },
                Foreign::Unknown => {
                    let nearest = nearest(&key, tables.iter().copied().flatten().map(|definition| definition.key));
                    ConfigWarning::UnknownKey { key, nearest }
                }
            });
        }
        for (key, value) in &mut settings.given {
            if let Some(definition) = find(tables, key) {
                *value = definition.parse(value)?;
                settings.warnings.extend(admit(definition, value)?);
            }
        }
        Ok(settings)
    }

    /// Logs every warning.
    pub fn log_warnings(&self) {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }

    /// What was accepted though it has no effect.
    #[must_use]
    pub fn warnings(&self) -> &[ConfigWarning] {
        &self.warnings
    }

    /// Whether the user gave the key himself.
    #[must_use]
    pub fn is_given(&self, key: &str) -> bool {
        self.given.contains_key(key)
    }

    /// The value that was given, in its checked form.
    #[must_use]
    pub fn given(&self, key: &str) -> Option<&str> {
        self.given.get(key).or_else(|| self.foreign.get(key)).map(String::as_str)
    }

    /// Everything that was given, in its checked form: known keys first, then those of no table.
    pub fn all_given(&self) -> impl Iterator<Item = (&str, &str)> {
        let known = self.given.iter().map(|(key, value)| (*key, value.as_str()));
        known.chain(self.foreign.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }

    /// What was given for keys that are in no table.
    pub fn foreign(&self) -> impl Iterator<Item = (&str, &str)> {
        self.foreign.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The value, given or default; `None` for Kafka's null and for unknown keys.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.given(key).or_else(|| find(self.tables, key).and_then(|definition| definition.default))
    }

    /// Reads typed values, and remembers of which keys.
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(self)
    }

    pub(crate) fn tables(&self) -> Tables {
        self.tables
    }
}

/// What a checked value that was given for a key comes to.
fn admit(definition: &'static Definition, value: &str) -> Result<Option<ConfigWarning>, ConfigError> {
    let Some(why) = definition.without_effect(value) else { return Ok(None) };
    match definition.support {
        Support::Refused(_) => Err(ConfigError::new(definition.key, definition.shown(value), why)),
        _ => Ok(Some(ConfigWarning::NoEffect { key: definition.key.to_owned(), why })),
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (key, value) in &self.given {
            let definition = find(self.tables, key);
            map.entry(key, &definition.map_or("***", |definition| definition.shown(value)));
        }
        // Whether a key of no table is a secret is not known.
        for key in self.foreign.keys() {
            map.entry(key, &"***");
        }
        map.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::{Kind, Range};

    const TABLES: Tables = &[&[
        Definition::new("linger.ms", Kind::Long, Some("5"), Range::AtLeast(0), ""),
        Definition::new("partitioner", Kind::Class, None, Range::Any, "").warned("no classes"),
        Definition::new("push", Kind::Boolean, Some("true"), Range::Any, "").warned_unless("false", "no push"),
        Definition::new("ssl.key", Kind::Password, None, Range::Any, "").refused("no TLS"),
    ]];

    fn parse(properties: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::parse(TABLES, properties.iter().copied()).map_err(|error| error.to_string())
    }

    fn warnings(properties: &[(&str, &str)]) -> Vec<String> {
        parse(properties).unwrap().warnings().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_key_without_effect_is_refused_or_warned_about_unless_its_value_says_what_happens_anyway() {
        assert_eq!(warnings(&[("partitioner", ""), ("push", "FALSE"), ("ssl.key", "")]), [""; 0]);
        assert_eq!(
            warnings(&[("partitioner", "X"), ("push", "true")]),
            ["`partitioner` has no effect: no classes", "`push` has no effect: no push"]
        );
        assert_eq!(parse(&[("ssl.key", "secret")]).unwrap_err(), "invalid `ssl.key` ***: no TLS");
    }

    #[test]
    fn an_unknown_key_is_a_warning_with_the_nearest_known_one() {
        assert_eq!(
            warnings(&[("liner.ms", "5"), ("completely.unrelated", "1")]),
            ["unknown setting `completely.unrelated`", "unknown setting `liner.ms`: did you mean `linger.ms`?",]
        );
    }

    #[test]
    fn the_owner_decides_about_keys_of_no_table() {
        let given = [("x.ssl.a", "secret"), ("y", "1"), ("z", "2")];
        let decide = |key: &str| match key {
            "y" => Foreign::Accepted,
            "z" => Foreign::Warned("no z"),
            _ => Foreign::Refused("no TLS"),
        };
        let error = Settings::parse_with(TABLES, given, decide).unwrap_err();
        assert_eq!(error.to_string(), "invalid `x.ssl.a` ***: no TLS");
        let settings = Settings::parse_with(TABLES, given.into_iter().skip(1), decide).unwrap();
        assert_eq!(settings.warnings().len(), 1);
        assert_eq!(settings.given("y"), Some("1"));
    }

    #[test]
    fn the_last_value_of_a_key_holds_and_is_kept_in_its_one_form() {
        let settings = parse(&[("linger.ms", "1"), ("linger.ms", " +2 ")]).unwrap();
        assert_eq!(settings.text("linger.ms"), Some("2"));
        assert_eq!(parse(&[]).unwrap().text("linger.ms"), Some("5"));
        assert!(parse(&[("linger.ms", "-1")]).is_err());
    }

    #[test]
    fn secrets_are_not_printed() {
        let settings = Settings::parse_with(TABLES, [("a.password", "tell-nobody")], |_| Foreign::Accepted).unwrap();
        assert!(!format!("{settings:?}").contains("tell-nobody"));
    }

    #[test]
    fn the_reader_knows_which_keys_were_not_read() {
        let settings = parse(&[]).unwrap();
        let reader = settings.reader();
        assert_eq!(reader.unread(), ["linger.ms"]);
        assert_eq!(reader.integer("linger.ms"), Ok(5));
        assert_eq!(reader.boolean("push"), Ok(true));
        assert_eq!(reader.unread(), [""; 0]);
        assert_eq!(reader.read_without_support(), ["push"]);
    }
}
