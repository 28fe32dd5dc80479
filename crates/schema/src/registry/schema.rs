//! Schemas as the registry keeps them.

use serde::{Deserialize, Serialize};
use serde_json::json;

/// The format of a schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SchemaType {
    /// Avro: what a schema is if nothing is said.
    #[default]
    Avro,
    /// Protobuf.
    Protobuf,
    /// JSON Schema.
    Json,
}

impl SchemaType {
    /// As the registry spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SchemaType::Avro => "AVRO",
            SchemaType::Protobuf => "PROTOBUF",
            SchemaType::Json => "JSON",
        }
    }
}

/// Another schema that a schema uses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SchemaReference {
    /// By which it is used: an Avro type's full name, the path of an imported Protobuf file, the URL of a JSON schema.
    pub name: String,
    /// The subject that has it.
    pub subject: String,
    /// The version within the subject.
    pub version: i32,
}

/// A schema: its text, its format, and the schemas it refers to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct Schema {
    /// The format.
    #[serde(default, rename = "schemaType")]
    pub schema_type: SchemaType,
    /// The text.
    #[serde(rename = "schema")]
    pub text: String,
    /// What it refers to.
    #[serde(default)]
    pub references: Vec<SchemaReference>,
}

impl Schema {
    /// A schema that refers to no other.
    pub fn new(schema_type: SchemaType, text: impl Into<String>) -> Self {
        Schema { schema_type, text: text.into(), references: Vec::new() }
    }

    /// With references to schemas of the registry.
    #[must_use]
    pub fn with_references(mut self, references: impl IntoIterator<Item = SchemaReference>) -> Self {
        self.references = references.into_iter().collect();
        self
    }

    /// The body of a request; the registry's oldest versions know neither types nor references.
    pub(super) fn to_json(&self) -> serde_json::Value {
        let mut body = serde_json::Map::new();
        body.insert("schema".to_owned(), json!(self.text));
        if self.schema_type != SchemaType::Avro {
            body.insert("schemaType".to_owned(), json!(self.schema_type.name()));
        }
        if !self.references.is_empty() {
            body.insert("references".to_owned(), json!(self.references));
        }
        body.into()
    }
}
