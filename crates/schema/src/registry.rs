//! The client of a schema registry, by the REST interface that Confluent's registry defined and others speak.

mod config;
mod http;
mod mock;
mod schema;
mod subjects;

use std::{collections::HashMap, sync::Arc};

pub use config::{RegistryConfig, RegistryConfigBuilder};
pub use mock::MockRegistry;
use parking_lot::RwLock;
pub use schema::{Schema, SchemaReference, SchemaType};
use serde::{Deserialize, de::DeserializeOwned};
pub use subjects::{CompatibilityLevel, Deletion};

use self::http::{Answer, Http};
use crate::error::{Result, SchemaError};

/// How deep schemas may refer to others: more is a cycle.
const MAX_REFERENCE_DEPTH: usize = 32;

/// A schema as a subject has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registered {
    /// The id, over all subjects.
    pub id: i32,
    /// The version, within the subject.
    pub version: i32,
    /// The schema.
    pub schema: Arc<Schema>,
}

/// A client of a schema registry. Clones share connections and caches.
///
/// Ids, and the schemas behind them, never change; both are kept for as long as the client. What can change (the newest
/// version of a subject) is asked for every time it is wanted here, and once per topic by the serdes.
#[derive(Clone)]
pub struct SchemaRegistry(Arc<Inner>);

struct Inner {
    config: RegistryConfig,
    access: Access,
    by_id: RwLock<HashMap<i32, Arc<Schema>>>,
    /// The ids of schemas that a subject is known to have.
    ids: RwLock<HashMap<(String, Schema), i32>>,
}

/// How the registry is asked.
enum Access {
    Http(Http),
    Mock(MockRegistry),
}

impl Access {
    fn ask(&self, method: &str, path: &str, body: Option<&serde_json::Value>) -> Result<Answer> {
        match self {
            Access::Http(http) => http.ask(method, path, body),
            Access::Mock(mock) => Ok(mock.ask(method, path, body)),
        }
    }
}

impl std::fmt::Debug for SchemaRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SchemaRegistry").field("config", &self.0.config).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct IdAnswer {
    id: i32,
}

#[derive(Deserialize)]
struct VersionAnswer {
    id: i32,
    version: i32,
    #[serde(flatten)]
    schema: Schema,
}

#[derive(Deserialize)]
struct CompatibilityAnswer {
    is_compatible: bool,
}

impl SchemaRegistry {
    /// A client. The registry is not asked anything before it is needed.
    ///
    /// # Errors
    /// [`SchemaError::Certificates`] if the system's certificates cannot be read, [`SchemaError::Config`] if TLS is asked for
    /// and not built in.
    pub fn new(config: RegistryConfig) -> Result<Self> {
        let http = Http::new(&config)?;
        Ok(Self::over(config, Access::Http(http)))
    }

    fn over(config: RegistryConfig, access: Access) -> Self {
        SchemaRegistry(Arc::new(Inner { config, access, by_id: RwLock::default(), ids: RwLock::default() }))
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &RegistryConfig {
        &self.0.config
    }

    /// Registers a schema under a subject and gives its id; one that the subject has already keeps its id.
    ///
    /// # Errors
    /// [`SchemaError::Incompatible`] if the subject's rule forbids it, [`SchemaError::InvalidSchema`] if the registry
    /// cannot read it, and those of every request.
    pub fn register(&self, subject: &str, schema: &Schema) -> Result<i32> {
        self.id_by(subject, schema, |path| format!("{path}/versions"))
    }

    /// The id of a schema that the subject has already.
    ///
    /// # Errors
    /// [`SchemaError::NotFound`] if it has not, and those of every request.
    pub fn id_of(&self, subject: &str, schema: &Schema) -> Result<i32> {
        self.id_by(subject, schema, |path| path)
    }

    fn id_by(&self, subject: &str, schema: &Schema, path: impl Fn(String) -> String) -> Result<i32> {
        let entry = (subject.to_owned(), schema.clone());
        if let Some(id) = self.0.ids.read().get(&entry) {
            return Ok(*id);
        }
        let normalize = if self.0.config.normalize_schemas { "?normalize=true" } else { "" };
        let path = format!("{}{normalize}", path(format!("/subjects/{}", http::encoded(subject))));
        let answer = self.0.access.ask("POST", &path, Some(&schema.to_json()))?;
        let IdAnswer { id } = answer_of(answer, subject, schema.schema_type)?;
        self.0.ids.write().insert(entry, id);
        Ok(id)
    }

    /// The schema of an id.
    ///
    /// # Errors
    /// [`SchemaError::NotFound`] for an id that the registry did not give out, and those of every request.
    pub fn schema(&self, id: i32) -> Result<Arc<Schema>> {
        if let Some(schema) = self.0.by_id.read().get(&id) {
            return Ok(schema.clone());
        }
        let answer = self.0.access.ask("GET", &format!("/schemas/ids/{id}"), None)?;
        let schema: Arc<Schema> = Arc::new(answer_of(answer, &format!("schema {id}"), SchemaType::Avro)?);
        self.0.by_id.write().insert(id, schema.clone());
        Ok(schema)
    }

    /// The newest version of a subject.
    ///
    /// # Errors
    /// [`SchemaError::NotFound`] if there is no such subject, and those of every request.
    pub fn latest(&self, subject: &str) -> Result<Registered> {
        self.version_by(subject, "latest")
    }

    /// A version of a subject; they are numbered from 1.
    ///
    /// # Errors
    /// [`SchemaError::NotFound`] if there is none of this number, and those of every request.
    pub fn version(&self, subject: &str, version: i32) -> Result<Registered> {
        self.version_by(subject, &version.to_string())
    }

    fn version_by(&self, subject: &str, version: &str) -> Result<Registered> {
        let path = format!("/subjects/{}/versions/{version}", http::encoded(subject));
        let answer = self.0.access.ask("GET", &path, None)?;
        let VersionAnswer { id, version, schema } = answer_of(answer, subject, SchemaType::Avro)?;
        Ok(Registered { id, version, schema: Arc::new(schema) })
    }

    /// Whether a schema could follow the newest one of a subject, by the subject's rule. Anything could be the first; older
    /// versions, which a transitive rule has [`register`](Self::register) compare too, are not looked at.
    ///
    /// # Errors
    /// Those of every request.
    pub fn is_compatible(&self, subject: &str, schema: &Schema) -> Result<bool> {
        let path = format!("/compatibility/subjects/{}/versions/latest", http::encoded(subject));
        let answer = self.0.access.ask("POST", &path, Some(&schema.to_json()))?;
        Ok(answer_of::<CompatibilityAnswer>(answer, subject, schema.schema_type)?.is_compatible)
    }

    /// The schemas that a schema refers to, and those that they refer to, each before the ones that need it.
    ///
    /// # Errors
    /// [`SchemaError::InvalidSchema`] for references in a circle, and those of every request.
    pub fn referenced(&self, schema: &Schema) -> Result<Vec<Arc<Schema>>> {
        let mut found = Vec::new();
        self.collect_referenced(schema, &mut found, 0)?;
        Ok(found)
    }

    fn collect_referenced(&self, schema: &Schema, found: &mut Vec<Arc<Schema>>, depth: usize) -> Result<()> {
        if depth > MAX_REFERENCE_DEPTH {
            let (format, reason) = (schema.schema_type.name(), "its references form a circle".to_owned());
            return Err(SchemaError::InvalidSchema { format, reason });
        }
        for reference in &schema.references {
            let referenced = self.version(&reference.subject, reference.version)?.schema;
            self.collect_referenced(&referenced, found, depth + 1)?;
            if !found.contains(&referenced) {
                found.push(referenced);
            }
        }
        Ok(())
    }
}

/// What is deleted for good must have been deleted before.
const NOT_DELETED_SUBJECT: i64 = 40405;
const NOT_DELETED_VERSION: i64 = 40407;

#[derive(Deserialize)]
struct ErrorAnswer {
    error_code: i64,
    message: String,
}

/// The registry's answer, or its error in our terms.
fn answer_of<T: DeserializeOwned>(answer: Answer, what: &str, schema_type: SchemaType) -> Result<T> {
    let Answer { status, body, request } = answer;
    if (200..300).contains(&status) {
        let unreadable = |reason: serde_json::Error| SchemaError::Answer { request, reason: reason.to_string() };
        return serde_json::from_slice(&body).map_err(unreadable);
    }
    let text = || String::from_utf8_lossy(body.get(..body.len().min(500)).unwrap_or_default()).into_owned();
    let error = serde_json::from_slice(&body).unwrap_or_else(|_| ErrorAnswer { error_code: 0, message: text() });
    let ErrorAnswer { error_code: code, message } = error;
    let what = what.to_owned();
    // Codes are the same everywhere; under which status they come differs between registries.
    Err(match (status, code) {
        (_, NOT_DELETED_SUBJECT | NOT_DELETED_VERSION) => SchemaError::Registry { status, code, message },
        (_, 40400..=40499) => SchemaError::NotFound { what, code, message },
        (404, _) => {
            let reason = "HTTP status 404 without a registry's error code: is `schema.registry.url` right?".to_owned();
            SchemaError::Answer { request, reason }
        }
        (409, 0 | 409 | 40901) => SchemaError::Incompatible { subject: what, message },
        (401 | 403, _) => SchemaError::Unauthorized { status, message },
        (_, 42201) => SchemaError::InvalidSchema { format: schema_type.name(), reason: message },
        _ => SchemaError::Registry { status, code, message },
    })
}
