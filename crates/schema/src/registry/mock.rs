//! A registry in this process, for tests: nothing is asked over a network.

mod compatibility;

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{CompatibilityLevel, RegistryConfig, SchemaRegistry, http::Answer};

/// A schema registry in memory, with the answers of a real one: ids over all subjects, versions within each.
///
/// It takes every schema that is JSON where its format is (Avro's and JSON Schema's are) and does not look whether what
/// it refers to is there. Subjects have the rule [`None`](super::CompatibilityLevel::None) until they are given another,
/// under which it compares Avro schemas without references (with the feature `avro`); where it cannot compare, it refuses
/// with status 501. `normalize.schemas` takes texts as one that are the same JSON. Clones share their schemas, as do the
/// clients.
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
    subjects: BTreeMap<String, Vec<Version>>,
    levels: BTreeMap<String, CompatibilityLevel>,
}

#[derive(Debug)]
struct Version {
    number: i64,
    /// Index of the schema.
    at: usize,
    /// Softly deleted.
    deleted: bool,
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
    /// `path` begins with `/`, its segments are percent-encoded.
    #[must_use]
    pub fn answer(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let has = |flag: &str| query.split('&').any(|given| given == flag);
        let (normalize, permanent) = (has("normalize=true"), has("permanent=true"));
        let segments: Vec<String> = path.trim_matches('/').split('/').map(decoded).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let mut state = self.0.lock();
        let answer = match (method, &segments[..]) {
            ("GET", ["subjects"]) => Ok(state.names()),
            ("GET", ["subjects", subject, "versions"]) => state.versions(subject),
            ("POST", ["subjects", subject, "versions"]) => state.register(subject, body, normalize),
            ("POST", ["subjects", subject]) => state.look_up(subject, body, normalize),
            ("GET", ["subjects", subject, "versions", version]) => state.version(subject, version),
            ("DELETE", ["subjects", subject, "versions", version]) => state.delete_version(subject, version, permanent),
            ("DELETE", ["subjects", subject]) => state.delete_subject(subject, permanent),
            ("GET", ["schemas", "ids", id]) => state.by_id(id),
            ("GET", ["config", subject]) => Ok(json!({ "compatibilityLevel": state.level(subject) })),
            ("PUT", ["config", subject]) => state.set_level(subject, body),
            ("POST", ["compatibility", "subjects", subject, "versions", "latest"]) => {
                state.fits(subject, body, 1).map(|fits| json!({ "is_compatible": fits }))
            }
            _ => Err(error(405, 405, "HTTP 405 Method Not Allowed")),
        };
        answer.map_or_else(|error| error, |body| (200, body))
    }

    pub(super) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let (status, answer) = self.answer(method, path, body.unwrap_or(&Value::Null));
        Answer { status, body: answer.to_string().into_bytes(), request: format!("{method} {path}") }
    }
}

/// A body, or the status and the body of an error.
type Answered = Result<Value, (u16, Value)>;

fn error(status: u16, code: u32, message: &str) -> (u16, Value) {
    (status, json!({ "error_code": code, "message": message }))
}

fn no_subject() -> (u16, Value) {
    error(404, 40401, "Subject not found")
}

fn no_version() -> (u16, Value) {
    error(404, 40402, "Version not found")
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

/// The text of a schema as JSON, if it is.
fn parsed(body: &Value) -> Option<Value> {
    serde_json::from_str(body.get("schema")?.as_str()?).ok()
}

/// Whether two bodies are the same schema.
fn same(one: &Value, other: &Value, normalize: bool) -> bool {
    let alike = |key| one.get(key) == other.get(key);
    one == other
        || normalize
            && alike("schemaType")
            && alike("references")
            && parsed(one).is_some_and(|it| Some(it) == parsed(other))
}

impl State {
    fn names(&self) -> Value {
        let live = self.subjects.iter().filter(|(_, versions)| versions.iter().any(|version| !version.deleted));
        live.map(|(name, _)| json!(name)).collect()
    }

    /// The versions that are not deleted.
    fn live(&self, subject: &str) -> Result<Vec<&Version>, (u16, Value)> {
        let versions = self.subjects.get(subject).map(Vec::as_slice).unwrap_or_default();
        let live: Vec<&Version> = versions.iter().filter(|version| !version.deleted).collect();
        if live.is_empty() { Err(no_subject()) } else { Ok(live) }
    }

    fn versions(&self, subject: &str) -> Answered {
        Ok(self.live(subject)?.iter().map(|version| json!(version.number)).collect())
    }

    fn register(&mut self, subject: &str, body: &Value, normalize: bool) -> Answered {
        let text = body.get("schema").and_then(Value::as_str);
        let is_json = body.get("schemaType").is_none_or(|format| format != "PROTOBUF");
        if text.is_none_or(|_| is_json && parsed(body).is_none()) {
            return Err(error(422, 42201, "Invalid schema"));
        }
        if let Ok(known) = self.look_up(subject, body, normalize) {
            return Ok(json!({ "id": known.get("id") }));
        }
        if !self.fits(subject, body, usize::MAX)? {
            return Err(error(409, 409, "Schema being registered is incompatible with an earlier schema"));
        }
        let known = self.schemas.iter().position(|known| same(known, body, normalize));
        let at = known.unwrap_or_else(|| {
            self.schemas.push(body.clone());
            self.schemas.len() - 1
        });
        let versions = self.subjects.entry(subject.to_owned()).or_default();
        let number = versions.last().map_or(1, |last| last.number + 1);
        versions.push(Version { number, at, deleted: false });
        Ok(json!({ "id": at + 1 }))
    }

    fn look_up(&self, subject: &str, body: &Value, normalize: bool) -> Answered {
        let has_it =
            |version: &&Version| self.schemas.get(version.at).is_some_and(|known| same(known, body, normalize));
        match self.live(subject)?.into_iter().find(has_it) {
            Some(version) => self.described(subject, version),
            None => Err(error(404, 40403, "Schema not found")),
        }
    }

    fn version(&self, subject: &str, version: &str) -> Answered {
        let live = self.live(subject)?;
        let found = match version {
            "latest" => live.last(),
            _ => match version.parse().ok().filter(|number: &i64| *number > 0) {
                Some(number) => live.iter().find(|version| version.number == number),
                None => return Err(error(422, 42202, "The specified version is not a valid version id")),
            },
        };
        self.described(subject, found.ok_or_else(no_version)?)
    }

    fn described(&self, subject: &str, version: &Version) -> Answered {
        let Some(Value::Object(schema)) = self.schemas.get(version.at) else { return Err(no_version()) };
        let mut answer = schema.clone();
        answer.extend([
            ("subject".to_owned(), json!(subject)),
            ("version".to_owned(), json!(version.number)),
            ("id".to_owned(), json!(version.at + 1)),
        ]);
        Ok(answer.into())
    }

    fn by_id(&self, id: &str) -> Answered {
        let at = id.parse::<usize>().ok().and_then(|id| id.checked_sub(1));
        at.and_then(|at| self.schemas.get(at)).cloned().ok_or_else(|| error(404, 40403, "Schema not found"))
    }

    fn level(&self, subject: &str) -> CompatibilityLevel {
        self.levels.get(subject).copied().unwrap_or(CompatibilityLevel::None)
    }

    fn set_level(&mut self, subject: &str, body: &Value) -> Answered {
        let level = body.get("compatibility").cloned().unwrap_or_default();
        let invalid = |_| error(422, 42203, "Invalid compatibility level");
        self.levels.insert(subject.to_owned(), serde_json::from_value(level).map_err(invalid)?);
        Ok(body.clone())
    }

    /// Whether the subject's rule lets a schema follow the newest ones, so many of them.
    fn fits(&self, subject: &str, body: &Value, newest: usize) -> Result<bool, (u16, Value)> {
        let level = self.level(subject);
        let Ok(live) = self.live(subject) else { return Ok(true) };
        let newest_first = live.iter().rev().take(newest).filter_map(|version| self.schemas.get(version.at));
        match compatibility::fits(level, newest_first, body) {
            Some(fits) => Ok(fits),
            None => Err(error(501, 501, "this registry in memory does not compare such schemas")),
        }
    }

    /// Another schema than those of this subject, or of this version of it, refers to it.
    fn is_referred_to(&self, subject: &str, version: Option<i64>) -> bool {
        let refers = |reference: &Value| {
            reference.get("subject").is_some_and(|name| name == subject)
                && version.is_none_or(|number| reference.get("version").is_some_and(|it| it == number))
        };
        let others = self.subjects.iter().filter(|(name, _)| *name != subject).flat_map(|(_, versions)| versions);
        let bodies = others.filter(|version| !version.deleted).filter_map(|version| self.schemas.get(version.at));
        bodies.filter_map(|body| body.get("references")?.as_array()).flatten().any(refers)
    }

    fn delete_version(&mut self, subject: &str, version: &str, permanent: bool) -> Answered {
        let number: i64 =
            version.parse().map_err(|_| error(422, 42202, "The specified version is not a valid version id"))?;
        if self.is_referred_to(subject, Some(number)) {
            return Err(error(422, 42206, "One or more references exist to the schema"));
        }
        let versions = self.subjects.get_mut(subject).ok_or_else(no_subject)?;
        let at = versions.iter().position(|version| version.number == number).ok_or_else(no_version)?;
        match versions.get_mut(at) {
            Some(version) if version.deleted == permanent => version.deleted = true,
            _ if permanent => return Err(error(404, 40407, "The version was not deleted first")),
            _ => return Err(error(404, 40406, "The version was soft deleted")),
        }
        if permanent {
            versions.remove(at);
        }
        if versions.is_empty() {
            self.subjects.remove(subject);
        }
        Ok(json!(number))
    }

    fn delete_subject(&mut self, subject: &str, permanent: bool) -> Answered {
        if self.is_referred_to(subject, None) {
            return Err(error(422, 42206, "One or more references exist to the schema"));
        }
        let versions = self.subjects.get_mut(subject).ok_or_else(no_subject)?;
        let is_deleted = versions.iter().all(|version| version.deleted);
        match (permanent, is_deleted) {
            (true, false) => return Err(error(404, 40405, "The subject was not deleted first")),
            (false, true) => return Err(error(404, 40404, "The subject was soft deleted")),
            _ => {}
        }
        let gone = versions.iter().filter(|version| permanent || !version.deleted).map(|version| json!(version.number));
        let gone = gone.collect();
        versions.iter_mut().for_each(|version| version.deleted = true);
        if permanent {
            self.subjects.remove(subject);
        }
        Ok(gone)
    }
}
