//! Makes the bytes of messages from Kafka's specifications (`src/schema/schemas.txt`), without the generated
//! code: a structure is walked at a version, and each field gets a random value.

use std::collections::HashMap;

/// A message of the specifications.
pub(crate) struct Schema {
    pub(crate) module: String,
    pub(crate) name: String,
    pub(crate) min: i16,
    pub(crate) max: i16,
    flexible_since: i16,
    structs: HashMap<String, Vec<Field>>,
}

struct Field {
    kind: String,
    present: Option<(i16, i16)>,
    nullable: Option<(i16, i16)>,
    default: String,
    tag: Option<u32>,
    never_flexible: bool,
}

/// Reads all specifications.
pub(crate) fn load() -> Vec<Schema> {
    let mut schemas: Vec<Schema> = Vec::new();
    let mut current = String::new();
    for line in include_str!("../../src/schema/schemas.txt").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "M" => schemas.push(Schema {
                module: words[1].replace('/', "::"),
                name: words[2].to_owned(),
                min: words[3].parse().unwrap(),
                max: words[4].parse().unwrap(),
                flexible_since: words[5].parse().unwrap(),
                structs: HashMap::new(),
            }),
            "S" => {
                current = words[1].to_owned();
                schemas.last_mut().unwrap().structs.insert(current.clone(), Vec::new());
            }
            "F" => schemas.last_mut().unwrap().structs.get_mut(&current).unwrap().push(Field {
                kind: words[2].to_owned(),
                present: range(words[3]),
                nullable: range(words[4]),
                default: words[5].to_owned(),
                tag: words[6].parse().ok(),
                never_flexible: words.get(7) == Some(&"inflexible"),
            }),
            _ => assert!(line.starts_with('#'), "{line}"),
        }
    }
    schemas
}

fn range(text: &str) -> Option<(i16, i16)> {
    let (low, high) = text.split_once("..")?;
    Some((low.parse().unwrap(), high.parse().unwrap()))
}

fn holds(range: Option<(i16, i16)>, version: i16) -> bool {
    range.is_some_and(|(low, high)| (low..=high).contains(&version))
}

/// Random numbers by SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

impl Schema {
    /// Makes a message of the version, with tagged fields that the specification does not have when
    /// `unknown_tags` is set.
    pub(crate) fn sample(&self, version: i16, random: &mut Random, unknown_tags: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let mut maker = Maker { schema: self, version, flexible: version >= self.flexible_since, random, unknown_tags };
        maker.structure(&self.name, &mut out);
        out
    }
}

struct Maker<'a> {
    schema: &'a Schema,
    version: i16,
    flexible: bool,
    random: &'a mut Random,
    unknown_tags: bool,
}

impl Maker<'_> {
    fn structure(&mut self, name: &str, out: &mut Vec<u8>) {
        let (schema, version) = (self.schema, self.version);
        let mut tagged: Vec<(u32, Vec<u8>)> = Vec::new();
        for field in schema.structs[name].iter().filter(|field| holds(field.present, version)) {
            match field.tag {
                None => self.field(field, out),
                Some(tag) if self.random.one_in(2) => {
                    let mut value = Vec::new();
                    self.field(field, &mut value);
                    tagged.push((tag, value));
                }
                // Left out: the field has its default.
                Some(_) => {}
            }
        }
        if self.unknown_tags && self.flexible && self.random.one_in(4) {
            tagged.push((1000 + self.random.below(10_000) as u32, vec![1, 2, 3]));
        }
        if self.flexible {
            tagged.sort_by_key(|(tag, _)| *tag);
            varint(tagged.len(), out);
            for (tag, value) in tagged {
                varint(tag as usize, out);
                varint(value.len(), out);
                out.extend_from_slice(&value);
            }
        } else {
            assert!(tagged.is_empty(), "{name} has tagged fields in version {}", self.version);
        }
    }

    fn field(&mut self, field: &Field, out: &mut Vec<u8>) {
        let flexible = self.flexible && !field.never_flexible;
        let is_struct = field.kind.starts_with(|c: char| c.is_ascii_uppercase());
        let nullable = holds(field.nullable, self.version);
        // A tagged field with its default would not be written.
        let may_be_null = nullable && (field.tag.is_none() || field.default != "null");
        if may_be_null && self.random.one_in(4) {
            match field.kind.as_str() {
                _ if is_struct && field.tag.is_some() => out.push(0),
                _ if is_struct => out.push(0xff),
                _ if flexible => out.push(0),
                "string" => out.extend_from_slice(&[0xff; 2]),
                _ => out.extend_from_slice(&[0xff; 4]),
            }
            return;
        }
        if is_struct && nullable {
            out.push(1);
        }
        self.value(&field.kind, flexible, field.tag.is_some(), out);
    }

    fn value(&mut self, kind: &str, flexible: bool, tagged: bool, out: &mut Vec<u8>) {
        let at_least = u64::from(tagged);
        if let Some(element) = kind.strip_prefix("[]") {
            let len = (at_least + self.random.below(3)) as usize;
            length(len, flexible, 4, out);
            for _ in 0..len {
                self.value(element, flexible, tagged, out);
            }
            return;
        }
        // Never a default, which is at most 60,000 or at least the type's highest value but in numbers
        // of 8 bits, whose defaults are up to 16.
        let number = self.random.next();
        match kind {
            "bool" => out.push(if tagged { 1 } else { (number & 1) as u8 }),
            "int8" => out.push(20 + (number % 100) as u8),
            "int16" | "uint16" => out.extend_from_slice(&((2001 + number % 30_000) as u16).to_be_bytes()),
            "int32" | "uint32" => out.extend_from_slice(&((60_001 + number % 2_000_000_000) as u32).to_be_bytes()),
            "int64" => out.extend_from_slice(&((number >> 2) + 60_001).to_be_bytes()),
            "float64" => out.extend_from_slice(&(1.0 + (number >> 20) as f64).to_be_bytes()),
            "uuid" => {
                out.extend_from_slice(&(number | 1).to_be_bytes());
                out.extend_from_slice(&self.random.next().to_be_bytes());
            }
            "string" => {
                let text: String =
                    (0..at_least + self.random.below(6)).map(|i| ['a', 'é', '日'][i as usize % 3]).collect();
                length(text.len(), flexible, 2, out);
                out.extend_from_slice(text.as_bytes());
            }
            "bytes" | "records" => {
                let len = (at_least + self.random.below(200)) as usize;
                length(len, flexible, 4, out);
                out.extend(std::iter::repeat_n(number as u8, len));
            }
            name => self.structure(name, out),
        }
    }
}

fn length(len: usize, flexible: bool, width: usize, out: &mut Vec<u8>) {
    if flexible {
        varint(len + 1, out);
    } else {
        out.extend_from_slice(&(len as u32).to_be_bytes()[4 - width..]);
    }
}

fn varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
