//! What was called, what came of it, and what should have.

use std::fmt::Debug;

use vltava_schema::{MockRegistry, RegistryConfig, SchemaError, SchemaRegistry};
use vltava_serde::{Serde, SerdeError};

/// The registry that is called.
pub(crate) enum Registry {
    Mock(MockRegistry),
    /// By its base address.
    Real(String),
}

impl Registry {
    /// A client that knows nothing yet.
    pub(crate) fn client(&self, settings: &[(&str, &str)]) -> Result<SchemaRegistry, SchemaError> {
        let config =
            |url| RegistryConfig::from_properties([("schema.registry.url", url)].iter().chain(settings).copied());
        match self {
            Registry::Mock(mock) => Ok(mock.client(config("http://in.memory")?)),
            Registry::Real(url) => SchemaRegistry::new(config(url)?),
        }
    }
}

/// What a call should give.
pub(crate) enum Expected {
    Same(String),
    /// From the registry in memory, from the real one, and why they differ.
    Other {
        mock: String,
        real: String,
        why: &'static str,
    },
}

impl<T: Into<String>> From<T> for Expected {
    fn from(answer: T) -> Self {
        Expected::Same(answer.into())
    }
}

/// The registry in memory and the real one answer each in its way.
pub(crate) fn other(mock: &str, real: &str, why: &'static str) -> Expected {
    Expected::Other { mock: mock.to_owned(), real: real.to_owned(), why }
}

/// The calls of one registry.
pub(crate) struct Tried<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) calls: usize,
    /// A line for each answer that should be another.
    pub(crate) wrong: Vec<String>,
    /// A line for each answer that the registry in memory gives in another way.
    pub(crate) differences: Vec<String>,
    /// Ids in the order in which they were met: registries leave some out.
    ids: Vec<i32>,
}

impl<'a> Tried<'a> {
    pub(crate) fn new(registry: &'a Registry) -> Self {
        Tried { registry, calls: 0, wrong: Vec::new(), differences: Vec::new(), ids: Vec::new() }
    }

    /// A client that knows nothing yet.
    pub(crate) fn client(&self, settings: &[(&str, &str)]) -> Result<SchemaRegistry, SchemaError> {
        self.registry.client(settings)
    }

    /// Holds what a call gave against what it should have given.
    pub(crate) fn gives(&mut self, call: &str, expected: impl Into<Expected>, got: &str) {
        self.calls += 1;
        let expected = match (expected.into(), self.registry) {
            (Expected::Same(answer), _) => answer,
            (Expected::Other { mock, .. }, Registry::Mock(_)) => mock,
            (Expected::Other { mock, real, why }, Registry::Real(_)) => {
                self.differences.push(format!("  {call}: `{mock}` in memory, `{real}` here: {why}"));
                real
            }
        };
        if got != expected {
            self.wrong.push(format!("  {call}:\n    got  {got}\n    want {expected}"));
        }
    }

    /// An id as the how-manieth that was met.
    pub(crate) fn named(&mut self, id: i32) -> String {
        let at = self.ids.iter().position(|known| *known == id).unwrap_or_else(|| {
            self.ids.push(id);
            self.ids.len() - 1
        });
        format!("#{}", at + 1)
    }

    pub(crate) fn id(&mut self, answer: Result<i32, SchemaError>) -> String {
        match answer {
            Ok(id) => self.named(id),
            Err(error) => kind(&error),
        }
    }

    /// A value's bytes, the id in its header by its name: `#1 [6, 116]`.
    pub(crate) fn bytes(&mut self, answer: &Result<Vec<u8>, SerdeError>) -> String {
        match answer {
            Ok(bytes) => match vltava_schema::wire::split_header(bytes) {
                Ok((id, rest)) => format!("{} {rest:?}", self.named(id)),
                Err(error) => kind(&error),
            },
            Err(error) => first_clause(error),
        }
    }
}

/// What a serde writes.
pub(crate) fn written<T>(serde: &impl Serde<T>, topic: &str, value: &T) -> Result<Vec<u8>, SerdeError> {
    let mut out = Vec::new();
    serde.serialize(topic, value, &mut out).map(|()| out)
}

/// What a serde reads from what was written.
pub(crate) fn read<T: Debug>(serde: &impl Serde<T>, bytes: &Result<Vec<u8>, SerdeError>) -> String {
    match bytes {
        Ok(bytes) => match serde.deserialize("read", bytes) {
            Ok(value) => format!("{value:?}"),
            Err(error) => first_clause(&error),
        },
        Err(error) => format!("not written: {error}"),
    }
}

/// An answer, or the kind of its error.
pub(crate) fn told<T: Debug>(answer: Result<T, SchemaError>) -> String {
    match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(error) => kind(&error),
    }
}

/// An error by what a caller can act on: the registry's own words are each registry's.
pub(crate) fn kind(error: &SchemaError) -> String {
    match error {
        SchemaError::Incompatible { subject, .. } => format!("incompatible with {subject}"),
        SchemaError::NotFound { what, code, .. } => format!("no {what} ({code})"),
        SchemaError::InvalidSchema { format, .. } => format!("no schema of {format}"),
        SchemaError::Registry { code, .. } => format!("refused ({code})"),
        other => other.to_string(),
    }
}

/// An error of a serde, without the registry's own words.
fn first_clause(error: &SerdeError) -> String {
    let text = error.to_string();
    let code = text.rsplit_once(" (error code ").map_or_else(String::new, |(_, code)| format!(" ({code}"));
    let clauses = match text.split(' ').next() {
        Some("not") => 2,
        Some("the") => 1,
        _ => return text,
    };
    format!("{}{code}", text.split(": ").take(clauses).collect::<Vec<_>>().join(": "))
}
