//! The changes that a command line asks for: `k1=v1,k2=[v1,v2]`, a file, keys to delete.

use std::collections::BTreeMap;

use vltava_client::admin::AlterConfigOp;

use crate::failure::Failure;
use crate::options::Options;
use crate::properties;

/// Every change by its key.
pub(super) fn changes(options: &Options) -> Result<BTreeMap<String, AlterConfigOp>, Failure> {
    let mut added = BTreeMap::new();
    if options.has("add-config-file") {
        added.extend(properties::load(options.value("add-config-file"))?);
    }
    if let Some(text) = options.value("add-config") {
        for pair in outside_brackets(text, ',') {
            let parts = outside_brackets(pair, '=');
            let [key, value] = parts.as_slice() else {
                let text = "requirement failed: Invalid entity config: all configs to be added must be in the format \
                    \"key=val\" or  \"key=[val1,val2]\" to group values which contain commas.";
                return Err(Failure::Message(text.into()));
            };
            added.insert(key.trim().to_owned(), value.replace(['[', ']'], "").trim().to_owned());
        }
    }
    let is_valid = |key: &str| key.chars().all(|c| c.is_ascii_alphanumeric() || "$._-".contains(c));
    if let Some(key) = added.keys().find(|key| !is_valid(key)) {
        return Err(Failure::Message(format!("Invalid character found for config key: {key}")));
    }
    let deleted = options.values("delete-config").iter().flat_map(|keys| keys.split(',')).map(str::trim);
    let mut changes: BTreeMap<String, AlterConfigOp> =
        deleted.map(|key| (key.to_owned(), AlterConfigOp::Delete)).collect();
    changes.extend(added.into_iter().map(|(key, value)| (key, AlterConfigOp::Set(value))));
    Ok(changes)
}

/// The parts between signs that do not stand in square brackets.
fn outside_brackets(text: &str, sign: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    let mut from = 0;
    while let Some(found) = rest.get(from..).and_then(|tail| tail.find(sign)) {
        let (part, after) = rest.split_at(from + found);
        let after = after.get(sign.len_utf8()..).unwrap_or_default();
        // As Kafka's tool reads it: inside are those after which a bracket closes before one opens.
        if after.find(['[', ']']).is_some_and(|bracket| after.get(bracket..).is_some_and(|tail| tail.starts_with(']')))
        {
            from = part.len() + sign.len_utf8();
            continue;
        }
        parts.push(part);
        rest = after;
        from = 0;
    }
    parts.push(rest);
    parts
}
