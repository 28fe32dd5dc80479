//! What a configuration key is.

use std::fmt;

/// The type of a setting's value, as Kafka's `ConfigDef` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// Text.
    String,
    /// 32-bit integer.
    Int,
    /// 16-bit integer.
    Short,
    /// 64-bit integer.
    Long,
    /// Floating-point number.
    Double,
    /// Texts separated by commas.
    List,
    /// A class of the JVM; some have a counterpart here.
    Class,
    /// Text that is never shown.
    Password,
}

impl Kind {
    /// The number of the type in a DescribeConfigs answer (KIP-569).
    #[must_use]
    pub const fn wire(self) -> i8 {
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

    /// Kafka's name of the type.
    #[must_use]
    pub const fn name(self) -> &'static str {
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
    /// A list of these texts.
    EachOf(&'static [&'static str]),
    /// Anything but the empty text.
    NonEmpty,
    /// A rule that a function checks, with its description after "must be".
    Checked(&'static str, fn(&str) -> bool),
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any value is allowed"),
            Self::AtLeast(low) => write!(f, "must be >= {low}"),
            Self::Between(low, high) => write!(f, "must be {low} to {high}"),
            Self::BetweenOr(low, high, other) => write!(f, "must be {low} to {high}, or {other}"),
            Self::Fraction(low, high) => write!(f, "must be {low} to {high}"),
            Self::OneOf(allowed) | Self::OneOfAnyCase(allowed) => write!(f, "must be one of {}", allowed.join(", ")),
            Self::EachOf(allowed) => write!(f, "must be a list of {}", allowed.join(", ")),
            Self::NonEmpty => f.write_str("must not be empty"),
            Self::Checked(rule, _) => write!(f, "must be {rule}"),
        }
    }
}

/// What is done with a setting here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Support {
    /// It acts.
    Acts,
    /// Every value but the default is refused, with this reason: its effect would be missed.
    Refused(&'static str),
    /// Every value but the default is warned about, with this reason: its effect is missed, and nothing depends on it.
    Warned(&'static str),
    /// Every value but the given one is warned about, with the reason behind it.
    WarnedUnless(&'static str, &'static str),
}

impl Support {
    /// Whether the code reads the setting.
    #[must_use]
    pub const fn acts(self) -> bool {
        matches!(self, Self::Acts)
    }

    /// Why it does not act; none if it does.
    #[must_use]
    pub const fn why(self) -> Option<&'static str> {
        match self {
            Self::Acts => None,
            Self::Refused(why) | Self::Warned(why) | Self::WarnedUnless(_, why) => Some(why),
        }
    }
}

/// How much depends on a setting, in Kafka's judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Importance {
    /// Look at it first.
    High,
    /// Look at it for speed or safety.
    Medium,
    /// Rarely needed.
    Low,
}

impl Importance {
    /// Kafka's word, in small letters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

/// Whether a setting can be altered while its owner runs, in Kafka (KIP-226).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// No: it is read once.
    ReadOnly,
    /// For one broker.
    PerBroker,
    /// For one broker or all of them.
    ClusterWide,
}

/// One configuration key.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Definition {
    /// Kafka's key; ours where [`is_ours`](Self::is_ours) says so.
    pub key: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// Kafka's default, as it would stand in a properties file; `None` where Kafka has null or none.
    pub default: Option<&'static str>,
    /// Allowed values.
    pub range: Range,
    /// Kafka's judgement of its weight.
    pub importance: Importance,
    /// What is done with it here.
    pub support: Support,
    /// Whether Kafka alters it at run time.
    pub update: Update,
    /// Whether it is accepted and never described: Kafka's own, or for tests.
    pub is_internal: bool,
    /// Whether Kafka has no such key.
    pub is_ours: bool,
    /// What it does.
    pub doc: &'static str,
}

impl Definition {
    /// A key that acts, of medium importance, read once.
    #[must_use]
    pub const fn new(
        key: &'static str,
        kind: Kind,
        default: Option<&'static str>,
        range: Range,
        doc: &'static str,
    ) -> Self {
        Self {
            key,
            kind,
            default,
            range,
            importance: Importance::Medium,
            support: Support::Acts,
            update: Update::ReadOnly,
            is_internal: false,
            is_ours: false,
            doc,
        }
    }

    /// The same key, of this weight.
    #[must_use]
    pub const fn importance(self, importance: Importance) -> Self {
        Self { importance, ..self }
    }

    /// The same key, refused unless it has its default.
    #[must_use]
    pub const fn refused(self, why: &'static str) -> Self {
        Self { support: Support::Refused(why), ..self }
    }

    /// The same key, warned about unless it has its default.
    #[must_use]
    pub const fn warned(self, why: &'static str) -> Self {
        Self { support: Support::Warned(why), ..self }
    }

    /// The same key, warned about unless it has this value.
    #[must_use]
    pub const fn warned_unless(self, harmless: &'static str, why: &'static str) -> Self {
        Self { support: Support::WarnedUnless(harmless, why), ..self }
    }

    /// The same key, which Kafka alters at run time.
    #[must_use]
    pub const fn update(self, update: Update) -> Self {
        Self { update, ..self }
    }

    /// The same key, accepted and never described.
    #[must_use]
    pub const fn internal(self) -> Self {
        Self { is_internal: true, ..self }
    }

    /// The same key, which Kafka has not.
    #[must_use]
    pub const fn ours(self) -> Self {
        Self { is_ours: true, ..self }
    }

    /// Why this value has no effect here; none if it acts, or if it says what happens anyway.
    #[must_use]
    pub fn without_effect(&self, value: &str) -> Option<&'static str> {
        let (harmless, why) = match self.support {
            Support::Acts => return None,
            Support::Refused(why) | Support::Warned(why) => (self.default.unwrap_or_default(), why),
            Support::WarnedUnless(harmless, why) => (harmless, why),
        };
        (!value.eq_ignore_ascii_case(harmless)).then_some(why)
    }

    /// Whether its value is a secret.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Password)
    }
}

/// The tables of one owner of settings: those it shares with others and its own.
pub type Tables = &'static [&'static [Definition]];

/// The definition of `key` in `tables`.
#[must_use]
pub fn find(tables: Tables, key: &str) -> Option<&'static Definition> {
    tables.iter().copied().flatten().find(|definition| definition.key == key)
}
