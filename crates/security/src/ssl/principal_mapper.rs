//! `ssl.principal.mapping.rules`: from the name in a certificate to that of a principal, in Kafka's grammar (KIP-371).

use std::fmt;

use regex_lite::{Captures, Regex};
use vltava_config::ConfigError;

const KEY: &str = "ssl.principal.mapping.rules";

/// A rule, as Kafka's grammar has it.
const RULE: &str = r"(DEFAULT)|RULE:((?:\\.|[^\\/])*)/((?:\\.|[^\\/])*)/([LU]?).*?|(.*?)";

/// The rules, of which the first that fits a name gives the principal's. Kafka's `SslPrincipalMapper`.
#[derive(Clone)]
pub struct SslPrincipalMapper {
    text: String,
    rules: Vec<Rule>,
}

#[derive(Clone)]
enum Rule {
    /// The name itself.
    Default,
    Replace {
        /// Fits the whole name only.
        whole: Regex,
        /// The same, wherever it fits.
        pattern: Regex,
        replacement: String,
        case: Case,
    },
}

#[derive(Debug, Clone, Copy)]
enum Case {
    AsItIs,
    Lower,
    Upper,
}

impl SslPrincipalMapper {
    /// Reads the rules.
    ///
    /// # Errors
    /// [`ConfigError`] for what is no rule, and for an expression that cannot be read: those of Java that look ahead or
    /// refer to themselves are not supported.
    pub fn parse(rules: &str) -> Result<Self, ConfigError> {
        let refuse = |reason: String| ConfigError::new(KEY, rules, reason);
        let splitter = Regex::new(&format!(r"\s*({RULE})\s*(,\s*|$)")).map_err(|error| refuse(error.to_string()))?;
        let parser = Regex::new(&format!("^(?:{RULE})")).map_err(|error| refuse(error.to_string()))?;
        let mut parsed = Vec::new();
        for found in splitter.captures_iter(rules.trim()) {
            let rule = found.get(1).map_or("", |rule| rule.as_str());
            let Some(parts) =
                parser.captures(rule).filter(|parts| parts.get(0).is_some_and(|all| all.len() == rule.len()))
            else {
                return Err(refuse(format!("{rule:?} is neither DEFAULT nor RULE:pattern/replacement/ with L or U")));
            };
            if parts.get(1).is_some() {
                parsed.push(Rule::Default);
            } else if let (Some(pattern), Some(replacement)) = (parts.get(2), parts.get(3)) {
                let compile = |pattern: &str| {
                    Regex::new(pattern).map_err(|error| refuse(format!("the pattern {pattern:?}: {error}")))
                };
                let pattern = pattern.as_str();
                parsed.push(Rule::Replace {
                    whole: compile(&format!("^(?:{pattern})$"))?,
                    pattern: compile(pattern)?,
                    replacement: replacement.as_str().to_owned(),
                    case: match parts.get(4).map(|case| case.as_str()) {
                        Some("L") => Case::Lower,
                        Some("U") => Case::Upper,
                        _ => Case::AsItIs,
                    },
                });
            }
        }
        Ok(Self { text: rules.to_owned(), rules: parsed })
    }

    /// The principal's name; none if no rule fits, or the one that does refers to something that it has not.
    #[must_use]
    pub fn name(&self, distinguished_name: &str) -> Option<String> {
        self.rules.iter().find_map(|rule| rule.apply(distinguished_name)).flatten()
    }
}

impl fmt::Debug for SslPrincipalMapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SslPrincipalMapper").field(&self.text).finish()
    }
}

impl PartialEq for SslPrincipalMapper {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Rule {
    /// None if it does not fit; within, what it makes of the name.
    fn apply(&self, name: &str) -> Option<Option<String>> {
        let Self::Replace { whole, pattern, replacement, case } = self else { return Some(Some(name.to_owned())) };
        if !whole.is_match(name) {
            return None;
        }
        let replaced = replace_all(pattern, name, replacement);
        Some(replaced.map(|name| match case {
            Case::AsItIs => name,
            Case::Lower => name.to_lowercase(),
            Case::Upper => name.to_uppercase(),
        }))
    }
}

/// As Java's `replaceAll`: what is empty fits right behind what is not, too.
fn replace_all(pattern: &Regex, name: &str, replacement: &str) -> Option<String> {
    let mut text = String::new();
    let (mut from, mut copied) = (0, 0);
    while let Some(captures) = name.get(from..).and_then(|_| pattern.captures_at(name, from)) {
        let found = captures.get(0)?;
        text.push_str(name.get(copied..found.start())?);
        expand(&captures, replacement, pattern.captures_len() - 1, &mut text)?;
        copied = found.end();
        from = match found.is_empty() {
            true => found.end() + name.get(found.end()..)?.chars().next().map_or(1, char::len_utf8),
            false => found.end(),
        };
    }
    text.push_str(name.get(copied..)?);
    Some(text)
}

/// Java's replacement: `$1`, `${name}`, and `\` before what stands for itself. As in Kafka a number of no group is text,
/// where there is a group at all.
fn expand(captures: &Captures<'_>, replacement: &str, groups: usize, text: &mut String) -> Option<()> {
    let mut rest = replacement.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\\' => text.push(rest.next()?),
            '$' if rest.peek() == Some(&'{') => {
                rest.next();
                let name: String = rest.by_ref().take_while(|c| *c != '}').collect();
                text.push_str(captures.name(&name)?.as_str());
            }
            '$' => {
                let mut number = usize::try_from(rest.peek()?.to_digit(10)?).ok()?;
                if groups > 0 && number > groups {
                    text.push('$');
                    continue;
                }
                rest.next();
                while let Some(digit) = rest.peek().and_then(|next| next.to_digit(10)) {
                    let longer = number * 10 + usize::try_from(digit).ok()?;
                    if longer > groups {
                        break;
                    }
                    number = longer;
                    rest.next();
                }
                if number > groups {
                    return None;
                }
                text.push_str(captures.get(number).map_or("", |group| group.as_str()));
            }
            other => text.push(other),
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(rules: &str, name: &str) -> Option<String> {
        SslPrincipalMapper::parse(rules).unwrap().name(name)
    }

    /// Of Kafka's documentation and of what its `SslPrincipalMapper` was seen to do.
    #[test]
    fn the_first_rule_that_fits_gives_the_name() {
        let rules = "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/,\
            RULE:^CN=(.*?),OU=(.*?),O=(.*?),L=(.*?),ST=(.*?),C=(.*?)$/$1@$2/L,\
            RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/U, DEFAULT";
        for (name, expected) in [
            ("CN=Duke,OU=ServiceUsers,O=Org,C=US", "Duke"),
            ("CN=duke,OU=JavaSoft,O=Sun,L=A,ST=B,C=US", "duke@javasoft"),
            ("CN=Duke,OU=JavaSoft,O=Sun,L=A,ST=B,C=US", "duke@javasoft"),
            ("OU=X,CN=kafka1.example", "KAFKA1.EXAMPLE"),
            ("OU=JavaSoft", "OU=JavaSoft"),
        ] {
            assert_eq!(map(rules, name).as_deref(), Some(expected), "{name}");
        }
        assert_eq!(map("RULE:^CN=(.*?)$/$1/", "OU=x"), None);
        assert_eq!(map("DEFAULT", "CN=x").as_deref(), Some("CN=x"));
        assert_eq!(map(" , DEFAULT", "CN=x").as_deref(), Some("CN=x"));
    }

    #[test]
    fn a_replacement_is_javas() {
        for (rule, expected) in [
            // The empty end fits once more.
            ("RULE:.*/x/", Some("xx")),
            ("RULE:^(.*)$/$1@$4/", Some("CN=abc@$4")),
            ("RULE:^(.*)$/$12/", Some("CN=abc2")),
            ("RULE:^CN=(?P<n>.*)$/${n}/", Some("abc")),
            ("RULE:^CN=(.*)$/\\$$1/", Some("$abc")),
            ("RULE:^CN=.*$/$1/", None),
            ("RULE:^CN=.*$/$0!/", Some("CN=abc!")),
            // Found wherever it fits, as short as it can be.
            ("RULE:CN=(.*?)/$1/", Some("abc")),
        ] {
            assert_eq!(map(rule, "CN=abc").as_deref(), expected, "{rule}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for rules in [
            "deault",
            "DEFAULT/L",
            "DEFAULT/",
            "RULE:CN=(.*?),OU=ServiceUsers.*/$1",
            "rule:^CN=(.*?),OU=ServiceUsers.*$/$1/",
            "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1L/U,DEFAULT/",
            "RULE:^CN=(.*?),OU=ServiceUsers.*$/L",
            "RULE:^CN=(.*?),OU=ServiceUsers.*$/U",
            "RULE:^CN=(.*?),OU=ServiceUsers.*$/LU",
            "RULE:(/x/",
        ] {
            let error = SslPrincipalMapper::parse(rules).unwrap_err();
            assert_eq!(error.key, KEY, "{rules}");
        }
        assert!(SslPrincipalMapper::parse("").unwrap().name("CN=x").is_none());
    }
}
