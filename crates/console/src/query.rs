//! What is asked for in an address: its path and its parameters, without percent signs.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::api::Problem;

/// The parameters of a request.
#[derive(Debug, Default)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    /// Of the text behind the question mark, with no other names than these.
    pub(crate) fn parse(text: &str, known: &[&str]) -> Result<Self, Problem> {
        let mut found = BTreeMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(&name.replace('+', " "))?, decoded(&value.replace('+', " "))?);
            if !known.contains(&name.as_str()) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Problem::asked(format!("there is no parameter `{name}` here; there are: {known}")));
            }
            if found.insert(name.clone(), value).is_some() {
                return Err(Problem::asked(format!("the parameter `{name}` is there twice")));
            }
        }
        Ok(Self(found))
    }

    /// A text; an empty one is none.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// A number within a range.
    pub(crate) fn number<T>(&self, name: &str, range: RangeInclusive<T>) -> Result<Option<T>, Problem>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| range.contains(number));
        let expected = || format!("`{name}` is {text}: must be a number from {} to {}", range.start(), range.end());
        number.map(Some).ok_or_else(|| Problem::asked(expected()))
    }

    /// One of some words, the first of them where none is given.
    pub(crate) fn one_of<'a, T: Copy>(&self, name: &str, words: &'a [(&'a str, T)]) -> Result<T, Problem> {
        let found = match self.text(name) {
            None => words.first(),
            Some(text) => words.iter().find(|(word, _)| *word == text),
        };
        found.map(|(_, meant)| *meant).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let text = self.text(name).unwrap_or("");
            Problem::asked(format!("`{name}` is {text}: must be one of {}", words.join(", ")))
        })
    }
}

/// Text without percent signs.
pub(crate) fn decoded(text: &str) -> Result<String, Problem> {
    let malformed = || Problem::asked(format!("`{text}` is no text with percent signs before hexadecimal digits"));
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).ok_or_else(malformed);
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        out.push(u8::try_from(high * 16 + low).map_err(|_| malformed())?);
    }
    String::from_utf8(out).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<T: std::fmt::Debug>(result: Result<T, Problem>) -> String {
        result.unwrap_err().inner()["cause"].as_str().unwrap().to_owned()
    }

    #[test]
    fn parameters_are_those_of_forms() {
        let query = Query::parse("filter=a%2Bb+c%26&size=7&empty=", &["filter", "size", "empty"]).unwrap();
        assert_eq!(query.text("filter"), Some("a+b c&"));
        assert_eq!(query.text("empty"), None);
        assert_eq!(query.number("size", 1..=10).unwrap(), Some(7));
        assert_eq!(query.number::<i64>("empty", 1..=10).unwrap(), None);
        assert_eq!(refusal(query.number("size", 1..=6)), "`size` is 7: must be a number from 1 to 6");
        assert_eq!(refusal(query.number("filter", 1..=6)), "`filter` is a+b c&: must be a number from 1 to 6");
        assert_eq!(refusal(query.one_of("size", &[("up", 1), ("down", 2)])), "`size` is 7: must be one of up, down");
        assert_eq!(query.one_of("empty", &[("up", 1), ("down", 2)]).unwrap(), 1);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert_eq!(refusal(Query::parse("sise=1", &["size"])), "there is no parameter `sise` here; there are: size");
        assert_eq!(refusal(Query::parse("size=1&size=2", &["size"])), "the parameter `size` is there twice");
        for text in ["%", "%4", "%zz", "%ff", "%+1"] {
            assert!(refusal(decoded(text)).contains("percent signs"), "{text}");
        }
        assert_eq!(decoded("%C3%A9%2f").unwrap(), "é/");
    }
}
