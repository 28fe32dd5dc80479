//! Keys, values and headers of a topic: bytes in, canonical JSON out.

use serde_json::{Value as Json, json};

use super::value::hex;

/// Headers in their order, names may repeat.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// JSON to the bytes that travel on a topic; absent and null are a null.
pub fn bytes(node: Option<&Json>) -> Option<Vec<u8>> {
    let node = node.filter(|node| !node.is_null())?;
    if let Some(text) = node.as_str() {
        return Some(text.as_bytes().to_vec());
    }
    let field = |name: &str| node.get(name);
    if let Some(text) = field("hex").and_then(Json::as_str) {
        return Some(unhex(text));
    }
    if let Some(n) = field("long").and_then(Json::as_i64) {
        return Some(n.to_be_bytes().to_vec());
    }
    if let Some(n) = field("int").and_then(Json::as_i64) {
        return Some((n as i32).to_be_bytes().to_vec());
    }
    if let Some(x) = field("double").and_then(Json::as_f64) {
        return Some(x.to_be_bytes().to_vec());
    }
    panic!("not a payload: {node}")
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Bytes to canonical JSON: a string when printable UTF-8, else hexadecimal.
pub fn json(bytes: Option<&[u8]>) -> Json {
    let Some(bytes) = bytes else { return Json::Null };
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(|c| (c as u32) < 0x20 || c as u32 == 0x7f) => json!(text),
        _ => json!({ "hex": hex(bytes) }),
    }
}

pub fn headers(node: Option<&Json>) -> Headers {
    let pairs = node.and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    pairs.iter().map(|pair| (pair[0].as_str().unwrap().to_owned(), bytes(pair.get(1)))).collect()
}

/// Headers to JSON; a stack trace is any text.
pub fn headers_json(headers: &Headers) -> Json {
    let pairs = headers.iter().map(|(name, value)| match name.as_str() {
        "__streams.errors.stacktrace" => json!([name, "*"]),
        _ => json!([name, json(value.as_deref())]),
    });
    Json::Array(pairs.collect())
}
