//! The dynamic value of the cases: what a Java `Object` is to the JVM's canned functions.

use std::fmt::Write;

use serde_json::{Value as Json, json};

/// A key or value that is not null; null is `None` around it.
#[derive(Clone, Debug, PartialEq)]
pub enum Val {
    Text(String),
    Long(i64),
    Int(i32),
    Double(f64),
    Bytes(Vec<u8>),
    Windowed { key: Box<Val>, start: i64, end: i64 },
}

/// What a key or a value may be.
pub type Maybe = Option<Val>;

impl Val {
    pub fn text(text: impl Into<String>) -> Maybe {
        Some(Val::Text(text.into()))
    }

    /// The typed JSON form of stores and of observed records.
    pub fn typed(value: &Maybe) -> Json {
        match value {
            None => Json::Null,
            Some(Val::Text(text)) => json!(text),
            Some(Val::Long(n)) => json!({ "long": n }),
            Some(Val::Int(n)) => json!({ "int": n }),
            Some(Val::Double(x)) => json!({ "double": x }),
            Some(Val::Bytes(bytes)) => json!({ "hex": hex(bytes) }),
            Some(Val::Windowed { key, start, end }) => {
                json!({ "windowed": Val::typed(&Some((**key).clone())), "start": start, "end": end })
            }
        }
    }
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

/// The text of a value, as FORMAT.md defines it.
pub fn text(value: &Maybe) -> String {
    match value {
        None => "null".to_owned(),
        Some(Val::Text(text)) => text.clone(),
        Some(Val::Long(n)) => n.to_string(),
        Some(Val::Int(n)) => n.to_string(),
        Some(Val::Double(x)) => format!("{x:?}"),
        Some(Val::Bytes(bytes)) => hex(bytes),
        Some(Val::Windowed { key, start, end }) => format!("[{}@{start}/{end}]", text(&Some((**key).clone()))),
    }
}

/// The number of a value, as FORMAT.md defines it.
pub fn number(value: &Maybe) -> i64 {
    match value {
        None => 0,
        Some(Val::Long(n)) => *n,
        Some(Val::Int(n)) => i64::from(*n),
        other => {
            let text = text(other);
            let digits = text.strip_prefix('-').unwrap_or(&text);
            let is_number = (1..=18).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
            if is_number { text.parse().unwrap() } else { text.chars().count() as i64 }
        }
    }
}
