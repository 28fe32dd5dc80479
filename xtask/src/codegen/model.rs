//! What a specification means: structures whose fields have a Rust type and a condition on the version.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::names;
use super::spec::{self, Spec, Versions};

/// A message with everything resolved.
pub(super) struct Message {
    pub(super) name: String,
    /// `request`, `response`, `header`, `data`, `metadata`, `coordinator-key` or `coordinator-value`.
    pub(super) kind: String,
    pub(super) api_key: Option<i16>,
    /// `None` for a message that Kafka has dropped altogether.
    pub(super) valid: Option<Versions>,
    pub(super) flexible_since: Option<i16>,
    pub(super) latest_version_unstable: bool,
    pub(super) listeners: Vec<String>,
    /// The message itself first, then the structures within it.
    pub(super) structs: Vec<Struct>,
}

/// A structure.
pub(super) struct Struct {
    pub(super) name: String,
    /// The versions in which it occurs.
    pub(super) versions: Versions,
    pub(super) fields: Vec<Field>,
}

/// A field that occurs in at least one version of its structure.
pub(super) struct Field {
    /// Kafka's name.
    pub(super) name: String,
    /// The Rust identifier.
    pub(super) ident: String,
    pub(super) kind: Type,
    pub(super) present: Condition,
    /// `Never` for a field whose Rust type has no `Option`.
    pub(super) nullable: Condition,
    pub(super) default: Default,
    pub(super) tag: Option<u32>,
    pub(super) ignorable: bool,
    /// The field has the older form even in flexible versions.
    pub(super) never_flexible: bool,
}

/// When something holds, within the versions of its structure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Condition {
    Always,
    Never,
    From(i16),
    UpTo(i16),
    Between(i16, i16),
}

/// A field's type on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Type {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Int64,
    Float64,
    Uuid,
    String,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Type>),
}

/// A field's default.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Default {
    /// The default of the type: 0, false, empty, the structure's own.
    Type,
    Null,
    /// A number or boolean, as Rust writes it.
    Literal(String),
}

impl Message {
    /// Resolves a specification.
    pub(super) fn new(spec: &Spec) -> Result<Self> {
        let valid = Versions::parse(&spec.valid_versions)?;
        let flexible = Versions::parse(&spec.flexible_versions)?;
        let mut structs = Vec::new();
        if let Some(valid) = valid {
            let common: BTreeMap<&str, &spec::Struct> =
                spec.common_structs.iter().map(|common| (common.name.as_str(), common)).collect();
            let mut resolver = Resolver { valid, common, structs: Vec::new() };
            resolver.structure(&spec.name, valid, &spec.fields)?;
            structs = resolver.structs;
        }
        Ok(Self {
            name: spec.name.clone(),
            kind: spec.kind.clone(),
            api_key: spec.api_key,
            valid,
            flexible_since: flexible.map(|versions| versions.low),
            latest_version_unstable: spec.latest_version_unstable,
            listeners: spec.listeners.clone(),
            structs,
        })
    }

    /// Returns whether Kafka still has the message.
    pub(super) fn is_alive(&self) -> bool {
        self.valid.is_some()
    }

    /// Returns whether flexible versions occur among the valid ones.
    pub(super) fn is_ever_flexible(&self) -> bool {
        self.valid.zip(self.flexible_since).is_some_and(|(valid, since)| since <= valid.high)
    }

    /// Returns whether the version is flexible.
    pub(super) fn is_flexible(&self, version: i16) -> bool {
        self.flexible_since.is_some_and(|since| version >= since)
    }

    /// Returns the structure of that name.
    pub(super) fn structure(&self, name: &str) -> Result<&Struct> {
        self.structs.iter().find(|s| s.name == name).with_context(|| format!("no structure {name}"))
    }

    /// Returns the fewest bytes that the structure takes in any of its versions.
    pub(super) fn min_size(&self, structure: &Struct) -> Result<usize> {
        let valid = self.valid.context("dropped")?;
        let versions = structure.versions.low..=structure.versions.high.min(valid.high);
        versions
            .map(|version| self.min_size_at(structure, version))
            .try_fold(usize::MAX, |min, size| Ok(min.min(size?)))
    }

    fn min_size_at(&self, structure: &Struct, version: i16) -> Result<usize> {
        let flexible = self.is_flexible(version);
        let mut size = usize::from(flexible);
        for field in structure.fields.iter().filter(|field| field.tag.is_none() && field.present.holds(version)) {
            let flexible = flexible && !field.never_flexible;
            size += match &field.kind {
                Type::Bool | Type::Int8 => 1,
                Type::Int16 | Type::Uint16 => 2,
                Type::Int32 | Type::Uint32 => 4,
                Type::Int64 | Type::Float64 => 8,
                Type::Uuid => 16,
                Type::String if !flexible => 2,
                Type::Bytes | Type::Records | Type::Array(_) if !flexible => 4,
                Type::String | Type::Bytes | Type::Records | Type::Array(_) => 1,
                Type::Struct(_) if field.nullable != Condition::Never => 1,
                Type::Struct(name) => self.min_size_at(self.structure(name)?, version)?,
            };
        }
        Ok(size)
    }
}

struct Resolver<'a> {
    valid: Versions,
    common: BTreeMap<&'a str, &'a spec::Struct>,
    structs: Vec<Struct>,
}

impl Resolver<'_> {
    fn structure(&mut self, name: &str, versions: Versions, fields: &[spec::Field]) -> Result<()> {
        if self.structs.iter().any(|s| s.name == name) {
            return Ok(());
        }
        let at = self.structs.len();
        self.structs.push(Struct { name: name.to_owned(), versions, fields: Vec::new() });
        let mut resolved = Vec::new();
        for field in fields {
            if let Some(field) = self.field(field, versions).with_context(|| format!("{name}.{}", field.name))? {
                resolved.push(field);
            }
        }
        self.structs.get_mut(at).context("lost structure")?.fields = resolved;
        Ok(())
    }

    /// Resolves a field, `None` for one that no version of the structure has.
    fn field(&mut self, field: &spec::Field, within: Versions) -> Result<Option<Field>> {
        let stated = field.versions.as_ref().or(field.tagged_versions.as_ref()).context("no versions")?;
        let Some(versions) = Versions::parse(stated)?.and_then(|versions| versions.intersect(within)) else {
            return Ok(None);
        };
        if let Some(tagged) = &field.tagged_versions {
            ensure!(field.tag.is_some(), "taggedVersions without tag");
            ensure!(Versions::parse(tagged)?.and_then(|v| v.intersect(within)) == Some(versions), "partly tagged");
        }
        if let Some(flexible) = &field.flexible_versions {
            ensure!(flexible == "none", "flexibleVersions {flexible}");
        }
        let kind = Type::parse(&field.kind)?;
        if let Some(name) = kind.structure() {
            match self.common.get(name).copied() {
                Some(common) => {
                    let range = Versions::parse(&common.versions)?.context("no versions")?;
                    // Fields of several ranges may share it: what counts is its own range.
                    self.structure(name, range.intersect(self.valid).context("no versions")?, &common.fields)?;
                }
                None => self.structure(name, versions, field.fields.as_ref().context("no fields")?)?,
            }
        }
        let nullable = match &field.nullable_versions {
            Some(text) => Versions::parse(text)?.and_then(|nullable| nullable.intersect(versions)),
            None => None,
        };
        let nullable = nullable.map_or(Condition::Never, |nullable| Condition::new(nullable, versions));
        Ok(Some(Field {
            name: field.name.clone(),
            ident: names::field(&field.name),
            default: Default::new(&kind, field.default.as_ref(), nullable)?,
            present: Condition::new(versions, within),
            nullable,
            kind,
            tag: field.tag,
            ignorable: field.ignorable,
            never_flexible: field.flexible_versions.is_some(),
        }))
    }
}

impl Condition {
    fn new(versions: Versions, within: Versions) -> Self {
        match (versions.low <= within.low, versions.high >= within.high) {
            (true, true) => Self::Always,
            (false, true) => Self::From(versions.low),
            (true, false) => Self::UpTo(versions.high),
            (false, false) => Self::Between(versions.low, versions.high),
        }
    }

    /// Returns whether it holds in the version.
    pub(super) fn holds(self, version: i16) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::From(low) => version >= low,
            Self::UpTo(high) => version <= high,
            Self::Between(low, high) => (low..=high).contains(&version),
        }
    }

    /// Returns the opposite of the condition as a Rust expression, `None` when there is nothing to test.
    pub(super) fn negation(self) -> Option<String> {
        match self {
            Self::Always | Self::Never => None,
            Self::From(low) => Some(format!("version < {low}")),
            Self::UpTo(high) => Some(format!("version > {high}")),
            Self::Between(low, high) if low == high => Some(format!("version != {low}")),
            Self::Between(low, high) => Some(format!("!({low}..={high}).contains(&version)")),
        }
    }

    /// Returns the condition as a Rust expression, `None` when there is nothing to test.
    pub(super) fn expression(self) -> Option<String> {
        match self {
            Self::Always | Self::Never => None,
            Self::From(low) => Some(format!("version >= {low}")),
            Self::UpTo(high) => Some(format!("version <= {high}")),
            Self::Between(low, high) if low == high => Some(format!("version == {low}")),
            Self::Between(low, high) => Some(format!("({low}..={high}).contains(&version)")),
        }
    }
}

impl Type {
    fn parse(text: &str) -> Result<Self> {
        if let Some(element) = text.strip_prefix("[]") {
            return Ok(Self::Array(Box::new(Self::parse(element)?)));
        }
        Ok(match text {
            "bool" => Self::Bool,
            "int8" => Self::Int8,
            "int16" => Self::Int16,
            "uint16" => Self::Uint16,
            "int32" => Self::Int32,
            "uint32" => Self::Uint32,
            "int64" => Self::Int64,
            "float64" => Self::Float64,
            "uuid" => Self::Uuid,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "records" => Self::Records,
            name if name.starts_with(|c: char| c.is_ascii_uppercase()) => Self::Struct(name.to_owned()),
            other => bail!("unknown type {other}"),
        })
    }

    /// Returns the name of the structure that a value of this type has or holds.
    pub(super) fn structure(&self) -> Option<&str> {
        match self {
            Self::Struct(name) => Some(name),
            Self::Array(element) => element.structure(),
            _ => None,
        }
    }
}

impl Default {
    fn new(kind: &Type, stated: Option<&Value>, nullable: Condition) -> Result<Self> {
        let is_nullable = nullable != Condition::Never;
        let text = match stated {
            // Kafka's own: records start as null, everything else as the type's default.
            None if *kind == Type::Records && is_nullable => return Ok(Self::Null),
            None => return Ok(Self::Type),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        Ok(match text.as_str() {
            "null" if is_nullable => Self::Null,
            "" | "0" | "false" => Self::Type,
            "true" if *kind == Type::Bool => Self::Literal(text),
            number => {
                let value = match number.strip_prefix("0x") {
                    Some(hex) => i64::from_str_radix(hex, 16)?,
                    None => number.parse::<i64>()?,
                };
                Self::Literal(literal(kind, value)?)
            }
        })
    }
}

fn literal(kind: &Type, value: i64) -> Result<String> {
    let (min, max, name) = match kind {
        Type::Int8 => (i64::from(i8::MIN), i64::from(i8::MAX), "i8"),
        Type::Int16 => (i64::from(i16::MIN), i64::from(i16::MAX), "i16"),
        Type::Uint16 => (0, i64::from(u16::MAX), "u16"),
        Type::Int32 => (i64::from(i32::MIN), i64::from(i32::MAX), "i32"),
        Type::Int64 => (i64::MIN, i64::MAX, "i64"),
        other => bail!("default {value} for {other:?}"),
    };
    ensure!((min..=max).contains(&value), "default {value} for {name}");
    Ok(match value {
        _ if value == max => format!("{name}::MAX"),
        _ if value == min => format!("{name}::MIN"),
        _ => value.to_string(),
    })
}
