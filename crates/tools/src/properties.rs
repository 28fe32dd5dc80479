//! Settings of clients from files and from `key=value` words.

use std::io;

use vltava_broker::parse_properties;

use crate::failure::Failure;
use crate::options::Options;

/// Pairs of keys and values; a later pair wins.
pub(crate) type Properties = Vec<(String, String)>;

/// The pairs of a `.properties` file; none without a file.
pub(crate) fn load(path: Option<&str>) -> Result<Properties, Failure> {
    let Some(path) = path else { return Ok(Properties::new()) };
    let bytes = std::fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::Message(format!("{path} (No such file or directory)")),
        _ => Failure::Message(format!("{path}: {error}")),
    })?;
    Ok(parse_properties(&String::from_utf8_lossy(&bytes)))
}

/// The settings of a tool's admin client: those of `--command-config`, at `--bootstrap-server`.
pub(crate) fn of_admin(options: &Options) -> Result<Properties, Failure> {
    let mut settings = load(options.value("command-config"))?;
    put(&mut settings, "bootstrap.servers", options.text("bootstrap-server"));
    Ok(settings)
}

/// Splits each `key=value` at the first `=`; a word without one is a key with an empty value.
pub(crate) fn key_values(words: &[String]) -> Properties {
    let split = |word: &String| match word.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (word.clone(), String::new()),
    };
    words.iter().map(split).collect()
}

/// The value that wins for a key.
pub(crate) fn get<'a>(properties: &'a Properties, key: &str) -> Option<&'a str> {
    properties.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

/// Sets a key, whatever was there.
pub(crate) fn put(properties: &mut Properties, key: &str, value: impl Into<String>) {
    properties.retain(|(name, _)| name != key);
    properties.push((key.to_owned(), value.into()));
}

/// Sets a key unless it is there.
pub(crate) fn put_if_absent(properties: &mut Properties, key: &str, value: impl Into<String>) {
    if get(properties, key).is_none() {
        put(properties, key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::{get, key_values, put, put_if_absent};

    #[test]
    fn the_last_value_of_a_key_wins() {
        let mut properties = key_values(&["a=1".into(), "b=x=y".into(), "c".into(), "a=2".into()]);
        assert_eq!(get(&properties, "a"), Some("2"));
        assert_eq!(get(&properties, "b"), Some("x=y"));
        assert_eq!(get(&properties, "c"), Some(""));
        put(&mut properties, "a", "3");
        put_if_absent(&mut properties, "a", "4");
        put_if_absent(&mut properties, "d", "5");
        assert_eq!((get(&properties, "a"), get(&properties, "d")), (Some("3"), Some("5")));
    }
}
