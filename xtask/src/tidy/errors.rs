//! Each crate's public error says whether the same call may succeed later, whether the transaction or the record that met it
//! is lost and no more, and whether nothing goes on.

use super::sources::Source;

const PREDICATES: [&str; 3] = ["fn is_retriable(&self)", "fn is_abortable(&self)", "fn is_fatal(&self)"];

/// Errors that others carry as their source, and that never pass by themselves.
const CARRIED: [&str; 2] = ["crates/config/src/error.rs", "crates/serde/src/error.rs"];

pub(super) fn check(sources: &[Source], findings: &mut Vec<String>) {
    let is_error = |name: &str| name.strip_prefix("crates/").is_some_and(|path| path.ends_with("/src/error.rs"));
    for source in sources.iter().filter(|source| is_error(&source.name) && !CARRIED.contains(&source.name.as_str())) {
        for predicate in PREDICATES.iter().filter(|it| !source.code().any(|(_, line)| line.contains(**it))) {
            findings.push(format!("{}: a public error without `{predicate}`", source.name));
        }
    }
}
