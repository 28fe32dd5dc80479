//! Which schemas may follow others, as far as the registry in memory can tell.

use serde_json::Value;

use super::CompatibilityLevel as Level;

/// Whether a schema may follow those that are there, the newest first; nothing if that cannot be told.
pub(super) fn fits<'a>(level: Level, newest_first: impl Iterator<Item = &'a Value>, next: &Value) -> Option<bool> {
    let (backward, forward, all) = match level {
        Level::None => return Some(true),
        Level::Backward => (true, false, false),
        Level::BackwardTransitive => (true, false, true),
        Level::Forward => (false, true, false),
        Level::ForwardTransitive => (false, true, true),
        Level::Full => (true, true, false),
        Level::FullTransitive => (true, true, true),
    };
    let compared = if all { usize::MAX } else { 1 };
    for there in newest_first.take(compared) {
        if backward && !can_read(next, there)? || forward && !can_read(there, next)? {
            return Some(false);
        }
    }
    Some(true)
}

/// Whether who reads with one schema can read what was written with the other.
#[cfg(feature = "avro")]
fn can_read(reader: &Value, writer: &Value) -> Option<bool> {
    use apache_avro::{Schema, schema_compatibility::SchemaCompatibility};

    let avro = |body: &Value| {
        let is_plain = body.get("schemaType").is_none() && body.get("references").is_none();
        Schema::parse_str(body.get("schema").filter(|_| is_plain)?.as_str()?).ok()
    };
    Some(SchemaCompatibility::can_read(&avro(writer)?, &avro(reader)?).is_ok())
}

#[cfg(not(feature = "avro"))]
fn can_read(_reader: &Value, _writer: &Value) -> Option<bool> {
    None
}
