//! The messages of a `.proto` file and their places, as far as the registry's header needs them.

/// Full names and places of all messages: the index in the file, then that of each nested one in the one around it.
///
/// Reads no more of the language than names and braces; what is no valid file has no or fewer messages.
pub(super) fn messages(proto: &str) -> Vec<(String, Vec<usize>)> {
    let tokens = tokens(proto);
    let mut found = Vec::new();
    let mut package = String::new();
    // What the open braces belong to: a message, with how many it has had within it, or anything else.
    let mut open: Vec<Option<Scope>> = vec![Some(Scope::default())];
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match (*token, tokens.get(at + 1).copied(), tokens.get(at + 2).copied()) {
            ("package", Some(name), Some(";")) if open.len() == 1 => {
                package = name.to_owned();
                at += 2;
            }
            ("message", Some(name), Some("{")) => {
                let inner = open.last_mut().and_then(Option::as_mut).map(|scope| scope.enter(name));
                if let Some(inner) = &inner {
                    let name = std::iter::once(package.as_str()).chain(inner.names.iter().map(String::as_str));
                    let name = name.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".");
                    found.push((name, inner.indexes.clone()));
                }
                open.push(inner);
                at += 2;
            }
            ("{", ..) => open.push(None),
            ("}", ..) if open.len() > 1 => drop(open.pop()),
            _ => {}
        }
        at += 1;
    }
    found
}

#[derive(Default)]
struct Scope {
    names: Vec<String>,
    indexes: Vec<usize>,
    messages: usize,
}

impl Scope {
    fn enter(&mut self, name: &str) -> Scope {
        let mut inner = Scope { names: self.names.clone(), indexes: self.indexes.clone(), messages: 0 };
        inner.names.push(name.to_owned());
        inner.indexes.push(self.messages);
        self.messages += 1;
        inner
    }
}

/// Words, and every other character by itself; no comments and no strings.
fn tokens(mut text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    loop {
        text = text.trim_start();
        let Some(first) = text.chars().next() else { return tokens };
        let end = if text.starts_with("//") {
            text = text.find('\n').and_then(|end| text.get(end..)).unwrap_or_default();
            continue;
        } else if text.starts_with("/*") {
            text = text.find("*/").and_then(|end| text.get(end + 2..)).unwrap_or_default();
            continue;
        } else if matches!(first, '"' | '\'') {
            text = after_string(text, first);
            continue;
        } else {
            let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
            text.find(|c| !word(c)).filter(|end| *end > 0).unwrap_or(if word(first) {
                text.len()
            } else {
                first.len_utf8()
            })
        };
        let (token, rest) = text.split_at_checked(end).unwrap_or((text, ""));
        tokens.push(token);
        text = rest;
    }
}

fn after_string(text: &str, quote: char) -> &str {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\\' if !escaped => escaped = true,
            _ if c == quote && !escaped => return text.get(at + c.len_utf8()..).unwrap_or_default(),
            _ => escaped = false,
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::messages;

    #[test]
    fn places_are_counted_per_file_and_per_message() {
        let proto = r#"
            syntax = "proto3"; // message Comment {
            package shop.v1;
            import "message Other {";
            /* message Block { */
            enum Kind { NONE = 0; }
            message First {
                string message = 1;
                oneof which { string a = 2; }
                message Inner { message Deep { } }
                map<string, Inner> all = 3;
            }
            service S { rpc Call (First) returns (Second) { option (x) = { message: "y" }; } }
            message Second { message Inner { } enum E { Z = 0; } message Last { } }
        "#;
        let found = messages(proto);
        let found: Vec<_> = found.iter().map(|(name, place)| (name.as_str(), place.as_slice())).collect();
        let expected: [(&str, &[usize]); 6] = [
            ("shop.v1.First", &[0]),
            ("shop.v1.First.Inner", &[0, 0]),
            ("shop.v1.First.Inner.Deep", &[0, 0, 0]),
            ("shop.v1.Second", &[1]),
            ("shop.v1.Second.Inner", &[1, 0]),
            ("shop.v1.Second.Last", &[1, 1]),
        ];
        assert_eq!(found, expected);
        assert_eq!(messages("message A {}")[0].0, "A");
    }

    #[test]
    fn what_is_no_file_has_no_messages() {
        assert!(messages("}}}} \" message A {").is_empty());
        assert!(messages("é§ /* ").is_empty());
    }
}
