//! The canned user functions of case files, by name; FORMAT.md, "Functions", is their definition.
//!
//! A function is made once from its specification and may fail with [`Boom`], as a Java one throws.

use super::value::{Maybe, Val, number, text};

/// What a canned function throws.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Boom(pub String);

pub type Predicate = Box<dyn Fn(&Maybe, &Maybe) -> Result<bool, Boom> + Send + Sync>;
/// Key selectors and value mappers: (key, value).
pub type Mapper = Box<dyn Fn(&Maybe, &Maybe) -> Result<Maybe, Boom> + Send + Sync>;
type NonNullMapper = Box<dyn Fn(&Maybe) -> Result<Maybe, Boom> + Send + Sync>;
pub type Flat = Box<dyn Fn(&Maybe, &Maybe) -> Result<Vec<Maybe>, Boom> + Send + Sync>;
/// (key, left, right)
pub type Joiner = Box<dyn Fn(&Maybe, &Maybe, &Maybe) -> Result<Maybe, Boom> + Send + Sync>;
/// (aggregate, value)
pub type Reducer = Box<dyn Fn(&Maybe, &Maybe) -> Result<Maybe, Boom> + Send + Sync>;
/// (key, value, aggregate)
pub type Aggregator = Box<dyn Fn(&Maybe, &Maybe, &Maybe) -> Result<Maybe, Boom> + Send + Sync>;
pub type Initializer = Box<dyn Fn() -> Maybe + Send + Sync>;
/// (key, one, two)
pub type Merger = Box<dyn Fn(&Maybe, &Maybe, &Maybe) -> Maybe + Send + Sync>;

/// Head and argument of a specification.
fn call(spec: &str) -> (&str, Option<String>) {
    match spec.split_once(':') {
        Some((head, argument)) => (head, Some(argument.to_owned())),
        None => (spec, None),
    }
}

fn argument<T: std::str::FromStr>(spec: &str, argument: &Option<String>) -> T {
    let parsed = argument.as_deref().and_then(|a| a.parse().ok());
    parsed.unwrap_or_else(|| panic!("{spec}: not an argument of this function"))
}

fn is(value: &Maybe, wanted: &str) -> bool {
    value.is_some() && text(value) == wanted
}

fn boom_if(value: &Maybe, poison: &str) -> Result<(), Boom> {
    if is(value, poison) { Err(Boom(format!("boom on {poison}"))) } else { Ok(()) }
}

fn long(n: i64) -> Maybe {
    Some(Val::Long(n))
}

/// A number in the type of the model: decimal text when the model is text, else a long.
fn number_like(model: &Maybe, n: i64) -> Maybe {
    if matches!(model, Some(Val::Text(_))) { Val::text(n.to_string()) } else { long(n) }
}

fn field(value: &Maybe, index: usize) -> Maybe {
    text(value).split(',').nth(index).filter(|part| !part.is_empty()).and_then(Val::text)
}

/// One UTF-16 unit in Java; the cases keep to characters that are one.
fn first_char(value: &Maybe) -> Maybe {
    value.as_ref()?;
    text(value).chars().next().and_then(Val::text)
}

fn length(value: &Maybe) -> i64 {
    text(value).chars().count() as i64
}

pub fn predicate(spec: &str) -> Predicate {
    let (head, arg) = call(spec);
    let s = arg.clone().unwrap_or_default();
    match head {
        "true" => Box::new(|_, _| Ok(true)),
        "false" => Box::new(|_, _| Ok(false)),
        "not" => {
            let inner = predicate(&s);
            Box::new(move |k, v| inner(k, v).map(|yes| !yes))
        }
        "value_is_null" => Box::new(|_, v| Ok(v.is_none())),
        "key_is_null" => Box::new(|k, _| Ok(k.is_none())),
        "value_eq" => Box::new(move |_, v| Ok(is(v, &s))),
        "key_eq" => Box::new(move |k, _| Ok(is(k, &s))),
        "value_starts_with" => Box::new(move |_, v| Ok(v.is_some() && text(v).starts_with(&s))),
        "key_starts_with" => Box::new(move |k, _| Ok(k.is_some() && text(k).starts_with(&s))),
        "value_contains" => Box::new(move |_, v| Ok(v.is_some() && text(v).contains(&s))),
        "value_longer_than" => {
            let n: i64 = argument(spec, &arg);
            Box::new(move |_, v| Ok(v.is_some() && length(v) > n))
        }
        "value_greater_than" => {
            let n: i64 = argument(spec, &arg);
            Box::new(move |_, v| Ok(v.is_some() && number(v) > n))
        }
        "value_even" => Box::new(|_, v| Ok(v.is_some() && number(v) % 2 == 0)),
        "throw_if" => Box::new(move |_, v| boom_if(v, &s).map(|()| true)),
        _ => panic!("unknown predicate {spec}"),
    }
}

pub fn mapper(spec: &str) -> Mapper {
    let (head, arg) = call(spec);
    let s = arg.clone().unwrap_or_default();
    match head {
        "null" => return Box::new(|_, _| Ok(None)),
        "const" => return Box::new(move |_, _| Ok(Val::text(&*s))),
        "const_long" => {
            let n: i64 = argument(spec, &arg);
            return Box::new(move |_, _| Ok(long(n)));
        }
        "with_key" => return Box::new(|k, v| Ok(Val::text(format!("{}={}", text(k), text(v))))),
        "text" => return Box::new(|_, v| Ok(Val::text(text(v)))),
        _ => {}
    }
    let inner: NonNullMapper = match head {
        "identity" => Box::new(|v| Ok(v.clone())),
        "upper" => Box::new(|v| Ok(Val::text(text(v).to_uppercase()))),
        "lower" => Box::new(|v| Ok(Val::text(text(v).to_lowercase()))),
        "reverse" => Box::new(|v| Ok(Val::text(text(v).chars().rev().collect::<String>()))),
        "length" => Box::new(|v| Ok(long(length(v)))),
        "number" => Box::new(|v| Ok(long(number(v)))),
        "add" => {
            let n: i64 = argument(spec, &arg);
            Box::new(move |v| Ok(number_like(v, number(v).wrapping_add(n))))
        }
        "prefix" => Box::new(move |v| Ok(Val::text(format!("{s}{}", text(v))))),
        "suffix" => Box::new(move |v| Ok(Val::text(format!("{}{s}", text(v))))),
        "field" => {
            let n: usize = argument(spec, &arg);
            Box::new(move |v| Ok(field(v, n)))
        }
        "null_if" => Box::new(move |v| Ok(if is(v, &s) { None } else { v.clone() })),
        "null_unless" => Box::new(move |v| Ok(if text(v).starts_with(&s) { v.clone() } else { None })),
        "throw_if" => Box::new(move |v| boom_if(v, &s).map(|()| v.clone())),
        _ => panic!("unknown mapper {spec}"),
    };
    Box::new(move |_, v| if v.is_none() { Ok(None) } else { inner(v) })
}

pub fn key_selector(spec: &str) -> Mapper {
    let (head, arg) = call(spec);
    let s = arg.clone().unwrap_or_default();
    match head {
        "key" => Box::new(|k, _| Ok(k.clone())),
        "value" => Box::new(|_, v| Ok(v.clone())),
        "null" => Box::new(|_, _| Ok(None)),
        "const" => Box::new(move |_, _| Ok(Val::text(&*s))),
        "first_char" => Box::new(|_, v| Ok(first_char(v))),
        "last_char" => Box::new(|_, v| Ok(v.as_ref().and_then(|_| text(v).chars().last()).and_then(Val::text))),
        "prefix" => Box::new(move |k, _| Ok(Val::text(format!("{s}{}", text(k))))),
        "key_first_char" => Box::new(|k, _| Ok(first_char(k))),
        "key_text" => Box::new(|k, _| Ok(Val::text(text(k)))),
        "length" => Box::new(|_, v| Ok(v.as_ref().and_then(|_| long(length(v))))),
        "number" => Box::new(|_, v| Ok(v.as_ref().and_then(|_| long(number(v))))),
        "field" => {
            let n: usize = argument(spec, &arg);
            Box::new(move |_, v| Ok(v.as_ref().and_then(|_| field(v, n))))
        }
        "window_key" => Box::new(|k, _| match k {
            Some(Val::Windowed { key, .. }) => Ok(Some((**key).clone())),
            other => panic!("window_key of {other:?}"),
        }),
        "null_if" => Box::new(move |k, v| Ok(if is(v, &s) { None } else { k.clone() })),
        "throw_if" => Box::new(move |k, v| boom_if(v, &s).map(|()| k.clone())),
        _ => panic!("unknown key selector {spec}"),
    }
}

pub fn flat(spec: &str) -> Flat {
    let (head, arg) = call(spec);
    match head {
        "none" => Box::new(|_, _| Ok(Vec::new())),
        "words" => Box::new(|_, v| {
            let words = if v.is_some() { text(v) } else { String::new() };
            Ok(words.split(' ').filter(|word| !word.is_empty()).map(Val::text).collect())
        }),
        "repeat" => {
            let n: usize = argument(spec, &arg);
            Box::new(move |_, v| Ok(vec![v.clone(); n]))
        }
        "numbered" => {
            let n: usize = argument(spec, &arg);
            Box::new(move |_, v| Ok((0..n).map(|i| Val::text(format!("{}#{i}", text(v)))).collect()))
        }
        _ => panic!("unknown flat mapper {spec}"),
    }
}

pub fn joiner(spec: &str) -> Joiner {
    let (head, arg) = call(spec);
    let s = arg.unwrap_or_default();
    fn plus(l: &Maybe, r: &Maybe) -> Maybe {
        Val::text(format!("{}+{}", text(l), text(r)))
    }
    match head {
        "concat" => Box::new(|_, l, r| Ok(plus(l, r))),
        "with_key" => Box::new(|k, l, r| Ok(Val::text(format!("{}:{}+{}", text(k), text(l), text(r))))),
        "left" => Box::new(|_, l, _| Ok(l.clone())),
        "right" => Box::new(|_, _, r| Ok(r.clone())),
        "sum" => Box::new(|_, l, r| Ok(long(number(l).wrapping_add(number(r))))),
        "null" => Box::new(|_, _, _| Ok(None)),
        "null_if_left" => Box::new(move |_, l, r| Ok(if is(l, &s) { None } else { plus(l, r) })),
        "throw_if_left" => Box::new(move |_, l, r| boom_if(l, &s).map(|()| plus(l, r))),
        _ => panic!("unknown joiner {spec}"),
    }
}

pub fn reducer(spec: &str) -> Reducer {
    let (head, arg) = call(spec);
    let s = arg.unwrap_or_default();
    fn with(a: &Maybe, sign: char, v: &Maybe) -> Maybe {
        Val::text(format!("{}{sign}{}", text(a), text(v)))
    }
    match head {
        "concat" => Box::new(|a, v| Ok(with(a, '+', v))),
        "remove" => Box::new(|a, v| Ok(with(a, '-', v))),
        "sum" => Box::new(|a, v| Ok(number_like(a, number(a).wrapping_add(number(v))))),
        "minus" => Box::new(|a, v| Ok(number_like(a, number(a).wrapping_sub(number(v))))),
        "max" => Box::new(|a, v| Ok(if number(v) > number(a) { v.clone() } else { a.clone() })),
        "min" => Box::new(|a, v| Ok(if number(v) < number(a) { v.clone() } else { a.clone() })),
        "latest" => Box::new(|_, v| Ok(v.clone())),
        "oldest" => Box::new(|a, _| Ok(a.clone())),
        "null_if" => Box::new(move |a, v| Ok(if is(v, &s) { None } else { with(a, '+', v) })),
        "throw_if" => Box::new(move |a, v| boom_if(v, &s).map(|()| with(a, '+', v))),
        _ => panic!("unknown reducer {spec}"),
    }
}

pub fn aggregator(spec: &str) -> Aggregator {
    let (head, arg) = call(spec);
    let s = arg.clone().unwrap_or_default();
    fn append(aggregate: &Maybe, value: &str, separator: &str) -> Maybe {
        let before = aggregate.as_ref().map(|_| text(aggregate)).unwrap_or_default();
        Val::text(format!("{before}{separator}{value}"))
    }
    match head {
        "count" => Box::new(|_, _, a| Ok(long(number(a).wrapping_add(1)))),
        "uncount" => Box::new(|_, _, a| Ok(long(number(a).wrapping_sub(1)))),
        "sum" => Box::new(|_, v, a| Ok(long(number(a).wrapping_add(number(v))))),
        "minus" => Box::new(|_, v, a| Ok(long(number(a).wrapping_sub(number(v))))),
        "max" => Box::new(|_, v, a| Ok(long(number(a).max(number(v))))),
        "append" => {
            let separator = arg.unwrap_or_else(|| ",".to_owned());
            Box::new(move |_, v, a| Ok(append(a, &text(v), &separator)))
        }
        "append_with_key" => Box::new(|k, v, a| Ok(append(a, &format!("{}={}", text(k), text(v)), ","))),
        "latest" => Box::new(|_, v, _| Ok(v.clone())),
        "oldest" => Box::new(|_, _, a| Ok(a.clone())),
        "null_if" => Box::new(move |_, v, a| Ok(if is(v, &s) { None } else { append(a, &text(v), ",") })),
        "throw_if" => Box::new(move |_, v, a| boom_if(v, &s).map(|()| append(a, &text(v), ","))),
        _ => panic!("unknown aggregator {spec}"),
    }
}

pub fn initializer(spec: &str) -> Initializer {
    let (head, arg) = call(spec);
    let constant = match head {
        "empty" => Val::text(""),
        "zero" => long(0),
        "null" => None,
        "const" => Val::text(arg.unwrap_or_default()),
        _ => panic!("unknown initializer {spec}"),
    };
    Box::new(move || constant.clone())
}

pub fn merger(spec: &str) -> Merger {
    match call(spec).0 {
        "concat" => Box::new(|_, a, b| Val::text(format!("{}|{}", text(a), text(b)))),
        "sum" => Box::new(|_, a, b| long(number(a).wrapping_add(number(b)))),
        "max" => Box::new(|_, a, b| long(number(a).max(number(b)))),
        "null" => Box::new(|_, _, _| None),
        _ => panic!("unknown merger {spec}"),
    }
}
