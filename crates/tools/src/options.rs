//! The command lines of Kafka's tools: which options there are, and how Kafka's parser reads them.
//!
//! An option has one long name, takes `--name value`, `--name=value` and, as in Kafka, one dash
//! instead of two. There are no abbreviations. An option that Kafka has and we do not act on is in
//! the tables too, and using it is refused by name.

mod usage;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub(crate) use usage::usage;

use crate::failure::Failure;

/// Whether an option takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Argument {
    None,
    /// Needed; the word for it in the usage.
    Required(&'static str),
    /// Taken if the next word is no option.
    Optional(&'static str),
    /// At least one, up to the next option.
    Several(&'static str),
}

/// What a value has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Int,
    Long,
    Double,
}

/// One option of a tool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OptionSpec {
    name: &'static str,
    argument: Argument,
    help: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    repeatable: bool,
    available_if: &'static [&'static str],
    acted_on: bool,
}

/// An option without a value.
pub(crate) const fn flag(name: &'static str, help: &'static str) -> OptionSpec {
    option(name, Argument::None, help)
}

/// An option with a value, described by one word.
pub(crate) const fn value(name: &'static str, described_as: &'static str, help: &'static str) -> OptionSpec {
    option(name, Argument::Required(described_as), help)
}

/// An option with a value that may be left out.
pub(crate) const fn optional_value(name: &'static str, described_as: &'static str, help: &'static str) -> OptionSpec {
    option(name, Argument::Optional(described_as), help)
}

/// An option with one value or more, up to the next option.
pub(crate) const fn several_values(name: &'static str, described_as: &'static str, help: &'static str) -> OptionSpec {
    option(name, Argument::Several(described_as), help).repeatable()
}

/// The option of nearly all tools.
pub(crate) const BOOTSTRAP_SERVER: OptionSpec =
    value("bootstrap-server", "server to connect to", "REQUIRED: Kafka brokers to connect to, host:port,host:port.");

const fn option(name: &'static str, argument: Argument, help: &'static str) -> OptionSpec {
    OptionSpec {
        name,
        argument,
        help,
        kind: Kind::Text,
        default: None,
        repeatable: false,
        available_if: &[],
        acted_on: true,
    }
}

impl OptionSpec {
    /// The value is a 32-bit integer.
    pub(crate) const fn int(mut self) -> Self {
        self.kind = Kind::Int;
        self
    }

    /// The value is a 64-bit integer.
    pub(crate) const fn long(mut self) -> Self {
        self.kind = Kind::Long;
        self
    }

    /// The value is a floating-point number.
    pub(crate) const fn double(mut self) -> Self {
        self.kind = Kind::Double;
        self
    }

    /// The value where the option is not given.
    pub(crate) const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    /// The option may be given several times.
    pub(crate) const fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// The option needs one of these beside it.
    pub(crate) const fn available_if(mut self, others: &'static [&'static str]) -> Self {
        self.available_if = others;
        self
    }

    /// Kafka has the option, we do not act on it yet.
    pub(crate) const fn not_yet(mut self) -> Self {
        self.acted_on = false;
        self
    }

    fn check(&self, value: &str) -> Result<(), String> {
        let fits = match self.kind {
            Kind::Text => true,
            Kind::Int => value.parse::<i32>().is_ok(),
            Kind::Long => value.parse::<i64>().is_ok(),
            Kind::Double => value.parse::<f64>().is_ok(),
        };
        if fits { Ok(()) } else { Err(format!("Cannot parse argument '{value}' of option {}", self.name)) }
    }
}

/// The options of one command line.
#[derive(Debug, Default)]
pub(crate) struct Options {
    specs: Vec<OptionSpec>,
    given: BTreeMap<&'static str, Vec<String>>,
    /// The same in the order of the command line.
    in_turn: Vec<(&'static str, Option<String>)>,
    /// Words that belong to no option; Kafka's tools pass over them.
    pub(crate) rest: Vec<String>,
    /// How many words the command line has.
    pub(crate) count: usize,
}

/// Options that every tool has.
pub(crate) const COMMON: &[OptionSpec] =
    &[flag("help", "Print usage information."), flag("version", "Display Kafka version.")];

impl Options {
    /// Reads a command line by a tool's table.
    ///
    /// # Errors
    /// [`Failure::Usage`] in the words of Kafka's parser.
    pub(crate) fn parse(table: &[OptionSpec], arguments: &[String]) -> Result<Self, Failure> {
        let specs = [COMMON, table].concat();
        let mut options = Self { specs, count: arguments.len(), ..Self::default() };
        let mut words = arguments.iter().peekable();
        while let Some(word) = words.next() {
            if word == "--" {
                options.rest.extend(words.by_ref().cloned());
                break;
            }
            let Some(body) = option_body(word) else {
                options.rest.push(word.clone());
                continue;
            };
            let (name, mut value) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (body, None),
            };
            let spec = options.specs.iter().find(|spec| spec.name == name).copied();
            let spec = spec.ok_or_else(|| Failure::Usage(format!("{name} is not a recognized option")))?;
            let next_is_value = match spec.argument {
                Argument::None => false,
                Argument::Required(_) | Argument::Several(_) => true,
                Argument::Optional(_) => words.peek().is_some_and(|word| option_body(word).is_none()),
            };
            if value.is_none() && next_is_value {
                value = words.next().cloned();
            }
            options.take(&spec, value)?;
            if matches!(spec.argument, Argument::Several(_)) {
                while let Some(value) = words.next_if(|word| option_body(word).is_none()) {
                    options.take(&spec, Some(value.clone()))?;
                }
            }
        }
        options.check_combination()?;
        Ok(options)
    }

    fn take(&mut self, spec: &OptionSpec, value: Option<String>) -> Result<(), Failure> {
        let name = spec.name;
        if !spec.acted_on {
            return Err(Failure::Message(format!("option --{name} is not supported yet")));
        }
        match (&value, spec.argument) {
            (None, Argument::Required(_) | Argument::Several(_)) => {
                return Err(Failure::Usage(format!("Option {name} requires an argument")));
            }
            (Some(_), Argument::None) => {
                return Err(Failure::Usage(format!("Option {name} does not take an argument")));
            }
            (Some(value), _) => spec.check(value).map_err(Failure::Usage)?,
            (None, _) => {}
        }
        self.in_turn.push((name, value.clone()));
        let values = self.given.entry(name).or_default();
        values.extend(value);
        if values.len() > 1 && !spec.repeatable {
            let text = format!("Found multiple arguments for option {name}, but you asked for only one");
            return Err(Failure::Usage(text));
        }
        Ok(())
    }

    fn check_combination(&self) -> Result<(), Failure> {
        let unavailable: Vec<&str> = self
            .specs
            .iter()
            .filter(|spec| self.has(spec.name) && !spec.available_if.is_empty() && !self.has_any(spec.available_if))
            .map(|spec| spec.name)
            .collect();
        if unavailable.is_empty() || self.has("help") {
            return Ok(());
        }
        let list = unavailable.join(", ");
        Err(Failure::Usage(format!("Option(s) [{list}] are unavailable given other options on the command line")))
    }

    /// Whether the option is on the command line.
    pub(crate) fn has(&self, name: &str) -> bool {
        debug_assert!(self.specs.iter().any(|spec| spec.name == name), "no option {name} in the table");
        self.given.contains_key(name)
    }

    fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.has(name))
    }

    /// The value given, or the default.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        match self.given.get(name) {
            Some(values) => values.first().map(String::as_str),
            None => self.specs.iter().find(|spec| spec.name == name).and_then(|spec| spec.default),
        }
    }

    /// All values given.
    pub(crate) fn values(&self, name: &str) -> &[String] {
        self.given.get(name).map_or(&[], Vec::as_slice)
    }

    /// The values of some options as they come one after the other; empty of those without one.
    pub(crate) fn in_turn(&self, names: &[&str]) -> impl Iterator<Item = &str> {
        let given = self.in_turn.iter().filter(|(name, _)| names.contains(name));
        given.map(|(_, value)| value.as_deref().unwrap_or(""))
    }

    /// The value of an option; empty where it is not given.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.value(name).unwrap_or_default()
    }

    /// The value of an integer option.
    pub(crate) fn int(&self, name: &str) -> Option<i32> {
        self.value(name).and_then(|value| value.parse().ok())
    }

    /// The value of an integer option of 64 bits.
    pub(crate) fn long(&self, name: &str) -> Option<i64> {
        self.value(name).and_then(|value| value.parse().ok())
    }

    /// The value of a floating-point option.
    pub(crate) fn double(&self, name: &str) -> Option<f64> {
        self.value(name).and_then(|value| value.parse().ok())
    }

    /// Refuses a command line without one of these.
    pub(crate) fn require(&self, names: &[&str]) -> Result<(), Failure> {
        match names.iter().find(|name| !self.has(name)) {
            Some(missing) => Err(Failure::Usage(format!("Missing required argument \"[{missing}]\""))),
            None => Ok(()),
        }
    }

    /// Refuses any of `others` beside `used`.
    pub(crate) fn exclude(&self, used: &str, others: &[&str]) -> Result<(), Failure> {
        match others.iter().find(|other| self.has(used) && self.has(other)) {
            Some(other) => Err(Failure::Usage(format!("Option \"[{used}]\" can't be used with option \"[{other}]\""))),
            None => Ok(()),
        }
    }

    /// Refuses a command line with none or several of these.
    pub(crate) fn require_one_of(&self, names: &[&str]) -> Result<(), Failure> {
        if names.iter().filter(|name| self.has(name)).count() == 1 {
            return Ok(());
        }
        let list: Vec<String> = names.iter().map(|name| format!("[{name}]")).collect();
        Err(Failure::Usage(format!("Exactly one of the following arguments is required: {}", list.join(", "))))
    }

    /// Refuses two spellings of one option, old and new; says which was given.
    pub(crate) fn one_spelling<'a>(&self, old: &'a str, new: &'a str) -> Result<&'a str, Failure> {
        match (self.has(old), self.has(new)) {
            (true, true) => Err(Failure::Usage(format!("Options --{new} and --{old} cannot be specified together."))),
            (true, false) => Ok(old),
            (false, _) => Ok(new),
        }
    }
}

/// The word without its dashes, if it is an option.
fn option_body(word: &str) -> Option<&str> {
    let body = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
    // A negative number is a value, not an option.
    (!body.is_empty() && !body.starts_with(|c: char| c.is_ascii_digit())).then_some(body)
}
