//! Bytes of records as text.

mod json;

/// How bytes are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// As JSON, text or hexadecimal digits, whichever fits first.
    Auto,
    /// As UTF-8.
    Text,
    /// As JSON, with a field in a line.
    Json,
    /// As a signed integer of 1, 2, 4 or 8 bytes, the highest first, as Kafka's serializers write it.
    Integer,
    /// As hexadecimal digits.
    Hex,
}

/// The formats by their names in requests.
pub(crate) const FORMATS: [(&str, Format); 5] = [
    ("auto", Format::Auto),
    ("text", Format::Text),
    ("json", Format::Json),
    ("integer", Format::Integer),
    ("hex", Format::Hex),
];

/// What bytes say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// How they were read: a name of a [`Format`].
    pub(crate) format: &'static str,
    pub(crate) text: String,
    /// Why they were not read as it was asked for.
    pub(crate) problem: Option<String>,
}

impl Shown {
    fn new(format: &'static str, text: String) -> Self {
        Self { format, text, problem: None }
    }
}

/// Reads bytes.
pub(crate) fn show(bytes: &[u8], format: Format) -> Shown {
    let read = match format {
        Format::Auto => Ok(guess(bytes)),
        Format::Text => text(bytes),
        Format::Json => json(bytes),
        Format::Integer => integer(bytes),
        Format::Hex => Ok(Shown::new("hex", hex(bytes))),
    };
    read.unwrap_or_else(|problem| Shown { problem: Some(problem), ..Shown::new("hex", hex(bytes)) })
}

/// JSON where there is an object or a list, text where nothing in it controls a terminal, a number where there are the
/// bytes of one, and else hexadecimal digits.
fn guess(bytes: &[u8]) -> Shown {
    let begins_json = matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['));
    if begins_json && let Ok(shown) = json(bytes) {
        return shown;
    }
    let is_plain = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    match text(bytes) {
        Ok(shown) if shown.text.chars().all(is_plain) => shown,
        _ if matches!(bytes.len(), 4 | 8) => show(bytes, Format::Integer),
        _ => Shown::new("hex", hex(bytes)),
    }
}

fn text(bytes: &[u8]) -> Result<Shown, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("no UTF-8 at byte {}", error.valid_up_to()))?;
    Ok(Shown::new("text", text.to_owned()))
}

fn json(bytes: &[u8]) -> Result<Shown, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("no UTF-8 at byte {}", error.valid_up_to()))?;
    let checked: Result<serde_json::Value, _> = serde_json::from_str(text);
    checked.map_err(|error| format!("no JSON: {error}"))?;
    Ok(Shown::new("json", json::pretty(text)))
}

fn integer(bytes: &[u8]) -> Result<Shown, String> {
    let number = match *bytes {
        [a] => i64::from(i8::from_be_bytes([a])),
        [a, b] => i64::from(i16::from_be_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_be_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => i64::from_be_bytes([a, b, c, d, e, f, g, h]),
        _ => return Err(format!("{} bytes are no integer: it has 1, 2, 4 or 8", bytes.len())),
    };
    Ok(Shown::new("integer", number.to_string()))
}

/// Two digits a byte, with a space after each but the last.
fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('?');
    let mut text = String::with_capacity(bytes.len() * 3);
    for byte in bytes {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_what_they_are() {
        let cases: &[(&[u8], &str, &str)] = &[
            (b"words", "text", "words"),
            ("ž\t\n".as_bytes(), "text", "ž\t\n"),
            (b" {\"a\": [1, 2]}", "json", "{\n  \"a\": [\n    1,\n    2\n  ]\n}"),
            (b"{\"a\"", "text", "{\"a\""),
            (b"<script>alert(1)</script>", "text", "<script>alert(1)</script>"),
            (b"12", "text", "12"),
            (&[0, 0, 0, 7], "integer", "7"),
            (&[255, 255, 255, 255, 255, 255, 255, 254], "integer", "-2"),
            (&[0, 1, 254], "hex", "00 01 fe"),
            (b"\x1b[31m", "hex", "1b 5b 33 31 6d"),
            (b"", "text", ""),
        ];
        for (bytes, format, text) in cases {
            assert_eq!(show(bytes, Format::Auto), Shown::new(format, (*text).to_owned()), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_asked_for_and_does_not_fit_is_told() {
        let refused = |bytes: &[u8], format| {
            let shown = show(bytes, format);
            assert_eq!((shown.format, shown.text), ("hex", hex(bytes)));
            shown.problem.unwrap()
        };
        assert_eq!(refused(&[1, 2, 3], Format::Integer), "3 bytes are no integer: it has 1, 2, 4 or 8");
        assert_eq!(refused(b"ab\xff", Format::Text), "no UTF-8 at byte 2");
        assert_eq!(refused(b"{,}", Format::Json), "no JSON: key must be a string at line 1 column 2");
        // As deep as it likes: serde_json has a limit, and nothing overflows.
        assert!(refused(&[b'['; 100_000], Format::Json).contains("recursion limit"));
        assert_eq!(show(&[255], Format::Integer).text, "-1");
        assert_eq!(show(&[1, 0], Format::Integer).text, "256");
        assert_eq!(show(b"12", Format::Json).text, "12");
    }
}
