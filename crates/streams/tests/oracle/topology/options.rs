//! Option objects and functions of steps.

use serde_json::Value as Json;
use vltava_streams::{Consumed, Grouped, Joined, Produced, Repartitioned};

use super::{Interpreter, Step, text};
use crate::{
    canned::{self, Extractor},
    functions::{self, Boom, Mapper},
    serdes::serde,
    stores::duration,
    value::{Maybe, Val},
};

/// Sets those of the serdes `key` and `value` that a step has.
macro_rules! with_serdes {
    ($options:expr, $step:expr) => {{
        let mut options = $options;
        if let Some(serde) = serde($step, "key") {
            options = options.with_key_serde(serde);
        }
        if let Some(serde) = serde($step, "value") {
            options = options.with_value_serde(serde);
        }
        options
    }};
}

impl Interpreter<'_> {
    pub(super) fn consumed(&self, step: &Json) -> Consumed<Val, Val> {
        let mut consumed = with_serdes!(Consumed::new(), step);
        let default = text(&self.case["config"], "default.timestamp.extractor").filter(|name| *name == "value_at");
        if let Some(spec) = text(step, "extractor").or(default) {
            consumed = consumed.with_timestamp_extractor(Extractor::parse(spec));
        }
        if let Some(reset) = text(step, "offsetReset") {
            consumed = consumed.with_offset_reset_policy(canned::offset_reset(reset));
        }
        match text(step, "name") {
            Some(name) => consumed.with_name(name),
            None => consumed,
        }
    }
}

pub(super) fn produced(step: &Json) -> Produced<Val, Val> {
    let mut produced = with_serdes!(Produced::new(), step);
    if let Some(spec) = text(step, "partitioner") {
        produced = produced.with_stream_partitioner(canned::partitioner(spec));
    }
    match text(step, "name") {
        Some(name) => produced.with_name(name),
        None => produced,
    }
}

pub(super) fn repartitioned(step: &Json) -> Repartitioned<Val, Val> {
    let mut repartitioned = with_serdes!(Repartitioned::new(), step);
    if let Some(name) = text(step, "name") {
        repartitioned = repartitioned.with_name(name);
    }
    if let Some(partitions) = step.get("partitions").and_then(Json::as_i64) {
        repartitioned = repartitioned.with_number_of_partitions(partitions.try_into().unwrap());
    }
    match text(step, "partitioner") {
        Some(spec) => repartitioned.with_stream_partitioner(canned::partitioner(spec)),
        None => repartitioned,
    }
}

/// A grouping's options; without any of them the operator is called without, which keeps the upstream serdes.
pub(super) fn grouped(step: &Json) -> Option<Grouped<Val, Val>> {
    if ["name", "key", "value"].iter().all(|field| step.get(field).is_none()) {
        return None;
    }
    let grouped = with_serdes!(Grouped::new(), step);
    Some(match text(step, "name") {
        Some(name) => grouped.with_name(name),
        None => grouped,
    })
}

/// A mapper as an operator that may pass the key wants it: without `withKey` the function sees a null key.
pub(super) fn value_mapper(step: &Json) -> impl Fn(&Maybe, &Maybe) -> Result<Maybe, Boom> + Send + Sync + 'static {
    let (mapper, with_key) = (functions::mapper(text(step, "mapper").unwrap()), with_key(step));
    move |key, value| if with_key { mapper(key, value) } else { mapper(&None, value) }
}

/// A joiner, which without `withKey` sees a null key.
pub(super) fn joiner(step: &Json) -> impl Fn(&Maybe, &Maybe, &Maybe) -> Result<Maybe, Boom> + Send + Sync + 'static {
    let (joiner, with_key) = (functions::joiner(text(step, "joiner").unwrap()), with_key(step));
    move |key, left, right| joiner(if with_key { key } else { &None }, left, right)
}

pub(super) fn joined(step: &Json) -> Step<Joined<Val, Val, Val>> {
    let mut joined = with_serdes!(Joined::new(), step);
    if let Some(serde) = serde(step, "otherValue") {
        joined = joined.with_other_value_serde(serde);
    }
    if let Some(name) = text(step, "name") {
        joined = joined.with_name(name);
    }
    Ok(match step.get("grace") {
        Some(grace) => joined.with_grace_period(duration(grace)?),
        None => joined,
    })
}

pub(super) fn with_key(step: &Json) -> bool {
    step.get("withKey").and_then(Json::as_bool).unwrap_or(false)
}

/// `selector` and `mapper`, which both see the old pair.
pub(super) fn pair_mapper(step: &Json) -> (Mapper, Mapper) {
    let selector = functions::key_selector(text(step, "selector").unwrap_or("key"));
    (selector, functions::mapper(text(step, "mapper").unwrap_or("identity")))
}
