//! JSON with a field in a line.

/// Sets a text that is JSON into lines. Numbers, texts and the order of fields stay as they are written, which they would
/// not as values.
pub(super) fn pretty(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                out.push(c);
                let mut is_escaped = false;
                for c in chars.by_ref() {
                    out.push(c);
                    match c {
                        _ if is_escaped => is_escaped = false,
                        '\\' => is_escaped = true,
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                out.push(c);
                match chars.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::pretty;

    #[test]
    fn nothing_but_blanks_changes() {
        let text = r#" {"z":1.50, "a" : {"\"{,:":[ ],"big":12345678901234567890},"e":{ }, "n":[null ,true]}"#;
        let expected = r#"{
  "z": 1.50,
  "a": {
    "\"{,:": [],
    "big": 12345678901234567890
  },
  "e": {},
  "n": [
    null,
    true
  ]
}"#;
        assert_eq!(pretty(text), expected);
        assert_eq!(pretty("\"a b\""), "\"a b\"");
    }
}
