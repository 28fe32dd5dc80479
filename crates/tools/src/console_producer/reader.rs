//! From lines to records: headers, key and value by separators.

use crate::failure::Failure;
use crate::properties::{self, Properties};

/// A record in a line; what is `None` is null.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) headers: Vec<(&'a str, Option<&'a str>)>,
    pub(super) key: Option<&'a str>,
    pub(super) value: Option<&'a str>,
}

/// Takes lines apart by its settings.
#[derive(Debug)]
pub(super) struct LineReader {
    parse_key: bool,
    key_separator: String,
    parse_headers: bool,
    headers_delimiter: String,
    headers_separator: regex_lite::Regex,
    headers_key_separator: String,
    ignore_error: bool,
    null_marker: Option<String>,
    line_number: u64,
}

impl LineReader {
    /// Reads the settings; keys that the reader does not know are passed over, as Kafka's does.
    pub(super) fn new(settings: &Properties) -> Result<Self, Failure> {
        let text = |key: &str, default: &str| properties::get(settings, key).unwrap_or(default).to_owned();
        let is_true = |key: &str| text(key, "").trim().eq_ignore_ascii_case("true");
        let separator = text("headers.separator", ",");
        let null_marker = properties::get(settings, "null.marker").map(str::to_owned);
        let reader = Self {
            parse_key: is_true("parse.key"),
            key_separator: text("key.separator", "\t"),
            parse_headers: is_true("parse.headers"),
            headers_delimiter: text("headers.delimiter", "\t"),
            headers_separator: regex_lite::Regex::new(&separator)
                .map_err(|error| Failure::Message(format!("headers.separator {separator}: {error}")))?,
            headers_key_separator: text("headers.key.separator", ":"),
            ignore_error: is_true("ignore.error"),
            null_marker,
            line_number: 0,
        };
        reader.check_separators(&separator)?;
        Ok(reader)
    }

    fn check_separators(&self, separator: &str) -> Result<(), Failure> {
        let mut named = vec![
            ("headers.delimiter", self.headers_delimiter.as_str(), "headers.separator", separator),
            ("headers.delimiter", &self.headers_delimiter, "headers.key.separator", &self.headers_key_separator),
            ("headers.separator", separator, "headers.key.separator", &self.headers_key_separator),
        ];
        if let Some(marker) = self.null_marker.as_deref() {
            named.extend([
                ("null.marker", marker, "key.separator", self.key_separator.as_str()),
                ("null.marker", marker, "headers.separator", separator),
                ("null.marker", marker, "headers.delimiter", &self.headers_delimiter),
                ("null.marker", marker, "headers.key.separator", &self.headers_key_separator),
            ]);
        }
        match named.into_iter().find(|(_, one, _, other)| one == other) {
            Some((one, _, other, _)) => Err(Failure::Message(format!("{one} and {other} may not be equal"))),
            None => Ok(()),
        }
    }

    /// The record of the next line.
    ///
    /// # Errors
    /// A message with the line and its number where a separator is missing, unless `ignore.error` is set.
    pub(super) fn parse<'a>(&mut self, line: &'a str) -> Result<Line<'a>, Failure> {
        self.line_number += 1;
        let (headers, rest) =
            self.before(self.parse_headers, line, line, &self.headers_delimiter, "headers delimiter")?;
        let (key, value) = self.before(self.parse_key, line, rest, &self.key_separator, "key separator")?;
        let headers = match self.unless_null(headers) {
            Some(headers) => self.headers(headers)?,
            None => Vec::new(),
        };
        Ok(Line { headers, key: self.unless_null(key), value: self.unless_null(Some(value)) })
    }

    /// What stands before the separator, and the rest behind it.
    fn before<'a>(
        &self,
        enabled: bool,
        line: &str,
        rest: &'a str,
        separator: &str,
        name: &str,
    ) -> Result<(Option<&'a str>, &'a str), Failure> {
        if !enabled {
            return Ok((None, rest));
        }
        match rest.split_once(separator) {
            Some((before, after)) => Ok((Some(before), after)),
            None if self.ignore_error => Ok((None, rest)),
            None => {
                let text = format!("No {name} found on line number {}: '{line}'", self.line_number);
                Err(Failure::Message(text))
            }
        }
    }

    fn headers<'a>(&self, text: &'a str) -> Result<Vec<(&'a str, Option<&'a str>)>, Failure> {
        let mut pairs: Vec<&str> = self.headers_separator.split(text).collect();
        // Java's `split` drops empty pieces at the end, unless there is nothing else.
        while pairs.len() > 1 && pairs.last().is_some_and(|pair| pair.is_empty()) {
            pairs.pop();
        }
        pairs.into_iter().map(|pair| self.header(pair)).collect()
    }

    fn header<'a>(&self, pair: &'a str) -> Result<(&'a str, Option<&'a str>), Failure> {
        let Some((key, value)) = pair.split_once(self.headers_key_separator.as_str()) else {
            if self.ignore_error {
                return Ok((pair, None));
            }
            let number = self.line_number;
            let text = format!("No header key separator found in pair '{pair}' on line number {number}");
            return Err(Failure::Message(text));
        };
        if self.null_marker.as_deref() == Some(key) {
            let text = format!("Header keys should not be equal to the null marker '{key}' as they can't be null");
            return Err(Failure::Message(text));
        }
        Ok((key, self.unless_null(Some(value))))
    }

    fn unless_null<'a>(&self, text: Option<&'a str>) -> Option<&'a str> {
        text.filter(|text| self.null_marker.as_deref() != Some(*text))
    }
}

/// The lines of what was read up to a line feed: a carriage return ends a line as well, as it does in
/// Java, and both together are one end.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text).split('\r')
}

#[cfg(test)]
mod tests {
    use super::{Line, LineReader, lines};
    use crate::properties::key_values;

    fn reader(settings: &[&str]) -> LineReader {
        let words: Vec<String> = settings.iter().map(|word| (*word).to_owned()).collect();
        LineReader::new(&key_values(&words)).expect("settings")
    }

    #[test]
    fn a_line_is_a_value() {
        let line = reader(&[]).parse("a\tb").expect("a line");
        assert_eq!(line, Line { headers: Vec::new(), key: None, value: Some("a\tb") });
    }

    #[test]
    fn key_and_headers_are_taken_off_the_front() {
        let mut reader = reader(&["parse.key=true", "parse.headers=true", "key.separator=;"]);
        let line = reader.parse("h1:v1,h2:v:2\tkey;value;more").expect("a line");
        let headers = vec![("h1", Some("v1")), ("h2", Some("v:2"))];
        assert_eq!(line, Line { headers, key: Some("key"), value: Some("value;more") });
    }

    #[test]
    fn the_null_marker_makes_nulls() {
        let mut reader = reader(&["parse.key=true", "parse.headers=true", "null.marker=NULL"]);
        let line = reader.parse("NULL\tNULL\tNULL").expect("a line");
        assert_eq!(line, Line { headers: Vec::new(), key: None, value: None });
        let line = reader.parse("a:NULL\tk\tv").expect("a line");
        assert_eq!(line.headers, [("a", None)]);
    }

    #[test]
    fn a_missing_separator_is_an_error_with_the_number_of_the_line() {
        let mut strict = reader(&["parse.key=true"]);
        strict.parse("k\tv").expect("a line");
        let refused = strict.parse("nokey").expect_err("no separator");
        assert_eq!(refused.message(), "No key separator found on line number 2: 'nokey'");
        let mut lenient = reader(&["parse.key=true", "ignore.error=true"]);
        assert_eq!(lenient.parse("nokey").expect("a line").value, Some("nokey"));
    }

    #[test]
    fn separators_have_to_differ() {
        let refused = LineReader::new(&key_values(&["headers.separator=:".into()])).expect_err("equal separators");
        assert_eq!(refused.message(), "headers.separator and headers.key.separator may not be equal");
    }

    #[test]
    fn lines_end_as_in_java() {
        let cases: [(&str, &[&str]); 5] =
            [("a\n", &["a"]), ("a\r\n", &["a"]), ("a\rb\n", &["a", "b"]), ("a", &["a"]), ("\n", &[""])];
        for (text, expected) in cases {
            assert_eq!(lines(text).collect::<Vec<_>>(), expected, "{text:?}");
        }
    }
}
