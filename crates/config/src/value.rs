//! Whether a value is allowed, and the form in which it is kept and shown.

use crate::definition::{Definition, Kind, Range};
use crate::error::ConfigError;

/// The entries of a comma-separated list, without white space around them; none for an empty text.
#[must_use]
pub fn split_list(value: &str) -> Vec<&str> {
    let value = value.trim();
    if value.is_empty() { Vec::new() } else { value.split(',').map(str::trim).collect() }
}

/// The name of a Java class without its package and without the class around it.
#[must_use]
pub fn class_name(class: &str) -> &str {
    let class = class.trim();
    class.rsplit_once(['.', '$']).map_or(class, |(_, name)| name)
}

impl Definition {
    /// Checks `value` against type and range, and returns it as Kafka prints it: without white space around, numbers and
    /// booleans in their one form.
    ///
    /// # Errors
    /// [`ConfigError`] with the key, the value and what is allowed. Whether the setting acts is not looked at.
    pub fn parse(&self, value: &str) -> Result<String, ConfigError> {
        let value = value.trim();
        match self.kind {
            Kind::Boolean => match value.to_ascii_lowercase().as_str() {
                known @ ("true" | "false") => Ok(known.to_owned()),
                _ => Err(self.refuse(value, "must be true or false", "Expected value to be either true or false")),
            },
            Kind::Short => self.parse_integer(value, i64::from(i16::MIN), i64::from(i16::MAX), "16"),
            Kind::Int => self.parse_integer(value, i64::from(i32::MIN), i64::from(i32::MAX), "32"),
            Kind::Long => self.parse_integer(value, i64::MIN, i64::MAX, "64"),
            Kind::Double => self.parse_double(value),
            Kind::List => self.parse_list(value),
            Kind::String | Kind::Password | Kind::Class => self.parse_text(value),
        }
    }

    /// The value as it may be shown and logged.
    #[must_use]
    pub fn shown<'a>(&self, value: &'a str) -> &'a str {
        if self.is_secret() { "***" } else { value }
    }

    fn refuse(&self, value: &str, reason: &str, kafka: &str) -> ConfigError {
        ConfigError::new(self.key, self.shown(value), reason).with_kafka_reason(kafka)
    }

    fn out_of_range(&self, value: &str, kafka: &str) -> ConfigError {
        self.refuse(value, &self.range.to_string(), kafka)
    }

    fn parse_integer(&self, value: &str, min: i64, max: i64, bits: &str) -> Result<String, ConfigError> {
        let number: i64 = match value.parse() {
            Ok(number) if (min..=max).contains(&number) => number,
            _ => {
                let kafka = format!("Not a number of type {}", self.kind.name());
                return Err(self.refuse(value, &format!("must be a {bits}-bit integer"), &kafka));
            }
        };
        let at_least = |low: i64| format!("Value must be at least {low}");
        let wrong = match self.range {
            Range::AtLeast(low) | Range::Between(low, _) if number < low => Some(at_least(low)),
            Range::Between(_, high) if number > high => Some(format!("Value must be no more than {high}")),
            Range::BetweenOr(low, high, other) if !(low..=high).contains(&number) && number != other => {
                Some(format!("Value must be between {low} and {high} or equal to {other}"))
            }
            _ => None,
        };
        match wrong {
            None => Ok(number.to_string()),
            Some(kafka) => Err(self.out_of_range(value, &kafka)),
        }
    }

    fn parse_double(&self, value: &str) -> Result<String, ConfigError> {
        let number = value.parse::<f64>().ok().filter(|number| !number.is_nan());
        let Some(number) = number else {
            return Err(self.refuse(value, "must be a number", "Not a number of type DOUBLE"));
        };
        match self.range {
            Range::Fraction(low, _) if number < low => {
                Err(self.out_of_range(value, &format!("Value must be at least {low}")))
            }
            Range::Fraction(_, high) if number > high => {
                Err(self.out_of_range(value, &format!("Value must be no more than {high}")))
            }
            _ => Ok(java_double(number)),
        }
    }

    fn parse_list(&self, value: &str) -> Result<String, ConfigError> {
        if let Range::Checked(rule, check) = self.range {
            let entries = split_list(value).join(", ");
            return match check(value) {
                true => Ok(entries.replace(", ", ",")),
                false => {
                    let (key, error) = (self.key, self.out_of_range(value, ""));
                    let kafka = format!("Invalid value [{entries}] for configuration {key}: {key} must be {rule}");
                    Err(error.with_kafka_message(kafka))
                }
            };
        }
        // As in Kafka a text that is there twice is there once (KIP-1161).
        let mut entries: Vec<&str> = Vec::new();
        for entry in split_list(value) {
            if !entries.contains(&entry) {
                entries.push(entry);
            }
        }
        match self.range {
            Range::EachOf(_) if entries.contains(&"") => {
                let error = ConfigError::new(self.key, value, "its entries must not be empty");
                Err(error.with_kafka_message(format!("Configuration '{}' values must not be empty.", self.key)))
            }
            Range::EachOf(allowed) => match entries.iter().find(|entry| !allowed.contains(entry)) {
                Some(unknown) => {
                    let kafka = format!("String must be one of: {}", allowed.join(", "));
                    Err(self.out_of_range(unknown, &kafka))
                }
                None => Ok(entries.join(",")),
            },
            Range::NonEmpty if entries.is_empty() => Err(self.out_of_range(value, "must not be empty")),
            _ => Ok(entries.join(",")),
        }
    }

    fn parse_text(&self, value: &str) -> Result<String, ConfigError> {
        let kafka = match self.range {
            Range::OneOf(allowed) if !allowed.contains(&value) => {
                format!("String must be one of: {}", allowed.join(", "))
            }
            Range::OneOfAnyCase(allowed) if !allowed.iter().any(|one| one.eq_ignore_ascii_case(value)) => {
                format!("String must be one of (case insensitive): {}", allowed.join(", "))
            }
            Range::NonEmpty if value.is_empty() => "String must be non-empty".to_owned(),
            Range::Checked(rule, check) if !check(value) => format!("{} must be {rule}", self.key),
            _ => return Ok(value.to_owned()),
        };
        Err(self.out_of_range(value, &kafka))
    }
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
    use Kind::{Boolean, Double, Int, List, Long, Short, String};

    /// The form in which a value is kept, or our words and Kafka's for what is wrong with it.
    type Expected = Result<&'static str, (&'static str, std::string::String)>;

    fn row(kind: Kind, range: Range) -> Definition {
        Definition::new("some.key", kind, None, range, "")
    }

    #[test]
    fn values_are_checked_and_brought_into_one_form() {
        const CODECS: &[&str] = &["a", "b"];
        let pairs = Range::Checked("pairs", |value| value.is_empty() || value.contains(':'));
        let invalid = |value: &str, reason: &str| format!("Invalid value {value} for configuration some.key: {reason}");
        let cases: &[(Definition, &str, Expected)] = &[
            (row(Int, Range::AtLeast(1)), " 7 ", Ok("7")),
            (row(Int, Range::AtLeast(1)), "0", Err(("must be >= 1", invalid("0", "Value must be at least 1")))),
            (
                row(Int, Range::Any),
                "2147483648",
                Err(("must be a 32-bit integer", invalid("2147483648", "Not a number of type INT"))),
            ),
            (
                row(Short, Range::Any),
                "40000",
                Err(("must be a 16-bit integer", invalid("40000", "Not a number of type SHORT"))),
            ),
            (row(Long, Range::Any), "2147483648", Ok("2147483648")),
            (
                row(Long, Range::Any),
                "12x",
                Err(("must be a 64-bit integer", invalid("12x", "Not a number of type LONG"))),
            ),
            (
                row(Int, Range::Between(1, 17)),
                "18",
                Err(("must be 1 to 17", invalid("18", "Value must be no more than 17"))),
            ),
            (row(Int, Range::BetweenOr(1, 9, -1)), "-1", Ok("-1")),
            (
                row(Int, Range::BetweenOr(1, 9, -1)),
                "0",
                Err(("must be 1 to 9, or -1", invalid("0", "Value must be between 1 and 9 or equal to -1"))),
            ),
            (row(Boolean, Range::Any), "TRUE", Ok("true")),
            (
                row(Boolean, Range::Any),
                "yes",
                Err(("must be true or false", invalid("yes", "Expected value to be either true or false"))),
            ),
            (row(Double, Range::Fraction(0.0, 1.0)), "1", Ok("1.0")),
            (
                row(Double, Range::Fraction(0.0, 1.0)),
                "1.5",
                Err(("must be 0 to 1", invalid("1.5", "Value must be no more than 1"))),
            ),
            (row(Double, Range::Any), "1.7976931348623157E308", Ok("1.7976931348623157E308")),
            (row(Double, Range::Any), "NaN", Err(("must be a number", invalid("NaN", "Not a number of type DOUBLE")))),
            (
                row(String, Range::OneOf(CODECS)),
                "c",
                Err(("must be one of a, b", invalid("c", "String must be one of: a, b"))),
            ),
            (row(String, Range::OneOfAnyCase(CODECS)), "B", Ok("B")),
            (row(List, Range::EachOf(CODECS)), "a , b", Ok("a,b")),
            (row(List, Range::EachOf(CODECS)), "", Ok("")),
            (
                row(List, Range::EachOf(CODECS)),
                "a,x",
                Err(("must be a list of a, b", invalid("x", "String must be one of: a, b"))),
            ),
            (row(List, Range::EachOf(CODECS)), "a,b,a", Ok("a,b")),
            (row(List, Range::Any), "x, x,y", Ok("x,y")),
            (
                row(List, Range::EachOf(CODECS)),
                "a,",
                Err(("its entries must not be empty", "Configuration 'some.key' values must not be empty.".to_owned())),
            ),
            (row(List, pairs), "0:1, 1:2", Ok("0:1,1:2")),
            (row(List, pairs), "x", Err(("must be pairs", invalid("[x]", "some.key must be pairs")))),
        ];
        for (definition, value, expected) in cases {
            let got = definition.parse(value);
            let got = got.as_deref().map_err(|error| (error.reason.as_str(), error.kafka_message()));
            assert_eq!(got, expected.clone(), "{value} as {:?} with {:?}", definition.kind, definition.range);
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Definition::new("s", Kind::Password, None, Range::NonEmpty, "");
        assert_eq!(secret.parse("x").as_deref(), Ok("x"));
        assert_eq!(secret.shown("x"), "***");
        let error = ConfigError::new(secret.key, secret.shown("x"), "no");
        assert_eq!(error.to_string(), "invalid `s` ***: no");
    }
}
