//! What there is to know and to do about subjects beside their schemas: versions, rules, deletion.

use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::json;

use super::{SchemaRegistry, SchemaType, answer_of, http};
use crate::error::Result;

/// Which schemas may follow those that a subject has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CompatibilityLevel {
    /// Any.
    None,
    /// Who reads with the new one reads what was written with the newest.
    Backward,
    /// Who reads with the new one reads what was written with any.
    BackwardTransitive,
    /// Who reads with the newest one reads what will be written with the new one.
    Forward,
    /// Who reads with any reads what will be written with the new one.
    ForwardTransitive,
    /// Both ways, with the newest.
    Full,
    /// Both ways, with all.
    FullTransitive,
}

/// How something is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deletion {
    /// It is not found by its subject any more; records that were written with it are read as before, by the id.
    Soft,
    /// For good, once it is softly deleted: the id may be gone with it.
    Permanent,
}

impl Deletion {
    fn query(self) -> &'static str {
        match self {
            Deletion::Soft => "",
            Deletion::Permanent => "?permanent=true",
        }
    }
}

/// The answer to questions about rules.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigAnswer {
    compatibility_level: CompatibilityLevel,
}

impl SchemaRegistry {
    /// All subjects.
    ///
    /// # Errors
    /// Those of every request.
    pub fn subjects(&self) -> Result<Vec<String>> {
        answer_of(self.0.access.ask("GET", "/subjects", None)?, "subjects", SchemaType::Avro)
    }

    /// The versions of a subject, the oldest first.
    ///
    /// # Errors
    /// [`NotFound`](crate::SchemaError::NotFound) if there is no such subject, and those of every request.
    pub fn versions(&self, subject: &str) -> Result<Vec<i32>> {
        let path = format!("/subjects/{}/versions", http::encoded(subject));
        answer_of(self.0.access.ask("GET", &path, None)?, subject, SchemaType::Avro)
    }

    /// The rule of a subject, which is the registry's where the subject has none of its own.
    ///
    /// # Errors
    /// Those of every request; Apicurio's registry knows no rule of a subject that it does not have.
    pub fn compatibility(&self, subject: &str) -> Result<CompatibilityLevel> {
        let path = format!("/config/{}?defaultToGlobal=true", http::encoded(subject));
        let answer = self.0.access.ask("GET", &path, None)?;
        Ok(answer_of::<ConfigAnswer>(answer, subject, SchemaType::Avro)?.compatibility_level)
    }

    /// Gives a subject a rule of its own, for what is registered from now on.
    ///
    /// # Errors
    /// Those of every request.
    pub fn set_compatibility(&self, subject: &str, level: CompatibilityLevel) -> Result<()> {
        let body = json!({ "compatibility": level });
        let path = format!("/config/{}", http::encoded(subject));
        let answer = self.0.access.ask("PUT", &path, Some(&body))?;
        answer_of::<IgnoredAny>(answer, subject, SchemaType::Avro).map(drop)
    }

    /// Deletes a version of a subject.
    ///
    /// # Errors
    /// [`NotFound`](crate::SchemaError::NotFound) if there is none or it is softly deleted already,
    /// [`Registry`](crate::SchemaError::Registry) with code 40407 if it must be softly deleted before, with code 42206 if
    /// another schema refers to it, and those of every request.
    pub fn delete_version(&self, subject: &str, version: i32, deletion: Deletion) -> Result<()> {
        let path = format!("/subjects/{}/versions/{version}{}", http::encoded(subject), deletion.query());
        let answer = self.0.access.ask("DELETE", &path, None)?;
        self.forget(subject);
        answer_of::<IgnoredAny>(answer, subject, SchemaType::Avro).map(drop)
    }

    /// Deletes a subject, and gives the versions that it had.
    ///
    /// # Errors
    /// [`NotFound`](crate::SchemaError::NotFound) if there is none or it is softly deleted already,
    /// [`Registry`](crate::SchemaError::Registry) with code 40405 if it must be softly deleted before, with code 42206 if
    /// another schema refers to it, and those of every request.
    pub fn delete_subject(&self, subject: &str, deletion: Deletion) -> Result<Vec<i32>> {
        let path = format!("/subjects/{}{}", http::encoded(subject), deletion.query());
        let answer = self.0.access.ask("DELETE", &path, None)?;
        self.forget(subject);
        answer_of(answer, subject, SchemaType::Avro)
    }

    /// A subject's schemas may have to be registered anew.
    fn forget(&self, subject: &str) {
        self.0.ids.write().retain(|(of, _), _| of != subject);
    }
}
