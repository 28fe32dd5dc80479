//! A registry in this process, for tests: nothing is asked over a network.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{RegistryConfig, SchemaRegistry, http::Answer};

/// A schema registry in memory, with the answers of a real one: ids over all subjects, versions within each.
///
/// It takes every schema that is JSON where its format is (Avro's and JSON Schema's are), and compares none with the one
/// before: [`SchemaRegistry::is_compatible`] is refused with status 501. Clones share their schemas, as do the clients.
///
/// ```
/// use vltava_schema::{Schema, SchemaType, registry::{MockRegistry, RegistryConfig}};
///
/// let mock = MockRegistry::new();
/// let registry = mock.client(RegistryConfig::builder("http://mock").build()?);
/// let id = registry.register("orders-value", &Schema::new(SchemaType::Json, r#"{"type": "object"}"#))?;
/// assert_eq!(registry.latest("orders-value")?.id, id);
/// assert_eq!(registry.subjects()?, ["orders-value"]);
/// # Ok::<(), vltava_schema::SchemaError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MockRegistry(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Bodies of schemas; the id is the index, from 1.
    schemas: Vec<Value>,
    /// Indexes of schemas by version, from 1.
    subjects: BTreeMap<String, Vec<usize>>,
}

impl MockRegistry {
    /// A registry without schemas.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A client of it. The settings are those of any client; their address is not asked.
    #[must_use]
    pub fn client(&self, config: RegistryConfig) -> SchemaRegistry {
        SchemaRegistry::over(config, super::Access::Mock(self.clone()))
    }

    /// The answer to a request of the REST interface, its status and its body: for who puts a registry behind a socket.
    /// `path` begins with `/`, its segments are percent-encoded; a query is not regarded.
    #[must_use]
    pub fn answer(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let path = path.split('?').next().unwrap_or_default();
        let segments: Vec<String> = path.trim_matches('/').split('/').map(decoded).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let mut state = self.0.lock();
        match (method, &segments[..]) {
            ("GET", ["subjects"]) => (200, json!(state.subjects.keys().collect::<Vec<_>>())),
            ("POST", ["subjects", subject, "versions"]) => state.register(subject, body),
            ("POST", ["subjects", subject]) => state.look_up(subject, body),
            ("GET", ["subjects", subject, "versions", version]) => state.version(subject, version),
            ("GET", ["schemas", "ids", id]) => state.by_id(id),
            ("POST", ["compatibility", ..]) => error(501, 501, "this registry in memory does not compare schemas"),
            _ => error(405, 405, "HTTP 405 Method Not Allowed"),
        }
    }

    pub(super) fn request(&self, method: &str, path: &str, body: &Value) -> Answer {
        let (status, answer) = self.answer(method, path, body);
        Answer { status, body: answer.to_string().into_bytes(), request: format!("{method} {path}") }
    }
}

fn error(status: u16, code: u32, message: &str) -> (u16, Value) {
    (status, json!({ "error_code": code, "message": message }))
}

/// A segment of a path as the name it stands for.
fn decoded(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| after.get(..2)).flatten();
        let byte = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl State {
    fn register(&mut self, subject: &str, body: &Value) -> (u16, Value) {
        let text = body.get("schema").and_then(Value::as_str);
        let is_json = body.get("schemaType").is_none_or(|format| format != "PROTOBUF");
        if text.is_none_or(|text| is_json && serde_json::from_str::<Value>(text).is_err()) {
            return error(422, 42201, "Invalid schema");
        }
        let known = self.schemas.iter().position(|known| known == body);
        let at = known.unwrap_or_else(|| {
            self.schemas.push(body.clone());
            self.schemas.len() - 1
        });
        let versions = self.subjects.entry(subject.to_owned()).or_default();
        if !versions.contains(&at) {
            versions.push(at);
        }
        (200, json!({ "id": at + 1 }))
    }

    fn look_up(&self, subject: &str, body: &Value) -> (u16, Value) {
        let Some(versions) = self.subjects.get(subject) else { return error(404, 40401, "Subject not found") };
        match versions.iter().position(|at| self.schemas.get(*at) == Some(body)) {
            Some(at) => self.version(subject, &(at + 1).to_string()),
            None => error(404, 40403, "Schema not found"),
        }
    }

    fn version(&self, subject: &str, version: &str) -> (u16, Value) {
        let Some(versions) = self.subjects.get(subject) else { return error(404, 40401, "Subject not found") };
        let number = if version == "latest" { Some(versions.len()) } else { version.parse().ok() };
        let Some(number) = number.filter(|number| *number > 0) else {
            return error(422, 42202, "The specified version is not a valid version id");
        };
        let found = versions.get(number - 1).and_then(|at| Some((at, self.schemas.get(*at)?)));
        let Some((at, Value::Object(schema))) = found else { return error(404, 40402, "Version not found") };
        let mut answer = schema.clone();
        answer.extend([
            ("subject".to_owned(), json!(subject)),
            ("version".to_owned(), json!(number)),
            ("id".to_owned(), json!(at + 1)),
        ]);
        (200, answer.into())
    }

    fn by_id(&self, id: &str) -> (u16, Value) {
        let at = id.parse::<usize>().ok().and_then(|id| id.checked_sub(1));
        match at.and_then(|at| self.schemas.get(at)) {
            Some(schema) => (200, schema.clone()),
            None => error(404, 40403, "Schema not found"),
        }
    }
}
