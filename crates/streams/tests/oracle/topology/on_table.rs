//! Operators on a table.

use serde_json::Value as Json;
use vltava_streams::{
    BufferConfig, Error, Headers, KTable, Result, Suppressed,
    dsl::{SuppressUntil, TransformerContext, ValueTransformerWithKey},
};

use super::{Interpreter, Made, Step, named, only, options, required, text, unsupported};
use crate::{
    context_stores,
    functions::{self, Boom},
    stores::{Stores, duration, logging, materialized},
    value::{self, Maybe, Val, number},
};

impl Interpreter<'_> {
    pub(super) fn on_table(&mut self, table: &KTable<Val, Val>, step: &Json) -> Step<Made> {
        let name = named(step);
        match required(step, "op") {
            "suppress" => return suppress(table, step),
            "transformValues" => {
                only(step, "KTable", &["processor", "stores", "materialized"])?;
                let (spec, stores) = (step["processor"].clone(), self.connected(step)?);
                let stores: Vec<_> = stores.iter().map(String::as_str).collect();
                let make = move || Transformer(spec.clone());
                return Ok(Made::Table(table.transform_values_by_name((name, materialized(step)?), &stores, make)));
            }
            _ => {}
        }
        let store = materialized(step)?;
        Ok(Made::Table(match required(step, "op") {
            "filter" => {
                only(step, "KTable", &["predicate", "materialized"])?;
                let predicate = functions::predicate(required(step, "predicate"));
                table.try_filter((name, store), move |key, value| predicate(&Some(key.clone()), &Some(value.clone())))
            }
            "filterNot" => {
                only(step, "KTable", &["predicate", "materialized"])?;
                let predicate = functions::predicate(required(step, "predicate"));
                table.try_filter_not((name, store), move |key, value| {
                    predicate(&Some(key.clone()), &Some(value.clone()))
                })
            }
            "mapValues" => {
                only(step, "KTable", &["mapper", "withKey", "materialized"])?;
                let mapper = options::value_mapper(step);
                table.try_map_values((name, store), move |key, value| mapper(&Some(key.clone()), &Some(value)))
            }
            "toStream" => {
                only(step, "KTable", &["selector"])?;
                let stream = table.to_nullable_stream(name);
                return Ok(Made::Stream(match text(step, "selector") {
                    Some(selector) => stream.try_select_key((), functions::key_selector(selector)),
                    None => stream,
                }));
            }
            "groupBy" => {
                only(step, "KTable", &["selector", "mapper", "key", "value"])?;
                let (selector, mapper) = options::pair_mapper(step);
                let pair = move |key: &Val, value: &Val| {
                    let (key, value) = (Some(key.clone()), Some(value.clone()));
                    Ok::<_, Boom>((selector(&key, &value)?, mapper(&key, &value)?))
                };
                return Ok(Made::GroupedTable(table.try_group_by::<Maybe, Maybe, _>(options::grouped(step), pair)));
            }
            "join" | "leftJoin" if step.get("foreignKey").is_some() => {
                return self.join_by_foreign_key(table, step);
            }
            op @ ("join" | "leftJoin" | "outerJoin") => {
                only(step, "KTable", &["other", "joiner", "materialized"])?;
                let Made::Table(other) = self.made(step, "other") else { panic!("a join with no table") };
                let joiner = options::joiner(step);
                let join =
                    move |left: Option<&Val>, right: Option<&Val>| joiner(&None, &left.cloned(), &right.cloned());
                match op {
                    "join" => table.try_join((name, store), &other, move |a, b| join(Some(a), Some(b))),
                    "leftJoin" => table.try_left_join((name, store), &other, move |a, b| join(Some(a), b)),
                    _ => table.try_outer_join((name, store), &other, join),
                }
            }
            op => return unsupported(format!("KTable {op}")),
        }))
    }
}

/// A canned transformer by its specification.
struct Transformer(Json);

context_stores!(TransformerContext<'_>);

impl ValueTransformerWithKey<Val, Val> for Transformer {
    type Out = Val;

    fn transform(&mut self, key: &Val, value: Maybe, ctx: &mut TransformerContext<'_>) -> Result<Maybe> {
        let key = Some(key.clone());
        match required(&self.0, "type") {
            "map" => functions::mapper(required(&self.0, "value"))(&key, &value).map_err(Error::user),
            "count" => {
                let timestamp = ctx.timestamp();
                let count = ctx.with_store(required(&self.0, "store"), |mut store| {
                    let key = key.clone().unwrap();
                    let count = number(&store.value(&key)?).wrapping_add(1);
                    store.put(&key, Some(Val::Long(count)), timestamp, &Headers::new())?;
                    Ok(count)
                })?;
                Ok(Val::text(format!("{}#{count}", value::text(&value))))
            }
            "info" => {
                let metadata = ctx.record_metadata().unwrap();
                let (topic, offset) = (metadata.topic.unwrap_or("null"), metadata.offset);
                let info = format!("{} topic={topic} offset={offset} ts={}", value::text(&value), ctx.timestamp());
                Ok(Val::text(info))
            }
            other => panic!("unknown transformer {other}"),
        }
    }
}

fn suppress(table: &KTable<Val, Val>, step: &Json) -> Step<Made> {
    only(step, "KTable", &["until", "limit", "buffer"])?;
    let spec = &step["buffer"];
    let (records, bytes) = (spec.get("maxRecords").and_then(Json::as_u64), spec.get("maxBytes").and_then(Json::as_u64));
    let strict = match (records, bytes) {
        (None, None) => BufferConfig::unbounded(),
        (Some(records), None) => BufferConfig::max_records(records).shut_down_when_full(),
        (None, Some(bytes)) => BufferConfig::max_bytes(bytes).shut_down_when_full(),
        (Some(records), Some(bytes)) => BufferConfig::max_records(records).with_max_bytes(bytes).shut_down_when_full(),
    };
    let strict = match spec.get("logging").map(logging) {
        None => strict,
        Some(Some(config)) => strict.with_logging_enabled(config),
        Some(None) => strict.with_logging_disabled(),
    };
    let bounded = records.is_some() || bytes.is_some();
    let early = match text(spec, "whenFull") {
        Some(when) => when == "emit_early",
        None => bounded,
    };
    let name = text(step, "name");
    Ok(Made::Table(match required(step, "until") {
        "window_closes" if early => return unsupported("until window closes with a buffer that emits early"),
        "window_closes" => suppressed(table, Suppressed::until_window_closes(strict), name),
        "time_limit" => {
            let limit = duration(&step["limit"])?;
            match early {
                true => suppressed(table, Suppressed::until_time_limit(limit, strict.emit_early_when_full()), name),
                false => suppressed(table, Suppressed::until_time_limit(limit, strict), name),
            }
        }
        other => panic!("unknown end of suppression {other}"),
    }))
}

fn suppressed<U: SuppressUntil<Val>>(
    table: &KTable<Val, Val>,
    suppressed: Suppressed<U>,
    name: Option<&str>,
) -> KTable<Val, Val> {
    match name {
        Some(name) => table.suppress(suppressed.with_name(name)),
        None => table.suppress(suppressed),
    }
}
