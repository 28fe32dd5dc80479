//! What a configuration key is.

use super::settings::class_name;

/// The type of a setting's value, in Kafka's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// 16-bit integer.
    Short,
    /// 32-bit integer.
    Int,
    /// 64-bit integer.
    Long,
    /// Floating-point number.
    Double,
    /// Text.
    String,
    /// Texts separated by commas.
    List,
    /// Text that is never shown.
    Password,
    /// A class of the JVM; some have a counterpart here.
    Class,
}

/// Which values a setting may have.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Range {
    /// Every value of the type.
    Any,
    /// Integers from this one on.
    AtLeast(i64),
    /// Integers from the first to the second, both included.
    Between(i64, i64),
    /// Integers from the first to the second, or the third.
    BetweenOr(i64, i64, i64),
    /// Numbers from the first to the second, both included.
    Fraction(f64, f64),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// One of these texts, in any case.
    OneOfAnyCase(&'static [&'static str]),
    /// Anything but the empty text.
    NonEmpty,
    /// A rule that a function checks, with its description.
    Checked(&'static str, fn(&str) -> bool),
}

/// What this client does with a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Support {
    /// Acts on it.
    Full,
    /// Refuses every value but the default: its effect would be missed.
    Refused(&'static str),
    /// Warns about every value but the default: its effect is missed, but nothing depends on it.
    Warned(&'static str),
    /// Warns about every value but the given one.
    WarnedUnless(&'static str, &'static str),
}

/// One configuration key.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Definition {
    /// Kafka's key.
    pub key: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// Kafka's default, as it would stand in a properties file; `None` where Kafka has null or none.
    pub default: Option<&'static str>,
    /// Allowed values.
    pub range: Range,
    /// Whether this client acts on it.
    pub support: Support,
    /// What it does.
    pub doc: &'static str,
}

impl Definition {
    /// A key that the client acts on.
    pub(crate) const fn new(
        key: &'static str,
        kind: Kind,
        default: Option<&'static str>,
        range: Range,
        doc: &'static str,
    ) -> Self {
        Self { key, kind, default, range, support: Support::Full, doc }
    }

    /// The same key, refused unless it has its default.
    pub(crate) const fn refused(self, why: &'static str) -> Self {
        Self { support: Support::Refused(why), ..self }
    }

    /// The same key, warned about unless it has its default.
    pub(crate) const fn warned(self, why: &'static str) -> Self {
        Self { support: Support::Warned(why), ..self }
    }

    /// The same key, warned about unless it has this value.
    pub(crate) const fn warned_unless(self, harmless: &'static str, why: &'static str) -> Self {
        Self { support: Support::WarnedUnless(harmless, why), ..self }
    }

    /// Checks a trimmed value against type and range; the error says what is allowed.
    pub(crate) fn check(&self, value: &str) -> Result<(), String> {
        match self.kind {
            Kind::Boolean => match value.to_ascii_lowercase().as_str() {
                "true" | "false" => Ok(()),
                _ => Err("must be true or false".to_owned()),
            },
            Kind::Short => self.check_integer(value, i64::from(i16::MIN), i64::from(i16::MAX), "16"),
            Kind::Int => self.check_integer(value, i64::from(i32::MIN), i64::from(i32::MAX), "32"),
            Kind::Long => self.check_integer(value, i64::MIN, i64::MAX, "64"),
            Kind::Double => self.check_double(value),
            Kind::String | Kind::Password | Kind::Class => self.check_text(value),
            Kind::List => value
                .split(',')
                .map(str::trim)
                .filter(|element| !element.is_empty())
                .try_for_each(|element| self.check_text(class_name(element))),
        }
    }

    fn check_integer(&self, value: &str, min: i64, max: i64, bits: &str) -> Result<(), String> {
        let number: i64 = match value.parse() {
            Ok(number) if (min..=max).contains(&number) => number,
            _ => return Err(format!("must be a {bits}-bit integer")),
        };
        let fine = match self.range {
            Range::AtLeast(low) => number >= low,
            Range::Between(low, high) => (low..=high).contains(&number),
            Range::BetweenOr(low, high, other) => (low..=high).contains(&number) || number == other,
            _ => true,
        };
        if fine { Ok(()) } else { Err(self.range.to_string()) }
    }

    fn check_double(&self, value: &str) -> Result<(), String> {
        let number: f64 = value.parse().map_err(|_| "must be a number".to_owned())?;
        match self.range {
            Range::Fraction(low, high) if !(low..=high).contains(&number) => Err(self.range.to_string()),
            _ => Ok(()),
        }
    }

    fn check_text(&self, value: &str) -> Result<(), String> {
        let fine = match self.range {
            Range::OneOf(allowed) => allowed.contains(&value),
            Range::OneOfAnyCase(allowed) => allowed.iter().any(|one| one.eq_ignore_ascii_case(value)),
            Range::NonEmpty => !value.is_empty(),
            Range::Checked(_, check) => check(value),
            _ => true,
        };
        if fine { Ok(()) } else { Err(self.range.to_string()) }
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("any value is allowed"),
            Self::AtLeast(low) => write!(f, "must be >= {low}"),
            Self::Between(low, high) => write!(f, "must be {low} to {high}"),
            Self::BetweenOr(low, high, other) => write!(f, "must be {low} to {high}, or {other}"),
            Self::Fraction(low, high) => write!(f, "must be {low} to {high}"),
            Self::OneOf(allowed) | Self::OneOfAnyCase(allowed) => write!(f, "must be one of {}", allowed.join(", ")),
            Self::NonEmpty => f.write_str("must not be empty"),
            Self::Checked(rule, _) => write!(f, "must be {rule}"),
        }
    }
}
