//! The syntax of Java's `.properties` files, which is that of `server.properties`.

/// Reads `text` as `java.util.Properties.load` does: keys and values in the order of the file; a
/// key that comes again replaces nothing here, the caller lets the last one win.
///
/// Comments begin with `#` or `!`; a backslash at the end of a line joins it with the next; the
/// key ends at the first unescaped `=`, `:` or white space; `\uXXXX`, `\t`, `\n`, `\r` and `\f`
/// are understood. A malformed `\u` is kept as it stands instead of failing.
#[must_use]
pub fn parse_properties(text: &str) -> Vec<(String, String)> {
    logical_lines(text).iter().map(|line| split(line)).collect()
}

/// Joins continued lines; drops comments, blank lines and leading white space.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open: Option<String> = None;
    for raw in text.split(['\n', '\r']) {
        let trimmed = raw.trim_start_matches([' ', '\t', '\u{c}']);
        if open.is_none() && (trimmed.is_empty() || trimmed.starts_with(['#', '!'])) {
            continue;
        }
        let mut line = open.take().unwrap_or_default();
        let slashes = trimmed.len() - trimmed.trim_end_matches('\\').len();
        if slashes % 2 == 1 {
            line.push_str(trimmed.strip_suffix('\\').unwrap_or(trimmed));
            open = Some(line);
        } else {
            line.push_str(trimmed);
            lines.push(line);
        }
    }
    lines.extend(open);
    lines
}

fn split(line: &str) -> (String, String) {
    let mut escaped = false;
    let end = line
        .char_indices()
        .find(|&(_, c)| {
            let ends = !escaped && matches!(c, '=' | ':' | ' ' | '\t' | '\u{c}');
            escaped = c == '\\' && !escaped;
            ends
        })
        .map_or(line.len(), |(at, _)| at);
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start_matches([' ', '\t', '\u{c}']);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (unescape(key), unescape(rest.trim_start_matches([' ', '\t', '\u{c}'])))
}

fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let rest = chars.as_str();
                let code = rest.get(..4).and_then(|hex| u32::from_str_radix(hex, 16).ok());
                if let Some(decoded) = code.and_then(char::from_u32) {
                    out.push(decoded);
                    chars = rest.get(4..).unwrap_or_default().chars();
                } else {
                    out.push_str("\\u");
                }
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_java_reads() {
        let text = "# comment\n! other\n\na=1\n  b : two words  \nc\td\ne\\=f=g\\\n   h\nlast=\\u00e9\\t|\nempty=\nalone\r\nx=a\\\\\ny=b";
        let expected = [
            ("a", "1"),
            ("b", "two words  "),
            ("c", "d"),
            ("e=f", "gh"),
            ("last", "é\t|"),
            ("empty", ""),
            ("alone", ""),
            ("x", "a\\"),
            ("y", "b"),
        ];
        let got = parse_properties(text);
        let got: Vec<(&str, &str)> = got.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn a_malformed_unicode_escape_is_kept() {
        assert_eq!(parse_properties("k=\\u12"), [("k".to_owned(), "\\u12".to_owned())]);
    }
}
