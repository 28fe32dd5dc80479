//! One configuration key: its name, type, default and range, and how a value is checked.

/// The type of a configuration value, as Kafka's `ConfigDef` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigType {
    /// `true` or `false`.
    Boolean,
    /// Text.
    String,
    /// A 32-bit integer.
    Int,
    /// A 16-bit integer.
    Short,
    /// A 64-bit integer.
    Long,
    /// A floating point number.
    Double,
    /// Texts separated by commas.
    List,
    /// A Java class name.
    Class,
    /// A secret: never shown.
    Password,
}

impl ConfigType {
    /// The number of the type in a DescribeConfigs answer.
    pub(crate) fn wire(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
            Self::Class => 8,
            Self::Password => 9,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }
}

/// The values a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Check {
    Any,
    NonEmpty,
    AtLeast(i64),
    Between(i64, i64),
    BetweenDouble(f64, f64),
    OneOf(&'static [&'static str]),
    OneOfIgnoreCase(&'static [&'static str]),
    /// Each entry is one of these, and none twice.
    ListOf(&'static [&'static str]),
    GzipLevel,
    /// `*`, or `partition:broker` pairs.
    ThrottledReplicas,
}

/// Whether a key of the broker can be altered while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Update {
    ReadOnly,
    PerBroker,
    ClusterWide,
}

/// A row of a table of definitions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConfigKey {
    pub(crate) name: &'static str,
    pub(crate) kind: ConfigType,
    /// In the form in which it is written; `None` where Kafka's default is null.
    pub(crate) default: Option<&'static str>,
    pub(crate) check: Check,
    pub(crate) update: Update,
}

pub(crate) const fn key(
    name: &'static str,
    kind: ConfigType,
    default: Option<&'static str>,
    check: Check,
    update: Update,
) -> ConfigKey {
    ConfigKey { name, kind, default, check, update }
}

/// A value that a key does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid value `{value}` for `{key}`: {reason}")]
#[non_exhaustive]
pub struct ConfigError {
    /// The key.
    pub key: String,
    /// The refused value; `[hidden]` for a password.
    pub value: String,
    /// What the key takes, in the words Kafka uses.
    pub reason: String,
}

impl ConfigError {
    pub(crate) fn new(key: &str, value: &str, reason: impl Into<String>) -> Self {
        Self { key: key.to_owned(), value: value.to_owned(), reason: reason.into() }
    }

    /// The text that Kafka answers for this mistake.
    pub(crate) fn kafka_message(&self) -> String {
        format!("Invalid value {} for configuration {}: {}", self.value, self.key, self.reason)
    }
}

impl ConfigKey {
    /// Checks `value` and returns it in the form in which it is kept and shown.
    pub(crate) fn parse(&self, value: &str) -> Result<String, ConfigError> {
        let value = value.trim();
        let refuse = |reason: String| {
            let shown = if self.kind == ConfigType::Password { "[hidden]" } else { value };
            Err(ConfigError::new(self.name, shown, reason))
        };
        let not_a_number = || format!("Not a number of type {}", self.kind.name());
        match self.kind {
            ConfigType::Boolean => match value.to_ascii_lowercase().as_str() {
                known @ ("true" | "false") => return Ok(known.to_owned()),
                _ => return refuse("Expected value to be either true or false".to_owned()),
            },
            ConfigType::Int | ConfigType::Short | ConfigType::Long => {
                let (low, high) = match self.kind {
                    ConfigType::Int => (i64::from(i32::MIN), i64::from(i32::MAX)),
                    ConfigType::Short => (i64::from(i16::MIN), i64::from(i16::MAX)),
                    _ => (i64::MIN, i64::MAX),
                };
                return match value.parse::<i64>() {
                    Ok(number) if (low..=high).contains(&number) => match self.check.integer(number) {
                        None => Ok(number.to_string()),
                        Some(reason) => refuse(reason),
                    },
                    _ => refuse(not_a_number()),
                };
            }
            ConfigType::Double => {
                let Ok(number) = value.parse::<f64>() else { return refuse(not_a_number()) };
                if let Check::BetweenDouble(low, high) = self.check {
                    if number.is_nan() || number < low {
                        return refuse(format!("Value must be at least {}", short_double(low)));
                    }
                    if number > high {
                        return refuse(format!("Value must be no more than {}", short_double(high)));
                    }
                }
                return Ok(java_double(number));
            }
            ConfigType::List => {
                let entries = split_list(value);
                if let Some(reason) = self.check.list(&entries) {
                    return refuse(reason);
                }
                return Ok(entries.join(","));
            }
            ConfigType::String | ConfigType::Class | ConfigType::Password => {}
        }
        match self.check {
            Check::OneOf(known) if !known.contains(&value) => {
                refuse(format!("String must be one of: {}", known.join(", ")))
            }
            Check::OneOfIgnoreCase(known) if !known.iter().any(|k| k.eq_ignore_ascii_case(value)) => {
                refuse(format!("String must be one of (case insensitive): {}", known.join(", ")))
            }
            Check::NonEmpty if value.is_empty() => refuse("String must be non-empty".to_owned()),
            _ => Ok(value.to_owned()),
        }
    }
}

impl Check {
    /// Why the integer is refused, if it is.
    fn integer(self, number: i64) -> Option<String> {
        match self {
            Self::AtLeast(low) | Self::Between(low, _) if number < low => Some(format!("Value must be at least {low}")),
            Self::Between(_, high) if number > high => Some(format!("Value must be no more than {high}")),
            Self::GzipLevel if number != -1 && !(1..=9).contains(&number) => {
                Some("Value must be between 1 and 9 or equal to -1".to_owned())
            }
            _ => None,
        }
    }

    fn list(self, entries: &[&str]) -> Option<String> {
        match self {
            Self::ListOf(known) => {
                for (at, entry) in entries.iter().enumerate() {
                    if entry.is_empty() {
                        return Some("values must not be empty".to_owned());
                    }
                    if !known.contains(entry) {
                        return Some(format!("String must be one of: {}", known.join(", ")));
                    }
                    if entries.iter().take(at).any(|earlier| earlier == entry) {
                        return Some("values must not be duplicated".to_owned());
                    }
                }
                None
            }
            Self::ThrottledReplicas => {
                let pair = |entry: &&str| {
                    entry.split_once(':').is_some_and(|(partition, broker)| {
                        partition.parse::<u32>().is_ok() && broker.parse::<u32>().is_ok()
                    })
                };
                let fine = entries.is_empty() || matches!(entries, ["*"]) || entries.iter().all(pair);
                (!fine).then(|| {
                    "Must be the literal '*' or a list of replicas in the following format: \
                     [partitionId]:[brokerId],[partitionId]:[brokerId],..."
                        .to_owned()
                })
            }
            _ => None,
        }
    }
}

/// The entries of a comma-separated list; none for an empty text.
pub(crate) fn split_list(value: &str) -> Vec<&str> {
    let value = value.trim();
    if value.is_empty() { Vec::new() } else { value.split(',').map(str::trim).collect() }
}

/// As Java prints the bounds of a range (an integral bound without a fraction).
fn short_double(number: f64) -> String {
    format!("{number}")
}

/// As Java prints a double: with a fraction always, in scientific form from ten millions.
fn java_double(number: f64) -> String {
    if number != 0.0 && !(1e-3..1e7).contains(&number.abs()) {
        let text = format!("{number:E}");
        return match text.split_once('E') {
            Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
            _ => text,
        };
    }
    format!("{number:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: ConfigType, check: Check) -> ConfigKey {
        key("some.key", kind, None, check, Update::ReadOnly)
    }

    #[test]
    fn values_are_checked_and_brought_into_one_form() {
        use ConfigType::{Boolean, Double, Int, List, Long, Short, String};
        let cases: &[(ConfigKey, &str, Result<&str, &str>)] = &[
            (row(Int, Check::AtLeast(1)), " 7 ", Ok("7")),
            (row(Int, Check::AtLeast(1)), "0", Err("Value must be at least 1")),
            (row(Int, Check::Any), "2147483648", Err("Not a number of type INT")),
            (row(Short, Check::Any), "40000", Err("Not a number of type SHORT")),
            (row(Long, Check::Any), "2147483648", Ok("2147483648")),
            (row(Long, Check::Any), "12x", Err("Not a number of type LONG")),
            (row(Int, Check::Between(1, 17)), "18", Err("Value must be no more than 17")),
            (row(Int, Check::GzipLevel), "-1", Ok("-1")),
            (row(Int, Check::GzipLevel), "0", Err("Value must be between 1 and 9 or equal to -1")),
            (row(Boolean, Check::Any), "TRUE", Ok("true")),
            (row(Boolean, Check::Any), "yes", Err("Expected value to be either true or false")),
            (row(Double, Check::BetweenDouble(0.0, 1.0)), "1", Ok("1.0")),
            (row(Double, Check::BetweenDouble(0.0, 1.0)), "1.5", Err("Value must be no more than 1")),
            (row(Double, Check::Any), "1.7976931348623157E308", Ok("1.7976931348623157E308")),
            (row(String, Check::OneOf(&["a", "b"])), "c", Err("String must be one of: a, b")),
            (row(List, Check::ListOf(&["compact", "delete"])), "compact , delete", Ok("compact,delete")),
            (row(List, Check::ListOf(&["compact", "delete"])), "", Ok("")),
            (row(List, Check::ListOf(&["compact", "delete"])), "delete,delete", Err("values must not be duplicated")),
            (row(List, Check::ThrottledReplicas), "0:1,1:2", Ok("0:1,1:2")),
            (row(List, Check::ThrottledReplicas), "*", Ok("*")),
        ];
        for (key, value, expected) in cases {
            let got = key.parse(value);
            let got = got.as_deref().map_err(|error| error.reason.as_str());
            assert_eq!(got, *expected, "{value} as {:?} with {:?}", key.kind, key.check);
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let secret = key("s", ConfigType::Password, None, Check::Any, Update::ReadOnly);
        assert_eq!(secret.parse("x").as_deref(), Ok("x"));
    }
}
