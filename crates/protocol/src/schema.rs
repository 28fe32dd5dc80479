//! Kafka's specifications as data: any message read field by field, for who shows what it holds.
//!
//! The types of [`messages`](crate::messages) and [`records`](crate::records) are what a program works with. A tool that
//! prints messages needs the names of their fields, and nothing else; it reads them by the specification itself, which
//! `cargo xtask codegen` leaves beside the types.

use std::collections::HashMap;

use bytes::Bytes;

use crate::Uuid;
use crate::wire::{DecodeError, Reader};

#[cfg(test)]
mod tests;

/// One line per message, structure and field, as `xtask/src/codegen/schemas.rs` writes them.
const SCHEMAS: &str = include_str!("schema/schemas.txt");

/// What a field of a message holds, by the types of Kafka's specifications.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Null.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer of any width.
    Integer(i64),
    /// A floating-point number.
    Float(f64),
    /// A string.
    String(String),
    /// Bytes.
    Bytes(Bytes),
    /// An identifier.
    Uuid(Uuid),
    /// An array.
    Array(Vec<Value>),
    /// A structure: its fields by name, in the specification's order. Those that the version lacks are not there, and tagged
    /// ones are only where they are not the default.
    Struct(Vec<(String, Value)>),
}

/// Kafka's specification of one message.
#[derive(Debug, Clone)]
pub struct Schema {
    name: &'static str,
    number: Option<i16>,
    min_version: i16,
    max_version: i16,
    flexible_since: i16,
    structs: HashMap<&'static str, Vec<Field>>,
}

#[derive(Debug, Clone)]
struct Field {
    name: &'static str,
    kind: &'static str,
    present: Versions,
    nullable: Versions,
    default: &'static str,
    tag: Option<u32>,
    never_flexible: bool,
}

/// A range of versions, both ends included; `None` for none.
type Versions = Option<(i16, i16)>;

impl Schema {
    /// All messages of a family: `messages`, `records/group`, `records/transaction`, `records/share` or `records/metadata`.
    #[must_use]
    pub fn family(family: &str) -> Vec<Self> {
        let mut schemas: Vec<Self> = Vec::new();
        let mut of_family = false;
        let mut current = "";
        for line in SCHEMAS.lines() {
            let words: Vec<&'static str> = line.split(' ').collect();
            match (words.as_slice(), schemas.last_mut()) {
                (["M", module, name, min, max, since, number], _) => {
                    of_family = *module == family;
                    if of_family {
                        schemas.push(Self {
                            name,
                            number: number.parse().ok(),
                            min_version: version(min),
                            max_version: version(max),
                            flexible_since: version(since),
                            structs: HashMap::new(),
                        });
                    }
                }
                (["S", name], Some(schema)) if of_family => {
                    current = name;
                    schema.structs.insert(name, Vec::new());
                }
                (["F", name, kind, present, nullable, default, tag, rest @ ..], Some(schema)) if of_family => {
                    schema.structs.entry(current).or_default().push(Field {
                        name,
                        kind,
                        present: versions(present),
                        nullable: versions(nullable),
                        default,
                        tag: tag.parse().ok(),
                        never_flexible: !rest.is_empty(),
                    });
                }
                _ => {}
            }
        }
        schemas
    }

    /// The message of this name in a family.
    #[must_use]
    pub fn find(family: &str, name: &str) -> Option<Self> {
        Self::family(family).into_iter().find(|schema| schema.name == name)
    }

    /// The name in Kafka's specification, such as `TransactionLogValue`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The number of the API, or the type of the record; both halves of a coordinator's record have it.
    #[must_use]
    pub fn number(&self) -> Option<i16> {
        self.number
    }

    /// Whether Kafka 4.3 has this version.
    #[must_use]
    pub fn has_version(&self, version: i16) -> bool {
        (self.min_version..=self.max_version).contains(&version)
    }

    /// Reads a message of the given version, which [`has_version`](Self::has_version). Bytes that follow it stay in the reader.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not such a message.
    pub fn read(&self, r: &mut Reader, version: i16) -> Result<Value, DecodeError> {
        Reading { schema: self, version, flexible: version >= self.flexible_since }.structure(self.name, r)
    }
}

/// A message that is being read.
struct Reading<'a> {
    schema: &'a Schema,
    version: i16,
    flexible: bool,
}

impl Reading<'_> {
    fn structure(&self, name: &str, r: &mut Reader) -> Result<Value, DecodeError> {
        let fields = self.schema.structs.get(name).map(Vec::as_slice).unwrap_or_default();
        let present: Vec<&Field> = fields.iter().filter(|field| holds(field.present, self.version)).collect();
        let mut values: Vec<Option<Value>> = Vec::with_capacity(present.len());
        for field in &present {
            values.push(match field.tag {
                Some(_) => None,
                None => Some(self.field(field, r)?),
            });
        }
        let tags = if self.flexible { r.unsigned_varint()? } else { 0 };
        for _ in 0..tags {
            let (tag, size) = (r.unsigned_varint()?, r.unsigned_varint()?);
            let mut of_tag = Reader::new(r.take_bytes(size as usize)?);
            let known = present.iter().zip(&mut values).find(|(field, _)| field.tag == Some(tag));
            // One that the specification does not have is not shown.
            let Some((field, place)) = known else { continue };
            *place = Some(self.field(field, &mut of_tag)?).filter(|value| !field.is_default(value));
            of_tag.finish()?;
        }
        let named = present.iter().zip(values).filter_map(|(field, value)| Some((camel_case(field.name), value?)));
        Ok(Value::Struct(named.collect()))
    }

    fn field(&self, field: &Field, r: &mut Reader) -> Result<Value, DecodeError> {
        let flexible = self.flexible && !field.never_flexible;
        let nullable = holds(field.nullable, self.version);
        if field.is_struct() && nullable {
            let is_there = match field.tag {
                Some(_) => r.unsigned_varint()?.cast_signed() > 0,
                None => r.i8()? >= 0,
            };
            return if is_there { self.structure(field.kind, r) } else { Ok(Value::Null) };
        }
        match self.value(field.kind, flexible, r)? {
            Value::Null if !nullable => Err(DecodeError::UnexpectedNull),
            value => Ok(value),
        }
    }

    fn value(&self, kind: &str, flexible: bool, r: &mut Reader) -> Result<Value, DecodeError> {
        if let Some(element) = kind.strip_prefix("[]") {
            let Some(len) = r.array_len(flexible, 1)? else { return Ok(Value::Null) };
            let items = (0..len).map(|_| self.value(element, flexible, r));
            return items.collect::<Result<_, _>>().map(Value::Array);
        }
        Ok(match kind {
            "bool" => Value::Bool(r.bool()?),
            "int8" => Value::Integer(r.i8()?.into()),
            "int16" => Value::Integer(r.i16()?.into()),
            "uint16" => Value::Integer(r.u16()?.into()),
            "int32" => Value::Integer(r.i32()?.into()),
            "uint32" => Value::Integer(r.u32()?.into()),
            "int64" => Value::Integer(r.i64()?),
            "float64" => Value::Float(r.f64()?),
            "uuid" => Value::Uuid(r.uuid()?),
            "string" => r.opt_string(flexible)?.map_or(Value::Null, Value::String),
            "bytes" | "records" => r.opt_bytes(flexible)?.map_or(Value::Null, Value::Bytes),
            structure => self.structure(structure, r)?,
        })
    }
}

impl Field {
    fn is_struct(&self) -> bool {
        self.kind.starts_with(|c: char| c.is_ascii_uppercase())
    }

    fn is_default(&self, value: &Value) -> bool {
        match (value, self.default) {
            (Value::Null, default) => default == "null",
            (_, "null") => false,
            (Value::Bool(value), default) => *value == (default == "true"),
            (Value::Integer(value), "-") => *value == 0,
            (Value::Integer(value), default) => Some(*value) == self.number(default),
            (Value::Float(value), _) => *value == 0.0,
            (Value::String(value), _) => value.is_empty(),
            (Value::Bytes(value), _) => value.is_empty(),
            (Value::Uuid(value), _) => value.is_zero(),
            (Value::Array(items), _) => items.is_empty(),
            (Value::Struct(_), _) => false,
        }
    }

    /// A default of a number, which Rust's names of the limits may stand for.
    fn number(&self, default: &str) -> Option<i64> {
        match default {
            "i8::MAX" => Some(i8::MAX.into()),
            "i16::MAX" => Some(i16::MAX.into()),
            "i32::MAX" => Some(i32::MAX.into()),
            "i64::MAX" => Some(i64::MAX),
            "i8::MIN" => Some(i8::MIN.into()),
            "i16::MIN" => Some(i16::MIN.into()),
            "i32::MIN" => Some(i32::MIN.into()),
            "i64::MIN" => Some(i64::MIN),
            number => number.parse().ok(),
        }
    }
}

fn holds(versions: Versions, version: i16) -> bool {
    versions.is_some_and(|(low, high)| (low..=high).contains(&version))
}

fn versions(text: &str) -> Versions {
    let (low, high) = text.split_once("..")?;
    Some((version(low), version(high)))
}

/// A version of the file, which a test reads from end to end.
fn version(text: &str) -> i16 {
    text.parse().unwrap_or(i16::MAX)
}

/// A field's name as Java and JSON have it.
fn camel_case(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
}
