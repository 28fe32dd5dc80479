//! One Avro schema, ready to write and read.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
};

use apache_avro::{
    Schema as AvroSchema, from_value, reader::datum::GenericDatumReader, writer::datum::GenericDatumWriter,
};
use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{Result, SchemaError},
    registry::Schema,
};

/// A schema and those it refers to.
struct Parsed {
    schema: AvroSchema,
    references: Vec<AvroSchema>,
}

impl Parsed {
    /// What is referred to comes before what refers to it.
    fn all(&self) -> Vec<&AvroSchema> {
        self.references.iter().chain([&self.schema]).collect()
    }
}

/// Writers and readers borrow their schema, so a schema lives as long as the process. Each text is kept once, and a
/// process meets as many of them as there are versions of its types.
static PARSED: LazyLock<Mutex<HashMap<Vec<String>, &'static Parsed>>> = LazyLock::new(Mutex::default);

fn parsed(text: &str, references: &[Arc<Schema>]) -> Result<&'static Parsed> {
    let mut key: Vec<String> = references.iter().map(|reference| reference.text.clone()).collect();
    key.push(text.to_owned());
    let mut known = PARSED.lock();
    if let Some(parsed) = known.get(&key) {
        return Ok(parsed);
    }
    let texts = references.iter().map(|reference| reference.text.as_str());
    let (schema, references) = AvroSchema::parse_str_with_list(text, texts).map_err(invalid)?;
    let parsed: &'static Parsed = Box::leak(Box::new(Parsed { schema, references }));
    known.insert(key, parsed);
    Ok(parsed)
}

fn invalid(error: apache_avro::Error) -> SchemaError {
    SchemaError::InvalidSchema { format: "AVRO", reason: error.to_string() }
}

fn value(error: apache_avro::Error) -> SchemaError {
    SchemaError::Value { format: "avro", reason: error.to_string() }
}

pub(crate) struct Codec {
    parsed: &'static Parsed,
    writer: GenericDatumWriter<'static>,
    reader: GenericDatumReader<'static>,
    /// Whether what is read becomes an Avro value first: it is resolved to another schema, or the type it becomes has
    /// another name than the record, which reading it at once does not take.
    by_value: AtomicBool,
}

impl Codec {
    /// Writes with a schema; reads what was written with it, as a value of `into` if that is another one.
    pub(crate) fn new(text: &str, references: &[Arc<Schema>], into: Option<&Codec>) -> Result<Self> {
        let parsed = parsed(text, references)?;
        let schemata = || parsed.all();
        let builder = GenericDatumWriter::builder(&parsed.schema).schemata(schemata()).map_err(invalid)?;
        let writer = builder.build().map_err(invalid)?;
        let builder = GenericDatumReader::builder(&parsed.schema).writer_schemata(schemata()).map_err(invalid)?;
        // Schemas of one canonical form lie in bytes the same way.
        let same = |other: &Codec| other.parsed.schema.canonical_form() == parsed.schema.canonical_form();
        let (reader, by_value) = match into.filter(|into| !same(into)) {
            None => (builder.build().map_err(invalid)?, false),
            Some(Codec { parsed: into, .. }) => {
                let builder = builder.reader_schema(&into.schema).reader_schemata(into.all()).map_err(invalid)?;
                (builder.build().map_err(invalid)?, true)
            }
        };
        Ok(Codec { parsed, writer, reader, by_value: AtomicBool::new(by_value) })
    }

    /// The record's full name, if it is a named type.
    pub(crate) fn name(&self) -> Option<String> {
        self.parsed.schema.name().map(|name| name.fullname(None))
    }

    pub(crate) fn write<T: Serialize>(&self, written: &T, out: &mut Vec<u8>) -> Result<()> {
        self.writer.write_ser(out, written).map(drop).map_err(value)
    }

    pub(crate) fn read<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        if self.by_value.load(Ordering::Relaxed) {
            return self.read_by_value(bytes);
        }
        let at_once = self.reader.read_deser(&mut { bytes });
        at_once.or_else(|error| {
            let read = self.read_by_value(bytes).map_err(|_| value(error))?;
            self.by_value.store(true, Ordering::Relaxed);
            Ok(read)
        })
    }

    fn read_by_value<T: DeserializeOwned>(&self, mut bytes: &[u8]) -> Result<T> {
        let read = self.reader.read_value(&mut bytes).map_err(value)?;
        from_value(&read).map_err(value)
    }
}
