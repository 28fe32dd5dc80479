//! `sasl.jaas.config`: a login module, how it counts, and its options.

use std::collections::BTreeMap;
use std::fmt;

use crate::Secret;

/// What a setting of this form says, as Kafka's `JaasConfig` reads it, such as
/// `org.apache.kafka.common.security.plain.PlainLoginModule required username="alice" password="secret";`
#[derive(Clone, PartialEq, Eq)]
pub struct JaasConfig {
    /// The class of the login module.
    pub module: String,
    options: BTreeMap<String, Secret>,
}

/// Why a text is no `sasl.jaas.config` for Kafka either. It shows names of options, and none of their values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JaasError(String);

impl JaasConfig {
    /// Reads a text as Kafka's `JaasConfig` does, by the rules of Java's `StreamTokenizer`.
    ///
    /// # Errors
    /// [`JaasError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, JaasError> {
        let wrong = |why: String| Err(JaasError(why));
        let mut tokens = Tokens { rest: text };
        let module = match tokens.next()? {
            Token::Text(module) if !module.is_empty() => module,
            Token::End => return wrong("no login module is named".to_owned()),
            _ => return wrong("must begin with the class of a login module".to_owned()),
        };
        match tokens.next()? {
            // How a module counts matters where there are several, and there is one.
            Token::Text(flag) if FLAGS.iter().any(|known| flag.eq_ignore_ascii_case(known)) => {}
            _ => {
                return wrong(
                    "the login module must be followed by required, requisite, sufficient or optional".to_owned(),
                );
            }
        }
        let mut options = BTreeMap::new();
        loop {
            let key = match tokens.next()? {
                Token::Sign(';') => break,
                Token::Text(key) => key,
                Token::End => return wrong("must end with a semicolon".to_owned()),
                Token::Sign(_) => return wrong("an option must be a name, =, and a value in quotes".to_owned()),
            };
            let value = match (tokens.next()?, tokens.next()?) {
                (Token::Sign('='), Token::Text(value)) => value,
                _ => return wrong(format!("the option `{}` must have a value in quotes", shown(&key))),
            };
            options.insert(key, Secret::from(value));
        }
        match tokens.next()? {
            Token::End => Ok(Self { module, options }),
            _ => wrong("must have one login module".to_owned()),
        }
    }

    /// The value of an option.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&Secret> {
        self.options.get(name)
    }

    /// All options, in the order of their names.
    pub fn options(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.options.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The module's name without its package.
    #[must_use]
    pub fn simple_name(&self) -> &str {
        self.module.rsplit('.').next().unwrap_or(&self.module)
    }
}

/// With the names of the options alone.
impl fmt::Debug for JaasConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JaasConfig").field("module", &self.module).field("options", &self.options).finish()
    }
}

const FLAGS: [&str; 4] = ["required", "requisite", "sufficient", "optional"];

/// The name of an option; what does not look like one may be half of a password, where quotes are missing.
fn shown(key: &str) -> &str {
    let is_name = key.len() <= 64 && key.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if is_name { key } else { "***" }
}

enum Token {
    Text(String),
    Sign(char),
    End,
}

struct Tokens<'a> {
    rest: &'a str,
}

impl Tokens<'_> {
    fn next(&mut self) -> Result<Token, JaasError> {
        self.skip_blank()?;
        let mut chars = self.rest.chars();
        let Some(first) = chars.next() else { return Ok(Token::End) };
        if matches!(first, '"' | '\'') {
            return self.quoted(first);
        }
        // Java's tokenizer reads what begins with a digit as a number, which is no value in Kafka either.
        if first.is_ascii_digit() || !is_word(first) {
            self.rest = chars.as_str();
            return Ok(Token::Sign(first));
        }
        let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(Token::Text(word.to_owned()))
    }

    /// Blanks and comments.
    fn skip_blank(&mut self) -> Result<(), JaasError> {
        loop {
            self.rest = self.rest.trim_start_matches(|c: char| c <= ' ');
            self.rest = if self.rest.starts_with("/*") {
                let comment = self.rest.split_once("*/");
                comment.ok_or_else(|| JaasError("a comment does not end".to_owned()))?.1
            } else if self.rest.starts_with('/') {
                self.rest.find(['\n', '\r']).and_then(|end| self.rest.get(end..)).unwrap_or("")
            } else {
                return Ok(());
            };
        }
    }

    fn quoted(&mut self, quote: char) -> Result<Token, JaasError> {
        let mut text = String::new();
        let mut chars = self.rest.chars();
        chars.next();
        loop {
            match chars.next() {
                None | Some('\n' | '\r') => return Err(JaasError("a value in quotes does not end".to_owned())),
                Some('\\') => text.push(
                    escaped(&mut chars)
                        .ok_or_else(|| JaasError("a value in quotes ends with a backslash".to_owned()))?,
                ),
                Some(end) if end == quote => break,
                Some(other) => text.push(other),
            }
        }
        self.rest = chars.as_str();
        Ok(Token::Text(text))
    }
}

/// What a backslash and what follows it stand for.
fn escaped(chars: &mut std::str::Chars<'_>) -> Option<char> {
    let digit = |c: char| c.to_digit(8);
    Some(match chars.next()? {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        first if digit(first).is_some() => {
            let mut code = digit(first)?;
            // Three digits at most, and no more than 0o377.
            let most = if code <= 3 { 2 } else { 1 };
            for _ in 0..most {
                let Some(next) = chars.clone().next().and_then(digit) else { break };
                chars.next();
                code = code * 8 + next;
            }
            char::from_u32(code)?
        }
        other => other,
    })
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$' | '.') || c >= '\u{a0}'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn options(text: &str) -> Vec<(String, String)> {
        let config = JaasConfig::parse(text).unwrap();
        config.options().map(|(name, value)| (name.to_owned(), value.expose().to_owned())).collect()
    }

    #[test]
    fn what_users_write_is_read() {
        let text = "org.apache.kafka.common.security.plain.PlainLoginModule required \\\n username=\"alice\" password='it''s';";
        // A properties file has no backslash there any more.
        let text = text.replace("\\\n", "\n").replace("it''s", "se cret");
        let config = JaasConfig::parse(&text).unwrap();
        assert_eq!(config.module, "org.apache.kafka.common.security.plain.PlainLoginModule");
        assert_eq!(config.simple_name(), "PlainLoginModule");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(options(&text), [pair("password", "se cret"), pair("username", "alice")]);
        assert_eq!(options("a.B requisite;"), []);
        assert_eq!(
            options("a.B OPTIONAL // a comment\n user_x-1=\"q\\\"u\\\\o\\te\\101\" /* another */ b = c ; "),
            [pair("b", "c"), pair("user_x-1", "q\"u\\o\teA")]
        );
        assert!(!format!("{config:?}").contains("cret"));
    }

    #[test]
    fn what_is_wrong_is_said_without_secrets() {
        for (text, expected) in [
            ("", "no login module is named"),
            ("; required", "must begin with the class of a login module"),
            ("a.B", "the login module must be followed by required, requisite, sufficient or optional"),
            ("a.B hidden;", "the login module must be followed by required, requisite, sufficient or optional"),
            ("a.B required", "must end with a semicolon"),
            ("a.B required password=\"hidden\"", "must end with a semicolon"),
            ("a.B required password=;", "the option `password` must have a value in quotes"),
            ("a.B required password \"hidden\";", "the option `password` must have a value in quotes"),
            ("a.B required password=4711;", "the option `password` must have a value in quotes"),
            ("a.B required password=\"x\" hid8den;", "the option `***` must have a value in quotes"),
            ("a.B required =x;", "an option must be a name, =, and a value in quotes"),
            ("a.B required password=\"hidden;", "a value in quotes does not end"),
            ("a.B required password=\"hidden\n\";", "a value in quotes does not end"),
            ("a.B required password=\"hidden\\", "a value in quotes ends with a backslash"),
            ("a.B required; a.C required;", "must have one login module"),
            ("a.B required /* ;", "a comment does not end"),
        ] {
            let error = JaasConfig::parse(text).unwrap_err().to_string();
            assert_eq!(error, expected, "{text}");
            assert!(!error.contains("hid"));
        }
    }

    proptest! {
        #[test]
        fn any_value_in_quotes_comes_back(value in "[^\\p{Cc}]*") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let config = JaasConfig::parse(&format!("a.B required password=\"{quoted}\";")).unwrap();
            prop_assert_eq!(config.option("password").unwrap().expose(), value);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(a.B required )?[ -~\n\\\\\"';=/*]{0,40}") {
            let _ = JaasConfig::parse(&text);
        }
    }
}
