//! Values as the JSON of Kafka's tools.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use vltava_protocol::schema::Value;

use crate::clock::now_ms;
use crate::java;

/// The value as Jackson writes it: without blanks, bytes in base64.
pub(crate) fn text(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value);
    out
}

/// An event of a tool: an object whose first two fields are its time and its name.
pub(crate) fn event(name: &str, fields: Vec<(&str, Value)>) -> String {
    let mut all = vec![("timestamp", Value::Integer(now_ms())), ("name", Value::String(name.to_owned()))];
    all.extend(fields);
    text(&object(all))
}

/// An object of these fields.
pub(crate) fn object(fields: Vec<(&str, Value)>) -> Value {
    Value::Struct(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Writes the value; writing to a string cannot fail.
fn write(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => write!(out, "{value}").unwrap_or_default(),
        Value::Integer(value) => write!(out, "{value}").unwrap_or_default(),
        Value::Float(value) => out.push_str(&java::double(*value)),
        Value::String(text) => string(out, text),
        Value::Bytes(bytes) => string(out, &STANDARD.encode(bytes)),
        Value::Uuid(id) => string(out, &id.to_string()),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(out, item);
            }
            out.push(']');
        }
        Value::Struct(fields) => {
            out.push('{');
            for (index, (name, field)) in fields.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                string(out, name);
                out.push(':');
                write(out, field);
            }
            out.push('}');
        }
    }
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => write!(out, "\\u{:04X}", u32::from(c)).unwrap_or_default(),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_look_as_jacksons() {
        let value = Value::Struct(vec![
            ("text".to_owned(), Value::String("a\"\\\n\u{1}\u{1f}é".to_owned())),
            ("bytes".to_owned(), Value::Bytes(bytes::Bytes::from_static(&[0, 255, 7, 1]))),
            ("list".to_owned(), Value::Array(vec![Value::Integer(-1), Value::Null, Value::Bool(true)])),
            ("quota".to_owned(), Value::Float(1.0e7)),
            ("none".to_owned(), Value::Array(Vec::new())),
        ]);
        let expected = "{\"text\":\"a\\\"\\\\\\n\\u0001\\u001Fé\",\"bytes\":\"AP8HAQ==\",\"list\":[-1,null,true],\
            \"quota\":1.0E7,\"none\":[]}";
        assert_eq!(text(&value), expected);
    }
}
