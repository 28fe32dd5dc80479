//! The JSON of a message specification.

use anyhow::{Result, bail};
use serde::Deserialize;
use serde_json::Value;

/// A message as its file states it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) api_key: Option<i16>,
    pub(super) valid_versions: String,
    #[serde(default = "no_versions")]
    pub(super) flexible_versions: String,
    #[serde(default)]
    pub(super) latest_version_unstable: bool,
    #[serde(default)]
    pub(super) listeners: Vec<String>,
    #[serde(default)]
    pub(super) fields: Vec<Field>,
    #[serde(default)]
    pub(super) common_structs: Vec<Struct>,
}

/// A structure that several fields share.
#[derive(Deserialize)]
pub(super) struct Struct {
    pub(super) name: String,
    pub(super) versions: String,
    pub(super) fields: Vec<Field>,
}

/// A field.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Field {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// May be absent where `tagged_versions` is there.
    pub(super) versions: Option<String>,
    pub(super) nullable_versions: Option<String>,
    pub(super) tagged_versions: Option<String>,
    pub(super) flexible_versions: Option<String>,
    pub(super) tag: Option<u32>,
    #[serde(default)]
    pub(super) ignorable: bool,
    /// The literal `null` is no default; the string "null" is one.
    pub(super) default: Option<Value>,
    pub(super) fields: Option<Vec<Field>>,
}

fn no_versions() -> String {
    "none".to_owned()
}

/// Parses a specification, which is JSON with comments.
pub(super) fn parse(text: &str) -> Result<Spec> {
    Ok(serde_json::from_str(&without_comments(text))?)
}

fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut in_string = false;
    while let Some(c) = chars.next() {
        if in_string {
            out.push(c);
            match c {
                '\\' => out.extend(chars.next()),
                '"' => in_string = false,
                _ => {}
            }
        } else if c == '/' && chars.peek() == Some(&'/') {
            while chars.next_if(|c| *c != '\n').is_some() {}
        } else {
            in_string = c == '"';
            out.push(c);
        }
    }
    out
}

/// A range of versions, both ends included; an open end is `i16::MAX`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Versions {
    pub(super) low: i16,
    pub(super) high: i16,
}

impl Versions {
    /// Parses `none`, `3`, `3-5` or `3+`; `None` for `none`.
    pub(super) fn parse(text: &str) -> Result<Option<Self>> {
        if text == "none" {
            return Ok(None);
        }
        let range = if let Some(low) = text.strip_suffix('+') {
            Self { low: low.parse()?, high: i16::MAX }
        } else if let Some((low, high)) = text.split_once('-') {
            Self { low: low.parse()?, high: high.parse()? }
        } else {
            let only = text.parse()?;
            Self { low: only, high: only }
        };
        if range.low > range.high {
            bail!("versions {text}");
        }
        Ok(Some(range))
    }

    /// Returns what both ranges have, `None` when that is nothing.
    pub(super) fn intersect(self, other: Self) -> Option<Self> {
        let both = Self { low: self.low.max(other.low), high: self.high.min(other.high) };
        (both.low <= both.high).then_some(both)
    }
}
